"""What a broken data connection left out, fetched again: producer and consumer on the real simulated market."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.control import Ready
from liualgotrader.common.events import Bar, Pick
from liualgotrader.common.orders import CaughtUp
from liualgotrader.common.ports import Store
from liualgotrader.common.session_plan import Endpoints, Hours, SessionPlan, SlotPlan
from liualgotrader.consumer.consumer_process import Consumer, ConsumerDependencies
from liualgotrader.data.alpaca_data import AlpacaData
from liualgotrader.ipc.batch_codec import encode_picks
from liualgotrader.ipc.links import LinkWriter
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.producer.producer_process import Producer, ProducerDependencies
from tests.fakes.cable import Cable
from tests.fakes.producer_process import FileStore, dependencies
from tests.fakes.session import HostedChild, make_plan
from tests.fakes.simulated_market import KEY, SECRET, MarketThread, spec_of
from tests.fakes.store import MemoryStore
from tests.fakes.tapes import DAY, at

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TOLD = """
from liualgotrader.strategies.base import Strategy

class Told(Strategy):
    told = []
    def on_bar(self, ctx, bar):
        self.told.append((bar, [int(start) for start in ctx.bars.opened_at]))
"""
SPEED = 120.0  # market time per machine time
SYMBOLS = ("ABC", "XYZ")


class Floor:
    """The market behind a cable, a consumer, and a producer that can be started again."""

    def __init__(self, market: MarketThread, cable: Cable, plan: SessionPlan) -> None:
        self.market, self.cable, self.plan = market, cable, plan
        self.page = SessionPage(plan.page_path)
        self._producer: tuple[HostedChild, asyncio.Task[None]] | None = None
        self.consumer_process = HostedChild("consumer-0", plan)
        self._data = AlpacaData(plan.endpoints, KEY, SECRET, feed="sip", timeout_seconds=60)
        self.consumer = Consumer(self.consumer_process.child, 0, ConsumerDependencies(self._data, _record))
        self._consumer_task: asyncio.Task[None]
        self.scanner = LinkWriter(plan.link_path("picks"), self.page, "picks")

    async def start(self) -> None:
        self._consumer_task = asyncio.create_task(self.consumer.run())
        await self.until(lambda: self.consumer_process.said(Ready))
        self.consumer.engine.on_news([CaughtUp(0, 0, 1)], at("09:30"), 0)
        await self.start_producer()
        self.scanner.attach(asyncio.get_running_loop())
        await self.until(lambda: self.scanner.connected)
        assert self.scanner.send(encode_picks([Pick(symbol, at("09:30"), "scanner") for symbol in SYMBOLS]))

    async def start_producer(self) -> None:
        producer = HostedChild("producer", self.plan)
        made = dependencies(producer.child, FileStore(Path(self.plan.run_dir) / "record.json"), (KEY, SECRET))
        assert isinstance(made, ProducerDependencies)
        task = asyncio.create_task(Producer(producer.child, made).run())
        self._producer = (producer, task)
        await self.until(lambda: task.done() or producer.said(Ready))

    async def stop_producer(self) -> None:
        assert self._producer is not None
        (producer, task), self._producer = self._producer, None
        producer.stop()
        await asyncio.wait_for(task, 60)
        producer.close()

    async def close(self) -> None:
        self.scanner.close()
        if self._producer is not None:
            await self.stop_producer()
        self.consumer_process.stop()
        await asyncio.wait_for(self._consumer_task, 60)
        self.consumer_process.close()

    async def until(self, true: Callable[[], Any], seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.005)

    async def until_market(self, instant: int) -> None:
        await self.until(lambda: self.consumer_process.child.clock.now() >= instant)

    @property
    def told(self) -> list[tuple[Bar, list[int]]]:
        told: list[tuple[Bar, list[int]]] = cast(Any, self.consumer.engine.slots[0].strategy).told
        return told

    def minutes(self, symbol: str) -> list[int]:
        """Which minutes of the day, counted from the open, the consumer knows of a symbol."""
        bars = self.consumer.engine.symbols[symbol].bars
        return [(start - at("09:30")) // MINUTE for start in bars.opened_at().tolist() if start >= at("09:30")]

    def volumes(self, symbol: str) -> set[float]:
        bars = self.consumer.engine.symbols[symbol].bars
        return {v for v, start in zip(bars.closed("volume"), bars.opened_at(), strict=True) if start >= at("09:37")}

    async def until_whole(self, symbol: str, minute: int) -> None:
        """Return once the day has no hole up to a minute that only a mended connection can have brought."""
        await self.until(lambda: self.minutes(symbol) == list(range(self.minutes(symbol)[-1] + 1)) and
                         self.minutes(symbol)[-1] >= minute)  # fmt: skip


async def _record() -> Store:
    return cast(Store, MemoryStore())


@asynccontextmanager
async def floor(folder: Path, events: tuple[str, ...]) -> AsyncIterator[Floor]:
    (folder / "told.py").write_text(TOLD)
    tradeplan = {"strategies": {"Told": {"filename": "told.py"}}, "events": list(events)}
    hours = Hours(DAY.isoformat(), at("09:30"), at("16:00"), at("15:45"), at("16:05"))
    values: dict[str, Any] = {
        "consumers": 1, "slots": (SlotPlan(0, "Told", 0, 1),), "hours": hours, "simulated_clock": True,
    }  # fmt: skip
    plan = make_plan(folder, tradeplan, **values)
    spec = spec_of(page=str(plan.page_path), free_run=True, speed=SPEED, options={})
    market = MarketThread(spec)
    cable = Cable(market.running.port)
    url = market.url
    stream = f"ws://127.0.0.1:{await cable.lay()}/v2/sip"
    endpoints = Endpoints(url, url, stream, f"{market.ws}/stream", loopback=True)
    around = Floor(
        market, cable, make_plan(folder, tradeplan, endpoints=endpoints, page=SessionPage(plan.page_path), **values)
    )
    try:
        await around.start()
        await around.until(lambda: around.consumer.engine.symbols.get("XYZ"))
        yield around
    finally:
        await around.close()
        await cable.close()
        market.close()


@pytest.mark.parametrize("events", [("minute",), ("trade",), ("minute", "trade", "quote")])
async def test_the_minutes_of_a_cut_connection_are_fetched_and_call_nobody(
    tmp_path: Path, events: tuple[str, ...]
) -> None:
    async with floor(tmp_path, events) as around:
        await around.until_market(at("09:38") + MINUTE // 3)
        around.cable.cut()
        cut_at = around.market.now
        await around.until_market(at("09:42") + MINUTE // 3)
        around.cable.mend()
        await around.until(lambda: around.told and around.told[-1][0].opened_at >= cut_at + 3 * MINUTE)
        mended_at = around.told[-1][0].opened_at
        for symbol in SYMBOLS:
            await around.until_whole(symbol, (mended_at - at("09:30")) // MINUTE + 1)
        # Every minute from 09:37 on has 60 (6) prints of 200 shares: nothing is missing or counted twice.
        await around.until(lambda: around.volumes("ABC") <= {12_000.0})
        await around.until(lambda: around.volumes("XYZ") <= {1_200.0})
        old = [bar for bar, _ in around.told if cut_at <= bar.opened_at and bar.closed_at < mended_at]
        assert not old, "bars of the time without a connection call nobody"


async def test_what_a_producers_restart_left_out_is_fetched(tmp_path: Path) -> None:
    async with floor(tmp_path, ("minute",)) as around:
        await around.until_market(at("09:38") + MINUTE // 3)
        await around.stop_producer()
        await around.until_market(at("09:41") + MINUTE // 3)
        known = around.minutes("ABC")
        await around.start_producer()
        for symbol in SYMBOLS:
            await around.until_whole(symbol, known[-1] + 4)
        assert around.volumes("ABC") == {12_000.0} and around.volumes("XYZ") == {1_200.0}
        before = len(around.told)
        await around.until(lambda: len(around.told) >= before + 2)
        for _, starts in around.told[before:]:
            today = [start for start in starts if start >= at("09:30")]
            assert today == list(range(at("09:30"), today[-1] + MINUTE, MINUTE)), "a strategy sees no hole"
