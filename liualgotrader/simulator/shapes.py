"""Orders, positions, accounts, bars, quotes and prints as Alpaca writes them.

Source: Alpaca trading API 2.0.1 and market data API 1.1. Fields that alpaca-py 0.44 requires are always there; `fee` on
fills is the simulated market's own addition. Conditions of prints: `@` regular sale, `I` odd lot and `W` average price
(count for volume only), `4` derivatively priced (for high, low and volume), `M` market center's official close (for
nothing), `O` and `6` the prints of the opening and closing auctions (for all).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec import UNSET, UnsetType

from liualgotrader.common.calendar import day_of, new_york
from liualgotrader.common.clock import MILLISECOND, as_datetime
from liualgotrader.common.events import Bar, Counts, Quote, Status, TradeTick
from liualgotrader.common.money import ZERO
from liualgotrader.exchange import exchange_values as values
from liualgotrader.simulator.asset_codes import VenueCode, asset_id
from liualgotrader.simulator.wire import MIDNIGHT, money, rfc3339, text_of, whole_if_possible

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
_VOLUME = int(Counts.VOLUME)
_CONDITIONS = {int(Counts.HIGH_LOW | Counts.VOLUME): ("@", "4"), int(Counts.NOTHING): ("M",)}
_OPENING = int(Counts.OPENING_CROSS)
_CROSSES = _OPENING | int(Counts.CLOSING_CROSS)
_QUOTE_REGULAR = ("R",)
_UTP_CODES = {True: ("H", "Trading Halt"), False: ("T", "Trading Resumption")}
_CTA_CODES = {True: ("2", "Trading Halt"), False: ("3", "Resume")}
_ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SEQUENCE_BITS = 80


def _fields(source: object, names: str, write: Callable[[Any], object] = lambda value: value) -> dict[str, Any]:
    """Return fields of `source` under their own names, written as the wire has them; one that is None stays None."""
    found = {name: getattr(source, name) for name in names.split()}
    return {name: None if value is None else write(value) for name, value in found.items()}


def order_body(order: values.OrderView, *, nested: bool = True) -> dict[str, Any]:
    """Return an order object, with its legs unless they are listed on their own."""
    return {
        **_fields(order, "id client_order_id symbol order_class type position_intent time_in_force status"),
        **_fields(order, "extended_hours replaced_by replaces"),
        **_fields(order, "created_at updated_at submitted_at filled_at expired_at expires_at", rfc3339),
        **_fields(order, "canceled_at failed_at replaced_at cancel_requested_at", rfc3339),
        **_fields(order, "notional limit_price stop_price trail_percent trail_price hwm", text_of),
        "asset_id": str(asset_id(order.symbol)),
        "asset_class": "us_equity",
        "qty": None if order.quantity is None else text_of(order.quantity),
        "filled_qty": text_of(order.filled_quantity),
        "filled_avg_price": None if order.filled_average_price is None else text_of(order.filled_average_price),
        "order_type": order.type,
        "side": str(order.side),
        "legs": [order_body(leg) for leg in order.legs] if nested and order.legs else None,
        "subtag": None,
        "source": None,
    }


def position_body(position: values.HeldPosition) -> dict[str, Any]:
    """Return a position object; a short one has a negative quantity."""
    return {
        **_fields(position, "symbol exchange asset_marginable side"),
        **_fields(position, "market_value cost_basis unrealized_pl unrealized_intraday_pl", money),
        **_fields(
            position, "unrealized_plpc unrealized_intraday_plpc current_price lastday_price change_today", text_of
        ),
        "asset_id": str(asset_id(position.symbol)),
        "asset_class": "us_equity",
        "qty": text_of(position.quantity),
        "qty_available": text_of(position.quantity_available.copy_sign(position.quantity)),
        "avg_entry_price": text_of(position.average_entry_price),
    }


def account_body(account: values.AccountView) -> dict[str, Any]:
    """Return the account object; its id is the same in every session."""
    return {
        **_fields(account, "cash equity last_equity portfolio_value sma accrued_fees", money),
        **_fields(account, "buying_power regt_buying_power non_marginable_buying_power", money),
        **_fields(account, "long_market_value short_market_value", money),
        **_fields(account, "initial_margin maintenance_margin last_maintenance_margin", money),
        **_fields(account, "multiplier trading_blocked trade_suspended_by_user shorting_enabled"),
        "id": account_uuid(account.account_id),
        "account_number": account.account_id,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "options_buying_power": money(ZERO),
        "transfers_blocked": False,
        "account_blocked": False,
        "created_at": rfc3339(account.created_at),
    }


def account_uuid(account_id: str) -> str:
    """Return the id that the account has on the wires."""
    return str(uuid5(NAMESPACE_URL, f"simulated-market/accounts/{account_id}"))


def configuration_body(settings: values.AccountSettings) -> dict[str, Any]:
    """Return the account's configuration."""
    return {
        **_fields(settings, "fractional_trading no_shorting suspend_trade"),
        "max_margin_multiplier": str(settings.max_margin_multiplier),
        "dtbp_check": "entry",
        "max_options_trading_level": None,
        "pdt_check": "entry",
        "ptp_no_exception_entry": False,
        "trade_confirm_email": "none",
    }


def asset_body(terms: values.AssetTerms) -> dict[str, Any]:
    """Return an asset object, with `easy_to_borrow` and with `borrow_status` that replaced it."""
    borrowing = "not_shortable"
    if terms.shortable:
        borrowing = "easy_to_borrow" if terms.easy_to_borrow else "hard_to_borrow"
    return {
        **_fields(terms, "exchange symbol tradable marginable shortable easy_to_borrow fractionable"),
        "id": str(asset_id(terms.symbol)),
        "class": "us_equity",
        "name": terms.name or terms.symbol,
        "status": "active",
        "borrow_status": borrowing,
        "maintenance_margin_requirement": 30,
        "attributes": [],
    }


def activity_body(activity: values.Activity | values.CashActivity) -> dict[str, Any]:
    """Return an activity; everything is text. One that is no trade has its day only."""
    if isinstance(activity, values.CashActivity):
        return {
            **_fields(activity, "id activity_type description"),
            "date": f"{as_datetime(activity.at):%Y-%m-%d}",
            "net_amount": money(activity.amount),
            "status": "executed",
            **({"symbol": activity.symbol} if activity.symbol else {}),
        }
    return {
        **_fields(activity, "id activity_type type symbol order_id order_status"),
        "transaction_time": rfc3339(activity.at),
        "side": str(activity.side),
        "price": text_of(activity.price),
        "qty": text_of(activity.quantity),
        "cum_qty": text_of(activity.cumulative_quantity),
        "leaves_qty": text_of(activity.leaves_quantity),
        "fee": money(activity.fee),
    }


def update_body(update: values.Update) -> dict[str, Any]:
    """Return the `data` of a trade_updates message; the order shows the state after the event."""
    body: dict[str, Any] = {
        "event": update.event,
        "event_id": ulid(update.at, update.sequence),
        "at": rfc3339(update.at),
        "timestamp": rfc3339(update.at),
        "order": order_body(update.order),
    }
    execution = update.execution
    if execution is not None:
        body |= {
            "execution_id": execution.execution_id,
            "price": text_of(execution.price),
            "qty": text_of(execution.quantity),
            "position_qty": text_of(execution.position_quantity),
            "fee": money(execution.fee),
        }
    return body


def ulid(at: int, sequence: int) -> str:
    """Return a ULID: 48 bits of market milliseconds, then the account's update number in 80 bits.

    >>> ulid(0, 33)
    '00000000000000000000000011'
    """
    number = at // MILLISECOND << _SEQUENCE_BITS | sequence
    return "".join(_ULID_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


# --- market data: on REST instants are text; on the stream text in JSON and the Timestamp extension in msgpack


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
    u: str | UnsetType = UNSET  # canceled, corrected


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
    if flags == _VOLUME:
        return ("@", "I") if size < ODD_LOT_BELOW else ("@", "W")
    return _CONDITIONS.get(flags, ("@",))


def trade_row(trade: TradeTick, number: int, venue: VenueCode) -> TradePrint:
    """Return a print for the REST history."""
    return historic(trade_message(trade, number, venue, rfc3339(trade.at)))


def auction_print(trade: TradeTick, letter: str) -> dict[str, Any]:
    """Return the print of an auction; its condition is the last of the print's."""
    condition = conditions_of(trade.flags, trade.size)[-1]
    size = whole_if_possible(trade.size)
    return {"t": rfc3339(trade.at), "x": letter, "p": trade.price, "s": size, "c": condition}


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
