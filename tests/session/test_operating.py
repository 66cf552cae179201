"""What a person does on the page Operate happens in the session, and is written down with who did it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from getpass import getuser
from shutil import which
from typing import Any, cast

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from liualgotrader.common.config import Settings
from liualgotrader.pages import parts
from liualgotrader.pages.record_reader import RecordReader
from liualgotrader.tapes.generated_profile import tickers
from tests.integration.stored_rows import rows_of
from tests.session.running import GUARD_SECONDS, TraderRun, bare_environment, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

CHROMIUM = which("chromium") or which("chromium-browser")
FIRST, SECOND, THIRD = tickers(6)[:3]
FILES = f"""
from liualgotrader.scanners.base import Scanner
from liualgotrader.strategies.base import Strategy, StrategyType


class All(Scanner):
    async def run(self, back_time=None):
        return ["{FIRST}", "{SECOND}", "{THIRD}"]


class Buyer(Strategy):
    symbol = "{FIRST}"

    def on_bar(self, ctx, bar):
        if ctx.symbol == self.symbol and not ctx.position and not ctx.open_orders:
            ctx.buy(10, stop_price=bar.close * 0.9, target_price=bar.close * 1.1)
            ctx.buy(1, limit=round(bar.close * 0.95, 2))


class Other(Buyer):
    symbol = "{SECOND}"


class Keeper(Buyer):
    symbol = "{THIRD}"

    def __init__(self, **base):
        super().__init__(type=StrategyType.SWING, **base)
"""
PLAN = """
consumers = 1
events = ["minute"]

[scanners.All]
filename = "mine.py"
"""


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[TraderRun]:
    """A session of two strategies that hold a position and have an order waiting; the account holds a third's besides."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    with trader("--from", "09:30", "--symbols", "6", "--seed", "3") as run:
        (run.home / "mine.py").write_text(FILES)
        run.arguments += ["--tradeplan", str(run.home / "tradeplan.toml"), "--state", str(run.home / "kept")]
        written(run, "Keeper")
        run.arguments += ["--date", "2024-06-03", "--to", "09:36"]
        assert run.start().ended() == 0, run.output
        written(run, "Buyer", "Other")
        run.forget_page()
        run.arguments = [*run.arguments[:-4], "--date", "2024-06-04", "--speed", "60"]
        run.start()
        reader = RecordReader(Settings.resolve({"home": str(run.home)}))
        monkeypatch.setattr(parts, "record", lambda: reader)
        st.cache_data.clear()
        yield run
        reader.close()


def written(run: TraderRun, *strategies: str) -> None:
    tables = [f'[strategies.{name}]\nfilename = "mine.py"\n' for name in strategies]
    (run.home / "tradeplan.toml").write_text(PLAN + "".join(tables))


class Page:
    """The page Operate, as a browser has it open."""

    def __init__(self) -> None:
        script = "from liualgotrader.pages import operate_page\noperate_page.operate()"
        self.shown = AppTest.from_string(script, default_timeout=60)

    def until(self, found: Callable[[AppTest], Any]) -> Any:
        """Look again and again, as the page itself does, until something is there; return it."""
        end = time.monotonic() + GUARD_SECONDS
        while time.monotonic() < end:
            assert not self.shown.run().exception, self.shown.exception
            if result := found(self.shown):
                return result
        raise AssertionError([e.value for kind in ("error", "warning", "info") for e in self.shown.get(kind)])

    def table(self, column: str) -> list[dict[str, Any]]:
        tables = [element.value for element in self.shown.dataframe if column in element.value.columns]
        return cast("list[dict[str, Any]]", tables[0].to_dict("records")) if tables else []

    def do(self, label: str) -> str:
        """Click, confirm, and return what is said then."""
        self.button(label)
        assert "Batch" in self.shown.warning[0].value
        self.button("Yes, do it")
        (said,) = self.shown.success or self.shown.error
        return str(said.value).replace("\\", "")

    def button(self, label: str) -> None:
        (button,) = [one for one in self.shown.button if one.label == label]
        button.click().run()
        assert not self.shown.exception, self.shown.exception

    def choose(self, label: str, value: str) -> None:
        (box,) = [one for one in self.shown.selectbox if one.label == label]
        box.select(value).run()

    def tick(self, label: str) -> None:
        (box,) = [one for one in self.shown.checkbox if one.label == label]
        box.check().run()


def test_a_person_at_the_page_does_with_a_session_what_the_command_line_does(session: TraderRun) -> None:
    page = Page()
    page.until(lambda _: len(page.table("entry $")) == 2 and len(page.table("order")) >= 2)
    told = {one.label: one.value for one in page.shown.metric}
    assert Decimal(told["Equity, $"].replace(",", "")) > 0
    for held in page.table("entry $"):
        assert held["P&L $"] == pytest.approx((held["last $"] - held["entry $"]) * float(held["shares"]), abs=0.01)
        assert held["stop $"] < held["entry $"] < held["target $"]
    assert any(THIRD in said.value and "never traded" in said.value for said in page.shown.warning)

    page.button("Kill switch")
    page.button("No")
    assert not page.shown.success
    order = next(one for one in page.table("order") if one["limit $"] > 0 and one["symbol"] == FIRST)
    page.choose("Working order", order["order"])
    assert f"buy {FIRST}: 1 order cancelled" in page.do("Cancel the order")
    page.choose("What becomes of the difference", "flatten: the same, and what is there is closed at market")
    assert "settled by `flatten`" in page.do("Settle the difference")
    page.choose("Strategy", "Other")
    page.tick("and close its positions at market")
    assert "strategy Other is stopped" in page.do("Stop the strategy")
    page.until(lambda _: [held["symbol"] for held in page.table("entry $")] == [FIRST])
    page.tick("and close our positions at market")
    assert "the kill switch is on" in page.do("Kill switch")
    page.until(lambda shown: not page.table("entry $") and any("KILL SWITCH" in w.value for w in shown.warning))
    assert commanded(session, "trader", "resume") == 0
    assert commanded(session, "liu", "cancel", "liu-nonsense-1-1") == 2
    page.until(lambda _: len(page.table("through")) == 6)
    assert "is being stopped" in page.do("Stop the session")
    assert session.ended() in (0, 4), session.output
    page.until(lambda shown: [said for said in shown.info if "No session is running" in said.value])

    st.cache_data.clear()
    shown = AppTest.from_string(
        "from liualgotrader.pages import day_pages\nday_pages.trades()", default_timeout=60
    ).run()
    (button,) = [one for one in shown.button if one.label == "Show its journal entry"]
    button.click().run()
    assert not shown.exception
    entry = shown.dataframe[-1].value
    (order_shown,) = [one.value for one in shown.selectbox if one.label == "Order"]
    of_it = entry[entry["order"] == order_shown]
    assert {"order", ">send", ">fill"} <= set(of_it["kind"]), "what the strategy asked, what was sent, what it came to"
    assert len(entry) > len(of_it), "and what was told before and after"

    with session.database() as dsn:
        rows = stored(dsn)
    assert [(row["action"], row["through"], row["done"]) for row in rows] == [
        ("cancel", "page", True),
        ("positions", "page", True),
        ("stop_strategy", "page", True),
        ("kill_switch", "page", True),
        ("resume", "command line", True),
        ("cancel", "command line", False),
        ("stop", "page", True),
    ]
    assert {row["asked_by"] for row in rows} == {getuser()}
    assert json.loads(rows[0]["arguments"]) == {"order": order["order"]}


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_the_kill_switch_is_a_click_and_its_confirmation_away_in_a_browser(session: TraderRun) -> None:
    from playwright.sync_api import expect, sync_playwright

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = bare_environment() | {"LIU_HOME": str(session.home)}
    words = [sys.executable, "-m", "liualgotrader", "ui", "--operate", "--no-browser", "--port", str(port)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            while "URL:" not in (line := served.stdout.readline()):
                assert line, "the server ended"
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                shown = browser.new_page()
                shown.set_default_timeout(1000 * GUARD_SECONDS)
                shown.goto(f"http://127.0.0.1:{port}/operate")
                shown.get_by_role("button", name="Kill switch", exact=True).click()
                shown.get_by_role("button", name="Yes, do it").click()
                # By itself, a little later: nobody touches the page any more.
                expect(shown.get_by_text("THE KILL SWITCH IS ON since")).to_be_visible(timeout=1000 * GUARD_SECONDS)
                expect(shown.get_by_text("What operators did")).to_be_visible(timeout=1000 * GUARD_SECONDS)
                assert shown.locator("[data-testid=stException]").count() == 0
                browser.close()
        finally:
            served.kill()


def commanded(run: TraderRun, program: str, *words: str) -> int:
    code = f"from liualgotrader.cli.{program} import main; main()"
    environment = bare_environment() | {"LIU_HOME": str(run.home)}
    ended = subprocess.run([sys.executable, "-c", code, *words], env=environment, timeout=GUARD_SECONDS, check=False)
    return ended.returncode


def stored(dsn: str) -> list[dict[str, Any]]:
    return [dict(row) for row in rows_of(dsn, "SELECT * FROM operator_action ORDER BY recorded_at, at")]
