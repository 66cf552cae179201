"""What a person reads at the end of a backtest."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal as D

import pytest

from liualgotrader.analytics.backtest_summary import BacktestSummary, EquityFigures, StillOpen
from liualgotrader.analytics.summary import TradingFigures
from liualgotrader.cli.backtest_screen import say_backtest
from liualgotrader.cli.screen import PlainScreen

ACCOUNT = EquityFigures(100_000.0, 98_977.6875, -0.01022313, -0.0103, -0.567, -0.8, -0.0345, 17, -0.3, 0.125, 0.31)
HELD = EquityFigures(450.0, 495.0, 0.1, 0.1008, 1.25, 2.0, -0.05, 4, 2.016, 0.08, 0.9)
TREND = TradingFigures("Trend", 1827, 0.3125, 0.81, -0.56, None, None, D("-1022.31"), D(0), D("365.40"), 0)
FADE = TradingFigures("Fade", 0, None, None, None, None, None, D("-1.00"), D("30.00"), D("1.00"), 1)
SUMMARY = BacktestSummary(
    first_day=date(2024, 1, 2),
    last_day=date(2024, 12, 31),
    sessions=252,
    bars=97_500,
    account=ACCOUNT,
    benchmark_symbol="SPY",
    benchmark=HELD,
    time_in_market=0.5,
    turnover=12.345,
    total=replace(TREND, name="total"),
    strategies=(TREND, FADE),
    symbols=(replace(TREND, name="AAPL"), replace(FADE, name="IBM")),
    open=(StillOpen("Fade", "IBM", D(-10), D(30), D("27.0"), D("30.00")),),
)


def test_the_summary_in_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    say_backtest(PlainScreen(), SUMMARY)
    assert (
        capsys.readouterr().out
        == """
2024-01-02 to 2024-12-31: 252 sessions, 97,500 bars
                    account  SPY held
first $          100,000.00    450.00
last $            98,977.69    495.00
return              -1.02 %  +10.00 %
a year              -1.03 %  +10.08 %
volatility          12.50 %    8.00 %
Sharpe                -0.57      1.25
P(Sharpe > 0)       31.00 %   90.00 %
Sortino               -0.80      2.00
max drawdown        -3.45 %   -5.00 %
…in sessions             17         4
Calmar                -0.30      2.02
time in market      50.00 %  100.00 %
turnover a year       12.35      0.00


By strategy
strategy  trades  win rate  profit factor  expectancy $  average R      P&L $  open $  fees $  open
Trend      1,827    31.2 %           0.81         -0.56          -  -1,022.31       -  365.40     0
Fade           0         -              -             -          -     +29.00  +30.00    1.00     1
total      1,827    31.2 %           0.81         -0.56          -  -1,022.31       -  365.40     0


By symbol
symbol  trades  win rate  profit factor  expectancy $  average R      P&L $  open $  fees $  open
AAPL     1,827    31.2 %           0.81         -0.56          -  -1,022.31       -  365.40     0
IBM          0         -              -             -          -     +29.00  +30.00    1.00     1

open at the last close: Fade -10 IBM at 30.0000, last 27.0, +30.00 $
"""
    )


def test_of_many_symbols_those_that_gained_and_lost_most_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    symbols = tuple(replace(TREND, name=f"S{n:02}", gain=D(n)) for n in range(50))
    still = tuple(replace(SUMMARY.open[0], symbol=f"S{n:02}") for n in range(12))
    say_backtest(PlainScreen(), replace(SUMMARY, symbols=symbols, open=still))
    out = capsys.readouterr().out
    shown = [line.split()[0] for line in out.split("By symbol\n")[1].splitlines() if line.startswith("S")]
    assert shown == [f"S{n:02}" for n in (*range(49, 39, -1), *range(9, -1, -1))]
    assert "of 50 symbols the 20 that gained or lost most are shown: --json has all of them" in out
    assert "… and 2 more open positions" in out


def test_one_strategy_needs_no_total_and_a_run_without_a_benchmark_no_column(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_backtest(PlainScreen(), replace(SUMMARY, strategies=(TREND,), benchmark=None, benchmark_symbol=""))
    out = capsys.readouterr().out
    assert "total" not in out
    assert "held" not in out


@pytest.mark.parametrize(
    ("sessions", "caution"), [(1, "1 session says little about a year"), (29, "29 sessions say"), (30, "")]
)
def test_figures_of_a_year_from_few_sessions_come_with_a_caution(
    sessions: int, caution: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say_backtest(PlainScreen(), replace(SUMMARY, sessions=sessions))
    assert (caution or "Sharpe") in (told := capsys.readouterr().out)
    assert ("little" in told) is bool(caution)
