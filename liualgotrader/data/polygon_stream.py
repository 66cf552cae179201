"""Polygon's market data over a websocket. It tells no halts: its trades and quotes just stop."""

from __future__ import annotations

from random import Random

from liualgotrader.common.clock import Clock
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.types import WSEventType
from liualgotrader.data.feed_stream import FeedStream
from liualgotrader.data.polygon_feed import PolygonFeed
from liualgotrader.data.streaming_base import OnEvents, StreamHooks


class PolygonStream(FeedStream):
    """The stream at `endpoints.stream_url`."""

    channels = {
        WSEventType.TRADE: ("T",),
        WSEventType.QUOTE: ("Q",),
        WSEventType.MIN_AGG: ("AM",),
        WSEventType.SEC_AGG: ("A",),
    }
    wrong_key = "auth_failed"

    def __init__(
        self,
        endpoints: Endpoints,
        key: str,
        on_events: OnEvents,
        clock: Clock,
        rng: Random,
        hooks: StreamHooks | None = None,
    ) -> None:
        hooks = hooks or StreamHooks()
        super().__init__(
            PolygonFeed(key), endpoints.stream_url, on_events, clock, rng, hooks, text=True, headers=hooks.headers
        )
