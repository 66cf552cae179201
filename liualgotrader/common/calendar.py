"""Sessions of the New York Stock Exchange from 1998-01-01: which days trade, and from when until when.

The days come from the `exchange_calendars` package, which is imported on first use only (it costs about half a second),
so the supervisor asks here once and passes on integers. Unscheduled changes are listed below and hold with every version
of the package:

* 2018-12-05 and the other days on which the exchange stayed shut at short notice are not sessions.
* On 2002-09-11 the exchange opened at noon.

Halts inside a session (2001-06-08, 2005-06-01, 2015-07-08, market-wide circuit breakers) and moments of
silence of a few minutes leave a session's bounds as they are.

Source: NYSE, "Holidays & Trading Hours" and the exchange's list of special closings.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from operator import attrgetter

from liualgotrader.common.clock import HOUR, MINUTE, NEW_YORK, as_datetime, instant
from liualgotrader.common.errors import ConfigError

FIRST_DAY = date(1998, 1, 1)
LAST_DAY = date(2050, 12, 31)

UNSCHEDULED_CLOSURES = frozenset(
    (
        date(2001, 9, 11),  # attack on the World Trade Center
        date(2001, 9, 12),
        date(2001, 9, 13),
        date(2001, 9, 14),
        date(2004, 6, 11),  # funeral of President Reagan
        date(2007, 1, 2),  # funeral of President Ford
        date(2012, 10, 29),  # hurricane Sandy
        date(2012, 10, 30),
        date(2018, 12, 5),  # funeral of President G. H. W. Bush
        date(2025, 1, 9),  # funeral of President Carter
    )
)
LATE_OPENINGS = {date(2002, 9, 11): time(12, 0)}  # memorial services, one year after the attack

PRE_MARKET = time(4, 0)
LAST_MINUTE = time(23, 50)  # the end of a session that ignores market hours
POST_MARKET_LENGTH = 4 * HOUR  # 16:00 to 20:00; on a half day 13:00 to 17:00
_LONGEST_CLOSURE = timedelta(days=15)  # and more
_DAY = attrgetter("day")


@dataclass(frozen=True, slots=True, order=True)
class TradingSession:
    """One trading day: `[opens_at, closes_at)` is regular trading, instants are ns UTC."""

    day: date
    opens_at: int
    closes_at: int

    @property
    def pre_opens_at(self) -> int:
        """When the early session begins: 04:00 New York."""
        return new_york(self.day, PRE_MARKET)

    @property
    def post_closes_at(self) -> int:
        """When the late session ends: 20:00 New York, 17:00 on a half day."""
        return self.closes_at + POST_MARKET_LENGTH

    @property
    def minutes(self) -> int:
        """How many minutes regular trading lasts: 390, or 210 on a half day."""
        return (self.closes_at - self.opens_at) // MINUTE

    def is_open(self, at: int) -> bool:
        """Return whether `at` lies in regular trading."""
        return self.opens_at <= at < self.closes_at


def new_york(day: date, at: time) -> int:
    """Return the instant, ns UTC, at which the clocks of New York show `at` on `day`."""
    return instant(datetime.combine(day, at, tzinfo=NEW_YORK))


def day_of(at: int) -> date:
    """Return the date in New York at an instant."""
    return as_datetime(at).date()


def session_of(day: date) -> TradingSession | None:
    """Return the session of `day`, None if the exchange stays shut.

    Raises:
        ConfigError: if `day` lies outside 1998-01-01 to 2050-12-31.
    """
    return next(iter(sessions(day, day)), None)


def whole_day(day: date) -> TradingSession:
    """Return a day without a session as one: from midnight to 23:50, so that its end lies on the same day."""
    return TradingSession(day, new_york(day, time(0, 0)), new_york(day, LAST_MINUTE))


def sessions(start: date, end: date) -> list[TradingSession]:
    """Return the sessions from `start` to `end`, both included, in order.

    Raises:
        ConfigError: if either lies outside 1998-01-01 to 2050-12-31.
    """
    _must_be_known(start)
    _must_be_known(end)
    known = _sessions()
    return list(known[bisect_left(known, start, key=_DAY) : bisect_right(known, end, key=_DAY)])


def previous_sessions(day: date, n: int) -> list[TradingSession]:
    """Return the last `n` sessions before `day`, oldest first; fewer where 1998 begins.

    Raises:
        ConfigError: if `day` lies outside 1998-01-01 to 2050-12-31.
    """
    _must_be_known(day)
    known = _sessions()
    stop = bisect_left(known, day, key=_DAY)
    return list(known[max(0, stop - n) : stop])


def session_at_or_after(at: int) -> TradingSession:
    """Return the session whose regular trading is going on at the instant, else the next one to open.

    Raises:
        ConfigError: if that lies outside 1998-01-01 to 2050-12-31.
    """
    day = day_of(at)
    for session in sessions(day, min(day + _LONGEST_CLOSURE, LAST_DAY)):
        if at < session.closes_at:
            return session
    raise ConfigError(f"No session after {day} is known; the calendar ends on {LAST_DAY}.")


@lru_cache(maxsize=1)
def _sessions() -> Sequence[TradingSession]:
    """Return all sessions in order, made once a process."""
    import exchange_calendars

    with warnings.catch_warnings():  # the package uses what newer versions of pandas warn about
        warnings.simplefilter("ignore", DeprecationWarning)
        calendar = exchange_calendars.get_calendar("XNYS", start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat())
        midnights, opens, closes = calendar.sessions_nanos, calendar.opens_nanos, calendar.closes_nanos
    epoch = date(1970, 1, 1)
    found = []
    for midnight, opens_at, closes_at in zip(midnights.tolist(), opens.tolist(), closes.tolist(), strict=True):
        day = epoch + timedelta(days=midnight // (24 * HOUR))
        if day not in UNSCHEDULED_CLOSURES:
            late = LATE_OPENINGS.get(day)
            found.append(TradingSession(day, opens_at if late is None else new_york(day, late), closes_at))
    return tuple(found)


def _must_be_known(day: date) -> None:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ConfigError(f"No sessions are known for {day}; the calendar covers {FIRST_DAY} to {LAST_DAY}.")
