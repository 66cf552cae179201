"""Whole runs: the common workload against its known result, and what no run may do."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from benchmarks import workload
from liualgotrader.backtest.run_record import BacktestTerms, RunRecord
from liualgotrader.backtest.runner import Backtest
from liualgotrader.common.calendar import TradingSession, sessions
from liualgotrader.common.clock import MINUTE, as_datetime, instant
from liualgotrader.common.market_columns import BarColumns, take
from liualgotrader.common.orders import OrderState
from liualgotrader.common.rows import TradeRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import Limits, Timings
from liualgotrader.common.types import TimeScale
from liualgotrader.data.loader import DataLoader
from liualgotrader.exchange.fees import PerShareCommission
from liualgotrader.exchange.rules import Rules
from liualgotrader.strategies.base import Strategy, StrategyType

BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
UNBOUND = Limits(
    order_equity_fraction=1,
    order_dollars=1e9,
    position_equity_fraction=1,
    gross_equity_fraction=10,
    daily_loss_stop_fraction=1,
    daily_loss_flatten_fraction=1,
    orders_per_minute=1_000_000,
    open_orders=1_000_000,
)
FEES = PerShareCommission(per_share=Decimal(str(workload.FEE)), minimum=Decimal(0))


ALL = SlotPlan(1, "Tested", 0, 1, run_all=True, day_trade=False)


def played(
    strategy: Strategy | type[Strategy],
    bars: Mapping[str, BarColumns],
    days: Sequence[TradingSession],
    **more: Any,
) -> RunRecord:
    """Play bars to one strategy, without limits unless `more` says otherwise."""
    made = strategy if isinstance(strategy, Strategy) else strategy("Tested", batch_id=BATCH)
    terms: dict[str, Any] = {"limits": UNBOUND, "timings": Timings(order_lifetime_seconds=1e7), "cash": Decimal(10**7)}
    slot = more.pop("slot", SlotPlan(1, "Tested", 0, 1, day_trade=made.type is StrategyType.DAY_TRADE))
    with pytest.raises(StopIteration):  # it waits for nothing
        made.create().send(None)
    full = BacktestTerms(batch_id=BATCH, sessions=tuple(days), **(terms | more))
    return Backtest(full, bars).run({slot: made})


def trades(record: RunRecord) -> list[TradeRow]:
    return [row for row in record.rows if isinstance(row, TradeRow)]


def result(record: RunRecord, bars: Mapping[str, BarColumns]) -> tuple[int, int, int, float]:
    """Fills, round trips, open positions and profit, counted from the rows alone."""
    held: Counter[str] = Counter()
    cash = Decimal(0)
    for trade in trades(record):
        signed = trade.quantity if trade.operation == "buy" else -trade.quantity
        held[trade.symbol] += int(signed)
        cash -= signed * trade.price + trade.fee
    marked = sum(shares * float(bars[symbol].close[-1]) for symbol, shares in held.items())
    sold = sum(trade.operation == "sell" for trade in trades(record))
    return len(trades(record)), sold, sum(1 for shares in held.values() if shares), float(cash) + marked


def known_result(bars: Mapping[str, BarColumns]) -> tuple[int, int, int, float]:
    """What the crossing strategy comes to, worked out on whole columns without any engine."""
    fills = sold = still_open = 0
    profit = 0.0
    for column in bars.values():
        windows = np.lib.stride_tricks.sliding_window_view(column.close, workload.SLOW)
        above = windows[:, -workload.FAST :].mean(axis=1) > windows.mean(axis=1)
        at = np.flatnonzero(above[1:] != above[:-1]) + workload.SLOW
        at = at[at + 1 < len(column.close)]
        side = np.where(above[at - workload.SLOW + 1], 1, -1)
        at, side = (at[1:], side[1:]) if len(side) and side[0] < 0 else (at, side)
        shares = workload.SHARES * int(side.sum())
        profit -= float((side * column.open[at + 1]).sum()) * workload.SHARES + workload.FEE * workload.SHARES * len(at)
        profit += shares * float(column.close[-1])
        fills, sold, still_open = fills + len(at), sold + int((side < 0).sum()), still_open + bool(shares)
    return fills, sold, still_open, profit


@pytest.mark.slow
def test_the_common_workload_comes_to_its_known_result_to_the_cent() -> None:
    symbols, days = workload.SIZES["a"]
    on = workload.whole_sessions(days)
    bars = workload.bars(symbols, on)
    record = played(workload.CrossingOnBar, bars, on, rules=Rules(fees=FEES))
    assert result(record, bars) == workload.EXPECTED["a"] == known_result(bars)
    assert record.equity[-1] - 10**7 == workload.EXPECTED["a"][3]
    assert record.bars == days * 390


@pytest.mark.parametrize(
    "kind",
    [
        workload.CrossingOnBar,
        *(pytest.param(k, marks=pytest.mark.slow) for k in (workload.CrossingRun, workload.CrossingArrays)),
    ],
)
def test_many_symbols_come_to_the_result_worked_out_without_an_engine(kind: type[Strategy]) -> None:
    on = workload.whole_sessions(4)
    bars = workload.bars(7, on)
    record = played(kind, bars, on, rules=Rules(fees=FEES))
    assert result(record, bars) == known_result(bars)


def test_the_same_run_twice_gives_the_same_rows() -> None:
    on = workload.whole_sessions(2)
    bars = workload.bars(3, on)
    first, second = (played(workload.CrossingOnBar, bars, on) for _ in range(2))
    assert first.rows == second.rows
    assert first.signals == second.signals


DAYS = sessions(date(2024, 7, 2), date(2024, 7, 5))  # with the half day of July 3rd


def flat(days: Sequence[TradingSession], symbol: str = "AAPL", price: float = 100.0) -> BarColumns:
    """A symbol that opens each minute at `price` plus the minute's number in cents, and closes half a cent higher."""
    opened = np.concatenate([np.arange(d.opens_at, d.closes_at, MINUTE, dtype=np.int64) for d in days])
    opening = price + np.arange(len(opened)) / 100
    close = opening + 0.005
    rest = np.full(len(opened), 1e6), close, np.zeros(len(opened))
    return BarColumns(symbol, opened, opened + MINUTE, opening, close, opening, close, *rest)


class Noted(Strategy):
    """Notes what it is told."""

    strategy_type = StrategyType.SWING

    async def create(self) -> bool:
        self.told: list[tuple[int, int, float]] = []
        self.fills: list[tuple[int, float]] = []
        return await super().create()

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.told.append((bar.closed_at, len(ctx.bars), float(ctx.bars.close[-1])))

    def on_fill(self, ctx: Any, fill: Any) -> None:
        self.fills.append((fill.at, float(fill.price)))


def test_every_bar_is_told_once_when_it_has_closed_and_no_later_one_can_be_seen() -> None:
    bars = flat(DAYS)
    strategy = Noted("Tested", batch_id=BATCH)
    played(strategy, {"AAPL": bars}, DAYS)
    assert strategy.told == [
        (at, n, close) for n, (at, close) in enumerate(zip(bars.closed_at, bars.close, strict=True), 1)
    ]
    assert DAYS[1].minutes == 210  # the half day is one


def test_an_order_trades_at_the_next_open_and_over_the_night_at_the_next_days() -> None:
    bars = flat(DAYS)
    opens = dict(zip(bars.opened_at.tolist(), bars.open.tolist(), strict=True))

    class Buys(Noted):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if bar.closed_at in (DAYS[0].opens_at + 5 * MINUTE, DAYS[0].closes_at, DAYS[1].closes_at):
                ctx.buy(10, time_in_force="gtc")

    strategy = Buys("Tested", batch_id=BATCH)
    played(strategy, {"AAPL": bars}, DAYS)
    expected = [DAYS[0].opens_at + 5 * MINUTE, DAYS[1].opens_at, DAYS[2].opens_at]
    assert strategy.fills == [(at, opens[at]) for at in expected]


def test_an_order_that_runs_out_as_another_is_decided_on_the_last_bar_is_told_to_have_ended() -> None:
    bars = flat(DAYS)

    class Buys(Noted):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if bar.opened_at == DAYS[0].opens_at:
                self.resting = ctx.buy(10, limit=50)
            if bar.closed_at == DAYS[0].closes_at:
                ctx.buy(10, time_in_force="gtc")

    strategy = Buys("Tested", batch_id=BATCH)
    played(strategy, {"AAPL": bars}, DAYS)
    assert strategy.resting.state is OrderState.EXPIRED
    assert len(strategy.fills) == 1


@pytest.mark.parity(10)
def test_what_must_not_stay_overnight_is_closed_a_quarter_of_an_hour_before_each_close() -> None:
    bars = flat(DAYS)

    class Buys(Noted):
        strategy_type = StrategyType.DAY_TRADE

        def on_bar(self, ctx: Any, bar: Any) -> None:
            if bar.opened_at in [day.opens_at for day in DAYS]:
                ctx.buy(10)

    record = played(Buys, {"AAPL": bars}, DAYS)
    sold = [row.at for row in trades(record) if row.operation == "sell"]
    assert sold == [day.closes_at - 15 * MINUTE for day in DAYS]


def test_a_days_loss_stops_entries_of_that_day_only() -> None:
    falling = flat(DAYS)
    step = np.where(falling.opened_at < DAYS[0].opens_at + 30 * MINUTE, 0.0, -20.0)
    opening, close = falling.open + step, falling.close + step
    spans, rest = (falling.opened_at, falling.closed_at), (falling.volume, close, falling.count)
    bars = BarColumns("AAPL", *spans, opening, close, opening, close, *rest)

    class Buys(Noted):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            minute = (bar.closed_at - max(d.opens_at for d in DAYS if d.opens_at < bar.closed_at)) // MINUTE
            if minute in (5, 90):
                ctx.buy(150 if minute == 5 else 1)

    record = played(
        Buys,
        {"AAPL": bars},
        DAYS,
        cash=Decimal(50_000),
        limits=Limits(order_equity_fraction=1, position_equity_fraction=1, order_dollars=1e9),
    )
    by_day: dict[date, list[int]] = defaultdict(list)
    for row in trades(record):
        by_day[next(d.day for d in reversed(DAYS) if d.opens_at <= row.at)].append(int(row.quantity))
    assert record.refusals["entries_stopped"] == 1
    assert by_day[DAYS[0].day] == [150, 150]  # 3,000 $ lost of 50,000: stopped, then flattened
    assert by_day[DAYS[1].day] == [150, 1]


class RunsAll(Strategy):
    """Looks at everything it can reach each ten minutes."""

    strategy_type = StrategyType.SWING

    async def should_run_all(self) -> bool:
        return True

    async def create(self) -> bool:
        self.seen: list[tuple[Any, ...]] = []
        return await super().create()

    async def run_all(  # type: ignore[override]
        self, symbols_position: dict[str, float], data_loader: Any, now: Any, **more: Any
    ) -> dict[str, Any]:
        newest = {symbol: data_loader[symbol].close[-1] for symbol in symbols_position}
        later = data_loader["AAPL"][: now + timedelta(days=3)].index[-1]
        days = DataLoader(TimeScale.day, data_api=data_loader.data_api, clock=data_loader._clock)["AAPL"].close[-1]
        self.seen.append((now, dict(symbols_position), newest, later, days))
        return {"AAPL": {"side": "buy", "qty": "1", "type": "market"}} if len(self.seen) == 1 else {}


def test_run_all_sees_positions_and_through_the_loader_nothing_that_has_not_closed() -> None:
    on = DAYS[1:3]
    bars = {"AAPL": flat(on), "MSFT": flat(on, "MSFT", 50.0)}
    strategy = RunsAll("Tested", batch_id=BATCH)
    record = played(strategy, bars, on, slot=ALL, timings=Timings(run_all_seconds=600.0, order_lifetime_seconds=1e7))
    assert [at for at, *_ in strategy.seen][:2] == [
        as_datetime(on[0].opens_at + 10 * MINUTE),
        as_datetime(on[0].opens_at + 20 * MINUTE),
    ]
    for at, positions, newest, later, day in strategy.seen:
        for symbol, columns in bars.items():
            closed = columns.close[columns.closed_at <= instant(at)]
            assert newest[symbol] == closed[-1]
        assert day == newest["AAPL"]
        assert later + timedelta(minutes=1) <= at
        assert positions == {"AAPL": 1.0 if at > strategy.seen[0][0] else 0.0, "MSFT": 0.0}
    assert len(trades(record)) == 1


class Waits(Strategy):
    """Really waits in its calls."""

    strategy_type = StrategyType.SWING

    async def create(self) -> bool:
        self.calls = 0
        return await super().create()

    async def run(self, *told: Any, **named: Any) -> tuple[bool, dict[str, Any]]:
        self.calls += 1
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
            found = await asyncio.gather(asyncio.to_thread(lambda: 1), asyncio.sleep(0, 2))
        assert found == [1, 2]
        return self.calls == 3, {"side": "buy", "qty": "1", "type": "market"}


def test_a_call_may_wait_for_other_things_even_where_a_loop_runs_already() -> None:
    on = DAYS[1:2]
    bars = {"AAPL": take(flat(on), slice(10))}
    assert len(trades(played(Waits, bars, on))) == 1

    async def notebook() -> int:
        count = len(trades(played(Waits, bars, on)))
        await asyncio.sleep(0)  # the outer loop goes on
        return count

    assert asyncio.run(notebook()) == 1


def test_a_strategy_that_raises_again_and_again_is_stopped_and_named_with_its_line() -> None:
    class Raises(Noted):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            raise ValueError("no such thing")

    record = played(Raises, {"AAPL": flat(DAYS[:1])}, DAYS[:1])
    assert "no such thing" in record.stopped[1]
    assert "test_runner.py" in record.stopped[1]


def test_day_trading_on_daily_bars_goes_from_the_open_to_the_close() -> None:
    days = sessions(date(2024, 7, 1), date(2024, 7, 12))
    opens = np.array([100.0 + n for n in range(len(days))], np.float64)
    closes = np.array([price + 0.5 for price in opens.tolist()], np.float64)
    opened, closed = (np.array([getattr(day, name) for day in days], np.int64) for name in ("opens_at", "closes_at"))
    volume = np.full(len(days), 1e6)
    bars = {
        "AAPL": BarColumns(
            "AAPL",
            opened,
            closed,
            opens,
            np.array(closes + 1, np.float64),
            np.array(opens - 1, np.float64),
            closes,
            volume,
            closes,
            volume,
        )
    }

    class Daily(Noted):
        strategy_type = StrategyType.DAY_TRADE

        def on_bar(self, ctx: Any, bar: Any) -> None:
            super().on_bar(ctx, bar)
            ctx.buy(10)

    strategy = Daily("Tested", batch_id=BATCH)
    record = played(strategy, bars, days, period=24 * 60 * MINUTE)
    expected = [
        (price, side) for day in range(1, len(days)) for price, side in ((opens[day], "buy"), (closes[day], "sell"))
    ]
    assert [(float(row.price), row.operation) for row in trades(record)] == expected
    assert [at for at, _, _ in strategy.told] == [day.closes_at for day in days]


def test_the_lifetime_of_an_order_after_the_close_begins_with_the_next_session() -> None:
    class Acts(Strategy):
        strategy_type = StrategyType.SWING

        async def run(self, symbol: str, *told: Any, now: Any, **named: Any) -> tuple[bool, dict[str, Any]]:  # type: ignore[override]
            wants = instant(now) == DAYS[0].closes_at
            return wants, {"side": "buy", "qty": "1", "type": "market"}

    record = played(Acts, {"AAPL": flat(DAYS)}, DAYS, timings=Timings())
    assert [row.at for row in trades(record)] == [DAYS[1].opens_at]
