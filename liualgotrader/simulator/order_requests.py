"""Request bodies and parameters of the trading API, read into the exchange's own requests.

Only the form is checked here (numbers, kinds of fields); the exchange checks whether an order makes sense.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import ROUND_DOWN, Decimal
from typing import Any

from aiohttp import web

from liualgotrader.common.untrusted import read_message
from liualgotrader.exchange.exchange_values import HeldPosition, OrderChanges, OrderRequest, Refusal
from liualgotrader.simulator.wire import count, number, parse_instant

BAD_BODY = (400, 40010000)
BAD_FIELD = (422, 40010001)
_NUMBERS = ("notional", "limit_price", "stop_price", "trail_price", "trail_percent")
_ALL_PERCENT = Decimal(100)
_NINE_PLACES = Decimal("1e-9")


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object in a request's body. Raises `Refusal` if there is none."""
    raw = await request.read()
    try:
        body = read_message(raw) if raw else {}
    except ValueError as e:
        raise Refusal(*BAD_BODY, f"request body format is invalid: {e}") from e
    if not isinstance(body, dict):
        raise Refusal(*BAD_BODY, "request body format is invalid")
    return body


def order_request(body: dict[str, Any]) -> OrderRequest:
    """Return the order that a POST /v2/orders body asks for. Raises `Refusal`."""
    numbers = {name: number_of(body, name) for name in _NUMBERS}
    target = _object(body, "take_profit")
    protection = _object(body, "stop_loss")
    return OrderRequest(
        symbol=(text_in(body, "symbol") or "").upper(),
        side=text_in(body, "side") or (text_in(body, "position_intent") or "").partition("_")[0],
        type=text_in(body, "type") or "",
        time_in_force=text_in(body, "time_in_force") or "",
        extended_hours=truth_in(body, "extended_hours"),
        client_order_id=text_in(body, "client_order_id"),
        order_class=text_in(body, "order_class") or "simple",
        take_profit_limit=number_of(target, "limit_price", "take_profit."),
        stop_loss_stop=number_of(protection, "stop_price", "stop_loss."),
        stop_loss_limit=number_of(protection, "limit_price", "stop_loss."),
        position_intent=text_in(body, "position_intent"),
        quantity=number_of(body, "qty"),
        **numbers,
    )


def replacement(body: dict[str, Any]) -> OrderChanges:
    """Return the terms that a PATCH /v2/orders/{id} body changes."""
    return OrderChanges(
        quantity=number_of(body, "qty"),
        time_in_force=text_in(body, "time_in_force"),
        limit_price=number_of(body, "limit_price"),
        stop_price=number_of(body, "stop_price"),
        trail=number_of(body, "trail"),
        client_order_id=text_in(body, "client_order_id"),
    )


def closing_order(position: HeldPosition, quantity: str | None, percentage: str | None) -> OrderRequest:
    """Return the market order that closes a position, or a part of it. Raises `Refusal`.

    A percentage of a position in whole shares is cut to whole shares.
    """
    if quantity is not None and percentage is not None:
        raise Refusal(*BAD_FIELD, "only one of qty or percentage is accepted")
    held = abs(position.quantity)
    shares = number_of({"qty": quantity}, "qty")
    part = number_of({"percentage": percentage}, "percentage")
    if part is not None:
        if not 0 < part <= _ALL_PERCENT:
            raise Refusal(*BAD_FIELD, "percentage must be between 0 and 100")
        step = Decimal(1) if held == held.to_integral_value() else _NINE_PLACES
        shares = (held * part / _ALL_PERCENT).quantize(step, ROUND_DOWN)
    return OrderRequest(
        symbol=position.symbol,
        side="sell" if position.quantity > 0 else "buy",
        type="market",
        time_in_force="day",
        quantity=held if shares is None else shares,
    )


def number_of(body: dict[str, Any], field: str, prefix: str = "") -> Decimal | None:
    """Return a field as a number, None if it is absent. Raises `Refusal` 422."""
    try:
        return number(body.get(field))
    except ValueError as e:
        raise Refusal(*BAD_FIELD, f"{prefix}{field} must be a number") from e


def text_in(body: dict[str, Any], field: str) -> str | None:
    """Return a field as text, None if it is absent. Raises `Refusal` 422."""
    value = body.get(field)
    if value is None or isinstance(value, str):
        return value
    raise Refusal(*BAD_FIELD, f"{field} must be a string")


def truth_in(body: dict[str, Any], field: str) -> bool:
    """Return a field as true or false, false if it is absent. Raises `Refusal` 422."""
    value = body.get(field)
    if value is None or isinstance(value, bool):
        return value is True
    raise Refusal(*BAD_FIELD, f"{field} must be a boolean")


def _object(body: dict[str, Any], field: str) -> dict[str, Any]:
    value = body.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(*BAD_FIELD, f"{field} must be an object")
    return value


def instant_in(request: web.Request, name: str, *, last: bool = False) -> int | None:
    """Return a query parameter as an instant, None if it is absent. Raises `Refusal` 422."""
    text = request.query.get(name)
    if not text:
        return None
    try:
        return parse_instant(text, last=last)
    except ValueError as e:
        raise Refusal(*BAD_FIELD, f"invalid {name}: {text}") from e


def word_in(request: web.Request, name: str, words: Collection[str], default: str = "") -> str:
    """Return a query parameter that is one of `words`, `default` if it is absent. Raises `Refusal` 422."""
    text = request.query.get(name) or default
    if text not in words:
        raise Refusal(*BAD_FIELD, f"invalid {name}: {text}")
    return text


def count_in(request: web.Request, name: str, default: int, largest: int) -> int:
    """Return a query parameter as a count from 1 to `largest`. Raises `Refusal` 422."""
    text = request.query.get(name)
    if not text:
        return default
    found = count(text)
    if found is None or not 1 <= found <= largest:
        raise Refusal(*BAD_FIELD, f"{name} must be between 1 and {largest}")
    return found
