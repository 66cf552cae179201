"""What a gateway whose journal is new, or behind the record, has to know first: the batch as record and broker have it."""

from __future__ import annotations

from collections.abc import Iterable

from liualgotrader.common.clock import HOUR, MINUTE
from liualgotrader.common.order_id import OrderId, batch_part
from liualgotrader.common.orders import BrokerExecution, BrokerOrder
from liualgotrader.common.ports import Broker, Store
from liualgotrader.common.rows import RecordedBatch
from liualgotrader.common.session_plan import SessionPlan
from liualgotrader.order_gateway.broker_calls import EVERY_OPEN_ORDER
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
    found = {o.broker_order_id: o for o in await broker.orders(since=EVERY_OPEN_ORDER, open_only=True)}
    found |= {o.broker_order_id: o for o in await broker.orders(since=since)}
    names = {one.order.client_order_id for one in record.orders}
    ids = {one.order.broker_order_id for one in record.orders if one.order.broker_order_id}
    shown = {o.client_order_id for o in _with_legs(found.values())}
    for name in sorted(names - shown):
        if (view := await broker.order_by_client_id(name)) is not None:
            found[view.broker_order_id] = view
    batch = batch_part(plan.batch_id)
    mine: list[BrokerOrder] = []
    for order in sorted(found.values(), key=lambda o: o.submitted_at):
        own = OrderId.parse(order.client_order_id)
        ours = order.client_order_id in names or (own is not None and own.batch == batch)
        if ours or order.broker_order_id in ids or order.replaces in ids:
            ids |= {one.broker_order_id for one in _with_legs([order])}
            mine.append(order)
    return tuple(mine)


async def _executions_of(seen: Iterable[BrokerOrder], broker: Broker) -> tuple[BrokerExecution, ...]:
    ours = list(_with_legs(seen))
    if not any(order.filled_quantity for order in ours):
        return ()
    ids = {order.broker_order_id for order in ours}
    executions = await broker.executions(since=min(order.submitted_at for order in ours) - MINUTE)
    return tuple(execution for execution in executions if execution.broker_order_id in ids)


def _with_legs(orders: Iterable[BrokerOrder]) -> Iterable[BrokerOrder]:
    for order in orders:
        yield order
        yield from order.legs
