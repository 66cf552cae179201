"""Prints, quotes, bars, tickers and snapshots as Polygon writes them, and its numbers of conditions, exchanges and tapes.

Source: Polygon's reference of the REST API and the websocket for stocks; its lists of conditions and exchanges. Aggregates
count in milliseconds, prints and quotes in nanoseconds on REST and in milliseconds on the stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from liualgotrader.common.clock import MILLISECOND
from liualgotrader.common.events import Bar, Quote, TradeTick
from liualgotrader.exchange.exchange_values import AssetTerms
from liualgotrader.simulator.asset_codes import VenueCode
from liualgotrader.simulator.day_history import DayRecord
from liualgotrader.simulator.shapes import conditions_of
from liualgotrader.simulator.wire import whole_if_possible


class ExchangeCode(NamedTuple):
    """An exchange in Polygon's list: its number, its letter on the tapes, and its market identifier (MIC)."""

    number: int
    letter: str
    mic: str
    name: str


class ConditionCode(NamedTuple):
    """A sale condition in Polygon's list, its letters on the tapes of CTA and UTP, and what a print with it may move."""

    number: int
    name: str
    cta: str
    utp: str
    last: bool
    high_low: bool
    volume: bool


EXCHANGES = (
    ExchangeCode(1, "A", "XASE", "NYSE American, LLC"),
    ExchangeCode(10, "N", "XNYS", "New York Stock Exchange"),
    ExchangeCode(11, "P", "ARCX", "NYSE Arca, Inc."),
    ExchangeCode(12, "T", "XNAS", "Nasdaq"),
    ExchangeCode(15, "V", "IEXG", "Investors' Exchange"),
    ExchangeCode(19, "Z", "BATS", "Cboe BZX"),
)
CONDITIONS = (
    ConditionCode(0, "Regular Sale", "@", "@", True, True, True),
    ConditionCode(2, "Average Price Trade", "B", "W", False, False, True),
    ConditionCode(8, "Closing Prints", "6", "6", True, True, True),
    ConditionCode(10, "Derivatively Priced", "4", "4", False, True, True),
    ConditionCode(15, "Market Center Official Close", "M", "M", False, False, False),
    ConditionCode(25, "Opening Prints", "O", "O", True, True, True),
    ConditionCode(37, "Odd Lot Trade", "I", "I", False, False, True),
)
TAPES = {"A": 1, "B": 2, "C": 3}
_NUMBERS = {e.letter: e.number for e in EXCHANGES} | {"Q": 12}
_MICS = {"AMEX": "XASE", "NYSE": "XNYS", "ARCA": "ARCX", "NYSEARCA": "ARCX", "BATS": "BATS"}
_NASDAQ = "XNAS"
_CONDITION_NUMBERS = {c.utp: c.number for c in CONDITIONS}


def condition_numbers(flags: int, size: float) -> tuple[int, ...]:
    """Return the numbers of the conditions that say what a print counts for; the regular one stands alone."""
    letters = conditions_of(flags, size)
    return tuple(_CONDITION_NUMBERS[letter] for letter in (letters[1:] or letters))


# --- the stream


class StreamTrade(msgspec.Struct, tag_field="ev", tag="T"):
    """A print."""

    sym: str
    x: int
    i: str
    z: int
    p: float
    s: float
    c: tuple[int, ...]
    t: int
    q: int


class StreamQuote(msgspec.Struct, tag_field="ev", tag="Q", rename={"as_": "as"}):
    """A quote; sizes in shares."""

    sym: str
    bx: int
    bp: float
    bs: float
    ax: int
    ap: float
    as_: float
    c: int
    t: int
    q: int
    z: int


class PolygonShapes:
    """The stream's messages; `record` knows the day so far."""

    def __init__(self, record: DayRecord) -> None:
        self._record = record

    def trade_message(self, trade: TradeTick, number: int, venue: VenueCode, t: Any) -> StreamTrade:
        """Return a print; its sequence number is its place in the symbol's day."""
        conditions, size = condition_numbers(trade.flags, trade.size), whole_if_possible(trade.size)
        exchange, tape = _NUMBERS[venue.letter], TAPES[venue.tape]
        return StreamTrade(trade.symbol, exchange, str(number), tape, trade.price, size, conditions, t, number)

    def quote_message(self, quote: Quote, venue: VenueCode, t: Any) -> StreamQuote:
        """Return a quote; likewise."""
        x, bid, ask = _NUMBERS[venue.letter], whole_if_possible(quote.bid_size), whole_if_possible(quote.ask_size)
        number = len(self._record.quotes(quote.symbol))
        return StreamQuote(quote.symbol, x, quote.bid, bid, x, quote.ask, ask, 0, t, number, TAPES[venue.tape])

    def bar_message(self, kind: str, bar: Bar, t: Any) -> dict[str, Any]:
        """Return the aggregate of a minute, or of a second (`kind` is `s`), with the figures of the day so far."""
        day = self._record.running_day(bar.symbol)
        volume, vwap = (day.volume, day.traded / day.volume) if day and day.volume else (bar.volume, bar.vwap)
        return {
            "ev": "A" if kind == "s" else "AM",
            "sym": bar.symbol,
            "v": whole_if_possible(bar.volume),
            "av": whole_if_possible(volume),
            "op": day.open if day and day.has_price else 0,
            "vw": bar.vwap,
            "o": bar.open,
            "c": bar.close,
            "h": bar.high,
            "l": bar.low,
            "a": round(vwap, 4),
            "z": round(bar.volume / bar.count) if bar.count else 0,
            "s": t,
            "e": bar.closed_at // MILLISECOND,
        }


# --- REST


def aggregate_row(bar: Bar, at: int | None = None, **more: object) -> dict[str, Any]:
    """Return an aggregate, labelled `at` if that is not its beginning."""
    return {
        **more,
        "v": whole_if_possible(bar.volume),
        "vw": bar.vwap,
        "o": bar.open,
        "c": bar.close,
        "h": bar.high,
        "l": bar.low,
        "t": (bar.opened_at if at is None else at) // MILLISECOND,
        "n": bar.count,
    }


def trade_result(trade: TradeTick, number: int, venue: VenueCode) -> dict[str, Any]:
    """Return a print of the history."""
    return {
        "conditions": condition_numbers(trade.flags, trade.size),
        "exchange": _NUMBERS[venue.letter],
        "id": str(number),
        "participant_timestamp": trade.at,
        "price": trade.price,
        "sequence_number": number,
        "sip_timestamp": trade.at,
        "size": whole_if_possible(trade.size),
        "tape": TAPES[venue.tape],
    }


def quote_result(quote: Quote, number: int, venue: VenueCode) -> dict[str, Any]:
    """Return a quote of the history."""
    exchange = _NUMBERS[venue.letter]
    return {
        "ask_exchange": exchange,
        "ask_price": quote.ask,
        "ask_size": whole_if_possible(quote.ask_size),
        "bid_exchange": exchange,
        "bid_price": quote.bid,
        "bid_size": whole_if_possible(quote.bid_size),
        "participant_timestamp": quote.at,
        "sequence_number": number,
        "sip_timestamp": quote.at,
        "tape": TAPES[venue.tape],
    }


def last_trade(trade: TradeTick, number: int, venue: VenueCode) -> dict[str, Any]:
    """Return the newest print, in single letters."""
    row = trade_result(trade, number, venue)
    names = {"c": "conditions", "i": "id", "p": "price", "q": "sequence_number", "s": "size", "t": "sip_timestamp"}
    names |= {"x": "exchange", "y": "participant_timestamp", "z": "tape"}
    return {"T": trade.symbol, **{letter: row[name] for letter, name in names.items()}}


def last_quote(quote: Quote, number: int, venue: VenueCode) -> dict[str, Any]:
    """Return the newest quote, in single letters: capitals are the ask's."""
    row = quote_result(quote, number, venue)
    names = {"P": "ask_price", "S": "ask_size", "X": "ask_exchange", "p": "bid_price", "s": "bid_size"}
    names |= {"x": "bid_exchange", "q": "sequence_number", "t": "sip_timestamp", "y": "participant_timestamp"}
    return {"T": quote.symbol, **{letter: row[name] for letter, name in names.items()}, "z": row["tape"]}


def ticker_row(terms: AssetTerms) -> dict[str, Any]:
    """Return a ticker; what a company is and does is not known here."""
    return {
        "ticker": terms.symbol,
        "name": terms.name or terms.symbol,
        "market": "stocks",
        "locale": "us",
        "primary_exchange": _MICS.get(terms.exchange, _NASDAQ),
        "type": "CS",
        "active": True,
        "currency_name": "usd",
    }


def condition_row(condition: ConditionCode) -> dict[str, Any]:
    """Return a condition with what it allows a print to move."""
    rules: Mapping[str, bool] = {
        "updates_high_low": condition.high_low,
        "updates_open_close": condition.last,
        "updates_volume": condition.volume,
    }
    return {
        "id": condition.number,
        "type": "sale_condition",
        "name": condition.name,
        "asset_class": "stocks",
        "sip_mapping": {"CTA": condition.cta, "UTP": condition.utp},
        "update_rules": {"consolidated": rules, "market_center": rules},
        "data_types": ["trade"],
    }


def exchange_row(exchange: ExchangeCode) -> dict[str, Any]:
    """Return an exchange."""
    return {
        "id": exchange.number,
        "type": "exchange",
        "asset_class": "stocks",
        "locale": "us",
        "name": exchange.name,
        "mic": exchange.mic,
        "operating_mic": exchange.mic,
        "participant_id": exchange.letter,
    }
