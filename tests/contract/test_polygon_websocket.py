"""Polygon's websocket of the simulated market through the unmodified WebSocketClient, and raw where that cannot say it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from polygon import WebSocketClient
from polygon.exceptions import AuthError
from polygon.websocket.models import EquityAgg, EquityQuote, EquityTrade
from websockets.exceptions import ConnectionClosedError

from liualgotrader.common.clock import MILLISECOND
from tests.fakes.simulated_market import SECRET, MarketThread
from tests.fakes.tapes import at

MarketOf = Callable[..., MarketThread]


def ms(text: str) -> int:
    return at(text) // MILLISECOND


def client_of(market: MarketThread, *subscriptions: str, key: str = SECRET, **options: Any) -> WebSocketClient:
    address = market.ws.removeprefix("ws://")
    return WebSocketClient(
        key, feed=address, market="stocks", secure=False, subscriptions=list(subscriptions), **options
    )


class Heard:
    """A running client, and what it heard."""

    def __init__(self, client: WebSocketClient) -> None:
        self.client = client
        self.messages: list[Any] = []
        self.task = asyncio.ensure_future(client.connect(self._take))

    async def _take(self, messages: Any) -> None:
        self.messages += messages

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(client: WebSocketClient) -> AsyncIterator[Heard]:
    heard = Heard(client)
    try:
        yield heard
    finally:
        if client.websocket is not None:
            await client.close()  # `connect` returns then
        await asyncio.wait({heard.task}, timeout=5)
        heard.task.cancel()
        await asyncio.wait({heard.task})


def carried(market: MarketThread) -> dict[str, set[str]]:
    """Return what the newest connection is subscribed to."""
    return market.read(lambda r: dict(r.world.data.members[-1].session.symbols) if r.world.data.members else {})


async def go_on(market: MarketThread, seconds: float) -> None:
    await asyncio.to_thread(market.advance, seconds)


@pytest.mark.vendor("WebSocketClient.connect")
async def test_all_four_kinds_have_the_vendors_fields_and_units(market: MarketThread) -> None:
    async with running(client_of(market, "T.ABC", "Q.ABC", "A.ABC", "AM.ABC")) as heard:
        await heard.until(
            lambda: all(carried(market).get(c) == {"ABC"} for c in ("trades", "quotes", "seconds", "bars"))
        )
        await go_on(market, 60)
        await heard.until(lambda: any(m.event_type == "AM" for m in heard.messages))
        trade = next(m for m in heard.messages if isinstance(m, EquityTrade))
        assert (trade.symbol, trade.price, trade.size, trade.exchange, trade.tape) == ("ABC", 100.0, 200, 12, 3)
        assert (trade.timestamp, trade.id, trade.sequence_number) == (ms("09:35") + 500, "301", 301)
        assert trade.conditions == [0]
        quote = next(m for m in heard.messages if isinstance(m, EquityQuote))
        assert (quote.bid_price, quote.ask_price, quote.bid_size, quote.condition) == (99.99, 100.01, 500, 0)
        assert (quote.timestamp, quote.sequence_number) == (ms("09:35"), 301)
        seconds = [m for m in heard.messages if m.event_type == "A"]
        assert [m.start_timestamp for m in seconds] == [ms("09:35") + n * 1000 for n in range(60)]
        assert {m.end_timestamp - m.start_timestamp for m in seconds} == {1000}
        assert [m.accumulated_volume for m in seconds] == [60_000 + 200 * n for n in range(1, 61)]
        [minute] = [m for m in heard.messages if isinstance(m, EquityAgg) and m.event_type == "AM"]
        assert (minute.start_timestamp, minute.end_timestamp) == (ms("09:35"), ms("09:36"))
        assert (minute.volume, minute.accumulated_volume, minute.official_open_price) == (12_000, 72_000, 100.0)
        assert (minute.vwap, minute.aggregate_vwap, minute.average_size) == (100.0, 100.0, 200)


@pytest.mark.vendor("WebSocketClient.subscribe")
@pytest.mark.vendor("WebSocketClient.unsubscribe")
@pytest.mark.vendor("WebSocketClient.unsubscribe_all")
@pytest.mark.vendor("WebSocketClient.close")
async def test_subscriptions_come_and_go_on_a_running_connection(market: MarketThread) -> None:
    async with running(client_of(market, "T.ABC")) as heard:
        await heard.until(lambda: carried(market).get("trades") == {"ABC"})
        heard.client.subscribe("T.XYZ", "AM.*")
        heard.client.unsubscribe("T.ABC")
        await heard.until(lambda: (carried(market)["trades"], carried(market)["bars"]) == ({"XYZ"}, {"*"}))
        await go_on(market, 60)
        await heard.until(lambda: len([m for m in heard.messages if m.event_type == "AM"]) == 4)
        assert {m.symbol for m in heard.messages if m.event_type == "T"} == {"XYZ"}
        assert [m.symbol for m in heard.messages if m.event_type == "AM"] == ["ABC", "HLT", "PENY", "XYZ"]
        heard.client.unsubscribe_all()
        await heard.until(lambda: not any(carried(market).values()))
        await heard.client.close()
        await asyncio.wait_for(heard.task, 60)
        async with asyncio.timeout(60):
            while carried(market):
                await asyncio.sleep(0.005)


@pytest.mark.vendor("WebSocketClient.run")
@pytest.mark.parametrize("options", [{}, {"polygon_plan": "free"}])
def test_a_wrong_key_and_a_plan_without_the_stream_end_in_the_clients_own_error(
    market_of: MarketOf, options: dict[str, Any]
) -> None:
    client = client_of(market_of(options={"standing": True, **options}), key=SECRET if options else "wrong")
    sentence = "Your plan doesn't include websocket access." if options else "authentication failed"
    with pytest.raises(AuthError, match=sentence):
        client.run(lambda messages: None)


async def test_a_second_connection_over_the_limit_is_turned_away(market_of: MarketOf) -> None:
    market = market_of(options={"standing": True, "connection_limit": 1})
    async with running(client_of(market, "T.ABC")) as heard:
        await heard.until(lambda: carried(market).get("trades") == {"ABC"})
        async with raw(market) as (say, hear):
            assert await hear() == [status("connected", "Connected Successfully")]
            await say(action="auth", params=SECRET)
            assert await hear() == [status("max_connections", "Maximum number of websocket connections exceeded.")]
            assert await hear() == 1008
        with pytest.raises(ConnectionClosedError):  # as the vendor's client reads it, once it has tried again in vain
            await client_of(market, "T.ABC", max_reconnects=1).connect(heard._take)


@pytest.mark.vendor("WebSocketClient.connect")
async def test_after_a_break_the_client_gets_what_it_had_subscribed_to(market: MarketThread) -> None:
    async with running(client_of(market, "T.ABC")) as heard:
        await heard.until(lambda: carried(market).get("trades") == {"ABC"})
        before = market.read(lambda r: r.world.data.members[-1])
        await asyncio.to_thread(market.control, "faults/drop_websockets")
        await heard.until(lambda: market.read(lambda r: before not in r.world.data.members))
        await heard.until(lambda: carried(market).get("trades") == {"ABC"})
        await go_on(market, 1)
        await heard.until(lambda: len(heard.messages) == 1)


async def test_a_client_that_does_not_keep_up_is_told_so_and_cut_off(market_of: MarketOf) -> None:
    market = market_of(options={"standing": True, "outgoing_limit_bytes": 2000})
    async with raw(market) as (say, hear):
        await hear()
        await say(action="auth", params=SECRET)
        await hear()
        await say(action="subscribe", params="T.*,Q.*")
        assert await hear() == [status("success", "subscribed to: T.*")]
        assert await hear() == [status("success", "subscribed to: Q.*")]
        await asyncio.to_thread(market.call, _burst(market))
        assert (await hear())[0]["status"] == "slow_consumer"
        assert await hear() == 1008


async def _burst(market: MarketThread) -> None:
    """Play an hour in one go, more than the limit in one piece."""
    market.running.loop.play(at("10:29"))


async def test_every_name_is_answered_by_itself_and_what_is_not_served_is_refused(market: MarketThread) -> None:
    async with raw(market) as (say, hear):
        await hear()
        await say(action="subscribe", params="T.ABC")
        assert await hear() == [status("auth_required", "authenticate first")]
        await say(action="auth", params=SECRET)
        assert await hear() == [status("auth_success", "authenticated")]
        await say(action="subscribe", params="T.ABC, LULD.ABC,AM.abc,T")
        assert await hear() == [status("success", "subscribed to: T.ABC")]
        for name in ("LULD.ABC", "AM.abc", "T"):
            text = f"{name} is not served; there are T, Q, A and AM of a symbol or of *"
            assert await hear() == [status("error", text)]
        await say(action="unsubscribe", params="T.ABC")
        assert await hear() == [status("success", "unsubscribed to: T.ABC")]
        for odd in ({"action": "dance"}, {"action": "subscribe", "params": 7}, {"action": ["auth"]}):
            await say(**odd)
            assert (await hear())[0]["status"] == "error"


def status(word: str, text: str) -> dict[str, str]:
    return {"ev": "status", "status": word, "message": text}


@asynccontextmanager
async def raw(market: MarketThread) -> AsyncIterator[tuple[Any, Any]]:
    """Give what sends a message, and what returns the next frame, or the close code of a connection that has ended."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{market.ws}/stocks") as socket:

        async def say(**message: Any) -> None:
            await socket.send_str(json.dumps(message))

        async def hear() -> Any:
            message = await asyncio.wait_for(socket.receive(), 60)
            return json.loads(message.data) if message.type is aiohttp.WSMsgType.TEXT else socket.close_code

        yield say, hear
