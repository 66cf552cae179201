"""Years of an invented market as bars: the symbols of generated sessions, seeded, the same on every machine.

What is asked for changes nothing: the bars of a symbol on a day depend on the seed, the symbol and the day alone.
Prices wander round the symbol's own level for ever, one step a calendar day from 1998 on, each of a night and a day; the
minutes of a session lead from its open to its close and swing by as much as that step would: they are a random walk, in
which no rule of chart reading gains anything. A daily bar is the sum of its minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import accumulate

import numpy as np

from liualgotrader.common.calendar import FIRST_DAY, TradingSession
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.tapes.base import chosen_symbols
from liualgotrader.tapes.generated import bounded_price, minute_columns
from liualgotrader.tapes.generated_profile import MOST_SYMBOLS, Draws, Purpose, Role, SymbolProfile, profile_of, tickers
from liualgotrader.tapes.tables import Column

_LAST_STEP = date(2050, 12, 31)  # numbers are drawn up to here, whatever is asked for
_MEMORY = 0.998  # of a distance from the level, what is left of it a day later: half of it after a year
_NIGHT, _DAY = 0.3, 0.95  # deviations of both parts of a step, in that of a day's return


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
    course = _course(profile, seed, [session.day for session in sessions])
    parts = []
    for session, (opening, closing) in zip(sessions, course, strict=True):
        draws = Draws(seed, session.day, symbol, Purpose.BARS)
        volume = profile.usual_volume * draws.one(0.6, 1.4)
        figures = _price(profile, opening), _price(profile, closing), volume
        minutes = minute_columns(profile, session, draws, figures, swing=_DAY / (1.0 + abs(opening)))  # see `_price`
        parts.append(_whole(session, *minutes) if daily else minutes)
    opened, closed, *others = (np.concatenate(column) for column in zip(*parts, strict=True))
    return BarColumns(symbol, opened, closed, *(column.astype(np.float64) for column in others))


def _course(profile: SymbolProfile, seed: int, days: Sequence[date]) -> Iterator[tuple[float, float]]:
    """Yield how far the price is from the symbol's level at the open and at the close of each day."""
    steps = (_LAST_STEP - FIRST_DAY).days + 1
    draws = Draws(seed, FIRST_DAY, profile.symbol, Purpose.COURSE)
    nights, shifts = (draws.bell(steps) * (profile.volatility * part) for part in (_NIGHT, _DAY))
    course = list(accumulate((nights + shifts).tolist(), lambda distance, step: distance * _MEMORY + step))
    for day in days:
        place = (day - FIRST_DAY).days
        yield course[place] - float(shifts[place]), course[place]


def _price(profile: SymbolProfile, distance: float) -> int:
    """Return the cents at a distance from the symbol's level: as an exponential near 0, and positive everywhere.

    A small step moves the price by that fraction of it, divided by 1 + |distance|.
    """
    factor = 1.0 + distance if distance >= 0 else 1.0 / (1.0 - distance)
    return bounded_price(profile.previous_close * factor)


def _whole(session: TradingSession, *minutes: Column) -> tuple[Column, ...]:
    """Return the fields of the one bar that minutes sum up to."""
    _, _, opens, highs, lows, closes, shares, averages, counts = minutes
    volume = shares.sum()
    average = np.round((averages * shares).sum() / volume, 6)
    figures = opens[0], highs.max(), lows.min(), closes[-1], volume, average, counts.sum()
    return tuple(np.array([figure]) for figure in (session.opens_at, session.closes_at, *figures))
