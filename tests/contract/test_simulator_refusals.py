"""What the vendor refuses, the simulated market refuses with the same HTTP status and code; what it takes, is taken.

Source: Alpaca's documents on orders, account protection and errors (as of 2026-09).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import GetOrdersRequest

from tests.fakes.simulated_market import KEY, SECRET, MarketThread, spec_of
from tests.fakes.tapes import at

HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
BUY: dict[str, Any] = {"symbol": "ABC", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
LIMIT = {**BUY, "type": "limit", "limit_price": "90"}
BRACKET = {"order_class": "bracket", "take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "90"}}


def send(market: MarketThread, body: Any, method: str = "POST", path: str = "/v2/orders") -> tuple[int, Any]:
    response = requests.request(method, f"{market.url}{path}", json=body, headers=HEADERS, timeout=60)
    return response.status_code, response.json() if response.content else None


# --- types, classes and times in force


@pytest.fixture(scope="module")
def before_the_open() -> Iterator[MarketThread]:
    market = MarketThread(spec_of(starts_at=at("09:20")))
    yield market
    market.close()


TIMES = ("day", "gtc", "opg", "cls", "ioc", "fok")
COMBINATIONS = """
    market        simple   yes yes yes yes yes yes
    limit         simple   yes yes yes yes yes yes
    stop          simple   yes yes -   -   -   -
    stop_limit    simple   yes yes -   -   -   -
    trailing_stop simple   yes yes -   -   -   -
    market        bracket  yes yes -   -   -   -
    limit         bracket  yes yes -   -   -   -
    market        oto      yes yes -   -   -   -
    limit         oto      yes yes -   -   -   -
    trailing_stop bracket  -   -   -   -   -   -
    trailing_stop oto      -   -   -   -   -   -
    market        fraction yes -   -   -   -   -
    limit         fraction yes -   -   -   -   -
    stop          fraction yes -   -   -   -   -
    stop_limit    fraction yes -   -   -   -   -
    trailing_stop fraction -   -   -   -   -   -
    market        notional yes -   -   -   -   -
    limit         extended yes yes -   -   -   -
    market        extended -   -   -   -   -   -
    stop          extended -   -   -   -   -   -
"""
PRICES: dict[str, dict[str, str]] = {
    "market": {},
    "limit": {"limit_price": "100"},
    "stop": {"stop_price": "101"},
    "stop_limit": {"stop_price": "101", "limit_price": "102"},
    "trailing_stop": {"trail_percent": "5"},
}
SHAPES: dict[str, dict[str, Any]] = {
    "simple": {},
    "bracket": BRACKET,
    "oto": {"order_class": "oto", "stop_loss": {"stop_price": "90"}},
    "fraction": {"qty": "1.5"},
    "notional": {"qty": None, "notional": "50.25"},
    "extended": {"extended_hours": True},
}


@pytest.mark.parametrize("line", COMBINATIONS.strip().splitlines(), ids=lambda line: "-".join(line.split()[:2]))
def test_types_classes_and_times_in_force_combine_as_the_vendor_documents(
    before_the_open: MarketThread, line: str
) -> None:
    type_, shape, *answers = line.split()
    for tif, answer in zip(TIMES, answers, strict=True):
        order = {**BUY, "type": type_, "time_in_force": tif, **PRICES[type_], **SHAPES[shape]}
        status, said = send(before_the_open, order)
        assert status == (200 if answer == "yes" else 422), (tif, said)
        if status == 200:
            waits = "pending_new" if shape == "extended" else "accepted"
            assert (said["type"], said["time_in_force"], said["status"]) == (type_, tif, waits)
    send(before_the_open, None, "DELETE")


# --- refusals of orders. The account is long 10 ABC and short 10 XYZ, an order to sell 4 ABC at 120 and one to buy HLT work


@pytest.fixture(scope="module")
def market() -> Iterator[MarketThread]:
    made = MarketThread(spec_of())
    for order in ({**BUY, "qty": "10"}, {**BUY, "symbol": "XYZ", "side": "sell", "qty": "10"}):
        assert send(made, order)[0] == 200
    made.go_to(at("09:35:30"))
    for order in (
        {**LIMIT, "side": "sell", "qty": "4", "limit_price": "120"},
        {**LIMIT, "symbol": "HLT", "limit_price": "40"},
    ):
        assert send(made, order)[0] == 200
    made.go_to(at("09:36"))
    yield made
    made.close()


REFUSALS: list[tuple[dict[str, Any], int, int, str]] = [
    # section: the form
    ({**BUY, "qty": None}, 422, 40010001, "qty"),
    ({**BUY, "notional": "5"}, 422, 40010001, "qty"),
    ({**BUY, "symbol": ""}, 422, 40010001, "symbol"),
    ({**BUY, "side": "hold"}, 422, 40010001, "side"),
    ({**BUY, "type": "dance"}, 422, 40010001, "type"),
    ({**BUY, "time_in_force": "soon"}, 422, 40010001, "time_in_force"),
    ({**BUY, "order_class": "mleg"}, 422, 40010001, "order_class"),
    ({**BUY, "position_intent": "maybe"}, 422, 40010001, "position_intent"),
    ({**BUY, "extended_hours": "NaN"}, 422, 40010001, "extended_hours"),
    ({**BUY, "client_order_id": "x" * 129}, 422, 40010001, "client_order_id"),
    ({**BUY, "qty": "0"}, 422, 42210000, "qty must be > 0"),
    ({**BUY, "qty": "-1"}, 422, 42210000, "qty must be > 0"),
    ({**BUY, "qty": None, "notional": "10.125"}, 422, 42210000, "2 decimals"),
    ({**BUY, "qty": None, "notional": "0.99"}, 422, 40010001, "notional must be >= 1.00"),
    ({**BUY, "limit_price": "1"}, 422, 42210000, "market orders require no stop or limit price"),
    ({**BUY, "type": "limit"}, 422, 42210000, "limit_price"),
    ({**BUY, "type": "stop"}, 422, 42210000, "stop_price"),
    ({**BUY, "type": "trailing_stop"}, 422, 42210000, "trail"),
    ({**BUY, "type": "trailing_stop", "trail_price": "1", "trail_percent": "1"}, 422, 42210000, "trail"),
    ({**BUY, "order_class": "bracket"}, 422, 42210000, "take_profit"),
    ({**BUY, "order_class": "oto"}, 422, 42210000, "oto"),
    ({**BUY, "stop_loss": {"stop_price": "90"}}, 422, 42210000, "simple"),
    # the asset and its prices
    ({**BUY, "symbol": "NOPE"}, 422, 42210000, 'asset "NOPE" not found'),
    ({**BUY, "symbol": "PENY", "qty": "1.5"}, 422, 42210000, "not fractionable"),
    ({**LIMIT, "limit_price": "90.123"}, 422, 42210000, "sub-penny"),
    ({**LIMIT, "limit_price": "0.50001"}, 422, 42210000, "sub-penny"),
    ({**BUY, "type": "stop", "stop_price": "110.001"}, 422, 42210000, "sub-penny"),
    ({**BUY, "type": "stop", "stop_price": "90"}, 422, 42210000, "stop price must be greater than current price"),
    ({**BUY, "side": "sell", "type": "stop", "stop_price": "110"}, 422, 42210000, "stop price must be less than"),
    ({**BUY, **BRACKET, "stop_loss": {"stop_price": "100"}}, 422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01"),
    ({**BUY, **BRACKET, "take_profit": {"limit_price": "100"}}, 422, 42210000, "take_profit.limit_price must be"),
    ({**BUY, **BRACKET, "stop_loss": {"stop_price": "90.001"}}, 422, 42210000, "sub-penny"),
    # the session
    ({**BUY, "extended_hours": True}, 422, 42210000, "extended hours order must be DAY or GTC limit orders"),
    ({**BUY, "qty": "1.5", "time_in_force": "gtc"}, 422, 42210000, "fractional orders must be DAY orders"),
    ({**BUY, **BRACKET, "qty": "1.5"}, 422, 42210000, "fractional orders must be simple orders"),
    ({**BUY, "time_in_force": "opg"}, 422, 42210000, "opg"),
    # what the account holds
    ({**BUY, "side": "sell", "qty": "7"}, 403, 40310000, "insufficient qty available for order (requested: 7, available: 6)"),
    ({**BUY, "symbol": "XYZ", "qty": "11"}, 403, 40310000, "insufficient qty available"),
    ({**BUY, "side": "sell", "position_intent": "sell_to_open"}, 422, 42210000, "position intent mismatch"),
    ({**BUY, "symbol": "PENY", "side": "sell"}, 422, 42210000, "cannot be sold short"),
    ({**BUY, "symbol": "HLT", "side": "sell"}, 403, 40310000, "cannot open a short sell while a long buy order is open"),
    ({**BUY, "symbol": "XYZ", "side": "sell", "qty": "0.5"}, 422, 42210000, "fractional orders cannot be sold short"),
    ({**BUY, "qty": "1"}, 403, 40310000, "potential wash trade detected"),
    ({**LIMIT, "limit_price": "120"}, 403, 40310000, "potential wash trade detected"),
    # its money
    ({**LIMIT, "qty": "100000"}, 403, 40310000, "insufficient buying power"),
    ({**LIMIT, "qty": "0.001"}, 403, 40310000, "cost basis must be >= minimal amount of order 1"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "words"), REFUSALS, ids=range(len(REFUSALS)))
def test_an_order_is_refused_with_the_vendors_status_and_code(
    market: MarketThread, body: dict[str, Any], status: int, code: int, words: str
) -> None:
    before = market.read(lambda r: r.world.exchange.account(r.world.account_id))
    found, said = send(market, body)
    assert (found, said.get("code")) == (status, code), said
    assert words in said["message"]
    assert market.read(lambda r: r.world.exchange.account(r.world.account_id)) == before


def test_a_refusal_brings_the_figures_that_it_is_about(market: MarketThread) -> None:
    _, shares = send(market, {**BUY, "side": "sell", "qty": "7"})
    [selling] = TradingClient(KEY, SECRET, url_override=market.url).get_orders(GetOrdersRequest(symbols=["ABC"]))
    assert {name: shares[name] for name in ("available", "existing_qty", "held_for_orders", "related_orders", "symbol")} == {
        "available": "6", "existing_qty": "10", "held_for_orders": "4", "related_orders": [str(selling.id)], "symbol": "ABC",
    }  # fmt: skip
    _, money = send(market, {**LIMIT, "qty": "100000"})
    assert (money["cost_basis"], money["symbol"]) == ("9000000.00", "ABC")
    assert float(money["buying_power"]) > 0
    _, wash = send(market, {**BUY, "qty": "1"})
    assert (wash["existing_order_id"], wash["reject_reason"]) == (str(selling.id), "opposite side market order exists")
    _, stop = send(market, {**BUY, "type": "stop", "stop_price": "90"})
    assert (stop["market_price"], stop["stop_price"]) == ("100.00", "90.00")


def test_a_market_order_in_a_halt_is_refused(market_of: Any) -> None:
    market = market_of(starts_at=at("09:45:30"))
    status, said = send(market, {**BUY, "symbol": "HLT"})
    assert (status, said["code"]) == (422, 42210000)
    assert "trading halt" in said["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/orders/{}"),
        ("PATCH", "/v2/orders/{}"),
        ("DELETE", "/v2/orders/{}"),
        ("GET", "/v2/orders:by_client_order_id?client_order_id={}"),
        ("GET", "/v2/positions/{}"),
        ("DELETE", "/v2/positions/{}"),
        ("GET", "/v2/assets/{}"),
        ("GET", "/v2/watchlists/{}"),
        ("GET", "/v2/corporate_actions/announcements/{}"),
        ("GET", "/v2/{}"),
    ],
)
def test_what_is_not_there_is_404(market: MarketThread, method: str, path: str) -> None:
    body = {"qty": "1"} if method == "PATCH" else None
    status, said = send(market, body, method, path.format("3f2504e0-4f89-11d3-9a0c-0305e82c3301"))
    assert (status, said["code"]) == (404, 40410000)


@pytest.mark.parametrize("path", ["/v2/account", "/v2/stocks/bars?symbols=ABC", "/v1beta1/news", "/v2/watchlists"])
def test_wrong_and_missing_keys_are_401(market: MarketThread, path: str) -> None:
    for headers in ({}, {**HEADERS, "APCA-API-SECRET-KEY": "wrong"}, {"Authorization": "Bearer none"}):
        response = requests.get(f"{market.url}{path}", headers=headers, timeout=60)
        assert (response.status_code, response.json()["code"]) == (401, 40110000)


REPLACEMENTS: list[tuple[dict[str, Any], int, int, str]] = [
    ({}, 422, 42210000, "order parameters are not changed"),
    ({"limit_price": "40"}, 422, 42210000, "order parameters are not changed"),
    ({"qty": "0"}, 422, 42210000, "qty must be > 0"),
    ({"qty": "1.5"}, 422, 42210000, "whole shares"),
    ({"limit_price": "90.001"}, 422, 42210000, "sub-penny"),
    ({"stop_price": "110"}, 422, 42210000, "stop_price"),
    ({"trail": "1"}, 422, 42210000, "trail"),
    ({"time_in_force": "ioc"}, 422, 40010001, "time_in_force"),
    ({"qty": "NaN"}, 422, 40010001, "qty must be a number"),
    ({"qty": "100000"}, 403, 40310000, "insufficient buying power"),
]


@pytest.mark.parametrize(("terms", "status", "code", "words"), REPLACEMENTS, ids=range(len(REPLACEMENTS)))
def test_a_replacement_is_refused_with_the_vendors_status_and_code(
    market: MarketThread, terms: dict[str, Any], status: int, code: int, words: str
) -> None:
    orders = TradingClient(KEY, SECRET, url_override=market.url).get_orders(GetOrdersRequest(symbols=["HLT"]))
    found, said = send(market, terms, "PATCH", f"/v2/orders/{orders[0].id}")
    assert (found, said["code"]) == (status, code), said
    assert words in said["message"]


def test_an_order_that_has_ended_or_is_on_its_way_is_not_replaced_or_cancelled(market_of: Any) -> None:
    market = market_of()
    _, order = send(market, {**LIMIT, "client_order_id": "one"})
    path = f"/v2/orders/{order['id']}"
    early = send(market, {"limit_price": "91"}, "PATCH", path)
    assert (early[0], early[1]["code"]) == (422, 40010001)
    assert "isn't sent to exchange yet" in early[1]["message"]
    market.advance(1)
    replaced = send(market, {"limit_price": "91"}, "PATCH", path)[1]
    assert (replaced["id"] != order["id"], replaced["replaces"]) == (True, order["id"])
    assert (
        "cannot replace order in pending_replace status"
        in send(market, {"limit_price": "92"}, "PATCH", path)[1]["message"]
    )
    assert send(market, None, "DELETE", path)[1]["message"] == "order pending replace"
    market.advance(1)
    assert send(market, {"limit_price": "92"}, "PATCH", path)[1]["message"] == "order already replaced"
    newer = f"/v2/orders/{replaced['id']}"
    assert send(market, None, "DELETE", newer) == (204, None)
    assert "order pending cancel" in send(market, {"limit_price": "92"}, "PATCH", newer)[1]["message"]
    market.advance(1)
    assert send(market, {"limit_price": "92"}, "PATCH", newer)[0] == 422
    assert send(market, None, "DELETE", newer) == (204, None)  # cancelling again is no error
    again = send(market, {**LIMIT, "client_order_id": "one"})  # an id stays taken after its order
    assert (again[0], again[1]["code"], again[1]["message"]) == (422, 40010001, "client_order_id must be unique")
    _, filled = send(market, BUY)
    market.advance(1)
    late = send(market, None, "DELETE", f"/v2/orders/{filled['id']}")
    assert (late[0], late[1]["code"], late[1]["message"]) == (422, 42210000, 'order is already in "filled" state')
