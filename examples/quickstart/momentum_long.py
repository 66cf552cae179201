"""A strategy in the original's style: one symbol at a time, a frame of minutes, an action to return."""

from datetime import datetime
from typing import Any

from pandas import DataFrame as df

from liualgotrader.common import config
from liualgotrader.common.tlog import tlog
from liualgotrader.common.trading_data import buy_indicators, open_orders, sell_indicators, stop_prices, target_prices
from liualgotrader.strategies.base import Strategy, StrategyType


class MomentumLong(Strategy):
    """Buys when the last minute closes above the high of the session's first fifteen minutes.

    It sells 1 % below or 1.5 % above the price it bought at. A share that costs more than it may spend is rejected.
    """

    def __init__(
        self,
        batch_id: str,
        schedule: list[dict[str, Any]],
        ref_run_id: int | None = None,
        data_loader: Any = None,
        first_minutes: int = 15,
        most_dollars: float = 2000.0,
    ) -> None:
        self.first_minutes = first_minutes
        self.most_dollars = most_dollars
        super().__init__(
            name=type(self).__name__,
            type=StrategyType.DAY_TRADE,
            batch_id=batch_id,
            ref_run_id=ref_run_id,
            schedule=schedule,
            data_loader=data_loader,
        )

    async def buy_callback(
        self, symbol: str, price: float, qty: float, now: datetime | None = None, trade_fee: float = 0.0
    ) -> None:
        tlog(f"{self.name} bought {qty} {symbol} at {price}")

    async def sell_callback(
        self, symbol: str, price: float, qty: float, now: datetime | None = None, trade_fee: float = 0.0
    ) -> None:
        tlog(f"{self.name} sold {qty} {symbol} at {price}")

    async def run(
        self,
        symbol: str,
        shortable: bool,
        position: float,
        now: datetime,
        minute_history: df,
        portfolio_value: float | None = None,
        debug: bool = False,
        backtesting: bool = False,
    ) -> tuple[bool, dict[str, Any]]:
        if symbol in open_orders:
            return False, {}
        price = float(minute_history["close"].iloc[-1])

        if position > 0:
            if stop_prices[symbol] < price < target_prices[symbol]:
                return False, {}
            sell_indicators[symbol] = {"reason": "stop" if price <= stop_prices[symbol] else "target"}
            return True, {"side": "sell", "qty": str(position), "type": "market"}

        if not await self.is_buy_time(now):
            return False, {}
        today = minute_history["high"].loc[f"{now:%Y-%m-%d} 09:30" :]
        if len(today) <= self.first_minutes:
            return False, {}
        opening_high = float(today.iloc[: self.first_minutes].max())
        if price <= opening_high:
            return False, {}

        limit = round(price * 1.001, 2)
        stop = round(price * 0.99, 2)
        at_risk = (portfolio_value or 25000.0) * config.risk
        shares = int(min(at_risk / (limit - stop), self.most_dollars / limit))
        if shares < 1:
            return False, {"reject": True}
        stop_prices[symbol] = stop
        target_prices[symbol] = round(price * 1.015, 2)
        buy_indicators[symbol] = {"opening_high": opening_high}
        return True, {"side": "buy", "qty": str(shares), "type": "limit", "limit_price": str(limit)}
