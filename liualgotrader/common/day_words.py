"""Days as a person writes them: `2020-10-18`, `yesterday`, `3 months ago`, `last monday`, `18 Oct 2020`."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from liualgotrader.common.errors import ConfigError

_AGO = re.compile(r"(\d{1,5}|an?|last) (day|week|month|year)s?(?: ago)?")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def day_from(text: str, today: date) -> date:
    """Return the day that `text` names on the day `today`.

    It may be an ISO date, `today`, `yesterday`, `N days` (weeks, months, years) `ago`, `last week` (month, year: the day
    one before today), a weekday (the newest before today, with or without `last`), or a date with day, month and
    year in English; 10/11/2020 is the eleventh of October.

    Raises:
        ConfigError: if it is none of these.

    >>> str(day_from("3 months ago", date(2020, 5, 31)))
    '2020-02-29'
    """
    words = " ".join(text.lower().split())
    with suppress(ValueError):
        return date.fromisoformat(words)
    if words in ("today", "now"):
        return today
    if words == "yesterday":
        return today - timedelta(days=1)
    weekday = words.removeprefix("last ")
    if weekday in _WEEKDAYS:
        return today - timedelta(days=(today.weekday() - _WEEKDAYS.index(weekday) - 1) % 7 + 1)
    try:
        return _ago(words, today) or _stated(words)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"'{text}' is not a day: write one like 2020-10-18, or words such as `yesterday` or `3 months ago`"
        ) from None


def _ago(words: str, today: date) -> date | None:
    found = _AGO.fullmatch(words)
    if found is None or (found[1] == "last") is words.endswith(" ago"):
        return None
    from dateutil.relativedelta import relativedelta

    count = int(found[1]) if found[1].isdecimal() else 1
    day: date = today - relativedelta(**{f"{found[2]}s": count})
    return day


def _stated(words: str) -> date:
    """Return the date, if `words` state all of it: then it does not depend on what stands for what is left out."""
    from dateutil import parser

    stand_ins = datetime(2000, 1, 1, tzinfo=UTC), datetime(2001, 2, 2, tzinfo=UTC)
    first, second = (parser.parse(words, default=day).date() for day in stand_ins)
    if first != second:
        raise ValueError(words)
    day: date = first
    return day
