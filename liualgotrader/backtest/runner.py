"""Plays bars through engine, order desk and exchange in one process, session by session.

Within an instant: what is due by the clock, then fills inside the bars that close at it, then what strategies decide
on those bars. An order trades no earlier than at the open of the next bar of its symbol (see `exchange.matching`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf

import msgspec
import numpy as np

from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR, MINUTE, SECOND
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
from liualgotrader.common.rows import Row, SignalRow
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.common.tradeplan import Limits, Timings
from liualgotrader.engine.bar_tape import BarTape
from liualgotrader.engine.engine import Engine, EngineTerms
from liualgotrader.engine.outputs import LoadHistory, LogLine, Output, SlotStopped
from liualgotrader.engine.slot import SymbolState
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import AssetTerms
from liualgotrader.exchange.rules import ExchangeSession, Rules
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Announce,
    Answer,
    Begin,
    BeginSession,
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
from liualgotrader.strategies.frames import lazy_frames
from liualgotrader.trading.exchange_orders import broker_order, broker_update, order_changes, order_request

ACCOUNT = "backtest"
_NO_COMPARING = 1e9  # seconds: the exchange is in this process, and nothing between the two can be lost

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestTerms:
    """What a run is played by. `period` is the length of its bars, ns; `sessions` are played in order."""

    batch_id: str
    slots: tuple[SlotPlan, ...]
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
    """What a run came to. `equity` is the account's at each session's close, US dollars; rows are in order."""

    batch_id: str
    slots: tuple[SlotPlan, ...]
    first_equity: float
    rows: list[Row] = field(default_factory=list)
    signals: list[SignalRow] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    stopped: dict[int, str] = field(default_factory=dict)  # slot -> why its strategy was stopped
    sessions: list[TradingSession] = field(default_factory=list)
    session_closes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    equity: Floats = field(default_factory=lambda: np.zeros(0))
    bars: int = 0
    ended: str | None = None  # why it ended before its last session


class Backtest:
    """One run. `strategies` stand in the order of the terms' slots and have been created."""

    def __init__(self, terms: BacktestTerms, strategies: Sequence[Strategy], bars: Mapping[str, BarColumns]) -> None:
        first = terms.sessions[0]
        self.terms = terms
        self._hours = [hours_of(session, terms.liquidation_minutes) for session in terms.sessions]
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
        self._held: list[tuple[SymbolState, float]] = []  # with signed shares
        self._floor = -inf  # worth of what is held below which the desk looks at prices
        self._account_at = 0  # the bar after which the account was reported
        self._strategies = dict(zip((slot.slot for slot in terms.slots), strategies, strict=True))
        timings = msgspec.structs.replace(terms.timings, reconcile_seconds=_NO_COMPARING)
        self._desk_terms = DeskTerms(terms.batch_id, terms.slots, self._hours[0], timings, limits)
        self.record = RunRecord(terms.batch_id, terms.slots, float(terms.cash))

    def run(self, progress: Callable[[TradingSession, int], object] = lambda session, bars: None) -> RunRecord:
        """Play all sessions and return the record; `progress` hears of each session's end and the bars so far."""
        record, closes, equity = self.record, [], []
        for number, (session, hours) in enumerate(zip(self.terms.sessions, self._hours, strict=True)):
            if number:
                self._begin_session(session, hours)
            else:
                self._begin()
            self._play(session)
            record.sessions.append(session)
            record.bars = self._tape.taken
            closes.append(session.closes_at)
            equity.append(float(self._exchange.account(ACCOUNT).equity))
            record.session_closes, record.equity = np.array(closes, np.int64), np.array(equity)
            progress(session, record.bars)
        for slot in self._engine.slots.values():
            record.refusals.update(slot.refusals.counts)
        return record

    # --- sessions ----------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._exchange.advance(self.now)
        self._exchange.open_account(ACCOUNT, self.terms.cash)
        self._engine.follow(self._tape)
        self._tell(Begin(self._desk_terms, 1))
        self._tell(Reconnected())
        self._report_account()
        for slot in self.terms.slots:
            strategy = self._engine.add(slot, self._strategies[slot.slot])
            self._tell(Declare(slot.slot, slot.strategy, strategy.day_trade, 0))
        self._take(
            self._engine.on_batch(
                EventBatch(1, 1, 0, [Pick(symbol, self.now, "backtest") for symbol in self._tape.symbols]), self.now, 0
            )
        )

    def _begin_session(self, session: TradingSession, hours: Hours) -> None:
        self._exchange.begin_session(ExchangeSession(opens_at=session.opens_at, closes_at=session.closes_at))
        self.now = session.opens_at
        self._engine.begin_session(hours)
        closes = {symbol: self._exact_close(symbol) for symbol in self._desk.held()}
        self._tell(BeginSession(hours, {symbol: close for symbol, close in closes.items() if close is not None}))
        self._take_updates()
        self._report_account()
        self._look()

    def _play(self, session: TradingSession) -> None:
        engine, exchange, desk, tape, closes_at = (
            self._engine,
            self._exchange,
            self._desk,
            self._tape,
            session.closes_at,
        )
        crossed = 0  # the instant whose bars have traded with the orders that came in before them
        while (at := tape.next_at()) <= closes_at:
            due = min(engine.next_deadline(), desk.next_market, exchange.next_wakeup())
            opens = session.opens_at if self.terms.period > HOUR else at - self.terms.period
            if exchange.watched and due > opens and at > max(crossed, tape.last_at):
                crossed = at
                self._cross_bars(at)
            elif due <= at and due < closes_at:
                self._pass(due)
            else:
                if self._held and sum(state.last_price * shares for state, shares in self._held) < self._floor:
                    self._look()
                until = min(due - 1, closes_at) if due < closes_at else closes_at  # the last bars come before the close
                self._take(engine.play(tape, at if exchange.watched or self._held else until))
        while (due := min(engine.next_deadline(), desk.next_market, exchange.next_wakeup())) < closes_at:
            self._pass(due)
        self._pass(closes_at)

    def _pass(self, at: int) -> None:
        """Do what is due by the clock."""
        self.now = max(self.now, at)
        self._take_updates(advance=True)
        if self._desk.next_market <= at:
            self._tell(Tick())
        self._take(self._engine.on_timer(self.now, 0))

    def _cross_bars(self, at: int) -> None:
        """Let the bars that close at `at` trade with the orders that came in before they opened."""
        symbols, tape = self._engine.symbols, self._tape
        found = (tape.next_of(self._numbers[s], len(symbols[s].bars)) for s in sorted(self._exchange.watched))
        if bars := [bar for bar in found if bar is not None and bar.closed_at == at]:
            self._exchange.on_bars(bars)
            self.now = max(self.now, bars[0].opened_at)
            self._take_updates()

    # --- between engine, desk and exchange -------------------------------------------------------------

    def _take(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, OrderIntent):
                self.now = max(self.now, output.decided_at)
                if self._account_at != self._tape.last_at:
                    self._report_account()
                self._tell(output)
            elif isinstance(output, CancelIntent | ReplaceIntent | Protect | Declare):
                self.now = max(self.now, getattr(output, "decided_at", self.now))
                self._tell(output)
            elif isinstance(output, SignalRow):
                self.record.signals.append(output)
            elif isinstance(output, LoadHistory):
                self._take(self._engine.on_history(output.symbol, (), self.now, 0))
            elif isinstance(output, SlotStopped):
                self.record.stopped[output.slot] = output.reason
                self._tell(StopSlotTrading(output.slot, output.reason))
            elif isinstance(output, LogLine):
                log.log(output.level, "%s", output.text)
        self._take_updates(advance=True)

    def _take_updates(self, *, advance: bool = False) -> None:
        """Tell the desk what has happened at the exchange."""
        if advance:
            self._exchange.advance(self.now)
        while updates := self._exchange.take_updates():
            for update in updates:
                self.now = max(self.now, update.at)
                self._tell(broker_update(update))
            if any(update.execution is not None for update in updates):
                self._look()

    def _tell(self, told: Input) -> None:
        news: list[News] = []
        answers: list[Input] = []
        for decision in self._desk.decide(told, self.now, 0):
            match decision:
                case Tell():
                    news.append(decision.news)
                case Announce():
                    news.append(decision.news)
                case Write():
                    self.record.rows.append(decision.row)
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

    def _asked(self, call: Send | Cancel | Replace | LookUp | Reconcile) -> Input:
        """Ask the exchange and return its answer."""
        exchange = self._exchange
        order: BrokerOrder | None = None
        match call:
            case Send():
                request, name = BrokerRequest.SUBMIT, call.order.client_order_id
            case Cancel():
                request, name = BrokerRequest.CANCEL, call.client_order_id
            case Replace():
                request, name = BrokerRequest.REPLACE, call.client_order_id
            case LookUp():
                return OrderFound(
                    call.client_order_id,
                    True,
                    broker_order(exchange.order_by_client_id(ACCOUNT, call.client_order_id)),
                )
            case Reconcile():
                return BrokerSnapshot(True)
        try:
            match call:
                case Send():
                    order = broker_order(exchange.submit(ACCOUNT, order_request(call.order), self.now))
                case Cancel():
                    exchange.cancel(ACCOUNT, call.broker_order_id, self.now)
                case Replace():
                    changes = order_changes(call.terms, name)
                    order = broker_order(exchange.replace(ACCOUNT, call.broker_order_id, self.now, changes))
        except BrokerRefused as refused:
            return Answer(request, name, Outcome.DECLINED, None, str(refused), refused.code)
        return Answer(request, name, Outcome.ACCEPTED, order)

    # --- account and prices -----------------------------------------------------------------------------

    def _report_account(self) -> None:
        self._account_at = self._tape.last_at
        seen = self._exchange.account(ACCOUNT)
        figures = seen.equity, seen.cash, seen.buying_power, seen.last_equity
        self._tell(BrokerAccount(ACCOUNT, "ACTIVE", *figures, shorting_enabled=True, trading_blocked=False))

    def _look(self) -> None:
        """Show the desk the prices of what is held, and take note of how far they may fall until it has to look again."""
        quantities = self._desk.quantities()
        self._held = [(self._engine.symbols[symbol], float(shares)) for symbol, shares in quantities.items()]
        closes = {symbol: self._exact_close(symbol) for symbol in quantities}
        if closes:
            self._tell(Prices({symbol: close for symbol, close in closes.items() if close is not None}))
        room = self._desk.loss_room
        worth = sum(state.last_price * shares for state, shares in self._held)
        self._floor = -inf if room is None else worth - float(room)

    def _close_of(self, symbol: str) -> float | None:
        state = self._engine.symbols.get(symbol)
        return state.last_price if state is not None and state.last_at else None

    def _exact_close(self, symbol: str) -> Decimal | None:
        close = self._close_of(symbol)
        return None if close is None else exact(close)


def hours_of(session: TradingSession, liquidation_minutes: int) -> Hours:
    """Return a session as engine and desk want it."""
    liquidates_at = max(session.opens_at, session.closes_at - liquidation_minutes * MINUTE)
    return Hours(session.day.isoformat(), session.opens_at, session.closes_at, liquidates_at, session.closes_at)
