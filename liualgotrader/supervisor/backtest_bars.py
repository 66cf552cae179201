"""The bars that a backtest plays: from a folder, from the market-data store, or of an invented market."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from liualgotrader.common.calendar import (
    FIRST_DAY,
    LAST_DAY,
    TradingSession,
    new_york,
    no_trading_day,
    previous_sessions,
    round_the_clock,
    sessions,
)
from liualgotrader.common.clock import DAY, MILLISECOND, MINUTE, NEVER, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import (
    BarColumns,
    Floats,
    Ints,
    TradeColumns,
    day_numbers,
    joined,
    no_trades,
    take,
    utc_day_numbers,
)
from liualgotrader.tapes.splits import Dividend, Split, adjusted

if TYPE_CHECKING:
    from liualgotrader.data.market_store import MarketStore
    from liualgotrader.tapes.base import ColumnTape
    from liualgotrader.tapes.lean import LeanFiles
    from liualgotrader.tapes.plain_files import PlainFiles

DAILY_HISTORY = 260  # sessions of daily bars before the first day: a year and a little
TICKS = 0  # in place of a period: trades and quotes
SCALES = {"day": DAY, "minute": MINUTE, "second": SECOND, "tick": TICKS}
_NAMES = {length: name for name, length in SCALES.items()}
_MOST_NAMED = 12


class BarsWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which bars a backtest plays. Without `data` or `generated` they come from the market-data store."""

    first: date
    last: date
    period: int = MINUTE  # or DAY or SECOND, ns, or TICKS
    data: str = ""  # a folder of recorded days
    generated: int | None = None  # symbols of an invented market
    symbols: tuple[str, ...] = ()  # empty: all there are
    crypto: bool = False  # pairs, each day of 24 hours in UTC
    seed: int = 0
    of_session: bool = False  # the invented market is the one that `trader --simulate` played on the first day
    kept: str = ""  # a market-data store of a batch that is played again
    detail: str = ""  # "second" or "tick": what passes inside bars is taken from these
    window: tuple[int, int] | None = None  # of the first day, as if it were the session; ns UTC

    def sessions(self) -> list[TradingSession]:
        """Return the sessions to play.

        Raises:
            ConfigError: if there are none.
        """
        if self.crypto and (self.period < MINUTE or self.detail):
            raise ConfigError(
                "crypto is played on bars of minutes and days only: choose --scale minute or day, without --detail"
            )
        if self.last < self.first:
            raise ConfigError(f"the backtest would begin on {self.first}, after its last day {self.last}: swap the two")
        found = (round_the_clock if self.crypto else sessions)(self.first, self.last)
        if not found:
            raise no_trading_day(self.first, self.last)
        if self.window is not None:
            found[0] = TradingSession(self.first, *self.window)
        return found

    def sessions_before(self, count: int) -> list[TradingSession]:
        """Return the sessions before the first day, oldest first; fewer where 1998 begins."""
        if not self.crypto:
            return previous_sessions(self.first, count)
        since = max(FIRST_DAY, self.first - timedelta(days=count))
        return round_the_clock(since, self.first)[:-1]


class PlayedBars(msgspec.Struct, frozen=True):
    """Raw bars by symbol, those of the sessions and of the history before them; `notes` say what is missing."""

    bars: dict[str, BarColumns]
    notes: tuple[str, ...] = ()
    splits: dict[str, Sequence[Split]] = {}
    dividends: dict[str, Sequence[Dividend]] = {}
    daily: dict[str, BarColumns] = {}  # beside the minutes of a batch that is played again

    def as_of(self, day: date) -> dict[str, BarColumns]:
        """Return the bars at the prices of a day."""
        return {symbol: adjusted(bars, self.splits.get(symbol, ()), day) for symbol, bars in self.bars.items()}


def history_of(wanted: BarsWanted, minute_sessions: int) -> int:
    """Return how many sessions of history lie before the first day; of minutes so many as the plan says."""
    return DAILY_HISTORY if wanted.period > MINUTE else minute_sessions


def played_bars(
    wanted: BarsWanted, market: Path, history: int, given: Mapping[str, BarColumns] | PlayedBars | None = None
) -> PlayedBars:
    """Return the bars of the wanted sessions and of `history` sessions before them; `market` is the store's folder.

    They come from `given`, if there are any, with the splits and dividends that are known there. Those of regular trading
    only, at the prices of their own days; of trades and quotes the minutes that the trades make, without history.

    Raises:
        ConfigError: if a symbol has no bars at all, or a session none of any symbol.
        OutsideError: if a file of the store is damaged.
    """
    played = wanted.sessions()
    before = wanted.sessions_before(history)
    every = [*before, *played]
    if wanted.period < MINUTE:
        return _minutes_of_ticks(wanted, market, played)
    if wanted.of_session and given is None:
        return PlayedBars({symbol: _regular(one, every) for symbol, one in _read_session(wanted).items()})
    if wanted.generated is not None and given is None:
        from liualgotrader.tapes.generated_bars import generated_bars

        daily, only = wanted.period == DAY, wanted.symbols
        made = generated_bars(wanted.generated, every, wanted.seed, only=only, daily=daily, crypto=wanted.crypto)
        return PlayedBars(made)
    where = wanted.data or f"the market-data store {market}"
    if given is not None:
        where = "the data"
        there = given.bars if isinstance(given, PlayedBars) else given
        read = {symbol: there.get(symbol, BarColumns.of(symbol, ())) for symbol in sorted(wanted.symbols or there)}
    else:
        if wanted.kept:
            market = Path(wanted.kept)
        read = _read_folder(wanted, every) if wanted.data else _read_store(wanted, market, every)
    bars = {symbol: _regular(one, every) for symbol, one in read.items()}
    kept, left_out = _playable(
        bars, wanted, where, played, lambda: _days_there(wanted, market, given is not None, read)
    )
    if isinstance(given, PlayedBars):
        return PlayedBars(kept, (*left_out, *_notes(kept, played, before)), given.splits, given.dividends)
    known = {} if given is not None or wanted.crypto else {symbol: _actions(wanted, market, symbol) for symbol in kept}
    splits = {symbol: found for symbol, (found, _) in known.items()}
    dividends = {symbol: found for symbol, (_, found) in known.items()}
    notes = (*left_out, *_notes(kept, played, before))
    return PlayedBars(kept, notes, splits, dividends, _kept_days(wanted, kept) if wanted.kept else {})


class PlayedTapes:
    """The trades and quotes of sessions, one session at a time. Each has those symbols of the first that have data then."""

    def __init__(self, wanted: BarsWanted, market: Path) -> None:
        """Find the first session's; `market` is the store's folder.

        Raises:
            ConfigError: if a session has no data, or a symbol that is named has none in the first.
        """
        from liualgotrader.tapes.tape_factory import require_day

        self._wanted, self._market = wanted, Path(wanted.kept or market)
        played = wanted.sessions()
        for session in played if wanted.data else ():
            require_day(wanted.data, session.day)
        self._last = tape_of_day(wanted, self._market, played[0], wanted.symbols)
        self._symbols = self._last.symbols()
        self.notes: dict[str, None] = {}  # what a person should know of the sessions so far

    def __call__(self, session: TradingSession) -> ColumnTape:
        """Return a session's tape, loaded."""
        if self._last.day != session.day and self._wanted.generated is not None:
            self._last = tape_of_day(self._wanted, self._market, session, self._wanted.symbols, self._last)
        elif self._last.day != session.day:
            every = tape_of_day(self._wanted, self._market, session, ())
            kept = [symbol for symbol in every.symbols() if symbol in self._symbols]
            if not kept:
                raise ConfigError(f"there are no trades of {_listed(self._symbols)} on {session.day}")
            self._last = every
            if len(kept) < len(every.symbols()):
                self._last = tape_of_day(self._wanted, self._market, session, kept)
        tape = self._last
        tape.load()
        if self._wanted.generated is None:
            self.notes |= dict.fromkeys([*tape.notes(), *tape.doubts(), *tape.skipped()])
        return tape

    def known(self) -> PlayedBars:
        """Return what is known beforehand: the symbols' splits and dividends."""
        symbols = self._symbols if self._wanted.generated is None else ()
        known = {symbol: _actions(self._wanted, self._market, symbol) for symbol in symbols}
        splits = {symbol: found for symbol, (found, _) in known.items()}
        return PlayedBars({}, (), splits, {symbol: found for symbol, (_, found) in known.items()})


def _minutes_of_ticks(wanted: BarsWanted, market: Path, played: Sequence[TradingSession]) -> PlayedBars:
    from liualgotrader.tapes.minute_bars import regular

    tapes, parts = PlayedTapes(wanted, market), dict[str, list[BarColumns]]()
    for tape in map(tapes, played):
        for symbol in tape.symbols():
            parts.setdefault(symbol, []).append(regular(tape.bars_today(symbol, MINUTE)))
    return msgspec.structs.replace(tapes.known(), bars={symbol: joined(one) for symbol, one in parts.items()})


def tape_of_day(
    wanted: BarsWanted,
    market: Path,
    session: TradingSession,
    symbols: Sequence[str],
    before: ColumnTape | None = None,
) -> ColumnTape:
    """Return the tape of one of the wanted sessions; an invented one goes on from the one `before`."""
    from liualgotrader.data.market_store import MarketStore
    from liualgotrader.data.store_tape import StoreTape
    from liualgotrader.tapes.base import SecondsTape
    from liualgotrader.tapes.generated import GeneratedTape
    from liualgotrader.tapes.tape_factory import tape_from

    tape: ColumnTape
    if wanted.data:
        tape = tape_from("recorded", day=session.day, folder=wanted.data, symbols=symbols or None)
    elif wanted.generated is not None:
        whole = before.whole if isinstance(before, SecondsTape) else before
        yesterday = whole if isinstance(whole, GeneratedTape) else None
        figures = session.day, wanted.seed, wanted.generated
        tape = GeneratedTape(*figures, only=symbols or None, since=wanted.first, yesterday=yesterday)
    else:
        tape = StoreTape(MarketStore(market), session.day, symbols or None)
    return SecondsTape(tape) if wanted.period == SECOND else tape


class DetailedBars:
    """Finer bars of a session in a symbol, for what passes inside the bars of a run: seconds, or the prints of each millisecond."""

    def __init__(self, wanted: BarsWanted, market: Path) -> None:
        """Open the source.

        Raises:
            ConfigError: if the run is on an invented market, or on no bars.
        """
        if wanted.period < MINUTE:
            raise ConfigError(
                "--detail is for bars of a minute or a day: leave it out, nothing is finer than --scale tick"
            )
        if wanted.generated is not None:
            raise ConfigError(
                "an invented market of bars has nothing finer: leave --detail out, or play it with --scale tick"
            )
        self._wanted, self._market = wanted, market
        self._missing: dict[str, int] = {}  # sessions by symbol

    def __call__(self, symbol: str, session: TradingSession) -> BarColumns:
        from liualgotrader.tapes.minute_bars import bars_every

        span = session.opens_at, session.closes_at
        if self._wanted.detail == "second" and len((found := self._seconds(symbol, *span)).opened_at):
            return found
        period = SECOND if self._wanted.detail == "second" else MILLISECOND
        found = bars_every(period, symbol, self._trades(symbol, *span))
        if not len(found.opened_at):
            self._missing[symbol] = self._missing.get(symbol, 0) + 1
        return found

    def warnings(self) -> list[str]:
        """Return what a person should know of the sessions so far."""
        if not self._missing:
            return []
        what, most = f"{self._wanted.detail}s", max(self._missing.values())
        return [
            f"no {what} of {_listed(sorted(self._missing))} in up to {most} sessions with orders: the worst path inside their bars was taken"
        ]

    def _seconds(self, symbol: str, start: int, end: int) -> BarColumns:
        if self._wanted.data:
            return self._folder.bars(symbol, SECOND, start, end)
        return self._store.read(symbol, SECOND, start, end)

    def _trades(self, symbol: str, start: int, end: int) -> TradeColumns:
        if not self._wanted.data:
            return self._store.trades(symbol, start, end)
        parts = [part for part in self._folder.ticks(symbol, start, end) if isinstance(part, TradeColumns)]
        return joined(parts) if parts else no_trades()

    @cached_property
    def _folder(self) -> LeanFiles | PlainFiles:
        from liualgotrader.tapes.tape_factory import market_folder

        return market_folder(self._wanted.data)

    @cached_property
    def _store(self) -> MarketStore:
        from liualgotrader.data.market_store import MarketStore

        return MarketStore(Path(self._wanted.kept) if self._wanted.kept else self._market)


def _read_folder(wanted: BarsWanted, every: Sequence[TradingSession]) -> dict[str, BarColumns]:
    from liualgotrader.tapes.tape_factory import folder_bars

    span = every[0].opens_at, every[-1].closes_at
    return folder_bars(wanted.data, wanted.period, *span, wanted.symbols or None, crypto=wanted.crypto)


def _actions(wanted: BarsWanted, market: Path, symbol: str) -> tuple[Sequence[Split], Sequence[Dividend]]:
    from liualgotrader.data.market_store import MarketStore
    from liualgotrader.tapes.tape_factory import folder_dividends, folder_splits

    if wanted.data:
        return folder_splits(wanted.data, symbol), folder_dividends(wanted.data, symbol)
    return MarketStore(market).actions(symbol)


def _kept_days(wanted: BarsWanted, symbols: Iterable[str]) -> dict[str, BarColumns]:
    from liualgotrader.data.market_store import MarketStore

    store = MarketStore(Path(wanted.kept))
    found = {symbol: store.read(symbol, DAY, 0, NEVER) for symbol in symbols}
    return {symbol: bars for symbol, bars in found.items() if len(bars.opened_at)}


def _read_session(wanted: BarsWanted) -> dict[str, BarColumns]:
    from liualgotrader.tapes.generated import GeneratedTape

    tape = GeneratedTape(wanted.first, wanted.seed, wanted.generated or 0, only=wanted.symbols)
    return {symbol: BarColumns.of(symbol, tape.history_with_the_day(symbol).minutes) for symbol in tape.symbols()}


def _read_store(wanted: BarsWanted, market: Path, every: Sequence[TradingSession]) -> dict[str, BarColumns]:
    from liualgotrader.data.market_store import MarketStore

    store = MarketStore(market)
    series = {path: store.series_of(path) for path in store.files()}
    there = {
        symbol: path for path, (symbol, kind, period) in series.items() if (kind, period) == ("bars", wanted.period)
    }
    if not there:
        raise ConfigError(
            f"the market-data store holds no {_NAMES[wanted.period]} bars yet: name a folder with --data, take an invented"
            " market with --generated, or fill the store with `liu data import`"
        )
    span = every[0].opens_at, every[-1].closes_at
    from liualgotrader.tapes.base import spelled

    chosen = [spelled(symbol, there) for symbol in wanted.symbols or there]
    for symbol in chosen:
        if symbol in there:
            store.open(there[symbol]).check()
    return {symbol: store.read(symbol, wanted.period, *span) for symbol in sorted(chosen)}


def _regular(bars: BarColumns, every: Sequence[TradingSession]) -> BarColumns:
    """Return the bars of regular trading in the sessions."""
    opens, closes = bounds_of(every)
    place = np.searchsorted(opens, bars.opened_at, side="right") - 1
    inside = (place >= 0) & (bars.closed_at <= closes[place])
    return bars if inside.all() else take(bars, inside)


def bounds_of(every: Iterable[TradingSession]) -> tuple[Ints, Ints]:
    """Return when sessions open and close."""
    opens, closes = zip(*((s.opens_at, s.closes_at) for s in every), strict=True)
    return np.array(opens, np.int64), np.array(closes, np.int64)


def _playable(
    bars: Mapping[str, BarColumns],
    wanted: BarsWanted,
    where: str,
    played: Sequence[TradingSession],
    days_there: Callable[[], str],
) -> tuple[dict[str, BarColumns], list[str]]:
    """Return the symbols that have a bar in the sessions, and what is said of the others."""
    what, (opens, closes) = f"{_NAMES[wanted.period]} bars", bounds_of(played)
    there = {symbol: _sessions_with(one, opens, closes) for symbol, one in bars.items()}
    empty = [symbol for symbol, found in there.items() if not found.any()]
    if empty and (wanted.symbols or len(empty) == len(bars)):
        span = f"from {played[0].day} to {played[-1].day}"
        raise ConfigError(f"{where} holds no {what} of {_listed(empty)} {span}; it has {days_there()}")
    lacking = [str(s.day) for n, s in enumerate(played) if not any(found[n] for found in there.values())]
    if lacking:
        raise ConfigError(
            f"{where} holds no {what} for {_listed(lacking)}; it has {days_there()}: choose those with --to, or add the others"
        )
    kept = {symbol: one for symbol, one in bars.items() if symbol not in empty}
    return kept, [f"{_listed(empty)}: left out, without any bar in these sessions"] if empty else []


def _days_there(wanted: BarsWanted, market: Path, is_given: bool, read: Mapping[str, BarColumns]) -> str:
    """Return in words the days of which there are such bars; all of them are looked through."""
    from liualgotrader.tapes.base import days_text
    from liualgotrader.tapes.tape_factory import folder_bars

    found = dict(read)
    if wanted.data:
        first, last = new_york(FIRST_DAY, time()), new_york(LAST_DAY, time())
        found = folder_bars(wanted.data, wanted.period, first, last, wanted.symbols or None, crypto=wanted.crypto)
    elif not is_given:
        from liualgotrader.data.market_store import MarketStore

        found = {symbol: MarketStore(market).read(symbol, wanted.period, 0, NEVER) for symbol in read}
    days_of = utc_day_numbers if wanted.crypto else day_numbers
    numbers = {number for bars in found.values() for number in days_of(bars.opened_at).tolist()}
    return days_text([date.fromordinal(number) for number in numbers])


def _notes(
    bars: Mapping[str, BarColumns], played: Sequence[TradingSession], before: Sequence[TradingSession]
) -> Iterable[str]:
    for span, text in ((played, ""), (before, " of history before the first day")):
        if not span:
            continue
        opens, closes = bounds_of(span)
        lacking: dict[tuple[int, int], list[str]] = {}  # by how many, and the first of them
        for symbol, one in bars.items():
            empty = np.flatnonzero(~_sessions_with(one, opens, closes))
            if len(empty):
                lacking.setdefault((len(empty), int(empty[0])), []).append(symbol)
        for (count, first), symbols in sorted(lacking.items()):
            yield f"{_listed(symbols)}: no bars in {count} of the {len(span)} sessions{text}, the first {span[first].day}"


def _sessions_with(bars: BarColumns, opens: Ints, closes: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which sessions have a bar."""
    first, last = (np.searchsorted(bars.opened_at, at) for at in (opens, closes))
    return np.asarray(last > first)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def closing_prices(bars: BarColumns, played: Sequence[TradingSession]) -> Floats:
    """Return the first open of the sessions, then the newest close at each of their closes; NaN before the first bar."""
    opens, closes = bounds_of(played)
    first = int(np.searchsorted(bars.opened_at, opens[0]))
    opened_in_time = first < len(bars.open) and bars.opened_at[first] < closes[0]
    place = np.searchsorted(bars.closed_at, closes, side="right") - 1
    known = np.where(place >= 0, bars.close[np.maximum(place, 0)], np.nan)
    return np.concatenate([[bars.open[first] if opened_in_time else np.nan], known])
