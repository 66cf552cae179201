"""The symbols of a generated session: invented tickers, and how each behaves on the day.

Random numbers are the same on every machine, drawn from one stream per (seed, day, symbol, purpose). Only uniform
numbers are taken from the generator, and only sums, products, quotients and rounding are done with them: these are
exact to the last bit everywhere, whereas logarithms, exponentials and the generators' own distributions may differ in
it between processors and library versions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import IntEnum, StrEnum
from itertools import product

import numpy as np

from liualgotrader.common.market_columns import Floats, Ints

# Consonant, vowel, consonant, vowel: easy to say, and rarely a real ticker.
_PARTS = ("JQXZ", "AEIOU", "BDFGKLMNRSTV", "AIOU")
_REAL_TICKERS = frozenset(
    ("JASO", "QABA", "QADA", "QUMU", "XELA", "XOMA", "ZENA", "ZETA", "ZIGO", "ZIVO", "ZURA", "JAVA", "JEDI", "JUDA")
)
MOST_SYMBOLS = 900
LEAST_PRICE = 150  # cents

_PRICE_QUANTILES = np.array([2.0, 6.0, 12.0, 20.0, 35.0, 60.0, 110.0, 200.0, 400.0])
_MOVER_QUANTILES = np.array([3.0, 5.0, 8.0, 12.0, 18.0, 30.0, 60.0])
_TYPICAL_TRADE_DOLLARS = 6_000.0
_SQRT_3 = 1.7320508075688772


class Purpose(IntEnum):
    """What a stream of numbers is for, so that one does not shift another."""

    UNIVERSE = 0
    PROFILE = 1
    EVENTS = 2
    HISTORY = 3
    COURSE = 4  # of closing prices over years
    BARS = 5


class Draws:
    """One stream of numbers."""

    def __init__(self, seed: int, day: date, symbol: str, purpose: Purpose) -> None:
        entropy = [seed, day.toordinal(), int(purpose), *symbol.encode()]
        self._bits = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def uniform(self, n: int) -> Floats:
        """Return `n` numbers, 0 <= x < 1, all alike likely."""
        return self._bits.random(n)

    def bell(self, n: int) -> Floats:
        """Return `n` numbers of mean 0 and deviation 1 that look normal within 3.5: scaled sums of four uniform ones."""
        u = self._bits.random((4, n))
        total: Floats = ((u[0] + u[1]) + (u[2] + u[3]) - 2.0) * _SQRT_3
        return total

    def whole(self, n: int, low: int, high: int) -> Ints:
        """Return `n` whole numbers from `low` to `high`, both included."""
        return low + np.floor(self.uniform(n) * (high - low + 1)).astype(np.int64)

    def one(self, low: float, high: float) -> float:
        """Return one number, low <= x < high."""
        return low + float(self._bits.random()) * (high - low)

    def order(self, n: int) -> list[int]:
        """Return the numbers 0 to n - 1, shuffled."""
        return [int(i) for i in np.argsort(self.uniform(n), kind="stable")]


def broken_line(x: Floats, knots: Floats, heights: Floats) -> Floats:
    """Return the heights at `x` of the line through the knots; x outside stays at the first or last height."""
    right = np.clip(np.searchsorted(knots, x, side="right"), 1, len(knots) - 1)
    left = right - 1
    share = np.clip((x - knots[left]) / (knots[right] - knots[left]), 0.0, 1.0)
    line: Floats = heights[left] + (heights[right] - heights[left]) * share
    return line


class Role(StrEnum):
    """How a symbol behaves on the day."""

    GAP_UP = "gap_up"  # opens at least 3.5 % higher and climbs, with pullbacks
    GAP_DOWN = "gap_down"  # opens at least 3.5 % lower, then falls on or recovers
    REVERTING = "reverting"  # swings round its own average price
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class SymbolProfile:
    """One symbol on one day. Prices are cents, fractions are of the price, `activity` weighs its share of events."""

    symbol: str
    role: Role
    venue: str
    shortable: bool
    previous_close: int
    opening: int
    volatility: float  # deviation of a day's return
    spread: int  # usual, in cents
    typical_size: int  # of a print, in shares
    usual_volume: float  # of an ordinary day, in shares
    activity: float
    halts: tuple[tuple[float, float], ...] = ()  # begin and end as fractions of the session

    def with_traits_of(self, first: SymbolProfile) -> SymbolProfile:
        """Return this day's behaviour of a symbol whose lasting traits are those of an earlier day."""
        return replace(
            self,
            venue=first.venue,
            shortable=first.shortable,
            volatility=first.volatility,
            typical_size=first.typical_size,
            usual_volume=first.usual_volume,
        )

    def from_close(self, dollars: float) -> SymbolProfile:
        """Return the same behaviour after another close, US dollars."""
        factor = dollars * 100 / self.previous_close
        return replace(
            self,
            previous_close=round(dollars * 100),
            opening=max(LEAST_PRICE, round(self.opening * factor)),
            spread=max(1, round(self.spread * factor)),
        )


def tickers(count: int) -> list[str]:
    """Return the invented tickers, the same for every seed and day, in alphabetical order."""
    every = ["".join(p) for p in product(*_PARTS)]
    free = [t for t in every if t not in _REAL_TICKERS]
    shuffled = Draws(0, date(1998, 1, 1), "tickers", Purpose.UNIVERSE).order(len(free))
    return sorted(free[i] for i in shuffled[:count])


def profiles(seed: int, day: date, count: int) -> list[SymbolProfile]:
    """Return the characters of all symbols, in the order of `tickers`."""
    names = tickers(count)
    draws = Draws(seed, day, "roles", Purpose.UNIVERSE)
    # Of 200 symbols 8 to 15 gap up, 6 to 10 gap down, 24 revert.
    up, down = (int(draws.whole(1, *range_)[0]) for range_ in ((8, 15), (6, 10)))
    roles = [Role.PLAIN] * count
    free = draws.order(count)
    for role, of_200 in ((Role.GAP_UP, up), (Role.REVERTING, 24), (Role.GAP_DOWN, down)):
        for _ in range(max(1, round(of_200 * count / 200))):
            if free:
                roles[free.pop()] = role
    # Of 200 symbols two that gap up and two others are halted once.
    order = draws.order(count)
    half = max(1, round(count / 100))
    halted = [i for i in order if roles[i] is Role.GAP_UP][:half] + [i for i in order if roles[i] is not Role.GAP_UP][
        :half
    ]
    return [profile_of(Draws(seed, day, n, Purpose.PROFILE), n, roles[i], i in halted) for i, n in enumerate(names)]


def profile_of(draws: Draws, symbol: str, role: Role, halted: bool) -> SymbolProfile:
    """Return how a symbol with that role behaves."""
    quantiles = _MOVER_QUANTILES if role is Role.GAP_UP else _PRICE_QUANTILES
    knots = np.arange(len(quantiles)) / (len(quantiles) - 1)
    dollars = float(broken_line(draws.uniform(1), knots, quantiles)[0])
    previous_close = round(dollars * 100)
    volatility = draws.one(0.010, 0.035)
    typical_size = round(min(2_000.0, max(100.0, _TYPICAL_TRADE_DOLLARS / dollars)))
    activity = draws.one(0.5, 1.5)
    begin = draws.one(0.08, 0.7)
    venue = "NYSE" if draws.one(0, 1) < 0.5 else "NASDAQ"
    shortable = draws.one(0, 1) < 0.97
    if role is Role.GAP_UP:
        gap = draws.one(0.042, 0.095)
    elif role is Role.GAP_DOWN:
        gap = -draws.one(0.042, 0.095)
    else:
        gap = draws.one(-0.008, 0.008)
    return SymbolProfile(
        symbol=symbol,
        role=role,
        venue=venue,
        shortable=shortable,
        previous_close=previous_close,
        opening=max(LEAST_PRICE, round(previous_close * (1 + gap))),
        volatility=volatility,
        spread=max(1, round(previous_close * draws.one(0.0001, 0.0006))),
        typical_size=typical_size,
        usual_volume=900.0 * typical_size * activity,
        activity=activity if role is Role.PLAIN else activity * 3 + 4,
        halts=((begin, begin + draws.one(0.013, 0.026)),) if halted else (),
    )
