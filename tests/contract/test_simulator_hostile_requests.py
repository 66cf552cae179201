"""Whatever is sent to the simulated market is answered, never with a bug of ours, and a refusal changes no account."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from liualgotrader.simulator.subscriptions import KEY_HEADER, SECRET_HEADER
from tests.fakes.simulated_market import KEY, SECRET, MarketThread, spec_of

MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
NUMBERS = [
    "1e9999999999", "-1e9999999999", "1e-9999999999", "1E+400000", "9" * 5000, "0." + "0" * 5000 + "1", "1e15", "-0",
    "1e999999999999999999999", "NaN", "Infinity", "1_0", "²", "", " 1", "0x10", "1e", "+1", ".5", "5.", "1" * 64,
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(NUMBERS), st.text(max_size=20), st.just("A" * 3000), st.just("\0*%s../"))
VALUES: st.SearchStrategy[Any] = st.one_of(
    TEXTS, st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(allow_nan=False, allow_infinity=False),
    st.lists(TEXTS, max_size=2), st.dictionaries(TEXTS, st.integers(), max_size=2),
)  # fmt: skip
SANE = {
    "symbol": "ABC", "qty": "1", "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": "100",
}  # fmt: skip
FIELDS = [
    *SANE, "notional", "stop_price", "trail", "trail_price", "trail_percent", "client_order_id", "order_class", "take_profit",
    "stop_loss", "extended_hours", "position_intent",
]  # fmt: skip
LEGS = st.dictionaries(st.sampled_from(["limit_price", "stop_price"]), VALUES, max_size=2)
ORDERS = st.dictionaries(st.sampled_from(FIELDS), st.one_of(VALUES, LEGS), max_size=4).map(lambda odd: {**SANE, **odd})
PARAMETERS = [
    "limit", "page_size", "page_token", "start", "end", "after", "until", "date", "timeframe", "symbols", "sort", "status",
    "adjustment", "asof", "feed", "currency", "top", "by", "types", "ids", "ca_types", "since", "period", "intraday_reporting",
    "direction", "nested", "side", "qty", "percentage", "client_order_id", "after_order_id", "activity_types", "exchange",
]  # fmt: skip
READ = [
    "/v2/account", "/v2/account/activities", "/v2/account/portfolio/history", "/v2/orders", "/v2/orders/{}",
    "/v2/orders:by_client_order_id", "/v2/positions/{}", "/v2/assets", "/v2/assets/{}", "/v2/calendar", "/v2/stocks/bars",
    "/v2/stocks/trades", "/v2/stocks/quotes", "/v2/stocks/snapshots", "/v2/stocks/bars/latest", "/v2/stocks/trades/latest",
    "/v2/stocks/auctions", "/v2/stocks/{}/bars", "/v2/stocks/{}/trades/latest", "/v2/stocks/{}/snapshot", "/v1/corporate-actions", "/v2/corporate_actions/announcements", "/v1beta1/news", "/v2/watchlists/{}",
    "/v1beta1/screener/stocks/most-actives", "/v1beta1/screener/{}/movers", "/v2/corporate_actions/announcements/{}",
]  # fmt: skip


@pytest.fixture(scope="module")
def market() -> Iterator[MarketThread]:
    made = MarketThread(spec_of())
    yield made
    made.close()


def ask(market: MarketThread, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    line = http.client.HTTPConnection("127.0.0.1", market.running.port, timeout=10)
    try:
        line.request(method, path, body, {KEY_HEADER: KEY, SECRET_HEADER: SECRET})
        answer = line.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        line.close()


def books(market: MarketThread) -> Any:
    def look(running: Any) -> Any:
        exchange, account = running.world.exchange, running.world.account_id
        orders = exchange.orders(account, status="all", limit=10**6)
        return exchange.account(account), exchange.positions(account), orders, exchange.settings(account)

    return market.read(look)


def refused_or_done(market: MarketThread, method: str, path: str, body: bytes | None = None) -> int:
    before = books(market)
    status, said = ask(market, method, path, body)
    assert status < 500 or status == 501, (status, said)  # 501: what the market says that it does not serve
    if status >= 400:
        assert isinstance(said["message"], str) and said["message"] and "\n" not in said["message"], said
        assert books(market) == before
    return status


@MANY
@given(ORDERS)
def test_an_order_of_any_fields_is_taken_or_refused_in_a_sentence(market: MarketThread, order: dict[str, Any]) -> None:
    refused_or_done(market, "POST", "/v2/orders", json.dumps(order).encode())


@MANY
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3))
def test_a_replacement_of_any_terms_is_taken_or_refused_in_a_sentence(
    market: MarketThread, terms: dict[str, Any]
) -> None:
    status, order = ask(market, "POST", "/v2/orders", json.dumps(SANE).encode())
    if status == 200:
        refused_or_done(market, "PATCH", f"/v2/orders/{order['id']}", json.dumps(terms).encode())
        ask(market, "DELETE", "/v2/orders")


@MANY
@given(
    st.sampled_from([("DELETE", "/v2/positions/{}"), ("DELETE", "/v2/orders/{}"), *(("GET", path) for path in READ)]),
    TEXTS,
    st.dictionaries(st.sampled_from(PARAMETERS), TEXTS, max_size=3),
)
def test_a_path_and_parameters_of_any_text_are_answered(
    market: MarketThread, what: tuple[str, str], name: str, parameters: dict[str, str]
) -> None:
    usual = {"symbols": "ABC", "timeframe": "1Min"} if "stocks" in what[1] else {}
    query = urllib.parse.urlencode({**usual, **parameters}, errors="replace")
    path = what[1].format(urllib.parse.quote(name, safe="", errors="replace") or "x")
    refused_or_done(market, what[0], f"{path}?{query}")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 400, b'{"a":' * 900 + b"1" + b"}" * 900, b"[" * 300_000, b"{" * 10, b"9" * 5000, b'{"qty":1e9999999999}', b'"\\ud800"',
        b"\xff\xfe", b" " * (1 << 21), b'{"symbol":' + b"[" * 17 + b"]" * 17 + b"}",
    ],
    ids=range(10),
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("POST", "/v2/orders"), ("PATCH", "/v2/account/configurations")])
def test_a_body_that_cannot_be_read_is_refused_in_a_sentence(
    market: MarketThread, method: str, path: str, body: bytes
) -> None:
    assert 400 <= refused_or_done(market, method, path, body) < 500


SWITCHES = [
    "no_shorting",
    "suspend_trade",
    "fractional_trading",
    "max_margin_multiplier",
    "dtbp_check",
    "ptp_no_exception_entry",
]


@MANY
@given(
    st.one_of(
        st.tuples(st.just(("PATCH", "/v2/account/configurations")), st.dictionaries(st.sampled_from(SWITCHES), VALUES)),
        st.tuples(
            st.sampled_from([("POST", "/v2/watchlists"), ("POST", "/v2/watchlists/x"), ("PUT", "/v2/watchlists:by_name?name=x")]),
            st.dictionaries(st.sampled_from(["name", "symbols", "symbol"]), VALUES),
        ),
    )
)  # fmt: skip
def test_settings_and_lists_of_any_values_are_taken_or_refused_in_a_sentence(
    market: MarketThread, what: tuple[tuple[str, str], dict[str, Any]]
) -> None:
    (method, path), body = what
    refused_or_done(market, method, path, json.dumps(body).encode())
    usual = {"no_shorting": False, "suspend_trade": False, "fractional_trading": True, "max_margin_multiplier": "4"}
    assert ask(market, "PATCH", "/v2/account/configurations", json.dumps(usual).encode())[0] == 200


@MANY
@given(
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40),
    st.sampled_from([KEY_HEADER, SECRET_HEADER]),
)
def test_wrong_keys_of_any_text_are_refused(market: MarketThread, text: str, header: str) -> None:
    if text.strip() in (KEY, SECRET):
        return
    line = http.client.HTTPConnection("127.0.0.1", market.running.port, timeout=10)
    try:
        line.request("DELETE", "/v2/orders", None, {KEY_HEADER: KEY, SECRET_HEADER: SECRET} | {header: text})
        answer = line.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (401, 40110000)
    finally:
        line.close()


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"POST /v2/ord",
        b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{",
        b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"GET /v2/iex HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
    ],
)
def test_a_request_that_is_never_finished_holds_up_nobody(market: MarketThread, begun: bytes) -> None:
    keys = f"\r\n{KEY_HEADER}: {KEY}\r\n{SECRET_HEADER}: {SECRET}\r\n".encode()
    before = books(market)
    lines = [socket.create_connection(("127.0.0.1", market.running.port), 10) for _ in range(20)]
    try:
        for line in lines:
            line.sendall(begun.replace(b"\r\n", keys, 1))
        assert ask(market, "GET", "/v2/clock")[0] == 200
    finally:
        for line in lines:
            line.close()
    assert ask(market, "GET", "/v2/clock")[0] == 200
    assert books(market) == before


def test_a_client_that_does_not_read_its_answers_holds_up_nobody(market: MarketThread) -> None:
    address = "/v2/stocks/quotes?symbols=ABC&start=2024-03-08&limit=10000"
    request = f"GET {address} HTTP/1.1\r\nHost: x\r\n{KEY_HEADER}: {KEY}\r\n{SECRET_HEADER}: {SECRET}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", market.running.port), 10) as deaf:
        deaf.sendall(request * 50)
        for _ in range(20):
            assert ask(market, "GET", "/v2/clock")[0] == 200


# --- the streams -------------------------------------------------------------------------------------------

STREAMS = ["/v2/iex", "/v2/delayed_sip", "/v2/test", "/stream"]
NESTED = st.recursive(VALUES, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXTS, inside, max_size=3))
WORDS = st.sampled_from(["action", "key", "secret", "data", "trades", "quotes", "bars", "streams", "key_id"])
ACTIONS = st.sampled_from(["auth", "authenticate", "subscribe", "unsubscribe", "listen"])
MESSAGES = st.one_of(
    NESTED, st.builds(lambda action, odd: {**odd, "action": action}, ACTIONS | VALUES, st.dictionaries(WORDS, NESTED, max_size=4))
)  # fmt: skip
DEEP: list[bytes | str] = [
    "[" * 100_000, '{"action":' * 900 + "1" + "}" * 900, '{"action":"auth","key":' + "[" * 500 + "]" * 500 + "}",
    b"\x91" * 100_000, b"\x81\xa1a" * 900 + b"\x01", "9" * 5000, b"", "", b"\xc1", b"\xff\xff", '"\\ud800"', " " * (1 << 20) + "1",
]  # fmt: skip


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("language", ["json", "msgpack"])
@pytest.mark.parametrize("message", DEEP, ids=range(len(DEEP)))
def test_a_message_that_cannot_be_read_is_answered_on_every_stream(
    market: MarketThread, path: str, language: str, message: bytes | str
) -> None:
    answered(market, path, language, message)


@MANY
@given(st.sampled_from(STREAMS), st.sampled_from(["json", "msgpack"]), MESSAGES)
def test_a_message_of_any_content_is_answered_on_every_stream(
    market: MarketThread, path: str, language: str, message: Any
) -> None:
    try:
        packed = msgpack.packb(message) if language == "msgpack" else json.dumps(message)
    except (OverflowError, ValueError):  # no such integer in msgpack
        return
    answered(market, path, language, packed)


def answered(market: MarketThread, path: str, language: str, message: bytes | str) -> None:
    """Send a message and see an answer; then the next client is served as ever."""
    before = books(market)
    headers = {"Content-Type": "application/msgpack"} if language == "msgpack" else {}
    with connect(market.ws + path, additional_headers=headers, max_size=None) as line:
        if path != "/stream":
            line.recv(timeout=10)  # connected
        line.send(message)
        answer = line.recv(timeout=10)
        assert answer
    assert books(market) == before
    assert ask(market, "GET", "/v2/clock")[0] == 200


def test_a_message_of_megabytes_ends_its_connection_alone(market: MarketThread) -> None:
    with connect(f"{market.ws}/v2/iex") as neighbour, connect(f"{market.ws}/v2/iex") as line:
        for one in (neighbour, line):
            one.recv(timeout=10)
        with pytest.raises(ConnectionClosed):
            line.send("[" + "1," * (2 << 20) + "1]")
            line.recv(timeout=10)
        neighbour.send("{}")
        assert "invalid syntax" in str(neighbour.recv(timeout=10))
