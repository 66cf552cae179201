"""The pages show what SQL says of the fills, in words where there is nothing, and change nothing."""

from __future__ import annotations

import asyncio
import base64
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from shutil import which
from typing import Any
from urllib.request import urlopen
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from liualgotrader.cli import backtester, liu, portfolios
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import LiuError
from liualgotrader.pages import parts
from liualgotrader.pages.record_reader import RecordReader
from liualgotrader.tapes.generated_profile import tickers
from tests.integration.cli.test_report import CASH, STRATEGY, for_a_portfolio
from tests.integration.stored_rows import rows_of
from tests.session.running import bare_environment

pytestmark = pytest.mark.integration

PAGES = {
    "day_pages": ("day", "trades", "refused", "picks", "calendar", "journal"),
    "sheet_page": ("portfolios",),
    "run_page": ("run",),
    "backtest_pages": ("history", "searches", "market_data"),
}
SIZED = """
from liualgotrader.strategies.base import Strategy

class Turns(Strategy):
    def __init__(self, shares=1, **base):
        super().__init__(**base)
        self.shares = shares

    def on_bar(self, ctx, bar):
        if not ctx.position and not ctx.open_orders:
            ctx.buy(self.shares)
"""
CHROMIUM = which("chromium") or which("chromium-browser")


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's script takes the place of `__main__`, which every process that is spawned later would run again."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def record(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A record that the pages read: a folder and a database of their own."""
    monkeypatch.setenv("DSN", dsn)
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRADEPLAN_DIR", str(tmp_path))
    reader = RecordReader(Settings.resolve({}))
    monkeypatch.setattr(parts, "record", lambda: reader)
    st.cache_data.clear()
    yield dsn
    reader.close()


@pytest.fixture
def played(record: str, tmp_path: Path) -> str:
    """The same with a backtest: long and short trades, fees, stops, and a position that is still open."""
    (tmp_path / "turns.py").write_text(
        STRATEGY.replace(
            "if ctx.open_orders", "ctx.record('mean', ctx.bars.close[-20:].mean())\n        if ctx.open_orders"
        )
    )
    (tmp_path / "tradeplan.toml").write_text('[strategies.Turns]\nfilename = "turns.py"\n')
    days = ("from", "2024-03-12", "--to", "2024-03-14", "--scale", "minute", "--generated", "3", "--fees", "all")
    assert backtester.run([*days, "--tradeplan", str(tmp_path / "tradeplan.toml"), "--dsn", record]) == 0
    return record


def page(room: str, name: str, **address: str) -> AppTest:
    script = f"from liualgotrader.pages import {room}\n{room}.{name}()"
    shown = AppTest.from_string(script, default_timeout=60)
    for key, value in address.items():
        shown.query_params[key] = value
    shown.run()
    assert not shown.exception, shown.exception
    return shown


def money(text: str) -> Decimal:
    return Decimal(text.replace(",", "").removesuffix(" $"))


@pytest.mark.parity(73)
def test_the_figures_of_a_day_are_those_of_sql_over_the_fills(played: str) -> None:
    shown = page("day_pages", "day")
    told = {metric.label: metric.value for metric in shown.metric}
    (fills,) = rows_of(played, f"SELECT {CASH} AS cash, sum(trade_fee) AS fees FROM new_trades")
    (left,) = rows_of(played, "SELECT sum(open_quantity * open_price) AS cost FROM gain_loss")
    trips = rows_of(played, "SELECT gain_value FROM trade_analysis")
    assert money(told["P&L, $"]) == pytest.approx(fills["cash"] + left["cost"], abs=Decimal("0.01"))
    assert money(told["Fees, $"]) == round(fills["fees"], 2)
    assert told["Trades"] == str(len(trips))
    assert told["Win rate"] == f"{100 * sum(t['gain_value'] > 0 for t in trips) / len(trips):.1f} %"
    by_symbol = shown.dataframe[1].value
    for row in rows_of(
        played,
        f"SELECT t.symbol, {CASH} + coalesce((SELECT sum(open_quantity * open_price) FROM gain_loss g"
        " WHERE g.symbol = t.symbol), 0) AS gain FROM new_trades t GROUP BY 1",
    ):
        (found,) = by_symbol[by_symbol["symbol"] == row["symbol"]]["P&L $"]
        assert found == pytest.approx(float(row["gain"]), abs=0.011)
    by_exit = shown.dataframe[2].value
    assert by_exit["trades"].sum() == len(trips)
    assert by_symbol["open"].sum() == 3, "one position a symbol is open"


def test_the_same_number_on_two_pages_is_the_same_number(played: str) -> None:
    day = {metric.label: metric.value for metric in page("day_pages", "day").metric}
    (listed,) = page("backtest_pages", "history").dataframe[0].value.to_dict("records")
    assert f"{listed['P&L $']:+,.2f}" == day["P&L, $"]
    assert str(listed["trades"]) == day["Trades"]
    calendar = page("day_pages", "calendar").dataframe[0].value
    trips = page("day_pages", "trades").dataframe[0].value
    assert calendar["trades"].sum() == len(trips) == int(day["Trades"])
    assert calendar["gain"].sum() == pytest.approx(trips["gain"].sum())


@pytest.mark.parity(72)
def test_a_day_of_the_calendar_leads_to_its_batch(played: str) -> None:
    shown = page("day_pages", "calendar")
    days = shown.dataframe[0].value
    shown.main.selectbox[0].set_value(days["day"].iloc[0]).run()
    (kept,) = rows_of(played, "SELECT batch_id FROM batch")
    assert f"trades?batch={kept['batch_id']}" in shown.markdown[-1].value


def drawn(shown: AppTest, place: int) -> list[dict[str, Any]]:
    """Return what a chart of a page draws."""
    traces: list[dict[str, Any]] = json.loads(shown.get("plotly_chart")[place].proto.spec)["data"]
    return traces


@pytest.mark.parity(72)
def test_breakdowns_of_the_calendar_are_sums_over_the_round_trips(played: str) -> None:
    shown = page("day_pages", "calendar")
    trips = rows_of(played, "SELECT start_tstamp, end_tstamp, entry_price, gain_value FROM trade_analysis")
    zone = ZoneInfo("America/New_York")
    prices = (
        (1, "below 1 $"),
        (5, "1 to 5 $"),
        (10, "5 to 10 $"),
        (20, "10 to 20 $"),
        (50, "20 to 50 $"),
        (100, "50 to 100 $"),
        (500, "100 to 500 $"),
    )
    times = (
        (1, "below 1 min"),
        (5, "1 to 5 min"),
        (15, "5 to 15 min"),
        (60, "15 to 60 min"),
        (390, "1 to 6½ h"),
        (1440, "up to a day"),
    )
    ways: list[Callable[[Any], str]] = [
        lambda t: f"{t['start_tstamp'].astimezone(zone):%H}:00",
        lambda t: f"{t['start_tstamp'].astimezone(zone):%a}",
        lambda t: next((name for edge, name in prices if t["entry_price"] < edge), "above 500 $"),
        lambda t: next((name for edge, name in times if (t["end_tstamp"] - t["start_tstamp"]).total_seconds() / 60 < edge), "longer"),
    ]  # fmt: skip
    for place, way in zip((1, 3, 2, 4), ways, strict=True):  # by columns
        summed: dict[str, Decimal] = {}
        for trip in trips:
            summed[way(trip)] = summed.get(way(trip), Decimal(0)) + trip["gain_value"]
        (bars,) = drawn(shown, place)
        y = np.frombuffer(base64.b64decode(bars["y"]["bdata"]), bars["y"]["dtype"])
        assert dict(zip(bars["x"], y, strict=True)) == pytest.approx(
            {name: float(gain) for name, gain in summed.items()}
        )


def test_a_search_is_shown_as_its_rows_say(record: str) -> None:
    result = {"plateau": {"score": 0.75}, "deflated_sharpe": 0.5, "walk_forward": {"sharpe_ratio": 1.25}}
    rows_of(
        record,
        "INSERT INTO optimizer_session (optimizer_session_id, started_at, configuration, end_reason, result)"
        " VALUES ('s', now(), '{\"objective\": \"sharpe_ratio\"}', 'all combinations were played', $1::text::jsonb) RETURNING 1",
        json.dumps(result),
    )
    # fast, slow, objective of the whole time; then of each window's best, in sample and after it.
    points = [(1, 10, 0.5), (1, 20, 2.0), (2, 10, 1.5), (2, 20, -1.0)]
    for number, (fast, slow, objective) in enumerate(points):
        folds = [
            (0, False, objective),
            *((fold, out, 3.0 - fold - out) for fold in (1, 2) for out in (False, True) if number == 1),
        ]
        for fold, out, value in folds:
            rows_of(
                record,
                "INSERT INTO optimizer_run (optimizer_session_id, batch_id, number, point, objective, figures, fold, out_of_sample, played_by, failure, seconds, equity)"
                " VALUES ('s', '', $1, $2::text::json, $3, '{}', $4, $5, '', '', 1, '{}') RETURNING 1",
                number, json.dumps({"fast": fast, "slow": slow}), value, fold, out,
            )  # fmt: skip
    shown = page("backtest_pages", "searches")
    assert [metric.value for metric in shown.metric] == ["2.0000", "0.75", "50.00 %", "1.25"]
    ranking = shown.dataframe[0].value
    assert ranking[["fast", "slow", "sharpe_ratio"]].to_numpy().tolist() == [
        [1, 20, 2.0],
        [2, 10, 1.5],
        [1, 10, 0.5],
        [2, 20, -1.0],
    ]
    (cells,) = drawn(shown, 0)
    assert (cells["x"], cells["y"], cells["z"]) == (["1", "2"], ["10", "20"], [[0.5, 1.5], [2.0, -1.0]])
    (lines,) = drawn(shown, 1)
    assert [axis["label"] for axis in lines["dimensions"]] == ["fast", "slow", "sharpe_ratio"]
    assert {trace["name"]: trace["y"] for trace in drawn(shown, 2)} == {
        "in sample": [2.0, 1.0],
        "out of sample": [1.0, 0.0],
    }


def test_notes_and_tags_are_kept_and_found_again(played: str) -> None:
    hostile = "late'); DROP TABLE batch; --"
    shown = page("day_pages", "journal")
    trips = len(shown.dataframe[0].value)
    shown.text_area[0].set_value("a **quiet** day\x00")
    shown.text_input[0].set_value("fomc, fomc , ")
    shown.button[0].click().run()
    shown.main.selectbox[0].select_index(1).run()
    shown.text_area[1].set_value("chased it")
    shown.text_input[1].set_value(hostile)
    shown.button[1].click().run()
    assert not shown.exception
    again = page("day_pages", "journal")
    assert (again.text_area[0].value, again.text_input[0].value) == ("a **quiet** day", "fomc")
    again.multiselect[0].set_value([hostile]).run()
    (found,) = again.dataframe[0].value.to_dict("records")
    assert found["note"] == "chased it"
    again.multiselect[0].set_value([]).run()
    again.number_input[0].set_value(0.5).run()
    least = rows_of(played, "SELECT count(*) AS trips FROM trade_analysis WHERE r_units >= 0.5")[0]["trips"]
    assert 0 < len(again.dataframe[0].value) == least < trips


def test_what_a_portfolio_holds_is_shown(played: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert portfolios.run(["create", "25000", "--json", "--dsn", played]) == 0
    portfolio_id = json.loads(capsys.readouterr().out)["portfolio_id"]
    rows_of(played, "INSERT INTO portfolio_batch_ids SELECT 1, $1, batch_id FROM batch RETURNING 1", portfolio_id)
    positions = page("sheet_page", "portfolios").dataframe[0].value
    held = rows_of(played, "SELECT symbol, open_quantity AS shares FROM gain_loss WHERE open_quantity <> 0")
    assert dict(zip(positions["symbol"], positions["shares"], strict=True)) == {r["symbol"]: r["shares"] for r in held}


def test_a_portfolio_is_valued_over_time_beside_a_benchmark(record: str) -> None:
    asyncio.run(for_a_portfolio(record))
    shown = page("sheet_page", "portfolios")
    shown.sidebar.text_input[0].set_value(tickers(3)[1].lower()).run()
    assert not shown.exception
    told = {metric.label: metric.value for metric in shown.metric}
    # 5,000 $ and 10 x (110 - 100) less two dollars of fees; 200 $ were paid in. Nothing is held any more.
    assert (told["Equity"], told["Cash"], told["Exposure"]) == ("5,098.00 $", "5,298.00 $", "0.00 %")
    lines = {line["name"] for line in drawn(shown, 0)}
    assert {f"{tickers(3)[1]} held", "equity", "cash", "exposure"} <= lines
    shown.sidebar.text_input[0].set_value("../../etc/passwd").run()
    assert "is no symbol" in shown.info[0].value


def test_the_sheet_of_a_page_is_the_file_of_liu_report(played: str, tmp_path: Path) -> None:
    shown = page("day_pages", "day")
    shown.button[0].click().run()
    assert not shown.exception
    batch_id, text = shown.session_state["sheet"]
    place = tmp_path / "sheet.html"
    assert liu.run(["report", batch_id, "--output", str(place), "--dsn", played]) == 0
    assert text == place.read_text()
    shown.text_input[0].set_value("<script>alert(1)</script>")
    shown.button[0].click().run()
    assert "is no symbol" in shown.error[0].value


def test_how_late_market_data_was_is_told_by_process_and_time(played: str) -> None:
    assert "Nothing was written down" in page("day_pages", "refused").caption[1].value
    rows_of(
        played,
        "INSERT INTO event_lag SELECT batch_id, t::timestamptz, p, e, s, d, 0.5, l FROM batch, (VALUES"
        " ('2024-03-12 13:30Z', 'consumer-0', 100, 0, 0, 2.5), ('2024-03-12 13:31Z', 'consumer-0', 50, 7, 2, 3100.25),"
        " ('2024-03-12 13:31Z', 'producer', 150, 0, 0, 1.5)) AS v (t, p, e, s, d, l) RETURNING 1",
    )
    shown = page("day_pages", "refused")
    sums, late = (element.value.to_dict("records") for element in shown.dataframe[:2])
    assert [list(row.values()) for row in sums] == [["consumer-0", 150, 7, 2, 3100.25], ["producer", 150, 0, 0, 1.5]]
    (worst,) = late
    assert (worst["process"], worst["events"], worst["greatest lag, ms"]) == ("consumer-0", 50, 3100.25)
    assert "09:31" in str(worst["at"])  # New York


def test_the_chosen_batch_stays_chosen_on_another_page(played: str) -> None:
    (kept,) = rows_of(played, "SELECT batch_id FROM batch")
    rows_of(played, "INSERT INTO batch SELECT 'newer', session_date, environment, started_at, NULL, NULL, seed, layout,"
            " configuration, versions, now() + interval '1 hour', NULL FROM batch RETURNING 1")  # fmt: skip
    st.cache_data.clear()
    for name in ("day", "refused"):
        shown = AppTest.from_string(
            f"from liualgotrader.pages import day_pages\nday_pages.{name}()", default_timeout=60
        )
        shown.session_state["chosen"] = kept["batch_id"]
        assert kept["batch_id"] in shown.run().caption[0].value
    (said,) = page("day_pages", "day", batch="nonsense").warning
    assert "no batch nonsense" in said.value


def test_what_is_wrong_with_stored_data_is_named(record: str, tmp_path: Path) -> None:
    lines = ["symbol,opened_at,open,high,low,close,volume"]
    lines += [
        f"SPY,2024-01-03T{9 + (30 + n) // 60:02}:{(30 + n) % 60:02}:00-05:00,470,471,469,470,100"
        for n in range(390)
        if not 60 < n < 120
    ]
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "bars.csv").write_text("\n".join(lines))
    assert liu.run(["data", "import", str(tmp_path / "days")]) == 0
    shown = page("backtest_pages", "market_data")
    assert set(shown.dataframe[0].value["symbol"]) == {"SPY"}
    shown.selectbox[0].set_value("SPY").run()
    assert "10:31" in str(shown.dataframe[1].value.to_dict("records"))


def test_a_round_trip_is_told_by_its_row_fills_and_reasons(played: str) -> None:
    shown = page("day_pages", "trades")
    table = shown.dataframe[0].value
    row = table.iloc[0]
    assert {"long", "short"} == set(table["side"])
    sign = 1 if row["side"] == "long" else -1
    gross = sign * (row["exit_price"] - row["entry_price"]) * row["quantity"]
    assert row["gain"] == pytest.approx(gross - row["fees"], abs=1e-4)
    fills, why = shown.dataframe[1].value, shown.dataframe[2].value
    assert list(fills["qty"]) == [10, 10]
    assert fills["at"].iloc[0] == row["entered"]
    assert set(why["side"]) == {"buy", "sell"}
    assert str(row["entered"].tz) == "America/New_York"
    shown.button[1].click().run()
    assert not shown.exception
    assert shown.dataframe[1].value["at"].iloc[0] == table.iloc[1]["entered"]


@pytest.mark.parametrize(("room", "name"), [(room, name) for room, names in PAGES.items() for name in names])
def test_a_page_without_a_record_says_what_to_do(record: str, room: str, name: str) -> None:
    (said,) = page(room, name).info
    assert "`" in said.value, "a command to type"


@pytest.mark.parity(74)
def test_a_backtest_is_played_with_the_parameters_of_the_form(record: str, tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(SIZED)
    plan = '[strategies.Turns]\nfilename = "turns.py"\nshares = 10\n'
    (tmp_path / "tradeplan.toml").write_text(plan)
    shown = page("run_page", "run")
    shown.number_input(key="strategies Turns shares").set_value(7)
    shown.date_input[0].set_value(date(2024, 3, 13))
    shown.date_input[1].set_value(date(2024, 3, 13))
    shown.text_input[-1].set_value("--note of mine'; DROP TABLE batch")
    shown.button[0].click().run()
    started = shown.session_state["started"].running
    assert started.wait(120) == 0, started.said()
    assert started.progress()["done"] == started.progress()["of"] == 1
    shown.run()
    assert started.batch_id() in shown.success[0].value
    (kept,) = rows_of(record, "SELECT batch_id, configuration #>> '{backtest,note}' AS note FROM batch")
    assert kept["batch_id"] == started.batch_id()
    assert kept["note"] == "--note of mine'; DROP TABLE batch"
    assert {row["qty"] for row in rows_of(record, "SELECT qty FROM new_trades")} == {7}
    assert (tmp_path / "tradeplan.toml").read_text() == plan, "the file stays as it was"


def test_a_list_of_values_makes_a_run_of_each_and_compares_them(record: str, tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(SIZED)
    (tmp_path / "tradeplan.toml").write_text('[strategies.Turns]\nfilename = "turns.py"\nshares = 10\n')
    shown = page("run_page", "run")
    shown.date_input[0].set_value(date(2024, 3, 13))
    shown.date_input[1].set_value(date(2024, 3, 13))
    shown.selectbox(key="varied 0").set_value(("Turns", "shares"))
    for text, said in (
        ("", "no values of shares"),
        ("2, many", "is a whole number"),
        (",".join(map(str, range(99))), "99 runs, 20 at most"),
    ):
        shown.text_input(key="values 0").set_value(text)
        shown.button[0].click().run()
        assert said in shown.error[0].value
        assert "started" not in shown.session_state
    shown.text_input(key="values 0").set_value("2, 5, 2")
    shown.button[0].click().run()
    runs = shown.session_state["started"]
    for _ in range(2):
        assert runs.running.wait(120) == 0, runs.running.said()
        shown.run()
    assert not shown.exception
    rows = rows_of(
        record, "SELECT batch_id, max(qty)::int AS qty FROM new_trades JOIN algo_run USING (algo_run_id) GROUP BY 1"
    )
    assert [(one.batch_id(), qty) for one, qty in zip(runs.done, (2, 5), strict=True)] == sorted(
        ((row["batch_id"], row["qty"]) for row in rows), key=lambda pair: pair[1]
    )
    differs = shown.dataframe[-1].value
    assert list(differs.loc["Turns: shares"]) == ["2", "5"]
    assert [name for name in differs.index if name != "Turns: shares"] == []


def test_a_backtest_that_cannot_be_played_says_why(record: str, tmp_path: Path) -> None:
    for plan, words in (
        ('[strategies.Turns]\nfilename = "gone.py"\n', "gone.py"),
        ("[strategies.Turns\n", "tradeplan.toml"),
    ):
        (tmp_path / "tradeplan.toml").write_text(plan)
        (said,) = page("run_page", "run").error
        assert words in said.value
    (tmp_path / "turns.py").write_text("raise ValueError('no such *indicator*')\n")
    (tmp_path / "tradeplan.toml").write_text('[strategies.Turns]\nfilename = "turns.py"\n')
    shown = page("run_page", "run")
    shown.button[0].click().run()
    started = shown.session_state["started"].running
    assert started.wait(120) == 2
    shown.run()
    assert any("no such \\*indicator\\*" in said.value for said in shown.error)


def test_a_cancelled_backtest_ends_and_keeps_what_it_played(record: str, tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(STRATEGY)
    (tmp_path / "tradeplan.toml").write_text('[strategies.Turns]\nfilename = "turns.py"\n')
    shown = page("run_page", "run")
    shown.button[0].click().run()
    started = shown.session_state["started"].running
    while not started.progress():
        assert started.exit_code is None, started.said()
        shown.run()
    shown.session_state["started"].cancel()
    assert started.wait(120) == 130
    assert 0 < started.progress()["done"] < started.progress()["of"]


@pytest.mark.parametrize(
    ("name", "words"), [("day_trade_ui.py", "make demo"), ("backtester_ui.py", "liu new strategy")]
)
def test_the_originals_entry_files_open_the_right_page(record: str, name: str, words: str) -> None:
    shown = AppTest.from_file(Path(__file__).parents[3] / "analysis" / name, default_timeout=60).run()
    assert not shown.exception
    assert words in shown.info[0].value


def test_pages_cannot_write(record: str) -> None:
    with pytest.raises(LiuError, match="read-only"):
        parts.record().fetch("liualgotrader", "DELETE FROM new_trades")


HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "'); DROP TABLE batch; -- \" `rm` **b** [a](javascript:alert(1)) :red[x] $x^2$",
    "../../etc/passwd $(touch /tmp/owned)",
    "x" * 10_000,
)


def make_hostile(dsn: str, text: str) -> None:
    """Put a text wherever a user's own stands in the record of a backtest."""
    for statement in (
        "UPDATE algo_run SET algo_name = $1, parameters = jsonb_build_object($1::text, $1::text)",
        "UPDATE batch SET end_reason = $1, configuration = jsonb_set(configuration, '{backtest,note}', to_jsonb($1::text))",
        "UPDATE trade_analysis SET exit_reason = $1",
        "UPDATE signals SET outcome = 'refused:' || $1, action = action || jsonb_build_object('reason', $1::text)",
        "INSERT INTO trending_tickers (batch_id, symbol, scanner_name) SELECT batch_id, $1, $1 FROM batch",
        "INSERT INTO portfolio (portfolio_id, size) VALUES ($1, 1)",
        "INSERT INTO journal_note (batch_id, algo_run_id, symbol, started_at, tags, note) SELECT batch_id, 0, '', started_at, ARRAY[$1], $1 FROM batch",
        """INSERT INTO optimizer_session (optimizer_session_id, started_at, configuration, end_reason)
           VALUES ($1, now(), jsonb_build_object('objective', $1::text), $1)""",
        """INSERT INTO optimizer_run (optimizer_session_id, batch_id, number, point, objective, figures, fold, out_of_sample, played_by, failure, seconds, equity)
           SELECT $1, '', n, jsonb_build_object($1::text, n, 'b', $1::text), n, '{}', 0, false, '', $1, 1, '{}' FROM generate_series(1, 2) n""",
    ):  # fmt: skip
        rows_of(dsn, f"{statement} RETURNING 1", text)
    st.cache_data.clear()


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_what_a_user_wrote_is_shown_as_it_is_and_reaches_no_statement_on_any_page(
    played: str, tmp_path: Path, text: str
) -> None:
    make_hostile(played, text)
    for room, names in PAGES.items():
        for name in names:
            shown = page(room, name)
            said = [
                *shown.markdown,
                *shown.caption,
                *shown.info,
                *shown.error,
                *shown.warning,
                *shown.title,
                *shown.subheader,
            ]
            assert not any(getattr(one, "allow_html", False) for one in said), name
            assert not any(re.search(r"(?<!\\)(<script|\*b|\[a\]|:red|\$x)", one.value) for one in said), name
    assert page("day_pages", "day").dataframe[0].value["strategy"].tolist() == [text]
    assert "no batch" in page("day_pages", "day", batch=text).warning[0].value
    (batch,) = rows_of(played, "SELECT batch_id FROM batch")
    sheet = tmp_path / "sheet.html"
    assert liu.run(["report", batch["batch_id"], "--output", str(sheet), "--dsn", played]) == 0
    assert sheet.read_text().count("</script>") == 3
    assert "<img" not in sheet.read_text()


def test_a_tradeplan_with_hostile_names_is_played_as_any_other(record: str, tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(SIZED.replace("shares=1", "shares=1, word=''"))
    name = "plan $(touch owned) <script>'; .toml"
    (tmp_path / name).write_text('[strategies.Turns]\nfilename = "turns.py"\nword = """<b>\'); DROP"""\n')
    shown = page("run_page", "run")
    shown.date_input[0].set_value(date(2024, 3, 13))
    shown.date_input[1].set_value(date(2024, 3, 13))
    shown.text_input[-1].set_value("a\x00b $(touch owned)" + "x" * 20_000)
    shown.button[0].click().run()
    assert not shown.exception
    started = shown.session_state["started"].running
    assert started.wait(120) == 0, started.said()
    (kept,) = rows_of(
        record,
        "SELECT configuration #>> '{backtest,note}' AS note, r.parameters ->> 'word' AS word FROM batch JOIN algo_run r USING (batch_id)",
    )
    assert kept["note"].startswith("ab $(touch owned)xxx")
    assert kept["word"] == "<b>'); DROP"
    assert not list(tmp_path.rglob("owned"))


def test_pages_that_have_read_the_embedded_server_end_without_a_word(tmp_path: Path) -> None:
    code = "from liualgotrader.pages import parts; parts.record()"
    environment = bare_environment() | {"LIU_HOME": str(tmp_path / "home")}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert "Traceback" not in ended.stderr, ended.stderr
    assert not (tmp_path / "home" / "postgres" / "postmaster.pid").exists()


def test_a_port_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(LiuError, match="name another --port"):
        liu.run(["ui", "--no-browser", "--port", str(taken.getsockname()[1])])


@pytest.mark.parametrize(
    ("host", "words"),
    [("192.0.2.1", []), ("0.0.0.0", []), ("127.0.0.1", None), ("0.0.0.0", ["--operate-from-anywhere"])],
)
def test_sessions_are_operated_from_this_machine_unless_a_person_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, host: str, words: list[str] | None
) -> None:
    started: list[str] = []
    monkeypatch.setattr(socket, "create_server", lambda address: nullcontext())
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.extend(arguments))
    asked = ["ui", "--operate", "--host", host, *(words or [])]
    if words == []:
        with pytest.raises(LiuError, match="may stop sessions and close positions"):
            liu.run(asked)
    else:
        liu.run(asked)
        assert started[-2:] == ["--", "--operate"]


RECORDS = """
import os, sys

def record(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        host = args[1][0] if event == "socket.connect" and isinstance(args[1], tuple) else args[0]
        if isinstance(host, str) and host not in ("127.0.0.1", "localhost", "0.0.0.0", "::1"):
            with open(os.environ["TEST_ASKED"], "a") as file:
                print(event, host, file=file)

sys.addaudithook(record)
"""


@contextmanager
def served(tmp_path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """Serve the pages, and write down whom they ask; yields the process, its port and the end of its output to read."""
    (tmp_path / "sitecustomize.py").write_text(RECORDS)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = {"PYTHONPATH": os.pathsep.join((str(tmp_path), *sys.path)), "TEST_ASKED": str(tmp_path / "asked")}
    command = [sys.executable, "-m", "liualgotrader", "ui", "--no-browser", "--port", str(port), *words]
    reads, writes = os.pipe()
    environment = bare_environment() | told | {"LIU_HOME": str(tmp_path / "home")}
    with subprocess.Popen(command, env=environment, stdout=writes, stderr=writes) as process:
        os.close(writes)
        try:
            while b"URL:" not in (said := os.read(reads, 1 << 16)):
                assert said, "the server ended"
            assert urlopen(f"http://127.0.0.1:{port}/_stcore/health").read() == b"ok"
            yield process, port, reads
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def opened(port: int, origin: str) -> Iterator[int]:
    """Open the page's socket as a browser does that shows a page of `origin`; yields the answer's status."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": origin}
    asked.request("GET", "/_stcore/stream", headers=key | upgrade)
    with closing(asked), closing(asked.getresponse()) as answer:
        yield answer.status


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_foreign_page_is_refused_and_no_other_machine_is_asked(tmp_path: Path, host: str) -> None:
    with served(tmp_path, "--host", host) as (process, port, _):
        with opened(port, "http://evil.example") as status:
            assert status == 403
        with opened(port, f"http://127.0.0.1:{port}") as status:
            assert status == 101
            process.send_signal(signal.SIGINT)  # while that page is open
            assert process.wait(60) == 0
    assert not (tmp_path / "asked").exists(), (tmp_path / "asked").read_text()


@pytest.mark.parametrize("reader", ["gone", "asleep"])
def test_pages_end_when_they_are_told_to_whoever_reads_what_they_print(tmp_path: Path, reader: str) -> None:
    with served(tmp_path) as (process, _, reads):
        if reader == "gone":
            os.close(reads)
        else:
            with suppress(BlockingIOError), open(f"/proc/self/fd/{reads}", "wb", buffering=0) as full:
                os.set_blocking(full.fileno(), False)
                while full.write(b"x" * 4096):
                    pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.browser
@pytest.mark.timeout(900)
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
@pytest.mark.parametrize("seeded", [True, False], ids=["seeded", "empty"])
def test_every_page_opens_in_a_browser_without_an_error_or_a_request_beyond_this_machine(
    seeded: bool, request: pytest.FixtureRequest
) -> None:
    """Seeded is a backtest in which every text of a user's is hostile."""
    dsn = request.getfixturevalue("played" if seeded else "record")
    if seeded:
        make_hostile(dsn, HOSTILE[0])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "liualgotrader", "ui", "--no-browser", "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as served:
        try:
            _look_at_all_pages(served, port, seeded=seeded)
        finally:
            served.terminate()


def _look_at_all_pages(served: subprocess.Popen[str], port: int, *, seeded: bool) -> None:
    from playwright.sync_api import sync_playwright

    assert served.stdout is not None
    while "URL:" not in (line := served.stdout.readline()):
        assert line, "the server ended"
    assert urlopen(f"http://127.0.0.1:{port}/_stcore/health").read() == b"ok"
    said: list[Any] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme, width in itertools.product(("light", "dark"), (1280, 1920)):
            shown = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 1200}).new_page()
            shown.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            shown.on("pageerror", lambda error: said.append(str(error)))
            shown.on("dialog", lambda dialog: said.append(dialog.message))
            shown.on(
                "request",
                lambda r: said.append(r.url) if f"//127.0.0.1:{port}/" not in r.url and r.url[:5] not in ("data:", "blob:") else None,
            )  # fmt: skip
            shown.goto(f"http://127.0.0.1:{port}/")
            shown.wait_for_selector("[data-testid=stSidebarNavLink]", timeout=60_000)
            links = shown.locator("[data-testid=stSidebarNavLink]")
            assert links.count() >= sum(map(len, PAGES.values()))
            for place in range(links.count()):
                links.nth(place).click()
                shown.wait_for_function(
                    "!document.querySelector('[data-testid=stStatusWidget]') && document.querySelector('h1')",
                    timeout=60_000,
                )
                title = links.nth(place).inner_text()
                assert shown.locator("[data-testid=stException]").count() == 0, title
                assert shown.locator("img[src=x]").count() == 0, title
                wide = "document.querySelector('[data-testid=stMain]')"
                assert shown.evaluate(f"{wide}.scrollWidth <= {wide}.clientWidth"), title
            assert shown.get_by_role("link", name="Operate", exact=True).count() == 0, "nobody asked for it"
            if seeded:
                shown.get_by_role("link", name="Trades", exact=True).click()
                shown.wait_for_selector(".js-plotly-plot", timeout=60_000)
        if seeded:
            _make_a_sheet(shown)
        browser.close()
    assert said == []


def _make_a_sheet(shown: Any) -> None:
    shown.get_by_role("link", name="Day", exact=True).click()
    shown.get_by_text("Tear sheet: one HTML file that opens offline").click()
    shown.get_by_role("button", name="Make the sheet").click()
    shown.frame_locator("iframe").locator("html[data-drawn=yes]").wait_for(timeout=120_000)
    with shown.expect_download() as download:
        shown.get_by_role("button", name="Download the sheet").click()
    assert "</html>" in Path(download.value.path()).read_text()
