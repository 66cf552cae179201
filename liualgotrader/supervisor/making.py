"""Make the user's strategies and scanners as the session's processes will. Runs in a throw-away process only."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import WallClock, as_datetime
from liualgotrader.common.config import session_view
from liualgotrader.common.errors import ConfigError, DataUnavailable
from liualgotrader.common.plugins import load_class, outside_reads
from liualgotrader.common.tradeplan import BUILT_IN_SCANNER, TradePlan
from liualgotrader.supervisor.layout import StrategyFacts

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
