"""Volume-weighted prices of a frame of minute bars, at the original's addresses and with its formulas."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def add_daily_vwap(
    minute_data: pd.DataFrame, debug: bool = False, back_time: datetime | None = None, in_place: bool = True
) -> bool | pd.Series[float]:
    """Return the running VWAP from the bar at or after `back_time` on, in US dollars per share.

    Each bar is weighed at (high + low + close) / 3. With `in_place` the columns `average`, `pv`, `apv`, `av`
    and `vwap` are written into the frame from that bar on, and True comes back; False if `back_time` is None
    or no bar starts there or later. `debug` is accepted for the original's sake.
    """
    if back_time is None or minute_data.empty:
        return False
    part = minute_data.loc[minute_data.index >= back_time]
    if part.empty:
        return False
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is infinite
        average = (part["close"] + part["high"] + part["low"]) / 3
        dollars = average * part["volume"]
        spent, shares = dollars.cumsum(), part["volume"].cumsum()
        vwap: pd.Series[float] = spent / shares
    if not in_place:
        return vwap
    for name, column in (("average", average), ("pv", dollars), ("apv", spent), ("av", shares), ("vwap", vwap)):
        minute_data.loc[part.index, name] = column
    return True


def anchored_vwap(ohlc_data: pd.DataFrame, start_time: datetime, debug: bool = False) -> pd.Series[float]:
    """Return the running VWAP from the first bar at or after `start_time`, in US dollars per share."""
    found = add_daily_vwap(ohlc_data, back_time=start_time, in_place=False)
    return ohlc_data["close"].iloc[:0] if isinstance(found, bool) else found
