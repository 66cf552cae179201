"""What stands in a report's file."""

from __future__ import annotations

from datetime import date
from decimal import Decimal as D

import numpy as np
import pytest

from liualgotrader.analytics.report import Report, ReportSource, report_of
from liualgotrader.analytics.report_page import page_of
from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import HOUR
from liualgotrader.common.rows import FilledTrade, HonestyCheck

SESSIONS = sessions(date(2024, 7, 1), date(2024, 7, 3))
HOSTILE = "</script><img src=x onerror=alert(1)>&"


def report(name: str = "Trend", trades: int = 3) -> Report:
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
    source = ReportSource(
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
    return report_of(source)


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
