"""Vendors' time texts and our instants."""

from __future__ import annotations

from datetime import datetime

from liualgotrader.common.clock import SECOND, as_utc, instant


def nanoseconds(text: str) -> int:
    """Return the ns UTC of an RFC 3339 time with 0 to 9 fractional digits.

    Raises:
        ValueError: if it is not one.

    >>> nanoseconds("2024-03-08T14:30:00.3Z") - nanoseconds("2024-03-08T09:30:00-05:00")
    300000000
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a time")
    head, dot, tail = text.partition(".")
    fraction = ""
    if dot:
        fraction = tail[: next((i for i, c in enumerate(tail) if not c.isdigit()), len(tail))]
        head += tail[len(fraction) :]
    return instant(datetime.fromisoformat(head)) + int(fraction[:9].ljust(9, "0"))


def rfc3339(at: int) -> str:
    """Return the instant as RFC 3339 UTC with nanoseconds.

    >>> rfc3339(1_709_908_200_000_000_001)
    '2024-03-08T14:30:00.000000001Z'
    """
    return f"{as_utc(at):%Y-%m-%dT%H:%M:%S}.{at % SECOND:09d}Z"
