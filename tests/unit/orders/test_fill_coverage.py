"""Each share of an order is booked once, whatever is delivered twice or in another order."""

from __future__ import annotations

from decimal import Decimal

import pytest

from liualgotrader.orders.order import FillCoverage


@pytest.mark.parametrize(
    ("parts", "booked"),
    [
        ([("a", 10, 10), ("a", 10, 10)], [10, 0]),
        ([("b", 30, 20), ("a", 10, 10)], [20, 10]),
        ([("a", 10, 10), ("c", 10, 10)], [10, 0]),
        ([("a", 10, 10), ("d", 15, 10)], [10, 5]),
    ],
)
def test_an_order_counts_each_part_of_itself_once(parts: list[tuple[str, int, int]], booked: list[int]) -> None:
    coverage = FillCoverage()
    assert [coverage.add(n, Decimal(upto), Decimal(q)) for n, upto, q in parts] == booked


def test_booked_shares_of_unknown_place_take_the_lowest_that_are_free() -> None:
    coverage = FillCoverage()
    coverage.cover((Decimal(20), Decimal(30)))
    coverage.place_rest(Decimal(25))  # 15 more: 0 to 15
    assert coverage.hole(Decimal(40)) == (15, 20)
    coverage.place_rest(Decimal(40))  # all of it
    assert coverage.hole(Decimal(40)) is None
