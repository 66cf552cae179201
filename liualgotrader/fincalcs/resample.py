"""Bars put together, at the original's address."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: dict[Hashable, str] = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


class ResampleRangeType(Enum):
    """Length of the bars."""

    min_1 = 0
    min_2 = 1
    min_5 = 2
    min_10 = 3
    min_15 = 4


def resample(ohlc: pd.DataFrame, resample_range: ResampleRangeType) -> pd.DataFrame:
    """Return bars of `resample_range` with the columns open, high, low, close and volume, by their start.

    A span without a bar is NaN, its volume 0. `min_1`, and a frame without rows, come back as they are.
    """
    if resample_range is ResampleRangeType.min_1 or ohlc.empty:
        return ohlc
    with np.errstate(over="ignore"):  # volumes that are too large are infinite
        return ohlc.resample(resample_range.name.removeprefix("min_") + "min").agg(_COLUMNS)
