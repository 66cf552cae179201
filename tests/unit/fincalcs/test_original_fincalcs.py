"""The original's helpers: candles drawn by hand, a slope of SciPy's, and frames of anything at all."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.fincalcs import candle_patterns
from liualgotrader.fincalcs.resample import ResampleRangeType, resample
from liualgotrader.fincalcs.support_resistance import (
    StopRangeType,
    find_resistances,
    find_stop,
    find_supports,
    get_local_maxima,
    grouper,
)
from liualgotrader.fincalcs.trends import SeriesTrendType, get_series_trend, volatility

NEW_YORK = ZoneInfo("America/New_York")
OPEN = datetime(2024, 3, 8, 9, 30, tzinfo=NEW_YORK)
ANY_NUMBER = st.floats()


def at_minutes(values: list[float], start: datetime = OPEN) -> pd.Series[float]:
    return pd.Series(
        values, index=pd.DatetimeIndex([start + timedelta(minutes=i) for i in range(len(values))]), dtype=float
    )


# open, high, low, close in dollars
CANDLES = {
    "gravestone_doji": ((10.00, 10.50, 9.99, 10.01), (10.00, 10.50, 9.60, 10.01)),
    "spinning_top": ((10.00, 10.10, 9.92, 10.02), (10.00, 10.10, 9.95, 10.02)),
    "bullish_candle": ((10.00, 10.21, 9.99, 10.20), (10.00, 10.20, 9.80, 10.10)),
    "bearish_candle": ((10.00, 10.10, 9.90, 9.99), (10.00, 10.10, 9.90, 10.00)),
    "dragonfly_candle": ((10.00, 10.01, 9.90, 10.00), (10.00, 10.05, 9.95, 10.00)),
}


@pytest.mark.parity(69)
@pytest.mark.parametrize("name", CANDLES)
def test_a_candle_drawn_by_hand_has_its_shape_and_its_neighbour_has_not(name: str) -> None:
    shape = getattr(candle_patterns, name)
    drawn, neighbour = CANDLES[name]
    assert (shape(*drawn), shape(*neighbour)) == (True, False)


def test_two_dojis_take_the_close_before_the_high() -> None:
    assert candle_patterns.doji(10.0, 10.0, 10.01, 9.99)
    assert not candle_patterns.doji(10.0, 10.0, 10.01, 10.0)
    assert candle_patterns.four_price_doji(10.001, 10.0, 10.0, 10.004)  # the same to the cent
    assert not candle_patterns.four_price_doji(10.0, 10.0, 10.02, 10.0)


def test_two_candles_are_read_one_after_the_other() -> None:
    top, bullish, dragonfly = (CANDLES[name][0] for name in ("spinning_top", "bullish_candle", "dragonfly_candle"))
    assert candle_patterns.spinning_top_bearish_followup(top, (10.0, 10.0, 9.9, 9.95))
    assert not candle_patterns.spinning_top_bearish_followup(top, (10.0, 10.1, 10.0, 10.05))
    above = (dragonfly[0] + 1, dragonfly[1] + 1, dragonfly[2] + 1, dragonfly[3] + 1)
    assert candle_patterns.bullish_candle_followed_by_dragonfly(bullish, above)
    assert not candle_patterns.bullish_candle_followed_by_dragonfly(bullish, dragonfly)  # opens below the close before


@given(st.tuples(ANY_NUMBER, ANY_NUMBER, ANY_NUMBER, ANY_NUMBER))
def test_any_four_numbers_have_a_shape_or_none(candle: tuple[float, float, float, float]) -> None:
    for name in (*CANDLES, "doji", "four_price_doji"):
        assert getattr(candle_patterns, name)(*candle) in (True, False)
    if not all(map(math.isfinite, candle)):
        assert not candle_patterns.four_price_doji(*candle)


@pytest.mark.parity(69)
@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ([1, 2, 3, 4], (1.0, SeriesTrendType.UP)),
        ([1, 3, 5, 7], (2.0, SeriesTrendType.SHARP_UP)),
        ([4, 3.5, 3, 2.5], (-0.5, SeriesTrendType.DOWN)),
        ([9, 7, 5, 3], (-2.0, SeriesTrendType.SHARP_DOWN)),
        ([5, 5, 5, 5], (0.0, SeriesTrendType.FLAT)),
        ([1, 2, 3], (0, SeriesTrendType.UNKNOWN)),
        ([1, 2, math.nan, 4], (0, SeriesTrendType.UNKNOWN)),
        ([1e308, -1e308, 1e308, -1e308, 1e308], (math.inf, SeriesTrendType.UNKNOWN)),
    ],
)
def test_a_series_has_the_trend_of_its_slope(series: list[float], expected: tuple[float, SeriesTrendType]) -> None:
    assert get_series_trend(pd.Series(series, dtype=float)) == expected


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=40))
def test_the_slope_is_that_of_a_fitted_line(values: list[float]) -> None:
    assert get_series_trend(values)[0] == pytest.approx(np.polyfit(range(len(values)), values, 1)[0], abs=1e-3)


def test_volatility_is_the_spread_of_the_last_twenty_changes() -> None:
    prices = at_minutes([100.0 * 1.01 ** (i % 2) for i in range(40)])
    loader: Any = {"IBM": SimpleNamespace(close=prices)}
    up, down = 0.01, 1 / 1.01 - 1
    mean = (up + down) / 2
    expected = math.sqrt(10 * ((up - mean) ** 2 + (down - mean) ** 2) / 19)
    assert volatility(loader, "IBM", OPEN + timedelta(hours=1)) == pytest.approx(expected)
    assert math.isnan(volatility({"IBM": SimpleNamespace(close=prices.iloc[:5])}, "IBM", OPEN + timedelta(hours=1)))


@pytest.mark.parity(69)
def test_minutes_become_bars_of_five() -> None:
    close = at_minutes([float(i) for i in range(1, 8)])
    frame = pd.DataFrame({"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": 10.0})
    bars = resample(frame, ResampleRangeType.min_5)
    assert bars.to_numpy().tolist() == [[0.5, 6.0, 0.0, 5.0, 50.0], [5.5, 8.0, 5.0, 7.0, 20.0]]
    assert list(bars.columns) == ["open", "high", "low", "close", "volume"]
    assert resample(frame, ResampleRangeType.min_1) is frame
    assert resample(frame.iloc[:0], ResampleRangeType.min_5).empty


def test_neighbours_within_two_percent_form_a_group() -> None:
    assert list(grouper([100, 101, 103, 103, 110, 109])) == [[100, 101, 103, 103], [110, 109]]
    assert list(grouper([100, 102, 105])) == [[100, 102], [105]]
    assert list(grouper([])) == []
    assert list(grouper([0.0, 0.0, 1.0])) == [[0.0, 0.0], [1.0]]


def valleys(*lows: float) -> pd.DataFrame:
    """Return a session in which each five minutes have one of these lows."""
    low = at_minutes([value for value in lows for _ in range(5)])
    return pd.DataFrame({"low": low, "close": low + 0.1})


@pytest.mark.parity(69)
def test_supports_are_todays_lows_that_turned_up_below_the_price() -> None:
    frame = valleys(10, 9, 10, 8, 9, 9.5, 9.2, 9.8)
    now = OPEN + timedelta(minutes=40)
    assert find_supports(9.1, frame, now) == [9.0, 8.0]
    assert find_supports(20, frame, now, StopRangeType.DAILY) == [9.0, 8.0, 9.2]
    assert find_supports(7, frame, now) is None
    assert find_stop(9.8, frame, now) == 9.2
    assert find_stop(9.8, frame.iloc[:0], now) is None
    assert find_supports(9.1, frame, now + timedelta(days=1)) is None  # yesterday's lows do not count
    with pytest.raises(NotImplementedError, match="DAILY"):
        find_stop(9.8, frame, now, StopRangeType.WEEKLY)


def test_resistances_are_closes_of_a_quarter_of_an_hour_that_turned_down_above_the_price() -> None:
    closes = at_minutes([price for price in (10, 12, 11, 13, 9) for _ in range(15)])
    found = asyncio.run(find_resistances("IBM", "any", 11.5, pd.DataFrame({"close": closes})))
    assert found == [12.0, 13.0]
    assert asyncio.run(find_resistances("IBM", "any", 14, pd.DataFrame({"close": closes}))) is None
    assert asyncio.run(find_resistances("IBM", "any", 14, pd.DataFrame({"close": closes.iloc[:0]}))) is None


@given(st.lists(ANY_NUMBER, max_size=60))
def test_any_series_has_maxima_that_are_among_its_values(values: list[float]) -> None:
    found = get_local_maxima(at_minutes(values))
    assert set(found) <= set(values)
    frame = pd.DataFrame({"low": at_minutes(values), "close": at_minutes(values)})
    for range_type in (StopRangeType.DAILY, StopRangeType.LAST_2_HOURS):
        find_supports(10.0, frame, OPEN + timedelta(hours=1), range_type)
        find_stop(10.0, frame, OPEN + timedelta(hours=1), range_type)
    asyncio.run(find_resistances("IBM", "any", 10.0, frame))


def test_maxima_stand_at_the_start_of_their_five_minutes() -> None:
    found = get_local_maxima(at_minutes([value for value in (1, 3, 2, 2, 1) for _ in range(5)]))
    assert pd.DatetimeIndex(found.index).minute.tolist() == [35, 45]
    assert found.tolist() == [3.0, 2.0]
