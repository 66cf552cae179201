"""Signals that the database did not take before the end: kept in a file whose room is reserved, for the batch's next start."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from liualgotrader.common.ports import Store
from liualgotrader.common.rows import SignalRow

RESERVE_BYTES = 2 * 1024 * 1024
_HEAD = 8  # bytes that say how long the rows are


class LeftSignals:
    """One consumer's file. Its room is taken at the start, so that a disk which fills later does not matter."""

    def __init__(self, folder: Path, consumer: int) -> None:
        self._path = folder / f"signals-{consumer}.left"

    def reserve(self) -> None:
        """Take the room, as far as the disk has it; what an earlier life has left stays."""
        with suppress(OSError), self._path.open("ab") as file:
            if sys.platform == "linux":
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)

    def keep(self, rows: Sequence[SignalRow]) -> None:
        """Write the rows.

        Raises:
            OSError: if the disk does not take them.
        """
        data = msgspec.msgpack.encode(rows)
        with self._path.open("r+b") as file:
            file.write(len(data).to_bytes(_HEAD) + data)
            file.flush()
            os.fsync(file.fileno())

    def forget(self) -> None:
        """Give the room back: everything is stored."""
        self._path.unlink(missing_ok=True)


async def store_left_signals(folder: Path, store: Store) -> int:
    """Store what consumers of the batch in `folder` have left there; return how many rows. Safe to repeat.

    Raises:
        DatabaseUnavailable: if the server cannot be reached.
    """
    count = 0
    for path, rows in _found(folder):
        if rows:
            await store.save_signals(rows)
            count += len(rows)
        path.unlink()
    return count


def _found(folder: Path) -> list[tuple[Path, list[SignalRow]]]:
    found = []
    for path in sorted(folder.glob("signals-*.left")):
        data = path.read_bytes()
        length = int.from_bytes(data[:_HEAD])
        whole = data[_HEAD : _HEAD + length] if length and len(data) >= _HEAD + length else b""
        found.append((path, msgspec.msgpack.decode(whole, type=list[SignalRow]) if whole else []))
    return found
