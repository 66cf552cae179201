"""Strategies that cannot be made are stopped alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.consumer.loading import load_strategies
from liualgotrader.engine.engine import Engine, EngineTerms
from liualgotrader.strategies.base import SessionServices
from liualgotrader.strategies.frames import lazy_frames
from tests.fakes.session import make_plan

_FILE = """
import asyncio, sys
from liualgotrader.strategies.base import Strategy


class Good(Strategy):
    def on_bar(self, ctx, bar): ...


class Bad(Good):
    async def create(self):
        {what}
"""


class Status:
    def calling(self, slot: int, symbol_cell: int, batch: int) -> None: ...
    def returned(self) -> None: ...


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise LookupError('x')", "LookupError: x"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("part = asyncio.ensure_future(asyncio.sleep(9)); part.cancel(); await part", "CancelledError:"),
    ],
)
async def test_a_strategy_that_fails_while_it_is_made_costs_no_other_its_place(
    tmp_path: Path, what: str, reason: str
) -> None:
    (tmp_path / "both.py").write_text(_FILE.format(what=what))
    slots = [SlotPlan(0, "Bad", 0, 1), SlotPlan(1, "Good", 0, 2)]
    strategies = {name: {"filename": "both.py"} for name in ("Bad", "Good")}
    plan = make_plan(tmp_path, slots=tuple(slots), tradeplan={"strategies": strategies}, tradeplan_dir=str(tmp_path))
    engine = Engine(EngineTerms(plan.batch_id, plan.hours), lazy_frames)
    around: Any = lambda slot: SessionServices(plan.hours, SimpleNamespace(), cast(Any, None))  # noqa: E731
    status: Any = Status()
    ended = await load_strategies(plan, slots, engine, around, None, status)
    assert [(one.slot, one.reason.partition(" (")[0].strip()) for one in ended] == [(0, f"raised in create: {reason}")]
    assert list(engine.slots) == [1]
