"""Trade plans in the database run in a session: from its start, and from the moment when they are written."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from liualgotrader.models.portfolio import Portfolio
from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.store.store_factory import open_store
from liualgotrader.tapes.generated_profile import tickers
from tests.session.audit import audit
from tests.session.running import DATABASE, TraderRun, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

FIRST, SECOND = tickers(8)[:2]
FILES = f"""
from liualgotrader.scanners.base import Scanner
from liualgotrader.strategies.base import Strategy


class Two(Scanner):
    async def run(self, back_time=None):
        return ["{FIRST}", "{SECOND}"]


class Idle(Strategy):
    def on_bar(self, ctx, bar):
        pass


class Buyer(Strategy):
    def __init__(self, shares=1, **more):
        super().__init__(**more)
        self.shares = shares

    def on_bar(self, ctx, bar):
        if not ctx.position and not ctx.open_orders:
            ctx.buy(self.shares)
"""
PLAN = """
consumers = 2
market_liquidation_end_time_minutes = 3
events = ["minute"]

[scanners.Two]
filename = "mine.py"

[strategies.Idle]
filename = "mine.py"
"""


async def asked(dsn: str, query: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
    store = await open_store(dsn, migrate=True)
    try:
        return await store.fetch(query, *arguments)
    finally:
        await store.close()


async def written(dsn: str, name: str, parameters: dict[str, Any]) -> str:
    """Write a trade plan with a portfolio of its own and return its id."""
    store = await open_store(dsn, migrate=True)
    portfolio = str(uuid.uuid4())
    await Portfolio.save(portfolio, 50_000, 0, {}, pool=store.pool)
    [row] = await store.fetch(
        "INSERT INTO trade_plan (portfolio_id, start_date, strategy_name, parameters)"
        " VALUES ($1, '2020-01-01', $2, $3::text::jsonb) RETURNING trade_plan_id::text",
        portfolio,
        name,
        json.dumps(parameters),
    )
    await store.close()
    return str(row["trade_plan_id"])


def prepared(run: TraderRun, *plans: tuple[str, dict[str, Any]], tradeplan: str = PLAN) -> list[str]:
    """Write the plan's files, and trade plans into the run's database before it starts."""
    (run.home / "mine.py").write_text(FILES)
    (run.home / "tradeplan.toml").write_text(tradeplan)
    run.arguments += ["--tradeplan", str(run.home / "tradeplan.toml")]
    server = EmbeddedServer.start(run.home)
    try:
        server.ensure_database(DATABASE)
        return [asyncio.run(written(server.dsn(DATABASE), name, parameters)) for name, parameters in plans]
    finally:
        server.release()


def test_a_plan_in_the_database_trades_for_its_portfolio_from_the_start_and_one_that_cannot_is_named() -> None:
    with trader("--from", "09:30", "--to", "09:40", "--symbols", "8") as run:
        good, other, _bad = prepared(
            run,
            ("Mine", {"name": "Buyer", "filename": "mine.py", "shares": 3}),
            ("Mine", {"name": "Buyer", "filename": "mine.py", "shares": 2}),
            ("Lost", {"name": "Buyer", "filename": "nowhere.py"}),
        )
        assert run.start().ended() == 0, run.output
        output = run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    assert "a trade plan in the database is not started" in output
    assert "nowhere.py" in output
    second = f"Mine-{other[:8]}"
    slots = [(row["slot"], row["algo_name"]) for row in record.rows("algo_run")]
    assert sorted(slots) == [(1, "Idle"), (2, "Idle"), (3, "Mine"), (4, "Mine"), (5, second), (6, second)]
    names = {row["algo_run_id"]: row["algo_name"] for row in record.rows("algo_run")}
    bought = {
        (names[t["algo_run_id"]], t["symbol"], int(t["qty"]))
        for t in record.rows("new_trades")
        if t["operation"] == "buy"
    }
    assert bought == {("Mine", FIRST, 3), ("Mine", SECOND, 3), (second, FIRST, 2), (second, SECOND, 2)}
    audits = {str(row["trade_plan_id"]): row for row in record.rows("trade_plan_execution_audit")}
    assert audits.keys() == {good, other}
    assert all(row["ended_on"] is not None for row in audits.values())
    booked = {row["account_id"] for row in record.rows("account_transactions")}
    assert booked == {row["account_id"] for row in record.rows("accounts") if row["balance"] != 50_000}
    assert len(booked) == 2
    assert len(record.rows("portfolio_batch_ids")) == 2


@pytest.mark.parity(63)
def test_a_plan_written_while_a_session_runs_starts_once_though_all_is_killed_and_stops_when_it_expires() -> None:
    with trader("--from", "09:30", "--to", "16:00", "--symbols", "8", "--speed", "30") as run:
        prepared(run, tradeplan=f"file_only = false\n{PLAN.partition('[strategies')[0]}")  # the database has them all
        run.start().wait_for_market("09:32:00")
        with run.database() as dsn:
            plan = asyncio.run(written(dsn, "Late", {"name": "Buyer", "filename": "mine.py"}))
            started = "SELECT count(*) AS n FROM trade_plan_execution_audit"
            run.until(lambda: asyncio.run(asked(dsn, started))[0]["n"], "the trade plan did not start")
            run.kill_supervisor()
        run.start().wait_for_market("09:34:00")
        with run.database() as dsn:
            of_it = "SELECT r.slot FROM algo_run r WHERE algo_name = 'Late' ORDER BY slot"
            bought = (
                "SELECT count(DISTINCT t.symbol) AS n FROM new_trades t JOIN algo_run r USING (algo_run_id)"
                " WHERE r.algo_name = 'Late'"
            )
            run.until(lambda: asyncio.run(asked(dsn, bought))[0]["n"] == 2, "the trade plan did not trade")
            asyncio.run(asked(dsn, "UPDATE trade_plan SET expire_tstamp = now() WHERE trade_plan_id::text = $1", plan))
            ended = "SELECT count(*) AS n FROM algo_run WHERE end_reason = 'its trade plan has expired'"
            run.until(lambda: asyncio.run(asked(dsn, ended))[0]["n"] == 2, "the trade plan did not end")
            assert [row["slot"] for row in asyncio.run(asked(dsn, of_it))] == [1, 2]
            audits = asyncio.run(asked(dsn, "SELECT details::text FROM trade_plan_execution_audit"))
            assert [json.loads(row["details"])["slots"] for row in audits] == [[1, 2]]
        os.kill(run.process.pid, signal.SIGTERM)
        assert run.ended() == 0, run.output
