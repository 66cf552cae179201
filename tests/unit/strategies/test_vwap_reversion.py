"""Fading stretched prices, bar by bar, through the real engine, with averages and deviations worked by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.events import Bar, EventBatch
from liualgotrader.common.orders import OrderIntent, OrderState, OrderType, Side
from liualgotrader.strategies.vwap_reversion import VwapReversion
from tests.fakes.strategies import ALWAYS, BATCH_ID, Play, a_bar

CALM = 30  # minutes 0 to 29 average 99 and 101 in turn: VWAP 100.00, deviation 1.00


def a_play(schedule: list[dict[str, Any]] = ALWAYS, **options: Any) -> Play:
    play = Play(VwapReversion(batch_id=BATCH_ID, schedule=schedule, **{"cost_fraction": 0.05, **options}))
    play.pick("AAPL")
    for number in range(CALM):
        play.bars([calm(number)])
    assert play.orders == []
    return play


def calm(number: int) -> Bar:
    average = 99.0 if number % 2 else 101.0
    return a_bar(number, average)


def tiny(number: int, close: float, opened: float) -> Bar:
    """A bar that trades one share at the VWAP: it moves the price, the average and the deviation by next to nothing."""
    return a_bar(number, close, open=opened, average=100.0, volume=0.0)


def stretched(play: Play, number: int = CALM, close: float = 103.0, opened: float = 103.5) -> list[OrderIntent]:
    return play.bars([tiny(number, close, opened)])


def test_a_price_far_above_the_average_that_turns_is_sold_short() -> None:
    play = a_play()
    (order,) = stretched(play)
    # 103 is 3 deviations above 100. Limit 103 x 0.999 = 102.897, a cent for exchanges: 102.90.
    assert (order.side, order.type, order.limit_price) == (Side.SELL, OrderType.LIMIT, Decimal("102.90"))
    # Stop: the farther of 100 + 3.5 x 1.00 and 100 + 1.25 x 3.00; target: the average.
    assert (order.planned_stop, order.planned_target) == (Decimal("103.75"), Decimal(100))
    assert order.quantity == 48  # 100 $ / (103.75 - 102.897) = 117, but 5000 $ / 102.897 = 48.6
    assert order.indicators == {"vwap": 100.0, "deviations": 3.0}
    assert play.positions == {(1, "AAPL"): Decimal(-48)}


def test_a_price_far_below_the_average_that_turns_is_bought() -> None:
    play = a_play()
    (order,) = stretched(play, close=97.5, opened=97.0)
    # 2.5 deviations below. Limit 97.5 x 1.001 = 97.5975 -> 97.59; stop 100 - 3.5.
    assert (order.side, order.limit_price) == (Side.BUY, Decimal("97.59"))
    assert (order.planned_stop, order.planned_target) == (Decimal("96.5"), Decimal(100))
    assert order.quantity == 51  # 5000 $ / 97.5975 = 51.2; by risk 91
    assert order.indicators == {"vwap": 100.0, "deviations": -2.5}


@pytest.mark.parametrize(
    "close, opened, orders",
    [
        (102.0, 102.5, 1),  # two deviations exactly
        (101.99, 102.5, 0),
        (103.0, 102.5, 0),  # still rising
        (103.0, 103.0, 0),  # neither
        (98.0, 97.5, 1),
        (98.01, 97.5, 0),
        (97.0, 97.5, 0),  # still falling
    ],
)
def test_an_entry_needs_two_deviations_and_a_turn(close: float, opened: float, orders: int) -> None:
    assert len(stretched(a_play(), close=close, opened=opened)) == orders


def test_a_calm_symbol_is_not_stretched() -> None:
    play = Play(VwapReversion(batch_id=BATCH_ID, schedule=ALWAYS))
    play.pick("AAPL")
    for number in range(CALM):
        play.bars([a_bar(number, 99.98 if number % 2 else 100.02)])  # a deviation of 0.02 is below 0.05 % of 100
    assert stretched(play, close=100.10, opened=100.11) == []


@pytest.mark.parametrize("start, orders", [(31, 0), (30, 1)])
def test_entries_wait_for_the_window(start: int, orders: int) -> None:
    assert len(stretched(a_play([{"start": start, "duration": 60}]))) == orders


@pytest.mark.parametrize("close, reason", [(103.74, None), (103.75, "stop"), (100.01, None), (100.0, "target")])
def test_a_short_position_is_covered_at_stop_and_target(close: float, reason: str | None) -> None:
    play = a_play([{"start": 30, "duration": 2}])
    stretched(play)
    found = stretched(play, CALM + 5, close, close)
    assert [order.reason for order in found] == ([reason] if reason else [])
    if found:
        assert (found[0].side, found[0].type, found[0].quantity) == (Side.BUY, OrderType.MARKET, 48)
        assert play.trips[0].gain == 48 * (Decimal(103) - Decimal(str(close)))


@pytest.mark.parametrize("close, reason", [(96.51, None), (96.5, "stop"), (99.99, None), (100.0, "target")])
def test_a_long_position_is_sold_at_stop_and_target(close: float, reason: str | None) -> None:
    play = a_play()
    stretched(play, close=97.5, opened=97.0)
    found = stretched(play, CALM + 5, close, close)
    assert [order.reason for order in found] == ([reason] if reason else [])


def test_a_position_ends_after_its_time() -> None:
    play = a_play(max_minutes=10)
    stretched(play)  # filled 31 minutes after the open
    for number in range(CALM + 1, CALM + 10):
        assert stretched(play, number, 102.0, 102.0) == []
    (order,) = stretched(play, CALM + 10, 102.0, 102.0)
    assert order.reason == "time"


def test_a_symbol_is_traded_so_often_and_no_more() -> None:
    play = a_play(max_trades=2)
    for number in (CALM, CALM + 2):
        stretched(play, number)
        stretched(play, number + 1, 100.0, 100.0)
    assert len(play.trips) == 2
    assert stretched(play, CALM + 4) == []


@pytest.mark.parametrize("answer", ["refuse", "reject"])
def test_a_refused_short_sale_counts_for_nothing(answer: str) -> None:
    play = a_play(max_trades=1)
    play.answer = answer
    stretched(play)
    play.answer = "fill"
    (order,) = stretched(play, CALM + 1)
    assert (order.side, play.positions[1, "AAPL"]) == (Side.SELL, -48)


def test_an_entry_that_expired_is_tried_again() -> None:
    play = a_play(max_trades=1)
    play.answer = "hold"
    (order,) = stretched(play)
    assert stretched(play, CALM + 1) == []
    play.end(order, OrderState.CANCELED)
    assert len(stretched(play, CALM + 2)) == 1


def test_a_part_that_was_sold_short_is_covered_whole() -> None:
    play = a_play()
    play.answer = "hold"
    (entry,) = stretched(play)
    play.fill(entry, "103", "7")
    play.end(entry, OrderState.CANCELED)
    (cover,) = stretched(play, CALM + 1, 104.0, 104.0)
    assert (cover.side, cover.quantity) == (Side.BUY, 7)


def test_short_sales_are_whole_shares_and_within_the_risk() -> None:
    play = a_play(risk_fraction=0.0001)
    (order,) = stretched(play)
    assert order.quantity == 11  # 10 $ / (103.75 - 102.897) = 11.7
    assert order.planned_stop is not None
    assert order.quantity * (order.planned_stop - Decimal("102.897")) <= 10


def test_the_average_begins_with_the_session() -> None:
    yesterday = [a_bar(number, 500.0) for number in range(-960, -900)]
    play = Play(VwapReversion(batch_id=BATCH_ID, schedule=ALWAYS), history=lambda symbol: yesterday)
    play.pick("AAPL")
    for number in range(CALM):
        play.bars([calm(number)])
    (order,) = stretched(play)
    assert order.planned_target == Decimal(100)


def test_a_symbol_picked_at_noon_has_the_whole_sessions_average() -> None:
    play = Play(
        VwapReversion(batch_id=BATCH_ID, schedule=ALWAYS),
        history=lambda symbol: [calm(number) for number in range(CALM)],
    )
    play.now = calm(CALM - 1).closed_at
    play.pick("AAPL")
    (order,) = stretched(play)
    assert order.planned_target == Decimal(100)


def test_bars_that_nobody_was_called_for_count_in_the_average() -> None:
    play = Play(VwapReversion(batch_id=BATCH_ID, schedule=ALWAYS))
    play.pick("AAPL")
    play.bars([calm(0)])
    late = [calm(number) for number in range(1, CALM)]
    play.now = late[-1].closed_at
    play.engine.on_batch(EventBatch(1, 99, 0, [*late]), play.now, 0, frozenset(range(len(late))))
    (order,) = stretched(play)
    assert order.planned_target == Decimal(100)


def test_a_restarted_process_keeps_the_time_of_its_position() -> None:
    first = a_play(max_minutes=10)
    (entry,) = stretched(first)
    second = Play(
        VwapReversion(batch_id=BATCH_ID, schedule=ALWAYS, max_minutes=10), earlier=[(entry, "103")]
    )  # filled at the open
    second.pick("AAPL")
    (order,) = stretched(second, CALM, 102.0, 102.0)
    assert (order.side, order.quantity, order.reason) == (Side.BUY, 48, "time")
