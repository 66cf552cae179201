"""Splits and dividends between two sessions of a run: positions, orders, history, cash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest

from liualgotrader.analytics.trips import round_trips
from liualgotrader.backtest.run_record import BacktestTerms, RunRecord
from liualgotrader.backtest.runner import Backtest
from liualgotrader.backtest.session_run import Scrutiny
from liualgotrader.common.borrow import BorrowRow
from liualgotrader.common.calendar import TradingSession, sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.rows import ActivityRow, TradeRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import Limits, Timings
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.supervisor.backtest_outcome import BacktestOutcome, executions_of
from liualgotrader.tapes.splits import Dividend, Split

DAYS = sessions(date(2024, 7, 1), date(2024, 7, 3))
WIDE = Limits(
    order_equity_fraction=1, order_dollars=1e9, position_equity_fraction=1, collar_fraction=1,
    daily_loss_stop_fraction=1, daily_loss_flatten_fraction=1,
)  # fmt: skip


def flat(*prices: float, days: Sequence[TradingSession] = DAYS) -> BarColumns:
    """A symbol that stays at one price all day; 1,000 shares a minute."""
    opened = np.concatenate([np.arange(d.opens_at, d.closes_at, MINUTE, dtype=np.int64) for d in days])
    price = np.repeat(np.array(prices), [d.minutes for d in days])
    volume = np.full(len(opened), 1000.0)
    return BarColumns("AAPL", opened, opened + MINUTE, price, price, price, price, volume, price, np.ones(len(opened)))


class Seen(NamedTuple):
    """What a strategy sees on the first bar of a day."""

    position: float
    stop: float | None
    target: float | None
    cost: float | None
    orders: list[tuple[str, float, float]]
    closes: list[float]
    volumes: list[float]


class Holds(Strategy):
    """Buys or sells at the first day's second bar, with two gtc orders beside; looks at each day's first bar."""

    strategy_type = StrategyType.SWING

    def __init__(self, shares: float = 0, closes: bool = False) -> None:
        super().__init__("Holds", batch_id="b")
        self.shares, self.closes = shares, closes
        self.seen: dict[date, Seen] = {}
        self.kept: Any = None

    async def run(self, symbol: str, **more: Any) -> tuple[bool, dict[str, Any]]:  # type: ignore[override]
        self.kept = self.kept if self.kept is not None else more["minute_history"]
        return False, {}

    def on_bar(self, ctx: Any, bar: Any) -> None:
        for day in DAYS:
            if bar.opened_at == day.opens_at:
                self.seen[day.day] = Seen(
                    ctx.position,
                    ctx.stop_price,
                    ctx.target_price,
                    self.cost(ctx),
                    [(str(o.side), float(o.remaining), float(o.limit_price)) for o in ctx.open_orders],
                    sorted(set(ctx.bars.close.tolist())),
                    sorted(set(ctx.bars.volume.tolist())),
                )
        if not self.shares:
            return
        minute = (bar.opened_at - DAYS[0].opens_at) // MINUTE
        if minute == 1:
            trade = ctx.buy if self.shares > 0 else ctx.sell
            trade(abs(self.shares), stop_price=90, target_price=120)
        elif minute == 5 and self.shares > 0:
            ctx.sell(self.shares, limit=110, time_in_force="gtc")
            ctx.buy(2 * self.shares, limit=80, time_in_force="gtc")
        elif self.closes and bar.opened_at == DAYS[1].opens_at:
            ctx.close()

    @staticmethod
    def cost(ctx: Any) -> float | None:
        from liualgotrader.common.trading_data import latest_cost_basis

        return latest_cost_basis.get(ctx.symbol)


def play(
    strategy: Strategy,
    bars: BarColumns,
    days: Sequence[TradingSession] = DAYS,
    scrutiny: Scrutiny | None = None,
    **more: Any,
) -> RunRecord:
    with pytest.raises(StopIteration):
        strategy.create().send(None)
    terms = BacktestTerms(
        batch_id="b", sessions=tuple(days), limits=WIDE, timings=Timings(order_lifetime_seconds=1e7), **more
    )
    return Backtest(terms, {"AAPL": bars}, scrutiny).run({SlotPlan(1, "Holds", 0, 1, day_trade=False): strategy})


def split(ratio: float, day: int = 1) -> dict[str, list[Split]]:
    return {"AAPL": [Split(DAYS[day].day, ratio)]}


@pytest.mark.parametrize(
    ("ratio", "shares", "expected"),
    [
        (2.0, 10, Seen(20, 45, 60, 50, [("sell", 20, 55), ("buy", 40, 40)], [50.0], [1000.0, 2000.0])),
        (0.1, 10, Seen(1, 900, 1200, 1000, [("sell", 1, 1100), ("buy", 2, 800)], [1000.0], [100.0, 1000.0])),
        (1.5, 30, Seen(45, 60, 80, 100 / 1.5, [("sell", 45, 73.33), ("buy", 90, 53.33)], [66.666667], [1000.0, 1500.0])),
    ],
)  # fmt: skip
def test_a_split_overnight_restates_position_plan_orders_and_history(ratio: float, shares: int, expected: Seen) -> None:
    after = round(100 / ratio, 6)
    strategy = Holds(shares)
    record = play(strategy, flat(100.0, after, after), splits=split(ratio))
    seen = strategy.seen[DAYS[1].day]
    assert seen[:4] == pytest.approx(expected[:4], abs=1e-6)
    assert seen.closes == pytest.approx(expected.closes)
    assert seen.volumes == pytest.approx(expected.volumes)
    assert seen.orders == expected.orders
    assert strategy.seen[DAYS[0].day].closes == [100.0]  # nothing of it was known before
    assert record.equity.tolist() == pytest.approx([100_000.0] * 3, abs=1e-3)
    assert not record.failures
    assert not record.warnings


@pytest.mark.parametrize(
    ("ratio", "shares", "gain"), [(2.0, 10, 100), (0.1, 10, 100), (2.0, -10, -100), (0.1, -10, -100)]
)
def test_a_trip_over_a_split_is_one_trip_at_the_prices_after_it(ratio: float, shares: int, gain: int) -> None:
    after = 110 / ratio  # a rise of a tenth beside the split
    strategy = Holds(shares, closes=True)
    record = play(strategy, flat(100.0, after, after), splits=split(ratio))
    trips = round_trips(executions_of(record))
    assert [(float(t.quantity), float(t.entry_price), float(t.gross)) for t in trips.closed] == [
        (abs(shares) * ratio, 100 / ratio, gain)
    ]
    assert not trips.open
    assert [float(t.quantity) for t in record.rows if isinstance(t, TradeRow) and t.price][-1] == abs(shares) * ratio
    assert record.equity[-1] == 100_000 + gain


def test_the_accounts_curve_goes_on_over_a_split_and_has_the_dividend_from_its_day_on() -> None:
    bars, dividends = flat(100.0, 50.0, 50.0), {"AAPL": [Dividend(DAYS[2].day, 0.5, 50.0)]}
    record = play(Holds(10), bars, splits=split(2.0), dividends=dividends)
    rows = BacktestOutcome(record, {"AAPL": bars}, MINUTE, summary=None, executions=executions_of(record)).equity()  # type: ignore[arg-type]
    assert [set(row.amounts) for row in rows] == [{100_000.0}, {100_000.0}, {100_010.0}]


def test_a_frame_that_is_kept_still_shows_the_prices_of_its_day() -> None:
    strategy = Holds()
    play(strategy, flat(100.0, 50.0, 50.0), splits=split(2.0))
    assert strategy.kept["close"].iloc[0] == 100.0


@pytest.mark.parametrize(("shares", "paid"), [(10, "12.5"), (-10, "-12.5"), (0, None)])
def test_a_dividend_is_paid_to_a_long_position_and_by_a_short_one(shares: int, paid: str | None) -> None:
    strategy = Holds(shares)
    dividends = {"AAPL": [Dividend(DAYS[1].day, 1.25, 100.0), Dividend(DAYS[0].day, 9.0, 100.0)]}
    record = play(strategy, flat(100.0, 100.0, 100.0), dividends=dividends)
    moved = [(r.activity_type, r.symbol, str(r.amount)) for r in record.rows if isinstance(r, ActivityRow)]
    assert moved == ([("DIV", "AAPL", f"{Decimal(paid):.2f}")] if paid else [])
    assert record.equity.tolist() == [100_000.0, *[100_000.0 + float(paid or 0)] * 2]
    assert strategy.seen[DAYS[1].day].closes == [100.0]  # dividends are not taken out of history
    if shares > 0:  # a buy limit waits below the market and is lowered, the target is not
        assert [limit for _, _, limit in strategy.seen[DAYS[1].day].orders] == [110.0, 78.75]


def test_a_short_position_pays_for_each_night_what_it_has_borrowed() -> None:
    rows = (BorrowRow("AAPL", DAYS[0].day, "hard", Decimal(36)), BorrowRow("AAPL", DAYS[1].day, "hard", Decimal(72)))
    record = play(Holds(-10), flat(100.0, 100.0, 100.0), borrow=rows)
    moved = [(r.activity_type, r.symbol, str(r.amount)) for r in record.rows if isinstance(r, ActivityRow)]
    assert moved == [("FEE", "AAPL", "-10.00"), ("FEE", "AAPL", "-20.00")]  # a lot of 100 shares at 100 dollars
    assert record.equity.tolist() == [100_000.0, 99_990.0, 99_970.0]


def test_what_cannot_be_borrowed_is_not_sold_short() -> None:
    record = play(Holds(-10), flat(100.0, 100.0, 100.0), borrow=(BorrowRow("AAPL", DAYS[0].day, "none"),))
    assert not executions_of(record)
    assert record.equity.tolist() == [100_000.0] * 3


def test_history_as_of_a_day_is_the_same_wherever_the_run_begins() -> None:
    bars = flat(100.0, 300.0, 30.0)
    splits = {"AAPL": [Split(DAYS[1].day, 1 / 3), Split(DAYS[2].day, 10.0)]}
    whole, later = Holds(), Holds()
    play(whole, bars, splits=splits)
    play(later, bars, DAYS[1:], splits=splits)
    assert later.seen == {day: seen for day, seen in whole.seen.items() if day != DAYS[0].day}
    assert [seen.closes for seen in whole.seen.values()] == [[100.0], [300.0], [30.0]]


class LooksBehind(Holds):
    """Sums up what stands in memory behind the bars that it is shown."""

    behind = 0.0

    def on_bar(self, ctx: Any, bar: Any) -> None:
        super().on_bar(ctx, bar)
        memory = ctx.bars.close.base
        self.behind += float(np.nansum(memory[3, len(ctx.bars) :] if memory.ndim == 2 else memory[len(ctx.bars) :]))


def test_bars_that_have_not_closed_are_nowhere_in_a_hidden_run_across_a_split() -> None:
    bars = flat(100.0, 50.0, 51.0)
    found = []
    for hidden in (False, True):
        strategy = LooksBehind(shares=10)
        record = play(strategy, bars, scrutiny=Scrutiny(hidden=hidden), splits=split(2))
        found.append((strategy.seen, record.rows, record.equity.tolist()))
        assert (strategy.behind == 0) is hidden
    assert found[0] == found[1]
