"""Strategies that leave something overnight, and a scanner that chooses for them on the first day."""

from __future__ import annotations

from typing import Any

from liualgotrader.common import trading_data
from liualgotrader.common.events import Bar
from liualgotrader.scanners.base import Scanner
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context


class FirstOnes(Scanner):
    """The first two symbols by name, once: nobody lets them go."""

    def __init__(self, data_loader: Any, recurrence: Any = None, target_strategy_name: Any = None) -> None:
        super().__init__(type(self).__name__, data_loader, recurrence, target_strategy_name)

    async def run(self, back_time: Any = None) -> list[str]:
        return sorted(await self.data_api.tradable_symbols())[:2]


class Holder(Strategy):
    """Buys once if it is to, moves its stop, and sells if it is to, saying what it knew before."""

    kind = StrategyType.SWING

    def __init__(
        self, batch_id: str, does: str = "buy", schedule: Any = None, ref_run_id: Any = None, data_loader: Any = None
    ) -> None:
        super().__init__(type(self).__name__, self.kind, batch_id, [], ref_run_id, data_loader)
        self.does = does
        self.acted: set[str] = set()

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        """Do it at the first bar of each symbol."""
        if ctx.symbol not in self.acted:
            self.acted.add(ctx.symbol)
            known = (ctx.position, ctx.stop_price, ctx.target_price, trading_data.latest_cost_basis.get(ctx.symbol))
            ctx.log.info("first %s %s %s %s %s %s", self.name, ctx.symbol, *known)
            if self.does == "buy":
                price = round(bar.close, 2)
                ctx.buy(3, stop_price=round(price * 0.5, 2), target_price=round(price * 2, 2))
            elif self.does == "sell":
                ctx.close(reason="morning")
        elif self.does == "buy" and ctx.position and ctx.stop_price != 0.25:
            ctx.protect(stop_price=0.25)


class Leftover(Holder):
    """The same as a day trader."""

    kind = StrategyType.DAY_TRADE
