"""Shares in which our books and the account differ: what an operator says of them, and what the desk writes down itself.

Until an operator says adopt, flatten or ignore, nothing is opened in the symbol, and no more leaves it than the account
holds. Shares that no strategy owns are closed for slot 0: its fills are no strategy's trades. Positions of earlier
sessions that were split or are gone get adjusting rows, which move no cash and make no gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.position import after_split
from liualgotrader.common.rows import PlanRow, TradeRow
from liualgotrader.orders.closing import want_flat
from liualgotrader.orders.desk_messages import Missing, Resolution, Resolve, Restated
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.order import OrderStep, Origin

UNOWNED = 0  # the slot of what an operator wants closed although no strategy holds it
BY_OPERATOR = "an operator said so"
FLATTENED = {"settled": "flatten"}
HOW_TO_RESOLVE = "say what became of them by `liu positions adopt`, `flatten` or `ignore`, and the symbol"


def on_missing(state: DeskState, message: Missing) -> None:
    """Set a symbol apart in which a strategy should hold more than there is; the strategy starts without it."""
    symbol, strategy = message.symbol, state.slots[message.slot].strategy
    said = f"{strategy} held {plain(message.quantity)} {symbol} after its last session, the account holds {plain(message.there)}"
    state.quarantine.miss(message, said)
    state.outputs.warn(
        "WARNING", f"{said}: it starts without them, and nothing is opened in {symbol} until you {HOW_TO_RESOLVE}"
    )


def on_resolve(state: DeskState, message: Resolve) -> None:
    """Do what the operator says of a symbol that is set apart, and look at the broker's books again."""
    symbol, foreign = message.symbol, state.broker_view.foreign.get(message.symbol)
    if symbol not in state.quarantine.reasons and foreign:
        _resolve_foreign(state, message, foreign)
        return
    difference = state.broker_view.differences.get(symbol, ZERO)
    problem = _problem(state, message, difference)
    if problem:
        state.outputs.warn("WARNING", f"{symbol}: {problem}")
        return
    why, missing = state.quarantine.resolve(symbol)
    for lost in missing:
        _resolve_missing(state, message, lost)
    state.broker_view.agree(symbol)
    if difference:
        _resolve_difference(state, message, difference)
    state.outputs.warn("INFO", f"{symbol}: settled by `{message.how}` ({why})")
    state.ask_reconcile()


def close_foreign(state: DeskState, reason: str) -> None:
    """Close foreign shares; only an operator who named the account can ask for this."""
    for symbol, shares in list(state.broker_view.foreign.items()):
        if shares:
            state.set_foreign(symbol, ZERO)
            _close_unowned(state, symbol, shares, reason)


def _resolve_foreign(state: DeskState, message: Resolve, shares: Decimal) -> None:
    """Take foreign shares over, or close them."""
    symbol, heir = message.symbol, _heir(state, message)
    if message.how is Resolution.IGNORE:
        state.outputs.warn("INFO", f"{symbol}: {plain(shares)} shares are not ours, and stay so")
        return
    if problem := _lacking(state, message, shares):
        state.outputs.warn("WARNING", f"{symbol}: {problem}")
        return
    state.set_foreign(symbol, ZERO)
    if message.how is Resolution.FLATTEN:
        _close_unowned(state, symbol, shares)
    elif heir is not None:
        _book(state, message, heir, shares, _price(state, message))
    state.outputs.warn("INFO", f"{symbol}: {plain(shares)} shares that were not ours are settled by `{message.how}`")
    state.ask_reconcile()


def _problem(state: DeskState, message: Resolve, difference: Decimal) -> str:
    if message.symbol not in state.quarantine.reasons:
        return "our books and the account's agree, there is nothing to settle"
    if not difference:
        return ""
    surplus = difference - _shortfall(state, message.symbol, difference)
    if message.how is Resolution.IGNORE and surplus != difference:
        return "the account lacks shares that our books have, so they cannot be ignored: adopt or flatten"
    return _lacking(state, message, surplus)


def _lacking(state: DeskState, message: Resolve, surplus: Decimal) -> str:
    """Return what is missing before shares can be adopted or closed, `surplus` of which have no owner yet."""
    if message.how is Resolution.ADOPT and surplus and _heir(state, message) is None:
        return "several strategies could take the shares: name one with --strategy"
    priced = message.how is Resolution.IGNORE or _price(state, message) > 0
    return "" if priced else "no price of it is known; ask again"


def _resolve_missing(state: DeskState, message: Resolve, lost: Missing) -> None:
    """Give the strategy what it held, and book what is gone as traded: at its cost if it is ignored."""
    symbol, foreign = message.symbol, state.broker_view.foreign.get(message.symbol, ZERO)
    kept = ZERO
    if message.how is not Resolution.IGNORE and foreign * lost.quantity > 0:
        kept = min(abs(foreign), abs(lost.quantity)).copy_sign(lost.quantity)
        state.set_foreign(symbol, foreign - kept)
    state.carry(lost.slot, symbol, lost.quantity, lost.average_price, "missing")
    price = lost.average_price if message.how is Resolution.IGNORE else _price(state, message)
    _book(state, message, lost.slot, kept - lost.quantity, price or lost.average_price)
    if message.how is Resolution.FLATTEN:
        want_flat(state, lost.slot, symbol, BY_OPERATOR, FLATTENED)


def _resolve_difference(state: DeskState, message: Resolve, difference: Decimal) -> None:
    symbol = message.symbol
    gone = _shortfall(state, symbol, difference)
    surplus = difference - gone
    for slot, _, position in [p for p in state.positions.open() if p[1] == symbol and p[2].quantity * gone < 0]:
        part = min(abs(position.quantity), abs(gone)).copy_sign(gone)
        gone -= part
        _book(state, message, slot, part, _price(state, message))
        if message.how is Resolution.FLATTEN:
            want_flat(state, slot, symbol, BY_OPERATOR, FLATTENED)
    if not surplus:
        return
    if message.how is Resolution.IGNORE:
        state.set_foreign(symbol, state.broker_view.foreign.get(symbol, ZERO) + surplus)
    elif message.how is Resolution.FLATTEN:
        _close_unowned(state, symbol, surplus)
    else:
        heir = _heir(state, message)
        assert heir is not None  # `_problem` has seen to it
        _book(state, message, heir, surplus, _price(state, message))


def _shortfall(state: DeskState, symbol: str, difference: Decimal) -> Decimal:
    """Return the part of a difference by which the account holds less than our books say, signed like it."""
    ours = state.positions.ours(symbol)
    return min(abs(ours), abs(difference)).copy_sign(difference) if ours * difference < 0 else ZERO


def _heir(state: DeskState, message: Resolve) -> int | None:
    """Return the slot that takes shares over: the one named, the only one that holds some, or the only one there is."""
    planned = {plan.slot: plan.strategy for plan in state.terms.slots}
    named = [slot for slot, strategy in planned.items() if strategy == message.strategy]
    if message.strategy:
        return named[0] if named else None
    holding = [slot for slot, symbol, _ in state.positions.open() if symbol == message.symbol and slot in planned]
    candidates = holding or list(planned)
    return candidates[0] if len(candidates) == 1 else None


def _price(state: DeskState, message: Resolve) -> Decimal:
    return message.price or state.positions.valued_at(message.symbol)


def _close_unowned(state: DeskState, symbol: str, shares: Decimal, reason: str = BY_OPERATOR) -> None:
    state.positions.take(UNOWNED, symbol, shares, state.positions.valued_at(symbol), traded=False)
    want_flat(state, UNOWNED, symbol, reason, FLATTENED)


def _book(state: DeskState, message: Resolve, slot_number: int, signed: Decimal, price: Decimal) -> None:
    """Book shares that changed hands without an order of ours, as an order that filled at `price`."""
    if not signed:
        return
    details = {"settled": str(message.how)}
    reason = f"settled: {message.how}"
    order = state.own_order(Origin.ADOPTED, slot_number, message.symbol, signed, reason, details)
    state.enter(order, details)
    state.move(order, OrderStep.SENT)
    name, shares = f"settled:{order.client_order_id}", order.quantity
    state.book(order, order.execution(name, shares, price, state.now, cumulative=shares))
    state.move(order, OrderStep.FILLED)


def on_restated(state: DeskState, message: Restated) -> None:
    """Carry a position on in the account's terms, without stop and target, and call a person."""
    slot, symbol = message.slot, message.symbol
    position = state.carry(slot, symbol, message.new_quantity, message.new_price, restated=True)
    if (message.quantity, message.average_price) != (message.new_quantity, message.new_price):
        _adjust(state, slot, symbol, -message.quantity, message.average_price, "restated:before")
        _adjust(state, slot, symbol, message.new_quantity, message.new_price, "restated:now")
    plan = state.slots[slot].plan
    if plan is not None:
        state.outputs.write(PlanRow(plan.algo_run_id, symbol, state.now, None, None))
    state.tell_protection(slot, symbol, position)
    state.quarantine.set_apart(slot, symbol, message.text)
    state.outputs.warn("ERROR", f"{symbol}: {message.text}")


def on_splits(state: DeskState, splits: Mapping[str, Decimal]) -> None:
    """Bring positions and their plans to the terms after splits (new shares per old one) that are certain."""
    for slot, symbol, position in state.positions.open():
        if (ratio := splits.get(symbol)) is None:
            continue
        signed = after_split(position.quantity, ratio) - position.quantity
        _adjust(state, slot, symbol, signed, ZERO, f"split:{state.terms.hours.day}")
        state.positions.take(slot, symbol, signed, ZERO, traded=False)
        planned = position.planned_stop, position.planned_target
        position.planned_stop, position.planned_target = (price and round(price / ratio, 6) for price in planned)
        if any(planned):
            state.write_plan(slot, symbol, position)
    for symbol in splits.keys() & state.positions.marks.keys():
        state.positions.see(symbol, state.positions.marks[symbol] / splits[symbol])


def found_again(state: DeskState, slot: int, symbol: str) -> None:
    """Forget that a slot's position was missing: a later look at the account, before its books were opened, shows it."""
    if state.quarantine.found_again(slot, symbol) and not state.quarantine.lift(symbol):
        state.outputs.warn(
            "WARNING", f"{symbol}: the account shows what {state.slots[slot].strategy} held; entries are allowed"
        )


def write_off(state: DeskState) -> None:
    """Record as gone what was missing all session and not resolved, so that no later session looks for it.

    What the account shows after all stays in the record, and so does everything if it was never compared.
    """
    view = state.broker_view
    if not view.opened:
        return
    beyond: dict[str, Decimal] = {}
    for place, lost in list(state.quarantine.missing.items()):
        symbol = lost.symbol
        seen = view.suspects.get(symbol, view.differences.get(symbol, ZERO))  # the newest comparison, believed or not
        there = beyond.setdefault(symbol, view.foreign.get(symbol, ZERO) + seen)
        kept = min(abs(there), abs(lost.quantity)).copy_sign(there) if there * lost.quantity > 0 else ZERO
        beyond[symbol] -= kept
        gone = lost.quantity - kept
        if gone:
            state.quarantine.write_off(place)
            _adjust(state, lost.slot, symbol, -gone, lost.average_price, "gone")
            text = (
                f"{plain(gone)} shares that are not in the account are written down as gone, at {lost.average_price} $"
            )
            state.outputs.warn("WARNING", f"{symbol}: {text}; what they brought in is not known here")


def _adjust(state: DeskState, slot: int, symbol: str, signed: Decimal, price: Decimal, why: str) -> None:
    """Write an execution that never was, under a name that no batch writes twice."""
    plan = state.slots[slot].plan
    if plan is None or not signed:
        return
    name = f"{why}:{state.terms.batch_id}:{slot}:{symbol}"
    state.outputs.write(
        TradeRow(
            execution_id=name,
            client_order_id=name,
            algo_run_id=plan.algo_run_id,
            symbol=symbol,
            operation="buy" if signed > 0 else "sell",
            quantity=abs(signed),
            price=price,
            fee=ZERO,
            at=state.now,
            indicators={"adjusted": why},
            planned_stop=None,
            planned_target=None,
        )
    )
