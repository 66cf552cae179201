"""One strategy in this consumer: its book, how it is called, and what it may do through a context."""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context as OwnContext
from decimal import Decimal
from typing import Any, Protocol

from liualgotrader.common.events import Quote
from liualgotrader.common.interpreter import own_context
from liualgotrader.common.money import exact
from liualgotrader.common.orders import Side
from liualgotrader.common.session_plan import Limits, SlotPlan
from liualgotrader.common.trading_data import called
from liualgotrader.engine.bindings import Forms, bind
from liualgotrader.engine.book import Book
from liualgotrader.engine.refusal_counts import Refusals
from liualgotrader.engine.symbol_state import SymbolState
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context, OrderHandle, Wish


class Maker(Protocol):
    """Makes intents of what strategies wish; `engine.ordering` is the one there is."""

    portfolio_value: float | None
    equity: Decimal | None
    limits: Limits
    calling: StrategySlot | None
    thread: int

    def order(
        self, slot: StrategySlot, symbol: str, wish: Wish, *, said: dict[str, Any] | None = None
    ) -> OrderHandle: ...
    def cancel(self, slot: StrategySlot, handle: OrderHandle, reason: str) -> None: ...
    def replace(
        self,
        slot: StrategySlot,
        handle: OrderHandle,
        quantity: Decimal | None,
        limit: Decimal | None,
        stop: Decimal | None,
    ) -> None: ...


class StrategySlot:
    """A strategy's place in the engine. It is also the `Hands` of its contexts."""

    def __init__(self, plan: SlotPlan, strategy: Strategy, maker: Maker, symbols: Mapping[str, SymbolState]) -> None:
        self.plan = plan
        self.number = plan.slot
        self.name = plan.strategy
        self.strategy = strategy
        self.day_trade = strategy.type is not StrategyType.SWING
        self.forms: Forms = bind(strategy, run_all=plan.run_all)
        self.book = Book(plan.slot, strategy, list, plan.account_id)
        self.own_context = strategy.own_context or own_context(plan.strategy)  # in which all of its code runs
        self.own_context.run(called.set, self.book)
        self.run_own = self.own_context.run
        self._ours = OwnContext()  # in which ours does when it is called by the strategy
        self.log = logging.getLogger(f"liualgotrader.user.{self.name}")
        self.rng = random.Random()  # noqa: S311 - a strategy's chance, not a secret
        self.next_number = 1  # of the next order
        self.refusals = Refusals(plan.strategy, maker.limits)
        self.rejected: set[str] = set()
        self.picks: dict[str, None] = {}  # in the order they came
        self.stopped = plan.stopped
        self.failures = 0  # calls in a row that raised
        self.ticket = 0  # of the call that really waits; 0 while none does
        self.folded: dict[tuple[str, str], Any] = {}  # newest market data per symbol and kind, kept while it waits
        self.queued: deque[Callable[[], None]] = deque()  # calls that must not be lost, kept while it waits
        self.next_tick = 0  # of run_all or on_timer
        self.missed_ticks = 0
        self._contexts: dict[str, Context] = {}
        self._maker = maker
        self._symbols = symbols

    def seed(self, seed: int) -> None:
        """Begin the slot's random numbers: the same in every run with the same seed."""
        self.rng.seed(f"{seed}/{self.name}/{self.number}")

    def may_be_called(self, symbol: str) -> bool:
        """Whether the strategy is to hear of a symbol at all."""
        return not self.stopped and not self.book.rebuilding and symbol not in self.rejected

    def needs(self, symbol: str) -> bool:
        """Whether the strategy holds the symbol or has an order under way in it."""
        return not self.stopped and (bool(self.book.quantity(symbol)) or self.book.in_flight(symbol))

    def forget(self, symbol: str) -> None:
        """The symbol is not followed any more; picked again, it begins anew."""
        self.picks.pop(symbol, None)
        self._contexts.pop(symbol, None)
        for kind in [key for key in self.folded if key[0] == symbol]:
            del self.folded[kind]

    def context(self, state: SymbolState) -> Context:
        """Return the strategy's view of a symbol, always the same object."""
        found = self._contexts.get(state.symbol)
        if found is None:
            found = self._contexts[state.symbol] = Context(state.symbol, state.view, self)
        return found

    # --- Hands ------------------------------------------------------------------------------------------

    @property
    def portfolio_value(self) -> float | None:
        """The account's equity unless the tradeplan sets it."""
        return self._maker.portfolio_value

    @portfolio_value.setter
    def portfolio_value(self, value: float | None) -> None:
        raise AttributeError("portfolio_value is the account's to say")

    def order(self, symbol: str, wish: Wish) -> OrderHandle:
        """Make an order of what the strategy wishes."""
        self._check_caller()
        return self._ours.run(self._maker.order, self, symbol, wish)

    def cancel(self, handle: OrderHandle, reason: str) -> None:
        """Ask for the cancellation of a working order."""
        self._check_caller()
        self._ours.run(self._maker.cancel, self, handle, reason)

    def replace(
        self, handle: OrderHandle, quantity: Decimal | None, limit: Decimal | None, stop: Decimal | None
    ) -> None:
        """Ask for other terms of a working order."""
        self._check_caller()
        self._ours.run(self._maker.replace, self, handle, quantity, limit, stop)

    def _check_caller(self) -> None:
        """Refuse what a thread or a task of the strategy's wants: it would be lost, or differ from run to run."""
        if self._maker.calling is self and threading.get_ident() == self._maker.thread:
            return
        sentence = (
            f"strategy {self.name} acts through its ctx outside a call of its own - from a thread, a task or after an"
            " await - and that is refused: return from the thread what it found, and order in the next event method"
        )
        self.refusals.counts["outside_call"] += 1
        if self.refusals.counts["outside_call"] == 1:
            self.log.error("%s", sentence)
        raise RuntimeError(sentence)

    def open_orders(self, symbol: str) -> list[OrderHandle]:
        """Return the working orders in a symbol, oldest first."""
        return self.book.open_orders(symbol)

    def protect(self, symbol: str, stop: Decimal | None, target: Decimal | None) -> None:
        """Store a stop, a target or both."""
        self._check_caller()
        self.book.notes.plan(symbol, stop, target)

    def position(self, symbol: str) -> Decimal:
        """Return the signed shares held."""
        return self.book.quantity(symbol)

    def stop(self, symbol: str) -> Decimal | None:
        """Return the stored stop."""
        return self.book.planned(symbol, "stop_prices")

    def target(self, symbol: str) -> Decimal | None:
        """Return the stored target."""
        return self.book.planned(symbol, "target_prices")

    def affordable(self, symbol: str, price: float) -> int:
        """Return the whole shares that an entry at this price may have under the limits of order and position."""
        return self._ours.run(self._affordable, symbol, price)

    def _affordable(self, symbol: str, price: float) -> int:
        equity, limits = self._maker.equity, self._maker.limits
        if equity is None or equity <= 0 or price <= 0:
            return 0
        each = exact(price)
        order = min(exact(limits.order_equity_fraction) * equity, exact(limits.order_dollars))
        bound = abs(self.position(symbol)) + sum(o.remaining for o in self.open_orders(symbol))
        position = exact(limits.position_equity_fraction) * equity - bound * each
        return max(0, int(min(order, position) / each))

    def reference(self, symbol: str) -> float | None:
        """Return the price that a purchase is judged by: of the last trade or bar, or the offer of a newer quote."""
        state = self._symbols.get(symbol)
        found = state.reference(Side.BUY) if state is not None else None
        return found[0] if found is not None else None

    def quote(self, symbol: str) -> Quote | None:
        """Return the newest bid and offer."""
        state = self._symbols.get(symbol)
        return state.quote if state is not None else None

    def last(self, symbol: str) -> float | None:
        """Return the newest price."""
        state = self._symbols.get(symbol)
        return state.last_price if state is not None and state.last_at else None

    def shortable(self, symbol: str) -> bool:
        """Return whether the broker lends shares of the symbol."""
        state = self._symbols.get(symbol)
        return state is None or state.shortable

    def halted(self, symbol: str) -> bool:
        """Return whether the newest trading status is a halt."""
        state = self._symbols.get(symbol)
        return state is not None and state.halted
