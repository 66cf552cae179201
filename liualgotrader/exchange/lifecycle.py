"""What happens to orders: they execute, end, and take their exits with them.

All state changes before the first update of a step is emitted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.exchange_values import Execution
from liualgotrader.exchange.fees import NoFees
from liualgotrader.exchange.units import CENT_VALUE, dollars, price, shares
from liualgotrader.exchange.venue import ExchangeVenue


class Lifecycle:
    """The steps of orders after acceptance. `activated` are exits that begin to work and wait to be matched."""

    def __init__(self, venue: ExchangeVenue) -> None:
        self._venue = venue
        self.activated: deque[ExchangeOrder] = deque()

    # --- executions

    def execute(self, order: ExchangeOrder, at_price: int, quantity: int, *, synthetic: bool = False) -> None:
        """Book an execution: order, position, cash, siblings, activity; then emit the updates."""
        venue = self._venue
        account = venue.accounts[order.account_id]
        ledger = account.ledger
        left = order.wanted(at_price, spent=quantity, spent_value=quantity * at_price)
        done = left == 0
        if done and order.sibling_id and (sibling := venue.orders.get(order.sibling_id)):
            self.refuse_replacement(sibling)
        order.filled += quantity
        order.filled_value += quantity * at_price
        side, filled, fees = order.side, shares(order.filled), venue.rules.fees
        fee = 0
        if not isinstance(fees, NoFees):
            total = fees.total(side, filled, dollars(order.filled_value), venue.day)
            fee = max(int(total * 100) * CENT_VALUE - order.fee, 0)  # rates may have fallen since the order began
        order.fee += fee
        position = ledger.book(order.symbol, order.sign * quantity, at_price, fee, venue.session_number)
        if position < 0:
            account.shorts.add(order.symbol)
        else:
            account.shorts.discard(order.symbol)
        order.executions += 1
        if done:
            order.become("filled", venue.now)
            self._stop_working(order)
        elif order.status == "pending_replace":
            order.updated_at = venue.now  # it stays so until the replacement is decided
        else:
            order.become("partially_filled", venue.now)
        execution = Execution(
            execution_id=f"{order.executions:08x}{order.id[8:]}",  # as unlike any other as the order's
            order_id=order.id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=side,
            quantity=shares(quantity),
            price=price(at_price),
            fee=dollars(fee),
            at=venue.now,
            cumulative_quantity=filled,
            leaves_quantity=shares(left),
            position_quantity=shares(position),
            order_status="filled" if done else "partially_filled",
            synthetic=synthetic,
        )
        account.executions.append(execution)
        has_exits = order.sibling_id is not None or order.role == "entry"
        changed = self._exits_after(order, quantity, done=done) if has_exits else ()
        if not done:  # else it has been recounted when it stopped working
            venue.recount(order)
        for _, other in changed:
            venue.recount(other)
        venue.emit("fill" if done else "partial_fill", order, execution)
        for other_event, other in changed:
            venue.emit(other_event, other)

    # --- exits

    def _exits_after(self, order: ExchangeOrder, quantity: int, *, done: bool) -> Sequence[tuple[str, ExchangeOrder]]:
        """Shrink or cancel the sibling of an exit that traded, let the exits of a filled entry work."""
        venue = self._venue
        changed: list[tuple[str, ExchangeOrder]] = []
        sibling = venue.orders.get(order.sibling_id or "")
        if sibling is not None and sibling.is_open:
            assert sibling.quantity is not None
            if done:
                changed += self._end_one(sibling, "canceled", "the other exit was filled")
            else:
                sibling.quantity -= quantity
                sibling.updated_at = venue.now
                changed.append(("restated", sibling))
        if done and order.role == "entry":
            free = venue.closable(order)  # others were sold, or are being sold, while the entry worked
            for leg in (venue.orders[leg_id] for leg_id in order.child_ids):
                assert leg.quantity is not None
                leg.quantity = min(leg.quantity, leg.lot(free))
                leg.expires_at = leg.expires_at or order.expires_at
                leg.become("new", venue.now)
                leg.arrived, leg.working_at = True, venue.now
                venue.market(leg.symbol).add(leg)
                self.activated.append(leg)
                changed.append(("new", leg))
        return changed

    # --- ends

    def end(self, order: ExchangeOrder, status: str, reason: str = "") -> None:
        """End an order (canceled, expired, rejected, replaced) with the exits tied to it; then emit the updates."""
        others: list[ExchangeOrder] = []
        if status != "replaced":
            others = [o for o in self.group(order) if o is not order and o.is_open]
            for one in (order, *others):
                self.refuse_replacement(one)
        changed = self._end_one(order, status, reason)
        for other in others:
            changed += self._end_one(other, "expired" if status == "expired" else "canceled", reason)
        for event, ended in changed:
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
