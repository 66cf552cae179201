"""What executions add up to."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.rows import CarriedPosition
from liualgotrader.store.order_tables import PositionStep, carried_positions


def d(text: str) -> Decimal:
    return Decimal(text)


def test_a_position_turned_round_costs_what_turned_it_and_has_its_stop() -> None:
    steps = [
        PositionStep("A", 1, d("10"), d("100"), d("95"), d("120")),
        PositionStep("A", 2, d("-15"), d("90"), d("99"), None),
    ]
    assert carried_positions(steps) == [CarriedPosition("A", d("-5"), d("90"), 2, d("99"), None, d("99"))]


def test_a_fill_without_a_stop_leaves_the_one_there_is() -> None:
    steps = [PositionStep("A", 1, d("10"), d("100"), d("95")), PositionStep("A", 2, d("10"), d("101"), None, d("130"))]
    assert carried_positions(steps) == [CarriedPosition("A", d("20"), d("100.5"), 1, d("95"), d("130"), d("95"))]


def test_a_moved_stop_does_not_change_what_was_risked_at_entry() -> None:
    steps = [PositionStep("A", 1, d("10"), d("100"), d("95")), PositionStep("A", 2, stop=d("101"))]
    assert carried_positions(steps) == [CarriedPosition("A", d("10"), d("100"), 1, d("101"), None, d("95"))]


def test_a_stop_moved_after_the_position_had_closed_is_forgotten() -> None:
    steps = [
        PositionStep("A", 1, d("10"), d("100")),
        PositionStep("A", 2, d("-10"), d("100")),
        PositionStep("A", 3, stop=d("95")),
        PositionStep("A", 4, d("1"), d("50")),
    ]
    assert carried_positions(steps) == [CarriedPosition("A", d("1"), d("50"), 4)]


@given(st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 500)), max_size=30))
def test_the_quantity_is_the_sum_and_the_cost_lies_among_the_prices(fills: list[tuple[int, int]]) -> None:
    steps = [PositionStep("A", n, Decimal(shares), Decimal(price)) for n, (shares, price) in enumerate(fills)]
    total = sum(shares for shares, _ in fills)
    found = carried_positions(steps)
    assert [one.quantity for one in found] == ([total] if total else [])
    if found:
        prices = [price for _, price in fills]
        assert min(prices) <= found[0].average_price <= max(prices)
