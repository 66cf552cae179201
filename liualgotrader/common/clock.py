"""The two clocks. *Market* time is what exchange and strategy see; *machine* time is ours and is never scaled.

Market instants are ns UTC. Machine instants are ns of CLOCK_MONOTONIC, which all processes of a
machine share. Nothing outside this file reads a clock or sleeps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
MICROSECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NEVER = 2**63 - 1
QUANTUM = 100 * MILLISECOND  # market time in which a simulated market moves, unless another is asked for

NEW_YORK = ZoneInfo("America/New_York")


class Alarm(Protocol):
    """A call that waits for its market time."""

    def cancel(self) -> None:
        """Forget the call if it has not been made."""


class Clock(Protocol):
    """Both clocks."""

    def now(self) -> int:
        """Return the market's time, ns UTC."""

    def machine(self) -> int:
        """Return machine time, ns of CLOCK_MONOTONIC."""

    def age(self, at: int) -> int:
        """Return how long ago, in machine ns, the market clock passed the instant `at`; negative if it has not."""

    async def sleep_until(self, at: int) -> None:
        """Return once the market clock has reached `at`."""

    def call_at(self, at: int, act: Callable[[], None]) -> Alarm:
        """Call `act` in the running loop once the market clock has reached `at`."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of machine time."""


class WallClock:
    """The clocks of a real market: its time is the time of day."""

    def now(self) -> int:
        return time.time_ns()

    def machine(self) -> int:
        return time.monotonic_ns()

    def age(self, at: int) -> int:
        return time.time_ns() - at

    async def sleep_until(self, at: int) -> None:
        while (wait := at - time.time_ns()) > 0:  # noqa: ASYNC110 - the time of day may be set meanwhile
            await asyncio.sleep(min(wait / SECOND, 60.0))

    def call_at(self, at: int, act: Callable[[], None]) -> Alarm:
        return _WallAlarm(at, act)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _WallAlarm:
    """Looks at the time of day again each minute, as the clock may be set."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self._at, self._act = at, act
        self._look()

    def _look(self) -> None:
        wait = (self._at - time.time_ns()) / SECOND
        then = self._look if wait > 0 else self._act
        self._handle = asyncio.get_running_loop().call_later(max(0.0, min(wait, 60.0)), then)

    def cancel(self) -> None:
        self._handle.cancel()


def grid_after(at: int, quantum: int) -> int:
    """Return the end of the quantum that holds `at`: the first boundary after it."""
    return (at // quantum + 1) * quantum


def grid_at_or_after(at: int, quantum: int) -> int:
    """Return the first boundary at or after `at`."""
    return -(-at // quantum) * quantum


def machine_now() -> int:
    """Return machine time for code that has no other use for a clock (time-outs, pings)."""
    return time.monotonic_ns()


def block(seconds: float) -> None:
    """Hold the calling thread for `seconds` of machine time; only for threads that own no event loop."""
    time.sleep(seconds)


def as_datetime(at: int) -> datetime:
    """Return the instant as an aware New York datetime, cut to microseconds, for eyes and user code."""
    hour, rest = divmod(at, HOUR)  # clocks are changed on the hour, so that within one wall time runs evenly
    begins_at = _hour(hour)
    moment = begins_at + timedelta(microseconds=rest // 1000)
    return moment.replace(fold=1) if begins_at.fold else moment  # a sum is always the earlier of two wall times


@lru_cache(32)
def _hour(hour: int) -> datetime:
    return as_utc(hour * HOUR).astimezone(NEW_YORK)


def as_utc(at: int) -> datetime:
    """Return the instant as an aware UTC datetime, cut to microseconds."""
    return datetime.fromtimestamp(at // SECOND, tz=UTC).replace(microsecond=at % SECOND // 1000)


def instant(moment: datetime) -> int:
    """Return the ns UTC of an aware datetime.

    Raises:
        ValueError: if `moment` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; say which one is meant")
    whole = moment.astimezone(UTC)
    return int(whole.replace(microsecond=0).timestamp()) * SECOND + whole.microsecond * 1000


def clock_text(at: int) -> str:
    """Return `HH:MM:SS` in New York, for lines that people read."""
    return f"{as_datetime(at):%H:%M:%S}"


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
