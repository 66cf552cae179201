"""Print all tables as one readable script: `python -m tools.schema > database/schema.sql`.

The migrations make a database; this prints what they made. A test proves that the script makes the same.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liualgotrader.postgres.embedded_server import DEFAULT_DATABASE, EmbeddedServer
from liualgotrader.store.database import open_database
from liualgotrader.store.migrate import migrate

if TYPE_CHECKING:
    from asyncpg import Connection

_HEAD = """\
-- All tables of LiuAlgoTrader. Made from the migrations in liualgotrader/store/migrations by
-- `python -m tools.schema`; change those, not this file.
"""

ENUMS = """
    SELECT t.typname AS name, string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) AS labels
    FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
    WHERE t.typnamespace = 'public'::regnamespace
    GROUP BY t.typname
    ORDER BY t.typname
"""
TABLES = """
    SELECT c.oid, c.relname AS name, obj_description(c.oid, 'pg_class') AS comment
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    ORDER BY c.relname
"""
COLUMNS = """
    SELECT
        a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
        pg_get_expr(d.adbin, d.adrelid) AS default,
        pg_get_serial_sequence($2, a.attname) IS NOT NULL AS is_serial,
        col_description(a.attrelid, a.attnum) AS comment
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""
CONSTRAINTS = """
    SELECT conname AS name, contype::text AS kind, pg_get_constraintdef(oid) AS definition, confrelid AS refers_to
    FROM pg_constraint
    WHERE conrelid = $1 AND contype IN ('p', 'u', 'c', 'f')
    ORDER BY position(contype::text IN 'pucf'), conname
"""
INDEXES = """
    SELECT pg_get_indexdef(i.indexrelid) AS definition
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = $1 AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
    ORDER BY c.relname
"""
FUNCTIONS = """
    SELECT pg_get_functiondef(oid) AS definition
    FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
    ORDER BY proname
"""
VERSIONS = "SELECT version, quote_literal(name) AS name FROM schema_version ORDER BY version"
TRIGGERS = """
    SELECT pg_get_triggerdef(t.oid) AS definition
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal
    ORDER BY c.relname, t.tgname
"""


async def schema_of(connection: Connection) -> str:
    """Return the script for the schema `public` of the database."""
    waiting = [await _table(connection, row) for row in await connection.fetch(TABLES)]
    tables: list[Mapping[str, Any]] = []  # each after those that it refers to
    while waiting:
        made = {table["oid"] for table in tables}
        tables.append(next(table for table in waiting if table["needs"] <= made))
        waiting.remove(tables[-1])
    parts = [_HEAD]
    parts += [f"CREATE TYPE {row['name']} AS ENUM ({row['labels']});\n" for row in await connection.fetch(ENUMS)]
    parts += [table["script"] for table in tables]
    parts += [f"{row['definition'].rstrip()};\n" for row in await connection.fetch(FUNCTIONS)]
    parts += [f"{row['definition']};\n" for row in await connection.fetch(TRIGGERS)]
    versions = [f"({row['version']}, {row['name']})" for row in await connection.fetch(VERSIONS)]
    parts.append(f"INSERT INTO schema_version (version, name) VALUES {', '.join(versions)};\n")  # noqa: S608 - a script for people
    return "\n".join(part.replace("public.", "") for part in parts)


async def _table(connection: Connection, table: Mapping[str, Any]) -> Mapping[str, Any]:
    columns = await connection.fetch(COLUMNS, table["oid"], f'"{table["name"]}"')
    constraints = await connection.fetch(CONSTRAINTS, table["oid"])
    indexes = await connection.fetch(INDEXES, table["oid"])
    lines = [_column(column) for column in columns]
    lines += [f"CONSTRAINT {row['name']} {row['definition']}" for row in constraints]
    script = [f"CREATE TABLE {table['name']} (\n    " + ",\n    ".join(lines) + "\n);"]
    script += [f"{row['definition'].replace(' USING btree', '')};" for row in indexes]
    if table["comment"]:
        script.append(f"COMMENT ON TABLE {table['name']} IS {_quoted(table['comment'])};")
    for column in columns:
        if column["comment"]:
            name = f"{table['name']}.{column['name']}"
            script.append(f"COMMENT ON COLUMN {name} IS {_quoted(column['comment'])};")
    needs = {row["refers_to"] for row in constraints if row["kind"] == "f"} - {table["oid"]}
    return {"oid": table["oid"], "needs": needs, "script": "\n".join(script) + "\n"}


def _column(column: Mapping[str, Any]) -> str:
    kind = column["type"].replace("timestamp without time zone", "timestamp")
    if column["is_serial"]:
        return f"{column['name']} {'bigserial' if kind == 'bigint' else 'serial'} NOT NULL"
    not_null = " NOT NULL" if column["not_null"] else ""
    default = f" DEFAULT {column['default']}" if column["default"] is not None else ""
    return f"{column['name']} {kind}{not_null}{default}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


async def _migrated_schema(dsn: str) -> str:
    database = await open_database(dsn)
    try:
        async with database.connection() as connection:
            await migrate(connection)
            return await schema_of(connection)
    finally:
        await database.close()


def main() -> int:
    """Make an empty database in a temporary folder, run all migrations, print what they made."""
    with tempfile.TemporaryDirectory(prefix="liu-") as folder, EmbeddedServer.start(Path(folder)) as server:
        server.ensure_database(DEFAULT_DATABASE)
        sys.stdout.write(asyncio.run(_migrated_schema(server.dsn())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
