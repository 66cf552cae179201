"""The order numbers this consumer has used, kept over its own death so that no id is ever given twice."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

_CELL = 8  # bytes


class OrderNumbers:
    """A small mapped file with the highest number per slot. A write outlives the process at once.

    After the loss of the whole machine it may lag; the gateway's `CaughtUp` then says the next free number.
    """

    def __init__(self, path: Path, slots: Sequence[int]) -> None:
        size = (max(slots, default=0) + 1) * _CELL
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        if path.stat().st_size < size:
            with path.open("ab") as file:
                file.write(bytes(size - path.stat().st_size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._cells = memoryview(self._map).cast("q")

    def highest(self, slot: int) -> int:
        """Return the highest number used by a slot, 0 if none."""
        return self._cells[slot]

    def use(self, slot: int, number: int) -> None:
        """Remember that a slot has used a number."""
        self._cells[slot] = max(self._cells[slot], number)

    def close(self) -> None:
        """Let go of the file."""
        self._cells.release()
        self._map.close()
