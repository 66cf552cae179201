"""Makes intents of what strategies order: adds the id, the times, the reference price and the plan for the position."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextvars import Context as OwnContext
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import msgspec

from liualgotrader.common import orders
from liualgotrader.common.clock import HOUR, SECOND
from liualgotrader.common.events import Quote
from liualgotrader.common.money import exact, to_tick
from liualgotrader.common.order_id import client_order_id
from liualgotrader.common.recording import Recording
from liualgotrader.common.rows import SignalRow
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tradeplan import Limits, Timings
from liualgotrader.engine.actions import TIMES_IN_FORCE, described, plain_text, storable
from liualgotrader.engine.book import Book
from liualgotrader.engine.outputs import LogLine, Output
from liualgotrader.engine.slot import SHADOW, SIZE, StrategySlot, SymbolState
from liualgotrader.strategies.context import OrderHandle, WantedOrder

_NO_REASON = ""
_FLOAT_NOISE = 6  # decimals kept of a reference price
_MOST_BYTES = 32 * 1024  # of an order's indicators; an intent that fits in no message would end the process
_SURE_EQUITY = exact("0.99")  # of the equity: it may fall before an order is judged by it
_LONGEST_LIFE = 24 * 366 * HOUR  # no order works longer; ns that added to an instant still are one


class Ordering:
    """Appends intents and signals to `out`. `now` and `machine` are the times of the input being processed."""

    def __init__(
        self,
        batch_id: str,
        timings: Timings,
        limits: Limits,
        hours: Hours,
        symbols: Mapping[str, SymbolState],
        *,
        sent_as: str = "sent",
        recording: Recording,
    ) -> None:
        self.out: list[Output] = []
        self.recording = recording
        self.now = 0
        self.machine = 0
        self.calling: StrategySlot | None = None  # the strategy that may order now, in this thread
        self.thread = threading.get_ident()
        self.portfolio_value: float | None = None
        self.equity: Decimal | None = None  # the account's
        self.limits, self.hours = limits, hours
        self._batch_id = batch_id
        self._symbols = symbols
        self._sent_as = sent_as
        self._entry_valid = round(timings.intent_valid_seconds * SECOND)
        self._exit_valid = round(timings.exit_valid_seconds * SECOND)
        self.order_lifetime = round(timings.order_lifetime_seconds * SECOND)

    def order(
        self, slot: StrategySlot, symbol: str, wanted: WantedOrder, *, action: dict[str, Any] | None = None
    ) -> OrderHandle:
        """Decide an order: append its intent and its signal, and return its handle.

        One without shares is not sent: its signal says so, and its handle is that of a refused order.
        """
        if wanted.quantity <= 0:
            handle = OrderHandle("", symbol, wanted.side, wanted.quantity, wanted.type)
            handle.state, handle.reason, handle.open = orders.OrderState.REFUSED, SIZE, False
            self.signal(slot, symbol, action or described(wanted), f"refused:{SIZE}")
            self._count(slot, SIZE, symbol, leaving=False)
            return handle
        book, notes, number = slot.book, slot.book.notes, slot.next_number
        slot.next_number += 1
        client_id = client_order_id(self._batch_id, slot.number, number)
        stop, target = notes.plan_of(symbol)
        held = book.quantity(symbol)
        toward_flat = held > 0 if wanted.side is orders.Side.SELL else held < 0
        reduces = toward_flat and wanted.quantity <= abs(held)
        limit = wanted.limit
        if limit is not None:  # on a price an exchange accepts, never past what the strategy allowed
            limit = to_tick(limit, ROUND_FLOOR if wanted.side is orders.Side.BUY else ROUND_CEILING)
        state = self._symbols.get(symbol)
        reference = state.reference(wanted.side) if state is not None else None
        word: object = wanted.time_in_force
        indicators = wanted.indicators if wanted.indicators is not None else notes.indicators(symbol, wanted.side)
        intent = orders.OrderIntent(
            client_order_id=client_id,
            slot=slot.number,
            strategy=slot.name,
            symbol=symbol,
            side=wanted.side,
            quantity=wanted.quantity,
            type=wanted.type,
            decided_at=self.now,
            valid_until=self.machine + (self._exit_valid if reduces else self._entry_valid),
            limit_price=limit,
            stop_price=None if wanted.stop is None else to_tick(wanted.stop),
            time_in_force=word if type(word) is str and word in TIMES_IN_FORCE else plain_text(word),
            take_profit=None if wanted.take_profit is None else to_tick(wanted.take_profit),
            stop_loss=None if wanted.stop_loss is None else to_tick(wanted.stop_loss),
            cancel_after=max(-_LONGEST_LIFE, min(_LONGEST_LIFE, wanted.cancel_after)),
            reference_price=exact(round(reference[0], _FLOAT_NOISE)) if reference else None,
            reference_at=reference[1] if reference else 0,
            planned_stop=stop,
            planned_target=target,
            indicators=_kept(indicators, wanted.side) if indicators or type(indicators) is not dict else {},
            reason=_reason(wanted.reason),
        )
        if not (held or book.in_flight(symbol)):
            notes.moved.discard(symbol)  # the plan travels with the order; else it holds whatever becomes of the order
        self.out.append(intent)
        action = action or described(wanted, stop=stop, target=target)
        return book.track(intent, self.signal(slot, symbol, action, self._sent_as, client_id))

    def refused(self, slot: StrategySlot, news: orders.OrderNews, signal: SignalRow | None) -> None:
        """Count an order that the gateway refused, correct its signal, and log each rule once."""
        if news.reason == SHADOW:
            return
        leaving = slot.book.quantity(news.symbol) * news.side.sign < 0
        if slot.book.rebuilding:  # logged when it happened
            slot.refusals.note(news.reason, news.symbol, leaving=leaving)
            return
        if signal is not None and signal.client_order_id == news.client_order_id:
            self.out.append(msgspec.structs.replace(signal, outcome=f"refused:{news.reason}"))
        self._count(slot, news.reason, news.symbol, leaving=leaving)

    def _count(self, slot: StrategySlot, rule: str, symbol: str, *, leaving: bool) -> None:
        line = slot.refusals.note(rule, symbol, leaving=leaving)
        if line:
            self.out.append(LogLine(logging.WARNING, line))

    def cancel(self, slot: StrategySlot, handle: OrderHandle, reason: str) -> None:
        """Ask for the cancellation of an order that may still trade."""
        if handle.open:
            self.out.append(orders.CancelIntent(handle.client_order_id, slot.number, self.now, _reason(reason)))

    def replace(
        self,
        slot: StrategySlot,
        handle: OrderHandle,
        quantity: Decimal | None,
        limit: Decimal | None,
        stop: Decimal | None,
    ) -> None:
        """Ask for other terms of an order that may still trade, if any is to change."""
        if handle.open and (quantity, limit, stop) != (None, None, None):
            self.out.append(orders.ReplaceIntent(handle.client_order_id, slot.number, self.now, quantity, limit, stop))

    def protect_moved(self, slot: StrategySlot) -> None:
        """Send the gateway the stops and targets that the strategy moved without an order to carry them."""
        book, notes = slot.book, slot.book.notes
        for symbol in sorted(notes.moved):
            if book.quantity(symbol) or book.in_flight(symbol):
                stop, target = notes.plan_of(symbol)
                protect = orders.Protect(slot.number, symbol, self.now, stop, target)
                notes.sent(protect)
                self.out.append(protect)
        notes.moved.clear()

    def affordable(self, book: Book, symbol: str, price: float) -> int:
        """Return how many whole shares an entry may have under the account's limits; see `Context.affordable`."""
        equity, limits = self.equity, self.limits
        if equity is None or equity <= 0 or price <= 0:
            return 0
        each = exact(price)
        equity *= _SURE_EQUITY
        order = min(exact(limits.order_equity_fraction) * equity, exact(limits.order_dollars))
        bound = abs(book.quantity(symbol)) + sum(o.remaining for o in book.open_orders(symbol))
        position = exact(limits.position_equity_fraction) * equity - bound * each
        return max(0, int(min(order, position) / each))

    def signal(
        self, slot: StrategySlot, symbol: str, action: dict[str, Any], outcome: str, client_id: str | None = None
    ) -> SignalRow:
        """Record what a strategy wanted, and return the row."""
        row = SignalRow(self._batch_id, slot.number, symbol, self.now, action, outcome, client_id)
        self.out.append(row)
        return row


class SlotOrders:
    """The `OrderPort` of one slot's contexts: what the strategy asks for, done in its own call only."""

    def __init__(self, slot: StrategySlot, ordering: Ordering, symbols: Mapping[str, SymbolState]) -> None:
        self._slot, self._ordering, self._symbols = slot, ordering, symbols
        self._ours = OwnContext()  # in which our own code runs when the strategy calls it
        self.rng, self.log = slot.rng, slot.log
        self._record = ordering.recording.record

    @property
    def portfolio_value(self) -> float | None:
        return self._ordering.portfolio_value

    def order(self, symbol: str, wanted: WantedOrder) -> OrderHandle:
        self._check_caller()
        return self._ours.run(self._ordering.order, self._slot, symbol, wanted)

    def cancel(self, handle: OrderHandle, reason: str) -> None:
        self._check_caller()
        self._ours.run(self._ordering.cancel, self._slot, handle, reason)

    def replace(
        self, handle: OrderHandle, quantity: Decimal | None, limit: Decimal | None, stop: Decimal | None
    ) -> None:
        self._check_caller()
        self._ours.run(self._ordering.replace, self._slot, handle, quantity, limit, stop)

    def _check_caller(self) -> None:
        """Refuse requests from a thread or task of the strategy's: they would be lost, or differ from run to run."""
        if self._ordering.calling is self._slot and threading.get_ident() == self._ordering.thread:
            return
        sentence = (
            f"strategy {self._slot.name} uses its ctx outside a call of its own (from a thread, a task or after an"
            " await), which is refused: let the thread return what it found, and order in the next event method"
        )
        self._slot.refusals.counts["outside_call"] += 1
        if self._slot.refusals.counts["outside_call"] == 1:
            self.log.error("%s", sentence)
        raise RuntimeError(sentence)

    def open_orders(self, symbol: str) -> list[OrderHandle]:
        return self._slot.book.open_orders(symbol)

    def protect(self, symbol: str, stop: Decimal | None, target: Decimal | None) -> None:
        self._check_caller()
        self._slot.book.notes.plan(symbol, stop, target)

    def record(self, symbol: str, name: str, at: int, value: Any) -> None:
        self._record(self._slot.name, symbol, name, at, value)

    def position(self, symbol: str) -> Decimal:
        return self._slot.book.quantity(symbol)

    def stop(self, symbol: str) -> Decimal | None:
        return self._slot.book.notes.planned(symbol, "stop_prices")

    def target(self, symbol: str) -> Decimal | None:
        return self._slot.book.notes.planned(symbol, "target_prices")

    def affordable(self, symbol: str, price: float) -> int:
        if self._slot.day_trade and self._ordering.hours.day_trading_has_ended(self._ordering.now):
            return 0
        return self._ours.run(self._ordering.affordable, self._slot.book, symbol, price)

    def reference(self, symbol: str) -> float | None:
        state = self._symbols.get(symbol)
        found = state.reference(orders.Side.BUY) if state is not None else None
        return found[0] if found is not None else None

    def quote(self, symbol: str) -> Quote | None:
        state = self._symbols.get(symbol)
        return state.quote if state is not None else None

    def last(self, symbol: str) -> float | None:
        state = self._symbols.get(symbol)
        return state.last_price if state is not None and state.last_at else None

    def shortable(self, symbol: str) -> bool:
        state = self._symbols.get(symbol)
        return state is None or state.shortable

    def halted(self, symbol: str) -> bool:
        state = self._symbols.get(symbol)
        return state is not None and state.halted


def _reason(given: object) -> str:
    """Return a strategy's reason, whatever it gave for one, as an intent can carry it."""
    return "" if given is None or given is _NO_REASON else plain_text(given)


def _kept(indicators: object, side: orders.Side) -> dict[str, Any]:
    """Return a strategy's indicators as an intent can carry them; anything but a mapping stands under the order's side."""
    kept = storable(indicators)
    found = kept if isinstance(kept, dict) else {side.value: kept}
    size = len(msgspec.msgpack.encode(found))
    return found if size <= _MOST_BYTES else {"left_out": f"{size} bytes of indicators; {_MOST_BYTES} are kept at most"}
