"""Keeps the bars that a consumer's strategies saw, history included, in a market-data store of the batch's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from liualgotrader.common.clock import DAY, MINUTE
from liualgotrader.common.errors import LiuError
from liualgotrader.common.events import Bar
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
        if self._has_room("minutes", bars.symbol, len(bars)):
            self._begin(_columns_of(bars), MINUTE)

    def keep_days(self, symbol: str, bars: Iterable[Bar]) -> None:
        """Keep daily bars that strategies have asked for, each of a session that is over."""
        found = BarColumns.of(symbol, sorted(bars, key=lambda bar: bar.opened_at))
        if self._has_room("days", symbol, len(found.opened_at)):
            self._begin(found, DAY)

    def _has_room(self, what: str, symbol: str, rows: int) -> bool:
        if not rows or self._room <= 0:
            return False
        self._room -= rows * _ROW_BYTES + _FILE_BYTES
        if self._room <= 0:
            self._warn(
                f"the {what} of {symbol} and of the symbols after it are not kept beside the batch: LIU_KEEP_BARS_MB"
                " says how much is"
            )
        return self._room > 0

    def _begin(self, bars: BarColumns, period: int) -> None:
        self._writing.append(asyncio.get_running_loop().run_in_executor(None, self._write, bars, period))

    def _write(self, bars: BarColumns, period: int) -> None:
        span = int(bars.opened_at[0]), int(bars.closed_at[-1])
        try:
            self._store.write(bars.symbol, period, bars, [span], self._source)
        except (LiuError, ValueError) as error:  # nothing depends on it
            log.warning("the bars of %s are not kept: %s", bars.symbol, error)

    async def close(self) -> None:
        """Wait until all is written."""
        await asyncio.gather(*self._writing, return_exceptions=True)


def _columns_of(bars: Bars) -> BarColumns:
    opened = bars.opened_at().copy()
    prices = (bars.closed(name).copy() for name in ("open", "high", "low", "close", "volume", "average", "count"))
    return BarColumns(bars.symbol, opened, opened + MINUTE, *prices)
