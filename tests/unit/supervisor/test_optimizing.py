"""A search for parameters, on an invented market and without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from liualgotrader.backtest import run_backtest
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.tradeplan import parse_tradeplan
from liualgotrader.supervisor.backtest_bars import BarsWanted
from liualgotrader.supervisor.backtesting import BacktestRequest
from liualgotrader.supervisor.optimizing import Optimizing, SearchOutcome, SearchRequest
from tests.fakes.supervisor import RecordingScreen

STRATEGY = """
from liualgotrader.strategies.base import Strategy, StrategyType

class Steps(Strategy):
    strategy_type = StrategyType.SWING

    def __init__(self, every=10, held=5, **base):
        super().__init__(**base)
        if every == 13:
            raise ValueError("thirteen is unlucky")
        self.every, self.held = every, held

    def on_bar(self, ctx, bar):
        turn = len(ctx.bars.close) % self.every
        if ctx.position and turn == self.held:
            ctx.close()
        elif turn == 0 and not ctx.position:
            ctx.buy(10)
"""
BARS = BarsWanted(first=date(2024, 3, 12), last=date(2024, 3, 13), generated=1, seed=3)
ONE_DAY = msgspec.structs.replace(BARS, last=BARS.first)
EVERY = {"param_type": "int", "min": 10, "max": 16, "delta": 3}
HELD = {"param_type": "int", "min": 2, "max": 5}


class Searched:
    """A search in this process, and what was said."""

    def __init__(self, folder: Path, varied: Mapping[str, Any], **asked: Any) -> None:
        (folder / "steps.py").write_text(STRATEGY)
        optimizer = {"hyperparameters": {"strategies": {"Steps": varied}}, **asked.pop("more", {})}
        plan = parse_tradeplan(
            {"strategies": {"Steps": {"filename": "steps.py"}}, "optimizer": optimizer}, folder / "plan.toml"
        )
        self.screen = RecordingScreen()
        backtest = BacktestRequest(bars=asked.pop("bars", BARS), database=False)
        request = SearchRequest(backtest=backtest, **{"jobs": 1, **asked})
        self.told: list[tuple[int, int]] = []
        with Optimizing(request, Settings(home=str(folder)), plan, self.screen) as optimizing:
            self.outcome: SearchOutcome = optimizing.run(lambda done, total, row: self.told.append((done, total)))

    @property
    def points(self) -> list[tuple[Any, ...]]:
        return [tuple(row.point.values()) for row in sorted(self.outcome.rows, key=lambda row: row.number)]


def test_every_combination_comes_to_what_a_backtest_with_its_parameters_does(tmp_path: Path) -> None:
    found = Searched(tmp_path, {"every": {**EVERY, "max": 10}, "held": HELD}, objective="gain")
    assert found.points == [(10, 2), (10, 3), (10, 4), (10, 5)]
    for row in found.outcome.rows:
        plan = {"strategies": {"Steps": {"filename": str(tmp_path / "steps.py"), **row.point}}}
        alone = run_backtest(plan, BARS.first, BARS.last, generated=1, seed=3, scale="minute", home=tmp_path)
        assert row.objective == row.figures["gain"] == float(alone.summary.total.gain)
        assert row.equity == tuple(alone.equity)
        assert row.parameters == str(tuple(row.point.values()))
    gains = [row.objective or 0.0 for row in found.outcome.rows]
    assert gains == sorted(gains, reverse=True)
    assert found.told[-1] == (4, 4)
    assert any("3 of 4 combinations are left to play, about" in line for line in found.screen.lines)


def test_a_combination_that_cannot_be_made_stands_last_with_its_reason(tmp_path: Path) -> None:
    found = Searched(tmp_path, {"every": EVERY})
    assert found.points == [(10,), (13,), (16,)]
    assert (found.outcome.rows[-1].objective, found.outcome.rows[-1].point) == (None, {"every": 13})
    assert "ValueError: thirteen is unlucky (steps.py:10)" in found.outcome.rows[-1].failure
    assert (found.outcome.exit_code, found.outcome.sentence) == (0, "")


def test_a_search_of_which_nothing_could_be_played_says_why_and_ends_with_2(tmp_path: Path) -> None:
    found = Searched(tmp_path, {"every": {**EVERY, "min": 13, "max": 13}})
    assert found.outcome.exit_code == 2
    assert found.outcome.sentence.startswith(
        "no combination could be played: [strategies.Steps] Steps could not be made"
    )


@pytest.mark.slow
def test_constraints_between_parameters_are_kept_and_of_figures_rank_behind(tmp_path: Path) -> None:
    varied = {"every": {"param_type": "int", "min": 3, "max": 5}, "held": HELD}
    found = Searched(tmp_path, varied, constraints=("held<every", "trips>=200"), objective="total_return")
    assert found.points == [(3, 2), (4, 2), (4, 3), (5, 2), (5, 3), (5, 4)]
    fewer = [row.figures["trips"] or 0 for row in found.outcome.rows]
    meets = [trips >= 200 for trips in fewer]
    assert meets == sorted(meets, reverse=True)
    assert set(meets) == {True, False}


def test_an_objective_of_ones_own_is_asked_with_the_summary(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("def score(summary):\n    return -summary.total.trips\n\ndef broken(summary):\n    return 1 / 0\n")
    found = Searched(tmp_path, {"every": EVERY}, objective=f"{own}:score")
    assert [row.objective for row in found.outcome.rows] == [
        -(row.figures.get("trips") or 0) for row in found.outcome.rows[:2]
    ] + [None]
    broken = Searched(tmp_path, {"every": EVERY}, objective=f"{own}:broken").outcome
    assert broken.exit_code == 2
    assert "broken raised ZeroDivisionError: division by zero" in broken.sentence


@pytest.mark.slow
def test_a_draw_has_no_combination_twice_and_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    varied = {"every": EVERY, "held": HELD}
    first, again = (Searched(tmp_path, varied, sampler="random", samples=5).points for _ in range(2))
    assert first == again
    assert len(set(first)) == 5
    assert len(Searched(tmp_path, varied, sampler="random", samples=99).points) == 12


def test_a_sampler_that_learns_asks_for_the_same_whatever_plays_it_and_for_nothing_twice(tmp_path: Path) -> None:
    varied = {"every": {**EVERY, "delta": 1, "max": 30}, "held": {"param_type": "float", "min": 2, "max": 5}}
    asked = {"sampler": "tpe", "samples": 14, "constraints": ("held<every",), "bars": ONE_DAY, "objective": "gain"}
    first, again = (Searched(tmp_path, varied, **asked) for _ in range(2))
    assert first.points == again.points
    assert len(set(first.points)) == 14
    assert all(10 <= every <= 30 and 2 <= held <= 5 for every, held in first.points)
    few = Searched(tmp_path, {"held": HELD}, sampler="tpe", samples=99)
    assert sorted(few.points) == [(2,), (3,), (4,), (5,)]


@pytest.mark.slow
def test_a_walk_forward_plays_what_was_best_over_the_days_after_it(tmp_path: Path) -> None:
    days = msgspec.structs.replace(BARS, last=date(2024, 3, 19))  # six sessions
    found = Searched(tmp_path, {"held": HELD}, walk_forward=2, bars=days, objective="total_return")
    walk = found.outcome.walk_forward
    assert walk is not None
    assert found.told[-1] == (14, 14)
    spans = [
        (date(2024, 3, 12), date(2024, 3, 13)),
        (date(2024, 3, 14), date(2024, 3, 15)),
        (date(2024, 3, 18), date(2024, 3, 19)),
    ]
    for (best, after), inside, outside in zip(walk.windows, spans, spans[1:], strict=False):
        returns: dict[tuple[str, int], float] = {}
        for held in range(2, 6):
            plan = {"strategies": {"Steps": {"filename": str(tmp_path / "steps.py"), "held": held}}}
            for name, (first, last) in (("in", inside), ("out", outside)):
                alone = run_backtest(plan, first, last, generated=1, seed=3, scale="minute", home=tmp_path)
                returns[name, held] = alone.summary.account.total_return or 0.0
        chosen = best.point["held"]
        assert best.objective == returns["in", chosen] == max(returns["in", held] for held in range(2, 6))
        assert after.objective == returns["out", chosen]
    with pytest.raises(ConfigError, match="over 3 windows needs at least 8 sessions, not 6"):
        Searched(tmp_path, {"held": HELD}, walk_forward=3, bars=days)


def test_a_search_ends_early_when_many_in_turn_are_no_better(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("def score(summary):\n    return 1.0\n")
    found = Searched(tmp_path, {"held": {**HELD, "max": 9}}, objective=f"{own}:score", patience=2)
    assert found.points == [(2,), (3,), (4,), (5,)]
    assert "2 combinations in turn were no better: the search ends early" in found.screen.lines


@pytest.mark.parity(56)
def test_a_portfolio_parameter_gives_its_money_and_an_id_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def score(summary):\n    return summary.account.first\n")
    portfolio = {"strategies": {"Steps": {"portfolio_id": {"param_type": "portfolio", "size": 5000, "credit": 250}}}}
    found = Searched(tmp_path, {"held": HELD}, objective=f"{tmp_path / 'own.py'}:score", more={"parameters": portfolio})
    assert {row.objective for row in found.outcome.rows} == {5250.0}


@pytest.mark.parametrize(
    ("varied", "asked", "sentence"),
    [
        ({}, {}, "has no parameters to vary: add a table like"),
        ({"evry": EVERY}, {}, r"Steps of steps.py takes no argument `evry`; did you mean `every`\?"),
        ({"every": {**EVERY, "min": 20}}, {}, "every: min 20 lies above max 16, so there is no value"),
        ({"every": {**EVERY, "delta": -1}}, {}, "every: delta must be above 0, not -1"),
        ({"every": {"param_type": "int", "max": 3}}, {}, "every needs min"),
        (
            {"every": {**EVERY, "param_type": "integer"}},
            {},
            "`param_type` cannot be 'integer'; it may be int, float, choice",
        ),
        ({"every": {**EVERY, "step": 1}}, {}, r"every: unknown key `step`"),
        (
            {"every": {"param_type": "float", "min": 0, "max": 1}},
            {},
            "every needs delta, the step from one value to the next",
        ),
        ({"every": EVERY}, {"objective": "sharpe"}, r"there is no objective 'sharpe'; did you mean `sharpe_ratio`\?"),
        ({"every": EVERY}, {"objective": "none.py:score"}, "there is no file .*none.py"),
        ({"every": EVERY}, {"constraints": ("trips=>3",)}, "'trips=>3' is no constraint: write one like"),
        (
            {"every": EVERY},
            {"constraints": ("trip>3",)},
            r"names neither a parameter nor a figure; did you mean `trips`\?",
        ),
        ({"every": EVERY}, {"constraints": ("every>99",)}, "no combination meets every>99: nothing is left to play"),
        (
            {"every": {**EVERY, "max": 1_000_009}, "held": {**HELD, "max": 10_001}},
            {},
            "the parameters have 3,333,666,667 combinations|3,333,3.* combinations, more than 100,000",
        ),
        (
            {"every": EVERY, "held": HELD},
            {"most": 11},
            "the parameters have 12 combinations, more than 11: make the ranges",
        ),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_sentence_before_anything_is_played(
    tmp_path: Path, varied: Mapping[str, Any], asked: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as found:
        Searched(tmp_path, varied, **asked)
    assert "\n" not in str(found.value)


def test_the_steps_of_a_float_are_exact(tmp_path: Path) -> None:
    found = Searched(tmp_path, {"held": {"param_type": "float", "min": 0.1, "max": 0.7, "delta": 0.2}})
    assert found.points == [(0.1,), (0.3,), (0.5,), (0.7,)]


@pytest.mark.parity(57)
@pytest.mark.slow
def test_two_processes_come_to_the_same_table_as_one(tmp_path: Path) -> None:
    def table(jobs: int) -> Sequence[Any]:
        rows = Searched(tmp_path, {"every": EVERY, "held": HELD}, jobs=jobs).outcome.rows
        return [(row.number, row.point, row.objective, row.figures, row.equity, row.failure) for row in rows]

    assert table(1) == table(2)
    assert np.isfinite([row[2] for row in table(1) if row[2] is not None]).all()
