"""What `liu db` does: the embedded PostgreSQL by hand."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.postgres.backup import backup, restore
from liualgotrader.postgres.embedded_server import DEFAULT_DATABASE, EmbeddedServer, cluster_of, locked_users, prepare
from liualgotrader.store.store_factory import open_store

SIZES = """
    SELECT datname, pg_size_pretty(pg_database_size(datname)) FROM pg_database
    WHERE NOT datistemplate AND datname <> 'postgres'
    ORDER BY datname
"""


def run_database_command(options: argparse.Namespace, home: Path) -> int:
    """Do the command of `liu db` in `options` with the data folder `home` and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    return _COMMANDS[options.command](options, home)


def start_command(options: argparse.Namespace, home: Path) -> int:
    """Start the server and ask it to stay."""
    with EmbeddedServer.start(home) as server:
        server.ensure_database(DEFAULT_DATABASE)
        with locked_users(prepare(home)) as users:
            users.keep(True)
        _say(
            f"PostgreSQL {server.cluster.programs.version} runs (process {server.postmaster_pid}).",
            f"DSN={server.dsn()}",
        )
    return 0


def stop_command(options: argparse.Namespace, home: Path) -> int:
    """Stop the server, unless programs use it."""
    home = prepare(home)
    cluster = cluster_of(home)
    with locked_users(home) as users:
        users.keep(False)
        pids = sorted({str(user.pid) for user in users.read().users})
        if cluster.postmaster() is None:
            _say("PostgreSQL is not running.")
            return 0
        if pids and not options.force:
            _say(f"PostgreSQL is in use by process {', '.join(pids)}; it stops with the last of them.")
            return 3
        cluster.stop()
    _say("PostgreSQL has stopped.")
    return 0


def status_command(options: argparse.Namespace, home: Path) -> int:
    """Say how the server is, without starting it."""
    home = prepare(home)
    cluster = cluster_of(home)
    with locked_users(home) as users_file:
        usage = users_file.read()
    pid = cluster.postmaster()
    told: dict[str, object] = {"data folder": str(home), "version": cluster.programs.version, "process": pid}
    if pid is not None:
        server = EmbeddedServer(cluster)
        users = sorted({user.pid for user in usage.users})
        sizes = dict(line.split("|") for line in server.run_sql(SIZES).splitlines())
        told |= {"kept": bool(usage.kept_since_boot), "used by": users, "DSN": server.dsn(), "databases": sizes}
    if options.json:
        print(json.dumps(told))
        return 0
    _say(f"data folder  {home}", f"version      {cluster.programs.version}")
    if pid is None:
        _say("server       stopped")
        return 0
    kept = " (kept by `liu db start`)" if usage.kept_since_boot else ""
    used_by = ", ".join(map(str, users)) or "nobody"
    _say(f"server       process {pid}{kept}", f"used by      {used_by}", f"DSN          {server.dsn()}")
    _say(*(f"database     {name}  {size}" for name, size in sizes.items()))
    return 0


def psql_command(options: argparse.Namespace, home: Path) -> int:
    """Open psql on a database, with psql's own arguments behind its name; the server runs at least as long."""
    with EmbeddedServer.start(home) as server:
        database = _database(server, options.database)
        return subprocess.call([*server.psql_command(database), *options.arguments])


def migrate_command(options: argparse.Namespace, home: Path) -> int:
    """Bring the tables of a database to this version: those of the one that DSN names, where no name is given."""

    async def migrate(dsn: str) -> None:
        await (await open_store(dsn, migrate=True)).close()

    if dsn := "" if options.database else options.dsn or Settings.resolve().dsn.reveal():
        asyncio.run(migrate(dsn))
        _say(f"The tables of the database that {'--dsn' if options.dsn else 'DSN'} names are those of this version.")
        return 0
    with EmbeddedServer.start(home) as server:
        database = _database(server, options.database)
        asyncio.run(migrate(server.dsn(database)))
    _say(f"The tables of {database} are those of this version.")
    return 0


def backup_command(options: argparse.Namespace, home: Path) -> int:
    """Write all databases into a file."""
    path = Path(options.file).expanduser().resolve()
    if path.exists() and not options.force:
        raise ConfigError(f"{path} already exists: name another file, or replace it with --force")
    with EmbeddedServer.start(home) as server:
        names = backup(server.cluster, path)
    _say(f"Saved {', '.join(names) or 'nothing, there is no database yet'} in {path}.")
    return 0


def restore_command(options: argparse.Namespace, home: Path) -> int:
    """Replace databases by those in a file."""
    path = Path(options.file).expanduser().resolve()
    with EmbeddedServer.start(home) as server:
        names = restore(server.cluster, path)
    _say(f"Restored {', '.join(names)} from {path}.")
    return 0


_COMMANDS: Mapping[str, Callable[[argparse.Namespace, Path], int]] = {
    "start": start_command,
    "stop": stop_command,
    "status": status_command,
    "psql": psql_command,
    "migrate": migrate_command,
    "backup": backup_command,
    "restore": restore_command,
}


def _database(server: EmbeddedServer, name: str) -> str:
    """Return the database that is meant; only the default one is made if it is not there."""
    if name in ("", DEFAULT_DATABASE):
        server.ensure_database(DEFAULT_DATABASE)
        return DEFAULT_DATABASE
    if name not in (there := server.databases()):
        raise ConfigError(f"there is no database {name}; there is {', '.join(there) or 'none yet'}")
    return name


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
