"""Stops, targets and indicators: what a strategy has written and what the gateway stores are the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.orders import CaughtUp, Fill, OrderIntent, OrderNews, OrderState, Protect, Protection, Side
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.trading_data import buy_indicators, sell_indicators, stop_prices, target_prices
from liualgotrader.engine.outputs import LogLine, Output
from liualgotrader.strategies.base import Strategy, StrategyType
from tests.unit.engine.conftest import BATCH, Stage, buy, orders, running

SELL = {"side": "sell", "qty": 10, "type": "market"}
ENTRY = "liu-0b5e7a4e0000-0-1"


class StopsOut(Strategy):
    """The original's idiom: the stop is written where the order is made, and read at every call after it."""

    async def run(self, symbol, shortable, position, now, minute_history, **more):  # type: ignore[no-untyped-def, override]
        if position:
            return minute_history["close"].iloc[-1] <= stop_prices[symbol], SELL
        stop_prices[symbol], target_prices[symbol] = 9.0, 12.0
        return True, buy(10)


def restarted(kind: type[Strategy], told: list[Any], next_order: int = 2) -> Stage:
    """A process that takes the place of a killed one: it knows what the gateway tells it, and nothing else."""
    stage = Stage()
    strategy = kind(kind.__name__, StrategyType.DAY_TRADE, BATCH, [])
    stage.engine.add(SlotPlan(0, kind.__name__, 0, 1), strategy)
    stage.seq[0] = len(told)
    stage.news(*told, CaughtUp(0, len(told), next_order))
    stage.pick()
    return stage


def resting(seq: int) -> OrderNews:
    return OrderNews(seq, 0, ENTRY, "AAPL", Side.BUY, OrderState.ACKNOWLEDGED, 0, Decimal(10), Decimal(0))


def filled(seq: int, position: int, stop: str | None, target: str | None = None, client_id: str = ENTRY) -> Fill:
    ten = Decimal(10)
    return Fill(
        seq, 0, client_id, f"x{seq}", "AAPL", Side.BUY, ten, ten, Decimal(0), 0, ten, Decimal(0), Decimal(position),
        planned_stop=None if stop is None else Decimal(stop), planned_target=None if target is None else Decimal(target),
    )  # fmt: skip


def plan(stage: Stage) -> tuple[Decimal | None, Decimal | None]:
    notes = stage.engine.slots[0].book.notes
    return notes.planned("AAPL", "stop_prices"), notes.planned("AAPL", "target_prices")


def protects(found: list[Output]) -> list[tuple[Decimal | None, Decimal | None]]:
    return [(one.planned_stop, one.planned_target) for one in found if isinstance(one, Protect)]


# --- a restart -------------------------------------------------------------------------------------------


def test_an_entry_that_fills_after_a_restart_brings_its_stop_and_target() -> None:
    stage = restarted(StopsOut, [resting(1)])
    stage.news(filled(2, 10, "9", "12"))
    assert plan(stage) == (Decimal(9), Decimal(12))
    [exit_order] = orders(stage.minute(1, 8.5))
    assert exit_order.side is Side.SELL
    assert not [one for one in stage.out if isinstance(one, LogLine) and "raised" in one.text]


def test_a_scale_in_that_fills_after_a_restart_moves_the_stop() -> None:
    stage = restarted(StopsOut, [filled(1, 10, "9", "12"), resting(2)])
    assert plan(stage) == (Decimal(9), Decimal(12))
    stage.news(filled(3, 20, "9.5", "12"))
    assert plan(stage) == (Decimal("9.5"), Decimal(12))


def test_a_stop_that_was_taken_away_stays_away_after_a_restart() -> None:
    stage = restarted(StopsOut, [filled(1, 10, "9", "12"), Protection(2, 0, "AAPL", 0, None, Decimal(12))])
    assert plan(stage) == (None, Decimal(12))


def test_a_fill_does_not_take_back_a_stop_that_the_gateway_has_not_heard_of_yet(stage: Stage) -> None:
    class Trails(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if ctx.position or ctx.open_orders:
                ctx.protect(stop_price=bar.close - 1)
            else:
                ctx.buy(20, stop_price=9.0)

    stage.cast(Trails)
    stage.pick()
    stage.minute(0, 10.0)
    stage.news(filled(stage.next_seq(0), 10, "9"))
    assert protects(stage.minute(1, 11.0)) == [(Decimal(10), None)]
    stage.news(filled(stage.next_seq(0), 20, "9"))  # booked before the move had arrived
    assert plan(stage) == (Decimal(10), None)
    stage.news(Protection(stage.next_seq(0), 0, "AAPL", 0, Decimal(10), None))
    stage.news(filled(stage.next_seq(0), 30, "9.75"))
    assert plan(stage) == (Decimal("9.75"), None)


def test_the_echo_of_an_older_move_confirms_no_newer_one(stage: Stage) -> None:
    class Trails(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if ctx.position:
                ctx.protect(stop_price=bar.close - 1)
            else:
                ctx.buy(10, stop_price=9.0)

    stage.cast(Trails)
    stage.pick()
    stage.minute(0, 10.0)
    stage.news(filled(stage.next_seq(0), 10, "9"))
    stage.minute(1, 11.0)
    stage.minute(2, 12.0)
    stage.news(Protection(stage.next_seq(0), 0, "AAPL", 0, Decimal(10), None))
    stage.news(filled(stage.next_seq(0), 20, "10"))
    assert plan(stage) == (Decimal(11), None)


# --- orders that come to nothing ----------------------------------------------------------------------------


class ScalesIn(Strategy):
    def on_bar(self, ctx: Any, bar: Any) -> None:
        ctx.state["n"] = ctx.state.get("n", 0) + 1
        if ctx.state["n"] <= 2:
            ctx.buy(10, limit=10.0, stop_price=8.5 + ctx.state["n"] / 2)


@pytest.mark.parametrize("end", [OrderState.REFUSED, OrderState.REJECTED, OrderState.CANCELED, OrderState.EXPIRED])
def test_the_stop_of_a_scale_in_holds_for_both_sides_whatever_becomes_of_the_order(
    stage: Stage, end: OrderState
) -> None:
    stage.cast(ScalesIn)
    stage.pick()
    [first] = orders(stage.minute(0, 10.0))
    stage.fill(first, "10", "10.0", "10")
    found = stage.minute(1, 11.0)
    [second] = orders(found)
    assert protects(found) == [(Decimal("9.5"), None)], "told at once: the order may never fill"
    stage.state(second, end, "why")
    assert plan(stage) == (Decimal("9.5"), None)


def test_the_stop_of_a_second_entry_is_told_while_the_first_still_rests(stage: Stage) -> None:
    stage.cast(ScalesIn)
    stage.pick()
    assert protects(stage.minute(0, 10.0)) == [], "it travels with the only order"
    assert protects(stage.minute(1, 10.0)) == [(Decimal("9.5"), None)]


def test_a_stop_that_the_strategy_removes_is_removed_at_the_gateway(stage: Stage) -> None:
    def decide(self: Any, symbol: str, position: float, **told: Any) -> Any:
        if not position:
            stop_prices[symbol] = 9.0
            return True, buy(10)
        stop_prices.pop(symbol, None)
        return False, {}

    stage.cast(running(decide))
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.fill(order, "10", "10", "10")
    assert protects(stage.minute(1)) == [(None, None)]
    assert protects(stage.minute(2)) == []


def test_a_stop_written_in_the_callback_is_told_for_the_position(stage: Stage) -> None:
    class InCallback(Strategy):
        async def run(self, symbol, shortable, position, now, minute_history, **more):  # type: ignore[no-untyped-def, override]
            return not position, buy(10)

        async def buy_callback(self, symbol, price, qty, now=None, trade_fee=0.0):  # type: ignore[no-untyped-def]
            stop_prices[symbol], target_prices[symbol] = price * 0.99, price * 1.02

    stage.cast(InCallback)
    stage.pick()
    [order] = orders(stage.minute(0))
    assert order.planned_stop is None
    assert protects(stage.fill(order, "10", "10", "10")) == [(Decimal("9.9000"), Decimal("10.2000"))]


# --- indicators ---------------------------------------------------------------------------------------------


def trips(stage: Stage, *notes: Any) -> list[OrderIntent]:
    """Play one minute per note: an entry when flat, an exit when not; a note is written before its order."""
    left = list(notes)

    def decide(self: Any, symbol: str, position: float, **told: Any) -> Any:
        note = left.pop(0)
        if note is not None:
            note(symbol)
        return True, SELL if position else buy(10)

    stage.cast(running(decide))
    stage.pick()
    made: list[OrderIntent] = []
    for minute in range(len(notes)):
        [order] = orders(stage.minute(minute))
        stage.fill(order, "10", "10", "10" if order.side is Side.BUY else "0")
        made.append(order)
    return made


def why(text: str) -> Any:
    return lambda symbol: buy_indicators.__setitem__(symbol, {"why": text})


@pytest.mark.parity(35)
def test_indicators_stand_with_the_next_order_of_their_side_only(stage: Stage) -> None:
    made = trips(stage, why("first"), None, None, None, why("third"))
    assert [one.indicators for one in made] == [{"buy": {"why": "first"}}, {}, {}, {}, {"buy": {"why": "third"}}]


def test_equal_indicators_that_are_written_again_are_stored_again(stage: Stage) -> None:
    made = trips(stage, why("same"), None, why("same"))
    assert [one.indicators for one in made] == [{"buy": {"why": "same"}}, {}, {"buy": {"why": "same"}}]


def test_indicators_that_are_changed_in_place_are_stored_as_they_are_then(stage: Stage) -> None:
    made = trips(stage, why("first"), None, lambda symbol: buy_indicators[symbol].update(why="second"))
    assert made[2].indicators == {"buy": {"why": "second"}}


def test_indicators_can_still_be_read_after_their_order(stage: Stage) -> None:
    seen: list[Any] = []
    trips(stage, why("first"), lambda symbol: seen.append(buy_indicators[symbol]))
    assert seen == [{"why": "first"}]


def test_what_an_exit_noted_is_not_stored_with_a_later_one(stage: Stage) -> None:
    note = lambda symbol: sell_indicators.__setitem__(symbol, {"left": "stop"})  # noqa: E731
    made = trips(stage, None, note, None, None)
    assert [one.indicators for one in made] == [{}, {"sell": {"left": "stop"}}, {}, {}]


def test_indicators_of_a_position_that_has_ended_belong_to_no_later_entry(stage: Stage) -> None:
    class InCallback(Strategy):
        async def run(self, symbol, shortable, position, now, minute_history, **more):  # type: ignore[no-untyped-def, override]
            return True, SELL if position else buy(10)

        async def buy_callback(self, symbol, price, qty, now=None, trade_fee=0.0):  # type: ignore[no-untyped-def]
            buy_indicators[symbol] = {"paid": price}

    stage.cast(InCallback)
    stage.pick()
    for minute, position in enumerate(("10", "0", "10")):
        [order] = orders(stage.minute(minute))
        stage.fill(order, "10", "10", position)
    assert order.indicators == {}
