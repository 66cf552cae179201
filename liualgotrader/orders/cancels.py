"""Taking orders back: a cancel waits for its order's acknowledgement, and is asked again until it is confirmed."""

from __future__ import annotations

from liualgotrader.common.clock import SECOND
from liualgotrader.common.orders import OrderState
from liualgotrader.orders.alarms import Due
from liualgotrader.orders.desk_messages import Cancel, CancelAll
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.order import DeskOrder
from liualgotrader.orders.states import OrderStep

LONGEST_WAIT = 32  # market seconds between two attempts to cancel


def want_cancel(ledger: DeskState, order: DeskOrder, reason: str, *, patient: bool = False) -> None:
    """Cancel the order as soon as it can be; nothing if it has ended, is ending, or is being cancelled.

    `patient` says that the cancel may wait while very many were asked in the last minute.
    """
    if order.state is OrderState.WRITTEN:  # it waits, the broker does not have it
        ledger.move(order, OrderStep.CANCELED, reason=reason)
        return
    hurries = order.cancel_wanted and not patient and not order.hurry
    if order.state.is_final or order.ending not in (None, OrderState.REPLACED) or (order.cancel_wanted and not hurries):
        return
    order.cancel_wanted = order.cancel_wanted or reason
    order.hurry = order.hurry or not patient
    if order.ending is OrderState.REPLACED:  # what takes its place takes the wish over
        return
    if order.state is not OrderState.PENDING_CANCEL:
        ask_cancel(ledger, order)


def ask_cancel(ledger: DeskState, order: DeskOrder) -> None:
    """Send the cancel if the order's state allows it now; otherwise what changes that calls again."""
    if order.state is OrderState.PENDING_REPLACE:
        following = ledger.orders.by_id[order.successor] if order.successor else None
        if following is not None and not following.state.is_final:  # the broker may have told of it already
            want_cancel(ledger, following, order.cancel_wanted, patient=not order.hurry)
            return
    if order.state.is_final or order.awaits_answer or not order.broker_order_id:
        return
    if not order.hurry and ledger.recent(ledger.cancels) >= ledger.terms.limits.orders_per_minute:
        ledger.market.set(ledger.now + SECOND, Due.CANCEL_AGAIN, order.client_order_id)
        return
    ledger.move(order, OrderStep.CANCEL_ASKED, reason=order.cancel_wanted)
    order.asked_cancels += 1
    ledger.cancels.append(ledger.now)
    ledger.decide(Cancel(order.client_order_id, order.broker_order_id, order.symbol))
    _wake(ledger, order)


def cancel_again(ledger: DeskState, order: DeskOrder) -> None:
    """Nothing came of a cancel for a while: ask again, or first ask what the order's state is."""
    if order.state is OrderState.PENDING_CANCEL:
        ledger.look_up(order)
        _wake(ledger, order)
    elif order.cancel_wanted:
        ask_cancel(ledger, order)


def not_cancelled(ledger: DeskState, order: DeskOrder) -> None:
    """The broker says that the order works on: it does, and the cancel is asked again a little later."""
    ledger.move(order, OrderStep.REOPENED)
    if order.cancel_wanted:
        _wake(ledger, order)


def not_replaced(ledger: DeskState, order: DeskOrder) -> None:
    """The broker did not replace the order: it works on, and a cancel that came meanwhile goes out for it."""
    if order.state is not OrderState.PENDING_REPLACE:
        return
    ledger.move(order, OrderStep.REOPENED)
    following = ledger.orders.by_id.get(order.successor)
    order.cancel_wanted = order.cancel_wanted or (following.cancel_wanted if following is not None else "")
    if order.cancel_wanted:
        ask_cancel(ledger, order)


def expire(ledger: DeskState, order: DeskOrder) -> None:
    """An order's lifetime has passed: take it back."""
    want_cancel(ledger, order, "its lifetime has passed", patient=True)


def cancel_all(ledger: DeskState, reason: str) -> None:
    """Take back every working order."""
    for order in ledger.orders.all_working():
        want_cancel(ledger, order, reason)


def take_back_everything(ledger: DeskState, reason: str, *, whole_account: bool = False) -> None:
    """Take back every order of ours, of other batches too, as one request."""
    before = len(ledger.out)
    cancel_all(ledger, reason)
    decided = ledger.out[before:]
    ledger.out[before:] = [d for d in decided if not isinstance(d, Cancel)]
    wanted = [*(d for d in decided if isinstance(d, Cancel)), *of_other_batches(ledger)]
    if wanted or whole_account:
        ledger.decide(CancelAll(tuple(wanted), whole_account))


def of_other_batches(ledger: DeskState, symbol: str | None = None) -> list[Cancel]:
    """Return a cancel for each order that an earlier batch left open, in one symbol or in all."""
    left = (seen for seen in ledger.orders.other_batches.values() if symbol in (None, seen.symbol))
    return [Cancel(seen.client_order_id, seen.broker_order_id, seen.symbol) for seen in left]


def _wake(ledger: DeskState, order: DeskOrder) -> None:
    wait = min(2**order.asked_cancels, LONGEST_WAIT)
    ledger.market.set(ledger.now + wait * SECOND, Due.CANCEL_AGAIN, order.client_order_id)
