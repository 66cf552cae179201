from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common import calendar
from liualgotrader.common.clock import HOUR, SECOND, as_datetime, as_utc, instant
from liualgotrader.common.errors import ConfigError
from tests.fakes.real_data import real_data

TABLE = Path(__file__).parents[2] / "data" / "nyse_sessions.csv"
DAYS = st.dates(calendar.FIRST_DAY, calendar.LAST_DAY)


def noticed() -> list[dict[str, str]]:
    with TABLE.open() as lines:
        return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def utc(day: str, clock: str) -> int:
    return instant(datetime.combine(date.fromisoformat(day), time.fromisoformat(clock), tzinfo=UTC))


@pytest.mark.parametrize("row", noticed(), ids=lambda r: r["day"])
def test_a_day_is_as_the_exchange_announced_it(row: dict[str, str]) -> None:
    session = calendar.session_of(date.fromisoformat(row["day"]))
    if not row["opens_utc"]:
        assert session is None, row["why"]
    else:
        assert session is not None, row["why"]
        assert session.opens_at == utc(row["day"], row["opens_utc"])
        assert session.closes_at == utc(row["day"], row["closes_utc"])


def dates(names: Iterable[str]) -> set[date]:
    return {datetime.strptime(n, "%m/%d/%Y").date() for n in names}


@pytest.mark.realdata
def test_sessions_agree_with_the_recorded_table_of_hours_but_for_its_known_gaps() -> None:
    table = json.loads(real_data("lean", "reference", "us_equity_market_hours.json").read_text())
    start, end = date(1998, 1, 1), date(2028, 12, 31)
    weekdays = {d for i in range((end - start).days + 1) if (d := start + timedelta(days=i)).weekday() < 5}
    found = {s.day: s for s in calendar.sessions(start, end)}

    assert weekdays - found.keys() == dates(table["holidays"]) & weekdays | {date(2018, 12, 5)}

    halves = {d for d, s in found.items() if s.minutes == 210}
    from_1999_11 = {d for d in halves if d >= date(1999, 11, 1)}
    # A Sunday stands in that table; 1999-12-31 is missing in it although its own hourly bars end at 13:00.
    assert from_1999_11 == dates(table["earlyCloses"]) - {date(2017, 12, 24)} | {date(1999, 12, 31)}


@pytest.mark.slow  # the library takes seconds to import
def test_every_session_is_that_of_an_outside_library_but_for_one_opening() -> None:
    with warnings.catch_warnings():  # it uses what newer versions of pandas warn about
        warnings.simplefilter("ignore", DeprecationWarning)
        import exchange_calendars

        start, end = f"{calendar.FIRST_DAY}", f"{calendar.LAST_DAY}"
        theirs = exchange_calendars.get_calendar("XNYS", start=start, end=end)
        expected = list(zip(theirs.opens_nanos.tolist(), theirs.closes_nanos.tolist(), strict=True))
    found = calendar.sessions(calendar.FIRST_DAY, calendar.LAST_DAY)
    differing = {s.day for s, (opens, _) in zip(found, expected, strict=True) if s.opens_at != opens}
    assert differing <= {date(2002, 9, 11)}
    assert [s.closes_at for s in found] == [closes for _, closes in expected]


@given(DAYS)
def test_a_session_opens_at_half_past_nine_new_york_whatever_the_time_of_year(day: date) -> None:
    session = calendar.session_of(day)
    if session is None:
        return
    assert as_datetime(session.opens_at).time() == (time(12) if day == date(2002, 9, 11) else time(9, 30))
    assert as_datetime(session.closes_at).time() in (time(16), time(13))
    assert as_datetime(session.pre_opens_at).time() == time(4)
    assert session.post_closes_at - session.closes_at == 4 * HOUR
    assert session.day == day == calendar.day_of(session.opens_at)
    assert day.weekday() < 5


@given(DAYS, st.integers(0, 400))
def test_previous_sessions_are_the_last_ones_before_a_day(day: date, n: int) -> None:
    found = calendar.previous_sessions(day, n)
    every = calendar.sessions(calendar.FIRST_DAY, max(calendar.FIRST_DAY, day - timedelta(days=1)))
    assert found == ([s for s in every if s.day < day][-n:] if n else [])


@given(st.integers(883_630_800 * SECOND, 2_550_000_000 * SECOND))
def test_session_at_or_after_is_the_first_that_has_not_closed(at: int) -> None:
    found = calendar.session_at_or_after(at)
    assert at < found.closes_at
    before = calendar.previous_sessions(found.day, 1)
    assert all(s.closes_at <= at for s in before)


def test_an_instant_within_a_session_belongs_to_it_and_its_close_to_the_next() -> None:
    monday = calendar.session_of(date(2013, 10, 7))
    assert monday is not None
    assert calendar.session_at_or_after(monday.closes_at - 1) == monday
    assert calendar.session_at_or_after(monday.closes_at).day == date(2013, 10, 8)
    assert monday.is_open(monday.opens_at)
    assert not monday.is_open(monday.closes_at)


def test_a_half_day_has_210_minutes() -> None:
    session = calendar.session_of(date(2015, 12, 24))
    assert session is not None
    assert session.minutes == 210


def test_the_late_session_of_a_half_day_ends_at_17_00() -> None:
    session = calendar.session_of(date(2015, 12, 24))
    assert session is not None
    assert as_datetime(session.post_closes_at).time() == time(17)


def test_no_year_has_an_odd_number_of_sessions() -> None:
    # 2001 and 2012 lost four and two days; elsewhere there are 250 to 253 sessions a year.
    per_year = {y: len(calendar.sessions(date(y, 1, 1), date(y, 12, 31))) for y in range(1998, 2051)}
    assert per_year[2001] == 248
    assert per_year[2012] == 250
    assert all(n in range(248, 254) for n in per_year.values())


@pytest.mark.parametrize("day", [date(1997, 12, 31), date(2051, 1, 1)])
def test_a_day_outside_the_calendar_is_an_error_that_says_what_is_known(day: date) -> None:
    with pytest.raises(ConfigError, match="covers 1998-01-01 to 2050-12-31"):
        calendar.session_of(day)


def test_after_the_last_session_there_is_an_error() -> None:
    last = calendar.sessions(date(2050, 12, 1), calendar.LAST_DAY)[-1]
    with pytest.raises(ConfigError, match="calendar ends"):
        calendar.session_at_or_after(last.closes_at)


def test_a_clock_change_between_two_sessions_makes_the_night_an_hour_shorter() -> None:
    friday, monday = calendar.sessions(date(2024, 3, 8), date(2024, 3, 11))
    assert as_utc(friday.opens_at).hour == 14
    assert as_utc(monday.opens_at).hour == 13
    assert (monday.opens_at - friday.opens_at) // HOUR == 71


def test_the_hour_that_comes_twice_in_autumn_is_told_apart() -> None:
    first = instant(datetime(2024, 11, 3, 5, 30, tzinfo=UTC))
    assert [as_datetime(at).isoformat() for at in (first, first + HOUR)] == [
        "2024-11-03T01:30:00-04:00",
        "2024-11-03T01:30:00-05:00",
    ]
