"""Figures against an outside library, and against values worked by hand where they are not defined."""

from __future__ import annotations

from math import inf, nan, sqrt
from typing import Any

import numpy as np
import pytest

from liualgotrader.analytics.performance import (
    Drawdown,
    annual_growth,
    calmar_ratio,
    mean_of,
    profit_factor,
    returns_of,
    sharpe_ratio,
    sortino_ratio,
    time_in_market,
    total_return,
    turnover,
    win_rate,
    worst_drawdown,
)
from liualgotrader.common.market_columns import Floats

CASES = {
    "a quiet year": (252, 0.0004, 0.01),
    "ten wild years": (2520, 0.001, 0.04),
    "only losses": (60, -0.01, 0.001),
    "only gains": (60, 0.01, 0.001),
    "two sessions": (2, 0.0, 0.02),
    "a bad month": (21, -0.003, 0.03),
}


def equity_of(*values: float) -> Floats:
    return np.array(values, np.float64)


@pytest.mark.slow  # the library takes seconds to import
@pytest.mark.parametrize("case", CASES)
def test_figures_are_those_of_an_outside_library(case: str) -> None:
    import empyrical

    sessions, drift, deviation = CASES[case]
    returns = np.random.default_rng(sessions).normal(drift, deviation, sessions)
    equity = 25_000.0 * np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    ours: dict[str, float | None] = {
        "cum_returns_final": total_return(equity),
        "annual_return": annual_growth(equity),
        "sharpe_ratio": sharpe_ratio(returns_of(equity)),
        "sortino_ratio": sortino_ratio(returns_of(equity)),
        "calmar_ratio": calmar_ratio(equity),
    }
    for name, figure in ours.items():
        theirs = float(getattr(empyrical, name)(returns))
        assert figure == (pytest.approx(theirs, rel=1e-9) if np.isfinite(theirs) else None), name
    worst = worst_drawdown(equity)
    assert worst is not None
    assert worst.depth == pytest.approx(float(empyrical.max_drawdown(returns)), rel=1e-9)


# equity → total return, annual growth, Sharpe, Sortino, Calmar
UNDEFINED: dict[str, tuple[Floats, tuple[float | None, ...]]] = {
    "no session": (equity_of(100), (None, None, None, None, None)),
    "nothing at all": (equity_of(), (None, None, None, None, None)),
    "one session": (equity_of(100, 101), (0.01, 1.01**252 - 1, None, None, None)),
    "no trade": (equity_of(100, 100, 100), (0.0, 0.0, None, None, None)),
    "the same return each session": (100 * 1.01 ** np.arange(9.0), (1.01**8 - 1, 1.01**252 - 1, None, None, None)),
    "an unknown value": (equity_of(100, nan, 103, 104), (0.04, 1.04**84 - 1, None, None, None)),
    "an unknown end": (equity_of(100, 101, nan), (None, None, None, None, None)),
    "an infinite value": (equity_of(100, inf, 100), (0.0, 0.0, None, None, None)),
    "more than all was lost": (equity_of(100, 50, -20, 30), (-0.7, 0.3**84 - 1, None, None, (0.3**84 - 1) / 1.2)),
    "all was lost": (equity_of(100, 50, 0), (-1.0, -1.0, -3 * sqrt(126), -0.75 / sqrt(0.625) * sqrt(252), -1.0)),
    "it ends below 0": (
        equity_of(100, 50, -10),
        (-1.1, None, -0.85 / sqrt(0.245) * sqrt(252), -0.85 / sqrt(0.845) * sqrt(252), None),
    ),
    "it begins with nothing": (equity_of(0, 50, 60), (None, None, None, None, None)),
    "a hundredfold in a session": (equity_of(1, 100, 1e4), (9999.0, None, None, None, None)),
}


@pytest.mark.parametrize("case", UNDEFINED)
def test_what_is_not_defined_is_none(case: str) -> None:
    equity, expected = UNDEFINED[case]
    returns = returns_of(equity)
    found = (
        *(total_return(equity), annual_growth(equity), sharpe_ratio(returns), sortino_ratio(returns)),
        calmar_ratio(equity),
    )
    assert found == tuple(None if figure is None else pytest.approx(figure) for figure in expected)


DRAWDOWNS: dict[str, tuple[Floats, Drawdown | None, int]] = {
    # the first fall is of 10 %, the second of 25 % from the new peak 120, which is reached again two sessions later
    "the deeper of two": (equity_of(100, 90, 120, 110, 90, 100, 120, 119), Drawdown(-0.25, 2, 4, 6), 4),
    "not over yet": (equity_of(100, 128, 96, 104), Drawdown(-0.25, 1, 2, None), 2),
    "from the first session on": (equity_of(100, 75, 90), Drawdown(-0.25, 0, 1, None), 2),
    "never below": (equity_of(100, 100, 101), Drawdown(0.0, 0, 0, 0), 0),
    "two alike": (equity_of(100, 50, 100, 50), Drawdown(-0.5, 0, 1, 2), 2),
    "unknown": (equity_of(100, nan, 90), None, 0),
    "no session": (equity_of(100), None, 0),
}


@pytest.mark.parametrize("case", DRAWDOWNS)
def test_a_drawdown_lasts_from_its_peak_until_that_is_reached_again(case: str) -> None:
    equity, expected, sessions = DRAWDOWNS[case]
    found = worst_drawdown(equity)
    assert found == expected
    assert found is None or found.sessions(len(equity) - 1) == sessions


# positions as (from, to) → share of two sessions, from 0 to 100 and from 1,000 to 1,050, in which one is open
HELD: dict[str, tuple[list[tuple[int, int]], float]] = {
    "none": ([], 0.0),
    "one": ([(10, 40)], 0.2),
    "one after the other": ([(10, 40), (60, 75)], 0.3),
    "two at once count once": ([(10, 40), (20, 30), (35, 70)], 0.4),
    "a night counts for nothing": ([(70, 1020)], 1 / 3),
    "to the end": ([(0, 1050)], 1.0),
    "beyond both ends": ([(-50, 2000)], 1.0),
    "a moment": ([(50, 50)], 0.0),
    "in any order": ([(1000, 1050), (0, 25)], 0.5),
}


@pytest.mark.parametrize("case", HELD)
def test_time_in_market_counts_overlapping_positions_once_and_no_night(case: str) -> None:
    positions, expected = HELD[case]
    began, ended = (np.array([p[i] for p in positions], np.int64) for i in (0, 1))
    found = time_in_market(began, ended, np.array([0, 1000]), np.array([100, 1050]))
    assert found == pytest.approx(expected)


def test_time_in_market_without_a_session_is_unknown() -> None:
    none = np.array([], np.int64)
    assert time_in_market(none, none, none, none) is None


def test_turnover_is_what_was_both_bought_and_sold_over_the_mean_equity_a_year() -> None:
    # Half of 126 sessions' year: 3 x 100 sold against a mean of 150 is a turnover of 2, twice that a year.
    equity = np.full(127, 150.0)
    assert turnover(400.0, 300.0, equity) == pytest.approx(4.0)
    assert turnover(400.0, 0.0, equity) == 0.0
    assert turnover(400.0, 300.0, equity[:1]) is None
    assert turnover(400.0, 300.0, np.zeros(3)) is None


# gains of round trips → win rate, profit factor, expectancy
GAINS: dict[str, tuple[list[float], tuple[Any, ...]]] = {
    "no trade": ([], (None, None, None)),
    "one that won": ([5.0], (1.0, None, 5.0)),
    "one that lost": ([-5.0], (0.0, 0.0, -5.0)),
    "three to one": ([30.0, -10.0, 0.0, -5.0], (0.25, 2.0, 3.75)),
    "all at cost": ([0.0, 0.0], (0.0, None, 0.0)),
    "one unknown": ([1.0, nan, -1.0], (None, None, None)),
}


@pytest.mark.parametrize("case", GAINS)
def test_figures_of_round_trips(case: str) -> None:
    gains, expected = GAINS[case]
    values = equity_of(*gains)
    assert (win_rate(values), profit_factor(values), mean_of(values)) == expected
