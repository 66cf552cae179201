"""Alpaca's words for orders, executions and accounts, and ours: pure, no connection.

Source: Alpaca trading API 2.0.1, order and account objects, trade_updates stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from liualgotrader.common.errors import BadData
from liualgotrader.common.fields import Fields
from liualgotrader.common.money import exact, plain
from liualgotrader.common.orders import (
    BrokerAccount,
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    BrokerUpdate,
    OrderIntent,
    OrderState,
    OrderType,
    ReplaceIntent,
    Side,
)
from liualgotrader.common.rfc3339 import nanoseconds

# Statuses that are not named here leave an order working; the vendor's own word is kept beside ours.
STATES: Mapping[str, OrderState] = {
    "partially_filled": OrderState.PARTIALLY_FILLED,
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "replaced": OrderState.REPLACED,
    "rejected": OrderState.REJECTED,
    "pending_cancel": OrderState.PENDING_CANCEL,
    "pending_replace": OrderState.PENDING_REPLACE,
}
EXECUTION_EVENTS = frozenset({"fill", "partial_fill"})
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)  # what reading an answer of another form raises
_ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def order_body(order: OrderIntent) -> dict[str, Any]:
    """Return the body of POST /orders; prices and quantities as exact text."""
    body: dict[str, Any] = {
        "symbol": order.symbol,
        "qty": str(plain(order.quantity)),
        "side": str(order.side),
        "type": str(order.type),
        "time_in_force": order.time_in_force,
        "client_order_id": order.client_order_id,
    }
    if order.type in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        body["limit_price"] = str(order.limit_price)
    if order.type in (OrderType.STOP, OrderType.STOP_LIMIT):
        body["stop_price"] = str(order.stop_price)
    exits = {}
    if order.take_profit is not None:
        exits["take_profit"] = {"limit_price": str(order.take_profit)}
    if order.stop_loss is not None:
        exits["stop_loss"] = {"stop_price": str(order.stop_loss)}
    if exits:
        body |= exits | {"order_class": "bracket" if len(exits) == 2 else "oto"}
    return body


def replace_body(terms: ReplaceIntent, client_order_id: str) -> dict[str, Any]:
    """Return the body of PATCH /orders/{id}: only the terms that change."""
    body: dict[str, Any] = {"client_order_id": client_order_id}
    for key, value in (("qty", terms.quantity), ("limit_price", terms.limit_price), ("stop_price", terms.stop_price)):
        if value is not None:
            body[key] = str(plain(value))
    return body


def broker_order(raw: Mapping[str, Any]) -> BrokerOrder:
    """Return an order object as ours.

    Raises:
        BadData: if a field that every order has is missing or unreadable.
    """
    try:
        status = str(raw["status"])
        return BrokerOrder(
            broker_order_id=str(raw["id"]),
            client_order_id=str(raw["client_order_id"]),
            symbol=str(raw.get("symbol") or ""),
            side=side(raw.get("side")),
            quantity=exact(raw.get("qty") or raw.get("filled_qty") or 0),
            filled_quantity=exact(raw.get("filled_qty") or 0),
            average_price=optional(raw.get("filled_avg_price")),
            state=STATES.get(status, OrderState.ACKNOWLEDGED),
            vendor_status=status,
            submitted_at=nanoseconds(raw.get("submitted_at") or raw["created_at"]),
            updated_at=nanoseconds(raw.get("updated_at") or raw["created_at"]),
            replaced_by=str(raw.get("replaced_by") or ""),
            replaces=str(raw.get("replaces") or ""),
            legs=tuple(broker_order(leg) for leg in raw.get("legs") or ()),
            type=_order_type(raw.get("type")),
            limit_price=optional(raw.get("limit_price")),
            stop_price=optional(raw.get("stop_price")),
        )
    except _UNREADABLE as e:
        raise _unreadable("an order", raw, e) from e


def broker_update(data: Mapping[str, Any], *, numbered: bool) -> BrokerUpdate:
    """Return one message of trade_updates as ours; `numbered` says that event ids carry a running number.

    Raises:
        BadData: if the message is not an order update.
    """
    try:
        order = broker_order(data["order"])
        event = str(data["event"])
        at = nanoseconds(data.get("timestamp") or data.get("at") or data["order"]["updated_at"])
        return BrokerUpdate(
            event=event,
            order=order,
            at=at,
            execution=_execution_of_update(data, order, at) if event in EXECUTION_EVENTS else None,
            sequence=ulid_number(str(data.get("event_id") or "")) if numbered else 0,
        )
    except _UNREADABLE as e:
        raise _unreadable("an order update", data, e) from e


def _execution_of_update(data: Mapping[str, Any], order: BrokerOrder, at: int) -> BrokerExecution:
    return BrokerExecution(
        execution_id=str(data["execution_id"]),
        broker_order_id=order.broker_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=exact(data["qty"]),
        price=exact(data["price"]),
        fee=exact(data.get("fee") or 0),
        at=at,
        cumulative_quantity=order.filled_quantity,
    )


def broker_execution(raw: Mapping[str, Any]) -> BrokerExecution:
    """Return a FILL activity as ours; its id is `<time>::<execution id>`.

    Raises:
        BadData: if a field that every fill has is missing.
    """
    try:
        return BrokerExecution(
            execution_id=str(raw["id"]).rpartition("::")[2],
            broker_order_id=str(raw["order_id"]),
            symbol=str(raw["symbol"]),
            side=side(raw["side"]),
            quantity=exact(raw["qty"]),
            price=exact(raw["price"]),
            fee=exact(raw.get("fee") or 0),
            at=nanoseconds(raw["transaction_time"]),
            cumulative_quantity=exact(raw["cum_qty"]),
        )
    except _UNREADABLE as e:
        raise _unreadable("a fill", raw, e) from e


def broker_position(raw: Mapping[str, Any]) -> BrokerPosition:
    """Return a position object as ours, shorts negative.

    Raises:
        BadData: if a field that every position has is missing or unreadable.
    """
    try:
        quantity = exact(raw["qty"])
        if raw.get("side") == "short" and quantity > 0:
            quantity = -quantity
        return BrokerPosition(str(raw["symbol"]), quantity, exact(raw["avg_entry_price"]))
    except _UNREADABLE as e:
        raise _unreadable("a position", raw, e) from e


def broker_account(raw: Mapping[str, Any]) -> BrokerAccount:
    """Return the account object as ours; a figure that it does not state, or states as nonsense, is unknown (None).

    Raises:
        BadData: if it does not say which account it is.
    """
    fields = Fields("Alpaca's account", raw)
    blocked = fields.flag("trading_blocked"), fields.flag("account_blocked")
    return BrokerAccount(
        account_number=fields.text("account_number"),
        status=fields.text_or("status", "of unknown status"),
        equity=fields.dollars("equity"),
        cash=fields.dollars("cash"),
        buying_power=fields.dollars("buying_power"),
        last_equity=fields.dollars("last_equity"),
        shorting_enabled=fields.flag("shorting_enabled"),
        trading_blocked=True if True in blocked else None if None in blocked else False,
    )


def rows_of(answer: object, what: str) -> list[Mapping[str, Any]]:
    """Return the answer to a question whose answer is a list of objects.

    Raises:
        BadData: if it is anything else.
    """
    if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
        raise BadData(f"Alpaca answered something else where a list of {what} was asked for")
    return answer


def _unreadable(what: str, raw: object, error: Exception) -> BadData:
    """Return the error that names the fields that are there."""
    there = sorted(map(str, raw)) if isinstance(raw, Mapping) else type(raw).__name__
    return BadData(f"{what} of Alpaca's without its fields ({error}): {there}")


def _order_type(word: object) -> OrderType | None:
    """Return the type by our name for it; trailing stops and whatever comes later have none."""
    return OrderType(str(word)) if str(word) in set(OrderType) else None


def side(word: object) -> Side:
    """Return buy or sell; Alpaca's activities also say `sell_short`."""
    return Side.SELL if str(word).startswith("sell") else Side.BUY


def optional(value: object) -> Decimal | None:
    """Return a number that may be absent."""
    return None if value in (None, "") else exact(str(value))


def ulid_number(ulid: str) -> int:
    """Return the number in the last 80 bits of a ULID, 0 if there is none."""
    number = 0
    for digit in ulid[-16:]:
        at = _ULID_DIGITS.find(digit)
        if at < 0:
            return 0
        number = number * 32 + at
    return number
