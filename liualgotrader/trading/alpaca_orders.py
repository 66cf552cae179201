"""Converts orders, executions and accounts between Alpaca's JSON and our types; no connection.

Source: Alpaca trading API 2.0.1, order and account objects, trade_updates stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, TypeVar

from liualgotrader.common import orders as ours
from liualgotrader.common.errors import BadData, BrokerRefused, BrokerUnreachable, UnusableRows
from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.untrusted import Fields

T = TypeVar("T")

# Any other status leaves an order working; the vendor's own word is kept beside ours.
STATES: Mapping[str, ours.OrderState] = {
    "partially_filled": ours.OrderState.PARTIALLY_FILLED,
    "filled": ours.OrderState.FILLED,
    "canceled": ours.OrderState.CANCELED,
    "expired": ours.OrderState.EXPIRED,
    "replaced": ours.OrderState.REPLACED,
    "rejected": ours.OrderState.REJECTED,
    "pending_cancel": ours.OrderState.PENDING_CANCEL,
    "pending_replace": ours.OrderState.PENDING_REPLACE,
}
EXECUTION_EVENTS = frozenset({"fill", "partial_fill"})
OTHER_ASSETS = ("us_option", "crypto", "crypto_perp")
_SIDES: Mapping[str, ours.Side] = {"buy": ours.Side.BUY, "sell": ours.Side.SELL, "sell_short": ours.Side.SELL}
TYPES: Mapping[str, ours.OrderType] = {str(one): one for one in ours.OrderType}  # trailing stops have none
_MOST_SEQUENCE = 2**62  # a larger one is no running number
_ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def order_body(order: ours.OrderIntent) -> dict[str, Any]:
    """Return the body of POST /orders; prices and quantities as exact text."""
    body: dict[str, Any] = {
        "symbol": order.symbol,
        "qty": str(plain(order.quantity)),
        "side": str(order.side),
        "type": str(order.type),
        "time_in_force": order.time_in_force,
        "client_order_id": order.client_order_id,
    }
    if order.type in (ours.OrderType.LIMIT, ours.OrderType.STOP_LIMIT):
        body["limit_price"] = str(order.limit_price)
    if order.type in (ours.OrderType.STOP, ours.OrderType.STOP_LIMIT):
        body["stop_price"] = str(order.stop_price)
    exits = {}
    if order.take_profit is not None:
        exits["take_profit"] = {"limit_price": str(order.take_profit)}
    if order.stop_loss is not None:
        exits["stop_loss"] = {"stop_price": str(order.stop_loss)}
    if exits:
        body |= exits | {"order_class": "bracket" if len(exits) == 2 else "oto"}
    return body


def replace_body(terms: ours.ReplaceIntent, client_order_id: str) -> dict[str, Any]:
    """Return the body of PATCH /orders/{id}: only the terms that change."""
    body: dict[str, Any] = {"client_order_id": client_order_id}
    for key, value in (("qty", terms.quantity), ("limit_price", terms.limit_price), ("stop_price", terms.stop_price)):
        if value is not None:
            body[key] = str(plain(value))
    return body


def is_shares(raw: Mapping[str, Any]) -> bool:
    """Return whether an order or a position is in shares; options and crypto are ignored."""
    return raw.get("asset_class") not in OTHER_ASSETS and raw.get("order_class") != "mleg"


def broker_order(raw: object) -> ours.BrokerOrder:
    """Return an order object as ours.

    Raises:
        BadData: if a field that every order has is missing, unreadable or contradicts another.
    """
    fields = Fields("an order of Alpaca's", raw)
    broker_order_id = fields.text("id")
    fields.what = f"order {broker_order_id} of Alpaca's"
    status = fields.text("status")
    filled = fields.number("filled_qty", least=ZERO)
    quantity = fields.positive_or_none("qty")
    if quantity is None and fields.positive_or_none("notional") is None:  # an order in dollars has no quantity
        raise fields.bad("qty", "a number of shares")
    if quantity is not None and filled > quantity:
        raise fields.bad("filled_qty", f"at most the order's {quantity}")
    average = fields.positive_or_none("filled_avg_price")
    if filled and average is None:
        raise fields.bad("filled_avg_price", f"the price of the {filled} shares filled")
    return ours.BrokerOrder(
        broker_order_id=broker_order_id,
        client_order_id=fields.text("client_order_id"),
        symbol=fields.text("symbol"),
        side=_side(fields),
        quantity=filled if quantity is None else quantity,
        filled_quantity=filled,
        average_price=average,
        state=STATES.get(status, ours.OrderState.ACKNOWLEDGED),
        vendor_status=status,
        submitted_at=submitted_at(fields),
        updated_at=fields.instant("updated_at" if fields.states("updated_at") else "created_at"),
        replaced_by=fields.text_or("replaced_by"),
        replaces=fields.text_or("replaces"),
        legs=tuple(broker_order(leg) for leg in fields.objects("legs") if is_shares(leg)),
        type=TYPES.get(fields.text_or("type")),
        limit_price=fields.positive_or_none("limit_price"),
        stop_price=fields.positive_or_none("stop_price"),
        time_in_force=fields.text_or("time_in_force"),
    )


def submitted_at(order: Fields) -> int:
    """Return when an order was submitted; one that waits for another has only been made."""
    return order.instant("submitted_at" if order.states("submitted_at") else "created_at")


def newest_submission(rows: Sequence[object]) -> int:
    """Return when the last of these orders that says so was submitted.

    Raises:
        BadData: if none says so.
    """
    for raw in reversed(rows):
        with suppress(BadData):
            return submitted_at(Fields("an order of Alpaca's", raw))
    raise BadData("none of Alpaca's orders on a page says when it was submitted")


def broker_update(raw: object, *, numbered: bool) -> ours.BrokerUpdate:
    """Return one message of trade_updates as ours; `numbered` says that event ids carry a running number.

    Raises:
        BadData: if the message is not an order update.
    """
    fields = Fields("an order update of Alpaca's", raw)
    order = broker_order(fields.raw.get("order"))
    fields.what = f"an update of order {order.broker_order_id} of Alpaca's"
    event = fields.text("event")
    stamp = next((name for name in ("timestamp", "at") if fields.states(name)), "")
    at = fields.instant(stamp) if stamp else order.updated_at
    execution = None
    if event in EXECUTION_EVENTS:
        execution = _execution(
            fields,
            execution_id=fields.text("execution_id"),
            broker_order_id=order.broker_order_id,
            symbol=order.symbol,
            side=order.side,
            at=at,
            cumulative_quantity=order.filled_quantity,
        )
    sequence = ulid_number(fields.text_or("event_id")) if numbered else 0
    return ours.BrokerUpdate(event, order, at, execution, sequence)


def broker_execution(raw: object) -> ours.BrokerExecution:
    """Return a FILL activity as ours; its id is `<time>::<execution id>`.

    Raises:
        BadData: if a field that every fill has is missing, unreadable or contradicts another.
    """
    fields = Fields("a fill of Alpaca's", raw)
    activity_id = fields.text("id")
    fields.what = f"fill {activity_id} of Alpaca's"
    return _execution(
        fields,
        execution_id=activity_id.rpartition("::")[2],
        broker_order_id=fields.text("order_id"),
        symbol=fields.text("symbol"),
        side=_side(fields),
        at=fields.instant("transaction_time"),
        cumulative_quantity=fields.positive("cum_qty"),
    )


def _execution(fields: Fields, *, cumulative_quantity: Decimal, **told: Any) -> ours.BrokerExecution:
    quantity = fields.positive("qty")
    if quantity > cumulative_quantity:
        raise fields.bad("qty", f"at most the {cumulative_quantity} that its order has filled")
    return ours.BrokerExecution(
        quantity=quantity,
        price=fields.positive("price"),
        fee=fields.number_or_none("fee", least=ZERO) or ZERO,
        cumulative_quantity=cumulative_quantity,
        **told,
    )


def broker_activity(raw: object) -> ours.BrokerActivity:
    """Return an activity that is no fill as ours; where only its day is told, it counts from its beginning in New York.

    Raises:
        BadData: if a field that every activity has is missing or unreadable.
    """
    fields = Fields("an activity of Alpaca's", raw)
    activity_id = fields.text("id")
    fields.what = f"activity {activity_id} of Alpaca's"
    return ours.BrokerActivity(
        activity_id=activity_id,
        kind=fields.text("activity_type"),
        at=fields.instant("transaction_time") if fields.states("transaction_time") else fields.beginning_of_day("date"),
        amount=fields.dollars("net_amount"),
        symbol=fields.text_or("symbol"),
        description=fields.text_or("description"),
    )


def broker_position(raw: object) -> ours.BrokerPosition:
    """Return a position object as ours, shorts negative.

    Raises:
        BadData: if a field that every position has is missing, unreadable or contradicts another.
    """
    fields = Fields("a position of Alpaca's", raw)
    symbol = fields.text("symbol")
    fields.what = f"Alpaca's position in {symbol}"
    quantity, side = fields.number("qty"), fields.text_or("side", "long" if fields.number("qty") > 0 else "short")
    if side not in ("long", "short") or (side == "long" and quantity < 0):
        raise fields.bad("side", f"the side of {quantity} shares")
    quantity = -abs(quantity) if side == "short" else quantity
    average = fields.number("avg_entry_price", least=ZERO)
    return ours.BrokerPosition(symbol, quantity, average, fields.price("current_price"), fields.price("lastday_price"))


def broker_account(raw: object) -> ours.BrokerAccount:
    """Return the account object as ours; a figure that it does not state, or states as nonsense, is unknown (None).

    Raises:
        BadData: if it does not say which account it is.
    """
    fields = Fields("Alpaca's account", raw)
    blocked = fields.flag("trading_blocked"), fields.flag("account_blocked")
    return ours.BrokerAccount(
        account_number=fields.text("account_number"),
        status=fields.text_or("status", "of unknown status"),
        equity=fields.dollars("equity"),
        cash=fields.dollars("cash"),
        buying_power=fields.dollars("buying_power"),
        last_equity=fields.dollars("last_equity"),
        shorting_enabled=fields.flag("shorting_enabled"),
        trading_blocked=True if True in blocked else None if None in blocked else False,
    )


def rows_of(answer: object, what: str) -> list[Any]:
    """Return the answer to a question whose answer is a list.

    Raises:
        BadData: if it is anything else.
    """
    if not isinstance(answer, list):
        raise BadData(f"Alpaca answered something else where a list of {what} was asked for")
    return answer


def broker_failure(error: Any, about: str) -> BrokerRefused | BrokerUnreachable:
    """Return an error of the client's as a refusal, or as an answer that leaves open whether the broker acted."""
    status = int(getattr(error, "status_code", 0) or 0)
    if status == 408 or status >= 500 or not status:
        return BrokerUnreachable(f"{about}: Alpaca answered {status}; it may have been carried out")
    code, message = 0, str(error)
    with suppress(Exception):  # the client's `.code` fails on bodies without one
        code, message = int(error.code), str(error.message)
    return BrokerRefused(message.strip()[:300] or "no reason given", status=status, code=code)


class RowReader:
    """Reads the rows of an answer one by one, and keeps apart those that cannot be used."""

    def __init__(self) -> None:
        self._errors: dict[str, BadData] = {}  # by sentence
        self._unread: list[ours.UnreadRow] = []

    def read(self, rows: Iterable[object], one: Callable[[object], T], *, order_id: str = "id") -> list[T]:
        """Return what `one` makes of each row that it can use and that is about shares; `order_id` names its order."""
        found: list[T] = []
        for raw in rows:
            if isinstance(raw, Mapping) and not is_shares(raw):
                continue
            try:
                found.append(one(raw))
            except BadData as error:
                self._errors[str(error)] = error
                self._unread += _unread_rows(raw, order_id)
        return found

    def require_all(self, good: Sequence[T]) -> Sequence[T]:
        """Return what was read.

        Raises:
            UnusableRows: if any row could not be used.
        """
        if self._errors:
            raise UnusableRows(list(self._errors.values()), self._unread, good)
        return good


def _unread_rows(raw: object, order_id: str) -> Iterator[ours.UnreadRow]:
    """Yield what a row that cannot be used is about, and each exit of an order."""
    if not isinstance(raw, Mapping):
        yield ours.UnreadRow()
        return
    yield ours.UnreadRow(
        symbol=stated_text(raw, "symbol"),
        broker_order_id=stated_text(raw, order_id),
        client_order_id=stated_text(raw, "client_order_id"),
    )
    legs = raw.get("legs")
    for leg in legs if isinstance(legs, list) else ():
        yield from _unread_rows(leg, order_id)


def stated_text(raw: object, name: str) -> str:
    """Return the text that a row has under a name, empty if it has none that can be used."""
    try:
        return Fields("a row", raw).text_or(name)
    except BadData:
        return ""


def _side(fields: Fields) -> ours.Side:
    """Return buy or sell; Alpaca's activities also say `sell_short`."""
    word = fields.text("side")
    if word not in _SIDES:
        raise fields.bad("side", "buy or sell")
    return _SIDES[word]


def ulid_number(ulid: str) -> int:
    """Return the number in the last 80 bits of a ULID, 0 if there is none."""
    number = 0
    for digit in ulid[-16:]:
        at = _ULID_DIGITS.find(digit)
        if at < 0:
            return 0
        number = number * 32 + at
    return number if number < _MOST_SEQUENCE else 0
