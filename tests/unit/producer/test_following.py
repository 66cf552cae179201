"""What a producer that takes over from one before it says of symbols which consumers had from that one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liualgotrader.common.clock import WallClock
from liualgotrader.common.events import Gap, Needs, Pick
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.producer.ageing import Ageing
from liualgotrader.producer.assignment import Assignment
from liualgotrader.producer.event_outbox import EventOutbox
from liualgotrader.producer.following import Following
from liualgotrader.producer.gaps import Gaps
from liualgotrader.producer.router import Router
from liualgotrader.producer.unpicked import Unpicked

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

    def told(self) -> list[Gap]:
        return self.gaps.tell(NOW, self.router.symbols, frozenset(self.router.symbols))


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    return Floor(tmp_path)


def pick(symbol: str) -> Pick:
    return Pick(symbol, NOW, "scanner")


async def test_what_was_held_under_the_producer_before_has_a_gap_since_that_one_ended(floor: Floor) -> None:
    await floor.following.resume([pick("PICKED")], takes_over=True)
    floor.gaps.lost(0)
    assert floor.told() == [Gap("PICKED", NOW, 0)]
    await floor.following.hear(0, Needs({0: ["HELD"]}))
    assert floor.told() == [Gap("HELD", NOW, 0)]


async def test_what_was_held_though_it_had_been_let_go_before_has_it_too(floor: Floor) -> None:
    floor.unpicked.add(["HELD"])
    await floor.following.resume([], takes_over=True)
    await floor.following.hear(0, Needs({0: ["HELD"]}))
    assert floor.told() == [Gap("HELD", NOW, 0)]


async def test_what_is_no_longer_held_then_has_it_when_it_is_picked(floor: Floor) -> None:
    await floor.following.resume([pick("PICKED")], takes_over=True)
    floor.told()
    await floor.following.hear(0, Needs({}))
    await floor.following.follow([pick("HELD")])
    assert floor.told() == [Gap("HELD", NOW, 0)]


@pytest.mark.parametrize("before", [(), ("PICKED",)], ids=["first", "later"])
async def test_what_no_consumer_can_have_has_none(floor: Floor, before: Sequence[str]) -> None:
    floor.unpicked.add(["GONE"])
    await floor.following.resume([pick(symbol) for symbol in before], takes_over=bool(before))
    floor.told()
    await floor.following.follow([pick("GONE" if before else "NEW")])
    assert floor.told() == []


async def test_what_a_consumer_begins_to_hold_has_been_asked_for_from_now_on(floor: Floor) -> None:
    await floor.following.resume([], takes_over=False)
    await floor.following.hear(0, Needs({0: ["HELD"]}))
    assert floor.told() == [Gap("HELD", NOW, NOW)]
