"""The day as far as it has been played: ticks in columns, minute bars, the running daily bar, the account's equity.

The routes read here and nowhere else, so nothing they answer lies ahead of the market clock.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from decimal import Decimal

from liualgotrader.common.bar_builder import TAPE_RULES, BarBuilder
from liualgotrader.common.clock import MINUTE, NEVER, SECOND
from liualgotrader.common.events import Bar, Counts, MarketEvent, Quote, Status, TradeTick
from liualgotrader.tapes.minute_bars import MinuteBars

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
        self._minutes = MinuteBars()
        self._trades: dict[str, TradeTicks] = {}
        self._quotes: dict[str, QuoteTicks] = {}
        self._days: dict[str, BarBuilder] = {}  # prices of regular trading, volume of the whole day
        self._last_trade: dict[str, int] = {}  # number of the newest print that counts for the last price
        self.statuses: dict[str, Status] = {}
        self.events = 0
        self.bars_due_at = NEVER  # when the first open minute ends

    def trade(self, trade: TradeTick) -> int:
        """Take a print and return its number in its symbol's day. Minutes that have ended must be closed."""
        symbol, at, flags = trade.symbol, trade.at, trade.flags
        self.events += 1
        self._minutes.add(trade)
        if self.bars_due_at == NEVER:
            self.bars_due_at = at - at % MINUTE + MINUTE
        day = self._days.get(symbol)
        if day is None:
            day = self._days[symbol] = BarBuilder(self.opens_at, self.closes_at, TAPE_RULES)
            self._trades[symbol] = TradeTicks()
        is_regular = self.opens_at <= at < self.closes_at
        day.add(at, trade.price, trade.size, flags if is_regular else flags & _VOLUME)
        number = self._trades[symbol].add(trade)
        if flags & _LAST:
            self._last_trade[symbol] = number
        return number

    def quote(self, quote: Quote) -> None:
        """Take a quote."""
        self.events += 1
        ticks = self._quotes.get(quote.symbol)
        if ticks is None:
            ticks = self._quotes[quote.symbol] = QuoteTicks()
        ticks.add(quote)

    def status(self, status: Status) -> None:
        """Take a trading status."""
        self.events += 1
        self.statuses[status.symbol] = status

    def take(self, event: MarketEvent) -> None:
        """Take any event of the tape."""
        if isinstance(event, Quote):
            self.quote(event)
        elif isinstance(event, TradeTick):
            self.trade(event)
        elif isinstance(event, Status):
            self.status(event)

    def close_minutes(self, at: int) -> list[Bar]:
        """Close the minutes that have ended at `at` and return their bars, by time, then by symbol."""
        if at < self.bars_due_at:
            return []
        self.bars_due_at = NEVER
        return self._minutes.close_until(at)

    def bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        """Return today's closed minute bars with start <= opened_at < end, oldest first."""
        return self._minutes.bars(symbol, start, end)

    def last_bar(self, symbol: str) -> Bar | None:
        """Return the newest closed minute bar of today."""
        return self._minutes.last_bar(symbol)

    def day_bar(self, symbol: str) -> Bar | None:
        """Return today's running daily bar; None before the first print of regular trading."""
        day = self._days.get(symbol)
        return day.bar(symbol) if day is not None and day.has_price else None

    def trades(self, symbol: str) -> TradeTicks:
        """Return today's prints of a symbol."""
        return self._trades.get(symbol) or TradeTicks()

    def quotes(self, symbol: str) -> QuoteTicks:
        """Return today's quotes of a symbol."""
        return self._quotes.get(symbol) or QuoteTicks()

    def last_trade(self, symbol: str) -> int | None:
        """Return the number of the newest print that counts for the last price."""
        return self._last_trade.get(symbol)


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
