"""Shares in which our books and the account differ: set apart, never sold beyond what is there, settled by a person."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from decimal import Decimal

import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.common.orders import Fill
from liualgotrader.exchange.exchange_values import OrderRequest
from liualgotrader.orders.desk_messages import Flatten, KillSwitch, Missing, Resolution, Resolve, Warn
from tests.fakes.broker import HOURS, World, now_of

ADOPT, FLATTEN, IGNORE = Resolution.ADOPT, Resolution.FLATTEN, Resolution.IGNORE
D = Decimal


def settle(world: World, seconds: float = 1) -> None:
    world.run()
    world.wait(seconds)
    world.run()


def by_hand(world: World, side: str, quantity: int, symbol: str = "AAPL") -> None:
    """Trade in the account without the desk, as a person does on the broker's own page."""
    request = OrderRequest(symbol=symbol, side=side, type="market", time_in_force="day", quantity=D(quantity))
    world.exchange.submit("me", request, world.now)
    world.now += SECOND
    world._collect()


def there(world: World, symbol: str = "AAPL") -> Decimal:
    return {p.symbol: p.quantity for p in now_of(world.broker.positions())}.get(symbol, D(0))


def held_and_sold_by_hand(world: World, bought: int, sold: int) -> None:
    world.order(1, "buy", bought)
    settle(world)
    by_hand(world, "sell", sold)
    settle(world, 70)
    settle(world, 2)
    assert "AAPL" in world.desk.state.quarantine.reasons


def said(world: World, level: str) -> list[str]:
    return [d.text for d in world.others if isinstance(d, Warn) and d.level == level]


# --- closed by hand during the session


def test_what_was_closed_by_hand_is_not_sold_short_by_an_exit(world: World) -> None:
    held_and_sold_by_hand(world, 10, 7)
    sold = world.order(1, "sell", 10)
    settle(world)
    assert (world.states(sold)[-1], world.order_rows()[sold].quantity, there(world)) == ("filled", 3, 0)
    again = world.order(1, "sell", 1)
    assert world.order_rows()[again].reason == "not_there"


def test_the_end_of_the_day_closes_no_more_than_is_there(world: World) -> None:
    held_and_sold_by_hand(world, 10, 7)
    world.wait((HOURS.liquidates_at - world.now) / SECOND - 1)
    world.quote("AAPL", 99.99, 100.01)
    for _ in range(8):
        settle(world)
    assert there(world) == 0
    assert not world.desk.has_closings
    assert any("by our books, but the account does not" in text for text in said(world, "ERROR"))


@pytest.mark.parametrize(("how", "held"), [(ADOPT, 3), (FLATTEN, 0)])
def test_our_books_take_over_what_was_closed_by_hand(world: World, how: Resolution, held: int) -> None:
    held_and_sold_by_hand(world, 10, 7)
    world.tell(Resolve("AAPL", how, price=D("101.50")))
    row = world.trade_rows()[1]
    assert (row.operation, row.quantity, row.price, row.indicators) == ("sell", 7, D("101.50"), {"settled": how})
    settle(world)
    assert (world.held(1), there(world)) == (held, held)
    settle(world, 70)
    assert world.desk.facts().quarantined == {}
    assert world.states(world.order(1, "buy", 1)) == ["written"]


def test_what_our_books_have_cannot_be_ignored(world: World) -> None:
    held_and_sold_by_hand(world, 10, 7)
    world.tell(Resolve("AAPL", IGNORE))
    assert "AAPL" in world.desk.facts().quarantined
    assert any("cannot be ignored" in text for text in said(world, "WARNING"))


def test_a_settlement_is_the_same_after_a_crash(world: World) -> None:
    held_and_sold_by_hand(world, 10, 7)
    world.tell(Resolve("AAPL", ADOPT))
    world.crash()
    world.calm()
    assert (world.held(1), world.desk.facts().quarantined) == (3, {})


# --- bought by hand during the session


def bought_by_hand(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    by_hand(world, "buy", 5)
    settle(world, 70)
    settle(world, 2)
    assert "AAPL" in world.desk.state.quarantine.reasons


@pytest.mark.parametrize(
    ("how", "held", "left", "foreign"), [(ADOPT, 15, 15, {}), (FLATTEN, 10, 10, {}), (IGNORE, 10, 15, {"AAPL": 5})]
)
def test_what_was_bought_by_hand(world: World, how: Resolution, held: int, left: int, foreign: dict[str, int]) -> None:
    bought_by_hand(world)
    world.tell(Resolve("AAPL", how))
    for _ in range(3):
        settle(world)
    assert (world.held(1), there(world), world.desk.facts().foreign) == (held, left, foreign)
    settle(world, 70)
    settle(world, 2)
    assert world.desk.facts().quarantined == {}
    assert sum(t.quantity for t in world.trade_rows()) == held  # what nobody's strategy did is nobody's trade


def test_a_strategy_is_named_where_several_could_take_the_shares(world: World) -> None:
    by_hand(world, "buy", 5)
    settle(world, 70)
    settle(world, 2)
    world.tell(Resolve("AAPL", ADOPT, price=D(100)))
    assert any("--strategy" in text for text in said(world, "WARNING"))
    world.tell(Resolve("AAPL", ADOPT, "beta", D(100)))
    assert (world.held(2), world.desk.facts().quarantined) == (5, {})


# --- closed by hand between two sessions


def begun_without(there_now: int) -> World:
    """Return a session whose strategy held 10 before, of which the account still has `there_now`."""
    world = World()
    if there_now:
        by_hand(world, "buy", there_now)
    world.tell(Missing(1, "AAPL", D(10), D(90), D(there_now)))
    settle(world)
    return world


def test_a_strategy_begins_without_what_is_gone_and_the_symbol_waits_for_a_person() -> None:
    world = begun_without(0)
    settle(world, 70)
    settle(world, 70)
    assert [n for n in world.desk.news(1) if isinstance(n, Fill)] == []
    refused = world.order(2, "buy", 1)
    assert world.order_rows()[refused].reason == "quarantined"
    warnings = [text for text in said(world, "WARNING") if "alpha held 10 AAPL" in text]
    assert len(warnings) == 1
    assert "liu positions adopt" in warnings[0]


@pytest.mark.parametrize(
    ("there_now", "how", "sold", "held", "foreign"),
    [
        (0, ADOPT, [(10, 95)], 0, {}),
        (0, IGNORE, [(10, 90)], 0, {}),
        (4, ADOPT, [(6, 95)], 4, {}),
        (4, FLATTEN, [(6, 95), (4, D("99.99"))], 0, {}),
        (4, IGNORE, [(10, 90)], 0, {"AAPL": 4}),
    ],
)
def test_what_is_gone_is_booked_so_that_no_later_session_looks_for_it(
    there_now: int, how: Resolution, sold: list[tuple[int, int]], held: int, foreign: dict[str, int]
) -> None:
    world = begun_without(there_now)
    world.tell(Resolve("AAPL", how, price=D(95)))
    settle(world)
    settle(world)
    assert [(t.quantity, t.price) for t in world.trade_rows()] == sold
    assert 10 - sum(t.quantity for t in world.trade_rows()) == held == world.held(1)
    assert (world.desk.facts().foreign, world.desk.facts().quarantined) == (foreign, {})
    settle(world, 70)
    settle(world, 2)
    assert world.desk.facts().quarantined == {}


# --- the whole account


def test_the_kill_switch_for_the_whole_account_closes_what_is_not_ours_too() -> None:
    world = World()
    by_hand(world, "buy", 5, "MSFT")
    world.order(1, "buy", 10)
    settle(world)
    assert world.desk.facts().foreign == {"MSFT": 5}
    world.tell(KillSwitch(flatten=True, whole_account=True))
    assert world.bulks[-1].whole_account
    for _ in range(3):
        settle(world)
    assert (there(world), there(world, "MSFT")) == (0, 0)
    settle(world, 70)
    settle(world, 2)
    assert world.desk.facts().quarantined == {}


def test_flatten_alone_leaves_what_is_not_ours() -> None:
    world = World()
    by_hand(world, "buy", 5, "MSFT")
    settle(world)
    world.tell(Flatten())
    settle(world)
    assert there(world, "MSFT") == 5


# --- not ours from the start


def with_foreign_shares() -> World:
    world = World()
    by_hand(world, "buy", 5, "MSFT")
    settle(world)
    assert world.desk.facts().foreign == {"MSFT": 5}
    return world


@pytest.mark.parametrize(
    ("how", "ours", "left", "foreign"), [(ADOPT, 5, 5, {}), (FLATTEN, 0, 0, {}), (IGNORE, 0, 5, {"MSFT": 5})]
)
def test_shares_that_were_never_ours_are_adopted_or_closed_as_an_operator_says(
    how: Resolution, ours: int, left: int, foreign: dict[str, int]
) -> None:
    world = with_foreign_shares()
    first = world.desk.state.terms.slots[0]
    world.tell(Resolve("MSFT", how, first.strategy, D(100)))
    for _ in range(3):
        settle(world)
    assert (world.desk.state.positions.held(first.slot, "MSFT"), there(world, "MSFT")) == (ours, left)
    settle(world, 70)
    settle(world, 2)
    assert (world.desk.facts().foreign, world.desk.facts().quarantined) == (foreign, {})


def test_shares_that_were_never_ours_go_to_nobody_unless_a_strategy_is_named() -> None:
    world = with_foreign_shares()
    world.tell(Resolve("MSFT", ADOPT, "", D(100)))
    settle(world)
    assert said(world, "WARNING") == ["MSFT: several strategies could take the shares: name one with --strategy"]
    assert world.desk.facts().foreign == {"MSFT": 5}
