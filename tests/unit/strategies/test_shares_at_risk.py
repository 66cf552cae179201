"""Sizes by the money at risk and by cost, worked by hand, and the bounds for all inputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.strategies.context import shares_at_risk

PRICES = st.floats(min_value=0.05, max_value=5000.0)


@pytest.mark.parametrize(
    "price, stop, shares",
    [
        (50.0, 48.0, 50),  # 100 $ at risk, 2 $ a share
        (50.0, 52.0, 50),  # the same for a short sale
        (50.0, 49.9, 100),  # 1000 shares by risk, but 5000 $ buy a hundred
        (50.0, 50.0, 0),  # a stop at the price is no stop
        (5001.0, 4999.0, 0),  # one share costs more than 5000 $
        (300.0, 150.0, 0),  # one share risks more than 100 $
        (3.0, 2.97, 1666),  # 1666.67 by cost
        (10.0, 9.9, 500),  # 0.1 is not exact in binary; 500 by cost
        (0.0, 1.0, 0),
    ],
)
def test_a_tenth_of_a_percent_of_a_hundred_thousand_is_at_risk(price: float, stop: float, shares: int) -> None:
    assert shares_at_risk(100_000.0, price, stop, risk_fraction=0.001) == shares


def test_whole_numbers_survive_binary_fractions() -> None:
    assert shares_at_risk(100_000.0, 1.1, 1.0, risk_fraction=0.0001) == 100  # 10 $ / 0.1000000000000000888


@pytest.mark.parametrize("equity", [0.0, -5000.0])
def test_an_empty_account_buys_nothing(equity: float) -> None:
    assert shares_at_risk(equity, 50.0, 49.0, risk_fraction=0.001) == 0


@given(st.floats(0.0, 1e7), PRICES, PRICES, st.floats(1e-5, 0.05), st.floats(1e-3, 1.0))
def test_neither_the_risk_nor_the_cost_is_ever_exceeded(
    equity: float, price: float, stop: float, risk: float, cost: float
) -> None:
    shares = shares_at_risk(equity, price, stop, risk_fraction=risk, cost_fraction=cost)
    assert shares >= 0
    assert shares * abs(price - stop) <= equity * risk * (1 + 1e-6) + abs(price - stop) * 1e-6
    assert shares * price <= equity * cost * (1 + 1e-6) + price * 1e-6
