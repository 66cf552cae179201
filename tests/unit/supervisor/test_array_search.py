"""A search over array signals is played by the compiled loop, and comes to what the engine makes of it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.config import Settings
from liualgotrader.common.rows import OptimizerRow
from liualgotrader.common.tradeplan import parse_tradeplan
from liualgotrader.supervisor import combination
from liualgotrader.supervisor.backtest_bars import BarsWanted
from liualgotrader.supervisor.backtesting import BacktestRequest
from liualgotrader.supervisor.optimizing import Optimizing, SearchRequest
from tests.fakes.supervisor import RecordingScreen

STRATEGY = """
import numpy as np
from liualgotrader.strategies.base import Strategy, StrategyType

class Turns(Strategy):
    strategy_type = StrategyType.SWING

    def __init__(self, every=10, away=0.01, shares=10, **base):
        super().__init__(**base)
        self.every, self.away, self.shares = every, away, shares

    def signals(self, bars):
        turn = np.arange(len(bars)) % self.every
        side = np.where(turn == 0, 1.0, 0.0)
        stop = np.round(bars.close * (1 - self.away), 2)
        return {"entry": side, "exit": turn == 7, "size": np.full(len(bars), float(self.shares)), "stop": stop}
"""
BARS = BarsWanted(first=date(2024, 3, 12), last=date(2024, 3, 14), generated=2, seed=3)


def searched(folder: Path, **asked: Any) -> tuple[list[OptimizerRow], list[str]]:
    (folder / "turns.py").write_text(STRATEGY)
    varied = {
        "every": {"param_type": "int", "min": 9, "max": 11},
        "away": {"param_type": "float", "min": 0.001, "max": 0.003, "delta": 0.002},
    }
    table = {
        "strategies": {"Turns": {"filename": "turns.py", **asked.pop("given", {})}},
        "optimizer": {"hyperparameters": {"strategies": {"Turns": varied}}},
    }
    plan, screen = parse_tradeplan(table, folder / "plan.toml"), RecordingScreen()
    settings = Settings(home=str(folder), fills=asked.pop("fills", "touch"))
    money = {"cash": asked.pop("cash", Decimal(1_000_000)), "fee_per_share": Decimal("0.005")}
    request = SearchRequest(backtest=BacktestRequest(bars=BARS, database=False, **money), jobs=1, **asked)
    with Optimizing(request, settings, plan, screen) as optimizing:
        rows = optimizing.run(lambda done, total, row: None).rows
    return sorted(rows, key=lambda row: row.number), screen.lines


@pytest.mark.slow
def test_every_figure_is_that_of_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    arrays, _ = searched(tmp_path)
    assert {row.played_by for row in arrays} == {"arrays"}
    monkeypatch.setattr(combination, "_by_arrays", lambda search, one: "events")
    engine, _ = searched(tmp_path)
    assert {row.played_by for row in engine} == {"events"}
    for found, expected in zip(arrays, engine, strict=True):
        assert found.point == expected.point
        told, known = ({n: v for n, v in row.figures.items() if v is not None} for row in (found, expected))
        assert told == pytest.approx(known, rel=1e-9, abs=1e-9)
        assert found.objective == pytest.approx(expected.objective, rel=1e-9)
        assert found.equity == pytest.approx(expected.equity, abs=1e-6)
        assert (found.figures["trips"] or 0) > 100


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"given": {"shares": 5000}, "fills": "strict"}, "an order is larger than its part of a bar's volume"),
        ({"given": {"shares": 900}}, "order_equity_fraction may bind"),
        ({"given": {"shares": 2.5}}, "an order has no whole number of shares"),
        ({"fills": "paper"}, "fills of the profile paper are random"),
    ],
)
@pytest.mark.slow
def test_what_could_bind_is_played_by_the_engine_and_said(tmp_path: Path, asked: dict[str, Any], why: str) -> None:
    pytest.importorskip("numba")
    rows, lines = searched(tmp_path, **asked)
    assert {row.played_by for row in rows} == {f"events: {why}"}
    assert f"{len(rows)} combinations were played by the engine: {why}" in lines
