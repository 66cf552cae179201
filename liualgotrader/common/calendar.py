"""Sessions of the New York Stock Exchange from 1998-01-01: which days trade, and from when until when.

The days follow from the exchange's own rules, a year at a time; a test compares them with the `exchange_calendars`
package, whose import would cost a second. What no rule foresaw is listed below:

* 2018-12-05 and the other days on which the exchange stayed shut at short notice are not sessions.
* On 2002-09-11 the exchange opened at noon.

Halts inside a session (2001-06-08, 2005-06-01, 2015-07-08, market-wide circuit breakers) and moments of
silence of a few minutes leave a session's bounds as they are.

Source: NYSE Rule 7.2 (holidays), "Holidays & Trading Hours" and the exchange's list of special closings.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from operator import attrgetter

from liualgotrader.common.clock import DAY, HOUR, MINUTE, NEW_YORK, as_datetime, instant
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
UNSCHEDULED_HALF_DAYS = frozenset((date(1999, 12, 31), date(2003, 12, 26)))

PRE_MARKET = time(4, 0)
LAST_MINUTE = time(23, 50)  # the end of a session that ignores market hours
POST_MARKET_LENGTH = 4 * HOUR  # 16:00 to 20:00; on a half day 13:00 to 17:00
_LONGEST_CLOSURE = timedelta(days=15)  # and more
_OPENS, _CLOSES, _CLOSES_EARLY = time(9, 30), time(16, 0), time(13, 0)
_ONE_DAY = timedelta(days=1)
_DAY = attrgetter("day")
_MONDAY, _THURSDAY, _SATURDAY, _SUNDAY = 0, 3, 5, 6


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
    found = list[TradingSession]()
    for year in range(start.year, end.year + 1):
        known = _sessions_of(year)
        found += known[bisect_left(known, start, key=_DAY) : bisect_right(known, end, key=_DAY)]
    return found


def round_the_clock(start: date, end: date) -> list[TradingSession]:
    """Return each day from `start` to `end`, both included, as a session of 24 hours in UTC, as crypto trades.

    Raises:
        ConfigError: if either lies outside 1998-01-01 to 2050-12-31.
    """
    _must_be_known(start)
    _must_be_known(end)
    midnight = instant(datetime.combine(start, time(), tzinfo=UTC))
    return [
        TradingSession(start + n * _ONE_DAY, midnight + n * DAY, midnight + (n + 1) * DAY)
        for n in range((end - start).days + 1)
    ]


def previous_sessions(day: date, n: int) -> list[TradingSession]:
    """Return the last `n` sessions before `day`, oldest first; fewer where 1998 begins.

    Raises:
        ConfigError: if `day` lies outside 1998-01-01 to 2050-12-31.
    """
    _must_be_known(day)
    found, year = list[TradingSession](), day.year
    while len(found) < n and year >= FIRST_DAY.year:
        known = _sessions_of(year)
        found[:0] = known[: bisect_left(known, day, key=_DAY)]
        year -= 1
    return found[len(found) - min(n, len(found)) :]


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


def no_trading_day(first: date, last: date) -> ConfigError:
    """Return the error of a span of known days without a session; it names the next one."""
    following = sessions(first, min(first + _LONGEST_CLOSURE, LAST_DAY))
    hint = f"; the next one is {following[0].day}" if following else ""
    return ConfigError(f"there is no trading day from {first} to {last}{hint}")


@cache
def _sessions_of(year: int) -> tuple[TradingSession, ...]:
    """Return the sessions of a year in order."""
    closed = UNSCHEDULED_CLOSURES.union(_holidays(year))
    half = UNSCHEDULED_HALF_DAYS.union(_half_days(year))
    found, day = [], date(year, 1, 1)
    while day.year == year:
        if day.weekday() < _SATURDAY and day not in closed:
            closes = _CLOSES_EARLY if day in half else _CLOSES
            found.append(TradingSession(day, new_york(day, LATE_OPENINGS.get(day, _OPENS)), new_york(day, closes)))
        day += _ONE_DAY
    return tuple(found)


def _holidays(year: int) -> Iterator[date]:
    """Yield the days of a year on which the exchange is shut; one on a Saturday is the Friday before, on a Sunday the Monday.

    Not so New Year's Day: the last day of a year is no holiday.
    """
    from dateutil.easter import easter

    new_year, easter_sunday = date(year, 1, 1), easter(year)
    yield new_year if new_year.weekday() != _SUNDAY else new_year + _ONE_DAY
    yield _nth(year, 1, _MONDAY, 3)  # Martin Luther King Jr. Day, since 1998
    yield _nth(year, 2, _MONDAY, 3)  # Washington's Birthday
    yield easter_sunday - 2 * _ONE_DAY  # Good Friday
    yield _nth(year, 6, _MONDAY, 1) - 7 * _ONE_DAY  # Memorial Day, the last Monday of May
    yield _nth(year, 9, _MONDAY, 1)  # Labor Day
    yield _nth(year, 11, _THURSDAY, 4)  # Thanksgiving
    fixed = [date(year, 7, 4), date(year, 12, 25), *([date(year, 6, 19)] if year >= 2022 else [])]
    for day in fixed:
        yield day + {_SATURDAY: -_ONE_DAY, _SUNDAY: _ONE_DAY}.get(day.weekday(), timedelta())


def _half_days(year: int) -> Iterator[date]:
    """Yield the days of a year on which trading ends at 13:00, if there is any: some are holidays."""
    yield _nth(year, 11, _THURSDAY, 4) + _ONE_DAY
    yield date(year, 12, 24)
    independence = date(year, 7, 4)
    if independence.weekday() == _THURSDAY and year < 2013:
        yield independence + _ONE_DAY
    elif _MONDAY < independence.weekday() < _SATURDAY:
        yield independence - _ONE_DAY


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    """Return the n-th of a weekday in a month."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _must_be_known(day: date) -> None:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ConfigError(f"No sessions are known for {day}; the calendar covers {FIRST_DAY} to {LAST_DAY}.")
