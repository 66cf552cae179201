"""Holds of the market, counted."""

from __future__ import annotations

from liualgotrader.ipc.process_status import MarketHold


class Holds:
    """Counts the holds that have begun and not ended."""

    def __init__(self) -> None:
        self.count = 0

    def hold(self) -> MarketHold:
        """Return one more hold."""
        return MarketHold(self._change)

    def _change(self, change: int) -> None:
        self.count += change
