"""The average-cost position against lots that are closed in proportion, in exact fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from liualgotrader.common.money import ZERO
from liualgotrader.common.position import after_execution

_CLOSE_ENOUGH = Fraction(1, 10**20)

shares = st.decimals("-100", "100", places=3)
prices = st.decimals("0.01", "900", places=4)


class _Lots:
    """Every lot that was opened and how much of it is left; a closing execution takes the same share of each."""

    def __init__(self) -> None:
        self.lots: list[tuple[Fraction, Fraction]] = []  # signed shares, price

    @property
    def quantity(self) -> Fraction:
        return sum((left for left, _ in self.lots), Fraction(0))

    def execute(self, signed: Fraction, price: Fraction) -> Fraction:
        held = self.quantity
        if held * signed >= 0:
            self.lots.append((signed, price))
            return Fraction(0)
        closed = min(abs(held), abs(signed)) * (1 if held > 0 else -1)
        self.lots = [(left - left * closed / held, paid) for left, paid in self.lots]
        if signed + closed:
            self.lots = [(signed + closed, price)]
        return closed


@given(st.lists(st.tuples(shares, prices), max_size=25))
@example([(Decimal(10), Decimal(4)), (Decimal(-10), Decimal(5)), (Decimal(3), Decimal(6))])
@example([(Decimal(10), Decimal(4)), (Decimal(-15), Decimal(5)), (Decimal(-5), Decimal(6)), (ZERO, Decimal(1))])
def test_any_run_of_executions_leaves_what_proportional_lots_leave(run: list[tuple[Decimal, Decimal]]) -> None:
    quantity, cost, lots = ZERO, ZERO, _Lots()
    for signed, price in run:
        quantity, cost, closed = after_execution(quantity, cost, signed, price)
        assert Fraction(closed) == lots.execute(Fraction(signed), Fraction(price))
        assert Fraction(quantity) == lots.quantity
        value = sum((left * paid for left, paid in lots.lots), Fraction(0))
        assert abs(Fraction(cost) * lots.quantity - value) <= _CLOSE_ENOUGH * (1 + abs(value))
        assert bool(cost) == bool(quantity)


@given(st.lists(st.tuples(shares, prices), max_size=25))
def test_a_short_position_is_the_mirror_image_of_a_long_one(run: list[tuple[Decimal, Decimal]]) -> None:
    long, short = (ZERO, ZERO, ZERO), (ZERO, ZERO, ZERO)
    for signed, price in run:
        long, short = after_execution(*long[:2], signed, price), after_execution(*short[:2], -signed, price)
        assert short == (-long[0], long[1], -long[2])
