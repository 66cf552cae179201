"""The programs that use the embedded PostgreSQL now: a list with a lock, in `run/` of the data folder."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

from liualgotrader.common.clock import SECOND, block, machine_now
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.files import replace_file

_LOCK_SECONDS = 90
_LOOK_AGAIN_SECONDS = 0.02
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class User(msgspec.Struct, frozen=True):
    """A program that needs the server; `token` tells several uses by one program apart."""

    pid: int
    birth: str  # tells a process from a later one with the same pid
    token: str


class Usage(msgspec.Struct, frozen=True):
    """The users, and whether `liu db start` asked the server to stay when the last one leaves."""

    users: tuple[User, ...] = ()
    kept_since_boot: str = ""


def birth_of(pid: int) -> str | None:
    """Return a text that no other process of this machine ever has, None if the process is dead or a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        with suppress(OSError):
            # Its start in clock ticks since boot, which setting the clock does not change: proc_pid_stat(5), field 22;
            # the second field may itself contain spaces and brackets.
            ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
            return f"{_boot()}:{ticks}"
        return f"{process.create_time():.0f}"
    except psutil.NoSuchProcess:
        return None


def _boot() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return f"{psutil.boot_time():.0f}"


class UsersFile:
    """The list on disk; see `locked_users`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, token: str) -> None:
        """Enter this process under `token`; the dead are struck out."""
        usage = self.read()
        me = User(os.getpid(), birth_of(os.getpid()) or "", token)
        self._write(msgspec.structs.replace(usage, users=(*usage.users, me)))

    def remove(self, token: str) -> Usage:
        """Strike out `token` and the dead; return who is left."""
        usage = self.read()
        left = msgspec.structs.replace(usage, users=tuple(u for u in usage.users if u.token != token))
        self._write(left)
        return left

    def keep(self, wanted: bool) -> None:
        """Set whether the server outlives its last user, until the machine boots again."""
        self._write(msgspec.structs.replace(self.read(), kept_since_boot=_boot() if wanted else ""))

    def read(self) -> Usage:
        """Return the living users."""
        try:
            usage = msgspec.json.decode(self._path.read_bytes(), type=Usage)
        except (FileNotFoundError, msgspec.MsgspecError):  # absent, or cut by a crash
            return Usage()
        alive = tuple(user for user in usage.users if birth_of(user.pid) == user.birth)
        kept = usage.kept_since_boot if usage.kept_since_boot == _boot() else ""
        return Usage(alive, kept)

    def _write(self, usage: Usage) -> None:
        try:
            replace_file(self._path, msgspec.json.encode(usage))
        except OSError as e:
            raise OutsideError(f"{self._path} cannot be written: {e.strerror}.") from e


@contextmanager
def locked_users(home: Path) -> Iterator[UsersFile]:
    """Lend the list with its lock held, under which the server is started, stopped and counted.

    The system lets go of the lock if this process dies.

    Raises:
        OutsideError: if another program holds it for a minute and a half.
        ConfigError: if the file cannot be written.
    """
    path = home / "run" / "postgres.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise ConfigError(f"The data folder cannot be written ({path}: {e.strerror}); set LIU_HOME to another.") from e
    try:
        until = machine_now() + _LOCK_SECONDS * SECOND
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as e:
                if e.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR):
                    raise OutsideError(f"The lock {path} cannot be taken: {e.strerror}.") from e
            if machine_now() > until:
                raise OutsideError(f"Another program has held {path} for {_LOCK_SECONDS} s; end it and start again.")
            block(_LOOK_AGAIN_SECONDS)
        yield UsersFile(home / "run" / "postgres.users.json")
    finally:
        os.close(handle)
