"""The session that `trader` was asked for: its hours, and what its simulated market plays on which account."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from pathlib import Path
from typing import NamedTuple

import msgspec

from liualgotrader.common.borrow import read_borrow
from liualgotrader.common.calendar import (
    LAST_MINUTE,
    day_of,
    new_york,
    previous_sessions,
    session_at_or_after,
    session_of,
    whole_day,
)
from liualgotrader.common.clock import MILLISECOND, MINUTE, SECOND, as_datetime
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.fault_script import read_faults
from liualgotrader.common.secret import Secret
from liualgotrader.common.session_plan import AFTER_CLOSE, EARLY, Endpoints, Hours, MarketSpec
from liualgotrader.common.tradeplan import Simulation

GENERATED_DAY = "2024-06-03"
"""The day that the generated market plays when none is named: fixed, so that a seed says everything."""

MARKET_STATE = "market.state"


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
    faults: str = ""  # a fault script for the simulated market
    borrow: str = ""  # a list of what can be borrowed on it
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

    def kept_account(self) -> MarketAccount | None:
        """Return the account that `--state` names, None without it.

        Raises:
            ConfigError: if the folder cannot be used, or holds something else.
        """
        return kept_account(Path(self.state), self.market_day().isoformat()) if self.state else None


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


# --- the simulated market --------------------------------------------------------------------------------


KEPT_DATABASE = re.compile("liu_sim[0-9a-f]{9}")  # what databases of accounts that are kept are named


class MarketAccount(NamedTuple):
    """An account of the simulated market, and where its state is kept; `since` and `played` only if it outlives a session."""

    number: str
    state: Path  # the market's file
    since: str = ""  # the first day that it traded, ISO
    played: str = ""  # the newest day that it has traded, ISO; empty: none
    now: int = 0  # how far it has come, ns UTC

    @property
    def database(self) -> str:
        """The name of its own database: what it holds is the sum of all rows there."""
        return f"liu_{self.number.lower()}"


class _Now(msgspec.Struct):
    now: int


def kept_account(folder: Path, day: str) -> MarketAccount:
    """Return the account that a folder keeps; an empty folder gets a new one, which begins on `day`.

    Raises:
        ConfigError: if the folder cannot be used, or holds something else.
    """
    named, state = folder / "account", folder / MARKET_STATE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not named.exists():
            named.write_text(f"SIM{secrets.token_hex(5)[1:].upper()} since {day}\n")
        known = re.fullmatch(r"(SIM[0-9A-F]{9}) since (\d{4}-\d\d-\d\d)\n", named.read_text())
        played, _, kept = state.read_bytes().partition(b"\n") if state.exists() else (b"", b"", b'{"now": 0}')
        now = msgspec.json.decode(kept, type=_Now).now
    except (OSError, ValueError) as error:
        raise ConfigError(f"the folder {folder} cannot keep an account ({error}): name another with --state") from error
    if known is None:
        raise ConfigError(f"{named} names no account of a simulated market: name another folder with --state")
    return MarketAccount(known[1], state, known[2], played.decode(), now)


def batch_account(batch_id: str, folder: Path) -> MarketAccount:
    """Return a batch's account: its own, so that simulations side by side share no lock and no switch."""
    return MarketAccount(f"SIM{batch_id.replace('-', '')[:9].upper()}", folder / MARKET_STATE)


def market_spec(
    request: TraderRequest,
    simulation: Simulation,
    hours: Hours,
    seed: int,
    account: MarketAccount,
    *,
    page: str = "",
    log_dir: str = "",
    not_before: int = 0,
) -> MarketSpec:
    """Return what the simulated market of a session is to play, from shortly before its open, and not before `not_before`."""
    return MarketSpec(
        kind="recorded" if request.data else "generated",
        day=hours.day,
        starts_at=max(hours.opens_at - EARLY, not_before),
        ends_at=hours.ends_at,
        seed=seed,
        folder=str(Path(request.data).absolute()) if request.data else "",
        symbols=request.symbols,
        symbol_count=request.symbol_count,
        since=account.since,
        speed=request.speed,
        quantum=round(request.quantum_seconds * SECOND),
        free_run=request.free_run,
        port=request.port,
        page=page,
        fill_profile=simulation.fills,
        fees=simulation.fees,
        latency=round(simulation.latency_ms * MILLISECOND),
        state=str(account.state),
        bypass=hours.bypass,
        faults=read_faults(Path(request.faults)) if request.faults else (),
        borrow=read_borrow(Path(request.borrow)) if request.borrow else (),
        options={"log_dir": log_dir, "account": account.number},
    )


def generated_pair() -> tuple[Secret, Secret]:
    """Return a key pair that opens this session's simulated market and nothing else."""
    return Secret("SIM" + secrets.token_hex(8).upper()), Secret(secrets.token_hex(20))


def endpoints_of(port: int, feed: str, vendor: str = "alpaca") -> Endpoints:
    """Return the addresses of the simulated market on this machine, its data in the protocol of `vendor`."""
    rest, stream = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    data = f"{stream}/stocks" if vendor == "polygon" else f"{stream}/v2/{feed}"
    return Endpoints(rest, rest, data, f"{stream}/stream", loopback=True, data_vendor=vendor)
