"""The rotation through the real engine: who is held, when it changes, how a position ends."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.orders import OrderIntent, OrderState, OrderType, Side
from liualgotrader.strategies.rotation import Rotation
from tests.fakes.strategies import ALWAYS, BATCH_ID, HOURS, Play, a_bar

FIRST = 40  # minutes after the open at which the first ranking is made here

Prices = Mapping[str, float]


def a_play(prices: Prices, *, schedule: list[dict[str, Any]] | None = None, **options: Any) -> Play:
    """Symbols that stood at 100 for half an hour and cost `prices` since; the clock stands at `FIRST` minutes."""
    window = [{"start": FIRST - 1, "duration": 300}] if schedule is None else schedule
    play = Play(Rotation(batch_id=BATCH_ID, schedule=window, **options), run_all=["Rotation"])
    play.pick(*prices)
    for number in range(FIRST - 2):
        play.bars([a_bar(number, 100.0, symbol) for symbol in prices])
        assert play.timer(number + 1) == []
    tick(play, FIRST - 2, prices)
    assert play.orders == []
    tick(play, FIRST - 1, prices)
    return play


def tick(play: Play, number: int, prices: Prices) -> list[OrderIntent]:
    """The bars of minute `number` close, and the period that begins with their close is due."""
    play.bars([a_bar(number, price, symbol) for symbol, price in prices.items()])
    return play.timer(number + 1)


def wanted(orders: list[OrderIntent]) -> list[tuple[str, str]]:
    return [(order.side.value, order.symbol) for order in orders]


def held(play: Play) -> list[str]:
    return sorted(symbol for (_, symbol), quantity in play.positions.items() if quantity)


def test_the_strongest_risers_are_bought_with_equal_money() -> None:
    play = a_play({"AA": 101.0, "BB": 104.0, "CC": 99.0, "DD": 102.0, "EE": 103.0}, hold=3)
    assert wanted(play.orders) == [("buy", "BB"), ("buy", "EE"), ("buy", "DD")]
    first = play.orders[0]
    assert (first.type, first.limit_price) == (OrderType.LIMIT, Decimal("104.21"))  # 104 x 1.002 = 104.208
    assert first.quantity == 47  # 15 % of 100,000 $ in three: 5000 $ / 104.21 = 47.98
    assert first.planned_stop == Decimal("102.44")  # 1.5 % below 104
    assert first.planned_target == Decimal("107.12")  # 3 % above
    assert first.indicators == {"buy": {"gain": 0.04, "rank": 0}}


def test_equal_gains_are_ranked_by_symbol() -> None:
    play = a_play({"ZZ": 102.0, "AA": 102.0, "MM": 102.0, "BB": 102.0}, hold=2)
    assert wanted(play.orders) == [("buy", "AA"), ("buy", "BB")]


def test_what_does_not_rise_is_not_bought() -> None:
    play = a_play({"AA": 100.0, "BB": 99.0, "CC": 100.5})
    assert wanted(play.orders) == [("buy", "CC")]


def test_a_position_never_risks_more_than_its_fraction() -> None:
    play = a_play({"AA": 102.0}, hold=1, invest_fraction=1.0, stop_percent=5.0)
    (order,) = play.orders
    assert order.quantity == 18  # 100 $ / (102.20 - 96.90) = 18.9


@pytest.mark.parametrize("price, orders", [(100.48, []), (100.47, [("sell", "AA")]), (99.0, [("sell", "AA")])])
def test_the_stop_is_looked_at_in_every_period(price: float, orders: list[tuple[str, str]]) -> None:
    play = a_play({"AA": 102.0})  # stop 102 x 0.985 = 100.47
    assert wanted(tick(play, FIRST, {"AA": price})) == orders


@pytest.mark.parametrize("price, orders", [(105.05, []), (105.06, [("sell", "AA")])])
def test_the_target_is_looked_at_in_every_period(price: float, orders: list[tuple[str, str]]) -> None:
    play = a_play({"AA": 102.0})  # target 102 x 1.03 = 105.06
    found = tick(play, FIRST, {"AA": price})
    assert wanted(found) == orders
    assert all((order.type, order.quantity, order.reason) == (OrderType.MARKET, 48, "target") for order in found)


def test_a_position_can_be_left_after_the_window() -> None:
    play = a_play({"AA": 102.0}, schedule=[{"start": FIRST - 1, "duration": 3}])
    assert wanted(tick(play, 200, {"AA": 99.0})) == [("sell", "AA")]


def test_it_changes_horses_at_its_pace() -> None:
    play = a_play({"AA": 103.0, "BB": 101.0}, hold=1, every_minutes=30)
    assert held(play) == ["AA"]
    now = {"AA": 102.0, "BB": 104.0}
    for number in range(FIRST, 59):
        assert tick(play, number, now) == []
    found = tick(play, 59, now)  # an hour after the open
    assert wanted(found) == [("sell", "AA"), ("buy", "BB")]
    assert held(play) == ["BB"]
    assert found[0].reason == "no longer among the strongest 1"


def test_what_is_still_strong_is_kept() -> None:
    play = a_play({"AA": 103.0, "BB": 101.0}, hold=1, every_minutes=30)
    for number in range(FIRST, 60):
        assert tick(play, number, {"AA": 103.2, "BB": 101.0}) == []


def test_nothing_is_ranked_outside_the_window() -> None:
    play = a_play({"AA": 103.0}, schedule=[{"start": 300, "duration": 10}])
    assert tick(play, FIRST, {"AA": 104.0}) == []


def test_a_symbol_without_bars_enough_is_passed_over() -> None:
    play = a_play({"AA": 103.0}, hold=2, every_minutes=10)
    play.pick("NEW")
    for number in range(FIRST, 49):
        tick(play, number, {"AA": 103.0, "NEW": 50.0 + number})
    assert tick(play, 49, {"AA": 103.0, "NEW": 120.0}) == []
    assert held(play) == ["AA"]


def test_a_missed_period_delays_the_change_and_does_not_skip_it() -> None:
    play = a_play({"AA": 103.0, "BB": 101.0}, hold=1, every_minutes=30)
    now = {"AA": 102.0, "BB": 104.0}
    for number in range(FIRST, 62):
        play.bars([a_bar(number, price, symbol) for symbol, price in now.items()])
    assert wanted(play.timer(62)) == [("sell", "AA"), ("buy", "BB")]


def test_nothing_is_ordered_where_an_order_is_working() -> None:
    play = Play(Rotation(batch_id=BATCH_ID, schedule=ALWAYS, every_minutes=1), run_all=["Rotation"])
    play.answer = "hold"
    play.pick("AA")
    for number in range(30):
        tick(play, number, {"AA": 100.0})
    (entry,) = tick(play, 30, {"AA": 102.0})
    assert tick(play, 31, {"AA": 104.0}) == []
    play.end(entry, OrderState.CANCELED)
    (again,) = tick(play, 32, {"AA": 104.0})
    assert again.planned_stop == Decimal("102.44")  # 1.5 % below 104, not below 102
    assert [signal.outcome for signal in play.signals] == ["sent", "sent"]


def test_a_refused_entry_is_tried_again_at_the_next_ranking() -> None:
    play = Play(Rotation(batch_id=BATCH_ID, schedule=ALWAYS, every_minutes=5), run_all=["Rotation"])
    play.answer = "refuse"
    play.pick("AA")
    for number in range(34):
        tick(play, number, {"AA": 100.0})
    assert len(tick(play, 34, {"AA": 102.0})) == 1
    play.answer = "fill"
    for number in range(35, 39):
        assert tick(play, number, {"AA": 90.0}) == []  # the stop of a position that never was
    assert len(tick(play, 39, {"AA": 103.0})) == 1


def test_a_restarted_process_keeps_positions_whose_bars_are_not_loaded_yet() -> None:
    first = a_play({"AA": 103.0})
    second = Play(
        Rotation(batch_id=BATCH_ID, schedule=ALWAYS), run_all=["Rotation"], earlier=[(first.orders[0], "103")]
    )
    assert second.timer(60) == []
    assert second.positions == {(1, "AA"): Decimal(48)}
    second.pick("AA")
    second.bars([a_bar(60, 101.0, "AA")])
    (order,) = second.timer(61)
    assert (order.side, order.quantity) == (Side.SELL, 48)  # its stop of 101.45 came back with the position


def test_the_period_is_a_minute_of_market_time_from_the_open() -> None:
    play = Play(Rotation(batch_id=BATCH_ID, schedule=ALWAYS), run_all=["Rotation"])
    play.timer(0)
    assert play.engine.next_deadline() == HOURS.opens_at + MINUTE
