"""Condition codes of trades and quotes, at the original's address: numbers of Polygon's stocks feed."""

TRADE_CONDITIONS: list[int] = [0, 1, 3, 4, 8, 9, 11, 14, 23, 25, 27, 28, 30, 34, 36]
"""Of trades that count."""

QUOTE_SKIP_CONDITIONS: list[int] = [-1, 80, 83, 92]
"""Of quotes that do not."""
