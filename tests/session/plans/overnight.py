"""Strategies that leave something overnight, and a scanner that chooses for them on the first day."""

from __future__ import annotations

from collections import Counter
from datetime import date, time
from typing import Any

from liualgotrader.common import trading_data
from liualgotrader.common.calendar import new_york
from liualgotrader.common.events import Bar
from liualgotrader.scanners.base import Scanner
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context
from liualgotrader.tapes.generated_profile import tickers

FIRST, SECOND, THIRD = tickers(3)
FIRST_DAY_CLOSES = new_york(date(2024, 7, 2), time(16))


class FirstOnes(Scanner):
    """The first symbols by name, once: nobody lets them go."""

    def __init__(
        self, data_loader: Any, count: int = 2, recurrence: Any = None, target_strategy_name: Any = None
    ) -> None:
        super().__init__(type(self).__name__, data_loader, recurrence, target_strategy_name)
        self.count = count

    async def run(self, back_time: Any = None) -> list[str]:
        return sorted(await self.data_api.tradable_symbols())[: self.count]


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


class Counted(Strategy):
    """Acts by the number of the session's bars that it has seen of a symbol, from 1."""

    async def create(self) -> bool:
        self.bars: Counter[str] = Counter()
        return await super().create()

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        self.bars[ctx.symbol] += 1
        self.act(ctx, bar, self.bars[ctx.symbol])

    def act(self, ctx: Context, bar: Bar, number: int) -> None:
        """Do what is due at this bar."""


class Keeper(Counted):
    """Buys each day and keeps it: in the first symbol with orders that wait, in the others with one on a last bar."""

    strategy_type = StrategyType.SWING

    def act(self, ctx: Context, bar: Bar, number: int) -> None:
        if number == 5:
            ctx.buy(10, stop_price=round(bar.close * 0.5, 2), target_price=round(bar.close * 2, 2))
        elif ctx.symbol == FIRST and number == 7:
            ctx.buy(4, limit=round(bar.close * 0.9, 2), time_in_force="gtc")
            ctx.sell(2, limit=round(bar.close * 1.01, 2), time_in_force="gtc")
            ctx.sell(2, limit=round(bar.close * 1.4, 2), time_in_force="gtc")
        elif ctx.symbol != FIRST and bar.closed_at == FIRST_DAY_CLOSES:
            (ctx.sell if ctx.symbol == SECOND else ctx.buy)(3, time_in_force="gtc")


class Rounder(Counted):
    """Opens twice and closes once each day in the second symbol: the liquidation does the rest."""

    strategy_type = StrategyType.DAY_TRADE

    def act(self, ctx: Context, bar: Bar, number: int) -> None:
        if ctx.symbol == SECOND and number in (4, 40):
            ctx.buy(20)
        elif ctx.symbol == SECOND and number == 30:
            ctx.close()
