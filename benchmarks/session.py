"""`python -m benchmarks.session`: a window of a generated day through the whole stack at speed max, as one JSON document."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.machine import load_average, machine, versions

PLAN = Path(__file__).parent.parent / "examples" / "demo" / "tradeplan.toml"
_PATIENCE_SECONDS = 600.0
_FIGURES = re.compile(r" market_closes (?P<figures>.*)$", re.MULTILINE)
_STAMP = len("2024-06-03 09:30:00.000000")
_OURS = ("APCA_", "DSN", "LIU_", "TRADEPLAN")  # settings of the person who measures are not to change the figures


class SessionRun(msgspec.Struct, frozen=True):
    """One session. `wall_seconds` is the whole command, `session_seconds` from the last process ready to the market's end."""

    wall_seconds: float
    start_seconds: float
    session_seconds: float
    events: int
    events_per_second: float
    quanta: int
    waits: int
    ms_per_wait: float
    orders: int
    orders_per_second: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sessions, and print the JSON document; progress goes to the error output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.session", description=__doc__)
    parser.add_argument("--from", dest="begin", default="09:30", help="begin of the window, New York (default 09:30)")
    parser.add_argument("--to", dest="end", default="10:30", help="end of the window (default 10:30)")
    parser.add_argument("--tradeplan", type=Path, default=PLAN, help="default: the demo's")
    parser.add_argument("--repeats", type=int, default=3, help="sessions; medians are taken over them (default 3)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    before = load_average()
    window = ["--from", given.begin, "--to", given.end, "--seed", str(given.seed)]
    runs = [_run(given.tradeplan.absolute(), window, n) for n in range(given.repeats)]
    document = {
        "benchmark": "session",
        "machine": machine(),
        "versions": versions(),
        "window": [given.begin, given.end],
        "tradeplan": given.tradeplan.name,
        "seed": given.seed,
        "load_average": {"before": before, "after": load_average()},
        "medians": {name: median(getattr(run, name) for run in runs) for name in SessionRun.__struct_fields__},
        "runs": runs,
    }
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _run(tradeplan: Path, window: Sequence[str], number: int) -> SessionRun:
    """Trade one session in a data folder of its own.

    Raises:
        SystemExit: if it does not end as it should, with what it printed.
    """
    home = Path(tempfile.mkdtemp(prefix="liu-b-"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    call = "from liualgotrader.cli.trader import main; main()"
    command = [sys.executable, "-c", call, "--simulate", "--tradeplan", str(tradeplan), "--speed", "max", *window]
    try:
        begun, begun_at = time.monotonic(), datetime.now().timestamp()  # noqa: DTZ005 - compared as seconds
        environment = clean | {"LIU_HOME": str(home)}
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=_PATIENCE_SECONDS
        )
        wall = time.monotonic() - begun
        if done.returncode:
            sys.exit(f"the session ended with exit status {done.returncode}:\n{done.stdout}\n{done.stderr}")
        run = figures(next(home.glob("logs/*/")), wall, begun_at)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"session {number + 1}: {run.wall_seconds} s, {run.orders} orders", file=sys.stderr)
    return run


def figures(logs: Path, wall_seconds: float, begun_at: float) -> SessionRun:
    """Return what the logs of one session tell; `begun_at` is when the command was given, seconds since 1970."""
    told = _market_figures((logs / "simulator.log").read_text())
    lines = (logs / "supervisor.log").read_text().splitlines()
    ready = max(_at(line) for line in lines if " process_ready " in line)
    seconds = _at(next(line for line in lines if " session_ends " in line)) - ready
    return SessionRun(
        wall_seconds=round(wall_seconds, 2),
        start_seconds=round(ready - begun_at, 2),
        session_seconds=round(seconds, 2),
        events=told["events"],
        events_per_second=round(told["events"] / seconds, 1),
        quanta=told["quanta"],
        waits=told["waits"],
        ms_per_wait=round(told["waited_ms"] / max(told["waits"], 1), 3),
        orders=told["orders"],
        orders_per_second=round(told["orders"] / seconds, 2),
    )


def _market_figures(log: str) -> Mapping[str, int]:
    found = _FIGURES.search(log)
    if found is None:
        sys.exit("the simulated market did not say what it has played")
    pairs: list[Any] = [word.partition("=") for word in found["figures"].split()]
    return {name: int(value) for name, _, value in pairs}


def _at(line: str) -> float:
    """Return the instant of a log line, seconds since 1970; logs are in New York's time."""
    from liualgotrader.common.clock import NEW_YORK

    return datetime.fromisoformat(line[:_STAMP]).replace(tzinfo=NEW_YORK).timestamp()


if __name__ == "__main__":
    main()
