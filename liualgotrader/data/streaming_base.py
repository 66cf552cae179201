"""The port of a vendor's stream of market data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from liualgotrader.common.events import MarketEvent, Status
from liualgotrader.common.types import WSEventType

OnEvents = Callable[[list[MarketEvent], int], None]
"""Called with the events of one frame (often none) and the number of frames the present connection has brought."""

EVENT_TYPES: Mapping[str, WSEventType] = {
    "second": WSEventType.SEC_AGG,
    "minute": WSEventType.MIN_AGG,
    "trade": WSEventType.TRADE,
    "quote": WSEventType.QUOTE,
}
"""The words of the tradeplan's `events`."""


@dataclass(frozen=True, slots=True)
class LineTimings:
    """Durations of a connection, machine seconds."""

    handshake_seconds: float = 5.0
    mute_seconds: float = 30.0  # no frame for so long, not even an answer to a ping: the line is dead;
    # the least for which it may bring no market data when it should (`data.liveness`)
    first_wait_seconds: float = 0.1  # before the second attempt; doubles up to the longest
    longest_wait_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class StreamHooks:
    """The callbacks of a stream's owner, and how the connection is made."""

    connecting: Callable[[], None] = lambda: None  # before each attempt
    lost: Callable[[], object] = lambda: None  # the connection ended
    # Takes a logging level's name, and a sentence for the operator.
    notice: Callable[[str, str], None] = lambda level, text: None
    data_expected: Callable[[], bool] = lambda: True  # whether the market is open, so that silence means something
    headers: Mapping[str, str] = field(default_factory=dict)
    timings: LineTimings = field(default_factory=LineTimings)
    library: str = "picows"
    text: bool = False  # JSON instead of msgpack, for looking at


class StreamingAPI(ABC):
    """One connection to a vendor; of each vendor's class there is one instance a process."""

    _instances: ClassVar[dict[type[StreamingAPI], StreamingAPI]] = {}

    def __init__(self) -> None:
        StreamingAPI._instances[type(self)] = self

    @classmethod
    def get_instance(cls) -> Self:
        """Return the stream of this class that was made last, or of any class if called on the base.

        Raises:
            AssertionError: before one was made (as the original did).
        """
        found = [stream for kind, stream in StreamingAPI._instances.items() if issubclass(kind, cls)]
        assert found, f"no {cls.__name__} has been made"
        stream = found[-1]
        assert isinstance(stream, cls)
        return stream

    @abstractmethod
    async def subscribe(self, symbols: Sequence[str], events: Sequence[WSEventType]) -> bool:
        """Ask for the events of `symbols`; statuses (halts) always come with them. True if the vendor was asked now."""

    @abstractmethod
    async def unsubscribe(self, symbol: str) -> None:
        """Ask for no more events of a symbol."""

    @abstractmethod
    async def run(self) -> None:
        """Hold the connection until `close`; raise an OutsideError or ConfigError if the vendor will never serve us."""

    @abstractmethod
    async def close(self) -> None:
        """End the connection; `run` returns."""

    @property
    @abstractmethod
    def symbols(self) -> frozenset[str]:
        """The symbols asked for and not refused."""

    @abstractmethod
    def halted(self) -> Sequence[Status]:
        """Return the newest status of each halted symbol of this stream."""

    @property
    @abstractmethod
    def subscribed(self) -> bool:
        """Whether the vendor has answered everything that was asked."""

    @abstractmethod
    def counters(self) -> Mapping[str, float]:
        """Return the stream's figures since its start."""


def event_types(words: Iterable[str]) -> list[WSEventType]:
    """Return what the words of a tradeplan's `events` mean, in the order of the words."""
    return [EVENT_TYPES[word] for word in words]
