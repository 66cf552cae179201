"""Plays bars through engine, order desk and exchange in one process, session by session.

Within an instant: fills inside the bars that close at it, then what strategies decide on those bars, then what is due by
the clock. An order trades no earlier than at the open of the next bar of its symbol (see `exchange.matching`).
"""

from __future__ import annotations

import gc
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from typing import Any

import msgspec
import numpy as np

from liualgotrader.backtest.past_data import OwnLoop, PastData, RunClock
from liualgotrader.backtest.picking import KnownPicks, Picking
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR, MINUTE, SECOND, as_datetime
from liualgotrader.common.errors import BrokerRefused
from liualgotrader.common.events import EventBatch, Pick
from liualgotrader.common.market_columns import BarColumns, Floats, Ints
from liualgotrader.common.money import exact
from liualgotrader.common.orders import (
    BrokerAccount,
    BrokerOrder,
    CancelIntent,
    Declare,
    News,
    OrderIntent,
    Protect,
    ReplaceIntent,
)
from liualgotrader.common.rows import OrderRow, Row, SignalRow
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.common.tradeplan import Limits, Timings
from liualgotrader.data.loader import DataLoader
from liualgotrader.engine.bar_tape import BarTape
from liualgotrader.engine.engine import Engine, EngineTerms
from liualgotrader.engine.outputs import LoadHistory, LogLine, Output, SlotStopped
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import AssetTerms, OrderView, Update
from liualgotrader.exchange.rules import ExchangeSession, Rules
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Announce,
    Answer,
    Begin,
    BeginSession,
    BrokerCall,
    BrokerRequest,
    BrokerSnapshot,
    Cancel,
    CancelAll,
    DeskTerms,
    Input,
    LookUp,
    OrderFound,
    Outcome,
    Prices,
    Reconcile,
    Reconnected,
    Replace,
    Send,
    StopSlotTrading,
    Tell,
    Tick,
    Warn,
    Write,
)
from liualgotrader.strategies.base import Strategy
from liualgotrader.strategies.frames import lazy_frames, real_frames
from liualgotrader.trading.exchange_orders import (
    broker_execution,
    broker_order,
    broker_position,
    broker_update,
    order_changes,
    order_request,
)

ACCOUNT = "backtest"
_ALL = 1_000_000  # orders asked for at once
_ARRIVALS = ("pending_new", "accepted", "new")
_EQUITY_MOVED = 0.001  # of what was reported: the account is reported again before the next order
_MOST_FAILURES = 100
_NO_COMPARING = 1e9  # seconds: the exchange is in this process, and nothing between the two can be lost

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestTerms:
    """What a run is played by. `period` is the length of its bars, ns; `sessions` are played in order."""

    batch_id: str
    sessions: tuple[TradingSession, ...]
    cash: Decimal = Decimal(100_000)
    period: int = MINUTE
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    timings: Timings = field(default_factory=Timings)
    rules: Rules = field(default_factory=Rules)
    liquidation_minutes: int = 15
    portfolio_value: float | None = None
    shortable: Mapping[str, bool] = field(default_factory=dict)


@dataclass(slots=True)
class RunRecord:
    """What a run came to. `equity` is the account's at each session's close, US dollars; the newest row of each order
    comes first, then all others in order."""

    batch_id: str
    first_equity: float
    slots: tuple[SlotPlan, ...] = ()
    rows: list[Row] = field(default_factory=list)
    signals: list[SignalRow] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    stopped: dict[int, str] = field(default_factory=dict)  # slot -> why its strategy was stopped
    failures: list[str] = field(default_factory=list)  # what strategies raised, with symbol and time; the first ones
    sessions: list[TradingSession] = field(default_factory=list)
    session_closes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    equity: Floats = field(default_factory=lambda: np.zeros(0))
    bars: int = 0
    ended: str | None = None  # why it ended before its last session


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
        self._tape = BarTape([bars[symbol] for symbol in sorted(bars)], first.opens_at, starts)
        self._numbers = {symbol: number for number, symbol in enumerate(self._tape.symbols)}
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
        )
        self._exchange = Exchange(
            [AssetTerms(symbol, shortable=terms.shortable.get(symbol, True)) for symbol in self._tape.symbols],
            session=ExchangeSession(opens_at=first.opens_at, closes_at=first.closes_at),
            rules=rules,
            seed=terms.seed,
            closes=self._close_of,
        )
        self._desk = Desk()
        self.now = first.opens_at
        self._loop: OwnLoop | None = None
        self.data = PastData(bars, self._time)
        self.loader = DataLoader(data_api=self.data, clock=RunClock(self._time), live=self._frame)
        self._engine.loader = self.loader
        self._orders: dict[str, OrderRow] = {}  # the newest row of each
        self._updates: deque[Update] = deque()  # of the exchange, that the desk has not heard
        self._cash = self._reported = float(terms.cash)  # dollars; and the equity that desk and strategies know
        self._shares: dict[str, float] = {}  # signed, of what is held
        self._floor = -inf  # equity below which the desk looks at prices
        timings = msgspec.structs.replace(terms.timings, reconcile_seconds=_NO_COMPARING)
        self._desk_terms = DeskTerms(terms.batch_id, (), self._hours[0], timings, limits)
        self.record = RunRecord(terms.batch_id, float(terms.cash))

    def run(
        self,
        strategies: Mapping[SlotPlan, Strategy],
        progress: Callable[[TradingSession, int], object] = lambda session, bars: None,
        picking: Picking | None = None,
    ) -> RunRecord:
        """Play all sessions to these strategies, which have been created, and return the record.

        They are called for what `picking` says, by default for all symbols from the start. `progress` hears of each session's end and the bars so far; it ends the run there by answering False.

        Raises:
            ConfigError: a strategy defines nothing that could be called.
        """
        self._picking = picking or KnownPicks([Pick(symbol, self.now, "backtest") for symbol in self._tape.symbols])
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
            record.sessions.append(session)
            record.bars = self._tape.taken
            closes.append(session.closes_at)
            equity.append(float(self._exchange.account(ACCOUNT).equity))
            record.session_closes, record.equity = np.array(closes, np.int64), np.array(equity)
            gc.collect(0)  # what a strategy made and dropped
            if progress(session, record.bars) is False:
                record.ended = "interrupted"
                break
        record.rows[:0] = self._orders.values()
        for called in self._engine.slots.values():
            record.refusals.update(called.refusals.counts)
        return record

    # --- sessions ----------------------------------------------------------------------------------

    def _begin(self, strategies: Mapping[SlotPlan, Strategy]) -> None:
        self._exchange.advance(self.now)
        self._exchange.open_account(ACCOUNT, self.terms.cash)
        self._engine.follow(self._tape)
        self._tell(Begin(msgspec.structs.replace(self._desk_terms, slots=tuple(strategies)), 1))
        self._tell(Reconnected())
        self._report_account()
        self._look()
        for slot, strategy in strategies.items():
            day_trade = self._engine.add(slot, strategy).day_trade
            self._tell(Declare(slot.slot, slot.strategy, day_trade, 0))
        self._pick()

    def _step(self, coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
        assert self._loop is not None
        return self._loop.step(coroutine)

    def _begin_session(self, session: TradingSession, hours: Hours) -> None:
        self._exchange.begin_session(ExchangeSession(opens_at=session.opens_at, closes_at=session.closes_at))
        self.now = session.opens_at
        self._engine.begin_session(hours)
        self._exchange.let_go()
        closes = {symbol: self._exact_close(symbol) for symbol in self._desk.held()}
        self._tell(BeginSession(hours, {symbol: close for symbol, close in closes.items() if close is not None}))
        self._settle()
        self._report_account()
        self._look()

    def _play(self, session: TradingSession) -> None:
        engine, exchange, desk, tape = self._engine, self._exchange, self._desk, self._tape
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
                if self._shares and self._equity() < self._floor:
                    self._look()
                until = min(due, closes_at)  # of one instant the bars come first, then what is due
                self._take(engine.play(tape, at if exchange.watched or self._shares else until))
        while (due := min(engine.next_deadline(), desk.next_market, exchange.next_wakeup(), self._pick_at)) < closes_at:
            self._pass(due)
        self._pass(closes_at)

    def _pass(self, at: int) -> None:
        """Do what is due by the clock."""
        self.now = max(self.now, at)
        self._settle()
        if self._desk.next_market <= at:
            self._tell(Tick())
        if self._pick_at <= at:
            self._pick()
        self._take(self._engine.on_timer(self.now, 0))

    def _pick(self) -> None:
        """Follow the symbols that are picked now, and let go of those that are no more."""
        if changes := self._picking.take(self.now, self._step):
            self._take(self._engine.on_batch(EventBatch(1, 1, 0, [*changes]), self.now, 0))
        self._pick_at = self._picking.next_at()

    def _cross_bars(self, at: int, *, inside: bool = False) -> None:
        """Let the bars that close at `at` trade with the orders that came in before they opened, or `inside` them."""
        symbols, tape = self._engine.symbols, self._tape
        found = (tape.next_of(self._numbers[s], len(symbols[s].bars)) for s in sorted(self._exchange.watched))
        if bars := [bar for bar in found if bar is not None and bar.closed_at == at]:
            if inside:
                self._exchange.close_bars(bars)
            else:
                self._exchange.on_bars(bars)
            self.now = max(self.now, bars[0].opened_at)
            self._settle()

    # --- between engine, desk and exchange -------------------------------------------------------------

    def _take(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, SignalRow):
                self.record.signals.append(output)
            elif isinstance(output, OrderIntent | CancelIntent | ReplaceIntent | Protect):
                self.now = max(self.now, output.decided_at)
                if abs(self._equity() - self._reported) > _EQUITY_MOVED * self._reported:
                    self._report_account()
                self._tell(output)
            elif isinstance(output, Declare):
                self._tell(output)
            elif isinstance(output, LoadHistory):
                self._take(self._engine.on_history(output.symbol, (), self.now, 0))
            elif isinstance(output, SlotStopped):
                self.record.stopped[output.slot] = output.reason
                self._tell(StopSlotTrading(output.slot, output.reason))
            elif isinstance(output, LogLine):
                if output.level >= logging.ERROR and len(self.record.failures) < _MOST_FAILURES:
                    at = as_datetime(max(self.now, self._tape.last_at))
                    self.record.failures.append(f"{output.text}, on {at:%Y-%m-%d at %H:%M} New York")
                log.log(output.level, "%s", output.text)
        if outputs:
            self._settle()

    def _settle(self) -> None:
        """Let the exchange do what is due, and tell the desk what has happened there."""
        exchange, updates = self._exchange, self._updates
        if exchange.next_wakeup() <= self.now:
            exchange.advance(self.now)
        updates += exchange.take_updates()
        while updates:
            update = updates.popleft()
            self.now = max(self.now, update.at)
            if (execution := update.execution) is not None:
                signed = float(execution.quantity) * execution.side.sign
                self._cash -= signed * float(execution.price) + float(execution.fee)
                self._shares[execution.symbol] = float(execution.position_quantity)
                if not execution.position_quantity:
                    del self._shares[execution.symbol]
            self._tell(broker_update(update, sequence=0))  # those of arrivals are left out, and nothing gets lost
            updates += exchange.take_updates()

    def _tell(self, told: Input) -> None:
        news: list[News] = []
        answers: list[Input] = []
        for decision in self._desk.decide(told, self.now, 0):
            match decision:
                case Write():
                    row = decision.row
                    if isinstance(row, OrderRow):
                        self._orders[row.client_order_id] = row
                    else:
                        self.record.rows.append(row)
                case Tell() | Announce():
                    news.append(decision.news)
                case Warn():
                    self.record.warnings.append(decision.text)
                case CancelAll():
                    answers += [self._asked(cancel) for cancel in decision.cancels]
                case _:
                    answers.append(self._asked(decision))
        if news:
            self._take(self._engine.on_news(news, self.now, 0))
        for answer in answers:
            self._tell(answer)

    def _asked(self, call: BrokerCall) -> Input:
        """Ask the exchange and return its answer."""
        exchange = self._exchange
        if isinstance(call, Reconcile):
            return self._snapshot(call.since)
        name = call.client_order_id if not isinstance(call, Send) else call.order.client_order_id
        request, order = BrokerRequest.CANCEL, None
        try:
            match call:
                case Send():
                    request = BrokerRequest.SUBMIT
                    order = self._arrived(exchange.submit(ACCOUNT, order_request(call.order), self.now))
                case Replace():
                    request = BrokerRequest.REPLACE
                    changes = order_changes(call.terms, name)
                    order = broker_order(exchange.replace(ACCOUNT, call.broker_order_id, self.now, changes))
                case Cancel():
                    exchange.cancel(ACCOUNT, call.broker_order_id, self.now)
                case LookUp():
                    return OrderFound(name, True, broker_order(exchange.order_by_client_id(ACCOUNT, name)))
        except BrokerRefused as refused:
            return Answer(request, name, Outcome.DECLINED, None, str(refused), refused.code)
        return Answer(request, name, Outcome.ACCEPTED, order)

    def _arrived(self, view: OrderView) -> BrokerOrder:
        """Let an order arrive, and return it as it is then; the answer says what the updates of its way here would."""
        self._exchange.advance(self.now)
        for update in self._exchange.take_updates():
            if update.order.id == view.id and update.event in _ARRIVALS:
                view = update.order
            else:
                self._updates.append(update)
        return broker_order(view)

    def _snapshot(self, since: int) -> BrokerSnapshot:
        exchange = self._exchange
        newest = exchange.orders(ACCOUNT, status="all", after=since - 1, limit=_ALL, direction="asc", nested=True)
        views = {view.id: view for view in (*exchange.orders(ACCOUNT, limit=_ALL, nested=True), *newest)}
        return BrokerSnapshot(
            True,
            tuple(map(broker_order, views.values())),
            tuple(map(broker_execution, exchange.activities(ACCOUNT, after=since - 1))),
            tuple(map(broker_position, exchange.positions(ACCOUNT))),
        )

    # --- account and prices -----------------------------------------------------------------------------

    async def free_cash(self, account_id: int) -> float:
        """Return the account's cash less what working purchases may still cost, dollars; there is one account only."""
        reserved = sum(slot.book.reserved_cash() for slot in self._engine.slots.values())
        return float(self._exchange.account(ACCOUNT).cash - reserved)

    def _equity(self) -> float:
        symbols = self._engine.symbols
        return self._cash + sum(symbols[symbol].last_price * shares for symbol, shares in self._shares.items())

    def _report_account(self) -> None:
        seen = self._exchange.account(ACCOUNT)
        self._cash, self._reported = float(seen.cash), float(seen.equity)
        figures = seen.equity, seen.cash, seen.buying_power, seen.last_equity
        self._tell(BrokerAccount(ACCOUNT, "ACTIVE", *figures, shorting_enabled=True, trading_blocked=False))

    def _look(self) -> None:
        """Show the desk the prices of what is held, and take note of the equity below which it has to look again."""
        closes = {symbol: self._exact_close(symbol) for symbol in self._desk.held()}
        if closes:
            self._tell(Prices({symbol: close for symbol, close in closes.items() if close is not None}))
        self._floor = float(self._desk.equity_floor or -inf)

    def _time(self) -> int:
        return max(self.now, self._engine.now)

    def _frame(self, symbol: str) -> Any:
        state = self._engine.symbols.get(symbol)
        return real_frames(state.bars)(False) if state is not None and len(state.bars) else None

    def _close_of(self, symbol: str) -> float | None:
        state = self._engine.symbols.get(symbol)
        return state.last_price if state is not None and state.last_at else None

    def _exact_close(self, symbol: str) -> Decimal | None:
        close = self._close_of(symbol)
        return None if close is None else exact(close)


def hours_of(session: TradingSession, liquidation_minutes: int, next_opens_at: int = 0) -> Hours:
    """Return a session as engine and desk want it."""
    liquidates_at = max(session.opens_at, session.closes_at - liquidation_minutes * MINUTE)
    spans = session.opens_at, session.closes_at, liquidates_at, session.closes_at
    return Hours(session.day.isoformat(), *spans, next_opens_at=next_opens_at)
