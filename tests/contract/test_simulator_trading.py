"""The simulated market behind the unmodified alpaca-py TradingClient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from liualgotrader.exchange.values import OrderRequest, Refusal
from tests.contract.trading_contract import TradingContract
from tests.fakes.simulated_market import KEY, SECRET, MarketThread

D = Decimal
REQUESTS = {
    "market": MarketOrderRequest,
    "limit": LimitOrderRequest,
    "stop": StopOrderRequest,
    "stop_limit": StopLimitOrderRequest,
    "trailing_stop": TrailingStopOrderRequest,
}


def client_of(market: MarketThread, **options: Any) -> TradingClient:
    client = TradingClient(KEY, SECRET, paper=True, url_override=market.url, **options)
    client._retry = 0  # the vendor's client would sleep 3 s before each of its own retries
    return client


@pytest.fixture
def client(market: MarketThread) -> TradingClient:
    return client_of(market)


@dataclass
class WireOrder:
    """An order as alpaca-py decoded it, in the suite's words."""

    raw: Order
    legs: Sequence[Any] = field(init=False)

    def __post_init__(self) -> None:
        raw = self.raw
        self.id, self.client_order_id, self.symbol = str(raw.id), raw.client_order_id, str(raw.symbol)
        self.side, self.type = str(raw.side and raw.side.value), str(raw.order_type and raw.order_type.value)
        self.order_class, self.status = raw.order_class.value, raw.status.value
        self.quantity, self.filled_quantity = _number(raw.qty), _number(raw.filled_qty) or D(0)
        self.filled_average_price = _number(raw.filled_avg_price)
        self.limit_price, self.stop_price = _number(raw.limit_price), _number(raw.stop_price)
        self.replaces = str(raw.replaces) if raw.replaces else None
        self.replaced_by = str(raw.replaced_by) if raw.replaced_by else None
        self.legs = [WireOrder(leg) for leg in raw.legs or []]


def _number(value: Any) -> Decimal | None:
    return None if value is None else D(str(value))


def _refusal(error: APIError) -> Refusal:
    import json

    body = json.loads(str(error))
    return Refusal(error.status_code, body.pop("code"), body.pop("message"), **body)


class WireDoor:
    """Every call goes through the vendor's client and the wire."""

    def __init__(self, market: MarketThread, client: TradingClient) -> None:
        self._market, self._client = market, client

    def go_to(self, instant: int) -> None:
        self._market.go_to(instant)

    def submit(self, request: OrderRequest) -> WireOrder:
        fields: dict[str, Any] = {
            "symbol": request.symbol,
            "side": request.side,
            "time_in_force": request.time_in_force,
            "order_class": request.order_class,
            "client_order_id": request.client_order_id,
        }
        for ours, theirs in (
            ("quantity", "qty"),
            ("notional", "notional"),
            ("limit_price", "limit_price"),
            ("stop_price", "stop_price"),
            ("trail_price", "trail_price"),
            ("trail_percent", "trail_percent"),
        ):
            if (value := getattr(request, ours)) is not None:
                fields[theirs] = float(value)
        if request.take_profit_limit is not None:
            fields["take_profit"] = TakeProfitRequest(limit_price=float(request.take_profit_limit))
        if request.stop_loss_stop is not None:
            fields["stop_loss"] = StopLossRequest(stop_price=float(request.stop_loss_stop))
        return self._seen(lambda: self._client.submit_order(REQUESTS[request.type](**fields)))

    def replace(self, order_id: str, **terms: Any) -> WireOrder:
        names = {"quantity": "qty"}
        fields = {names.get(k, k): v if isinstance(v, str) else float(v) for k, v in terms.items()}
        return self._seen(lambda: self._client.replace_order_by_id(order_id, ReplaceOrderRequest(**fields)))

    def cancel(self, order_id: str) -> None:
        try:
            self._client.cancel_order_by_id(order_id)
        except APIError as e:
            raise _refusal(e) from e

    def cancel_all(self) -> int:
        results = self._client.cancel_orders()
        assert all(r.status == 200 for r in results)
        return len(results)

    def order(self, order_id: str) -> WireOrder:
        return self._seen(lambda: self._client.get_order_by_id(order_id))

    def order_by_client_id(self, client_order_id: str) -> WireOrder:
        return self._seen(lambda: self._client.get_order_by_client_id(client_order_id))

    def orders(self, status: str = "open") -> Sequence[WireOrder]:
        found = self._client.get_orders(GetOrdersRequest(status=status, nested=True))
        return [WireOrder(o) for o in found]

    def positions(self) -> Sequence[Any]:
        return [
            _Seen(symbol=p.symbol, quantity=D(p.qty), average_entry_price=D(p.avg_entry_price))
            for p in self._client.get_all_positions()
        ]

    def account(self) -> Any:
        account = self._client.get_account()
        return _Seen(cash=D(account.cash), equity=D(account.equity), buying_power=D(account.buying_power))

    def fills(self) -> Sequence[Any]:
        raw = self._client.get("/account/activities", {"activity_types": "FILL", "direction": "asc"})
        return [
            _Seen(
                id=a["id"],
                order_id=a["order_id"],
                symbol=a["symbol"],
                price=D(a["price"]),
                quantity=D(a["qty"]),
                cumulative_quantity=D(a["cum_qty"]),
            )
            for a in raw
        ]

    @staticmethod
    def _seen(ask: Callable[[], Any]) -> WireOrder:
        try:
            return WireOrder(ask())
        except APIError as e:
            raise _refusal(e) from e


class _Seen:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@pytest.fixture
def door(market: MarketThread, client: TradingClient) -> WireDoor:
    return WireDoor(market, client)


class TestTradingClient(TradingContract):
    """The suite, over the wire."""
