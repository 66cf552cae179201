"""Hold the strongest few of the picked symbols, and rank them anew at a fixed pace."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from liualgotrader.common.clock import MINUTE, instant
from liualgotrader.common.trading_data import buy_indicators, minute_history, open_orders, stop_prices, target_prices
from liualgotrader.strategies.base import Strategy
from liualgotrader.strategies.context import shares_at_risk

Actions = dict[str, dict[str, Any]]

ENTRY_ALLOWANCE = 0.002  # of the price: how far above the newest price the entry may still be filled


class Rotation(Strategy):
    """Long only, day trade, written with `run_all`: all symbols at once, once per period.

    Every `every_minutes` the picked symbols are ranked by their gain over the last `lookback` bars, ties by
    symbol; the best `hold` of those that rise are held with equal money. In every period a position is closed
    at its stop (`stop_percent` below the price at entry) or its target (`target_percent` above).

    It reads the bars that the engine holds (`trading_data.minute_history`). The `data_loader` has any symbol and
    day, but asks the vendor for what it does not have, which is too slow for a call that comes each minute.
    """

    def __init__(
        self,
        *,
        hold: int = 3,
        lookback: int = 30,
        every_minutes: int = 30,
        stop_percent: float = 1.5,
        target_percent: float = 3.0,
        invest_fraction: float = 0.15,
        risk_fraction: float = 0.001,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.hold, self.lookback, self.every_minutes = hold, lookback, every_minutes
        self.stop_percent, self.target_percent = stop_percent, target_percent
        self.invest_fraction, self.risk_fraction = invest_fraction, risk_fraction
        self._rotated = -1  # the number of the newest stretch of `every_minutes` since the open that was ranked

    async def should_run_all(self) -> bool:
        """All symbols are looked at together."""
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
    ) -> Actions:
        """Return the orders of this period: exits always, a new ranking every `every_minutes`."""
        closes: dict[
            str, list[float]
        ] = {}  # `lookback` closes and the price now, oldest first; fewer if there are fewer
        for symbol in symbols_position:
            known = minute_history[symbol]["close"].values if symbol in minute_history else None
            closes[symbol] = [] if known is None else known[-self.lookback - 1 :].tolist()
        actions = self._exits(symbols_position, closes)
        stretch = (instant(now) - self.opens_at) // (self.every_minutes * MINUTE)
        full = {symbol: series for symbol, series in closes.items() if len(series) > self.lookback}
        if full and stretch != self._rotated and portfolio_value and await self.is_buy_time(now):
            self._rotated = stretch
            self._rotate(actions, symbols_position, full, portfolio_value)
        return actions

    def _exits(self, positions: dict[str, float], closes: dict[str, list[float]]) -> Actions:
        actions: Actions = {}
        for symbol, quantity in positions.items():
            stop, target = stop_prices.get(symbol), target_prices.get(symbol)
            if quantity <= 0 or not closes[symbol] or symbol in open_orders:
                continue
            price = closes[symbol][-1]
            if stop is not None and price <= stop:
                actions[symbol] = sale(quantity, "stop")
            elif target is not None and price >= target:
                actions[symbol] = sale(quantity, "target")
        return actions

    def _rotate(
        self, actions: Actions, positions: dict[str, float], full: dict[str, list[float]], value: float
    ) -> None:
        gains = {symbol: series[-1] / series[0] - 1 for symbol, series in full.items()}
        ranked = sorted((s for s in gains if gains[s] > 0), key=lambda s: (-gains[s], s))[: self.hold]
        for symbol, quantity in positions.items():
            if quantity > 0 and symbol in full and symbol not in ranked and symbol not in open_orders:
                actions.setdefault(symbol, sale(quantity, f"no longer among the strongest {self.hold}"))
        cost_fraction = self.invest_fraction / self.hold
        for rank, symbol in enumerate(ranked):
            if not positions[symbol] and symbol not in open_orders:
                buy_indicators[symbol] = {"gain": round(gains[symbol], 5), "rank": rank}
                price = full[symbol][-1]
                limit, stop = round(price * (1 + ENTRY_ALLOWANCE), 2), round(price * (1 - self.stop_percent / 100), 2)
                shares = shares_at_risk(
                    value, limit, stop, risk_fraction=self.risk_fraction, cost_fraction=cost_fraction
                )
                if shares and 0 < stop < price:
                    stop_prices[symbol] = stop
                    target_prices[symbol] = round(price * (1 + self.target_percent / 100), 2)
                    order = {"side": "buy", "qty": shares, "type": "limit", "limit_price": limit}
                    actions[symbol] = {**order, "reason": f"among the strongest {self.hold}"}


def sale(quantity: float, reason: str) -> dict[str, Any]:
    """Return the action that sells a whole position at market."""
    return {"side": "sell", "qty": quantity, "type": "market", "reason": reason}
