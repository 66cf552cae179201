"""A report says what SQL says of the fills, and opens offline in a real browser."""

from __future__ import annotations

import asyncio
import html
import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from liualgotrader.cli import backtester, liu
from liualgotrader.common.calendar import session_of
from liualgotrader.common.clock import HOUR
from liualgotrader.common.errors import LiuError
from liualgotrader.common.rows import AlgoRunRow, BatchRow
from liualgotrader.models.portfolio import Portfolio
from liualgotrader.store.store_factory import open_store
from liualgotrader.tapes.generated_profile import tickers
from tests.contract.test_store_contract import trade
from tests.integration.stored_rows import rows_of

pytestmark = pytest.mark.integration

# It buys and sells short by turns, with stops, and holds the last position overnight.
STRATEGY = """
from liualgotrader.strategies.base import Strategy, StrategyType

class Turns(Strategy):
    strategy_type = StrategyType.SWING

    def on_bar(self, ctx, bar):
        n = len(ctx.bars.close)
        if ctx.open_orders or n % 10 != 5:
            return
        if ctx.position:
            ctx.close()
        elif n % 40 < 20:
            ctx.buy(10, stop_price=bar.close * 0.99, target_price=bar.close * 1.02)
        else:
            ctx.sell(10, stop_price=bar.close * 1.01)
"""
CHROMIUM = which("chromium") or which("chromium-browser")


@pytest.fixture
def report(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "turns.py").write_text(STRATEGY)
    plan = tmp_path / "tradeplan.toml"
    plan.write_text('[strategies.Turns]\nfilename = "turns.py"\n')
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    path = tmp_path / "report.html"
    days = ("from", "2024-03-12", "--to", "2024-03-14", "--scale", "minute", "--generated", "3", "--fees", "all")
    assert backtester.run([*days, "--tradeplan", str(plan), "--dsn", dsn, "--report", str(path)]) == 0
    return path


def document(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found is not None
    read: dict[str, Any] = json.loads(found[1], parse_float=Decimal)
    return read


CASH = "sum(CASE WHEN operation = 'buy' THEN -qty * price ELSE qty * price END) - sum(trade_fee)"
SIGNED = "sum(CASE WHEN operation = 'buy' THEN qty ELSE -qty END)"


def test_figures_of_a_report_are_those_of_sql_over_the_fills(dsn: str, report: Path) -> None:
    told = document(report)["figures"]
    found = rows_of(
        dsn, f"SELECT symbol, {CASH} AS cash, {SIGNED} AS held, sum(trade_fee) AS fees FROM new_trades GROUP BY 1"
    )
    last = {row["symbol"]: row for row in found}
    held = {p["symbol"]: p for p in told["open"]}
    assert held, "a position is open"
    for figures in told["symbols"]:
        row = last[figures["name"]]
        assert figures["fees"] == round(row["fees"], 2)
        if row["held"] == 0:
            assert figures["gain"] == round(row["cash"], 2)
        else:
            assert held[figures["name"]]["quantity"] == row["held"]
            cost = row["held"] * held[figures["name"]]["average_price"]
            assert figures["gain"] == pytest.approx(row["cash"] + cost, abs=Decimal("0.01"))
    (whole,) = rows_of(dsn, f"SELECT {CASH} AS cash, sum(trade_fee) AS fees FROM new_trades")
    (trips,) = rows_of(
        dsn, "SELECT count(*) AS trips, count(*) FILTER (WHERE gain_value > 0) AS won FROM trade_analysis"
    )
    assert told["total"]["fees"] == round(whole["fees"], 2)
    assert told["total"]["trips"] == trips["trips"] == sum(g["trips"] for g in told["exits"])
    assert told["total"]["win_rate"] == pytest.approx(Decimal(trips["won"]) / trips["trips"])
    gained = told["total"]["gain"] + told["total"]["open_gain"]
    assert gained == pytest.approx(told["account"]["last"] - told["account"]["first"], abs=Decimal("0.02"))


def test_a_report_of_the_record_has_the_figures_of_the_backtests_own(dsn: str, report: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.html"
    assert liu.run(["report", document(report)["batch_id"], "--output", str(again), "--dsn", dsn]) == 0
    assert document(again)["figures"] == document(report)["figures"]


def test_a_batch_lies_beside_another_and_a_benchmark_of_choice(dsn: str, report: Path, tmp_path: Path) -> None:
    more = ("--scale", "minute", "--generated", "3", "--tradeplan", str(tmp_path / "tradeplan.toml"), "--dsn", dsn)
    assert backtester.run(["from", "2024-03-13", "--to", "2024-03-15", *more]) == 0
    batches = [row["batch_id"] for row in rows_of(dsn, "SELECT batch_id FROM batch ORDER BY recorded_at")]
    first = document(report)["figures"]
    held = next(one["name"] for one in first["symbols"])
    sheet = tmp_path / "sheet.html"
    words = ["report", batches[0][:8], "--beside", batches[1][:8], "--benchmark", held.lower(), "--output", str(sheet)]
    assert liu.run([*words, "--dsn", dsn]) == 0
    (beside,) = document(sheet)["figures"]["beside"]
    closes = {
        (row["batch_id"], f"{row['session_date']}"): row["amounts"][-1] for row in rows_of(dsn, "SELECT * FROM equity")
    }
    assert [day for day, _, _ in beside["returns"]] == ["2024-03-13", "2024-03-14"]
    _, ours, theirs = beside["returns"][1]
    assert float(ours) == pytest.approx(closes[batches[0], "2024-03-14"] / closes[batches[0], "2024-03-13"] - 1)
    assert float(theirs) == pytest.approx(closes[batches[1], "2024-03-14"] / closes[batches[1], "2024-03-13"] - 1)
    trips = rows_of(
        dsn,
        "SELECT count(*) AS trips, sum(gain_value) AS gain FROM trade_analysis JOIN algo_run USING (algo_run_id)"
        f" WHERE batch_id = '{batches[0]}' AND end_tstamp > '2024-03-13' AND end_tstamp < '2024-03-15'",
    )[0]
    assert (beside["trading"][0]["trips"], beside["trading"][0]["gain"]) == (trips["trips"], round(trips["gain"], 2))
    assert document(sheet)["figures"]["benchmark"]["total_return"] is not None


def test_what_cannot_be_laid_beside_a_batch_is_refused_in_a_sentence(dsn: str, report: Path, tmp_path: Path) -> None:
    (batch,) = rows_of(dsn, "SELECT batch_id FROM batch")
    more = ("--scale", "minute", "--generated", "3", "--tradeplan", str(tmp_path / "tradeplan.toml"), "--dsn", dsn)
    assert backtester.run(["from", "2024-03-18", "--to", "2024-03-18", *more]) == 0
    (other,) = rows_of(dsn, "SELECT batch_id FROM batch WHERE session_date = '2024-03-18'")
    for words, said in (
        (
            ["--beside", other["batch_id"]],
            r"no session in common .* is of 2024-03-12 to 2024-03-14 and .* is of 2024-03-18",
        ),
        (["--benchmark", "../../etc/passwd"], "is no symbol"),
        (["--benchmark", "SPY"], "choose a --benchmark of the invented market"),
        (["--beside", "'; DROP TABLE batch; --"], "no batch"),
    ):
        with pytest.raises(LiuError, match=said):
            liu.run(["report", batch["batch_id"], *words, "--output", str(tmp_path / "no.html"), "--dsn", dsn])
    assert not (tmp_path / "no.html").exists()


async def for_a_portfolio(dsn: str) -> None:
    """Leave two sessions of a strategy that holds 10 shares overnight for a portfolio of 5,000 $, and 200 $ paid in."""
    store = await open_store(dsn, migrate=True)
    await Portfolio.save("savings", 5000, 0.0, {}, pool=store.pool)
    account = (await Portfolio.load_by_portfolio_id("savings", store.pool)).account_id
    for number, (day, operation) in enumerate((("2024-06-03", "buy"), ("2024-06-05", "sell"))):
        session = session_of(date.fromisoformat(day))
        assert session is not None
        market = {"data": "", "symbol_count": 3, "opens_at": session.opens_at, "closes_at": session.closes_at}
        told = {"market": market | {"account": None, "symbols": []}}
        row = BatchRow(f"session-{number}", day, "SIMULATED", session.opens_at, {}, told, {}, 7)
        await store.begin_batch(row)
        run = AlgoRunRow(row.batch_id, 1, "Holds", "SIMULATED", "v1", {"portfolio_id": "savings"}, session.opens_at)
        run_id = await store.begin_algo_run(run)
        await store.associate_portfolio("savings", row.batch_id)
        price, when = ("100", "110")[number], session.opens_at + HOUR
        made = trade(number, run_id, operation=operation, quantity="10", price=price, fee="1", symbol=tickers(3)[0], at=when, account_id=account)  # fmt: skip
        await store.apply(row.batch_id, [made])
    await store.fetch("INSERT INTO account_transactions (account_id, amount) VALUES ($1, 200) RETURNING 1", account)
    await store.close()


def test_a_sheet_of_a_portfolio_is_of_all_its_sessions_and_its_own_money(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    asyncio.run(for_a_portfolio(dsn))
    sheet = tmp_path / "sheet.html"
    words = ["report", "savings", "--benchmark", tickers(3)[1], "--output", str(sheet), "--dsn", dsn]
    assert liu.run(words) == 0
    figures = document(sheet)["figures"]
    # 10 x (110 - 100) less two dollars of fees, over the nights of two sessions; what was paid in is no gain.
    assert (figures["total"]["trips"], figures["total"]["gain"], figures["total"]["fees"]) == (1, 98, 2)
    assert figures["account"]["first"] == 5000
    assert figures["account"]["last"] == pytest.approx(Decimal(5098))
    page = html.unescape(sheet.read_text())
    assert "+200.00 $ came or went beside executions" in page
    assert "2024-06-03 to 2024-06-05" in page and "3 sessions" in page
    asyncio.run(_empty_portfolio(dsn))
    with pytest.raises(LiuError, match=r'nothing was traded for portfolio empty .* portfolio_id = "empty"'):
        liu.run(["report", "empty", "--dsn", dsn])


async def _empty_portfolio(dsn: str) -> None:
    store = await open_store(dsn)
    await Portfolio.save("empty", 100, 0.0, {}, pool=store.pool)
    await store.close()


@pytest.mark.parity(75)
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_a_report_opens_offline_without_an_error_or_a_request(report: Path) -> None:
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_context(color_scheme=scheme, offline=True).new_page()
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: said.append(request.url))
            page.goto(report.as_uri())
            page.wait_for_function("document.documentElement.dataset.drawn === 'yes'", timeout=120_000)
            assert page.locator(".js-plotly-plot").count() >= 6
            assert page.evaluate("document.documentElement.dataset.theme") == scheme
        browser.close()
    assert said == [report.as_uri()] * 2


LEAK = """
import numpy as np
from liualgotrader.strategies.base import Strategy

class Leak(Strategy):
    def signals(self, bars):
        up = np.r_[bars.close[1:] > bars.close[:-1], False]
        return {"entry": up.astype(int), "exit": ~up, "size": np.full(len(up), 10.0)}
"""


def test_what_a_check_found_stands_in_every_report_of_the_plan(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    (tmp_path / "leak.py").write_text(LEAK)
    plan = tmp_path / "tradeplan.toml"
    plan.write_text('[strategies.Leak]\nfilename = "leak.py"\n')
    days = ("2024-03-12", "--to", "2024-03-13", "--scale", "minute", "--generated", "1", "--tradeplan", str(plan))
    pages = [tmp_path / f"{name}.html" for name in ("checked", "played", "of_the_batch")]
    assert backtester.run(["lookahead", *days, "--dsn", dsn, "--report", str(pages[0])]) == 6
    [check] = rows_of(dsn, "SELECT c.*, b.environment FROM honesty_check c JOIN batch b USING (batch_id)")
    assert (check["name"], check["verdict"], check["environment"]) == ("lookahead", "failed", "BACKTEST")
    [sentence] = json.loads(check["findings"]) if isinstance(check["findings"], str) else check["findings"]
    assert sentence.startswith("Leak on ")
    assert backtester.run(["from", *days, "--dsn", dsn, "--report", str(pages[1])]) == 0
    assert liu.run(["report", check["batch_id"], "--dsn", dsn, "--output", str(pages[2])]) == 0
    for page in pages:
        assert sentence in html.unescape(page.read_text())
