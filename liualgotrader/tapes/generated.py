"""An invented session: seeded, the same on every machine, with symbols that exist nowhere.

Of 200 symbols about a dozen open at least 3.5 % higher and climb with pullbacks, some open as much lower,
some swing round their average price, and four are halted for a while; volume is U-shaped. Quotes begin at
09:15, prints at the open. What is asked of the tape does not change it: each symbol is drawn from its own
stream of numbers, whatever window or other symbols are wanted.

A session may follow others (`since`): it then opens from their last prices, and they are its history.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import msgspec

from liualgotrader.common.calendar import previous_sessions
from liualgotrader.common.clock import HOUR
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar, BarSource, TradeTick
from liualgotrader.tapes.base import ColumnTape, TapeAsset, chosen_symbols, played_session
from liualgotrader.tapes.columns import SymbolColumns, merged
from liualgotrader.tapes.generated_draws import Draws, Purpose
from liualgotrader.tapes.generated_events import fixed_events, symbol_columns
from liualgotrader.tapes.generated_history import DAILY_SESSIONS, GeneratedHistory, history_of
from liualgotrader.tapes.generated_profile import MOST_SYMBOLS, SymbolProfile, profiles
from liualgotrader.tapes.minute_bars import bars_of, sum_of

EVENTS_LIMIT = 600_000  # trades and quotes of a full session; a half day has as many fewer as it is shorter
MOST_EVENTS_OF_A_SYMBOL = 12_000
LEAST_EVENTS_OF_A_SYMBOL = 600  # of a full session, so that everybody has a fresh quote each minute


class GeneratedTape(ColumnTape):
    """One invented session with the history before it."""

    def __init__(
        self,
        day: date,
        seed: int = 0,
        symbols: int = 200,
        events_limit: int = EVENTS_LIMIT,
        *,
        only: Sequence[str] | None = None,
        since: date | None = None,
    ) -> None:
        """Decide who trades and how; events are made when they are asked for.

        `symbols` is how many there are; `only` names those of them that the tape is to have. `since` is the first of
        the generated sessions that lead to this one, each going on from the one before.

        Raises:
            ConfigError: if the exchange is shut on `day`, or a figure is out of bounds.
        """
        _check(seed, symbols, events_limit)
        session = played_session(day, "a generated session")
        everybody = profiles(seed, day, symbols)
        chosen = set(chosen_symbols(only, [p.symbol for p in everybody], f"The session generated for {day}"))
        self._profiles = {p.symbol: p for p in everybody if p.symbol in chosen}
        self._seed = seed
        self._moments = _moments_of(everybody, session.minutes, events_limit, fixed_events(session))
        self._before = previous_sessions(day, DAILY_SESSIONS)
        self._yesterday: GeneratedTape | None = None
        if since is not None and since < day:
            yesterday = self._before[-1].day
            self._yesterday = GeneratedTape(yesterday, seed, symbols, events_limit, only=only, since=since)
            for symbol, first in self._yesterday._profiles.items():
                self._profiles[symbol] = self._profiles[symbol].of_the_company(first)
        super().__init__(session, [_asset(p) for p in self._profiles.values()])
        self._history: dict[str, GeneratedHistory] = {}

    @property
    def profiles(self) -> Mapping[str, SymbolProfile]:
        """How each symbol was made to behave, by symbol."""
        return {symbol: self._profile_of(symbol) for symbol in self._profiles}

    def notes(self) -> list[str]:
        """Return the one thing to know: nothing here happened."""
        return [f"All {len(self._profiles)} symbols and their market are generated from seed {self._seed}."]

    def minute_bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        """Return minute bars of the sessions before `day`, five or more, with start <= opened_at < end, oldest first."""
        bars = self._history_of(symbol).minutes
        return bars[bisect_left(bars, start, key=_opened_at) : bisect_left(bars, end, key=_opened_at)]

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence[Bar]:
        """Return daily bars of the sessions before `day`, 260 or more, from `start` to `end`, both included, oldest first."""
        bars = self._history_of(symbol).daily
        first, last = (_midnight_utc(d) for d in (start, end + timedelta(days=1)))
        return bars[bisect_left(bars, first, key=_opened_at) : bisect_left(bars, last, key=_opened_at)]

    def _load(self, symbol: str) -> SymbolColumns:
        draws = Draws(self._seed, self.day, symbol, Purpose.EVENTS)
        return symbol_columns(self._profile_of(symbol), self.session, draws, self._moments[symbol])

    def _profile_of(self, symbol: str) -> SymbolProfile:
        profile = self._profiles[symbol]
        return profile if self._yesterday is None else profile.from_close(self._history_of(symbol).daily[-1].close)

    def _history_of(self, symbol: str) -> GeneratedHistory:
        if symbol not in self._profiles:
            return GeneratedHistory([], [])
        found = self._history.get(symbol)
        if found is None:
            if self._yesterday is None:
                draws = Draws(self._seed, self.day, symbol, Purpose.HISTORY)
                found = history_of(self._profiles[symbol], self._before, draws)
            else:
                found = self._yesterday.history_with_the_day(symbol)
            self._history[symbol] = found
        return found

    def history_with_the_day(self, symbol: str) -> GeneratedHistory:
        """Return the history of a symbol as the next session has it: this one's, and this one."""
        session, before = self.session, self._history_of(symbol)
        events = merged([self.columns(symbol)], session.opens_at, session.closes_at)
        minutes = [
            msgspec.structs.replace(bar, source=int(BarSource.HISTORY))
            for bar in bars_of(event for event in events if isinstance(event, TradeTick))
        ]
        whole = sum_of(minutes, session.opens_at, session.closes_at)
        return GeneratedHistory(before.daily + ([whole] if whole is not None else []), before.minutes + minutes)


def _check(seed: int, symbols: int, events_limit: int) -> None:
    if seed < 0:
        raise ConfigError(f"The seed of a generated session is a whole number from 0, not {seed}.")
    if not 1 <= symbols <= MOST_SYMBOLS:
        raise ConfigError(f"A generated session has 1 to {MOST_SYMBOLS} symbols, not {symbols}.")
    if events_limit < symbols * LEAST_EVENTS_OF_A_SYMBOL:
        needed = symbols * LEAST_EVENTS_OF_A_SYMBOL
        raise ConfigError(f"{symbols} generated symbols need an events limit of at least {needed}, not {events_limit}.")


def _moments_of(everybody: Sequence[SymbolProfile], minutes: int, limit: int, fixed: int) -> dict[str, int]:
    """Return how many moments each symbol gets, by activity, so that all events stay within the limit."""
    full_day_share = min(1.0, minutes / 390)
    free = int(limit * full_day_share) - len(everybody) * (fixed + 1)
    total = 0.0
    for p in everybody:
        total += p.activity
    most = int(MOST_EVENTS_OF_A_SYMBOL * full_day_share)
    return {p.symbol: max(0, min(most, int(free * (p.activity / total)))) for p in everybody}


def _asset(profile: SymbolProfile) -> TapeAsset:
    return TapeAsset(profile.symbol, f"{profile.symbol} (generated)", profile.venue, profile.shortable)


def _midnight_utc(day: date) -> int:
    """Return midnight UTC of `day`; sessions lie well inside their day."""
    return (day - date(1970, 1, 1)).days * 24 * HOUR


def _opened_at(bar: Bar) -> int:
    return bar.opened_at
