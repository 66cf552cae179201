"""Random numbers that are the same on every machine, drawn from one stream per (seed, day, symbol, purpose).

Only uniform numbers are taken from the generator, and only sums, products, quotients and rounding are done
with them: these are exact to the last bit everywhere, whereas logarithms, exponentials and the generators'
own distributions may differ in it between processors and library versions.
"""

from __future__ import annotations

from datetime import date
from enum import IntEnum

import numpy as np

from liualgotrader.tapes.columns import Floats, Ints

_SQRT_3 = 1.7320508075688772


class Purpose(IntEnum):
    """What a stream of numbers is for, so that one does not shift another."""

    UNIVERSE = 0
    PROFILE = 1
    EVENTS = 2
    HISTORY = 3


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
