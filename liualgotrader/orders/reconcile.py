"""The broker's books against ours: what was lost on the way is booked, what does not add up is set apart.

A difference is only believed when it is seen twice with no fill in between. Then nothing is opened in the
symbol and a person is told; nothing is ever traded to make the books agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.order_id import PREFIX, OrderId
from liualgotrader.common.orders import BrokerExecution, BrokerOrder
from liualgotrader.common.rows import ForeignRow
from liualgotrader.orders import account_state as account
from liualgotrader.orders.broker_side import find, judge_adopted, see, settle
from liualgotrader.orders.cancels import of_other_batches
from liualgotrader.orders.closing import take_back_entries, there_again
from liualgotrader.orders.desk_messages import BrokerSnapshot, Cancel, prices_of
from liualgotrader.orders.desk_state import KILL_SWITCH, DeskState
from liualgotrader.orders.order import DeskOrder
from liualgotrader.orders.reconcile_asking import next_reconcile
from liualgotrader.orders.resolving import HOW_TO_SETTLE

MISSES = 3  # snapshots without an execution that the order says it had, until its average price is booked instead
WAITING = "reconcile"  # the condition that holds until the first comparison after a start or a new connection
WAITING_TEXT = "the broker's books have not been compared with ours since the start"
UNREAD_TEXT = "the broker's answer about it cannot be read"
RECONNECTED_TEXT = "the broker's books have not been compared with ours since its order stream was away"


def on_snapshot(ledger: DeskState, snapshot: BrokerSnapshot) -> None:
    """Take in the broker's books."""
    if snapshot.ok:
        account.on_activities(ledger, snapshot.activities, first=not ledger.reconciling.done_at)
        _take_orders(ledger, snapshot)
        _take_executions(ledger, snapshot.executions)
        judge_adopted(ledger)
        _book_what_is_missing(ledger)
        _end_what_nothing_replaces(ledger, snapshot)
        _ask_for_the_absent(ledger, snapshot)
        _compare_positions(ledger, snapshot)
        _name_what_earlier_batches_left(ledger)
        account.on_prices(ledger, prices_of(snapshot.positions))
        state = ledger.reconciling
        if state.opened and state.connections_then == state.connections:
            ledger.condition(
                WAITING, "", quiet=True
            )  # else it may have missed what happened before the stream was back
        if KILL_SWITCH in ledger.conditions:
            _kill_what_was_not_known(ledger, ledger.conditions[KILL_SWITCH])
    next_reconcile(ledger, ok=snapshot.ok)


def _kill_what_was_not_known(ledger: DeskState, reason: str) -> None:
    """Take back what the kill switch did not know of when it was put on; exits that came since are left alone."""
    take_back_entries(ledger, reason)
    for cancel in of_other_batches(ledger):  # each alone: in bulk, those exits would go too
        ledger.decide(cancel)


def relevant(ledger: DeskState, snapshot: BrokerSnapshot) -> BrokerSnapshot:
    """Return the snapshot without what would change nothing, so that its record stays small."""
    orders = tuple(_telling(ledger, snapshot.orders))
    told = {o.broker_order_id for o in _with_legs(orders)}
    executions = tuple(e for e in snapshot.executions if _is_new(ledger, e, told))
    activities = tuple(a for a in snapshot.activities if a.activity_id not in ledger.activities)
    return msgspec.structs.replace(snapshot, orders=orders, executions=executions, activities=activities)


def _telling(ledger: DeskState, seen: Iterable[BrokerOrder]) -> Iterator[BrokerOrder]:
    """Yield the orders that tell something, oldest first, with what a person has put in their place meanwhile."""
    replacing: set[str] = set()
    for order in sorted(seen, key=lambda o: o.submitted_at):
        if order.broker_order_id in replacing or _tells_something(ledger, order):
            replacing.add(order.replaced_by)
            yield order


def _tells_something(ledger: DeskState, seen: BrokerOrder) -> bool:
    known = ledger.orders.of_broker(seen.broker_order_id)
    if known is not None:
        return (
            not known.is_done
            or seen.filled_quantity - known.offset > known.filled
            or any(_leg_tells_something(ledger, leg) for leg in seen.legs)
        )
    is_successor = seen.broker_order_id in ledger.orders.expected or ledger.orders.of_broker(seen.replaces) is not None
    return is_successor or seen.client_order_id.startswith(PREFIX)


def _leg_tells_something(ledger: DeskState, seen: BrokerOrder) -> bool:
    """A bracket's exits come with their parent, which may have ended long before them."""
    return ledger.orders.of_broker(seen.broker_order_id) is None or _tells_something(ledger, seen)


def _with_legs(orders: Iterable[BrokerOrder]) -> Iterator[BrokerOrder]:
    for order in orders:
        yield order
        yield from order.legs


def _is_new(ledger: DeskState, execution: BrokerExecution, told: set[str]) -> bool:
    order = ledger.orders.of_broker(execution.broker_order_id)
    if order is None:
        return execution.broker_order_id in told
    return execution.execution_id not in order.executions


def _take_orders(ledger: DeskState, snapshot: BrokerSnapshot) -> None:
    unread, before = _unread_ids(snapshot), ledger.orders.other_batches
    others = {name: order for name, order in before.items() if name in unread or "" in unread}
    for view in snapshot.orders:
        order = find(ledger, view)
        if order is not None:
            see(ledger, order, view)
        elif view.client_order_id.startswith(PREFIX) and not view.state.is_final:
            others[view.broker_order_id] = view
    ledger.orders.other_batches = others  # every open order is in the answer


def _unread_ids(snapshot: BrokerSnapshot) -> set[str]:
    """Return the broker's ids of the orders that could not be read; an empty one may be any."""
    return {row.broker_order_id for row in snapshot.unread_orders}


def _name_what_earlier_batches_left(ledger: DeskState) -> None:
    """Say once after every start which orders of earlier batches work on; one that could open a position is taken back."""
    for seen in ledger.orders.other_batches.values():
        if seen.broker_order_id in ledger.reconciling.strangers:
            continue
        ledger.reconciling.strangers.add(seen.broker_order_id)
        what = f"{seen.side} {plain(seen.quantity - seen.filled_quantity)} {seen.symbol}"
        if ledger.terms.shadow or ledger.books.there(seen.symbol) * seen.side.sign < 0:
            left = (
                f"{seen.client_order_id} of an earlier batch still works at the broker ({what}) and nobody follows it"
            )
            ledger.warn("WARNING", f"{left}: take it back there, or have `liu kill-switch` do it")
        else:
            ledger.warn(
                "WARNING",
                f"{seen.client_order_id} of an earlier batch could still open a position ({what}): taken back",
            )
            ledger.decide(Cancel(seen.client_order_id, seen.broker_order_id, seen.symbol))


def _take_executions(ledger: DeskState, executions: Iterable[BrokerExecution]) -> None:
    for execution in sorted(executions, key=lambda e: (e.at, e.cumulative_quantity)):
        order = ledger.orders.of_broker(execution.broker_order_id)
        if order is not None and ledger.book(order, execution):
            settle(ledger, order)


def _book_what_is_missing(ledger: DeskState) -> None:
    for order in ledger.orders.all_working():
        if order.missing:
            order.misses += 1
            if order.misses >= MISSES:
                _book_by_average(ledger, order)


def _end_what_nothing_replaces(ledger: DeskState, snapshot: BrokerSnapshot) -> None:
    """An order that somebody has replaced by one that the broker does not show, however often it is asked, has ended."""
    unread = _unread_ids(snapshot)
    for order in ledger.orders.all_working():
        if order.missing or not ledger.orders.waits_for_successor(order):
            continue
        if "" in unread or any(ledger.orders.expected.get(name) is order for name in unread):
            continue
        order.misses += 1
        ledger.reconciling.again = True
        if order.misses >= MISSES:
            ledger.orders.expected = {name: o for name, o in ledger.orders.expected.items() if o is not order}
            ledger.warn(
                "ERROR", f"{order.client_order_id} was replaced at the broker by an order that it does not show"
            )
            settle(ledger, order)


def _book_by_average(ledger: DeskState, order: DeskOrder) -> None:
    """Book what the broker counts as filled and shows no execution for, so that the order's average price holds."""
    average = order.average_told or order.average_price or ledger.books.marks.get(order.symbol)
    if not average:
        return
    for missing in order.unnamed(average, order.seen_at or ledger.now):
        told = f"{missing.quantity} shares booked at {missing.price}, their average price"
        ledger.warn("ERROR", f"{order.client_order_id}: {told}")
        ledger.book(order, missing)
    settle(ledger, order)


def _ask_for_the_absent(ledger: DeskState, snapshot: BrokerSnapshot) -> None:
    told = {o.broker_order_id for o in _with_legs(snapshot.orders)} | _unread_ids(snapshot)
    for order in ledger.orders.all_working():
        if order.broker_order_id and order.broker_order_id not in told:
            ledger.look_up(order)


def _compare_positions(ledger: DeskState, snapshot: BrokerSnapshot) -> None:
    books, state = ledger.books, ledger.reconciling
    held = {p.symbol: p.quantity for p in snapshot.positions}
    unread = {row.symbol for row in snapshot.unread_positions}
    state.unread = {symbol: UNREAD_TEXT for symbol in (*unread, *_symbols_of_unread_orders(ledger, snapshot)) if symbol}
    if not state.opened:
        if "" in unread:  # whatever is not told may be held
            return
        state.opened, state.unopened = True, set(state.unread)
        _record_foreign(ledger, held, {*held, *books.symbols()} - state.unopened)
        return
    for symbol in sorted({*held, *books.symbols(), *books.foreign, *books.quarantined, *state.unopened}):
        if symbol in state.unread or ("" in unread and symbol not in held):
            state.suspects.pop(symbol, None)
            continue
        if symbol in state.unopened:
            state.unopened.discard(symbol)
            _record_foreign(ledger, held, {symbol})
            continue
        moved = ledger.fills_in.get(symbol, 0) > state.fills_then
        if moved or any(o.missing for o in ledger.orders.in_symbol(symbol)):
            state.suspects.pop(symbol, None)
            state.again = state.again or moved
            continue
        difference = held.get(symbol, ZERO) - books.ours(symbol) - books.foreign.get(symbol, ZERO)
        _weigh(ledger, symbol, difference)


def _symbols_of_unread_orders(ledger: DeskState, snapshot: BrokerSnapshot) -> Iterator[str]:
    """Yield the symbols in which orders of this batch could not be read that may still trade."""
    for row in snapshot.unread_orders:
        known = ledger.orders.of_broker(row.broker_order_id) or ledger.orders.by_id.get(row.client_order_id)
        if known is not None:
            if not known.is_done:
                yield known.symbol
        elif row.broker_order_id in ledger.orders.expected or _is_of_batch(ledger, row.client_order_id):
            yield row.symbol


def _is_of_batch(ledger: DeskState, client_order_id: str) -> bool:
    parsed = OrderId.parse(client_order_id)
    return parsed is not None and parsed.batch == ledger.batch


def _record_foreign(ledger: DeskState, held: dict[str, Decimal], symbols: set[str]) -> None:
    """What the account holds beyond us when the batch opens its books is not ours; what it lacks is a difference."""
    for symbol in sorted(symbols):
        ours = ledger.books.ours(symbol)
        beyond = held.get(symbol, ZERO) - ours
        if ours * beyond < 0:  # it has left the account since the slot took it up
            _weigh(ledger, symbol, beyond)
        elif beyond:
            ledger.books.foreign[symbol] = beyond
            ledger.write(ForeignRow(ledger.terms.batch_id, symbol, beyond, ledger.now))


def _weigh(ledger: DeskState, symbol: str, difference: Decimal) -> None:
    books, suspects = ledger.books, ledger.reconciling.suspects
    if not difference:
        suspects.pop(symbol, None)
        if books.differences.pop(symbol, None) is not None:
            _lift(ledger, symbol)
            there_again(ledger, symbol)
    elif suspects.get(symbol) != difference:
        suspects[symbol] = difference
    elif books.differences.get(symbol) != difference:
        books.differences[symbol] = difference
        word = "more" if difference > 0 else "fewer"
        books.quarantined[symbol] = f"the broker holds {plain(abs(difference))} shares {word} than our books say"
        ledger.warn(
            "ERROR", f"{symbol}: {books.quarantined[symbol]}; nothing is opened in it until you {HOW_TO_SETTLE}"
        )


def _lift(ledger: DeskState, symbol: str) -> None:
    """Allow entries again where the books agree, unless a person has something else to settle there."""
    agree, why = f"{symbol}: our books and the broker's agree again", ledger.books.why_apart(symbol)
    if why:
        ledger.books.quarantined[symbol] = why
        ledger.warn("WARNING", f"{agree}, but nothing is opened in it yet: {why}")
        return
    del ledger.books.quarantined[symbol]
    ledger.warn("WARNING", f"{agree}; entries are allowed")
