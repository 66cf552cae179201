"""Laws that hold for every order flow: nothing comes from nowhere, nobody jumps the queue, nobody trades through the book."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import DAY
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import Execution, OrderView, Refusal, Update
from liualgotrader.exchange.fees import RegulatoryFees
from liualgotrader.exchange.rules import Rules
from tests.examples import examples
from tests.fakes.exchange import OPEN, SECOND, SESSION
from tests.fakes.order_flow import CASH, SYMBOLS, fresh, opening, rule_sets, step, steps

ACCOUNTS = ("me", "you")
HUGE = Decimal(10**12)
nights = st.tuples(
    st.just("night"),
    st.tuples(
        st.dictionaries(st.sampled_from(SYMBOLS), st.sampled_from([Decimal(2), Decimal("0.1"), Decimal("1.5")])),
        st.dictionaries(st.sampled_from(SYMBOLS), st.sampled_from([Decimal("0.25"), Decimal("0.013")])),
        st.dictionaries(st.sampled_from(SYMBOLS), st.sampled_from([Decimal("0.001"), Decimal(1) / 7])),
    ),
)
transfers = st.tuples(
    st.just("cash"), st.sampled_from([("CSD", Decimal(100)), ("CSW", Decimal("-7.25")), ("FEE", Decimal(-1))])
)
flows = st.lists(
    st.tuples(st.sampled_from(ACCOUNTS), st.one_of(steps, steps, steps, steps, steps, nights, transfers)),
    min_size=15,
    max_size=80,
).map(lambda flow: [("me", one) for one in opening] + flow)  # fmt: skip


def acted(exchange: Exchange, flow: list[Any]) -> Iterator[tuple[str, Any, list[Update]]]:
    """Act a flow out, a step a second, and yield each step with the updates that came of it; refusals are part of it.

    What happened since the step before, as orders arrived, is yielded as a step of its own.
    """
    exchange.open_account("you", CASH)
    made: dict[str, list[str]] = {account: [] for account in ACCOUNTS}
    now, day = OPEN, 0
    for account, (verb, what) in flow:
        now += (what if verb == "wait" else 1) * SECOND
        exchange.advance(now - 1)
        yield "wait", 0, exchange.take_updates()
        try:
            if verb == "night":
                day += 1
                splits, dividends, fees = what
                opens_at = SESSION.opens_at + day * DAY
                closes_at = SESSION.closes_at + day * DAY
                exchange.begin_session(
                    msgspec.structs.replace(SESSION, opens_at=opens_at, closes_at=closes_at, splits=splits, dividends=dividends, borrow_fees=fees)
                )  # fmt: skip
                now = max(opens_at, now)
            elif verb == "cash":
                exchange.move_cash(account, what[0], what[1], now)
            else:
                step(exchange, made[account], verb, what, now, account)
        except Refusal as refusal:
            assert refusal.status in (403, 404, 422)
        exchange.advance(now)
        yield verb, what, exchange.take_updates()


@examples(100)
@given(flows, rule_sets)
def test_cash_and_shares_change_only_by_what_is_recorded(flow: list[Any], rules: Rules) -> None:
    exchange = fresh(rules)
    cash = dict.fromkeys(ACCOUNTS, CASH)
    shares: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    seen = dict.fromkeys(ACCOUNTS, 0)
    for verb, what, updates in acted(exchange, flow):
        for update in updates:  # of a night: what traded before it ended
            if (execution := update.execution) is not None:
                assert execution.quantity > 0 and execution.price > 0 and execution.fee >= 0
                signed = execution.quantity * execution.side.sign
                cash[update.account_id] -= signed * execution.price + execution.fee
                shares[update.account_id, execution.symbol] += signed
        if verb == "night":
            for (account, symbol), held in shares.items():
                shares[account, symbol] = round(held * what[0].get(symbol, Decimal(1)), 9)
        for account in ACCOUNTS:
            moved = exchange.cash_activities(account)[seen[account] :]
            seen[account] += len(moved)
            cash[account] += sum(one.amount for one in moved)
            if verb == "night":
                due = {s: shares[account, s] * amount for s, amount in what[1].items() if shares[account, s]}
                assert {one.symbol: one.amount for one in moved if one.activity_type == "DIV"} == due
                fees = {one.symbol: one.amount for one in moved if one.activity_type == "FEE"}
                assert fees.keys() == {symbol for symbol in what[2] if shares[account, symbol] < 0}
                assert all(amount <= 0 and amount == round(amount, 2) for amount in fees.values())
                assert len(fees) + len(due) == len(moved)
            view = exchange.account(account)
            assert view.cash == cash[account]
            assert view.equity == view.cash + view.long_market_value + view.short_market_value
            assert view.reserved >= 0
            held_now = {p.symbol: p.quantity for p in exchange.positions(account)}
            assert held_now == {s: q for (of, s), q in shares.items() if of == account and q}


@examples(100)
@given(flows, rule_sets)
def test_no_quantity_is_ever_negative_or_more_than_was_ordered(flow: list[Any], rules: Rules) -> None:
    exchange = fresh(rules)
    for _, _, updates in acted(exchange, flow):
        for update in updates:
            order = update.order
            assert 0 <= order.filled_quantity <= (HUGE if order.quantity is None else order.quantity)
            assert update.execution is None or update.execution.leaves_quantity >= 0
        for account in ACCOUNTS:
            for position in exchange.positions(account):
                assert 0 <= position.quantity_available <= abs(position.quantity)


# --- the book. Profile strict without impact; the tape is the other side of every fill

near = st.integers(996, 1004).map(lambda cents: Decimal(cents) / 100)
few = st.sampled_from([1, 10, 50, 100])
book_steps = st.one_of(
    st.builds(
        lambda bid, spread, left, right: ("quote", ("X", float(bid), left, float(bid + spread), right)),
        near, st.sampled_from([Decimal("0.01"), Decimal("0.02"), Decimal("0.03")]), few, few,
    ),
    st.builds(lambda price, size: ("trade", ("X", float(price), size)), near, few),
    st.builds(
        lambda side, quantity, limit: ("order", {
            "symbol": "X", "side": side, "type": "limit", "quantity": Decimal(quantity), "limit_price": limit,
        }),
        st.sampled_from(["buy", "sell"]), st.integers(1, 300), near,
    ),
)  # fmt: skip
book_flows = st.lists(
    st.tuples(st.sampled_from(ACCOUNTS), st.one_of(book_steps, book_steps, steps)), min_size=15, max_size=60
).map(lambda flow: [("me", one) for one in opening] + flow)

STRICT = st.builds(Rules, latency_ns=st.sampled_from([0, 500_000_000]), fees=st.just(RegulatoryFees()))


class Tape:
    """What the tape has shown of one symbol, and how much of it our orders may still take."""

    def __init__(self) -> None:
        self.touch = (Decimal(0), Decimal(0))
        self.left = [Decimal(0), Decimal(0)]  # by side: 0 is the bid, 1 the ask
        self.shown = ((0.0, 0.0), (0.0, 0.0))
        self.printed: Decimal | None = None
        self.print_left = Decimal(0)

    def take(self, verb: str, what: Any) -> None:
        self.printed, self.print_left = None, Decimal(0)
        if verb == "quote":
            shown = ((what[1], what[2]), (what[3], what[4]))
            for side in (0, 1):
                if shown[side] != self.shown[side]:
                    self.left[side] = Decimal(str(shown[side][1]))
            self.shown = shown
            self.touch = (Decimal(str(what[1])), Decimal(str(what[3])))
        elif verb == "trade":
            self.printed, self.print_left = Decimal(str(what[1])), Decimal(str(what[2]))


def fills_of(updates: list[Update], symbol: str) -> list[tuple[Execution, OrderView]]:
    return [(u.execution, u.order) for u in updates if u.execution is not None and u.execution.symbol == symbol]


@examples(100)
@given(book_flows, STRICT)
def test_fills_are_never_more_than_the_tape_displayed_or_printed(flow: list[Any], rules: Rules) -> None:
    exchange, tapes = fresh(rules), {symbol: Tape() for symbol in SYMBOLS}
    for verb, what, updates in acted(exchange, flow):
        for symbol, tape in tapes.items():
            is_ours = verb in ("quote", "trade") and what[0] == symbol
            tape.take(verb if is_ours else "", what)
            fills = fills_of(updates, symbol)
            for side, sign in ((0, -1), (1, 1)):
                mine = sum((e.quantity for e, _ in fills if e.side.sign == sign), Decimal(0))
                beyond = max(mine - tape.left[side], Decimal(0))
                assert beyond <= tape.print_left, (verb, what, fills)
                tape.print_left -= beyond
                at_touch = sum(
                    (e.quantity for e, _ in fills if e.side.sign == sign and e.price == tape.touch[side]), Decimal(0)
                )
                tape.left[side] -= min(at_touch, tape.left[side]) if tape.printed is None else Decimal(0)


@examples(100)
@given(book_flows, STRICT)
def test_nobody_trades_through_the_book_or_beyond_a_limit(flow: list[Any], rules: Rules) -> None:
    exchange, tapes = fresh(rules), {symbol: Tape() for symbol in SYMBOLS}
    for verb, what, updates in acted(exchange, flow):
        for symbol, tape in tapes.items():
            tape.take(verb if verb in ("quote", "trade") and what[0] == symbol else "", what)
            for execution, order in fills_of(updates, symbol):
                sign, far = execution.side.sign, tape.touch[1 if execution.side.sign > 0 else 0]
                worst = max((sign * far, sign * tape.printed) if tape.printed is not None else (sign * far,))
                best = min((sign * far, sign * tape.printed) if tape.printed is not None else (sign * far,))
                assert best <= sign * execution.price <= worst, (verb, what, execution)
                if order.limit_price is not None:
                    assert sign * (order.limit_price - execution.price) >= 0


wishes = st.lists(
    st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(["9.97", "9.98", "9.99", "10.01"]), st.integers(1, 400)),
    min_size=2,
    max_size=8,
)
tape_events = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), st.integers(994, 1000), st.sampled_from([50, 100, 300])),
        st.tuples(st.just("trade"), st.integers(995, 1000), st.sampled_from([50, 100, 300])),
    ),
    min_size=3,
    max_size=25,
)


@examples(100)
@given(wishes, st.sampled_from(["buy", "sell"]), tape_events)
def test_better_prices_trade_first_and_of_equal_prices_the_earlier(
    wishes: list[Any], side: str, events: list[Any]
) -> None:
    exchange = fresh(Rules(latency_ns=0))
    exchange.open_account("you", CASH)
    sign = 1 if side == "buy" else -1

    def price(cents: int) -> float:  # mirrored at 10.00 for sales
        return round(10 + sign * (cents - 1000) / 100, 2)

    def quote(bid: int, size: int) -> tuple[str, float, float, float, float]:
        low, high = sorted((price(bid), price(bid + 2)))
        return ("X", low, size, high, size)

    step(exchange, [], "quote", quote(998, 300), OPEN + SECOND)
    rank: dict[str, tuple[float, int]] = {}
    for number, (account, limit, quantity) in enumerate(wishes):
        cents = int(Decimal(limit) * 100)
        terms = {
            "symbol": "X",
            "side": side,
            "type": "limit",
            "quantity": Decimal(quantity),
            "limit_price": Decimal(str(price(cents))),
        }
        made: list[str] = []
        try:
            step(exchange, made, "order", terms, OPEN + (2 + number) * SECOND, account)
        except Refusal:
            continue
        exchange.advance(OPEN + (2 + number) * SECOND)
        rank[made[0]] = (-sign * price(cents), number)
    exchange.take_updates()
    for number, (verb, cents, size) in enumerate(events):
        at = OPEN + (20 + number) * SECOND
        open_before = {o.id: o for account in ACCOUNTS for o in exchange.orders(account, status="open")}
        step(exchange, [], verb, quote(cents, size) if verb == "quote" else ("X", price(cents), size), at)
        filled = {u.order.id for u in exchange.take_updates() if u.execution is not None}
        waiting = {o.id for account in ACCOUNTS for o in exchange.orders(account, status="open")} & set(open_before)
        for one in filled:
            jumped = {other for other in waiting if rank[other] < rank[one]}
            assert not jumped, (verb, cents, size)


@examples(50)
@given(flows, rule_sets)
def test_the_same_flow_again_is_the_same_to_the_last_byte(flow: list[Any], rules: Rules) -> None:
    def bytes_of() -> list[bytes]:
        exchange = fresh(rules)
        told = [msgspec.msgpack.encode(updates) for _, _, updates in acted(exchange, flow)]
        return [*told, exchange.snapshot_state()]

    assert bytes_of() == bytes_of()
