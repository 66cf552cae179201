"""A strategy that says what the tradeplan's keys came to, and buys what its portfolio affords up to two shares.

As strategies of the original do, it books its fills to the portfolio's account itself.
"""

from __future__ import annotations

from typing import Any

from liualgotrader.common import config
from liualgotrader.common.tlog import tlog
from liualgotrader.models.accounts import Accounts
from liualgotrader.scanners.base import Scanner
from liualgotrader.strategies.base import Strategy, StrategyType


class Names(Scanner):
    """All symbols, by name."""

    def __init__(self, data_loader: Any, recurrence: Any = None, target_strategy_name: Any = None) -> None:
        super().__init__(type(self).__name__, data_loader, recurrence, target_strategy_name)

    async def run(self, back_time: Any = None) -> list[str]:
        return sorted(await self.data_api.tradable_symbols())


class Teller(Strategy):
    """Buys in its window, once a symbol; its day trades are closed by the platform."""

    def __init__(
        self,
        batch_id: str,
        schedule: Any = None,
        ref_run_id: Any = None,
        data_loader: Any = None,
        portfolio_id: str = "",
    ) -> None:
        super().__init__(type(self).__name__, StrategyType.DAY_TRADE, batch_id, schedule, ref_run_id, data_loader)
        self.portfolio_id = portfolio_id

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
        may = await self.is_buy_time(now)
        affordable = await self.calc_qty(1.0, 0.0)
        tlog(f"keys {symbol} {now:%H:%M} {may} {config.risk} {config.portfolio_value} {portfolio_value} {affordable}")
        if position or not may:
            return False, {}
        return True, {"side": "buy", "qty": str(min(2, int(affordable))), "type": "market"}

    @property
    def account(self) -> int:
        assert self.account_id is not None
        return self.account_id

    async def buy_callback(
        self, symbol: str, price: float, qty: float, now: Any = None, trade_fee: float = 0.0
    ) -> None:
        await Accounts.add_transaction(self.account, -price * qty - trade_fee, details={"by": "strategy"})
        await Accounts.add_transaction(self.account, -0.25, details={"by": "strategy"})  # what its data costs

    async def sell_callback(
        self, symbol: str, price: float, qty: float, now: Any = None, trade_fee: float = 0.0
    ) -> None:
        await Accounts.add_transaction(self.account, price * qty, details={"by": "strategy"})
        await Accounts.add_transaction(self.account, -trade_fee, details={"by": "strategy"})
