"""The broker's books against ours: what was lost on the way is booked, what does not add up is set apart.

A difference counts when it is seen twice with no fill in between. Then entries in the symbol stop, with a warning;
nothing is ever traded to make the books agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.order_id import PREFIX
from liualgotrader.common.orders import BrokerOrder, with_legs
from liualgotrader.orders import account_state as account
from liualgotrader.orders.broker_side import catch_up, find, judge_adopted, see, take_executions
from liualgotrader.orders.closing import close_what_must_not_stay, of_other_batches, take_back_entries
from liualgotrader.orders.desk_messages import BrokerSnapshot, Cancel, prices_of
from liualgotrader.orders.desk_state import KILL_SWITCH, DeskState
from liualgotrader.orders.order import DeskOrder
from liualgotrader.orders.resolving import HOW_TO_RESOLVE

MISSES = 3  # snapshots without an execution that the order says it had, until its average price is booked instead
WAITING = "reconcile"  # the condition that holds until the first comparison after a start or a new connection
WAITING_TEXT = "the broker's books have not been compared with ours since the start"
UNREAD_TEXT = "the broker's answer about it cannot be read"
RECONNECTED_TEXT = "the broker's books have not been compared with ours since its order stream was away"


def on_snapshot(state: DeskState, snapshot: BrokerSnapshot) -> None:
    """Take in the broker's books."""
    if snapshot.ok:
        account.on_activities(state, snapshot.activities, first=not state.broker_view.compared_at)
        _take_orders(state, snapshot)
        take_executions(state, snapshot.executions)
        judge_adopted(state)
        for order in state.orders.all_working():
            if order.missing:
                order.misses += 1
                if order.misses >= MISSES:
                    _book_by_average(state, order)
        _end_what_nothing_replaces(state, snapshot)
        shown = {o.broker_order_id for o in with_legs(snapshot.orders)} | _unread_ids(snapshot)
        for order in state.orders.all_working():
            if order.broker_order_id and order.broker_order_id not in shown:
                state.look_up(order)
        _compare_positions(state, snapshot)
        _name_what_earlier_batches_left(state)
        account.on_prices(state, prices_of(snapshot.positions))
        if state.broker_view.opened and state.broker_view.is_complete:
            state.condition(WAITING, "", quiet=True)  # else it may have missed what happened before the stream was back
        if KILL_SWITCH in state.conditions:
            # What the kill switch did not know of is taken back, each alone: in bulk, exits sent since would go too.
            take_back_entries(state, state.conditions[KILL_SWITCH])
            state.outputs.extend(of_other_batches(state))
    state.next_reconcile(ok=snapshot.ok)


def relevant(state: DeskState, snapshot: BrokerSnapshot) -> BrokerSnapshot:
    """Return the snapshot without what would change nothing, so that its record stays small."""
    orders: list[BrokerOrder] = []
    replacing: set[str] = set()  # what a person has put in the place of those that bring news comes with them
    for seen in sorted(snapshot.orders, key=lambda o: o.submitted_at):
        if seen.broker_order_id in replacing or _brings_news(state, seen):
            replacing.add(seen.replaced_by)
            orders.append(seen)
    shown = {o.broker_order_id for o in with_legs(orders)}
    booked = {e: state.orders.by_broker_id.get(e.broker_order_id) for e in snapshot.executions}
    executions = tuple(
        execution
        for execution, order in booked.items()
        if (
            execution.broker_order_id in shown
            if order is None
            else execution.execution_id not in order.coverage.executions
        )
    )
    activities = tuple(a for a in snapshot.activities if a.activity_id not in state.broker_view.activities)
    return msgspec.structs.replace(snapshot, orders=tuple(orders), executions=executions, activities=activities)


def _brings_news(state: DeskState, seen: BrokerOrder) -> bool:
    known = state.orders.by_broker_id.get(seen.broker_order_id)
    if known is not None:
        return (
            not known.is_done
            or seen.filled_quantity - known.offset > known.filled
            # A bracket's exits come with their parent, which may have ended long before them.
            or any(
                not state.orders.by_broker_id.get(leg.broker_order_id) or _brings_news(state, leg) for leg in seen.legs
            )
        )
    is_successor = (
        seen.broker_order_id in state.orders.replaced_by_others
        or state.orders.by_broker_id.get(seen.replaces) is not None
    )
    return is_successor or seen.client_order_id.startswith(PREFIX)


def _take_orders(state: DeskState, snapshot: BrokerSnapshot) -> None:
    unread, before = _unread_ids(snapshot), state.orders.other_batches
    others = {name: order for name, order in before.items() if name in unread or "" in unread}
    for view in snapshot.orders:
        order = find(state, view)
        if order is not None:
            see(state, order, view)
        elif view.client_order_id.startswith(PREFIX) and not view.state.is_final:
            others[view.broker_order_id] = view
    state.orders.see_other_batches(others)  # every open order is in the answer


def _unread_ids(snapshot: BrokerSnapshot) -> set[str]:
    """Return the broker's ids of the orders that could not be read; an empty one may be any."""
    return {row.broker_order_id for row in snapshot.unread_orders}


def _name_what_earlier_batches_left(state: DeskState) -> None:
    """Say once after every start which orders of earlier batches work on; one that could open a position is taken back."""
    for seen in state.orders.other_batches.values():
        if not state.broker_view.name_order(seen.broker_order_id):
            continue
        what = f"{seen.side} {plain(seen.quantity - seen.filled_quantity)} {seen.symbol}"
        if state.terms.shadow or state.there(seen.symbol) * seen.side.sign < 0:
            said, do = f"still works at the broker ({what})", "take it back there, or have `liu kill-switch` do it"
            state.outputs.warn(
                "WARNING", f"{seen.client_order_id} of an earlier batch {said} and nobody follows it: {do}"
            )
        else:
            said = f"could still open a position ({what}): taken back"
            state.outputs.warn("WARNING", f"{seen.client_order_id} of an earlier batch {said}")
            state.outputs.append(Cancel(seen.client_order_id, seen.broker_order_id, seen.symbol))


def _end_what_nothing_replaces(state: DeskState, snapshot: BrokerSnapshot) -> None:
    """An order that somebody has replaced by one that the broker does not show, however often it is asked, has ended."""
    unread = _unread_ids(snapshot)
    for order in state.orders.all_working():
        if order.missing or not state.orders.waits_for_successor(order):
            continue
        if "" in unread or any(state.orders.replaced_by_others.get(name) is order for name in unread):
            continue
        order.misses += 1
        state.broker_view.ask_again()
        if order.misses >= MISSES:
            state.orders.expect_no_more(order)
            state.outputs.warn(
                "ERROR", f"{order.client_order_id} was replaced at the broker by an order that it does not show"
            )
            catch_up(state, order)


def _book_by_average(state: DeskState, order: DeskOrder) -> None:
    """Book what the broker counts as filled and shows no execution for, so that the order's average price holds."""
    average = order.reported_average or order.average_price or state.positions.marks.get(order.symbol)
    if not average:
        return
    for missing in order.unnamed(average, order.seen_at or state.now):
        booked = f"{missing.quantity} shares booked at {missing.price}, their average price"
        state.outputs.warn("ERROR", f"{order.client_order_id}: {booked}")
        state.book(order, missing)
    catch_up(state, order)


def _compare_positions(state: DeskState, snapshot: BrokerSnapshot) -> None:
    positions, view = state.positions, state.broker_view
    held = {p.symbol: p.quantity for p in snapshot.positions}
    unread = {row.symbol for row in snapshot.unread_positions}
    symbols = list(unread)
    for row in snapshot.unread_orders:  # those of this batch that may still trade
        known = state.orders.by_broker_id.get(row.broker_order_id) or state.orders.by_id.get(row.client_order_id)
        if known is not None and not known.is_done:
            symbols.append(known.symbol)
        elif known is None and (
            row.broker_order_id in state.orders.replaced_by_others or state.own_id(row.client_order_id)
        ):
            symbols.append(row.symbol)
    view.unread = {symbol: UNREAD_TEXT for symbol in symbols if symbol}
    if not view.opened:
        if "" not in unread:  # else anything that is not stated may be held
            view.open_books(view.unread)
            _record_foreign(state, held, {*held, *positions.symbols()} - view.unopened)
        return
    for symbol in sorted({*held, *positions.symbols(), *view.foreign, *state.quarantine.reasons, *view.unopened}):
        if symbol in view.unread or ("" in unread and symbol not in held):
            view.doubt(symbol, again=False)
        elif (moved := state.has_moved(symbol)) or any(o.missing for o in state.orders.in_symbol(symbol)):
            view.doubt(symbol, again=moved)
        elif view.open_symbol(symbol):
            _record_foreign(state, held, {symbol})
        else:
            _compare_shares(
                state, symbol, held.get(symbol, ZERO) - positions.ours(symbol) - view.foreign.get(symbol, ZERO)
            )


def _record_foreign(state: DeskState, held: Mapping[str, Decimal], symbols: set[str]) -> None:
    """What the account holds beyond us when the batch opens its books is not ours; what it lacks is a difference."""
    for symbol in sorted(symbols):
        ours = state.positions.ours(symbol)
        beyond = held.get(symbol, ZERO) - ours
        if ours * beyond < 0:  # it has left the account since the slot took it up
            _compare_shares(state, symbol, beyond)
        elif beyond:
            state.set_foreign(symbol, beyond)


def _compare_shares(state: DeskState, symbol: str, difference: Decimal) -> None:
    if not difference:
        if state.broker_view.agree(symbol):
            agree, why = f"{symbol}: our books and the broker's agree again", state.quarantine.lift(symbol)
            rest = f", but nothing is opened in it yet: {why}" if why else "; entries are allowed"
            state.outputs.warn("WARNING", agree + rest)
            for slot, where, _ in state.positions.open():  # close what was given up while the account lacked it
                if where == symbol:
                    close_what_must_not_stay(state, slot, symbol)
    elif state.broker_view.differ(symbol, difference):
        word = "more" if difference > 0 else "fewer"
        why = f"the broker holds {plain(abs(difference))} shares {word} than our books say"
        state.quarantine.set(symbol, why)
        state.outputs.warn("ERROR", f"{symbol}: {why}; nothing is opened in it until you {HOW_TO_RESOLVE}")
