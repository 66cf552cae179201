"""The days before a generated session: bars that end exactly at the close the session starts from.

Days are made backwards from yesterday's close. The newest sessions have minute bars, and their daily bar is
the sum of these; older ones have a daily bar only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from liualgotrader.common.calendar import Session
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Bar, BarSource
from liualgotrader.tapes.columns import Floats
from liualgotrader.tapes.generated_draws import Draws
from liualgotrader.tapes.generated_events import minute_weights
from liualgotrader.tapes.generated_profile import LEAST_PRICE, SymbolProfile
from liualgotrader.tapes.minute_bars import sum_of

DAILY_SESSIONS = 260  # a year and a little, for 52-week figures
MINUTE_SESSIONS = 5
MOST_CENTS = 100_000

_POINTS = 4  # prices made per minute: open, two between, close
_SOURCE = int(BarSource.HISTORY)


@dataclass(frozen=True, slots=True)
class GeneratedHistory:
    """Bars of one symbol before the day, oldest first."""

    daily: list[Bar]
    minutes: list[Bar]


def history_of(profile: SymbolProfile, before: Sequence[Session], draws: Draws) -> GeneratedHistory:
    """Return the history of a symbol over the sessions `before` the day, oldest first."""
    daily: list[Bar] = []
    minutes: list[Bar] = []
    days = _days_backwards(profile, len(before), draws)
    for age, (session, (opening, closing, volume)) in enumerate(zip(reversed(before), days, strict=True)):
        if age < MINUTE_SESSIONS:
            bars = _minutes(profile, session, draws, (opening, closing, volume))
            whole = sum_of(bars, session.opens_at, session.closes_at)
            minutes[:0] = bars
        else:
            whole = _day(profile, session, draws, (opening, closing, volume))
        if whole is not None:
            daily.append(whole)
    return GeneratedHistory(daily[::-1], minutes)


def _days_backwards(profile: SymbolProfile, n: int, draws: Draws) -> list[tuple[int, int, float]]:
    """Return (open, close, volume) of the last `n` days in cents and shares, newest first."""
    within = (draws.bell(n) * (profile.volatility * 0.8)).tolist()
    overnight = (draws.bell(n) * (profile.volatility * 0.3)).tolist()
    busy = (0.6 + 0.8 * draws.uniform(n)).tolist()
    days = []
    closing = profile.previous_close
    for i in range(n):
        opening = _bounded(closing / (1.0 + within[i]))
        days.append((opening, closing, profile.usual_volume * busy[i]))
        closing = _bounded(opening / (1.0 + overnight[i]))
    return days


def _bounded(cents: float) -> int:
    return min(max(round(cents), LEAST_PRICE), MOST_CENTS)


def _day(profile: SymbolProfile, session: Session, draws: Draws, figures: tuple[int, int, float]) -> Bar:
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


def _minutes(profile: SymbolProfile, session: Session, draws: Draws, figures: tuple[int, int, float]) -> list[Bar]:
    opening, closing, volume = figures
    n = session.minutes
    path = _bridge(opening, closing, n * _POINTS, profile.volatility * 0.7, draws).reshape(n, _POINTS)
    cents = (path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1])
    weights = minute_weights(n)
    share = weights / np.cumsum(weights)[-1]
    shares = np.maximum(np.rint(share * (volume * n / 390) * (0.4 + 1.2 * draws.uniform(n))), 1.0)
    vwap = (path[:, 0] + path[:, 1] + path[:, 2] + path[:, 3]) / 400.0
    counts = np.maximum(np.rint(shares / profile.typical_size), 1.0).astype(np.int64)
    opened = session.opens_at + np.arange(n) * MINUTE
    columns = (opened, opened + MINUTE, *(c / 100.0 for c in cents), shares, vwap, counts)
    return list(map(Bar, repeat(profile.symbol), *(c.tolist() for c in columns), repeat(_SOURCE)))


def _bridge(first: int, last: int, n: int, deviation: float, draws: Draws) -> Floats:
    """Return `n` prices in whole cents that wander from `first` to `last`, both met exactly."""
    walk = np.cumsum(draws.bell(n))
    x = np.arange(n) / (n - 1)
    level = walk - walk[0] - (walk[-1] - walk[0]) * x
    scale = deviation * (first + last) / 2.0 / float(n) ** 0.5
    path: Floats = np.rint(first + (last - first) * x + level * scale)
    return np.maximum(path, float(LEAST_PRICE - 50))
