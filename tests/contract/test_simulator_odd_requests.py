"""Odd requests to the simulated market: an answer in the vendor's shape, whatever is asked."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from liualgotrader.simulator.market_loop import World
from liualgotrader.simulator.subscriptions import KEY_HEADER, SECRET_HEADER
from tests.fakes.simulated_market import KEY, SECRET, MarketThread, spec_of
from tests.fakes.tapes import at


def ask(market: MarketThread, path: str, body: bytes | None = None, **query: str) -> tuple[int, Any]:
    request = urllib.request.Request(f"{market.url}{path}?{urllib.parse.urlencode(query)}", data=body)
    request.add_header(KEY_HEADER, KEY)
    request.add_header(SECRET_HEADER, SECRET)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


@pytest.mark.parametrize(
    ("path", "header", "expected"),
    [
        ("/v2/account", b"APCA-API-KEY-ID: \xff", 401),
        ("/_sim/status", b"X-LIU-Token: \xff", 401),
        ("/_sim/status", b"Origin: http://[", 403),
        ("/_sim/status", b"Host: [", 403),
    ],
)
def test_a_header_that_cannot_be_read_is_refused_in_json(
    market: MarketThread, path: str, header: bytes, expected: int
) -> None:
    host = b"" if header.startswith(b"Host") else b"Host: 127.0.0.1\r\n"
    with socket.create_connection(("127.0.0.1", market.running.port), 10) as line:
        line.sendall(b"GET %b HTTP/1.1\r\n%bConnection: close\r\n%b\r\n\r\n" % (path.encode(), host, header))
        head, _, body = line.makefile("rb").read().partition(b"\r\n\r\n")
    assert int(head.split()[1]) == expected
    assert json.loads(body).keys() >= {"code", "message"}


@pytest.mark.parametrize("path", ["/v2/stocks/bars", "/v2/stocks/trades", "/v2/stocks/quotes"])
@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize("date", ["9999-12-31", "9999-12-31T23:59:59Z", "0001-01-01", "0001-01-01T00:00:00Z"])
def test_dates_at_the_ends_of_the_calendar_are_answered(market: MarketThread, path: str, name: str, date: str) -> None:
    when: dict[str, Any] = {name: date}
    for timeframe in ("1Min", "1Day", "1Month"):
        status, body = ask(market, path, symbols="ABC", timeframe=timeframe, **when)
        assert status == 200 and path.rpartition("/")[2] in body


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/v2/account/activities", {"date": "9999-12-31"}, 200),
        ("/v2/account/portfolio/history", {"end": "9999-12-31"}, 200),
        ("/v2/account/activities", {"page_size": "²"}, 422),
        ("/v2/orders", {"limit": "²"}, 422),
        ("/v2/orders", {"side": "hold"}, 422),
        ("/v2/orders", {"after": "2024-02-30"}, 422),
        ("/v2/stocks/bars", {"symbols": "ABC", "timeframe": "1Min", "limit": "²"}, 400),
    ],
)
def test_odd_parameters_are_answered_in_json(
    market: MarketThread, path: str, query: dict[str, Any], expected: int
) -> None:
    status, body = ask(market, path, **query)
    assert status == expected
    assert expected == 200 or set(body) >= {"code", "message"}


def test_a_body_nested_too_deep_is_a_bad_body(market: MarketThread) -> None:
    assert ask(market, "/v2/orders", b"[" * 100_000)[0] == 400


@pytest.mark.parametrize("quantity", ["1_000", " 1 ", "\u0661", "0x1"])
def test_a_quantity_that_only_python_can_read_is_refused(market: MarketThread, quantity: str) -> None:
    order = {"symbol": "ABC", "qty": quantity, "side": "buy", "type": "market", "time_in_force": "day"}
    assert ask(market, "/v2/orders", json.dumps(order).encode())[0] == 422


def test_a_bug_of_ours_looks_like_the_vendors_error(market: MarketThread, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: World) -> int:
        raise KeyError("a bug")

    monkeypatch.setattr(World, "now", property(broken))
    assert ask(market, "/v2/clock") == (500, {"code": 50010000, "message": "internal server error"})


def test_an_odd_lot_before_the_start_is_not_the_last_price() -> None:
    market = MarketThread(spec_of(starts_at=at("09:36:05")))
    try:
        trade = market.read(lambda running: running.world.exchange.last_trade("XYZ"))
        assert trade is not None and trade.price == 300.0
    finally:
        market.close()
