"""What the broker says about orders, by whatever way and in whatever order it arrives.

A view of an order never takes its state back: steps that the table does not know are passed over, and a
view older than one already seen tells only what has filled. An order ends when all its fills are booked.
"""

from __future__ import annotations

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.money import plain
from liualgotrader.common.order_id import OrderId
from liualgotrader.common.orders import (
    BrokerExecution,
    BrokerOrder,
    BrokerUpdate,
    OrderIntent,
    OrderState,
    OrderType,
)
from liualgotrader.orders.alarms import Due
from liualgotrader.orders.cancels import ask_cancel, not_cancelled, not_replaced, want_cancel
from liualgotrader.orders.closing import market_has_closed
from liualgotrader.orders.desk_messages import Answer, BrokerRequest, OrderFound, Outcome
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.intents import WORKING, parent_of, take_number
from liualgotrader.orders.order import DeskOrder, Origin, with_terms
from liualgotrader.orders.reconcile_asking import ask_reconcile
from liualgotrader.orders.states import OF_BROKER, OrderStep

LOOK_UPS = 8  # how often an order that the broker does not know is looked for before it is given up
RESENDS = 2  # how often it is sent again under the same id meanwhile, while its intent is valid
FIRST_WAIT = SECOND // 20  # machine time; doubled with every look-up
LONGEST_WAIT = 10 * SECOND
LARGEST_GAP = 1000  # a larger step in the stream's numbers is not a gap but another way of counting
ID_TAKEN = "client_order_id must be unique"


def on_update(ledger: DeskState, update: BrokerUpdate) -> None:
    """Take in one message of the order stream."""
    _count(ledger, update.sequence)
    order = find(ledger, update.order)
    if order is None:
        return
    see(ledger, order, update.order, update.execution)
    if update.event == "order_cancel_rejected" and order.state is OrderState.PENDING_CANCEL:
        not_cancelled(ledger, order)
    elif update.event == "order_replace_rejected":
        not_replaced(ledger, order)


def _count(ledger: DeskState, sequence: int) -> None:
    state = ledger.reconciling
    if sequence and state.sequence and 1 < sequence - state.sequence < LARGEST_GAP:
        ask_reconcile(ledger)
    state.sequence = max(state.sequence, sequence)


def find(ledger: DeskState, seen: BrokerOrder) -> DeskOrder | None:
    """Return our order behind the broker's, adopted if it is ours and unknown; None if it is not ours."""
    orders = ledger.orders
    before = orders.expected.pop(seen.broker_order_id, None) or orders.of_broker(seen.replaces)
    known = orders.of_broker(seen.broker_order_id) or orders.by_id.get(seen.client_order_id)
    if known is not None:
        return None if _is_another(ledger, known, seen) else known
    if before is not None:
        order = _adopt(ledger, seen, before.slot, before)
        settle(ledger, before)  # its end has waited for this
        return order
    own = OrderId.parse(seen.client_order_id)
    return _adopt(ledger, seen, own.slot, None) if own is not None and own.batch == ledger.batch else None


def _is_another(ledger: DeskState, order: DeskOrder, seen: BrokerOrder) -> bool:
    """Whether the broker has something else under our id, as it can after our files were lost: nothing of it is booked."""
    if (order.symbol, order.side) == (seen.symbol, seen.side):
        return False
    if seen.broker_order_id not in ledger.reconciling.strangers:
        ledger.reconciling.strangers.add(seen.broker_order_id)
        other = f"{seen.side} {plain(seen.quantity)} {seen.symbol}, {plain(seen.filled_quantity)} filled"
        what = f"the broker has another order under the id {seen.client_order_id} ({other})"
        ledger.warn("ERROR", f"{what} than ours, to {order.side} {order.symbol}: look at it there")
    return True


def see(ledger: DeskState, order: DeskOrder, seen: BrokerOrder, execution: BrokerExecution | None = None) -> None:
    """Take in the broker's view of an order, and the execution it came with."""
    lost = order.state is OrderState.REJECTED and not order.broker_order_id
    was_waiting = order.awaits_answer
    ledger.orders.name(order, seen.broker_order_id)
    if not order.seen_at:
        _count_from(ledger, order, seen)
    for leg in seen.legs:
        _take_leg(ledger, order, leg)
    is_newest = seen.updated_at >= order.seen_at
    if is_newest and seen.quantity > 0 and seen.quantity - order.offset != order.quantity:
        ledger.resize(order, seen.quantity - order.offset)
    if execution is not None:
        ledger.book(order, execution)
    filled = seen.filled_quantity - order.offset
    if filled > order.told_filled:
        order.told_filled, order.average_told = filled, seen.average_price
    if is_newest:
        # A time far ahead is nonsense, and would make every later view of the order an old one.
        order.seen_at = min(seen.updated_at, ledger.now + MINUTE)
        _step(ledger, order, seen, lost=lost)
    settle(ledger, order)
    if was_waiting and order.state in WORKING:
        _acknowledged(ledger, order)


def _count_from(ledger: DeskState, order: DeskOrder, seen: BrokerOrder) -> None:
    """Some vendors count again what a chain of replacements has filled before this order; it is booked already.

    They show it from the first view on, and in a quantity larger by it than what was still to be filled.
    """
    before = ledger.orders.by_id.get(order.leaves_room_of)
    if before is None:
        return
    filled, more = before.filled + before.offset, seen.quantity - order.quantity
    if seen.filled_quantity == filled and more > 0:
        order.offset = filled


def _step(ledger: DeskState, order: DeskOrder, seen: BrokerOrder, *, lost: bool) -> None:
    if seen.state is OrderState.REPLACED and seen.replaced_by and not ledger.orders.of_broker(seen.replaced_by):
        if seen.replaced_by not in ledger.orders.expected and not ledger.orders.is_replaced(order):
            ask_reconcile(ledger)
        ledger.orders.expected[seen.replaced_by] = order
    if seen.state.is_final:
        if not order.state.is_final:
            order.ending = seen.state
            order.reason = order.reason or (seen.vendor_status if seen.state is OrderState.REJECTED else "")
    elif lost:
        ledger.warn("WARNING", f"{order.client_order_id} had been given up and works at the broker: taking it back")
        ledger.move(order, OrderStep.APPEARED, at=order.seen_at)
        order.cancel_wanted = ""
        want_cancel(ledger, order, "it had been given up as lost")
    else:
        if seen.state is not OrderState.PENDING_REPLACE and not ledger.orders.is_replaced(order):
            not_replaced(ledger, order)  # what a person asked for came to nothing, and nobody told us
        ledger.move(order, OF_BROKER[seen.state], at=order.seen_at)


def settle(ledger: DeskState, order: DeskOrder) -> None:
    """Bring the state up to what is booked: a partial fill, a late complete one, an end that waited for its fills.

    An order that a person has replaced ends when we know by what, so that at no moment nothing seems to work.
    """
    if order.missing:
        ask_reconcile(ledger)
    if order.missing or ledger.orders.waits_for_successor(order):
        ledger.keep(order)
        return
    if order.ending is not None:
        ending, order.ending = order.ending, None
        reason = order.reason if ending is OrderState.REJECTED else ""
        ledger.move(order, OF_BROKER[ending], at=order.seen_at, reason=reason)
        if ending is OrderState.REJECTED:
            _reopen_predecessor(ledger, order)
        return
    if order.filled >= order.quantity:
        ledger.move(order, OrderStep.FILLED, at=order.seen_at)
    elif order.filled and not order.state.is_final:
        ledger.move(order, OrderStep.PARTIALLY_FILLED, at=order.seen_at)
    ledger.keep(order)


def _acknowledged(ledger: DeskState, order: DeskOrder) -> None:
    """The broker has the order: its lifetime begins, and a cancel that waited for this goes out."""
    if order.intent.cancel_after > 0:
        ledger.market.set(ledger.now + order.intent.cancel_after, Due.EXPIRE, order.client_order_id)
    if order.cancel_wanted:
        ask_cancel(ledger, order)


# --- answers to what we asked -----------------------------------------------------------------------


def on_answer(ledger: DeskState, answer: Answer) -> None:
    """Take in how a request ended."""
    order = ledger.orders.by_id.get(answer.client_order_id)
    if answer.request is BrokerRequest.CANCEL:
        if order is not None:
            _cancel_answered(ledger, order, answer)
    elif order is None:
        ledger.warn("ERROR", f"an answer about {answer.client_order_id}, which nobody asked for")
    elif answer.outcome is Outcome.ACCEPTED and answer.order is not None:
        see(ledger, order, answer.order)
    elif answer.outcome is Outcome.SILENCE:
        ledger.move(order, OrderStep.SILENCE, reason=answer.reason)
        ledger.look_up(order)
    elif not order.awaits_answer or order.resent or ID_TAKEN in answer.reason:
        ledger.look_up(order)  # it contradicts what is known, or an earlier attempt has arrived
    else:
        ledger.move(order, OrderStep.REJECTED, reason=answer.reason)
        _reopen_predecessor(ledger, order)


def _cancel_answered(ledger: DeskState, order: DeskOrder, answer: Answer) -> None:
    if answer.outcome is not Outcome.ACCEPTED and not order.is_done:
        ledger.look_up(order)


def _reopen_predecessor(ledger: DeskState, order: DeskOrder) -> None:
    before = ledger.orders.by_id.get(order.leaves_room_of)
    if before is not None and not ledger.orders.is_replaced(before):
        not_replaced(ledger, before)


# --- orders whose fate is not known -----------------------------------------------------------------


def on_found(ledger: DeskState, found: OrderFound) -> None:
    """Take in a look-up's result; nothing is concluded from a look-up that failed."""
    order = ledger.orders.by_id.get(found.client_order_id)
    if order is None:
        return
    order.asked_for = False
    if found.order is not None and _is_another(ledger, order, found.order):
        if order.broker_order_id:  # the broker has taken ours: this answer is wrong
            _look_again(ledger, order)
        else:
            ledger.move(order, OrderStep.REJECTED, reason="its id was used before")
            _reopen_predecessor(ledger, order)
    elif found.order is not None:
        order.lookups = 0
        see(ledger, order, found.order)
        _still_working(ledger, order, found.order)
    elif not found.answered or order.broker_order_id:
        _look_again(ledger, order)
    elif order.awaits_answer:
        _not_there(ledger, order)


def _still_working(ledger: DeskState, order: DeskOrder, seen: BrokerOrder) -> None:
    """The broker's order works although we asked for something else: what we asked did not arrive."""
    if seen.state not in WORKING:
        return
    if order.state is OrderState.PENDING_CANCEL:
        not_cancelled(ledger, order)
    elif not ledger.orders.is_replaced(order):
        not_replaced(ledger, order)


def _not_there(ledger: DeskState, order: DeskOrder) -> None:
    """Send it again under the same id while it is valid; give up only after a request could no longer arrive."""
    may_resend = (
        order.resent < RESENDS
        and not order.leaves_room_of
        and not order.cancel_wanted
        and ledger.machine <= order.intent.valid_until
        and not (order.opening and ledger.conditions)
        and not market_has_closed(ledger)
    )
    if may_resend:
        order.resent += 1
        ledger.note(order, "sent_again", {"times": order.resent})
        ledger.send(order)
    elif order.lookups < LOOK_UPS:
        _look_again(ledger, order)
    else:
        ledger.move(order, OrderStep.NOT_THERE, reason="it never reached the broker")
        _reopen_predecessor(ledger, order)


def _look_again(ledger: DeskState, order: DeskOrder) -> None:
    if order.is_done:
        return
    order.lookups += 1
    wait = min(FIRST_WAIT * 2**order.lookups, LONGEST_WAIT)
    ledger.machine_alarms.set(ledger.machine + wait, Due.LOOK_UP, order.client_order_id)


# --- orders of ours that we did not know ------------------------------------------------------------


def _adopt(ledger: DeskState, seen: BrokerOrder, slot_number: int, before: DeskOrder | None) -> DeskOrder:
    """Take in an order that the broker has under one of our ids, or in the place of one of our orders."""
    slot = ledger.slot(slot_number)
    intent = _intent_of(ledger, seen, slot_number, slot.strategy, before)
    order = DeskOrder(intent, origin=Origin.ADOPTED, opening=True, generation=ledger.generation, at=ledger.now)
    order.opening = ledger.may_open(order)
    details, said = {"vendor_status": seen.vendor_status}, "is at the broker and was not in the journal: adopted"
    if before is not None:
        details |= _replaces_by_hand(order, before, seen)
        said = f"has replaced {before.client_order_id} at the broker, and not by us: it goes on in its place"
    ledger.warn("WARNING", f"{seen.client_order_id} {said}")
    take_number(ledger, order)
    ledger.enter(order, details)
    ledger.move(order, OrderStep.SENT)
    return order


def judge_adopted(ledger: DeskState) -> None:
    """Tell entries and exits apart among adopted orders, now that the fills that came with them are booked."""
    for order in ledger.orders.all_working():
        if order.origin is Origin.ADOPTED and not order.leaves_room_of:
            order.opening = ledger.may_open(order)


def _replaces_by_hand(order: DeskOrder, before: DeskOrder, seen: BrokerOrder) -> dict[str, str]:
    """Put the order into the place of one that a person has replaced, and return what its row is to say of that."""
    order.takes_the_place_of(before)
    before.successor = order.client_order_id
    filled, rest = before.filled + before.offset, before.quantity - before.filled
    if seen.filled_quantity == filled and seen.quantity != rest:  # as in `_count_from`: it counts the chain, not itself
        order.offset = filled
    order.opening = before.opening or seen.quantity - order.offset > rest
    order.cancel_wanted, order.hurry = before.cancel_wanted, before.hurry  # whoever wanted it gone still does
    return {"replaces": before.client_order_id, **parent_of(order)}


def _take_leg(ledger: DeskState, parent: DeskOrder, seen: BrokerOrder) -> None:
    """Register an exit that the broker keeps for a bracket: it trades for the position of its parent."""
    order = find(ledger, seen)
    if order is None:
        intent = _intent_of(ledger, seen, parent.slot, parent.intent.strategy, None)
        order = DeskOrder(intent, origin=Origin.LEG, opening=False, generation=ledger.generation, at=ledger.now)
        order.group = parent.client_order_id
        ledger.enter(order, {"parent": parent.client_order_id})
        ledger.move(order, OrderStep.SENT)
    see(ledger, order, seen)


def _intent_of(ledger: DeskState, seen: BrokerOrder, slot: int, strategy: str, before: DeskOrder | None) -> OrderIntent:
    """Return the intent behind an order of the broker's: what was planned with the one it replaces goes on."""
    if before is not None:
        return with_terms(
            before.intent,
            client_order_id=seen.client_order_id,
            slot=slot,
            quantity=seen.quantity,
            type=seen.type or before.intent.type,
            decided_at=seen.submitted_at,
            valid_until=ledger.machine,
            limit_price=seen.limit_price,
            stop_price=seen.stop_price,
        )
    return OrderIntent(
        client_order_id=seen.client_order_id,
        slot=slot,
        strategy=strategy,
        symbol=seen.symbol,
        side=seen.side,
        quantity=seen.quantity,
        type=seen.type or OrderType.MARKET,
        decided_at=seen.submitted_at,
        valid_until=ledger.machine,
        limit_price=seen.limit_price,
        stop_price=seen.stop_price,
    )
