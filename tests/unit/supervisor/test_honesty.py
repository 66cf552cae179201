"""`lookahead` and `warmup`: what each finds, in all ways of writing a strategy, and that they leave honest ones alone."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from liualgotrader.common.clock import DAY, WallClock
from liualgotrader.common.config import Settings
from liualgotrader.common.tradeplan import TradePlan, load_tradeplan
from liualgotrader.common.types import TimeScale
from liualgotrader.data.data_base import midnight
from liualgotrader.data.loader import DataLoader
from liualgotrader.data.market_store import MarketStore
from liualgotrader.fincalcs.incremental import ExponentialMean
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.supervisor.backtest_bars import BarsWanted, played_bars
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest
from liualgotrader.supervisor.honesty import CheckedRun, HonestyChecks
from liualgotrader.tapes.generated_profile import tickers
from liualgotrader.tapes.splits import Split
from tests.fakes.supervisor import RecordingScreen

ROOT = Path(__file__).parents[3]
MINUTES = BarsWanted(first=date(2024, 3, 12), last=date(2024, 3, 14), generated=1, seed=3)
LONGER = msgspec.structs.replace(MINUTES, first=date(2024, 3, 11))
DAILY = BarsWanted(first=date(2023, 1, 3), last=date(2024, 3, 14), period=DAY, generated=1, seed=3)

Check = Callable[..., CheckedRun]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Return a function that checks strategies: their classes, or a plan."""
    monkeypatch.setenv("LIU_HOME", str(tmp_path))

    def checked(
        what: type[Strategy] | TradePlan, word: str = "look_ahead", days: BarsWanted = MINUTES, **more: Any
    ) -> CheckedRun:
        classes = {} if isinstance(what, TradePlan) else {what.__name__: what}
        plan = what if isinstance(what, TradePlan) else TradePlan(strategies={what.__name__: {}})
        request = BacktestRequest(bars=days, database=False)
        settings = Settings(home=str(tmp_path))
        with Backtesting(
            request, settings, plan, RecordingScreen(), classes=classes, bars=more.pop("bars", None)
        ) as run:
            found: CheckedRun = getattr(HonestyChecks(run, more.pop("told", lambda what, done, of: None)), word)(**more)
            return found

    return checked


def columns(entry: Any, size: float = 10.0) -> dict[str, Any]:
    """Return array signals that hold while `entry` says so."""
    entry = np.asarray(entry)
    return {"entry": entry.astype(int), "exit": ~entry, "size": np.full(len(entry), size)}


def turn(ctx: Any, want: bool) -> None:
    """Hold ten shares while it is wanted."""
    if want and not ctx.position and not ctx.open_orders:
        ctx.buy(10)
    elif not want and ctx.position and not ctx.open_orders:
        ctx.close()


def action(want: bool, position: float) -> Any:
    """Return what `run` returns to hold ten shares while it is wanted."""
    if want == bool(position):
        return False, {}
    return True, {"side": "buy" if want else "sell", "qty": 10 if want else position, "type": "market"}


class Swing(Strategy):
    strategy_type = StrategyType.SWING


# --- those that look ahead -----------------------------------------------------------------------------------


class Shifted(Swing):
    def signals(self, bars: Any) -> Any:
        close = pd.Series(bars.close)
        return columns(close.shift(-1) > close)


class Normalised(Swing):
    def signals(self, bars: Any) -> Any:
        return columns((bars.close - bars.close.mean()) / bars.close.std() < 0)


class LabelledByStart(Swing):
    """The hour's close stands at its first minute."""

    def signals(self, bars: Any) -> Any:
        close = pd.Series(bars.close, pd.to_datetime(bars.opened_at, utc=True))
        hours = close.resample("1h").last().reindex(close.index, method="ffill")
        return columns(hours.to_numpy() > bars.close)


class OnceInTwoHundred(Swing):
    """Knows one bar of the next session, in one session out of three hundred."""

    def signals(self, bars: Any) -> Any:
        want = np.r_[False, np.diff(bars.close) > 0]
        if len(bars.close) > 401:
            want[400] = bars.close[401] < bars.close[400]
        return columns(want)


class Tomorrow(Swing):
    """Asks the loader for the close of the day after, four times an hour."""

    def __init__(self, data_loader: Any = None, **base: Any) -> None:
        super().__init__(**base)
        self.loader = data_loader

    def on_bar(self, ctx: Any, bar: Any) -> None:
        if ctx.now.minute % 15 == 0:
            turn(ctx, self.loader[ctx.symbol].close[ctx.now + timedelta(days=1)] > bar.close)


class TomorrowInRun(Tomorrow):
    on_bar = None  # type: ignore[assignment]

    async def run(self, symbol: str, position: float, now: Any, **more: Any) -> Any:  # type: ignore[override]
        if now.minute % 15:
            return False, {}
        rows = self.loader[symbol][now - timedelta(days=2) : now + timedelta(days=3)]
        return action(rows.close.shift(-1).iloc[-2] > rows.close.mean(), position)


class NormalisedAtTheStart(Tomorrow):
    """Works out what is usual of all days that will be played, before the first of them."""

    async def create(self) -> Any:
        [symbol] = tickers(1)
        hours = self.loader[symbol]["2024-03-08":"2024-03-15"].close.resample("1h").last()
        self.usual = hours.mean()
        return await super().create()

    def on_bar(self, ctx: Any, bar: Any) -> None:
        turn(ctx, bar.close < self.usual)


class BehindTheView(Swing):
    """Looks behind `ctx.bars` into the memory that holds the run's bars."""

    def on_bar(self, ctx: Any, bar: Any) -> None:
        memory = ctx.bars.close.base
        rows = len(ctx.bars)
        close = memory if memory.ndim == 1 else memory[3]
        turn(ctx, rows < len(close) and close[rows] > bar.close)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [Shifted, Normalised, LabelledByStart, Tomorrow, TomorrowInRun, NormalisedAtTheStart, BehindTheView]
)
def test_a_look_ahead_is_found_with_strategy_symbol_and_time(kind: type[Strategy], check: Check) -> None:
    found = check(kind, days=MINUTES)
    assert found.check.verdict == "failed"
    assert found.exit_code == 6
    first = found.differences[0]
    assert (first.strategy, first.symbol) == (kind.__name__, next(iter(found.outcome.bars)))
    assert first.base != first.other
    assert found.check.findings[0].startswith(f"{kind.__name__} on {first.symbol} at 2024-03-1")


@pytest.mark.slow
def test_one_leak_in_three_hundred_sessions_is_found_where_it_is(check: Check) -> None:
    found = check(OnceInTwoHundred, days=DAILY)
    row = found.outcome.bars[found.differences[0].symbol]
    assert [one.at for one in found.differences] == [int(row.opened_at[400])]


class OwnLoader(Swing):
    """Has a loader of its own, as notebooks do, which reads the market-data store."""

    ahead = timedelta(0)

    def on_bar(self, ctx: Any, bar: Any) -> None:
        close = DataLoader(TimeScale.day)[ctx.symbol].close
        ctx.record("newest", close[-1])
        turn(ctx, close[ctx.now + self.ahead] > close[-2])


class TomorrowOfItsOwn(OwnLoader):
    ahead = timedelta(days=4)


@pytest.mark.slow
def test_a_loader_of_the_strategys_own_knows_no_more_than_the_run(tmp_path: Path, check: Check) -> None:
    """Days of the store are told from their close on; one that asks for a later day is found by name."""
    days = BarsWanted(first=date(2024, 3, 4), last=date(2024, 3, 14), period=DAY, generated=1, seed=3)
    whole = msgspec.structs.replace(days, last=date(2024, 4, 30))
    [(symbol, bars)] = played_bars(whole, tmp_path, 300).bars.items()
    spans = [(midnight(date(1998, 1, 1)), WallClock().now())]
    MarketStore(tmp_path / "market").write(symbol, DAY, bars, spans, "test")
    MarketStore(tmp_path / "market").write_actions(symbol, [], [], spans, "test")
    found = check(OwnLoader, days=days)
    newest = found.outcome.run.recorded.value
    assert newest.tolist() == [bars.close[bars.closed_at <= at][-1] for at in found.outcome.run.recorded.at]
    assert len(newest) == 9
    assert (found.check.verdict, found.differences) == ("passed", [])
    assert check(TomorrowOfItsOwn, days=days).check.verdict == "failed"


# --- those that do not --------------------------------------------------------------------------------------


class Rising(Swing):
    def signals(self, bars: Any) -> Any:
        return columns(np.r_[False, np.diff(bars.close) > 0])


class Rolling(Swing):
    def signals(self, bars: Any) -> Any:
        close = pd.Series(bars.close)
        band = close.rolling(30).mean() - close.rolling(30).std()
        found = columns(close < band)
        return found | {"stop": bars.close * 0.99, "target": bars.close * 1.02}


class LastHour(Swing):
    """The close of the hour before, once it is over."""

    def signals(self, bars: Any) -> Any:
        close = pd.Series(bars.close, pd.to_datetime(bars.opened_at, utc=True) + pd.Timedelta(minutes=1))
        hours = close.resample("1h", label="right", closed="right").last()
        known = hours[hours.index <= close.index[-1]].reindex(close.index, method="ffill")
        return columns(known.to_numpy() > bars.close)


class Drawn(Swing):
    """Decides by chance."""

    def on_bar(self, ctx: Any, bar: Any) -> None:
        turn(ctx, ctx.rng.random() < 0.5)


class Means(Swing):
    def on_bar(self, ctx: Any, bar: Any) -> None:
        close = ctx.bars.close
        ctx.record("slow", close[-50:].mean())
        turn(ctx, close[-10:].mean() > close[-50:].mean())


class Incremental(Swing):
    def on_bar(self, ctx: Any, bar: Any) -> None:
        mean = ctx.state.setdefault("mean", ExponentialMean(20)).update(bar.close)
        turn(ctx, mean is not None and bar.close > mean)


class Framed(Swing):
    async def run(self, symbol: str, position: float, minute_history: Any, **more: Any) -> Any:  # type: ignore[override]
        close = minute_history["close"]
        return action(close[-1] > close[-20:].mean(), position)


class Yesterday(Tomorrow):
    def on_bar(self, ctx: Any, bar: Any) -> None:
        if ctx.now.minute % 15 == 0:
            close = self.loader[ctx.symbol].close
            turn(ctx, close[ctx.now - timedelta(days=1)] < close[-1])


class WholeDay(Tomorrow):
    """Asks for the day up to its end, of which there is what has come."""

    async def run(self, symbol: str, position: float, now: Any, **more: Any) -> Any:  # type: ignore[override]
        if now.minute % 15:
            return False, {}
        rows = self.loader[symbol][now.date() : now.date() + timedelta(days=1)]
        return action(rows.close.iloc[-1] > rows.close.mean(), position)

    on_bar = None  # type: ignore[assignment]


class Limits(Strategy):
    """Trades the day with limits and brackets, flat at its end."""

    def on_bar(self, ctx: Any, bar: Any) -> None:
        if not ctx.position and not ctx.open_orders and self.in_window(ctx.at):
            ctx.buy(10, limit=bar.close * 0.999, take_profit=bar.close * 1.01, stop_loss=bar.close * 0.99)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        ctx.record("filled", fill.price)


class OfAll(Swing):
    async def should_run_all(self) -> bool:
        return True

    async def run_all(self, symbols_position: Any, data_loader: Any, now: Any, **more: Any) -> Any:  # type: ignore[override]
        return {
            symbol: now.minute % 15 == 0
            and action(data_loader[symbol].close[-1] > data_loader[symbol].close[-60], held)[1]
            for symbol, held in symbols_position.items()
        }


HONEST = [Rising, Rolling, LastHour, Drawn, Means, Incremental, Framed, Yesterday, WholeDay, Limits, OfAll]


@pytest.mark.slow
@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_strategy_raises_no_alarm(kind: type[Strategy], check: Check) -> None:
    found = check(kind, most=300)
    assert (found.check.verdict, found.differences, found.exit_code) == ("passed", [], 0)
    assert found.outcome.executions


@pytest.mark.slow
@pytest.mark.parametrize("word", ["look_ahead", "warm_up"])
@pytest.mark.parametrize(
    "plan", ["tradeplan.toml", "examples/demo/tradeplan.toml", "examples/quickstart/tradeplan.toml"]
)
def test_what_we_ship_passes(plan: str, word: str, check: Check) -> None:
    days = BarsWanted(first=date(2024, 1, 2), last=date(2024, 1, 4), generated=12, symbols=())
    found = check(load_tradeplan(ROOT / plan), word, days=days)
    assert (found.check.verdict, found.differences) == ("passed", [])


class Draws(Swing):
    """Its chance is nobody's: it decides otherwise whenever it is played."""

    def on_bar(self, ctx: Any, bar: Any) -> None:
        turn(ctx, secrets.randbelow(2) == 0)


class Idle(Swing):
    def on_bar(self, ctx: Any, bar: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [(Draws, "does not decide the same when it is played twice"), (Idle, "no strategy decided anything")],
)
def test_where_nothing_can_be_said_that_is_said(kind: type[Strategy], sentence: str, check: Check) -> None:
    found = check(kind)
    assert (found.check.verdict, found.exit_code) == ("unknown", 5)
    assert sentence in found.check.findings[-1]


@pytest.mark.parametrize("step", ["the run", "without what comes later", "Rising on"])
def test_ctrl_c_ends_a_check_which_then_says_nothing_of_what_it_did_not_compare(step: str, check: Check) -> None:
    def press(what: str, done: int, of: int) -> None:
        if what.startswith(step) and done == 1:
            signal.raise_signal(signal.SIGINT)

    kind = Rising if step == "Rising on" else Means
    found = check(kind, told=press)
    assert found.exit_code == (6 if found.differences else 130)
    assert found.check.findings[-1] == "ended by Ctrl-C: not all was compared"
    assert found.check.verdict == ("failed" if found.differences else "unknown")


# --- history ------------------------------------------------------------------------------------------------


def seeded(values: Sequence[float], span: float) -> float:
    """Return the exponential mean that begins with the first value."""
    mean = values[0]
    for value in values:
        mean += 2 / (span + 1) * (value - mean)
    return float(mean)


class SeededByFirst(Swing):
    """Its mean still remembers the first bar that was loaded."""

    def on_bar(self, ctx: Any, bar: Any) -> None:
        turn(ctx, bar.close > seeded(ctx.bars.close[:: len(ctx.bars.close) // 100], 1000))


class SeededRows(Swing):
    def signals(self, bars: Any) -> Any:
        return columns(bars.close > pd.Series(bars.close).ewm(span=2000, adjust=False).mean())


class ShortWindow(Swing):
    """Wants the mean of three thousand minutes, and takes what there is."""

    async def run(self, symbol: str, position: float, minute_history: Any, **more: Any) -> Any:  # type: ignore[override]
        close = minute_history["close"]
        return action(close[-1] > close[-3000:].mean(), position)


class RecordsSum(Means):
    def on_bar(self, ctx: Any, bar: Any) -> None:
        super().on_bar(ctx, bar)
        ctx.record("on balance", float(np.sum(np.sign(np.diff(ctx.bars.close)) * ctx.bars.volume[1:])))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SeededByFirst, SeededRows, ShortWindow, RecordsSum])
def test_what_hangs_on_how_much_history_was_loaded_is_found(kind: type[Strategy], check: Check) -> None:
    found = check(kind, "warm_up", days=LONGER)
    assert (found.check.verdict, found.exit_code) == ("failed", 6)
    assert found.differences[0].strategy == kind.__name__
    assert "sessions of history" in found.check.findings[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Rising, Rolling, Drawn, Means, Framed])
def test_what_looks_back_no_further_than_is_loaded_passes(kind: type[Strategy], check: Check) -> None:
    found = check(kind, "warm_up")
    assert (found.check.verdict, found.differences, found.exit_code) == ("passed", [], 0)


def test_data_without_more_history_says_that_nothing_can_be_said(check: Check) -> None:
    bars = played_bars(MINUTES, Path(), 2).bars
    found = check(Means, "warm_up", days=msgspec.structs.replace(MINUTES, generated=None), bars=bars)
    assert (found.check.verdict, found.exit_code) == ("unknown", 5)
    assert "no more history than the 2 sessions" in found.check.findings[-1]


def test_prices_restated_for_a_split_are_no_finding(tmp_path: Path, check: Check) -> None:
    """Columns are worked out anew on the day of a split: each time is compared with its counterpart."""
    days = BarsWanted(first=date(2024, 2, 1), last=date(2024, 4, 30), period=DAY, generated=1, seed=3)
    [(symbol, bars)] = played_bars(days, tmp_path, 600).bars.items()
    spans = [(midnight(date(1998, 1, 1)), WallClock().now())]
    MarketStore(tmp_path / "market").write(symbol, DAY, bars, spans, "test")
    MarketStore(tmp_path / "market").write_actions(symbol, [Split(date(2024, 3, 8), 2.0)], [], spans, "test")
    for word in ("warm_up", "look_ahead"):
        found = check(Rolling, word, days=msgspec.structs.replace(days, generated=None))
        assert (found.check.verdict, found.differences) == ("passed", [])


@pytest.mark.slow
@pytest.mark.parametrize("word", ["look_ahead", "warm_up"])
def test_pairs_that_trade_round_the_clock_are_checked_on_days_of_their_own(word: str, check: Check) -> None:
    weekend = BarsWanted(first=date(2024, 3, 10), last=date(2024, 3, 11), generated=1, seed=3, crypto=True)
    assert check(Means, word, days=weekend).check.verdict == "passed"
    found = check(RecordsSum if word == "warm_up" else Shifted, word, days=weekend)
    assert found.check.verdict == "failed"
    if word == "warm_up":
        assert "with 4 sessions of history" in found.check.findings[0]  # a Saturday among them
