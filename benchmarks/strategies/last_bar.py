"""A strategy that looks at the last bar on every trade and quote and keeps how long the event took from the wire."""

from __future__ import annotations

from pathlib import Path
from time import time_ns
from typing import Any

from benchmarks.recorder import CAPACITY, open_cells
from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context


class LastBar(Strategy):
    """Never trades: what it costs is the way to it."""

    def __init__(self, batch_id: str, record_dir: str, **rest: Any) -> None:
        super().__init__("LastBar", StrategyType.DAY_TRADE, batch_id, [], **rest)
        self._record_dir = record_dir
        self._cells = memoryview(bytearray(8)).cast("q")  # until `create`
        self._place = 0
        self.above = 0

    async def create(self) -> bool:
        """Open the file that the harness reads."""
        self._cells = open_cells(Path(self._record_dir))
        return True

    def on_trade(self, ctx: Context, trade: TradeTick) -> None:
        """Compare the trade with the last bar."""
        took = time_ns() - trade.at
        self._cells[self._place] = took
        self._place = (self._place + 1) % CAPACITY
        if trade.price > ctx.bars.close[-1]:
            self.above += 1

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        """Compare the quote with the last bar."""
        took = time_ns() - quote.at
        self._cells[self._place] = took
        self._place = (self._place + 1) % CAPACITY
        if quote.bid > ctx.bars.close[-1]:
            self.above += 1
