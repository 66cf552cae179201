"""Strategies that ask before they order, and wait for the answers for never the same time."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from liualgotrader.strategies.base import Strategy, StrategyType


class Asker(Strategy):
    """Asks the key-store, which all its instances share, and the loader; flat it buys, sells short or does nothing."""

    sides = ("buy", "sell", "")

    def __init__(self, batch_id: str, schedule: Any = None, ref_run_id: Any = None, data_loader: Any = None) -> None:
        super().__init__(type(self).__name__, StrategyType.DAY_TRADE, batch_id, schedule or [], ref_run_id, data_loader)

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
        calls = int(await self.get_global_var("calls") or "0")
        await self.set_global_var("calls", str(calls + 1))
        close = await asyncio.to_thread(lambda: self.data_loader[symbol].close[-2])
        await asyncio.sleep(os.urandom(1)[0] / 20_000)
        if position:
            return True, {"side": "sell" if position > 0 else "buy", "qty": str(abs(position)), "type": "market"}
        side = self.sides[calls % 3]
        if not side:
            return False, {}
        near = round(close * (1.001 if side == "buy" else 0.999), 2)
        return True, {"side": side, "qty": str(1 + calls % 5), "type": "limit", "limit_price": str(near)}


class Rival(Asker):
    """The same the other way round, so that the two get in each other's way."""

    sides = ("sell", "buy", "")
