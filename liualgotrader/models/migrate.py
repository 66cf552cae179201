"""Bring a database to the tables of this version, step by step, each step once."""

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
INSERT_VERSION = "INSERT INTO schema_version (version, name) VALUES ($1, $2)"
LOCK = "SELECT pg_advisory_lock($1)"
UNLOCK = "SELECT pg_advisory_unlock($1)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: a file of SQL that is run once, in a transaction."""

    version: int
    name: str
    sql: str


def migrations() -> Sequence[Migration]:
    """Return all steps, oldest first; they are numbered from 1 without holes."""
    folder = files("liualgotrader.models") / "migrations"
    found = [(match, path) for path in folder.iterdir() if (match := _FILE.fullmatch(path.name))]
    steps = [Migration(int(match[1]), match[2], path.read_text("utf-8")) for match, path in found]
    return sorted(steps, key=lambda step: step.version)


async def migrate(connection: Connection) -> Sequence[Migration]:
    """Run the steps that this database lacks and return them; several programs may do it at once.

    Raises:
        ConfigError: if a newer version of this package has changed the database, or if it holds a table of
            ours in a form that no version of the original or of ours has made.
    """
    await connection.execute(LOCK, _LOCK)
    try:
        await connection.execute(CREATE_VERSION_TABLE)
        steps = await missing(connection)
        for step in steps:
            await _run(connection, step)
    finally:
        if not connection.is_closed():
            await connection.execute(UNLOCK, _LOCK)
    return steps


async def missing(connection: Connection) -> Sequence[Migration]:
    """Return the steps that this database lacks.

    Raises:
        ConfigError: if it has been changed by a newer version of this package.
    """
    steps = migrations()
    present = 0
    if await connection.fetchval(VERSION_TABLE_EXISTS):
        present = await connection.fetchval(NEWEST_VERSION)
    if present > steps[-1].version:
        raise ConfigError(
            f"The database has the tables of a newer LiuAlgoTrader (version {present}, this one knows "
            f"{steps[-1].version}): update the package."
        )
    return [step for step in steps if step.version > present]


async def _run(connection: Connection, step: Migration) -> None:
    from asyncpg import PostgresError
    from asyncpg.exceptions import (
        DataError,
        DependentObjectsStillExistError,
        FeatureNotSupportedError,
        IntegrityConstraintViolationError,
        SyntaxOrAccessError,
    )

    ours = (
        SyntaxOrAccessError,
        DataError,
        IntegrityConstraintViolationError,
        FeatureNotSupportedError,
        DependentObjectsStillExistError,
    )
    try:
        async with connection.transaction():
            await connection.execute(step.sql)
            await connection.execute(INSERT_VERSION, step.version, step.name)
    except ours as e:
        detail = e.detail if isinstance(e, PostgresError) and e.detail else ""
        raise ConfigError(
            f"The database cannot be brought to the present tables (step {step.version} {step.name}): "
            f"{e.args[0]}{'; ' + detail if detail else ''}. Nothing was changed by that step."
        ) from e
