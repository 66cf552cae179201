"""The data stream's protocol without a socket: requests, answers, subscriptions, and its languages msgpack and JSON.

Source: Alpaca market data API 1.1, real-time stock data; observed answers for the error texts.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from aiohttp import WSCloseCode

from liualgotrader.common.events import Bar, Quote, TradeTick
from liualgotrader.common.untrusted import read_message
from liualgotrader.simulator import shapes
from liualgotrader.simulator.asset_codes import VenueCode
from liualgotrader.simulator.wire import rfc3339, timestamp_extension

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
FOLLOWERS = ("corrections", "cancelErrors")  # they come with the trades, without being asked for
OTHER_FEEDS = ("orderbooks", "news", "imbalances")
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    500: "internal error",
}
EVERYTHING = "*"

KEY_HEADER, SECRET_HEADER = "APCA-API-KEY-ID", "APCA-API-SECRET-KEY"
Reply = dict[str, Any]


def error(code: int) -> Reply:
    """Return the stream's error message for a code."""
    return {"T": "error", "code": code, "msg": ERRORS[code]}


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The one key pair that the vendor routes accept; never shown."""

    key_id: str = field(repr=False)
    secret_key: str = field(repr=False)

    def match(self, key_id: object, secret_key: object) -> bool:
        """Return whether this is the pair, in constant time."""
        return same_secret(f"{key_id}\0{secret_key}", f"{self.key_id}\0{self.secret_key}")


def same_secret(given: str, ours: str) -> bool:
    """Return whether two texts are the same, in constant time; a header's text may hold bytes that are no UTF-8."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), ours.encode())


class StreamSession:
    """One client's side of the data stream. `symbols` are its subscriptions by channel.

    `admit` says whether one more authenticated connection is allowed; `symbol_limit` 0 is no limit.
    """

    def __init__(self, keys: ApiKeys, *, admit: Callable[[], bool] = lambda: True, symbol_limit: int = 0) -> None:
        self.authenticated = False
        self.close_code: int | None = None
        self.symbols: dict[str, set[str]] = {channel: set() for channel in CHANNELS}
        self._keys = keys
        self._admit = admit
        self._symbol_limit = symbol_limit

    def open(self, key_id: str | None = None, secret_key: str | None = None) -> list[Reply]:
        """Return the first messages of a connection; credentials may have come as headers of the handshake."""
        replies = [{"T": "success", "msg": "connected"}]
        return replies if key_id is None else replies + self._authenticate(key_id, secret_key)

    def receive(self, message: object) -> list[Reply]:
        """Return the answers to one message; `close_code` is set where the connection has to end."""
        if not isinstance(message, dict):
            return [error(400)]
        action = message.get("action")
        if action == "auth":
            return self._authenticate(message.get("key"), message.get("secret"))
        if action not in ("subscribe", "unsubscribe"):
            return [error(400)]
        if not self.authenticated:
            return [error(401)]
        if any(message.get(channel) for channel in OTHER_FEEDS):
            return [error(410)]
        wanted = {}
        for channel, symbols in self.symbols.items():
            named = message.get(channel)
            if named is None:
                named = []
            if not isinstance(named, list) or not all(isinstance(s, str) for s in named):
                return [error(400)]
            wanted[channel] = symbols.union(named) if action == "subscribe" else symbols.difference(named)
        if self._symbol_limit and len(set().union(*wanted.values())) > self._symbol_limit:
            return [error(405)]
        self.symbols = wanted
        return [self.state()]

    def expire(self) -> list[Reply]:
        """Return the answer to a client that has not authenticated in time."""
        return self._fatal(404)

    def state(self) -> Reply:
        """Return the full state of all channels."""
        state: Reply = {"T": "subscription"}
        state |= {channel: sorted(self.symbols[channel]) for channel in CHANNELS}
        return state | {channel: state["trades"] for channel in FOLLOWERS}

    def _authenticate(self, key_id: object, secret_key: object) -> list[Reply]:
        if self.authenticated:
            return [error(403)]
        if not self._keys.match(key_id, secret_key):
            return self._fatal(402)
        if not self._admit():
            return self._fatal(406)
        self.authenticated = True
        return [{"T": "success", "msg": "authenticated"}]

    def _fatal(self, code: int) -> list[Reply]:
        self.close_code = WSCloseCode.POLICY_VIOLATION
        return [error(code)]


def by_symbol(subscribers: Iterable[Any], channel: str) -> dict[str, list[Any]]:
    """Return the subscribers of a channel by symbol; those of everything stand under every symbol as well."""
    table: dict[str, list[Any]] = {}
    everything = []
    for subscriber in subscribers:
        names = subscriber.session.symbols.get(channel, ())
        if EVERYTHING in names:
            everything.append(subscriber)
        for name in names:
            table.setdefault(name, []).append(subscriber)
    for name, named in table.items():
        if name != EVERYTHING:
            named.extend(s for s in everything if s not in named)
    return table


# --- its two languages: a message is encoded once for all who get it, and a frame is an array of such pieces


class Shapes(Protocol):
    """How a vendor words what all of its streams carry; `t` is the instant as the codec writes it."""

    def trade_message(self, trade: TradeTick, number: int, venue: VenueCode, t: Any) -> object: ...
    def quote_message(self, quote: Quote, venue: VenueCode, t: Any) -> object: ...
    def bar_message(self, kind: str, bar: Bar, t: Any) -> object: ...


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """How one connection's frames are written and read: binary frames of msgpack, or text frames of JSON.

    `instant` makes the value of a message's `t`, `piece` encodes a message, `frame` makes an array of such pieces, and
    `read` returns what a client sent, or raises ValueError if it is not in this language, too long or nested too deep.
    """

    binary: bool
    instant: Callable[[int], Any]
    piece: Callable[[Any], bytes]
    frame: Callable[[Sequence[bytes]], bytes]
    read: Callable[[bytes], Any]
    shapes: Shapes = shapes


def packed_array(pieces: Sequence[bytes]) -> bytes:
    """Return the msgpack array of these encoded messages."""
    count = len(pieces)
    if count < 16:
        head = bytes((0x90 | count,))
    elif count < 1 << 16:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(pieces)


MSGPACK = Codec(
    binary=True,
    instant=timestamp_extension,
    piece=msgspec.msgpack.Encoder().encode,
    frame=packed_array,
    read=lambda frame: read_message(frame, msgspec.msgpack.decode),
)
JSON = Codec(
    binary=False,
    instant=rfc3339,
    piece=msgspec.json.Encoder().encode,
    frame=lambda pieces: b"[" + b",".join(pieces) + b"]",
    read=read_message,
)
CODECS = (MSGPACK, JSON)
MSGPACK_TYPE = "application/msgpack"


def codec_for(content_type: str) -> Codec:
    """Return the language a handshake asks for."""
    return MSGPACK if content_type.strip().lower().startswith(MSGPACK_TYPE) else JSON
