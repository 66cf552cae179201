"""Keeps the minutes that a consumer's strategies saw, history included, in a market-data store of the batch's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import LiuError
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.data.market_store import MarketStore
from liualgotrader.engine.bars import Bars

log = logging.getLogger(__name__)

_ROW_BYTES = 72  # nine columns
_FILE_BYTES = 4000  # around them


class BarKeeper:
    """Writes bars aside, up to `most` bytes in all. What is missing after a kill is missing here only."""

    def __init__(self, folder: Path, source: str, most: int, warn: Callable[[str], object]) -> None:
        self._store, self._source = MarketStore(folder, durable=False), source
        self._room, self._warn = most, warn
        self._writing: list[asyncio.Future[None]] = []

    def keep(self, bars: Bars) -> None:
        """Keep a symbol's closed minutes as they are now."""
        rows = len(bars)
        if not rows or self._room <= 0:
            return
        self._room -= rows * _ROW_BYTES + _FILE_BYTES
        if self._room <= 0:
            self._warn(
                f"the minutes of {bars.symbol} and of the symbols after it are not kept beside the batch: LIU_KEEP_BARS_MB"
                " says how much is"
            )
            return
        self._writing.append(asyncio.get_running_loop().run_in_executor(None, self._write, _columns_of(bars)))

    def _write(self, bars: BarColumns) -> None:
        span = int(bars.opened_at[0]), int(bars.closed_at[-1])
        try:
            self._store.write(bars.symbol, MINUTE, bars, [span], self._source)
        except (LiuError, ValueError) as error:  # nothing depends on it
            log.warning("the minutes of %s are not kept: %s", bars.symbol, error)

    async def close(self) -> None:
        """Wait until all is written."""
        await asyncio.gather(*self._writing, return_exceptions=True)


def _columns_of(bars: Bars) -> BarColumns:
    opened = bars.opened_at().copy()
    prices = (bars.closed(name).copy() for name in ("open", "high", "low", "close", "volume", "average", "count"))
    return BarColumns(bars.symbol, opened, opened + MINUTE, *prices)
