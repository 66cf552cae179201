"""What each key of a tradeplan does in a whole session."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.store.store_factory import open_store
from tests.session.audit import audit
from tests.session.running import DATABASE, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]


def make_portfolio(home: Path, name: str, dollars: int) -> None:
    async def make(dsn: str) -> None:
        store = await open_store(dsn, migrate=True)
        [row] = await store.fetch("INSERT INTO accounts (balance) VALUES ($1) RETURNING account_id", Decimal(dollars))
        await store.fetch(
            "INSERT INTO portfolio (portfolio_id, size, account_id) VALUES ($1, $2, $3) RETURNING portfolio_id",
            name,
            Decimal(dollars),
            row["account_id"],
        )
        await store.fetch(
            "INSERT INTO trade_plan (portfolio_id, start_date, strategy_name) VALUES ($1, '2020-01-01', 'Other')"
            " RETURNING trade_plan_id",
            name,
        )
        await store.close()

    server = EmbeddedServer.start(home)
    try:
        server.ensure_database(DATABASE)
        asyncio.run(make(server.dsn(DATABASE)))
    finally:
        server.release()


@pytest.mark.parity(5, 7, 9)
def test_every_key_has_its_effect() -> None:
    with trader("--from", "09:30", "--to", "09:42", plan="keys.toml") as run:
        make_portfolio(run.home, "savings", 1000)
        run.environment = {"LIU_MAX_SYMBOLS": "3"}
        assert run.start().ended() == 0, run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
        said = [
            line.split(":keys ")[1].split()
            for log in run.home.glob("logs/*/consumer-*.log")
            for line in log.read_text().splitlines()
            if ":keys " in line
        ]
        output = run.output
        producer = next(run.home.glob("logs/*/producer.log")).read_text()

    assert {tuple(words[3:6]) for words in said} == {("0.0123", "12345.0", "12345.0")}, "risk, and the value twice"
    assert {words[0] for words in said} == {row["symbol"] for row in record.rows("trending_tickers")}
    assert len({words[0] for words in said}) == 3, "LIU_MAX_SYMBOLS"
    assert output.count("a trade plan in the database is not started: ") == 1, "file_only"
    assert output.count("follows 3 symbols, which is its limit") == 1
    assert producer.count("symbol_picked") == 3

    open_windows = {words[1] for words in said if words[2] == "True"}
    assert open_windows == {"09:34"}, "start 3, duration 2: strictly between the 3rd and the 5th minute"
    minutes = {words[1] for words in said}
    assert "09:33" in minutes, "with events = minute it is called once a minute"
    assert len(said) == len({(words[0], words[1]) for words in said})

    trades = record.rows("new_trades")
    sold = [t for t in trades if t["operation"] == "sell"]
    assert sold
    closing = dt.datetime(2024, 6, 3, 13, 38)  # UTC, four minutes before the window's end
    assert all(closing <= t["tstamp"] < closing + dt.timedelta(minutes=1) for t in sold)

    [account] = record.rows("accounts")
    moved = record.rows("account_transactions")
    bought = {t["client_order_id"] for t in trades if t["operation"] == "buy"}
    by_strategy = [row["amount"] for row in moved if "strategy" in row["details"]]
    assert by_strategy == [Decimal("-0.25")] * len(bought), "what the strategy books of its fills is not booked again"
    assert len(moved) == len(trades) + len(bought)
    value = sum(
        (t["qty"] * t["price"] * (1 if t["operation"] == "sell" else -1) - t["trade_fee"] for t in trades), Decimal(0)
    )
    value += sum(by_strategy)
    assert account["balance"] == 1000 + value == 1000 + sum(row["amount"] for row in moved)
    batches = [row["batch_id"] for row in record.rows("batch")]
    assert [row["batch_id"] for row in record.rows("portfolio_batch_ids")] == batches
    affordable = [float(words[6]) for words in said]
    assert max(affordable) == 1000, "before the first trade the whole portfolio"
    assert min(affordable) < 1000


@pytest.mark.parity(6)
def test_with_test_scanners_only_scanners_run_and_their_picks_are_shown() -> None:
    with trader("--from", "09:30", "--to", "09:35", "--symbols", "4", plan="scanners_only.toml") as run:
        assert run.start().ended() == 0, run.output
        assert "scanner Names picks 4: " in run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
        logs = {log.name for log in run.home.glob("logs/*/*.log")}
    assert "producer.log" not in logs
    assert "order_gateway.log" not in logs
    for table in ("orders", "trending_tickers", "algo_run"):
        assert record.rows(table) == []
