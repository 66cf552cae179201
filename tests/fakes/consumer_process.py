"""A consumer process with a data provider of its own making and the real record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from liualgotrader.common.clock import MINUTE, block
from liualgotrader.common.config import Secrets
from liualgotrader.common.events import Bar
from liualgotrader.common.ports import Asset, Store, SymbolSnapshot
from liualgotrader.consumer.consumer_process import Consumer, ConsumerDependencies
from liualgotrader.consumer.fetches import Fetches
from liualgotrader.data.data_base import DataAPI
from liualgotrader.data.loader import DataLoader
from liualgotrader.ipc.child_process import Child, run_child
from liualgotrader.store.store_factory import open_store

HISTORY_BARS = 30


class MadeUpData:
    """Thirty rising minutes for every symbol; NOBORROW cannot be sold short."""

    async def bars(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        last = end - end % MINUTE
        return {s: [_bar(s, last - n * MINUTE, 50.0 - n) for n in range(HISTORY_BARS, 0, -1)] for s in symbols}

    async def snapshots(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        return {}

    async def tradable_symbols(self) -> Mapping[str, Asset]:
        return {"NOBORROW": Asset("NOBORROW", "", "XNYS", shortable=False)}

    async def close(self) -> None:
        return None


class SlowVendor(DataAPI):
    """Takes longer for an answer than anybody waits."""

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        block(8.0)
        return {}

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        return {}

    def assets_now(self) -> Mapping[str, Asset]:
        return {}


def _bar(symbol: str, at: int, price: float) -> Bar:
    return Bar(symbol, at, at + MINUTE, price, price, price, price, 100.0, price, 1)


def run(run_dir: str, control: Connection) -> None:
    """Run consumer 0 of the session in `run_dir`."""

    async def record() -> Store:
        return await open_store(Secrets.from_environment().dsn.reveal())

    async def body(child: Child) -> None:
        seconds = child.plan.timings.strategy_fetch_seconds
        fetches = Fetches(SlowVendor(), child.status, seconds=seconds, making_seconds=seconds)

        def loader(live: Callable[[str], Any]) -> DataLoader:
            return DataLoader(data_api=fetches, clock=child.clock, live=live)

        await Consumer(child, 0, ConsumerDependencies(MadeUpData(), record, make_loader=loader, fetches=fetches)).run()

    run_child("consumer-0", run_dir, control, body)
