"""Instants, numbers and JSON as they stand on Alpaca's wires.

Source: Alpaca trading API 2.0.1 and market data API 1.1. Money and quantities are JSON strings, instants
RFC 3339 with up to nine fractional digits, in msgpack the Timestamp extension.
"""

from __future__ import annotations

import re
import struct
from datetime import date, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import web

from liualgotrader.common import clock
from liualgotrader.common.calendar import day_of, new_york
from liualgotrader.common.clock import SECOND, as_datetime, nanoseconds
from liualgotrader.common.money import exact, plain
from liualgotrader.common.untrusted import LONGEST_NUMBER

MIDNIGHT = time(0, 0)
_NINE_PLACES = Decimal("1e-9")
_MOST_DIGITS = 15  # before the point
_FIRST_DAY, _LAST_DAY = date(1970, 1, 2), date(2099, 12, 30)
_LATEST = new_york(_LAST_DAY, MIDNIGHT)
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TIMESTAMP_64 = struct.Struct(">Q")
_TIMESTAMP_CODE = -1
_JSON = msgspec.json.Encoder()


@lru_cache(maxsize=4096)
def rfc3339(at: int) -> str:
    """Return the instant as RFC 3339 in UTC, nanoseconds without trailing zeros.

    >>> rfc3339(1_709_908_200_300_000_000)
    '2024-03-08T14:30:00.3Z'
    """
    return clock.rfc3339(at).rstrip("Z0").rstrip(".") + "Z"


def new_york_text(at: int) -> str:
    """Return the instant as RFC 3339 with New York's offset, nanoseconds if there are any."""
    moment = as_datetime(at)
    fraction = f".{at % SECOND:09d}" if at % SECOND else ""
    offset = f"{moment:%z}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{offset[:3]}:{offset[3:]}"


def timestamp_extension(at: int) -> msgspec.msgpack.Ext:
    """Return the instant as msgpack's Timestamp extension (type -1, 64 bits: 30 of ns, 34 of s)."""
    second, fraction = divmod(at, SECOND)
    return msgspec.msgpack.Ext(_TIMESTAMP_CODE, _TIMESTAMP_64.pack(fraction << 34 | second))


def parse_instant(text: str, *, last: bool = False) -> int:
    """Return the ns UTC of an RFC 3339 time or of a date (its midnight in New York; its end if `last`).

    Nothing happened before 1970 or will after 2100: what lies beyond is moved to these bounds.

    Raises:
        ValueError: if it is neither.
    """
    cleaned = text.strip().replace(" ", "+")  # an offset's "+" that was not URL-encoded
    if len(cleaned) > len("2024-03-08"):
        return min(max(nanoseconds(cleaned), 0), _LATEST)
    day = min(max(date.fromisoformat(cleaned), _FIRST_DAY), _LAST_DAY)
    return new_york(day + timedelta(days=1), MIDNIGHT) - 1 if last else new_york(day, MIDNIGHT)


def count(text: str) -> int | None:
    """Return a count, None if the text is none.

    >>> count("12"), count("²")
    (12, None)
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


def midnight_of(at: int) -> int:
    """Return New York's midnight before the instant."""
    return new_york(day_of(at), MIDNIGHT)


def number(value: object) -> Decimal | None:
    """Return a number of a request body, rounded to nine places against binary noise; None stays None.

    Raises:
        ValueError: if it is no finite number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a number")
    if isinstance(value, str) and not (len(value) <= LONGEST_NUMBER and _PLAIN_NUMBER.fullmatch(value)):
        raise ValueError(f"{value!r} is not a number")  # Decimal would read "1_000" and digits of other scripts
    found = exact(value)
    if found.adjusted() >= _MOST_DIGITS:
        raise ValueError(f"{value!r} is too large")
    return plain(found.quantize(_NINE_PLACES, ROUND_HALF_EVEN)) if found.as_tuple().exponent < -9 else found  # type: ignore[operator]


def text_of(value: Decimal) -> str:
    """Return a number as the vendor writes it: no exponent, no needless zeros."""
    return format(plain(value), "f") if value else "0"


def money(value: Decimal) -> str:
    """Return an amount with at least cents and at most nine places (`1000` is `1000.00`)."""
    shown = text_of(value.quantize(_NINE_PLACES, ROUND_HALF_EVEN))
    whole, _, cents = shown.partition(".")
    return f"{whole}.{cents.ljust(2, '0')}"


def whole_if_possible(value: float) -> float | int:
    """Return 100 for 100.0, as the vendor writes sizes, and fractions as they are."""
    return int(value) if value == int(value) else value


def flag(text: str | None) -> bool:
    """Return whether a query parameter is set; the vendor's client writes `True`."""
    return text is not None and text.lower() in ("true", "1")


def words(text: str | None) -> list[str]:
    """Return the parts of a comma list."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def answer(body: Any, status: int = 200) -> web.Response:
    """Return a JSON response."""
    return web.Response(body=_JSON.encode(body), status=status, content_type="application/json")


def failure(status: int, code: int, message: str, **extra: Any) -> web.Response:
    """Return the vendor's error body; its message is one line, whatever it says again of the request."""
    line = "".join(c if c.isprintable() else " " for c in message)
    return answer({"code": code, "message": line, **extra}, status)
