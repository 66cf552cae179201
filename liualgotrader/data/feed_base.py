"""What the vendors' protocols have in common: how far a connection has come, what a complaint means, which figures can be true."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from liualgotrader.common.errors import BadData
from liualgotrader.common.events import MarketEvent, Status
from liualgotrader.common.untrusted import MOST_PRICE, MOST_SIZE

NO_TIME = 2**62  # ns: 2116, after any market event


class FeedState(Enum):
    """How far a connection has come."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    AUTHENTICATED = "authenticated"
    SUBSCRIBED = "subscribed"


class Remedy(Enum):
    """What to do after an error of the vendor's."""

    GO_ON = "go on"
    RECONNECT = "reconnect"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class FeedNotice:
    """An error of the vendor's: its code or word, a sentence for the operator, and what to do."""

    code: int | str
    text: str
    remedy: Remedy


class VendorFeed(Protocol):
    """One vendor's protocol without a socket.

    Whoever owns the socket sends `to_send()` after every frame and every change, calls `reconnected()` when a new socket is
    open, and acts on `notices()`.
    """

    state: FeedState
    halted: dict[str, Status]
    frames: int
    messages: int
    passed_over: int
    bad: int

    @property
    def symbols(self) -> frozenset[str]: ...
    @property
    def refused(self) -> frozenset[str]: ...
    @property
    def subscribed(self) -> bool: ...
    def subscribe(self, symbols: Iterable[str], channels: Iterable[str]) -> None: ...
    def unsubscribe(self, symbols: Iterable[str]) -> None: ...
    def reconnected(self) -> None: ...
    def to_send(self) -> list[bytes]: ...
    def notices(self) -> list[FeedNotice]: ...
    def receive(self, frame: bytes, until: int = ...) -> list[MarketEvent]: ...


def price(dollars: float) -> float:
    """Return a price above zero.

    Raises:
        BadData: if it is none.
    """
    if 0.0 < dollars <= MOST_PRICE:
        return dollars
    raise BadData(f"{dollars} is not a price")


def side(dollars: float) -> float:
    """Return a price, 0 where there is none; likewise."""
    if 0.0 <= dollars <= MOST_PRICE:
        return dollars
    raise BadData(f"{dollars} is not a price")


def size(shares: float) -> float:
    """Return a number of shares; likewise."""
    if 0.0 <= shares <= MOST_SIZE:
        return shares
    raise BadData(f"{shares} is not a number of shares")
