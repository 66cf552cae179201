"""Buy strength: a close above the highest high of the last bars, above the session's average price."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from liualgotrader.common.events import Bar
from liualgotrader.common.orders import Fill
from liualgotrader.common.trading_data import latest_cost_basis
from liualgotrader.fincalcs.incremental import average_true_range
from liualgotrader.strategies.base import Strategy
from liualgotrader.strategies.context import Context, shares_at_risk

ENTRY_LIFETIME = timedelta(seconds=45)  # over before the next minute closes, so that a bar never meets a working entry
ENTRY_ALLOWANCE = 0.002  # of the price: how far above the signal's close the entry may still be filled


class MomentumBreakout(Strategy):
    """Long only, day trade, written with event methods.

    Entry: a minute closes above the highest high of the `lookback` bars before it and above the session's
    VWAP, inside a window of the schedule. The stop lies `stop_ranges` average true ranges below that close,
    the target `target_ranges` above it; both act on closes. Once the price has gained as much as the position
    risked, the stop moves to its cost. After `max_losses` losing positions the symbol is left alone for the day.

    A position risks at most `risk_fraction` of the portfolio and costs at most `cost_fraction` of it.
    What the strategy knows about a position comes from its fills alone, so an entry that was refused or expired
    leaves nothing behind.
    """

    def __init__(
        self,
        *,
        lookback: int = 15,
        stop_ranges: float = 2.0,
        target_ranges: float = 4.0,
        risk_fraction: float = 0.001,
        cost_fraction: float = 0.03,
        max_losses: int = 2,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.lookback = lookback
        self.stop_ranges, self.target_ranges = stop_ranges, target_ranges
        self.risk_fraction, self.cost_fraction = risk_fraction, cost_fraction
        self.max_losses = max_losses

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        """Leave at stop or target, or enter on a breakout."""
        if ctx.open_orders:
            return
        if ctx.position > 0:
            self._manage(ctx, bar)
        elif self.in_window(ctx.at) and ctx.state.get("losses", 0) < self.max_losses:
            self._maybe_enter(ctx, bar)

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        """Remember what the position costs, and count it as a loss if it ends below that."""
        if fill.position:
            ctx.state["cost"] = latest_cost_basis[ctx.symbol]
        elif fill.price < ctx.state.pop("cost", 0.0):
            ctx.state["losses"] = ctx.state.get("losses", 0) + 1

    def _maybe_enter(self, ctx: Context, bar: Bar) -> None:
        bars = ctx.bars
        span = average_true_range(bars.high, bars.low, bars.close)
        if span is None or len(bars) <= self.lookback or ctx.portfolio_value is None:
            return
        highest, vwap = float(bars.high[-self.lookback - 1 : -1].max()), float(bars.vwap[-1])
        if bar.close <= max(highest, vwap):
            return
        limit = bar.close * (1 + ENTRY_ALLOWANCE)
        stop = round(bar.close - self.stop_ranges * span, 2)
        risk, cost = self.risk_fraction, self.cost_fraction
        shares = shares_at_risk(ctx.portfolio_value, limit, stop, risk_fraction=risk, cost_fraction=cost)
        if not shares or not 0 < stop < bar.close:
            return
        ctx.buy(
            shares,
            limit=limit,
            stop_price=stop,
            target_price=round(bar.close + self.target_ranges * span, 2),
            cancel_after=ENTRY_LIFETIME,
            indicators={"highest": highest, "vwap": round(vwap, 4), "range": round(span, 4)},
            reason=f"close above the {self.lookback}-bar high",
        )

    def _manage(self, ctx: Context, bar: Bar) -> None:
        stop, target = ctx.stop_price, ctx.target_price
        if stop is not None and bar.close <= stop:
            ctx.close(reason="stop")
        elif target is not None and bar.close >= target:
            ctx.close(reason="target")
        elif stop is not None:
            cost = round(latest_cost_basis[ctx.symbol], 4)
            if stop < cost <= bar.close - (cost - stop):
                ctx.protect(stop_price=cost)
