"""When sessions and windows begin and end."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.clock import NEW_YORK, WallClock, instant
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.supervisor.prepare import Preparation
from liualgotrader.supervisor.request import (
    TraderRequest,
    finished_hours,
    next_session_text,
    simulated_hours,
    todays_hours,
)
from tests.fakes.supervisor import RecordingScreen

DAY = dt.date(2024, 6, 3)


def at(text: str, day: dt.date = DAY) -> int:
    return instant(dt.datetime.combine(day, dt.time.fromisoformat(text), tzinfo=NEW_YORK))


@pytest.mark.parity(4)
def test_a_whole_day_has_the_exchanges_hours_and_ends_five_minutes_after_the_close() -> None:
    hours = simulated_hours(DAY, ("", ""), 15, 2)
    assert (hours.opens_at, hours.closes_at) == (at("09:30"), at("16:00"))
    assert (hours.liquidates_at, hours.ends_at) == (at("15:45"), at("16:05"))
    friday, thursday = dt.date(2024, 5, 31), dt.date(2024, 5, 30)
    assert hours.previous == (
        (at("09:30", friday), at("16:00", friday)),
        (at("09:30", thursday), at("16:00", thursday)),
    )


def test_a_half_day_closes_at_one() -> None:
    hours = simulated_hours(dt.date(2023, 11, 24), ("", ""), 15, 1)
    assert hours.closes_at == at("13:00", dt.date(2023, 11, 24))


def test_a_windows_bounds_count_as_the_sessions() -> None:
    hours = simulated_hours(DAY, ("10:00", "10:30"), 15, 1)
    assert (hours.opens_at, hours.closes_at, hours.ends_at) == (at("10:00"), at("10:30"), at("10:35"))
    assert hours.liquidates_at == at("10:15")


def test_a_simulated_session_may_bypass_the_schedule_too() -> None:
    hours = simulated_hours(DAY, ("10:00", "10:30"), 15, 1, bypass=True)
    assert (hours.opens_at, hours.closes_at, hours.bypass) == (at("10:00"), at("10:30"), True)


def test_with_the_schedule_bypassed_a_day_without_a_session_lasts_from_midnight_to_ten_to_twelve() -> None:
    sunday = dt.date(2024, 6, 2)
    hours = simulated_hours(sunday, ("", ""), 15, 1, bypass=True)
    assert (hours.day, hours.opens_at, hours.closes_at) == ("2024-06-02", at("00:00", sunday), at("23:50", sunday))
    assert (hours.ends_at, hours.bypass) == (at("23:55", sunday), True)
    assert hours.previous == ((at("09:30", dt.date(2024, 5, 31)), at("16:00", dt.date(2024, 5, 31))),)
    evening = simulated_hours(sunday, ("20:00", "21:00"), 15, 1, bypass=True)
    assert (evening.opens_at, evening.closes_at) == (at("20:00", sunday), at("21:00", sunday))
    with pytest.raises(ConfigError, match="must lie inside the session of 2024-06-02, 00:00 to 23:50"):
        simulated_hours(sunday, ("20:00", "23:59"), 15, 1, bypass=True)


def test_a_window_shorter_than_the_liquidation_time_liquidates_from_its_start() -> None:
    assert simulated_hours(DAY, ("10:00", "10:10"), 15, 1).liquidates_at == at("10:00")


@pytest.mark.parametrize("window", [("09:00", "10:00"), ("10:00", "16:30"), ("11:00", "10:00"), ("10:00", "10:00")])
def test_a_window_must_lie_inside_the_session(window: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match="must lie inside the session of 2024-06-03, 09:30 to 16:00"):
        simulated_hours(DAY, window, 15, 1)


def test_what_is_no_time_and_no_trading_day_is_said() -> None:
    with pytest.raises(ConfigError, match="--from is 'noon', but it must be a time like 09:30"):
        simulated_hours(DAY, ("noon", ""), 15, 1)
    with pytest.raises(ConfigError, match="the exchange was closed on 2024-07-04"):
        simulated_hours(dt.date(2024, 7, 4), ("", ""), 15, 1)


@pytest.mark.parametrize("now", ["08:00", "09:30", "15:59"])
def test_today_is_a_session_until_its_close(now: str) -> None:
    hours = todays_hours(at(now), 15, 1, bypass=False)
    assert hours is not None
    assert (hours.opens_at, hours.closes_at) == (at("09:30"), at("16:00"))


def test_after_the_close_and_on_holidays_there_is_none_without_bypass() -> None:
    assert todays_hours(at("16:00"), 15, 1, bypass=False) is None
    assert todays_hours(at("10:00", dt.date(2024, 6, 2)), 15, 1, bypass=False) is None
    assert finished_hours(at("16:00"), 15, 1) is not None
    assert finished_hours(at("10:00", dt.date(2024, 6, 2)), 15, 1) is None


@pytest.mark.parity(5)
@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [("08:00:30", "08:00", "16:00"), ("10:00:30", "09:30", "16:00"), ("18:00:30", "18:00", "23:50")],
)
def test_with_bypass_a_session_begins_at_once(now: str, opens: str, closes: str) -> None:
    hours = todays_hours(at(now), 15, 1, bypass=True)
    assert hours is not None
    assert (hours.opens_at, hours.closes_at, hours.bypass) == (at(opens), at(closes), True)


def test_bypass_just_before_midnight_is_refused() -> None:
    with pytest.raises(ConfigError, match="ends at 23:50"):
        todays_hours(at("23:50"), 15, 1, bypass=True)


def test_the_next_session_is_told_in_words() -> None:
    assert next_session_text(at("17:00", dt.date(2024, 7, 3))) == "Friday 2024-07-05 at 09:30 New York"


class JumpingClock(WallClock):
    """The time of day, which jumps to whatever is waited for."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    async def sleep_until(self, at: int) -> None:
        self._now = max(self._now, at)


INDEPENDENCE = dt.date(2024, 7, 4)  # a Thursday
FRIDAY = "Friday 2024-07-05 at 09:30 New York"


def preparation(tmp_path: Path, now: int, **changes: Any) -> tuple[Preparation, RecordingScreen, list[str]]:
    told: list[str] = []
    screen = RecordingScreen()
    settings = Settings(home=str(tmp_path))
    plan = TradePlan(strategies={})
    request = TraderRequest(**changes)
    return (
        Preparation(request, settings, plan, screen, {}, lambda _: None, told.append, JumpingClock(now)),
        screen,
        told,
    )


@pytest.mark.parametrize(
    "now", [at("10:00", INDEPENDENCE), at("16:00", dt.date(2024, 7, 3)), at("23:59", INDEPENDENCE)]
)
async def test_without_a_session_now_the_next_one_is_named_and_waited_for_only_if_asked_to(
    tmp_path: Path, now: int
) -> None:
    preparing, screen, told = preparation(tmp_path, now)
    assert await preparing.next_hours() is None
    assert (screen.lines, told) == ([f"the exchange is closed now; the next session opens on {FRIDAY}"], [])
    preparing, screen, told = preparation(tmp_path, now, wait=True)
    hours = await preparing.next_hours()
    assert (hours.day, hours.opens_at) == ("2024-07-05", at("09:30", dt.date(2024, 7, 5)))
    assert told == [f"waits for the open on {FRIDAY}"]
    assert screen.lines[1] == f"waiting for the open on {FRIDAY}; Ctrl-C ends the wait"
    assert preparing.clock.now() == at("09:29", dt.date(2024, 7, 5))


@pytest.mark.parity(4)
async def test_before_the_open_of_a_trading_day_it_is_waited_for(tmp_path: Path) -> None:
    preparing, screen, _ = preparation(tmp_path, at("04:00"))
    hours = await preparing.real_hours()
    assert (hours.day, preparing.clock.now()) == ("2024-06-03", at("09:29"))
    assert screen.lines == ["waiting for the open at 09:30 New York; Ctrl-C ends the wait"]
