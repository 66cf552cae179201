"""What a session answers its operator: while it waits for the open, and while it runs. No process is started."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import liualgotrader.supervisor.prepare as prepare
from liualgotrader.common.clock import WallClock
from liualgotrader.common.config import Settings
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.supervisor.batch import Batch, lay_out
from liualgotrader.supervisor.operator_socket import ask, running_sessions
from liualgotrader.supervisor.plan_inspection import PlanFacts, StrategyFacts
from liualgotrader.supervisor.prepare import Preparation, Prepared
from liualgotrader.supervisor.request import TraderRequest
from liualgotrader.supervisor.session import RunningSession, Session
from tests.fakes.store import MemoryStore
from tests.fakes.supervisor import RecordingScreen, plan_in


class Record:
    """An open database without a server behind it."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    async def keep_alive(self) -> bool:
        return False


@pytest.fixture
def signals() -> Iterator[None]:
    """A session leaves the signals of its process ignored, as the program ends with it."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


async def test_a_session_that_waits_for_the_open_says_so_and_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None
) -> None:
    waiting = asyncio.Event()

    async def wait(self: Preparation) -> None:
        self.waits("waits for the open at 09:30 New York")
        waiting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Preparation, "real_hours", wait)
    monkeypatch.setattr(prepare, "inspect_tradeplan", lambda plan: PlanFacts(()))
    settings = Settings.resolve({"home": str(tmp_path)}, {})
    running = asyncio.ensure_future(Session(TraderRequest(), settings, TradePlan(), RecordingScreen()).run())
    await asyncio.wait_for(waiting.wait(), 60)
    [listed] = await asyncio.to_thread(running_sessions, tmp_path)
    answers = [await asyncio.to_thread(ask, listed, {"do": do}) for do in ("status", "positions", "stop")]
    ending = await asyncio.wait_for(running, 60)
    phase = "waits for the open at 09:30 New York"
    assert answers == [
        {"waiting": phase},
        {"error": f"the session {phase}, so there is no order gateway yet; `trader stop` ends it"},
        {"done": f"the session, which {phase}, is being stopped"},
    ]
    assert (ending.exit_code, ending.reason, ending.by_hand) == (0, "stopped", True)
    assert running_sessions(tmp_path) == []


async def test_a_session_that_runs_answers_for_itself_and_for_the_order_gateway(tmp_path: Path) -> None:
    plan, page = plan_in(tmp_path)
    facts = (StrategyFacts("Breakout", run_all=False),)
    folders = (Path(plan.run_dir), Path(plan.journal_dir), Path(plan.log_dir))
    batch = Batch(plan.batch_id, lay_out(facts, 1), 0, False, *folders)
    record = Record()
    record.store.database.reachable = False  # what is asked for meanwhile is written later
    prepared = Prepared(facts, cast(Any, record), cast(Any, None), batch, plan, page, None, (), "")
    settings, screen = Settings.resolve({"home": str(tmp_path)}, {}), RecordingScreen()
    preparation = Preparation(
        TraderRequest(), settings, TradePlan(), screen, {}, lambda _: None, lambda _: None, WallClock()
    )
    running = RunningSession(preparation, prepared)
    assert (await running.answer({"do": "status"}))["view"]["batch_id"] == plan.batch_id
    assert await running.answer({"do": "positions", "how": "adopt", "symbol": "AAPL"}) == {
        "error": "order_gateway is not available right now; try again"
    }
    assert await running.answer({"do": "dance"}) == {"error": "unknown request 'dance'"}
    assert await running.answer({"do": "stop_strategy", "strategy": "Nobody"}) == {
        "refused": "no strategy 'Nobody' runs; there is Breakout"
    }
    stop = {"do": "stop", "flatten": True, "asked_by": "ann", "through": "page"}
    assert await running.answer(stop) == {"done": f"batch {plan.batch_id} is being stopped"}
    record.store.database.reachable = True
    await running._keep_record()
    rows = list(record.store.database.actions.values())
    assert [(row.action, row.done) for row in rows] == [
        ("positions", False),
        ("dance", False),
        ("stop_strategy", False),
        ("stop", True),
    ]
    assert (rows[-1].asked_by, rows[-1].through, rows[-1].arguments) == ("ann", "page", {"flatten": True})
    assert rows[1].answer == "unknown request 'dance'"
    page.close()
