"""The simulated market behind the unmodified alpaca-py TradingClient."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from liualgotrader.common.clock import SECOND, as_utc, block, machine_now
from liualgotrader.exchange.exchange_values import OrderRequest, Refusal
from tests.contract.trading_contract import TradingContract
from tests.fakes.simulated_market import KEY, SECRET, MarketThread
from tests.fakes.tapes import at

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
    body = json.loads(str(error))
    return Refusal(error.status_code, body.pop("code"), body.pop("message"), **body)


class WirePort:
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
        return self._seen(lambda: self._client.get_order_by_id(order_id, GetOrderByIdRequest(nested=True)))

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
def broker(market: MarketThread, client: TradingClient) -> WirePort:
    return WirePort(market, client)


@pytest.mark.vendor(
    "TradingClient.submit_order",
    "TradingClient.replace_order_by_id",
    "TradingClient.cancel_order_by_id",
    "TradingClient.cancel_orders",
    "TradingClient.get_order_by_id",
)
class TestTradingClient(TradingContract):
    """The suite, over the wire."""


# --- what is the wire's own


def buy(client: TradingClient, quantity: float, symbol: str = "ABC", **terms: Any) -> Order:
    request = MarketOrderRequest(symbol=symbol, qty=quantity, side="buy", time_in_force="day", **terms)
    return client.submit_order(request)


@pytest.mark.vendor("TradingClient.get_account")
def test_the_account_is_whole(client: TradingClient) -> None:
    account = client.get_account()
    assert (account.account_number, account.status.value) == ("SIM000000001", "ACTIVE")
    assert (account.cash, account.equity, account.multiplier) == ("100000.00", "100000.00", "2")
    assert account.shorting_enabled and not account.trading_blocked


@pytest.mark.vendor("TradingClient.get_account_configurations", "TradingClient.set_account_configurations")
def test_the_accounts_configuration_can_be_switched(client: TradingClient) -> None:
    settings = client.get_account_configurations()
    settings.no_shorting = True
    assert client.set_account_configurations(settings).no_shorting is True
    with pytest.raises(APIError) as caught:
        client.submit_order(MarketOrderRequest(symbol="ABC", qty=1, side="sell", time_in_force="day"))
    assert caught.value.status_code == 403


@pytest.mark.vendor("TradingClient.get_open_position")
def test_positions_are_found_by_symbol_and_asset_id(market: MarketThread, client: TradingClient) -> None:
    buy(client, 10)
    market.advance(1)
    position = client.get_open_position("ABC")
    assert (position.qty, position.side.value, position.qty_available) == ("10", "long", "10")
    assert (position.avg_entry_price, position.current_price) == ("100.01", "100")
    assert client.get_open_position(position.asset_id).symbol == "ABC"
    with pytest.raises(APIError) as caught:
        client.get_open_position("XYZ")
    assert (caught.value.status_code, caught.value.code) == (404, 40410000)


@pytest.mark.vendor("TradingClient.close_position", "TradingClient.get_all_positions")
def test_a_position_is_closed_in_part_and_whole(market: MarketThread, client: TradingClient) -> None:
    buy(client, 11)
    market.advance(1)
    assert client.close_position("ABC", ClosePositionRequest(qty="1")).qty == "1"
    market.advance(1)
    assert client.close_position("ABC", ClosePositionRequest(percentage="25")).qty == "2"
    market.advance(1)
    assert client.close_position("ABC").qty == "8"
    market.advance(1)
    assert client.get_all_positions() == []


@pytest.mark.vendor("TradingClient.close_all_positions")
def test_all_positions_are_closed_and_their_orders_canceled_first(market_of: Any) -> None:
    market = market_of(options={}, speed=1.0, free_run=True)
    client = client_of(market)
    for symbol in ("ABC", "XYZ"):
        buy(client, 10, symbol)
    _until(lambda: len(client.get_all_positions()) == 2)
    client.submit_order(LimitOrderRequest(symbol="ABC", qty=10, side="sell", time_in_force="day", limit_price=120))
    closed = client.close_all_positions(cancel_orders=True)
    assert sorted((c.symbol, c.status) for c in closed) == [("ABC", 200), ("XYZ", 200)]
    _until(lambda: not client.get_all_positions())


def test_what_an_order_holds_is_not_closed(market: MarketThread, client: TradingClient) -> None:
    buy(client, 10)
    market.advance(1)
    client.submit_order(LimitOrderRequest(symbol="ABC", qty=10, side="sell", time_in_force="day", limit_price=120))
    closed = client.close_all_positions()
    assert [(c.symbol, c.status, c.body.code) for c in closed] == [("ABC", 403, 40310000)]


def _until(true: Callable[[], bool]) -> None:
    deadline = machine_now() + 60 * SECOND
    while not true():
        assert machine_now() < deadline
        block(0.02)


@pytest.mark.vendor("TradingClient.get_orders", "TradingClient.get_order_by_client_id")
def test_orders_are_listed_in_pages_by_time_and_by_id(market: MarketThread, client: TradingClient) -> None:
    for n in range(5):
        client.submit_order(
            LimitOrderRequest(
                symbol="ABC", qty=1, side="buy", time_in_force="day", limit_price=90, client_order_id=f"n{n}"
            )
        )
        if n % 2:
            market.advance(1)

    def names(**query: Any) -> list[str]:
        return [o["client_order_id"] for o in client.get("/orders", {"status": "all", **query})]

    assert names() == ["n4", "n3", "n2", "n1", "n0"]
    assert names(direction="asc", limit=2) == ["n0", "n1"]
    second = client.get_order_by_client_id("n1").id  # n0 and n1 came at the same instant
    assert names(direction="asc", after_order_id=second, limit=2) == ["n2", "n3"]
    assert names(before_order_id=second) == ["n0"]
    listed = client.get_orders(GetOrdersRequest(status="all", symbols=["XYZ"]))
    assert listed == []
    submitted = client.get_order_by_client_id("n2").submitted_at
    assert [o.client_order_id for o in client.get_orders(GetOrdersRequest(status="all", after=submitted))] == ["n4"]


def test_legs_stand_alone_unless_nested(client: TradingClient) -> None:
    buy(client, 1, order_class="bracket", take_profit=TakeProfitRequest(limit_price=110), stop_loss=_stop_loss(90))
    assert len(client.get_orders(GetOrdersRequest(status="all"))) == 3
    (parent,) = client.get_orders(GetOrdersRequest(status="all", nested=True))
    assert len(parent.legs or []) == 2


def _stop_loss(price: float) -> StopLossRequest:
    return StopLossRequest(stop_price=price)


def test_activities_come_in_pages(market: MarketThread, client: TradingClient) -> None:
    for _ in range(3):
        buy(client, 1)
    market.advance(1)
    buy(client, 1)
    market.advance(1)
    pages, token = [], None
    while page := client.get("/account/activities/FILL", {"page_size": 2, "page_token": token, "direction": "asc"}):
        pages.append([a["id"] for a in page])
        token = pages[-1][-1]
    assert [len(p) for p in pages] == [2, 2]
    assert len({i for p in pages for i in p}) == 4
    assert client.get("/account/activities", {"activity_types": "DIV"}) == []
    assert len(client.get("/account/activities", {"date": "2024-03-08"})) == 4
    assert client.get("/account/activities", {"date": "2024-03-07"}) == []


def test_a_position_tells_its_newest_price_and_the_official_close_before(
    market: MarketThread, client: TradingClient
) -> None:
    buy(client, 10)
    market.advance(1)
    [position] = client.get_all_positions()
    assert (position.current_price, position.lastday_price) == ("100", "94")


def test_cash_that_moves_is_listed_beside_the_fills_and_in_the_account(
    market: MarketThread, client: TradingClient
) -> None:
    buy(client, 1)
    market.advance(1)
    moved = {"activity_type": "CSW", "amount": "-6000", "description": "to the bank"}
    market.control("activities", moved)
    market.control("activities", {"activity_type": "DIV", "amount": "1.25", "symbol": "ABC"})
    assert client.get_account().cash == str(D(100_000) - D("100.01") - 6000 + D("1.25"))
    listed = client.get("/account/activities", {"direction": "asc"})
    assert [a["activity_type"] for a in listed] == ["FILL", "CSW", "DIV"]
    cash = client.get("/account/activities", {"category": "non_trade_activity", "direction": "asc"})
    assert [(a["net_amount"], a["date"], a["description"]) for a in cash] == [
        ("-6000.00", "2024-03-08", "to the bank"),
        ("1.25", "2024-03-08", ""),
    ]
    assert [a["symbol"] for a in client.get("/account/activities/DIV")] == ["ABC"]
    assert len(client.get("/account/activities", {"activity_types": "FILL"})) == 1
    [first] = client.get("/account/activities", {"category": "non_trade_activity", "direction": "asc", "page_size": 1})
    rest = client.get("/account/activities", {"direction": "asc", "page_token": first["id"]})
    assert [a["activity_type"] for a in rest] == ["DIV"]


@pytest.mark.parametrize(
    "body", [{"activity_type": "CSW"}, {"amount": "1"}, {"activity_type": "FILL", "amount": "1"}, {"amount": "x"}]
)
def test_cash_that_makes_no_sense_is_not_moved(market: MarketThread, client: TradingClient, body: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        market.control("activities", body)
    caught.value.close()
    assert caught.value.code == 422
    assert client.get("/account/activities", {"category": "non_trade_activity"}) == []


@pytest.mark.vendor("TradingClient.get_portfolio_history")
def test_the_portfolio_history_follows_the_equity(market: MarketThread, client: TradingClient) -> None:
    buy(client, 100)
    market.go_to(at("09:42"))
    history = client.get_portfolio_history(GetPortfolioHistoryRequest(timeframe="1Min"))
    assert history.equity[-1] == 100_000 - 100 * 3.01
    assert history.profit_loss[-1] == -301
    assert history.timestamp[-1] == at("09:42") // SECOND


def test_the_portfolio_history_tells_the_cash_that_moved_and_the_hours_asked_for(
    market: MarketThread, client: TradingClient
) -> None:
    market.go_to(at("09:40"))
    market.control("activities", {"activity_type": "CSD", "amount": "250"})
    market.go_to(at("09:45"))
    request = GetPortfolioHistoryRequest(timeframe="5Min", period="1D", cashflow_types="ALL")
    history = client.get_portfolio_history(request)
    assert [as_utc(second * SECOND).minute for second in history.timestamp] == [35, 40, 45]
    assert {kind.value: amounts for kind, amounts in history.cashflow.items()} == {"CSD": [0.0, 250.0, 0.0]}
    assert client.get("/account/portfolio/history", {"timeframe": "1Min", "start": "2024-03-09"})["timestamp"] == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/account/portfolio/history", {"timeframe": "2Min"}),
        ("/account/portfolio/history", {"period": "soon"}),
        ("/account/portfolio/history", {"intraday_reporting": "never"}),
        ("/account/portfolio/history", {"pnl_reset": "never"}),
        ("/account/activities", {"page_token": "20240308143500000::nobody"}),
        ("/account/activities", {"category": "gifts"}),
        ("/account/activities", {"direction": "up"}),
        ("/account/activities", {"page_size": 101}),
        ("/orders", {"limit": 501}),
        ("/orders", {"status": "maybe"}),
        ("/calendar", {"start": "soon"}),
    ],
)
def test_a_question_that_cannot_be_meant_is_422(client: TradingClient, path: str, query: dict[str, Any]) -> None:
    with pytest.raises(APIError) as caught:
        client.get(path, query)
    assert (caught.value.status_code, caught.value.code) == (422, 40010001)


@pytest.mark.vendor("TradingClient.get_all_assets", "TradingClient.get_asset")
def test_assets_are_listed_and_found(client: TradingClient) -> None:
    assets = client.get_all_assets(GetAssetsRequest(status="active", asset_class="us_equity"))
    assert [a.symbol for a in assets] == ["ABC", "HLT", "PENY", "XYZ"]
    peny = client.get_asset("PENY")
    assert (peny.exchange.value, peny.shortable, peny.fractionable) == ("AMEX", False, False)
    assert client.get_asset(peny.id).symbol == "PENY"
    with pytest.raises(APIError) as caught:
        client.get_asset("NOPE")
    assert caught.value.status_code == 404


@pytest.mark.vendor("TradingClient.get_clock", "TradingClient.get_calendar")
def test_clock_and_calendar_are_the_markets(market: MarketThread, client: TradingClient) -> None:
    clock = client.get_clock()
    assert clock.is_open
    assert clock.timestamp.isoformat() == "2024-03-08T09:35:00-05:00"
    assert clock.next_close.isoformat() == "2024-03-08T16:00:00-05:00"
    assert clock.next_open.isoformat() == "2024-03-11T09:30:00-04:00"  # clocks went forward on Sunday
    days = client.get_calendar(GetCalendarRequest(start="2024-07-03", end="2024-07-05"))
    assert [(d.date.isoformat(), d.close.hour) for d in days] == [("2024-07-03", 13), ("2024-07-05", 16)]


def test_strangers_and_unknown_paths_get_the_vendors_json(market: MarketThread, client: TradingClient) -> None:
    stranger = TradingClient("who", "ever", url_override=market.url)
    with pytest.raises(APIError) as caught:
        stranger.get_account()
    assert (caught.value.status_code, caught.value.code) == (401, 40110000)
    for path in ("/clock/", "/nothing", "/watchlists/mine/too/deep"):
        with pytest.raises(APIError) as caught:
            client.get(path)
        assert (caught.value.status_code, caught.value.code) == (404, 40410000)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("not json", 400, 40010000),
        ("[]", 400, 40010000),
        ({}, 422, 40010001),
        ({"symbol": "ABC", "qty": "x", "side": "buy", "type": "market", "time_in_force": "day"}, 422, 40010001),
        (
            {"symbol": "ABC", "qty": 1, "notional": 1, "side": "buy", "type": "market", "time_in_force": "day"},
            422,
            40010001,
        ),
        ({"symbol": "ABC", "qty": 1, "side": "buy", "type": "dance", "time_in_force": "day"}, 422, 40010001),
        ({"symbol": 7, "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}, 422, 40010001),
    ],
)
def test_a_malformed_order_is_refused(market: MarketThread, body: Any, status: int, code: int) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    response = requests.post(f"{market.url}/v2/orders", data=raw, headers=headers, timeout=60)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_orders_of_each_time_in_force_end_as_the_vendor_ends_them(market_of: Any) -> None:
    market = market_of(starts_at=at("09:00"), ends_at=at("20:05"))
    client = client_of(market)

    def order(name: str, tif: str, limit: float | None = None, **more: Any) -> None:
        terms = {"symbol": "ABC", "qty": 1, "side": "buy", "time_in_force": tif, "client_order_id": name, **more}
        kind = MarketOrderRequest if limit is None else LimitOrderRequest
        client.submit_order(kind(**terms, **({} if limit is None else {"limit_price": limit})))

    def states() -> dict[str, str]:
        orders = client.get_orders(GetOrdersRequest(status="all"))
        return {o.client_order_id: o.status.value for o in orders}

    order("opening", "opg")
    order("closing", "cls", 120)
    order("missed", "opg", 90)
    order("day", "day", 90)
    order("evening", "day", 90, extended_hours=True)
    order("gtc", "gtc", 90)
    assert states().pop("evening") == "pending_new"  # it works before the open too
    assert {state for name, state in states().items() if name != "evening"} == {"accepted"}
    market.go_to(at("09:33"))
    assert states() == {
        "opening": "filled", "missed": "canceled", "closing": "new", "day": "new", "evening": "new", "gtc": "new",
    }  # fmt: skip
    assert client.get_order_by_client_id("opening").filled_avg_price == "100"  # the day's first print
    market.go_to(at("16:05"))
    assert states() == {
        "opening": "filled", "missed": "canceled", "closing": "filled", "day": "expired", "evening": "new", "gtc": "new",
    }  # fmt: skip
    assert (
        client.get_order_by_client_id("closing").filled_avg_price == "100"
    )  # the last trade, as nothing printed after
    expired = client.get_order_by_client_id("day")
    assert (expired.expired_at, expired.filled_qty) == (as_utc(at("16:00")), "0")
    market.go_to(at("20:01"))
    assert states()["evening"] == "expired"
    kept = client.get_order_by_client_id("gtc")
    assert (kept.status.value, kept.expires_at) == ("new", as_utc(at("16:15")) + timedelta(days=90))
    order("tomorrow", "day", 91)
    market.go_to(at("20:04"))
    assert states()["tomorrow"] == "accepted"


def test_binary_noise_in_a_price_is_no_sub_penny_price(client: TradingClient) -> None:
    order = client.submit_order(
        LimitOrderRequest(symbol="ABC", qty=1, side="buy", time_in_force="day", limit_price=1.1 * 3)
    )
    assert order.limit_price == "3.3"


def test_concurrent_requests_with_one_id_make_one_order(market: MarketThread) -> None:
    def send(_: int) -> str:
        try:
            return str(buy(client_of(market), 1, client_order_id="same").id)
        except APIError as e:
            return str(e.code)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(4)))
    assert answers.count("40010001") == 3
    assert len(client_of(market).get_orders(GetOrdersRequest(status="all"))) == 1


# --- faults


def test_an_error_500_leaves_no_order(market: MarketThread, client: TradingClient) -> None:
    market.control("faults/order_500", {"count": 1})
    with pytest.raises(APIError) as caught:
        buy(client, 1)
    assert caught.value.status_code == 500
    assert client.get_orders(GetOrdersRequest(status="all")) == []
    buy(client, 1)


def test_a_504_may_have_executed_the_order(market: MarketThread, client: TradingClient) -> None:
    market.control("faults/order_504_after", {"count": 1})
    with pytest.raises(APIError) as caught:
        buy(client, 1, client_order_id="late")
    assert caught.value.status_code == 504
    assert client.get_order_by_client_id("late").status.value == "pending_new"


def test_a_504_may_have_cancelled_and_an_error_500_of_a_question_is_its_only_answer(
    market: MarketThread, client: TradingClient
) -> None:
    order = client.submit_order(LimitOrderRequest(symbol="ABC", qty=1, side="buy", time_in_force="day", limit_price=1))
    market.control("faults/cancel_504_after", {"count": 1})
    with pytest.raises(APIError) as caught:
        client.cancel_order_by_id(order.id)
    assert caught.value.status_code == 504
    market.control("faults/read_500", {"count": 1})
    with pytest.raises(APIError) as caught:
        client.get_order_by_id(order.id)
    assert caught.value.status_code == 500
    market.advance(1)
    assert client.get_order_by_id(order.id).status.value == "canceled"


@pytest.mark.parametrize(("fault", "orders"), [("order_never", 0), ("order_never_after", 1)])
def test_an_order_may_never_be_answered(market: MarketThread, client: TradingClient, fault: str, orders: int) -> None:
    market.control(f"faults/{fault}", {"count": 1})
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    body = {"symbol": "ABC", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(f"{market.url}/v2/orders", json=body, headers=headers, timeout=0.3)
    assert len(client.get_orders(GetOrdersRequest(status="all"))) == orders


def test_above_its_request_rate_a_client_gets_429_with_the_vendors_headers(market_of: Any) -> None:
    market = market_of(options={"standing": True, "requests_per_minute": 3})
    client = client_of(market)
    for _ in range(3):
        client.get_clock()
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    response = requests.get(f"{market.url}/v2/clock", headers=headers, timeout=60)
    assert (response.status_code, response.json()["code"]) == (429, 42910000)
    assert response.headers["X-RateLimit-Limit"] == "3"
    assert response.headers["X-RateLimit-Remaining"] == "0"
    assert int(response.headers["X-RateLimit-Reset"]) > 0


def test_control_needs_the_token_a_local_host_and_no_foreign_origin(market: MarketThread) -> None:
    token = market.running.world.token
    address = f"{market.url}/_sim/clock"
    assert requests.get(address, timeout=60).status_code == 401
    assert requests.get(address, headers={"X-LIU-Token": token}, timeout=60).json()["market"] == at("09:35")
    foreign = {"X-LIU-Token": token, "Origin": "http://example.org"}
    assert requests.get(address, headers=foreign, timeout=60).status_code == 403
    renamed = {"X-LIU-Token": token, "Host": "market.example.org"}
    assert requests.get(address, headers=renamed, timeout=60).status_code == 403
    assert market.running.world.token_path.stat().st_mode & 0o777 == 0o600
