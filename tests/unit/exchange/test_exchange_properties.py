"""What must hold for every course of events."""

from __future__ import annotations

import itertools
from collections import defaultdict
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.events import Quote
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import OrderRequest, Refusal, Update
from liualgotrader.exchange.rules import Rules
from tests.examples import examples
from tests.fakes.exchange import OPEN, SECOND, SESSION, Floor
from tests.fakes.order_flow import CASH, SYMBOLS, fresh, maybe_price, plots, rule_sets, step, symbols

# Table of section 2.2 of the vendor's life cycle, as events of one order see it.
LEGAL = {
    "pending_new": {"accepted", "new", "rejected", "canceled"},
    "accepted": {"new", "canceled", "expired", "rejected"},
    "held": {"new", "canceled", "expired"},
    "new": {"partially_filled", "filled", "pending_cancel", "canceled", "expired", "pending_replace", "replaced", "rejected"},
    "partially_filled": {
        "partially_filled", "filled", "pending_cancel", "canceled", "expired", "pending_replace", "replaced",
    },
    "pending_cancel": {"canceled", "filled", "partially_filled", "new"},
    "pending_replace": {"replaced", "filled", "new", "partially_filled"},
}  # fmt: skip


def act(exchange: Exchange, plot: list[tuple[str, Any]], *, save_at: int = -1) -> list[Update]:
    """Act a plot out, a step a second; refusals are part of it. `save_at`: go on from a saved state after that step."""
    updates: list[Update] = []
    made: list[str] = []
    seconds = 0
    for i, (verb, what) in enumerate(plot):
        seconds += what if verb == "wait" else 1
        at = OPEN + seconds * SECOND
        try:
            step(exchange, made, verb, what, at)
        except Refusal as refusal:
            assert refusal.status in (403, 404, 422)
        exchange.advance(at)
        updates += exchange.take_updates()
        check_account(exchange)
        check_totals(exchange)
        if i == save_at:
            exchange.restore_state(exchange.snapshot_state())
            check_totals(exchange)
    exchange.advance(SESSION.post_closes_at)
    return updates + exchange.take_updates()


def check_account(exchange: Exchange) -> None:
    account = exchange.account("me")
    assert account.equity == account.cash + account.long_market_value + account.short_market_value
    assert account.reserved >= 0
    for position in exchange.positions("me"):
        assert 0 <= position.quantity_available <= abs(position.quantity)


def check_totals(exchange: Exchange) -> None:
    """The running totals are what adding up all open orders gives."""
    venue, account = exchange._venue, exchange._venue.accounts["me"]
    reserved = [r for o in account.open.values() if (r := venue.reservation(o))]
    simple = [o for o in account.open.values() if o.order_class == "simple" and o.type != "trailing_stop"]
    assert account.reservations.value(1) == sum(r.value for r in reserved)
    for symbol in SYMBOLS:
        assert account.reservations.shares(symbol) == sum(r.shares for r in reserved if r.symbol == symbol)
        for sign, best in ((1, max), (-1, min)):
            side = [o for o in account.open.values() if (o.symbol, o.sign) == (symbol, sign)]
            assert account.reservations.opens(symbol, sign) == any(o.opening for o in side)
            takes = [None if o.type in ("market", "stop") else o.limit for o in side if o in simple]
            reaches = [(2**62 if sign > 0 else 0) if price is None else price for price in takes]
            assert account.reservations.best_reach(symbol, sign) == (best(reaches) if reaches else None)
    assert set(account.reservations._of) == set(account.open)


@examples(100)
@given(plots, rule_sets)
def test_money_shares_and_orders_add_up_in_every_course_of_events(plot: list[Any], rules: Rules) -> None:
    exchange = fresh(rules)
    updates = act(exchange, plot)
    cash, by_order = CASH, defaultdict(list)
    positions: defaultdict[str, Decimal] = defaultdict(Decimal)
    for update in updates:
        execution = update.execution
        if execution is not None:
            assert execution.quantity > 0
            signed = execution.quantity * execution.side.sign
            cash -= signed * execution.price + execution.fee
            positions[execution.symbol] += signed
            assert execution.position_quantity == positions[execution.symbol]
            by_order[execution.order_id].append(execution)
            assert execution.cumulative_quantity == sum(e.quantity for e in by_order[execution.order_id])
    assert exchange.account("me").cash == cash
    assert {p.symbol: p.quantity for p in exchange.positions("me")} == {s: q for s, q in positions.items() if q}
    for order in exchange.orders("me", status="all", limit=1000):
        assert order.filled_quantity == sum(e.quantity for e in by_order[order.id])
        assert order.quantity is None or 0 <= order.filled_quantity <= order.quantity
    assert len({e.execution_id for es in by_order.values() for e in es}) == sum(map(len, by_order.values()))


@examples(100)
@given(plots, rule_sets)
def test_updates_have_no_holes_and_orders_take_legal_steps_only(plot: list[Any], rules: Rules) -> None:
    updates = act(fresh(rules), plot)
    assert [u.sequence for u in updates] == list(range(1, len(updates) + 1))
    assert all(a.at <= b.at for a, b in itertools.pairwise(updates))
    last: dict[str, str] = {}
    for update in updates:
        for order in (update.order, *update.order.legs):
            before = last.get(order.id)
            if before is not None and before != order.status:
                assert order.status in LEGAL.get(before, ()), f"{before} -> {order.status} at {update.event}"
            last[order.id] = order.status


@examples(50)
@given(plots, rule_sets, st.integers(0, 60))
def test_the_same_inputs_give_the_same_updates_also_through_a_saved_state(
    plot: list[Any], rules: Rules, save_at: int
) -> None:
    once, again = fresh(rules), fresh(rules)
    assert act(once, plot) == act(again, plot, save_at=save_at)
    assert once.account("me") == again.account("me")


@examples(50)
@given(
    st.lists(st.tuples(symbols, st.integers(1, 300), maybe_price), min_size=2, max_size=6),
    st.data(),
    rule_sets,
)
def test_requests_of_one_instant_give_the_same_fills_in_whatever_order_they_come(
    wishes: list[Any], data: st.DataObject, rules: Rules
) -> None:
    def run(order_of_calls: list[int]) -> list[Update]:
        exchange = fresh(rules)
        exchange.open_account("you", CASH)
        for symbol in SYMBOLS:
            exchange.on_event(Quote(symbol, OPEN + SECOND, 9.99, 150, 10.01, 150))
        for i in order_of_calls:
            symbol, quantity, limit = wishes[i]
            request = OrderRequest(
                symbol=symbol, side="buy", type="market" if limit is None else "limit", quantity=Decimal(quantity),
                limit_price=limit, client_order_id=f"c{i}",
            )  # fmt: skip
            exchange.submit(("me", "you")[i % 2], request, OPEN + 2 * SECOND)
        exchange.take_updates()  # the acknowledgements come in the order of the calls
        for n in range(3, 20):
            for symbol in SYMBOLS:
                exchange.on_event(Quote(symbol, OPEN + n * SECOND, 9.99, 100 + n, 10.01 - n % 3 / 100, 100 + n))
        return exchange.take_updates()

    calls = list(range(len(wishes)))
    assert run(calls) == run(data.draw(st.permutations(calls)))


def test_a_saved_state_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a saved state"):
        Floor().exchange.restore_state(b"{}")


def test_big_sums_survive_saving() -> None:
    floor = Floor(cash="123456789012.34")
    floor.exchange.restore_state(floor.exchange.snapshot_state())
    assert floor.exchange.account("me").cash == Decimal("123456789012.34")


def test_a_split_leaves_the_running_totals_true() -> None:
    exchange = fresh(Rules(latency_ns=0))
    for symbol in SYMBOLS:
        exchange.on_event(Quote(symbol, OPEN + SECOND, 9.99, 300, 10.01, 300))
    for number, (side, price) in enumerate([("buy", "9.50"), ("buy", "9.00")]):
        request = OrderRequest(
            symbol=SYMBOLS[0], side=side, type="limit", time_in_force="gtc", quantity=Decimal(10),
            limit_price=Decimal(price), client_order_id=f"g{number}",
        )  # fmt: skip
        exchange.submit("me", request, OPEN + SECOND)
    exchange.advance(OPEN + 2 * SECOND)
    day = 86_400 * SECOND
    tomorrow = msgspec.structs.replace(
        SESSION, opens_at=SESSION.opens_at + day, closes_at=SESSION.closes_at + day, splits={SYMBOLS[0]: Decimal(3)}
    )
    exchange.begin_session(tomorrow)
    check_totals(exchange)
    reserved = exchange.account("me").reserved
    assert reserved == Decimal("3.16") * 30 + Decimal("3.00") * 30  # 9.50 and 9.00 a third each, on the tick
