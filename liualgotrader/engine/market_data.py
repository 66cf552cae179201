"""Market data in, strategies' calls out: bars and newest prices are kept on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liualgotrader.common.bar_builder import OUR_RULES, BarBuilder
from liualgotrader.common.clock import MINUTE, NEVER, SECOND
from liualgotrader.common.events import Bar, BarSource, Correction, Counts, Quote, Status, TradeTick
from liualgotrader.engine.calling import Caller
from liualgotrader.engine.slot import Acts, MakeFrame, StrategySlot, SymbolState

_LAST, _UPDATE = int(Counts.LAST), int(BarSource.VENDOR_UPDATE)
_MINUTE_TIMER, _SECOND_TIMER = 2 * SECOND, SECOND  # market time past the end at which an unclosed bar closes


class BarDeadlines:
    """Instants at which unclosed bars must be closed, each with its symbols in the order they came."""

    def __init__(self) -> None:
        self._at: dict[int, list[tuple[SymbolState, BarBuilder]]] = {}
        self._next = NEVER

    def add(self, at: int, state: SymbolState, forming: BarBuilder) -> None:
        """Remember that `forming` is to be closed at `at`."""
        here = self._at.get(at)
        if here is None:
            self._at[at] = [(state, forming)]
            self._next = min(self._next, at)
        else:
            here.append((state, forming))

    def due(self, now: int) -> list[tuple[SymbolState, BarBuilder]]:
        """Return and forget what is due by `now`, oldest first; it may have been closed by other means."""
        found: list[tuple[SymbolState, BarBuilder]] = []
        for at in sorted(at for at in self._at if at <= now):
            found += self._at.pop(at)
        self._next = min(self._at, default=NEVER)
        return found

    def next(self) -> int:
        """Return the earliest instant, NEVER if there is none."""
        return self._next


class MarketData:
    """The symbols of one consumer. While `silent` is set, events change state and call no strategy."""

    def __init__(
        self,
        symbols: dict[str, SymbolState],
        caller: Caller,
        make_frame: MakeFrame,
        *,
        events: frozenset[str],
        session_starts: Sequence[int],
        load: Callable[[str, int], None] = lambda symbol, since: None,
    ) -> None:
        self.symbols = symbols
        self.shortable: Mapping[str, bool] = {}
        self.silent = False
        self.ignored = 0  # bars of a length that nobody uses
        self.deadlines = BarDeadlines()
        self._trades_subscribed = "trade" in events
        self._session_starts = session_starts
        self._make_frame = make_frame
        self._caller = caller
        self._load = load  # asks for a symbol's history from an instant on

    def state(self, symbol: str) -> SymbolState:
        """Return what is kept about a symbol, making it if it is new."""
        state = self.symbols.get(symbol)
        if state is None:
            state = self.symbols[symbol] = SymbolState(
                symbol, self._session_starts, self._make_frame, shortable=self.shortable.get(symbol, True)
            )
        return state

    def close_overdue(self, now: int) -> None:
        """Close the bars whose timers are due."""
        for state, forming in self.deadlines.due(now):
            if forming is state.second:
                self._close_second(state)
            elif state.bars.due <= forming.closed_at + SECOND:
                self._close_due(state, forming.closed_at + SECOND)

    def on_trade(self, event: TradeTick) -> None:
        """Take a print: into the open minute, then to the strategies that want prints."""
        at = event.at
        state = self.symbols.get(event.symbol) or self.state(event.symbol)
        bars = state.bars
        if at >= bars.due:
            self._close_due(state, at)
        second = state.second
        if second is not None and at >= second.closed_at:
            self._close_second(state)
        bars.fold(at, event.price, event.size, event.flags)
        if bars.forming is not state.deadline_of:
            self._set_deadline(state)
        if event.flags & _LAST and at >= state.last_at:
            state.last_at, state.last_price = at, event.price
        if state.wants_seconds:
            second = state.second
            if second is None:
                opened_at = at - at % SECOND
                second = state.second = BarBuilder(opened_at, opened_at + SECOND, OUR_RULES)
                self.deadlines.add(second.closed_at + _SECOND_TIMER, state, second)
            if at >= second.opened_at:
                second.add(at, event.price, event.size, event.flags)
        if self.silent:
            return
        if state.on_trade:
            self._act(state, state.on_trade, "trade", event, at)
        if state.on_trade_run:
            self.run(state, state.on_trade_run, "trade", at)

    def on_quote(self, event: Quote) -> None:
        """Take a bid and offer."""
        state = self.symbols.get(event.symbol) or self.state(event.symbol)
        state.quote = event
        if event.at >= state.bars.due:
            self._close_due(state, event.at)
        if state.wants_voi:
            state.imbalance.take(event)
        if self.silent:
            return
        if state.on_quote:
            self._act(state, state.on_quote, "quote", event, event.at)
        if state.on_quote_run:
            self.run(state, state.on_quote_run, "quote", event.at)

    def on_bar(self, event: Bar) -> None:
        """Take a bar: minutes close, seconds are handed on, other lengths are ignored."""
        state = self.symbols.get(event.symbol) or self.state(event.symbol)
        length = event.closed_at - event.opened_at
        if length == MINUTE:
            if not event.source & _UPDATE:
                self._close_second_before(state, event.closed_at)
            bars = state.bars
            if bars.due == NEVER and event.opened_at > bars.newest and not event.source & _UPDATE:
                bars.append(event)
                self.close_minute(state, event)
                return
            for closed in bars.take(event):
                self.close_minute(state, closed)
        elif length == SECOND:
            if not self._trades_subscribed:  # then seconds make our minutes
                if event.closed_at >= state.bars.due:
                    self._close_due(state, event.closed_at)
                state.bars.fold_bar(event)
                if state.bars.forming is not state.deadline_of:
                    self._set_deadline(state)
            state.second = None
            if event.closed_at >= state.last_at:
                state.last_at, state.last_price = event.closed_at, event.close
            self._second_closed(state, event)
        else:
            self.ignored += 1

    def on_status(self, event: Status) -> None:
        """Take a trading status."""
        self.state(event.symbol).halted = event.halted

    def on_correction(self, event: Correction) -> None:
        """Take a cancelled or corrected print."""
        self.state(event.symbol).bars.correct_trade(event)

    def close_minute(self, state: SymbolState, bar: Bar) -> None:
        """Tell strategies of a minute that has closed; it is in the symbol's bars already."""
        at = bar.closed_at
        if at >= state.last_at:
            state.last_at, state.last_price = at, bar.close
        if state.seam and at > state.joined_at:  # the minute in which history met the stream has closed
            seam, state.seam = state.seam, 0
            if not state.bars.is_whole(seam, state.joined_at):
                self._load(state.symbol, seam)
        if self.silent:
            return
        for slot, ctx, act in state.on_bar:
            if slot.ticket:
                slot.folded[(state.symbol, "bar")] = bar
            else:
                if at < ctx.told_at:
                    ctx.at = ctx.told_at  # late: time does not go back
                else:
                    ctx.at = ctx.told_at = at
                self._caller.act(slot, act, ctx, bar)
        if state.on_minute_run:
            self.run(state, state.on_minute_run, "minute", at)

    def _close_due(self, state: SymbolState, at: int) -> None:
        bars = state.bars
        while at >= bars.due:
            self._close_second_before(state, bars.due - SECOND)
            bar = bars.close_oldest()
            if bar is not None:
                self.close_minute(state, bar)

    def _set_deadline(self, state: SymbolState) -> None:
        forming = state.bars.forming
        state.deadline_of = forming
        if forming is not None:
            self.deadlines.add(forming.closed_at + _MINUTE_TIMER, state, forming)

    def _close_second_before(self, state: SymbolState, ends_at: int) -> None:
        """Close a second that has ended before the minute that is about to close; of equal ends the minute is first."""
        second = state.second
        if second is not None and second.closed_at < ends_at:
            self._close_second(state)

    def _close_second(self, state: SymbolState) -> None:
        second, state.second = state.second, None
        if second is not None and second.has_price:
            self._second_closed(state, second.bar(state.symbol))

    def _second_closed(self, state: SymbolState, bar: Bar) -> None:
        if self.silent:
            return
        self._act(state, state.on_second, "second", bar, bar.closed_at)
        if state.on_second_run:
            self.run(state, state.on_second_run, "second", bar.closed_at)

    def _act(self, state: SymbolState, acts: Acts, kind: str, event: Any, at: int) -> None:
        for slot, ctx, act in acts:
            if slot.ticket:
                slot.folded[(state.symbol, kind)] = event
            else:
                if at < ctx.told_at:
                    ctx.at = ctx.told_at  # late: time does not go back
                else:
                    ctx.at = ctx.told_at = at
                self._caller.act(slot, act, ctx, event)

    def run(self, state: SymbolState, slots: Sequence[StrategySlot], kind: str, at: int) -> None:
        """Call `run` of these strategies for an event of a kind at an instant."""
        for slot in slots:
            if slot.ticket:
                slot.folded[(state.symbol, "run")] = (kind, at)
            else:
                self._caller.run(slot, state, at, with_forming=kind != "minute")
