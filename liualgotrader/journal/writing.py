"""Appending to a journal: one writer, whole records, disk space in reserve."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from liualgotrader.common.errors import OutsideError
from liualgotrader.common.files import sync_folder
from liualgotrader.journal.reading import FILE_HEADER, frame, scan


class JournalWriter:
    """The one writer of a journal file, which is made if it is absent.

    A torn last record is cut away when the file is opened; `torn` says how many bytes it had. With `reserve`
    so many bytes are kept allocated ahead of the end, so that a full disk does not stop the writer at once.

    Raises:
        OutsideError: if another process writes the file, or it cannot be written.
        JournalDamaged: if records that had been on disk are broken.
    """

    def __init__(self, path: Path, *, reserve: int = 0) -> None:
        self.path = path
        self._reserve = reserve
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = scan(path)
            self.records = found.records  # whole records in the file
            self.torn = found.torn
            self._end = found.end
            self._allocated = found.end
            os.ftruncate(self._file, found.end)
            if not found.end:
                self._synced = 0
                self._write(FILE_HEADER)
                sync_folder(path.parent)  # the file's name itself must outlive the machine
            self._keep_reserve(0)
            self.sync()
        except BaseException as error:
            os.close(self._file)
            if isinstance(error, BlockingIOError):
                raise OutsideError(f"{path} is being written by another process: end that one first.") from error
            raise

    def append(self, payload: bytes) -> None:
        """Append one record; it survives the death of this process, and after `sync` that of the machine.

        Raises:
            OutsideError: if it could not be written whole; the records before it are untouched.
        """
        record = frame(payload, self._synced)
        self._keep_reserve(len(record))
        self._write(record)
        self.records += 1

    def sync(self) -> None:
        """Return once everything appended is on disk.

        Raises:
            OutsideError: if the disk failed; what was appended since the last `sync` may be lost.
        """
        try:
            os.fdatasync(self._file)
        except OSError as e:
            raise OutsideError(f"{self.path} could not be synced to disk ({e.strerror}): look at the disk.") from e
        self._synced = self._end

    def close(self) -> None:
        """Flush everything, and release the reserve and the file."""
        if self._file < 0:
            return
        try:
            os.ftruncate(self._file, self._end)
            self.sync()
        finally:
            os.close(self._file)
            self._file = -1

    def _write(self, data: bytes) -> None:
        """Write `data` at the end, whole or not at all."""
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._file, memoryview(data)[done:], self._end + done)
        except OSError as e:
            os.ftruncate(self._file, self._end)
            self._allocated = self._end
            what = "the disk is full" if e.errno in (errno.ENOSPC, errno.EDQUOT) else e.strerror
            raise OutsideError(f"{self.path} cannot be written, {what}: make room and start again.") from e
        self._end += len(data)

    def _keep_reserve(self, needed: int) -> None:
        """Allocate ahead; where the disk or its file system refuses, use up what is left of the reserve."""
        if not self._reserve or self._end + needed <= self._allocated - self._reserve // 2:
            return
        wanted = self._end + needed + self._reserve
        try:
            os.posix_fallocate(self._file, self._end, wanted - self._end)
            self._allocated = wanted
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EOPNOTSUPP, errno.EINVAL):
                raise OutsideError(f"{self.path}: no room could be reserved ({e.strerror}).") from e
