"""A tear sheet's figures against an outside library and amounts worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal as D
from typing import Any

import numpy as np
import pytest

from liualgotrader.analytics.performance import beta, correlation, deepest_drawdowns, rolling_beta
from liualgotrader.analytics.report import report_of
from liualgotrader.analytics.report_page import page_of
from liualgotrader.analytics.report_source import ReportSource
from liualgotrader.analytics.tear_sheet import Capacity, crises
from liualgotrader.common.calendar import TradingSession, sessions
from liualgotrader.common.clock import HOUR
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.rows import FilledTrade

SESSIONS = sessions(date(2024, 7, 1), date(2024, 7, 3))
HOSTILE = "</script><img src=x onerror=alert(1)>&"


def bars(played: list[TradingSession], closes: list[float], volume: float, symbol: str = "ABC") -> BarColumns:
    opened, closed = (np.array([getattr(s, name) for s in played], np.int64) for name in ("opens_at", "closes_at"))
    price = np.array(closes, float)
    return BarColumns(
        symbol, opened, closed, price, price, price, price, np.full(len(price), volume), price, np.zeros(len(price))
    )


def fill(day: int, operation: str, quantity: int, price: str, played: list[TradingSession] = SESSIONS) -> FilledTrade:
    at = played[day].opens_at + HOUR
    return FilledTrade(1, "Trend", "ABC", operation, D(quantity), D(price), D(0), at, None, f"{day}{operation}")


def source(**more: Any) -> ReportSource:
    """Buys 10 at 20 on the first day, which closes at 22; sells 5 at 24 on the second; the rest closes at 18 and 20."""
    told: dict[str, Any] = dict(
        batch_id="first",
        environment="BACKTEST",
        strategies=["Trend"],
        sessions=SESSIONS,
        executions=[fill(0, "buy", 10, "20"), fill(1, "sell", 5, "24")],
        bars={"ABC": bars(SESSIONS, [22, 18, 20], 1000.0)},
        cash=1000.0,
    )
    return ReportSource(**{**told, **more})


def test_beta_and_correlation_are_those_of_an_outside_library() -> None:
    import empyrical
    import pandas as pd

    random = np.random.default_rng(5)
    market = random.normal(0.0005, 0.01, 300)
    returns = 1.3 * market + random.normal(0, 0.004, 300)
    assert beta(returns, market) == pytest.approx(empyrical.beta(returns, market), rel=1e-9)
    theirs = empyrical.roll_beta(pd.Series(returns), pd.Series(market), window=63)
    assert rolling_beta(returns, market, 63)[62:] == pytest.approx(theirs.to_numpy(), rel=1e-9)
    assert correlation(returns, market) == pytest.approx(pd.Series(returns).corr(pd.Series(market)), rel=1e-9)


def test_beta_to_what_never_moved_is_not_defined() -> None:
    assert beta(np.array([0.1, 0.2, 0.3]), np.zeros(3)) is None
    assert beta(np.array([0.1]), np.array([0.1])) is None
    assert np.isnan(rolling_beta(np.array([0.1, 0.2]), np.zeros(2), 2)).all()


def test_the_worst_drawdowns_come_deepest_first_and_never_overlap() -> None:
    equity = np.array([100.0, 120, 90, 130, 117, 130, 65, 104])
    found = deepest_drawdowns(equity, 5)
    assert [round(one.depth, 9) for one in found] == [-0.5, -0.25, -0.1]
    assert [(one.peak, one.trough, one.recovered) for one in found] == [(3, 6, None), (1, 2, 3), (3, 4, 5)]
    assert len(deepest_drawdowns(equity, 2)) == 2
    assert deepest_drawdowns(np.array([100.0, 100, 110]), 5) == []


def test_leverage_and_allocation_are_what_was_held_over_the_accounts_value() -> None:
    # Closes: 10 x 22 of 1000 - 200 + 220; 5 x 18 of 1000 - 200 + 120 + 90; 5 x 20 of 920 + 100.
    shares = [220 / 1020, 90 / 1010, 100 / 1020]
    sheet = report_of(source()).sheet
    assert sheet.leverage == pytest.approx((sum(shares) / 3, shares[0]))
    assert {one.name: (round(one.mean, 9), round(one.highest, 9)) for one in sheet.allocation} == {
        "all long": (round(sum(shares) / 3, 9), round(shares[0], 9)),
        "all short": (0.0, 0.0),
        "cash": (round(1 - sum(shares) / 3, 9), round(1 - shares[1], 9)),
        "ABC": (round(sum(shares) / 3, 9), round(shares[0], 9)),
    }


def test_the_capacity_is_the_account_that_one_percent_of_a_volume_allows() -> None:
    # 10 of 1000 shares are 1 % at a value of 1000 $; 5 of 1000 are 0.5 % at 1020 $, which allows twice as much.
    assert report_of(source()).sheet.capacity == Capacity(1000.0, "ABC", SESSIONS[0].day, 0.01)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"bars": {}}, "the account's value is not known"),
        ({"bars": {"ABC": bars(SESSIONS, [22, 18, 20], 0.0)}}, "no volume is stored for 2 of 2 symbols' sessions"),
        ({"executions": []}, "nothing was traded"),
    ],
)
def test_a_capacity_that_cannot_be_known_says_why(more: dict[str, Any], why: str) -> None:
    found = report_of(source(**more))
    assert why in str(found.sheet.capacity)
    assert f"unknown: {why.replace(chr(39), '&#x27;')}" in page_of(found, b"library")


def test_a_crisis_is_told_from_close_to_close_and_only_where_sessions_cover_it() -> None:
    days = [s.day for s in sessions(date(2020, 2, 18), date(2020, 3, 24))]
    # The S&P 500 closed at 3386.15 on 2020-02-19 and at 2237.40 on 2020-03-23.
    held = np.full(len(days) + 1, 3000.0)
    held[2], held[-2] = 3386.15, 2237.40
    equity = np.full(len(days) + 1, 100.0)
    equity[-2:] = 90.0
    (found,) = crises(days, equity, held)
    assert (found.name, found.whole) == ("COVID-19 crash", True)
    assert found.benchmark == pytest.approx(-0.3393, abs=1e-4)
    assert found.account == pytest.approx(-0.1)
    (part,) = crises(days[5:], equity[5:], np.zeros(0))
    assert (part.whole, part.benchmark) == (False, None)
    assert crises([s.day for s in SESSIONS], np.full(4, 1.0), np.zeros(0)) == []


def test_batches_beside_each_other_are_compared_over_the_sessions_that_both_have() -> None:
    later = sessions(date(2024, 7, 2), date(2024, 7, 5))
    other = source(
        batch_id="other",
        environment="PAPER",
        sessions=later,
        executions=[fill(0, "buy", 5, "20", later), fill(1, "sell", 5, "21", later)],
        bars={"ABC": bars(later, [18, 20, 20], 1000.0)},
    )
    (found,) = report_of(source(beside=[other])).sheet.beside
    # Ours closed at 1020, 1010 and 1020; theirs began with 1000 and closed at 990 and 1005 on the same days.
    ours, theirs = [1010 / 1020 - 1, 1020 / 1010 - 1], [-0.01, 1005 / 990 - 1]
    assert [day for day, _, _ in found.returns] == [date(2024, 7, 2), date(2024, 7, 3)]
    assert [one for _, one, _ in found.returns] == pytest.approx(ours)
    assert [one for _, _, one in found.returns] == pytest.approx(theirs)
    assert [one.total_return for one in found.account if one] == pytest.approx([0.0, 0.005])
    assert [(one.trips, one.gain) for one in found.trading] == [(0, D("0.00")), (1, D("5.00"))]
    assert found.curves is not None
    assert found.curves[1][1].tolist() == pytest.approx([-1.0, 0.5])
    page = page_of(report_of(source(beside=[other])), b"library")
    assert "PAPER other" in page and "BACKTEST first" in page


def test_a_batch_without_a_known_value_is_compared_by_its_trades() -> None:
    unknown = replace(source(batch_id="unknown"), cash=None)
    (found,) = report_of(source(beside=[unknown])).sheet.beside
    assert found.curves is None and found.account[1] is None
    assert "No curve" in page_of(report_of(source(beside=[unknown])), b"library")


def test_what_others_wrote_is_text_on_a_sheet_too() -> None:
    other = source(batch_id=HOSTILE, environment=HOSTILE, strategies=[HOSTILE])
    page = page_of(report_of(source(batch_id=HOSTILE, benchmark=HOSTILE, beside=[other])), b"library")
    assert "<img" not in page
    assert page.count("</script>") == 3
