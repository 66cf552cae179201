"""Reads action dictionaries, which the original's methods return, and makes what users give us storable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from liualgotrader.common.money import LARGEST, exact, whole_parts
from liualgotrader.common.orders import OrderType, Side, word
from liualgotrader.strategies.context import WantedOrder

SIDES = {
    "buy": Side.BUY,
    "sell": Side.SELL,
    "sell_short": Side.SELL,
    "buy_short": Side.BUY,
    "buy_to_cover": Side.BUY,
}
_TYPES = {kind.value: kind for kind in OrderType}
_PRICES = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("limit_price",),
    OrderType.STOP: ("stop_price",),
    OrderType.STOP_LIMIT: ("limit_price", "stop_price"),
}
_PRICE_WORDS = ("limit_price", "stop_price", "take_profit", "stop_loss", "planned_stop", "planned_target")
_LONGEST = 500  # characters kept of a text, or of a value that only its text can show
_DEEPEST = 20  # levels of a value that are kept; what lies below becomes text
_LEAST, _MOST = -(2**63), 2**64 - 1  # whole numbers that a message holds
TIMES_IN_FORCE = ("day", "gtc", "ioc", "fok", "opg", "cls")


class BadAction(Exception):
    """An action that is no order; the message is one sentence."""


def read_action(action: object) -> WantedOrder:
    """Return the order that an action dictionary asks for.

    `side` is buy, sell, sell_short, buy_short or buy_to_cover; `qty` a number or its text, of which what is finer
    than 1e-9 shares is left out; `type` market, limit, stop or stop_limit, with `limit_price` and `stop_price` as
    numbers or text. A quantity below 0 stays one and is refused: turned into the other side, what `calc_qty` makes of
    an overdrawn account would be sold short.

    Raises:
        BadAction: the sentence names the key and the value found.
    """
    if not isinstance(action, Mapping):
        raise BadAction(f"an action must be a dict, not {type(action).__name__}")
    side = SIDES.get(str(action.get("side", "")).lower())
    if side is None:
        raise BadAction(f"side {action.get('side')!r} is not one of {', '.join(SIDES)}")
    quantity = whole_parts(_number(action, "qty"))
    kind = _TYPES.get(str(action.get("type", "")).lower())
    if kind is None:
        raise BadAction(f"type {action.get('type')!r} is not one of {', '.join(_TYPES)}")
    prices: dict[str, Decimal] = {}
    for key in _PRICES[kind]:
        prices[key] = _number(action, key)
        if prices[key] <= 0:
            raise BadAction(f"{key} must be above 0, not {action[key]!r}")
    time_in_force = str(action.get("time_in_force", "day")).lower()
    if time_in_force not in TIMES_IN_FORCE:
        raise BadAction(f"time_in_force {time_in_force!r} is not one of {', '.join(TIMES_IN_FORCE)}")
    return WantedOrder(
        side,
        quantity,
        limit=prices.get("limit_price"),
        stop=prices.get("stop_price"),
        time_in_force=time_in_force,
        reason=str(action.get("reason", "")),
    )


def says_reject(action: object) -> bool:
    """Whether the action ends the symbol for its strategy."""
    try:
        return isinstance(action, Mapping) and bool(action.get("reject"))
    except ValueError:  # an array is neither true nor false
        return False


def stored(action: object) -> dict[str, Any]:
    """Return an action as a row can hold it."""
    return storable(action) if isinstance(action, Mapping) else {"returned": plain_text(repr(action))}


def storable(value: Any, levels: int = _DEEPEST) -> Any:
    """Return a user's value as messages and rows can hold it; what they cannot hold becomes text."""
    if isinstance(value, Mapping) and levels:
        return {plain_text(key): storable(one, levels - 1) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)) and levels:
        return [storable(one, levels - 1) for one in value]
    if value is None or isinstance(value, bool) or (isinstance(value, int) and _LEAST <= value <= _MOST):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if hasattr(value, "tolist"):  # NumPy and pandas
        return storable(value.tolist(), levels)
    return plain_text(value)


def plain_text(value: object) -> str:
    r"""Return the text of a user's value as messages and rows can hold it: without NUL and lone surrogates, not long.

    >>> plain_text("broken \ud800 file\0")
    'broken ? file'
    """
    text = str(value)[:_LONGEST].replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def described(wanted: WantedOrder, *, stop: Decimal | None = None, target: Decimal | None = None) -> dict[str, Any]:
    """Return an order asked for through a context in the words of an action dictionary."""
    words = {"side": word(wanted.side), "qty": str(wanted.quantity)[:_LONGEST], "type": word(wanted.type)}
    prices = wanted.limit, wanted.stop, wanted.take_profit, wanted.stop_loss, stop, target
    if prices.count(None) < len(prices):
        priced = zip(_PRICE_WORDS, prices, strict=True)
        words |= {key: str(price)[:_LONGEST] for key, price in priced if price is not None}
    if wanted.reason not in (None, ""):
        words["reason"] = plain_text(wanted.reason)
    return words


def _number(action: Mapping[str, Any], key: str) -> Decimal:
    value = action.get(key)
    if value is None:
        raise BadAction(f"{key} is missing")
    if isinstance(value, bool):
        raise BadAction(f"{key} must be a number, not {value!r}")
    try:
        number = exact(value)
    except ValueError:
        raise BadAction(f"{key} must be a number, not {value!r:.40}") from None
    if abs(number) > LARGEST:
        raise BadAction(f"{key} must be at most {LARGEST}, not {value!r:.40}")
    return number
