"""In which order, and with which `now`, a strategy hears of what happened in a symbol."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import MINUTE, SECOND, instant
from liualgotrader.common.events import Bar, FeedEvent, Quote, TradeTick
from liualgotrader.strategies.base import Strategy
from tests.unit.engine.conftest import OPEN, Stage, bar, running


def told(strategy: Any) -> list[float]:
    """`now` of each call, in seconds after the open."""
    return [(instant(one["now"]) - OPEN) / SECOND for one in strategy.told]


class Watching(Strategy):
    """Keeps what each event method was called for, and when."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: list[tuple[str, float]] = []

    def _see(self, kind: str, ctx: Any) -> None:
        self.seen.append((kind, (ctx.at - OPEN) / SECOND))

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self._see("bar", ctx)

    def on_second(self, ctx: Any, bar: Any) -> None:
        self._see(f"second to {(bar.closed_at - OPEN) / SECOND:g} at {bar.close:g}", ctx)

    def on_trade(self, ctx: Any, trade: Any) -> None:
        self._see("trade", ctx)

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self._see("quote", ctx)


def test_a_second_is_told_before_the_print_that_ended_it_is_known() -> None:
    closes: list[float] = []

    def decide(self: Any, history: Any, **more: Any) -> Any:
        closes.append(history["close"][-1])
        return False, {}

    stage = Stage(events=("second",))
    stage.cast(running(decide))
    stage.pick()
    stage.trade(5.5, 100.0)
    stage.trade(8.2, 777.0)
    assert closes == [100.0]


def test_what_ended_first_is_told_first_and_of_equal_ends_the_minute() -> None:
    stage = Stage(events=("second", "minute", "trade"))
    strategy = stage.cast(Watching)
    stage.pick()
    stage.trade(58.5, 10.0)
    stage.minute(0)
    stage.trade(119.5, 11.0)
    stage.trade(121.5, 12.0)
    assert strategy.seen == [
        ("trade", 58.5), ("second to 59 at 10", 59.0), ("bar", 60.0),
        ("trade", 119.5), ("bar", 120.0), ("second to 120 at 11", 120.0), ("trade", 121.5),
    ]  # fmt: skip


def test_a_bar_that_closes_late_is_told_at_the_newest_instant_told() -> None:
    stage = Stage(events=("minute", "trade"))
    strategy = stage.cast(running(lambda self, **told: (False, {})))
    stage.pick()
    stage.trade(59.0)
    stage.trade(60.4)
    stage.minute(0)
    assert told(strategy) == [59.0, 60.4, 60.4]


def test_where_minutes_alone_are_told_now_is_the_close_whatever_else_arrived() -> None:
    stage = Stage(events=("minute",))
    strategy = stage.cast(running(lambda self, **told: (False, {})))
    stage.pick()
    stage.trade(59.0)
    stage.play([Quote("AAPL", OPEN + 60 * SECOND + SECOND // 2, 9.9, 1, 10.1, 1)])
    stage.minute(0)
    stage.minute(1)
    assert told(strategy) == [60.0, 120.0]


def events() -> st.SearchStrategy[list[FeedEvent]]:
    """Prints, quotes and the vendor's bars, in any order within some seconds of each other."""
    tenths = st.integers(0, 1800)
    at = tenths.map(lambda n: OPEN + n * SECOND // 10)
    trades = st.builds(
        lambda at, late: (at, TradeTick("AAPL", at - late * SECOND // 10, 10.0, 100.0)), at, st.integers(0, 9)
    )
    quotes = st.builds(lambda at: (at, Quote("AAPL", at, 9.9, 1.0, 10.1, 1.0)), at)
    bars: st.SearchStrategy[tuple[int, Bar]] = st.builds(
        lambda number, late: (OPEN + (number + 1) * MINUTE + late * SECOND // 10, bar(number)),
        st.integers(0, 2),
        st.integers(0, 25),
    )
    return st.lists(st.one_of(trades, quotes, bars), max_size=60).map(
        lambda made: [event for _, event in sorted(made, key=lambda one: one[0])]
    )


@given(events())
def test_within_a_symbol_now_never_goes_back(made: list[FeedEvent]) -> None:
    stage = Stage(events=("second", "minute", "trade", "quote"))
    runs = stage.cast(running(lambda self, **told: (False, {})))
    watching = stage.cast(Watching, slot=1)
    stage.pick()
    for event in made:
        stage.now = max(stage.now, event.closed_at if isinstance(event, Bar) else event.at)
        stage.play([event])
        stage.keep(stage.engine.on_timer(stage.now, 0))
    assert told(runs) == sorted(told(runs))
    instants = [at for _, at in watching.seen]
    assert instants == sorted(instants)
