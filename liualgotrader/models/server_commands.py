"""What `liu db` does: the embedded PostgreSQL by hand."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.models.server import (
    DEFAULT_DATABASE,
    EmbeddedServer,
    cluster_of,
    lock_path,
    prepare,
    users_file,
    users_of,
)
from liualgotrader.models.server_users import locked
from liualgotrader.models.store_factory import open_store

USAGE = """\
usage: liu db COMMAND

  start             start the private PostgreSQL and let it run until `liu db stop`
  stop [--force]    stop it; with --force also while programs use it
  status            say whether it runs, where, who uses it, and how large its databases are
  psql [DATABASE] [ARGUMENTS]  open an interactive session; the arguments are psql's own, such as -c 'select …'
  migrate [DATABASE]  bring the tables of a database to this version
  backup FILE       write all databases into one file; --force replaces one that is there
  restore FILE      replace databases by those in the file: all of them, or none
"""
SIZES = """
    SELECT datname, pg_size_pretty(pg_database_size(datname)) FROM pg_database
    WHERE NOT datistemplate AND datname <> 'postgres'
    ORDER BY datname
"""


def run_db_command(args: Sequence[str], home: Path) -> int:
    """Run `liu db ARGS` on the data folder `home`; return the exit status, having written what a person should see.

    0 done; 2 the command makes no sense; 3 PostgreSQL or the disk said no.
    """
    name, rest = (args[0], list(args[1:])) if args else ("", [])
    command = _COMMANDS.get(name)
    if command is None:
        sys.stdout.write(USAGE)
        return 0 if name in ("", "help", "--help", "-h") else 2
    try:
        return command(rest, home)
    except LiuError as e:
        sys.stderr.write(f"{e}\n")
        return e.exit_code


def start_command(args: Sequence[str], home: Path) -> int:
    """Start the server and ask it to stay."""
    _no_arguments("start", args)
    with EmbeddedServer.start(home) as server:
        server.ensure_database(DEFAULT_DATABASE)
        _keep(home, wanted=True)
        _say(f"PostgreSQL {server.version} runs (process {server.postmaster_pid}).", f"DSN={server.dsn()}")
    return 0


def stop_command(args: Sequence[str], home: Path) -> int:
    """Stop the server, unless programs use it."""
    force = list(args) == ["--force"]
    if not force:
        _no_arguments("stop", args)
    home = prepare(home)
    cluster = cluster_of(home)
    with locked(lock_path(home)):
        users = users_file(home)
        users.keep(False)
        pids = sorted({str(user.pid) for user in users.read().users})
        if cluster.postmaster() is None:
            _say("PostgreSQL does not run.")
            return 0
        if pids and not force:
            _say(f"PostgreSQL is in use by process {', '.join(pids)}; it stops with the last of them.")
            return 3
        cluster.stop()
    _say("PostgreSQL has stopped.")
    return 0


def status_command(args: Sequence[str], home: Path) -> int:
    """Say how the server is, without starting it."""
    _no_arguments("status", args)
    home = prepare(home)
    cluster = cluster_of(home)
    usage = users_of(home)
    pid = cluster.postmaster()
    _say(f"data folder  {home}", f"version      {cluster.programs.version}")
    if pid is None:
        _say("server       stopped")
        return 0
    server = EmbeddedServer(cluster)
    users = ", ".join(sorted({str(user.pid) for user in usage.users})) or "nobody"
    kept = " (kept by `liu db start`)" if usage.kept_since_boot else ""
    _say(f"server       process {pid}{kept}", f"used by      {users}", f"DSN          {server.dsn()}")
    for line in server.run_sql(SIZES).splitlines():
        _say("database     " + line.replace("|", "  "))
    return 0


def psql_command(args: Sequence[str], home: Path) -> int:
    """Open psql on a database, with psql's own arguments behind its name; the server runs at least as long."""
    named = 0 if args and args[0].startswith("-") else 1
    with EmbeddedServer.start(home) as server:
        database = _database(server, args[:named])
        return subprocess.call([*server.psql_command(database), *args[named:]])


def migrate_command(args: Sequence[str], home: Path) -> int:
    """Bring the tables of a database to this version."""
    with EmbeddedServer.start(home) as server:
        database = _database(server, args)
        asyncio.run(_migrate(server.dsn(database)))
    _say(f"The tables of {database} are those of this version.")
    return 0


def backup_command(args: Sequence[str], home: Path) -> int:
    """Write all databases into a file."""
    path = _file("backup", [arg for arg in args if arg != "--force"])
    if path.exists() and "--force" not in args:
        raise ConfigError(f"{path} is there already; name another file, or replace it with --force.")
    with EmbeddedServer.start(home) as server:
        names = server.backup(path)
    _say(f"Saved {', '.join(names) or 'nothing, there is no database yet'} in {path}.")
    return 0


def restore_command(args: Sequence[str], home: Path) -> int:
    """Replace databases by those in a file."""
    path = _file("restore", args)
    with EmbeddedServer.start(home) as server:
        names = server.restore(path)
    _say(f"Restored {', '.join(names)} from {path}.")
    return 0


_COMMANDS: Mapping[str, Callable[[Sequence[str], Path], int]] = {
    "start": start_command,
    "stop": stop_command,
    "status": status_command,
    "psql": psql_command,
    "migrate": migrate_command,
    "backup": backup_command,
    "restore": restore_command,
}


async def _migrate(dsn: str) -> None:
    await (await open_store(dsn, migrate=True)).close()


def _keep(home: Path, *, wanted: bool) -> None:
    home = prepare(home)
    with locked(lock_path(home)):
        users_file(home).keep(wanted)


def _database(server: EmbeddedServer, args: Sequence[str]) -> str:
    """Return the database that is meant; only the one without a name is made if it is not there."""
    if len(args) > 1:
        raise ConfigError("Name one database at most.")
    if not args or args[0] == DEFAULT_DATABASE:
        server.ensure_database(DEFAULT_DATABASE)
        return DEFAULT_DATABASE
    there = server.databases()
    if args[0] not in there:
        raise ConfigError(f"There is no database {args[0]}; there is {', '.join(there) or 'none yet'}.")
    return args[0]


def _file(command: str, args: Sequence[str]) -> Path:
    if len(args) != 1:
        raise ConfigError(f"`liu db {command}` needs the name of one file.")
    return Path(args[0]).expanduser().resolve()


def _no_arguments(command: str, args: Sequence[str]) -> None:
    if args:
        raise ConfigError(f"`liu db {command}` does not know {' '.join(args)}.")


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
