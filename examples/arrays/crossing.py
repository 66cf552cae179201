"""The crossing of two averages as array signals: compiled (`Crossing`) and in NumPy alone (`CrossingNumpy`).

`pip install 'liualgotrader[fast]'` installs numba. `optimizer --tradeplan examples/arrays/tradeplan.toml --generated 1
--scale minute --fills touch` plays all pairs in one compiled loop.
"""

import numpy as np
from numba import njit

from liualgotrader.strategies.base import Strategy, StrategyType


@njit(cache=True, nogil=True)
def crossings(close, fast, slow):
    """Return a row a bar: 1 where the fast average crosses the slow one upwards, -1 where it crosses back, else 0."""
    crossed = np.zeros(len(close), np.int8)
    short, long = close[slow - fast : slow].sum(), close[:slow].sum()
    above = short * slow > long * fast
    for i in range(slow, len(close)):
        short += close[i] - close[i - fast]
        long += close[i] - close[i - slow]
        before, above = above, short * slow > long * fast
        crossed[i] = np.int8(above) - np.int8(before)
    return crossed


class Crossing(Strategy):
    """Buys when the fast average crosses the slow one upwards, and sells when it crosses back."""

    strategy_type = StrategyType.SWING

    def __init__(self, fast=10, slow=30, shares=100, **base):
        super().__init__(**base)
        self.fast, self.slow, self.shares = fast, slow, shares

    def signals(self, bars):
        """Return a row a bar."""
        crossed = self.crossed(bars.close)
        return {"entry": crossed > 0, "exit": crossed < 0, "size": self.shares}

    def crossed(self, close):
        """Return the crossings of the averages."""
        return crossings(close, self.fast, self.slow)


class CrossingNumpy(Crossing):
    """The same without a compiler."""

    def crossed(self, close):
        """Return the crossings of the averages."""
        fast, slow = self.fast, self.slow
        sums = np.concatenate(([0.0], np.cumsum(close)))
        short, long = sums[slow:] - sums[slow - fast : -fast], sums[slow:] - sums[:-slow]
        above = short * slow > long * fast
        return np.concatenate((np.zeros(slow, np.int8), np.diff(above.astype(np.int8))))
