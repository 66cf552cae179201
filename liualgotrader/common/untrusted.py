"""Input from outside, read within bounds: whole messages, and the fields of one object of a vendor's answer.

A field that is absent, null, empty, of another type, not finite or out of bounds is never a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from datetime import time as clock_time
from decimal import Decimal
from typing import Any

import msgspec

from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import HOUR, nanoseconds
from liualgotrader.common.errors import BadData
from liualgotrader.common.money import LARGEST

MOST_DOLLARS = Decimal(10**13)  # no account holds more
MOST_PRICE = float(LARGEST)  # dollars per share on the tape
MOST_SIZE = 1e12  # shares of a print, a quote or a bar
EARLIEST, LATEST = 0, 150 * 365 * 24 * HOUR  # instants a vendor can mean: 1970 to about 2119
_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{0,30})?([eE][+-]?\d{1,2})?", re.ASCII)
_LONGEST_TEXT = 1000
_LONGEST_SHOWN = 60
_PRIVATE = ("account_number", "id")  # of an account: no sentence repeats them


class Fields:
    """Reads the fields of one object; `what` names it in every sentence, as in "order 61e6…"."""

    __slots__ = ("raw", "what")

    def __init__(self, what: str, raw: object) -> None:
        if not isinstance(raw, Mapping):
            raise BadData(f"{what}: {shown(raw)} instead of an object")
        self.what = what
        self.raw: Mapping[str, Any] = raw

    def bad(self, name: str, wanted: str) -> BadData:
        """Return the error for a field: what it holds, and what it must hold."""
        found = f"is {shown(self.raw[name])}" if name in self.raw else "is missing"
        if name in _PRIVATE and self.states(name):
            return BadData(f"{self.what}: {name} (not shown) is not {wanted}")
        return BadData(f"{self.what}: {name} {found}, not {wanted}")

    def states(self, name: str) -> bool:
        """Return whether the field is stated: not absent, null or empty."""
        value = self.raw.get(name)
        return value is not None and value != ""

    def text(self, name: str) -> str:
        """Return a text that is not empty and that files, messages and rows can hold."""
        value = self.raw.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT or not value.isprintable():
            raise self.bad(name, "a text")
        return value

    def text_or(self, name: str, default: str = "") -> str:
        """Return a text, `default` where the field is not stated."""
        return self.text(name) if self.states(name) else default

    def number(self, name: str, *, least: Decimal = -LARGEST, most: Decimal = LARGEST) -> Decimal:
        """Return a finite number between two bounds, both included, exactly as it is written."""
        value = number_of(self.raw.get(name))
        if value is None or not least <= value <= most:
            raise self.bad(name, f"a number from {least:,f} to {most:,f}")
        return value

    def number_or_none(self, name: str, *, least: Decimal = -LARGEST, most: Decimal = LARGEST) -> Decimal | None:
        """Return a number like `number`, None where the field is not stated."""
        return self.number(name, least=least, most=most) if self.states(name) else None

    def positive(self, name: str) -> Decimal:
        """Return a price or a number of shares above zero."""
        value = self.number(name)
        if value <= 0:
            raise self.bad(name, "above zero")
        return value

    def positive_or_none(self, name: str) -> Decimal | None:
        """Return a price or a number of shares above zero, None where the field is not stated."""
        return self.positive(name) if self.states(name) else None

    def objects(self, name: str) -> list[Mapping[str, Any]]:
        """Return a list of objects, empty where the field is not stated."""
        value = self.raw.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            raise self.bad(name, "a list of objects")
        return value

    def dollars(self, name: str) -> Decimal | None:
        """Return a figure of the account, None if it is unknown: not stated, or nothing that an account can hold."""
        value = number_of(self.raw.get(name))
        return None if value is None or abs(value) > MOST_DOLLARS else value

    def price(self, name: str) -> Decimal | None:
        """Return a price in dollars per share, None if it is unknown: not stated, or nothing that a share can cost."""
        value = number_of(self.raw.get(name))
        return value if value is not None and 0 < value <= LARGEST else None

    def flag(self, name: str) -> bool | None:
        """Return true or false, None if it is unknown."""
        value = self.raw.get(name)
        return value if isinstance(value, bool) else None

    def instant(self, name: str) -> int:
        """Return an instant, ns UTC, of an RFC 3339 time."""
        return self._instant(name, nanoseconds)

    def beginning_of_day(self, name: str) -> int:
        """Return the instant, ns UTC, at which a day begins in New York."""
        return self._instant(name, lambda text: new_york(date.fromisoformat(text[:10]), clock_time()))

    def _instant(self, name: str, read: Callable[[str], int]) -> int:
        value = self.raw.get(name)
        if not isinstance(value, str):
            raise self.bad(name, "a time")
        try:
            at = read(value)
        except (ValueError, OverflowError) as error:
            raise self.bad(name, "a time") from error
        if not EARLIEST < at < LATEST:
            raise self.bad(name, "a time of this century")
        return at


def number_of(value: object) -> Decimal | None:
    """Return a JSON number, or a text of one, as it is written; None if it is anything else or not finite."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return Decimal(str(value)) if math.isfinite(value) else None
    if isinstance(value, int):
        return Decimal(value) if abs(value) < 10**30 else None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    return None


def shown(value: object) -> str:
    """Return a value found as a sentence can hold it."""
    text = repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


# --- whole messages ----------------------------------------------------------------------------------

MOST_BYTES = 1 << 20  # of a request or a message to the simulated market
MOST_LINE_BYTES = 16 << 10  # of an operator's request
LONGEST_NUMBER = 64  # characters of a number as text, a count or a place
_DEEPEST = 16  # lists and objects in one another

Decode = Callable[[bytes], Any]


def read_message(
    data: bytes, decode: Decode = msgspec.json.decode, *, most: int = MOST_BYTES, deepest: int = _DEEPEST
) -> Any:
    """Return the contents of a message.

    Raises:
        ValueError: in one sentence, if it is too long, is not in its language, or is nested too deep.

    >>> read_message(b'{"a": [1]}')
    {'a': [1]}
    """
    if len(data) > most:
        raise ValueError(f"a message may have {most} bytes, and this one has more")
    too_deep = ValueError(f"lists and objects may be nested {deepest} deep, and these are deeper")
    try:
        found = decode(data)
    except RecursionError:
        raise too_deep from None
    except ValueError as error:
        raise ValueError(f"the message cannot be read: {error}") from None
    level = [found]
    for _ in range(deepest + 1):  # a list of numbers is one level
        level = [one for one in level if isinstance(one, dict | list | tuple)]
        if not level:
            return found
        level = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
    raise too_deep
