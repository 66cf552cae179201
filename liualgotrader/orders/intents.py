"""What consumers ask for: each intent is judged, written down and only then sent.

An intent that comes again (its sender could not know that it had arrived) changes nothing: the news about it was sent,
or is sent again after the `Declare` that precedes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from liualgotrader.common.money import LARGEST, ONE, ZERO, to_tick
from liualgotrader.common.orders import (
    CancelIntent,
    CaughtUp,
    Declare,
    OrderIntent,
    Protect,
    ReplaceIntent,
    Side,
)
from liualgotrader.orders import exits
from liualgotrader.orders.closing import want_cancel
from liualgotrader.orders.desk_books import NOTHING, held_by_exits, worst_price
from liualgotrader.orders.desk_messages import Replace
from liualgotrader.orders.desk_parts import DeskSlot
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.order import DeskOrder, OrderStep, Origin, with_terms
from liualgotrader.orders.risk import FRACTION_DIGITS, NOTHING_BESIDE, Beside, Case, Refused, judge

_SMALLEST_PART = Decimal(1).scaleb(-FRACTION_DIGITS)
_SMALLEST_FIGURE = _SMALLEST_PART / 10
_TERMS = ("quantity", "limit_price", "stop_price")
_PRICES = ("limit_price", "stop_price", "take_profit", "stop_loss")
_PLAN = ("planned_stop", "planned_target")
_FIGURES: Mapping[type, tuple[tuple[str, ...], Callable[[Any], tuple[Decimal | None, ...]]]] = {
    kind: (names, attrgetter(*names))
    for kind, names in (
        (OrderIntent, ("quantity", *_PRICES, *_PLAN, "reference_price")),
        (ReplaceIntent, _TERMS),
        (Protect, _PLAN),
    )
}
Asked = TypeVar("Asked", OrderIntent, ReplaceIntent, Protect)


def on_order(state: DeskState, asked: OrderIntent) -> None:
    """Judge an order; store the answer; if it is yes, send it."""
    if asked.client_order_id in state.orders.by_id:
        return
    sane, problem = _checked(asked)
    intent = on_ticks(sane)
    slot, number = state.slots[intent.slot], state.number_of(intent)
    if number is not None and number >= slot.next_number:
        slot.next_number = number + 1
    if intent.reference_price is not None and intent.reference_price > 0:
        state.positions.see(intent.symbol, intent.reference_price)
    order = DeskOrder(intent, Origin.STRATEGY, state.now)
    case = _approved(state, order, number, problem)
    if case is None:
        return
    state.enter(order, _found(case))
    if order.opening:
        state.send(order)
    else:
        exits.send(state, order)


def on_replace(state: DeskState, asked: ReplaceIntent) -> None:
    """Judge the order as it would be with the new terms; if risk agrees, ask the broker to replace it."""
    asked, problem = _checked(asked)
    named = state.orders.by_id.get(asked.client_order_id)
    if named is None or named.slot != asked.slot or not state.orders.is_new(asked):
        return
    old = state.orders.leaf(named)
    intent = _replaced(state, old, asked, state.replacement_id(state.orders.root(old)))
    order = DeskOrder(intent, Origin.STRATEGY, state.now)
    order.takes_the_place_of(old)
    if reason := state.orders.not_replaceable(old):
        problem = Refused("not_working", f"{old.client_order_id} {reason}")
    case = _approved(state, order, state.number_of(intent), problem)
    if case is None:
        return
    old.successor = order.client_order_id
    state.enter(order, _found(case) | {"replaces": old.client_order_id} | parent_of(order))
    state.move(order, OrderStep.SENT)
    state.move(old, OrderStep.REPLACE_ASKED)
    state.orders.sent.append(state.now)
    judged = msgspec.structs.replace(  # the terms that risk has seen and our row says
        asked,
        quantity=_whole_parts(asked.quantity) if asked.quantity is not None else None,
        limit_price=intent.limit_price if asked.limit_price is not None else None,
        stop_price=intent.stop_price if asked.stop_price is not None else None,
    )
    state.outputs.append(Replace(order.client_order_id, old.broker_order_id, old.symbol, judged))


def parent_of(order: DeskOrder) -> dict[str, str]:
    """Return what the first event of a bracket's exit says: the order that it belongs to."""
    return {"parent": order.group} if order.is_leg else {}


def on_cancel(state: DeskState, asked: CancelIntent) -> None:
    """Take an order back, or whatever has replaced it."""
    order = state.orders.by_id.get(asked.client_order_id)
    if order is not None and order.slot == asked.slot:
        reason = asked.reason or "the strategy took it back"
        want_cancel(state, state.orders.leaf(order), reason, patient=True)


def on_protect(state: DeskState, asked: Protect) -> None:
    """Store the stop and target of a position and echo what is stored; before its first fill they wait for it."""
    asked, problem = _checked(asked)
    if problem is not None:
        state.outputs.warn("WARNING", f"{asked.symbol}: stop and target of slot {asked.slot} stay: {problem.detail}")
        state.tell_protection(asked.slot, asked.symbol, state.positions.position(asked.slot, asked.symbol))
        return
    state.protect(asked.slot, asked.symbol, asked.planned_stop, asked.planned_target, asked.decided_at)


def on_declare(state: DeskState, said: Declare) -> None:
    """Learn what runs in a slot, and send it again what it has not acted on."""
    slot = state.slots[said.slot]
    slot.strategy, slot.day_trade = said.strategy, said.day_trade
    for news in slot.news[max(0, said.last_seq + 1 - slot.first_news) :]:
        state.outputs.tell_again(said.slot, news)
    state.outputs.tell_again(said.slot, CaughtUp(said.slot, slot.next_news - 1, slot.next_number))
    if state.broker_view.account is not None:
        state.outputs.tell_again(said.slot, state.account_news())


def _checked(asked: Asked) -> tuple[Asked, Refused | None]:
    """Return the intent without unusable figures, and the refusal that they call for.

    A Decimal may be NaN, or too large or small for our arithmetic and rows. An unusable reference price is unknown.
    """
    wrong: dict[str, Decimal] = {}
    names, figures_of = _FIGURES[type(asked)]
    for name, value in zip(names, figures_of(asked), strict=True):
        if value and not (value.is_finite() and _SMALLEST_FIGURE <= abs(value) <= LARGEST):
            wrong[name] = value
    if not wrong:
        return asked, None
    left_out = dict.fromkeys(wrong)
    if isinstance(asked, OrderIntent) and "quantity" in wrong:
        left_out["quantity"] = ZERO
    found = [f"{name} {value!s:.40} is no number of use" for name, value in wrong.items() if name != "reference_price"]
    rule = "size" if "quantity" in wrong else "terms"
    return msgspec.structs.replace(asked, **left_out), Refused(rule, ", ".join(found)) if found else None


def _approved(state: DeskState, order: DeskOrder, number: int | None, problem: Refused | None) -> Case | None:
    """Return what risk looked at if it agrees; else, or if there is a problem already, refuse the order."""
    case = _case(state, order, number) if problem is None else None
    refused = judge(case) if case is not None else problem
    if refused is not None:
        state.refuse(order, *refused)
        return None
    order.opening = case is not None and not case.is_exit
    return case


def on_ticks(intent: OrderIntent) -> OrderIntent:
    """Return the intent in terms that an exchange accepts.

    A limit moves away from the market, never towards it; a quantity becomes smaller, never larger. What the rule
    `terms` refuses stays as it is.
    """
    is_plain = intent.limit_price is intent.stop_price is intent.take_profit is intent.stop_loss is None
    if is_plain and intent.quantity.same_quantum(ONE) and intent.symbol.isupper():
        return intent
    down, up = (ROUND_FLOOR, ROUND_CEILING) if intent.side is Side.BUY else (ROUND_CEILING, ROUND_FLOOR)
    changes: dict[str, Any] = {}
    if (quantity := _whole_parts(intent.quantity)) is not intent.quantity:
        changes["quantity"] = quantity
    if not intent.symbol.isupper():
        changes["symbol"] = intent.symbol.upper()
    prices = (intent.limit_price, down), (intent.stop_price, up), (intent.take_profit, up), (intent.stop_loss, down)
    for name, (price, rounding) in zip(_PRICES, prices, strict=True):
        if price is not None and price > 0:
            changes[name] = to_tick(price, rounding)
    return with_terms(intent, **changes) if changes else intent


def take_number(state: DeskState, order: DeskOrder) -> None:
    """See that no id is given twice: neither this order's number nor its place in a count of the desk or of a chain."""
    own = state.own_id(order.client_order_id)
    if own is None:
        return
    slot = state.slots[order.slot]
    slot.next_number = max(slot.next_number, own.number + 1)
    slot.desk_orders = max(slot.desk_orders, own.own)
    if own.replacement:
        root = state.orders.root(state.orders.by_id.get(str(own._replace(replacement=0)), order))
        root.chain = max(root.chain, own.replacement)


def _whole_parts(quantity: Decimal) -> Decimal:
    if quantity.same_quantum(ONE) or -int(quantity.as_tuple().exponent) <= FRACTION_DIGITS:
        return quantity
    return quantity.quantize(_SMALLEST_PART, ROUND_DOWN)


def _replaced(state: DeskState, old: DeskOrder, asked: ReplaceIntent, client_order_id: str) -> OrderIntent:
    """Return the old order's intent with the new terms; the broker counts the quantity with what has filled."""
    was = old.intent
    whole = asked.quantity - old.offset if asked.quantity is not None else old.quantity
    return on_ticks(
        with_terms(
            was,
            client_order_id=client_order_id,
            quantity=_whole_parts(whole) - old.filled,
            limit_price=asked.limit_price if asked.limit_price is not None else was.limit_price,
            stop_price=asked.stop_price if asked.stop_price is not None else was.stop_price,
            decided_at=asked.decided_at,
            valid_until=state.machine,
            reference_price=state.positions.marks.get(was.symbol, was.reference_price),
            reference_at=state.now,
        )
    )


def _case(state: DeskState, order: DeskOrder, number: int | None) -> Case:
    intent, side, symbol, slot, orders = order.intent, order.side, order.symbol, state.slots[order.slot], state.orders
    positions, view = state.positions, state.broker_view
    held = positions.held(order.slot, symbol)
    reduces = held * side.sign < 0
    is_alone = not (
        symbol in orders.working
        or state.conditions
        or state.closings
        or state.closings.flattening
        or state.quarantine.reasons
        or view.unread
        or view.foreign
        or view.differences
        or slot.rejections
        or slot.stopped
        or state.terms.shadow
    )
    beside = NOTHING_BESIDE
    if not is_alone or positions.ours(symbol) != held:
        beside = _beside(state, order, slot, held, leaves=reduces and not order.predecessor)
    mark = positions.valued_at(symbol)
    is_exit = reduces and intent.quantity + beside.bound <= abs(held)
    return Case(
        intent=intent,
        now=state.now,
        machine=state.machine,
        terms=state.terms,
        slot=slot,
        slot_known=slot.plan is not None and number is not None,
        orders=orders,
        held=held,
        is_exit=is_exit,
        leaves=reduces and not order.predecessor,
        price=worst_price(intent, mark) if mark or intent.limit_price is not None else None,
        equity=view.account.equity if view.account is not None else None,
        total=NOTHING if is_exit else positions.total,
        before=NOTHING if is_exit else positions.exposure(symbol),
        after=positions.exposure_with(symbol, order) if intent.quantity > 0 else positions.exposure(symbol),
        beside=beside,
        funds=None if is_exit or not state.funds else state.funds_for(order),
    )


def _beside(state: DeskState, order: DeskOrder, slot: DeskSlot, held: Decimal, *, leaves: bool) -> Beside:
    side, symbol, view, flattening = order.side, order.symbol, state.broker_view, state.closings.flattening
    ours, beyond = state.positions.ours(symbol), view.beyond(symbol)
    bound = leaving = ZERO
    if others := state.orders.in_symbol(symbol):
        others = [o for o in others if not order.excludes(o)]
        beside = exits.staying(state, order) if leaves and others else others
        bound = held_by_exits([o for o in beside if o.slot == order.slot], side)
        leaving = held_by_exits(beside, side)
    closed = [why for s, why in flattening.items() if s in (None, order.slot)] if flattening else ()
    rejected, since = slot.rejections.get((symbol, str(side)), (0, 0))
    return Beside(
        stopped=next(chain(state.conditions.values(), closed), None),
        quarantine=state.quarantine.reasons.get(symbol) or view.unread.get(symbol, ""),
        closing=(order.slot, symbol) in state.closings,
        bound=bound,
        foreign=view.foreign.get(symbol, ZERO),
        other_slots=ours - held,
        lacking=ours * beyond < 0,
        there=ours + beyond,
        leaving=leaving,
        others=[] if leaves else others,
        rejected=rejected,
        rejected_at=since,
    )


def _found(case: Case) -> dict[str, str]:
    """Return the figures that an approval was based on and the strategy's reason, for the record."""
    value = case.price * case.intent.quantity if case.price is not None else ZERO
    return ({"because": case.intent.reason} if case.intent.reason else {}) | {
        "value": f"{value:.2f}",
        "symbol_exposure": f"{case.after.either:.2f}",
        "equity": f"{case.equity:.2f}" if case.equity is not None else "unknown",
        "as": "exit" if case.is_exit else "entry",
    }
