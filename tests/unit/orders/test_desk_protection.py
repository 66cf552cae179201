"""The stop and target of a position: made with it, moved while it is held, forgotten when it is flat."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from decimal import Decimal
from typing import Any

from liualgotrader.common.clock import SECOND
from liualgotrader.common.orders import Protect, Protection, ReplaceIntent
from liualgotrader.common.rows import PlanRow
from liualgotrader.orders.desk_messages import Prices, StopSlotTrading
from tests.fakes.broker import World

Levels = tuple[Decimal | None, Decimal | None]


def trade(world: World, side: str, quantity: int = 10, **terms: Any) -> str:
    name = world.order(1, side, quantity, **terms)
    settle(world)
    return name


def settle(world: World) -> None:
    world.run()
    world.wait(1)
    world.run()


def levels(world: World) -> Levels:
    position = world.desk.state.positions.position(1, "AAPL")
    return position.planned_stop, position.planned_target


def told(world: World) -> list[Levels]:
    said = [n for n in world.desk.news(1) if isinstance(n, Protection)]
    return [(n.planned_stop, n.planned_target) for n in said]


def stored(world: World) -> list[Levels]:
    rows = [row for _, row in sorted(world.rows.items()) if isinstance(row, PlanRow)]
    return [(row.planned_stop, row.planned_target) for row in rows]


def test_a_stop_that_arrives_again_after_its_position_was_closed_does_not_bind_the_next_one(world: World) -> None:
    trade(world, "buy")
    moved = Protect(1, "AAPL", world.now, Decimal(99), Decimal(120))
    world.tell(moved)
    trade(world, "sell")
    world.tell(moved)  # its sender had not seen that it had arrived
    trade(world, "buy")
    world.tell(moved)
    assert levels(world) == (None, None)
    world.tell(StopSlotTrading(1, "no answer"))
    assert world.desk.caretaken() == []
    world.tell(Prices({"AAPL": Decimal(98)}))
    settle(world)
    assert world.held(1) == 10


def test_a_stop_made_while_the_entry_works_waits_for_its_first_fill(world: World) -> None:
    world.order(1, "buy", 10, limit_price=Decimal("99.50"), planned_stop=Decimal(95))
    settle(world)
    world.tell(Protect(1, "AAPL", world.now, Decimal(97)))
    assert stored(world) == []  # there is no position yet that it could be stored for
    world.quote("AAPL", 99.40, 99.50)
    settle(world)
    assert (world.held(1), levels(world)) == (10, (97, None))
    assert stored(world) == [(97, None)]  # after the fill's row, which states the order's own


def test_the_next_fill_of_an_order_leaves_the_stop_where_it_was_moved_to(world: World) -> None:
    world.quote("AAPL", 99.99, 100.01, size=4)
    trade(world, "buy", planned_stop=Decimal(95))
    assert world.held(1) == 4
    world.tell(Protect(1, "AAPL", world.now, Decimal(98)))
    world.quote("AAPL", 99.99, 100.01)
    settle(world)
    assert (world.held(1), levels(world)) == (10, (98, None))
    assert stored(world)[-1] == (98, None)


def test_changing_an_entrys_price_leaves_the_stop_where_it_was_moved_to(world: World) -> None:
    world.quote("AAPL", 99.90, 99.95, size=4)
    name = trade(world, "buy", limit_price=Decimal("99.95"), planned_stop=Decimal(95))
    world.tell(Protect(1, "AAPL", world.now, Decimal(98)))
    world.wait(1)
    world.tell(ReplaceIntent(name, 1, world.now, None, Decimal("100.05")))
    world.quote("AAPL", 99.99, 100.01)
    settle(world)
    assert (world.held(1), levels(world)) == (10, (98, None))


def test_adding_to_a_position_brings_the_newer_plan(world: World) -> None:
    trade(world, "buy", 5, planned_stop=Decimal(95), planned_target=Decimal(120))
    world.tell(Protect(1, "AAPL", world.now, Decimal(96), Decimal(121)))
    world.wait(1)
    trade(world, "buy", 5, planned_stop=Decimal(97))
    assert levels(world) == (97, 121)


def test_an_older_move_does_not_undo_a_newer_one_and_the_echo_says_what_stands(world: World) -> None:
    trade(world, "buy")
    world.tell(Protect(1, "AAPL", world.now + SECOND, Decimal(98)))
    world.tell(Protect(1, "AAPL", world.now, Decimal(96)))
    assert levels(world) == (98, None)
    assert told(world) == [(98, None), (98, None)]
