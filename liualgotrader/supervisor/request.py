"""The session that `trader` was asked for, and its hours."""

from __future__ import annotations

import datetime as dt

import msgspec

from liualgotrader.common.calendar import (
    LAST_MINUTE,
    day_of,
    new_york,
    previous_sessions,
    session_at_or_after,
    session_of,
    whole_day,
)
from liualgotrader.common.clock import MINUTE, as_datetime
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.session_plan import Hours

GENERATED_DAY = "2024-06-03"
"""The day that the generated market plays when none is named: fixed, so that a seed says everything."""


class TraderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of one session, beyond the settings."""

    simulate: bool = False
    data: str = ""  # folder of a recorded day; empty: a generated one
    day: str = ""  # ISO date
    window_from: str = ""  # HH:MM, New York; the session's bounds when given
    window_to: str = ""
    speed: float = 0.0  # market per machine time; 0 = as fast as the stack follows
    quantum_seconds: float = 0.1  # market time
    free_run: bool = False
    symbols: tuple[str, ...] = ()
    symbol_count: int = 200
    port: int = 0
    state: str = ""  # folder of an account that simulated sessions keep; empty: a new account
    live: bool = False  # `--live`: real money is meant
    broken_plan: str = ""  # why the tradeplan cannot be read, while the last one is followed to its end
    shadow: bool = False
    flatten: bool = False
    new: bool = False
    keep: bool = False
    verbose: bool = False  # show every order and fill
    wait: bool = False  # for the next session, where there is none now
    dsn_given: bool = False  # `--dsn`: the one way to point the simulated market at another database

    @property
    def account_is_new(self) -> bool:
        """Whether the account holds nothing of earlier sessions."""
        return self.simulate and not self.state

    def market_day(self) -> dt.date:
        """Return the day that the simulated market plays."""
        return dt.date.fromisoformat(self.day or GENERATED_DAY)


AFTER_CLOSE = 5 * MINUTE  # the processes' time to hear of the last fills


def simulated_hours(
    day: dt.date, window: tuple[str, str], liquidation_minutes: int, history: int, *, bypass: bool = False
) -> Hours:
    """Return the hours of a session on the simulated market; a window's bounds count as the session's.

    With `bypass` a day on which the exchange was shut lasts from midnight to 23:50.

    Raises:
        ConfigError: if the exchange is shut that day (without `bypass`) or the window does not lie inside its session.
    """
    session = session_of(day)
    if session is None and bypass:
        session = whole_day(day)
    if session is None:
        raise ConfigError(f"the exchange was closed on {day}; choose a trading day with --date")
    opens_at = _moment(day, window[0], "--from") if window[0] else session.opens_at
    closes_at = _moment(day, window[1], "--to") if window[1] else session.closes_at
    if not session.opens_at <= opens_at < closes_at <= session.closes_at:
        hours = f"{as_datetime(session.opens_at):%H:%M} to {as_datetime(session.closes_at):%H:%M}"
        raise ConfigError(f"the window must lie inside the session of {day}, {hours} New York, --from before --to")
    return _hours(day, opens_at, closes_at, liquidation_minutes, history, bypass=bypass)


def todays_hours(now: int, liquidation_minutes: int, history: int, *, bypass: bool) -> Hours | None:
    """Return the hours of the session at `now`, None if it is over or the exchange is shut today.

    With `bypass` there is always one: the exchange's, or from `now` to the end of its session or of the day.
    """
    day = day_of(now)
    session = session_of(day)
    if session is not None and now < session.closes_at and not (bypass and now < session.opens_at):
        return _hours(day, session.opens_at, session.closes_at, liquidation_minutes, history, bypass=bypass)
    if not bypass:
        return None
    started = now - now % MINUTE
    closes_at = session.closes_at if session and now < session.closes_at else new_york(day, LAST_MINUTE)
    if closes_at - started < MINUTE:
        raise ConfigError("with `bypass_market_schedule` a session ends at 23:50 New York; start it earlier")
    return _hours(day, started, closes_at, liquidation_minutes, history, bypass=True)


def finished_hours(now: int, liquidation_minutes: int, history: int) -> Hours | None:
    """Return the hours of today's session although it is over, None if there was none."""
    session = session_of(day_of(now))
    if session is None:
        return None
    return _hours(session.day, session.opens_at, session.closes_at, liquidation_minutes, history)


def next_session_text(now: int) -> str:
    """Return when the next session opens, in words."""
    opens = as_datetime(session_at_or_after(now).opens_at)
    return f"{opens:%A %Y-%m-%d} at {opens:%H:%M} New York"


def _hours(
    day: dt.date, opens_at: int, closes_at: int, liquidation_minutes: int, history: int, *, bypass: bool = False
) -> Hours:
    return Hours(
        day=day.isoformat(),
        opens_at=opens_at,
        closes_at=closes_at,
        liquidates_at=max(opens_at, closes_at - liquidation_minutes * MINUTE),
        ends_at=closes_at + AFTER_CLOSE,
        previous=tuple((s.opens_at, s.closes_at) for s in sorted(previous_sessions(day, history), reverse=True)),
        bypass=bypass,
    )


def _moment(day: dt.date, text: str, option: str) -> int:
    try:
        time = dt.time.fromisoformat(text)
        if time.tzinfo is not None:
            raise ValueError(text)
        return new_york(day, time)
    except ValueError:
        raise ConfigError(f"{option} is '{text}', but it must be a time like 09:30 (New York)") from None
