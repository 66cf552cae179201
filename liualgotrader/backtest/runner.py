"""Plays bars through engine, order desk and exchange in one process, session by session.

Within an instant: fills inside the bars that close at it, then what strategies decide on those bars, then what is due by
the clock. An order trades no earlier than at the open of the next bar of its symbol (see `exchange.matching`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import numpy as np

from liualgotrader.backtest.array_signals import ArraySignals, only_signals
from liualgotrader.backtest.order_path import ACCOUNT, OrderPath
from liualgotrader.backtest.past_data import OwnLoop, PastData, RunClock
from liualgotrader.backtest.picking import KnownPicks, Picking
from liualgotrader.backtest.run_record import BacktestTerms, RunRecord
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR, MINUTE, SECOND
from liualgotrader.common.events import EventBatch, Pick
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.money import ZERO, exact
from liualgotrader.common.orders import Declare
from liualgotrader.common.recording import Recording
from liualgotrader.common.rows import ActivityRow
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.data.loader import DataLoader
from liualgotrader.engine.bar_tape import BarTape
from liualgotrader.engine.bars import Bars, BarsView
from liualgotrader.engine.engine import Engine, EngineTerms
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import AssetTerms, CashActivity
from liualgotrader.exchange.rules import ExchangeSession
from liualgotrader.orders.desk_messages import Begin, BeginSession, DeskTerms, Leave, Reconnected, Tick
from liualgotrader.strategies.base import Strategy
from liualgotrader.strategies.frames import lazy_frames, real_frames
from liualgotrader.tapes.splits import Change, adjusted, ratio_of

MOST_VALUES = 10_000_000  # that strategies may record, 20 bytes each
_NO_COMPARING = 1e9  # seconds: the exchange is in this process, and nothing between the two can be lost


class Backtest:
    """One run: make it, make its strategies (`loader` is their `data_loader`), then `run` them."""

    def __init__(self, terms: BacktestTerms, bars: Mapping[str, BarColumns]) -> None:
        first = terms.sessions[0]
        self.terms = terms
        following = (*(session.opens_at for session in terms.sessions[1:]), 0)
        self._hours = [
            hours_of(session, terms.liquidation_minutes, next_opens_at)
            for session, next_opens_at in zip(terms.sessions, following, strict=True)
        ]
        # A bar is as old as it is long when the next one closes, and a daily one lasts over the night.
        limits = msgspec.structs.replace(
            terms.limits,
            quote_age_seconds=0.0
            if terms.period > HOUR
            else max(terms.limits.quote_age_seconds, 2 * terms.period / SECOND),
        )
        rules = msgspec.structs.replace(terms.rules, latency_ns=0, match_on_arrival=False, synthetic_quotes=False)
        starts = sorted(s.opens_at for s in terms.sessions)
        self._raw, self._starts = bars, starts
        known = {symbol: adjusted(bars[symbol], terms.splits.get(symbol, ()), first.day) for symbol in sorted(bars)}
        self._tape = BarTape([*known.values()], first.opens_at, starts)
        self._numbers = {symbol: number for number, symbol in enumerate(self._tape.symbols)}
        self._recording = Recording(MOST_VALUES, MOST_VALUES)
        self._engine = Engine(
            EngineTerms(
                terms.batch_id,
                self._hours[0],
                seed=terms.seed,
                timings=terms.timings,
                events=frozenset({"minute"}),
                session_starts=tuple(starts),
                portfolio_value=terms.portfolio_value,
                limits=limits,
            ),
            lazy_frames,
            step=self._step,
            recording=self._recording,
        )
        make_exchange = partial(
            Exchange,
            [AssetTerms(symbol, shortable=terms.shortable.get(symbol, True)) for symbol in self._tape.symbols],
            session=ExchangeSession(opens_at=first.opens_at, closes_at=first.closes_at),
            rules=rules,
            seed=terms.seed,
            closes=self._close_of,
        )
        self.record = RunRecord(terms.batch_id, float(terms.cash))
        self._session = first
        self._extremes: dict[str, tuple[float, float]] = {}
        self._path = OrderPath(self._engine, make_exchange, self._extremes_of, self.record, first.opens_at)
        self._exchange, self._desk = self._path.exchange, self._path.desk
        self._loop: OwnLoop | None = None
        self._arrays: list[ArraySignals] = []
        self.data = PastData(known, self._time)
        self.loader = DataLoader(data_api=self.data, clock=RunClock(self._time), live=self._frame)
        self._engine.loader = self.loader
        timings = msgspec.structs.replace(terms.timings, reconcile_seconds=_NO_COMPARING)
        self._desk_terms = DeskTerms(terms.batch_id, (), self._hours[0], timings, limits)

    def run(
        self,
        strategies: Mapping[SlotPlan, Strategy],
        progress: Callable[[TradingSession, int], object] = lambda session, bars: None,
        picking: Picking | None = None,
        anew: Callable[[TradingSession], Mapping[int, Strategy]] | None = None,
    ) -> RunRecord:
        """Play all sessions to these strategies, which have been created, and return the record.

        They are called for what `picking` says, by default for all symbols from the start. `progress` hears of each session's end and the bars so far; it ends the run there by answering False.
        With `anew` each later session has the instances, by slot, that it makes, and begins as a batch of its own would: entries that wait are
        taken back at the close before, positions and waiting exits are handed over.

        Raises:
            ConfigError: a strategy defines nothing that could be called.
        """
        self._anew = anew
        self._picking = picking or KnownPicks(
            [Pick(symbol, self._path.now, "backtest") for symbol in self._tape.symbols]
        )
        self._pick_at = self._picking.next_at()
        was_collecting = gc.isenabled()
        gc.disable()  # rows and orders stay until the end: looking through them again and again costs a tenth
        try:
            with OwnLoop() as self._loop:
                return self._run(strategies, progress)
        finally:
            if was_collecting:
                gc.enable()

    def _run(
        self, strategies: Mapping[SlotPlan, Strategy], progress: Callable[[TradingSession, int], object]
    ) -> RunRecord:
        record, closes, equity = self.record, [], []
        record.slots = tuple(strategies)
        for number, (session, hours) in enumerate(zip(self.terms.sessions, self._hours, strict=True)):
            if number:
                self._begin_session(session, hours)
            else:
                self._begin(strategies)
            self._play(session)
            if self._anew is not None:
                self._path.tell(Leave("the session has ended", resumes=True))
                self._path.settle()
            self._path.order_rows()
            record.sessions.append(session)
            record.bars = self._tape.taken
            closes.append(session.closes_at)
            equity.append(float(self._exchange.account(ACCOUNT).equity))
            record.session_closes, record.equity = np.array(closes, np.int64), np.array(equity)
            gc.collect(0)  # what a strategy made and dropped
            if progress(session, record.bars) is False:
                record.ended = "interrupted"
                break
        record.rows[:0] = self._path.order_rows()
        for called in self._engine.slots.values():
            record.refusals.update(called.refusals.counts)
        if missing := self._recording.left_out:
            record.warnings.append(f"{missing:,} recorded values are left out: a run keeps {MOST_VALUES:,}")
        record.recorded = self._recording.take()
        return record

    # --- sessions ----------------------------------------------------------------------------------

    def _begin(self, strategies: Mapping[SlotPlan, Strategy]) -> None:
        self._exchange.advance(self._path.now)
        self._exchange.open_account(ACCOUNT, self.terms.cash)
        self._engine.follow(self._tape)
        self._path.tell(Begin(msgspec.structs.replace(self._desk_terms, slots=tuple(strategies)), 1))
        self._path.tell(Reconnected())
        self._path.report_account()
        self._path.look()
        for slot, strategy in strategies.items():
            if only_signals(strategy):
                played = ArraySignals(strategy, self._whole)
                self._arrays.append(played)
                strategy.on_bar = played.signals  # type: ignore[attr-defined]
            day_trade = self._engine.add(slot, strategy).day_trade
            self._path.tell(Declare(slot.slot, slot.strategy, day_trade, 0))
        self._pick()

    def _step(self, coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
        assert self._loop is not None
        return self._loop.step(coroutine)

    def _begin_session(self, session: TradingSession, hours: Hours) -> None:
        before, self._session = self._session, session
        self._extremes.clear()
        splits = {s: ratio_of(due) for s, due in _due(self.terms.splits, before, session)}
        dividends = {
            symbol: sum((exact(dividend.amount) for dividend in due), ZERO)
            for symbol, due in _due(self.terms.dividends, before, session)
        }
        for symbol, ratio in splits.items():
            self._split(symbol, ratio)
        self._exchange.begin_session(
            ExchangeSession(opens_at=session.opens_at, closes_at=session.closes_at, splits=splits, dividends=dividends)
        )
        self._record_cash(self._exchange.cash_activities(ACCOUNT, after=before.closes_at))
        self._path.now = session.opens_at
        self._engine.begin_session(hours)
        for slot, strategy in (self._anew(session) if self._anew is not None else {}).items():
            self._engine.renew(slot, strategy)
        self._exchange.let_go()
        self._path.tell(BeginSession(hours, self._path.closes(), splits))
        self._path.settle()
        self._path.report_account()
        self._path.look()

    def _split(self, symbol: str, ratio: Decimal) -> None:
        """Bring what strategies see of a symbol to the prices of the session: nothing of a later split."""
        bars = adjusted(self._raw[symbol], self.terms.splits[symbol], self._session.day)
        self._engine.split(symbol, ratio, *BarTape([bars], self._session.opens_at, self._starts).columns_of(0))
        self._path.split(symbol, float(ratio))
        for arrays in self._arrays:
            arrays.forget(symbol)
        self.data.restate(bars)
        self.loader.data.pop(symbol, None)

    def _record_cash(self, activities: Sequence[CashActivity]) -> None:
        """Record what has moved cash without an execution."""
        batch = self.terms.batch_id
        self.record.rows += [
            ActivityRow(f"{batch}:{one.id}", batch, one.activity_type, one.symbol, one.amount, one.at, one.description)
            for one in activities
        ]

    def _play(self, session: TradingSession) -> None:
        engine, exchange, desk, tape, path = self._engine, self._exchange, self._desk, self._tape, self._path
        closes_at = session.closes_at
        crossed = closed = 0  # the instants whose bars have traded with the orders that came before, and inside them
        while (at := tape.next_at()) <= closes_at:
            due = min(engine.next_deadline(), desk.next_market, exchange.next_wakeup(), self._pick_at)
            opens = session.opens_at if self.terms.period > HOUR else at - self.terms.period
            if exchange.watched and due > opens and at > max(crossed, tape.last_at):
                crossed = at
                self._cross_bars(at)
            elif due < at and due < closes_at:
                self._pass(due)
            elif self.terms.period > HOUR and exchange.watched and at > max(closed, tape.last_at):
                closed = at
                self._cross_bars(at, inside=True)
            else:
                until = min(due, closes_at)  # of one instant the bars come first, then what is due
                path.take(engine.play(tape, at if path.look_if_low() or exchange.watched else until))
        while (due := min(engine.next_deadline(), desk.next_market, exchange.next_wakeup(), self._pick_at)) < closes_at:
            self._pass(due)
        self._pass(closes_at)

    def _pass(self, at: int) -> None:
        """Do what is due by the clock."""
        self._path.now = max(self._path.now, at)
        self._path.settle()
        if self._desk.next_market <= at:
            self._path.tell(Tick())
        if self._pick_at <= at:
            self._pick()
        self._path.take(self._engine.on_timer(self._path.now, 0))

    def _pick(self) -> None:
        """Follow the symbols that are picked now, and let go of those that are no more."""
        if changes := self._picking.take(self._path.now, self._step):
            self._path.take(self._engine.on_batch(EventBatch(1, 1, 0, [*changes]), self._path.now, 0))
        self._pick_at = self._picking.next_at()

    def _cross_bars(self, at: int, *, inside: bool = False) -> None:
        """Let the bars that close at `at` trade with the orders that came in before they opened, or `inside` them."""
        symbols, tape = self._engine.symbols, self._tape
        found = (tape.next_of(self._numbers[s], len(symbols[s].bars)) for s in sorted(self._exchange.watched))
        if bars := [bar for bar in found if bar is not None]:
            if inside:
                self._exchange.close_bars(bars)
            else:
                self._exchange.on_bars(bars)
            self._path.now = max(self._path.now, bars[0].opened_at)
            self._path.settle()

    # --- what strategies may ask for ---------------------------------------------------------------------

    async def free_cash(self, account_id: int) -> float:
        """Return the account's cash less what working purchases may still cost, dollars; there is one account only."""
        reserved = sum(slot.book.reserved_cash() for slot in self._engine.slots.values())
        return float(self._exchange.account(ACCOUNT).cash - reserved)

    def _time(self) -> int:
        return max(self._path.now, self._engine.now)

    def _whole(self, symbol: str) -> BarsView:
        """Return all bars of a symbol, those to come too, at the prices of the session: what `signals` is given."""
        bars = adjusted(self._raw[symbol], self.terms.splits.get(symbol, ()), self._session.day)
        whole = Bars(symbol, self._starts)
        block, opened = BarTape([bars], self._session.opens_at, self._starts).columns_of(0)
        whole.load_ahead(block, opened, len(opened))
        return BarsView(whole)

    def _frame(self, symbol: str) -> Any:
        state = self._engine.symbols.get(symbol)
        return real_frames(state.bars)(False) if state is not None and len(state.bars) else None

    def _extremes_of(self, symbol: str) -> tuple[float, float]:
        found = self._extremes.get(symbol)
        if found is None:
            span = self._session.opens_at, self._session.closes_at
            found = self._extremes[symbol] = self._tape.extremes(self._numbers[symbol], *span)
        return found

    def _close_of(self, symbol: str) -> float | None:
        state = self._engine.symbols.get(symbol)
        return state.last_price if state is not None and state.last_at else None


def _due(
    changes: Mapping[str, Sequence[Change]], before: TradingSession, session: TradingSession
) -> Iterator[tuple[str, list[Change]]]:
    """Yield what takes effect between two sessions, by symbol."""
    for symbol, known in changes.items():
        if due := [change for change in known if before.day < change.day <= session.day]:
            yield symbol, due


def hours_of(session: TradingSession, liquidation_minutes: int, next_opens_at: int = 0) -> Hours:
    """Return a session as engine and desk want it."""
    liquidates_at = max(session.opens_at, session.closes_at - liquidation_minutes * MINUTE)
    spans = session.opens_at, session.closes_at, liquidates_at, session.closes_at
    return Hours(session.day.isoformat(), *spans, next_opens_at=next_opens_at)
