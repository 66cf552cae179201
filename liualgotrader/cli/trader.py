"""`trader`: run a session, look at running ones, end them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liualgotrader.cli.common import complain, flush_output, guarded
from liualgotrader.cli.trader_arguments import SETTINGS_STATED, configured, parse, request_from
from liualgotrader.common.environment import environment
from liualgotrader.common.errors import ConfigError

if TYPE_CHECKING:
    from liualgotrader.common.config import Settings
    from liualgotrader.supervisor.request import TraderRequest


def main() -> None:
    """Run the program."""
    guarded("trader", run)


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    options = parse(arguments)
    from liualgotrader.common.config import Settings

    stated = {name: getattr(options, name, None) for name in SETTINGS_STATED}
    if options.word != "run":
        from liualgotrader.cli.operate import send_request, status

        if options.word == "status":
            return status(Settings.resolve(stated), orders=options.orders, as_document=options.json)
        request = {"do": options.word} | ({"flatten": options.flatten} if options.word == "stop" else {})
        if options.word == "stop" and options.strategy:
            request |= {"do": "stop_strategy", "strategy": options.strategy}
        return send_request(Settings.resolve(stated), request, options.batch)
    if options.show_config:
        from liualgotrader.cli.check import show_config

        return show_config(stated, request_from(options), as_document=options.json)
    if options.check:
        from liualgotrader.cli.check import check

        return check(
            stated, request_from(options), lambda settings: allowed(options, settings), as_document=options.json
        )
    allowed(options, Settings.resolve(stated))
    return _session(options, stated)


def _session(options: argparse.Namespace, stated: Mapping[str, Any]) -> int:
    import asyncio

    import msgspec

    from liualgotrader.cli.screen import screen_for
    from liualgotrader.common.config import Settings
    from liualgotrader.supervisor.ending import DayResult, say_days
    from liualgotrader.supervisor.session import Session

    wanted = request_from(options)
    try:
        settings, tradeplan = configured(stated, of_session=True)
    except ConfigError as error:
        settings = Settings.resolve(stated)
        from liualgotrader.supervisor.arming import LIVE, environment_of, unfinished_plan

        unfinished = unfinished_plan(settings.home_path) if environment_of(wanted, settings) == LIVE else None
        if unfinished is None:
            raise
        tradeplan = unfinished.tradeplan  # it is followed to its end: exits and protection go on
        wanted = msgspec.structs.replace(wanted, broken_plan=str(error))
    asked, played = requests(wanted, settings.home_path), list[DayResult]()
    try:
        for request in asked:
            ending = asyncio.run(Session(request, settings, tradeplan, screen_for()).run())
            played += [ending.result] if ending.result is not None else []
            if ending.sentence:
                complain(f"trader: {ending.sentence}")
            flush_output()
            if ending.exit_code or ending.by_hand:
                break
    finally:
        if len(asked) > 1:
            say_days(screen_for(), played)
            flush_output()
    return ending.exit_code


def allowed(options: argparse.Namespace, settings: Settings) -> None:
    """Check that this run may trade where it would.

    Raises:
        ConfigError: without credentials and without --simulate, for real money, and for vendors to come.
    """
    if options.simulate:
        return
    from liualgotrader.common.config import CREDENTIALS, credential_names
    from liualgotrader.common.endpoint_address import is_loopback
    from liualgotrader.common.session_plan import LIVE_URL, PAPER_URL

    where, is_live = settings.endpoints.trading_url, settings.endpoints.is_live
    if not (is_live or where == PAPER_URL or is_loopback(where)):
        raise ConfigError(
            f"orders would go to {where}: set APCA_API_BASE_URL to {PAPER_URL}, or for real money to {LIVE_URL}, or use"
            " --simulate"
        )
    if (options.live or options.full_size) and not is_live:
        raise ConfigError(
            f"{'--live' if options.live else '--full-size'} is for real money, but orders would go to {where}: set"
            f" APCA_API_BASE_URL to {LIVE_URL}, or leave it out"
        )
    from liualgotrader.data.data_factory import require_connector

    require_connector(settings)
    if settings.broker != "alpaca":
        raise ConfigError(f"LIU_BROKER is '{settings.broker}', which is not built yet; use 'alpaca', or --simulate")
    names = credential_names(environment())
    missing = [n for n, v in zip(names, (settings.key_id, settings.secret_key), strict=True) if not v]
    if missing:
        others = [n for pair in CREDENTIALS if pair != names for n in pair if environment().get(n)]
        raise ConfigError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set, so there is no account to trade on: "
            + (f"{' and '.join(others)} cannot stand for it; " if others else "")
            + "set the keys of a paper account, or use --simulate"
        )


def requests(request: TraderRequest, home: Path) -> list[TraderRequest]:
    """Return the sessions to run one after another: one, or with two dates one for each trading day between them.

    Those share an account, of the folder that `--state` names or else a new one.

    Raises:
        ConfigError: if there is no trading day, or the folder of recorded days lacks one.
    """
    from liualgotrader.tapes.tape_factory import require_day

    if "-" not in request.window_to:
        if request.data:
            require_day(request.data, request.market_day())
        return [request]
    import datetime as dt
    import secrets

    import msgspec

    from liualgotrader.common.calendar import no_trading_day, sessions

    first, last = request.market_day(), dt.date.fromisoformat(request.window_to)
    days = [session.day for session in sessions(first, last)]
    if not days:
        raise no_trading_day(first, last)
    for day in days if request.data else ():
        require_day(request.data, day)
    state = request.state or str(home / "accounts" / secrets.token_hex(4))
    return [msgspec.structs.replace(request, day=day.isoformat(), window_to="", state=state) for day in days]
