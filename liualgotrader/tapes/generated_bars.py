"""Years of an invented market as bars: the symbols of generated sessions, seeded, the same on every machine.

What is asked for changes nothing: the bars of a symbol on a day depend on the seed, the symbol and the day alone.
Closing prices wander round the symbol's own level for ever, one step a calendar day from 1998 on; a session opens near
the last close and its minutes lead from there to its own close. A daily bar is the sum of its minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import accumulate

import numpy as np

from liualgotrader.common.calendar import FIRST_DAY, TradingSession, previous_sessions
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.tapes.base import chosen_symbols
from liualgotrader.tapes.generated import bounded_price, minute_columns
from liualgotrader.tapes.generated_profile import MOST_SYMBOLS, Draws, Purpose, Role, SymbolProfile, profile_of, tickers
from liualgotrader.tapes.tables import Column

_LAST_STEP = date(2050, 12, 31)  # numbers are drawn up to here, whatever is asked for
_MEMORY = 0.998  # of a distance from the level, what is left of it a day later: half of it after a year
_OVERNIGHT = 0.3  # deviation of the overnight return, in that of a day's


def generated_bars(
    count: int,
    sessions: Sequence[TradingSession],
    seed: int = 0,
    *,
    only: Sequence[str] | None = None,
    daily: bool = False,
) -> dict[str, BarColumns]:
    """Return the bars of `count` invented symbols over sessions in order, by symbol: of minutes, or of whole sessions.

    `only` names those of the symbols that are wanted.

    Raises:
        ConfigError: if a figure is out of bounds, there is no session, or a wanted symbol is none of them.
    """
    if seed < 0:
        raise ConfigError(f"The seed of a generated market is a whole number from 0, not {seed}.")
    if not 1 <= count <= MOST_SYMBOLS:
        raise ConfigError(f"A generated market has 1 to {MOST_SYMBOLS} symbols, not {count}.")
    if not sessions:
        raise ConfigError("A generated market needs at least one session.")
    chosen = chosen_symbols(only, tickers(count), f"The generated market of {count} symbols")
    return {symbol: _bars(symbol, sessions, seed, daily=daily) for symbol in chosen}


def _bars(symbol: str, sessions: Sequence[TradingSession], seed: int, *, daily: bool) -> BarColumns:
    profile = profile_of(Draws(seed, FIRST_DAY, symbol, Purpose.PROFILE), symbol, Role.PLAIN, False)
    before = [s.day for s in previous_sessions(sessions[0].day, 1)] or [sessions[0].day]
    closes = _closes(profile, seed, [*before, *(s.day for s in sessions)])
    parts = []
    for session, previous, close in zip(sessions, closes[:-1], closes[1:], strict=True):
        draws = Draws(seed, session.day, symbol, Purpose.BARS)
        gap = float(draws.bell(1)[0]) * profile.volatility * _OVERNIGHT
        volume = profile.usual_volume * draws.one(0.6, 1.4)
        minutes = minute_columns(profile, session, draws, (bounded_price(previous * (1.0 + gap)), close, volume))
        parts.append(_whole(session, *minutes) if daily else minutes)
    opened, closed, *figures = (np.concatenate(column) for column in zip(*parts, strict=True))
    return BarColumns(symbol, opened, closed, *(figure.astype(np.float64) for figure in figures))


def _closes(profile: SymbolProfile, seed: int, days: Sequence[date]) -> list[int]:
    """Return the closing prices of days in order, in cents."""
    steps = (_LAST_STEP - FIRST_DAY).days + 1
    shocks = Draws(seed, FIRST_DAY, profile.symbol, Purpose.COURSE).bell(steps) * profile.volatility
    last = (days[-1] - FIRST_DAY).days
    course = list(accumulate(shocks[: last + 1].tolist(), lambda distance, shock: distance * _MEMORY + shock))
    found = []
    for day in days:
        distance = course[(day - FIRST_DAY).days]
        # As an exponential near 0, and positive everywhere.
        factor = 1.0 + distance if distance >= 0 else 1.0 / (1.0 - distance)
        found.append(bounded_price(profile.previous_close * factor))
    return found


def _whole(session: TradingSession, *minutes: Column) -> tuple[Column, ...]:
    """Return the fields of the one bar that minutes sum up to."""
    _, _, opens, highs, lows, closes, shares, averages, counts = minutes
    volume = shares.sum()
    average = np.round((averages * shares).sum() / volume, 6)
    figures = opens[0], highs.max(), lows.min(), closes[-1], volume, average, counts.sum()
    return tuple(np.array([figure]) for figure in (session.opens_at, session.closes_at, *figures))
