"""What a gateway whose journal is new, or behind the record, has to know first: the batch as record and broker have it."""

from __future__ import annotations

from collections.abc import Iterable

from liualgotrader.common.clock import HOUR, MINUTE
from liualgotrader.common.order_id import OrderId, batch_part
from liualgotrader.common.orders import BrokerExecution, BrokerOrder, OrderState, UnreadRow
from liualgotrader.common.ports import Broker, Store
from liualgotrader.common.rows import OrderRow, RecordedBatch
from liualgotrader.common.session_plan import SessionPlan
from liualgotrader.order_gateway.broker_calls import EVERY_OPEN_ORDER, usable_but
from liualgotrader.order_gateway.carry_over import carries, recorded_positions
from liualgotrader.orders import Carried, Recovered

_LOOK_BACK = 24 * HOUR


async def recovered(plan: SessionPlan, store: Store, broker: Broker, now: int) -> Recovered:
    """Return what record and broker have of the batch; `seen` is empty if the broker has nothing of it.

    Raises:
        OutsideError: if broker or database do not answer.
    """
    record = await store.recorded(plan.batch_id)
    seen = await _at_broker(plan, record, broker, now)
    opened = bool(record.foreign) or any(left.order.batch_id == plan.batch_id for left in record.orders)
    carried: list[Carried] = await recorded_positions(plan, store) if opened and carries(plan) else []
    return Recovered(record, seen, await _executions_of(seen, broker), tuple(carried), opened)


async def _at_broker(plan: SessionPlan, record: RecordedBatch, broker: Broker, now: int) -> tuple[BrokerOrder, ...]:
    """Return the broker's orders that are the batch's, by id or in the place of one that is, oldest first."""
    opens_at = plan.hours.opens_at
    since = (min(now, opens_at) if opens_at > 0 else now) - _LOOK_BACK
    names = {one.order.client_order_id for one in record.orders}
    ids = {one.order.broker_order_id for one in record.orders if one.order.broker_order_id}
    over = [one.order for one in record.orders if OrderState(one.order.state).is_final]
    ended = {name for order in over for name in (order.client_order_id, order.broker_order_id) if name}
    batch = batch_part(plan.batch_id)

    def is_of_batch(name: str) -> bool:
        parsed = OrderId.parse(name)
        return name in names or (parsed is not None and parsed.batch == batch)

    def is_needed(row: UnreadRow) -> bool:
        name, broker_id = row.client_order_id, row.broker_order_id
        if name in ended or broker_id in ended:
            return False
        return broker_id in ids or is_of_batch(name) or not name

    seen = [
        *await usable_but(is_needed, broker.orders(since=EVERY_OPEN_ORDER, open_only=True)),
        *await usable_but(is_needed, broker.orders(since=since)),
    ]
    found = {order.broker_order_id: order for order in seen}
    shown = {o.client_order_id for o in _with_legs(seen)}
    for name in sorted({one.order.client_order_id for one in record.orders if _may_be_there(one.order)} - shown):
        if (view := await broker.order_by_client_id(name)) is not None:
            found[view.broker_order_id] = view
    mine: list[BrokerOrder] = []
    for order in sorted(found.values(), key=lambda o: o.submitted_at):
        if is_of_batch(order.client_order_id) or order.broker_order_id in ids or order.replaces in ids:
            ids |= {one.broker_order_id for one in _with_legs([order])}
            mine.append(order)
    return tuple(mine)


def _may_be_there(order: OrderRow) -> bool:
    """Whether the broker may know an order: it was sent, and not declined at once."""
    never_there = order.state == OrderState.REFUSED or (
        order.state == OrderState.REJECTED and not order.broker_order_id
    )
    return not never_there


async def _executions_of(seen: Iterable[BrokerOrder], broker: Broker) -> tuple[BrokerExecution, ...]:
    ours = list(_with_legs(seen))
    if not any(order.filled_quantity for order in ours):
        return ()
    ids = {order.broker_order_id for order in ours}
    since = min(order.submitted_at for order in ours) - MINUTE
    executions = await usable_but(lambda row: row.broker_order_id in {*ids, ""}, broker.executions(since=since))
    return tuple(execution for execution in executions if execution.broker_order_id in ids)


def _with_legs(orders: Iterable[BrokerOrder]) -> Iterable[BrokerOrder]:
    for order in orders:
        yield order
        yield from order.legs
