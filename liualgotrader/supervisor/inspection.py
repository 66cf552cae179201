"""Load the user's classes once in a throw-away process, so that a bad file is known before anything is started.

The supervisor itself never runs a line of user code: an import that hangs, ends the interpreter or fills
the memory costs it one child.
"""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.clock import SECOND, machine_now
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.plugins import load_class, outside_reads
from liualgotrader.common.tradeplan import BUILT_IN_SCANNER, TradePlan
from liualgotrader.supervisor.layout import StrategyFacts
from liualgotrader.supervisor.worker import death_text
from liualgotrader.transport.signals import start_helper

LOAD_SECONDS = 30.0  # machine time for all files together
_ASK_SECONDS = 5.0
_SPAWN = multiprocessing.get_context("spawn")


class Loading(msgspec.Struct, frozen=True, tag="loading"):
    """The class of this table is being loaded."""

    table: str


class Wrong(msgspec.Struct, frozen=True, tag="wrong"):
    """It cannot be."""

    sentence: str


class Found(msgspec.Struct, frozen=True, tag="found"):
    """All could be."""

    strategies: tuple[StrategyFacts, ...]


Report = Loading | Wrong | Found


def inspect_tradeplan(plan: TradePlan, *, seconds: float = LOAD_SECONDS) -> tuple[StrategyFacts, ...]:
    """Return what the strategies' classes say of themselves; scanners are loaded as well.

    Blocks for as long as their imports take, `seconds` of machine time at most.

    Raises:
        ConfigError: naming table, file and line of what cannot be loaded.
    """
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_inspect, args=(plan.as_dict(), theirs), daemon=True, name="liu-inspect")
    start_helper()
    process.start()
    theirs.close()
    try:
        return _listen(ours, machine_now() + round(seconds * SECOND), seconds)
    except EOFError as error:
        process.join(timeout=5)
        raise ConfigError(f"{error}: loading it {death_text(process.exitcode or 0)}") from None
    finally:
        process.kill()
        process.join()
        ours.close()


def _listen(reports: Connection, until: int, seconds: float) -> tuple[StrategyFacts, ...]:
    table = "[strategies]"
    while True:
        if not reports.poll(max(0.0, (until - machine_now()) / SECOND)):
            raise ConfigError(f"{table}: loading it did not end within {seconds:g} s")
        try:
            report = msgspec.msgpack.decode(reports.recv_bytes(), type=Report)
        except EOFError:
            raise EOFError(table) from None
        if isinstance(report, Found):
            return report.strategies
        if isinstance(report, Wrong):
            raise ConfigError(report.sentence)
        table = f"[{report.table}]"


# --- in the throw-away process -------------------------------------------------------------------------


def _inspect(values: dict[str, Any], reports: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what the user's files print at import is not for this screen
        os.dup2(nowhere, stream)

    def tell(report: Report) -> None:
        reports.send_bytes(msgspec.msgpack.encode(report))

    plan = TradePlan.from_dict(values)
    try:
        strategies = tuple(_strategies(plan, tell))
        _scanners(plan, tell)
    except ConfigError as error:
        tell(Wrong(str(error)))
    else:
        tell(Found(strategies))
    sys.exit(0)


def _strategies(plan: TradePlan, tell: Any) -> Iterable[StrategyFacts]:
    from liualgotrader.strategies.base import Strategy

    for name, details in plan.strategies.items():
        table = f"strategies.{name}"
        tell(Loading(table))
        kind = load_class(Strategy, name, details["filename"], Path(), table=table)
        notes = tuple(outside_reads(Path(details["filename"])))
        yield _facts(kind, name, details, notes)


def _facts(kind: type[Any], name: str, details: dict[str, Any], notes: tuple[str, ...]) -> StrategyFacts:
    """Return what an instance says; where none can be made outside a session, what the class shows."""
    from liualgotrader.strategies.base import Strategy, StrategyType, make_strategy

    try:
        strategy = make_strategy("", name, dict(details), Path())
    except ConfigError as error:
        if error.__cause__ is None:  # its arguments are wrong, which is so in a session as well
            raise
        return StrategyFacts(name, _looks_like_run_all(kind, Strategy), None, notes)
    try:
        run_all = bool(asyncio.run(asyncio.wait_for(strategy.should_run_all(), _ASK_SECONDS)))
    except (Exception, SystemExit):  # it asks for what only a session has
        run_all = _looks_like_run_all(kind, Strategy)
    return StrategyFacts(name, run_all, getattr(strategy, "type", None) is not StrategyType.SWING, notes)


def _looks_like_run_all(kind: type[Any], base: type[Any]) -> bool:
    """Whether a class defines `run_all` and nothing that is called per symbol."""

    def defines(method: str) -> bool:
        return inspect.getattr_static(kind, method, None) is not inspect.getattr_static(base, method, None)

    return defines("run_all") and not any(map(defines, ("run", "on_bar", "on_second", "on_quote", "on_trade")))


def _scanners(plan: TradePlan, tell: Any) -> None:
    from liualgotrader.scanners.base import Scanner

    base: type[Any] = Scanner
    for name, details in plan.scanners.items():
        table = f"scanners.{name}"
        tell(Loading(table))
        if name != BUILT_IN_SCANNER or "filename" in details:
            load_class(base, name, details["filename"], Path(), table=table)
