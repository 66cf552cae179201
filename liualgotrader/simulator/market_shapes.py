"""Bars, quotes and prints as Alpaca's market-data REST and its data stream write them.

Source: Alpaca market data API 1.1. On REST instants are text; on the stream they are text in JSON and the
Timestamp extension in msgpack. Conditions: `@` regular sale, `I` odd lot and `W` average price (count for volume only),
`4` derivatively priced (for high, low and volume), `M` market center's official close (for nothing), `O` and `6` the
prints of the opening and closing auctions (for all).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from liualgotrader.common.calendar import day_of, new_york
from liualgotrader.common.events import Bar, Counts, Quote, Status, TradeTick
from liualgotrader.simulator.asset_codes import VenueCode
from liualgotrader.simulator.wire import MIDNIGHT, rfc3339, whole_if_possible

ODD_LOT_BELOW = 100
TRADE_CONDITIONS = {
    "@": "Regular Sale",
    "I": "Odd Lot Trade",
    "W": "Average Price Trade",
    "4": "Derivatively Priced",
    "M": "Market Center Official Close",
    "O": "Opening Prints",
    "6": "Closing Prints",
}
QUOTE_CONDITIONS = {"R": "Regular, two-sided open"}
_ALL = int(Counts.ALL)
_VOLUME = int(Counts.VOLUME)
_NOT_LAST = int(Counts.HIGH_LOW | Counts.VOLUME)
_OPENING = int(Counts.OPENING_CROSS)
_CROSSES = _OPENING | int(Counts.CLOSING_CROSS)
_REGULAR = ("@",)
_QUOTE_REGULAR = ("R",)


class TradePrint(msgspec.Struct):
    """A print."""

    T: str | UnsetType
    S: str | UnsetType
    i: int
    x: str
    p: float
    s: float
    c: tuple[str, ...]
    z: str
    t: Any


class QuoteRow(msgspec.Struct, rename={"as_": "as"}):
    """A quote; sizes in shares."""

    T: str | UnsetType
    S: str | UnsetType
    bx: str
    bp: float
    bs: float
    ax: str
    ap: float
    as_: float
    c: tuple[str, ...]
    z: str
    t: Any


class BarRow(msgspec.Struct):
    """A minute (`b`), updated (`u`) or daily (`d`) bar, labelled by its left edge."""

    T: str | UnsetType
    S: str | UnsetType
    o: float
    h: float
    l: float  # noqa: E741 - the wire's name
    c: float
    v: float
    n: int
    vw: float
    t: Any


Row = TypeVar("Row", TradePrint, QuoteRow, BarRow)


def historic(message: Row) -> Row:
    """Return a message of the stream as it stands in the REST history, which names kind and symbol outside of it."""
    message.T = message.S = UNSET
    return message


def conditions_of(flags: int, size: float) -> tuple[str, ...]:
    """Return sale conditions that say what a print counts for."""
    if flags & _CROSSES:
        return ("@", "O") if flags & _OPENING else ("@", "6")
    if flags == _ALL:
        return _REGULAR
    if flags == _VOLUME:
        return ("@", "I") if size < ODD_LOT_BELOW else ("@", "W")
    if flags == _NOT_LAST:
        return ("@", "4")
    return ("M",) if not flags else _REGULAR


def trade_row(trade: TradeTick, number: int, venue: VenueCode) -> TradePrint:
    """Return a print for the REST history."""
    return historic(trade_message(trade, number, venue, rfc3339(trade.at)))


def quote_row(quote: Quote, venue: VenueCode) -> QuoteRow:
    """Return a quote for the REST history."""
    return historic(quote_message(quote, venue, rfc3339(quote.at)))


def bar_row(bar: Bar, at: int | None = None) -> BarRow:
    """Return a bar for the REST history, labelled `at` if that is not its beginning."""
    return historic(bar_message("b", bar, rfc3339(bar.opened_at if at is None else at)))


def day_label(bar: Bar) -> int:
    """Return the label of a daily bar: New York's midnight."""
    return new_york(day_of(bar.opened_at), MIDNIGHT)


def trade_message(trade: TradeTick, number: int, venue: VenueCode, t: Any) -> TradePrint:
    """Return a print for the stream; `t` is the instant as the codec writes it."""
    conditions = conditions_of(trade.flags, trade.size)
    size = whole_if_possible(trade.size)
    return TradePrint("t", trade.symbol, number, venue.letter, trade.price, size, conditions, venue.tape, t)


def quote_message(quote: Quote, venue: VenueCode, t: Any) -> QuoteRow:
    """Return a quote for the stream."""
    x, bid_size, ask_size = venue.letter, whole_if_possible(quote.bid_size), whole_if_possible(quote.ask_size)
    return QuoteRow("q", quote.symbol, x, quote.bid, bid_size, x, quote.ask, ask_size, _QUOTE_REGULAR, venue.tape, t)


def bar_message(kind: str, bar: Bar, t: Any) -> BarRow:
    """Return a bar for the stream."""
    volume = whole_if_possible(bar.volume)
    return BarRow(kind, bar.symbol, bar.open, bar.high, bar.low, bar.close, volume, bar.count, bar.vwap, t)


_UTP_CODES = {True: ("H", "Trading Halt"), False: ("T", "Trading Resumption")}
_CTA_CODES = {True: ("2", "Trading Halt"), False: ("3", "Resume")}


def status_message(status: Status, venue: VenueCode, t: Any) -> dict[str, Any]:
    """Return a trading status for the stream, with the code of the symbol's tape if the event brings none."""
    code, words = (_UTP_CODES if venue.tape == "C" else _CTA_CODES)[status.halted]
    return {
        "T": "s",
        "S": status.symbol,
        "sc": status.code or code,
        "sm": words,
        "rc": status.reason,
        "rm": status.reason,
        "z": venue.tape,
        "t": t,
    }
