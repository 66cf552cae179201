"""Brackets, stops, replacements, a person's own orders, halts and switches in any order: nothing stays behind."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from liualgotrader.common.errors import BrokerRefused
from liualgotrader.common.events import Status
from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import Fill, OrderNews, OrderState, OrderType, Protect, Protection, ReplaceIntent
from liualgotrader.engine.book import Book
from liualgotrader.exchange.exchange_values import OrderChanges, OrderRequest
from liualgotrader.orders.desk_messages import Flatten, KillSwitch, Leave, Reconnected, Resolution, Resolve, Resume
from liualgotrader.orders.order import DeskOrder, Origin
from liualgotrader.trading.exchange_orders import broker_order
from tests.examples import examples
from tests.fakes.broker import SYMBOLS, now_of
from tests.fakes.desk_line import PICK, DeskLine

D = Decimal
SLOT, SYMBOL = st.sampled_from([1, 2]), st.sampled_from(SYMBOLS)
CENTS = st.integers(-60, 60)
ON = st.sampled_from([True, True, False])  # whether it arrives before anything else happens


class Crossings(DeskLine):
    """One desk, one exchange, and a person who trades in the same account."""

    partial = 0.3

    def __init__(self) -> None:
        super().__init__()
        self.hands = 0
        self.halted: set[str] = set()
        self.told = {slot: Book(slot, None, list) for slot in (1, 2)}  # what the strategies see
        self.middle = dict.fromkeys(SYMBOLS, D(100))

    # --- strategies

    @rule(
        slot=SLOT,
        symbol=SYMBOL,
        side=st.sampled_from(["buy", "buy", "sell"]),
        quantity=st.integers(1, 40),
        cents=CENTS,
        on=ON,
    )
    def enter(self, slot: int, symbol: str, side: str, quantity: int, cents: int, on: bool) -> None:
        terms: dict[str, Any] = {} if cents % 3 == 0 else {"limit_price": self.middle[symbol] + D(cents) / 100}
        stop = self.plan(slot, symbol, self.middle[symbol] - 5 if cents % 2 else None)
        self.world.order(slot, side, quantity, symbol, planned_stop=stop, indicators={"buy": cents}, **terms)
        if on:
            self.go_on()

    @rule(slot=SLOT, symbol=SYMBOL, quantity=st.integers(1, 40), both=st.booleans(), on=ON)
    def enter_with_exits(self, slot: int, symbol: str, quantity: int, both: bool, on: bool) -> None:
        at = self.middle[symbol]
        terms = {"take_profit": at + D("0.30")} if both else {}
        stop = self.plan(slot, symbol)
        self.world.order(slot, "buy", quantity, symbol, planned_stop=stop, stop_loss=at - D("0.30"), **terms)
        if on:
            self.go_on()

    @precondition(lambda self: self.holds)
    @rule(pick=PICK, kind=st.sampled_from(["market", "stop", "limit", "near"]), part=st.integers(1, 3), on=ON)
    def leave(self, pick: int, kind: str, part: int, on: bool) -> None:
        places = [(slot, symbol, p.quantity) for slot, symbol, p in self.world.desk.state.positions.open() if slot]
        slot, symbol, held = places[pick % len(places)]
        side, away = ("sell", 1) if held > 0 else ("buy", -1)
        at = self.middle[symbol]
        terms: dict[str, dict[str, Any]] = {
            "market": {},
            "stop": {"type": OrderType.STOP, "stop_price": at - away * D("0.20")},
            "limit": {"limit_price": at + away * D("0.60")},
            "near": {"limit_price": at - away * D("0.05")},
        }
        self.world.order(slot, side, max(1, int(abs(held)) // part), symbol, **terms[kind])
        if on:
            self.go_on()

    @property
    def holds(self) -> bool:
        return any(slot for slot, _, _ in self.world.desk.state.positions.open())

    @property
    def ours(self) -> list[DeskOrder]:
        return list(self.world.desk.state.orders.by_id.values())

    @property
    def working(self) -> list[DeskOrder]:
        return list(self.world.desk.state.orders.all_working())

    @precondition(lambda self: self.working)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        order = self.working[pick % len(self.working)]
        self.world.cancel(order.client_order_id, order.slot)

    @precondition(lambda self: self.working)
    @rule(pick=PICK, quantity=st.one_of(st.none(), st.integers(1, 60)), cents=CENTS, on=ON)
    def replace(self, pick: int, quantity: int | None, cents: int, on: bool) -> None:
        order = self.working[pick % len(self.working)]
        price = self.middle[order.symbol] + D(cents) / 100
        limit = price if order.intent.limit_price is not None else None
        stop = price if order.intent.stop_price is not None else None
        whole = D(quantity) if quantity is not None else None
        if limit or stop:
            self.world.tell(ReplaceIntent(order.client_order_id, order.slot, self.world.now, whole, limit, stop))
        if on:
            self.go_on()

    @rule(slot=SLOT, symbol=SYMBOL, cents=CENTS)
    def protect(self, slot: int, symbol: str, cents: int) -> None:
        self.plan(slot, symbol, self.middle[symbol] + D(cents) / 100)

    def plan(self, slot: int, symbol: str, stop: Decimal | None = None) -> Decimal | None:
        """Have a strategy note a stop, which the desk hears of at once, and return the one that its orders carry."""
        self.listen()
        book = self.told[slot]
        book.notes.plan(symbol, stop, None)
        planned = book.notes.planned(symbol, "stop_prices")
        if stop is not None and symbol in book.under_way():
            self.world.tell(Protect(slot, symbol, self.world.now, planned))
        book.notes.moved.clear()
        return planned

    # --- the line

    @precondition(lambda self: self.world.updates)
    @rule()
    def lose_updates(self) -> None:
        self.world.updates.clear()
        self.world.tell(Reconnected())

    def go_on(self) -> None:
        """Let what is under way arrive, and the exchange act on it."""
        self.world.run()
        self.world.wait(0.1)
        self.world.run()

    @rule()
    def crash(self) -> None:
        before = self.remembered()
        self.world.crash()
        self.compare(before)

    # --- the market

    @rule(symbol=SYMBOL, cents=CENTS, size=st.sampled_from([7, 100_000]))
    def market_moves(self, symbol: str, cents: int, size: int) -> None:
        self.middle[symbol] = D(100) + D(cents) / 100
        middle = float(self.middle[symbol])
        self.world.quote(symbol, round(middle - 0.01, 2), round(middle + 0.01, 2), size)

    @precondition(lambda self: self.late)
    @rule(symbol=SYMBOL)
    def halt(self, symbol: str) -> None:
        halted = symbol not in self.halted
        self.halted ^= {symbol}
        self.world.exchange.on_event(Status(symbol, self.world.now, halted))

    @rule(seconds=st.sampled_from([0.01, 0.1, 1, 7, 65]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    # --- people

    @property
    def late(self) -> bool:
        """Whether so much has happened that a switch meets something."""
        return len(self.ours) > 5 and self.world.desk.state.outputs.rows % 3 == 0

    @precondition(lambda self: self.late)
    @rule(symbol=SYMBOL, side=st.sampled_from(["buy", "sell"]), quantity=st.integers(1, 20))
    def trade_by_hand(self, symbol: str, side: str, quantity: int) -> None:
        self.hands += 1
        request = OrderRequest(
            symbol=symbol,
            side=side,
            type="market",
            time_in_force="day",
            quantity=D(quantity),
            client_order_id=f"h{self.hands}",
        )
        with suppress(BrokerRefused):
            self.world.exchange.submit("me", request, self.world.now)

    @precondition(lambda self: self.working)
    @rule(pick=PICK)
    def cancel_by_hand(self, pick: int) -> None:
        order = self.working[pick % len(self.working)]
        with suppress(BrokerRefused):
            self.world.exchange.cancel("me", order.broker_order_id, self.world.now)

    @precondition(lambda self: self.working)
    @rule(pick=PICK, cents=CENTS, quantity=st.one_of(st.none(), st.none(), st.integers(1, 60)))
    def replace_by_hand(self, pick: int, cents: int, quantity: int | None) -> None:
        order = self.working[pick % len(self.working)]
        name = "limit_price" if order.intent.limit_price is not None else "stop_price"
        terms: dict[str, Any] = {
            name: self.middle[order.symbol] + D(cents) / 100,
            "quantity": D(quantity) if quantity else None,
        }
        with suppress(BrokerRefused):
            self.world.exchange.replace("me", order.broker_order_id, self.world.now, OrderChanges(**terms))

    @rule(symbol=SYMBOL, how=st.sampled_from(list(Resolution)), strategy=st.sampled_from(["", "alpha", "beta"]))
    def settle(self, symbol: str, how: Resolution, strategy: str) -> None:
        self.world.tell(Resolve(symbol, how, strategy, self.middle[symbol]))

    @precondition(lambda self: self.late)
    @rule(switch=st.sampled_from([KillSwitch(), KillSwitch(flatten=True), Flatten(1), Flatten(), Leave("x")]), on=ON)
    def switch(self, switch: Any, on: bool) -> None:
        self.world.tell(switch)
        if on:
            self.go_on()
        if isinstance(switch, Leave):
            self.crash()
        else:
            self.world.tell(Resume())

    # --- what is true

    def listen(self) -> None:
        """Tell the strategies' books what is new to them."""
        for slot, book in self.told.items():
            for news in self.world.desk.news(slot)[book.seq :]:
                book.seq = news.seq
                if isinstance(news, OrderNews):
                    book.apply_news(news)
                elif isinstance(news, Protection):
                    book.notes.apply_echo(news, rebuilding=True)
                else:
                    book.apply(news)
                    book.apply_execution(news)
                    if news.symbol in book.notes.moved:  # as the engine does after each call
                        book.notes.moved.discard(news.symbol)
                        stop = book.notes.planned(news.symbol, "stop_prices")
                        self.world.tell(Protect(slot, news.symbol, self.world.now, stop))

    @invariant()
    def no_order_that_works_seems_to_have_ended(self) -> None:
        self.listen()
        everything = self.world.exchange.orders("me", status="all", limit=10_000, nested=False)
        views = {view.id: broker_order(view) for view in everything}
        for view in [v for v in views.values() if not v.state.is_final]:
            ours = view  # or what a person has put in its place, perhaps several times, since we heard
            while ours.replaces and self.world.desk.state.orders.by_broker_id.get(ours.broker_order_id) is None:
                ours = views[ours.replaces]
            order = self.world.desk.state.orders.by_broker_id.get(ours.broker_order_id)
            if order is not None and order.slot:
                assert self.told[order.slot].in_flight(order.symbol), view

    def check_handles(self) -> None:
        """Desk, rows and strategies agree on what works, on its terms, and on what is planned with it."""
        state, rows = self.world.desk.state, self.world.order_rows()
        self.listen()
        for order in [o for o in self.ours if o.slot]:
            root = state.orders.root(order)
            leaf = state.orders.leaf(root)
            for one in (order.intent, rows[order.client_order_id]):
                planned = (one.planned_stop, one.planned_target, one.indicators)
                assert planned == (root.intent.planned_stop, root.intent.planned_target, root.intent.indicators)
            handle = self.told[order.slot]._tracked[order.client_order_id].handle
            assert handle.client_order_id == root.client_order_id
            assert handle.open == (not leaf.state.is_final), (handle, leaf.state)
            if handle.open:
                assert (handle.state, handle.type) == (leaf.state, leaf.intent.type)
                assert handle.remaining == leaf.remaining
                assert (handle.limit_price, handle.stop_price) == (leaf.intent.limit_price, leaf.intent.stop_price)
        for slot, symbol, position in state.positions.open():
            if slot:
                assert self.told[slot].notes.planned(symbol, "stop_prices") == position.planned_stop

    def remembered(self) -> Any:
        state = self.world.desk.state
        positions = (
            {k: (p.quantity, p.average_price, p.planned_stop, p.planned_target) for k, p in state.positions.open()}
            if False
            else {
                (s, y): (p.quantity, p.average_price, p.planned_stop, p.planned_target)
                for s, y, p in state.positions.open()
            }
        )
        orders = {o.client_order_id: (o.filled, o.quantity, o.broker_order_id, o.successor) for o in self.ours}
        return (
            positions,
            orders,
            dict(state.broker_view.foreign),
            dict(state.quarantine.reasons),
            dict(state.broker_view.differences),
        )

    def compare(self, before: Any) -> None:
        assert self.remembered() == before

    def calm(self) -> None:
        for symbol in sorted(self.halted):
            self.halt(symbol)
        for symbol in SYMBOLS:
            self.market_moves(symbol, 0, 100_000)
        for _ in range(4):
            self.world.run()
            self.world.wait(15)
        for _ in range(3):  # a difference is believed when it is seen twice
            self.world.run()
            self.world.tell(Reconnected())
            self.world.run()
            self.world.wait(2)

    def teardown(self) -> None:
        self.calm()
        self.check_books()
        self.check_orders()
        self.check_handles()
        self.check_that_no_position_was_turned_over()
        self.world.crash()
        self.calm()
        self.check_books()
        self.check_orders()
        self.world.tell(KillSwitch(flatten=True))
        for _ in range(3):
            self.calm()
        for _ in range(20):  # what closes may trade in parts again and again
            if not self.ours_at_the_broker():
                break
            self.calm()
        self.check_books()
        assert not self.ours_at_the_broker()
        assert not self.world.desk.has_closings
        books = self.world.desk.state.positions
        for slot, symbol, p in books.open():
            assert self.world.desk.state.lacking(symbol), (slot, symbol, p)

    def ours_at_the_broker(self) -> list[str]:
        open_there = now_of(self.world.broker.orders(since=0, open_only=True))
        return [o.client_order_id for o in open_there if not o.client_order_id.startswith("h")]

    def check_books(self) -> None:
        world, books = self.world, self.world.desk.state.positions
        held = {p.symbol: p.quantity for p in now_of(world.broker.positions())}
        for symbol in SYMBOLS:
            assert world.desk.state.there(symbol) == held.get(symbol, ZERO), symbol
            slots = sum((books.held(s, symbol) for s in (0, 1, 2)), ZERO)
            assert slots == books.ours(symbol)
        known = {o.broker_order_id for o in self.ours}
        executed = {a.execution_id for a in now_of(world.broker.executions(since=0)) if a.broker_order_id in known}
        booked = Counter(row.execution_id for row in world.trade_rows() if not row.execution_id.startswith("settled:"))
        nobodys = {e for e in executed for o in self.ours if o.slot == 0 and e in o.coverage.executions}
        assert booked == Counter(executed - nobodys)

    def check_that_no_position_was_turned_over(self) -> None:
        """By the time of trading, as a bracket's exit may be told of before its entry.

        What a person has put in the place of an order may; so may the fills of an order when his have crossed them.
        """
        orders = self.world.desk.state.orders.by_id
        for slot in (1, 2):
            held = dict.fromkeys(SYMBOLS, ZERO)
            fills = [n for n in self.world.desk.news(slot) if isinstance(n, Fill)]
            for fill in sorted(fills, key=lambda f: (f.at, orders[f.client_order_id].is_leg)):
                before, after = held[fill.symbol], held[fill.symbol] + fill.quantity * fill.side.sign
                if orders[fill.client_order_id].origin is not Origin.ADOPTED:
                    assert before * after >= 0, fill
                held[fill.symbol] = after

    def check_orders(self) -> None:
        rows = self.world.order_rows()
        for seen in now_of(self.world.broker.orders(since=0)):
            for view in (seen, *seen.legs):
                row = rows.get(view.client_order_id)
                if row is None and (view.client_order_id.startswith("h") or view.state == "rejected"):
                    continue  # a person's own, or his replacement that came too late
                assert row is not None, view
                assert (row.broker_order_id, row.filled_quantity) == (view.broker_order_id, view.filled_quantity)
                assert row.state == view.state, (row, view)
        for order in self.working:
            assert order.broker_order_id and not order.cancel_wanted, order.client_order_id
            assert order.state is not OrderState.PENDING_REPLACE
        assert not self.world.desk.state.orders.waiting


Crossings.TestCase.settings = examples(60, stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestCrossings = Crossings.TestCase
