"""What the engine keeps for each strategy and for each symbol, and which strategies a symbol's events call."""

from __future__ import annotations

import functools
import inspect
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Any

from liualgotrader.common.bar_builder import BarBuilder
from liualgotrader.common.clock import NEVER
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Quote
from liualgotrader.common.interpreter import own_context
from liualgotrader.common.orders import Side
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import Limits
from liualgotrader.common.trading_data import called
from liualgotrader.engine.bars import Bars, BarsView
from liualgotrader.engine.book import Book
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context, OrderPort

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
                f"strategy {strategy.name} has only `signals`, which backtests run; a session needs run or on_bar as well"
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

    def call_debugging(symbol: str, *others: Any) -> Any:
        fixed["debug"] = symbol in strategy.debug_symbols
        return call(symbol, *others)

    return call_debugging if strategy.debug_symbols and "debug" in fixed else call


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


SIZE = "size"
SHADOW = "shadow"  # the rule of a session that sends nothing: what it keeps back was not refused


class RefusalCounts:
    """One strategy's refused orders: `counts` by rule, and which were logged."""

    def __init__(self, strategy: str, limits: Limits) -> None:
        self.counts: Counter[str] = Counter()
        self._strategy, self._limits = strategy, limits
        self._said: set[tuple[str, str]] = set()

    def note(self, rule: str, symbol: str, *, leaving: bool) -> str:
        """Count a refused order and return the line to log, empty if it was logged before.

        An entry is logged once for each rule, an order that was to reduce the position (`leaving`) once for each rule
        and symbol.
        """
        self.counts[rule] += 1
        key = (rule, symbol if leaving else "")
        if key in self._said:
            return ""
        self._said.add(key)
        what = f"could not exit {symbol}" if leaving else f"was refused an order in {symbol}"
        return (
            f"strategy {self._strategy} {what} by the rule {rule}{_because(rule, self._limits)}; more are only counted"
        )


def _because(rule: str, limits: Limits) -> str:
    """Return what a rule allows, with the keys that set it; empty for a rule whose name is enough."""
    sized = "ctx.affordable() and ctx.shares() stay below it"
    terms = {
        "order_value": f"an order may cost {limits.order_equity_fraction:.0%} of equity and {limits.order_dollars:,.0f} $"
        f" ([limits] order_equity_fraction, order_dollars); {sized}",
        "position_value": f"a position may come to {limits.position_equity_fraction:.0%} of equity"
        f" ([limits] position_equity_fraction); {sized}",
        "gross_exposure": f"all positions and working orders may come to {limits.gross_equity_fraction:.0%} of equity"
        " ([limits] gross_equity_fraction)",
        "short_exposure": f"short positions may come to {limits.short_equity_fraction:.0%} of equity"
        " ([limits] short_equity_fraction)",
        "portfolio_funds": "the balance of its portfolio and the credit line, less what its working orders may cost;"
        " calc_qty stays below it",
        "price_collar": f"a limit may lie {limits.collar_fraction:.0%} beyond the newest price ([limits] collar_fraction)",
        "liquidation": "a DAY_TRADE strategy opens nothing in a session's last minutes, when its positions are closed"
        " (market_liquidation_end_time_minutes)",
        "self_crossing": "an order of ours on the other side of the symbol could have met it",
        "price_too_old": f"an entry needs a price that is at most {limits.quote_age_seconds:g} s old"
        " ([limits] quote_age_seconds)",
        "order_rate": f"{limits.orders_per_minute} requests a minute, a quarter of them kept for exits"
        " ([limits] orders_per_minute)",
        "open_orders": f"{limits.open_orders} orders may work at once ([limits] open_orders)",
        SIZE: "an order needs a number of shares above 0, with at most nine decimals",
    }
    return f" ({terms[rule]})" if rule in terms else ""


_SMOOTHING = 2 / (100 + 1)  # the weight of the newest value in a mean of span 100
_KEPT = 10


class Imbalance:
    """The smoothed volume order imbalance of one symbol, in shares; `values` holds the newest ten, oldest first.

    Per quote, the volume added at the bid (all of it at a better price, the difference at an equal one, none
    at a worse one) less the same at the offer; then an exponential mean with weight 2/101.

    *Source*: D. Shen, "Order Imbalance Based Strategy in High Frequency Trading", Oxford 2015, section 3.1.
    """

    __slots__ = ("ask_added", "bid_added", "previous", "values")

    def __init__(self) -> None:
        self.previous: Quote | None = None
        self.bid_added = 0.0
        self.ask_added = 0.0
        self.values: list[float] = []

    def take(self, quote: Quote) -> None:
        """Take the next quote; the first only starts the series."""
        before, self.previous = self.previous, quote
        if before is None:
            return
        self.bid_added = _added(quote.bid - before.bid, quote.bid_size, before.bid_size)
        self.ask_added = _added(before.ask - quote.ask, quote.ask_size, before.ask_size)
        last = self.values[-1] if self.values else 0.0
        self.values.append(last + _SMOOTHING * (self.bid_added - self.ask_added - last))
        if len(self.values) > _KEPT:
            del self.values[0]


def _added(better: float, size: float, size_before: float) -> float:
    if better > 0:
        return size
    return size - size_before if better == 0 else 0.0


_WIDEST = 0.1  # of the middle; exchanges let stub quotes of any width stand

MakeFrame = Callable[[Bars], Callable[[bool], Any]]
"""Returns the maker of a symbol's `minute_history`; see `strategies.frames`."""

Acts = list[tuple["StrategySlot", Context, Callable[..., None]]]


@dataclass(slots=True, eq=False, repr=False)  # slots are two per cent of what an event costs
class SymbolState:
    """One symbol's bars, newest prices, and the strategies to call for each kind of event; `wire` replaces the lists."""

    symbol: str
    session_starts: InitVar[Sequence[int]]
    make_frame: InitVar[MakeFrame]
    shortable: bool = True
    bars: Bars = field(init=False)
    view: BarsView = field(init=False)
    frame: Callable[[bool], Any] = field(init=False)
    live: bool = False  # history is loaded
    gapped: bool = False  # the stream was cut, and what it left out is being loaded
    joined_at: int = NEVER  # when history was joined to the stream
    seam: int = 0  # the newest bar of that history, until the minute after has been looked at
    targets: set[int] = field(default_factory=set)  # slots that it was picked for
    last_price: float = 0.0
    last_at: int = 0
    quote: Quote | None = None
    halted: bool = False
    second: BarBuilder | None = None
    imbalance: Imbalance = field(default_factory=Imbalance)
    deadline_of: BarBuilder | None = None  # the minute whose timer is set
    on_bar: Acts = field(init=False)
    on_second: Acts = field(init=False)
    on_quote: Acts = field(init=False)
    on_trade: Acts = field(init=False)
    on_minute_run: list[StrategySlot] = field(init=False)
    on_second_run: list[StrategySlot] = field(init=False)
    on_trade_run: list[StrategySlot] = field(init=False)
    on_quote_run: list[StrategySlot] = field(init=False)
    wants_seconds: bool = False
    wants_voi: bool = False

    def __post_init__(self, session_starts: Sequence[int], make_frame: MakeFrame) -> None:
        self.bars = Bars(self.symbol, session_starts)
        self.view = BarsView(self.bars)
        self.frame = make_frame(self.bars)
        self.wire((), frozenset())

    def wire(self, slots: Sequence[StrategySlot], events: frozenset[str], *, bars_only: bool = False) -> None:
        """Set the strategies to call; `slots` are those that may be called for this symbol now."""
        self.on_bar = _acts(self, slots, "on_bar")
        minute_runs = [slot for slot in slots if slot.bindings.run is not None and "minute" in events]
        if bars_only:
            slots = ()
        self.on_second = _acts(self, slots, "on_second")
        self.on_quote = _acts(self, slots, "on_quote")
        self.on_trade = _acts(self, slots, "on_trade")
        runs = [slot for slot in slots if slot.bindings.run is not None]
        self.on_minute_run = minute_runs
        self.on_second_run = runs if "second" in events else []
        self.on_trade_run = runs if "trade" in events else []
        self.on_quote_run = runs if "quote" in events else []
        self.wants_seconds = bool(self.on_second or self.on_second_run)
        self.wants_voi = bool(runs)

    def reference(self, side: Side) -> tuple[float, int] | None:
        """Return the price that an order is judged by, US dollars, and its instant.

        It is the side of a newer quote that the order would trade against, else the last trade or bar. A quote that
        is crossed, one-sided or wider than a tenth of its middle does not count.
        """
        quote = self.quote
        if quote is not None and quote.at > self.last_at and 0 < quote.bid <= quote.ask:
            spread, middle = quote.ask - quote.bid, (quote.bid + quote.ask) / 2
            if spread <= _WIDEST * middle:
                return (quote.ask if side is Side.BUY else quote.bid), quote.at
        return (self.last_price, self.last_at) if self.last_at else None


def _acts(state: SymbolState, slots: Sequence[StrategySlot], name: str) -> Acts:
    return [(s, s.context(state), s.bindings.events[name]) for s in slots if name in s.bindings.events]


class StrategySlot:
    """One strategy in this consumer: its book, how it is called, and what waits for it."""

    port: OrderPort  # of its contexts; the engine sets it

    def __init__(self, plan: SlotPlan, strategy: Strategy, limits: Limits, seed: int) -> None:
        self.plan = plan
        self.number = plan.slot
        self.name = plan.strategy
        self.strategy = strategy
        self.day_trade = strategy.type is not StrategyType.SWING
        self.bindings: Bindings = bind(strategy, run_all=plan.run_all)
        self.book = Book(plan.slot, strategy, list, plan.account_id)
        self.own_context = strategy.own_context or own_context(plan.strategy)  # in which all of its code runs
        self.own_context.run(called.set, self.book)
        self.run_own = self.own_context.run
        self.log = logging.getLogger(f"liualgotrader.user.{self.name}")
        self.rng = random.Random(f"{seed}/{plan.strategy}/{plan.slot}")  # noqa: S311 - the same in every run
        self.next_number = 1  # of the next order
        self.refusals = RefusalCounts(plan.strategy, limits)
        self.rejected: set[str] = set()
        self.picks: dict[str, None] = {}  # in the order they came
        self.stopped = plan.stopped
        self.failures = 0  # calls in a row that raised
        self.called_at = 0  # market time of the newest call
        self.ticket = 0  # of the call that really waits; 0 while none does
        self.folded: dict[tuple[str, str], Any] = {}  # newest market data per symbol and kind, kept while it waits
        self.queued: deque[Callable[[], None]] = deque()  # calls that must not be lost, kept while it waits
        self.next_tick = 0  # of run_all or on_timer
        self.missed_ticks = 0
        self._contexts: dict[str, Context] = {}

    def may_be_called(self, symbol: str) -> bool:
        """Whether the strategy may be called for a symbol at all."""
        return not self.stopped and not self.book.rebuilding and symbol not in self.rejected

    def needs(self, symbol: str) -> bool:
        """Whether the strategy holds the symbol or has an order under way in it."""
        return not self.stopped and (bool(self.book.quantity(symbol)) or self.book.in_flight(symbol))

    def forget(self, symbol: str) -> None:
        """Drop a symbol that is no longer followed; picked again, it begins anew."""
        self.picks.pop(symbol, None)
        self._contexts.pop(symbol, None)
        for kind in [key for key in self.folded if key[0] == symbol]:
            del self.folded[kind]

    def context(self, state: SymbolState) -> Context:
        """Return the strategy's view of a symbol, always the same object."""
        found = self._contexts.get(state.symbol)
        if found is None:
            found = self._contexts[state.symbol] = Context(state.symbol, state.view, self.port)
        return found
