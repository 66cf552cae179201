"""Load the user's classes once in a throw-away process, so that a bad file is known before anything is started.

The supervisor itself never runs a line of user code: an import that hangs, ends the interpreter or fills
the memory costs it one child.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from liualgotrader.common.clock import SECOND, machine_now
from liualgotrader.common.config import unshield_imports
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.folder_imports import loaded_files
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.ipc.child_process import start_resource_tracker
from liualgotrader.supervisor.layout import StrategyFacts
from liualgotrader.supervisor.managed_process import death_text
from liualgotrader.supervisor.proofs import imported_files

LOAD_SECONDS = 30.0  # machine time for all files together
_SPAWN = multiprocessing.get_context("spawn")


class ScannerFacts(msgspec.Struct, frozen=True):
    """What making a scanner showed: the strategy that its picks are for (empty: all), and odd values."""

    name: str
    target: str = ""
    doubts: tuple[str, ...] = ()


class Loading(msgspec.Struct, frozen=True, tag="loading"):
    """The class of this table is being loaded."""

    table: str


class Wrong(msgspec.Struct, frozen=True, tag="wrong"):
    """It cannot be."""

    sentence: str


class PlanFacts(msgspec.Struct, frozen=True, tag="found"):
    """All could be; a strategy that cannot be made says so itself."""

    strategies: tuple[StrategyFacts, ...]
    scanners: tuple[ScannerFacts, ...] = ()
    files: tuple[str, ...] = ()  # of the user's: loaded, or imported by one that was


Report = Loading | Wrong | PlanFacts


def inspect_tradeplan(plan: TradePlan, *, seconds: float = LOAD_SECONDS) -> PlanFacts:
    """Make every strategy and scanner as the session's processes will, and return what they say of themselves.

    Blocks for as long as their imports take, `seconds` of machine time at most.

    Raises:
        ConfigError: naming table, file and line of what cannot be loaded, or of a scanner that cannot be made.
    """
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_inspect, args=(plan.as_dict(), theirs), daemon=True, name="liu-inspect")
    start_resource_tracker()
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


def _listen(reports: Connection, until: int, seconds: float) -> PlanFacts:
    table = "[strategies]"
    while True:
        if not reports.poll(max(0.0, (until - machine_now()) / SECOND)):
            raise ConfigError(f"{table}: loading it did not end within {seconds:g} s")
        try:
            report = msgspec.msgpack.decode(reports.recv_bytes(), type=Report)
        except EOFError:
            raise EOFError(table) from None
        if isinstance(report, PlanFacts):
            return report
        if isinstance(report, Wrong):
            raise ConfigError(report.sentence)
        table = f"[{report.table}]"


# --- in the throw-away process -------------------------------------------------------------------------


def _inspect(values: dict[str, Any], reports: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    unshield_imports()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what the user's files print at import is not for this screen
        os.dup2(nowhere, stream)

    def tell(report: Report) -> None:
        reports.send_bytes(msgspec.msgpack.encode(report))

    try:
        tell(_found(TradePlan.from_dict(values), tell))
    except ConfigError as error:
        tell(Wrong(str(error)))
    sys.exit(0)


def _found(plan: TradePlan, tell: Callable[[Report], None]) -> PlanFacts:
    from liualgotrader.supervisor.making import scanner_doubts, scanner_target, shown_session, strategy_facts

    strategies: list[StrategyFacts] = []
    scanners: list[ScannerFacts] = []
    with shown_session(plan):
        for name, details in plan.strategies.items():
            tell(Loading(f"strategies.{name}"))
            strategies.append(strategy_facts(name, details))
        for name, details in plan.scanners.items():
            tell(Loading(f"scanners.{name}"))
            scanners.append(ScannerFacts(name, scanner_target(name, details), scanner_doubts(name, details)))
    return PlanFacts(tuple(strategies), tuple(scanners), tuple(imported_files(loaded_files())))
