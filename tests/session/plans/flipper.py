"""Strategies that trade often, for tests of the machinery: in and out by the minute, limits, stops and cancels."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from liualgotrader.common.events import Bar
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context


class Flipper(Strategy):
    """Each minute: flat buys or sells short a few shares, a position is closed; every third order is a limit, replaced if it still rests."""

    def __init__(
        self, batch_id: str, schedule: list[dict[str, Any]], ref_run_id: Any = None, data_loader: Any = None
    ) -> None:
        super().__init__(type(self).__name__, StrategyType.DAY_TRADE, batch_id, schedule, ref_run_id, data_loader)

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        """Act on every closed minute; the minute's digits decide what."""
        for order in ctx.open_orders:
            if order.limit_price is not None:
                ctx.replace(order, limit=round(bar.close * 1.0005, 2))
        if ctx.open_orders:
            return
        if ctx.position:
            ctx.close(reason="flip")
            return
        minute = bar.closed_at // 60_000_000_000
        shares = 1 + minute % 7
        if minute % 3 == 0:
            ctx.buy(shares, limit=round(bar.close * 0.9995, 2), cancel_after=timedelta(seconds=90))
        elif minute % 3 == 1:
            ctx.buy(shares, stop_price=round(bar.close * 0.98, 2), indicators={"close": bar.close})
        else:
            ctx.sell(shares, reason="short")


class FlipperAlone(Flipper):
    """The same in a process of its own."""


class Rotator(Strategy):
    """Once a minute over all symbols: holds one share of the first three by name, sells what is held longer."""

    def __init__(self, batch_id: str, schedule: Any = None, ref_run_id: Any = None, data_loader: Any = None) -> None:
        super().__init__(type(self).__name__, StrategyType.DAY_TRADE, batch_id, [], ref_run_id, data_loader)

    async def should_run_all(self) -> bool:
        """All symbols at once."""
        return True

    async def run_all(
        self,
        symbols_position: dict[str, float],
        data_loader: Any,
        now: datetime,
        portfolio_value: float | None = None,
        trader: Any = None,
        debug: bool = False,
        backtesting: bool = False,
        fee_buy_percentage: float = 0.0,
        fee_sell_percentage: float = 0.0,
    ) -> dict[str, dict[str, Any]]:
        """Return a market order per symbol that changes."""
        chosen = sorted(symbols_position)[:3]
        actions: dict[str, dict[str, Any]] = {}
        for symbol, held in symbols_position.items():
            if held > 0 and now.minute % 4 == 0:
                actions[symbol] = {"side": "sell", "qty": str(held), "type": "market"}
            elif held == 0 and symbol in chosen:
                actions[symbol] = {"side": "buy", "qty": "1", "type": "market"}
        return actions
