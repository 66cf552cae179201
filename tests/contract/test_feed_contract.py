"""The stream against a server: both websocket libraries alike, and the vendor's own client as the judge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import ConfigError, DataUnavailable
from liualgotrader.common.events import Bar, MarketEvent, Quote, TradeTick
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.types import WSEventType
from liualgotrader.data.alpaca_feed import AlpacaFeed
from liualgotrader.data.alpaca_stream import AlpacaStream
from liualgotrader.data.frames_client import LIBRARIES
from liualgotrader.data.streaming_base import LineTimings, StreamHooks, StreamingAPI
from tests.fakes.vendor_stream import KEY, SECRET, TurnsClock, VendorStream, timestamp, vendor

AT = 1_709_908_200_123_456_000
TRADE = {"T": "t", "S": "AAPL", "i": 1, "x": "V", "p": 170.5, "s": 100, "c": ["@"], "z": "C", "t": timestamp(AT)}
QUOTE = {
    "T": "q", "S": "MSFT", "bx": "V", "bp": 1.5, "bs": 3, "ax": "N", "ap": 1.6, "as": 2, "c": ["R"], "z": "C",
    "t": timestamp(AT + 1000),
}  # fmt: skip
BAR = {
    "T": "b", "S": "AAPL", "o": 1.0, "h": 4.0, "l": 0.5, "c": 2.0, "v": 10, "n": 3, "vw": 1.75,
    "t": timestamp(AT - AT % MINUTE),
}  # fmt: skip
QUICK = LineTimings(handshake_seconds=30.0, mute_seconds=0.3, first_wait_seconds=0.01, longest_wait_seconds=0.02)


class Owner:
    """Who runs a stream: keeps what it hears."""

    def __init__(self, endpoints: Endpoints, library: str, pair: tuple[str, str] = (KEY, SECRET)) -> None:
        self.events: list[MarketEvent] = []
        self.frames: list[int] = []
        self.notices: list[str] = []
        self.connecting = 0
        self.market_open = True
        self.clock = TurnsClock()
        hooks = StreamHooks(
            connecting=self._connecting,
            notice=lambda level, text: self.notices.append(text),
            data_expected=lambda: self.market_open,
            headers={"X-LIU-Process": "producer"},
            timings=QUICK,
            library=library,
        )
        self.stream = AlpacaStream(endpoints, pair, self._take, self.clock, Random(1), hooks)
        self.task = asyncio.ensure_future(self.stream.run())

    def _connecting(self) -> None:
        self.connecting += 1

    def _take(self, events: list[MarketEvent], frames: int) -> None:
        self.events += events
        self.frames.append(frames)


@asynccontextmanager
async def stack(library: str, **server: Any) -> AsyncIterator[tuple[VendorStream, Owner]]:
    async with vendor() as market:
        for name, value in server.items():
            setattr(market, name, value)
        owner = Owner(market.endpoints, library)
        try:
            yield market, owner
        finally:
            await owner.stream.close()
            await asyncio.wait({owner.task}, timeout=60)
            assert owner.task.done(), "run goes on after close"


every_library = pytest.mark.parametrize("library", LIBRARIES)


@every_library
async def test_events_of_subscribed_symbols_arrive_in_order(library: str) -> None:
    async with stack(library) as (market, owner):
        await owner.stream.subscribe(["aapl", "MSFT"], [WSEventType.TRADE, WSEventType.QUOTE, WSEventType.MIN_AGG])
        await market.until(lambda: owner.stream.subscribed)
        await market.push(TRADE, QUOTE)
        await market.push(BAR)
        await market.until(lambda: len(owner.events) == 3)
        assert owner.events == [
            TradeTick("AAPL", AT, 170.5, 100.0, 7), Quote("MSFT", AT + 1000, 1.5, 3.0, 1.6, 2.0),
            Bar("AAPL", AT - AT % MINUTE, AT - AT % MINUTE + MINUTE, 1.0, 4.0, 0.5, 2.0, 10.0, 1.75, 3),
        ]  # fmt: skip
        assert market.carried["statuses"] == market.carried["updatedBars"] == {"AAPL", "MSFT"}
        assert owner.frames == [1, 2, 3, 4, 5], "every frame of the server counts, control frames too"


@every_library
async def test_the_handshake_asks_for_msgpack_and_names_the_process(library: str) -> None:
    async with stack(library) as (market, owner):
        await market.until(lambda: owner.stream.subscribed)
        assert market.handshakes[0]["content-type"] == "application/msgpack"
        assert market.handshakes[0]["x-liu-process"] == "producer"
        assert "sec-websocket-protocol" not in market.handshakes[0]


@every_library
async def test_a_cut_line_is_made_again_and_everything_subscribed_anew(library: str) -> None:
    async with stack(library) as (market, owner):
        await owner.stream.subscribe(["AAPL"], [WSEventType.TRADE])
        await market.until(lambda: owner.stream.subscribed)
        for times in (2, 3):
            market.cut()
            await market.until(lambda times=times: len(market.handshakes) == times and owner.stream.subscribed)
            assert market.carried["trades"] == {"AAPL"}
        assert owner.connecting == 3
        assert owner.frames == [1, 2, 3] * 3, "each connection counts its frames from one"
        await market.push(TRADE)
        await market.until(lambda: owner.events)
        assert owner.notices[-1] == "market data: connected again"


@every_library
async def test_a_line_that_falls_mute_is_given_up_and_made_again(library: str) -> None:
    async with stack(library, greet=False) as (market, owner):
        await market.until(lambda: market.handshakes)
        for connection in market._open:  # the server's machine hangs: it answers nothing, not even a ping
            connection.transport.pause_reading()
        market.greet = True
        await market.until(lambda: owner.stream.subscribed)
        assert len(market.handshakes) == 2


@every_library
async def test_a_quiet_line_that_answers_pings_is_kept(library: str) -> None:
    async with stack(library) as (market, owner):
        await market.until(lambda: owner.stream.subscribed)
        await owner.clock.sleep(QUICK.mute_seconds * 2.5)
        assert len(market.handshakes) == 1


@every_library
async def test_a_line_that_answers_pings_and_brings_no_data_is_made_again_while_the_market_is_open(
    library: str,
) -> None:
    async with stack(library) as (market, owner):
        await owner.stream.subscribe([f"S{i}" for i in range(20)], [WSEventType.TRADE])
        await market.until(lambda: owner.stream.subscribed)
        await market.until(lambda: len(market.handshakes) == 2 and owner.stream.subscribed)
        assert any("sent nothing for" in notice and "connecting again" in notice for notice in owner.notices)
        assert owner.stream.counters()["feed_mute"] == 1
        await market.push(TRADE)
        await market.until(lambda: owner.events)
        assert owner.notices[-1] == "market data: data arrives again"


@every_library
async def test_outside_market_hours_a_line_without_data_is_kept(library: str) -> None:
    async with stack(library) as (market, owner):
        owner.market_open = False
        await owner.stream.subscribe([f"S{i}" for i in range(20)], [WSEventType.TRADE])
        await market.until(lambda: owner.stream.subscribed)
        await owner.clock.sleep(QUICK.mute_seconds * 5)
        assert len(market.handshakes) == 1


@every_library
async def test_a_message_in_fragments_is_one_frame(library: str) -> None:
    import msgspec

    async with stack(library) as (market, owner):
        await market.until(lambda: owner.stream.subscribed)
        payload = msgspec.msgpack.encode([TRADE] * 2000)
        parts = [payload[i : i + 32_000] for i in range(0, len(payload), 32_000)]
        await market.push_raw(parts)
        await market.until(lambda: len(owner.events) == 2000)
        assert owner.frames[-1] == len(owner.frames) == 3


@every_library
async def test_a_wrong_key_ends_the_stream_with_one_sentence_and_no_secret(library: str) -> None:
    async with vendor() as market:
        owner = Owner(market.endpoints, library, pair=("wrong", "hidden-secret"))
        async with asyncio.timeout(60):
            with pytest.raises(ConfigError, match="correct APCA_API_KEY_ID") as error:
                await owner.task
        assert "hidden-secret" not in str(error.value)


@every_library
async def test_a_plan_without_this_feed_ends_the_stream_aloud(library: str) -> None:
    async with stack(library, auth_error=409) as (_, owner), asyncio.timeout(60):
        with pytest.raises(DataUnavailable, match="choose the feed `iex`"):
            await owner.task


@every_library
async def test_while_another_program_has_the_line_we_try_again_and_say_so_once(library: str) -> None:
    async with stack(library, auth_error=406) as (market, owner):
        await market.until(lambda: len(market.handshakes) >= 4)
        assert sum("another program" in text for text in owner.notices) == 1
        market.auth_error = 0
        await market.until(lambda: owner.stream.subscribed and owner.stream.counters()["connected"])


@every_library
async def test_over_the_symbol_limit_the_rest_is_named(library: str) -> None:
    async with stack(library, symbol_limit=3) as (market, owner):
        await market.until(lambda: owner.stream.subscribed)
        await owner.stream.subscribe(list("ABCDE"), [WSEventType.TRADE])
        await market.until(lambda: owner.stream.subscribed)
        assert set(owner.stream.symbols) == market.carried["trades"] == {"A", "B", "C"}
        assert any("allows no more symbols" in text and "not carried: D, E" in text for text in owner.notices)


@every_library
async def test_a_server_that_is_not_there_yet_is_tried_until_it_is(library: str) -> None:
    async with vendor() as market:
        endpoints = market.endpoints
    owner = Owner(endpoints, library)
    async with asyncio.timeout(60):
        while owner.connecting < 4:
            await asyncio.sleep(0.005)
    assert not owner.task.done()
    await owner.stream.close()
    await asyncio.wait_for(owner.task, 60)


async def test_there_is_one_stream_a_process_to_be_asked_for() -> None:
    async with stack("picows") as (_, owner):
        assert AlpacaStream.get_instance() is owner.stream
        assert StreamingAPI.get_instance() is owner.stream


@pytest.mark.parity(37)
async def test_the_vendors_own_client_and_ours_see_the_same_in_the_same_frames() -> None:
    """alpaca-py's StockDataStream, unmodified, beside AlpacaFeed on one server."""
    from alpaca.data.live import StockDataStream

    theirs: list[tuple[Any, ...]] = []

    async def on_trade(trade: Any) -> None:
        theirs.append(("t", trade.symbol, round(trade.timestamp.timestamp() * 1e6), trade.price, trade.size))

    async def on_quote(quote: Any) -> None:
        at = round(quote.timestamp.timestamp() * 1e6)
        theirs.append(("q", quote.symbol, at, quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size))

    async def on_bar(bar: Any) -> None:
        opened = round(bar.timestamp.timestamp() * 1e6)
        theirs.append(
            ("b", bar.symbol, opened, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap, bar.trade_count)
        )

    async with vendor() as market:
        client = StockDataStream(KEY, SECRET, url_override=market.endpoints.stream_url)
        client.subscribe_trades(on_trade, "AAPL")
        client.subscribe_quotes(on_quote, "MSFT")
        client.subscribe_bars(on_bar, "AAPL")
        running = asyncio.ensure_future(client._run_forever())
        await market.until(lambda: market.carried["trades"])
        feed = AlpacaFeed(KEY, SECRET)
        ours: list[tuple[Any, ...]] = []
        import msgspec

        for number in range(40):
            messages = [{**TRADE, "p": 170 + number, "t": timestamp(AT + number * 1000)}, QUOTE, BAR]
            await market.push(*messages)
            ours += [_as_theirs(event) for event in feed.receive(msgspec.msgpack.encode(messages))]
        await market.until(lambda: len(theirs) == 120)
        await client.stop_ws()
        await asyncio.wait({running}, timeout=60)
        running.cancel()
    assert ours == theirs


def _as_theirs(event: MarketEvent) -> tuple[Any, ...]:
    match event:
        case TradeTick():
            return ("t", event.symbol, event.at // 1000, event.price, event.size)
        case Quote():
            return ("q", event.symbol, event.at // 1000, event.bid, event.bid_size, event.ask, event.ask_size)
        case Bar(opened_at=at):
            return (
                "b",
                event.symbol,
                at // 1000,
                event.open,
                event.high,
                event.low,
                event.close,
                event.volume,
                event.vwap,
                event.count,
            )
    raise AssertionError(event)
