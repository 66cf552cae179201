"""The direction of a series and how much a symbol moves, at the original's addresses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


class SeriesTrendType(Enum):
    """How steep a series is; a unit of slope is one unit of the series a point."""

    UNKNOWN = 0
    SHARP_DOWN = 1
    DOWN = 5
    FLAT = 10  # the original has none: it calls a flat series SHARP_DOWN
    UP = 15
    SHARP_UP = 20


class VolatilityClassificationType(Enum):
    """How much a symbol moves."""

    UNKNOWN = 0
    LOW = 1
    MEDIUM = 5
    HIGH = 10


def get_series_trend(series: pd.Series[float] | Sequence[float]) -> tuple[float, SeriesTrendType]:
    """Return the least-squares slope, to three digits, and what it is called.

    Up to 1 it is UP, above SHARP_UP, the same below zero. UNKNOWN with slope 0 if there are fewer than four points or one is
    NaN; UNKNOWN with slope inf if one is infinite or the sums overflow.
    """
    points = np.asarray(series, dtype=float)
    if len(points) < 4 or np.isnan(points).any():
        return 0, SeriesTrendType.UNKNOWN
    x = np.arange(len(points)) - (len(points) - 1) / 2
    with np.errstate(all="ignore"):
        slope = float(x @ points / (x @ x))
    if not isfinite(slope):
        return inf, SeriesTrendType.UNKNOWN
    slope = round(slope, 3)
    if slope == 0:
        return 0.0, SeriesTrendType.FLAT
    if slope > 0:
        return slope, SeriesTrendType.UP if slope <= 1 else SeriesTrendType.SHARP_UP
    return slope, SeriesTrendType.DOWN if slope >= -1 else SeriesTrendType.SHARP_DOWN


def volatility(data_loader: Any, symbol: str, now: datetime) -> float:
    """Return the standard deviation of the last 20 changes from bar to bar, as fractions, of the 30 days before `now`.

    NaN if there are fewer.
    """
    closes = data_loader[symbol].close[now - timedelta(days=30) : now]
    with np.errstate(all="ignore"):  # squares and ratios of what no price is
        changes = closes.pct_change(fill_method=None).iloc[1:]
        return float(changes.iloc[-20:].std()) if len(changes) >= 20 else nan
