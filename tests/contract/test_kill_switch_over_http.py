"""Taking everything back at once, through our Alpaca adapter and over HTTP, from the simulated market."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.orders import OrderIntent, OrderState, OrderType, Side
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.order_gateway.broker_calls import BrokerCalls
from liualgotrader.orders.desk_messages import Cancel, CancelAll, Outcome
from liualgotrader.trading.alpaca_broker import AlpacaBroker
from tests.fakes.simulated_market import KEY, SECRET, MarketThread


class CountedBroker(AlpacaBroker):
    """The adapter, and what it asked."""

    asked: list[str]

    def _ask(self, method: str, path: str, fields: Mapping[str, Any] | None, about: str) -> Any:
        self.asked.append(f"{method} {path.partition('/orders')[1]}{'/…' if path.count('/') > 1 else ''}")
        return super()._ask(method, path, fields, about)


@pytest.fixture
async def broker(market: MarketThread) -> AsyncIterator[CountedBroker]:
    endpoints = Endpoints(market.url, market.url, f"{market.ws}/v2/sip", f"{market.ws}/stream", loopback=True)
    opened = CountedBroker(endpoints, KEY, SECRET, timeout_seconds=60.0)
    opened.asked = []
    yield opened
    await opened.close()


def resting(name: str) -> OrderIntent:
    return OrderIntent(
        name, 1, "Test", "ABC", Side.BUY, Decimal(1), OrderType.LIMIT, 0, 0, limit_price=Decimal("90.00")
    )


async def working(broker: CountedBroker, market: MarketThread, ours: int) -> CancelAll:
    sent = [await broker.submit(resting(f"liu-0b5e7a4e0000-1-{n}")) for n in range(1, ours + 1)]
    market.advance(1)
    broker.asked.clear()
    return CancelAll(tuple(Cancel(o.client_order_id, o.broker_order_id, o.symbol) for o in sent))


async def states(broker: CountedBroker) -> dict[str, OrderState]:
    return {o.client_order_id: o.state for o in await broker.orders(since=0)}


async def test_orders_that_are_all_ours_are_taken_back_by_one_request(
    broker: CountedBroker, market: MarketThread
) -> None:
    wanted = await working(broker, market, 40)
    answers = await BrokerCalls(broker, 2.0).cancel_all(wanted)
    assert broker.asked == ["GET /orders", "DELETE /orders"]
    assert {a.outcome for a in answers} == {Outcome.ACCEPTED}
    market.advance(1)
    assert set((await states(broker)).values()) == {OrderState.CANCELED}


async def test_somebody_elses_order_stays(broker: CountedBroker, market: MarketThread) -> None:
    await broker.submit(resting("by-hand"))
    wanted = await working(broker, market, 20)
    answers = await BrokerCalls(broker, 2.0).cancel_all(wanted)
    assert broker.asked == ["GET /orders", *["DELETE /orders/…"] * 20]
    assert {a.outcome for a in answers} == {Outcome.ACCEPTED}
    market.advance(1)
    left = {name for name, state in (await states(broker)).items() if state is not OrderState.CANCELED}
    assert left == {"by-hand"}


async def test_the_whole_account_is_taken_back_when_it_was_named(broker: CountedBroker, market: MarketThread) -> None:
    await broker.submit(resting("by-hand"))
    wanted = await working(broker, market, 2)
    await BrokerCalls(broker, 2.0).cancel_all(CancelAll(wanted.cancels, whole_account=True))
    assert broker.asked == ["DELETE /orders"]
    market.advance(1)
    assert set((await states(broker)).values()) == {OrderState.CANCELED}


async def test_the_brokers_clock_is_the_markets(broker: CountedBroker, market: MarketThread) -> None:
    assert abs(await broker.clock() - market.now) < 1_000_000_000
