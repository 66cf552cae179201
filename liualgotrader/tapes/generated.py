"""An invented session: seeded, the same on every machine, with symbols that exist nowhere.

Of 200 symbols about a dozen open at least 3.5 % higher and climb with pullbacks, some open as much lower,
some swing round their average price, and four are halted for a while; volume is U-shaped. Quotes begin at
09:15, prints at the open. What is asked of the tape does not change it: each symbol is drawn from its own
stream of numbers, whatever window or other symbols are wanted.

A session may follow others (`since`): it then opens from their last prices, and they are its history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import repeat

import msgspec
import numpy as np

from liualgotrader.common.calendar import TradingSession, previous_sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar, BarSource, TradeTick
from liualgotrader.common.market_columns import Floats
from liualgotrader.common.ports import Asset
from liualgotrader.tapes.base import ColumnTape, chosen_symbols, played_session
from liualgotrader.tapes.columns import SymbolColumns, merged
from liualgotrader.tapes.generated_events import fixed_events, minute_weights, symbol_columns
from liualgotrader.tapes.generated_profile import LEAST_PRICE, MOST_SYMBOLS, Draws, Purpose, SymbolProfile, profiles
from liualgotrader.tapes.minute_bars import bars_of, sum_of
from liualgotrader.tapes.tables import Column

EVENTS_LIMIT = 600_000  # trades and quotes of a full session; a half day has as many fewer as it is shorter
MOST_EVENTS_OF_A_SYMBOL = 12_000
LEAST_EVENTS_OF_A_SYMBOL = 600  # of a full session, so that every symbol has a fresh quote each minute
DAILY_SESSIONS = 260  # a year and a little, for 52-week figures
MINUTE_SESSIONS = 5
MOST_CENTS = 100_000

_POINTS = 4  # prices made per minute: open, two between, close
_SOURCE = int(BarSource.HISTORY)


@dataclass(frozen=True)
class GeneratedHistory:
    """Bars of one symbol before the day, oldest first. Of most symbols nobody ever asks for the minutes."""

    daily: list[Bar]
    make_minutes: Callable[[], list[Bar]]

    @cached_property
    def minutes(self) -> list[Bar]:
        """The newest sessions' minute bars."""
        return self.make_minutes()


def history_of(profile: SymbolProfile, before: Sequence[TradingSession], draws: Draws) -> GeneratedHistory:
    """Return the history of a symbol over the sessions `before` the day, oldest first."""
    daily: list[Bar] = []
    newest: list[tuple[Column, ...]] = []
    n = len(before)
    within = (draws.bell(n) * (profile.volatility * 0.8)).tolist()
    overnight = (draws.bell(n) * (profile.volatility * 0.3)).tolist()
    busy = (0.6 + 0.8 * draws.uniform(n)).tolist()
    closing = profile.previous_close
    days = []  # open, close (cents) and volume, newest first: backwards from the close that the session starts from
    for i in range(n):
        opening = bounded_price(closing / (1.0 + within[i]))
        days.append((opening, closing, profile.usual_volume * busy[i]))
        closing = bounded_price(opening / (1.0 + overnight[i]))
    for age, (session, figures) in enumerate(zip(reversed(before), days, strict=True)):
        if age < MINUTE_SESSIONS:
            newest.insert(0, minute_columns(profile, session, draws, figures))
            daily.append(_sum(profile.symbol, session, newest[0]))
        else:
            daily.append(_day(profile, session, draws, figures))

    def minutes() -> list[Bar]:
        columns = (np.concatenate(parts).tolist() for parts in zip(*newest, strict=True))
        return list(map(Bar, repeat(profile.symbol), *columns, repeat(_SOURCE)))

    return GeneratedHistory(daily[::-1], minutes if newest else list)


def _sum(symbol: str, session: TradingSession, minutes: tuple[Column, ...]) -> Bar:
    """Return what `sum_of` makes of the same minutes as bars; sums run from the first to the last, as there."""
    opened, high, low, close, shares, vwap, counts = minutes[2:]
    volume = float(shares.sum())  # whole shares
    average = round(float(np.cumsum(vwap * shares)[-1]) / volume, 6)
    prices = float(opened[0]), float(high.max()), float(low.min()), float(close[-1])
    return Bar(symbol, session.opens_at, session.closes_at, *prices, volume, average, int(counts.sum()), _SOURCE)


def bounded_price(cents: float) -> int:
    """Return the whole cents that a generated price may have."""
    return min(max(round(cents), LEAST_PRICE), MOST_CENTS)


def _day(profile: SymbolProfile, session: TradingSession, draws: Draws, figures: tuple[int, int, float]) -> Bar:
    opening, closing, volume = figures
    high = max(opening, closing) * (1.0 + draws.one(0.0, profile.volatility))
    low = max(min(opening, closing) * (1.0 - draws.one(0.0, profile.volatility)), float(LEAST_PRICE - 50))
    high, low = round(high) / 100.0, round(low) / 100.0
    opened, closed = opening / 100.0, closing / 100.0
    shares = float(round(volume * session.minutes / 390))
    count = max(1, round(shares / profile.typical_size))
    vwap = round((opened + high + low + closed) / 4, 4)
    begin, end = session.opens_at, session.closes_at
    return Bar(profile.symbol, begin, end, opened, high, low, closed, shares, vwap, count, _SOURCE)


def minute_columns(
    profile: SymbolProfile,
    session: TradingSession,
    draws: Draws,
    figures: tuple[int, int, float],
    *,
    swing: float = 0.7,
) -> tuple[Column, ...]:
    """Return the fields of a session's minute bars from `opened_at` to `count`, over time.

    `figures` are the session's open and close in cents, both met exactly, and the shares traded in a full one. `swing`
    is how much prices wander between the two, in deviations of a day's return.
    """
    opening, closing, volume = figures
    n = session.minutes
    # Prices in whole cents that wander from open to close.
    points = n * _POINTS
    walk = np.cumsum(draws.bell(points))
    x = np.arange(points) / (points - 1)
    level = walk - walk[0] - (walk[-1] - walk[0]) * x
    scale = profile.volatility * swing * (opening + closing) / 2.0 / float(points) ** 0.5
    wander: Floats = np.rint(opening + (closing - opening) * x + level * scale)
    path = np.maximum(wander, float(LEAST_PRICE - 50)).reshape(n, _POINTS)
    first, second, third, last = path.T
    highs, lows = (of(of(first, second), of(third, last)) for of in (np.maximum, np.minimum))
    weights = minute_weights(n)
    share = weights / np.cumsum(weights)[-1]
    shares = np.maximum(np.rint(share * (volume * n / 390) * (0.4 + 1.2 * draws.uniform(n))), 1.0)
    vwap = (first + second + third + last) / 400.0
    counts = np.maximum(np.rint(shares / profile.typical_size), 1.0).astype(np.int64)
    opened = session.opens_at + np.arange(n) * MINUTE
    return (opened, opened + MINUTE, *(c / 100.0 for c in (first, highs, lows, last)), shares, vwap, counts)


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
        yesterday: GeneratedTape | None = None,
    ) -> None:
        """Draw the symbols' profiles; events are made when they are asked for.

        `symbols` is how many there are; `only` names those of them that the tape is to have. `since` is the first of
        the generated sessions that lead to this one, each going on from the one before; `yesterday` is the newest of
        these where it is at hand, made with the same figures. It loses its events as this one is loaded.

        Raises:
            ConfigError: if the exchange is closed on `day`, or a figure is out of bounds.
        """
        if seed < 0:
            raise ConfigError(f"The seed of a generated session is a whole number from 0, not {seed}.")
        if not 1 <= symbols <= MOST_SYMBOLS:
            raise ConfigError(f"A generated session has 1 to {MOST_SYMBOLS} symbols, not {symbols}.")
        if events_limit < (least := symbols * LEAST_EVENTS_OF_A_SYMBOL):
            raise ConfigError(
                f"{symbols} generated symbols need an events limit of at least {least}, not {events_limit}."
            )
        session = played_session(day, "a generated session")
        every = profiles(seed, day, symbols)
        chosen = set(chosen_symbols(only, [p.symbol for p in every], f"The session generated for {day}"))
        self._profiles = {p.symbol: p for p in every if p.symbol in chosen}
        self._seed = seed
        # How many moments each symbol gets, by activity, so that all events stay within the limit.
        full_day_share = min(1.0, session.minutes / 390)
        free = int(events_limit * full_day_share) - len(every) * (fixed_events(session) + 1)
        total = 0.0
        for p in every:  # not sum(), which rounds otherwise from Python 3.12 on
            total += p.activity
        most = int(MOST_EVENTS_OF_A_SYMBOL * full_day_share)
        self._moments = {p.symbol: max(0, min(most, int(free * (p.activity / total)))) for p in every}
        self._before = previous_sessions(day, DAILY_SESSIONS)
        self._yesterday: GeneratedTape | None = None
        if since is not None and since < day:
            if yesterday is None or yesterday.day != self._before[-1].day:
                before = self._before[-1].day
                yesterday = GeneratedTape(before, seed, symbols, events_limit, only=only, since=since)
            self._yesterday = yesterday
            for symbol, first in self._yesterday._profiles.items():
                self._profiles[symbol] = self._profiles[symbol].with_traits_of(first)
        assets = [Asset(p.symbol, f"{p.symbol} (generated)", p.venue, p.shortable) for p in self._profiles.values()]
        super().__init__(session, assets)
        self._history: dict[str, GeneratedHistory] = {}

    @property
    def profiles(self) -> Mapping[str, SymbolProfile]:
        """How each symbol was made to behave, by symbol."""
        return {symbol: self._profile_of(symbol) for symbol in self._profiles}

    def notes(self) -> list[str]:
        """Return one sentence: nothing here happened."""
        return [f"All {len(self._profiles)} symbols and their market are generated from seed {self._seed}."]

    def history(self, symbol: str, period: int) -> list[Bar]:
        """Return five sessions or more of minutes, or 260 or more of days."""
        found = self._history_of(symbol)
        return found.minutes if period == MINUTE else found.daily

    def _load(self, symbol: str) -> SymbolColumns:
        draws = Draws(self._seed, self.day, symbol, Purpose.EVENTS)
        return symbol_columns(self._profile_of(symbol), self.session, draws, self._moments[symbol])

    def _profile_of(self, symbol: str) -> SymbolProfile:
        profile = self._profiles[symbol]
        return profile if self._yesterday is None else profile.from_close(self._history_of(symbol).daily[-1].close)

    def _history_of(self, symbol: str) -> GeneratedHistory:
        if symbol not in self._profiles:
            return GeneratedHistory([], list)
        found = self._history.get(symbol)
        if found is None:
            if self._yesterday is None:
                draws = Draws(self._seed, self.day, symbol, Purpose.HISTORY)
                found = history_of(self._profiles[symbol], self._before, draws)
            else:
                found = self._yesterday.history_with_the_day(symbol)
                self._yesterday._columns.pop(symbol, None)
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
        whole = [sum_of(minutes, session.opens_at, session.closes_at)] if minutes else []
        return GeneratedHistory(before.daily + whole, lambda: before.minutes + minutes)
