"""What a proxy, or a vendor in trouble, answers with status 200: never taken for a bug of ours."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from liualgotrader.common.errors import BadData
from liualgotrader.common.orders import OrderIntent, OrderType, ReplaceIntent, Side
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.trading.alpaca_broker import AlpacaBroker

ORDER = OrderIntent("liu-0-1-1", 1, "alpha", "AAPL", Side.BUY, Decimal(1), OrderType.MARKET, 0, 0)
QUESTIONS: dict[str, Callable[[AlpacaBroker], Awaitable[object]]] = {
    "submit": lambda broker: broker.submit(ORDER),
    "replace": lambda broker: broker.replace("an-id", ReplaceIntent("liu-0-1-1", 1, 0), "liu-0-1-1-r1"),
    "order_by_client_id": lambda broker: broker.order_by_client_id("liu-0-1-1"),
    "orders": lambda broker: broker.orders(since=1),
    "open orders": lambda broker: broker.orders(since=1, open_only=True),
    "executions": lambda broker: broker.executions(since=1),
    "positions": lambda broker: broker.positions(),
    "account": lambda broker: broker.account(),
    "clock": lambda broker: broker.clock(),
}


class Vendor(ThreadingHTTPServer):
    """Answers everything with status 200 and one body."""

    body = b""


class _Answer(BaseHTTPRequestHandler):
    server: Vendor

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def broker(vendor: Vendor) -> AlpacaBroker:
    url = f"http://127.0.0.1:{vendor.server_port}"
    return AlpacaBroker(Endpoints(url, url, "", "", loopback=True), "key", "secret", timeout_seconds=5.0)


@pytest.mark.parametrize("body", [b"", b"null", b'"maintenance"', b"{}", b'{"message": "maintenance"}', b"[1]"])
async def test_an_answer_of_another_form_is_bad_data(vendor: Vendor, broker: AlpacaBroker, body: bytes) -> None:
    vendor.body = body
    for name, ask in QUESTIONS.items():
        with pytest.raises(BadData):
            await ask(broker)
            pytest.fail(f"{name} took {body!r} for an answer")
    await broker.close()


async def test_an_empty_answer_to_a_bulk_cancel_takes_nothing_back(vendor: Vendor, broker: AlpacaBroker) -> None:
    assert await broker.cancel_all() == []
    vendor.body = b'{"message": "maintenance"}'
    with pytest.raises(BadData):
        await broker.cancel_all()
    await broker.close()
