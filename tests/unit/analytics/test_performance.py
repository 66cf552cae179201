"""Figures against an outside library, and against values worked by hand where they are not defined."""

from __future__ import annotations

import warnings
from datetime import date
from math import inf, nan, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.analytics.performance import (
    Drawdown,
    annual_growth,
    calmar_ratio,
    deflated_sharpe,
    excursions,
    luckiest_sharpe,
    mean_of,
    monthly_returns,
    probabilistic_sharpe,
    profit_factor,
    returns_of,
    rolling_sharpe,
    sharpe_ratio,
    significance,
    sortino_ratio,
    time_in_market,
    total_return,
    turnover,
    volatility,
    win_rate,
    worst_drawdown,
)
from liualgotrader.common.market_columns import Floats
from tests.examples import examples

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


def agree_with_an_outside_library(returns: Floats) -> None:
    import empyrical

    equity = 25_000.0 * np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    worst = worst_drawdown(equity)
    ours: dict[str, float | None] = {
        "cum_returns_final": total_return(equity),
        "annual_return": annual_growth(equity),
        "annual_volatility": volatility(returns),
        "sharpe_ratio": sharpe_ratio(returns),
        "sortino_ratio": sortino_ratio(returns),
        "calmar_ratio": calmar_ratio(equity),
        "max_drawdown": None if worst is None else worst.depth,
    }
    alike = len(returns) < 2 or np.ptp(returns) < 1e-9  # then theirs divides rounding errors by each other
    for name, figure in ours.items():
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            theirs = float(getattr(empyrical, name)(returns))
        if not np.isfinite(theirs) or (alike and name == "sharpe_ratio"):
            assert figure is None or not np.isfinite(theirs), name
        elif figure is not None or theirs or len(returns) > 1:
            assert figure == pytest.approx(theirs, rel=1e-6, abs=1e-9), name
    rolling = rolling_sharpe(returns, 21)
    if len(returns) >= 21 and not alike:
        known = np.isfinite(rolling[20:])
        rolled = np.asarray(empyrical.roll_sharpe_ratio(returns, 21), np.float64)[known]
        assert rolling[20:][known] == pytest.approx(rolled, rel=1e-6, abs=1e-9)


@pytest.mark.slow  # the library takes seconds to import
@pytest.mark.parametrize("case", CASES)
def test_figures_are_those_of_an_outside_library(case: str) -> None:
    sessions, drift, deviation = CASES[case]
    agree_with_an_outside_library(np.random.default_rng(sessions).normal(drift, deviation, sessions))


a_return = st.floats(-0.2, 0.2).map(lambda r: round(r, 6))
# random, all alike, all losing, with sessions that gain nothing
series = st.lists(a_return, max_size=80) | st.builds(lambda r, n: [r] * n, a_return, st.integers(0, 40))
series |= st.lists(st.floats(-0.2, -0.001), max_size=40) | st.lists(st.sampled_from([0.0, 0.01, -0.01]), max_size=80)


@pytest.mark.slow
@examples(150)
@given(series)
def test_figures_of_any_returns_are_those_of_an_outside_library(returns: list[float]) -> None:
    agree_with_an_outside_library(np.array(returns, np.float64))


@pytest.mark.slow
@pytest.mark.parametrize("sessions", [3, 60, 1000])
def test_the_probability_of_a_sharpe_ratio_is_that_of_the_papers_formula(sessions: int) -> None:
    from scipy import stats

    returns = np.random.default_rng(sessions).standard_t(4, sessions) / 100 + 0.0005
    for above in (0.0, 1.5):
        each = returns.mean() / returns.std(ddof=1)
        kurtosis = stats.kurtosis(returns, fisher=False)
        spread = 1 - stats.skew(returns) * each + (kurtosis - 1) / 4 * each**2
        expected = stats.norm.cdf((each - above / sqrt(252)) * sqrt(sessions - 1) / sqrt(spread))
        assert probabilistic_sharpe(returns, above) == pytest.approx(expected, rel=1e-9)


def test_the_best_of_a_hundred_worthless_trials_is_that_of_the_paper() -> None:
    # Bailey and López de Prado (2014), numerical example: 100 trials whose annual ratios have a variance of 1/2, so that
    # the threshold is 0.1132 a session of 250 a year.
    assert luckiest_sharpe(100, sqrt(0.5 / 250)) == pytest.approx(0.1132, abs=5e-5)
    assert luckiest_sharpe(1, 0.5) == 0.0


def test_a_deflated_sharpe_ratio_is_the_probability_of_beating_the_luckiest_trial() -> None:
    returns = np.random.default_rng(7).normal(0.002, 0.01, 250)
    trials = np.random.default_rng(8).normal(0.0, 1.0, 50)
    plain, above = probabilistic_sharpe(returns), luckiest_sharpe(50, float(np.std(trials, ddof=1)))
    deflated = deflated_sharpe(returns, trials)
    assert plain is not None and deflated is not None
    assert deflated == probabilistic_sharpe(returns, above)
    assert deflated < plain
    assert deflated_sharpe(returns, np.array([1.0])) == plain
    unknown = np.append(trials, [nan] * 50)
    more = deflated_sharpe(returns, unknown)
    assert more is not None and more < deflated  # they were tried too


def test_significance_tells_an_edge_from_luck_and_is_repeated_by_its_seed() -> None:
    drawn = np.random.default_rng(1).normal(0.0, 100.0, 400)
    luck = (drawn - drawn.mean()) / drawn.std() * 100.0
    edge = luck + 25.0
    none, found = significance(luck, 1), significance(edge, 1)
    assert none is not None and found is not None
    assert none.p_value == pytest.approx(0.5, abs=0.05)
    assert found.p_value < 0.001
    # The mean's deviation is 100 / sqrt(400) = 5, so that 95 % lie within 9.8 of it.
    assert (found.low, found.high) == (pytest.approx(25 - 9.8, abs=1.2), pytest.approx(25 + 9.8, abs=1.2))
    assert significance(edge, 1) == found != significance(edge, 2)


@pytest.mark.parametrize("gains", [[], [5.0], [-3.0, -3.0], [1.0, nan, 2.0]], ids=str)
def test_trades_that_say_nothing_have_no_significance(gains: list[float]) -> None:
    assert significance(np.array(gains), 0) is None


def test_trades_that_all_lose_are_as_bad_in_any_order() -> None:
    found = significance(np.array([-1.0, -2.0, -3.0]), 0)
    assert found is not None
    assert (found.p_value, found.drawdown) == (1.0, 6.0)


@pytest.mark.slow
def test_many_trades_are_judged_by_fewer_draws() -> None:
    found = significance(np.random.default_rng(0).normal(1.0, 5.0, 100_000), 0)
    assert found is not None
    assert (found.trades, found.draws) == (100_000, 200)
    assert found.p_value == pytest.approx(1 / 201)


def test_monthly_returns_lead_from_close_to_close() -> None:
    days = [date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1), date(2024, 4, 1)]
    found = monthly_returns(equity_of(100, 90, 110, 121, 60.5), days)
    assert found == {(2024, 1): pytest.approx(0.1), (2024, 2): pytest.approx(0.1), (2024, 4): pytest.approx(-0.5)}
    assert monthly_returns(equity_of(100), []) == {}
    assert monthly_returns(equity_of(100, nan), days[:1]) == {(2024, 1): None}


def test_excursions_are_measured_over_the_bars_that_a_trade_was_open_in() -> None:
    opened = np.array([0, 10, 20, 30])
    low, high = equity_of(9, 8, 11, 5), equity_of(11, 12, 14, 20)
    # a long of two bars, a short of the same, one that lasts to the end, one inside a bar, one after the last bar
    trips = (
        np.array([0, 0, 20, 12, 40]),
        np.array([20, 20, 40, 14, 50]),
        np.array([1, -1, 1, 1, 1]),
        equity_of(10, 10, 12, 12, 12),
    )
    adverse, favourable = excursions(trips, opened, opened + 10, low, high)
    np.testing.assert_array_equal(adverse, [2, 2, 7, 4, nan])
    np.testing.assert_array_equal(favourable, [2, 2, 8, 0, nan])


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
