"""VWAP against the value the original documents, and the incremental one against the frame's."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.fincalcs.incremental import ExponentialMean, Extremes, Mean, SessionVwap, TrueRange
from liualgotrader.fincalcs.vwap import add_daily_vwap, anchored_vwap

OPEN = datetime(2024, 3, 8, 14, 30, tzinfo=UTC)
PRICES = st.floats(min_value=1.0, max_value=1000.0, allow_nan=False)


def frame(rows: list[tuple[float, float, float]]) -> pd.DataFrame:
    index = pd.DatetimeIndex([OPEN + timedelta(minutes=i) for i in range(len(rows))])
    return pd.DataFrame(rows, columns=["close", "high", "low"], index=index).assign(volume=100.0)


@pytest.mark.parity(69)
def test_the_third_bar_of_the_documented_example_has_a_vwap_of_25() -> None:
    minutes = frame([(20, 20, 10), (20, 20, 10), (70, 50, 5)])
    assert add_daily_vwap(minutes, back_time=OPEN) is True
    assert minutes["vwap"].iloc[2] == 25.0


def test_an_anchor_after_the_last_bar_gives_nothing() -> None:
    minutes = frame([(20, 20, 10)])
    assert add_daily_vwap(minutes, back_time=OPEN + timedelta(hours=1)) is False
    assert anchored_vwap(minutes, OPEN + timedelta(hours=1)).empty


@given(st.lists(PRICES, min_size=1, max_size=50))
def test_the_incremental_vwap_lies_between_the_lowest_and_the_highest_price(prices: list[float]) -> None:
    vwap = SessionVwap()
    for price in prices:
        vwap.update(price, 100.0)
    assert vwap.value is not None
    assert min(prices) - 1e-9 <= vwap.value <= max(prices) + 1e-9
    assert vwap.value == pytest.approx(sum(prices) / len(prices))


@given(st.lists(PRICES, min_size=1, max_size=60), st.integers(1, 10))
def test_the_sliding_extremes_are_those_of_the_window(prices: list[float], length: int) -> None:
    extremes, mean = Extremes(length), Mean(length)
    for i, price in enumerate(prices, start=1):
        extremes.update(price)
        mean.update(price)
        window = prices[max(0, i - length) : i]
        expected = (max(window), min(window)) if i >= length else (None, None)
        assert (extremes.highest, extremes.lowest) == expected
        if i >= length:
            assert mean.value is not None
            assert math.isclose(mean.value, sum(window) / length, rel_tol=1e-9)


def test_the_exponential_mean_starts_from_the_simple_one() -> None:
    mean = ExponentialMean(3)
    assert [mean.update(x) for x in (1, 2, 3, 4, 5, 6)] == [None, None, 2, 3, 4, 5]


def test_the_true_range_counts_a_gap() -> None:
    wilder = TrueRange(2)
    wilder.update(11, 10, 10)  # range 1
    assert wilder.update(15, 14, 15) == 3.0  # gap from 10 to 15: range 5, mean of 1 and 5
    assert wilder.update(16, 15, 16) == 2.0  # 3 + (1 - 3) / 2
