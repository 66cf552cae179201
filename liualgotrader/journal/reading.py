"""Reading a journal: every whole record, and what to think of what comes after the last one."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from liualgotrader.common.errors import MoneyNeedsAPerson
from liualgotrader.journal.format import FILE_HEADER, MAGIC, MARK, VERSION, record_at


class JournalDamaged(MoneyNeedsAPerson):
    """A journal has lost records that were on disk; what follows from the rest may be wrong."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a journal file holds: `end` is where the next record goes, `torn` how many bytes of a broken one follow."""

    records: int
    end: int
    torn: int


def read_journal(path: Path) -> Iterator[bytes]:
    """Yield the payload of every record, oldest first; nothing if the file is absent or empty.

    Stops before a torn last record. The file may grow meanwhile; what is appended later is not seen.

    Raises:
        JournalDamaged: if a record is broken that had been on disk, or the file is not a journal of this version.
    """
    with _mapped(path) as data:
        if _check_header(path, data):
            return
        at = len(FILE_HEADER)
        while (found := record_at(data, at)) is not None:
            start, at, _ = found
            yield bytes(data[start:at])
        _check_end(path, data, at)


def scan(path: Path) -> Scan:
    """Return what the file holds, without its payloads; raises as `read_journal` does."""
    with _mapped(path) as data:
        if _check_header(path, data):
            return Scan(0, 0, 0)
        at, records = len(FILE_HEADER), 0
        while (found := record_at(data, at)) is not None:
            at, records = found[1], records + 1
        return Scan(records, at, _check_end(path, data, at))


class _mapped:
    """The file's bytes, as a view that is let go at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None

    def __enter__(self) -> memoryview:
        if not self._path.exists() or self._path.stat().st_size == 0:
            self._view = memoryview(b"")
            return self._view
        with self._path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        return self._view

    def __exit__(self, *_: object) -> None:
        self._view.release()
        if self._map is not None:
            self._map.close()


def _check_header(path: Path, data: memoryview) -> bool:
    """Say whether the file is still empty (its first write did not come to an end)."""
    header = bytes(data[: len(FILE_HEADER)])
    if len(header) < len(FILE_HEADER) and FILE_HEADER.startswith(header):
        return True
    if header == FILE_HEADER:
        return False
    if header.startswith(MAGIC):
        version = int.from_bytes(header[len(MAGIC) :], "little")
        raise JournalDamaged(
            f"{path} has format {version}, this program reads {VERSION}: use the program that wrote it."
        )
    raise JournalDamaged(
        f"{path} does not begin as a journal does: restore it, or move it away and start `trader` again, which rebuilds its batch"
    )


def _check_end(path: Path, data: memoryview, end: int) -> int:
    """Return how many bytes of a torn record follow the last whole one.

    Zeros are reserve. A later whole record that was appended when `end` was already on disk proves that
    what is broken here had been whole once.
    """
    rest = bytes(data[end:])
    torn = len(rest.rstrip(b"\0"))
    at = rest.find(MARK, 1)
    while torn and at >= 0:
        found = record_at(data, end + at)
        if found is not None and found[2] > end:
            raise JournalDamaged(
                f"{path} is damaged at byte {end}, and whole records follow: restore it from a copy, or move it away, "
                "then start `trader` again, which rebuilds the batch from the database and the broker"
            )
        at = rest.find(MARK, at + 1)
    return torn
