"""Alpaca's timeframes, and bars folded into them.

Source: Alpaca market data API 1.1: `[1-59]Min`, `[1-23]Hour`, `1Day`, `1Week`, `[1,2,3,4,6,12]Month`, also T, H,
D, W, M. Minutes and hours are counted from New York's midnight, weeks begin on Monday, groups of months in
January; a bar is labelled by the beginning of its interval, from a day upwards by New York's midnight.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from liualgotrader.common.calendar import day_of, new_york
from liualgotrader.common.clock import HOUR, MINUTE
from liualgotrader.common.events import Bar
from liualgotrader.simulator.wire import MIDNIGHT, midnight_of
from liualgotrader.tapes.minute_bars import sum_of

_PATTERN = re.compile(r"(\d{1,2})?(Min|T|Hour|H|Day|D|Week|W|Month|M)")
_UNITS = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_COUNTS = {
    "Min": range(1, 60),
    "Hour": range(1, 24),
    "Day": (1,),
    "Week": (1,),
    "Month": (1, 2, 3, 4, 6, 12),
}


@dataclass(frozen=True, slots=True)
class Timeframe:
    """`count` minutes, hours, days, weeks or months."""

    count: int
    unit: str  # Min, Hour, Day, Week, Month

    @property
    def is_intraday(self) -> bool:
        """Whether it is made of minute bars; else of daily ones."""
        return self.unit in ("Min", "Hour")

    def label(self, at: int) -> int:
        """Return the beginning of the interval that holds the instant."""
        if self.is_intraday:
            length = self.count * (MINUTE if self.unit == "Min" else HOUR)
            midnight = midnight_of(at)
            return midnight + (at - midnight) // length * length
        return new_york(self._first_day(day_of(at)), MIDNIGHT)

    def _first_day(self, day: date) -> date:
        if self.unit == "Day":
            return day
        if self.unit == "Week":
            return day - timedelta(days=day.weekday())
        return day.replace(month=(day.month - 1) // self.count * self.count + 1, day=1)


def timeframe_of(text: str) -> Timeframe:
    """Return the timeframe that a request names.

    Raises:
        ValueError: if there is none of that name.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid timeframe: {text}")
    unit = _UNITS.get(match[2], match[2])
    count = int(match[1] or 1)
    if count not in _COUNTS[unit]:
        raise ValueError(f"invalid timeframe: {text}")
    return Timeframe(count, unit)


def folded(bars: Iterable[Bar], label: Callable[[int], int]) -> list[Bar]:
    """Return one bar per label over bars in time order; `opened_at` is the label, `closed_at` the last bar's."""
    result = []
    for at, group in groupby(bars, key=lambda b: label(b.opened_at)):
        members = list(group)
        if (bar := sum_of(members, at, members[-1].closed_at)) is not None:
            result.append(bar)
    return result
