"""Orders that an earlier batch left without a known end: their fills are booked to it, and exits go on with the position."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.order_id import OrderId
from liualgotrader.common.orders import BrokerExecution, BrokerOrder, OrderIntent, OrderState, OrderType, Side
from liualgotrader.common.rows import EarlierOrder, OrderEventRow, OrderRow
from liualgotrader.orders.desk_messages import Earlier
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.order import DeskOrder, Origin, trade_row, with_terms


def on_earlier(ledger: DeskState, told: Earlier) -> None:
    """Bring an earlier batch's order up to what the broker says: its executions and its state, in its own rows."""
    left, seen = told.left, told.seen
    known = ledger.earlier.get(left.order.client_order_id)
    if known is not None and known[1].slot:
        return  # a slot has it: it is followed like any other
    order = known[1] if known is not None else as_recorded(ledger, left, seen, told.executions)
    order.broker_order_id = seen.broker_order_id
    _take_terms(order, seen)
    before = order.stored_filled, order.state
    for execution in sorted(told.executions, key=lambda e: e.cumulative_quantity):
        _book(ledger, left, order, execution)
    order.told_filled = max(order.filled, seen.filled_quantity - order.offset)
    for execution in order.unnamed(seen.average_price or order.average_price or ZERO, seen.updated_at):
        _book(ledger, left, order, execution)
        if not order.missing:
            break
    order.state, order.updated_at, order.seen_at = seen.state, seen.updated_at, seen.updated_at
    order.replaced_by = seen.replaced_by
    order.told_filled = order.filled
    ledger.earlier[left.order.client_order_id] = left, order
    if before != (order.filled, order.state):
        order.events += 1
        details = {"state": str(order.state), "filled": str(plain(order.filled))}
        ledger.write(OrderEventRow(order.client_order_id, order.events, "found", ledger.now, details))
        ledger.store(order)


def _take_terms(order: DeskOrder, seen: BrokerOrder) -> None:
    """The broker adjusts what it keeps over a split: its terms count."""
    order.quantity = seen.quantity - order.offset if seen.quantity > 0 else order.quantity
    order.intent = with_terms(
        order.intent,
        quantity=order.quantity,
        limit_price=seen.limit_price or order.intent.limit_price,
        stop_price=seen.stop_price or order.intent.stop_price,
    )


def take_over(ledger: DeskState, slot: int, symbol: str) -> None:
    """Give a slot that carries a position the exits of it that still work at the broker."""
    strategy, held = ledger.slot(slot).strategy, ledger.books.held(slot, symbol)
    for left, order in ledger.earlier.values():
        fits = (left.strategy, order.symbol, order.slot) == (strategy, symbol, 0) and held * order.side.sign < 0
        if fits and order.state is OrderState.REPLACED and order.replaced_by:
            order.slot = slot
            ledger.orders.by_id[order.client_order_id] = ledger.orders.expected[order.replaced_by] = order
        elif fits and not order.state.is_final:
            order.slot = slot
            ledger.orders.add(order)
            ledger.note(order, "taken_over", {"batch_id": ledger.terms.batch_id})
            ledger.books.touch(symbol)


def as_recorded(
    ledger: DeskState, left: EarlierOrder, seen: BrokerOrder | None, executions: Sequence[BrokerExecution]
) -> DeskOrder:
    """Return the order with what the record has booked of it, at the places that the broker's executions tell."""
    order, booked = _order(ledger, left), left.booked
    order.offset = _counted_again(left.order, seen, executions) if seen is not None else ZERO
    recorded = sum((e.quantity for e in booked), ZERO)
    if recorded >= order.filled:
        order.filled = recorded
        order.booked_value = sum((e.quantity * e.price for e in booked), ZERO)
    order.executions.update(e.execution_id for e in booked)
    for execution in executions:
        if execution.execution_id in order.executions:
            order.cover_again(execution.cumulative_quantity - order.offset, execution.quantity)
    order.cover_lowest()
    return order


def _counted_again(row: OrderRow, seen: BrokerOrder, executions: Sequence[BrokerExecution]) -> Decimal:
    """Return what the broker counts as filled although the order's predecessor did it: some vendors do.

    Its quantity is then larger by it than what was asked for in the order's row, and no execution of it lies there.
    """
    more, own = seen.quantity - row.quantity, OrderId.parse(row.client_order_id)
    if (
        not (seen.replaces or (own is not None and own.replacement))
        or more <= 0
        or seen.filled_quantity < more + row.filled_quantity
    ):
        return ZERO
    first = min((e.cumulative_quantity - e.quantity for e in executions), default=more)
    return more if first >= more else ZERO


def _order(ledger: DeskState, left: EarlierOrder) -> DeskOrder:
    row = left.order
    intent = OrderIntent(
        client_order_id=row.client_order_id,
        slot=0,  # nobody's, until a slot takes it over
        strategy=left.strategy,
        symbol=row.symbol,
        side=Side(row.side),
        quantity=row.quantity,
        type=OrderType(row.type),
        decided_at=row.decided_at,
        valid_until=0,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
        time_in_force=row.time_in_force,
        planned_stop=row.planned_stop,
        planned_target=row.planned_target,
        indicators=row.indicators,
    )
    order = DeskOrder(intent, origin=Origin.EARLIER, opening=False, generation=ledger.generation, at=row.decided_at)
    order.state, order.events, order.group, order.reason = OrderState(row.state), left.events, left.parent, row.reason
    order.filled = order.stored_filled = row.filled_quantity
    order.booked_value = row.filled_quantity * (row.average_price or ZERO)
    return order


def _book(ledger: DeskState, left: EarlierOrder, order: DeskOrder, execution: BrokerExecution) -> None:
    if fresh := order.count(execution):
        ledger.write(trade_row(order, execution, fresh, left.order.algo_run_id, left.account_id))
