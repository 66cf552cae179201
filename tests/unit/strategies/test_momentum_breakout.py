"""The breakout, bar by bar, through the real engine: when it enters, where it leaves, when it stops trying."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.common.events import Bar
from liualgotrader.common.orders import OrderIntent, OrderState, OrderType, Protect, Side
from liualgotrader.strategies.momentum_breakout import MomentumBreakout
from tests.fakes.strategies import ALWAYS, BATCH_ID, Play, a_bar

QUIET = 20  # minutes 0 to 19 trade between 99.50 and 100.50: every true range is 1.00, the highest high 100.50


def quiet(number: int) -> Bar:
    return a_bar(number, 100.0, high=100.5, low=99.5)


def a_play(schedule: list[dict[str, Any]] = ALWAYS, **options: Any) -> Play:
    play = Play(MomentumBreakout(batch_id=BATCH_ID, schedule=schedule, **{"cost_fraction": 0.05, **options}))
    play.pick("AAPL")
    for number in range(QUIET):
        play.bars([quiet(number)])
    assert play.orders == []
    return play


def breakout(play: Play, number: int = QUIET, close: float = 101.0) -> list[OrderIntent]:
    """A bar that closes at `close`; from 100.00 to 101.00 its true range is 1.00 too, so the mean of 14 stays 1.00."""
    return play.bars([a_bar(number, close, open=100.0, high=max(close, 100.5), low=close - 1.0)])


def test_a_close_above_the_high_of_the_lookback_is_bought_with_stop_and_target() -> None:
    play = a_play()
    (order,) = breakout(play)
    # Stop 101 - 2 x 1.00, target 101 + 4 x 1.00, limit 101 x 1.002 = 101.202, a cent for exchanges: 101.20.
    assert (order.side, order.type, order.limit_price) == (Side.BUY, OrderType.LIMIT, Decimal("101.20"))
    assert (order.planned_stop, order.planned_target) == (Decimal(99), Decimal(105))
    # 100 $ at risk / (101.202 - 99) = 45.4; 5000 $ / 101.202 = 49.4.
    assert order.quantity == 45
    assert order.cancel_after == 45 * SECOND
    assert order.indicators == {"highest": 100.5, "vwap": 100.0476, "range": 1.0}
    assert order.reason == "close above the 15-bar high"


def test_unless_told_otherwise_a_position_costs_three_percent() -> None:
    (order,) = breakout(a_play(cost_fraction=0.03))
    assert order.quantity == 29  # 3000 $ / 101.202 = 29.6
    assert MomentumBreakout(batch_id=BATCH_ID, schedule=ALWAYS).cost_fraction == 0.03


@pytest.mark.parametrize("close, orders", [(100.49, 0), (100.50, 0), (100.51, 1)])
def test_a_close_at_the_high_is_no_breakout(close: float, orders: int) -> None:
    play = a_play()
    assert len(play.minute(QUIET, close, high=close)) == orders


def test_a_high_that_left_the_lookback_no_longer_counts() -> None:
    play = Play(MomentumBreakout(batch_id=BATCH_ID, schedule=ALWAYS, lookback=15))
    play.pick("AAPL")
    play.bars([a_bar(0, 100.0, high=103.0, low=99.5)])
    for number in range(1, 15):
        play.bars([quiet(number)])
    assert play.bars([a_bar(15, 101.0, low=100.0)]) == []  # 15 bars before it: the high of 103 is the oldest
    play.bars([a_bar(16, 100.0, high=100.4, low=99.6)])
    assert len(play.bars([a_bar(17, 101.5, low=100.5)])) == 1


def test_a_breakout_below_the_sessions_average_price_is_left_alone() -> None:
    play = Play(MomentumBreakout(batch_id=BATCH_ID, schedule=ALWAYS))
    play.pick("AAPL")
    play.bars([a_bar(0, 110.0, high=110.5, low=109.5, volume=1_000_000.0)])
    for number in range(1, QUIET):
        play.bars([quiet(number)])
    assert breakout(play) == []  # the session's VWAP is about 110


def test_nothing_is_bought_before_there_are_bars_enough() -> None:
    play = Play(MomentumBreakout(batch_id=BATCH_ID, schedule=ALWAYS, lookback=15))
    play.pick("AAPL")
    for number in range(14):
        play.bars([quiet(number)])
    assert breakout(play, 14) == []  # fourteen bars before it
    play.bars([quiet(15)])
    assert len(breakout(play, 16, 102.0)) == 1


@pytest.mark.parametrize("start, orders", [(22, 0), (21, 0), (20, 1)])
def test_entries_wait_for_the_window(start: int, orders: int) -> None:
    play = a_play([{"start": start, "duration": 60}])
    assert len(breakout(play)) == orders  # the bar of minute 20 closes 21 minutes after the open


def test_a_position_is_left_outside_the_window_too() -> None:
    play = a_play([{"start": 20, "duration": 2}])
    breakout(play)
    (exit_order,) = play.minute(100, 98.0)
    assert (exit_order.side, exit_order.type, exit_order.quantity) == (Side.SELL, OrderType.MARKET, 45)


@pytest.mark.parametrize(
    "close, reason", [(99.01, None), (99.0, "stop"), (98.0, "stop"), (104.99, None), (105.0, "target")]
)
def test_stop_and_target_act_on_closes(close: float, reason: str | None) -> None:
    play = a_play()
    breakout(play)
    found = play.minute(QUIET + 1, close, high=106.0, low=97.0)
    assert [order.reason for order in found] == ([reason] if reason else [])


def test_the_gain_of_a_whole_trip_is_what_the_fills_say() -> None:
    play = a_play()
    breakout(play)
    play.minute(QUIET + 1, 105.0)
    (trip,) = play.trips
    assert (trip.side, trip.gain, trip.reason) == (Side.BUY, Decimal(180), "target")  # 45 x (105 - 101)


def test_the_stop_moves_to_the_cost_once_the_risk_is_earned() -> None:
    play = a_play()
    breakout(play)  # bought at 101, stop 99: 2 at risk
    play.minute(QUIET + 1, 102.99)
    assert play.protections == []
    play.minute(QUIET + 2, 103.0)
    assert play.protections == [Protect(1, "AAPL", play.now, Decimal("101.0000"), Decimal("105.0000"))]
    play.minute(QUIET + 3, 103.5)
    assert len(play.protections) == 1
    (exit_order,) = play.minute(QUIET + 4, 101.0)
    assert exit_order.reason == "stop"


def test_a_working_order_is_waited_for() -> None:
    play = a_play()
    play.answer = "hold"
    (entry,) = breakout(play)
    assert breakout(play, QUIET + 1, 103.0) == []
    play.end(entry, OrderState.CANCELED)
    assert len(breakout(play, QUIET + 2, 105.0)) == 1


def test_a_part_that_was_filled_is_managed_once_the_rest_is_cancelled() -> None:
    play = a_play()
    play.answer = "hold"
    (entry,) = breakout(play)
    play.fill(entry, "101", "10")
    play.end(entry, OrderState.CANCELED)
    (exit_order,) = play.minute(QUIET + 1, 99.0)
    assert (exit_order.side, exit_order.quantity, exit_order.reason) == (Side.SELL, 10, "stop")


def test_an_exit_that_was_refused_is_ordered_again() -> None:
    play = a_play()
    breakout(play)
    play.answer = "refuse"
    play.minute(QUIET + 1, 98.0)
    assert len(play.minute(QUIET + 2, 98.0)) == 1


@pytest.mark.parametrize("answer", ["refuse", "reject"])
def test_a_refused_entry_leaves_nothing_behind(answer: str) -> None:
    play = a_play(max_losses=1)
    play.answer = answer
    assert len(breakout(play)) == 1
    play.answer = "fill"
    (order,) = breakout(play, QUIET + 1, 103.0)
    assert order.planned_stop != Decimal(99)
    ctx = play.engine.slots[1].context(play.engine.symbols["AAPL"])
    assert ctx.state == {"cost": 103.0}


def lose(play: Play, number: int) -> None:
    """From the quiet, a breakout that is stopped in the next minute; then quiet again for a whole lookback."""
    assert len(breakout(play, number)) == 1
    (exit_order,) = play.minute(number + 1, 99.0, high=99.5, low=99.0)
    assert exit_order.reason == "stop"
    for quiet_number in range(number + 2, number + 18):
        play.bars([quiet(quiet_number)])


def test_after_two_losses_the_symbol_is_left_alone() -> None:
    play = a_play(max_losses=2)
    lose(play, QUIET)
    lose(play, QUIET + 18)
    assert breakout(play, QUIET + 36) == []


def test_gains_do_not_count_as_losses() -> None:
    play = a_play(max_losses=1)
    breakout(play)
    play.minute(QUIET + 1, 105.0)
    for number in range(QUIET + 2, QUIET + 20):
        play.bars([quiet(number)])
    assert len(breakout(play, QUIET + 20)) == 1


def test_losses_are_counted_per_symbol() -> None:
    play = a_play(max_losses=1)
    lose(play, QUIET)
    play.pick("MSFT")
    for number in range(QUIET + 18, QUIET + 34):
        play.bars([a_bar(number, 100.0, "MSFT", high=100.5, low=99.5)])
    assert len(play.minute(QUIET + 34, 101.0, "MSFT", low=100.0)) == 1


def test_without_equity_nothing_is_bought() -> None:
    play = Play(MomentumBreakout(batch_id=BATCH_ID, schedule=ALWAYS), portfolio_value=None)
    play.pick("AAPL")
    for number in range(QUIET):
        play.bars([quiet(number)])
    assert breakout(play) == []
    play.equity("50000")
    (order,) = breakout(play, QUIET + 1, 103.0)
    assert order.quantity <= 25


def test_a_restarted_process_manages_what_it_held() -> None:
    first = a_play()
    (entry,) = breakout(first)
    second = Play(MomentumBreakout(batch_id=BATCH_ID, schedule=ALWAYS), earlier=[(entry, "101")])
    second.pick("AAPL")
    second.minute(QUIET + 1, 103.0)
    assert [p.planned_stop for p in second.protections] == [Decimal("101.0000")]
    assert [o.reason for o in second.minute(QUIET + 2, 101.0)] == ["stop"]
