"""Polygon's market-data protocol without a socket: frames in, market events and frames to send out.

Source: Polygon's reference of the websocket for stocks, and its list of trade conditions. The vendor answers each name such as
`T.AAPL` by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from liualgotrader.common.clock import MILLISECOND, MINUTE, SECOND
from liualgotrader.common.errors import BadData
from liualgotrader.common.events import Bar, BarSource, MarketEvent, Quote, Status, TradeTick
from liualgotrader.common.tlog import some_of
from liualgotrader.data import polygon_messages as wire
from liualgotrader.data.alpaca_conditions import counts_of
from liualgotrader.data.feed_base import NO_TIME, FeedNotice, FeedState, Remedy, price, side, size

NAMES_A_MESSAGE = 1000
_KNOWN_PRINTS = 4096  # kinds of (conditions, tape) remembered
_LATEST = 2**62 // MILLISECOND
_TAPES = {1: "A", 2: "B", 3: "C"}
_LETTERS = {  # of Polygon's conditions on the tapes; where CTA and UTP have two, that of either, as `counts_of` reads it
    **{0: "@", 1: "A", 3: "E", 5: "G", 7: "C", 8: "6", 9: "X", 10: "4", 11: "D", 12: "T", 13: "U", 14: "F", 15: "M"},
    **{16: "Q", 17: "O", 18: "5", 19: "6", 20: "N", 21: "H", 22: "P", 23: "K", 24: "K", 25: "O", 27: "1", 28: "5"},
    **{29: "R", 30: "L", 31: "2", 32: "Z", 33: "Z", 34: "S", 36: "Y", 37: "I", 38: "9", 41: " ", 52: "V", 53: "7"},
}
_AVERAGE, _BUNCHED = 2, 4  # W on UTP and B on CTA; B on UTP, which CTA has not
_UNKNOWN = "?"
_COMPLAINTS: Mapping[str, tuple[Remedy, str]] = {
    "auth_failed": (
        Remedy.GIVE_UP,
        "Polygon refuses the key; correct POLYGON_API_KEY, or choose a plan with the stream",
    ),
    "auth_timeout": (Remedy.RECONNECT, "Polygon did not receive the key in time"),
    "max_connections": (Remedy.RECONNECT, "another program uses the only connection of POLYGON_API_KEY; end it"),
    "slow_consumer": (Remedy.RECONNECT, "Polygon reports that we read too slowly"),
    "force_disconnect": (Remedy.RECONNECT, "Polygon ends the connection"),
}


class PolygonFeed:
    """One stream: what it should carry, how far the connection has come, and the events of each frame. See `VendorFeed`."""

    def __init__(self, key: str) -> None:
        self._auth = {"action": "auth", "params": key}
        self.state = FeedState.CONNECTING
        self.halted: dict[str, Status] = {}  # the vendor tells none
        self.frames = self.messages = self.passed_over = self.bad = 0
        self._wanted: dict[str, None] = {}  # names such as T.AAPL, in the order in which they were asked for
        self._refused: dict[str, None] = {}
        self._unanswered: dict[str, None] = {}  # what the vendor will say of each name: `subscribed to: T.AAPL`
        self._to_send: list[bytes] = []
        self._notices: list[FeedNotice] = []
        self._refused_now: list[str] = []
        self._refusal = ""
        self._counts: dict[tuple[tuple[int, ...] | None, int], int] = {}

    # --- what we want ------------------------------------------------------------------------------

    def subscribe(self, symbols: Iterable[str], channels: Iterable[str]) -> None:
        """Ask for the channels of `symbols` (or of `*`, all); what is carried already is not asked for again."""
        upper, letters = [symbol.upper() for symbol in symbols], list(channels)
        fresh = [name for s in upper for c in letters if (name := f"{c}.{s}") not in self._wanted]
        self._wanted |= dict.fromkeys(fresh)
        for name in fresh:
            self._refused.pop(name, None)
        self._ask("subscribe", fresh)

    def unsubscribe(self, symbols: Iterable[str]) -> None:
        """Ask for `symbols` no more, on any channel."""
        gone = {symbol.upper() for symbol in symbols}
        self._refused = {name: None for name in self._refused if _symbol(name) not in gone}
        old = [name for name in self._wanted if _symbol(name) in gone]
        for name in old:
            del self._wanted[name]
        self._ask("unsubscribe", old)

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols asked for, on whatever channel."""
        return frozenset(map(_symbol, self._wanted))

    @property
    def refused(self) -> frozenset[str]:
        """The symbols that the vendor would not carry."""
        return frozenset(map(_symbol, self._refused))

    # --- the connection ----------------------------------------------------------------------------

    def reconnected(self) -> None:
        """Begin again on a new socket; everything wanted is subscribed anew once we are authenticated."""
        self.state = FeedState.CONNECTING
        self._to_send.clear()
        self._unanswered.clear()
        self._wanted |= self._refused
        self._refused.clear()

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
        """Whether every name has been answered, so that the vendor carries what it is going to carry."""
        known = self.state in (FeedState.AUTHENTICATED, FeedState.SUBSCRIBED)
        return known and not self._unanswered and not self._to_send

    # --- frames ------------------------------------------------------------------------------------

    def receive(self, frame: bytes, until: int = NO_TIME) -> list[MarketEvent]:
        """Return the market events of one frame, in order.

        A message that cannot be read or true, and one of a time at or after `until`, is counted in `bad`.
        """
        self.frames += 1
        messages, bad = wire.read(frame)
        self.bad += bad
        self.messages += len(messages)
        events: list[MarketEvent] = []
        for m in messages:
            try:
                if isinstance(m, wire.Market):
                    events.append(self._event(m, until))
                elif isinstance(m, wire.PolygonStatus):
                    self._control(m)
                else:
                    self.passed_over += 1
            except BadData:
                self.bad += 1
        return events

    def _event(self, m: wire.Market, until: int) -> MarketEvent:
        if isinstance(m, wire.PolygonMinute):
            return _bar(m, until)
        at = _instant(m.sym, m.t, until)
        if isinstance(m, wire.PolygonQuote):
            return Quote(m.sym, at, side(m.bp), size(m.bs), side(m.ap), size(m.as_))
        flags = self._counts.get((m.c, m.z))
        if flags is None:
            if len(self._counts) >= _KNOWN_PRINTS:
                self._counts.clear()
            flags = self._counts[m.c, m.z] = counts_of(letters_of(m.c or (), m.z), _TAPES.get(m.z, ""))
        return TradeTick(m.sym, at, price(m.p), size(m.s), flags)

    # --- control -----------------------------------------------------------------------------------

    def _control(self, m: wire.PolygonStatus) -> None:
        match m.status:
            case "connected":
                self.state = FeedState.CONNECTED
                self._to_send.append(msgspec.json.encode(self._auth))
            case "auth_success":
                self.state = FeedState.AUTHENTICATED
                self._ask("subscribe", list(self._wanted))
            case "success":
                self.state = FeedState.SUBSCRIBED
                self._unanswered.pop(m.message, None)
                self._report_refused()
            case word if word in _COMPLAINTS:
                remedy, text = _COMPLAINTS[word]
                self._notices.append(FeedNotice(word, f"market data: {text} ({word}: {m.message[:200]})", remedy))
            case word:
                self._complained(word, m.message[:200])

    def _complained(self, word: str, text: str) -> None:
        """Take a refusal of names, which the vendor names in its text; one that names none ends what is open."""
        said = text.replace(",", " ").replace(":", " ").split()
        names = [answer for answer in self._unanswered if _name(answer) in said] or list(self._unanswered)
        if not names:
            self._notices.append(FeedNotice(word, f"market data: Polygon complains ({word}: {text})", Remedy.GO_ON))
            return
        for answer in names:
            del self._unanswered[answer]
            if self._wanted.pop(_name(answer), 0) is None:
                self._refused[_name(answer)] = None
        self._refused_now += map(_name, names)
        self._refusal = f"{word}: {text}"
        self._report_refused()

    def _report_refused(self) -> None:
        """Report in one notice what is not carried, once the last name is answered."""
        if self._unanswered or not self._refused_now:
            return
        names, self._refused_now = self._refused_now, []
        text = f"market data: Polygon does not carry {some_of(names, 5)} ({self._refusal})"
        self._notices.append(FeedNotice("refused", text, Remedy.GO_ON))

    def _ask(self, action: str, names: list[str]) -> None:
        """Queue a request, in parts; before we are authenticated nothing is sent."""
        if self.state not in (FeedState.AUTHENTICATED, FeedState.SUBSCRIBED):
            return
        for start in range(0, len(names), NAMES_A_MESSAGE):
            part = names[start : start + NAMES_A_MESSAGE]
            self._to_send.append(msgspec.json.encode({"action": action, "params": ",".join(part)}))
        self._unanswered |= dict.fromkeys(f"{action}d to: {name}" for name in names)


def _symbol(name: str) -> str:
    return name.partition(".")[2]


def _name(answer: str) -> str:
    return answer.rpartition(" ")[2]


def letters_of(conditions: tuple[int, ...], tape: int) -> tuple[str, ...]:
    """Return the letters that these conditions have on the tapes; an unknown one stays unknown."""
    is_utp = tape == 3
    own = {_AVERAGE: "W", _BUNCHED: "B" if is_utp else _UNKNOWN}
    return tuple(own.get(c) or _LETTERS.get(c, _UNKNOWN) for c in conditions)


def _instant(symbol: str, ms: int, until: int) -> int:
    if not 0 < ms < _LATEST or not SECOND <= ms * MILLISECOND < until:
        raise BadData(f"{symbol}: {ms} ms since 1970 is no time of a market event now")
    return ms * MILLISECOND


def _bar(m: wire.PolygonMinute, until: int) -> Bar:
    length = SECOND if isinstance(m, wire.PolygonSecond) else MINUTE
    at, high, low = _instant(m.sym, m.s, until), price(m.h), price(m.l)
    if not (low <= m.o <= high and low <= m.c <= high) or at % length or m.e * MILLISECOND != at + length:
        raise BadData(f"{m.sym}: from {m.o} to {m.c} within {low} and {high} from {m.s} to {m.e} is no such bar")
    shares, each = size(m.v), size(m.z or 0.0)
    count = max(1, round(shares / each)) if each else 0
    return Bar(
        m.sym, at, at + length, m.o, high, low, m.c, shares, side(m.vw or 0.0) or m.c, count, int(BarSource.VENDOR)
    )
