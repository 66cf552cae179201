"""Orders on behalf of a sub-account: the vendor's own client of the Broker API against the simulated market, and our adapter's news."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from alpaca.broker.client import BrokerClient
from alpaca.common.exceptions import APIError

from liualgotrader.common.errors import BadData
from liualgotrader.simulator.shapes import account_uuid
from liualgotrader.trading.alpaca_broker import Say
from liualgotrader.trading.alpaca_sub_account import AlpacaSubAccount, _bounded, _EventsThread
from tests.contract.test_alpaca_adapters import endpoints_of, intent
from tests.contract.test_simulator_trading import WirePort
from tests.contract.trading_contract import TradingContract
from tests.fakes.simulated_market import KEY, SECRET, MarketThread

ACCOUNT = account_uuid("SIM000000001")
ANOTHER = "3f6a6e34-0000-4000-8000-000000000000"


class OnBehalf:
    """The vendor's BrokerClient for one account, by the names of its TradingClient."""

    def __init__(self, market: MarketThread) -> None:
        self.client = BrokerClient(KEY, SECRET, url_override=market.url)
        self.client._retry = 0
        self._raw = BrokerClient(KEY, SECRET, url_override=market.url, raw_data=True)

    def submit_order(self, order: Any) -> Any:
        return self.client.submit_order_for_account(ACCOUNT, order)

    def replace_order_by_id(self, order_id: str, terms: Any) -> Any:
        return self.client.replace_order_for_account_by_id(ACCOUNT, order_id, terms)

    def cancel_order_by_id(self, order_id: str) -> None:
        self.client.cancel_order_for_account_by_id(ACCOUNT, order_id)

    def cancel_orders(self) -> Any:
        return self.client.cancel_orders_for_account(ACCOUNT)

    def get_order_by_id(self, order_id: str, asked: Any) -> Any:
        return self.client.get_order_for_account_by_id(ACCOUNT, order_id, asked)

    def get_order_by_client_id(self, client_id: str) -> Any:
        return self.client.get_order_for_account_by_client_id(ACCOUNT, client_id)

    def get_orders(self, asked: Any) -> Any:
        return self.client.get_orders_for_account(ACCOUNT, asked)

    def get_all_positions(self) -> Any:
        return self.client.get_all_positions_for_account(ACCOUNT)

    def get_account(self) -> Any:
        return type("Account", (), self._raw.get_trade_account_by_id(ACCOUNT))

    def get(self, path: str, asked: dict[str, str]) -> Any:
        assert path == "/account/activities"
        return self.client.get("/accounts/activities", {**asked, "account_id": ACCOUNT})


@pytest.fixture
def broker(market: MarketThread) -> WirePort:
    client: Any = OnBehalf(market)
    return WirePort(market, client)


@pytest.mark.parity(38)
class TestBrokerClient(TradingContract):
    """The suite, on behalf of an account."""


def test_another_account_and_wrong_keys_are_refused(market: MarketThread) -> None:
    with pytest.raises(APIError) as caught:
        OnBehalf(market).client.get_all_positions_for_account(ANOTHER)
    assert caught.value.status_code == 404
    with pytest.raises(APIError) as caught:
        BrokerClient(KEY, "wrong", url_override=market.url).get_clock()
    assert caught.value.status_code == 401


async def test_what_happens_to_orders_of_other_accounts_is_not_told(market: MarketThread) -> None:
    ours, theirs = (
        AlpacaSubAccount(endpoints_of(market), KEY, SECRET, account, timeout_seconds=60.0)
        for account in (ACCOUNT, ANOTHER)
    )
    heard, deaf = ours.updates(), theirs.updates()
    assert [await asyncio.wait_for(anext(stream), 60) for stream in (heard, deaf)] == [None, None]
    waiting = asyncio.ensure_future(anext(deaf))
    await ours.submit(intent(1))
    await asyncio.to_thread(market.advance, 1)
    told = [await asyncio.wait_for(anext(heard), 60) for _ in range(3)]
    assert [getattr(update, "event", None) for update in told] == ["pending_new", "new", "fill"]
    await asyncio.to_thread(market.control, "faults/drop_websockets")
    assert await asyncio.wait_for(waiting, 60) is None, "the first that it hears is that it was connected again"
    for broker in (ours, theirs):
        await broker.close()


@pytest.mark.parametrize("event", ["no JSON", "[]", "{}", json.dumps({"account_id": "a", "order": {"id": "x"}})])
async def test_an_event_that_cannot_be_read_is_said(event: str, market: MarketThread) -> None:
    said: list[Any] = []
    say: Say = said.append
    await _EventsThread(endpoints_of(market), (KEY, SECRET), say, "a")._take(event)
    assert [type(one) for one in said] == [BadData]


def test_an_event_without_an_end_does_not_fill_the_memory() -> None:
    event = [b"data: {", b"x" * 1000, b"}\n\n"]
    assert list(_bounded(event * 3)) == event * 3
    with pytest.raises(BadData, match="longer than"):
        for _ in _bounded(b"x" * (1 << 20) for _ in range(100)):
            pass
