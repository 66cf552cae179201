"""Strategies made anew for each session of a run: what goes on, and what does not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from liualgotrader.backtest.run_record import BacktestTerms
from liualgotrader.backtest.runner import Backtest
from liualgotrader.common.calendar import TradingSession, sessions
from liualgotrader.common.clock import MINUTE, as_datetime
from liualgotrader.common.rows import OrderRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import Timings
from liualgotrader.common.trading_data import buy_indicators, buy_time
from liualgotrader.strategies.base import Strategy, StrategyType
from tests.unit.backtest.test_runner import UNBOUND, flat

DAYS = sessions(date(2024, 7, 1), date(2024, 7, 3))
SLOT = SlotPlan(1, "Daily", 0, 1, day_trade=False)


class Daily(Strategy):
    """Buys on the first day, with an entry and an exit that wait; notes what it knows at its first call of each day."""

    strategy_type = StrategyType.SWING
    seen: list[tuple[Any, ...]]
    made = 0

    async def create(self) -> bool:
        Daily.made += 1
        self.calls = 0
        return await super().create()

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.calls += 1
        if self.calls == 1:
            waiting = [(str(o.side), float(o.remaining)) for o in ctx.open_orders]
            known = (ctx.position, ctx.stop_price, ctx.target_price, buy_time.get("AAPL"), buy_indicators.get("AAPL"))
            Daily.seen.append((known, waiting, dict(ctx.state)))
            ctx.state["day"] = bar.closed_at
        if bar.closed_at == DAYS[0].opens_at + MINUTE:
            ctx.buy(10, stop_price=90, target_price=200, indicators={"why": "first"})
        elif bar.closed_at == DAYS[0].opens_at + 3 * MINUTE:
            ctx.sell(4, limit=106, time_in_force="gtc")
            ctx.buy(5, limit=98, time_in_force="gtc")
        elif bar.closed_at == DAYS[1].opens_at + MINUTE:
            ctx.sell(2)


def play(*, fresh: bool) -> tuple[list[tuple[Any, ...]], list[OrderRow]]:
    Daily.seen, Daily.made = [], 0

    def made(session: TradingSession | None = None) -> dict[int, Strategy]:
        strategy = Daily("Daily", batch_id="b")
        with pytest.raises(StopIteration):
            strategy.create().send(None)
        return {1: strategy}

    terms = BacktestTerms(
        batch_id="b", sessions=tuple(DAYS), limits=UNBOUND, timings=Timings(order_lifetime_seconds=1e7)
    )
    first = {SLOT: made()[1]}
    record = Backtest(terms, {"AAPL": flat(DAYS)}).run(first, anew=made if fresh else None)
    assert record.failures == []
    return Daily.seen, [row for row in record.rows if isinstance(row, OrderRow)]


def test_a_new_instance_has_position_plan_and_waiting_exits_and_nothing_else() -> None:
    seen, orders = play(fresh=True)
    assert Daily.made == 3
    morning = [as_datetime(day.opens_at) for day in DAYS]
    assert seen == [
        ((0.0, None, None, None, None), [], {}),
        ((10.0, 90.0, 200.0, morning[1], None), [("sell", 4.0)], {}),
        ((4.0, 90.0, 200.0, morning[2], None), [], {}),  # the exit at 106 has traded on the second day
    ]
    states = {(row.side, float(row.quantity)): row for row in orders}
    taken_back = states["buy", 5.0]
    assert (taken_back.state, taken_back.updated_at) == ("canceled", DAYS[0].closes_at)
    assert len({row.client_order_id for row in orders}) == len(orders) == 4


def test_one_instance_for_the_run_keeps_all_of_it() -> None:
    seen, orders = play(fresh=False)
    assert Daily.made == len(seen) == 1
    entry = {(row.side, float(row.quantity)): row for row in orders}["buy", 5.0]
    assert entry.updated_at >= DAYS[1].opens_at  # it lived until the exit of the second day cleared its way


@pytest.mark.parametrize("kind", [StrategyType.SWING, StrategyType.DAY_TRADE])
@pytest.mark.parametrize("time_in_force", ["day", "gtc"])
@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_ordered_on_the_last_bar_trades_at_the_next_open_unless_its_batch_ends_with_the_day(
    kind: StrategyType, time_in_force: str, fresh: bool
) -> None:
    class Late(Strategy):
        strategy_type = kind

        def on_bar(self, ctx: Any, bar: Any) -> None:
            if bar.closed_at == DAYS[0].closes_at:
                ctx.buy(10, time_in_force=time_in_force)

    def made(session: TradingSession | None = None) -> dict[int, Strategy]:
        return {1: Late("Daily", batch_id="b")}

    slot = SlotPlan(1, "Daily", 0, 1, day_trade=kind is StrategyType.DAY_TRADE)
    terms = BacktestTerms(batch_id="b", sessions=tuple(DAYS), limits=UNBOUND)
    record = Backtest(terms, {"AAPL": flat(DAYS)}).run({slot: made()[1]}, anew=made if fresh else None)
    entry = next(row for row in record.rows if isinstance(row, OrderRow))
    expected = ("canceled", DAYS[0].closes_at) if fresh else ("filled", DAYS[1].opens_at)
    assert (entry.state, entry.updated_at) == expected
