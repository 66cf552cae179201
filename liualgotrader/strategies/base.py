"""`Strategy`: the class that every strategy extends, with the original's methods and the event methods."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context as OwnContext
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from liualgotrader.common.clock import MINUTE, instant
from liualgotrader.common.errors import nearest
from liualgotrader.common.money import exact, whole_parts
from liualgotrader.common.plugins import build, check_arguments, context_for, load_class
from liualgotrader.common.ports import KeyValues
from liualgotrader.common.session_plan import Hours

_EXIT_MARGIN_MINUTES = 15
_FOR_THE_LAYOUT = ("filename", "class", "own_process")  # keys of a strategy's table that its constructor never sees
GLOBAL_CONTEXT = "global"
_READ_BY_US = ("portfolio_id", "events")  # keys of a strategy's table that it need not declare


class StrategyType(Enum):
    """Whether positions are closed before the session's close, or kept."""

    DAY_TRADE = 1
    SWING = 2


@dataclass(slots=True)
class StrategyRun:
    """The row of table `algo_run` that the strategy's orders belong to; the supervisor writes it."""

    strategy_name: str
    batch_id: str
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class SessionServices:
    """What a running strategy may ask for; set before `create` is called."""

    hours: Hours
    keys: KeyValues
    balance: Callable[[int], Awaitable[float]]  # of a portfolio account, US dollars


class Strategy:
    """A strategy: one instance per consumer process, loaded from a file that the tradeplan names.

    There are three ways to write one; a class may mix the first two.

    *The original's methods*: `async def run(...)` per symbol and event, or `should_run_all` and
    `async def run_all(...)` once per period over all symbols. They return actions:
    `(True, {"side": "buy", "qty": "10", "type": "limit", "limit_price": "12.30"})` orders,
    `(False, {})` does nothing, `(False, {"reject": True})` ends the symbol for this strategy and session.

    *Event methods*: plain functions, any of `on_bar(self, ctx, bar)` (closed minutes),
    `on_second(self, ctx, bar)` (closed seconds), `on_quote(self, ctx, quote)`, `on_trade(self, ctx, trade)`,
    `on_fill(self, ctx, fill)` and `on_timer(self, ctx)` (each `timer_seconds` of market time from the session's
    open on, per symbol). They act by `ctx.buy`, `ctx.sell`, `ctx.close`, `ctx.cancel`; see `context.Context`.

    *Array signals*: `def signals(self, bars) -> Arrays`: the whole history in one call, returning the columns
    `entry` (-1, 0, 1), `size` (shares) and, if wanted, `exit` (bool), `stop` and `target` (US dollars, NaN: none) per
    bar, where row i may use rows <= i. Orders are market orders at the next bar's open; an entry's stop and target rest
    at the exchange as the legs of a bracket. Backtests run this form; a session needs one of the other two, and refuses
    a class that has only `signals` when it is loaded.
    """

    timer_seconds: float = 60.0
    strategy_type = StrategyType.DAY_TRADE  # the default of the constructor's `type`
    debug_symbols: frozenset[str] = frozenset()  # whose calls of `run` say debug=True
    _record: Callable[[str, str, Any], None] | None = None  # set while it runs
    own_context: OwnContext | None = None  # in which all of its code runs; `make_strategy` sets it

    def __init__(
        self,
        name: str = "",
        type: StrategyType | None = None,
        batch_id: str = "",
        schedule: list[dict[str, Any]] | None = None,
        ref_run_id: int | None = None,
        data_loader: Any = None,
        fractional: bool = False,
        **read_by_the_platform: Any,
    ) -> None:
        if unknown := set(read_by_the_platform) - set(_READ_BY_US):
            mine = inspect.signature(self.__class__.__init__).parameters.values()
            hint = nearest(min(unknown), [p.name for p in mine if p.kind is not p.VAR_KEYWORD])
            raise TypeError(f"{self.__class__.__name__} got an unexpected keyword argument '{min(unknown)}'{hint}")
        self.name = name or self.__class__.__name__
        self.type = self.strategy_type if type is None else type
        self.batch_id = batch_id
        self.ref_run_id = ref_run_id
        self.algo_run = StrategyRun(self.name, batch_id)
        self.schedule = [] if schedule is None else schedule
        self.data_loader = data_loader
        self.support_fractional = fractional
        self.account_id: int | None = None
        self.global_var: dict[str, str] = {}
        self._services: SessionServices | None = None

    def __repr__(self) -> str:
        return self.name

    # --- life --------------------------------------------------------------------------------------

    def join_session(self, services: SessionServices, run_id: int | None, account_id: int | None) -> None:
        """Start in a session with what the process provides; called once, before `create`."""
        self._services = services
        self.algo_run.run_id = run_id
        self.account_id = account_id if account_id is not None else self.account_id

    def join_next_session(self, hours: Hours) -> None:
        """Go on with the next trading day of a run over several."""
        if self._services is not None:
            self._services = replace(self._services, hours=hours)

    def join_recording(self, record: Callable[[str, str, Any], None]) -> None:
        """Hand what is recorded from here on to the engine."""
        self._record = record

    async def create(self) -> bool:
        """Prepare; an override must call this one. Only False means: do not run in this process."""
        return True

    async def should_run_all(self) -> bool:
        """Whether `run_all` is called instead of `run`."""
        return False

    # --- the original's calls ------------------------------------------------------------------------

    async def run(
        self,
        symbol: str,
        shortable: bool,
        position: float,
        now: datetime,
        minute_history: Any,
        portfolio_value: float | None = None,
        debug: bool = False,
        backtesting: bool = False,
    ) -> tuple[bool, dict[str, Any]]:
        """Decide about one symbol on one event; `minute_history` is a frame labelled by the bars' starts."""
        return False, {}

    async def run_all(
        self,
        symbols_position: dict[str, float],
        data_loader: Any,
        now: datetime,
        portfolio_value: float | None = None,
        trader: Any = None,
        debug: bool = False,
        backtesting: bool = False,
        fee_buy_percentage: float = 0.0,
        fee_sell_percentage: float = 0.0,
    ) -> dict[str, dict[str, Any]]:
        """Decide about all symbols at once: an action per symbol."""
        return {}

    async def buy_callback(
        self, symbol: str, price: float, qty: float, now: datetime | None = None, trade_fee: float = 0.0
    ) -> None:
        """Called after a buy; an override that declares `remaining_qty` is called for partial fills as well."""

    async def sell_callback(
        self, symbol: str, price: float, qty: float, now: datetime | None = None, trade_fee: float = 0.0
    ) -> None:
        """Called after a sale; an override that declares `remaining_qty` is called for partial fills as well."""

    # --- the session -----------------------------------------------------------------------------------

    @property
    def opens_at(self) -> int:
        """The session's open, ns UTC; 0 while the strategy is not running."""
        return self._services.hours.opens_at if self._services else 0

    @property
    def closes_at(self) -> int:
        """The session's close, ns UTC; 0 while the strategy is not running."""
        return self._services.hours.closes_at if self._services else 0

    def in_window(self, at: int) -> bool:
        """Whether the instant (ns UTC) lies inside a window of the schedule; the rule of `is_buy_time`."""
        if self._services is None or self._services.hours.bypass or not self.schedule:
            return True
        minutes = (at - self._services.hours.opens_at) / MINUTE
        return any(w["start"] < minutes < w["start"] + w["duration"] for w in self.schedule)

    async def is_buy_time(self, now: datetime) -> bool:
        """Whether `now` lies inside a window of the schedule: start < minutes since the open < start + duration.

        Always with `bypass_market_schedule`, and without a schedule.
        """
        return self.in_window(instant(now))

    async def is_sell_time(self, now: datetime) -> bool:
        """Whether a window of the schedule has begun and more than 15 minutes are left to the close.

        Always with `bypass_market_schedule`; without a schedule only the 15 minutes count.
        """
        if self._services is None or self._services.hours.bypass:
            return True
        left = (self._services.hours.closes_at - instant(now)) / MINUTE
        minutes = (instant(now) - self._services.hours.opens_at) / MINUTE
        begun = not self.schedule or minutes >= min(w["start"] for w in self.schedule)
        return begun and (left > _EXIT_MARGIN_MINUTES or not self._services.hours.liquidates_at)

    def record(self, symbol: str, name: str, value: float | Decimal | None) -> None:
        """Keep a value of a symbol at the market's time of this call, as `Context.record` does; for `run`, `run_all` and callbacks.

        Raises:
            RuntimeError: before the strategy runs, in `create`, and what `Context.record` raises.
        """
        if self._record is None:
            raise RuntimeError(f"strategy {self.name} does not run yet: record in its calls, not in create")
        self._record(symbol, name, value)

    # --- money and memory ----------------------------------------------------------------------------

    async def calc_qty(self, price: float, trade_fee_percentage: float) -> float:
        """Return how many shares the strategy's account can pay at `price`, fee (percent, 0 to 100) included.

        Whole shares, unless the strategy was made with `fractional=True`: then down to the 1e-9 shares that can be
        ordered. 0 for an account that is overdrawn. What the strategy's working purchases may still cost is set aside.
        """
        assert self.account_id is not None, f"strategy {self.name} has no portfolio account"
        assert self._services is not None, f"strategy {self.name} is not running"
        balance = await self._services.balance(self.account_id)
        cost = price * (1.0 + trade_fee_percentage / 100.0)
        if balance <= 0 or cost <= 0:
            return 0.0
        shares = balance / cost
        return float(whole_parts(exact(shares))) if self.support_fractional else float(math.floor(shares))

    async def get_global_var(self, key: str, context: str | None = None) -> str | None:
        """Return a stored text of this strategy, None if there is none.

        Keys are kept per strategy, and per `context` if one is given; `context="global"` is shared by all
        strategies. A key that this strategy never stored is looked up among the global ones.
        """
        for stored in dict.fromkeys((self._stored_key(key, context), key)):
            value = await self._keys.load(stored)
            if value is not None:
                self.global_var[key] = value
                return value
        return self.global_var.get(key)

    async def set_global_var(self, key: str, value: str, context: str | None = None) -> None:
        """Store a text for this strategy; it outlives the session. `context` as in `get_global_var`.

        Raises:
            ValueError: if `value` is not a str.
        """
        if not isinstance(value, str):
            raise ValueError(f"global variable {key!r} must be a str, not {type(value).__name__}")
        self.global_var[key] = value
        await self._keys.save(self._stored_key(key, context), value)

    def _stored_key(self, key: str, context: str | None) -> str:
        if context == GLOBAL_CONTEXT:
            return key
        return "/".join([self.name, *([context] if context else []), key])

    @property
    def _keys(self) -> KeyValues:
        assert self._services is not None, f"strategy {self.name} is not running"
        return self._services.keys

    # --- loading -------------------------------------------------------------------------------------

    @classmethod
    async def get_strategy(
        cls,
        batch_id: str,
        strategy_name: str,
        strategy_details: dict[str, Any],
        data_loader: Any = None,
        ref_run_id: int | None = None,
    ) -> Strategy | None:
        """Return the strategy that a tradeplan's table describes, None if its `create` returns False.

        Raises:
            ConfigError: it cannot be loaded or made, with the cause.
        """
        strategy = make_strategy(
            batch_id, strategy_name, strategy_details, Path(), data_loader=data_loader, ref_run_id=ref_run_id
        )
        return None if await strategy.create() is False else strategy


def make_strategy(
    batch_id: str,
    name: str,
    details: dict[str, Any],
    folder: Path,
    *,
    data_loader: Any = None,
    ref_run_id: int | None = None,
    seed: str = "",
) -> Strategy:
    """Return a new instance from the file that `details["filename"]` names, relative to `folder`.

    Its class is `details["class"]`, else the one called `name`.

    The other entries of `details` are its keyword arguments, with `batch_id`; `ref_run_id`, `data_loader`,
    `portfolio_id` and `events` are given if it declares them. The defaults are the class's name, its class attribute
    `strategy_type` (`DAY_TRADE`) and an empty schedule.

    Raises:
        ConfigError: in one sentence that names file, class and cause.
    """
    kind = load_class(Strategy, details.get("class", name), details.get("filename"), folder, table=f"strategies.{name}")
    return strategy_of(kind, batch_id, name, details, data_loader=data_loader, ref_run_id=ref_run_id, seed=seed or name)


def strategy_of(
    kind: type[Strategy],
    batch_id: str,
    name: str,
    details: dict[str, Any],
    *,
    data_loader: Any = None,
    ref_run_id: int | None = None,
    seed: str,
) -> Strategy:
    """Return a new instance of `kind`, as `make_strategy` makes it.

    Raises:
        ConfigError: in one sentence that names class and cause.
    """
    arguments = _arguments(kind, batch_id, details, {"data_loader": data_loader, "ref_run_id": ref_run_id})
    context = context_for(kind, seed)
    strategy = build(kind, arguments, table=f"strategies.{name}", context=context)
    strategy.own_context = context
    return strategy


def check_strategy(name: str, details: dict[str, Any], folder: Path) -> None:
    """Check what `make_strategy` would be given, and make none.

    Raises:
        ConfigError: in one sentence that names file, class and cause.
    """
    table = f"strategies.{name}"
    kind = load_class(Strategy, details.get("class", name), details.get("filename"), folder, table=table)
    check_arguments(kind, _arguments(kind, "", details, {"data_loader": None, "ref_run_id": None}), table=table)


def _arguments(
    kind: type[Strategy], batch_id: str, details: Mapping[str, Any], offered: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the constructor is given: the table's keys that are its own, and of ours what it takes."""
    declared = inspect.signature(kind.__init__).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in declared.values())
    arguments = {key: value for key, value in details.items() if key not in (*_FOR_THE_LAYOUT, *offered)}
    for key in _READ_BY_US:
        if key not in declared and not takes_any:
            arguments.pop(key, None)
    arguments |= {key: value for key, value in offered.items() if takes_any or key in declared}
    return {**arguments, "batch_id": batch_id}
