"""True ranges worked by hand, and the bounds of the incremental indicators' arguments."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import example, given
from hypothesis import strategies as st

from liualgotrader.fincalcs.incremental import (
    ExponentialMean,
    Extremes,
    Mean,
    SessionVwap,
    TrueRange,
    average_true_range,
)
from liualgotrader.fincalcs.resample import ResampleRangeType, resample
from liualgotrader.fincalcs.support_resistance import grouper
from liualgotrader.fincalcs.trends import SeriesTrendType, get_series_trend, volatility
from liualgotrader.fincalcs.vwap import add_daily_vwap, anchored_vwap

OPEN = datetime(2024, 3, 8, 14, 30, tzinfo=UTC)


def test_the_average_true_range_counts_gaps_from_the_close_before() -> None:
    high, low, close = (
        np.array([11.0, 12.0, 20.0, 15.0]),
        np.array([10.0, 11.0, 19.0, 14.0]),
        np.array([10.5, 11, 19.5, 14]),
    )
    # 12 - 10.5 = 1.5; 20 - 11 = 9; 19.5 - 14 = 5.5
    assert average_true_range(high, low, close, length=3) == pytest.approx(16.0 / 3)
    assert average_true_range(high, low, close, length=2) == pytest.approx(14.5 / 2)


def test_the_average_true_range_needs_a_close_before_its_first_bar() -> None:
    column = np.full(14, 10.0)
    assert average_true_range(column, column, column, length=14) is None
    longer = np.full(15, 10.0)
    assert average_true_range(longer, longer, longer, length=14) == 0.0


def test_wilders_range_needs_its_length_of_bars() -> None:
    wilder = TrueRange(3)
    assert [wilder.update(11, 10, 10), wilder.update(11, 10, 10), wilder.update(11, 10, 10)] == [None, None, 1.0]


@pytest.mark.parametrize("kind", [Mean, Extremes])
def test_a_window_holds_at_least_one_value(kind: type) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        kind(0)


def test_the_sessions_deviation_is_weighed_by_volume() -> None:
    vwap = SessionVwap()
    assert (vwap.update(10.0, 0.0), vwap.deviation) == (None, 0.0)
    vwap.update(9.0, 300.0)
    vwap.update(13.0, 100.0)
    assert vwap.value == 10.0  # (2700 + 1300) / 400
    assert vwap.deviation == pytest.approx(3.0**0.5)  # (300 x 1 + 100 x 9) / 400 = 3


def test_an_anchored_vwap_begins_at_its_anchor_and_leaves_the_frame_alone() -> None:
    index = pd.DatetimeIndex([OPEN + timedelta(minutes=i) for i in range(3)])
    minutes = pd.DataFrame({"close": [99.0, 20, 70], "high": [99.0, 20, 50], "low": [99.0, 10, 5]}, index=index)
    minutes["volume"] = [1e6, 100, 300]
    found = anchored_vwap(minutes, OPEN + timedelta(minutes=1))
    assert list(found) == pytest.approx([50 / 3, (50 / 3 * 100 + 125 / 3 * 300) / 400])
    assert list(minutes.columns) == ["close", "high", "low", "volume"]


def test_without_an_anchor_there_is_no_vwap() -> None:
    assert add_daily_vwap(pd.DataFrame({"close": [1.0]})) is False


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=60), st.integers(2, 15))
def test_means_and_extremes_are_those_of_ta_lib(prices: list[float], length: int) -> None:
    column = np.array(prices)
    mean, smooth, extremes = Mean(length), ExponentialMean(length), Extremes(length)
    found: list[list[float]] = []
    for price in prices:
        values = mean.update(price), smooth.update(price)
        extremes.update(price)
        of_bar = (*values, extremes.highest, extremes.lowest)
        found.append([math.nan if value is None else value for value in of_bar])
    expected = [function(column, length) for function in (talib.SMA, talib.EMA, talib.MAX, talib.MIN)]
    assert np.allclose(np.array(found).T, expected, rtol=1e-9, equal_nan=True)


ANYTHING = st.lists(st.floats(), max_size=40)
CONSTANT = st.builds(lambda value, count: [value] * count, st.floats(), st.integers(0, 40))


@given(ANYTHING | CONSTANT, st.integers(1, 15))
@example([9.5e153, 9.5e153], 1)
@example([9e307, 9e307], 1)
@example([math.nan], 1)
@example([1.0] * 14 + [1.4e154] + [0.0] * 6, 1)
@example([1.7976931348623157e308, -1.7976931348623157e308], 1)
def test_no_helper_raises_whatever_it_is_given(values: list[float], length: int) -> None:
    """Nothing, one row, constant values, NaN and infinity: each gives a documented value."""
    for indicator in (Mean(length), ExponentialMean(length)):
        for value in values:
            indicator.update(value)
    extremes, vwap, wilder = Extremes(length), SessionVwap(), TrueRange(length)
    for value in values:
        extremes.update(value)
        vwap.update(value, value)
        wilder.update(value, value, value)
    assert vwap.deviation >= 0 or math.isnan(vwap.deviation)
    column = np.array(values, dtype=float)
    assert (average_true_range(column, column, column, length) is None) == (len(values) <= length)
    index = pd.DatetimeIndex([OPEN + timedelta(minutes=i) for i in range(len(values))], tz="UTC")
    frame = pd.DataFrame({name: column for name in ("open", "high", "low", "close", "volume")}, index=index)
    assert add_daily_vwap(frame.copy(), back_time=OPEN) is bool(values)
    assert len(anchored_vwap(frame, OPEN)) == len(values)
    for span in ResampleRangeType:
        assert len(resample(frame, span)) <= len(frame)
    slope, kind = get_series_trend(values)
    assert kind in SeriesTrendType and not math.isnan(slope)
    assert [value for group in grouper(values) for value in group] == pytest.approx(values, nan_ok=True)
    spread = volatility({"IBM": SimpleNamespace(close=frame["close"])}, "IBM", OPEN + timedelta(hours=1))
    assert spread >= 0 or math.isnan(spread)
