"""Bring a database to the tables of this version: the steps that it lacks, each once, all of them or none.

A database that holds another program's tables under names of ours is refused and stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from liualgotrader.common.errors import ConfigError

if TYPE_CHECKING:
    from asyncpg import Connection

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_NAMED = 5  # tables in one sentence
_LOCK = 7_316_001  # any constant that other programs do not use in this database

CREATE_VERSION_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_version (
        version integer PRIMARY KEY,
        name text NOT NULL,
        applied_at timestamp with time zone NOT NULL DEFAULT now()
    )
"""
VERSION_TABLE_EXISTS = "SELECT to_regclass('schema_version') IS NOT NULL"
NEWEST_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"
TABLES_THERE = "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(quote_ident(name)) IS NOT NULL"
COLUMNS_OF = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
INSERT_VERSION = "INSERT INTO schema_version (version, name) VALUES ($1, $2)"
LOCK = "SELECT pg_advisory_lock($1)"
UNLOCK = "SELECT pg_advisory_unlock($1)"


_MADE = re.compile(r"^CREATE TABLE (IF NOT EXISTS )?(\w+)", re.MULTILINE)
_VERSION_COLUMNS = {"version", "name", "applied_at"}
_OF_THE_ORIGINAL = {"algo_run_id", "algo_name", "algo_env", "build_number", "batch_id"}  # in its oldest table


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: a file of SQL that is run once."""

    version: int
    name: str
    sql: str


def migrations() -> Sequence[Migration]:
    """Return all steps, oldest first; they are numbered from 1 without holes."""
    folder = files("liualgotrader.store") / "migrations"
    found = [(match, path) for path in folder.iterdir() if (match := _FILE.fullmatch(path.name))]
    steps = [Migration(int(match[1]), match[2], path.read_text("utf-8")) for match, path in found]
    return sorted(steps, key=lambda step: step.version)


async def migrate(connection: Connection) -> Sequence[Migration]:
    """Run the steps that this database lacks, in one transaction, and return them; several programs may do it at once.

    Raises:
        ConfigError: if a newer version of this package has changed the database, or if it holds a table of
            ours in a form that no version of the original or of ours has made; nothing was changed then.
    """
    await connection.execute(LOCK, _LOCK)
    try:
        steps = await missing_steps(connection)
        async with connection.transaction():
            await connection.execute(CREATE_VERSION_TABLE)
            for step in steps:
                await _run(connection, step)
    finally:
        if not connection.is_closed():
            await connection.execute(UNLOCK, _LOCK)
    return steps


async def missing_steps(connection: Connection) -> Sequence[Migration]:
    """Return the steps that this database lacks.

    Raises:
        ConfigError: if it has been changed by a newer version of this package, or is somebody else's: if it holds a
            table that a missing step is to make, and that is not the original's.
    """
    steps = migrations()
    present = 0
    if await connection.fetchval(VERSION_TABLE_EXISTS):
        if not await _columns(connection, "schema_version") >= _VERSION_COLUMNS:
            raise _foreign(["schema_version"])
        present = await connection.fetchval(NEWEST_VERSION)
    if present > steps[-1].version:
        raise ConfigError(
            f"The database has the tables of a newer LiuAlgoTrader (version {present}, this one knows "
            f"{steps[-1].version}): update the package."
        )
    lacking = [step for step in steps if step.version > present]
    if taken := await _tables_there(connection, lacking, kept=False):
        raise _foreign(taken)
    there = [] if present else await _tables_there(connection, lacking, kept=True)
    if there and not await _columns(connection, "algo_run") >= _OF_THE_ORIGINAL:
        raise _foreign(there)
    return lacking


async def _tables_there(connection: Connection, steps: Sequence[Migration], *, kept: bool) -> list[str]:
    """Return which tables are there of those that the steps make: of those that they keep, or of the others."""
    names = [name for step in steps for keeps, name in _MADE.findall(step.sql) if bool(keeps) == kept]
    return [row["name"] for row in await connection.fetch(TABLES_THERE, names)]


async def _columns(connection: Connection, table: str) -> set[str]:
    return {row["attname"] for row in await connection.fetch(COLUMNS_OF, table)}


def _foreign(tables: Sequence[str]) -> ConfigError:
    named = ", ".join(sorted(tables)[:_NAMED]) + (", …" if len(tables) > _NAMED else "")
    return ConfigError(
        f"The database holds tables that LiuAlgoTrader would make and has not made ({named}), so it belongs to something"
        " else. Nothing was changed: set DSN to a database for LiuAlgoTrader alone, for example an empty one."
    )


async def _run(connection: Connection, step: Migration) -> None:
    from asyncpg import exceptions as postgres

    ours = (
        postgres.SyntaxOrAccessError,
        postgres.DataError,
        postgres.IntegrityConstraintViolationError,
        postgres.FeatureNotSupportedError,
        postgres.DependentObjectsStillExistError,
    )
    try:
        async with connection.transaction():
            await connection.execute(step.sql)
            await connection.execute(INSERT_VERSION, step.version, step.name)
    except ours as e:
        detail = f"; {e.detail}" if e.detail else ""
        raise ConfigError(
            f"The database cannot be brought to the present tables (step {step.version} {step.name}): "
            f"{e.args[0]}{detail}. Nothing was changed."
        ) from e
