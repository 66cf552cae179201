"""What every tape shares: its assets, events merged by time from columns, history folded from bars."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from operator import attrgetter
from pathlib import Path

import numpy as np

from liualgotrader.common.calendar import FIRST_DAY, TradingSession, session_of, whole_day
from liualgotrader.common.clock import DAY, MINUTE, SECOND, as_datetime
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar, Counts
from liualgotrader.common.market_columns import BarColumns, take
from liualgotrader.common.ports import Asset, Tape
from liualgotrader.common.tlog import some_of
from liualgotrader.exchange.exchange_values import AssetTerms
from liualgotrader.exchange.rules import ExchangeSession
from liualgotrader.tapes.columns import SymbolColumns, TapeEvent, blocks, merged, quotes_from_trades, trades_from_bars
from liualgotrader.tapes.minute_bars import bars_every
from liualgotrader.tapes.splits import Dividend, Split, ratio_text, split_like

MOST_JUMPS = 12  # symbols that are named
_MOST_DAYS = 12  # days that are listed one by one
KNOWN_EXCHANGES = frozenset(  # alpaca-py refuses others
    ["AMEX", "ARCA", "ASCX", "BATS", "NYSE", "NASDAQ", "NYSEARCA", "FTXU", "CBSE", "GNSS", "ERSX", "OTC", "CRYPTO"]
)
_LOOK_BACK = timedelta(days=15)  # the longest that the exchange has ever stayed shut, and more


@dataclass(frozen=True, slots=True)
class _Crossed:
    """The quotes of a symbol with a bid above the ask, and the widest of them."""

    count: int
    of: int
    row: int
    at: int
    bid: float
    ask: float


class ColumnTape(ABC):
    """A `Tape` whose symbols are loaded one by one as columns, when their events are first asked for."""

    def __init__(self, session: TradingSession, assets: Sequence[Asset]) -> None:
        self.session = session
        self.day, self.opens_at, self.closes_at = session.day, session.opens_at, session.closes_at
        self._assets = tuple(sorted(assets))
        self._columns: dict[str, SymbolColumns] = {}
        self._past: dict[tuple[str, int], list[Bar]] = {}
        self._crossed: dict[str, _Crossed] = {}
        self._quotes_of_session = self._crossed_of_session = 0

    def assets(self) -> Sequence[Asset]:
        """Return what can be traded, by symbol in alphabetical order."""
        return self._assets

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols in alphabetical order."""
        return tuple(a.symbol for a in self._assets)

    def events(self, start: int, end: int) -> Iterator[TapeEvent]:
        """Yield quotes, trades and statuses with start <= at < end, by time.

        At equal times symbols come in alphabetical order, and within a symbol statuses, then quotes, then
        trades, each in the order of their file. The first call loads all symbols.
        """
        return merged([self.columns(s) for s in self.symbols()], start, end)

    def blocks(self, start: int, end: int) -> Iterator[list[TapeEvent]]:
        """Yield the same, some thousand at once."""
        return blocks([self.columns(s) for s in self.symbols()], start, end)

    def columns(self, symbol: str) -> SymbolColumns:
        """Return the events of the day in one symbol, loaded on first use.

        Crossed quotes are left out; where none are left, quotes are made from the trades.

        Raises:
            ConfigError: if the tape does not have the symbol.
        """
        found = self._columns.get(symbol)
        if found is not None:
            return found
        if symbol not in self.symbols():
            raise ConfigError(f"The tape of {self.day} has no symbol {symbol}; it has {some_of(self.symbols())}.")
        loaded = self._load(symbol)
        quotes = loaded.quotes
        crossed = (quotes.bid > quotes.ask) & (quotes.ask > 0)
        inside = (quotes.at >= self.opens_at) & (quotes.at < self.closes_at)
        self._quotes_of_session += int(inside.sum())
        if crossed.any():
            self._crossed_of_session += int((crossed & inside).sum())
            row = int(np.argmax(np.where(crossed, quotes.bid / np.where(quotes.ask > 0, quotes.ask, 1), 0)))
            figures = (float(quotes.bid[row]), float(quotes.ask[row]))
            count = int(crossed.sum())
            self._crossed[symbol] = _Crossed(count, len(crossed), row, int(quotes.at[row]), *figures)
            quotes = take(quotes, ~crossed)
        if not len(quotes.at):
            quotes = quotes_from_trades(loaded.trades)
        found = self._columns[symbol] = SymbolColumns(symbol, quotes, loaded.trades, loaded.statuses)
        return found

    def bars_today(self, symbol: str, period: int) -> BarColumns:
        """Return the bars of the whole day that its trades make."""
        return bars_every(period, symbol, self.columns(symbol).trades)

    def minute_bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        """Return minute bars of sessions before `day` with start <= opened_at < end, oldest first."""
        return self._bars_before(symbol, MINUTE, start, end)

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence[Bar]:
        """Return daily bars from `start` to `end`, both included, of days before `day`; each spans its session."""
        return self._bars_before(symbol, DAY, utc_midnight(start), utc_midnight(end + timedelta(days=1)))

    def _bars_before(self, symbol: str, period: int, start: int, end: int) -> Sequence[Bar]:
        if (symbol, period) not in self._past:
            self._past[symbol, period] = self.history(symbol, period)
        bars = self._past[symbol, period]
        first, last = (bisect_left(bars, at, key=attrgetter("opened_at")) for at in (start, end))
        return bars[first:last]

    def load(self) -> None:
        """Load all symbols.

        Raises:
            ConfigError: if a file holds what cannot be, or every quote of the session is crossed: nothing could fill.
        """
        for symbol in self.symbols():
            self.columns(symbol)
        if self._quotes_of_session and self._crossed_of_session == self._quotes_of_session:
            raise ConfigError(
                f"Every one of the {self._quotes_of_session:,} quotes in the session of {self.day} is crossed (bid above"
                f" ask), so no order could fill; check whether bid and ask are swapped, as in {self._worst()}."
            )

    def _worst(self) -> str:
        """Return the widest crossed quote: file, line, symbol, time and prices."""
        symbol, worst = max(self._crossed.items(), key=lambda item: (item[1].bid / item[1].ask, item[0]))
        at = as_datetime(worst.at)
        where = self.place_of_quote(symbol, worst.row)
        return f"{where}: {symbol} at {at:%H:%M:%S.%f} New York, bid {worst.bid:g} above ask {worst.ask:g}"

    def crosses(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the symbols in which the print of the opening and of the closing auction is marked; loads them all."""
        opening, closing = (
            frozenset(s for s in self.symbols() if np.any(self.columns(s).trades.flags & int(mark)))
            for mark in (Counts.OPENING_CROSS, Counts.CLOSING_CROSS)
        )
        return opening, closing

    @abstractmethod
    def _load(self, symbol: str) -> SymbolColumns:
        """Return all events of the day in one symbol."""

    @abstractmethod
    def history(self, symbol: str, period: int) -> list[Bar]:
        """Return the bars of all sessions before the day, oldest first; `period` is MINUTE or DAY."""

    @abstractmethod
    def notes(self) -> list[str]:
        """Return a sentence for each way in which events are not as the market made them, with the symbols."""

    def skipped(self) -> list[str]:
        """Return what was left out of the loaded symbols because it cannot be: counts, with the worst example."""
        if not self._crossed:
            return []
        count, of = sum(c.count for c in self._crossed.values()), sum(c.of for c in self._crossed.values())
        return [
            f"{count:,} of {of:,} quotes of {some_of(sorted(self._crossed))} are crossed and were left out; the widest: {self._worst()}"
        ]

    def doubts(self) -> list[str]:
        """Return a sentence for each symbol whose data looks odd; needs loaded symbols."""
        emptied = [s for s, c in sorted(self._crossed.items()) if c.count == c.of]
        found = [jump for s in self.symbols() if (jump := self._jump(s))]
        if len(found) > MOST_JUMPS:
            found[MOST_JUMPS:] = [f"{len(found) - MOST_JUMPS} more symbols open as after a split."]
        if emptied:
            text = f"{some_of(emptied)}: every quote is crossed; they are the last trade plus and minus half a tick."
            found.insert(0, text)
        return found

    def adjustments(self) -> list[str]:
        """Return one sentence on the splits for which history is adjusted, if there are any."""
        done = []
        for symbol in self.symbols():
            due = [split for split in self.splits(symbol) if split.day <= self.day]
            first = self.daily_bars(symbol, FIRST_DAY, self.day - timedelta(days=1))[:1] if due else ()
            done += [(split, symbol) for split in due for bar in first if bar.opened_at < split.at]
        if not done:
            return []
        newest = [f"{symbol} {split}" for split, symbol in sorted(done, reverse=True)]
        return [f"History is adjusted as of {self.day} for splits: {some_of(newest, 5)}."]

    def splits(self, symbol: str) -> Sequence[Split]:
        """Return the splits of a symbol that are known, oldest first."""
        return ()

    def dividends(self, symbol: str) -> Sequence[Dividend]:
        """Return the dividends of a symbol that are known, oldest first."""
        return ()

    def _jump(self, symbol: str) -> str | None:
        """Return a sentence on a symbol whose open lies as far from its last close as after a split."""
        yesterday = self.day - timedelta(days=1)
        before = self.daily_bars(symbol, yesterday - _LOOK_BACK, yesterday)
        trades = self.columns(symbol).trades
        forming = np.flatnonzero((trades.at >= self.opens_at) & (trades.flags & int(Counts.LAST) > 0))
        if not before or not len(forming) or before[-1].close <= 0:
            return None
        close, opening = before[-1].close, float(trades.price[forming[0]])
        ratio = split_like(close, opening)
        if ratio is None:
            return None
        text = f"{symbol} opens at {opening:g} after a close of {close:g}, as over a {ratio_text(ratio)} split"
        known = next((split for split in self.splits(symbol) if split.day == self.day), None)
        if known is not None:
            return f"{text}, although history is adjusted for the split {known}: check whether it was adjusted before."
        return f"{text} that {self.where_splits(symbol)} does not list: its history is not adjusted, and scanners see a gap."

    def where_splits(self, symbol: str) -> Path | str:
        """Return the file that would name a split."""
        return "nothing"

    def place_of_quote(self, symbol: str, row: int) -> str:
        """Return file and line of a loaded quote."""
        return f"the quotes of {symbol}"


class SecondsTape(ColumnTape):
    """A day as its seconds say it: of each its last quote, and its bar of trades played as up to four prints."""

    def __init__(self, whole: ColumnTape) -> None:
        super().__init__(whole.session, whole.assets())
        self.whole = whole

    def _load(self, symbol: str) -> SymbolColumns:
        whole = self.whole.columns(symbol)
        newest = np.flatnonzero(np.diff(whole.quotes.at // SECOND, append=-1))
        bars = self.bars_today(symbol, SECOND)
        prices = bars.open, bars.high, bars.low, bars.close
        trades = trades_from_bars(bars.opened_at, prices, bars.volume, SECOND)
        return SymbolColumns(symbol, take(whole.quotes, newest), trades, whole.statuses)

    def bars_today(self, symbol: str, period: int) -> BarColumns:
        return self.whole.bars_today(symbol, period)

    def history(self, symbol: str, period: int) -> list[Bar]:
        return self.whole.history(symbol, period)

    def notes(self) -> list[str]:
        return self.whole.notes()

    def splits(self, symbol: str) -> Sequence[Split]:
        return self.whole.splits(symbol)

    def dividends(self, symbol: str) -> Sequence[Dividend]:
        return self.whole.dividends(symbol)


def asset_terms(assets: Iterable[Asset]) -> list[AssetTerms]:
    """Return a tape's assets as the exchange and the wires want them, by symbol."""
    return [
        AssetTerms(
            symbol=a.symbol,
            name=a.name,
            exchange=a.exchange if a.exchange in KNOWN_EXCHANGES else "NASDAQ",
            shortable=a.shortable,
            easy_to_borrow=a.shortable,
            fractionable=a.fractionable,
        )
        for a in sorted(assets, key=lambda a: a.symbol)
    ]


def exchange_session(tape: Tape) -> ExchangeSession:
    """Return a tape's day for the exchange, with the closes of the session before."""
    opening, closing = tape.crosses() if isinstance(tape, ColumnTape) else (frozenset[str](), frozenset[str]())
    before = {asset.symbol: previous_day(tape, asset.symbol) for asset in tape.assets()}
    return ExchangeSession(
        opens_at=tape.opens_at,
        closes_at=tape.closes_at,
        previous_closes={symbol: Decimal(str(bar.close)) for symbol, bar in before.items() if bar is not None},
        opening_crosses=opening,
        closing_crosses=closing,
    )


def previous_day(tape: Tape, symbol: str) -> Bar | None:
    """Return the daily bar of the session before, None if the tape knows of none."""
    yesterday = tape.day - timedelta(days=1)
    found = tape.daily_bars(symbol, yesterday - _LOOK_BACK, yesterday)
    return found[-1] if found else None


def played_session(day: date, what: str, *, bypass: bool = False) -> TradingSession:
    """Return the session of `day`; with `bypass` a day on which the exchange was shut is a whole one.

    Raises:
        ConfigError: if the exchange was shut.
    """
    session = session_of(day)
    if session is None and bypass:
        return whole_day(day)
    if session is None:
        raise ConfigError(f"The exchange is closed on {day}, so {what} cannot be played; choose a trading day.")
    return session


def day_missing(where: object, day: date, days: Collection[date]) -> ConfigError:
    """Return the error about a folder that does not have a day; it names those that it has."""
    if not days:
        return ConfigError(f"{where} holds no market data; name another folder.")
    return ConfigError(f"{where} holds no market data for {day}; it has {days_text(days)}.")


def days_text(days: Collection[date]) -> str:
    """Return days in words, all of them or how many from when to when."""
    known = sorted(days)
    if len(known) > _MOST_DAYS:
        return f"{len(known)} days from {known[0]} to {known[-1]}"
    return some_of([str(day) for day in known]) or "none"


def chosen_symbols(wanted: Sequence[str] | None, existing: Sequence[str], where: str) -> list[str]:
    """Return the wanted symbols in alphabetical order, all existing ones if none are named.

    Raises:
        ConfigError: if a wanted symbol is not there.
    """
    if not wanted:
        return sorted(existing)
    upper = sorted({spelled(s.upper(), existing) for s in wanted})
    missing = [s for s in upper if s not in set(existing)]
    if missing:
        raise ConfigError(f"{where} holds nothing for {some_of(missing)}; it has {some_of(sorted(existing))}.")
    return upper


def spelled(symbol: str, existing: Iterable[str]) -> str:
    """Return the symbol as it is written there; a pair of crypto may be named with its slash or without.

    >>> spelled("BTCUSD", ["AAPL", "BTC/USD"])
    'BTC/USD'
    """
    alike = [one for one in existing if one.replace("/", "") == symbol.replace("/", "")]
    return symbol if symbol in alike or not alike else alike[0]


def utc_midnight(day: date) -> int:
    """Return the instant at which `day` begins in UTC; sessions lie well inside that day."""
    return (day - date(1970, 1, 1)).days * DAY


def grouped(sentences: Iterable[tuple[str, str]]) -> list[str]:
    """Return sentences about symbols, each sentence once with all of its symbols."""
    symbols: dict[str, list[str]] = {}
    for symbol, text in sentences:
        symbols.setdefault(text, []).append(symbol)
    return [f"{some_of(names)}: {text}" for text, names in symbols.items()]
