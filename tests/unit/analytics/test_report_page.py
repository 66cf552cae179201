"""What stands in a report's file."""

from __future__ import annotations

from datetime import date
from decimal import Decimal as D
from typing import Any

import numpy as np
import pytest

from liualgotrader.analytics.equity import AccountCurve
from liualgotrader.analytics.report import Report, report_of
from liualgotrader.analytics.report_page import page_of
from liualgotrader.analytics.report_source import ReportSource
from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import HOUR
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.rows import FilledTrade, HonestyCheck
from liualgotrader.tapes.splits import Split

SESSIONS = sessions(date(2024, 7, 1), date(2024, 7, 3))
HOSTILE = "</script><img src=x onerror=alert(1)>&"


def report(name: str = "Trend", trades: int = 3, **more: Any) -> Report:
    executions = []
    for n in range(trades):
        at = SESSIONS[0].opens_at + n * HOUR
        executions += [
            FilledTrade(1, name, name, "sell", D(10), D("20"), D("0.5"), at, D("21"), f"{n}-in"),
            FilledTrade(1, name, name, "buy", D(4), D("19"), D("0.25"), at + 1, None, f"{n}-part"),
            FilledTrade(
                1, name, name, "buy", D(6), D("18") + n, D("0.25"), at + 2, None, f"{n}-out", because="liquidation"
            ),
        ]
    given: dict[str, Any] = dict(
        batch_id="b",
        environment="BACKTEST",
        strategies=[name],
        sessions=SESSIONS,
        executions=executions,
        bars={},
        cash=1000.0,
        equity=np.array([1000.0, 1013.0, 1013.0, 1027.0]),
        parameters={name: {name: name}},
        checks=[HonestyCheck("lookahead", SESSIONS[0].opens_at, "failed", (name,))],
        notes=[name],
    )
    return report_of(ReportSource(**{**given, **more}))


def test_what_a_user_wrote_is_text_wherever_it_stands() -> None:
    page = page_of(report(HOSTILE), b"library")
    assert HOSTILE not in page
    assert "<img" not in page
    assert page.count("</script>") == 3
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&amp;" in page


def test_a_report_of_the_same_batch_is_the_same_file() -> None:
    assert page_of(report(), b"library") == page_of(report(), b"library")


def test_shorts_in_parts_gain_what_they_gain_by_hand() -> None:
    # Each sells 10 at 20, buys 4 at 19 and 6 at 18, 19 and 20: 16, 10 and 4 before a dollar of fees.
    found = report()
    assert (found.total.trips, found.total.gain, found.total.fees) == (3, D("27.00"), D("3.00"))
    assert [(f.name, f.trips) for f in found.exits] == [("liquidation", 3)]


@pytest.mark.parametrize("trades", [0, 1])
def test_a_batch_that_hardly_traded_has_a_report(trades: int) -> None:
    page = page_of(report(trades=trades), b"library")
    assert "nothing can be said about luck" in page
    assert "not run" in page and "✗ failed" in page


def daily(*prices: tuple[float, float, float, float]) -> BarColumns:
    """Return raw bars of the sessions: open, high, low, close."""
    opened, closed = ([getattr(s, name) for s in SESSIONS] for name in ("opens_at", "closes_at"))
    figures: Any = [np.array(column, float) for column in zip(*prices, strict=True)]
    rest: Any = [np.full(3, 1000.0), figures[3], np.zeros(3)]
    return BarColumns("ABC", np.array(opened, np.int64), np.array(closed, np.int64), *figures, *rest)


def fill(day: int, operation: str, quantity: int, price: str, **more: Any) -> FilledTrade:
    at = SESSIONS[day].opens_at + HOUR
    return FilledTrade(
        1, "Trend", "ABC", operation, D(quantity), D(price), D(0), at, more.pop("stop", None), f"{day}", **more
    )


def test_prices_and_trades_before_a_split_are_drawn_at_the_prices_after_it() -> None:
    # Four new shares for each old one at the open of the second session. A trip ends before it, another lasts over it.
    trades = [
        fill(0, "buy", 10, "100", stop=D(96), target=D(112)),
        fill(0, "sell", 10, "104"),
        fill(0, "buy", 10, "104", stop=D(96), target=D(120)),
        fill(1, "buy", 30, "0"),  # as the desk books the new shares
        fill(2, "sell", 40, "27"),
    ]
    found = report(
        strategies=["Trend"], executions=trades, equity=np.array([1000.0, 1000.0, 1000.0, 1000.0]),
        bars={"ABC": daily((100, 106, 98, 104), (26, 27, 25, 26), (26, 28, 25, 27))}, benchmark="ABC",
        splits={"ABC": [Split(SESSIONS[1].day, 4.0)]},
    )  # fmt: skip
    (chart,) = found.charts["symbols"]
    assert (chart["open"], chart["high"], chart["low"]) == ([25, 26, 26], [26.5, 27, 28], [24.5, 25, 25])
    assert chart["trades"] == [[0, 25.0, 0, 26.0, 1, 24.0, 28.0, 40.0], [0, 26.0, 2, 27.0, 1, 24.0, 30.0, 40.0]]
    assert chart["splits"] == ["4:1 on 2024-07-02"]
    assert found.benchmark is not None and found.benchmark.total_return == pytest.approx(0.08)
    # Entries at 25 and 26 of today's dollars, the lowest price 24.5, the highest 26.5 and 28.
    assert found.excursions.adverse_of_winners == pytest.approx((100 * 0.5 / 25 + 100 * 1.5 / 26) / 2)
    assert found.excursions.favourable_of_winners == pytest.approx((100 * 1.5 / 25 + 100 * 2 / 26) / 2)
    assert "ABC 4:1 on 2024-07-02" in page_of(found, b"library")


def test_a_drawdown_inside_sessions_is_told_beside_that_of_their_closes() -> None:
    moments = np.array([SESSIONS[0].opens_at + hour * HOUR for hour in range(4)], np.int64)
    found = report(curve=AccountCurve(moments, np.array([1000.0, 1100.0, 990.0, 1013.0])))
    assert found.account is not None and found.account.max_drawdown == 0.0
    assert found.deepest == pytest.approx(-0.1)
    assert "-10.00 % inside" in page_of(found, b"library")


def test_a_curve_without_prices_is_drawn_and_what_was_held_is_not_taken_for_nothing() -> None:
    minutes = np.concatenate([np.arange(s.opens_at, s.closes_at + 1, HOUR // 2) for s in SESSIONS])
    held = [fill(0, "buy", 10, "100"), fill(2, "sell", 10, "100")]
    found = report(
        executions=held, curve=AccountCurve(minutes.astype(np.int64), np.arange(1000.0, 1000.0 + len(minutes)))
    )
    curve = found.charts["curve"]
    assert len(curve["t"]) > 100
    assert sorted(curve["value"]) == curve["value"]
    assert (curve["exposed"]["gross"][1], curve["exposed"]["gross"][-1]) == (0.0, 0.0)
    assert np.isnan(curve["exposed"]["gross"][len(curve["t"]) // 2])


@pytest.mark.parametrize(
    ("trials", "told"),
    [
        (None, "How many variants were tried before is not known"),
        ([1.0], "The record has no other try of these strategies"),
        (
            [1.0, 3.0, 2.0, np.nan],
            "The record has 4 tries of these strategies, by backtester and optimizer. The best of so many worthless ones",
        ),
    ],
)
def test_a_sharpe_ratio_counts_how_many_were_tried(trials: list[float] | None, told: str) -> None:
    found = report(trials=None if trials is None else np.array(trials))
    assert told in page_of(found, b"library")
    if trials is not None and len(trials) > 1:
        # Bailey and Lopez de Prado (2014), eq. 1, with a deviation of 1: (1 - g) z(3/4) + g z(1 - 1/4e), g = 0.57722.
        assert found.deflation is not None
        assert found.deflation.luckiest == pytest.approx(0.42278 * 0.67449 + 0.57722 * 1.32872, abs=1e-3)


def test_less_than_a_year_is_not_annualised() -> None:
    page = page_of(report(), b"library")
    assert "in 3 sessions" in page
    assert "under a year" in page
