"""`trader --check`: load and reach everything a session needs, start nothing, say what would be done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.cli.trader_arguments import configured
from liualgotrader.common.clock import WallClock, as_datetime
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.supervisor.arming import LIVE, armed_text, environment_of, last_four, live_account, session_limits
from liualgotrader.supervisor.batch import lay_out
from liualgotrader.supervisor.plan_inspection import inspect_tradeplan
from liualgotrader.supervisor.plan_warnings import doubts_about, doubts_about_hours
from liualgotrader.supervisor.prepare import check_consumers, check_port
from liualgotrader.supervisor.request import TraderRequest, next_session_text, simulated_hours, todays_hours
from liualgotrader.supervisor.session_database import enough_room, look_at_record, make_home
from liualgotrader.supervisor.simulated_market import market_spec
from liualgotrader.supervisor.view import equity_text


class Checks:
    """Runs checks one after the other, printing a line for each; a failed one does not stop the next."""

    def __init__(self) -> None:
        self.failed = 0
        self.doubts = 0

    def doubt(self, text: str) -> None:
        """Print what can be traded and will surprise."""
        self.doubts += 1
        print(f"  !!  {text}")

    def verdict(self) -> str:
        """Return what all checks together come to."""
        if self.failed:
            return f"{self.failed} of these must be fixed first"
        if self.doubts:
            return f"it can run, but read the {'line' if self.doubts == 1 else f'{self.doubts} lines'} marked !! above"
        return "everything is ready"

    def run(self, name: str, act: Callable[[], str]) -> bool:
        """Run one check; `act` returns what it found. Return whether it passed."""
        try:
            found = act()
        except LiuError as error:
            self.failed += 1
            print(f"  no  {name}: {error}")
            return False
        print(f"  ok  {name}: {found}")
        return True


def check(stated: Mapping[str, Any], request: TraderRequest, allowed: Callable[[Settings], None]) -> int:
    """Check everything, print what was found, and return 0, or 2 if a session could not run."""
    checks = Checks()
    found: dict[str, Any] = {}

    def tradeplan() -> str:
        found["settings"], found["plan"] = configured(stated)
        return str(found["settings"].tradeplan_path)

    if not checks.run("tradeplan", tradeplan):
        try:
            found["settings"] = Settings.resolve(stated)
        except ConfigError:  # it is said already, and nothing else can be looked at
            print(checks.verdict())
            return ConfigError.exit_code
    settings: Settings = found["settings"]
    plan: TradePlan | None = found.get("plan")
    account_allowed = checks.run("account", lambda: _account(settings, request, allowed))
    if plan is not None:
        checks.run("strategies and scanners", lambda: _classes(plan, settings, found))
        checks.run("calendar", lambda: _calendar(plan, request, found))
        if found.get("hours") and request.simulate:
            checks.run("simulated market", lambda: _market(settings, request, found["hours"]))
        checks.run("limits", lambda: _limits(plan, settings))
        if environment_of(request, settings) == LIVE and "classes" in found:
            checks.run("real money", lambda: armed_text(request, settings, plan, found["classes"].files))
        for doubt in _doubts(plan, found):
            checks.doubt(doubt)
    checks.run("data folder", lambda: _folder(settings))
    named = [s["portfolio_id"] for s in plan.strategies.values() if s.get("portfolio_id")] if plan is not None else []
    checks.run("database", lambda: asyncio.run(look_at_record(settings, request, named)))
    if account_allowed and not request.simulate:
        checks.run("broker and clock", lambda: asyncio.run(_broker(settings)))
    print(checks.verdict())
    return ConfigError.exit_code if checks.failed else 0


def _account(settings: Settings, request: TraderRequest, allowed: Callable[[Settings], None]) -> str:
    allowed(settings)
    if request.simulate:
        return "simulated market on this machine"
    return f"{settings.endpoints.trading_url}, key {settings.key_id} from the {settings.source('key_id')}"


def _classes(plan: TradePlan, settings: Settings, found: dict[str, Any]) -> str:
    inspected = found["classes"] = inspect_tradeplan(plan)
    broken = [f.broken for f in inspected.strategies if f.broken]
    if broken:
        raise ConfigError("; ".join(broken))
    check_consumers(settings.consumer_count())
    layout = lay_out(inspected.strategies, settings.consumer_count())
    kinds = ", ".join(
        f"{f.name} ({'run_all' if f.run_all else 'per symbol'}, {'SWING' if f.day_trade is False else 'DAY_TRADE'})"
        for f in inspected.strategies
    )
    scanners = ", ".join(plan.scanners) or "none"
    return f"{kinds or 'none'}; scanners {scanners}; {layout.consumers} consumer(s), {len(layout.places)} slots"


def _doubts(plan: TradePlan, found: Mapping[str, Any]) -> list[str]:
    if "classes" not in found:
        return []
    doubts = doubts_about(plan, found["classes"])
    return doubts + (doubts_about_hours(plan, found["classes"], found["hours"]) if found.get("hours") else [])


def _calendar(plan: TradePlan, request: TraderRequest, found: dict[str, Any]) -> str:
    minutes = plan.market_liquidation_end_time_minutes
    hours: Hours | None
    if request.simulate:
        window, bypass = (request.window_from, request.window_to), plan.bypass_market_schedule
        hours = simulated_hours(request.market_day(), window, minutes, 1, bypass=bypass)
    else:
        hours = todays_hours(WallClock().now(), minutes, 1, bypass=plan.bypass_market_schedule)
    found["hours"] = hours
    if hours is None:
        return f"closed now; the next session opens on {next_session_text(WallClock().now())}"
    opens, closes, flat = (as_datetime(at) for at in (hours.opens_at, hours.closes_at, hours.liquidates_at))
    closed = "nothing is closed before the close" if hours.bypass else f"DAY_TRADE positions are closed at {flat:%H:%M}"
    return f"{hours.day}, {opens:%H:%M} to {closes:%H:%M} New York, {closed}"


def _market(settings: Settings, request: TraderRequest, hours: Hours) -> str:
    from liualgotrader.simulator.market_server import tape_of

    check_port(request.port)
    nowhere = Path()
    tape = tape_of(market_spec(request, settings.simulation, hours, settings.seed or 0, nowhere, nowhere, nowhere, ""))
    return f"{len(tape.assets())} symbols {f'of {request.data}' if request.data else 'will be generated'}"


def _limits(plan: TradePlan, settings: Settings) -> str:
    limits = session_limits(plan, settings)
    return ", ".join(f"{name} {value:g}" for name, value in msgspec.structs.asdict(limits).items())


def _folder(settings: Settings) -> str:
    make_home(settings.home_path)
    enough_room(settings.home_path)
    return str(settings.home_path)


async def _broker(settings: Settings) -> str:
    account = await live_account(settings)
    if settings.endpoints.is_live:
        last_four(account, settings)
    return f"account …{account.account_number[-4:]} is {account.status}, {equity_text({'equity': account.equity})}"
