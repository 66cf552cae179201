"""Which system account runs the embedded PostgreSQL, and which folders it may enter.

PostgreSQL refuses to run as root. An ordinary user's server runs as that user, and all files are that
user's alone. Root's server runs as the system account `liualgotrader` (no password, no shell, no home),
which is made when it is missing. Nothing else is opened up for it: a folder above the data that the
account cannot enter is an error that says so, except in the temp folder, whose contents are throw-away;
there the right to pass through (not to list or read) is added.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liualgotrader.common.config import ROOT_HOME
from liualgotrader.common.errors import ConfigError

ACCOUNT_NAME = "liualgotrader"


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """The account that the server runs as; `is_other` if it is not the caller's own."""

    uid: int
    gid: int
    is_other: bool

    def as_process(self) -> dict[str, Any]:
        """Return the arguments that make `subprocess` start a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_other else {}

    def own(self, path: Path) -> None:
        """Give a file or folder of ours to the account."""
        if self.is_other:
            os.chown(path, self.uid, self.gid)


def server_account() -> ServerAccount:
    """Return the account for the server, making the system account if root asks for it the first time.

    Raises:
        ConfigError: if root cannot make the account.
    """
    if os.geteuid() != 0:
        return ServerAccount(os.geteuid(), os.getegid(), is_other=False)
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        entry = _make_account()
    return ServerAccount(entry.pw_uid, entry.pw_gid, is_other=True)


def _make_account() -> pwd.struct_passwd:
    with open("/etc/passwd") as users:  # two useradd at once give the account two ids, and the first is lost
        fcntl.flock(users, fcntl.LOCK_EX)
        with suppress(KeyError):
            return pwd.getpwnam(ACCOUNT_NAME)
        return _add_account()


def _add_account() -> pwd.struct_passwd:
    useradd = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    adduser = ["adduser", "-S", "-D", "-H", "-s", "/sbin/nologin"]  # BusyBox
    commands = [[*useradd, "--shell", "/usr/sbin/nologin", ACCOUNT_NAME], [*adduser, ACCOUNT_NAME]]
    for command in commands:
        if shutil.which(command[0]) is None:
            continue
        subprocess.run(command, capture_output=True, timeout=30, check=False)
        with suppress(KeyError):
            return pwd.getpwnam(ACCOUNT_NAME)
    raise ConfigError(
        f"PostgreSQL cannot run as root and the system account {ACCOUNT_NAME} could not be made: "
        "run as an ordinary user, or set DSN to the address of a PostgreSQL server."
    )


def open_to(account: ServerAccount, path: Path) -> bool:
    """Return whether the account can reach and read `path` by the permission bits."""
    return _allows(account, path, read=True) and all(_allows(account, p, read=False) for p in path.parents)


def _allows(account: ServerAccount, path: Path, *, read: bool) -> bool:
    status = path.stat()
    wanted = 0o1 if stat.S_ISDIR(status.st_mode) and not read else 0o4
    shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
    return bool(status.st_mode >> shift & wanted)


def let_through(account: ServerAccount, folder: Path, *, ours: Path) -> None:
    """See that the account can pass through `folder` and every folder above it.

    `ours` is the data folder: it and what lies in it are made passable, as is the temp folder's content.

    Raises:
        ConfigError: if a folder that is not ours stands in the way.
    """
    if not account.is_other:
        return
    temporary = Path(tempfile.gettempdir()).resolve()
    for step in (folder, *folder.parents):
        if _allows(account, step, read=False):
            continue
        if step == ours or ours in step.parents or temporary in step.parents:
            step.chmod(step.stat().st_mode | 0o011)
            continue
        raise ConfigError(
            f"PostgreSQL cannot run as root, and its system account {ACCOUNT_NAME} may not enter {step}: "
            f"set LIU_HOME to a folder that others may enter, for example {ROOT_HOME}."
        )
