"""Buy strength: a close above the highest high of the last bars, above the session's average price."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from liualgotrader.common.events import Bar
from liualgotrader.fincalcs.ranges import average_true_range
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context
from liualgotrader.strategies.sizing import shares_at_risk

ENTRY_LIFETIME = timedelta(minutes=1)
ENTRY_ALLOWANCE = 0.002  # of the price: how far above the signal's close the entry may still be filled


class MomentumBreakout(Strategy):
    """Long only, day trade, written with an event method.

    Entry: a minute closes above the highest high of the `lookback` bars before it and above the session's
    VWAP, inside a window of the schedule. The stop lies `stop_ranges` average true ranges below that close,
    the target `target_ranges` above it. Once the price has gained one range, the stop moves to the entry.
    After `max_losses` stopped positions the symbol is left alone for the day.
    """

    def __init__(
        self,
        batch_id: str,
        schedule: list[dict[str, Any]],
        ref_run_id: int | None = None,
        data_loader: Any = None,
        lookback: int = 15,
        stop_ranges: float = 2.0,
        target_ranges: float = 4.0,
        risk_fraction: float = 0.001,
        max_losses: int = 2,
    ) -> None:
        super().__init__(
            name=type(self).__name__,
            type=StrategyType.DAY_TRADE,
            batch_id=batch_id,
            schedule=schedule,
            ref_run_id=ref_run_id,
            data_loader=data_loader,
        )
        self.lookback = lookback
        self.stop_ranges, self.target_ranges = stop_ranges, target_ranges
        self.risk_fraction = risk_fraction
        self.max_losses = max_losses

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        """Leave at stop or target, or enter on a breakout."""
        if ctx.open_orders:
            return
        if ctx.position > 0:
            self._manage(ctx, bar)
        elif self.in_window(ctx.at) and ctx.state.get("losses", 0) < self.max_losses:
            self._maybe_enter(ctx, bar)

    def _maybe_enter(self, ctx: Context, bar: Bar) -> None:
        bars = ctx.bars
        span = average_true_range(bars.high, bars.low, bars.close)
        if span is None or len(bars) <= self.lookback or ctx.portfolio_value is None:
            return
        highest = float(bars.high[-self.lookback - 1 : -1].max())
        vwap = float(bars.vwap[-1])
        if bar.close <= max(highest, vwap):
            return
        stop = round(bar.close - self.stop_ranges * span, 2)
        shares = shares_at_risk(ctx.portfolio_value, bar.close, stop, risk_fraction=self.risk_fraction)
        if shares and stop > 0:
            ctx.state["entry"], ctx.state["range"] = bar.close, span
            ctx.buy(
                shares,
                limit=round(bar.close * (1 + ENTRY_ALLOWANCE), 2),
                stop_price=stop,
                target_price=round(bar.close + self.target_ranges * span, 2),
                cancel_after=ENTRY_LIFETIME,
                indicators={"highest": highest, "vwap": round(vwap, 4), "range": round(span, 4)},
                reason=f"close above the {self.lookback}-bar high",
            )

    def _manage(self, ctx: Context, bar: Bar) -> None:
        stop, target, entry = ctx.stop_price, ctx.target_price, ctx.state.get("entry")
        if stop is not None and bar.close <= stop:
            ctx.state["losses"] = ctx.state.get("losses", 0) + (entry is None or bar.close < entry)
            ctx.close(reason="stop")
        elif target is not None and bar.close >= target:
            ctx.close(reason="target")
        elif entry is not None and stop is not None and stop < entry <= bar.close - ctx.state["range"]:
            ctx.protect(stop_price=round(entry, 2))
