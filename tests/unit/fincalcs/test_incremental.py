"""True ranges worked by hand, and the bounds of the incremental indicators' arguments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from liualgotrader.fincalcs.incremental import Extremes, Mean, SessionVwap, TrueRange, average_true_range
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
