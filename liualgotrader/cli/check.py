"""What `trader` says without trading: `--check` reaches everything a session needs, `--show-config` prints its settings."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from liualgotrader.cli.trader_arguments import configured
from liualgotrader.common.clock import WallClock, as_datetime
from liualgotrader.common.config import OPTIONS, Settings
from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tradeplan import TradePlan, read_tradeplan, shown
from liualgotrader.supervisor.arming import LIVE, armed_text, environment_of, last_four, live_account, session_limits
from liualgotrader.supervisor.batch import lay_out
from liualgotrader.supervisor.plan_inspection import PlanFacts, inspect_tradeplan, warnings_about, warnings_about_hours
from liualgotrader.supervisor.prepare import check_consumers, check_port
from liualgotrader.supervisor.request import (
    MarketAccount,
    TraderRequest,
    market_spec,
    next_session_text,
    simulated_hours,
    todays_hours,
)
from liualgotrader.supervisor.session_database import enough_room, look_at_record, make_home
from liualgotrader.supervisor.view import equity_text


class Checked(NamedTuple):
    """What one check found: `ok`, `no` (it must be fixed first), or `!!` (it can run, but read this)."""

    state: str
    name: str
    told: str


def check(
    stated: Mapping[str, Any], request: TraderRequest, allowed: Callable[[Settings], None], *, as_document: bool = False
) -> int:
    """Check everything, print what was found, and return 0, or 2 if a session could not run."""
    found = said(checks(stated, request, allowed), as_document=as_document)
    failed, doubts = (sum(one.state == state for one in found) for state in ("no", "!!"))
    if as_document:
        pass
    elif failed:
        print(f"{failed} of these must be fixed first")
    elif doubts:
        print(f"it can run, but read the {'line' if doubts == 1 else f'{doubts} lines'} marked !! above")
    else:
        print("everything is ready")
    return ConfigError.exit_code if failed else 0


def said(findings: Iterable[Checked], *, as_document: bool) -> list[Checked]:
    """Return the findings, each printed once it is there, or all as one JSON document."""
    found: list[Checked] = []
    for one in findings:
        found.append(one)
        if not as_document:
            print(f"  {one.state}  {f'{one.name}: ' * bool(one.name)}{one.told}", flush=True)
    if as_document:
        print(msgspec.json.encode([one._asdict() for one in found]).decode())
    return found


def found_by(name: str, act: Callable[[], str]) -> Checked:
    """Return what a check says, or why it failed."""
    try:
        return Checked("ok", name, act())
    except LiuError as error:
        return Checked("no", name, str(error))


def checks(stated: Mapping[str, Any], request: TraderRequest, allowed: Callable[[Settings], None]) -> Iterator[Checked]:
    """Yield what is found of everything that a session needs. A failed check does not stop the next."""
    try:
        settings, plan = configured(stated, of_session=True)
        yield Checked("ok", "tradeplan", str(settings.tradeplan_path))
    except LiuError as error:
        yield Checked("no", "tradeplan", str(error))
        try:
            settings, plan = Settings.resolve(stated), None
        except ConfigError:  # it is said already, and nothing else can be looked at
            return
    account = found_by("account", lambda: _account(settings, request, allowed))
    yield account
    if plan is not None:
        yield from plan_checks(settings, plan, request)
    yield found_by("data folder", lambda: data_folder(settings.home_path))
    named = [s["portfolio_id"] for s in plan.strategies.values() if s.get("portfolio_id")] if plan is not None else []
    yield found_by("database", lambda: asyncio.run(look_at_record(settings, request, named)))
    if account.state == "ok" and not request.simulate:
        yield found_by("broker and clock", lambda: asyncio.run(broker_account(settings)))


def plan_checks(settings: Settings, plan: TradePlan, request: TraderRequest) -> Iterator[Checked]:
    """Yield what is found of the classes that a tradeplan names, its hours and limits."""
    checked = _PlanCheck(settings, plan, request)
    yield found_by("strategies and scanners", checked.classes)
    yield found_by("calendar", checked.calendar)
    if (hours := checked.hours) is not None and request.simulate:
        yield found_by("simulated market", lambda: _market(settings, request, hours))
    limits = msgspec.structs.asdict(session_limits(plan, settings))
    yield Checked("ok", "limits", ", ".join(f"{name} {value:g}" for name, value in limits.items()))
    if environment_of(request, settings) == LIVE and (inspected := checked.inspected) is not None:
        yield found_by("real money", lambda: armed_text(request, settings, plan, inspected.files))
    for doubt in checked.doubts():
        yield Checked("!!", "", doubt)


def show_config(stated: Mapping[str, Any], request: TraderRequest, *, as_document: bool = False) -> int:
    """Print every setting and every key of the tradeplan, each once, with its source, and whether real money is armed."""
    status = 0
    try:
        settings, plan = configured(stated, of_session=True)
        settings_too = {option.plan_key for option in OPTIONS.values()}
        keys = shown(plan, read_tradeplan(settings.tradeplan_path))
        rows = settings.shown() + [row for row in keys if row[0] not in settings_too]
        try:
            armed = armed_text(request, settings, plan)
        except ConfigError as error:
            armed = f"no: {error}"
        rows.append(("real_money", armed, "all of these"))
    except LiuError as error:
        rows, status = Settings.resolve(stated).shown(), ConfigError.exit_code
        print(f"trader: {error}", file=sys.stderr)
    if as_document:
        print(msgspec.json.encode([dict(zip(("name", "value", "source"), row, strict=True)) for row in rows]).decode())
        return status
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    for name, value, source in rows:
        print(f"{name:{widths[0]}}  {value:{min(widths[1], 60)}}  {source}")
    return status


class _PlanCheck:
    """Checks of a tradeplan; the first of them leave what the later ones need."""

    def __init__(self, settings: Settings, plan: TradePlan, request: TraderRequest) -> None:
        self._settings, self._plan, self._request = settings, plan, request
        self.inspected: PlanFacts | None = None
        self.hours: Hours | None = None

    def classes(self) -> str:
        inspected = self.inspected = inspect_tradeplan(self._plan)
        if broken := [f.broken for f in inspected.strategies if f.broken]:
            raise ConfigError("; ".join(broken))
        consumers = self._settings.consumer_count()
        check_consumers(consumers)
        layout = lay_out(inspected.strategies, consumers)
        kinds = ", ".join(
            f"{f.name} ({'run_all' if f.run_all else 'per symbol'}, {'SWING' if f.day_trade is False else 'DAY_TRADE'})"
            for f in inspected.strategies
        )
        scanners = ", ".join(self._plan.scanners) or "none"
        return f"{kinds or 'none'}; scanners {scanners}; {layout.consumers} consumer(s), {len(layout.places)} slots"

    def calendar(self) -> str:
        request, minutes = self._request, self._plan.market_liquidation_end_time_minutes
        bypass = self._plan.bypass_market_schedule
        if request.simulate:
            window = (request.window_from, request.window_to)
            hours: Hours | None = simulated_hours(request.market_day(), window, minutes, 1, bypass=bypass)
        else:
            hours = todays_hours(WallClock().now(), minutes, 1, bypass=bypass)
        self.hours = hours
        if hours is None:
            return f"closed now; the next session opens on {next_session_text(WallClock().now())}"
        opens, closes, flat = (as_datetime(at) for at in (hours.opens_at, hours.closes_at, hours.liquidates_at))
        closing = (
            "nothing is closed before the close" if hours.bypass else f"DAY_TRADE positions are closed at {flat:%H:%M}"
        )
        return f"{hours.day}, {opens:%H:%M} to {closes:%H:%M} New York, {closing}"

    def doubts(self) -> list[str]:
        if self.inspected is None:
            return []
        doubts = warnings_about(self._plan, self.inspected)
        return doubts + (warnings_about_hours(self._plan, self.inspected, self.hours) if self.hours else [])


def _account(settings: Settings, request: TraderRequest, allowed: Callable[[Settings], None]) -> str:
    allowed(settings)
    if request.simulate:
        return "simulated market on this machine"
    return f"{settings.endpoints.trading_url}, key {settings.key_id} from the {settings.source('key_id')}"


def _market(settings: Settings, request: TraderRequest, hours: Hours) -> str:
    from liualgotrader.simulator.market_server import tape_of

    check_port(request.port)
    spec = market_spec(request, settings.simulation, hours, settings.seed or 0, MarketAccount("", Path()))
    return f"{len(tape_of(spec).assets())} symbols {f'of {request.data}' if request.data else 'will be generated'}"


def data_folder(home: Path) -> str:
    """Return where the data folder is, which can be written and has room.

    Raises:
        LiuError: if it is not so.
    """
    make_home(home)
    enough_room(home)
    return str(home)


async def broker_account(settings: Settings) -> str:
    """Return the account that the keys open, in words.

    Raises:
        LiuError: if the broker does not tell.
    """
    account = await live_account(settings)
    if settings.endpoints.is_live:
        last_four(account, settings)
    return f"account …{account.account_number[-4:]} is {account.status}, {equity_text(account.equity)}"
