"""What an account was worth: sums worked out by hand, and the exchange's own books."""

from __future__ import annotations

from datetime import date
from decimal import Decimal as D

import numpy as np

from liualgotrader.analytics.equity import by_session, curve_of, equity_of
from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import DAY, MINUTE
from liualgotrader.common.market_columns import BarColumns, Floats
from liualgotrader.common.rows import EquityRow, FilledTrade

FIRST, SECOND = sessions(date(2024, 3, 12), date(2024, 3, 13))


def daily(symbol: str, *closes: float) -> BarColumns:
    opened, closed = (np.array([getattr(s, at) for s in (FIRST, SECOND)]) for at in ("opens_at", "closes_at"))
    prices: Floats = np.array(closes)
    return BarColumns(symbol, opened, closed, prices, prices, prices, prices, prices, prices, prices)


def fill(symbol: str, operation: str, quantity: int, price: str, at: int, fee: str = "0") -> FilledTrade:
    return FilledTrade(
        1, "Any", symbol, operation, D(quantity), D(price), D(fee), at, None, f"{at}/{symbol}/{operation}"
    )


def test_days_begin_as_the_one_before_ended_and_count_what_is_held_at_its_close() -> None:
    bars = {"A": daily("A", 11.0, 12.5), "B": daily("B", 50.0, 49.0)}
    fills = [
        fill("A", "buy", 10, "10.00", FIRST.opens_at, "0.50"),
        fill("B", "sell", 4, "51.00", SECOND.opens_at),  # short
        fill("A", "sell", 10, "12.00", SECOND.opens_at + MINUTE),
    ]
    first, second = equity_of("b", fills, bars, [FIRST, SECOND], DAY, 1000.0)
    assert first.amounts == (1000.0, 1009.5)  # 10 x 11 - 10 x 10 - 0.50
    assert second.amounts == (1009.5, 1027.5)  # 10 x 12 - 100 - 0.50 + 4 x (51 - 49)
    assert (second.session_date, second.opened_at, second.step) == ("2024-03-13", SECOND.opens_at, 390 * MINUTE)
    assert by_session([first, second]).tolist() == [1000.0, 1009.5, 1027.5]


def test_a_minute_counts_what_traded_until_its_end() -> None:
    opened = FIRST.opens_at + MINUTE * np.arange(390)
    close = 100.0 + np.arange(390) / 100
    flat: Floats = np.zeros(390)
    bars = {"A": BarColumns("A", opened, opened + MINUTE, close, close, close, close, flat, flat, flat)}
    fills = [
        fill("A", "buy", 1, "100.05", FIRST.opens_at + 5 * MINUTE),
        fill("A", "sell", 1, "100.10", int(opened[10]) + 1),
    ]
    (row,) = equity_of("b", fills, bars, [FIRST], MINUTE, 50.0)
    assert len(row.amounts) == 391
    assert row.amounts[:4] == (50.0, 50.0, 50.0, 50.0)
    assert row.amounts[5:11] == (49.99, 50.0, 50.01, 50.02, 50.03, 50.04)  # close of the minute less 100.05
    assert set(row.amounts[11:]) == {50.05}


def test_minutes_that_nobody_knows_are_left_out_of_the_curve_and_not_zero() -> None:
    rows = [
        EquityRow("b", "2024-03-12", FIRST.opens_at, MINUTE, (None, 5.0, None, 7.0)),
        EquityRow("b", "2024-03-13", SECOND.opens_at, MINUTE, (8.0,)),
    ]
    curve = curve_of(rows)
    assert curve.amount.tolist() == [5.0, 7.0, 8.0]
    assert curve.at.tolist() == [FIRST.opens_at + MINUTE, FIRST.opens_at + 3 * MINUTE, SECOND.opens_at]
    assert by_session(rows).tolist() == [5.0, 7.0, 8.0]
    assert len(curve_of([]).at) == len(by_session([])) == 0
