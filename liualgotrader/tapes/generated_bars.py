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
_PAIRS = {  # US dollars
    **{"BTC/USD": 60_000, "ETH/USD": 3_000, "SOL/USD": 150, "LTC/USD": 80, "BCH/USD": 400},
    **{"LINK/USD": 15, "AVAX/USD": 30, "AAVE/USD": 100, "UNI/USD": 8, "DOT/USD": 6},
}
_NIGHT, _DAY = 0.3, 0.95  # deviations of both parts of a step, in that of a day's return


def generated_bars(
    count: int,
    sessions: Sequence[TradingSession],
    seed: int = 0,
    *,
    only: Sequence[str] | None = None,
    daily: bool = False,
    crypto: bool = False,
) -> dict[str, BarColumns]:
    """Return the bars of `count` invented symbols over sessions in order, by symbol: of minutes, or of whole sessions.

    `only` names those of the symbols that are wanted. Of `crypto` the symbols are pairs that are traded, each at its usual
    price or so, and volumes have parts of coins.

    Raises:
        ConfigError: if a figure is out of bounds, there is no session, or a wanted symbol is none of them.
    """
    if seed < 0:
        raise ConfigError(f"The seed of a generated market is a whole number from 0, not {seed}.")
    most = len(_PAIRS) if crypto else MOST_SYMBOLS
    if not 1 <= count <= most:
        raise ConfigError(f"A generated market {'of crypto ' if crypto else ''}has 1 to {most} symbols, not {count}.")
    if not sessions:
        raise ConfigError("A generated market needs at least one session.")
    names = [*_PAIRS][:count] if crypto else tickers(count)
    chosen = chosen_symbols(only, names, f"The generated market of {count} symbols")
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
    bars = BarColumns(symbol, opened, closed, *(column.astype(np.float64) for column in others))
    return _of_pair(bars, profile) if symbol in _PAIRS else bars


def _of_pair(bars: BarColumns, profile: SymbolProfile) -> BarColumns:
    """Return the bars at a pair's usual price, for a hundred times the dollars; prices in whole cents."""
    factor = _PAIRS[bars.symbol] * 100 / profile.previous_close
    prices = (np.maximum(np.round(getattr(bars, n) * factor, 2), 0.01) for n in ("open", "high", "low", "close"))
    figures = (*prices, np.round(bars.volume * (100 / factor), 6), bars.average * factor, bars.count)
    return BarColumns(bars.symbol, bars.opened_at, bars.closed_at, *figures)


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
