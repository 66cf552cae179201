"""The original's class for what `trading_data.snapshot` holds by symbol."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TickerSnapshot:
    """A symbol's day so far: shares traded, and the change from the previous close in percent."""

    symbol: str
    volume: int
    today_change: float
