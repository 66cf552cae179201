"""Market events: small immutable records that travel from the feed to the strategy.

Instants are nanoseconds since 1970-01-01 UTC by the vendor's clock, prices US dollars as floats (for
looking, never for booking), sizes shares. Intervals are `[opened_at, closed_at)`.
"""

from __future__ import annotations

import re
from enum import IntFlag

import msgspec

SYMBOL_RULE = "up to 20 letters and digits, with single . - or / between them"
_SYMBOL = re.compile(r"(?=.{1,20}\Z)[A-Z0-9]+(?:[./-][A-Z0-9]+)*", re.ASCII)


def is_symbol(text: str) -> bool:
    """Return whether `text` can be the symbol of a security, in capitals: `SYMBOL_RULE`.

    >>> [is_symbol(s) for s in ("BRK.B", "BTC/USD", "0700", "spy", "../X", "*", "%s", "A" * 21)]
    [True, True, True, False, False, False, False, False]
    """
    return _SYMBOL.fullmatch(text) is not None


class Counts(IntFlag):
    """What a trade counts for, after the adapter has read the vendor's conditions."""

    NOTHING = 0
    LAST = 1
    HIGH_LOW = 2
    VOLUME = 4
    ALL = 7
    OPENING_CROSS = 8  # also the print of its exchange's opening auction
    CLOSING_CROSS = 16


ALL = int(Counts.ALL)


class TradeTick(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="t"):
    """A print on the tape. `flags` are `Counts`."""

    symbol: str
    at: int
    price: float
    size: float
    flags: int = ALL


class QuoteMark(IntFlag):
    """Whether a quote comes from the market."""

    NORMAL = 0
    SYNTHETIC = 1  # made up from the last trade, where no quotes were recorded


class Quote(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="q"):
    """The national best bid and offer of one symbol; a side without quotes is 0.0 with size 0.

    `flags` are of `QuoteMark`.
    """

    symbol: str
    at: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    flags: int = 0


class BarSource(IntFlag):
    """Who made a bar: the vendor, the vendor as a correction, or the engine from trades."""

    VENDOR = 1
    VENDOR_UPDATE = 2
    OURS = 4
    HISTORY = 8


class Bar(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="b"):
    """Open, high, low, close and volume of `[opened_at, closed_at)`; no strategy acts on it before `closed_at`."""

    symbol: str
    opened_at: int
    closed_at: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    count: int
    source: int = int(BarSource.VENDOR)


class Status(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="s"):
    """A trading status of one symbol. `halted` says whether orders can execute now."""

    symbol: str
    at: int
    halted: bool
    code: str = ""
    reason: str = ""


class Correction(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="c"):
    """A print was cancelled (`size` 0) or corrected to `price` and `size`."""

    symbol: str
    at: int
    original_price: float
    original_size: float
    price: float
    size: float


class Pick(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="p"):
    """A scanner chose a symbol, for one strategy or (empty `strategy`) for all of them."""

    symbol: str
    at: int
    scanner: str
    strategy: str = ""


class Unpick(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="u"):
    """The symbol is no longer needed; its market data stops."""

    symbol: str
    at: int


class Gap(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="g"):
    """From `at` on a symbol's market data is whole again; something between `since` and `at` may be missing.

    `since` is the last instant up to which it is whole, 0 if unknown.
    """

    symbol: str
    at: int
    since: int = 0


MarketEvent = TradeTick | Quote | Bar | Status | Correction
FeedEvent = MarketEvent | Pick | Unpick | Gap


class EventBatch(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="B"):
    """What the producer sends one consumer at once.

    `seq` grows by one a batch within one `producer_epoch`; a gap is data that was dropped because the
    consumer lagged, `dropped` says how many events. `received_at` is machine time (ns) of the oldest.
    """

    producer_epoch: int
    seq: int
    received_at: int
    events: list[FeedEvent]
    dropped: int = 0


# --- from a consumer to the producer, whole again on every new connection ---------------------------


class Needs(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """All symbols that slots of this consumer hold or have working orders in; replaces the last one."""

    symbols: dict[int, list[str]]


class Rejected(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """Symbols that a slot has rejected for this session, beyond those it named before."""

    slot: int
    symbols: list[str]


FromConsumer = Needs | Rejected
