"""The engine: market events, account news and timers in; intents, rows and work for its shell out.

It is pure and synchronous: it reads no clock, waits for nothing and does no I/O, so that a consumer process, a
backtest and a replay get the same decisions from the same inputs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from threading import get_ident
from typing import Any

from liualgotrader.common.clock import MINUTE, NEVER, SECOND, as_datetime, instant
from liualgotrader.common.events import (
    Bar,
    Correction,
    EventBatch,
    FeedEvent,
    Gap,
    Pick,
    Quote,
    Status,
    TradeTick,
    Unpick,
)
from liualgotrader.common.orders import (
    AccountNews,
    CaughtUp,
    Declare,
    Fill,
    News,
    OrderNews,
    OrderState,
    Protection,
    SlotNews,
)
from liualgotrader.common.recording import Recording
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.common.tradeplan import Limits, Timings
from liualgotrader.engine.bar_tape import BarTape
from liualgotrader.engine.bars import ROW, Bars, Column, Instants
from liualgotrader.engine.book import SymbolValues, TrackedOrder
from liualgotrader.engine.calling import Caller, CallWatch, RunCoroutine, step_now
from liualgotrader.engine.market_data import MarketData
from liualgotrader.engine.ordering import Ordering, SlotOrders
from liualgotrader.engine.outputs import LoadHistory, Output, Reject
from liualgotrader.engine.slot import MakeFrame, StrategySlot, SymbolState
from liualgotrader.strategies.base import Strategy

LAST_BARS = 3 * SECOND  # market time past the close in which the bars that end at it are told
_MOST_VALUES = 1_000_000  # that are recorded where nobody takes them away
ALL_EVENTS = ("second", "minute", "trade", "quote")


@dataclass(frozen=True, slots=True)
class EngineTerms:
    """What the engine decides by. At each of `session_starts` the session's volume-weighted price begins anew."""

    batch_id: str
    hours: Hours
    seed: int = 0
    timings: Timings = field(default_factory=Timings)
    events: frozenset[str] = frozenset(ALL_EVENTS)
    session_starts: tuple[int, ...] = ()
    portfolio_value: float | None = None  # of the tradeplan; None: the account's equity
    shadow: bool = False
    limits: Limits = field(default_factory=Limits)  # the desk's; strategies size their orders by them


class PeriodicCalls:
    """The periods of `run_all` and `on_timer`, counted from the session's open."""

    def __init__(self, hours: Hours) -> None:
        self.hours = hours
        self._periods: list[tuple[StrategySlot, int]] = []

    def every(self, slot: StrategySlot, seconds: float) -> None:
        """Call a slot each `seconds` of market time, at the open for the first time."""
        self._periods.append((slot, max(1, round(seconds * SECOND))))

    def forget(self, slot: StrategySlot) -> None:
        """Call a slot no more."""
        self._periods = [one for one in self._periods if one[0] is not slot]

    def begin(self, now: int, only: StrategySlot | None = None) -> None:
        """Set every slot's next tick, or that of one `only`: the first one at or after `now`."""
        for slot, period in self._periods:
            if only not in (None, slot):
                continue
            slot.next_tick = self.hours.opens_at + -((self.hours.opens_at - now) // period) * period

    def due(self, now: int) -> Iterator[tuple[StrategySlot, int, int]]:
        """Yield (slot, tick, ticks missed before it) for each slot whose tick has come; a late one is made once."""
        for slot, period in self._periods:
            if slot.next_tick <= now:
                missed = (now - slot.next_tick) // period
                tick = slot.next_tick + missed * period
                slot.next_tick = tick + period
                yield slot, tick, missed

    def next(self) -> int:
        """Return the earliest tick, NEVER if there is none."""
        return min(slot.next_tick for slot, _ in self._periods) if self._periods else NEVER


class Engine:
    """All strategies of one consumer with their books and symbols.

    Every input method returns the outputs that follow from it, in order.
    """

    def __init__(
        self,
        terms: EngineTerms,
        make_frame: MakeFrame,
        *,
        step: RunCoroutine = step_now,
        watch: CallWatch | None = None,
        recording: Recording | None = None,
    ) -> None:
        self.terms = terms
        self.recording = Recording(_MOST_VALUES, _MOST_VALUES) if recording is None else recording
        self.symbols: dict[str, SymbolState] = {}
        self.slots: dict[int, StrategySlot] = {}
        self.loader: Any = None  # handed to run_all
        self.trader: Any = None
        self.is_open = False  # between the session's open and its close
        self.batch = 0  # number of the batch being processed
        self.events = 0
        self.fills = 0
        self.equity: Decimal | None = None  # the account's, once it is known
        self._closing = False  # the close has come: bars that end at it are still told, and nothing else
        self._over = False
        self._loaded: frozenset[str] = frozenset()  # symbols whose bars were loaded ahead
        self._epoch = 0  # of the producer that sends now
        self._heard_at = self._heard_until = 0  # newest market data, and the newest of the producer before
        sent_as = "shadow" if terms.shadow else "sent"
        self._ordering = Ordering(
            terms.batch_id,
            terms.timings,
            terms.limits,
            terms.hours,
            self.symbols,
            sent_as=sent_as,
            recording=self.recording,
        )
        self._ordering.portfolio_value = terms.portfolio_value
        self.let_go: Callable[[Bars], None] = lambda bars: None  # called with those of a symbol that is forgotten
        self._caller = Caller(self._ordering, step, watch, self._on_reject)
        self._caller.stopped = lambda slot: self._rewire_all()
        self.market = MarketData(
            self.symbols,
            self._caller,
            make_frame,
            events=terms.events,
            session_starts=terms.session_starts,
            load=self._load,
        )
        self._ticks = PeriodicCalls(terms.hours)
        self._by_kind = {
            TradeTick: self.market.on_trade,
            Quote: self.market.on_quote,
            Bar: self.market.on_bar,
            Status: self.market.on_status,
            Correction: self.market.on_correction,
            Pick: self._on_pick,
            Unpick: self._on_unpick,
            Gap: self._on_gap,
        }

    # --- before the first event ----------------------------------------------------------------------------

    def add(self, plan: SlotPlan, strategy: Strategy) -> StrategySlot:
        """Add a strategy; it is called once its book is rebuilt (`CaughtUp`).

        Raises:
            ConfigError: it defines nothing that could be called.
        """
        slot = StrategySlot(plan, strategy, self.terms.limits, self.terms.seed)
        slot.port = SlotOrders(slot, self._ordering, self.symbols)
        strategy.join_recording(lambda symbol, name, value: slot.port.record(symbol, name, slot.called_at, value))
        self.recording.begin()
        slot.book.shared = {
            "minute_history": SymbolValues(self.symbols, lambda state: state.frame(True)),
            "voi": SymbolValues(self.symbols, lambda state: state.imbalance.values or None),
            "voi_bid": SymbolValues(self.symbols, lambda s: s.imbalance.bid_added if s.imbalance.previous else None),
            "voi_ask": SymbolValues(self.symbols, lambda s: s.imbalance.ask_added if s.imbalance.previous else None),
        }
        slot.book.all_strategies = lambda: [s.strategy for s in self.slots.values()]
        self.slots[plan.slot] = slot
        if "on_timer" in slot.bindings.events:
            self._ticks.every(slot, strategy.timer_seconds)
        if plan.run_all:
            self._ticks.every(slot, self.terms.timings.run_all_seconds)
        if self.is_open:  # it joins a session that goes on
            self._ticks.begin(self.now, slot)
        return slot

    def renew(self, number: int, strategy: Strategy) -> None:
        """Go on with a new instance of a strategy, which is handed what the one before holds and has on order."""
        before = self.slots[number]
        self._ticks.forget(before)
        slot = self.add(before.plan, strategy)
        slot.next_number, slot.picks, slot.refusals = before.next_number, before.picks, before.refusals
        slot.stopped = before.stopped
        slot.book.take_over(before.book, self.terms.hours.opens_at)
        self._rewire_all()

    @property
    def now(self) -> int:
        """The market time of the newest input, ns UTC."""
        return self._ordering.now

    def restore_rejects(self, rejects: Sequence[tuple[str, str]]) -> None:
        """Never call these (strategy, symbol) pairs again this session."""
        for slot in self.slots.values():
            slot.rejected |= {symbol for name, symbol in rejects if name == slot.name}
        self._rewire_all()

    def needs(self) -> dict[int, list[str]] | None:
        """Return, by slot, the symbols held or with a working order, in alphabetical order; None before that is known."""
        slots = [slot for slot in self.slots.values() if not slot.stopped]
        if any(slot.book.rebuilding for slot in slots):
            return None
        return {slot.number: sorted(slot.book.under_way()) for slot in slots}

    def declarations(self) -> list[Declare]:
        """Return what to send the gateway about each slot on every new connection."""
        return [Declare(s.number, s.name, s.day_trade, s.book.seq) for s in self.slots.values()]

    # --- inputs -------------------------------------------------------------------------------------------------

    def on_batch(self, batch: EventBatch, now: int, machine: int, silent: frozenset[int] = frozenset()) -> list[Output]:
        """Process market events in order; those at the places in `silent` (stale or superseded) call no strategy."""
        self._begin(now, machine)
        self.batch = batch.seq
        events = batch.events
        self.events += len(events)
        if batch.producer_epoch != self._epoch:
            self._epoch, self._heard_until = batch.producer_epoch, self._heard_at
        if events and isinstance(events[-1], TradeTick | Quote | Bar):
            self._heard_at = now
        by_kind = self._by_kind
        if not silent:
            for event in events:
                by_kind[type(event)](event)  # type: ignore[operator]
        else:
            for place, event in enumerate(events):
                self.market.silent = place in silent
                by_kind[type(event)](event)  # type: ignore[operator]
            self.market.silent = False
        return self._finish()

    def go_through(self, events: Sequence[FeedEvent], times: Sequence[int], quantum: int) -> tuple[list[Output], int]:
        """Process market events, those of each quantum of time at its end; nothing else is due meanwhile.

        Stop after the first quantum that makes an output, and before one by whose end a bar's timer is due. Return the
        outputs and how many events were processed.
        """
        ordering, by_kind, forming = self._ordering, self._by_kind, self.market.deadlines
        out = ordering.out = []
        ends_at = 0
        for place, (event, at) in enumerate(zip(events, times, strict=True)):
            if at >= ends_at:
                ends_at = at // quantum * quantum + quantum
                if out or (place and forming.next() <= ends_at):
                    return self._finish(), place
                ordering.now = ends_at
            by_kind[type(event)](event)  # type: ignore[operator]
        return self._finish(), len(events)

    def on_news(self, news: Sequence[News], now: int, machine: int) -> list[Output]:
        """Process account news; news of a slot out of sequence is skipped and asked for again."""
        self._begin(now, machine)
        for one in news:
            kind = type(one)
            if kind is OrderNews or kind is Fill or kind is Protection:
                self._on_slot_news(one)  # type: ignore[arg-type]
            elif isinstance(one, AccountNews):
                self.equity = self._ordering.equity = one.equity
                if self.terms.portfolio_value is None and one.equity is not None:  # else the last known
                    self._ordering.portfolio_value = float(one.equity)
            elif isinstance(one, CaughtUp):
                self._on_caught_up(one)
        return self._finish()

    # --- bars that are all there already ------------------------------------------------------------------------

    def follow(self, tape: BarTape) -> None:
        """Load a tape's bars ahead: a symbol that is picked has its history at once."""
        self._loaded = frozenset(tape.symbols)
        states = [self.market.state(symbol) for symbol in tape.symbols]
        for number, state in enumerate(states):
            block, opened = tape.columns_of(number)
            known = tape.known[number]
            state.bars.load_ahead(block, opened, known)
            if known:
                state.last_price, state.last_at = float(block[ROW["close"], known - 1]), tape.since
        tape.belong_to(states)

    def play(self, tape: BarTape, until: int) -> list[Output]:
        """Close the tape's bars up to `until`, oldest first, and stop at the first that makes an output."""
        ordering = self._ordering
        out = ordering.out = []
        close_minute = self.market.close_minute
        while (rows := tape.take(until)) is not None:
            for place, state, opened, at, opening, high, low, close, volume, average, count in rows:
                ordering.now = at
                state.bars.close_loaded(opened)
                close_minute(state, Bar(state.symbol, opened, at, opening, high, low, close, volume, average, count))
                if out:
                    tape.took(place)
                    return self._finish()
        return out

    def split(self, symbol: str, ratio: Decimal, block: Column, opened: Instants) -> None:
        """Go on at the prices after a split (new shares per old one), with bars that were brought to them."""
        state = self.market.state(symbol)
        state.bars.restate(block, opened)
        state.last_price /= float(ratio)
        for slot in self.slots.values():
            slot.book.split(symbol, ratio)

    def begin_session(self, hours: Hours) -> None:
        """Go on with the next trading day: symbols that were rejected are called again from its open on."""
        self.terms = replace(self.terms, hours=hours)
        self._ticks.hours = self._ordering.hours = hours
        self._over = self._closing = self.is_open = False
        for slot in self.slots.values():
            slot.rejected.clear()
            slot.book.let_go()
            slot.strategy.join_next_session(hours)

    def on_timer(self, now: int, machine: int) -> list[Output]:
        """Do what is due by the market clock."""
        self._begin(now, machine)
        self.market.close_overdue(now)
        if self.is_open and not self._closing:
            for slot, tick, missed in self._ticks.due(now):
                slot.missed_ticks += missed
                self._tick(slot, tick)
        return self._finish()

    def next_deadline(self) -> int:
        """Return the market instant at which `on_timer` is to be called next; NEVER if there is none."""
        if self._over:
            return NEVER
        hours = self.terms.hours
        edge = hours.closes_at + LAST_BARS if self._closing else hours.closes_at if self.is_open else hours.opens_at
        edge = NEVER if hours.bypass else edge
        ticks = self._ticks.next() if self.is_open and not self._closing else NEVER
        return min(edge, self.market.deadlines.next(), ticks)

    def on_history(self, symbol: str, bars: Sequence[Bar], now: int, machine: int) -> list[Output]:
        """Take the history of a symbol that is new or had a gap; from here on its strategies are called."""
        self._begin(now, machine)
        state = self.symbols.get(symbol)
        if state is None:  # let go meanwhile
            return self._finish()
        if state.gapped:
            state.bars.close_past(now)  # minutes that ended within the gap call no strategy
        state.bars.preload(bars)
        if bars and not state.last_at:
            state.last_price, state.last_at = bars[-1].close, bars[-1].closed_at
        if not state.live:
            state.seam = bars[-1].opened_at if bars else state.seam
            state.live, state.gapped, state.joined_at = True, False, now
            self._rewire(state)
        return self._finish()

    def on_answer(self, ticket: int, result: Any, error: BaseException | None, now: int, machine: int) -> list[Output]:
        """Take the answer of a call that waited, then make the calls that were kept for its strategy meanwhile."""
        self._begin(now, machine)
        slot = self._caller.answer(ticket, result, error)
        while slot.queued and not slot.ticket:
            slot.queued.popleft()()
        while slot.folded and not slot.ticket:
            (symbol, kind), event = next(iter(slot.folded.items()))
            del slot.folded[(symbol, kind)]
            state = self.symbols.get(symbol)
            if state is None or not self.is_open or not slot.may_be_called(symbol):
                continue
            if kind == "run":
                self.market.run(state, [slot], *event)
                continue
            ctx = slot.context(state)
            ctx.at = ctx.told_at = max(ctx.told_at, event.closed_at if isinstance(event, Bar) else event.at)
            self._caller.act(slot, slot.bindings.events[f"on_{kind}"], ctx, event)
        return self._finish()

    def slot_of_ticket(self, ticket: int) -> int | None:
        """Return the slot whose call waits under this ticket."""
        return next((s.number for s in self.slots.values() if s.ticket == ticket), None)

    def stop_slot(self, number: int, reason: str) -> list[Output]:
        """Stop calling a strategy, for a reason that lies outside it."""
        slot = self.slots.get(number)
        if slot is None or slot.stopped:
            return []
        self._ordering.out = []
        self._caller.stop(slot, reason)
        return self._finish()

    def stop(self) -> None:
        """Call no strategy for market data or time any more; bars and books go on, and so do calls for fills."""
        self._over, self.is_open = True, False
        self._rewire_all()

    def _begin(self, now: int, machine: int) -> None:
        ordering = self._ordering
        ordering.out = []
        ordering.now, ordering.machine, ordering.thread = now, machine, get_ident()
        hours = self.terms.hours
        if self._over:
            return
        if not self.is_open and (hours.bypass or hours.opens_at <= now < hours.closes_at):
            self.is_open = True
            self._ticks.begin(now)
            self._rewire_all()
        elif now >= hours.closes_at and not hours.bypass:
            if now >= hours.closes_at + LAST_BARS or not self.is_open:
                self.stop()
            elif not self._closing:
                self._closing = True
                self._rewire_all()

    def _finish(self) -> list[Output]:
        self._ordering.calling = None  # no strategy may order until one is called again
        return self._ordering.out

    # --- calls ------------------------------------------------------------------------------------------------

    def _tick(self, slot: StrategySlot, at: int) -> None:
        if slot.stopped or slot.book.rebuilding:
            return
        if slot.ticket:
            slot.missed_ticks += 1
            return
        if slot.bindings.run_all is not None:
            held = {s: p for s, p in slot.book.positions.items() if p}
            wanted = {s: held.get(s, 0.0) for s in [*slot.picks, *held] if s not in slot.rejected}
            self._caller.run_all(slot, at, wanted, self.loader, self.trader)
            return
        for state in list(self.symbols.values()):
            if state.live and slot.number in state.targets and slot.may_be_called(state.symbol):
                ctx = slot.context(state)
                ctx.at = ctx.told_at = max(ctx.told_at, at)
                self._caller.act(slot, slot.bindings.events["on_timer"], ctx, None)

    # --- news -------------------------------------------------------------------------------------------------

    def _on_slot_news(self, news: SlotNews) -> None:
        slot = self.slots.get(news.slot)
        if slot is None:
            return
        book = slot.book
        if news.seq != book.seq + 1:
            if news.seq > book.seq and not book.has_hole:
                book.has_hole = True
                self._ordering.out.append(Declare(slot.number, slot.name, slot.day_trade, book.seq))
            return
        book.seq, book.has_hole = news.seq, False
        if type(news) is OrderNews:
            signal = book.apply_news(news)
            if news.state is OrderState.REFUSED:
                self._ordering.refused(slot, news, signal)
            elif news.reason and news.state.is_final:
                self._caller.log(
                    logging.INFO, f"order {news.client_order_id} {news.symbol} {news.state.value}: {news.reason}"
                )
        elif type(news) is Fill:
            self._on_fill(slot, news)
        elif type(news) is Protection:
            book.notes.apply_echo(news, rebuilding=book.rebuilding)

    def _on_fill(self, slot: StrategySlot, fill: Fill) -> None:
        book = slot.book
        book.apply(fill)
        if fill.position and not book.rebuilding:
            state = self.symbols.get(fill.symbol)
            if state is None or slot.number not in state.targets:
                self._adopt(slot, fill.symbol)
        if not fill.client_order_id:  # a position from an earlier batch
            return
        self.fills += 1
        tracked = book.apply_execution(fill)
        if book.rebuilding or slot.stopped:
            return
        if slot.ticket:
            slot.queued.append(lambda: self._tell_fill(slot, fill, tracked))
        else:
            self._tell_fill(slot, fill, tracked)

    def _tell_fill(self, slot: StrategySlot, fill: Fill, tracked: TrackedOrder) -> None:
        on_fill = slot.bindings.events.get("on_fill")
        if on_fill is not None:
            ctx = slot.context(self.market.state(fill.symbol))
            ctx.at = fill.at
            self._caller.act(slot, on_fill, ctx, fill)
        self._caller.filled(slot, fill, tracked)

    def _on_caught_up(self, news: CaughtUp) -> None:
        slot = self.slots.get(news.slot)
        if slot is None or slot.book.seq < news.seq:
            return
        slot.next_number = max(slot.next_number, news.next_order_number)
        if slot.book.rebuilding:
            slot.book.rebuilding = False
            slot.book.notes.moved.clear()
            for symbol in slot.book.held():
                self._adopt(slot, symbol)
            self._rewire_all()

    # --- picks ------------------------------------------------------------------------------------------------

    def _on_pick(self, pick: Pick) -> None:
        state = self.market.state(pick.symbol)
        asked = bool(state.targets)
        for slot in self.slots.values():
            if pick.strategy in ("", slot.name):
                slot.picks[state.symbol] = None
                state.targets.add(slot.number)
        if state.targets and not asked:
            self._load(state.symbol, 0)
        self._rewire(state)

    def _on_unpick(self, unpick: Unpick) -> None:
        symbol = unpick.symbol.upper()
        state = self.symbols.get(symbol)
        needing = {slot.number for slot in self.slots.values() if slot.needs(symbol)}
        if state is None or (needing and symbol not in self._loaded):
            return  # an order or a fill has crossed with it; the producer is told that we need the symbol
        for slot in self.slots.values():
            if slot.number not in needing:
                slot.forget(symbol)
        if symbol in self._loaded:  # its bars go on, so that it can be picked again
            state.targets &= needing
            state.live = bool(state.targets)
            self._rewire(state)
        else:
            state.wire((), self.terms.events)
            self.let_go(state.bars)
            del self.symbols[symbol]

    def _on_gap(self, gap: Gap) -> None:
        """Load what was missed; until it is there no strategy is called for the symbol."""
        state = self.symbols.get(gap.symbol)
        if state is None or not state.targets:
            return
        if state.live:
            state.live, state.gapped, state.joined_at = False, True, NEVER
            state.seam = max(0, state.bars.newest)
            self._rewire(state)
        # A minute's bar comes after its end, so the bar of the minute before may be missing as well.
        self._load(state.symbol, max(0, (gap.since or self._heard_until) // MINUTE - 1) * MINUTE)

    def _load(self, symbol: str, since: int) -> None:
        self._ordering.out.append(LoadHistory(symbol, since))

    def _adopt(self, slot: StrategySlot, symbol: str) -> None:
        """Have a strategy called for a symbol that it holds, whether a scanner picked it or not."""
        state = self.market.state(symbol)
        if slot.number in state.targets or slot.stopped:
            return
        asked = bool(state.targets)
        state.targets.add(slot.number)
        if not asked:
            self._load(symbol, 0)
        self._rewire(state)

    def _on_reject(self, slot: StrategySlot, symbol: str) -> None:
        if symbol in slot.rejected:
            return
        slot.rejected.add(symbol)
        state = self.symbols.get(symbol)
        if state is not None:
            self._rewire(state)
        self._ordering.out.append(Reject(slot.number, slot.name, symbol, self._ordering.now))

    def _rewire(self, state: SymbolState) -> None:
        callable_now: list[StrategySlot] = []
        if self.is_open and state.live:
            callable_now = [self.slots[n] for n in sorted(state.targets) if self.slots[n].may_be_called(state.symbol)]
        state.wire(callable_now, self.terms.events, bars_only=self._closing)

    def _rewire_all(self) -> None:
        for state in self.symbols.values():
            self._rewire(state)


def session_starts(hours: Hours) -> tuple[int, ...]:
    """Return where volume-weighted prices begin anew: at each session's open, and at midnight New York before it."""
    opens = [hours.opens_at, *(opens_at for opens_at, _ in hours.previous)]
    midnights = [instant(as_datetime(at).replace(hour=0, minute=0, second=0, microsecond=0)) for at in opens]
    return tuple(sorted(opens + midnights))
