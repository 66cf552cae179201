"""Hand-worked days, and what must hold for every day."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.analytics.consolidate import consolidate
from liualgotrader.analytics.summary import summarize
from liualgotrader.analytics.trips import round_trips
from liualgotrader.common.rows import CarriedPosition, FilledTrade

MINUTE = 60_000_000_000


def fill(
    side: str,
    quantity: Any,
    price: Any,
    minute: int,
    *,
    symbol: str = "AAPL",
    run: int = 1,
    stop: Any = None,
    fee: str = "0",
    strategy: str = "Breakout",
) -> FilledTrade:
    return FilledTrade(
        algo_run_id=run,
        strategy=strategy,
        symbol=symbol,
        operation=side,
        quantity=D(quantity),
        price=D(price),
        fee=D(fee),
        at=minute * MINUTE,
        stop=D(stop) if stop else None,
        execution_id=f"{symbol}-{run}-{minute}-{side}",
    )


# executions → (gain_value, gain_percentage) of the pair, [(start, end, gain_value, gain_percentage, r)] of its trips
CASES: dict[str, tuple[Any, ...]] = {
    # the first is the value observed on the original
    "a long": ([("buy", 10, 100, 1, 95), ("sell", 10, 105, 2)], ("50", "5.00"), [(1, 2, "50", "5.00", "1.00")]),
    "a long that loses 2 R": (
        [("buy", 10, 100, 1, 98), ("sell", 10, 96, 2)],
        ("-40", "-4.00"),
        [(1, 2, "-40", "-4.00", "-2.00")],
    ),
    "a short": ([("sell", 10, 100, 1, 104), ("buy", 10, 98, 3)], ("20", "2.00"), [(1, 3, "20", "2.00", "0.50")]),
    "the original's short words": (
        [("sell_short", 10, 100, 1, 104), ("buy_short", 10, 98, 3)],
        ("20", "2.00"),
        [(1, 3, "20", "2.00", "0.50")],
    ),
    "no stop": ([("buy", 4, 25, 1), ("sell", 4, 30, 2)], ("20", "20.00"), [(1, 2, "20", "20.00", None)]),
    "a stop on the wrong side": (
        [("buy", 4, 25, 1, 26), ("sell", 4, 30, 2)],
        ("20", "20.00"),
        [(1, 2, "20", "20.00", None)],
    ),
    # 6 at 10 and 4 at 11 are 10 at 10.40; stop 9.40 risks 1.00; all out at 12.40 is +2.00 a share
    "entered in two parts": (
        [("buy", 6, 10, 1, "9.4"), ("buy", 4, 11, 2, "9.4"), ("sell", 10, "12.4", 3)],
        ("20", "19.23"),  # of the 104 that were paid for all of it
        [(1, 3, "20", "19.23", "2.00")],
    ),
    "left in two parts": (
        [("buy", 10, 10, 1, 9), ("sell", 4, 11, 2), ("sell", 6, 13, 3)],
        ("22", "22.00"),
        [(1, 3, "22", "22.00", "2.20")],
    ),
    "two trips": (
        [("buy", 1, 10, 1), ("sell", 1, 12, 2), ("sell", 1, 20, 3), ("buy", 1, 15, 4)],
        ("7", "70.00"),
        [(1, 2, "2", "20.00", None), (3, 4, "5", "25.00", None)],
    ),
    # sells 15 out of 10: +20 closes the long, the 5 left are short from 12 and come back at 10 for +10
    "turned over in one execution": (
        [("buy", 10, 10, 1), ("sell", 15, 12, 2), ("buy", 5, 10, 3)],
        ("30", "30.00"),
        [(1, 2, "20", "20.00", None), (2, 3, "10", "16.67", None)],
    ),
    "still open": ([("buy", 10, 10, 1), ("sell", 4, 12, 2)], ("8", "8.00"), []),
    "bought and held": ([("buy", 10, 10, 1)], ("0", "0.00"), []),
    "a first fill of one share": (
        [("buy", 1, 10, 1), ("buy", 99, 10, 2), ("sell", 100, 11, 3)],
        ("100", "10.00"),
        [(1, 3, "100", "10.00", None)],
    ),
    "fractions": (
        [("buy", "0.5", "100.01", 1, "99.01"), ("sell", "0.5", "101.01", 2)],
        ("0.500", "1.00"),
        [(1, 2, "0.500", "1.00", "1.00")],
    ),
}


@pytest.mark.parity(71)
@pytest.mark.parametrize("case", CASES)
def test_a_day_worked_by_hand_comes_out(case: Any) -> None:
    rows, (value, percent), trips = CASES[case]
    result = consolidate([fill(*r[:4], stop=r[4] if len(r) > 4 else None) for r in rows])
    (gain,) = result.gains
    assert (gain.symbol, gain.algo_run_id) == ("AAPL", 1)
    assert (gain.gain_value, gain.gain_percentage) == (D(value), D(percent))
    found = [(a.started_at, a.ended_at, a.gain, a.gain_percentage, a.r_units) for a in result.analysis]
    assert found == [(s * MINUTE, e * MINUTE, D(v), D(p), None if r is None else D(r)) for s, e, v, p, r in trips]


def test_several_symbols_and_runs_of_a_batch_are_kept_apart() -> None:
    result = consolidate(
        [
            fill("buy", 1, 10, 1, symbol="A", run=1),
            fill("buy", 1, 20, 1, symbol="A", run=2),
            fill("buy", 1, 30, 1, symbol="B", run=1),
            fill("sell", 1, 11, 2, symbol="A", run=1),
            fill("sell", 1, 18, 2, symbol="A", run=2),
            fill("sell", 1, 33, 2, symbol="B", run=1),
        ]
    )
    assert [(g.symbol, g.algo_run_id, g.gain_value) for g in result.gains] == [
        ("A", 1, D(1)),
        ("B", 1, D(3)),
        ("A", 2, D(-2)),
    ]
    assert len(result.analysis) == 3


def test_fees_lower_the_gain_and_are_shared_where_a_position_turns_over() -> None:
    trips = round_trips(
        [
            fill("buy", 10, 10, 1, fee="1"),
            fill("sell", 15, 12, 2, fee="1.50"),
            fill("buy", 5, 10, 3, fee="0.25"),
        ]
    )
    assert [t.fees for t in trips.closed] == [D("2.0"), D("0.75")]
    assert [t.gain for t in trips.closed] == [D("18.0"), D("9.25")]


def carried(quantity: Any, price: Any, stop: Any = None) -> dict[tuple[int, str], CarriedPosition]:
    return {
        (1, "AAPL"): CarriedPosition(
            "AAPL", D(quantity), D(price), -5 * MINUTE, D("99"), None, D(stop) if stop else None
        )
    }


def test_a_position_from_before_ends_as_a_round_trip_with_the_risk_taken_then() -> None:
    # bought at 10 with a stop at 9, sold at 12 for a fee of 1: 200 - 1, and 2 R
    result = consolidate([fill("sell", 100, 12, 1, fee="1")], carried(100, 10, stop=9))
    ((trip,), ()) = result.trips.closed, result.trips.open
    assert (trip.side, trip.gain, trip.r_units, trip.started_at, trip.ended_at) == (1, 199, 2, -5 * MINUTE, MINUTE)
    assert [(a.gain, a.gain_percentage, a.r_units) for a in result.analysis] == [(199, D("19.90"), 2)]
    assert [(g.gain_value, g.gain_percentage) for g in result.gains] == [(199, D("19.90"))]


def test_a_carried_position_that_is_sold_in_part_and_added_to_keeps_its_average_cost() -> None:
    trades = [fill("sell", 40, 12, 1), fill("buy", 40, 11, 2), fill("sell", 50, 13, 3)]
    (left,) = round_trips(trades, carried(100, 10)).open
    assert (left.quantity, left.opened_at) == (50, -5 * MINUTE)
    assert left.average_price == (D(1000) + 440) / 140
    assert left.realised == 40 * 12 + 50 * 13 - 90 * left.average_price


def test_an_execution_that_turns_a_carried_position_over_ends_its_trip_and_begins_the_next() -> None:
    trips = round_trips([fill("sell", 15, 12, 1), fill("buy", 5, 10, 2)], carried(10, 8))
    assert [(t.side, t.quantity, t.gain) for t in trips.closed] == [(1, 10, 40), (-1, 5, 10)]


def test_the_summary_counts_trips_wins_gain_and_r_per_strategy() -> None:
    trips = round_trips(
        [
            fill("buy", 10, 100, 1, stop="95", run=1),
            fill("sell", 10, 105, 2, run=1),
            fill("buy", 10, 100, 1, stop="95", run=2, symbol="IBM"),
            fill("sell", 10, 90, 2, run=2, symbol="IBM", fee="1"),
            fill("buy", 10, 10, 3, run=3, strategy="Swing"),
            fill("sell", 4, 12, 4, run=3, strategy="Swing"),
        ]
    )
    summary = summarize(["Breakout", "Idle"], trips, {"Breakout": ("market close",)})
    breakout, idle, swing = summary.strategies
    assert (breakout.trips, breakout.win_rate, breakout.total_r) == (2, 0.5, -1.0)
    assert (breakout.gain, breakout.fees, breakout.expectancy) == (D("-51.00"), D("1.00"), -25.5)
    assert (idle.trips, idle.win_rate, idle.gain) == (0, None, 0)
    assert (swing.name, swing.gain, swing.open_positions) == ("Swing", D("8.00"), 1)
    assert swing.open_gain is None  # without a last price
    assert summary.total.gain == D("-43.00")
    assert [(p.symbol, p.quantity) for p in summary.open if p.stop is None] == [("AAPL", D(6))]


fills = st.lists(
    st.builds(
        fill,
        st.sampled_from(["buy", "sell"]),
        st.decimals("0.001", "500", places=3),
        st.decimals("0.01", "900", places=4),
        st.integers(0, 50),
        symbol=st.sampled_from(["A", "B"]),
        run=st.integers(1, 3),
        stop=st.none() | st.decimals("0.01", "900", places=2).map(str),
        fee=st.decimals("0", "3", places=2),
    ),
    max_size=30,
)


def test_what_is_open_stands_beside_what_was_gained_and_its_fees_count() -> None:
    trades = [fill("buy", 10, 10, 1, fee="1"), fill("buy", 10, 12, 2), fill("sell", 5, 13, 3, fee="0.5")]
    (gain,) = consolidate(trades).gains  # 5 of 20 at 11 in the mean were sold at 13
    assert (gain.gain_value, gain.open_quantity, gain.open_price) == (D("8.5"), 15, 11)
    (short,) = consolidate([fill("sell", 4, 25, 1, fee="1")]).gains
    assert (short.gain_value, short.gain_percentage) == (-1, -1)
    assert (short.open_quantity, short.open_price) == (-4, 25)


def test_what_days_gain_of_one_position_adds_up_to_what_it_gained() -> None:
    (first,) = consolidate([fill("buy", 10, 10, 1), fill("sell", 4, 12, 2)]).gains
    (then,) = consolidate([fill("sell", 6, 15, 9)], carried(first.open_quantity, first.open_price)).gains
    assert first.gain_value + then.gain_value == 4 * 12 + 6 * 15 - 100
    assert (then.open_quantity, then.open_price) == (0, None)


@given(fills)
def test_gains_are_the_signed_cash_of_all_fills_and_the_cost_of_what_is_open(executions: Any) -> None:
    cash = sum(((1 if f.operation == "sell" else -1) * f.quantity * f.price - f.fee for f in executions), start=D(0))
    gains = consolidate(executions).gains
    cost = sum((g.open_quantity * g.open_price for g in gains if g.open_price is not None), start=D(0))
    assert abs(sum((g.gain_value for g in gains), start=D(0)) - cost - cash) < D("1e-9")
    assert all((g.open_price is None) == (g.open_quantity == 0) for g in gains)


@given(fills)
def test_trips_and_what_is_open_account_for_every_share_and_dollar(executions: Any) -> None:
    trips = round_trips(executions)
    shares = sum(((1 if f.operation == "buy" else -1) * f.quantity for f in executions), start=D(0))
    assert sum((p.quantity for p in trips.open), start=D(0)) == shares
    cash = sum(((1 if f.operation == "sell" else -1) * f.quantity * f.price - f.fee for f in executions), start=D(0))
    told = sum((t.gain for t in trips.closed), start=D(0))
    told += sum((p.realised - p.fees - p.quantity * p.average_price for p in trips.open), start=D(0))
    assert abs(told - cash) < D("0.000001")
    assert all(t.quantity > 0 and t.ended_at >= t.started_at for t in trips.closed)
