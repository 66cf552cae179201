"""Prices at which a symbol turned, at the original's addresses.

Its bars are frames of minutes with columns `close` and `low`, indexed by time in New York.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from liualgotrader.common import config

if TYPE_CHECKING:
    import pandas as pd


class StopRangeType(Enum):
    """How far back lows are looked at."""

    LAST_100_MINUTES = 1
    LAST_2_HOURS = 2
    LAST_3_HOURS = 3
    DAILY = 10
    WEEKLY = 20
    DATE_RANGE = 50


_MINUTES = {StopRangeType.LAST_100_MINUTES: 100, StopRangeType.LAST_2_HOURS: 120, StopRangeType.LAST_3_HOURS: 180}


def grouper(iterable: Iterable[float]) -> Iterator[list[float]]:
    """Yield runs of values of which each lies within `config.group_margin` (2 %) of the one before."""
    group: list[float] = []
    for value in iterable:
        if group and not abs(value - group[-1]) <= config.group_margin * abs(group[-1]):
            yield group
            group = []
        group.append(value)
    if group:
        yield group


async def find_resistances(
    symbol: str, strategy_name: str, current_value: float, minute_history: pd.DataFrame, debug: bool = False
) -> list[float] | None:
    """Return where closes of a quarter of an hour turned down, at or above `current_value`, lowest first; None if nowhere.

    Looked at are the regular sessions of the three days up to the newest bar. The names and `debug` are accepted for the
    original's sake.
    """
    closes = minute_history["close"].dropna()
    if closes.empty:
        return None
    recent = closes[closes.index >= closes.index[-1] - timedelta(days=3)].between_time("9:30", "16:00")
    turns = _turns(recent.resample("15min").max().dropna())
    return sorted(float(price) for price in turns if price >= current_value) or None


def find_supports(
    current_value: float,
    minute_history: pd.DataFrame,
    now: datetime,
    range_type: StopRangeType = StopRangeType.LAST_100_MINUTES,
) -> list[float] | None:
    """Return where lows of five minutes turned up today, below `current_value`, oldest first; None if nowhere.

    Raises:
        NotImplementedError: `range_type` is WEEKLY or DATE_RANGE, as in the original.
    """
    turns = _turns(-_lows(minute_history, now, range_type), flat=False)
    return [-float(price) for price in turns if -price < current_value] or None


def find_stop(
    current_value: float,
    minute_history: pd.DataFrame,
    now: datetime,
    range_type: StopRangeType = StopRangeType.LAST_100_MINUTES,
) -> float | None:
    """Return the newest price at which lows of five minutes turned up today; None if nowhere.

    Raises:
        NotImplementedError: `range_type` is WEEKLY or DATE_RANGE, as in the original.
    """
    turns = _turns(-_lows(minute_history, now, range_type), flat=False)
    return -float(turns.iloc[-1]) if len(turns) else None


def get_local_maxima(series: pd.Series[float], debug: bool = False) -> pd.Series[float]:
    """Return where the highest values of five minutes turned down, by time."""
    return series.astype(float) if series.empty else _turns(series.resample("5min").max().dropna())


def _lows(minute_history: pd.DataFrame, now: datetime, range_type: StopRangeType) -> pd.Series[float]:
    """Return today's lows of five minutes."""
    if range_type is not StopRangeType.DAILY and range_type not in _MINUTES:
        raise NotImplementedError(f"{range_type} is not looked at; use DAILY or one of the last minutes and hours")
    lows = minute_history["low"].dropna()
    if range_type is StopRangeType.DAILY:
        since = now.replace(hour=9, minute=30, second=0, microsecond=0)
    else:
        since = now.replace(hour=0, minute=0, second=0, microsecond=0)
        lows = lows.iloc[-_MINUTES[range_type] :]
    if not lows.empty:
        lows = lows[lows.index >= since]
    return lows if lows.empty else lows.resample("5min").min().dropna()


def _turns(series: pd.Series[float], *, flat: bool = True) -> pd.Series[float]:
    """Return the values that come after a rise, or none, and before a fall."""
    with np.errstate(invalid="ignore"):  # infinity less infinity is no move
        moves = np.diff(series.to_numpy(dtype=float))
    return series.iloc[1 + np.flatnonzero((moves[:-1] >= 0) & (moves[1:] <= 0 if flat else moves[1:] < 0))]
