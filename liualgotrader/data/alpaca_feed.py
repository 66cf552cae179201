"""Alpaca's market-data protocol without a socket: frames in, market events and frames to send out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from liualgotrader.common.clock import MINUTE, SECOND, nanoseconds
from liualgotrader.common.errors import BadData
from liualgotrader.common.events import Bar, BarSource, Correction, MarketEvent, Quote, Status, TradeTick
from liualgotrader.common.tlog import some_of
from liualgotrader.common.untrusted import MOST_PRICE, MOST_SIZE
from liualgotrader.data import alpaca_messages as wire
from liualgotrader.data.alpaca_conditions import HALTS, RESUMPTIONS, counts_of
from liualgotrader.data.feed_base import NO_TIME, FeedNotice, FeedState, Remedy, price, side, size

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "statuses")  # corrections follow trades by themselves
SYMBOLS_A_MESSAGE = 1000  # keeps a subscription far below the vendor's limit of a frame

_SECONDS = 0x3FFFFFFFF  # a msgpack timestamp 64 is 30 bits of ns, then 34 bits of seconds
_KNOWN_PRINTS = 4096  # kinds of (conditions, tape) remembered; the market knows a few hundred
_VENDOR = int(BarSource.VENDOR)
_VENDOR_UPDATE = int(BarSource.VENDOR_UPDATE)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


_ERRORS: Mapping[int, tuple[Remedy, str]] = {
    400: (Remedy.GO_ON, "the vendor could not read a request"),
    401: (Remedy.RECONNECT, "not authenticated; check APCA_API_KEY_ID and APCA_API_SECRET_KEY"),
    402: (Remedy.GIVE_UP, "the vendor refuses the API key; correct APCA_API_KEY_ID and APCA_API_SECRET_KEY"),
    403: (Remedy.GO_ON, "already authenticated"),
    404: (Remedy.RECONNECT, "the vendor did not receive the API key in time"),
    405: (Remedy.GO_ON, "the plan of this API key allows no more symbols"),
    406: (Remedy.RECONNECT, "another program uses the only connection of this API key; end it"),
    407: (Remedy.RECONNECT, "the vendor reports that we read too slowly"),
    408: (Remedy.GIVE_UP, "this API key has no access to version 2 of the stream"),
    409: (Remedy.GIVE_UP, "the plan of this API key does not include this feed; choose the feed `iex`"),
    410: (Remedy.GO_ON, "this feed does not offer a requested channel"),
    411: (Remedy.GIVE_UP, "this API key may not read market data"),
    500: (Remedy.RECONNECT, "the vendor has an internal error"),
}
_ANSWERS_AN_ACTION = frozenset({400, 405, 410})

Wanted = dict[str, set[str]]


class AlpacaFeed:
    """One stream: what it should carry, how far the connection has come, and the events of each frame.

    Whoever owns the socket sends `to_send()` after every frame and every change, calls `reconnected()`
    when a new socket is open, and acts on `notices()`.
    """

    def __init__(self, key_id: str, secret_key: str, *, text: bool = False) -> None:
        self._auth = {"action": "auth", "key": key_id, "secret": secret_key}
        self._text = text
        self.state = FeedState.CONNECTING
        self.frames = self.messages = self.passed_over = self.bad = 0
        self._wanted: Wanted = {channel: set() for channel in CHANNELS}
        self._refused: Wanted = {channel: set() for channel in CHANNELS}
        self._no_room: dict[str, None] = {}  # refused because the plan of the key allows no more, oldest first
        self._to_send: list[bytes] = []
        self._unanswered: deque[dict[str, Any]] = deque()
        self._notices: list[FeedNotice] = []
        self._refusal = (0, "")
        self._refused_now: list[str] = []
        self._counts: dict[tuple[tuple[str, ...] | None, str], int] = {}
        self.halted: dict[str, Status] = {}  # the status of each symbol that is halted
        self._second = ("", 0)
        self._until = NO_TIME

    # --- what we want ------------------------------------------------------------------------------

    def subscribe(self, symbols: Iterable[str], channels: Iterable[str]) -> None:
        """Ask for the channels of `symbols` (or of `*`, all); what is carried already is not asked for again."""
        symbols = [symbol.upper() for symbol in symbols]
        fresh: dict[str, list[str]] = {}
        for channel in channels:
            fresh[channel] = [s for s in symbols if s not in self._wanted[channel]]
            self._wanted[channel].update(fresh[channel])
            self._refused[channel].difference_update(fresh[channel])
        for symbol in symbols:
            self._no_room.pop(symbol, None)
        self._ask("subscribe", fresh)

    def unsubscribe(self, symbols: Iterable[str]) -> None:
        """Ask for `symbols` no more, on any channel; as many of those that found no room are asked for again."""
        gone = {symbol.upper() for symbol in symbols}
        old: dict[str, list[str]] = {}
        for channel in CHANNELS:
            old[channel] = sorted(gone & self._wanted[channel])
            self._wanted[channel] -= gone
            self._refused[channel] -= gone
        for symbol in gone:
            self._no_room.pop(symbol, None)
        self._ask("unsubscribe", old)
        again = list(self._no_room)[: len(set().union(*old.values()))]
        fresh: dict[str, list[str]] = {}
        for symbol in again:
            del self._no_room[symbol]
        for channel, refused in self._refused.items():
            fresh[channel] = [symbol for symbol in again if symbol in refused]
            refused.difference_update(again)
            self._wanted[channel].update(fresh[channel])
        self._ask("subscribe", fresh)

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols asked for, on whatever channel."""
        return frozenset().union(*self._wanted.values())

    @property
    def refused(self) -> frozenset[str]:
        """The symbols that the vendor would not carry."""
        return frozenset().union(*self._refused.values())

    # --- the connection ----------------------------------------------------------------------------

    def reconnected(self) -> None:
        """Begin again on a new socket; everything wanted is subscribed anew once we are authenticated."""
        self.state = FeedState.CONNECTING
        self._to_send.clear()
        self._unanswered.clear()
        for channel in CHANNELS:
            self._wanted[channel] |= self._refused[channel]
            self._refused[channel].clear()
        self._no_room.clear()

    def to_send(self) -> list[bytes]:
        """Return the frames to be sent now, in order; each is returned once."""
        frames, self._to_send = self._to_send, []
        return frames

    def notices(self) -> list[FeedNotice]:
        """Return what the vendor complained about since the last call."""
        notices, self._notices = self._notices, []
        return notices

    @property
    def subscribed(self) -> bool:
        """Whether every request has been answered, so that the vendor carries what it is going to carry."""
        known = self.state in (FeedState.AUTHENTICATED, FeedState.SUBSCRIBED)
        return known and not self._unanswered and not self._to_send

    # --- frames ------------------------------------------------------------------------------------

    def receive(self, frame: bytes, until: int = NO_TIME) -> list[MarketEvent]:
        """Return the market events of one frame, in order.

        A message that cannot be read or true, and one of a time at or after `until`, is counted in `bad`.
        """
        self._until = until
        self.frames += 1
        try:
            messages = wire.decode(frame)
        except _UNREADABLE:
            try:
                messages, wrong = wire.decode_each(frame)
            except _UNREADABLE:
                messages, wrong = [], ["not a list of messages"]
            self.bad += len(wrong)
        self.messages += len(messages)
        events: list[MarketEvent] = []
        append, counts, integer = events.append, self._counts, int.from_bytes
        dearest, most, first = MOST_PRICE, MOST_SIZE, SECOND
        data: Any
        for m in messages:
            kind = m.__class__
            if kind is wire.WireQuote and m.t.__class__ is Ext:
                data = m.t.data
                if (
                    0.0 <= m.bp <= dearest
                    and 0.0 <= m.ap <= dearest
                    and 0.0 <= m.bs <= most
                    and 0.0 <= m.as_ <= most
                    and len(data) == 8
                ):
                    both = integer(data, "big")
                    at = (both & _SECONDS) * SECOND + (both >> 34)
                    if first <= at < until:
                        append(Quote(m.S, at, m.bp, m.bs, m.ap, m.as_))
                        continue
            elif kind is wire.WireTrade and m.t.__class__ is Ext:
                data, flags = m.t.data, counts.get((m.c, m.z))
                if flags is not None and 0.0 < m.p <= dearest and 0.0 <= m.s <= most and len(data) == 8:
                    both = integer(data, "big")
                    at = (both & _SECONDS) * SECOND + (both >> 34)
                    if first <= at < until:
                        append(TradeTick(m.S, at, m.p, m.s, flags))
                        continue
            self._receive_one(m, events)
        return events

    def _receive_one(self, m: Any, events: list[MarketEvent]) -> None:
        """Take a message that is not an ordinary quote or trade."""
        try:
            if isinstance(m, wire.Market):
                events.append(self._event(m))
            elif isinstance(m, wire.Control):
                self._control(m)
            else:
                self.passed_over += 1
        except BadData:
            self.bad += 1

    def _event(self, m: wire.Market) -> MarketEvent:
        at = self._instant(m.t)
        if not SECOND <= at < self._until:
            raise BadData(f"{m.S}: {at} ns since 1970 is no time of a market event now")
        match m:
            case wire.WireTrade():
                if len(self._counts) >= _KNOWN_PRINTS:
                    self._counts.clear()
                flags = self._counts[m.c, m.z] = counts_of(m.c or (), m.z)
                return TradeTick(m.S, at, price(m.p), size(m.s), flags)
            case wire.WireQuote():
                return Quote(m.S, at, side(m.bp), size(m.bs), side(m.ap), size(m.as_))
            case wire.WireBar():
                high, low = price(m.h), price(m.l)
                if not (low <= m.o <= high and low <= m.c <= high) or at % MINUTE:  # worse than no bar
                    raise BadData(f"{m.S}: from {m.o} to {m.c} within {low} and {high} at {at} is not a minute bar")
                source = _VENDOR_UPDATE if isinstance(m, wire.WireUpdatedBar) else _VENDOR
                vwap, count = side(m.vw or 0.0) or m.c, int(size(m.n or 0))
                return Bar(m.S, at, at + MINUTE, m.o, high, low, m.c, size(m.v), vwap, count, source)
            case wire.WireStatus():
                # A code that neither halts nor resumes leaves a symbol as it was.
                halted = m.sc in HALTS or (m.S in self.halted and m.sc not in RESUMPTIONS)
                status = Status(m.S, at, halted, m.sc, m.rm or m.rc)
                self.halted.pop(m.S, None)
                if halted:
                    self.halted[m.S] = status
                return status
            case wire.WireCorrection():
                return Correction(m.S, at, side(m.op), size(m.os), side(m.cp), size(m.cs))
            case wire.WireCancel():
                return Correction(m.S, at, side(m.p), size(m.s), 0.0, 0.0)

    def _instant(self, at: wire.At) -> int:
        """Return ns UTC of a msgpack Timestamp in any of its three lengths, or of an RFC 3339 text."""
        if isinstance(at, str):
            prefix, second = self._second
            try:
                if at[:19] != prefix or not at.endswith("Z"):
                    whole = nanoseconds(at)
                    self._second = (at[:19], whole // SECOND * SECOND) if at.endswith("Z") else ("", 0)
                    return whole
                return second + (int(at[20:-1].ljust(9, "0")) if len(at) > 21 else 0)
            except (ValueError, OverflowError) as error:
                raise BadData(f"{at} is not a time") from error
        data = bytes(at.data)
        if at.code == -1 and len(data) == 8:
            both = int.from_bytes(data, "big")
            return (both & _SECONDS) * SECOND + (both >> 34)
        if at.code == -1 and len(data) == 4:
            return int.from_bytes(data, "big") * SECOND
        if at.code == -1 and len(data) == 12:
            return int.from_bytes(data[4:], "big", signed=True) * SECOND + int.from_bytes(data[:4], "big")
        raise BadData(f"extension {at.code} of {len(data)} bytes is not a time")

    # --- control -----------------------------------------------------------------------------------

    def _control(self, m: wire.Control) -> None:
        match m:
            case wire.WireSuccess(msg="connected"):
                self.state = FeedState.CONNECTED
                self._to_send.append(wire.encode(self._auth, text=self._text))
            case wire.WireSuccess(msg="authenticated"):
                self.state = FeedState.AUTHENTICATED
                self._ask("subscribe", {channel: sorted(wanted) for channel, wanted in self._wanted.items()})
            case wire.WireSubscription():
                self.state = FeedState.SUBSCRIBED
                if self._unanswered:
                    self._unanswered.popleft()
                self._report_refused()
            case wire.WireError():
                remedy, words = _ERRORS.get(m.code, (Remedy.RECONNECT, "the vendor reports an unknown error"))
                text = f"market data: {words} (code {m.code}: {m.msg})"
                if m.code in _ANSWERS_AN_ACTION and self._unanswered:
                    self._refusal = (m.code, text)
                    self._refuse(m.code, self._unanswered.popleft())
                    self._report_refused()
                else:
                    self._notices.append(FeedNotice(m.code, text, remedy))

    def _ask(self, action: str, symbols: Mapping[str, list[str]]) -> None:
        """Queue a request, in parts of a thousand symbols; before we are authenticated nothing is sent."""
        if self.state not in (FeedState.AUTHENTICATED, FeedState.SUBSCRIBED):
            return
        longest = max((len(names) for names in symbols.values()), default=0)
        for start in range(0, longest, SYMBOLS_A_MESSAGE):
            part = {c: names[start : start + SYMBOLS_A_MESSAGE] for c, names in symbols.items()}
            self._request(action, part)

    def _request(self, action: str, symbols: Mapping[str, list[str]]) -> None:
        message: dict[str, Any] = {"action": action, **{c: names for c, names in symbols.items() if names}}
        self._to_send.append(wire.encode(message, text=self._text))
        self._unanswered.append(message)

    def _refuse(self, code: int, request: dict[str, Any]) -> None:
        """Ask for the halves of a request that was too large as a whole; give up on single symbols."""
        names = {channel: list(request[channel]) for channel in CHANNELS if channel in request}
        symbols = sorted(set().union(*names.values()))
        if code == 405 and len(symbols) > 1:
            for half in (symbols[: len(symbols) // 2], symbols[len(symbols) // 2 :]):
                self._request(request["action"], {c: [s for s in listed if s in half] for c, listed in names.items()})
            return
        self._refused_now += symbols
        if code == 405:
            self._no_room |= dict.fromkeys(symbols)
        for channel, listed in names.items():
            self._wanted[channel] -= set(listed)
            self._refused[channel] |= set(listed)

    def _report_refused(self) -> None:
        """Report in one notice which symbols are not carried, once the last request is answered."""
        if self._unanswered or not self._refused_now:
            return
        symbols, self._refused_now = self._refused_now, []
        code, text = self._refusal
        self._notices.append(FeedNotice(code, f"{text}; not carried: {some_of(symbols, 5)}", Remedy.GO_ON))
