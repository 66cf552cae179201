"""Hold the strongest few of the picked symbols, and change horses at a fixed pace."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from liualgotrader.common import trading_data
from liualgotrader.strategies.base import Strategy, StrategyType

Actions = dict[str, dict[str, Any]]


class Rotation(Strategy):
    """Long only, day trade, written with `run_all`: all symbols at once, once per period.

    Every `every_minutes` the picked symbols are ranked by their gain over the last `lookback` minutes; the
    best `hold` of those that rise are held with equal money. In every period a position is closed at its
    stop (`stop_percent` below the price at entry) or its target (`target_percent` above).
    """

    def __init__(
        self,
        batch_id: str,
        schedule: list[dict[str, Any]],
        ref_run_id: int | None = None,
        data_loader: Any = None,
        hold: int = 3,
        lookback: int = 30,
        every_minutes: int = 30,
        stop_percent: float = 1.5,
        target_percent: float = 3.0,
        invest_fraction: float = 0.15,
    ) -> None:
        super().__init__(
            name=type(self).__name__,
            type=StrategyType.DAY_TRADE,
            batch_id=batch_id,
            schedule=schedule,
            ref_run_id=ref_run_id,
            data_loader=data_loader,
        )
        self.hold, self.lookback, self.every_minutes = hold, lookback, every_minutes
        self.stop_percent, self.target_percent = stop_percent, target_percent
        self.invest_fraction = invest_fraction
        self.calls = 0

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
        closes = {symbol: self._closes(data_loader, symbol) for symbol in sorted(symbols_position)}
        prices = {symbol: series[-1] for symbol, series in closes.items() if series}
        actions = self._exits(symbols_position, prices)
        if self.calls % self.every_minutes == 0 and await self.is_buy_time(now):
            self._rotate(actions, symbols_position, closes, portfolio_value or 0.0)
        self.calls += 1
        return actions

    def _exits(self, positions: dict[str, float], prices: dict[str, float]) -> Actions:
        actions: Actions = {}
        for symbol, quantity in positions.items():
            price = prices.get(symbol)
            if quantity <= 0 or price is None:
                continue
            stop, target = trading_data.stop_prices.get(symbol), trading_data.target_prices.get(symbol)
            if (stop is not None and price <= stop) or (target is not None and price >= target):
                actions[symbol] = market("sell", quantity)
        return actions

    def _rotate(
        self, actions: Actions, positions: dict[str, float], closes: dict[str, list[float]], value: float
    ) -> None:
        full = {symbol: series for symbol, series in closes.items() if len(series) > self.lookback}
        gains = {symbol: series[-1] / series[-1 - self.lookback] - 1 for symbol, series in full.items()}
        ranked = sorted((s for s in gains if gains[s] > 0), key=lambda s: (-gains[s], s))[: self.hold]
        for symbol, quantity in positions.items():
            if quantity > 0 and symbol not in ranked and symbol in full:
                actions[symbol] = market("sell", quantity)
        for symbol in ranked:
            price = closes[symbol][-1]
            shares = int(value * self.invest_fraction / self.hold / price)
            if positions.get(symbol, 0.0) == 0 and shares and symbol not in actions:
                trading_data.stop_prices[symbol] = round(price * (1 - self.stop_percent / 100), 2)
                trading_data.target_prices[symbol] = round(price * (1 + self.target_percent / 100), 2)
                trading_data.buy_indicators[symbol] = {"gain": round(gains[symbol], 5), "rank": ranked.index(symbol)}
                actions[symbol] = market("buy", shares)

    def _closes(self, data_loader: Any, symbol: str) -> list[float]:
        try:
            closes: list[float] = data_loader[symbol].close[-self.lookback - 1 :].tolist()
        except (ValueError, IndexError):  # a symbol without bars yet
            return []
        return closes


def market(side: str, quantity: float) -> dict[str, Any]:
    """Return a market order in the form that `run` and `run_all` use."""
    return {"side": side, "qty": str(int(quantity)), "type": "market"}
