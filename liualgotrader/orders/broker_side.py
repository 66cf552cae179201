"""The broker's answers and updates about orders, in whatever order they arrive.

A view never takes an order's state back: steps that the table does not know are ignored, and from a view older than
one already seen only the filled quantity is taken. An order ends when all its fills are booked.
"""

from __future__ import annotations

from collections.abc import Iterable

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.money import plain
from liualgotrader.common.orders import (
    BrokerExecution,
    BrokerOrder,
    BrokerUpdate,
    OrderIntent,
    OrderState,
    OrderType,
)
from liualgotrader.orders.closing import ask_cancel, market_has_closed, not_cancelled, not_replaced, want_cancel
from liualgotrader.orders.desk_messages import Answer, BrokerRequest, OrderFound, Outcome
from liualgotrader.orders.desk_parts import Due
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.intents import parent_of, take_number
from liualgotrader.orders.order import OF_BROKER, WORKING, DeskOrder, OrderStep, Origin, with_terms

LOOK_UPS = 8  # how often an order that the broker does not know is looked for before it is given up
RESENDS = 2  # how often it is sent again under the same id meanwhile, while its intent is valid
FIRST_WAIT = SECOND // 20  # machine time; doubled with every look-up
LONGEST_WAIT = 10 * SECOND
LARGEST_GAP = 1000  # a larger step in the stream's numbers is not a gap but another way of counting
ID_TAKEN = "client_order_id must be unique"


def on_update(state: DeskState, update: BrokerUpdate) -> None:
    """Take in one message of the order stream."""
    if 1 < state.broker_view.follow_stream(update.sequence) < LARGEST_GAP:
        state.ask_reconcile()
    order = find(state, update.order)
    if order is None:
        return
    if (
        update.event == "restated" and not order.is_done
    ):  # the broker brought it to the prices after a split or a dividend
        prices = {"limit_price": update.order.limit_price, "stop_price": update.order.stop_price}
        order.intent = with_terms(order.intent, **prices)
        state.resize(order, update.order.quantity - order.offset)
    see(state, order, update.order, update.execution)
    if update.event == "order_cancel_rejected" and order.state is OrderState.PENDING_CANCEL:
        not_cancelled(state, order)
    elif update.event == "order_replace_rejected":
        not_replaced(state, order)


def find(state: DeskState, seen: BrokerOrder) -> DeskOrder | None:
    """Return our order behind the broker's, adopted if it is ours and unknown; None if it is not ours."""
    orders = state.orders
    before = orders.replaced_by_others.pop(seen.broker_order_id, None) if orders.replaced_by_others else None
    known = orders.by_broker_id.get(seen.broker_order_id) or orders.by_id.get(seen.client_order_id)
    if known is not None:
        is_ours = known.symbol == seen.symbol and known.side is seen.side
        return known if is_ours or not _is_another(state, known, seen) else None
    before = before or orders.by_broker_id.get(seen.replaces)
    if before is not None:
        order = _adopt(state, seen, before.slot, before)
        catch_up(state, before)  # its end has waited for this
        return order
    own = state.own_id(seen.client_order_id)
    return _adopt(state, seen, own.slot, None) if own is not None else None


def _is_another(state: DeskState, order: DeskOrder, seen: BrokerOrder) -> bool:
    """Whether the broker has something else under our id, as it can after our files were lost: nothing of it is booked."""
    if order.symbol == seen.symbol and order.side is seen.side:
        return False
    if state.broker_view.name_order(seen.broker_order_id):
        other = f"{seen.side} {plain(seen.quantity)} {seen.symbol}, {plain(seen.filled_quantity)} filled"
        what = f"the broker has another order under the id {seen.client_order_id} ({other})"
        state.outputs.warn("ERROR", f"{what} than ours, to {order.side} {order.symbol}: look at it there")
    return True


def see(state: DeskState, order: DeskOrder, seen: BrokerOrder, execution: BrokerExecution | None = None) -> None:
    """Take in the broker's view of an order, and the execution it came with."""
    lost = order.state is OrderState.REJECTED and not order.broker_order_id
    stood = order.state
    if not order.broker_order_id:
        state.orders.name(order, seen.broker_order_id)
    before = state.orders.by_id.get(order.predecessor) if order.predecessor and not order.seen_at else None
    if before is not None and seen.quantity > order.quantity and seen.filled_quantity == before.filled + before.offset:
        order.offset = seen.filled_quantity  # this vendor counts again what the chain of replacements filled before it
    for leg in seen.legs:
        _take_leg(state, order, leg)
    is_newest = seen.updated_at >= order.seen_at
    if is_newest and seen.quantity > 0 and seen.quantity - order.offset != order.quantity:
        state.resize(order, seen.quantity - order.offset)
    if execution is not None:
        state.book(order, execution)
    filled = seen.filled_quantity - order.offset
    if filled > order.reported_filled:
        order.reported_filled, order.reported_average = filled, seen.average_price
    if is_newest:
        # A time far ahead is nonsense, and would make every later view of the order an old one.
        order.seen_at = min(seen.updated_at, state.now + MINUTE)
        _step(state, order, seen, lost=lost)
    catch_up(state, order)
    if stood in (OrderState.SENT, OrderState.UNKNOWN) and order.state in WORKING:
        if order.intent.cancel_after > 0:  # its lifetime begins
            hours = state.terms.hours
            begins_at = hours.next_opens_at if hours.waits(state.now) else state.now
            state.market.set(begins_at + order.intent.cancel_after, Due.EXPIRE, order.client_order_id)
        if order.cancel_wanted:  # it waited for this
            ask_cancel(state, order)


def _step(state: DeskState, order: DeskOrder, seen: BrokerOrder, *, lost: bool) -> None:
    if seen.state is OrderState.REPLACED and seen.replaced_by and not state.orders.by_broker_id.get(seen.replaced_by):
        known = state.orders.expect(seen.replaced_by, order)
        if not known and not state.orders.is_replaced(order):
            state.ask_reconcile()
    if seen.state.is_final:
        if not order.state.is_final:
            order.ending = seen.state
            order.reason = order.reason or (seen.vendor_status if seen.state is OrderState.REJECTED else "")
    elif lost:
        state.outputs.warn(
            "WARNING", f"{order.client_order_id} had been given up and works at the broker: taking it back"
        )
        state.move(order, OrderStep.APPEARED, at=order.seen_at)
        order.cancel_wanted = ""
        want_cancel(state, order, "it had been given up as lost")
    else:
        waits = order.state is OrderState.PENDING_REPLACE
        if waits and seen.state is not OrderState.PENDING_REPLACE and not state.orders.is_replaced(order):
            not_replaced(state, order)  # a person's request failed, and no update said so
        state.move(order, OF_BROKER[seen.state], at=order.seen_at)


def catch_up(state: DeskState, order: DeskOrder) -> None:
    """Bring the state up to what is booked: a partial fill, a late complete one, an end that waited for its fills.

    An order that a person has replaced ends when we know by what, so that at no moment nothing seems to work.
    """
    is_missing = order.reported_filled > order.filled
    if is_missing:
        state.ask_reconcile()
    if is_missing or (order.ending is OrderState.REPLACED and state.orders.waits_for_successor(order)):
        state.orders.keep(order)
        return
    if order.ending is not None:
        ending, order.ending = order.ending, None
        reason = order.reason if ending is OrderState.REJECTED else ""
        state.move(order, OF_BROKER[ending], at=order.seen_at, reason=reason)
        if ending is OrderState.REJECTED:
            _reopen_predecessor(state, order)
        return
    if order.filled >= order.quantity:
        state.move(order, OrderStep.FILLED, at=order.seen_at)
    elif order.filled and not order.state.is_final:
        state.move(order, OrderStep.PARTIALLY_FILLED, at=order.seen_at)


# --- answers to what we asked -----------------------------------------------------------------------


def on_answer(state: DeskState, answer: Answer) -> None:
    """Take in how a request ended."""
    order = state.orders.by_id.get(answer.client_order_id)
    if answer.request is BrokerRequest.CANCEL:
        if order is not None and answer.outcome is not Outcome.ACCEPTED and not order.is_done:
            state.look_up(order)
    elif order is None:
        state.outputs.warn("ERROR", f"an answer about {answer.client_order_id}, which nobody asked for")
    elif answer.outcome is Outcome.ACCEPTED and answer.order is not None:
        see(state, order, answer.order)
    elif answer.outcome is Outcome.SILENCE:
        state.move(order, OrderStep.SILENCE, reason=answer.reason)
        state.look_up(order)
    elif not order.awaits_answer or order.resent or ID_TAKEN in answer.reason:
        state.look_up(order)  # it contradicts what is known, or an earlier attempt has arrived
    else:
        state.move(order, OrderStep.REJECTED, reason=answer.reason)
        _reopen_predecessor(state, order)


def _reopen_predecessor(state: DeskState, order: DeskOrder) -> None:
    before = state.orders.by_id.get(order.predecessor)
    if before is not None and not state.orders.is_replaced(before):
        not_replaced(state, before)


# --- orders whose fate is not known -----------------------------------------------------------------


def on_found(state: DeskState, found: OrderFound) -> None:
    """Take in a look-up's result; nothing is concluded from a look-up that failed."""
    order = state.orders.by_id.get(found.client_order_id)
    if order is None:
        return
    order.asked_for = False
    if found.order is not None and _is_another(state, order, found.order):
        if order.broker_order_id:  # the broker has taken ours: this answer is wrong
            _look_again(state, order)
        else:
            state.move(order, OrderStep.REJECTED, reason="its id was used before")
            _reopen_predecessor(state, order)
    elif found.order is not None:
        order.lookups = 0
        see(state, order, found.order)
        if found.order.state in WORKING:  # then what we asked for did not arrive
            if order.state is OrderState.PENDING_CANCEL:
                not_cancelled(state, order)
            elif not state.orders.is_replaced(order):
                not_replaced(state, order)
    elif not found.answered or order.broker_order_id:
        _look_again(state, order)
    elif order.awaits_answer:
        _not_there(state, order)


def _not_there(state: DeskState, order: DeskOrder) -> None:
    """Send it again under the same id while it is valid; give up only after a request could no longer arrive."""
    may_resend = (
        order.resent < RESENDS
        and not order.predecessor
        and not order.cancel_wanted
        and state.machine <= order.intent.valid_until
        and not (order.opening and state.conditions)
        and not market_has_closed(state)
    )
    if may_resend:
        order.resent += 1
        state.note(order, "sent_again", {"times": order.resent})
        state.send(order)
    elif order.lookups < LOOK_UPS:
        _look_again(state, order)
    else:
        state.move(order, OrderStep.NOT_THERE, reason="it never reached the broker")
        _reopen_predecessor(state, order)


def _look_again(state: DeskState, order: DeskOrder) -> None:
    if order.is_done:
        return
    order.lookups += 1
    wait = min(FIRST_WAIT * 2**order.lookups, LONGEST_WAIT)
    state.machine_alarms.set(state.machine + wait, Due.LOOK_UP, order.client_order_id)


# --- orders of ours that we did not know ------------------------------------------------------------


def _adopt(state: DeskState, seen: BrokerOrder, slot_number: int, before: DeskOrder | None) -> DeskOrder:
    """Take in an order that the broker has under one of our ids, or in the place of one of our orders."""
    slot = state.slots[slot_number]
    intent = _intent_of(state, seen, slot_number, slot.strategy, before)
    order = DeskOrder(intent, Origin.ADOPTED, state.now)
    order.opening = state.may_open(order)
    details, said = {"vendor_status": seen.vendor_status}, "is at the broker and was not in the journal: adopted"
    if before is not None:
        order.takes_the_place_of(before)
        before.successor = order.client_order_id
        filled, rest = before.filled + before.offset, before.quantity - before.filled
        if seen.filled_quantity == filled and seen.quantity != rest:  # as in `see`: it counts the chain, not itself
            order.offset = filled
        order.opening = before.opening or seen.quantity - order.offset > rest
        order.cancel_wanted, order.urgent = before.cancel_wanted, before.urgent  # whoever wanted it gone still does
        details |= {"replaces": before.client_order_id, **parent_of(order)}
        said = f"has replaced {before.client_order_id} at the broker, and not by us: it goes on in its place"
    state.outputs.warn("WARNING", f"{seen.client_order_id} {said}")
    take_number(state, order)
    state.enter(order, details)
    state.move(order, OrderStep.SENT)
    return order


def take_executions(state: DeskState, executions: Iterable[BrokerExecution]) -> None:
    """Book what is new in executions of our orders."""
    for execution in sorted(executions, key=lambda e: (e.at, e.cumulative_quantity)):
        order = state.orders.by_broker_id.get(execution.broker_order_id)
        if order is not None and state.book(order, execution):
            catch_up(state, order)


def judge_adopted(state: DeskState) -> None:
    """Tell entries and exits apart among adopted orders, now that the fills that came with them are booked."""
    for order in state.orders.all_working():
        if order.origin is Origin.ADOPTED and not order.predecessor:
            order.opening = state.may_open(order)


def _take_leg(state: DeskState, parent: DeskOrder, seen: BrokerOrder) -> None:
    """Register an exit that the broker keeps for a bracket: it trades for the position of its parent."""
    order = find(state, seen)
    if order is None:
        intent = _intent_of(state, seen, parent.slot, parent.intent.strategy, None)
        order = DeskOrder(intent, Origin.LEG, state.now)
        order.group = parent.client_order_id
        state.enter(order, {"parent": parent.client_order_id})
        state.move(order, OrderStep.SENT)
    see(state, order, seen)


def _intent_of(state: DeskState, seen: BrokerOrder, slot: int, strategy: str, before: DeskOrder | None) -> OrderIntent:
    """Return the intent behind an order of the broker's: what was planned with the one it replaces goes on."""
    if before is not None:
        planned = before.intent
    else:
        side, type_ = seen.side, OrderType.MARKET
        planned = OrderIntent(seen.client_order_id, slot, strategy, seen.symbol, side, seen.quantity, type_, 0, 0)
    return with_terms(
        planned,
        client_order_id=seen.client_order_id,
        slot=slot,
        quantity=seen.quantity,
        type=seen.type or planned.type,
        time_in_force=seen.time_in_force or planned.time_in_force,
        decided_at=seen.submitted_at,
        valid_until=state.machine,
        limit_price=seen.limit_price,
        stop_price=seen.stop_price,
    )
