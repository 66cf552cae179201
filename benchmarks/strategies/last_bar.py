"""A strategy that looks at the last bar on every trade and quote and keeps how long the event took from the wire."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.recorder import open_cells
from liualgotrader.common.events import Quote, Trade
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context


class LastBar(Strategy):
    """Never trades: what it costs is the way to it."""

    def __init__(self, batch_id: str, record_dir: str, **rest: Any) -> None:
        super().__init__("LastBar", StrategyType.DAY_TRADE, batch_id, [], **rest)
        self._record_dir = record_dir
        self._cells: memoryview | None = None
        self._place = 0
        self._now = time.time_ns
        self.above = 0

    async def create(self) -> bool:
        """Open the file that the harness reads."""
        self._cells = open_cells(Path(self._record_dir))
        return True

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        """Compare the trade with the last bar."""
        self._keep(self._now() - trade.at)
        if trade.price > ctx.bars.close[-1]:
            self.above += 1

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        """Compare the quote with the last bar."""
        self._keep(self._now() - quote.at)
        if quote.bid > ctx.bars.close[-1]:
            self.above += 1

    def _keep(self, took: int) -> None:
        cells = self._cells
        assert cells is not None
        try:
            cells[self._place] = took
        except IndexError:
            self._place = 0
            cells[0] = took
        self._place += 1
