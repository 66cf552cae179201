"""How far prices move: true ranges of the newest bars."""

from __future__ import annotations

from typing import Any


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
