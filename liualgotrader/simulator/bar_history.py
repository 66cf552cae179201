"""Bars of any of Alpaca's timeframes, from the tape's past sessions and from today as far as it has been played.

Source: Alpaca market data API 1.1: `[1-59]Min`, `[1-23]Hour`, `1Day`, `1Week`, `[1,2,3,4,6,12]Month`, also T, H,
D, W, M. Minutes and hours are counted from New York's midnight, weeks begin on Monday, groups of months in
January; a bar is labelled by the beginning of its interval, from a day upwards by New York's midnight.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from liualgotrader.common.calendar import day_of, new_york
from liualgotrader.common.clock import HOUR, MINUTE
from liualgotrader.common.events import Bar
from liualgotrader.common.ports import Tape
from liualgotrader.simulator.day_history import DayRecord
from liualgotrader.simulator.wire import MIDNIGHT, midnight_of
from liualgotrader.tapes.minute_bars import sum_of

_LOOK_BACK = timedelta(days=15)  # the longest that the exchange has ever stayed shut, and more
_FIRST_DAY = date(1998, 1, 1)
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
        day = day_of(at)
        if self.unit == "Week":
            day -= timedelta(days=day.weekday())
        elif self.unit == "Month":
            day = day.replace(month=(day.month - 1) // self.count * self.count + 1, day=1)
        return new_york(day, MIDNIGHT)


def timeframe_of(text: str) -> Timeframe:
    """Return the timeframe that a request names.

    Raises:
        ValueError: if there is none of that name.
    """
    match = _PATTERN.fullmatch(text)
    if match is not None:
        unit, count = _UNITS.get(match[2], match[2]), int(match[1] or 1)
        if count in _COUNTS[unit]:
            return Timeframe(count, unit)
    raise ValueError(f"invalid timeframe: {text}")


def folded(bars: Iterable[Bar], label: Callable[[int], int]) -> list[Bar]:
    """Return one bar per label over bars in time order; `opened_at` is the label, `closed_at` the last bar's."""
    result = []
    for at, group in groupby(bars, key=lambda b: label(b.opened_at)):
        members = list(group)
        result.append(sum_of(members, at, members[-1].closed_at))
    return result


class HistorySource:
    """Bars of any timeframe; none lies ahead of the record."""

    def __init__(self, tape: Tape, record: DayRecord) -> None:
        self._tape, self._record = tape, record
        self._today = new_york(tape.day, MIDNIGHT)
        self._previous: dict[str, Bar | None] = {}

    def bars(self, symbol: str, timeframe: Timeframe, start: int, end: int) -> Sequence[Bar]:
        """Return bars whose label lies in start <= label <= end, oldest first; `opened_at` is the label.

        The newest interval holds what has happened of it; of the present minute nothing.
        """
        first = timeframe.label(start)
        source: list[Bar]
        if timeframe.is_intraday:
            stop = end + 24 * HOUR  # `end` is the last label: its interval reaches beyond it by less than a day
            past = self._tape.minute_bars(symbol, first, min(stop, self._today)) if first < self._today else ()
            source = [*past, *self._record.bars(symbol, max(first, self._today), stop)]
        else:
            from_day = max(day_of(max(first, 0)), _FIRST_DAY)
            last_day = min(day_of(end) + timedelta(days=366), self._tape.day - timedelta(days=1))
            source = list(self._tape.daily_bars(symbol, from_day, last_day)) if from_day <= last_day else []
            today = self._record.day_bar(symbol)
            if today is not None and today.opened_at >= first:
                source.append(today)
        if timeframe == Timeframe(1, "Min"):
            return [b for b in source if start <= b.opened_at <= end]
        return [b for b in folded(source, timeframe.label) if start <= b.opened_at <= end]

    def previous_day(self, symbol: str) -> Bar | None:
        """Return the daily bar of the session before, None if the tape knows of none."""
        if symbol not in self._previous:
            yesterday = self._tape.day - timedelta(days=1)
            found = self._tape.daily_bars(symbol, yesterday - _LOOK_BACK, yesterday)
            self._previous[symbol] = found[-1] if found else None
        return self._previous[symbol]
