"""The record while PostgreSQL is killed, away, taken over, or given rows that it cannot keep."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from liualgotrader.common.clock import WallClock, block
from liualgotrader.common.errors import BadData, ConfigError, DatabaseUnavailable, LiuError, OutsideError
from liualgotrader.common.rows import AlgoRunRow, BatchRow, OrderEventRow, OrderRow, Progress, Row, TradeRow
from liualgotrader.postgres.cluster import birth_of
from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.store.postgres_store import PostgresStore
from liualgotrader.store.store_factory import open_store

pytestmark = pytest.mark.integration

BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
OPEN = 1_381_152_600_000_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    home = Path(tempfile.mkdtemp(prefix="liu-test-"))
    server = EmbeddedServer.start(home)
    server.ensure_database("liualgotrader")
    yield server
    server.release()
    shutil.rmtree(home)


@pytest.fixture
async def record(server: EmbeddedServer) -> AsyncIterator[PostgresStore]:
    server.restart_if_dead()
    server.drop_database("liualgotrader")
    server.ensure_database("liualgotrader")
    store = await open_store(server.dsn(), migrate=True)
    yield store
    server.restart_if_dead()
    await store.close()


def kill(server: EmbeddedServer) -> None:
    pid = server.postmaster_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while birth_of(pid) is not None:
        block(0.005)


def trade(n: int, run_id: int, account_id: int | None = None, **changes: object) -> TradeRow:
    fields: dict[str, object] = {
        "execution_id": f"execution-{n}",
        "client_order_id": f"liu-0b5e7a4e0000-0-{n}",
        "algo_run_id": run_id,
        "symbol": "IBM",
        "operation": "buy",
        "quantity": Decimal(1),
        "price": Decimal("100.01"),
        "fee": Decimal(0),
        "at": OPEN + n,
        "indicators": {},
        "planned_stop": None,
        "planned_target": None,
        "account_id": account_id,
    }
    return TradeRow(**(fields | changes))  # type: ignore[arg-type]


async def begin(store: PostgresStore) -> int:
    return await store.begin_algo_run(AlgoRunRow(BATCH, 0, "Momentum", "SIMULATED", "1", {}, OPEN))


async def test_a_killed_postmaster_loses_and_doubles_nothing(record: PostgresStore, server: EmbeddedServer) -> None:
    run_id = await begin(record)
    (account,) = await record.fetch("INSERT INTO accounts (balance) VALUES (0) RETURNING account_id")
    rows: list[Row] = [trade(n, run_id, account["account_id"]) for n in range(1, 2001)]
    outages = 0
    killing: asyncio.Task[None] | None = None
    while (stored := await _progress(record)) is None or stored.number < 2000:
        if stored is not None and stored.number >= 500 and killing is None:
            killing = asyncio.create_task(asyncio.to_thread(kill, server))
        try:
            if stored is not None:
                await record.apply(BATCH, rows[stored.number : stored.number + 50], stored)
        except DatabaseUnavailable:
            outages += 1
        if stored is None or outages:
            await asyncio.to_thread(server.restart_if_dead)
    assert killing is not None
    assert outages or not killing.exception()
    trades = await record.trades(BATCH)
    assert [t.execution_id for t in trades] == [f"execution-{n}" for n in range(1, 2001)]
    (balance,) = await record.fetch("SELECT balance FROM accounts")
    assert balance["balance"] == Decimal("-200020.00")  # 2000 shares at 100.01


async def _progress(store: PostgresStore) -> Progress | None:
    try:
        return await store.progress(BATCH)
    except DatabaseUnavailable:
        return None


async def test_every_method_says_that_the_server_is_away(record: PostgresStore, server: EmbeddedServer) -> None:
    run_id = await begin(record)
    kill(server)
    batch = BatchRow(BATCH, "2013-10-07", "SIMULATED", OPEN, {}, {}, {})
    for call in (
        lambda: record.begin_batch(batch),
        lambda: record.progress(BATCH),
        lambda: record.apply(BATCH, [trade(1, run_id)]),
        lambda: record.trades(BATCH),
        lambda: record.key_load("k"),
        lambda: record.key_save("k", "v"),
        lambda: record.lease("PA1"),
        lambda: record.fetch("SELECT 1"),
        lambda: record.save_analysis([], []),
        lambda: record.associate_portfolio("p", BATCH),
    ):
        with pytest.raises(DatabaseUnavailable) as caught:
            await call()
        assert "\n" not in str(caught.value)
    await asyncio.to_thread(server.restart_if_dead)
    assert (await _first_answer(record)).number == 0


async def _first_answer(store: PostgresStore) -> Progress:
    """Return the progress, asking again while connections of before the outage are found dead."""
    for _ in range(10):
        if (number := await _progress(store)) is not None:
            return number
        await WallClock().sleep(0.05)
    raise AssertionError("the store does not come back")


async def test_a_store_cannot_be_opened_while_the_server_is_away(record: PostgresStore, server: EmbeddedServer) -> None:
    kill(server)
    with pytest.raises(DatabaseUnavailable):
        await open_store(server.dsn())


async def test_the_lease_is_taken_again_after_an_outage(record: PostgresStore, server: EmbeddedServer) -> None:
    run_id = await begin(record)
    generation = await record.lease("PA1")
    kill(server)
    assert await _progress(record) is None
    await asyncio.to_thread(server.restart_if_dead)
    assert (await _first_answer(record)).number == 0
    await record.apply(BATCH, [trade(1, run_id)])
    other = await open_store(server.dsn())
    with pytest.raises(OutsideError, match="Another"):
        await other.lease("PA1")
    await record.close()
    assert await other.lease("PA1") == generation + 1
    await other.close()


async def test_a_gateway_that_was_taken_over_writes_nothing(record: PostgresStore, server: EmbeddedServer) -> None:
    run_id = await begin(record)
    await record.lease("PA1")
    watcher = await asyncpg.connect(server.dsn())
    await watcher.execute("UPDATE account_lease SET generation = generation + 1")
    await watcher.close()
    with pytest.raises(OutsideError, match="taken"):
        await record.apply(BATCH, [trade(1, run_id)])
    assert (await record.progress(BATCH)).number == 0


async def test_no_account_number_is_stored(record: PostgresStore) -> None:
    await record.lease("PA1234567890")
    (row,) = await record.fetch("SELECT account_lease::text AS all_of_it FROM account_lease")
    assert "1234567890" not in row["all_of_it"]


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/x", "reached"),
        ("mysql://me:s3cret@127.0.0.1:1/x", "address"),
        ("postgresql://me:s3/cret@127.0.0.1:x/y", "address"),
        ("postgresql:///x?host=/nowhere", "reached"),
    ],
)
async def test_a_bad_address_is_one_sentence_without_the_password(dsn: str, words: str) -> None:
    with pytest.raises(LiuError, match=words) as caught:
        await open_store(dsn)
    assert "s3" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_unknown_database_is_the_users_mistake(server: EmbeddedServer, record: PostgresStore) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        await open_store(server.dsn("nowhere"))


async def test_secrets_in_parameters_are_not_stored(record: PostgresStore) -> None:
    secret = {"DSN": "postgresql://me:pw@h/d", "nested": {"api_key": "abc"}, "note": "postgresql://me:pw@h/d", "n": 3}
    await record.begin_algo_run(AlgoRunRow(BATCH, 0, "S", "PAPER", "1", secret, OPEN))
    await record.begin_batch(BatchRow(BATCH, "2013-10-07", "PAPER", OPEN, {}, secret, {}))
    for query in ("SELECT parameters::text AS kept FROM algo_run", "SELECT configuration::text AS kept FROM batch"):
        (row,) = await record.fetch(query)
        assert "pw" not in row["kept"] and "abc" not in row["kept"]
        assert '"n": 3' in row["kept"]


async def test_text_that_no_column_can_hold_does_not_stop_the_rows(record: PostgresStore) -> None:
    run_id = await begin(record)
    odd = {"nan": float("nan"), "nul": "a\0b", "half": "\ud800", "number": Decimal("1.5"), "set": {1}}
    order = OrderRow(
        client_order_id="liu-1",
        batch_id=BATCH,
        slot=0,
        algo_run_id=run_id,
        generation=1,
        symbol="IBM",
        side="buy",
        quantity=Decimal("0.123456789"),
        type="market",
        time_in_force="day",
        limit_price=None,
        stop_price=None,
        state="rejected",
        broker_order_id=None,
        filled_quantity=Decimal(0),
        average_price=None,
        reason="no\0 way \ud800",
        planned_stop=None,
        planned_target=None,
        indicators=odd,
        decided_at=OPEN,
        updated_at=OPEN,
    )
    await record.apply(BATCH, [order, OrderEventRow("liu-1", 1, "rej\0ected", OPEN, odd)])
    (row,) = await record.fetch("SELECT reason, quantity, indicators::text AS kept FROM orders")
    assert row["reason"] == "no way ?"
    assert row["quantity"] == Decimal("0.123456789")
    assert '"nan": null' in row["kept"]


async def test_a_price_beyond_its_column_is_bad_data_and_stores_nothing(record: PostgresStore) -> None:
    run_id = await begin(record)
    with pytest.raises(BadData, match="overflow"):
        await record.apply(BATCH, [trade(1, run_id, price=Decimal(10) ** 15)])
    assert (await record.progress(BATCH)).number == 0


async def test_market_time_and_wall_time_stand_side_by_side(record: PostgresStore) -> None:
    run_id = await begin(record)
    await record.apply(BATCH, [trade(1, run_id)])
    (row,) = await record.fetch(
        "SELECT tstamp::text AS market, now() - created_at < '1 min' AS new, client_time FROM new_trades"
    )
    assert row["market"] == "2013-10-07 13:30:00"  # 09:30 in New York
    assert row["client_time"] == "2013-10-07 13:30:00.000000+00:00"
    assert row["new"]


async def test_a_query_that_makes_no_sense_is_one_sentence(record: PostgresStore) -> None:
    with pytest.raises(LiuError, match="nonsense"):
        await record.fetch("SELECT * FROM nonsense")
