"""A stream that was cut, and where history meets it."""

from __future__ import annotations

from typing import Any

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.events import Bar, BarSource, EventBatch, FeedEvent, Gap, Pick, TradeTick, Unpick
from liualgotrader.engine.outputs import LoadHistory, Output
from liualgotrader.strategies.base import Strategy
from tests.unit.engine.conftest import OPEN, Stage, bar


class Watching(Strategy):
    """Keeps what it was told and what it saw then."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: list[tuple[int, list[int]]] = []

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.told.append((number_of(bar.opened_at), [number_of(int(at)) for at in ctx.bars.opened_at]))


def number_of(at: int) -> int:
    return (at - OPEN) // MINUTE


def past(number: int, volume: float = 1000.0) -> Bar:
    start = OPEN + number * MINUTE
    return Bar("AAPL", start, start + MINUTE, 10, 11, 9, 10, volume, 10, 5, int(BarSource.HISTORY))


def asked(found: list[Output]) -> list[LoadHistory]:
    return [one for one in found if isinstance(one, LoadHistory)]


def numbers(stage: Stage) -> list[int]:
    return [number_of(int(at)) for at in stage.engine.symbols["AAPL"].bars.opened_at()]


def cut(stage: Stage, minute: float, since: int = 0) -> list[LoadHistory]:
    stage.now = OPEN + round(minute * MINUTE)
    return asked(stage.play([Gap("AAPL", stage.now, since)]))


def test_after_a_gap_the_minutes_missed_are_loaded_and_call_nobody() -> None:
    stage = Stage()
    strategy = stage.cast(Watching)
    stage.pick()
    stage.minute(0)
    stage.trade(70)
    [wanted] = cut(stage, 4.5, since=OPEN + 70 * SECOND)
    assert wanted == LoadHistory("AAPL", OPEN), "from the minute before, whose bar may be missing as well"
    stage.minute(4)
    assert [minute for minute, _ in strategy.told] == [0], "nobody is called before the hole is filled"
    stage.keep(stage.engine.on_history("AAPL", [past(n) for n in range(4)], stage.now, 0))
    assert numbers(stage) == [0, 1, 2, 3, 4]
    stage.minute(5)
    assert strategy.told[1:] == [(5, [0, 1, 2, 3, 4, 5])]
    assert list(stage.engine.symbols["AAPL"].bars.closed("volume")) == [1000.0] * 6, "the partial minute is replaced"


def test_a_minute_that_ended_while_history_was_loaded_calls_nobody_with_a_part_of_it() -> None:
    stage = Stage(events=("trade",))
    strategy = stage.cast(Watching)
    stage.pick()
    stage.trade(10)
    [_] = cut(stage, 0.9, since=OPEN + 10 * SECOND)
    stage.now = OPEN + MINUTE + SECOND // 2
    stage.keep(stage.engine.on_history("AAPL", [past(0)], stage.now, 0))
    stage.trade(61.5)
    assert strategy.told == []
    assert list(stage.engine.symbols["AAPL"].bars.closed("volume")) == [1000.0]


def test_without_vendors_bars_the_minute_of_the_pick_is_asked_for_once_it_has_closed() -> None:
    stage = Stage(events=("trade",))
    stage.cast(Watching)
    stage.now = OPEN + 150 * SECOND
    stage.pick(history=[past(0), past(1)])
    stage.trade(155, size=7.0)
    [again] = asked(stage.trade(181.5))
    assert again == LoadHistory("AAPL", OPEN + MINUTE)
    stage.keep(stage.engine.on_history("AAPL", [past(1), past(2, 555.0)], stage.now, 0))
    assert list(stage.engine.symbols["AAPL"].bars.closed("volume")) == [1000.0, 1000.0, 555.0]
    assert asked(stage.trade(242)) == [], "once is enough"


def test_a_hole_between_history_and_the_first_bar_of_the_stream_is_asked_for() -> None:
    stage = Stage()
    stage.cast(Watching)
    stage.now = OPEN + 6 * MINUTE + SECOND
    stage.pick(history=[past(n) for n in range(5)])
    assert asked(stage.minute(6)) == [LoadHistory("AAPL", OPEN + 4 * MINUTE)]
    stage.keep(stage.engine.on_history("AAPL", [past(4), past(5)], stage.now, 0))
    assert numbers(stage) == [0, 1, 2, 3, 4, 5, 6]


def test_history_that_meets_the_stream_is_asked_for_once() -> None:
    stage = Stage()
    stage.cast(Watching)
    stage.now = OPEN + 5 * MINUTE + SECOND
    stage.pick(history=[past(n) for n in range(5)])
    assert asked(stage.minute(5)) == asked(stage.minute(7)) == []


def test_a_new_producer_that_does_not_know_is_helped_by_what_was_heard_of_the_one_before() -> None:
    stage = Stage()
    stage.cast(Watching)
    stage.pick()

    def play(epoch: int, *events: FeedEvent) -> list[LoadHistory]:
        return asked(stage.engine.on_batch(EventBatch(epoch, 1, 0, list(events)), stage.now, 0))

    stage.now = OPEN + 3 * MINUTE
    play(1, bar(2))
    stage.now = OPEN + 9 * MINUTE
    pick = Pick("AAPL", stage.now, "scanner")
    play(2, pick)
    assert play(3, pick, Gap("AAPL", stage.now)) == [LoadHistory("AAPL", OPEN + 2 * MINUTE)]


def test_a_symbol_that_is_not_followed_here_has_no_gap() -> None:
    stage = Stage()
    stage.cast(Watching)
    assert cut(stage, 1.0) == []
    stage.pick()
    stage.play([TradeTick("AAPL", stage.now, 10.0, 1.0), Unpick("AAPL", stage.now)])
    assert cut(stage, 2.0) == []
