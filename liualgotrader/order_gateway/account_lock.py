"""One gateway per account on this machine, and the account's kill switch, both kept as files of the data folder.

The database's lease guards the account against other machines; the lock file also holds while the database is away.
File names carry a digest, never the account's number.
"""

from __future__ import annotations

import fcntl
import os
from hashlib import sha256
from pathlib import Path

from liualgotrader.common.errors import OutsideError
from liualgotrader.common.files import replace_file

_DIGITS = 16
_KILLED = "the kill switch is on"


class AccountLock:
    """Holds the account as long as this process lives, or until `close`.

    Raises:
        OutsideError: if another gateway on this machine holds it.
    """

    def __init__(self, data_folder: Path, account_number: str) -> None:
        digest = sha256(f"liu-account:{account_number}".encode()).hexdigest()[:_DIGITS]
        folder = data_folder / "run"
        folder.mkdir(parents=True, exist_ok=True)
        self._kill_file = folder / f"kill-{digest}"
        self._path = folder / f"account-{digest}.lock"
        self._file = self._taken()

    def _taken(self) -> int:
        """Return the lock file, locked: the one that has its name now, for its last holder removed it at the end."""
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                holder = os.pread(file, _DIGITS, 0).decode()
                os.close(file)
                raise OutsideError(
                    f"Another order gateway trades for this account{f' (process {holder})' if holder else ''}:"
                    " end it, then start again."
                ) from e
            if self._path.exists() and os.path.samestat(os.fstat(file), self._path.stat()):
                os.truncate(file, 0)
                os.pwrite(file, str(os.getpid()).encode(), 0)
                return file
            os.close(file)

    @property
    def killed(self) -> str:
        """Why the kill switch is on, empty while it is off: the file's existence counts, whatever it holds."""
        try:
            return self._kill_file.read_text(encoding="utf-8") or _KILLED
        except FileNotFoundError:
            return ""

    @property
    def killed_at(self) -> int:
        """Since when the kill switch is on, ns UTC of this machine's clock; 0 while it is off."""
        try:
            return self._kill_file.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def kill(self, reason: str) -> None:
        """Put the kill switch on, for every session of this account until `resume`; on disk when this returns.

        Raises:
            OSError: if the disk does not take it; one that was on before stays on.
        """
        replace_file(self._kill_file, (reason or _KILLED).encode(), durable=True)

    def resume(self) -> None:
        """Take the kill switch off."""
        self._kill_file.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the account."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1
