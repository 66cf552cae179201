"""How long each event took from the wire, kept in shared memory: written by one process, read by the harness."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CAPACITY = 1 << 22  # events of one process between two readings
_CELL = 8
_CHUNK = 1 << 16
_SUFFIX = ".ns"


def shared_folder() -> Path:
    """Return a fresh folder in memory where there is one, else on disk."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="liu-bench-", dir=memory if memory.is_dir() else None))


def open_cells(folder: Path) -> memoryview:
    """Return this process's cells, 64-bit and all zero, in a file of `folder` named after the process.

    Write ns that are not 0 from the first cell on, and begin again at the first when they are used up.
    """
    path = folder / f"{os.getpid()}{_SUFFIX}"
    with path.open("w+b") as file:
        file.truncate(CAPACITY * _CELL)
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("q")


class Readings:
    """What a process wrote, from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self._cells: NDArray[np.int64] = np.memmap(path, dtype=np.int64, mode="r+")
        self._first = 0  # not read yet
        self._ready = 0  # cells after it that are known to be written

    def count(self) -> int:
        """Return how many cells wait to be read."""
        while self._ready < CAPACITY:
            at = (self._first + self._ready) % CAPACITY
            chunk = self._cells[at : at + min(_CHUNK, CAPACITY - self._ready)]
            empty = np.flatnonzero(chunk == 0)
            if empty.size:
                self._ready += int(empty[0])
                break
            self._ready += chunk.size
        return self._ready

    def take(self) -> NDArray[np.int64]:
        """Return what waits, in the order in which it was written, and clear the cells."""
        count = self.count()
        where = np.arange(self._first, self._first + count) % CAPACITY
        taken = self._cells[where]
        self._cells[where] = 0
        self._first = (self._first + count) % CAPACITY
        self._ready = 0
        return taken


class AllReadings:
    """The readings of all processes that wrote into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Readings] = {}

    def count(self) -> int:
        """Return how many events wait to be read."""
        self._look()
        return sum(readings.count() for readings in self._known.values())

    def take(self) -> list[NDArray[np.int64]]:
        """Return what waits, an array per process in the order of arrival, and clear the cells."""
        self._look()
        return [readings.take() for readings in self._known.values()]

    def _look(self) -> None:
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if path.name not in self._known and path.stat().st_size == CAPACITY * _CELL:
                self._known[path.name] = Readings(path)
