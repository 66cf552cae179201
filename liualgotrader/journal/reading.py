"""The format of a journal file, its reader, and the check of what follows the last record.

The file begins with a header (mark, version). A record is its own small header, then the payload:

    mark 4 | length 4 | crc32 4 | synced 8 | payload        (little endian)

The checksum covers length, synced and payload. `synced` is how much of the file was known to be on disk when
the record was appended: it tells a torn end, which was never relied on, from damage further inside. Behind the last record is nothing, or zeros kept in reserve.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from liualgotrader.common.errors import MoneyNeedsAPerson

VERSION = 1
MAGIC = b"liu-journal\0"
FILE_HEADER = MAGIC + VERSION.to_bytes(4, "little")

MARK = b"\xa5liu"
_HEAD = struct.Struct("<4sIIQ")
_COVERED = struct.Struct("<IQ")
HEAD_BYTES = _HEAD.size
MOST_BYTES = 256 * 1024 * 1024  # of one payload; a larger length is damage


class JournalDamaged(MoneyNeedsAPerson):
    """A journal has lost records that were on disk; the rest may lead to a wrong state."""


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


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """Yield the file's bytes; none if it is absent or empty."""
    if not path.exists() or not path.stat().st_size:
        yield memoryview(b"")
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        yield data


def _check_header(path: Path, data: memoryview) -> bool:
    """Return whether the file is still empty, as its first write did not finish."""
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


def frame(payload: bytes, synced: int) -> bytes:
    """Return the record that holds `payload`."""
    return _HEAD.pack(MARK, len(payload), _checksum(payload, synced), synced) + payload


def record_at(data: memoryview, at: int) -> tuple[int, int, int] | None:
    """Return (start of the payload, end of the record, synced) of a whole record at `at`, None if there is none."""
    if at + HEAD_BYTES > len(data):
        return None
    mark, length, checksum, synced = _HEAD.unpack_from(data, at)
    start, end = at + HEAD_BYTES, at + HEAD_BYTES + length
    if mark != MARK or length > MOST_BYTES or end > len(data):
        return None
    return (start, end, synced) if _checksum(data[start:end], synced) == checksum else None


def _checksum(payload: bytes | memoryview, synced: int) -> int:
    return crc32(payload, crc32(_COVERED.pack(len(payload), synced)))
