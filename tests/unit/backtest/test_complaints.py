"""What users of other backtesters had to report, as tests that this one must pass."""

from __future__ import annotations

import sys
from datetime import date
from decimal import Decimal
from types import FrameType
from typing import Any

import numpy as np
import pytest

from benchmarks import workload
from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.market_columns import BarColumns, take
from liualgotrader.exchange.fees import PerShareCommission
from liualgotrader.exchange.rules import Rules
from liualgotrader.strategies.base import Strategy, StrategyType
from tests.unit.backtest.test_runner import BATCH, flat, played, trades

DAYS = sessions(date(2024, 7, 1), date(2024, 7, 3))


class Asks(Strategy):
    """Notes everything a context says of the market."""

    strategy_type = StrategyType.SWING

    async def create(self) -> bool:
        self.seen: list[tuple[int, float, float | None, float | None, int]] = []
        return await super().create()

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.seen.append((bar.closed_at, bar.close, ctx.last, float(ctx.bars.close[-1]), int(ctx.bars.opened_at[-1])))


@pytest.mark.parity(55)
def test_no_price_comes_from_the_future() -> None:
    """The "last price" was that of a later bar (lumibot, issue 993)."""
    strategy = Asks("Tested", batch_id=BATCH)
    bars = flat(DAYS)
    played(strategy, {"AAPL": bars}, DAYS)
    assert len(strategy.seen) == len(bars.close)
    for closed_at, close, last, newest, opened_at in strategy.seen:
        assert close == last == newest
        assert opened_at + MINUTE == closed_at


def test_a_fill_is_at_the_open_of_the_very_next_bar_that_the_symbol_has() -> None:
    """Orders were filled at the open of another day (lumibot, issue 991)."""
    whole = flat(DAYS)
    gap = (whole.opened_at >= DAYS[0].opens_at + 10 * MINUTE) & (whole.opened_at < DAYS[1].opens_at + 5 * MINUTE)
    bars = take(whole, ~gap)  # nothing from ten minutes after the first open to five after the second

    class Buys(Strategy):
        strategy_type = StrategyType.SWING

        def on_bar(self, ctx: Any, bar: Any) -> None:
            if len(ctx.bars) in (3, 10):
                ctx.buy(10, time_in_force="gtc")

    record = played(Buys, {"AAPL": bars}, DAYS)
    assert [row.at for row in trades(record)] == [bars.opened_at[3], bars.opened_at[10]]
    assert [float(row.price) for row in trades(record)] == [bars.open[3], bars.open[10]]
    assert bars.opened_at[10] == DAYS[1].opens_at + 5 * MINUTE


def test_the_result_of_a_day_does_not_depend_on_how_early_a_run_begins() -> None:
    """Bars depended on the start date (lumibot, issue 1048)."""

    class BuysLate(Strategy):
        strategy_type = StrategyType.SWING

        def on_bar(self, ctx: Any, bar: Any) -> None:
            if bar.opened_at == DAYS[2].opens_at and float(np.mean(ctx.bars.close[-100:])) > 0:
                ctx.buy(10)

    bars = {"AAPL": flat(DAYS)}
    early, late = (trades(played(BuysLate, bars, DAYS[first:])) for first in (0, 2))
    assert [(row.at, row.price, row.quantity) for row in early] == [(row.at, row.price, row.quantity) for row in late]


@pytest.mark.slow
def test_an_order_costs_the_same_however_many_came_before_it() -> None:
    """Runs slowed down as they went (backtesting.py, issue 1275): calls are counted, which no machine can change."""
    on = workload.whole_sessions(6)
    bars = workload.bars(5, on)
    counts: list[int] = []
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    class Counted(workload.CrossingOnBar):
        def on_fill(self, ctx: Any, fill: Any) -> None:
            counts.append(calls)

    sys.setprofile(count)
    try:
        played(Counted, bars, on)
    finally:
        sys.setprofile(None)
    costs = np.diff(counts)
    first, last = costs[50:150].mean(), costs[-100:].mean()
    assert len(costs) > 400
    assert last == pytest.approx(first, rel=0.25)


@pytest.mark.parity(82)
def test_a_short_round_trip_with_fees_comes_to_the_cent() -> None:
    bars = flat(DAYS[:1])

    class Shorts(Strategy):
        strategy_type = StrategyType.DAY_TRADE

        def on_bar(self, ctx: Any, bar: Any) -> None:
            if len(ctx.bars) == 5:
                ctx.sell(100)
            if len(ctx.bars) == 50:
                ctx.buy(100)

    fees = PerShareCommission(per_share=Decimal("0.01"), minimum=Decimal(0))
    record = played(Shorts, {"AAPL": bars}, DAYS[:1], rules=Rules(fees=fees), cash=Decimal(100_000))
    assert [(row.operation, float(row.price), row.fee) for row in trades(record)] == [
        ("sell", 100.05, Decimal("1.00")),
        ("buy", 100.50, Decimal("1.00")),
    ]
    assert record.equity[-1] == pytest.approx(100_000 - 45 - 2, abs=1e-9)


def test_columns_of_a_run_stay_as_they_were_given() -> None:
    bars = flat(DAYS[:1])
    before = {name: getattr(bars, name).copy() for name in BarColumns.__slots__ if name != "symbol"}
    played(Asks, {"AAPL": bars}, DAYS[:1])
    for name, column in before.items():
        assert np.array_equal(getattr(bars, name), column)
