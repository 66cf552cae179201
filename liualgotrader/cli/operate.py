"""`trader status | stop | resume` and `liu kill-switch`: talk to running sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liualgotrader.cli.screen import PlainScreen, state_line
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.supervisor.operator import Listed, ask, running_sessions, view_from
from liualgotrader.supervisor.view import View


def operate(word: str, settings: Settings, *, flatten: bool = False, batch: str = "") -> int:
    """Do `status`, `stop` or `resume` and return the exit status.

    Raises:
        ConfigError: if there is no session, or several and none is named.
        OutsideError: if it does not answer.
    """
    if word == "status":
        return _status(settings)
    request: dict[str, Any] = {"do": word, "flatten": flatten} if word == "stop" else {"do": word}
    return order(settings, request, batch)


def order(settings: Settings, request: Mapping[str, Any], batch: str = "") -> int:
    """Send an order to the one session that is meant, print the answer, and return the exit status.

    Raises:
        ConfigError: if there is no session, or several and none is named.
        OutsideError: if it does not answer.
    """
    answer = ask(_the_session(settings, batch), request)
    print(answer.get("done") or answer.get("error"))
    return 0 if "done" in answer else 3


def _the_session(settings: Settings, batch: str) -> Listed:
    found = [s for s in running_sessions(settings.home_path) if s.batch_id.startswith(batch)]
    if not found:
        named = f" whose batch begins with {batch}" if batch else ""
        raise ConfigError(f"no session{named} is running with the data folder {settings.home_path}")
    if len(found) > 1:
        raise ConfigError(
            f"{len(found)} sessions are running: {', '.join(s.batch_id for s in found)}; name one with --batch"
        )
    return found[0]


def _status(settings: Settings) -> int:
    sessions = running_sessions(settings.home_path)
    if not sessions:
        print(f"no session is running with the data folder {settings.home_path}")
    for session in sessions:
        _say(view_from(ask(session, {"do": "status"})), session.pid)
    return 0


def _say(view: View, pid: int) -> None:
    screen = PlainScreen()
    screen.line(f"batch {view.batch_id}, {view.environment} session of {view.day}, pid {pid}")
    screen.line(state_line(view))
    for why in dict(view.facts.get("entries_stopped", {})).values():
        screen.warn(f"entries are stopped: {why}")
    for symbol, why in sorted(dict(view.facts.get("quarantined", {})).items()):
        screen.warn(f"{symbol} is quarantined: {why}; `trader resume` takes the difference as not ours")
    rows = [(p.name, p.state, str(p.pid), str(p.restarts)) for p in view.processes]
    screen.table("Processes", ("process", "state", "pid", "restarts"), rows)
    screen.table(
        "Strategies",
        ("strategy", "fills", "trades", "open", "P&L $", "ended"),
        [
            (s.name, str(s.fills), str(s.trips), str(s.open_positions), f"{s.gain:+.2f}", s.ended)
            for s in view.strategies
        ],
    )
