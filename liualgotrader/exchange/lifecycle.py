"""What happens to orders: they execute, end, and pull their exits with them.

Everything a happening changes is changed before its first update is written.
"""

from __future__ import annotations

from collections import deque

from liualgotrader.common.clock import as_utc
from liualgotrader.common.orders import Side
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.exchange_values import Activity, Execution
from liualgotrader.exchange.fills import Offer
from liualgotrader.exchange.units import CENT_VALUE, dollars, price, shares
from liualgotrader.exchange.venue import ExchangeVenue


class Lifecycle:
    """The steps of orders after acceptance. `activated` are exits that begin to work and wait to be matched."""

    def __init__(self, venue: ExchangeVenue) -> None:
        self._venue = venue
        self.activated: deque[ExchangeOrder] = deque()

    # --- executions

    def execute(self, order: ExchangeOrder, offer: Offer, *, synthetic: bool = False) -> None:
        """Book an execution: order, position, cash, siblings, activity; then tell."""
        venue, (at_price, quantity) = self._venue, offer
        ledger = venue.accounts[order.account_id].ledger
        done = order.wanted(at_price, spent=quantity, spent_value=quantity * at_price) == 0
        if done and (sibling := venue.orders.get(order.sibling_id or "")):
            self.refuse_replacement(sibling)
        fee = self._fee(order, quantity, at_price)
        position = ledger.book(order.symbol, order.sign * quantity, at_price, fee, venue.session_number)
        order.filled += quantity
        order.filled_value += quantity * at_price
        order.fee += fee
        order.executions += 1
        self._step(order, done=done)
        execution = self._execution(order, offer, fee, position, synthetic=synthetic)
        ledger.activities.append(_activity(execution, done=done))
        happened = self._exits_after(order, quantity, done=done)
        for one in (order, *(other for _, other in happened)):
            venue.recount(one)
        venue.emit("fill" if done else "partial_fill", order, execution)
        for event, other in happened:
            venue.emit(event, other)

    def _step(self, order: ExchangeOrder, *, done: bool) -> None:
        venue = self._venue
        if done:
            order.become("filled", venue.now)
            self._stop_working(order)
        elif order.status == "pending_replace":
            order.updated_at = venue.now  # it stays so until the replacement is decided
        else:
            order.become("partially_filled", venue.now)

    def _fee(self, order: ExchangeOrder, quantity: int, at_price: int) -> int:
        """Return what an execution costs; never less than nothing, even if rates have fallen since the order began."""
        filled, filled_value = order.filled + quantity, order.filled_value + quantity * at_price
        day = self._venue.session.day
        total = self._venue.rules.fees.total(order.side, shares(filled), dollars(filled_value), day)
        return max(int(total * 100) * CENT_VALUE - order.fee, 0)

    def _execution(self, order: ExchangeOrder, offer: Offer, fee: int, position: int, *, synthetic: bool) -> Execution:
        done = order.status == "filled"
        return Execution(
            execution_id=self._venue.new_id("execution", order.id, order.executions),
            order_id=order.id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=shares(offer.quantity),
            price=price(offer.price),
            fee=dollars(fee),
            at=self._venue.now,
            cumulative_quantity=shares(order.filled),
            leaves_quantity=shares(0 if done else order.wanted(offer.price)),
            position_quantity=shares(position),
            order_status="filled" if done else "partially_filled",
            synthetic=synthetic,
        )

    # --- exits

    def _exits_after(self, order: ExchangeOrder, quantity: int, *, done: bool) -> list[tuple[str, ExchangeOrder]]:
        """Shrink or cancel the sibling of an exit that traded, let the exits of a filled entry work."""
        venue = self._venue
        happened: list[tuple[str, ExchangeOrder]] = []
        sibling = venue.orders.get(order.sibling_id or "")
        if sibling is not None and sibling.is_open:
            assert sibling.quantity is not None
            if done:
                happened += self._end_one(sibling, "canceled", "the other exit was filled")
            else:
                sibling.quantity -= quantity
                sibling.updated_at = venue.now
                happened.append(("restated", sibling))
        if done and order.role == "entry":
            free = venue.closable(order)
            happened += [("new", self._activate(venue.orders[leg], order, free)) for leg in order.child_ids]
        return happened

    def _activate(self, exit_order: ExchangeOrder, entry: ExchangeOrder, free: int) -> ExchangeOrder:
        """Let an exit work, for `free` shares at most: others were sold, or are being sold, while the entry worked."""
        venue = self._venue
        assert exit_order.quantity is not None
        exit_order.quantity = min(exit_order.quantity, exit_order.lot(free))
        exit_order.expires_at = exit_order.expires_at or entry.expires_at
        exit_order.become("new", venue.now)
        exit_order.arrived, exit_order.working_at = True, venue.now
        venue.market(exit_order.symbol).add(exit_order)
        self.activated.append(exit_order)
        return exit_order

    # --- ends

    def end(self, order: ExchangeOrder, status: str, reason: str = "") -> None:
        """End an order (canceled, expired, rejected, replaced) and the exits that hang on it; then tell."""
        others: list[ExchangeOrder] = []
        if status != "replaced":
            others = [o for o in self.group(order) if o is not order and o.is_open]
            for one in (order, *others):
                self.refuse_replacement(one)
        happened = self._end_one(order, status, reason)
        for other in others:
            happened += self._end_one(other, "expired" if status == "expired" else "canceled", reason)
        for event, ended in happened:
            self._venue.emit(event, ended)

    def _end_one(self, order: ExchangeOrder, status: str, reason: str) -> list[tuple[str, ExchangeOrder]]:
        venue = self._venue
        if order.status == "pending_cancel" and status == "expired":
            status = "canceled"
        order.become(status, venue.now)
        order.reason = order.reason or reason
        self._stop_working(order)
        return [(status, order)]

    def refuse_replacement(self, order: ExchangeOrder) -> None:
        """Reject the replacement under way for an order, if there is one, because the order ends or has ended."""
        venue = self._venue
        successor = venue.orders.get(order.successor_id or "")
        if successor is None:
            return
        order.successor_id = None
        if order.status == "pending_replace":
            order.back(venue.now)
        successor.become("rejected", venue.now)
        successor.reason = f"order {order.id} traded or ended before it could be replaced"
        venue.accounts[successor.account_id].open.pop(successor.id, None)
        venue.recount(order)
        venue.recount(successor)
        venue.emit("order_replace_rejected", order)
        venue.emit("rejected", successor)

    def _stop_working(self, order: ExchangeOrder) -> None:
        venue = self._venue
        venue.accounts[order.account_id].open.pop(order.id, None)
        venue.recount(order)
        if market := venue.markets.get(order.symbol):
            market.remove(order)

    def group(self, order: ExchangeOrder) -> list[ExchangeOrder]:
        """Return the order, its parent and its exits, parent first."""
        orders = self._venue.orders
        parent = orders[order.parent_id] if order.parent_id else order
        return [parent, *(orders[leg] for leg in parent.child_ids)]


def _activity(execution: Execution, *, done: bool) -> Activity:
    stamp = as_utc(execution.at)
    return Activity(
        id=f"{stamp:%Y%m%d%H%M%S}{stamp.microsecond // 1000:03d}::{execution.execution_id}",
        at=execution.at,
        type="fill" if done else "partial_fill",
        symbol=execution.symbol,
        side=Side(execution.side),
        price=execution.price,
        quantity=execution.quantity,
        cumulative_quantity=execution.cumulative_quantity,
        leaves_quantity=execution.leaves_quantity,
        order_id=execution.order_id,
        order_status=execution.order_status,
        execution_id=execution.execution_id,
        fee=execution.fee,
    )
