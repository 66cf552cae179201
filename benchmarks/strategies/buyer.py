"""A strategy that buys at market on every trade and counts what it is told of its fills."""

from __future__ import annotations

from typing import Any

from liualgotrader.common.events import TradeTick
from liualgotrader.common.orders import Fill
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context


class Buyer(Strategy):
    """One order for one event."""

    def __init__(self, batch_id: str, **rest: Any) -> None:
        super().__init__("Buyer", StrategyType.DAY_TRADE, batch_id, [], **rest)
        self.fills = 0

    def on_trade(self, ctx: Context, trade: TradeTick) -> None:
        """Buy a share."""
        ctx.buy(1, stop_price=90)

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        """Count."""
        self.fills += 1
