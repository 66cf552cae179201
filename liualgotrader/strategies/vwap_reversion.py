"""Fade stretched prices: back to the session's average price, from above and from below."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from liualgotrader.common.events import Bar
from liualgotrader.common.orders import Fill
from liualgotrader.common.trading_data import buy_time
from liualgotrader.fincalcs.incremental import SessionVwap
from liualgotrader.strategies.base import Strategy
from liualgotrader.strategies.context import Context, shares_at_risk

ENTRY_LIFETIME = timedelta(seconds=45)  # over before the next minute closes, so that a bar never meets a working entry
ENTRY_ALLOWANCE = 0.001  # of the price: how far past the signal's close the entry may still be filled
FARTHER = 1.25  # the stop is at least so many times as far from the average price as the entry
SMALLEST_DEVIATION = 0.0005  # of the price: below it a stretched price is noise


class VwapReversion(Strategy):
    """Long and short, day trade, written with event methods and an incremental indicator.

    A minute that closes at least `entry_deviations` volume-weighted standard deviations above the session's
    VWAP, and below its own open (the move has turned), is sold short, whole shares only; the mirror image is
    bought. The target is the VWAP at entry, the stop lies `stop_deviations` away from it, and a position that
    has met neither `max_minutes` after its first fill is closed. A symbol is traded `max_trades` times a day.
    A position risks at most `risk_fraction` of the portfolio and costs at most `cost_fraction` of it.
    """

    def __init__(
        self,
        *,
        entry_deviations: float = 2.0,
        stop_deviations: float = 3.5,
        risk_fraction: float = 0.001,
        cost_fraction: float = 0.03,
        max_minutes: float = 45,
        max_trades: int = 3,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.entry_deviations, self.stop_deviations = entry_deviations, stop_deviations
        self.risk_fraction, self.cost_fraction = risk_fraction, cost_fraction
        self.longest = timedelta(minutes=max_minutes)
        self.max_trades = max_trades

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        """Follow the average price; leave at target, stop or time, or enter on a stretched price that turns."""
        vwap: SessionVwap = ctx.state.setdefault("vwap", SessionVwap())
        bars = ctx.bars  # all up to the newest one count, also those that called no strategy
        first = bars.opened_at.searchsorted(ctx.state.get("since", self.opens_at))
        for price, volume in zip(bars.average[first:].tolist(), bars.volume[first:].tolist(), strict=True):
            vwap.update(price, volume)
        ctx.state["since"] = max(self.opens_at, int(bars.opened_at[-1]) + 1)
        if ctx.open_orders:
            return
        if ctx.position:
            self._manage(ctx, bar)
        elif vwap.value is not None and self.in_window(ctx.at) and ctx.state.get("trades", 0) < self.max_trades:
            self._maybe_enter(ctx, bar, vwap.value, vwap.deviation)

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        """Count the positions that have ended."""
        if not fill.position:
            ctx.state["trades"] = ctx.state.get("trades", 0) + 1

    def _maybe_enter(self, ctx: Context, bar: Bar, vwap: float, deviation: float) -> None:
        distance = abs(bar.close - vwap)
        away = 1 if bar.close > vwap else -1
        turned = (bar.close - bar.open) * away < 0
        if deviation < SMALLEST_DEVIATION * vwap or not turned or distance < self.entry_deviations * deviation:
            return
        limit = bar.close * (1 - away * ENTRY_ALLOWANCE)
        stop = round(vwap + away * max(self.stop_deviations * deviation, FARTHER * distance), 2)
        risk, cost = self.risk_fraction, self.cost_fraction
        shares = shares_at_risk(ctx.portfolio_value or 0.0, limit, stop, risk_fraction=risk, cost_fraction=cost)
        if not shares or stop <= 0:
            return
        act = ctx.sell if away > 0 else ctx.buy
        act(
            shares,
            limit=limit,
            stop_price=stop,
            target_price=round(vwap, 2),
            cancel_after=ENTRY_LIFETIME,
            indicators={"vwap": round(vwap, 4), "deviations": round(away * distance / deviation, 2)},
            reason="stretched and turning",
        )

    def _manage(self, ctx: Context, bar: Bar) -> None:
        stop, target = ctx.stop_price, ctx.target_price
        side = 1 if ctx.position > 0 else -1
        if stop is not None and side * (bar.close - stop) <= 0:
            ctx.close(reason="stop")
        elif target is not None and side * (bar.close - target) >= 0:
            ctx.close(reason="target")
        elif ctx.now - buy_time[ctx.symbol] >= self.longest:
            ctx.close(reason="time")
