"""How records lie in a journal file.

The file begins with a header (mark, version). A record is its own small header and then the payload:

    mark 4 | length 4 | crc32 4 | synced 8 | payload        (little endian)

The checksum covers length, synced and payload. `synced` is how much of the file was known to be on disk when
the record was appended: by it a reader can tell a torn end (which nobody relied on) from damage further
inside. What lies behind the last record is either nothing or zeros, kept in reserve.
"""

from __future__ import annotations

import struct
from zlib import crc32

VERSION = 1
MAGIC = b"liu-journal\0"
FILE_HEADER = MAGIC + VERSION.to_bytes(4, "little")

MARK = b"\xa5liu"
_HEAD = struct.Struct("<4sIIQ")
_COVERED = struct.Struct("<IQ")
HEAD_BYTES = _HEAD.size
MOST_BYTES = 256 * 1024 * 1024  # of one payload; a larger length is damage


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
