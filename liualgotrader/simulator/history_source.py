"""What the market-data routes may know: the tape's past sessions, and today as far as it has been played."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from liualgotrader.common.calendar import day_of, new_york
from liualgotrader.common.events import Bar
from liualgotrader.common.ports import Tape
from liualgotrader.simulator.day_history import DayRecord
from liualgotrader.simulator.timeframes import Timeframe, folded
from liualgotrader.simulator.wire import MIDNIGHT

_LOOK_BACK = timedelta(days=15)  # the longest that the exchange has ever stayed shut, and more
_FIRST_DAY = date(1998, 1, 1)


class HistorySource:
    """Bars of any timeframe, past and present; no method answers with anything ahead of the record."""

    def __init__(self, tape: Tape, record: DayRecord) -> None:
        self._tape, self._record = tape, record
        self._today = new_york(tape.day, MIDNIGHT)
        self._previous: dict[str, Bar | None] = {}

    def bars(self, symbol: str, timeframe: Timeframe, start: int, end: int) -> Sequence[Bar]:
        """Return bars whose label lies in start <= label <= end, oldest first; `opened_at` is the label.

        The newest interval holds what has happened of it; of the present minute nothing.
        """
        first = timeframe.label(start)
        source = self._minutes(symbol, first, end) if timeframe.is_intraday else self._days(symbol, first, end)
        if timeframe == Timeframe(1, "Min"):
            return [b for b in source if start <= b.opened_at <= end]
        return [b for b in folded(source, timeframe.label) if start <= b.opened_at <= end]

    def _minutes(self, symbol: str, start: int, end: int) -> list[Bar]:
        # `end` is the last label asked for: its interval reaches beyond by less than a day.
        stop = end + 24 * 3600 * 10**9
        past = self._tape.minute_bars(symbol, start, min(stop, self._today)) if start < self._today else []
        return [*past, *self._record.bars(symbol, max(start, self._today), stop)]

    def _days(self, symbol: str, start: int, end: int) -> list[Bar]:
        first = max(day_of(max(start, 0)), _FIRST_DAY)
        last = min(day_of(end) + timedelta(days=366), self._tape.day - timedelta(days=1))
        past = list(self._tape.daily_bars(symbol, first, last)) if first <= last else []
        today = self._record.day_bar(symbol)
        return [*past, today] if today is not None and today.opened_at >= start else past

    def last_minute(self, symbol: str) -> Bar | None:
        """Return the newest closed minute bar of today."""
        return self._record.last_bar(symbol)

    def today(self, symbol: str) -> Bar | None:
        """Return today's running daily bar."""
        return self._record.day_bar(symbol)

    def previous_day(self, symbol: str) -> Bar | None:
        """Return the daily bar of the session before, None if the tape knows of none."""
        if symbol not in self._previous:
            yesterday = self._tape.day - timedelta(days=1)
            found = self._tape.daily_bars(symbol, yesterday - _LOOK_BACK, yesterday)
            self._previous[symbol] = found[-1] if found else None
        return self._previous[symbol]
