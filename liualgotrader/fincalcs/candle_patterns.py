"""Shapes of candles, at the original's addresses and with its thresholds; prices are compared in whole cents.

Prices that are not finite make no shape.
"""

from __future__ import annotations

from math import isfinite, nan

Candle = tuple[float, float, float, float]  # open, high, low, close


def gravestone_doji(open: float, high: float, low: float, close: float) -> bool:
    """Whether the body is below two cents and the upper shadow more than twice the lower."""
    body, upper, lower = _shape(open, high, low, close)
    return abs(body) < 2 < upper + lower and 2 * lower < upper and upper + lower > 2 * abs(body)


def four_price_doji(open: float, close: float, high: float, low: float) -> bool:
    """Whether all four prices are the same. Mind the order of the arguments."""
    return _shape(open, high, low, close) == (0, 0, 0)


def doji(open: float, close: float, high: float, low: float) -> bool:
    """Whether it closes at its open, with a cent of shadow on both sides. Mind the order of the arguments."""
    body, upper, lower = _shape(open, high, low, close)
    return body == 0 and upper >= 1 and lower >= 1


def spinning_top(open: float, high: float, low: float, close: float) -> bool:
    """Whether shadows of about the same length, each above two cents, are together twice the body or more."""
    body, upper, lower = _shape(open, high, low, close)
    return upper + lower >= 2 * abs(body) and upper > 2 and lower > 2 and 0.8 * lower < upper < 1.2 * lower


def bullish_candle(open: float, high: float, low: float, close: float) -> bool:
    """Whether it gains more than two cents, and more than 1.2 times its shadows."""
    body, upper, lower = _shape(open, high, low, close)
    return body > 2 and 5 * body > 6 * (upper + lower)


def bearish_candle(open: float, high: float, low: float, close: float) -> bool:
    """Whether it loses a cent or more."""
    return _shape(open, high, low, close)[0] < 0


def dragonfly_candle(open: float, high: float, low: float, close: float) -> bool:
    """Whether it closes at its open and the lower shadow is more than twice the upper."""
    body, upper, lower = _shape(open, high, low, close)
    return body == 0 and lower > 2 * upper and upper + lower > 0


def spinning_top_bearish_followup(minute1: Candle, minute2: Candle) -> bool:
    """Whether a candle that closes below its open follows a spinning top."""
    return spinning_top(*minute1) and minute2[0] > minute2[3]


def bullish_candle_followed_by_dragonfly(minute1: Candle, minute2: Candle) -> bool:
    """Whether a dragonfly that opens above the close before follows a bullish candle."""
    return bullish_candle(*minute1) and dragonfly_candle(*minute2) and minute2[0] > minute1[3]


def _shape(open: float, high: float, low: float, close: float) -> tuple[float, float, float]:
    """Return the signed body, the upper and the lower shadow in cents, NaN if a price is not finite."""
    prices = [100 * price for price in (open, high, low, close)]
    if not all(map(isfinite, prices)):
        return nan, nan, nan
    first, highest, lowest, last = map(round, prices)
    return last - first, highest - max(first, last), min(first, last) - lowest
