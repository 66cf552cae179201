"""Recovery of a batch: from record and broker after its journal was lost, and of rows that were never stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec

from liualgotrader.common.clock import HOUR, MINUTE, WallClock
from liualgotrader.common.money import plain
from liualgotrader.common.order_id import OrderId, batch_part
from liualgotrader.common.orders import BrokerExecution, BrokerOrder, OrderState, UnreadRow, with_legs
from liualgotrader.common.ports import Broker, Store
from liualgotrader.common.rows import EarlierOrder, OrderEventRow, RecordedBatch, Row
from liualgotrader.common.session_plan import SessionPlan
from liualgotrader.order_gateway.broker_calls import EVERY_OPEN_ORDER, usable_but
from liualgotrader.order_gateway.carry_over import carries, recorded_positions
from liualgotrader.order_gateway.journaled_desk import JOURNAL_FILE, JournaledDesk
from liualgotrader.orders.desk_messages import Carried, Recovered

MARKET_GONE = "its simulated market is gone"
_LOOK_BACK = 24 * HOUR


async def recovered(plan: SessionPlan, store: Store, broker: Broker, now: int) -> Recovered:
    """Return what record and broker have of the batch; `seen` is empty if the broker has nothing of it.

    Raises:
        OutsideError: if broker or database do not answer.
    """
    record = await store.recorded(plan.batch_id)
    seen = await _at_broker(plan, record, broker, now)
    ours = {order.broker_order_id: order for order in with_legs(seen)}
    executions: Sequence[BrokerExecution] = ()
    if any(order.filled_quantity for order in ours.values()):
        since = min(order.submitted_at for order in ours.values()) - MINUTE
        asked = broker.executions(since=since)
        executions = await usable_but(lambda row: row.broker_order_id in ours or not row.broker_order_id, asked)
    opened = bool(record.foreign) or any(left.order.batch_id == plan.batch_id for left in record.orders)
    carried: list[Carried] = await recorded_positions(plan, store) if opened and carries(plan) else []
    return Recovered(record, seen, tuple(e for e in executions if e.broker_order_id in ours), tuple(carried), opened)


async def _at_broker(plan: SessionPlan, record: RecordedBatch, broker: Broker, now: int) -> tuple[BrokerOrder, ...]:
    """Return the broker's orders that are the batch's, by id or in the place of one that is, oldest first."""
    opens_at = plan.hours.opens_at
    since = (min(now, opens_at) if opens_at > 0 else now) - _LOOK_BACK
    recorded = [left.order for left in record.orders]
    names = {order.client_order_id for order in recorded}
    ids = {order.broker_order_id for order in recorded if order.broker_order_id}
    over = [order for order in recorded if OrderState(order.state).is_final]
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
    never_there = {  # never sent, or declined at once: there may be hundreds
        order.client_order_id
        for order in recorded
        if order.state == OrderState.REFUSED or (order.state == OrderState.REJECTED and not order.broker_order_id)
    }
    for name in sorted(names - never_there - {order.client_order_id for order in with_legs(seen)}):
        if (view := await broker.order_by_client_id(name)) is not None:
            found[view.broker_order_id] = view
    mine: list[BrokerOrder] = []
    for order in sorted(found.values(), key=lambda o: o.submitted_at):
        if is_of_batch(order.client_order_id) or order.broker_order_id in ids or order.replaces in ids:
            ids |= {one.broker_order_id for one in with_legs([order])}
            mine.append(order)
    return tuple(mine)


async def store_left_over(journal_dir: Path, batch_id: str, store: Store) -> int:
    """Store the rows that the journal in `journal_dir` leads to and the database lacks; return how many there were.

    No gateway may serve the batch meanwhile. Safe to repeat.

    Raises:
        DatabaseUnavailable: if the server cannot be reached.
        OutsideError: if a gateway still writes that journal, or the disk fails.
        JournalDamaged: if records that had been on disk are broken.
        RecordDiffers: if the journal does not lead to what is stored.
    """
    if not (journal_dir / JOURNAL_FILE).exists():
        return 0
    with closing(JournaledDesk(journal_dir, WallClock())) as journaled:
        before = await store.progress(batch_id)
        end = await store.apply(batch_id, [row for _, row in journaled.rows], journaled.begins_after)
        return end.number - before.number


async def close_with_the_market(environment: str, alive: Collection[str], store: Store, at: int) -> list[str]:
    """Write the end of every order whose simulated market is gone, and return a sentence for each batch of them.

    `alive` are the batches that may still be resumed, or run just now.
    """
    left: dict[str, list[EarlierOrder]] = defaultdict(list)
    for one in await store.unfinished_orders(environment, ""):
        if one.order.batch_id not in alive:
            left[one.order.batch_id].append(one)
    said: list[str] = []
    for batch_id, orders in left.items():
        rows: list[Row] = []
        for one in orders:
            name = one.order.client_order_id
            rows.append(OrderEventRow(name, one.events + 1, "market_gone", at, {"state": one.order.state}))
            ended = {"state": str(OrderState.CANCELED), "reason": MARKET_GONE, "updated_at": at}
            rows.append(msgspec.structs.replace(one.order, **ended))
        await store.apply(batch_id, rows, await store.progress(batch_id))
        held: dict[str, Decimal] = defaultdict(Decimal)
        for trade in await store.trades(batch_id):
            held[trade.symbol] += trade.quantity if trade.operation == "buy" else -trade.quantity
        names = ", ".join(one.order.client_order_id for one in orders)
        positions = ", ".join(f"{plain(shares):+f} {symbol}" for symbol, shares in sorted(held.items()) if shares)
        said.append(
            f"orders of batch {batch_id} that were working when its simulated market was lost are closed in the record:"
            f" {names} ({MARKET_GONE})" + (f"; it held {positions}" if positions else "")
        )
    return said
