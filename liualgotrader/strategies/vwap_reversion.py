"""Fade stretched prices: back to the session's average price, from above and from below."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from liualgotrader.common.events import Bar
from liualgotrader.fincalcs.incremental import SessionVwap
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context
from liualgotrader.strategies.sizing import shares_at_risk

ENTRY_LIFETIME = timedelta(minutes=1)
ENTRY_ALLOWANCE = 0.001


class VwapReversion(Strategy):
    """Long and short, day trade, written with an event method and an incremental indicator.

    A minute that closes more than `entry_deviations` volume-weighted standard deviations above the session's
    VWAP, and below its own open (the move has turned), is sold short; the mirror image is bought. The
    target is the VWAP at entry, the stop lies `stop_deviations` away from it, and a position that is neither
    after `max_minutes` is closed.
    """

    def __init__(
        self,
        batch_id: str,
        schedule: list[dict[str, Any]],
        ref_run_id: int | None = None,
        data_loader: Any = None,
        entry_deviations: float = 2.0,
        stop_deviations: float = 3.5,
        risk_fraction: float = 0.001,
        max_minutes: int = 45,
        max_trades: int = 3,
    ) -> None:
        super().__init__(
            name=type(self).__name__,
            type=StrategyType.DAY_TRADE,
            batch_id=batch_id,
            schedule=schedule,
            ref_run_id=ref_run_id,
            data_loader=data_loader,
        )
        self.entry_deviations, self.stop_deviations = entry_deviations, stop_deviations
        self.risk_fraction = risk_fraction
        self.max_minutes = max_minutes
        self.max_trades = max_trades

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        """Follow the average price; leave at target, stop or time, or enter on a stretched price that turns."""
        vwap = self._average_price(ctx, bar)
        if ctx.open_orders or vwap.value is None:
            return
        if ctx.position:
            self._manage(ctx, bar)
        elif self.in_window(ctx.at) and ctx.state.get("trades", 0) < self.max_trades:
            self._maybe_enter(ctx, bar, vwap.value, vwap.deviation)

    def _maybe_enter(self, ctx: Context, bar: Bar, vwap: float, deviation: float) -> None:
        distance = bar.close - vwap
        above = distance > 0
        turned = bar.close < bar.open if above else bar.close > bar.open
        if deviation < 0.01 or not turned or abs(distance) < self.entry_deviations * deviation:
            return
        away = 1 if above else -1
        stop = round(vwap + away * max(self.stop_deviations * deviation, abs(distance) * 1.25), 2)
        shares = shares_at_risk(ctx.portfolio_value or 0.0, bar.close, stop, risk_fraction=self.risk_fraction)
        if not shares or stop <= 0:
            return
        ctx.state["trades"] = ctx.state.get("trades", 0) + 1
        ctx.state["entered_at"] = ctx.at
        act = ctx.sell if above else ctx.buy
        act(
            shares,
            limit=round(bar.close * (1 - away * ENTRY_ALLOWANCE), 2),
            stop_price=stop,
            target_price=round(vwap, 2),
            cancel_after=ENTRY_LIFETIME,
            indicators={"vwap": round(vwap, 4), "deviations": round(distance / deviation, 2)},
            reason="stretched and turning",
        )

    def _manage(self, ctx: Context, bar: Bar) -> None:
        stop, target = ctx.stop_price, ctx.target_price
        side = 1 if ctx.position > 0 else -1
        if stop is not None and side * (bar.close - stop) <= 0:
            ctx.close(reason="stop")
        elif target is not None and side * (bar.close - target) >= 0:
            ctx.close(reason="target")
        elif ctx.at - ctx.state.get("entered_at", ctx.at) >= self.max_minutes * 60_000_000_000:
            ctx.close(reason="time")

    def _average_price(self, ctx: Context, bar: Bar) -> SessionVwap:
        vwap: SessionVwap | None = ctx.state.get("vwap")
        if vwap is None:
            vwap = ctx.state["vwap"] = SessionVwap()
            bars = ctx.bars
            today = bars.opened_at >= self.opens_at
            for price, volume in zip(bars.average[today].tolist(), bars.volume[today].tolist(), strict=True):
                vwap.update(price, volume)  # this bar is the last of them
        else:
            vwap.update(bar.vwap, bar.volume)
        return vwap
