"""Whatever is lost, doubled, late or killed on the way: in the end our books are the broker's, and nothing is booked twice."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import OrderState, ReplaceIntent
from tests.examples import examples
from tests.fakes.broker import SLOTS, SYMBOLS, now_of
from tests.fakes.desk_line import PICK, DeskLine


class Histories(DeskLine):
    """One desk and one exchange; each rule is one thing that can happen next."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[tuple[str, int]] = []

    @rule(
        slot=st.sampled_from([1, 2]),
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(["buy", "sell"]),
        quantity=st.integers(1, 40),
        offset=st.sampled_from([None, None, -30, -1, 1, 30]),
        lifetime=st.sampled_from([0, 5_000_000_000]),
    )
    def order(self, slot: int, symbol: str, side: str, quantity: int, offset: int | None, lifetime: int) -> None:
        terms = {} if offset is None else {"limit_price": Decimal("100") + Decimal(offset) / 100}
        name = self.world.order(slot, side, quantity, symbol, cancel_after=lifetime, **terms)
        self.names.append((name, slot))

    @precondition(lambda self: self.names)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        self.world.cancel(*self.names[pick % len(self.names)])

    @precondition(lambda self: self.names)
    @rule(pick=PICK, quantity=st.integers(1, 60), cents=st.integers(-50, 50))
    def replace(self, pick: int, quantity: int, cents: int) -> None:
        name, slot = self.names[pick % len(self.names)]
        price = Decimal("100") + Decimal(cents) / 100
        if self.world.desk.state.orders.by_id[name].intent.limit_price is not None:
            self.world.tell(ReplaceIntent(name, slot, self.world.now, Decimal(quantity), price))

    @precondition(lambda self: self.world.updates)
    @rule(pick=PICK)
    def lose_update(self, pick: int) -> None:
        self.world.updates.pop(pick % len(self.world.updates))

    @rule(symbol=st.sampled_from(SYMBOLS), cents=st.integers(-40, 40))
    def market_moves(self, symbol: str, cents: int) -> None:
        middle = 100 + cents / 100
        self.world.quote(symbol, round(middle - 0.01, 2), round(middle + 0.01, 2))

    @rule(seconds=st.sampled_from([0.01, 0.1, 1, 7, 65]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule()
    def crash(self) -> None:
        self.world.crash()

    @invariant()
    def rows_have_no_holes(self) -> None:
        assert list(self.world.rows) == list(range(1, len(self.world.rows) + 1))

    @invariant()
    def news_have_no_holes(self) -> None:
        for slot in SLOTS:
            numbers = [news.seq for news in self.world.desk.news(slot.slot)]
            assert numbers == list(range(1, len(numbers) + 1))

    def teardown(self) -> None:
        self.world.calm()
        self.books_agree()
        self.each_order_has_one_row()
        self.world.crash()  # rebuilds from the journal and compares rows and news
        self.world.calm()
        self.books_agree()

    def books_agree(self) -> None:
        world = self.world
        held = {p.symbol: p.quantity for p in now_of(world.broker.positions())}
        for symbol in SYMBOLS:
            assert world.held(1, symbol) + world.held(2, symbol) == held.get(symbol, ZERO)
        booked = Counter(row.execution_id for row in world.trade_rows())
        assert booked == Counter(a.execution_id for a in world.exchange.activities("me"))
        assert not world.desk.state.quarantine.reasons

    def each_order_has_one_row(self) -> None:
        rows = self.world.order_rows()
        for seen in now_of(self.world.broker.orders(since=0)):
            row = rows[seen.client_order_id]
            assert (row.broker_order_id, row.filled_quantity) == (seen.broker_order_id, seen.filled_quantity)
            assert row.state == seen.state, (row, seen)
        unsent = {"refused", "rejected", "canceled"}  # an exit can be taken back while it waits for another order
        at_broker = {seen.client_order_id for seen in now_of(self.world.broker.orders(since=0))}
        assert {row.state for name, row in rows.items() if name not in at_broker} <= unsent
        assert not [o for o in self.world.desk.state.orders.all_working() if o.state is OrderState.UNKNOWN]


Histories.TestCase.settings = examples(60, stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestHistories = Histories.TestCase
