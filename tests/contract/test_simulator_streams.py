"""Both streams through the unmodified alpaca-py clients, and through a raw websocket where these cannot say it."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import urllib.error
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
import msgpack
import pytest
from alpaca.data.enums import DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.data.requests import StockLatestTradeRequest, StockSnapshotRequest, StockTradesRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest
from alpaca.trading.stream import TradingStream

from liualgotrader.common.clock import SECOND, as_utc, instant
from tests.fakes.simulated_market import KEY, SECRET, MarketThread
from tests.fakes.tapes import at

WAIT = 60.0


class StreamThread:
    """One of alpaca-py's streams in a thread of its own; what its handlers get lies in `got`."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.got: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=stream.run, daemon=True)

    async def take(self, message: Any) -> None:
        self.got.put(message)

    def start(self) -> None:
        self._thread.start()

    def next(self) -> Any:
        return self.got.get(timeout=WAIT)

    def collect(self, count: int) -> list[Any]:
        return [self.next() for _ in range(count)]

    def stop(self) -> None:
        self.stream.stop()

    def join(self) -> None:
        self._thread.join(60)


@pytest.fixture
def in_thread(market: MarketThread) -> Iterator[Callable[[Any], StreamThread]]:
    made: list[StreamThread] = []

    def make(stream: Any) -> StreamThread:
        made.append(StreamThread(stream))
        return made[-1]

    yield make
    for thread in made:
        thread.stop()
    market.control("faults/drop_websockets")  # else the vendor's client looks up to 5 s later that it was stopped
    for thread in made:
        thread.join()


def data_stream(market: MarketThread, **options: Any) -> StockDataStream:
    return StockDataStream(KEY, SECRET, feed=DataFeed.IEX, url_override=f"{market.ws}/v2/iex", **options)


def trading_stream(market: MarketThread, **options: Any) -> TradingStream:
    return TradingStream(KEY, SECRET, paper=True, url_override=f"{market.ws}/stream", **options)


def wait_for(market: MarketThread, look: Callable[[Any], bool]) -> None:
    """Return once something is true in the market's loop."""

    async def poll() -> None:
        while not look(market.running.world):
            await asyncio.sleep(0.01)

    market.call(asyncio.wait_for(poll(), WAIT))


def subscribed(channel: str, symbol: str) -> Callable[[Any], bool]:
    return lambda world: any(symbol in s.session.symbols[channel] for s in world.data.members)


def listening(world: Any) -> bool:
    return any(x.listens for x in world.updates.members)


@pytest.mark.vendor(
    "StockDataStream.subscribe_trades",
    "StockDataStream.subscribe_quotes",
    "StockDataStream.run",
    "StockDataStream.stop",
)
def test_trades_and_quotes_arrive_as_the_clients_models(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(data_stream(market))
    client.stream.subscribe_trades(client.take, "ABC")
    client.stream.subscribe_quotes(client.take, "ABC")
    client.start()
    wait_for(market, subscribed("quotes", "ABC"))
    market.go_to(at("09:35:01"))
    quote, trade = client.collect(2)
    assert (quote.symbol, quote.bid_price, quote.bid_size, quote.ask_price) == ("ABC", 99.99, 500, 100.01)
    assert (trade.symbol, trade.price, trade.size, trade.conditions) == ("ABC", 100.0, 200, ["@"])
    assert instant(trade.timestamp) == at("09:35") + SECOND // 2
    assert isinstance(trade.id, int)


@pytest.mark.vendor("StockDataStream.subscribe_bars")
def test_a_minutes_bar_is_sent_right_after_the_minute_and_is_the_sum_of_its_trades(
    market: MarketThread, in_thread: Any
) -> None:
    client = in_thread(data_stream(market))
    client.stream.subscribe_bars(client.take, "ABC", "XYZ")
    client.start()
    wait_for(market, subscribed("bars", "XYZ"))
    market.go_to(at("09:36"))
    abc, xyz = client.collect(2)
    assert (abc.symbol, instant(abc.timestamp)) == ("ABC", at("09:35"))
    assert (abc.open, abc.high, abc.low, abc.close, abc.vwap) == (100, 100, 100, 100, 100)
    assert (abc.volume, abc.trade_count) == (60 * 200, 60)
    assert (xyz.volume, xyz.trade_count) == (6 * 200, 6)
    market.go_to(at("09:37"))
    xyz = client.collect(2)[1]
    assert (xyz.high, xyz.volume, xyz.trade_count) == (300, 6 * 200 + 7, 7)


@pytest.mark.vendor("StockDataStream.subscribe_daily_bars")
def test_the_running_daily_bar_comes_each_minute_under_new_yorks_midnight(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(data_stream(market))
    client.stream.subscribe_daily_bars(client.take, "ABC")
    client.start()
    wait_for(market, subscribed("dailyBars", "ABC"))
    market.go_to(at("09:36"))
    day = client.next()
    assert instant(day.timestamp) == at("00:00")
    assert day.volume == 6 * 60 * 200


@pytest.mark.vendor("StockDataStream.subscribe_trading_statuses")
def test_a_halt_is_told(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(data_stream(market))
    client.stream.subscribe_trading_statuses(client.take, "HLT")
    client.start()
    wait_for(market, subscribed("statuses", "HLT"))
    market.go_to(at("09:47"))
    halt, resumption = client.collect(2)
    assert (halt.symbol, halt.status_code, halt.reason_code) == ("HLT", "H", "T1")
    assert resumption.status_code == "T"


def test_raw_data_carries_the_timestamp_extension(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(data_stream(market, raw_data=True))
    client.stream.subscribe_trades(client.take, "*")
    client.start()
    wait_for(market, subscribed("trades", "*"))
    market.go_to(at("09:35:01"))
    by_symbol = {raw["S"]: raw for raw in client.collect(4)}
    assert set(by_symbol) == {"ABC", "XYZ", "HLT", "PENY"}
    assert by_symbol["ABC"]["t"] == msgpack.Timestamp.from_unix_nano(at("09:35") + SECOND // 2)


def test_subscriptions_change_while_the_stream_runs(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(data_stream(market))
    client.stream.subscribe_trades(client.take, "XYZ")
    client.start()
    wait_for(market, subscribed("trades", "XYZ"))
    client.stream.subscribe_trades(client.take, "ABC")
    client.stream.unsubscribe_trades("XYZ")
    wait_for(market, lambda w: not subscribed("trades", "XYZ")(w))
    market.go_to(at("09:35:02"))
    assert [t.symbol for t in client.collect(2)] == ["ABC", "ABC"]


@pytest.mark.vendor(
    "StockDataStream.unsubscribe_trades",
    "StockDataStream.unsubscribe_quotes",
    "StockDataStream.unsubscribe_bars",
    "StockDataStream.unsubscribe_updated_bars",
    "StockDataStream.unsubscribe_daily_bars",
    "StockDataStream.unsubscribe_trading_statuses",
)
def test_every_channel_can_be_left_again(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(data_stream(market))
    stream = client.stream
    stream.subscribe_trades(client.take, "XYZ")
    pairs = [
        (stream.subscribe_trades, stream.unsubscribe_trades, "trades"),
        (stream.subscribe_quotes, stream.unsubscribe_quotes, "quotes"),
        (stream.subscribe_bars, stream.unsubscribe_bars, "bars"),
        (stream.subscribe_updated_bars, stream.unsubscribe_updated_bars, "updatedBars"),
        (stream.subscribe_daily_bars, stream.unsubscribe_daily_bars, "dailyBars"),
        (stream.subscribe_trading_statuses, stream.unsubscribe_trading_statuses, "statuses"),
    ]
    for subscribe, _, _ in pairs:
        subscribe(client.take, "ABC")
    client.start()
    for _, unsubscribe, channel in pairs:
        wait_for(market, subscribed(channel, "ABC"))
        unsubscribe("ABC")
        wait_for(market, partial(_is_not, subscribed(channel, "ABC")))
    assert subscribed("trades", "XYZ")(market.running.world)


def _is_not(look: Callable[[Any], bool], world: Any) -> bool:
    return not look(world)


@pytest.mark.vendor(
    "StockDataStream.register_trade_corrections",
    "StockDataStream.register_trade_cancels",
    "StockDataStream.subscribe_updated_bars",
)
def test_a_print_is_corrected_and_cancelled_and_its_minute_told_anew(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(data_stream(market))
    client.stream.subscribe_trades(client.take, "XYZ")
    client.stream.register_trade_corrections(client.take)
    client.stream.register_trade_cancels(client.take)
    client.stream.subscribe_updated_bars(client.take, "XYZ")
    market.go_to(at("09:36"))
    client.start()
    wait_for(market, subscribed("updatedBars", "XYZ"))
    market.control("corrections", {"symbol": "XYZ", "id": 31, "price": 310.5, "size": 50})  # the first after 09:35
    correction, updated = client.collect(2)
    assert (correction.symbol, correction.original_id, correction.corrected_id) == ("XYZ", 31, 31)
    assert (correction.original_price, correction.original_size) == (300.0, 200)
    assert (correction.corrected_price, correction.corrected_size) == (310.5, 50)
    assert (instant(updated.timestamp), updated.open, updated.high) == (at("09:35"), 310.5, 310.5)
    assert (updated.volume, updated.trade_count) == (5 * 200 + 50, 6)
    market.control("corrections", {"symbol": "XYZ", "id": 36})  # the last of the minute
    cancel, updated = client.collect(2)
    assert (cancel.id, cancel.price, cancel.size, cancel.action) == (36, 300.0, 200, "C")
    assert (updated.volume, updated.trade_count) == (4 * 200 + 50, 5)
    history = StockHistoricalDataClient(KEY, SECRET, url_override=market.url, raw_data=True)
    request = StockTradesRequest(symbol_or_symbols="XYZ", start=as_utc(at("09:35")))
    told = {trade["i"]: trade.get("u") for trade in history.get_stock_trades(request)["XYZ"]}
    assert told == {31: "corrected", 32: None, 33: None, 34: None, 35: None, 36: "canceled"}
    latest = history.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="XYZ"))["XYZ"]
    assert latest["i"] == 35
    assert (
        history.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="XYZ"))["XYZ"]["dailyBar"]["v"]
        == 34 * 200 + 50
    )


def test_a_day_whose_prints_are_all_cancelled_has_no_last_price(market: MarketThread) -> None:
    for number in range(1, 31):
        market.control("corrections", {"symbol": "XYZ", "id": number})
    history = StockHistoricalDataClient(KEY, SECRET, url_override=market.url, raw_data=True)
    assert history.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="XYZ")) == {}
    snapshot = history.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="XYZ"))["XYZ"]
    assert (snapshot["latestTrade"], snapshot["minuteBar"], snapshot["dailyBar"]) == (None, None, None)
    market.go_to(at("09:35:01"))
    assert history.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="XYZ"))["XYZ"]["i"] == 31


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"symbol": "XYZ", "id": 0},
        {"symbol": "XYZ", "id": 10**9},
        {"symbol": "XYZ", "id": 1, "size": 5},
        {"symbol": "NO", "id": 1},
    ],
)
def test_a_print_that_has_not_been_is_not_corrected(market: MarketThread, body: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        market.control("corrections", body)
    caught.value.close()
    assert caught.value.code == 422


def test_the_test_stream_trades_its_one_symbol_at_any_time(market: MarketThread, in_thread: Any) -> None:
    stream = StockDataStream(KEY, SECRET, feed=DataFeed.IEX, url_override=f"{market.ws}/v2/test")
    client = in_thread(stream)
    client.stream.subscribe_trades(client.take, "FAKEPACA")
    client.stream.subscribe_quotes(client.take, "*")
    client.stream.subscribe_bars(client.take, "FAKEPACA")
    client.start()
    wait_for(market, lambda world: any("FAKEPACA" in s.session.symbols["bars"] for s in world.practice.hub.members))
    market.go_to(at("09:37"))
    got = client.collect(2 * 120 + 2)
    kinds = [type(one).__name__ for one in got]
    assert (kinds.count("Trade"), kinds.count("Quote"), kinds.count("Bar")) == (120, 120, 2)
    assert {one.symbol for one in got} == {"FAKEPACA"}
    minute = [t for t in got if type(t).__name__ == "Trade" and instant(t.timestamp) < at("09:36")]
    before, bar = [one for one in got if type(one).__name__ == "Bar"]
    assert (instant(before.timestamp), instant(bar.timestamp)) == (at("09:34"), at("09:35"))
    assert (bar.open, bar.close, bar.volume) == (minute[0].price, minute[-1].price, sum(t.size for t in minute))
    assert (bar.high, bar.low) == (max(t.price for t in minute), min(t.price for t in minute))


def test_the_delayed_stream_sends_a_quarter_of_an_hour_later(market: MarketThread, in_thread: Any) -> None:
    stream = StockDataStream(KEY, SECRET, feed=DataFeed.SIP, url_override=f"{market.ws}/v2/delayed_sip")
    client = in_thread(stream)
    client.stream.subscribe_trades(client.take, "XYZ")
    client.start()
    wait_for(market, subscribed("trades", "XYZ"))
    market.go_to(at("09:50"))
    assert client.got.empty()
    market.go_to(at("09:50:05"))
    first = client.next()
    assert (instant(first.timestamp), client.got.empty()) == (at("09:35") + SECOND // 2, True)


@pytest.mark.vendor("StockDataStream.stop_ws", "StockDataStream.close", "TradingStream.stop_ws", "TradingStream.close")
@pytest.mark.parametrize("kind", [data_stream, trading_stream])
def test_a_stream_that_its_client_stops_or_closes_is_forgotten(market: MarketThread, kind: Any) -> None:
    async def conversation() -> None:
        for end in ("stop_ws", "close"):
            stream = kind(market)
            stream._running = True
            await stream._start_ws()  # connects and authenticates, as run() does before it listens
            world = market.running.world
            members = world.updates.members if kind is trading_stream else world.data.members
            assert len(members) == 1
            if end == "stop_ws":
                await stream.stop_ws()
            await stream.close()
            while members:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(conversation(), WAIT))


def test_six_thousand_symbols_in_fragments_are_one_subscription(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(data_stream(market))
    client.stream.subscribe_trades(client.take, *(f"S{n:04d}" for n in range(6000)), "ABC")
    client.start()
    wait_for(market, subscribed("trades", "ABC"))
    assert market.read(lambda r: len(r.world.data.members[0].session.symbols["trades"])) == 6001


def test_a_dropped_data_stream_comes_back_and_subscribes_again(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(data_stream(market))
    client.stream.subscribe_trades(client.take, "ABC")
    client.start()
    wait_for(market, subscribed("trades", "ABC"))
    market.control("faults/drop_websockets")
    wait_for(market, lambda w: not w.data.members)
    wait_for(market, subscribed("trades", "ABC"))
    market.go_to(at("09:35:01"))
    assert client.next().symbol == "ABC"


@pytest.mark.vendor("TradingStream.subscribe_trade_updates", "TradingStream.run", "TradingStream.stop")
def test_order_updates_come_in_the_order_of_the_states(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(trading_stream(market))
    client.stream.subscribe_trade_updates(client.take)
    client.start()
    wait_for(market, listening)
    trading = TradingClient(KEY, SECRET, paper=True, url_override=market.url)
    order = trading.submit_order(MarketOrderRequest(symbol="ABC", qty=700, side="buy", time_in_force="day"))
    market.go_to(at("09:41"))
    updates = client.collect(4)
    assert [getattr(u.event, "value", u.event) for u in updates] == ["pending_new", "new", "partial_fill", "fill"]
    assert {u.order.id for u in updates} == {order.id}
    assert [u.order.status.value for u in updates] == ["pending_new", "new", "partially_filled", "filled"]
    last = updates[-1]
    assert (last.price, last.qty, last.position_qty) == (97.01, 200, 700)
    assert last.execution_id != updates[-2].execution_id
    assert last.timestamp < datetime(2024, 3, 8, 14, 41, tzinfo=UTC)


def test_a_cancel_is_told_on_the_order_stream(market: MarketThread, in_thread: Any) -> None:
    client = in_thread(trading_stream(market, raw_data=True))
    client.stream.subscribe_trade_updates(client.take)
    client.start()
    wait_for(market, listening)
    trading = TradingClient(KEY, SECRET, paper=True, url_override=market.url)
    order = trading.submit_order(
        LimitOrderRequest(symbol="ABC", qty=1, side="buy", time_in_force="day", limit_price=90)
    )
    market.advance(1)
    trading.cancel_order_by_id(order.id)
    market.advance(1)
    updates = [m["data"] for m in client.collect(4)]
    assert [u["event"] for u in updates] == ["pending_new", "new", "pending_cancel", "canceled"]
    numbers = [number_of_ulid(u["event_id"]) for u in updates]
    assert numbers == [1, 2, 3, 4]
    assert all(isinstance(u["order"]["qty"], str) for u in updates)


def number_of_ulid(ulid: str) -> int:
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    assert len(ulid) == 26
    return sum(digits.index(c) << 5 * i for i, c in enumerate(reversed(ulid))) & (1 << 80) - 1


# --- what only a raw client can say


class Raw:
    """A websocket that speaks JSON text."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def say(self, message: Any) -> None:
        await self._socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def hear(self) -> Any:
        received = await self._socket.receive(timeout=WAIT)
        assert received.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), received
        return json.loads(received.data)

    async def closes(self) -> int:
        received = await self._socket.receive(timeout=WAIT)
        assert received.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), received
        return int(self._socket.close_code or 0)

    async def enter(self) -> None:
        assert await self.hear() == [{"T": "success", "msg": "connected"}]
        await self.say({"action": "auth", "key": KEY, "secret": SECRET})
        assert await self.hear() == [{"T": "success", "msg": "authenticated"}]


def talk(market: MarketThread, path: str, what: Callable[[Raw], Any], **options: Any) -> Any:
    """Run a conversation with the market on a loop of this thread."""

    async def conversation() -> Any:
        async with aiohttp.ClientSession() as session, session.ws_connect(market.ws + path, **options) as socket:
            return await what(Raw(socket))

    return asyncio.run(asyncio.wait_for(conversation(), WAIT))


def test_without_the_msgpack_header_the_stream_speaks_json(market: MarketThread) -> None:
    async def conversation(raw: Raw) -> Any:
        await raw.enter()
        await raw.say({"action": "subscribe", "trades": ["ABC"], "bars": ["*"]})
        state = await raw.hear()
        await asyncio.to_thread(market.go_to, at("09:35:01"))
        return state, await raw.hear()

    state, frame = talk(market, "/v2/sip", conversation)
    assert state == [
        {
            "T": "subscription",
            "trades": ["ABC"],
            "quotes": [],
            "bars": ["*"],
            "updatedBars": [],
            "dailyBars": [],
            "statuses": [],
            "lulds": [],
            "corrections": ["ABC"],
            "cancelErrors": ["ABC"],
        }
    ]
    assert frame[0]["t"] == "2024-03-08T14:35:00.5Z"
    assert (frame[0]["T"], frame[0]["S"], frame[0]["i"]) == ("t", "ABC", 301)


@pytest.mark.parametrize(
    ("messages", "codes"),
    [
        (["{"], [400]),
        ([{"action": "dance"}], [400]),
        ([{"action": "subscribe", "trades": ["ABC"]}], [401]),
        ([{"action": "auth", "key": KEY, "secret": SECRET}, {"action": "auth", "key": "x"}], [0, 403]),
        ([{"action": "auth", "key": KEY, "secret": SECRET}, {"action": "subscribe", "trades": "ABC"}], [0, 400]),
        ([{"action": "auth", "key": KEY, "secret": SECRET}, {"action": "subscribe", "news": ["*"]}], [0, 410]),
    ],
)
def test_a_wrong_message_is_answered_with_its_code(market: MarketThread, messages: list[Any], codes: list[int]) -> None:
    async def conversation(raw: Raw) -> list[int]:
        await raw.hear()
        heard = []
        for message in messages:
            await raw.say(message)
            heard.append((await raw.hear())[0].get("code", 0))
        return heard

    assert talk(market, "/v2/iex", conversation) == codes


def test_a_price_band_is_told(market: MarketThread) -> None:
    async def conversation(raw: Raw) -> Any:
        await raw.enter()
        await raw.say({"action": "subscribe", "lulds": ["ABC"]})
        await raw.hear()
        await asyncio.to_thread(market.control, "lulds", {"symbol": "ABC", "up": 105, "down": 95})
        return await raw.hear()

    assert talk(market, "/v2/sip", conversation) == [
        {"T": "l", "S": "ABC", "u": 105.0, "d": 95.0, "i": "B", "z": "C", "t": "2024-03-08T14:35:00Z"}
    ]


@pytest.mark.parametrize("path", ["/v1beta1/boats", "/v2/otc", "/v1beta3/crypto/us"])
def test_a_stream_that_is_not_served_is_404(market: MarketThread, path: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        talk(market, path, lambda raw: raw.hear())
    assert caught.value.status == 404


def test_wrong_keys_are_told_and_the_connection_ends(market: MarketThread) -> None:
    async def conversation(raw: Raw) -> Any:
        await raw.hear()
        await raw.say({"action": "auth", "key": KEY, "secret": "wrong"})
        return await raw.hear(), await raw.closes()

    assert talk(market, "/v2/iex", conversation) == ([{"T": "error", "code": 402, "msg": "auth failed"}], 1008)


def test_keys_in_the_handshake_authenticate(market: MarketThread) -> None:
    async def conversation(raw: Raw) -> list[Any]:
        return [await raw.hear(), await raw.hear()]

    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    heard = talk(market, "/v2/iex", conversation, headers=headers)
    assert heard[1] == [{"T": "success", "msg": "authenticated"}]


def test_a_second_connection_is_refused_where_one_is_allowed(market_of: Callable[..., MarketThread]) -> None:
    market = market_of(options={"standing": True, "connection_limit": 1, "symbol_limit": 2})

    async def second(raw: Raw) -> Any:
        await raw.hear()
        await raw.say({"action": "auth", "key": KEY, "secret": SECRET})
        return await raw.hear()

    async def first(raw: Raw) -> Any:
        await raw.enter()
        await raw.say({"action": "subscribe", "trades": ["A", "B", "C"]})
        too_many = await raw.hear()
        return too_many, await asyncio.to_thread(talk, market, "/v2/iex", second)

    too_many, refused = talk(market, "/v2/iex", first)
    assert too_many[0]["code"] == 405
    assert refused[0]["code"] == 406


def test_a_client_that_does_not_read_is_cut_off_with_407(market_of: Callable[..., MarketThread]) -> None:
    market = market_of(options={"standing": True, "outgoing_limit_bytes": 2000})

    async def conversation(raw: Raw) -> Any:
        await raw.enter()
        await raw.say({"action": "subscribe", "trades": ["ABC"]})
        await raw.hear()
        await asyncio.to_thread(market.call, _burst(market))
        return await raw.hear(), await raw.closes()

    heard, code = talk(market, "/v2/iex", conversation)
    assert (heard[0]["code"], code) == (407, 1008)


async def _burst(market: MarketThread) -> None:
    """Play an hour in one go, more than the limit in one piece."""
    market.running.loop.play(at("10:29"))


def test_orders_streams_answer_as_the_vendor_does(market: MarketThread) -> None:
    async def conversation(raw: Raw) -> list[Any]:
        heard = []
        for message in (
            {"action": "listen", "data": {"streams": ["trade_updates"]}},
            {"action": "authenticate", "data": {"key_id": KEY, "secret_key": "wrong"}},
            {"action": "auth", "key": KEY, "secret": SECRET},
            {"action": "listen", "data": {"streams": ["trade_updates", "account_updates"]}},
            {"action": "listen", "data": {"streams": []}},
        ):
            await raw.say(message)
            heard.append(await raw.hear())
        return heard

    heard = talk(market, "/stream", conversation)
    assert [h["data"] for h in heard] == [
        {"status": "unauthorized", "action": "listen"},
        {"status": "unauthorized", "action": "authenticate"},
        {"status": "authorized", "action": "auth"},
        {"streams": ["trade_updates"]},
        {"streams": []},
    ]


@pytest.mark.parametrize(
    ("options", "headers", "kind"),
    [
        ({}, {}, aiohttp.WSMsgType.BINARY),
        ({"updates_frames": "text"}, {}, aiohttp.WSMsgType.TEXT),
        ({}, {"Content-Type": "application/msgpack"}, aiohttp.WSMsgType.BINARY),
    ],
)
def test_order_updates_come_as_paper_or_live_accounts_send_them(
    market_of: Callable[..., MarketThread], options: dict[str, Any], headers: dict[str, str], kind: aiohttp.WSMsgType
) -> None:
    market = market_of(options={"standing": True} | options)

    async def conversation() -> aiohttp.WSMessage:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{market.ws}/stream", headers=headers) as ws:
            await ws.send_json({"action": "auth", "key": KEY, "secret": SECRET})
            return await ws.receive(timeout=WAIT)

    answer = asyncio.run(conversation())
    decode = msgpack.unpackb if headers else json.loads
    assert answer.type == kind
    assert decode(answer.data)["data"]["status"] == "authorized"


def test_a_mute_market_keeps_its_sockets_and_says_nothing(market: MarketThread) -> None:
    async def conversation(raw: Raw) -> Any:
        await raw.enter()
        await raw.say({"action": "subscribe", "trades": ["ABC"]})
        await raw.hear()
        await asyncio.to_thread(market.control, "faults/mute", {"on": True})
        await asyncio.to_thread(market.go_to, at("09:35:10"))
        await asyncio.to_thread(market.control, "faults/mute", {"on": False})
        await asyncio.to_thread(market.go_to, at("09:35:11"))
        return await raw.hear()

    assert talk(market, "/v2/iex", conversation)[0]["t"] == "2024-03-08T14:35:10.5Z"
