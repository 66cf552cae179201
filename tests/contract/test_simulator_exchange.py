"""The exchange itself, in process, through the port of the trading contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.clock import MILLISECOND
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import (
    AccountView,
    Activity,
    HeldPosition,
    OrderChanges,
    OrderRequest,
    OrderView,
)
from liualgotrader.exchange.rules import ExchangeSession, Rules
from liualgotrader.tapes.base import asset_terms
from tests.contract.trading_contract import TradingContract
from tests.fakes.tapes import HandTape, at

ACCOUNT = "in-process"


class ExchangePort:
    """Calls the exchange, and plays the tape to it."""

    def __init__(self) -> None:
        self._tape = HandTape()
        session = ExchangeSession(opens_at=self._tape.opens_at, closes_at=self._tape.closes_at)
        self._exchange = Exchange(
            asset_terms(self._tape.assets()), session=session, rules=Rules(latency_ns=MILLISECOND)
        )
        self._exchange.open_account(ACCOUNT, Decimal(100_000))
        self._now = at("09:30")
        self.go_to(at("09:35"))

    def go_to(self, instant: int) -> None:
        for event in self._tape.events(self._now, instant):
            self._exchange.on_event(event)
        self._exchange.advance(instant)
        self._now = instant

    def submit(self, request: OrderRequest) -> OrderView:
        return self._exchange.submit(ACCOUNT, request, self._now)

    def replace(self, order_id: str, **terms: Any) -> OrderView:
        return self._exchange.replace(ACCOUNT, order_id, self._now, OrderChanges(**terms))

    def cancel(self, order_id: str) -> None:
        self._exchange.cancel(ACCOUNT, order_id, self._now)

    def cancel_all(self) -> int:
        return len(self._exchange.cancel_all(ACCOUNT, self._now))

    def order(self, order_id: str) -> OrderView:
        return self._exchange.order(ACCOUNT, order_id)

    def order_by_client_id(self, client_order_id: str) -> OrderView:
        return self._exchange.order_by_client_id(ACCOUNT, client_order_id)

    def orders(self, status: str = "open") -> Sequence[OrderView]:
        return self._exchange.orders(ACCOUNT, status=status, nested=True)

    def positions(self) -> Sequence[HeldPosition]:
        return self._exchange.positions(ACCOUNT)

    def account(self) -> AccountView:
        return self._exchange.account(ACCOUNT)

    def fills(self) -> Sequence[Activity]:
        return self._exchange.activities(ACCOUNT)


@pytest.fixture
def broker() -> Iterator[ExchangePort]:
    yield ExchangePort()


class TestExchangeInProcess(TradingContract):
    """The suite, in process."""
