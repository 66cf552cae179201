"""What the desk knows of a slot before its consumer has said anything, and after."""

# mypy: disable-error-code="comparison-overlap"

from __future__ import annotations

from decimal import Decimal

import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.common.orders import Declare
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Begin,
    BrokerSnapshot,
    Carried,
    Decision,
    DeskTerms,
    Input,
    Send,
    SlotsJoined,
    StopSlotTrading,
    Tick,
)

HOURS = Hours(
    "2024-06-03", opens_at=1 * SECOND, closes_at=100 * SECOND, liquidates_at=90 * SECOND, ends_at=200 * SECOND
)
SWING = SlotPlan(1, "Holder", 0, 11, day_trade=False)
DAY = SlotPlan(1, "Holder", 0, 11)


class Chair:
    """A desk that one writes inputs to, and what it sends."""

    def __init__(self, plan: SlotPlan) -> None:
        self.desk = Desk()
        self.now = 2 * SECOND
        self.tell(self.begin(plan))

    @staticmethod
    def begin(plan: SlotPlan) -> Begin:
        return Begin(DeskTerms("0b5e7a4e-0000-4000-8000-000000000000", (plan,), HOURS), 1)

    def tell(self, told: Input) -> list[Decision]:
        return self.desk.decide(told, self.now, self.now)

    def sold_at_liquidation(self) -> list[Decimal]:
        self.now = HOURS.liquidates_at
        return [d.order.quantity for d in self.tell(Tick()) if isinstance(d, Send)]

    def hold(self) -> None:
        self.tell(Carried(1, "IBM", Decimal(10), Decimal(100)))
        self.tell(BrokerSnapshot(ok=True))


@pytest.mark.parametrize("stopped", [False, True])
def test_a_swing_that_has_not_declared_itself_keeps_its_position_overnight(*, stopped: bool) -> None:
    chair = Chair(SWING)
    chair.hold()
    if stopped:  # it raised when it was made: it never declares itself
        chair.tell(StopSlotTrading(1, "raised"))
    assert chair.desk.day_trade_slots() == []
    assert chair.sold_at_liquidation() == []


def test_a_day_trade_that_has_not_declared_itself_is_closed() -> None:
    chair = Chair(DAY)
    chair.hold()
    assert chair.desk.day_trade_slots() == [1]
    assert chair.sold_at_liquidation() == [10]


def test_what_a_slot_declared_counts_until_the_plan_says_something_new() -> None:
    chair = Chair(DAY)
    chair.tell(Declare(1, "Holder", False, 0))
    chair.tell(chair.begin(DAY))
    assert chair.desk.day_trade_slots() == []
    chair.tell(chair.begin(SWING))
    assert chair.desk.day_trade_slots() == []
    chair.tell(chair.begin(DAY))
    assert chair.desk.day_trade_slots() == [1]


def test_a_journal_from_before_the_plan_said_it_is_put_right_by_the_next_start() -> None:
    chair = Chair(DAY)
    chair.hold()
    chair.tell(chair.begin(SWING))
    assert chair.sold_at_liquidation() == []


def test_a_slot_that_joins_is_known_by_its_plan_and_one_that_is_there_stays() -> None:
    chair = Chair(DAY)
    chair.tell(StopSlotTrading(1, "it raised"))
    chair.tell(SlotsJoined((DAY, SlotPlan(2, "Late", 0, 12, day_trade=False))))
    chair.tell(SlotsJoined((SlotPlan(2, "Late", 0, 12, day_trade=False),)))
    state = chair.desk.state
    assert [plan.slot for plan in state.terms.slots] == [1, 2]
    assert chair.desk.strategies == {1: "Holder", 2: "Late"}
    assert state.slots[1].stopped == "it raised"
    assert chair.desk.day_trade_slots() == [1]


def test_what_a_portfolio_may_spend_counts_from_the_batchs_begin_over_restarts() -> None:
    def plan(funds: int) -> SlotPlan:
        return SlotPlan(1, "Holder", 0, 11, account_id=7, funds=Decimal(funds))

    chair = Chair(plan(1500))
    chair.tell(Chair.begin(plan(900)))  # the account has paid for the fills that the desk counts itself
    assert chair.desk.state.funds == {7: Decimal(1500)}
