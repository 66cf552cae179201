"""A consumer that starts while the record is away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from liualgotrader.common.control import Ready
from liualgotrader.common.events import Rejected
from liualgotrader.common.ports import Store
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.consumer.consumer_process import Consumer, ConsumerDependencies
from liualgotrader.ipc.batch_codec import decode_needs
from liualgotrader.ipc.links import LinkReader
from tests.fakes.consumer_process import MadeUpData
from tests.fakes.session import HostedChild, make_plan
from tests.fakes.store import MemoryStore

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

QUIET = """
from liualgotrader.strategies.base import Strategy

class Quiet(Strategy):
    async def run(self, symbol, shortable, position, now, minute_history, **more):
        return False, {}
"""


async def test_rejects_are_asked_for_until_the_record_is_back(tmp_path: Path) -> None:
    (tmp_path / "quiet.py").write_text(QUIET)
    strategies = {"Quiet": {"filename": str(tmp_path / "quiet.py")}}
    plan = make_plan(tmp_path, {"strategies": strategies}, consumers=1, slots=(SlotPlan(0, "Quiet", 0, 1),))
    store = MemoryStore()
    await store.save_reject(plan.batch_id, "Quiet", "AAPL", 1)
    store.database.reachable = False

    async def open_store() -> Store:
        return cast(Store, store)

    hosted = HostedChild("consumer-0", plan)
    producer = LinkReader(plan.link_path("needs-0"), hosted.page, "needs-0")
    told: list[object] = []
    producer.attach(asyncio.get_running_loop(), lambda payload: told.extend(decode_needs(payload)))
    consumer = Consumer(hosted.child, 0, ConsumerDependencies(MadeUpData(), open_store))
    task = asyncio.ensure_future(consumer.run())
    try:
        async with asyncio.timeout(60):
            while not hosted.said(Ready):
                await asyncio.sleep(0.01)
            assert consumer.engine.slots[0].rejected == set()
            store.database.reachable = True
            while Rejected(0, ["AAPL"]) not in told:
                await asyncio.sleep(0.01)
        assert consumer.engine.slots[0].rejected == {"AAPL"}
    finally:
        hosted.stop()
        await asyncio.wait_for(task, 60)
        producer.close()
        hosted.close()
