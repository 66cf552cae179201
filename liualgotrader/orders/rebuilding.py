"""A desk whose journal is behind the record, built again from what the record and the broker have of the batch.

Orders, executions, positions and stops come from the record, and the rows are numbered on from those it has. What the
broker knows beyond it is taken in as after any restart. Lifetimes of orders are nowhere but in the journal: entries
that still work are taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liualgotrader.common.money import ZERO
from liualgotrader.common.order_id import OrderId
from liualgotrader.common.orders import BrokerExecution, BrokerOrder, OrderState, Side
from liualgotrader.common.rows import EarlierOrder, PlanRow, RecordedBatch, TradeRow
from liualgotrader.orders.broker_side import find, judge_adopted, see, settle
from liualgotrader.orders.closing import take_back_entries
from liualgotrader.orders.desk_messages import Recovered
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.earlier_batches import as_recorded
from liualgotrader.orders.intents import take_number
from liualgotrader.orders.order import DeskOrder, Origin, with_terms

TAKEN_BACK = "the journal was lost, and with it the order's lifetime"


def on_recovered(ledger: DeskState, told: Recovered) -> None:
    """Take in what the record and the broker have of this batch, before anything else but `Begin`."""
    record = told.record
    ledger.rows = record.progress.number
    ledger.books.foreign.update({row.symbol: row.quantity for row in record.foreign})
    ledger.reconciling.opened = told.opened
    for carried in told.carried:
        position = ledger.carry(carried.slot, carried.symbol, carried.quantity, carried.average_price)
        position.planned_stop, position.planned_target = carried.planned_stop, carried.planned_target
        ledger.tell_protection(carried.slot, carried.symbol, position)
    views = {name: view for view in told.seen for name in (view.client_order_id, view.broker_order_id)}
    for left in record.orders:
        _restore(ledger, left, _view_of(left, views), told.executions)
    for left in record.orders:
        _join(ledger, left)
    _restore_positions(ledger, record)
    for left in record.orders:
        order = ledger.orders.by_id[left.order.client_order_id]
        if order.state not in (OrderState.SENT, OrderState.REFUSED):
            ledger.tell_state(order, order.reason)
    _take_in(ledger, told)
    judge_adopted(ledger)
    take_back_entries(ledger, TAKEN_BACK)


# --- orders


def _view_of(left: EarlierOrder, views: Mapping[str, BrokerOrder]) -> BrokerOrder | None:
    return views.get(left.order.broker_order_id or "") or views.get(left.order.client_order_id)


def _restore(
    ledger: DeskState, left: EarlierOrder, seen: BrokerOrder | None, executions: Sequence[BrokerExecution]
) -> None:
    """Take an order in as its rows have it. That it was written down and not sent, nobody knows but the broker."""
    row, mine = left.order, left.order.batch_id == ledger.terms.batch_id
    broker_id = row.broker_order_id or (seen.broker_order_id if seen is not None else "")
    order = as_recorded(ledger, left, seen, [e for e in executions if e.broker_order_id == broker_id])
    order.slot = row.slot if mine else _heir(ledger, left.strategy)
    order.intent = with_terms(order.intent, slot=order.slot)
    if mine:
        order.origin = _origin(left)
        order.is_leg = bool(left.parent)
        order.opening = left.began.get("as") == "entry"  # of what was adopted, `judge_adopted` and `_join` say it
    else:
        ledger.earlier[order.client_order_id] = left, order
    order.told_filled = order.filled
    order.seen_at = (
        1 if row.broker_order_id else 0
    )  # the broker's next view is newer, and counts from where this one did
    if order.state is OrderState.PENDING_CANCEL:
        order.cancel_wanted = row.reason or "it was being taken back"
    ledger.orders.add(order)
    ledger.orders.name(order, row.broker_order_id or "")
    take_number(ledger, order)
    ledger.keep(order)
    recorded = order.state
    order.state = OrderState.REFUSED if recorded is OrderState.REFUSED else OrderState.WRITTEN
    ledger.tell_state(order, order.reason)
    order.state = OrderState.SENT if recorded is OrderState.WRITTEN else recorded


def _origin(left: EarlierOrder) -> Origin:
    if left.first == "adopted":
        return Origin.ADOPTED
    if left.parent and "replaces" not in left.began:
        return Origin.LEG
    own = OrderId.parse(left.order.client_order_id)
    return Origin.DESK if own is not None and own.own and "as" not in left.began else Origin.STRATEGY


def _heir(ledger: DeskState, strategy: str) -> int:
    """Return the slot that carries a strategy's positions, 0 if the plan does not have it any more."""
    return min((slot.slot for slot in ledger.terms.slots if slot.strategy == strategy), default=0)


def _join(ledger: DeskState, left: EarlierOrder) -> None:
    """Put an order into the place of the one that it replaced, or was to replace."""
    order = ledger.orders.by_id[left.order.client_order_id]
    before = ledger.orders.by_id.get(str(left.began.get("replaces") or ""))
    if before is None or order.state is OrderState.REFUSED:
        return
    order.takes_the_place_of(before)
    before.successor = order.client_order_id
    if order.origin is Origin.ADOPTED:
        order.opening = before.opening or order.quantity > before.quantity - before.filled
    take_number(ledger, order)


# --- positions


def _restore_positions(ledger: DeskState, record: RecordedBatch) -> None:
    """Book the stored executions again, in their order, and put stops and targets where the strategies moved them."""
    slots = {plan.algo_run_id: plan.slot for plan in ledger.terms.slots}
    moved = {(plan.algo_run_id, plan.symbol): plan for plan in record.plans}
    filled = {left.order.client_order_id: ZERO for left in record.orders}
    for trade in record.trades:
        plan = moved.get((trade.algo_run_id, trade.symbol))
        if plan is not None and plan.at < trade.at:
            _move_plan(ledger, slots, moved.pop((trade.algo_run_id, trade.symbol)))
        if trade.algo_run_id not in slots:
            continue
        order = ledger.orders.by_id.get(trade.client_order_id)
        if order is None:  # a position that was restated, or written off
            shares = trade.quantity if trade.operation == "buy" else -trade.quantity
            name = trade.execution_id.rsplit(":", 3)[0]
            ledger.carry(slots[trade.algo_run_id], trade.symbol, shares, trade.price, name, restated=True)
            continue
        filled[order.client_order_id] += trade.quantity
        execution = _execution(order, trade)
        ledger.take(order, execution, trade.quantity, filled[order.client_order_id])
    for plan in moved.values():
        _move_plan(ledger, slots, plan)


def _execution(order: DeskOrder, trade: TradeRow) -> BrokerExecution:
    return BrokerExecution(
        execution_id=trade.execution_id,
        broker_order_id=order.broker_order_id,
        symbol=trade.symbol,
        side=Side(trade.operation),
        quantity=trade.quantity,
        price=trade.price,
        fee=trade.fee,
        at=trade.at,
        cumulative_quantity=trade.quantity,
    )


def _move_plan(ledger: DeskState, slots: Mapping[int, int], plan: PlanRow) -> None:
    slot = slots.get(plan.algo_run_id)
    if slot is None:
        return
    position = ledger.books.position(slot, plan.symbol)
    if position.quantity:
        position.planned_stop, position.planned_target, position.planned_at = (
            plan.planned_stop,
            plan.planned_target,
            plan.at,
        )
        ledger.tell_protection(slot, plan.symbol, position)


# --- the broker


def _take_in(ledger: DeskState, told: Recovered) -> None:
    """Take in the broker's views and executions, those of orders that the record does not know too."""
    found = [(order, view) for view in told.seen if (order := find(ledger, view)) is not None]
    for order, view in found:
        if order.state is OrderState.REFUSED:
            ledger.warn(
                "ERROR", f"{view.client_order_id} works at the broker although it was refused: look at it there"
            )
            continue
        see(ledger, order, view)
    for execution in sorted(told.executions, key=lambda e: (e.at, e.cumulative_quantity)):
        known = ledger.orders.of_broker(execution.broker_order_id)
        if known is not None and ledger.book(known, execution):
            settle(ledger, known)
