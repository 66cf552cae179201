"""Load the user's classes once in a throw-away process, so that a bad file is known before anything is started.

The supervisor itself never runs a line of user code: an import that hangs, ends the interpreter or fills
the memory costs it one child.
"""

from __future__ import annotations

import ast
import asyncio
import datetime as dt
import inspect
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import SECOND, WallClock, as_datetime, machine_now
from liualgotrader.common.config import session_view, unshield_imports
from liualgotrader.common.errors import ConfigError, DataUnavailable
from liualgotrader.common.folder_imports import loaded_files
from liualgotrader.common.plugins import load_class, outside_reads
from liualgotrader.common.tradeplan import BUILT_IN_SCANNER, TradePlan
from liualgotrader.ipc.child_process import start_resource_tracker
from liualgotrader.supervisor.managed_process import death_text

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


class StrategyFacts(msgspec.Struct, frozen=True):
    """What loading a strategy's class showed. `day_trade` is None where the class would not say.

    `notes` are places where it reads past the engine's doors, `doubts` values that can hardly be meant, `broken`
    says why no instance can be made: it will not run. `own_process` is what the tradeplan says.
    """

    name: str
    run_all: bool
    day_trade: bool | None = None
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    broken: str = ""
    own_process: bool = False


def imported_files(loaded: Iterable[Path]) -> list[str]:
    """Return the files that were loaded, and those beside them that one of them imports later, inside a function."""
    todo, found = [path.resolve() for path in loaded], set[Path]()
    tops = {path.parent for path in todo}
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += _imports_of(path, tops)
    return sorted(map(str, found))


def _imports_of(path: Path, tops: Iterable[Path]) -> list[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    named: list[tuple[Path, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named += [(top, alias.name) for alias in node.names for top in (path.parent, *tops)]
        elif isinstance(node, ast.ImportFrom):
            within = [path.parents[node.level - 1]] if 0 < node.level <= len(path.parents) else [path.parent, *tops]
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
            named += [(top, name) for name in names for top in within]
    files: list[Path] = []
    for top, name in named:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            place = top.joinpath(*parts[:end])
            files += [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]
    return files


_ASK_SECONDS = 5.0
_BATCH = "00000000-0000-4000-8000-000000000000"  # no session's
_OPENS, _CLOSES = dt.time(9, 30), dt.time(16, 0)
_IN_TOML = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_FITS: Mapping[type, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}


class NoMarket:
    """Stands where a session has its market data; `asked` once somebody wanted any, which cannot be had here."""

    def __init__(self) -> None:
        self.asked = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*_: object, **__: object) -> Any:
            self.asked = True
            raise DataUnavailable(f"{name} is asked for, and there is no session")

        return ask


def shown_session(plan: TradePlan) -> AbstractContextManager[None]:
    """While the block runs, the original's `config` attributes answer as in a session of today."""
    day = as_datetime(WallClock().now()).date()
    return session_view(
        batch_id=_BATCH,
        risk=plan.risk,
        portfolio_value=plan.portfolio_value,
        market_liquidation_end_time_minutes=plan.market_liquidation_end_time_minutes,
        bypass_market_schedule=plan.bypass_market_schedule,
        market_open=as_datetime(new_york(day, _OPENS)),
        market_close=as_datetime(new_york(day, _CLOSES)),
    )


# --- strategies --------------------------------------------------------------------------------------------


def strategy_facts(name: str, details: dict[str, Any]) -> StrategyFacts:
    """Return what an instance says; where none can be made outside a session, what the class shows.

    `broken` says why none can be made at all.

    Raises:
        ConfigError: the file, the class or its arguments are wrong.
    """
    from liualgotrader.strategies.base import Strategy

    kind = load_class(Strategy, name, details["filename"], Path(), table=f"strategies.{name}")
    notes = tuple(outside_reads(Path(details["filename"])))
    doubts = tuple(_odd_values(kind, details, f"strategies.{name}"))
    own = bool(details.get("own_process"))
    base = StrategyFacts(name, _looks_like_run_all(kind, Strategy), None, notes, doubts, own_process=own)
    return asyncio.run(_facts_of_one(base, name, details))


async def _facts_of_one(base: StrategyFacts, name: str, details: dict[str, Any]) -> StrategyFacts:
    """Make it inside a running loop, as a consumer does."""
    import msgspec

    from liualgotrader.engine.bindings import bind
    from liualgotrader.strategies.base import StrategyType, make_strategy

    market = NoMarket()
    try:
        strategy = make_strategy(_BATCH, name, dict(details), Path(), data_loader=_loader(market), ref_run_id=1)
    except ConfigError as error:
        if market.asked:
            return base
        if error.__cause__ is None:  # its arguments are wrong
            raise
        return msgspec.structs.replace(base, broken=str(error))
    try:
        run_all = bool(await asyncio.wait_for(strategy.should_run_all(), _ASK_SECONDS))
    except (Exception, SystemExit):  # it asks for what only a session has
        run_all = base.run_all
    try:
        bind(strategy, run_all=run_all)
    except ConfigError as error:
        raise ConfigError(f"[strategies.{name}] {error}") from None
    day_trade = getattr(strategy, "type", None) is not StrategyType.SWING
    return msgspec.structs.replace(base, run_all=run_all, day_trade=day_trade)


def _looks_like_run_all(kind: type[Any], base: type[Any]) -> bool:
    """Whether a class defines `run_all` and nothing that is called per symbol."""

    def defines(method: str) -> bool:
        return inspect.getattr_static(kind, method, None) is not inspect.getattr_static(base, method, None)

    return defines("run_all") and not any(map(defines, ("run", "on_bar", "on_second", "on_quote", "on_trade")))


# --- scanners ----------------------------------------------------------------------------------------------


def scanner_target(name: str, details: dict[str, Any]) -> str:
    """Make the scanner and return the strategy that its picks are for, empty for all.

    Raises:
        ConfigError: the file, the class or its arguments are wrong, or it cannot be made.
    """
    return asyncio.run(_target(name, details))


async def _target(name: str, details: dict[str, Any]) -> str:
    from liualgotrader.scanners.base import make_scanner

    market = NoMarket()
    try:
        scanner = make_scanner(_loader(market), name, details, Path())
    except ConfigError:
        if market.asked:
            return str(details.get("target_strategy_name") or "")
        raise
    return str(scanner.target_strategy_name or "")


def scanner_doubts(name: str, details: dict[str, Any]) -> tuple[str, ...]:
    """Return what is odd about a scanner's arguments."""
    from liualgotrader.scanners.base import Scanner

    if name == BUILT_IN_SCANNER and "filename" not in details:
        return ()
    base: type[Any] = Scanner
    kind = load_class(base, name, details["filename"], Path(), table=f"scanners.{name}")
    return tuple(_odd_values(kind, details, f"scanners.{name}"))


# --- both --------------------------------------------------------------------------------------------------


def _loader(market: Any) -> Any:
    """Return a loader as the process will hand one over, with `market` behind it."""
    from liualgotrader.data.loader import DataLoader

    return DataLoader(data_api=market)


def _odd_values(kind: type[Any], details: Mapping[str, Any], table: str) -> Iterable[str]:
    """Say of each value whether it has another type than the constructor's default for it."""
    parameters = inspect.signature(kind.__init__).parameters
    for key, value in details.items():
        default = parameters[key].default if key in parameters else None
        fits = _FITS.get(type(default))
        if fits is not None and key != "recurrence" and type(value) not in fits:
            yield f"[{table}] `{key}` is {value!r}, but the constructor's default is {_IN_TOML[type(default)]}, {default!r}"
