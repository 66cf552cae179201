"""Alpaca's market data over a websocket."""

from __future__ import annotations

from random import Random

from liualgotrader.common.clock import Clock
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.types import WSEventType
from liualgotrader.data.alpaca_feed import AlpacaFeed
from liualgotrader.data.feed_stream import FeedStream
from liualgotrader.data.streaming_base import OnEvents, StreamHooks


class AlpacaStream(FeedStream):
    """The stream at `endpoints.stream_url`."""

    channels = {
        WSEventType.TRADE: ("trades",),
        WSEventType.QUOTE: ("quotes",),
        WSEventType.MIN_AGG: ("bars", "updatedBars"),
        WSEventType.SEC_AGG: ("trades",),  # the vendor has no second bars; they are made from trades
    }
    always = ("statuses",)
    wrong_key = 402

    def __init__(
        self,
        endpoints: Endpoints,
        key_pair: tuple[str, str],
        on_events: OnEvents,
        clock: Clock,
        rng: Random,
        hooks: StreamHooks | None = None,
    ) -> None:
        hooks = hooks or StreamHooks()
        feed = AlpacaFeed(*key_pair, text=hooks.text)
        headers = {**({} if hooks.text else {"Content-Type": "application/msgpack"}), **hooks.headers}
        super().__init__(feed, endpoints.stream_url, on_events, clock, rng, hooks, text=hooks.text, headers=headers)
