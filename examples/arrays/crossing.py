"""The crossing of two averages as array signals: compiled (`Crossing`) and in NumPy alone (`CrossingNumpy`).

`pip install 'liualgotrader[fast]'` installs numba. `optimizer --tradeplan examples/arrays/tradeplan.toml --generated 1
--scale minute --fills touch` plays all pairs in one compiled loop.
"""

import numpy as np
from numba import njit

from liualgotrader.strategies.base import Strategy, StrategyType


@njit(cache=True, nogil=True)
def crossings(close, fast, slow, shares):
    """Return a row a bar: 1 where the fast average crosses the slow one upwards, leave where it crosses back."""
    rows = len(close)
    entry, leave, size = np.zeros(rows, np.int8), np.zeros(rows, np.bool_), np.full(rows, shares)
    short = long = 0.0
    above = False
    for i in range(rows):
        short += close[i] - (close[i - fast] if i >= fast else 0.0)
        long += close[i] - (close[i - slow] if i >= slow else 0.0)
        if i >= slow - 1:
            before, above = above, short * slow > long * fast
            if i >= slow:
                if above and not before:
                    entry[i] = 1
                elif before and not above:
                    leave[i] = True
    return entry, leave, size


class Crossing(Strategy):
    """Buys when the fast average crosses the slow one upwards, and sells when it crosses back."""

    strategy_type = StrategyType.SWING

    def __init__(self, fast=10, slow=30, shares=100, **base):
        super().__init__(**base)
        self.fast, self.slow, self.shares = fast, slow, shares

    def signals(self, bars):
        """Return a row a bar."""
        entry, leave, size = crossings(bars.close, self.fast, self.slow, float(self.shares))
        return {"entry": entry, "exit": leave, "size": size}


class CrossingNumpy(Crossing):
    """The same without a compiler."""

    def signals(self, bars):
        """Return a row a bar."""
        fast, slow = self.fast, self.slow
        sums = np.concatenate(([0.0], np.cumsum(bars.close)))
        short, long = sums[slow:] - sums[slow - fast : -fast], sums[slow:] - sums[:-slow]
        crossed = np.concatenate((np.zeros(slow), np.diff((short * slow > long * fast).astype(np.float64))))
        return {
            "entry": np.maximum(crossed, 0.0),
            "exit": crossed < 0,
            "size": np.full(len(crossed), float(self.shares)),
        }
