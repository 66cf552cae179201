"""Our Polygon adapters: the stream against the simulated market, beside Alpaca's, and history against odd answers.

What history has in common with Alpaca's is in `test_alpaca_adapters.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Any

import pytest

from liualgotrader.common.clock import MILLISECOND, MINUTE, SECOND, WallClock
from liualgotrader.common.errors import ConfigError, DataRefused, DataUnavailable, DataUnusable, OutsideError
from liualgotrader.common.events import Bar, Quote, TradeTick
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.types import WSEventType
from liualgotrader.data.alpaca_stream import AlpacaStream
from liualgotrader.data.feed_stream import FeedStream
from liualgotrader.data.polygon_data import PolygonData
from liualgotrader.data.polygon_stream import PolygonStream
from liualgotrader.data.streaming_base import LineTimings, StreamHooks
from tests.fakes.http_vendor import answering
from tests.fakes.simulated_market import KEY, SECRET, MarketThread
from tests.fakes.tapes import at

MarketOf = Callable[..., MarketThread]
ALL_KINDS = (WSEventType.TRADE, WSEventType.QUOTE, WSEventType.MIN_AGG, WSEventType.SEC_AGG)
QUICK = LineTimings(handshake_seconds=30.0, first_wait_seconds=0.01, longest_wait_seconds=0.02)


class Owner:
    """Who runs a stream: keeps what it hears."""

    def __init__(self, market: MarketThread, vendor: str = "polygon", key: str = SECRET) -> None:
        self.events: list[Any] = []
        self.notices: list[str] = []
        self.connecting = 0
        hooks = StreamHooks(
            connecting=self._connecting,
            notice=lambda level, text: self.notices.append(text),
            data_expected=lambda: False,
            timings=QUICK,
        )
        url = f"{market.ws}/stocks" if vendor == "polygon" else f"{market.ws}/v2/sip"
        endpoints, rest = (
            Endpoints(market.url, market.url, url, "", loopback=True),
            (self._take, WallClock(), Random(1), hooks),
        )
        self.stream: FeedStream = (
            PolygonStream(endpoints, key, *rest)
            if vendor == "polygon"
            else AlpacaStream(endpoints, (KEY, SECRET), *rest)
        )
        self.task = asyncio.ensure_future(self.stream.run())

    def _connecting(self) -> None:
        self.connecting += 1

    def _take(self, events: list[Any], frames: int) -> None:
        self.events += events

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                await asyncio.sleep(0.005)

    async def follows(self, *symbols: str, events: Any = ALL_KINDS) -> None:
        await self.until(lambda: self.stream.subscribed)
        await self.stream.subscribe(symbols, events)
        await self.until(lambda: self.stream.subscribed)


@asynccontextmanager
async def owners(*made: Owner) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for owner in made:
            await owner.stream.close()
            await asyncio.wait({owner.task}, timeout=60)
            assert owner.task.done(), "run goes on after close"
            with suppress(ConfigError, DataUnavailable):
                owner.task.result()


async def go_on(market: MarketThread, seconds: float) -> None:
    await asyncio.to_thread(market.advance, seconds)


def plain(event: Any) -> tuple[Any, ...]:
    """Return what both vendors tell of an event: Polygon's times end at the millisecond, and it counts no trades of a bar."""
    match event:
        case Bar():
            figures = (event.open, event.high, event.low, event.close, event.volume, event.vwap)
            return ("bar", event.symbol, event.opened_at, event.closed_at, *figures, event.source)
        case TradeTick():
            return ("trade", event.symbol, event.at // MILLISECOND, event.price, event.size, event.flags)
        case Quote():
            prices = (event.bid, event.bid_size, event.ask, event.ask_size)
            return ("quote", event.symbol, event.at // MILLISECOND, *prices)
    raise AssertionError(event)


@pytest.mark.parity(41)
async def test_both_vendors_streams_tell_the_same_trades_quotes_and_minutes(market: MarketThread) -> None:
    kinds = (WSEventType.TRADE, WSEventType.QUOTE, WSEventType.MIN_AGG)
    polygon, alpaca = Owner(market), Owner(market, "alpaca")
    async with owners(polygon, alpaca):
        for owner in (polygon, alpaca):
            await owner.follows("ABC", "xyz", events=kinds)
        await go_on(market, 120)  # with an odd lot of XYZ at 09:36:03
        await polygon.until(lambda: len(polygon.events) == len(alpaca.events) > 250)
        assert list(map(plain, polygon.events)) == list(map(plain, alpaca.events))
        assert {type(event) for event in polygon.events} == {TradeTick, Quote, Bar}
        counts = polygon.stream.counters()
        assert (counts["bad_messages"], counts["messages_passed_over"], counts["symbols_subscribed"]) == (0, 0, 2)


@pytest.mark.parity(41)
async def test_seconds_come_as_bars_of_their_trades(market: MarketThread) -> None:
    owner = Owner(market)
    async with owners(owner):
        await owner.follows("ABC", events=[WSEventType.SEC_AGG])
        await go_on(market, 3)
        await owner.until(lambda: len(owner.events) == 3)
        begin = at("09:35")
        assert owner.events == [
            Bar("ABC", begin + n * SECOND, begin + (n + 1) * SECOND, 100.0, 100.0, 100.0, 100.0, 200.0, 100.0, 1)
            for n in range(3)
        ]


async def test_what_is_not_followed_any_more_comes_no_more(market: MarketThread) -> None:
    owner = Owner(market)
    async with owners(owner):
        await owner.follows("ABC", "XYZ")
        await owner.stream.unsubscribe("ABC")
        await owner.until(lambda: owner.stream.subscribed)
        assert owner.stream.symbols == {"XYZ"}
        await go_on(market, 60)
        await owner.until(lambda: any(isinstance(e, Bar) and e.closed_at - e.opened_at == MINUTE for e in owner.events))
        assert {event.symbol for event in owner.events} == {"XYZ"}


async def test_a_cut_line_is_made_again_and_everything_subscribed_anew(market: MarketThread) -> None:
    owner = Owner(market)
    async with owners(owner):
        await owner.follows("ABC", events=[WSEventType.TRADE])
        for times in (2, 3):
            await asyncio.to_thread(market.control, "faults/drop_websockets")
            await owner.until(partial(_again, owner, times))
        await go_on(market, 1)
        await owner.until(lambda: len(owner.events) == 1)
        assert owner.notices[-1] == "market data: connected again"


def _again(owner: Owner, times: int) -> bool:
    return owner.connecting == times and owner.stream.subscribed


@pytest.mark.parametrize("plan", ["", "free"])
async def test_a_wrong_key_or_plan_ends_the_stream_with_one_sentence_and_no_secret(
    market_of: MarketOf, plan: str
) -> None:
    market = market_of(options={"standing": True, "polygon_plan": plan})
    key = SECRET if plan else "a-hidden-secret"
    owner = Owner(market, key=key)
    async with asyncio.timeout(60):
        with pytest.raises(ConfigError, match="POLYGON_API_KEY") as error:
            await owner.task
    assert key not in str(error.value)
    assert ("Your plan doesn't include websocket access" in str(error.value)) == bool(plan)


async def test_while_another_program_has_the_line_we_try_again_and_say_so_once(market_of: MarketOf) -> None:
    market = market_of(options={"standing": True, "connection_limit": 1})
    first, second = Owner(market), None
    async with owners(first):
        await first.follows("ABC")
        second = Owner(market)
        await second.until(lambda: second.connecting >= 4)
        assert sum("another program" in text for text in second.notices) == 1
        assert sum("max_connections" in text for text in second.notices) == 1
    async with owners(second):
        await second.follows("ABC", events=[WSEventType.TRADE])


async def test_who_reads_too_slowly_is_told_so_and_connected_again(market_of: MarketOf) -> None:
    market = market_of(options={"standing": True, "outgoing_limit_bytes": 2000})
    owner = Owner(market)
    async with owners(owner):
        await owner.follows("ABC")
        await asyncio.to_thread(market.call, _burst(market))
        await owner.until(lambda: owner.connecting == 2 and owner.stream.subscribed)
        assert any("read too slowly" in text for text in owner.notices)


async def _burst(market: MarketThread) -> None:
    """Play half an hour in one go, more than the limit in one piece."""
    market.running.loop.play(at("10:05"))


async def test_names_that_the_vendor_does_not_carry_are_named_and_the_others_come(market: MarketThread) -> None:
    owner = Owner(market)
    async with owners(owner):
        await owner.follows("ABC", "A+B", events=[WSEventType.TRADE])
        assert (owner.stream.symbols, owner.stream.counters()["symbols_refused"]) == ({"ABC"}, 1)
        assert any(text.startswith("market data: Polygon does not carry T.A+B") for text in owner.notices)


# --- history that cannot be true, and vendors that refuse

T0 = at("09:30")
GOOD: dict[str, Any] = {"t": T0 // MILLISECOND, "o": 10, "h": 12.5, "l": 9, "c": 11, "v": 100, "n": 3, "vw": 10.5}


def history(url: str, tries: int = 1, key: str = "k" * 30) -> PolygonData:
    return PolygonData(Endpoints(url, url, "", "", loopback=True), key, timeout_seconds=2.0, tries=tries)


def bars_told(answer: Callable[[str], tuple[int, bytes]], *symbols: str, tries: int = 1) -> Any:
    with answering(answer) as url:
        data = history(url, tries)
        try:
            return data.bars_now(symbols, T0, T0 + 10 * MINUTE, minutes=1)
        finally:
            asyncio.run(data.close())


def body(found: Any) -> bytes:
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("odd", "field"),
    [
        ({"c": None}, "c is None"),
        ({"t": None}, "t is None"),
        ({"t": T0 // MILLISECOND + 1}, "t is 17"),
        ({"t": T0}, "t is 17"),  # nanoseconds
        ({"t": "2024-03-08T14:30:00Z"}, "t is '2024"),
        ({"l": 0}, "l is 0"),
        ({"h": 8}, "h is 8"),
        ({"c": 13}, "c is 13"),
        ({"h": 1e300}, "h is 1e[+]300"),
        ({"v": -1}, "v is -1"),
        ({"c": "11"}, "c is '11'"),
        ({"c": True}, "c is True"),
        ({"n": []}, "n is a list"),
    ],
)
def test_a_bar_that_cannot_be_true_names_symbol_and_field_and_costs_the_others_nothing(odd: Any, field: str) -> None:
    def answer(path: str) -> tuple[int, bytes]:
        return 200, body({"status": "OK", "results": [GOOD | odd if "/ODD/" in path else GOOD]})

    with pytest.raises(DataUnusable, match=f"ODD: .*{field}") as caught:
        bars_told(answer, "ODD", "AAPL")
    assert [bar.close for bar in caught.value.good["AAPL"]] == [11.0]


@pytest.mark.parametrize("found", [{"results": 7}, {"results": ["x"]}, {"results": [GOOD, GOOD | {"c": 12}]}, [], "x"])
def test_an_answer_that_is_none_is_unusable(found: Any) -> None:
    with pytest.raises(DataUnusable):
        bars_told(lambda path: (200, body(found)), "AAPL")


def test_pages_are_followed_by_path_and_query_and_must_end() -> None:
    def answer(path: str) -> tuple[int, bytes]:
        if "cursor=two" in path:
            return 200, body({"results": [GOOD | {"t": T0 // MILLISECOND + 60_000}]})
        return 200, body({"results": [GOOD], "next_url": "https://api.polygon.io/v2/aggs/x?cursor=two"})

    assert len(bars_told(answer, "AAPL")["AAPL"]) == 2
    endless = {"results": [], "next_url": "https://api.polygon.io/v2/aggs/x?cursor=again"}
    with pytest.raises(DataUnusable, match="next_url"):
        bars_told(lambda path: (200, body(endless)), "AAPL")
    elsewhere = {"results": [], "next_url": "//@evil.example/x"}
    with pytest.raises((DataUnavailable, OutsideError)):
        bars_told(lambda path: (200, body(elsewhere)) if "/range/" in path else (404, b"{}"), "AAPL")


@pytest.mark.parametrize(
    ("status", "tries", "asked", "kind", "words"),
    [
        (404, 3, 1, DataRefused, "Polygon has no bars of AAPL: 404"),
        (401, 3, 1, DataUnavailable, "Unknown API Key.*check POLYGON_API_KEY"),
        (403, 3, 1, DataUnavailable, "403.*its plan"),
        (302, 3, 1, DataUnavailable, "302"),
        (503, 2, 2, DataUnavailable, "503"),
        (429, 2, 2, DataUnavailable, "429"),
    ],
)
def test_a_refusal_is_one_sentence_and_only_a_busy_vendor_is_asked_again(
    status: int, tries: int, asked: int, kind: type[Exception], words: str
) -> None:
    heard: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        heard.append(path)
        return status, b'{"status": "ERROR", "error": "Unknown API Key"}'

    with pytest.raises(kind, match=words) as caught:
        bars_told(answer, "AAPL", tries=tries)
    assert len(heard) == asked
    assert "k" * 30 not in str(caught.value) + "".join(heard)
