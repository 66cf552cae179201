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
# A user's views on our tables keep the types of our columns from changing. Each comes with the statements that make it
# again, its owner and privileges included; those with triggers or rules of their own, and those that keep rows, do not.
VIEWS_ON = """
    WITH RECURSIVE used AS (
        SELECT c.oid, 0 AS depth FROM pg_class c WHERE c.oid IN (SELECT to_regclass(quote_ident(name)) FROM unnest($1::text[]) name)
        UNION ALL
        SELECT r.ev_class, used.depth + 1 FROM used
        JOIN pg_depend d ON d.refobjid = used.oid AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> used.oid
    )
    SELECT
        c.oid::regclass::text AS name,
        c.relkind = 'v' AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
            AND NOT EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') AS plain,
        format('DROP %sVIEW %s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' ELSE '' END, c.oid::regclass) AS drop,
        format('CREATE VIEW %s %s AS %s', c.oid::regclass, 'WITH (' || array_to_string(c.reloptions, ', ') || ')',
            pg_get_viewdef(c.oid)) AS make,
        format('ALTER VIEW %s OWNER TO %I', c.oid::regclass, pg_get_userbyid(c.relowner)) AS own,
        'COMMENT ON VIEW ' || c.oid::regclass || ' IS ' || quote_literal(obj_description(c.oid, 'pg_class')) AS comment,
        ARRAY(
            SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, c.oid::regclass,
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner
        ) AS grants
    FROM pg_class c JOIN used ON used.oid = c.oid
    WHERE used.depth > 0
    GROUP BY c.oid, c.relkind, c.relowner, c.relacl, c.reloptions
    ORDER BY max(used.depth), c.oid::regclass::text
"""
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
            await connection.execute("SET LOCAL extra_float_digits = 1")  # floats become exact numbers by way of text
            await connection.execute(CREATE_VERSION_TABLE)
            views = await _set_aside(connection, steps) if steps else ()
            for step in steps:
                await _run(connection, step)
            for statement in views:
                await connection.execute(statement)
    finally:
        if not connection.is_closed():
            await connection.execute(UNLOCK, _LOCK)
    return steps


async def _set_aside(connection: Connection, steps: Sequence[Migration]) -> Sequence[str]:
    """Drop the user's views on our tables, and return the statements that make them again as they were.

    Raises:
        ConfigError: naming those that cannot be made again as they were, with the statements that drop them.
    """
    names = [name for step in migrations() for _, name in _MADE.findall(step.sql)]
    views = await connection.fetch(VIEWS_ON, names)
    if kept := [view for view in views if not view["plain"]]:
        above = [view["drop"] for view in reversed(views) if view in kept]
        raise ConfigError(
            f"The database cannot be brought to the present tables (step {steps[0].version} {steps[0].name}):"
            f" {', '.join(view['name'] for view in kept)} would be lost, as it keeps rows, triggers or rules of its own."
            f" Nothing was changed: save what makes it, run `{'; '.join(above)};`, and make it again afterwards."
        )
    for view in reversed(views):
        await connection.execute(view["drop"])
    parts = [[view["make"], view["own"], view["comment"], *view["grants"]] for view in views]
    return [statement for part in parts for statement in part if statement]


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
