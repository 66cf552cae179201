"""What is left overnight in an account that goes on: taken up the next morning, or left alone."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest

from tests.session.audit import market_books
from tests.session.running import TraderRun, start_kept, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]


def rows(dsn: str, query: str) -> list[Mapping[str, Any]]:
    async def ask() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    return asyncio.run(ask())


def first_calls(run: TraderRun) -> dict[tuple[str, str], list[str]]:
    """Return what each strategy knew when it was called first for a symbol, in the newest session."""
    logs = max((run.home / "logs").glob("2024-*"), key=lambda path: path.stat().st_mtime)
    found = {}
    for log in logs.glob("consumer-*.log"):
        for line in log.read_text().splitlines():
            if said := re.search(r" first (\w+) (\w+) (.*)$", line):
                found[said[1], said[2]] = said[3].split()
    return found


def test_positions_of_yesterday_are_taken_up_without_a_pick_and_day_trades_closed() -> None:
    with trader() as run:
        start_kept(run, "overnight_buy.toml", "2024-06-03", until="16:00")
        run.wait_for_market("09:34:00")
        run.process.send_signal(signal.SIGINT)
        assert run.ended() == 130, run.output
        held = market_books(run.state).positions
        assert sorted(held.values()) == [6, 6], "each of two strategies holds three of each symbol"

        start_kept(run, "overnight_none.toml", "2024-06-04", until="09:40")
        assert run.ended() == 0, run.output
        assert first_calls(run) == {}
        assert market_books(run.state).positions == held, "with skip_existing it is nobody's"

        start_kept(run, "overnight_sell.toml", "2024-06-05", until="09:40")
        assert run.ended() == 0, run.output
        with run.database() as dsn:
            batches = [row["batch_id"] for row in rows(dsn, "select batch_id from batch order by recorded_at")]
            foreign = rows(dsn, "select batch_id, symbol, quantity from foreign_positions order by symbol")
            trades = rows(dsn, "select * from new_trades join algo_run using (algo_run_id) order by trade_id")
        assert [(r["batch_id"], r["symbol"], r["quantity"]) for r in foreign] == [
            (batches[1], symbol, 6) for symbol in sorted(held)
        ]
        bought = {(t["algo_name"], t["symbol"]): t for t in trades if t["operation"] == "buy"}
        sold = [t for t in trades if t["operation"] == "sell"]
        assert {t["batch_id"] for t in sold} == {batches[2]}
        assert {(t["algo_name"], t["symbol"], t["qty"]) for t in sold} == {(n, s, 3) for n, s in bought}
        assert {t["algo_name"] for t in sold if "liquidation" in (t["indicators"] or "")} == {"Leftover"}
        assert market_books(run.state).positions == {}
        known = first_calls(run)
        assert known.keys() == bought.keys()
        for key, (position, stop, target, cost) in known.items():
            assert (position, stop) == ("3.0", "0.25"), key
            assert float(target) == float(bought[key]["target_price"])
            assert float(cost) == pytest.approx(float(bought[key]["price"]))
