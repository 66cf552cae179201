"""Every client of ours stays at the address that was checked: a redirect is not followed, by whatever status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from liualgotrader.common.clock import WallClock
from liualgotrader.common.errors import BrokerUnreachable, DataUnavailable
from liualgotrader.common.orders import OrderIntent, OrderType, Side
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.data.alpaca_data import AlpacaData
from liualgotrader.data.frames_client import LIBRARIES, FramesClient, LineSettings
from liualgotrader.trading.alpaca_broker import AlpacaBroker

every_redirect = pytest.mark.parametrize("status", [301, 302, 303, 307, 308])


class Redirecting:
    """Two servers on this machine: the first sends everybody to the second, which is another host to every client."""

    def __init__(self, status: int) -> None:
        self.status, self.asked, self.followed = status, 0, 0
        self.port = self.other = 0

    async def __aenter__(self) -> Redirecting:
        self._elsewhere = await asyncio.start_server(self._follow, "127.0.0.1", 0)
        self.other = self._elsewhere.sockets[0].getsockname()[1]
        self._server = await asyncio.start_server(self._redirect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._elsewhere.close()

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(30):
            while self.asked < times:
                await asyncio.sleep(0.005)

    async def _redirect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        scheme = b"ws" if b"websocket" in head.lower() else b"http"
        place = scheme + b"://localhost:%d/v2/elsewhere" % self.other
        writer.write(b"HTTP/1.1 %d There\r\nLocation: %s\r\nContent-Length: 2\r\n\r\n{}" % (self.status, place))
        await writer.drain()
        writer.close()

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.followed += 1
        writer.close()

    @property
    def endpoints(self) -> Endpoints:
        rest, stream = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}"
        return Endpoints(rest, rest, f"{stream}/v2/sip", f"{stream}/stream", loopback=False)


def _order() -> OrderIntent:
    return OrderIntent(
        client_order_id="liu-0b5e7a4e0000-1-1", slot=1, strategy="Test", symbol="ABC", side=Side.BUY, quantity=Decimal(1),
        type=OrderType.MARKET, decided_at=0, valid_until=0,
    )  # fmt: skip


CALLS: list[Callable[[AlpacaBroker], Any]] = [
    lambda broker: broker.submit(_order()),
    lambda broker: broker.cancel("an-id"),
    lambda broker: broker.account(),
]


@every_redirect
@pytest.mark.parametrize("call", CALLS, ids=["POST", "DELETE", "GET"])
async def test_an_order_is_not_sent_where_a_redirect_points(status: int, call: Callable[[AlpacaBroker], Any]) -> None:
    async with Redirecting(status) as server:
        broker = AlpacaBroker(server.endpoints, "key", "secret", timeout_seconds=5.0)
        with pytest.raises(BrokerUnreachable, match="TooManyRedirects"):
            await call(broker)
        await broker.close()
        assert (server.asked, server.followed) == (1, 0)


@every_redirect
async def test_history_is_not_asked_where_a_redirect_points(status: int) -> None:
    async with Redirecting(status) as server:
        data = AlpacaData(server.endpoints, "key", "secret", feed="sip", timeout_seconds=5.0, tries=1)
        for ask in (lambda: data.snapshots(["ABC"]), data.tradable_symbols):
            with pytest.raises(DataUnavailable, match="TooManyRedirects"):
                await ask()
        await data.close()
        assert (server.asked, server.followed) == (2, 0)


@every_redirect
async def test_the_order_stream_does_not_go_where_a_redirect_points(status: int) -> None:
    async with Redirecting(status) as server:
        broker = AlpacaBroker(server.endpoints, "key", "secret", timeout_seconds=5.0)
        async with _in_background(anext(broker.updates())):
            await server.until_asked(1)
            await server.until_asked(2)  # the first answer was dealt with
        await broker.close()
        assert server.followed == 0


@every_redirect
@pytest.mark.parametrize("library", LIBRARIES)
async def test_the_data_stream_does_not_go_where_a_redirect_points(status: int, library: str) -> None:
    async with Redirecting(status) as server:
        line = LineSettings(server.endpoints.stream_url, lambda frame: None)
        client = FramesClient(line, WallClock(), Random(0), library)
        async with _in_background(client.run()):
            await server.until_asked(2)
            client.close()
        assert server.followed == 0


@asynccontextmanager
async def _in_background(what: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(what)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
