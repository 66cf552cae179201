"""A vendor's history for callers that must not block: each question on a worker thread."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from liualgotrader.common.events import Bar
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.data.data_base import DataAPI

_WORKERS = 4

T = TypeVar("T")


class ThreadedData(DataAPI):
    """The async methods are the `MarketHistory` port; those ending in `_now`, which an adapter writes, block."""

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix=name)

    async def bars(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        """Return bars with start <= opened_at < end, oldest first; `minutes` is 1 or 1440 (a session day)."""
        return await self._off_the_loop(lambda: self.bars_now(symbols, start, end, minutes=minutes))

    async def snapshots(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        """Return the newest figures of those symbols that have any."""
        return await self._off_the_loop(lambda: self.snapshots_now(symbols))

    async def tradable_symbols(self) -> Mapping[str, Asset]:
        """Return active, tradable US equities by symbol."""
        return await self._off_the_loop(self.assets_now)

    async def warm_up(self) -> None:
        """Import the vendor's clients off the loop, so that the first question does not pay for it."""
        await self._off_the_loop(self.warm_up_now)

    async def close(self) -> None:
        """End all connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _off_the_loop(self, ask: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    @abstractmethod
    def warm_up_now(self) -> None:
        """Make what a first question needs."""
