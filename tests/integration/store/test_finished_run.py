"""A run that is over is written by COPY: to the same columns, value by value, as its gateway's rows one after the other."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from liualgotrader.common.rows import AlgoRunRow, BatchRow, OrderEventRow, OrderRow, PlanRow, Row, SignalRow, TradeRow
from liualgotrader.store.postgres_store import PostgresStore
from liualgotrader.store.store_factory import open_store
from tests.fakes.postgres import fresh_database

pytestmark = pytest.mark.integration

BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
OPEN = 1_381_152_600_123_456_789
TABLES = {
    "orders": "client_order_id",
    "order_events": "client_order_id, number",
    "new_trades": "trade_id",
    "signals": "signal_id",
    "position_plans": "algo_run_id, symbol",
    "algo_run": "algo_run_id",
}


@pytest.fixture
def other_dsn() -> Iterator[str]:
    yield from fresh_database()


@pytest.fixture
async def other_store(other_dsn: str) -> AsyncIterator[PostgresStore]:
    store = await open_store(other_dsn)
    yield store
    await store.close()


def rows_of(seed: int, orders: int) -> tuple[list[Row], list[SignalRow]]:
    """Return what a gateway and its strategies might leave: orders with their steps, executions and plans, odd values."""
    random, rows, signals = Random(seed), list[Row](), list[SignalRow]()

    def dollars() -> Decimal | None:
        return random.choice((None, Decimal(random.randrange(1, 10**8)).scaleb(-4)))

    for n in range(orders):
        at, symbol, side = OPEN + n * 1_000_000_007, random.choice("ABC"), random.choice(("buy", "sell"))
        identity, quantity = f"liu-0b5e7a4e0000-1-{n}", Decimal(random.randrange(1, 9999)).scaleb(-random.randrange(4))
        odd: dict[str, Any] = {
            "rsi": random.choice((31.5, math.nan, None)),
            "note": "a\x00b \ud800 ü",
            "list": [1, "x"],
        }
        for number, state in enumerate(("written", "sent", "filled"), 1):
            price, stop = dollars(), dollars()
            terms = (symbol, side, quantity, "limit", "day", price, None, state, None, quantity, price)
            reason = random.choice(("", "no\x00 good", "ü"))
            rows.append(OrderRow(identity, BATCH, 1, 1, 1, *terms, reason, stop, None, odd, at, at + number))
            rows.append(OrderEventRow(identity, number, state, at + number, odd))
        fill = (side, quantity, Decimal(random.randrange(1, 10**6)).scaleb(-2), Decimal("0.005"), at)
        rows.append(TradeRow(f"execution-{n}", identity, 1, symbol, *fill, odd, dollars(), dollars()))
        if random.random() < 0.3:
            rows.append(PlanRow(1, symbol, at, dollars(), dollars()))
        outcomes = (("sent", identity), ("sent", identity), ("refused:order_value", None))
        signals += [SignalRow(BATCH, 1, symbol, at, odd, outcome, order) for outcome, order in outcomes]
    return rows, signals


async def begin(store: PostgresStore) -> None:
    await store.begin_batch(BatchRow(BATCH, "2013-10-07", "BACKTEST", OPEN, {}, {}, {}, 0))
    await store.begin_algo_run(AlgoRunRow(BATCH, 1, "Momentum", "BACKTEST", "1", {}, OPEN))


async def contents(store: PostgresStore) -> dict[str, Sequence[dict[str, Any]]]:
    found: dict[str, Sequence[dict[str, Any]]] = {}
    for table, order in TABLES.items():
        rows = await store.fetch(f"SELECT * FROM {table} ORDER BY {order}")
        found[table] = [{name: row[name] for name in row if name != "created_at"} for row in rows]
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_each_column_has_the_value_that_the_gateways_rows_would_have_given_it(
    store: PostgresStore, other_store: PostgresStore, seed: int
) -> None:
    rows, signals = rows_of(seed, orders=60)
    await begin(store)
    await store.apply(BATCH, rows)
    await store.save_signals(signals)
    await begin(other_store)
    await other_store.save_run(rows, signals)
    expected = await contents(store)
    assert len(expected["new_trades"]) == 60
    assert await contents(other_store) == expected


async def test_a_run_names_the_run_that_it_repeats(store: PostgresStore) -> None:
    await begin(store)
    again = AlgoRunRow("another", 1, "Momentum", "BACKTEST", "1", {}, OPEN, ref_algo_run=1)
    assert await store.begin_algo_run(again) == 2
    rows = await store.fetch("SELECT algo_run_id, ref_algo_run FROM algo_run ORDER BY algo_run_id")
    assert [tuple(row.values()) for row in rows] == [(1, None), (2, 1)]
