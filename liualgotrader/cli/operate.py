"""`trader status | stop | resume`, `liu kill-switch`, `liu positions` and `liu cancel`: talk to running sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from liualgotrader.cli.common import complain
from liualgotrader.cli.screen import PlainScreen, state_line
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.supervisor.operator_socket import THROUGH, ask, running_sessions
from liualgotrader.supervisor.view import PositionLine, View, equity_text, masked_account, refusals_text, today_text


def send_request(settings: Settings, request: Mapping[str, Any], batch: str = "") -> int:
    """Send a request to the one session that is meant, print the answer, and return the exit status.

    0 it was done, 2 it cannot be done as asked, 3 it could not be done now.

    Raises:
        ConfigError: if there is no session, or several and none is named.
        OutsideError: if it does not answer.
    """
    found = [s for s in running_sessions(settings.home_path) if s.batch_id.startswith(batch)]
    if not found:
        named = f" whose batch begins with {batch}" if batch else ""
        raise ConfigError(f"no session{named} is running with the data folder {settings.home_path}")
    if len(found) > 1:
        ids = ", ".join(s.batch_id for s in found)
        raise ConfigError(f"{len(found)} sessions are running: {ids}; name one with --batch")
    answer = ask(found[0], {**request, THROUGH: "command line"})
    print(answer.get("done") or answer.get("refused") or answer.get("error"))
    return 0 if "done" in answer else 2 if "refused" in answer else 3


def status(settings: Settings, *, orders: bool = False, as_document: bool = False) -> int:
    """Print how each running session is and return the exit status: that of an error if one does not answer."""
    result, told = 0, list[dict[str, Any]]()
    sessions = running_sessions(settings.home_path)
    if not sessions and not as_document:
        print(f"no session is running with the data folder {settings.home_path}")
    for session in sessions:
        try:
            answer = ask(session, {"do": "status"})
        except OutsideError as error:
            if session.pid in (s.pid for s in running_sessions(settings.home_path)):  # it hangs: the others can be seen
                complain(f"trader: {error}")
                result = error.exit_code
            elif not as_document:
                print(f"the {session.environment} session (pid {session.pid}) has just ended")
            continue
        newest = next(iter(ask(session, {"do": "orders"}).values())) if orders and "view" in answer else None
        if as_document:
            told.append({"pid": session.pid, "environment": session.environment, **answer, "orders": newest})
        elif "waiting" in answer:
            print(f"a {session.environment} session (pid {session.pid}) {answer['waiting']}")
        else:
            say_status(msgspec.convert(answer["view"], View, strict=False), session.pid)
            if newest is not None:
                print(newest)
    if as_document:
        print(msgspec.json.encode(told).decode())
    return result


def say_status(view: View, pid: int) -> None:
    """Print how a session is: what keeps it back, its processes, its strategies, its positions."""
    screen = PlainScreen()
    screen.line(f"batch {view.batch_id}, {view.environment} session of {view.day}, pid {pid}")
    if view.facts is not None:
        screen.line(
            f"account {masked_account(view.facts)}, {equity_text(view.facts.equity)}; today: {today_text(view.facts)}"
        )
    screen.line(state_line(view))
    for alert in view.alerts():
        screen.warn(alert)
    rows = [(p.name, p.state, str(p.pid), str(p.restarts)) for p in view.processes]
    screen.table("Processes", ("process", "state", "pid", "restarts"), rows)
    screen.table(
        "Strategies",
        ("strategy", "fills", "trades", "open", "refused", "realized $", "open $", "P&L $", ""),
        [
            (
                s.name,
                str(s.fills),
                str(s.trips),
                str(s.open_positions),
                refusals_text(s.refused) or "0",
                f"{s.realized:+,.2f}",
                f"{s.open_gain:+,.2f}",
                f"{s.gain:+,.2f}",
                "stopped" if s.ended else "",
            )
            for s in view.strategies
        ],
    )
    for s in view.strategies:
        if s.ended:
            screen.warn(f"{s.name} was stopped: {s.ended}")
    if view.positions:
        header = ("position", "strategy", "shares", "entry $", "last $", "stop", "target", "P&L $")
        screen.table("Positions", header, [_position(held) for held in view.positions])


def _position(held: PositionLine) -> tuple[str, ...]:
    last = "-" if held.last is None else f"{held.last:,.4f}"
    gain = "-" if held.gain is None else f"{held.gain:+,.2f}"
    stop, target = ("none" if held.stop is None else str(held.stop)), ("-" if held.target is None else str(held.target))
    return held.symbol, held.strategy, f"{held.quantity:,f}", f"{held.entry:,.4f}", last, stop, target, gain
