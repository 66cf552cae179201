"""The same backtest twice, in processes whose sets have another order, leaves the same rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

FILES = """
from liualgotrader.scanners.base import Scanner
from liualgotrader.strategies.base import Strategy, StrategyType

class Some(Scanner):
    async def run(self, back_time=None):
        return {symbol for symbol in await self.data_api.tradable_symbols() if hash(back_time.minute) % 4}

class Steps(Strategy):
    strategy_type = StrategyType.SWING

    def on_bar(self, ctx, bar):
        if ctx.rng.random() < 0.05:
            ctx.close() if ctx.position else ctx.buy(10, stop_price=bar.close * 0.95)
"""
RUN = """
import uuid
uuid.uuid4 = lambda: uuid.UUID(int=7)

from liualgotrader.backtest import run_backtest

files = {"filename": "files.py"}
plan = {"strategies": {"Steps": files}, "scanners": {"Some": {**files, "recurrence": 15}}}
result = run_backtest(plan, "2024-03-12", "2024-03-13", generated=6, scale="minute", seed=3)
for row in [*result.outcome.run.rows, *result.outcome.run.signals]:
    print(row)
"""


def test_a_run_leaves_the_same_rows_under_any_hash_seed(tmp_path: Path) -> None:
    (tmp_path / "files.py").write_text(FILES)

    def rows(seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LIU_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", RUN]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    first, second = rows("1"), rows("2024")
    assert len(first) > 100
    assert first == second
