"""What a search's best is worth beside its neighbours, the other combinations, and the days after it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from liualgotrader.analytics import performance
from liualgotrader.analytics.heat_map import heat_map_page
from liualgotrader.analytics.sweep import constraint_of, deflated, plateau, ranked, walk_forward
from liualgotrader.common.rows import OptimizerRow


def tried(number: int, point: dict[str, Any], objective: float | None, **more: Any) -> OptimizerRow:
    given = {"figures": {}, "equity": ()} | more
    return OptimizerRow("s", number, "", point, objective, given["figures"], tuple(given["equity"]), 0.0)


GRID = {(1, 10): 1.0, (1, 20): 2.0, (2, 10): 3.0, (2, 20): 5.0, (3, 10): None, (3, 20): 4.0}
ROWS = [tried(n, {"fast": a, "slow": b}, value) for n, ((a, b), value) in enumerate(GRID.items())]


def test_a_plateau_is_the_mean_of_what_lies_a_step_away_over_the_best() -> None:
    axes = [((1, 2, 3), True), ((10, 20), True)]
    found = plateau(ROWS[3], ROWS, axes)
    assert (found.score, found.known, found.neighbours) == (pytest.approx((1 + 2 + 3 + 4) / 4 / 5), 4, 5)
    corner = plateau(ROWS[0], ROWS, axes)
    assert (corner.score, corner.neighbours) == (pytest.approx((2 + 3 + 5) / 3 / 1), 3)


def test_along_values_without_an_order_only_the_same_one_counts() -> None:
    found = plateau(ROWS[3], ROWS, [((1, 2, 3), True), ((10, 20), False)])
    assert (found.score, found.neighbours) == (pytest.approx((2 + 4) / 2 / 5), 2)


def test_a_plateau_is_not_known_without_neighbours_or_below_zero() -> None:
    axes = [((1, 2, 3), True), ((10, 20), True)]
    assert plateau(ROWS[3], [ROWS[3]], axes).score is None
    below = [tried(row.number, row.point, None if row.objective is None else row.objective - 9) for row in ROWS]
    assert plateau(below[3], below, axes).score is None
    assert plateau(ROWS[3], ROWS, [((), True), ((10, 20), True)]).score is None  # any number between two


@pytest.mark.parity(58)
def test_rows_rank_by_objective_then_by_constraints_then_by_their_place() -> None:
    rows = [
        tried(0, {}, 2.0, figures={"trips": 5.0}),
        tried(1, {}, None),
        tried(2, {}, 1.0, figures={"trips": 50.0}),
        tried(3, {}, 1.0, figures={"trips": 40.0}),
        tried(4, {}, 3.0, figures={"trips": None}),
    ]
    assert [row.number for row in ranked(rows)] == [4, 0, 2, 3, 1]
    assert [row.number for row in ranked(rows, [constraint_of("trips >= 30")])] == [2, 3, 4, 0, 1]


def test_the_best_is_deflated_by_all_that_were_tried() -> None:
    random = np.random.default_rng(5)
    equity = np.array(1000 * np.cumprod(1 + random.normal(0.001, 0.01, 250)), np.float64)
    best = tried(0, {}, 1.0, equity=equity, figures={"sharpe_ratio": 1.5})
    rows = [best, *(tried(n, {}, None, figures={"sharpe_ratio": x}) for n, x in enumerate((0.2, None, -1.0), 1))]
    ratios = np.array([1.5, 0.2, np.nan, -1.0])
    assert deflated(best, rows) == performance.deflated_sharpe(performance.returns_of(equity), ratios)


def test_windows_are_linked_and_compared_with_what_they_promised() -> None:
    def window(inside: float, outside: float, equity: tuple[float, ...]) -> tuple[OptimizerRow, OptimizerRow]:
        first, second = (tried(0, {}, 1.0, figures={"annual_growth": g}) for g in (inside, outside))
        return first, tried(0, second.point, 1.0, figures=second.figures, equity=equity)

    found = walk_forward([window(0.4, 0.1, (100.0, 110.0)), window(0.2, 0.2, (50.0, 40.0, 44.0))])
    assert found.total_return == pytest.approx(1.1 * 0.8 * 1.1 - 1)
    returns = [0.1, -0.2, 0.1]
    mean = sum(returns) / 3
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns) / 2)
    assert found.sharpe_ratio == pytest.approx(mean / deviation * math.sqrt(252), abs=1e-9)
    assert found.efficiency == pytest.approx(0.15 / 0.3)
    assert walk_forward([]).sharpe_ratio is None


def test_a_heat_map_has_the_best_of_each_cell_and_asks_for_nothing() -> None:
    page = heat_map_page(ranked(ROWS), ("fast", "slow"), "gain", "</script><b>title")
    assert '"z":[[1.0,3.0],[2.0,5.0,4.0]]' in page.replace(" ", "") or '"z":[[1.0,3.0,null],[2.0,5.0,4.0]]' in page
    assert "</script><b>" not in page
    assert 'src="http' not in page
