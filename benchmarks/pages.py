"""`python -m benchmarks.pages`: how long the server takes for each page, on a record of 300 batches, one of them with 100,000 trades.

`first_seconds` is a page's first script run, its modules imported and nothing kept; `again_seconds` the next one, as after a click. Beside
them stands that of a page of one line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.machine import load_average, machine, versions
from liualgotrader.common.config import Settings
from liualgotrader.pages import parts
from liualgotrader.pages.record_reader import RecordReader
from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.store.store_factory import open_store
from liualgotrader.tapes.generated_profile import tickers

PAGES = {
    "day_pages": ("day", "trades", "refused", "picks", "calendar", "journal"),
    "sheet_page": ("portfolios",),
    "run_page": ("run",),
    "backtest_pages": ("history", "searches", "market_data"),
}
FILL = (
    """INSERT INTO batch (batch_id, session_date, environment, started_at, layout, configuration, versions, figures, recorded_at)
       SELECT 'batch-' || n, '2023-01-03', 'BACKTEST', '2023-01-03 14:30Z', '{}', '{"backtest": {"note": "", "cash": "100000", "bars": {"first": "2023-01-03", "last": "2023-12-29",
                                    "generated": 20, "period": 60000000000}}}', '{}',
              '{"first_day": "2023-01-03", "last_day": "2023-12-29", "sessions": 250, "symbols": 20, "trips": 100000,
                "win_rate": 0.5, "gain": "1.00", "fees": "0.00"}', timestamp '2024-01-01' + n * interval '1 s'
       FROM generate_series(1, 300) n""",
    """INSERT INTO algo_run (batch_id, slot, algo_name, algo_env, build_number, parameters, start_time)
       SELECT 'batch-' || n, slot, 'Strategy' || slot, 'BACKTEST', 'v1', json_build_object('fast', n, 'slow', 30), '2023-01-03'
       FROM generate_series(1, 300) n, generate_series(1, 2) slot""",
    """INSERT INTO trade_analysis (symbol, algo_run_id, start_tstamp, end_tstamp, gain_percentage, gain_value, r_units, side, quantity,
                                   entry_price, exit_price, fees, stop, exit_reason)
       SELECT (ARRAY[{symbols}])[n % 20 + 1], (SELECT max(algo_run_id) FROM algo_run) - n % 2, at, at + interval '10 min', 0.1, (n * 7 % 1000 - 495) / 100.0,
              (n % 60 - 25) / 10.0, 1, 10, 100, 100.5, 0.05, 99, (ARRAY['stop', 'target', 'strategy', 'liquidation'])[n % 4 + 1]
       FROM generate_series(1, $1::int) n, LATERAL (SELECT timestamp '2023-01-03 14:30' + (n % 250) * interval '1 day'
            + (n / 250) * interval '50 s' AS at) t""",
    """INSERT INTO gain_loss (symbol, algo_run_id, gain_percentage, gain_value, open_quantity)
       SELECT symbol, algo_run_id, 1, sum(gain_value), 0 FROM trade_analysis GROUP BY 1, 2""",
    """INSERT INTO new_trades (algo_run_id, symbol, operation, qty, price, tstamp, indicators, trade_fee, execution_id, client_order_id)
       SELECT algo_run_id, symbol, op::trade_operation, 10, 100, CASE op WHEN 'buy' THEN start_tstamp ELSE end_tstamp END AT TIME ZONE 'UTC',
              '{}', 0.025, op || trade_analysis_id, 'o-' || op || trade_analysis_id
       FROM trade_analysis, unnest(ARRAY['buy', 'sell']) op""",
    """INSERT INTO signals (signal_id, batch_id, slot, symbol, at, action, outcome)
       SELECT gen_random_uuid(), 'batch-300', 1 + n % 2, (ARRAY[{symbols}])[n % 20 + 1], timestamptz '2023-01-03 14:30Z' + n * interval '150 s',
              '{"qty": "10", "side": "buy"}', CASE n % 10 WHEN 0 THEN 'refused:order_value' ELSE 'sent' END
       FROM generate_series(1, 2 * $1::int) n""",
    """INSERT INTO equity (batch_id, session_date, opened_at, step_seconds, amounts)
       SELECT 'batch-300', day, day + interval '14 h 30 min', 60, array(SELECT 100000 + (i * 37 % 100) FROM generate_series(0, 390) i)
       FROM generate_series(timestamptz '2023-01-03', timestamptz '2023-09-09', interval '1 day') day""",
)


async def fill(dsn: str, trades: int) -> None:
    """Write the record."""
    await (await open_store(dsn, migrate=True)).close()
    connection = await asyncpg.connect(dsn)
    for statement in FILL:
        text = statement.replace("{symbols}", ", ".join(f"'{symbol}'" for symbol in tickers(20)))
        await connection.execute(text, *([trades] if "$1" in statement else []))
    await connection.execute("ANALYZE")
    await connection.close()


def seconds_of(script: str) -> float:
    """Return how long a page's script takes by the wall clock.

    Raises:
        RuntimeError: if the page failed.
    """
    from streamlit.testing.v1 import AppTest

    shown = AppTest.from_string(script, default_timeout=120)
    began = time.perf_counter()
    shown.run()
    taken = time.perf_counter() - began
    if shown.exception:
        raise RuntimeError(shown.exception[0].value)
    return taken


def measured(trades: int) -> dict[str, Any]:
    """Return the seconds of all pages."""
    import asyncio

    import streamlit as st

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="liu-b-") as folder, EmbeddedServer.start(Path(folder)) as server:
        os.environ |= {"LIU_HOME": folder, "TRADEPLAN_DIR": "examples/demo"}
        server.ensure_database("liualgotrader")
        asyncio.run(fill(server.dsn(), trades))
        reader = RecordReader(Settings.resolve({}))
        parts.record = lambda: reader  # type: ignore[assignment]
        bare = "import streamlit as st\nst.title('nothing')"
        seconds_of(bare)
        found = {"one line": {"again_seconds": round(seconds_of(bare), 3)}}
        for room, names in PAGES.items():
            for name in names:
                script = f"from liualgotrader.pages import {room}\n{room}.{name}()"
                st.cache_data.clear()
                found[name] = {
                    "first_seconds": round(seconds_of(script), 3),
                    "again_seconds": round(min(seconds_of(script) for _ in range(3)), 3),
                }
        reader.close()
    return found


def main() -> None:
    """Measure, and print the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=100_000)
    options = parser.parse_args()
    found = {"trades": options.trades, "pages": measured(options.trades)}
    document = {"benchmark": "pages", "machine": machine(), "versions": versions(), "load_average": load_average()}
    print(json.dumps(document | {"figures": found}, indent=2))


if __name__ == "__main__":
    main()
