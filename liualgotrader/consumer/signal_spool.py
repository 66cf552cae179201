"""Signals that the database did not take before the end: kept in a file whose room is reserved, for the batch's next start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from liualgotrader.common.ports import Store
from liualgotrader.common.rows import SignalRow
from liualgotrader.journal.reserved_file import ReservedFile

_RESERVE_BYTES = 2 * 1024 * 1024


class SignalSpool:
    """One consumer's file in `folder`. Its room is taken at the start, so that a disk which fills later does not matter."""

    def __init__(self, folder: Path, consumer: int) -> None:
        self._file = ReservedFile(folder / f"signals-{consumer}.left", _RESERVE_BYTES)
        self.reserve, self.forget = self._file.reserve, self._file.forget

    def keep(self, rows: Sequence[SignalRow]) -> None:
        """Write the rows.

        Raises:
            OSError: if the disk does not take them.
        """
        self._file.keep(msgspec.msgpack.encode(rows))


async def store_left_signals(folder: Path, store: Store) -> int:
    """Store what consumers of the batch in `folder` have left there; return how many rows. Safe to repeat.

    Raises:
        DatabaseUnavailable: if the server cannot be reached.
    """
    count = 0
    for file in _files(folder):
        if data := file.kept():
            rows = msgspec.msgpack.decode(data, type=list[SignalRow])
            await store.save_signals(rows)
            count += len(rows)
        file.forget()
    return count


def _files(folder: Path) -> list[ReservedFile]:
    return [ReservedFile(path, _RESERVE_BYTES) for path in sorted(folder.glob("signals-*.left"))]
