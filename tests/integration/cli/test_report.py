"""A report says what SQL says of the fills, and opens offline in a real browser."""

from __future__ import annotations

import html
import json
import re
from decimal import Decimal
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from liualgotrader.cli import backtester, liu
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
