"""Scanners and producer as processes on the simulated market, from the tape to the consumers' links."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.events import Bar, FeedEvent, Pick, Quote, TradeTick
from liualgotrader.common.session_plan import Endpoints, Hours, MarketSpec
from liualgotrader.ipc.batch_codec import decode_batch
from liualgotrader.ipc.links import LinkReader
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from liualgotrader.scanners_runner.main import run as run_scanners
from liualgotrader.simulator.main import run as run_market
from tests.fakes.producer_process import run as run_producer
from tests.fakes.session import make_plan
from tests.fakes.vendor_stream import KEY, SECRET

pytestmark = pytest.mark.integration

OPENS_AT = 1_709_908_200 * SECOND  # 2024-03-08 09:30 New York
MINUTES = 6
SCANNER = """
from liualgotrader.scanners.base import Scanner

class Rolling(Scanner):
    def __init__(self, data_loader, recurrence=None, target_strategy_name=None):
        super().__init__("Rolling", data_loader, recurrence, target_strategy_name)
        self.runs = 0

    async def run(self, back_time=None):
        minute = round(self.minutes_from_open())
        return sorted(await self.data_api.tradable_symbols())[minute * 2 : minute * 2 + 4]
"""


async def _until(true: Any, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


class Run:
    """One short session; `events` is what each consumer got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[list[FeedEvent]] = [[], []]
        self.seqs: list[list[int]] = [[], []]
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        self._controls: list[Any] = []

    async def play(self) -> None:
        try:
            await self._play()
        finally:
            for process in reversed(self._processes):
                process.kill()
                process.join(60)

    async def _play(self) -> None:
        (self.folder / "rolling.py").write_text(SCANNER)
        hours = Hours("2024-03-08", OPENS_AT, OPENS_AT + 390 * MINUTE, OPENS_AT + 375 * MINUTE, OPENS_AT + 395 * MINUTE)
        tradeplan = {"scanners": {"Rolling": {"filename": "rolling.py", "recurrence": 1}}}
        plan = make_plan(self.folder, tradeplan, hours=hours, simulated_clock=True)
        page = SessionPage(plan.page_path)
        for name in ("producer", "scanners_runner"):  # as the supervisor does before it starts them
            page.put(page.process(name), Cell.LIFE, Life.DOWN)
        port = await self._start_market(plan.page_path)
        here = f"127.0.0.1:{port}"
        endpoints = Endpoints(f"http://{here}", f"http://{here}", f"ws://{here}/v2/sip", f"ws://{here}/stream", True)
        make_plan(self.folder, tradeplan, hours=hours, simulated_clock=True, endpoints=endpoints, page=page)
        loop = asyncio.get_running_loop()
        links = [LinkReader(plan.link_path(f"market-{i}"), page, f"market-{i}") for i in (0, 1)]
        for index, link in enumerate(links):
            link.attach(loop, partial(self._take, index, link))
        self._start(run_producer, plan.run_dir)
        self._start(run_scanners, plan.run_dir)
        await _until(self._market_ended, 60)
        await _until(lambda: not page.under_way(OPENS_AT + MINUTES * MINUTE), 10)
        for link in links:
            link.close()

    async def _start_market(self, page: Path) -> int:
        spec = MarketSpec(
            kind="generated", day="2024-03-08", starts_at=OPENS_AT, ends_at=OPENS_AT + MINUTES * MINUTE, seed=5,
            symbol_count=20, page=str(page), options={"log_dir": str(self.folder)},
        )  # fmt: skip
        path = self.folder / "market.json"
        path.write_bytes(msgspec.json.encode(spec))
        control = self._start(run_market, str(path))
        await _until(control.poll, 30)
        port: int = msgspec.msgpack.decode(control.recv_bytes())["port"]
        return port

    def _market_ended(self) -> bool:
        market = self._controls[0]
        return bool(market.poll() and msgspec.msgpack.decode(market.recv_bytes()).get("ended"))

    def _start(self, target: Any, argument: str) -> Any:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=target, args=(argument, theirs), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        self._controls.append(ours)
        return ours

    def _take(self, index: int, link: LinkReader, payload: bytes) -> None:
        batch = decode_batch(payload)
        self.seqs[index].append(batch.seq)
        self.events[index] += batch.events
        link.handled()

    def digest(self) -> str:
        return hashlib.sha256(msgspec.msgpack.encode(self.events)).hexdigest()


async def test_the_same_seed_gives_every_consumer_the_same_events_twice(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    runs = [Run(tmp_path_factory.mktemp("m")) for _ in range(2)]
    for run in runs:
        await run.play()
    first = runs[0]
    for events, seqs in zip(first.events, first.seqs, strict=True):
        picks = [event for event in events if isinstance(event, Pick)]
        assert len({pick.symbol for pick in picks}) == len(picks) >= 5
        assert {type(event) for event in events} >= {Pick, TradeTick, Quote, Bar}
        assert seqs == list(range(1, len(seqs) + 1)), "nothing was dropped"
        bars = [event for event in events if isinstance(event, Bar)]
        assert all(bar.closed_at == bar.opened_at + MINUTE for bar in bars)
    assert first.digest() == runs[1].digest()
