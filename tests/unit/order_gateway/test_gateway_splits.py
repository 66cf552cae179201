"""What is carried over a night in which shares were split, sold by hand, or bought by hand."""

# mypy: disable-error-code="comparison-overlap"

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import SECOND
from liualgotrader.common.orders import BrokerPosition, Protection
from liualgotrader.common.rows import AlgoRunRow, BatchRow, CarriedPosition, TradeRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.order_gateway.carry_over import is_split, looks_split
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Begin,
    BrokerSnapshot,
    Carried,
    Input,
    Leave,
    Missing,
    Reconcile,
    Reconnected,
    Resolution,
    Resolve,
    Restated,
    Tick,
    Warn,
    Write,
)
from tests.fakes.broker import BATCH, OPEN, desk_terms, now_of
from tests.fakes.store import MemoryDatabase, MemoryStore

D = Decimal
BEFORE = "aaaaaaaa-0000-4000-8000-000000000000"
HELD = CarriedPosition("AAPL", D(100), D(200), 1, D(190), D(240))


def account(quantity: str, price: str) -> BrokerPosition:
    return BrokerPosition("AAPL", D(quantity), D(price))


@pytest.mark.parametrize(
    ("quantity", "price", "looks", "certain"),
    [
        ("100", "200", False, False),
        ("200", "100", True, True),  # 2:1
        ("150", "133.3333", True, True),  # 3:2
        ("10", "2000", True, True),  # 1:10
        ("2000", "10", True, True),  # 20:1
        ("100", "100", True, False),  # the cost of a split, not its quantity
        ("200", "175", True, False),  # its quantity, not its cost: as many bought by hand, perhaps
        ("50", "200", False, False),  # half sold by hand: the cost stays
        ("200", "200", False, False),
        ("170", "197.5", False, False),
        ("-100", "200", False, False),
    ],
)
def test_a_split_changes_quantity_and_cost_by_one_ratio(quantity: str, price: str, looks: bool, certain: bool) -> None:
    assert (looks_split(HELD, account(quantity, price)), is_split(HELD, account(quantity, price))) == (looks, certain)


def test_of_a_part_of_a_share_that_is_left_over_the_broker_pays_cash() -> None:
    held = msgspec.structs.replace(HELD, quantity=D(105))
    assert is_split(held, account("10", "2000"))


@given(st.integers(1, 10_000), st.integers(2, 50), st.decimals("5", "900", places=2))
def test_every_whole_split_is_seen(quantity: int, ratio: int, price: Decimal) -> None:
    held = CarriedPosition("AAPL", D(quantity), price, 1, price * D("0.95"))
    assert is_split(held, BrokerPosition("AAPL", D(quantity * ratio), (price / ratio).quantize(D("0.000001"))))
    assert not looks_split(held, BrokerPosition("AAPL", D(quantity), price))


class Morning:
    """A record of 100 AAPL at 200 with a stop, and the desk of the day after."""

    def __init__(self, slot: SlotPlan | None = None) -> None:
        self.store = MemoryStore(MemoryDatabase())
        for batch in (BEFORE, BATCH, "later"):
            now_of(self.store.begin_batch(BatchRow(batch, "2025-06-20", "PAPER", 0, {}, {}, {})))
            now_of(self.store.begin_algo_run(AlgoRunRow(batch, 1, "alpha", "PAPER", "", {}, 0)))
        row = TradeRow("x", "x", 1, "AAPL", "buy", D(100), D(200), D(0), OPEN - 1000, {}, D(190), D(240))
        self.store.database.trades["x"] = row
        self.desk = Desk()
        self.said: list[str] = []
        self.asked: list[Reconcile] = []
        self.now = OPEN
        self.tell(Begin(desk_terms(slots=(slot or SlotPlan(1, "alpha", 0, 2, day_trade=False),)), 2))

    def tell(self, told: Input) -> None:
        for decision in self.desk.decide(told, self.now, self.now):
            if isinstance(decision, Write):
                self.store._write(decision.row)
            elif isinstance(decision, Warn):
                self.said.append(decision.text)
            elif isinstance(decision, Reconcile):
                self.asked.append(decision)

    def carried_positions(self, batch: str = "later") -> list[CarriedPosition]:
        return list(now_of(self.store.carried_positions("PAPER", "alpha", batch)))


def test_a_split_position_goes_on_in_new_terms_without_its_stop_and_a_person_is_called() -> None:
    morning = Morning()
    morning.tell(Restated(1, "AAPL", D(100), D(200), D(200), D(100), "as after a split: set a new stop"))
    assert morning.desk.state.positions.held(1, "AAPL") == 200
    [protection] = [n for n in morning.desk.news(1) if isinstance(n, Protection)]
    assert (protection.planned_stop, protection.planned_target) == (None, None)
    assert morning.desk.facts().quarantined == {"AAPL": "as after a split: set a new stop"}
    assert morning.said == ["AAPL: as after a split: set a new stop"]
    [then] = morning.carried_positions()
    assert (then.quantity, then.average_price, then.planned_stop) == (200, 100, None)
    morning.tell(Resolve("AAPL", Resolution.IGNORE))
    assert morning.desk.facts().quarantined == {}


def test_where_a_split_is_not_certain_the_record_stays_and_the_stop_goes() -> None:
    morning = Morning()
    morning.tell(Restated(1, "AAPL", D(100), D(200), D(100), D(200), "is it a split?"))
    assert len(morning.store.database.trades) == 1
    [then] = morning.carried_positions()
    assert (then.quantity, then.planned_stop) == (100, None)


def test_what_is_gone_and_nobody_settled_is_written_down_once_and_not_looked_for_again() -> None:
    morning = Morning()
    morning.tell(Missing(1, "AAPL", D(100), D(200), D(0)))
    morning.tell(BrokerSnapshot(True))
    assert [p.quantity for p in morning.carried_positions()] == [100]
    for _ in range(2):
        morning.tell(Leave("the session ends"))
    assert morning.carried_positions() == []
    assert len([text for text in morning.said if "written down as gone" in text]) == 1
    assert list(morning.desk.facts().quarantined) == ["AAPL"]  # this session still ends with a call for a person
    [before, gone] = morning.store.database.trades.values()
    assert (gone.operation, gone.quantity, gone.price, gone.account_id) == ("sell", 100, before.price, None)


def test_of_what_is_gone_in_part_the_rest_is_carried_with_its_stop() -> None:
    morning = Morning()
    morning.tell(Carried(1, "AAPL", D(40), D(200), D(190), D(240)))
    morning.tell(Missing(1, "AAPL", D(60), D(200), D(0)))
    morning.tell(BrokerSnapshot(True, (), (), (account("40", "200"),)))
    morning.tell(Leave("the session ends"))
    assert morning.desk.state.positions.held(1, "AAPL") == 40
    [then] = morning.carried_positions()
    assert (then.quantity, then.planned_stop) == (40, 190)


@pytest.mark.parametrize(
    ("there", "recorded"),
    [(("100", "100"), 100), (("150", "150"), 100), (("30", "30"), 30), (("0", "100", "100"), 100)],
)
def test_what_the_account_shows_after_all_is_not_written_down_as_gone(there: tuple[str, ...], recorded: int) -> None:
    morning = Morning()
    morning.tell(Missing(1, "AAPL", D(100), D(200), D(0)))
    for shares in there:
        morning.tell(Reconnected())
        morning.tell(BrokerSnapshot(True, (), (), (account(shares, "200"),) if D(shares) else ()))
    for _ in range(2):
        morning.tell(Leave("the session ends"))
    assert [(p.quantity, p.planned_stop) for p in morning.carried_positions()] == [(recorded, 190)]


def test_of_shares_that_two_strategies_miss_each_is_found_once() -> None:
    morning = Morning()
    for slot in (1, 2):
        morning.tell(Missing(slot, "AAPL", D(-100), D(200), D(0)))
    morning.tell(BrokerSnapshot(True, (), (), (account("-150", "200"),)))
    morning.tell(Leave("the session ends"))
    assert [text for text in morning.said if "written down" in text] == [
        "AAPL: -50 shares that are not in the account are written down as gone, at 200 $; what they brought in is not"
        " known here"
    ]


def test_nothing_is_written_down_as_gone_that_was_never_compared() -> None:
    morning = Morning()
    morning.tell(Missing(1, "AAPL", D(100), D(200), D(0)))
    morning.tell(Leave("the broker is away"))
    assert [p.quantity for p in morning.carried_positions()] == [100]


def test_a_batch_that_is_resumed_may_still_settle_what_it_began_without() -> None:
    morning = Morning()
    morning.tell(Missing(1, "AAPL", D(100), D(200), D(0)))
    morning.tell(BrokerSnapshot(True, (), (), (account("100", "200"),)))
    morning.tell(Leave("the supervisor has died", resumes=True))
    morning.tell(Resolve("AAPL", Resolution.ADOPT, "", D(210)))
    assert (morning.desk.state.positions.held(1, "AAPL"), morning.desk.facts().quarantined) == (100, {})
    assert [p.quantity for p in morning.carried_positions()] == [100]


def test_an_orphaned_gateway_leaves_what_is_gone_to_the_life_that_resumes_the_batch() -> None:
    morning = Morning()
    morning.tell(Missing(1, "AAPL", D(100), D(200), D(0)))
    morning.tell(BrokerSnapshot(True))
    morning.tell(Leave("the supervisor has died", resumes=True))
    assert [p.quantity for p in morning.carried_positions()] == [100]
    morning.tell(Leave("the session ends"))
    assert morning.carried_positions() == []


def test_a_second_look_before_the_books_are_open_finds_what_was_missing() -> None:
    morning = Morning()
    morning.tell(Missing(1, "AAPL", D(100), D(200), D(0)))
    morning.tell(Leave("the broker is away"))
    morning.tell(Carried(1, "AAPL", D(40), D(200), D(190), D(240)))
    assert morning.desk.facts().quarantined == {}
    morning.tell(Missing(1, "AAPL", D(60), D(200), D(0)))
    morning.tell(BrokerSnapshot(True, (), (), (account("40", "200"),)))
    assert list(morning.desk.facts().quarantined) == ["AAPL"]
    morning.tell(Leave("the session ends"))
    assert (morning.desk.state.positions.held(1, "AAPL"), [p.quantity for p in morning.carried_positions()]) == (
        40,
        [40],
    )


def test_a_passing_difference_does_not_lift_what_a_person_must_look_at_after_a_split() -> None:
    morning = Morning()
    morning.tell(Restated(1, "AAPL", D(100), D(200), D(200), D(100), "as after a split: set a new stop"))
    for shares in ("200", "100", "100", "200"):
        morning.tell(BrokerSnapshot(True, (), (), (account(shares, "100"),)))
    assert morning.desk.facts().quarantined == {"AAPL": "as after a split: set a new stop"}
    assert any("agree again, but nothing is opened in it yet" in text for text in morning.said)
    morning.tell(Resolve("AAPL", Resolution.IGNORE))
    assert morning.desk.facts().quarantined == {}


# --- a gateway that dies while it takes up what is left


@pytest.mark.parametrize("failed_before", [False, True], ids=["before any answer", "after a failed look"])
def test_what_is_still_being_taken_up_after_a_restart_does_not_become_foreign(*, failed_before: bool) -> None:
    morning = Morning()
    if failed_before:
        morning.tell(Reconnected())
        morning.tell(BrokerSnapshot(False))  # sets an alarm for the next look
    morning.asked.clear()
    morning.tell(Begin(desk_terms(slots=(SlotPlan(1, "alpha", 0, 2, day_trade=False),)), 3))
    morning.now += 60 * SECOND
    morning.tell(Tick())
    assert morning.asked == []
    morning.tell(Carried(1, "AAPL", D(100), D(200), D(190), D(240)))
    morning.tell(Reconnected())
    assert len(morning.asked) == 1
    morning.tell(BrokerSnapshot(True, (), (), (account("100", "200"),)))
    facts = morning.desk.facts()
    assert (facts.foreign, facts.quarantined, morning.desk.has_compared) == ({}, {}, True)
