"""Orders from the record: those of earlier batches, and of this one where the journal is behind the record.

An earlier batch's fills are booked to it; exits of it go on with the position that a slot carries. A desk whose journal
is behind takes orders, executions, positions and stops from the record and numbers its rows on from there. What the
broker knows beyond it is taken in as after any restart. Lifetimes of orders are only in the journal: entries that still
work are taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.order_id import OrderId
from liualgotrader.common.orders import BrokerExecution, BrokerOrder, OrderIntent, OrderState, OrderType, Side
from liualgotrader.common.rows import EarlierOrder, OrderEventRow, OrderRow, PlanRow, RecordedBatch
from liualgotrader.orders.broker_side import find, judge_adopted, see, take_executions
from liualgotrader.orders.closing import take_back_entries
from liualgotrader.orders.desk_messages import Carried, Earlier, Recovered
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.intents import take_number
from liualgotrader.orders.order import DeskOrder, Origin, trade_row, with_terms

TAKEN_BACK = "the journal was lost, and with it the order's lifetime"


def on_earlier(state: DeskState, message: Earlier) -> None:
    """Bring an earlier batch's order up to what the broker says: its executions and its state, in its own rows."""
    left, seen = message.left, message.seen
    known = state.orders.earlier.get(left.order.client_order_id)
    if known is not None and known[1].slot:
        return  # a slot has it: it is followed like any other
    order = known[1] if known is not None else as_recorded(left, seen, message.executions)
    order.broker_order_id = seen.broker_order_id
    order.quantity = seen.quantity - order.offset if seen.quantity > 0 else order.quantity  # as after a split
    order.intent = with_terms(
        order.intent,
        quantity=order.quantity,
        limit_price=seen.limit_price or order.intent.limit_price,
        stop_price=seen.stop_price or order.intent.stop_price,
    )
    before = order.stored_filled, order.state
    for execution in sorted(message.executions, key=lambda e: e.cumulative_quantity):
        _book(state, left, order, execution)
    order.reported_filled = max(order.filled, seen.filled_quantity - order.offset)
    for execution in order.unnamed(seen.average_price or order.average_price or ZERO, seen.updated_at):
        _book(state, left, order, execution)
        if not order.missing:
            break
    order.state, order.updated_at, order.seen_at = seen.state, seen.updated_at, seen.updated_at
    order.replaced_by = seen.replaced_by
    order.reported_filled = order.filled
    state.orders.take_earlier(left, order)
    if before != (order.filled, order.state):
        order.events += 1
        details = {"state": str(order.state), "filled": str(plain(order.filled))}
        state.outputs.write(OrderEventRow(order.client_order_id, order.events, "found", state.now, details))
        state.write(order)


def carry_on(state: DeskState, message: Carried) -> None:
    """Give a slot what its strategy holds from an earlier batch, with its stop and target."""
    position = state.carry(message.slot, message.symbol, message.quantity, message.average_price)
    position.planned_stop, position.planned_target = message.planned_stop, message.planned_target
    state.tell_protection(message.slot, message.symbol, position)


def take_over(state: DeskState, slot: int, symbol: str) -> None:
    """Give a slot that carries a position the exits of it that still work at the broker."""
    strategy, held = state.slots[slot].strategy, state.positions.held(slot, symbol)
    for left, order in state.orders.earlier.values():
        fits = (left.strategy, order.symbol, order.slot) == (strategy, symbol, 0) and held * order.side.sign < 0
        if fits and order.state is OrderState.REPLACED and order.replaced_by:
            order.slot = slot
            state.orders.add_ended(order)
            state.orders.expect(order.replaced_by, order)
        elif fits and not order.state.is_final:
            order.slot = slot
            state.orders.add(order)
            state.note(order, "taken_over", {"batch_id": state.terms.batch_id})


def as_recorded(left: EarlierOrder, seen: BrokerOrder | None, executions: Sequence[BrokerExecution]) -> DeskOrder:
    """Return the order with its recorded fills, placed as the broker's executions say."""
    order, booked = _order(left), left.booked
    order.offset = _counted_again(left.order, seen, executions) if seen is not None else ZERO
    recorded = sum((e.quantity for e in booked), ZERO)
    if recorded >= order.filled:
        order.filled = recorded
        order.booked_value = sum((e.quantity * e.price for e in booked), ZERO)
    order.coverage.executions.update(e.execution_id for e in booked)
    for execution in executions:
        if execution.execution_id in order.coverage.executions:
            high = execution.cumulative_quantity - order.offset
            order.coverage.cover((high - execution.quantity, high))
    order.coverage.place_rest(order.filled)
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


def _order(left: EarlierOrder) -> DeskOrder:
    row = left.order
    intent = OrderIntent(
        client_order_id=row.client_order_id,
        slot=0,  # until a slot takes it over
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
    order = DeskOrder(intent, Origin.EARLIER, row.decided_at)
    order.state, order.events, order.group, order.reason = OrderState(row.state), left.events, left.parent, row.reason
    order.filled = order.stored_filled = row.filled_quantity
    order.booked_value = row.filled_quantity * (row.average_price or ZERO)
    return order


def _book(state: DeskState, left: EarlierOrder, order: DeskOrder, execution: BrokerExecution) -> None:
    if fresh := order.count(execution):
        state.outputs.write(trade_row(order, execution, fresh, left.order.algo_run_id, left.account_id))


def on_recovered(state: DeskState, message: Recovered) -> None:
    """Take in what the record and the broker have of this batch, before anything else but `Begin`."""
    record = message.record
    state.outputs.rows = record.progress.number
    for row in record.foreign:
        state.broker_view.foreign[row.symbol] = row.quantity
    if message.opened:
        state.broker_view.open_books()
    for carried in message.carried:
        carry_on(state, carried)
    views = {name: view for view in message.seen for name in (view.client_order_id, view.broker_order_id)}
    for left in record.orders:
        view = views.get(left.order.broker_order_id or "") or views.get(left.order.client_order_id)
        _restore(state, left, view, message.executions)
    for left in record.orders:
        order = state.orders.by_id[left.order.client_order_id]
        before = state.orders.by_id.get(str(left.began.get("replaces") or ""))
        if before is None or order.state is OrderState.REFUSED:
            continue
        order.takes_the_place_of(before)
        before.successor = order.client_order_id
        if order.origin is Origin.ADOPTED:
            order.opening = before.opening or order.quantity > before.quantity - before.filled
        take_number(state, order)
    _restore_positions(state, record)
    for left in record.orders:
        order = state.orders.by_id[left.order.client_order_id]
        if order.state not in (OrderState.SENT, OrderState.REFUSED):
            state.tell_state(order, order.reason)
    found = [(ours, view) for view in message.seen if (ours := find(state, view)) is not None]
    for ours, view in found:  # those too that the record does not know
        if ours.state is OrderState.REFUSED:
            what = f"{view.client_order_id} works at the broker although it was refused"
            state.outputs.warn("ERROR", f"{what}: look at it there")
        else:
            see(state, ours, view)
    take_executions(state, message.executions)
    judge_adopted(state)
    take_back_entries(state, TAKEN_BACK)


def _restore(
    state: DeskState, left: EarlierOrder, seen: BrokerOrder | None, executions: Sequence[BrokerExecution]
) -> None:
    """Restore an order from its rows. Whether one that was only written was sent, the broker has to say."""
    row, mine = left.order, left.order.batch_id == state.terms.batch_id
    broker_id = row.broker_order_id or (seen.broker_order_id if seen is not None else "")
    order = as_recorded(left, seen, [e for e in executions if e.broker_order_id == broker_id])
    heirs = [slot.slot for slot in state.terms.slots if slot.strategy == left.strategy]
    order.slot = row.slot if mine else min(heirs, default=0)
    order.intent = with_terms(order.intent, slot=order.slot)
    if mine:
        own = OrderId.parse(row.client_order_id)
        if left.first == "adopted":
            order.origin = Origin.ADOPTED
        elif left.parent and "replaces" not in left.began:
            order.origin = Origin.LEG
        else:
            order.origin = Origin.DESK if own is not None and own.own and "as" not in left.began else Origin.STRATEGY
        order.is_leg = bool(left.parent)
        order.opening = left.began.get("as") == "entry"  # of what was adopted, `judge_adopted` and `_join` say it
    else:
        state.orders.take_earlier(left, order)
    order.reported_filled = order.filled
    # The broker's next view is newer, and counts from where this one did.
    order.seen_at = int(bool(row.broker_order_id))
    if order.state is OrderState.PENDING_CANCEL:
        order.cancel_wanted = row.reason or "it was being taken back"
    state.orders.add(order)
    state.orders.name(order, row.broker_order_id or "")
    take_number(state, order)
    state.orders.keep(order)
    recorded = order.state
    order.state = OrderState.REFUSED if recorded is OrderState.REFUSED else OrderState.WRITTEN
    state.tell_state(order, order.reason)
    order.state = OrderState.SENT if recorded is OrderState.WRITTEN else recorded


def _restore_positions(state: DeskState, record: RecordedBatch) -> None:
    """Book the stored executions again, in their order, and put stops and targets where the strategies moved them."""
    slots = {plan.algo_run_id: plan.slot for plan in state.terms.slots}
    moved = {(plan.algo_run_id, plan.symbol): plan for plan in record.plans}
    filled = {left.order.client_order_id: ZERO for left in record.orders}
    for trade in record.trades:
        plan = moved.get((trade.algo_run_id, trade.symbol))
        if plan is not None and plan.at < trade.at:
            _move_plan(state, slots, moved.pop((trade.algo_run_id, trade.symbol)))
        if trade.algo_run_id not in slots:
            continue
        order = state.orders.by_id.get(trade.client_order_id)
        if order is None:  # a position that was restated, or written off
            shares = trade.quantity if trade.operation == "buy" else -trade.quantity
            name = trade.execution_id.rsplit(":", 3)[0]
            state.carry(slots[trade.algo_run_id], trade.symbol, shares, trade.price, name, restated=True)
            continue
        filled[order.client_order_id] += trade.quantity
        shares, name = trade.quantity, trade.execution_id
        execution = order.execution(name, shares, trade.price, trade.at, cumulative=shares, fee=trade.fee)
        state.take(order, execution, shares, filled[order.client_order_id])
    for plan in moved.values():
        _move_plan(state, slots, plan)


def _move_plan(state: DeskState, slots: Mapping[int, int], plan: PlanRow) -> None:
    slot = slots.get(plan.algo_run_id)
    if slot is not None and (position := state.positions.position(slot, plan.symbol)).quantity:
        position.planned_stop, position.planned_target = plan.planned_stop, plan.planned_target
        position.planned_at = plan.at
        state.tell_protection(slot, plan.symbol, position)
