"""Indicators for event methods.

Classes take one value at a time: each `update` costs the same however long the day is, and returns `value` (None until
enough values were seen). `average_true_range` reads columns of bars.
"""

from __future__ import annotations

from collections import deque
from typing import Any


class Mean:
    """The mean of the last `length` values."""

    __slots__ = ("_length", "_sum", "_window", "value")

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"a mean needs at least one value, not {length}")
        self._length = length
        self._window: deque[float] = deque()
        self._sum = 0.0
        self.value: float | None = None

    def update(self, number: float) -> float | None:
        """Take the next value and return the mean, None before `length` values were seen."""
        self._window.append(number)
        self._sum += number
        if len(self._window) > self._length:
            self._sum -= self._window.popleft()
        if len(self._window) == self._length:
            self.value = self._sum / self._length
        return self.value


class ExponentialMean:
    """The exponential mean with weight 2 / (length + 1), begun with the simple mean of the first `length` values."""

    __slots__ = ("_seed", "_weight", "value")

    def __init__(self, length: int) -> None:
        self._seed = Mean(length)
        self._weight = 2.0 / (length + 1)
        self.value: float | None = None

    def update(self, number: float) -> float | None:
        """Take the next value and return the mean, None before `length` values were seen.

        >>> mean = ExponentialMean(3)
        >>> [mean.update(x) for x in (1, 2, 3, 4, 5, 6)]
        [None, None, 2.0, 3.0, 4.0, 5.0]
        """
        if self.value is None:
            self.value = self._seed.update(number)
        else:
            self.value += self._weight * (number - self.value)
        return self.value


class Extremes:
    """The highest and the lowest of the last `length` values, in constant time a value.

    Source: monotonic queue, Lemire (2006), Streaming maximum-minimum filter.
    """

    __slots__ = ("_at", "_falling", "_length", "_rising")

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"extremes need at least one value, not {length}")
        self._length = length
        self._at = 0
        self._falling: deque[tuple[int, float]] = deque()
        self._rising: deque[tuple[int, float]] = deque()

    def update(self, number: float) -> None:
        """Take the next value."""
        while self._falling and self._falling[-1][1] <= number:
            self._falling.pop()
        while self._rising and self._rising[-1][1] >= number:
            self._rising.pop()
        self._falling.append((self._at, number))
        self._rising.append((self._at, number))
        self._at += 1
        for kept in (self._falling, self._rising):
            if kept[0][0] <= self._at - 1 - self._length:
                kept.popleft()

    @property
    def highest(self) -> float | None:
        """The highest of the last `length` values, None before `length` were seen."""
        return self._falling[0][1] if self._at >= self._length else None

    @property
    def lowest(self) -> float | None:
        """The lowest of the last `length` values, None before `length` were seen."""
        return self._rising[0][1] if self._at >= self._length else None


class SessionVwap:
    """The volume-weighted average price since the session's first bar, and how far prices spread round it.

    Each bar is weighed at its own average price where the vendor gives one, else at (high + low + close) / 3.
    Source: Berkowitz, Logue and Noser (1988), Journal of Finance 43(1).
    """

    __slots__ = ("_dollars", "_shares", "_squares", "value")

    def __init__(self) -> None:
        self._dollars = self._shares = self._squares = 0.0
        self.value: float | None = None

    def update(self, price: float, volume: float) -> float | None:
        """Take a bar's price and volume and return the session's average, None while nothing has traded."""
        self._dollars += price * volume
        self._shares += volume
        self._squares += price * price * volume
        if self._shares > 0:
            self.value = self._dollars / self._shares
        return self.value

    @property
    def deviation(self) -> float:
        """The volume-weighted standard deviation round the average, in dollars; 0.0 while nothing has traded."""
        if self.value is None or not self._shares:  # shares of a negative volume may take those before them back
            return 0.0
        return float(max(0.0, self._squares / self._shares - self.value * self.value) ** 0.5)


class TrueRange:
    """Wilder's average true range.

    Source: Wilder (1978), New Concepts in Technical Trading Systems.
    """

    __slots__ = ("_close", "_length", "_seed", "value")

    def __init__(self, length: int = 14) -> None:
        self._length = length
        self._seed = Mean(length)
        self._close: float | None = None
        self.value: float | None = None

    def update(self, high: float, low: float, close: float) -> float | None:
        """Take the next bar and return the average range in dollars, None before `length` bars were seen."""
        before = close if self._close is None else self._close
        span = max(high, before) - min(low, before)
        self._close = close
        if self.value is None:
            self.value = self._seed.update(span)
        else:
            self.value += (span - self.value) / self._length
        return self.value


def average_true_range(high: Any, low: Any, close: Any, length: int = 14) -> float | None:
    """Return the mean true range of the last `length` bars in US dollars, None before there are `length` + 1.

    The three are NumPy columns of equal length, oldest first. The simple mean is used, not Wilder's
    smoothing, so that the figure depends on the last `length` bars alone.
    Source: Wilder (1978), New Concepts in Technical Trading Systems, for the true range.
    """
    if len(close) <= length:
        return None
    before = close[-length - 1 : -1]
    tops, bottoms = high[-length:], low[-length:]
    spans = [max(h, c) - min(lo, c) for h, lo, c in zip(tops.tolist(), bottoms.tolist(), before.tolist(), strict=True)]
    return float(sum(spans) / length)
