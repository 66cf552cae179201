"""Who trades in a generated session: invented symbols, and the character of each on the day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from itertools import product

import numpy as np

from liualgotrader.tapes.generated_draws import Draws, Purpose, broken_line

# Consonant, vowel, consonant, vowel: easy to say, and rarely anybody's ticker.
_PARTS = ("JQXZ", "AEIOU", "BDFGKLMNRSTV", "AIOU")
_SOMEBODYS = frozenset(
    ("JASO", "QABA", "QADA", "QUMU", "XELA", "XOMA", "ZENA", "ZETA", "ZIGO", "ZIVO", "ZURA", "JAVA", "JEDI", "JUDA")
)
MOST_SYMBOLS = 900
LEAST_PRICE = 150  # cents

_PRICE_QUANTILES = np.array([2.0, 6.0, 12.0, 20.0, 35.0, 60.0, 110.0, 200.0, 400.0])
_MOVER_QUANTILES = np.array([3.0, 5.0, 8.0, 12.0, 18.0, 30.0, 60.0])
_TYPICAL_TRADE_DOLLARS = 6_000.0


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

    def of_the_company(self, first: SymbolProfile) -> SymbolProfile:
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
    free = [t for t in every if t not in _SOMEBODYS]
    shuffled = Draws(0, date(1998, 1, 1), "tickers", Purpose.UNIVERSE).order(len(free))
    return sorted(free[i] for i in shuffled[:count])


def profiles(seed: int, day: date, count: int) -> list[SymbolProfile]:
    """Return the characters of all symbols, in the order of `tickers`."""
    names = tickers(count)
    draws = Draws(seed, day, "roles", Purpose.UNIVERSE)
    roles = _roles(draws, count)
    halted = _halted(draws, roles)
    return [_profile(Draws(seed, day, n, Purpose.PROFILE), n, roles[i], i in halted) for i, n in enumerate(names)]


def _roles(draws: Draws, count: int) -> list[Role]:
    """Return a role per symbol; of 200 symbols 8 to 15 gap up, 6 to 10 gap down, 24 revert."""
    up, down = (int(draws.whole(1, *range_)[0]) for range_ in ((8, 15), (6, 10)))
    wanted = [(Role.GAP_UP, up), (Role.REVERTING, 24), (Role.GAP_DOWN, down)]
    roles = [Role.PLAIN] * count
    free = draws.order(count)
    for role, of_200 in wanted:
        for _ in range(max(1, round(of_200 * count / 200))):
            if free:
                roles[free.pop()] = role
    return roles


def _halted(draws: Draws, roles: Sequence[Role]) -> frozenset[int]:
    """Return which symbols are halted once: of 200 two that gap up and two others."""
    order = draws.order(len(roles))
    half = max(1, round(len(roles) / 100))
    up = [i for i in order if roles[i] is Role.GAP_UP][:half]
    others = [i for i in order if roles[i] is not Role.GAP_UP][:half]
    return frozenset(up + others)


def _profile(draws: Draws, symbol: str, role: Role, halted: bool) -> SymbolProfile:
    moves = role is not Role.PLAIN
    quantiles = _MOVER_QUANTILES if role is Role.GAP_UP else _PRICE_QUANTILES
    knots = np.arange(len(quantiles)) / (len(quantiles) - 1)
    dollars = float(broken_line(draws.uniform(1), knots, quantiles)[0])
    previous_close = round(dollars * 100)
    volatility = draws.one(0.010, 0.035)
    typical_size = round(min(2_000.0, max(100.0, _TYPICAL_TRADE_DOLLARS / dollars)))
    activity = draws.one(0.5, 1.5)
    begin = draws.one(0.08, 0.7)
    return SymbolProfile(
        symbol=symbol,
        role=role,
        venue="NYSE" if draws.one(0, 1) < 0.5 else "NASDAQ",
        shortable=draws.one(0, 1) < 0.97,
        previous_close=previous_close,
        opening=max(LEAST_PRICE, round(previous_close * (1 + _gap(draws, role)))),
        volatility=volatility,
        spread=max(1, round(previous_close * draws.one(0.0001, 0.0006))),
        typical_size=typical_size,
        usual_volume=900.0 * typical_size * activity,
        activity=activity * 3 + 4 if moves else activity,
        halts=((begin, begin + draws.one(0.013, 0.026)),) if halted else (),
    )


def _gap(draws: Draws, role: Role) -> float:
    """Return today's open against yesterday's close, less one."""
    if role is Role.GAP_UP:
        return draws.one(0.042, 0.095)
    if role is Role.GAP_DOWN:
        return -draws.one(0.042, 0.095)
    return draws.one(-0.008, 0.008)
