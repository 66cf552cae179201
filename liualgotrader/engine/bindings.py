"""Finds out once which methods a strategy has and which arguments they declare."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from liualgotrader.common.errors import ConfigError
from liualgotrader.strategies.base import Strategy

EVENT_METHODS = ("on_bar", "on_second", "on_quote", "on_trade", "on_fill", "on_timer")
_RUN_NAMES = ("symbol", "shortable", "position", "now", "minute_history")
_RUN_ALL_NAMES = ("symbols_position", "data_loader", "now")

Run = Callable[[str, bool, float, datetime, Any, "float | None"], Any]
RunAll = Callable[[dict[str, float], Any, datetime, "float | None", Any], Any]


@dataclass(frozen=True, slots=True)
class FillCallback:
    """A fill callback; one that declares `remaining_qty` is called for partial fills too."""

    call: Callable[[str, float, float, Mapping[str, Any]], Any]  # symbol, price, quantity, and what it may declare
    wants_partials: bool


@dataclass(frozen=True, slots=True)
class Bindings:
    """How one strategy is called; None for what it does not define."""

    run: Run | None
    run_all: RunAll | None
    buy_callback: FillCallback | None
    sell_callback: FillCallback | None
    events: dict[str, Callable[..., None]]


def bind(strategy: Strategy, *, run_all: bool) -> Bindings:
    """Return how the strategy is to be called.

    Raises:
        ConfigError: it cannot be called at all, or an event method is not a plain function.
    """
    kind = type(strategy)
    events = {name: getattr(strategy, name) for name in EVENT_METHODS if callable(getattr(strategy, name, None))}
    for name, method in events.items():
        if inspect.iscoroutinefunction(method):
            raise ConfigError(f"strategy {strategy.name}: {name} must be a plain `def`, not `async def`")
    if "on_timer" in events:
        on_timer = events["on_timer"]
        events["on_timer"] = functools.wraps(on_timer)(lambda ctx, nothing: on_timer(ctx))
    has_run = kind.run is not Strategy.run and not run_all
    if not (has_run or run_all or events):
        if callable(getattr(strategy, "signals", None)):
            raise ConfigError(
                f"strategy {strategy.name} has only `signals`, which sweeps run; a session needs run or on_bar as well"
            )
        raise ConfigError(f"strategy {strategy.name} defines none of run, run_all, {', '.join(EVENT_METHODS)}")
    return Bindings(
        run=bind_run(strategy) if has_run else None,
        run_all=bind_run_all(strategy) if run_all else None,
        buy_callback=_callback(strategy, "buy_callback"),
        sell_callback=_callback(strategy, "sell_callback"),
        events=events,
    )


def bind_run(strategy: Strategy) -> Run:
    """Return `run` taking its arguments by place; overrides may order or name theirs as they like."""
    run = strategy.run
    declared, takes_any = _declared(run)
    fixed: dict[str, Any] = {n: False for n in ("debug", "backtesting") if takes_any or n in declared}
    wants_value = takes_any or "portfolio_value" in declared
    by_name = takes_any or all(name in declared for name in _RUN_NAMES)

    def call(symbol: str, shortable: bool, position: float, now: datetime, history: Any, value: float | None) -> Any:
        extra = {**fixed, "portfolio_value": value} if wants_value else fixed
        if by_name:
            return run(symbol=symbol, shortable=shortable, position=position, now=now, minute_history=history, **extra)
        return run(symbol, shortable, position, now, history, **extra)

    return call


def bind_run_all(strategy: Strategy) -> RunAll:
    """Return `run_all` taking its arguments by place; the broker's handle goes to `trader` or `trading_api`."""
    run_all = strategy.run_all
    declared, takes_any = _declared(run_all)
    fixed: dict[str, Any] = {n: False for n in ("debug", "backtesting") if takes_any or n in declared}
    fixed |= {n: 0.0 for n in ("fee_buy_percentage", "fee_sell_percentage") if n in declared}
    wants_value = takes_any or "portfolio_value" in declared
    trader_name = next((n for n in ("trader", "trading_api") if n in declared), "trader" if takes_any else None)
    by_name = takes_any or all(name in declared for name in _RUN_ALL_NAMES)

    def call(positions: dict[str, float], loader: Any, now: datetime, value: float | None, trader: Any) -> Any:
        extra = dict(fixed)
        if wants_value:
            extra["portfolio_value"] = value
        if trader_name is not None:
            extra[trader_name] = trader
        if by_name:
            return run_all(symbols_position=positions, data_loader=loader, now=now, **extra)
        return run_all(positions, loader, now, **extra)

    return call


def _callback(strategy: Strategy, name: str) -> FillCallback | None:
    if getattr(type(strategy), name) is getattr(Strategy, name):
        return None
    method = getattr(strategy, name)
    declared, takes_any = _declared(method)
    wanted = [n for n in ("now", "trade_fee", "remaining_qty") if takes_any or n in declared]

    def call(symbol: str, price: float, quantity: float, more: Mapping[str, Any]) -> Any:
        return method(symbol, price, quantity, **{name: more[name] for name in wanted})

    return FillCallback(call, wants_partials="remaining_qty" in declared)


def _declared(method: Callable[..., Any]) -> tuple[set[str], bool]:
    parameters = inspect.signature(method).parameters
    return set(parameters), any(p.kind is p.VAR_KEYWORD for p in parameters.values())
