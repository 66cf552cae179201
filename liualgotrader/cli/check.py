"""What `trader` says without trading: `--check` reaches everything a session needs, `--show-config` prints its settings."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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


def check(stated: Mapping[str, Any], request: TraderRequest, allowed: Callable[[Settings], None]) -> int:
    """Check everything, print what was found, and return 0, or 2 if a session could not run.

    A failed check does not stop the next.
    """
    failed = doubts = 0

    def passes(name: str, act: Callable[[], str]) -> bool:
        """Print what a check found or why it failed."""
        nonlocal failed
        try:
            print(f"  ok  {name}: {act()}")
        except LiuError as error:
            failed += 1
            print(f"  no  {name}: {error}")
            return False
        return True

    try:
        settings, plan = configured(stated)
        print(f"  ok  tradeplan: {settings.tradeplan_path}")
    except LiuError as error:
        failed += 1
        print(f"  no  tradeplan: {error}")
        try:
            settings, plan = Settings.resolve(stated), None
        except ConfigError:  # it is said already, and nothing else can be looked at
            print("1 of these must be fixed first")
            return ConfigError.exit_code
    account_allowed = passes("account", lambda: _account(settings, request, allowed))
    if plan is not None:
        checked = _PlanCheck(settings, plan, request)
        passes("strategies and scanners", checked.classes)
        passes("calendar", checked.calendar)
        if (hours := checked.hours) is not None and request.simulate:
            passes("simulated market", lambda: _market(settings, request, hours))
        limits = msgspec.structs.asdict(session_limits(plan, settings))
        print(f"  ok  limits: {', '.join(f'{name} {value:g}' for name, value in limits.items())}")
        if environment_of(request, settings) == LIVE and (inspected := checked.inspected) is not None:
            passes("real money", lambda: armed_text(request, settings, plan, inspected.files))
        for doubt in checked.doubts():
            doubts += 1
            print(f"  !!  {doubt}")
    passes("data folder", lambda: _folder(settings.home_path))
    named = [s["portfolio_id"] for s in plan.strategies.values() if s.get("portfolio_id")] if plan is not None else []
    passes("database", lambda: asyncio.run(look_at_record(settings, request, named)))
    if account_allowed and not request.simulate:
        passes("broker and clock", lambda: asyncio.run(_broker(settings)))
    if failed:
        print(f"{failed} of these must be fixed first")
    elif doubts:
        print(f"it can run, but read the {'line' if doubts == 1 else f'{doubts} lines'} marked !! above")
    else:
        print("everything is ready")
    return ConfigError.exit_code if failed else 0


def show_config(stated: Mapping[str, Any], request: TraderRequest) -> int:
    """Print every setting and every key of the tradeplan, each once, with its source, and whether real money is armed."""
    status = 0
    try:
        settings, plan = configured(stated)
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


def _folder(home: Path) -> str:
    make_home(home)
    enough_room(home)
    return str(home)


async def _broker(settings: Settings) -> str:
    account = await live_account(settings)
    if settings.endpoints.is_live:
        last_four(account, settings)
    return f"account …{account.account_number[-4:]} is {account.status}, {equity_text(account.equity)}"
