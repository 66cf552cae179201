"""A run worked by hand, and what must hold for every run."""

from __future__ import annotations

from datetime import date
from decimal import Decimal as D

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.analytics.backtest_summary import BacktestSummary, StillOpen, summarize_backtest
from liualgotrader.analytics.summary import TradingFigures
from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import HOUR, MINUTE
from liualgotrader.common.rows import FilledTrade
from tests.examples import examples

SESSIONS = sessions(date(2024, 7, 1), date(2024, 7, 3))  # of 6.5, 6.5 and 3.5 hours
FIRST, SECOND_DAY, _ = (s.opens_at for s in SESSIONS)


def fill(
    side: str, quantity: int, price: str, at: int, *, symbol: str = "A", run: int = 1, stop: str = "", fee: str = "0"
) -> FilledTrade:
    strategy = {1: "Trend", 2: "Fade"}[run]
    planned = D(stop) if stop else None
    return FilledTrade(run, strategy, symbol, side, D(quantity), D(price), D(fee), at, planned, f"{at}-{symbol}-{run}")


@pytest.fixture
def summary() -> BacktestSummary:
    executions = [
        fill("buy", 100, "10", FIRST, stop="9", fee="0.5"),
        fill("sell", 100, "12", FIRST + HOUR, fee="0.5"),  # gains 199, 2 R, in an hour of 16.5
        fill("buy", 10, "20", FIRST + 2 * HOUR, symbol="B", run=2),
        fill("sell", 10, "15", FIRST + 3 * HOUR, symbol="B", run=2),  # loses 50, in another
        fill("sell", 10, "30", SECOND_DAY, symbol="C", run=2, fee="1"),  # open for the last ten hours
    ]
    return summarize_backtest(
        executions,
        np.array([10_000.0, 10_149.0, 10_100.0, 10_178.0]),
        SESSIONS,
        bars=1234,
        strategies=["Idle", "Trend", "Fade"],
        last_prices={"A": 12.0, "B": 15.0, "C": 27.0},
        benchmark=("SPY", np.array([500.0, 505.0, 510.0, 495.0])),
    )


@pytest.mark.parity(75)
def test_the_account_and_its_benchmark_are_told_side_by_side(summary: BacktestSummary) -> None:
    account, benchmark = summary.account, summary.benchmark
    assert (account.first, account.last, account.total_return) == (10_000.0, 10_178.0, pytest.approx(0.0178))
    assert (account.max_drawdown, account.drawdown_sessions) == (pytest.approx(10_100 / 10_149 - 1), 2)
    assert benchmark is not None
    assert (summary.benchmark_symbol, benchmark.total_return) == ("SPY", pytest.approx(-0.01))
    assert (summary.first_day, summary.last_day, summary.sessions, summary.bars) == (
        *(date(2024, 7, 1), date(2024, 7, 3), 3),
        1234,
    )


def test_figures_of_all_trades(summary: BacktestSummary) -> None:
    assert summary.total == TradingFigures(
        name="total",
        trips=2,
        win_rate=0.5,
        profit_factor=199 / 50,
        expectancy=149 / 2,
        average_r=2.0,
        total_r=2.0,
        gain=D("148.00"),  # 199 - 50, and the fee of the open position
        open_gain=D("30.00"),
        fees=D("2.00"),
        open_positions=1,
    )
    assert summary.time_in_market == pytest.approx(12 / 16.5)
    # Bought for 1,200, sold for more; against a mean equity of 10,106.75, in 3 sessions of 252.
    assert summary.turnover == pytest.approx(1200 / 10_106.75 * 84)


def test_strategies_come_in_the_plans_order_and_symbols_by_name(summary: BacktestSummary) -> None:
    assert [(s.name, s.trips, s.gain, s.win_rate) for s in summary.strategies] == [
        ("Idle", 0, D("0.00"), None),
        ("Trend", 1, D("199.00"), 1.0),
        ("Fade", 1, D("-51.00"), 0.0),
    ]
    assert [(s.name, s.trips, s.gain, s.open_gain) for s in summary.symbols] == [
        ("A", 1, D("199.00"), D("0.00")),
        ("B", 1, D("-50.00"), D("0.00")),
        ("C", 0, D("-1.00"), D("30.00")),
    ]
    assert summary.open == (StillOpen("Fade", "C", D(-10), D(30), D("27.0"), D("30.00")),)


def test_a_run_without_a_trade_has_no_figures_of_trades() -> None:
    found = summarize_backtest([], np.full(4, 100.0), SESSIONS, bars=0, strategies=["Idle"], last_prices={})
    none = TradingFigures("total", 0, None, None, None, None, None, D(0), D(0), D(0), 0)
    assert found.total == none
    assert (found.symbols, found.open, found.benchmark) == ((), (), None)
    assert (found.account.total_return, found.account.sharpe_ratio, found.account.max_drawdown) == (0.0, None, 0.0)
    assert (found.time_in_market, found.turnover) == (0.0, 0.0)


def test_a_benchmark_that_was_not_traded_at_first_has_no_figures() -> None:
    prices = np.array([np.nan, np.nan, 10.0, 11.0])
    found = summarize_backtest(
        [], np.full(4, 100.0), SESSIONS, bars=0, strategies=[], last_prices={}, benchmark=("NEW", prices)
    ).benchmark
    assert found is not None
    assert (found.first, found.last, found.total_return, found.max_drawdown) == (None, 11.0, None, None)


fills = st.builds(
    fill,
    st.sampled_from(("buy", "sell")),
    st.integers(1, 500),
    st.integers(100, 9999).map(lambda cents: str(D(cents) / 100)),
    st.integers(0, 390 + 389).map(lambda m: SESSIONS[m // 390].opens_at + m % 390 * MINUTE),
    symbol=st.sampled_from("ABC"),
    run=st.sampled_from((1, 2)),
    fee=st.sampled_from(("0", "0.01", "1.25")),
)


@examples(60)
@given(st.lists(fills, max_size=40))
def test_what_strategies_and_symbols_gained_is_what_the_account_gained(executions: list[FilledTrade]) -> None:
    last = {"A": 12.5, "B": 40.25, "C": 99.99}
    worth = D(0)
    for t in executions:
        sign = 1 if t.operation == "buy" else -1
        worth += sign * t.quantity * (D(str(last[t.symbol])) - t.price) - t.fee
    found = summarize_backtest(
        executions, np.full(4, 1e5), SESSIONS, bars=0, strategies=["Trend", "Fade"], last_prices=last
    )
    for groups in ([found.total], found.strategies, found.symbols):
        assert sum((g.gain + (g.open_gain or D(0)) for g in groups), D(0)) == pytest.approx(worth, abs=D("0.05"))
        assert sum(g.fees for g in groups) == sum(t.fee for t in executions)
        assert sum(g.trips for g in groups) == found.total.trips
