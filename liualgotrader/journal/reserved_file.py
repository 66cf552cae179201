"""A small file whose disk space is allocated early, so that it can still be written when the disk is full."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from contextlib import suppress
from pathlib import Path

_HEAD = struct.Struct("<QI")  # how long the contents are, and their CRC-32


class ReservedFile:
    """One file at `path` with space for `room` bytes."""

    def __init__(self, path: Path, room: int) -> None:
        self.path, self._room = path, room

    def reserve(self) -> None:
        """Allocate the space, as far as the disk has it; what was kept there stays."""
        with suppress(OSError), self.path.open("ab") as file:
            if sys.platform == "linux":
                os.posix_fallocate(file.fileno(), 0, self._room)

    def keep(self, data: bytes) -> None:
        """Write `data` in place of what was kept, and bring it to disk.

        Raises:
            OSError: if the disk does not take it.
        """
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(_HEAD.pack(len(data), zlib.crc32(data)) + data)
            file.flush()
            os.fsync(file.fileno())

    def kept(self) -> bytes:
        """Return what was kept, empty if there is nothing whole."""
        if not self.path.exists():
            return b""
        found = self.path.read_bytes()
        if len(found) < _HEAD.size:
            return b""
        length, check = _HEAD.unpack_from(found)
        data = found[_HEAD.size : _HEAD.size + length]
        return data if len(data) == length and zlib.crc32(data) == check else b""

    def forget(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
