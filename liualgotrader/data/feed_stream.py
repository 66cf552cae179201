"""A vendor's market data over a websocket: a `VendorFeed` speaks the protocol, `FramesClient` keeps the connection."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

from liualgotrader.common.clock import HOUR, Clock
from liualgotrader.common.errors import ConfigError, DataUnavailable, LiuError
from liualgotrader.common.events import Status
from liualgotrader.common.tlog import warn
from liualgotrader.common.types import WSEventType
from liualgotrader.data.feed_base import FeedNotice, FeedState, Remedy, VendorFeed
from liualgotrader.data.frames_client import FramesClient, LineSettings
from liualgotrader.data.liveness import Liveness
from liualgotrader.data.streaming_base import OnEvents, StreamHooks, StreamingAPI

log = logging.getLogger(__name__)

_FAR = HOUR  # ahead of our clock, which may be slow: what is dated beyond it has not happened


class FeedStream(StreamingAPI):
    """The stream of one vendor; `on_events` is called for every frame.

    `channels` are the vendor's for each kind of event, `always` those that come with any. A notice with one of the codes in
    `wrong_key` means that the vendor refuses the key.
    """

    channels: ClassVar[Mapping[WSEventType, tuple[str, ...]]]
    always: ClassVar[tuple[str, ...]] = ()
    wrong_key: ClassVar[int | str]

    def __init__(
        self,
        feed: VendorFeed,
        url: str,
        on_events: OnEvents,
        clock: Clock,
        rng: Random,
        hooks: StreamHooks,
        *,
        text: bool,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__()
        self._feed = feed
        self._text = text
        self._on_events, self._hooks = on_events, hooks
        self._frames = 0
        self._fatal: LiuError | None = None
        self._said: set[str] = set()
        self._was_open = False
        self._clock = clock
        self._liveness = Liveness(hooks.timings.mute_seconds)
        self._mute_alarms = 0
        self._because = ""  # why we end the connection ourselves
        line = LineSettings(
            url,
            self._frame,
            before_connecting=self._connecting,
            on_closed=self._closed,
            is_mute=self._is_mute,
            headers=headers,
            timings=hooks.timings,
        )
        self._client = FramesClient(line, clock, rng, hooks.library)

    async def subscribe(self, symbols: Sequence[str], events: Sequence[WSEventType]) -> bool:
        """Ask for the events of `symbols`; True if the vendor was asked now, False if it will be once connected."""
        channels = dict.fromkeys(c for event in events for c in self.channels[event])
        self._feed.subscribe(symbols, (*channels, *self.always))
        return self._flush()

    async def unsubscribe(self, symbol: str) -> None:
        self._feed.unsubscribe([symbol])
        self._flush()

    async def run(self) -> None:
        """Hold the connection until `close`.

        Raises:
            ConfigError: the vendor refuses the key.
            DataUnavailable: the vendor will never serve this key what is asked.
        """
        await self._client.run()
        if self._fatal is not None:
            raise self._fatal

    async def close(self) -> None:
        self._client.close()

    @property
    def symbols(self) -> frozenset[str]:
        return self._feed.symbols

    @property
    def subscribed(self) -> bool:
        return self._feed.subscribed

    def halted(self) -> Sequence[Status]:
        return list(self._feed.halted.values())

    def counters(self) -> Mapping[str, float]:
        feed = self._feed
        return {
            "frames": feed.frames,
            "messages": feed.messages,
            "messages_passed_over": feed.passed_over,
            "bad_messages": feed.bad,
            "connections": self._client.connections,
            "connected": float(self._client.connected),
            "symbols_subscribed": len(feed.symbols),
            "symbols_refused": len(feed.refused),
            "feed_mute": self._mute_alarms,
        }

    def _frame(self, frame: bytes) -> None:
        self._frames += 1
        before = self._feed.state
        events = self._feed.receive(frame, self._clock.now() + _FAR)
        if not events:  # most likely control: data frames need none of this
            self._flush()
            for notice in self._feed.notices():
                self._take(notice)
            if before is FeedState.CONNECTED and self._feed.state is FeedState.AUTHENTICATED:
                self._client.accepted()
                self._said.clear()
                if self._was_open:
                    self._hooks.notice("INFO", "market data: connected again")
                self._was_open = True
        else:
            if self._liveness.alarms:
                self._hooks.notice("INFO", "market data: data arrives again")
            self._liveness.heard(self._client.heard_at)
        self._on_events(events, self._frames)

    def _flush(self) -> bool:
        sent = False
        for frame in self._feed.to_send():
            sent = self._client.send(frame, text=self._text)
        return sent

    def _connecting(self) -> None:
        self._frames = 0
        self._feed.reconnected()
        self._liveness.pause()
        self._because = ""
        self._hooks.connecting()

    def _closed(self, reason: str) -> None:
        self._hooks.lost()
        if self._was_open and self._fatal is None:
            self._say_once("WARNING", f"market data: {self._because or reason}; connecting again")

    def _is_mute(self) -> bool:
        """Whether the connection lives and has brought nothing for too long although the market is open."""
        feed, clock = self._feed, self._clock
        expected = feed.subscribed and self._hooks.data_expected() and bool(feed.symbols - feed.halted.keys())
        seconds = self._liveness.look(clock.machine(), clock.now(), expected=expected, symbols=len(feed.symbols))
        if not seconds:
            return False
        self._mute_alarms += 1
        self._because = f"the vendor has sent nothing for {seconds:.0f} s although the market is open"
        warn(log, "feed_mute", seconds=f"{seconds:.1f}", symbols=len(feed.symbols))
        return True

    def _take(self, notice: FeedNotice) -> None:
        warn(log, "feed_notice", code=notice.code, remedy=notice.remedy.value, text=notice.text)
        if notice.remedy is Remedy.GIVE_UP:
            kind = ConfigError if notice.code == self.wrong_key else DataUnavailable
            self._fatal = kind(notice.text)
            self._client.close()
            return
        self._say_once("WARNING", notice.text)
        if notice.remedy is Remedy.RECONNECT:
            self._client.reconnect()

    def _say_once(self, level: str, text: str) -> None:
        """Notify the operator, but not at every attempt of a night without a connection."""
        if text not in self._said:
            self._said.add(text)
            self._hooks.notice(level, text)
