"""Which symbols are followed, for how long, and where their market data has gaps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liualgotrader.common.clock import MINUTE, NEVER, SECOND, WallClock
from liualgotrader.common.events import Gap, Needs, Pick
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import Timings, TradePlan
from liualgotrader.producer.following import Ageing, Following, Gaps, Unpicked
from liualgotrader.producer.router import Assignment, EventOutbox, Router

NOW = 1_700_000_000_000_000_000


class Clock(WallClock):
    def now(self) -> int:
        return NOW


class Floor:
    """A producer's books with a vendor that carries everything at once."""

    def __init__(self, folder: Path) -> None:
        self.router = Router([SlotPlan(0, "S", 0, 1)], [EventOutbox(1)], Assignment(1, {"HELD": 0, "PICKED": 0}))
        self.gaps = Gaps()
        self.unpicked = Unpicked(folder)
        stream: Any = SimpleNamespace(subscribe=self._nothing, unsubscribe=self._nothing)
        ageing = Ageing(TradePlan.from_dict({}))
        self.following = Following(self.router, stream, [], ageing, self.unpicked, Clock(), lambda: None, self.gaps)

    async def _nothing(self, *asked: Any) -> None:
        return

    def gaps_found(self) -> list[Gap]:
        return self.gaps.take(NOW, self.router.symbols, frozenset(self.router.symbols))


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    return Floor(tmp_path)


def pick(symbol: str) -> Pick:
    return Pick(symbol, NOW, "scanner")


async def test_what_was_held_under_the_producer_before_has_a_gap_since_that_one_ended(floor: Floor) -> None:
    await floor.following.resume([pick("PICKED")], takes_over=True)
    floor.gaps.lost(0)
    assert floor.gaps_found() == [Gap("PICKED", NOW, 0)]
    await floor.following.take(0, Needs({0: ["HELD"]}))
    assert floor.gaps_found() == [Gap("HELD", NOW, 0)]


async def test_what_was_held_though_it_had_been_let_go_before_has_it_too(floor: Floor) -> None:
    floor.unpicked.add(["HELD"])
    await floor.following.resume([], takes_over=True)
    await floor.following.take(0, Needs({0: ["HELD"]}))
    assert floor.gaps_found() == [Gap("HELD", NOW, 0)]


async def test_what_is_no_longer_held_then_has_it_when_it_is_picked(floor: Floor) -> None:
    await floor.following.resume([pick("PICKED")], takes_over=True)
    floor.gaps_found()
    await floor.following.take(0, Needs({}))
    await floor.following.follow([pick("HELD")])
    assert floor.gaps_found() == [Gap("HELD", NOW, 0)]


@pytest.mark.parametrize("before", [(), ("PICKED",)], ids=["first", "later"])
async def test_what_no_consumer_can_have_has_none(floor: Floor, before: Sequence[str]) -> None:
    floor.unpicked.add(["GONE"])
    await floor.following.resume([pick(symbol) for symbol in before], takes_over=bool(before))
    floor.gaps_found()
    await floor.following.follow([pick("GONE" if before else "NEW")])
    assert floor.gaps_found() == []


async def test_what_a_consumer_begins_to_hold_has_been_asked_for_from_now_on(floor: Floor) -> None:
    await floor.following.resume([], takes_over=False)
    await floor.following.take(0, Needs({0: ["HELD"]}))
    assert floor.gaps_found() == [Gap("HELD", NOW, NOW)]


# --- ageing --------------------------------------------------------------------------------------------------------


AT = 1_709_908_200 * SECOND  # 09:30 New York


def ageing(scanners: dict[str, dict[str, Any]], **plan: Any) -> Ageing:
    return Ageing(TradePlan(scanners=scanners, **plan))


def test_a_symbol_not_picked_for_thirty_minutes_is_over() -> None:
    made = ageing({"s": {"recurrence": 5}})
    made.picked("A", "s", AT)
    made.picked("B", "s", AT)
    made.picked("B", "s", AT + 5 * MINUTE)
    assert made.expired(AT + 30 * MINUTE - 1) == []
    assert made.expired(AT + 30 * MINUTE) == ["A"]
    assert made.expired(AT + 35 * MINUTE) == ["A", "B"]
    made.forget("A")
    assert made.expired(AT + 35 * MINUTE) == ["B"]


def test_the_span_is_the_tradeplans() -> None:
    made = ageing({"s": {"recurrence": 1}}, timings=Timings(unpick_minutes=3))
    made.picked("A", "s", AT)
    assert made.expired(AT + 3 * MINUTE) == ["A"]


def test_the_picks_of_a_scanner_that_runs_once_last_all_day() -> None:
    made = ageing({"once": {}, "often": {"recurrence": 5}})
    made.picked("A", "often", AT)
    made.picked("A", "once", AT)
    made.picked("A", "often", AT)
    assert made.next_review(AT) == NEVER


def test_a_pick_lasts_until_its_scanner_had_time_to_run_again() -> None:
    made = ageing({"hourly": {"recurrence": 60}})
    made.picked("A", "hourly", AT)
    assert made.expired(AT + 61 * MINUTE) == []
    assert made.expired(AT + 62 * MINUTE) == ["A"]


def test_with_keep_picks_nothing_is_ever_over() -> None:
    made = ageing({"s": {"recurrence": 5}}, keep_picks=True)
    made.picked("A", "s", AT)
    made.closed("B", AT)
    assert made.next_review(AT) == NEVER


def test_that_a_symbol_was_held_changes_nothing_if_it_was_picked_and_is_all_if_it_was_not() -> None:
    made = ageing({"s": {"recurrence": 5}})
    made.picked("A", "s", AT)
    for symbol in ("A", "B"):
        made.closed(symbol, AT + 20 * MINUTE)
    assert made.expired(AT + 20 * MINUTE) == ["B"]
    assert made.expired(AT + 30 * MINUTE) == ["A", "B"]


def test_reviews_fall_on_half_minutes_after_the_first_symbol_is_over() -> None:
    made = ageing({"s": {"recurrence": 5}})
    made.picked("A", "s", AT)
    assert made.next_review(AT) == AT + 30 * MINUTE + 30 * SECOND
    late = AT + 40 * MINUTE
    assert made.next_review(late) == late + 30 * SECOND


# --- gaps ----------------------------------------------------------------------------------------------------------


def test_after_a_loss_everything_followed_is_told_once() -> None:
    gaps = Gaps()
    gaps.lost(5)
    gaps.lost(7)
    assert gaps.due
    carried = frozenset({"A", "B"})
    assert gaps.take(9, {"B", "A"}, carried) == [Gap("A", 9, 5), Gap("B", 9, 5)]
    assert not gaps.due and gaps.take(10, {"B", "A"}, carried) == []


def test_a_new_symbol_has_a_gap_only_if_the_vendor_refused_it_at_first() -> None:
    gaps = Gaps()
    gaps.subscribed(["A", "B"], 3)
    assert gaps.take(4, {"A", "B"}, frozenset({"A"})) == []
    gaps.let_go()
    assert gaps.due
    assert gaps.take(9, {"A", "B"}, frozenset({"B"})) == [Gap("B", 9, 3)]
    gaps.let_go()
    assert not gaps.due


def test_a_symbol_whose_history_is_known_already_has_a_gap_once_it_is_carried() -> None:
    gaps = Gaps()
    gaps.missing(["A"], 3)
    assert gaps.take(4, {"A"}, frozenset()) == []
    assert gaps.take(6, {"A"}, frozenset({"A"})) == [Gap("A", 6, 3)]
