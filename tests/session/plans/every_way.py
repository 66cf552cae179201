"""Strategies of every form that order often and in every way, so that a session and its backtest have much to differ in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from liualgotrader.common.events import Bar, Counts, Quote, TradeTick
from liualgotrader.common.orders import Fill
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context


class _ForADay(Strategy):
    def __init__(self, batch_id: str, schedule: Any = None, ref_run_id: Any = None, data_loader: Any = None) -> None:
        super().__init__(type(self).__name__, StrategyType.DAY_TRADE, batch_id, schedule or [], ref_run_id, data_loader)
        self.calls: dict[str, int] = {}

    def every(self, symbol: str, count: int) -> bool:
        """Whether so many more calls have come for a symbol."""
        self.calls[symbol] = self.calls.get(symbol, 0) + 1
        return self.calls[symbol] % count == 0


class Prints(_ForADay):
    """Acts on prints: limits at the newest price that do not live long, replaced by quotes, closed at market; moves its stop on fills."""

    timer_seconds = 17.3

    def on_trade(self, ctx: Context, trade: TradeTick) -> None:
        if not trade.flags & Counts.LAST or not self.every(ctx.symbol, 40):
            return
        if ctx.position:
            ctx.close(reason="enough prints")
        elif not ctx.open_orders:
            order = ctx.buy if ctx.rng.random() < 0.5 else ctx.sell
            order(5 + len(ctx.bars) % 7, limit=trade.price, cancel_after=timedelta(seconds=3), reason="a print")

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        for order in ctx.open_orders:
            if order.limit_price is not None and self.every(f"{ctx.symbol} quotes", 25):
                ctx.replace(order, limit=quote.ask if order.side.sign > 0 else quote.bid)

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        if ctx.position > 0:
            ctx.protect(stop_price=round(float(fill.price) * 0.99, 2))

    def on_timer(self, ctx: Context) -> None:
        for order in ctx.open_orders:
            ctx.cancel(order, reason="time is up")


class Brackets(_ForADay):
    """Every third minute a bracket of the size that the account allows, held by the exchange."""

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        if bar.closed_at // 60_000_000_000 % 3 or ctx.position or ctx.open_orders:
            return
        shares = min(ctx.affordable(), 300)
        ctx.buy(shares, take_profit=round(bar.close * 1.0004, 2), stop_loss=round(bar.close * 0.9996, 2))


class Frames(_ForADay):
    """Written as the original's: looks at the frame on every event and seldom orders."""

    async def run(
        self,
        symbol: str,
        shortable: bool,
        position: float,
        now: Any,
        minute_history: Any,
        portfolio_value: float | None = None,
        debug: bool = False,
        backtesting: bool = False,
    ) -> tuple[bool, dict[str, Any]]:
        if not self.every(symbol, 150):
            return False, {}
        close = float(minute_history["close"].iloc[-1])
        if position:
            return True, {"side": "sell" if position > 0 else "buy", "qty": str(abs(position)), "type": "market"}
        return True, {
            "side": "buy",
            "qty": str(1 + len(minute_history) % 5),
            "type": "limit",
            "limit_price": str(close),
        }
