"""Stale market data, and the volume order imbalance."""

from __future__ import annotations

import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.common.events import Bar, BarSource, Correction, Counts, FeedEvent, Pick, Quote, Status, TradeTick
from liualgotrader.engine.freshness import FRESH, Freshness, Verdict, newest_instant, newest_places
from liualgotrader.engine.slot import Imbalance

NOW = 1000 * SECOND


def age(at: int) -> int:
    return NOW - at


def trade(symbol: str, seconds_ago: float) -> TradeTick:
    return TradeTick(symbol, NOW - round(seconds_ago * SECOND), 1.0, 1.0)


def test_a_batch_whose_oldest_event_is_fresh_is_fresh() -> None:
    assert Freshness(5.0).judge([trade("A", 4.9), trade("B", 0.1)], age) is FRESH


def test_only_the_old_events_of_a_batch_are_stale() -> None:
    judge = Freshness(5.0)
    verdict = judge.judge([Pick("C", 0, "s"), trade("A", 6.5), trade("B", 0.1), trade("B", 5.5)], age)
    assert verdict == Verdict(frozenset({1, 3}))
    assert judge.stale_events == 2


def test_a_batch_without_anything_fresh_is_behind_and_one_line_says_so() -> None:
    verdict = Freshness(5.0).judge([Pick("C", 0, "s"), trade("A", 6.5), trade("B", 5.5)], age)
    assert verdict == Verdict(frozenset({1, 2}), True, "consumer A A out of sync w 6.500s")


def test_only_what_grows_old_tells_how_far_behind_we_are() -> None:
    late = Bar("A", NOW - 90 * SECOND, NOW - 30 * SECOND, 1, 1, 1, 1, 1, 1, 1, int(BarSource.VENDOR_UPDATE))
    assert newest_instant([trade("A", 2.0), trade("A", 1.0), Pick("B", 0, "s"), late]) == NOW - SECOND
    assert newest_instant([late, Status("A", 0, True)]) is None


@pytest.mark.parity(32)
def test_what_comes_late_by_nature_is_never_stale() -> None:
    updated = Bar("A", NOW - 90 * SECOND, NOW - 30 * SECOND, 1, 1, 1, 1, 1, 1, 1, int(BarSource.VENDOR_UPDATE))
    late: list[FeedEvent] = [
        updated,
        Correction("A", NOW - 40 * SECOND, 1, 1, 2, 1),
        Status("A", NOW - 300 * SECOND, True, "H"),
    ]
    assert Freshness(5.0).judge([*late, trade("A", 0.1), trade("B", 0.1)], age) is FRESH
    assert Freshness(5.0).judge(late, age) is FRESH


def test_a_burst_says_one_line_and_the_next_burst_another() -> None:
    judge = Freshness(5.0)
    lines = [bool(judge.judge([trade("A", ago)], age).line) for ago in (6, 7, 8, 1, 6)]
    assert lines == [True, False, False, False, True]
    assert judge.bursts == 2


def test_a_bar_is_as_old_as_its_close() -> None:
    bar = Bar("A", NOW - 63 * SECOND, NOW - 3 * SECOND, 1, 1, 1, 1, 1, 1, 1)
    assert Freshness(5.0).judge([bar], age) is FRESH


@pytest.mark.parity(32)
def test_draining_keeps_the_newest_fresh_event_of_each_symbol_and_kind() -> None:
    bar = Bar("A", NOW - 62 * SECOND, NOW - 2 * SECOND, 1, 1, 1, 1, 1, 1, 1)
    events: list[FeedEvent] = [trade("A", 6), bar, trade("A", 3), trade("B", 2), trade("A", 1), trade("B", 7)]
    assert newest_places(events, [1, 2, 3, 4]) == {1, 3, 4}


def test_a_print_that_makes_no_price_supersedes_none_that_does() -> None:
    odd = TradeTick("A", 7, 12.34, 3.0, int(Counts.VOLUME))
    assert newest_places([trade("A", 5), trade("A", 6), odd], [0, 1, 2]) == {1, 2}


@pytest.mark.parity(34)
@pytest.mark.parametrize(
    "bid, bid_size, ask, ask_size, pressure",
    [
        (10.0, 7, 10.1, 5, 2.0),  # equal prices: differences of size, 7-5 at the bid and 5-5 at the offer
        (10.05, 7, 10.1, 5, 7.0),  # a better bid counts whole
        (9.95, 7, 10.1, 5, 0.0),  # a worse bid counts nothing
        (10.0, 5, 10.05, 4, -4.0),  # a better offer presses down
        (10.0, 5, 10.2, 4, 0.0),  # a worse offer counts nothing
    ],
)
def test_imbalance_is_what_the_source_defines(
    bid: float, bid_size: float, ask: float, ask_size: float, pressure: float
) -> None:
    imbalance = Imbalance()
    imbalance.take(Quote("A", 1, 10.0, 5, 10.1, 5))
    assert imbalance.values == []
    imbalance.take(Quote("A", 2, bid, bid_size, ask, ask_size))
    assert imbalance.values == [pytest.approx(pressure * 2 / 101)]


@pytest.mark.parity(34)
def test_imbalance_keeps_ten_values() -> None:
    imbalance = Imbalance()
    for i in range(30):
        imbalance.take(Quote("A", i, 10.0, 5.0 + i, 10.1, 5))
    assert len(imbalance.values) == 10
