"""Calls strategies one at a time, without a task unless a call really waits; one that keeps failing is stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from types import CoroutineType
from typing import Any, Protocol

from liualgotrader.common.clock import as_datetime
from liualgotrader.common.orders import Fill, Side
from liualgotrader.common.plugins import one_line, source_of, where_raised
from liualgotrader.engine.actions import BadAction, plain_text, read_action, says_reject, stored
from liualgotrader.engine.book import TrackedOrder
from liualgotrader.engine.ordering import Ordering
from liualgotrader.engine.outputs import LogLine, SlotStopped, WaitingCall
from liualgotrader.engine.slot import StrategySlot, SymbolState
from liualgotrader.strategies.context import Context

FAILURES_IN_A_ROW = 5

RunCoroutine = Callable[[Coroutine[Any, Any, Any]], tuple[bool, Any]]
"""Runs a coroutine to its first real wait: (True, its result) or (False, what it yielded)."""


class CallWatch(Protocol):
    """Is told before and after each call, so that a strategy that never returns is found."""

    def calling(self, slot: int, symbol: str) -> None: ...
    def returned(self) -> None: ...


def step_now(coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Run a coroutine to its first real wait, with nothing around it."""
    try:
        return False, coroutine.send(None)
    except StopIteration as stop:
        return True, stop.value


class Caller:
    """Makes the calls and acts on what they return.

    `rejected(slot, symbol)` is called when a strategy rejects a symbol, `stopped(slot)` when a strategy is stopped.
    """

    def __init__(
        self,
        ordering: Ordering,
        run_coroutine: RunCoroutine,
        watch: CallWatch | None,
        rejected: Callable[[StrategySlot, str], None],
    ) -> None:
        self._ordering = ordering
        self._run_coroutine = run_coroutine
        self._watch = watch
        self._rejected = rejected
        self._tickets = 0
        self._waiting: dict[int, tuple[StrategySlot, str, str]] = {}  # by ticket: slot, symbol, method
        self._now_at, self._now = -1, as_datetime(0)
        self.stopped: Callable[[StrategySlot], None] = lambda slot: None

    # --- event methods ------------------------------------------------------------------------------------

    def act(self, slot: StrategySlot, act: Callable[[Context, Any], None], ctx: Context, event: Any) -> None:
        """Call an event method; the hottest place of the platform."""
        self._ordering.calling = slot
        slot.called_at = ctx.at
        if self._watch is not None:
            self._watch.calling(slot.number, ctx.symbol)
        try:
            slot.run_own(act, ctx, event)
        except BaseException as error:  # sys.exit() in a strategy is a failure of that strategy alone
            self._failed(slot, ctx.symbol, getattr(act, "__name__", "an event method"), error)
        else:
            if slot.failures:
                slot.failures = 0
        if self._watch is not None:
            self._watch.returned()
        if slot.book.notes.moved:
            self._ordering.protect_moved(slot)

    # --- the original's methods -------------------------------------------------------------------------------

    def run(self, slot: StrategySlot, state: SymbolState, at: int, *, with_forming: bool) -> None:
        """Call `run`, unless an order of the strategy is in flight in the symbol."""
        symbol = state.symbol
        if slot.book.in_flight(symbol):
            return
        run = slot.bindings.run
        assert run is not None
        position = slot.book.positions.get(symbol, 0.0)
        value = self._ordering.portfolio_value
        ctx = slot.context(state)
        ctx.told_at = slot.called_at = max(ctx.told_at, at)
        arguments = (symbol, state.shortable, position, self.datetime_of(ctx.told_at), state.frame(with_forming), value)
        self._drive(slot, symbol, "run", run, arguments)

    def run_all(self, slot: StrategySlot, at: int, positions: dict[str, float], loader: Any, trader: Any) -> None:
        """Call `run_all`."""
        run_all = slot.bindings.run_all
        assert run_all is not None
        slot.called_at = at
        arguments = (positions, loader, self.datetime_of(at), self._ordering.portfolio_value, trader)
        self._drive(slot, "", "run_all", run_all, arguments)

    def filled(self, slot: StrategySlot, fill: Fill, tracked: TrackedOrder) -> None:
        """Call the original's callback for a fill: on every one if it declares `remaining_qty`, else on the last."""
        callback = slot.bindings.buy_callback if fill.side is Side.BUY else slot.bindings.sell_callback
        if callback is None or not (callback.wants_partials or not fill.remaining_quantity):
            return
        if callback.wants_partials:
            price, quantity, fee, value = fill.price, fill.quantity, fill.fee, fill.price * fill.quantity
        else:
            quantity, fee, value = tracked.filled, tracked.fees, tracked.value
            price = value / quantity
        more = {
            "now": self.datetime_of(fill.at),
            "trade_fee": float(fee),
            "remaining_qty": float(fill.remaining_quantity),
        }
        name = "buy_callback" if fill.side is Side.BUY else "sell_callback"
        slot.called_at = fill.at
        slot.book.owed = {"value": -fill.side.sign * value, "fee": -fee}
        arguments = (fill.symbol, float(price), float(quantity), more)
        self._drive(slot, fill.symbol, name, callback.call, arguments)
        if not slot.ticket:
            slot.book.owed = {}

    # --- results --------------------------------------------------------------------------------------------

    def _returned(self, slot: StrategySlot, symbol: str, what: str, result: Any) -> None:
        """Act on what a method returned; a callback's result means nothing."""
        slot.failures = 0
        if what == "run":
            try:
                do, action = result
                do = bool(do)  # raises for an array
            except (TypeError, ValueError):
                self._bad_action(slot, symbol, result, f"run must return (bool, dict), not {result!r:.100}")
                return
            if do:
                self._order(slot, symbol, action)
            elif says_reject(action):
                self._rejected(slot, symbol)
        elif what == "run_all" and result is not None:
            self._returned_all(slot, result)

    def _returned_all(self, slot: StrategySlot, result: Any) -> None:
        if not isinstance(result, Mapping):
            self._bad_action(slot, "", result, f"run_all must return a dict of actions, not {type(result).__name__}")
            return
        for wanted, action in result.items():
            if action is None or action is False or (isinstance(action, Mapping) and not action):
                continue  # the symbol is left as it is
            symbol = plain_text(wanted).upper()
            if says_reject(action):
                self._rejected(slot, symbol)
            elif slot.book.in_flight(symbol):
                self._ordering.signal(slot, symbol, stored(action), "in_flight")
            else:
                self._order(slot, symbol, action)

    def _order(self, slot: StrategySlot, symbol: str, action: Any) -> None:
        try:
            wanted = read_action(action)
        except BadAction as error:
            self._bad_action(slot, symbol, action, str(error))
            return
        wanted.cancel_after = self._ordering.order_lifetime
        self._ordering.order(slot, symbol, wanted, action=stored(action))

    def _bad_action(self, slot: StrategySlot, symbol: str, action: Any, sentence: str) -> None:
        self.log(logging.ERROR, f"strategy {slot.name} returned an action for {symbol or 'run_all'}: {sentence}")
        self._ordering.signal(slot, symbol, {**stored(action), "refused": sentence}, "refused:bad_action")
        slot.refusals.counts["bad_action"] += 1

    # --- driving ----------------------------------------------------------------------------------------------

    def _drive(
        self, slot: StrategySlot, symbol: str, what: str, call: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        """Make one call and act on its result: now, or when its answer comes if it really waits."""
        self._ordering.calling = slot
        if self._watch is not None:
            self._watch.calling(slot.number, symbol)
        waiting: Coroutine[Any, Any, Any] | None = None
        failure: BaseException | None = None
        try:
            result = slot.run_own(call, *arguments)
            if type(result) is CoroutineType:
                done, found = slot.run_own(self._run_coroutine, result)
                waiting, result = (None if done else result), found
        except BaseException as error:  # as in `act`
            failure = error
        if self._watch is not None:
            self._watch.returned()
        if failure is not None:
            self._failed(slot, symbol, what, failure)
        elif waiting is None:
            self._returned(slot, symbol, what, result)
        else:
            self._tickets += 1
            slot.ticket = self._tickets
            self._waiting[slot.ticket] = (slot, symbol, what)
            self._ordering.out.append(WaitingCall(slot.ticket, slot.number, symbol, waiting, result))
        if slot.book.notes.moved:
            self._ordering.protect_moved(slot)

    def answer(self, ticket: int, result: Any, error: BaseException | None) -> StrategySlot:
        """Take the answer of a call that waited; the slot may be called again."""
        slot, symbol, what = self._waiting.pop(ticket)
        slot.ticket, slot.book.owed = 0, {}
        if slot.stopped:
            return slot
        if error is not None:
            self._failed(slot, symbol, what, error)
        else:
            self._returned(slot, symbol, what, result)
        self._ordering.protect_moved(slot)
        return slot

    def _failed(self, slot: StrategySlot, symbol: str, what: str, error: BaseException) -> None:
        where = where_raised(error, source_of(slot.strategy))
        cause = one_line(error)
        self.log(logging.ERROR, f"strategy {slot.name} raised in {what} for {symbol or 'all'}: {cause} ({where})")
        slot.failures += 1
        if slot.failures >= FAILURES_IN_A_ROW and not slot.stopped:
            self.stop(slot, f"raised: {cause} ({where})")

    def stop(self, slot: StrategySlot, reason: str) -> None:
        """Stop calling a strategy."""
        slot.stopped = reason
        slot.folded.clear()
        slot.queued.clear()
        self._ordering.out.append(SlotStopped(slot.number, reason))
        self.log(logging.ERROR, f"strategy {slot.name} (slot {slot.number}) is stopped: {reason}")
        self.stopped(slot)

    def datetime_of(self, at: int) -> datetime:
        """Return the instant as user code sees it, made once per instant."""
        if at != self._now_at:
            self._now_at, self._now = at, as_datetime(at)
        return self._now

    def log(self, level: int, text: str) -> None:
        """Add a line for the log to the outputs."""
        self._ordering.out.append(LogLine(level, text))
