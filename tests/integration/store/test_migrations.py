"""From an empty database, or one of the original, to the tables of this version; without loss, and once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from liualgotrader.common.errors import ConfigError
from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.store import migrate as migrations
from liualgotrader.store.migrate import migrate
from liualgotrader.store.store_factory import open_store
from tools.schema import schema_of

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
TABLES_OF_THE_ORIGINAL = [
    "algo_run",
    "new_trades",
    "trades",
    "ticker_data",
    "trending_tickers",
    "stock_ohlc",
    "gain_loss",
    "trade_analysis",
    "keystore",
    "portfolio",
    "portfolio_batch_ids",
    "accounts",
    "account_transactions",
    "optimizer_run",
    "trade_plan",
    "trade_plan_execution_audit",
]
COLUMNS = """
    SELECT table_name, column_name, format_type(a.atttypid, a.atttypmod) AS type, is_nullable, column_default
    FROM information_schema.columns c
    JOIN pg_attribute a ON a.attrelid = c.table_name::regclass AND a.attname = c.column_name
    WHERE table_schema = 'public'
"""


@pytest.fixture
async def connection(empty_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def original(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute((HERE / "original_schema.sql").read_text())
    await connection.execute((HERE / "original_rows.sql").read_text())
    return connection


async def rows_of(connection: asyncpg.Connection, table: str, columns: str = "*") -> list[Mapping[str, Any]]:
    return [dict(row) for row in await connection.fetch(f"SELECT {columns} FROM {table} ORDER BY 1")]


async def tables_of(connection: asyncpg.Connection) -> list[str]:
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
    return [row["table_name"] for row in await connection.fetch(query)]


async def column_facts(connection: asyncpg.Connection) -> set[tuple[Any, ...]]:
    same = {"CURRENT_TIMESTAMP": "now()", "0.0": "0"}
    return {
        (*row[:4], same.get(row["column_default"], row["column_default"])) for row in await connection.fetch(COLUMNS)
    }


@pytest.mark.parity(80)
async def test_every_row_of_the_original_is_kept(original: asyncpg.Connection) -> None:
    before = {table: await rows_of(original, table) for table in TABLES_OF_THE_ORIGINAL}
    assert all(before.values())
    await migrate(original)
    for table, rows in before.items():
        after = await rows_of(original, table, ", ".join(rows[0]))
        floats = {name for name, value in rows[0].items() if isinstance(value, float)}
        assert [{k: float(v) if k in floats else v for k, v in row.items()} for row in after] == rows, table


async def test_an_upgraded_database_has_the_columns_of_a_fresh_one(original: asyncpg.Connection, dsn: str) -> None:
    await migrate(original)
    fresh = await asyncpg.connect(dsn)
    try:
        assert await column_facts(original) == await column_facts(fresh)
    finally:
        await fresh.close()


@pytest.mark.parity(80)
async def test_running_the_migrations_twice_is_running_them_once(original: asyncpg.Connection) -> None:
    assert len(await migrate(original)) == len(migrations.migrations())
    once = await schema_of(original)
    assert await migrate(original) == []
    assert await schema_of(original) == once
    assert await original.fetchval("SELECT value FROM keystore") == '{"day": 3}'


async def test_programs_that_migrate_at_once_do_it_once(empty_dsn: str) -> None:
    stores = await asyncio.gather(*(open_store(empty_dsn, migrate=True) for _ in range(4)))
    (row,) = await stores[0].fetch("SELECT count(*) AS steps FROM schema_version")
    assert row["steps"] == len(migrations.migrations())
    for store in stores:
        await store.close()


async def test_a_step_that_fails_changes_nothing(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "CREATE TABLE algo_run (algo_run_id int PRIMARY KEY, algo_name int, algo_env int, build_number int, batch_id text)"
    )
    await connection.execute("CREATE TABLE new_trades (symbol text)")
    with pytest.raises(ConfigError, match=r"start_time.*Nothing was changed\."):
        await migrate(connection)
    assert await tables_of(connection) == ["algo_run", "new_trades"]


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ("CREATE TABLE orders (id int); CREATE TABLE batch (id int)", "batch, orders"),
        ("CREATE TABLE accounts (owner text)", "accounts"),
        ("CREATE TABLE algo_run (algo_run_id int)", "algo_run"),
        ("CREATE TABLE schema_version (installed_rank int, version text)", "schema_version"),
        ("CREATE VIEW orders AS SELECT 1 AS id", "orders"),
    ],
)
async def test_somebody_elses_database_is_refused_and_stays_as_it_is(
    connection: asyncpg.Connection, theirs: str, named: str
) -> None:
    await connection.execute(theirs)
    before = await tables_of(connection)
    with pytest.raises(ConfigError, match=rf"has not made \({named}\).*Nothing was changed"):
        await migrate(connection)
    assert await tables_of(connection) == before
    with pytest.raises(ConfigError, match="belongs to something else"):
        await migrations.missing_steps(connection)


async def test_tables_of_others_beside_ours_do_not_matter(connection: asyncpg.Connection) -> None:
    await connection.execute("CREATE TABLE shop (id int)")
    assert len(await migrate(connection)) == len(migrations.migrations())


async def test_an_original_beside_a_table_of_ours_is_refused_before_the_first_step(
    original: asyncpg.Connection,
) -> None:
    await original.execute("CREATE TABLE orders (id int)")
    before = await column_facts(original)
    with pytest.raises(ConfigError, match="orders"):
        await migrate(original)
    assert await column_facts(original) == before


async def test_views_of_the_user_stay_as_they_were(original: asyncpg.Connection) -> None:
    await original.execute("CREATE ROLE reader")
    try:
        await original.execute(
            """
            CREATE VIEW prices WITH (security_barrier) AS SELECT symbol, price * qty AS spent FROM new_trades WHERE qty > 0;
            CREATE VIEW "My Totals" AS SELECT p.symbol, sum(spent) AS spent, max(balance) AS rich
                FROM prices p, accounts GROUP BY p.symbol;
            COMMENT ON VIEW prices IS 'it''s mine';
            GRANT SELECT ON "My Totals" TO reader WITH GRANT OPTION;
            GRANT SELECT, UPDATE ON prices TO PUBLIC;
            """
        )
        facts = (
            "SELECT relname, relacl::text, reloptions::text, obj_description(oid, 'pg_class'), pg_get_userbyid(relowner)"
            " FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace ORDER BY relname"
        )
        told, rows = await original.fetch(facts), await rows_of(original, '"My Totals"')
        assert len(rows) == 3
        await migrate(original)
        assert await original.fetch(facts) == told
        after = await rows_of(original, '"My Totals"')
        assert [{**row, "rich": float(row["rich"])} for row in after] == rows
    finally:
        await original.execute('DROP VIEW IF EXISTS "My Totals", prices; DROP ROLE reader')


@pytest.mark.parametrize(
    ("makes", "unblocks"),
    [
        ("CREATE MATERIALIZED VIEW kept AS SELECT price FROM new_trades", "DROP MATERIALIZED VIEW kept;"),
        (
            "CREATE VIEW below AS SELECT balance FROM accounts; CREATE RULE r AS ON INSERT TO below DO INSTEAD NOTHING;"
            "CREATE VIEW above AS SELECT * FROM below",
            "DROP VIEW below;",
        ),
    ],
)
async def test_what_cannot_be_made_again_is_named_with_the_statement_that_unblocks_it(
    original: asyncpg.Connection, makes: str, unblocks: str
) -> None:
    await original.execute(makes)
    before = await column_facts(original)
    with pytest.raises(ConfigError, match=f"run `{re.escape(unblocks)}`"):
        await migrate(original)
    assert await column_facts(original) == before
    await original.execute(unblocks.replace("VIEW below", "VIEW above, below"))
    assert len(await migrate(original)) == len(migrations.migrations())


@pytest.mark.parity(80)
async def test_another_locale_time_zone_and_writing_of_numbers_change_no_row(
    postgres: EmbeddedServer, original: asyncpg.Connection
) -> None:
    there = f"{await original.fetchval('SELECT current_database()')}_elsewhere"
    others = {
        "timezone": "Asia/Kathmandu",
        "datestyle": "German, DMY",
        "extra_float_digits": "-5",
        "intervalstyle": "iso_8601",
    }
    await original.execute(f"CREATE DATABASE {there} TEMPLATE template0 LOCALE 'C' ENCODING 'LATIN1'")
    try:
        for setting, value in others.items():
            await original.execute(f"ALTER DATABASE {there} SET {setting} = '{value}'")
        elsewhere = await asyncpg.connect(postgres.dsn(there))
        try:
            assert await elsewhere.fetchval("SHOW timezone") == "Asia/Kathmandu"
            await elsewhere.execute((HERE / "original_schema.sql").read_text())
            await elsewhere.execute((HERE / "original_rows.sql").read_text())
            await elsewhere.execute("INSERT INTO accounts (balance) VALUES (1234567890.123456789)")
            await elsewhere.execute("UPDATE ticker_data SET name = 'Nestlé'")
            before = {table: await rows_of(elsewhere, table) for table in TABLES_OF_THE_ORIGINAL}
            await migrate(elsewhere)
            for table, rows in before.items():
                after = await rows_of(elsewhere, table, ", ".join(rows[0]))
                floats = {name for name, value in rows[0].items() if isinstance(value, float)}
                assert [{k: float(v) if k in floats else v for k, v in row.items()} for row in after] == rows, table
            assert await migrate(elsewhere) == []
        finally:
            await elsewhere.close()
    finally:
        await original.execute(f"DROP DATABASE {there}")


async def test_a_database_of_a_newer_version_is_left_alone(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    await connection.execute("INSERT INTO schema_version (version, name) VALUES (9999, 'future')")
    with pytest.raises(ConfigError, match="newer"):
        await migrate(connection)


async def test_a_database_without_tables_is_not_opened_silently(empty_dsn: str) -> None:
    with pytest.raises(ConfigError, match="migrate"):
        await open_store(empty_dsn)


async def test_steps_are_numbered_without_holes() -> None:
    steps = migrations.migrations()
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))


async def test_the_schema_file_is_what_the_migrations_make(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        assert (REPOSITORY / "database" / "schema.sql").read_text() == await schema_of(connection)
    finally:
        await connection.close()


async def test_the_schema_file_makes_what_it_says(connection: asyncpg.Connection) -> None:
    text = (REPOSITORY / "database" / "schema.sql").read_text()
    await connection.execute(text)
    assert await schema_of(connection) == text
    assert await migrate(connection) == []


async def test_a_booked_amount_that_is_changed_moves_the_balance_by_the_change(original: asyncpg.Connection) -> None:
    await migrate(original)
    balance = "SELECT balance FROM accounts WHERE account_id = $1"
    await original.execute("UPDATE account_transactions SET amount = 0.5 WHERE account_id = 1")
    assert await original.fetchval(balance, 1) == Decimal("0.30000000000000004") + Decimal("0.3")
    await original.execute("UPDATE account_transactions SET details = '{}'")
    assert await original.fetchval(balance, 1) == Decimal("0.30000000000000004") + Decimal("0.3")
    await original.execute("UPDATE account_transactions SET account_id = 2 WHERE account_id = 1")
    assert await original.fetchval(balance, 1) == Decimal("0.30000000000000004") - Decimal("0.2")
    assert await original.fetchval(balance, 2) == Decimal("999.9") + Decimal("0.5")


async def test_a_changed_trade_plan_is_stamped_once(original: asyncpg.Connection) -> None:
    await migrate(original)
    await original.execute("UPDATE trade_plan SET strategy_name = 'other'")
    assert await original.fetchval("SELECT modify_tstamp IS NOT NULL FROM trade_plan")
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'trade_plan'::regclass AND NOT tgisinternal"
    assert await original.fetchval(triggers) == 1


async def test_trades_of_the_original_are_read_without_markers_and_expired_ones(
    original: asyncpg.Connection, empty_dsn: str
) -> None:
    store = await open_store(empty_dsn, migrate=True)
    first, second = await store.trades("b-1")
    assert (first.symbol, first.quantity, first.stop) == ("IBM", Decimal("10.0000000001"), Decimal("128.1"))
    assert (second.operation, second.execution_id) == ("sell_short", "trade-3")
    positions = await store.carried_positions("PAPER", "momentum_long", "b-2")
    assert {p.symbol: p.quantity for p in positions} == {"IBM": Decimal("10.0000000001"), "SPY": Decimal(-5)}
    await store.close()
