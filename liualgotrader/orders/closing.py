"""Closing positions: the end of the day for DAY_TRADE, flatten, and the positions of strategies that have stopped.

First what could still trade in the position is taken back, then, when all of it has ended, a market order
goes out for what is left; after a rejection it is tried again, with growing pauses of market time, until the
market closes.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from liualgotrader.common.clock import NEVER, SECOND
from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import OrderIntent, OrderState, OrderType, Side
from liualgotrader.orders.alarms import Due
from liualgotrader.orders.cancels import of_other_batches, want_cancel
from liualgotrader.orders.desk_state import LIQUIDATION, Closing, DeskState
from liualgotrader.orders.order import DeskOrder, Origin, held_by_exits
from liualgotrader.orders.positions import Position

LONGEST_PAUSE = 32  # market seconds
LOUD_AFTER = 5  # rejections until a person is called


def want_flat(ledger: DeskState, slot: int, symbol: str, reason: str, indicators: Mapping[str, Any]) -> None:
    """Close a slot's position in a symbol, whatever works there, and go on until it is closed."""
    if ledger.terms.shadow:  # it sends nothing
        return
    if (slot, symbol) not in ledger.closings:
        ledger.closings[slot, symbol] = Closing(slot, symbol, reason, indicators)
        _take_back_of_other_batches(ledger, symbol)
        advance(ledger, ledger.closings[slot, symbol])


def _take_back_of_other_batches(ledger: DeskState, symbol: str) -> None:
    """What an earlier batch left working holds shares at the broker; nobody of this batch knows it."""
    for cancel in of_other_batches(ledger, symbol):
        ledger.decide(cancel)


def flatten(ledger: DeskState, slot: int | None, reason: str) -> None:
    """Close everything of one slot or of all, now and whatever still fills later."""
    ledger.flattening[slot] = reason
    _take_back_all_but_closings(ledger, reason, slot)
    for owner, symbol in _places(ledger, slot):
        want_flat(ledger, owner, symbol, reason, {"flatten": reason})


def liquidate(ledger: DeskState) -> None:
    """The day is over for DAY_TRADE slots: take their orders back and close their positions."""
    for slot in list(ledger.slots.values()):
        if slot.day_trade:
            _take_back_all_but_closings(ledger, "day trading has ended for today", slot.number)
            for owner, symbol in _places(ledger, slot.number):
                want_flat(ledger, owner, symbol, "liquidation", LIQUIDATION)


def _take_back_all_but_closings(ledger: DeskState, reason: str, slot: int | None) -> None:
    for order in ledger.orders.all_working():
        if slot in (None, order.slot) and order.origin is not Origin.DESK:
            want_cancel(ledger, order, reason)


def liquidation_is_over(ledger: DeskState) -> bool:
    """Whether the instant of liquidation has passed; a session that ignores the schedule has none."""
    hours = ledger.terms.hours
    return not hours.bypass and 0 < hours.liquidates_at <= ledger.now


def guard_stopped(ledger: DeskState, prices: Mapping[str, Decimal]) -> None:
    """Honour the stored stops and targets of positions whose strategy has stopped."""
    for slot, symbol, position in ledger.books.open():
        price = prices.get(symbol)
        if price is not None and ledger.slot(slot).stopped:
            touched = level_touched(position, price)
            if touched:
                want_flat(ledger, slot, symbol, f"caretaker: {touched} at {price}", {"caretaker": touched})


def level_touched(position: Position, price: Decimal) -> str:
    """Return `stop` or `target` if `price` (dollars per share) has reached that level of the position, else nothing."""
    sign = 1 if position.quantity > 0 else -1
    if position.planned_stop is not None and (price - position.planned_stop) * sign <= 0:
        return "stop"
    if position.planned_target is not None and (price - position.planned_target) * sign >= 0:
        return "target"
    return ""


def stop_slot(ledger: DeskState, number: int, reason: str) -> None:
    """Take nothing more from a slot: its entries are taken back, its exits and positions stay."""
    ledger.slot(number).stopped = reason
    take_back_entries(ledger, reason, number)


def take_back_entries(ledger: DeskState, reason: str, slot: int | None = None) -> None:
    """Cancel every working order that could open a position, of one slot or of all."""
    for order in list(ledger.orders.all_working()):
        if order.opening and slot in (None, order.slot):
            want_cancel(ledger, order, reason)


def follow(ledger: DeskState, order: DeskOrder) -> None:
    """An order has ended or filled: go on with the closings that waited for it, or begin one that it made necessary."""
    _close_what_must_not_stay(ledger, order.slot, order.symbol)
    for closing in [c for c in ledger.closings.values() if c.symbol == order.symbol]:
        advance(ledger, closing)


def there_again(ledger: DeskState, symbol: str) -> None:
    """The account has what our books say again: close what was given up while it did not."""
    for slot, where, _ in ledger.books.open():
        if where == symbol:
            _close_what_must_not_stay(ledger, slot, symbol)


def _close_what_must_not_stay(ledger: DeskState, slot: int, symbol: str) -> None:
    reason, indicators = _must_be_flat(ledger, slot)
    if reason and ledger.books.held(slot, symbol):
        want_flat(ledger, slot, symbol, reason, indicators)


def advance(ledger: DeskState, closing: Closing, *, woken: bool = False) -> None:
    """Take the next step of a closing; `woken` by its alarm, else by something that changed."""
    key = (closing.slot, closing.symbol)
    held = ledger.books.held(*key)
    if _still_working(ledger, closing, held):
        return
    if not held:
        ledger.closings.pop(key, None)
        return
    if market_has_closed(ledger) or not _available(ledger, closing.symbol, held):
        _give_up(ledger, closing, held)
        return
    last = ledger.orders.by_id.get(closing.order_id)
    if last is not None and last.state is not OrderState.FILLED and not woken:
        _pause(ledger, closing, last)
        return
    _send(ledger, closing, held)


def _still_working(ledger: DeskState, closing: Closing, held: Decimal) -> bool:
    """Take back whatever works in the slot, and what another slot would trade against the closing order."""
    ours = ledger.orders.in_symbol(closing.symbol, closing.slot)
    against = [o for o in ledger.orders.in_symbol(closing.symbol) if o.slot != closing.slot and _crosses(o, held)]
    for order in [*ours, *against]:
        if order.origin is not Origin.DESK:  # it closes a position, and ends by itself
            want_cancel(ledger, order, closing.reason)
    return bool(ours or against)


def _crosses(order: DeskOrder, held: Decimal) -> bool:
    return held * order.side.sign > 0 and not order.is_leg


def market_has_closed(ledger: DeskState) -> bool:
    """Whether the session is over, if it keeps to the schedule; what is sent then waits at a broker for the next open."""
    hours = ledger.terms.hours
    return not hours.bypass and 0 < hours.closes_at <= ledger.now


def _give_up(ledger: DeskState, closing: Closing, held: Decimal) -> None:
    """Send nothing: after the close a broker would keep it for the next open; what is not there would be sold short."""
    del ledger.closings[closing.slot, closing.symbol]
    holds = f"slot {closing.slot} still holds {plain(held)} shares ({closing.reason})"
    if market_has_closed(ledger):
        said = f"the market has closed and {holds}; nothing is sent for them after the close"
    else:
        said = f"{holds} by our books, but the account does not: nothing is sent for them"
    ledger.warn("ERROR", f"{closing.symbol}: {said}")


def _available(ledger: DeskState, symbol: str, held: Decimal) -> Decimal:
    """Return how many of the shares held can be traded away without turning the account's position over."""
    if not ledger.books.lacking(symbol):
        return abs(held)
    side = Side.SELL if held > 0 else Side.BUY
    leaving = held_by_exits(ledger.orders.in_symbol(symbol), side)  # of other slots: this one's have ended
    return min(abs(held), max(ZERO, -ledger.books.there(symbol) * side.sign - leaving))


def _pause(ledger: DeskState, closing: Closing, last: DeskOrder) -> None:
    key = f"{closing.slot}/{closing.symbol}"
    if ledger.market.has(Due.CLOSE, key):
        return
    ledger.warn(
        "ERROR" if closing.tries >= LOUD_AFTER else "WARNING",
        f"{closing.symbol}: attempt {closing.tries} to close the position of slot {closing.slot} ended "
        f"{last.state} ({last.reason or 'no reason given'}); trying again",
    )
    ledger.market.set(ledger.now + min(2**closing.tries, LONGEST_PAUSE) * SECOND, Due.CLOSE, key)
    _take_back_of_other_batches(ledger, closing.symbol)


def _send(ledger: DeskState, closing: Closing, held: Decimal) -> None:
    slot = ledger.slot(closing.slot)
    intent = OrderIntent(
        client_order_id=ledger.desk_order_id(slot),
        slot=closing.slot,
        strategy=slot.strategy,
        symbol=closing.symbol,
        side=Side.SELL if held > 0 else Side.BUY,
        quantity=_available(ledger, closing.symbol, held),
        type=OrderType.MARKET,
        decided_at=ledger.now,
        valid_until=NEVER,
        indicators=dict(closing.indicators),
        reason=closing.reason,
    )
    order = DeskOrder(intent, origin=Origin.DESK, opening=False, generation=ledger.generation, at=ledger.now)
    closing.tries += 1
    closing.order_id = order.client_order_id
    ledger.enter(order, {"as": "exit", "because": closing.reason})
    ledger.send(order)


def _must_be_flat(ledger: DeskState, slot: int) -> tuple[str, Mapping[str, Any]]:
    reason = ledger.flattening.get(slot) or ledger.flattening.get(None) or ""
    if reason:
        return reason, {"flatten": reason}
    if ledger.slot(slot).day_trade and liquidation_is_over(ledger):
        return "liquidation", LIQUIDATION
    return "", {}


def _places(ledger: DeskState, slot: int | None) -> list[tuple[int, str]]:
    """Return where something is held or may still fill."""
    places = {(owner, symbol): None for owner, symbol, _ in ledger.books.open(slot)}
    for order in ledger.orders.all_working():
        if slot in (None, order.slot):
            places[order.slot, order.symbol] = None
    return list(places)
