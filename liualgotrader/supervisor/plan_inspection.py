"""What can be known of a tradeplan before anything is started: what its classes say, and what will surprise its author.

The user's classes are loaded once, in a throw-away process.
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
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import MINUTE, SECOND, WallClock, as_datetime, machine_now
from liualgotrader.common.config import session_view
from liualgotrader.common.environment import unshield_imports
from liualgotrader.common.errors import ConfigError, DataUnavailable, nearest
from liualgotrader.common.folder_imports import loaded_files
from liualgotrader.common.interpreter import listed
from liualgotrader.common.plugins import load_class, outside_reads
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tradeplan import BUILT_IN_SCANNER, TradePlan
from liualgotrader.ipc.child_process import start_resource_tracker
from liualgotrader.supervisor.managed_process import death_text

LOAD_SECONDS = 30.0  # machine time for all files together
_ASK_SECONDS = 5.0
_SPAWN = multiprocessing.get_context("spawn")
_BATCH = "00000000-0000-4000-8000-000000000000"  # no session's
_OPENS, _CLOSES = dt.time(9, 30), dt.time(16, 0)
_IN_TOML = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_FITS: Mapping[type, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}


class StrategyFacts(msgspec.Struct, frozen=True):
    """What loading a strategy's class showed. `day_trade` is None where the class would not say.

    `notes` are places where it reads past what the engine gives it, `doubts` values of a type that can hardly be meant, `broken`
    says why no instance can be made: it will not run. `own_process` is what the tradeplan says.
    """

    name: str
    run_all: bool
    day_trade: bool | None = None
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    broken: str = ""
    own_process: bool = False


class ScannerFacts(msgspec.Struct, frozen=True):
    """What making a scanner showed: the strategy that its picks are for (empty: all), and odd values."""

    name: str
    target: str = ""
    doubts: tuple[str, ...] = ()


class PlanFacts(msgspec.Struct, frozen=True, tag="found"):
    """What the plan's classes showed, all of which could be loaded; a strategy that cannot be made says so itself."""

    strategies: tuple[StrategyFacts, ...]
    scanners: tuple[ScannerFacts, ...] = ()
    files: tuple[str, ...] = ()  # of the user's: loaded, or imported by one that was


class _Loading(msgspec.Struct, frozen=True, tag="loading"):
    """The class of this table is being loaded."""

    table: str


class _Wrong(msgspec.Struct, frozen=True, tag="wrong"):
    """Why it cannot be loaded."""

    sentence: str


_Report = _Loading | _Wrong | PlanFacts


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
    table, until = "[strategies]", machine_now() + round(seconds * SECOND)
    try:
        while ours.poll(max(0.0, (until - machine_now()) / SECOND)):
            report = msgspec.msgpack.decode(ours.recv_bytes(), type=_Report)
            if isinstance(report, PlanFacts):
                return report
            if isinstance(report, _Wrong):
                raise ConfigError(report.sentence)
            table = f"[{report.table}]"
        raise ConfigError(f"{table}: loading it did not end within {seconds:g} s")
    except EOFError:
        process.join(timeout=5)
        raise ConfigError(f"{table}: loading it {death_text(process.exitcode or 0)}") from None
    finally:
        process.kill()
        process.join()
        ours.close()


# --- in the throw-away process -------------------------------------------------------------------------


def _inspect(values: dict[str, Any], reports: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    unshield_imports()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what the user's files print at import is not for this screen
        os.dup2(nowhere, stream)

    def tell(report: _Report) -> None:
        reports.send_bytes(msgspec.msgpack.encode(report))

    plan, strategies, scanners = TradePlan.from_dict(values), list[StrategyFacts](), list[ScannerFacts]()
    day = as_datetime(WallClock().now()).date()
    try:
        with session_view(
            batch_id=_BATCH,
            risk=plan.risk,
            portfolio_value=plan.portfolio_value,
            market_liquidation_end_time_minutes=plan.market_liquidation_end_time_minutes,
            bypass_market_schedule=plan.bypass_market_schedule,
            market_open=as_datetime(new_york(day, _OPENS)),
            market_close=as_datetime(new_york(day, _CLOSES)),
        ):
            for name, details in plan.strategies.items():
                tell(_Loading(f"strategies.{name}"))
                strategies.append(_strategy(name, details))
            for name, details in plan.scanners.items():
                tell(_Loading(f"scanners.{name}"))
                scanners.append(asyncio.run(_scanner(name, details)))
        tell(PlanFacts(tuple(strategies), tuple(scanners), tuple(imported_files(loaded_files()))))
    except ConfigError as error:
        tell(_Wrong(str(error)))
    sys.exit(0)


class _NoMarket:
    """Stands in for market data, of which there is none here; `asked` says whether any was requested."""

    def __init__(self) -> None:
        self.asked = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*_: object, **__: object) -> Any:
            self.asked = True
            raise DataUnavailable(f"{name} is asked for, and there is no session")

        return ask

    def loader(self) -> Any:
        """Return a loader as the process will hand one over, with this behind it."""
        from liualgotrader.data.loader import DataLoader

        return DataLoader(data_api=self)  # type: ignore[arg-type]


def _strategy(name: str, details: dict[str, Any]) -> StrategyFacts:
    """Return what an instance says; where none can be made outside a session, what the class shows."""
    from liualgotrader.strategies.base import Strategy

    kind = load_class(Strategy, details.get("class", name), details["filename"], Path(), table=f"strategies.{name}")

    def defines(method: str) -> bool:
        return inspect.getattr_static(kind, method, None) is not inspect.getattr_static(Strategy, method, None)

    shown = StrategyFacts(
        name,
        run_all=defines("run_all") and not any(map(defines, ("run", "on_bar", "on_second", "on_quote", "on_trade"))),
        notes=tuple(outside_reads(Path(details["filename"]))),
        doubts=tuple(_odd_values(kind, details, f"strategies.{name}")),
        own_process=bool(details.get("own_process")),
    )
    return asyncio.run(_instance(shown, details))


async def _instance(shown: StrategyFacts, details: dict[str, Any]) -> StrategyFacts:
    """Make it inside a running loop, as a consumer does."""
    from liualgotrader.engine.slot import bind
    from liualgotrader.strategies.base import StrategyType, make_strategy

    name, market = shown.name, _NoMarket()
    try:
        strategy = make_strategy(_BATCH, name, dict(details), Path(), data_loader=market.loader(), ref_run_id=1)
    except ConfigError as error:
        if market.asked:
            return shown
        if error.__cause__ is None:  # its arguments are wrong
            raise
        return msgspec.structs.replace(shown, broken=str(error))
    try:
        run_all = bool(await asyncio.wait_for(strategy.should_run_all(), _ASK_SECONDS))
    except (Exception, SystemExit):  # it asks for what only a session has
        run_all = shown.run_all
    try:
        bind(strategy, run_all=run_all)
    except ConfigError as error:
        raise ConfigError(f"[strategies.{name}] {error}") from None
    day_trade = getattr(strategy, "type", None) is not StrategyType.SWING
    return msgspec.structs.replace(shown, run_all=run_all, day_trade=day_trade)


async def _scanner(name: str, details: dict[str, Any]) -> ScannerFacts:
    """Return for which strategy a scanner picks, empty for all, and what is odd about its arguments."""
    from liualgotrader.scanners.base import Scanner, make_scanner

    market, doubts = _NoMarket(), tuple[str, ...]()
    try:
        target = make_scanner(market.loader(), name, details, Path()).target_strategy_name
    except ConfigError:
        if not market.asked:
            raise
        target = details.get("target_strategy_name")
    if name != BUILT_IN_SCANNER or "filename" in details:
        base: type[Any] = Scanner
        kind = load_class(base, name, details["filename"], Path(), table=f"scanners.{name}")
        doubts = tuple(_odd_values(kind, details, f"scanners.{name}"))
    return ScannerFacts(name, str(target or ""), doubts)


def _odd_values(kind: type[Any], details: Mapping[str, Any], table: str) -> Iterable[str]:
    """Return a sentence for each value whose type is not that of the constructor's default."""
    parameters = inspect.signature(kind.__init__).parameters
    for key, value in details.items():
        default = parameters[key].default if key in parameters else None
        fits = _FITS.get(type(default))
        if fits is not None and key != "recurrence" and type(value) not in fits:
            yield f"[{table}] `{key}` is {value!r}, but the constructor's default is {_IN_TOML[type(default)]}, {default!r}"


def imported_files(loaded: Iterable[Path]) -> list[str]:
    """Return the files that were loaded, and those beside them that one of them imports later, inside a function."""
    todo, found = [path.resolve() for path in loaded], set[Path]()
    tops = {path.parent for path in todo}
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            folders, names = [path.parent, *tops], list[str]()
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
                if 0 < node.level <= len(path.parents):
                    folders = [path.parents[node.level - 1]]
            parts = [name.split(".")[:end] for name in names for end in range(1, name.count(".") + 2)]
            places = [folder.joinpath(*part) for folder in folders for part in parts]
            files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
            todo += [file for file in files if file.is_file()]
    return sorted(map(str, found))


# --- what can be traded, but will surprise who wrote the plan ---------------------------------------------

MOST_MARGIN = 4.0  # times equity that a US broker lends a day trader (FINRA rule 4210)


def warnings_about(plan: TradePlan, found: PlanFacts) -> list[str]:
    """Return a sentence for each doubt that does not depend on the session's hours; a strategy that cannot be made is none."""
    first = {note: s.name for s in reversed(found.strategies) for note in s.notes}  # in whose file a place stands
    said = [f"strategy {name}: {note}, or a replay of the session may differ" for note, name in first.items()]
    said += [doubt for strategy in found.strategies for doubt in strategy.doubts]
    said += [doubt for scanner in found.scanners for doubt in scanner.doubts]
    called = [s.name for s in found.strategies if not s.run_all and not s.broken]  # for what is picked
    if not plan.scanners and called:
        said.append(
            f"no scanner is configured, so nothing is picked: {listed(called)} will be called for"
            " positions from before only; add a [scanners.<name>] table"
        )
    names, targets = [s.name for s in found.strategies], {s.target for s in found.scanners}
    for scanner in found.scanners:
        if scanner.target and names and scanner.target not in names:
            hint = nearest(scanner.target, names)
            said.append(
                f"scanner {scanner.name} picks for '{scanner.target}', which is not a strategy of the plan{hint}"
            )
    if plan.scanners and "" not in targets:
        alone = [name for name in called if name not in targets]
        said += [f"no scanner picks for strategy {n}: every one has another `target_strategy_name`" for n in alone]
    momentum = plan.scanners.get(BUILT_IN_SCANNER, {})
    if "filename" not in momentum and not momentum.get("recurrence") and momentum.get("from_market_open") == 0:
        said.append(
            "the momentum scanner runs once, at the open, when hardly a symbol has an opening price yet: give it a"
            " `recurrence`, or a later `from_market_open`"
        )
    for name, value in msgspec.structs.asdict(plan.limits).items():
        if name.endswith("_fraction") and value > MOST_MARGIN:  # a percentage was meant
            said.append(
                f"[limits] `{name}` is {value:g}, {value:.0%} of equity: {value:g} % is written {value / 100:g}"
            )
    return said


def warnings_about_hours(plan: TradePlan, found: PlanFacts, hours: Hours) -> list[str]:
    """Return a sentence for each rule of the plan that leaves no time to trade between the session's open and close."""
    minutes = (hours.closes_at - hours.opens_at) / MINUTE
    if hours.bypass:
        return []
    before = plan.market_liquidation_end_time_minutes
    day_traders = [s.name for s in found.strategies if s.day_trade is not False and not s.broken]
    if day_traders and before >= minutes:
        return [
            f"the session lasts {minutes:g} minutes, and DAY_TRADE positions are closed {before} minutes before its end"
            f" (market_liquidation_end_time_minutes), so {listed(day_traders)} will open nothing"
        ]
    said: list[str] = []
    for facts in found.strategies:
        first = min((window.start for window in plan.schedule(facts.name)), default=float("-inf"))
        end = minutes if facts.day_trade is False else minutes - before
        if first >= end:
            said.append(
                f"strategy {facts.name} will open nothing: its first window begins {first:g} minutes after the open, and"
                f" entries end after {end:g} minutes of this session"
            )
    momentum = plan.scanners.get(BUILT_IN_SCANNER, {})
    if "filename" not in momentum and momentum.get("from_market_open", 0) >= minutes:
        said.append(
            f"the momentum scanner will pick nothing: it begins {momentum['from_market_open']:g} minutes after the open"
            f" (from_market_open), and this session lasts {minutes:g}"
        )
    return said
