"""The PostgreSQL of the data folder: shared by all our programs, started by the first, stopped by the last.

Nothing else in the project starts or stops it. The server listens on one UNIX socket that only the
owner of the data folder (and root) can open, and on no TCP port. A program that was killed leaves
no lock and no count behind: users are known by pid and start time, and the next start takes over a postmaster
that still runs.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from liualgotrader.common.clock import SECOND, block, machine_now
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.files import replace_file
from liualgotrader.postgres.backup import make_current
from liualgotrader.postgres.cluster import SUPERUSER, Cluster, birth_of, boot
from liualgotrader.postgres.installation import installed_programs, let_through, programs_for, server_account

__all__ = ["DEFAULT_DATABASE", "SIMULATED_DATABASE", "EmbeddedServer"]

DEFAULT_DATABASE = "liualgotrader"
SIMULATED_DATABASE = "liu_simulated"
_RECOVERY_SECONDS = 5
_LOCK_SECONDS = 90
_LOOK_AGAIN_SECONDS = 0.02
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class EmbeddedServer:
    """The running server, used by this process until `release`. Also a context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._token = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._process = os.getpid()
        self._released = False

    # --- life ---------------------------------------------------------------------------------

    @classmethod
    def start(cls, home: Path) -> EmbeddedServer:
        """Return the server of the data folder `home`, started, upgraded or taken over as needed.

        Blocks: 0.1 s when it runs already, about 1 s the first time. As root the server runs as the system
        account `liualgotrader`, and `home` must lie where that account can pass (see `server_account`).

        Raises:
            ConfigError: if `home` cannot be used.
            OutsideError: if the disk is full or the server does not come up.
        """
        home = prepare(home)
        with locked_users(home) as users:
            server = cls(make_current(cluster_of(home)))
            server.cluster.start()
            users.add(server._token)
        atexit.register(server.release)
        return server

    def release(self) -> None:
        """Stop using the server; the last user stops it. Safe to repeat; does nothing in a forked child."""
        if self._released or os.getpid() != self._process:
            return
        self._released = True
        atexit.unregister(self.release)
        home = self.cluster.home
        if not home.exists():  # the data folder was removed
            return
        with locked_users(home) as users:
            usage = users.remove(self._token)
            if not usage.users and not usage.kept_since_boot:
                self.cluster.stop()

    def restart_if_dead(self) -> bool:
        """Start the server again if its postmaster was killed; return whether it had to be.

        One that lives but does not answer is given five seconds to recover or to end.
        """
        with locked_users(self.cluster.home):
            if self.cluster.answers_within(_RECOVERY_SECONDS) or self.cluster.postmaster() is not None:
                return False
            self.cluster.start()
            return True

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    # --- what it is ---------------------------------------------------------------------------

    @property
    def postmaster_pid(self) -> int | None:
        """Return the process that owns all of the server's others, None if it was killed."""
        return self.cluster.postmaster()

    def dsn(self, database: str = DEFAULT_DATABASE) -> str:
        """Return the address of a database; it holds no password, the socket's folder is the protection."""
        return self.cluster.dsn(database)

    def psql_command(self, database: str = DEFAULT_DATABASE) -> list[str]:
        """Return the command that opens an interactive session."""
        return [self.cluster.programs.path("psql"), "-d", self.dsn(database)]

    # --- databases ----------------------------------------------------------------------------

    def ensure_database(self, name: str, *, template: str = "template1") -> None:
        """Make the database unless it is there; with `template`, as a copy of another that has no connections.

        Raises:
            ConfigError: if the name is not lower-case letters, digits and underscores.
        """
        _check_name(name)
        _check_name(template)
        if name in self.databases():
            return
        try:
            self.run_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        except OutsideError:
            if name not in self.databases():  # otherwise another program has just made it
                raise

    def drop_database(self, name: str) -> None:
        """Remove a database and end its connections."""
        _check_name(name)
        self.run_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def databases(self) -> Sequence[str]:
        """Return the names of all databases but the server's own."""
        return self.cluster.databases()

    def run_sql(self, statement: str, *, database: str = SUPERUSER) -> str:
        """Run one statement outside a transaction and return the unaligned rows."""
        return self.cluster.run_sql(statement, database=database)


# --- the data folder, also for `liu db` ---------------------------------------------------------


def prepare(home: Path) -> Path:
    """Return the data folder as an absolute path, made if it is not there.

    Raises:
        ConfigError: if it cannot be made or entered.
    """
    home = home.expanduser().resolve()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "run").mkdir(mode=0o700, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"The data folder {home} cannot be made: {e.strerror}; set LIU_HOME to another.") from e
    let_through(server_account(), home / "run", ours=home)
    return home


def holds_server(home: Path) -> bool:
    """Whether the data folder has the server's files already, also those of a version before."""
    return any(home.glob("postgres*"))


def cluster_of(home: Path) -> Cluster:
    """Return the cluster of a prepared data folder, with programs that its account can run."""
    account = server_account()
    return Cluster(home, home / "postgres", account, programs_for(installed_programs(), account, home))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be the name of a database: use lower-case letters, digits and underscores.")


# --- who uses it now: a list with a lock, in `run/` of the data folder -----------------------------------


class User(msgspec.Struct, frozen=True):
    """A program that needs the server; `token` tells several uses by one program apart."""

    pid: int
    birth: str  # tells a process from a later one with the same pid
    token: str


class Usage(msgspec.Struct, frozen=True):
    """The users, and whether `liu db start` asked the server to stay when the last one leaves."""

    users: tuple[User, ...] = ()
    kept_since_boot: str = ""


class UsersFile:
    """The list on disk; see `locked_users`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, token: str) -> None:
        """Add this process under `token`; dead users are removed."""
        usage = self.read()
        me = User(os.getpid(), birth_of(os.getpid()) or "", token)
        self._write(msgspec.structs.replace(usage, users=(*usage.users, me)))

    def remove(self, token: str) -> Usage:
        """Remove `token` and dead users; return who is left."""
        usage = self.read()
        left = msgspec.structs.replace(usage, users=tuple(u for u in usage.users if u.token != token))
        self._write(left)
        return left

    def keep(self, wanted: bool) -> None:
        """Set whether the server outlives its last user, until the machine boots again."""
        self._write(msgspec.structs.replace(self.read(), kept_since_boot=boot() if wanted else ""))

    def read(self) -> Usage:
        """Return the users that are alive."""
        try:
            usage = msgspec.json.decode(self._path.read_bytes(), type=Usage)
        except (FileNotFoundError, msgspec.MsgspecError):  # absent, or cut by a crash
            return Usage()
        alive = tuple(user for user in usage.users if birth_of(user.pid) == user.birth)
        kept = usage.kept_since_boot if usage.kept_since_boot == boot() else ""
        return Usage(alive, kept)

    def _write(self, usage: Usage) -> None:
        try:
            replace_file(self._path, msgspec.json.encode(usage))
        except OSError as e:
            raise OutsideError(f"{self._path} cannot be written: {e.strerror}.") from e


@contextmanager
def locked_users(home: Path) -> Iterator[UsersFile]:
    """Lend the list with its lock held, under which the server is started, stopped and counted.

    The system releases the lock if this process dies.

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
