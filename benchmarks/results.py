"""`python -m benchmarks.results`: how fast a run of many trades is stored, and 300 stored results are listed.

On an embedded PostgreSQL of its own. Beside the time stands that of a bare COPY of the executions' rows alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import load_average, machine, versions
from liualgotrader.common.rows import (
    AlgoRunRow,
    BatchRow,
    OrderEventRow,
    OrderRow,
    ResultFigures,
    Row,
    SignalRow,
    TradeRow,
)
from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.store.store_factory import open_store

DAY, START = "2024-03-08", 1_709_908_200_000_000_000
STEPS = ("written", "sent", "acknowledged", "filled")
COLUMNS = ("algo_run_id", "symbol", "operation", "qty", "price", "tstamp", "indicators", "execution_id")


def rows_of(batch: str, run: int, trades: int) -> tuple[list[Row], list[SignalRow]]:
    """Return what that many orders with one fill each leave: an order, its steps, an execution and a signal."""
    rows, signals, price = list[Row](), list[SignalRow](), Decimal("101.25")
    for n in range(trades):
        at, name, side = START + n * 1_000_000_000, f"liu-{batch}-1-{n}", ("buy", "sell")[n % 2]
        fixed = (
            name,
            batch,
            1,
            run,
            1,
            "SPY",
            side,
            Decimal(10),
            "market",
            "day",
            None,
            None,
            "filled",
            f"b-{batch}-{n}",
        )
        rows.append(OrderRow(*fixed, Decimal(10), price, "", None, None, {"fast": 1.5, "slow": 2.5}, at, at))
        rows += [OrderEventRow(name, number, step, at, {}) for number, step in enumerate(STEPS, 1)]
        rows.append(
            TradeRow(f"x-{batch}-{n}", name, run, "SPY", side, Decimal(10), price, Decimal("0.05"), at, {}, None, None)
        )
        signals.append(SignalRow(batch, 1, "SPY", at, {"side": side, "qty": "10"}, "sent", name))
    return rows, signals


async def seconds(act: Callable[[], Awaitable[Any]]) -> float:
    """Return how long something takes by the wall clock."""
    began = time.perf_counter()
    await act()
    return time.perf_counter() - began


async def measured(dsn: str, trades: int, repeats: int) -> dict[str, Any]:
    """Return all figures."""
    store: Any = await open_store(dsn, migrate=True)
    stored: list[float] = []
    bare: list[float] = []
    for number in range(300):
        batch = f"batch-{number}"
        await store.begin_batch(
            BatchRow(batch, DAY, "BACKTEST", START, {}, {"backtest": {"note": "", "cash": "100000"}}, {})
        )
        run = await store.begin_algo_run(AlgoRunRow(batch, 1, "Crossing", "BACKTEST", "v1", {"fast": number}, START))
        await store.save_figures(batch, ResultFigures(DAY, DAY, 1, 1, trades, 0.5, Decimal(1), Decimal(0)))
        if number < repeats:
            rows, signals = rows_of(batch, run, trades)
            stored.append(await seconds(partial(store.save_run, rows, signals)))
            await store.pool.execute("CREATE TABLE bare (LIKE new_trades INCLUDING DEFAULTS)")
            copied = [
                (t.algo_run_id, t.symbol, t.operation, t.quantity, t.price, None, "{}", t.execution_id)
                for t in rows
                if isinstance(t, TradeRow)
            ]
            await store.pool.execute("ALTER TABLE bare ALTER COLUMN tstamp DROP NOT NULL")
            copy = partial(store.pool.copy_records_to_table, "bare", records=copied, columns=COLUMNS)
            bare.append(await seconds(copy))
            await store.pool.execute("DROP TABLE bare")
    lists = [await seconds(lambda: store.results(300)) for _ in range(20)]
    await store.close()
    return {
        "trades": trades,
        "stored_seconds": round(statistics.median(stored), 2),
        "of_a_bare_copy": round(statistics.median(a / b for a, b in zip(stored, bare, strict=True)), 1),
        "listed_300_ms": round(1000 * statistics.median(lists), 1),
    }


def main() -> None:
    """Measure, and print the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="liu-b-") as folder, EmbeddedServer.start(Path(folder)) as server:
        server.ensure_database("results")
        found = asyncio.run(measured(server.dsn("results"), options.trades, options.repeats))
    document = {"benchmark": "results", "machine": machine(), "versions": versions(), "load_average": load_average()}
    print(json.dumps({**document, "measured": found}, indent=2))


if __name__ == "__main__":
    main()
