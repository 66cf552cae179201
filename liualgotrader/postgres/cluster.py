"""One PostgreSQL data folder and the postmaster that serves it: make, start, find, stop, clear up after a crash."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from liualgotrader.common.clock import SECOND, block, machine_now
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.postgres.installation import Programs, ServerAccount, let_through, run_program, sentence_of

SUPERUSER = "postgres"
_PORT = 5432  # only names the socket file; no TCP port is opened
_SOCKET_FILE = f".s.PGSQL.{_PORT}"
_LONGEST_SOCKET_PATH = 100  # bytes; the system's limit is 108 on Linux, 104 on macOS (unix(7), sun_path)
_START_SECONDS = 60
_STOP_SECONDS = 30
_ORPHAN_SECONDS = 5
_LOG_BYTES = 10_000_000
_LOOK_AGAIN_SECONDS = 0.01
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

LIST_DATABASES = """
    SELECT datname FROM pg_database
    WHERE NOT datistemplate AND datname <> 'postgres' AND datname !~ '^_(incoming|replaced)_[0-9]+$'
    ORDER BY datname
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The data folder `data` of the data folder `home`, and the programs that fit it."""

    home: Path
    data: Path
    account: ServerAccount
    programs: Programs

    # --- where things are ---------------------------------------------------------------------

    @property
    def socket_folder(self) -> Path:
        """Return the folder of the socket: `run/pg` of the data folder, or a short one in the temp folder.

        Only the server's account (and root) can enter it, which is the whole of the access control.
        """
        name = "pg" if self.data.name == "postgres" else f"pg-{self.data.name}"
        usual = self.home / "run" / name
        if len(os.fsencode(usual / _SOCKET_FILE)) <= _LONGEST_SOCKET_PATH:
            return usual
        return Path(tempfile.gettempdir()) / f"liu-{self._mark}"

    @property
    def log(self) -> Path:
        """Return the server's own log."""
        return self.home / "logs" / "postgres.log"

    @property
    def major(self) -> int | None:
        """Return the major version that made the data folder, None if there is none yet."""
        with suppress(FileNotFoundError):
            return int((self.data / "PG_VERSION").read_text().split(".")[0])
        return None

    @property
    def _mark(self) -> str:
        return hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]

    # --- making -------------------------------------------------------------------------------

    def make(self) -> None:
        """Make the data folder if it is not there; a half-made one of a killed program is made anew.

        Raises:
            ConfigError: if the folder cannot be written.
            OutsideError: if the disk is full.
        """
        if self.data.exists():
            return
        unfinished = self.data.with_name(f"{self.data.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._folder(unfinished)
        access = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        command = [self.programs.path("initdb"), *access, "-U", SUPERUSER, "-D", str(unfinished)]
        run_program(command, account=self.account, seconds=120)
        unfinished.rename(self.data)

    def _folder(self, folder: Path) -> None:
        """Make a folder for the server alone."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.lstat()  # in the temp folder another user may have put a link there
            if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (self.account.uid, os.geteuid()):
                raise ConfigError(f"{folder} belongs to another user; remove it or set LIU_HOME to another folder.")
            folder.chmod(0o700)
            self.account.own(folder)
        except OSError as e:
            raise ConfigError(f"{folder} cannot be made: {e.strerror}; set LIU_HOME to a folder you may write.") from e
        let_through(self.account, folder.parent, ours=self.home)

    # --- the postmaster -----------------------------------------------------------------------

    def postmaster(self) -> int | None:
        """Return the pid of the living postmaster of this data folder, None if there is none."""
        with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            pid = int((self.data / "postmaster.pid").read_text().split("\n")[0])
            if birth_of(pid) is not None and str(self.data) in psutil.Process(pid).cmdline():
                return pid
        return None

    def start(self) -> None:
        """Start the postmaster, in a session of its own so that Ctrl-C does not reach it; return when it answers.

        Raises:
            OutsideError: if it does not come up; the sentence is the newest error of its log.
        """
        if self.postmaster() is None:
            self._clear_leftovers()
            self._folder(self.socket_folder)
            before = self._prepare_log()
            settings = {
                "listen_addresses": "",
                "port": str(_PORT),
                "unix_socket_directories": f'"{self.socket_folder}"',
                "unix_socket_permissions": "0700",
                "cluster_name": f"liu-{self._mark}",
                "timezone": "UTC",
                "log_timezone": "UTC",
            }
            options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
            command = [self.programs.path("pg_ctl"), "start", "--silent", "--wait", "-t", str(_START_SECONDS)]
            places = ["-D", str(self.data), "-l", str(self.log), "-o", options]
            try:
                run_program([*command, *places], account=self.account, seconds=_START_SECONDS + 10)
            except OutsideError as e:
                with suppress(OSError), self.log.open("rb") as log:
                    log.seek(before)
                    text = log.read().decode(errors="replace")
                    if "FATAL" in text or "PANIC" in text:
                        raise OutsideError(sentence_of("server", text)) from e
                raise
        if not self.answers_within(_START_SECONDS):
            raise OutsideError(f"PostgreSQL does not answer; its log is {self.log}.")

    def _prepare_log(self) -> int:
        """Return how long the log is before this start; a log that grew large starts anew beside the old one."""
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            let_through(self.account, self.log.parent, ours=self.home)
            if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
                self.log.rename(self.log.with_suffix(".log.1"))
            self.log.touch(mode=0o600)
            self.account.own(self.log)
            return self.log.stat().st_size
        except OSError as e:
            raise ConfigError(f"{self.log} cannot be written: {e.strerror}; set LIU_HOME to another folder.") from e

    def answers_within(self, seconds: float) -> bool:
        """Return True as soon as the server takes connections, False when its postmaster is gone or time is up."""
        ready = [self.programs.path("pg_isready"), "-q", "-h", str(self.socket_folder), "-p", str(_PORT)]
        until = machine_now() + int(seconds * SECOND)
        while self.postmaster() is not None:
            with suppress(OutsideError):
                run_program(ready, seconds=10)
                return True
            if machine_now() > until:
                return False
            block(_LOOK_AGAIN_SECONDS)
        return False

    def stop(self) -> None:
        """End the postmaster: with a fast shutdown (open transactions are rolled back), then at once."""
        for sign, seconds in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGQUIT, _ORPHAN_SECONDS)):
            pid = self.postmaster()
            if pid is None:
                break
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
            _wait_for_end([pid], seconds)
        self._clear_leftovers()

    # --- what it serves -----------------------------------------------------------------------

    def dsn(self, database: str = SUPERUSER) -> str:
        """Return the address of a database; it holds no password, the socket's folder is the protection."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.socket_folder), safe='/')}"

    def run_sql(self, statement: str, *, database: str = SUPERUSER) -> str:
        """Run one statement outside a transaction and return the unaligned rows."""
        command = [self.programs.path("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(database)]
        return run_program([*command, "-c", statement], seconds=120)

    def databases(self) -> Sequence[str]:
        """Return the names of all databases but the server's own, and what a restore that was killed has left."""
        return self.run_sql(LIST_DATABASES).split()

    # --- after a crash ------------------------------------------------------------------------

    def _clear_leftovers(self) -> None:
        """Remove what a killed postmaster left: its children first, then the files that name its pid.

        A server process that survives its postmaster ends by itself within a second; one that does not
        would write into the data of the next server, so it is ended. Only then may the pid file go.
        """
        _wait_for_end(self._server_processes(), _ORPHAN_SECONDS)
        remaining = self._server_processes()
        for pid in remaining:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait_for_end(remaining, _ORPHAN_SECONDS)
        leftovers = (_SOCKET_FILE, f"{_SOCKET_FILE}.lock")
        for path in (self.data / "postmaster.pid", *(self.socket_folder / name for name in leftovers)):
            path.unlink(missing_ok=True)

    def _server_processes(self) -> Sequence[int]:
        """Return the processes of this cluster; they carry its `cluster_name` in their titles."""
        title = f"postgres: liu-{self._mark}:"
        found: list[int] = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                command = process.cmdline()
                if command and command[0].startswith(title):
                    found.append(process.pid)
        return found


def _wait_for_end(pids: Sequence[int], seconds: float) -> None:
    until = machine_now() + int(seconds * SECOND)
    while any(birth_of(pid) is not None for pid in pids) and machine_now() < until:
        block(_LOOK_AGAIN_SECONDS)


def birth_of(pid: int) -> str | None:
    """Return a text that tells a process from a later one with its pid, None if it is dead or a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        with suppress(OSError):
            # Its start in clock ticks since boot, which setting the clock does not change: proc_pid_stat(5), field 22;
            # the second field may itself contain spaces and brackets.
            ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
            return f"{boot()}:{ticks}"
        return f"{process.create_time():.0f}"
    except psutil.NoSuchProcess:
        return None


def boot() -> str:
    """Return a text that changes when the machine boots."""
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return f"{psutil.boot_time():.0f}"
