"""`run_backtest`, as a notebook calls it."""

from __future__ import annotations

import asyncio
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liualgotrader.analytics.trips import round_trips
from liualgotrader.backtest import Result, run_backtest
from liualgotrader.cli import liu
from liualgotrader.cli.common import guarded
from liualgotrader.common.clock import NEW_YORK
from liualgotrader.common.errors import ConfigError
from liualgotrader.strategies.base import Strategy, StrategyType


def times(values: Any, text: str = "%m-%d %H:%M") -> list[str]:
    return list(values.index.strftime(text))


class Steps(Strategy):
    """Buys and sells in turn, each `every` bars."""

    strategy_type = StrategyType.SWING

    def __init__(self, every: int = 10, **base: Any) -> None:
        super().__init__(**base)
        self.every = every

    def on_bar(self, ctx: Any, bar: Any) -> None:
        if len(ctx.bars) % self.every == 0:
            ctx.close() if ctx.position else ctx.buy(10, stop_price=bar.close * 0.9)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for variable in ("DSN", "LIU_SEED", "TRADEPLAN_DIR"):
        monkeypatch.delenv(variable, raising=False)


def stepped(**more: Any) -> Result:
    return run_backtest(Steps, "2024-03-12", "2024-03-13", **{"generated": 2, "scale": "minute", **more})


def test_a_strategys_class_runs_and_its_frames_are_those_of_the_summary() -> None:
    result = stepped(parameters={"every": 20}, fee_per_share=0.01, cash=50_000)
    fills, orders, trips, equity = result.fills, result.orders, result.trips, result.equity
    assert result.sentence == ""
    assert times(equity) == ["03-12 09:30", "03-12 16:00", "03-13 16:00"]
    assert equity.iloc[0] == 50_000
    signed = np.where(fills["operation"] == "buy", -1.0, 1.0) * fills["quantity"] * fills["price"]
    held = sum(float(p.quantity * p.last) for p in result.summary.open)
    assert equity.iloc[-1] - 50_000 == pytest.approx(signed.sum() - fills["fee"].sum() + held, abs=0.01)
    assert set(orders["state"]) <= {"filled", "acknowledged"}  # the last is still open at the end
    assert (orders["filled_quantity"].sum(), fills["fee"].sum()) == (
        fills["quantity"].sum(),
        pytest.approx(fills["quantity"].sum() * 0.01),
    )
    assert trips["gain"].sum() == pytest.approx(float(result.summary.total.gain))
    assert (trips["started_at"] < trips.index).all()
    assert f"{equity.iloc[-1]:,.2f} $" in repr(result)


def test_slippage_makes_every_market_order_trade_that_much_worse() -> None:
    fair, slipped = stepped().fills, stepped(slippage_bps=50).fills
    worse = np.where(fair["operation"] == "buy", 1.005, 0.995)
    assert slipped["price"].to_numpy() == pytest.approx((fair["price"] * worse).to_numpy(), abs=1e-6)


def frame() -> pd.DataFrame:
    """Five sessions of daily bars: opens of 100, 101, … and closes half a dollar higher."""
    opening = 100.0 + np.arange(5)
    columns = {"Open": opening, "High": opening + 1, "Low": opening - 1, "Close": opening + 0.5, "Volume": 1e6}
    return pd.DataFrame(columns, index=pd.to_datetime([f"2024-07-0{day}" for day in (1, 2, 3, 5, 8)]))


def test_frames_of_ones_own_are_played_from_their_first_day_to_their_last() -> None:
    result = run_backtest(Steps, data={"own": frame()}, parameters={"every": 2})
    # Told at the closes of the 2nd and the 5th, filled at the opens of the 3rd and the 8th.
    assert list(zip(result.fills["operation"], result.fills["price"], result.fills["symbol"], strict=True)) == [
        ("buy", 102.0, "OWN"),
        ("sell", 104.0, "OWN"),
    ]
    assert times(result.fills) == ["07-03 09:30", "07-08 09:30"]
    assert (result.summary.first_day, result.summary.last_day) == (date(2024, 7, 1), date(2024, 7, 8))
    assert result.equity.iloc[-1] == 100_020.0
    later = run_backtest(Steps, "2024-07-03", data={"OWN": frame()}, parameters={"every": 4}, symbols=["own"])
    assert list(later.fills["price"]) == [104.0]  # two bars are history


def test_minutes_of_frames_are_labelled_by_their_start_in_new_york() -> None:
    index = pd.date_range("2024-07-01 09:30", periods=30, freq="min")
    opening = 10.0 + np.arange(30) / 100
    columns = dict.fromkeys(("open", "high", "low", "close"), opening) | {"volume": np.full(30, 1e6)}
    naive, aware = (pd.DataFrame(columns, index=i) for i in (index, index.tz_localize(NEW_YORK).tz_convert("UTC")))
    first, second = (run_backtest(Steps, data={"OWN": one}).fills for one in (naive, aware))
    assert times(first, "%H:%M") == ["09:40", "09:50"]
    assert first.equals(second)
    assert list(first["price"]) == [10.10, 10.20]


def test_it_works_where_a_loop_runs_already_and_in_another_thread() -> None:
    alone = stepped()

    async def notebook() -> tuple[Result, Result]:
        here = stepped()
        await asyncio.sleep(0)  # the notebook's own loop goes on
        return here, await asyncio.to_thread(stepped)

    for other in asyncio.run(notebook()):
        assert other.fills.equals(alone.fills)


def test_a_breakpoint_in_a_strategy_stops_there(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stopped.append(sys._getframe(1).f_locals["bar"].symbol))

    class Stops(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            breakpoint()

    result = run_backtest(Stops, data={"OWN": frame()})
    assert stopped == ["OWN"] * 5
    assert len(result.fills) == len(result.trips) == len(result.orders) == 0


def test_a_tradeplan_may_be_a_file_or_its_table_and_what_its_scanners_fail_at_is_said() -> None:
    Path("own.py").write_text(
        "from liualgotrader.strategies.base import Strategy\nfrom liualgotrader.scanners.base import Scanner\n"
        "class Own(Strategy):\n    def on_bar(self, ctx, bar):\n        ctx.buy(1)\n"
        "class Picks(Scanner):\n    async def run(self, back_time=None):\n        return ['NONE']\n"
    )
    files = {"strategies": {"Own": {"filename": "own.py"}}}
    Path("plan.toml").write_text('[strategies.Own]\nfilename = "own.py"\n')
    from_file, from_table = (run_backtest(plan, data={"OWN": frame()}) for plan in ("plan.toml", files))
    assert from_file.fills.equals(from_table.fills)
    assert len(from_file.fills) > 0
    scanned = run_backtest(files | {"scanners": {"Picks": {"filename": "own.py"}}}, data={"OWN": frame()})
    assert len(scanned.fills) == 0
    assert "scanner Picks picked NONE, of which there are no bars" in repr(scanned)


BAD = frame()
BAD.iloc[2, 0] = 0.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"generated": 2}, "name the first day, like run_backtest"),
        ({"first": "someday", "generated": 2}, "'someday' is not a day"),
        ({"data": {"OWN": frame().drop(columns="Volume")}}, "the frame of OWN has no column 'volume'"),
        ({"data": {"OWN": frame().reset_index()}}, "the index of OWN's frame must be the times"),
        ({"data": {"OWN": BAD}}, "OWN at 2024-07-03 00:00: a bar needs prices above 0"),
        (
            {"data": {"OWN": frame().iloc[::-1]}},
            "OWN at 2024-07-05 00:00: a bar needs prices above 0, a volume, and a l",
        ),
        (
            {"data": {"OWN": frame().shift(-1, freq="D")}},
            "OWN has a bar of 2024-06-30, on which the exchange was closed",
        ),
        ({"data": {"OWN": frame()}, "symbols": ["OWM"]}, "the data holds no day bars of OWM from 2024-07-01"),
        ({"data": {"OWN": frame()[:0]}}, "the data holds no bars"),
        ({"data": {"OWN": frame()}, "scale": "hour"}, 'scale is "day", "minute", "second" or "tick", not'),
        ({"data": {"OWN": frame()}, "kash": 1}, "run_backtest knows no option 'kash': it takes strategies, "),
        ({"data": {"OWN": frame()}, "fills": "best"}, "--fills is 'best', but it must be one of strict, paper, touch"),
        (
            {"data": {"OWN": frame()}, "parameters": {"evry": 1}},
            "Steps got an unexpected keyword argument 'evry'; did you mean `every`? (test_run_backtest.py:",
        ),
        ({"data": {"OWN": frame()}, "benchmark": "spy"}, "the benchmark SPY is none of the symbols"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        run_backtest(Steps, **arguments)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


class Noting(Strategy):
    """Records in every kind of call."""

    strategy_type = StrategyType.SWING

    def on_bar(self, ctx: Any, bar: Any) -> None:
        ctx.record("close", bar.close)
        ctx.record("change", bar.close - ctx.bars.close[-2] if len(ctx.bars) > 1 else None)
        if len(ctx.bars) == 2:
            ctx.buy(1)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        ctx.record("paid", fill.price)

    async def run(self, symbol: str, shortable: bool, position: float, *told: Any, **more: Any) -> Any:
        self.record(symbol, "held", position)
        return False, {}

    async def buy_callback(self, symbol: str, price: float, qty: float, *told: Any, **more: Any) -> None:
        self.record(symbol, "told", qty)


def test_what_a_strategy_records_comes_back_as_a_frame_with_the_times_of_its_calls() -> None:
    found = run_backtest(Noting, data={"own": frame(), "two": frame()}).recorded
    own = found[found["symbol"] == "OWN"]
    series = {
        str(name): list(zip(times(one, "%d %H:%M"), one["value"], strict=True))
        for name, one in own.groupby("name", observed=True)
    }
    closes = [
        (f"{day} {'13' if day == '03' else '16'}:00", 100.5 + n) for n, day in enumerate(("01", "02", "03", "05", "08"))
    ]
    assert series["close"] == closes
    assert series["change"][1:] == [(at, 1.0) for at, _ in closes[1:]]
    assert np.isnan(series["change"][0][1])  # not known, which is not 0
    assert series["held"] == [(at, float(n > 1)) for n, (at, _) in enumerate(closes) if n != 1]
    assert series["paid"] == [("03 09:30", 102.0)]
    assert series["told"] == [("03 09:30", 1.0)]
    assert set(found["strategy"]) == {"Noting"}
    assert len(found) == 2 * len(own)
    assert len(stepped().recorded) == 0


def test_a_value_that_is_no_number_stops_its_strategy_like_any_other_error() -> None:
    class Words(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            ctx.record("mood", "good")

    result = run_backtest(Words, data={"OWN": frame()})
    assert "'mood' is recorded as 'good': record a number, or None where it is unknown" in result.sentence


def test_the_curve_of_minutes_ends_each_session_where_the_exchange_says() -> None:
    result = stepped(parameters={"every": 7}, fee_per_share=0.01)
    assert len(result.curve) == 2 * 391
    assert result.curve.iloc[[0, 390, 781]].round(2).tolist() == result.equity.round(2).tolist()
    assert result.curve.iloc[391] == result.curve.iloc[390]


def test_a_saved_result_is_equal_when_it_is_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The class of a file that was imported, and a tradeplan in a folder of its own."""
    stepped(parameters={"every": 7}, save="class.zip")
    folder = tmp_path / "plans"
    folder.mkdir()
    (folder / "own.py").write_text(Path(__file__).read_text())
    (folder / "plan.toml").write_text('[strategies.Steps]\nfilename = "own.py"\nevery = 7\n')
    run_backtest("plans/plan.toml", "2024-03-12", "2024-03-13", generated=2, scale="minute", save="plan.zip")
    for arguments in (["class.zip", "--run-its-code"], ["plan.zip", "--tradeplan", "plans/plan.toml"]):
        with pytest.raises(SystemExit) as ended:
            guarded("liu", liu.run, ["verify", *arguments])
        told = capsys.readouterr()
        assert (ended.value.code, told.err) == (0, "")
        assert told.out.startswith("equal: 2024-03-12 to 2024-03-13, 2 symbols")
        assert ", 0 fills" not in told.out


def test_why_a_result_cannot_be_saved_is_a_warning_and_a_wrong_place_is_refused_before_it_begins() -> None:
    hidden = type("Hidden", (Steps,), {})
    told = run_backtest(hidden, "2024-03-12", "2024-03-13", generated=2, scale="minute", save="r.zip").warnings
    assert told[0].startswith("the result is not saved: class Hidden stands in no file")
    warned = run_backtest(Steps, data={"OWN": frame()}, save="r.zip").warnings
    assert "the result is not saved: its bars are frames, which nobody else has; play a folder of them" in warned
    with pytest.raises(ConfigError, match=r"cannot be saved as nowhere/r\.zip: name a file in a folder that is there"):
        stepped(save="nowhere/r.zip")
    assert not Path("r.zip").exists()


def test_the_reason_that_a_strategy_gives_for_closing_is_what_ended_the_trip() -> None:
    class Named(Steps):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if len(ctx.bars) % 2 == 0:
                ctx.close(reason="tired of it") if ctx.position else ctx.buy(10, reason="cheap")

    result = run_backtest(Named, data={"OWN": frame()})
    assert len(result.trips)
    assert set(result.trips["because"]) == {"tired of it"}
    assert set(result.fills["because"]) == {"cheap", "tired of it"}
    assert {trip.exit_reason for trip in round_trips(result.outcome.executions).closed} == {"tired of it"}
