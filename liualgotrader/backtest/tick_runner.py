"""Plays trades and quotes through engine, order desk and exchange in one process, as a simulated market that waits for all.

Time moves in quanta. At each of its instants: what has happened at the exchange by then and the news of it, what is due
by the desk's clock, what the market has sent, picks, what is due by the engine's clock, and then what was decided. An order arrives
at that instant plus the latency of the fill profile, and meets what stands then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from liualgotrader.backtest.array_signals import WholeBars
from liualgotrader.backtest.order_path import ACCOUNT
from liualgotrader.backtest.run_record import BacktestTerms
from liualgotrader.backtest.session_run import PlayedMarket, SessionRun, hours_of
from liualgotrader.common.calendar import TradingSession, previous_sessions
from liualgotrader.common.clock import MINUTE, NEVER, QUANTUM, SECOND, grid_after, grid_at_or_after
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar, EventBatch, FeedEvent, Quote, Status, TradeTick
from liualgotrader.common.market_columns import BarColumns, between, joined
from liualgotrader.common.session_plan import AFTER_CLOSE, EARLY, Hours
from liualgotrader.engine.bars import COLUMNS
from liualgotrader.engine.engine import session_starts
from liualgotrader.engine.outputs import Output
from liualgotrader.exchange.rules import ExchangeSession
from liualgotrader.orders.account_state import ACCOUNT_SECONDS, PRICES_SECONDS
from liualgotrader.strategies.frames import live_bars
from liualgotrader.tapes.base import ColumnTape, asset_terms, exchange_session
from liualgotrader.tapes.columns import TapeEvent, bars_in_order, newest_of
from liualgotrader.tapes.minute_bars import regular

_STRETCH = MINUTE  # that is played at once at most
_FOLLOWED: dict[str, type[FeedEvent]] = {"second": TradeTick, "trade": TradeTick, "quote": Quote, "minute": Bar}


class TickBacktest(SessionRun):
    """A run on trades and quotes; `tape_of` returns a session's, `events` are the tradeplan's.

    With a period of a second quanta last a second, and strategies are told of seconds in place of trades.
    """

    def __init__(
        self, terms: BacktestTerms, tape_of: Callable[[TradingSession], ColumnTape], events: frozenset[str]
    ) -> None:
        self._tape_of, self._taken_before = tape_of, 0
        self._feed = TickFeed(iter(()), iter(()), QUANTUM)
        self._told = events
        self._quantum = max(QUANTUM, terms.period)
        self._wanted = {Status, Bar, Quote} if terms.period else {Status, *(_FOLLOWED[word] for word in events)}
        self._wants_all = {TradeTick, Quote, Status, Bar} <= self._wanted
        self._past: dict[str, list[BarColumns]] = {}
        following = (*(session.opens_at for session in terms.sessions[1:]), 0)
        hours = []
        for session, next_opens_at in zip(terms.sessions, following, strict=True):
            before = sorted(previous_sessions(session.day, terms.timings.history_sessions), reverse=True)
            hours.append(
                hours_of(session, terms.liquidation_minutes, next_opens_at, [(s.opens_at, s.closes_at) for s in before])
            )
        first = self._prepare(terms.sessions[0])
        super().__init__(
            terms,
            PlayedMarket(
                hours=hours,
                limits=terms.limits,
                rules=terms.rules,
                events=events,
                session_starts=tuple(sorted({at for one in hours for at in session_starts(one)})),
                assets=asset_terms(self._tape.assets()),
                session=first,
                bars={symbol: partial(self._known, symbol) for symbol in self._tape.symbols()},
                history=self._history,
            ),
        )
        self._engine.market.shortable = {asset.symbol: asset.shortable for asset in self._tape.assets()}

    @property
    def _taken(self) -> int:
        return self._taken_before + self._feed.taken

    def bars(self) -> dict[str, BarColumns]:
        found = {symbol: joined(parts) for symbol, parts in self._past.items()}
        return {symbol: bars for symbol, bars in found.items() if len(bars.opened_at)}

    # --- sessions ----------------------------------------------------------------------------------

    def _prepare(self, session: TradingSession) -> ExchangeSession:
        self._tape = self._tape_of(session)
        self._tape.load()
        self._minutes = {symbol: self._tape.bars_today(symbol, MINUTE) for symbol in self._tape.symbols()}
        for symbol, minutes in self._minutes.items():
            self._past.setdefault(symbol, []).append(regular(minutes))
        return exchange_session(self._tape)

    def _known(self, symbol: str) -> BarColumns:
        """Return a symbol's minutes of regular trading up to the session's close, at its prices."""
        before = BarColumns.of(symbol, self._tape.history(symbol, MINUTE))
        return regular(joined([before, self._minutes[symbol]]))

    def _warm_up(self, session: TradingSession) -> None:
        tape, start, ends_at = self._tape, session.opens_at - EARLY, session.closes_at + AFTER_CLOSE
        if session is not self.terms.sessions[0]:  # whose bars are there from the start
            for symbol in tape.symbols():
                self.data.restate(symbol, partial(self._known, symbol))
        for event in newest_of(tape.events(0, start)):
            self._exchange.on_event(event)
        self._exchange.advance(start)
        self._path.now = start
        told = [*self._minutes.values()] if "minute" in self._told else []
        if self.terms.period and "second" in self._told:
            told += [tape.bars_today(symbol, SECOND) for symbol in tape.symbols()]
        closing = bars_in_order(told, start) if told else iter(())
        self._taken_before += self._feed.taken
        self._feed = TickFeed(tape.blocks(start, ends_at), closing, self._quantum)
        self._polls_from, self._prices_at = start, NEVER

    def _play(self, session: TradingSession, hours: Hours) -> Decimal:
        self._play_until(hours.closes_at)
        worth = self._exchange.account(ACCOUNT).equity
        self._play_until(hours.closes_at + AFTER_CLOSE)
        return worth

    def _restate(self, symbol: str, ratio: Decimal) -> None:
        bars, factor = self._engine.market.state(symbol).bars, float(ratio)
        scale = {"volume": factor, "count": 1.0}
        block = np.stack([bars.closed(name) * scale.get(name, 1 / factor) for name in COLUMNS])
        self._engine.split(symbol, ratio, block, bars.opened_at().copy())

    def _whole(self, symbol: str) -> WholeBars:
        raise ConfigError(
            "array signals are worked out for whole columns of bars, which a run on ticks does not have: play them with"
            " --scale minute, or write on_bar"
        )

    def _history(self, symbol: str, since: int, now: int) -> Sequence[Bar]:
        """Return the minutes that a vendor would answer with."""
        hours = self._engine.terms.hours
        start = max(since, min([hours.opens_at, *(opens_at for opens_at, _ in hours.previous)]))
        today = between(self._minutes[symbol], start, now).bars() if symbol in self._minutes else []
        return [*self._tape.minute_bars(symbol, start, now), *(bar for bar in today if bar.closed_at <= now)]

    def _frame(self, symbol: str) -> Any:
        state = self._engine.symbols.get(symbol)
        return live_bars(state.bars, with_forming=True) if state is not None and state.live else None

    # --- time --------------------------------------------------------------------------------------

    def _play_until(self, ends_at: int) -> None:
        while True:
            deadline = min(
                self._engine.next_deadline(),
                self._desk.next_market,
                self._exchange.next_wakeup(),
                self._pick_at,
                self._prices_at,
                NEVER if self._path.is_quiet else self._next_account(),
            )
            due = NEVER if deadline == NEVER else grid_at_or_after(deadline, self._quantum)
            due = max(due, grid_after(self._path.now, self._quantum))
            if self._follow_market(min(due, ends_at + self._quantum)):
                continue
            if due > ends_at:
                return
            self._act(due, self._played_before(due))

    def _follow_market(self, until: int) -> bool:
        """Play quanta that end before `until` to exchange and engine; stop after the first of which anything comes.

        Return whether there was one: then other things may be due before.
        """
        path, engine, feed = self._path, self._engine, self._feed
        forming = engine.market.deadlines
        while (at := feed.next_instant()) < until:
            if not self._exchange.watched:
                outputs = self._stretch(at, until)
            else:
                told = self._played_before(at)
                path.now = at
                if path.has_heard:
                    self._act(at, told)
                    return True
                outputs, _ = engine.go_through(told, [at - 1] * len(told), self._quantum)
            if outputs:
                self._carry_out(outputs)
            if outputs or forming.next() < until:
                return True
        return False

    def _stretch(self, at: int, until: int) -> list[Output]:
        """Play quanta from the one that ends at `at` on to those that end before `until`, while nothing there could trade."""
        feed, engine = self._feed, self._engine
        ends_at = min(until - self._quantum, at + _STRETCH, feed.bars_due_at)
        events, times, bars = feed.until(ends_at)
        told, told_at = [*events, *bars], [*times, *(bar.closed_at - 1 for bar in bars)]
        if not self._wants_all or len(engine.symbols) < len(self.symbols):
            kept = [n for n, one in enumerate(told) if self._is_told(one)]
            told, told_at = [told[n] for n in kept], [told_at[n] for n in kept]
        outputs, count = engine.go_through(told, told_at, self._quantum)
        if outputs or count < len(told):
            ends_at = engine.now
            events = events[: bisect_left(times, ends_at)]
        self._exchange.pass_by(events)
        self._path.now = ends_at
        feed.played(ends_at)
        return outputs

    def _act(self, at: int, events: list[FeedEvent]) -> None:
        """Do all that an instant is for; `events` are what the market has sent by then, and have happened at the exchange."""
        engine, path = self._engine, self._path
        self._exchange.advance(at)
        account, prices = self._polls_at(at)
        path.now = at
        outputs = [*path.hear_all(account=account, prices=prices)]
        if self._prices_at == NEVER and self._desk.caretaken():
            self._prices_at = at + PRICES_SECONDS * SECOND
        if events:
            outputs += engine.on_batch(EventBatch(1, 1, 0, events), at, 0)
        if self._pick_at <= at:
            outputs += self._picked()
        if engine.next_deadline() <= at:
            outputs += engine.on_timer(at, 0)
        self._carry_out(outputs)

    def _carry_out(self, outputs: list[Output]) -> None:
        path = self._path
        path.take(outputs)
        while path.has_heard:  # at once, as of an order that is taken back before it has arrived
            path.take(path.hear_all())

    def _played_before(self, at: int) -> list[FeedEvent]:
        """Let what happens before an instant happen at the exchange, and return what of it is sent to strategies."""
        events, _, bars = self._feed.until(at)
        for event in events:
            self._exchange.on_event(event)
        self._feed.played(at)
        return [one for one in (*events, *bars) if self._is_told(one)]

    def _is_told(self, event: TradeTick | Quote | Status | Bar) -> bool:
        """Whether strategies are told of it: their symbol is followed, and the tradeplan wants its kind."""
        return event.symbol in self._engine.symbols and type(event) in self._wanted

    def _next_account(self) -> int:
        """Return when a session would ask for the account next."""
        return self._polls_from + grid_after(self._path.now - self._polls_from, ACCOUNT_SECONDS * SECOND)

    def _polls_at(self, at: int) -> tuple[bool, bool]:
        """Return whether a session would ask for the account, and for prices, at an instant."""
        account = self._path.now < self._next_account() == at
        prices = self._prices_at <= at
        if prices:
            self._prices_at = NEVER
        return account, prices


class TickFeed:
    """What a market sends in a session: events by time, and bars, which close at the ends of quanta."""

    def __init__(self, blocks: Iterator[list[TapeEvent]], bars: Iterator[Bar], quantum: int) -> None:
        self._blocks, self._bars, self._quantum = blocks, bars, quantum
        self._events: list[TapeEvent] = []
        self._times: list[int] = []
        self._place = self.taken = 0
        self._due: list[Bar] = []  # those that close first
        self._next_bar = next(bars, None)
        self._load_bars()
        self._load()

    def next_instant(self) -> int:
        """Return the end of the first quantum that holds anything, NEVER if nothing is left."""
        if self._place == len(self._times) and not self._load():
            return self.bars_due_at
        return min(grid_after(self._times[self._place], self._quantum), self.bars_due_at)

    def until(self, at: int) -> tuple[list[TapeEvent], list[int], list[Bar]]:
        """Return the events before an instant with their times, and the bars that have closed by then; they are still to come."""
        while (not self._times or self._times[-1] < at) and self._load():
            pass
        last = bisect_left(self._times, at, self._place)
        mine = slice(self._place, last)
        return self._events[mine], self._times[mine], self._due if self.bars_due_at <= at else []

    def played(self, at: int) -> None:
        """What lies before an instant is over."""
        last = bisect_left(self._times, at, self._place)
        self.taken, self._place = self.taken + last - self._place, last
        if self.bars_due_at <= at:
            self._load_bars()

    def _load(self) -> bool:
        if (block := next(self._blocks, None)) is None:
            return False
        self._events = self._events[self._place :] + block
        self._times, self._place = [*map(attrgetter("at"), self._events)], 0
        return True

    def _load_bars(self) -> None:
        self._due, bar = [], self._next_bar
        self.bars_due_at = NEVER if bar is None else grid_at_or_after(bar.closed_at, self._quantum)
        while bar is not None and bar.closed_at <= self.bars_due_at:
            self._due.append(bar)
            bar = next(self._bars, None)
        self._next_bar = bar
