"""A list of results reads one row a batch and one a run, however much was traded (freqtrade, issue 9517: 300 results take a minute)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.rows import ResultFigures
from liualgotrader.store.postgres_store import PostgresStore
from liualgotrader.store.session_tables import RESULTS

pytestmark = pytest.mark.integration

BATCHES, TRADES = 320, 5_000
FILL = (
    """INSERT INTO batch (batch_id, session_date, environment, started_at, layout, configuration, versions, recorded_at)
       SELECT 'batch-' || n, '2024-03-08', 'BACKTEST', now(), '{}', json_build_object('plan', repeat('x', 3000)), '{}',
              timestamp '2024-03-08' + n * interval '1 s'
       FROM generate_series(1, $1) AS n""",
    """INSERT INTO algo_run (batch_id, slot, algo_name, algo_env, build_number, parameters, start_time)
       SELECT 'batch-' || n, slot, 'S' || slot, 'BACKTEST', 'v1', json_build_object('fast', n), now()
       FROM generate_series(1, $1) AS n, generate_series(1, 2) AS slot""",
    """INSERT INTO new_trades (algo_run_id, symbol, operation, qty, price, tstamp, indicators, execution_id)
       SELECT (SELECT max(algo_run_id) FROM algo_run), 'SPY', 'buy', 1, 1, now(), '{}', 'x' || n
       FROM generate_series(1, $1) AS n""",
)


async def fill(store: PostgresStore) -> None:
    """Leave as many batches of two strategies; one of them has traded a lot."""
    for statement, count in zip(FILL, (BATCHES, BATCHES, TRADES), strict=True):
        await store.pool.execute(statement, count)
    await store.pool.execute("ANALYZE")


def scans(plan: Any) -> Iterator[tuple[str, float]]:
    """Yield each table that a plan reads, and how many rows it read or looked at."""
    if "Relation Name" in plan:
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield plan["Relation Name"], rows * plan["Actual Loops"]
    for inner in plan.get("Plans", ()):
        yield from scans(inner)


async def test_three_hundred_results_are_one_query_that_reads_no_trade(store: PostgresStore) -> None:
    await fill(store)
    newest = f"batch-{BATCHES}"
    await store.save_figures(newest, ResultFigures("2024-03-08", "2024-03-08", 1, 1, 7, None, Decimal(1), Decimal(0)))
    found = await store.results(300)
    assert [one.batch_id for one in found] == [f"batch-{n}" for n in range(BATCHES, BATCHES - 300, -1)]
    assert found[0].figures is not None
    assert found[0].figures.trips == 7
    assert found[0].parameters == {"S1": {"fast": BATCHES}, "S2": {"fast": BATCHES}}
    (told,) = await store.pool.fetchrow(f"EXPLAIN (ANALYZE, FORMAT JSON) {RESULTS}", 300, "BACKTEST")
    read = list(scans(json.loads(told)[0]["Plan"]))
    assert {table for table, _ in read} == {"batch", "algo_run"}
    assert sum(rows for _, rows in read) <= 3 * BATCHES
