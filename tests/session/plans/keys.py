"""A strategy that says what the tradeplan's keys came to, and buys what its portfolio affords up to two shares."""

from __future__ import annotations

from typing import Any

from liualgotrader.common import config
from liualgotrader.common.tlog import tlog
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
