"""What each process imports when it starts, looked at in a fresh interpreter: heavy libraries only where they are needed.

Nothing is asserted of times; they are printed (`pytest -rP` shows them).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.session import make_plan

HEAVY = ("pandas", "alpaca", "exchange_calendars", "pyarrow", "rich", "asyncpg", "aiohttp")
_TIME = re.compile(r"^import time:\s+\d+ \|\s+(?P<cumulative>\d+) \| (?P<module>\S+)$", re.MULTILINE)
_SECONDS = 60

_ROOM = """
import importlib, pkgutil
room = importlib.import_module("{room}")
for found in pkgutil.walk_packages(room.__path__, "{room}."):
    importlib.import_module(found.name)
"""
_PROCESS = """
import pathlib, sys, types
import liualgotrader.supervisor.managed_process
import {module} as main
if hasattr(main, "open_dependencies"):
    from liualgotrader.common.clock import WallClock
    from liualgotrader.common.config import Secrets
    from liualgotrader.common.secret import Secret
    from liualgotrader.common.session_plan import read_plan
    child = types.SimpleNamespace(plan=read_plan(pathlib.Path(r"{folder}")), clock=WallClock(), name="p", notice=print, status=None)
    main.open_dependencies(child, Secrets(Secret("id"), Secret("secret"), Secret("")))
"""
_PROGRAM = """
import contextlib, io, sys
from importlib.metadata import entry_points
sys.argv = ["{program}", "--help"]
(program,) = entry_points(group="console_scripts", name="{program}")
with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
    program.load()()
assert said.getvalue()
"""


def imported(code: str) -> dict[str, int]:
    """Return what a fresh interpreter has imported after `code`: microseconds by module, 0 where none were told."""
    tell = "\nimport json, sys\nsys.__stdout__.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code + tell],
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    times = {found["module"]: int(found["cumulative"]) for found in _TIME.finditer(done.stderr)}
    return {module: times.get(module, 0) for module in json.loads(done.stdout)}


def heavy(modules: dict[str, int]) -> set[str]:
    """Return the heavy libraries among them."""
    return {name.partition(".")[0] for name in modules} & set(HEAVY)


@pytest.mark.parametrize("room", ["common", "engine", "ipc", "journal", "exchange"])
def test_the_lower_rooms_import_nothing_heavy(room: str) -> None:
    assert heavy(imported(_ROOM.format(room=f"liualgotrader.{room}"))) == set()


def test_the_calendar_loads_no_numerical_library() -> None:
    assert not {"pandas", "numpy"} & imported("import liualgotrader.common.calendar").keys()


@pytest.mark.parametrize(
    ("process", "allowed"),
    [
        ("order_gateway", {"alpaca", "pandas", "pyarrow"}),  # the vendor's client imports pandas
        ("scanners_runner", {"alpaca", "pandas", "pyarrow"}),
        ("producer", set()),
        ("consumer", set()),  # the vendor's client comes late and off the loop (decision 0001)
        ("simulator", {"aiohttp"}),
    ],
)
def test_a_process_starts_with_what_it_needs(process: str, allowed: set[str], tmp_path: Path) -> None:
    make_plan(tmp_path)
    module = f"liualgotrader.{process}.main"
    modules = imported(_PROCESS.format(module=module, folder=tmp_path))
    print(f"{process}: {len(modules)} modules, {modules[module] / 1000:.0f} ms")
    assert heavy(modules) <= allowed


def test_the_supervisor_needs_no_calendar_before_it_is_asked_for_a_session() -> None:
    modules = imported("import liualgotrader.supervisor.session, liualgotrader.cli.screen")
    print(f"supervisor: {len(modules)} modules, {modules['liualgotrader.supervisor.session'] / 1000:.0f} ms")
    assert heavy(modules) == set()


@pytest.mark.parametrize("program", ["trader", "backtester", "market_miner", "optimizer", "portfolio", "liu"])
def test_a_program_shows_its_help_at_once(program: str) -> None:
    assert heavy(imported(_PROGRAM.format(program=program))) == set()
