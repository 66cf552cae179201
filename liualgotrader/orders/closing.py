"""Taking orders back and closing positions: the end of the day for DAY_TRADE, flatten, stopped strategies.

A cancel waits for its order's acknowledgement, and is asked again until it is confirmed. To close a position, what
could still trade in it is taken back; when all of that has ended, a market order goes out for what is left. After a
rejection it is tried again, with growing pauses of market time, until the market closes.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from liualgotrader.common.clock import SECOND
from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import OrderState, Side
from liualgotrader.orders.desk_books import Position, held_by_exits
from liualgotrader.orders.desk_messages import Cancel, CancelAll
from liualgotrader.orders.desk_parts import Closing, Due
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.order import DeskOrder, OrderStep, Origin

LONGEST_WAIT = 32  # market seconds between two attempts to cancel
LIQUIDATION = {"liquidation": 1}
LONGEST_PAUSE = 32  # market seconds between two attempts to close
LOUD_AFTER = 5  # rejections until a person is called


def want_cancel(state: DeskState, order: DeskOrder, reason: str, *, patient: bool = False) -> None:
    """Cancel the order as soon as it can be; nothing if it has ended, is ending, or is being cancelled.

    `patient` says that the cancel may wait while very many were asked in the last minute.
    """
    if order.state is OrderState.WRITTEN:  # it waits, the broker does not have it
        state.move(order, OrderStep.CANCELED, reason=reason)
        return
    hurries = order.cancel_wanted and not patient and not order.urgent
    if order.state.is_final or order.ending not in (None, OrderState.REPLACED) or (order.cancel_wanted and not hurries):
        return
    order.cancel_wanted = order.cancel_wanted or reason
    order.urgent = order.urgent or not patient
    if order.ending is OrderState.REPLACED:  # its replacement is cancelled instead
        return
    if order.state is not OrderState.PENDING_CANCEL:
        ask_cancel(state, order)


def ask_cancel(state: DeskState, order: DeskOrder) -> None:
    """Send the cancel if the order's state allows it now; otherwise what changes that calls again."""
    if order.state is OrderState.PENDING_REPLACE:
        following = state.orders.by_id[order.successor] if order.successor else None
        if following is not None and not following.state.is_final:  # the broker may have reported it already
            want_cancel(state, following, order.cancel_wanted, patient=not order.urgent)
            return
    if order.state.is_final or order.awaits_answer or not order.broker_order_id:
        return
    if not order.urgent and state.orders.cancels.within_minute(state.now) >= state.terms.limits.orders_per_minute:
        state.market.set(state.now + SECOND, Due.CANCEL_AGAIN, order.client_order_id)
        return
    state.move(order, OrderStep.CANCEL_ASKED, reason=order.cancel_wanted)
    order.asked_cancels += 1
    state.orders.cancels.append(state.now)
    state.outputs.append(Cancel(order.client_order_id, order.broker_order_id, order.symbol))
    _wake(state, order)


def cancel_again(state: DeskState, order: DeskOrder) -> None:
    """Nothing came of a cancel for a while: ask again, or first ask what the order's state is."""
    if order.state is OrderState.PENDING_CANCEL:
        state.look_up(order)
        _wake(state, order)
    elif order.cancel_wanted:
        ask_cancel(state, order)


def not_cancelled(state: DeskState, order: DeskOrder) -> None:
    """The broker says that the order works on: it does, and the cancel is asked again a little later."""
    state.move(order, OrderStep.REOPENED)
    if order.cancel_wanted:
        _wake(state, order)


def not_replaced(state: DeskState, order: DeskOrder) -> None:
    """The broker did not replace the order: it works on, and a cancel that came meanwhile goes out for it."""
    if order.state is not OrderState.PENDING_REPLACE:
        return
    state.move(order, OrderStep.REOPENED)
    following = state.orders.by_id.get(order.successor)
    order.cancel_wanted = order.cancel_wanted or (following.cancel_wanted if following is not None else "")
    if order.cancel_wanted:
        ask_cancel(state, order)


def take_back_everything(state: DeskState, reason: str, *, whole_account: bool = False) -> None:
    """Take back every order of ours, of other batches too, as one request."""
    before = len(state.outputs)
    for order in state.orders.all_working():
        want_cancel(state, order, reason)
    wanted = state.outputs.take_cancels(before) + of_other_batches(state)
    if wanted or whole_account:
        state.outputs.append(CancelAll(tuple(wanted), whole_account))


def of_other_batches(state: DeskState, symbol: str | None = None) -> list[Cancel]:
    """Return a cancel for each order that an earlier batch left open, in one symbol or in all."""
    left = (seen for seen in state.orders.other_batches.values() if symbol in (None, seen.symbol))
    return [Cancel(seen.client_order_id, seen.broker_order_id, seen.symbol) for seen in left]


def _wake(state: DeskState, order: DeskOrder) -> None:
    wait = min(2**order.asked_cancels, LONGEST_WAIT)
    state.market.set(state.now + wait * SECOND, Due.CANCEL_AGAIN, order.client_order_id)


def want_flat(state: DeskState, slot: int, symbol: str, reason: str, indicators: Mapping[str, Any]) -> None:
    """Close a slot's position in a symbol, whatever works there, and go on until it is closed."""
    if state.terms.shadow:  # it sends nothing
        return
    if (slot, symbol) not in state.closings:
        closing = Closing(slot, symbol, reason, indicators)
        state.closings[slot, symbol] = closing
        state.outputs.extend(of_other_batches(state, symbol))  # they reserve shares, and no slot follows them
        advance(state, closing)


def flatten(state: DeskState, slot: int | None, reason: str) -> None:
    """Close everything of one slot or of all, now and whatever still fills later."""
    state.closings.flatten(slot, reason)
    _close_all(state, slot, reason, reason, {"flatten": reason})


def liquidate(state: DeskState) -> None:
    """The day is over for DAY_TRADE slots: take their orders back and close their positions."""
    for slot in list(state.slots.values()):
        if slot.day_trade:
            _close_all(state, slot.number, "day trading has ended for today", "liquidation", LIQUIDATION)


def _close_all(
    state: DeskState, slot: int | None, why_cancelled: str, reason: str, indicators: Mapping[str, Any]
) -> None:
    """Take back all orders but those that close positions, and close what is held or may still fill."""
    for order in state.orders.all_working():
        if slot in (None, order.slot) and order.origin is not Origin.DESK:
            want_cancel(state, order, why_cancelled)
    places = {(owner, symbol): None for owner, symbol, _ in state.positions.open(slot)}
    places |= {(o.slot, o.symbol): None for o in state.orders.all_working() if slot in (None, o.slot)}
    for place in places:
        want_flat(state, *place, reason, indicators)


def liquidation_is_over(state: DeskState) -> bool:
    """Whether the instant of liquidation has passed; a session that ignores the schedule has none."""
    hours = state.terms.hours
    return not hours.bypass and 0 < hours.liquidates_at <= state.now


def guard_stopped(state: DeskState, prices: Mapping[str, Decimal]) -> None:
    """Honour the stored stops and targets of positions whose strategy has stopped."""
    for slot, symbol, position in state.positions.open():
        price = prices.get(symbol)
        if price is not None and state.slots[slot].stopped:
            touched = level_touched(position, price)
            if touched:
                want_flat(state, slot, symbol, f"caretaker: {touched} at {price}", {"caretaker": touched})


def level_touched(position: Position, price: Decimal) -> str:
    """Return `stop` or `target` if `price` (dollars per share) has reached that level of the position, else nothing."""
    sign = 1 if position.quantity > 0 else -1
    if position.planned_stop is not None and (price - position.planned_stop) * sign <= 0:
        return "stop"
    if position.planned_target is not None and (price - position.planned_target) * sign >= 0:
        return "target"
    return ""


def stop_slot(state: DeskState, number: int, reason: str) -> None:
    """Take nothing more from a slot: its entries are taken back, its exits and positions stay."""
    state.slots[number].stopped = reason
    take_back_entries(state, reason, number)


def take_back_entries(state: DeskState, reason: str, slot: int | None = None) -> None:
    """Cancel every working order that could open a position, of one slot or of all."""
    for order in state.orders.all_working():
        if order.opening and slot in (None, order.slot):
            want_cancel(state, order, reason)


def follow_closings(state: DeskState, order: DeskOrder) -> None:
    """An order has ended or filled: go on with the closings that waited for it, or begin one that it made necessary."""
    close_what_must_not_stay(state, order.slot, order.symbol)
    if state.closings:
        for closing in state.closings.in_symbol(order.symbol):
            advance(state, closing)


def close_what_must_not_stay(state: DeskState, slot: int, symbol: str) -> None:
    """Close a position that must not stay open: everything of its slot is closed, or its day is over."""
    if state.closings.flattening and (reason := state.closings.reason(slot)):
        indicators: Mapping[str, Any] = {"flatten": reason}
    elif state.slots[slot].day_trade and liquidation_is_over(state):
        reason, indicators = "liquidation", LIQUIDATION
    else:
        return
    if state.positions.held(slot, symbol):
        want_flat(state, slot, symbol, reason, indicators)


def advance(state: DeskState, closing: Closing, *, woken: bool = False) -> None:
    """Take the next step of a closing; `woken` by its alarm, else by something that changed."""
    key = slot, symbol = closing.slot, closing.symbol
    held = state.positions.held(slot, symbol)
    ours, others = state.orders.in_symbol(symbol, slot), state.orders.in_symbol(symbol)
    against = [o for o in others if o.slot != slot and not o.is_leg and held * o.side.sign > 0]  # the closing order
    for order in [*ours, *against]:
        if order.origin is not Origin.DESK:  # it closes a position, and ends by itself
            want_cancel(state, order, closing.reason)
    if ours or against:
        return
    if not held:
        state.closings.pop(key, None)
        return
    available = abs(held)
    if state.lacking(symbol):  # else the account's position would be turned over
        side = Side.SELL if held > 0 else Side.BUY
        leaving = held_by_exits(others, side)  # of other slots: this one's have ended
        available = min(available, max(ZERO, -state.there(symbol) * side.sign - leaving))
    if market_has_closed(state) or not available:
        _give_up(state, closing, held)
        return
    last = state.orders.by_id.get(closing.order_id)
    if last is not None and last.state is not OrderState.FILLED and not woken:
        _pause(state, closing, last)
        return
    order = state.own_order(Origin.DESK, slot, symbol, -available.copy_sign(held), closing.reason, closing.indicators)
    closing.tries, closing.order_id = closing.tries + 1, order.client_order_id
    state.enter(order, {"as": "exit", "because": closing.reason})
    state.send(order)


def market_has_closed(state: DeskState) -> bool:
    """Whether the session is over, if it keeps to the schedule; what is sent then waits at a broker for the next open."""
    hours = state.terms.hours
    return not hours.bypass and 0 < hours.closes_at <= state.now


def _give_up(state: DeskState, closing: Closing, held: Decimal) -> None:
    """Send nothing: after the close a broker would keep it for the next open; what is not there would be sold short."""
    state.closings.pop((closing.slot, closing.symbol), None)
    holds = f"slot {closing.slot} still holds {plain(held)} shares ({closing.reason})"
    if market_has_closed(state):
        said = f"the market has closed and {holds}; nothing is sent for them after the close"
    else:
        said = f"{holds} by our books, but the account does not: nothing is sent for them"
    state.outputs.warn("ERROR", f"{closing.symbol}: {said}")


def _pause(state: DeskState, closing: Closing, last: DeskOrder) -> None:
    key = closing.slot, closing.symbol
    if state.market.has(Due.CLOSE, key):
        return
    state.outputs.warn(
        "ERROR" if closing.tries >= LOUD_AFTER else "WARNING",
        f"{closing.symbol}: attempt {closing.tries} to close the position of slot {closing.slot} ended "
        f"{last.state} ({last.reason or 'no reason given'}); trying again",
    )
    state.market.set(state.now + min(2**closing.tries, LONGEST_PAUSE) * SECOND, Due.CLOSE, key)
    state.outputs.extend(of_other_batches(state, closing.symbol))
