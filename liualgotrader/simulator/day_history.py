"""What the routes may know: the day as far as it has been played, bars of the tape's past, the account's equity.

The routes read here and nowhere else, so nothing they answer lies ahead of the market clock.

Source: Alpaca market data API 1.1: `[1-59]Min`, `[1-23]Hour`, `1Day`, `1Week`, `[1,2,3,4,6,12]Month`, also T, H,
D, W, M. Minutes and hours are counted from New York's midnight, weeks begin on Monday, groups of months in
January; a bar is labelled by the beginning of its interval, from a day upwards by New York's midnight.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby

from liualgotrader.common.bar_builder import TAPE_RULES, BarBuilder
from liualgotrader.common.calendar import day_of, new_york
from liualgotrader.common.clock import HOUR, MINUTE, NEVER, SECOND
from liualgotrader.common.events import Bar, Counts, MarketEvent, Quote, TradeTick
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.ports import Tape
from liualgotrader.simulator.wire import MIDNIGHT, midnight_of
from liualgotrader.tapes.base import ColumnTape, previous_day
from liualgotrader.tapes.minute_bars import MinuteBars, sum_of
from liualgotrader.tapes.splits import Dividend, Split, readjusted

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
_LAST, _VOLUME = int(Counts.LAST), int(Counts.VOLUME)


class TradeTicks:
    """The prints of one symbol. A print's number, 1 upwards, is its place in the day and its trade id."""

    __slots__ = ("at", "flags", "price", "size")

    def __init__(self) -> None:
        self.at, self.price, self.size, self.flags = array("q"), array("d"), array("d"), array("b")

    def __len__(self) -> int:
        return len(self.at)

    def add(self, trade: TradeTick) -> int:
        """Keep the print and return its number."""
        self.at.append(trade.at)
        self.price.append(trade.price)
        self.size.append(trade.size)
        self.flags.append(trade.flags)
        return len(self.at)

    def get(self, symbol: str, row: int) -> TradeTick:
        """Return a print by its place, 0 upwards."""
        return TradeTick(symbol, self.at[row], self.price[row], self.size[row], self.flags[row])


class QuoteTicks:
    """The quotes of one symbol."""

    __slots__ = ("ask", "ask_size", "at", "bid", "bid_size")

    def __init__(self) -> None:
        self.at = array("q")
        self.bid, self.bid_size, self.ask, self.ask_size = array("d"), array("d"), array("d"), array("d")

    def __len__(self) -> int:
        return len(self.at)

    def add(self, quote: Quote) -> None:
        """Keep the quote."""
        self.at.append(quote.at)
        self.bid.append(quote.bid)
        self.bid_size.append(quote.bid_size)
        self.ask.append(quote.ask)
        self.ask_size.append(quote.ask_size)

    def get(self, symbol: str, row: int) -> Quote:
        """Return a quote by its place, 0 upwards."""
        return Quote(symbol, self.at[row], self.bid[row], self.bid_size[row], self.ask[row], self.ask_size[row])


class DayRecord:
    """All events of today so far. They come in order of time."""

    def __init__(self, opens_at: int, closes_at: int) -> None:
        self.opens_at, self.closes_at = opens_at, closes_at
        self.minutes = MinuteBars()
        self._trades: dict[str, TradeTicks] = {}
        self._quotes: dict[str, QuoteTicks] = {}
        self._days: dict[str, BarBuilder] = {}  # prices of regular trading, volume of the whole day
        self.last_trade: dict[str, int] = {}  # number of the newest print that counts for the last price
        self.changed: dict[tuple[str, int], str] = {}  # what became of prints that were corrected: the vendor's words
        self.events = 0
        self.bars_due_at = NEVER  # when the first open minute ends

    def trade(self, trade: TradeTick) -> int:
        """Take a print and return its number in its symbol's day. Minutes that have ended must be closed."""
        symbol, at, flags = trade.symbol, trade.at, trade.flags
        self.events += 1
        self.minutes.add(trade)
        if self.bars_due_at == NEVER:
            self.bars_due_at = at - at % MINUTE + MINUTE
        day = self._days.get(symbol)
        if day is None:
            day = self._days[symbol] = BarBuilder(self.opens_at, self.closes_at, TAPE_RULES)
            self._trades[symbol] = TradeTicks()
        self._count(day, trade)
        number = self._trades[symbol].add(trade)
        if flags & _LAST:
            self.last_trade[symbol] = number
        return number

    def correct(self, symbol: str, number: int, price: float, size: float) -> Bar | None:
        """Change a print, or cancel it with `size` 0, and return the bar of its minute if that has closed.

        The bars of its minute and of the day are what all prints make then.
        """
        ticks, row = self._trades[symbol], number - 1
        if size:
            ticks.price[row], ticks.size[row] = price, size
        else:
            ticks.flags[row] = 0
        self.changed[symbol, number] = "corrected" if size else "canceled"
        if number == self.last_trade.get(symbol) and not size:
            del self.last_trade[symbol]
            self.last_trade.update((symbol, n) for n in range(1, number) if ticks.flags[n - 1] & _LAST)
        day = self._days[symbol] = BarBuilder(self.opens_at, self.closes_at, TAPE_RULES)
        for trade in (ticks.get(symbol, one) for one in range(len(ticks))):
            self._count(day, trade)
        opened_at = ticks.at[row] - ticks.at[row] % MINUTE
        rows = rows_between(ticks.at, opened_at, opened_at + MINUTE - 1)
        return self.minutes.recount(symbol, opened_at, (ticks.get(symbol, one) for one in rows))

    def _count(self, day: BarBuilder, trade: TradeTick) -> None:
        is_regular = self.opens_at <= trade.at < self.closes_at
        day.add(trade.at, trade.price, trade.size, trade.flags if is_regular else trade.flags & _VOLUME)

    def quote(self, quote: Quote) -> None:
        """Take a quote."""
        self.events += 1
        ticks = self._quotes.get(quote.symbol)
        if ticks is None:
            ticks = self._quotes[quote.symbol] = QuoteTicks()
        ticks.add(quote)

    def take(self, event: MarketEvent) -> None:
        """Take any event of the tape."""
        if isinstance(event, Quote):
            self.quote(event)
        elif isinstance(event, TradeTick):
            self.trade(event)
        else:
            self.events += 1

    def close_minutes(self, at: int) -> list[Bar]:
        """Close the minutes that have ended at `at` and return their bars, by time, then by symbol."""
        if at < self.bars_due_at:
            return []
        self.bars_due_at = NEVER
        return self.minutes.close_until(at)

    def day_bar(self, symbol: str) -> Bar | None:
        """Return today's running daily bar; None before the first print of regular trading."""
        day = self._days.get(symbol)
        return day.bar(symbol) if day is not None and day.has_price else None

    def running_day(self, symbol: str) -> BarBuilder | None:
        """Return what today's prints come to so far, those before the open too; None before the first one."""
        return self._days.get(symbol)

    def second_bars(self, symbol: str, start: int, end: int) -> list[Bar]:
        """Return the bars of today's seconds with start <= opened_at < end; none of the second that has not ended."""
        ticks, builders = self.trades(symbol), dict[int, BarBuilder]()
        for row in rows_between(ticks.at, start - start % SECOND, end - 1):
            opened_at = ticks.at[row] - ticks.at[row] % SECOND
            if (second := builders.get(opened_at)) is None:
                second = builders[opened_at] = BarBuilder(opened_at, opened_at + SECOND, TAPE_RULES)
            second.add(ticks.at[row], ticks.price[row], ticks.size[row], ticks.flags[row])
        return [second.bar(symbol) for second in builders.values() if second.has_price]

    def trades(self, symbol: str) -> TradeTicks:
        """Return today's prints of a symbol."""
        return self._trades.get(symbol) or TradeTicks()

    def quotes(self, symbol: str) -> QuoteTicks:
        """Return today's quotes of a symbol."""
        return self._quotes.get(symbol) or QuoteTicks()


def rows_between(at: Sequence[int], start: int, end: int) -> range:
    """Return the places of the rows with start <= at <= end (the vendor's bounds are both inclusive)."""
    return range(bisect_left(at, start), bisect_right(at, end))


class EquityCurve:
    """Points (market time, equity), oldest first, at most one for each minute that was played."""

    def __init__(self) -> None:
        self._points: list[tuple[int, Decimal]] = []
        self.due_at = 0

    def add(self, at: int, equity: Decimal) -> None:
        """Keep the account's equity at an instant."""
        self._points.append((at, equity))
        self.due_at = at - at % MINUTE + MINUTE

    def points(self, start: int, end: int, every: int) -> list[tuple[int, Decimal]]:
        """Return (epoch seconds, equity): the last point of each interval of `every` ns with start <= at <= end."""
        last: dict[int, Decimal] = {}
        for at, equity in self._points:
            if start <= at <= end:
                last[at // every * every // SECOND] = equity
        return sorted(last.items())


# --- bars of any timeframe


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
        self._actions: dict[str, tuple[Sequence[Split], Sequence[Dividend]]] = {}

    def bars(
        self, symbol: str, timeframe: Timeframe, start: int, end: int, taken_out: Collection[str] = ("split",)
    ) -> Sequence[Bar]:
        """Return bars whose label lies in start <= label <= end, oldest first; `opened_at` is the label.

        The newest interval holds what has happened of it; of the present minute nothing. `taken_out` of the past are
        `split` and `dividend`, those that are known by today.
        """
        first = timeframe.label(start)
        source: list[Bar]
        if timeframe.is_intraday:
            stop = end + 24 * HOUR  # `end` is the last label: its interval reaches beyond it by less than a day
            past = self._tape.minute_bars(symbol, first, min(stop, self._today)) if first < self._today else ()
            today_bars = self._record.minutes.bars(symbol, max(first, self._today), stop)
            source = [*self._readjusted(symbol, past, taken_out), *today_bars]
        else:
            from_day = max(day_of(max(first, 0)), _FIRST_DAY)
            last_day = min(day_of(end) + timedelta(days=366), self._tape.day - timedelta(days=1))
            past = self._tape.daily_bars(symbol, from_day, last_day) if from_day <= last_day else ()
            source = self._readjusted(symbol, past, taken_out)
            today = self._record.day_bar(symbol)
            if today is not None and today.opened_at >= first:
                source.append(today)
        if timeframe == Timeframe(1, "Min"):
            return [b for b in source if start <= b.opened_at <= end]
        return [b for b in folded(source, timeframe.label) if start <= b.opened_at <= end]

    def _readjusted(self, symbol: str, past: Sequence[Bar], taken_out: Collection[str]) -> list[Bar]:
        splits, dividends = self.actions(symbol)
        if not past or not (splits or dividends) or set(taken_out) == {"split"}:
            return list(past)
        columns = BarColumns.of(symbol, past)
        return readjusted(columns, splits, dividends, self._tape.day, taken_out).bars()

    def actions(self, symbol: str) -> tuple[Sequence[Split], Sequence[Dividend]]:
        """Return the splits and dividends of a symbol up to today, oldest first; what comes later is not known yet."""
        tape = self._tape
        if not isinstance(tape, ColumnTape):
            return (), ()
        if symbol not in self._actions:
            splits = [split for split in tape.splits(symbol) if split.day <= tape.day]
            dividends = [dividend for dividend in tape.dividends(symbol) if dividend.day <= tape.day]
            self._actions[symbol] = splits, dividends
        return self._actions[symbol]

    def previous_day(self, symbol: str) -> Bar | None:
        """Return the daily bar of the session before, None if the tape knows of none."""
        if symbol not in self._previous:
            self._previous[symbol] = previous_day(self._tape, symbol)
        return self._previous[symbol]
