"""A consumer's counters for the live table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from liualgotrader.common.orders import OrderState
from liualgotrader.consumer.consumer_process import ConsumerCounters
from liualgotrader.engine.freshness import Freshness
from liualgotrader.strategies.base import Strategy
from tests.unit.engine.conftest import Stage, orders


class Buys(Strategy):
    def on_bar(self, ctx: Any, bar: Any) -> None:
        ctx.buy(100)


def test_refused_orders_are_counted_by_strategy_and_rule() -> None:
    stage = Stage()
    stage.cast(Buys)
    stage.pick()
    counters = ConsumerCounters(stage.engine, Freshness(5.0), SimpleNamespace(orders=0, unanswered=0))  # type: ignore[arg-type]
    assert not [name for name in counters.values() if name.startswith("refused.")]
    for minute, rule in enumerate(["order_value", "gross_exposure", "order_value"]):
        [order] = orders(stage.minute(minute))
        stage.state(order, OrderState.REFUSED, rule)
    found = {name: value for name, value in counters.values().items() if name.startswith("refused.")}
    assert found == {"refused.Buys.order_value": 2, "refused.Buys.gross_exposure": 1}
