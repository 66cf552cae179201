"""Calls strategies: one at a time, without a task unless one really waits, and none after it failed too often."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, Protocol

from liualgotrader.common.clock import as_datetime
from liualgotrader.common.orders import Fill, Side
from liualgotrader.common.plugins import source_of, where_raised
from liualgotrader.common.trading_data import called
from liualgotrader.engine.actions import BadAction, read_action, says_reject, stored
from liualgotrader.engine.bindings import Callback, Told
from liualgotrader.engine.books import Tracked
from liualgotrader.engine.ordering import Ordering
from liualgotrader.engine.outputs import Line, SlotStopped, Waiting
from liualgotrader.engine.slot import Slot
from liualgotrader.engine.symbols import SymbolState

FAILURES_IN_A_ROW = 5

Step = Callable[[Coroutine[Any, Any, Any]], tuple[bool, Any]]
"""Runs a coroutine to its first real wait: (True, its result) or (False, what it yielded)."""


class Watch(Protocol):
    """Told before and after each call, so that a strategy that never returns is found."""

    def calling(self, slot: int, symbol: str) -> None: ...
    def returned(self) -> None: ...


class NoWatch:
    """Nobody watches."""

    def calling(self, slot: int, symbol: str) -> None:
        """Do nothing."""

    def returned(self) -> None:
        """Do nothing."""


def step_now(coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Run a coroutine to its first real wait, with nothing around it."""
    try:
        return False, coroutine.send(None)
    except StopIteration as stop:
        return True, stop.value


class Caller:
    """Makes the calls and acts on what they return.

    `ended(slot)` is called when a strategy is to be called no more, for a symbol or at all.
    """

    def __init__(self, ordering: Ordering, step: Step, watch: Watch, rejected: Callable[[Slot, str], None]) -> None:
        self._ordering = ordering
        self._step = step
        self._watch = watch
        self._watched = not isinstance(watch, NoWatch)
        self._rejected = rejected
        self._current: Slot | None = None
        self._tickets = 0
        self._then: dict[int, tuple[Slot, str, str, Callable[[Any], None]]] = {}
        self._now_at, self._now = -1, as_datetime(0)
        self.in_flight_skips = 0
        self.stopped: Callable[[Slot], None] = lambda slot: None

    # --- event methods ------------------------------------------------------------------------------------

    def act(self, slot: Slot, act: Callable[..., None], symbol: str, arguments: tuple[Any, ...]) -> None:
        """Call an event method; the hottest place of the platform."""
        if self._current is not slot:
            self._current = slot
            called.set(slot.book)
        if self._watched:
            self._watch.calling(slot.number, symbol)
        try:
            act(*arguments)
        except Exception as error:
            self._failed(slot, symbol, act.__name__, error)
        else:
            if slot.failures:
                slot.failures = 0
        if self._watched:
            self._watch.returned()
        if slot.book.moved:
            self._ordering.protect_moved(slot)

    # --- the original's methods -------------------------------------------------------------------------------

    def run(self, slot: Slot, state: SymbolState, at: int, shortable: bool, *, with_forming: bool) -> None:
        """Call `run`, unless an order of the strategy is in flight in the symbol."""
        symbol = state.symbol
        if slot.book.in_flight(symbol):
            self.in_flight_skips += 1
            return
        run = slot.forms.run
        assert run is not None
        position = slot.book.positions.get(symbol, 0.0)
        history = state.frame(with_forming)
        value = self._ordering.portfolio_value
        self._drive(
            slot,
            symbol,
            "run",
            lambda: run(symbol, shortable, position, self.when(at), history, value),
            lambda result: self._after_run(slot, symbol, result),
        )

    def run_all(self, slot: Slot, at: int, positions: dict[str, float], loader: Any, trader: Any) -> None:
        """Call `run_all`."""
        run_all = slot.forms.run_all
        assert run_all is not None
        value = self._ordering.portfolio_value
        self._drive(
            slot,
            "",
            "run_all",
            lambda: run_all(positions, loader, self.when(at), value, trader),
            lambda result: self._after_run_all(slot, result),
        )

    def filled(self, slot: Slot, fill: Fill, tracked: Tracked) -> None:
        """Call the original's callback for a fill: on every one if it declares `remaining_qty`, else on the last."""
        callback = slot.forms.buy_callback if fill.side is Side.BUY else slot.forms.sell_callback
        if callback is None or not (callback.hears_partials or not fill.remaining_quantity):
            return
        told = self._told(fill, tracked, callback)
        name = "buy_callback" if fill.side is Side.BUY else "sell_callback"
        call = callback.call
        self._drive(slot, fill.symbol, name, lambda: call(told), lambda result: None)

    def _told(self, fill: Fill, tracked: Tracked, callback: Callback) -> Told:
        if callback.hears_partials:
            price, quantity, fee = fill.price, fill.quantity, fill.fee
        else:
            price, quantity, fee = tracked.value / tracked.filled, tracked.filled, tracked.fees
        left = float(fill.remaining_quantity)
        return Told(fill.symbol, float(price), float(quantity), self.when(fill.at), float(fee), left)

    # --- results --------------------------------------------------------------------------------------------

    def _after_run(self, slot: Slot, symbol: str, result: Any) -> None:
        try:
            do, action = result
        except (TypeError, ValueError):
            self._bad_action(slot, symbol, result, f"run must return (bool, dict), not {result!r:.100}")
            return
        if do:
            self._order(slot, symbol, action)
        elif says_reject(action):
            self._rejected(slot, symbol)

    def _after_run_all(self, slot: Slot, result: Any) -> None:
        if result is None:
            return
        if not isinstance(result, Mapping):
            self._bad_action(slot, "", result, f"run_all must return a dict of actions, not {type(result).__name__}")
            return
        for symbol, action in result.items():
            if action:
                self._order_of_all(slot, str(symbol).upper(), action)

    def _order_of_all(self, slot: Slot, symbol: str, action: Any) -> None:
        if says_reject(action):
            self._rejected(slot, symbol)
        elif slot.book.in_flight(symbol):
            self._ordering.signal(slot, symbol, stored(action), "in_flight")
        else:
            self._order(slot, symbol, action)

    def _order(self, slot: Slot, symbol: str, action: Any) -> None:
        try:
            wish = read_action(action)
        except BadAction as error:
            self._bad_action(slot, symbol, action, str(error))
            return
        wish.cancel_after = self._ordering.order_lifetime
        self._ordering.order(slot, symbol, wish, said=stored(action))

    def _bad_action(self, slot: Slot, symbol: str, action: Any, sentence: str) -> None:
        self.say(logging.ERROR, f"strategy {slot.name} returned an action for {symbol or 'run_all'}: {sentence}")
        self._ordering.signal(slot, symbol, stored(action), "refused:bad_action")

    # --- driving ----------------------------------------------------------------------------------------------

    def _drive(self, slot: Slot, symbol: str, what: str, begin: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Make one call and act on its result, now or, if it really waits, when its answer comes."""
        if self._current is not slot:
            self._current = slot
            called.set(slot.book)
        slot.calls += 1
        self._watch.calling(slot.number, symbol)
        try:
            done, result = True, begin()
            if inspect.iscoroutine(result):
                rest = result
                done, result = self._step(rest)
        except Exception as error:
            self._watch.returned()
            self._failed(slot, symbol, what, error)
        else:
            self._watch.returned()
            if done:
                self._finish(slot, then, result)
            else:
                self._wait(slot, symbol, what, then, Waiting(self._tickets + 1, slot.number, symbol, rest, result))
        if slot.book.moved:
            self._ordering.protect_moved(slot)

    def _wait(self, slot: Slot, symbol: str, what: str, then: Callable[[Any], None], waiting: Waiting) -> None:
        self._tickets = waiting.ticket
        slot.ticket = waiting.ticket
        self._then[waiting.ticket] = (slot, symbol, what, then)
        self._ordering.out.append(waiting)

    def answer(self, ticket: int, result: Any, error: BaseException | None) -> Slot:
        """Take the answer of a call that waited; the slot may be called again."""
        slot, symbol, what, then = self._then.pop(ticket)
        slot.ticket = 0
        if slot.stopped:
            return slot
        if error is not None:
            self._failed(slot, symbol, what, error)
        else:
            self._finish(slot, then, result)
        self._ordering.protect_moved(slot)
        return slot

    def _finish(self, slot: Slot, then: Callable[[Any], None], result: Any) -> None:
        slot.failures = 0
        then(result)

    def _failed(self, slot: Slot, symbol: str, what: str, error: BaseException) -> None:
        where = where_raised(error, source_of(slot.strategy))
        cause = f"{type(error).__name__}: {error}"
        self.say(logging.ERROR, f"strategy {slot.name} raised in {what} for {symbol or 'all'}: {cause} ({where})")
        slot.failures += 1
        if slot.failures >= FAILURES_IN_A_ROW and not slot.stopped:
            self.stop(slot, f"raised: {cause} ({where})")

    def stop(self, slot: Slot, reason: str) -> None:
        """Call a strategy no more."""
        slot.stopped = reason
        slot.folded.clear()
        slot.queued.clear()
        self._ordering.out.append(SlotStopped(slot.number, reason))
        self.say(logging.ERROR, f"strategy {slot.name} (slot {slot.number}) is stopped: {reason}")
        self.stopped(slot)

    # --- small things -------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """No strategy is being called: the views of `trading_data` are empty from here on."""
        if self._current is not None:
            self._current = None
            called.set(None)

    def when(self, at: int) -> datetime:
        """Return the instant as user code sees it; made once per instant."""
        if at != self._now_at:
            self._now_at, self._now = at, as_datetime(at)
        return self._now

    def say(self, level: int, text: str) -> None:
        """Have a line logged."""
        self._ordering.out.append(Line(level, text))
