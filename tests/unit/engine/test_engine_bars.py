"""Minute bars: closing rules, out-of-order trades, history, and a plain oracle for every order of arrival."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import MINUTE, NEVER, SECOND
from liualgotrader.common.events import ALL, Bar, BarSource, Correction, Counts, TradeTick
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.session_plan import Hours
from liualgotrader.engine.bar_tape import BarTape
from liualgotrader.engine.bars import Bars, BarsView
from liualgotrader.engine.engine import session_starts

OPEN = 1_700_000_040 * SECOND  # a whole minute


def vendor(minute: int, close: float = 10.0, source: int = int(BarSource.VENDOR), volume: float = 100.0) -> Bar:
    start = OPEN + minute * MINUTE
    return Bar("A", start, start + MINUTE, 9.0, 12.0, 8.0, close, volume, 9.5, 7, source)


def fold(bars: Bars, minute: float, price: float, size: float = 100.0, flags: int = ALL) -> None:
    bars.fold(OPEN + round(minute * MINUTE), price, size, flags)


trades = st.lists(
    st.tuples(
        st.integers(0, MINUTE - 1),
        st.floats(1.0, 500.0, allow_nan=False),
        st.floats(1.0, 1000.0),
        st.integers(0, 7),
    ),
    min_size=1,
    max_size=30,
)


@pytest.mark.parity(33)
@given(trades)
def test_a_minute_is_the_same_as_a_plain_reading_of_its_trades(found: list[tuple[int, float, float, int]]) -> None:
    bars = Bars("A")
    for at, price, size, flags in found:
        bars.fold(OPEN + at, price, size, flags)
    bar = bars.close_oldest()

    last = [t for t in found if t[3] & Counts.LAST]
    if not last:
        assert bar is None
        return
    assert bar is not None
    extremes = [t[1] for t in found if t[3] & Counts.HIGH_LOW]
    first_at, last_at = min(t[0] for t in last), max(t[0] for t in last)
    opened = next(t[1] for t in last if t[0] == first_at)
    closed = [t[1] for t in last if t[0] == last_at][-1]
    counted = [t for t in found if t[3] & Counts.VOLUME]
    volume = math.fsum(t[2] for t in counted)
    average = math.fsum(t[1] * t[2] for t in counted) / volume if volume else closed
    assert (bar.open, bar.close) == (opened, closed)
    assert (bar.high, bar.low) == (max([*extremes, opened, closed]), min([*extremes, opened, closed]))
    assert bar.volume == pytest.approx(volume)
    assert bar.vwap == pytest.approx(average)
    assert bar.count == sum(t[3] != 0 for t in found)
    assert (bar.opened_at, bar.closed_at, bar.source) == (OPEN, OPEN + MINUTE, BarSource.OURS)


@given(st.permutations(range(12)))
def test_the_order_of_arrival_within_a_minute_does_not_matter(order: list[int]) -> None:
    bars = Bars("A")
    for i in order:
        bars.fold(OPEN + i * SECOND, 10.0 + (i * 7) % 5, 10.0 + i, ALL)
    assert bars.close_oldest() == Bar(
        "A", OPEN, OPEN + MINUTE, 10.0, 14.0, 10.0, 12.0, 186.0, cast(Any, pytest.approx(12.0, abs=0.2)), 12, 4
    )


@pytest.mark.parity(33)
def test_every_trade_of_one_second_counts() -> None:
    bars = Bars("A")
    for _ in range(5):
        fold(bars, 0.5, 10.0)
    bar = bars.close_oldest()
    assert bar is not None and bar.volume == 500.0


def test_a_minute_is_due_one_second_past_its_end() -> None:
    bars = Bars("A")
    assert bars.due == NEVER
    fold(bars, 0.5, 10.0)
    assert bars.due == OPEN + MINUTE + SECOND


def test_trades_of_the_next_minute_wait_beside_the_one_that_closes() -> None:
    bars = Bars("A")
    fold(bars, 0.5, 10.0)
    fold(bars, 1.001, 11.0)
    fold(bars, 0.9, 10.5)  # late, still counted
    first = bars.close_oldest()
    second = bars.close_oldest()
    assert first is not None and (first.close, first.volume) == (10.5, 200.0)
    assert second is not None and (second.open, second.volume) == (11.0, 100.0)
    assert bars.close_oldest() is None


def test_a_trade_older_than_every_unclosed_minute_is_counted_as_late() -> None:
    bars = Bars("A")
    fold(bars, 5.0, 10.0)
    fold(bars, 2.0, 99.0)
    bar = bars.close_oldest()
    assert bars.late == 1
    assert bar is not None and bar.high == 10.0


def test_a_print_of_a_minute_that_the_vendors_bar_has_closed_goes_into_no_other_minute() -> None:
    bars = Bars("A")
    fold(bars, 0.5, 10.0)
    bars.take(vendor(0))
    fold(bars, 0.99, 99.0)
    bars.fold_bar(Bar("A", OPEN, OPEN + SECOND, 99.0, 99.0, 99.0, 99.0, 1.0, 99.0, 1, 0))
    fold(bars, 1.5, 11.0)
    bar = bars.close_oldest()
    assert bars.late == 2
    assert bar is not None and (bar.open, bar.high, bar.volume) == (11.0, 11.0, 100.0)
    assert list(bars.closed("close")) == [10.0, 11.0]


def test_the_vendors_bar_replaces_ours_and_closes_the_minute_once() -> None:
    bars = Bars("A")
    fold(bars, 0.5, 10.0)
    assert bars.take(vendor(0, close=10.25)) == [vendor(0, close=10.25)]
    assert bars.due == NEVER
    assert list(bars.closed("close")) == [10.25]


def test_a_vendors_bar_that_comes_after_ours_corrects_history_and_calls_nobody() -> None:
    bars = Bars("A")
    fold(bars, 0.5, 10.0)
    bars.close_oldest()
    assert bars.take(vendor(0, close=10.25)) == []
    assert list(bars.closed("close")) == [10.25]


def test_an_updated_bar_corrects_history_and_calls_nobody() -> None:
    bars = Bars("A")
    bars.take(vendor(0))
    bars.take(vendor(1))
    assert bars.take(vendor(0, close=11.0, source=int(BarSource.VENDOR_UPDATE))) == []
    assert list(bars.closed("close")) == [11.0, 10.0]


def test_a_vendors_bar_closes_the_minutes_before_it_first() -> None:
    bars = Bars("A")
    fold(bars, 0.5, 10.0)
    fold(bars, 1.5, 11.0)
    closed = bars.take(vendor(1))
    assert [b.opened_at for b in closed] == [OPEN, OPEN + MINUTE]


def test_a_missing_bar_of_the_past_is_put_in_its_place() -> None:
    bars = Bars("A")
    bars.take(vendor(0, 1.0))
    bars.take(vendor(2, 3.0))
    assert bars.take(vendor(1, 2.0)) == []
    assert list(bars.closed("close")) == [1.0, 2.0, 3.0]
    assert list(bars.opened_at()) == [OPEN, OPEN + MINUTE, OPEN + 2 * MINUTE]


def test_history_replaces_our_partial_minute_but_not_the_vendors() -> None:
    bars = Bars("A")
    fold(bars, 3.5, 10.0)
    bars.close_oldest()
    bars.take(vendor(4, 4.0))
    fold(bars, 5.5, 10.0)
    bars.preload([vendor(m, 100.0 + m, int(BarSource.HISTORY)) for m in range(6)])
    assert list(bars.closed("close"))[:4] == [100.0, 101.0, 102.0, 103.0]
    assert len(bars) == 5  # minute 5 has not closed
    assert bars.close_oldest() is not None


def test_a_cancelled_print_leaves_the_open_minutes_volume() -> None:
    bars = Bars("A")
    fold(bars, 0.25, 10.0, 100.0)
    fold(bars, 0.5, 20.0, 300.0)
    bars.correct_trade(Correction("A", OPEN + 30 * SECOND, 20.0, 300.0, 0.0, 0.0))
    bar = bars.close_oldest()
    assert bar is not None and (bar.volume, bar.vwap, bar.count) == (100.0, 10.0, 1)


@pytest.mark.parametrize("starts, expected", [((), [9.5, 9.5, 9.5]), ((OPEN + 2 * MINUTE,), [9.5, 9.5, 8.0])])
def test_vwap_begins_anew_with_a_session(starts: tuple[int, ...], expected: list[float]) -> None:
    bars = Bars("A", starts)
    bars.take(vendor(0))
    bars.take(vendor(1))
    third = vendor(2)
    bars.take(Bar("A", third.opened_at, third.closed_at, 8, 8, 8, 8, 100.0, 8.0, 1))
    if not starts:
        expected = [9.5, 9.5, (950.0 * 2 + 800.0) / 300.0]
    assert list(bars.closed("vwap")) == pytest.approx(expected)


def test_vwap_is_read_after_each_of_many_bars_that_were_loaded_ahead() -> None:
    coming = [vendor(minute, volume=float(1 + minute % 7)) for minute in range(5500)]  # 14 sessions of minutes
    block, opened = BarTape([BarColumns.of("A", coming)], OPEN, ()).columns_of(0)
    bars = Bars("A")
    bars.load_ahead(block, opened, known=0)
    for bar in coming:
        bars.close_loaded(bar.opened_at)
        vwap = bars.closed("vwap")
        assert (len(vwap), vwap[-1]) == (len(bars), pytest.approx(9.5))


def test_the_unclosed_minutes_are_the_last_rows_when_asked_for() -> None:
    bars = Bars("A")
    bars.take(vendor(0, 10.0))
    fold(bars, 1.5, 11.0)
    assert bars.seen(with_forming=False).rows == 1
    assert list(bars.seen(with_forming=True).column("close")) == [10.0, 11.0]
    fold(bars, 1.6, 12.0)
    assert bars.seen(with_forming=True).column("close")[-1] == 12.0
    assert len(bars) == 1


def test_views_cannot_be_written_to_and_survive_growth() -> None:
    bars = Bars("A")
    bars.take(vendor(0, 1.0))
    view = BarsView(bars).close
    for minute in range(1, 5000):
        bars.take(vendor(minute, float(minute)))
    assert view[0] == 1.0 and len(BarsView(bars)) == 5000
    assert BarsView(bars).close[-1] == 4999.0
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 2.0


@given(st.lists(st.tuples(st.integers(0, 8 * 60), st.integers(1, 9)), min_size=1, max_size=80))
def test_closed_bars_are_in_order_and_hold_all_volume_that_was_not_late(found: list[tuple[int, int]]) -> None:
    bars = Bars("A")
    late_size = 0.0
    for second, size in found:
        at = OPEN + second * SECOND
        while at >= bars.due:
            bars.close_oldest()
        late = bars.late
        bars.fold(at, 10.0, float(size), ALL)
        late_size += size if bars.late > late else 0
    while bars.close_oldest() is not None:
        pass
    opened = list(bars.opened_at())
    assert all(a < b for a, b in pairwise(opened))
    assert bars.closed("volume").sum() + late_size == sum(size for _, size in found)


def test_a_trade_event_has_the_fields_that_are_folded() -> None:
    assert TradeTick("A", 1, 2.0, 3.0) == TradeTick("A", 1, 2.0, 3.0, ALL)


def test_sessions_begin_at_their_open_and_the_hours_before_at_midnight() -> None:
    day, before = 1_709_908_200 * SECOND, 1_709_821_800 * SECOND  # 2024-03-08 and 07, 09:30 New York
    starts = session_starts(Hours("2024-03-08", day, 0, 0, 0, previous=((before, 0),)))
    nine_and_a_half_hours = 570 * MINUTE
    assert starts == (before - nine_and_a_half_hours, before, day - nine_and_a_half_hours, day)
