"""One run over sessions, whatever they are played from: strategies, order path, record, and what strategies may ask for."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import numpy as np

from liualgotrader.backtest.array_signals import ArraySignals, InspectArrays, WholeBars, only_signals
from liualgotrader.backtest.order_path import ACCOUNT, OrderPath, PastMinutes
from liualgotrader.backtest.past_data import KnownBars, OwnLoop, PastData
from liualgotrader.backtest.picking import KnownPicks, Picking
from liualgotrader.backtest.run_record import BacktestTerms, RunRecord
from liualgotrader.common.borrow import borrow_fees, borrow_statuses
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import EventBatch, Pick
from liualgotrader.common.interpreter import no_collection
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.money import ZERO, exact
from liualgotrader.common.orders import Declare
from liualgotrader.common.recording import Recording
from liualgotrader.common.rows import ActivityRow
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.common.tradeplan import Limits
from liualgotrader.data.loader import DataLoader, RunClock
from liualgotrader.engine.engine import Engine, EngineTerms
from liualgotrader.engine.outputs import Output
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import AssetTerms, CashActivity
from liualgotrader.exchange.rules import ExchangeSession, Rules
from liualgotrader.orders.desk_messages import Begin, BeginSession, DeskTerms, Leave, Reconnected
from liualgotrader.strategies.base import Strategy
from liualgotrader.strategies.frames import lazy_frames, live_bars
from liualgotrader.tapes.splits import Change, ratio_of

MOST_VALUES = 10_000_000  # that strategies may record, 20 bytes each
_NO_COMPARING = 1e9  # seconds: the exchange is in this process, and nothing between the two can be lost


@dataclass(frozen=True, slots=True)
class Scrutiny:
    """How a run that checks the honesty of strategies differs from any other."""

    hidden: bool = False  # what has not closed is nowhere in the memory that strategies see
    literal: bool = False  # data loaders answer a question for a later time (see `RunClock`)
    arrays: InspectArrays | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedMarket:
    """What a run is played on, and what of its terms follows from that."""

    hours: Sequence[Hours]
    limits: Limits
    rules: Rules
    events: frozenset[str]
    session_starts: tuple[int, ...]
    assets: Sequence[AssetTerms]
    session: ExchangeSession  # the first
    bars: Mapping[str, KnownBars]  # that may be asked for, as far as they have closed
    closes: Callable[[str], float | None] | None = (
        None  # values positions; None: the exchange's own quotes and prints do
    )
    extremes: Callable[[str], tuple[float, float]] | None = None  # see `OrderPath`
    history: PastMinutes = lambda symbol, since, now: ()
    scrutiny: Scrutiny = field(default_factory=Scrutiny)


class SessionRun(ABC):
    """One run: make it, make its strategies (`loader` is their `data_loader`), then `run` them."""

    def __init__(self, terms: BacktestTerms, market: PlayedMarket) -> None:
        self.terms, self._hours = terms, market.hours
        self._session = first = terms.sessions[0]
        self._recording = Recording(MOST_VALUES, MOST_VALUES)
        self._engine = Engine(
            EngineTerms(
                terms.batch_id,
                market.hours[0],
                seed=terms.seed,
                timings=terms.timings,
                events=market.events,
                session_starts=market.session_starts,
                portfolio_value=terms.portfolio_value,
                limits=market.limits,
            ),
            lazy_frames,
            step=self._step,
            recording=self._recording,
        )
        make_exchange = partial(
            Exchange,
            market.assets,
            session=msgspec.structs.replace(market.session, borrow=borrow_statuses(terms.borrow, first.day)),
            rules=market.rules,
            seed=terms.seed,
            closes=market.closes,
        )
        self.record = RunRecord(terms.batch_id, float(terms.cash))
        self._path = OrderPath(
            self._engine, make_exchange, market.extremes, market.history, self.record, first.opens_at
        )
        self._exchange, self._desk = self._path.exchange, self._path.desk
        self.symbols = [asset.symbol for asset in market.assets]
        self._loop: OwnLoop | None = None
        self._arrays: list[ArraySignals] = []
        self._scrutiny = market.scrutiny
        self.clock = RunClock(self._time, literal=self._scrutiny.literal)
        self.data = PastData(market.bars, self.clock.now, terms.daily, utc=terms.crypto)
        live = None if self._scrutiny.literal else self._frame
        self.loader = DataLoader(data_api=self.data, clock=self.clock, live=live)
        self._engine.loader = self.loader
        timings = msgspec.structs.replace(terms.timings, reconcile_seconds=_NO_COMPARING)
        self._desk_terms = DeskTerms(
            terms.batch_id, (), market.hours[0], timings, market.limits, divisible=terms.crypto
        )

    def run(
        self,
        strategies: Mapping[SlotPlan, Strategy],
        progress: Callable[[TradingSession, int], object] = lambda session, bars: None,
        picking: Picking | None = None,
        anew: Callable[[TradingSession], Mapping[int, Strategy]] | None = None,
    ) -> RunRecord:
        """Play all sessions to these strategies, which have been created, and return the record.

        They are called for what `picking` says, by default for all symbols from the start. `progress` hears of each session's end and
        of the bars or events so far; it ends the run there by answering False.
        With `anew` each later session has the instances, by slot, that it makes, and begins as a batch of its own would: entries that wait are
        taken back at the close before, positions and waiting exits are handed over.

        Raises:
            ConfigError: a strategy defines nothing that could be called.
        """
        self._anew = anew
        self._picking = picking or KnownPicks(
            [Pick(symbol, self.terms.sessions[0].opens_at, "backtest") for symbol in self.symbols]
        )
        self._pick_at = self._picking.next_at()
        with no_collection(), OwnLoop() as self._loop:  # rows and orders stay until the end
            return self._run(strategies, progress)

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
            worth = self._play(session, hours)
            if self._anew is not None:
                self._path.tell(Leave("the session has ended", resumes=True))
                self._path.settle()
            self._path.order_rows()
            record.sessions.append(session)
            record.bars = self._taken
            closes.append(session.closes_at)
            equity.append(float(worth))
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

    # --- what differs ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _taken(self) -> int:
        """How many bars or events have been played."""

    @abstractmethod
    def bars(self) -> dict[str, BarColumns]:
        """Return the raw bars by symbol, those of the sessions that were played and maybe more."""

    @abstractmethod
    def _play(self, session: TradingSession, hours: Hours) -> Decimal:
        """Play a session that has begun, and return the account's equity at its close."""

    @abstractmethod
    def _whole(self, symbol: str) -> WholeBars:
        """Return all bars of a symbol, those to come too, at the prices of the session: what `signals` is given."""

    @abstractmethod
    def _restate(self, symbol: str, ratio: Decimal) -> None:
        """Bring what strategies see of a symbol to the prices of the session: nothing of a later split."""

    def _prepare(self, session: TradingSession) -> ExchangeSession:
        """Make the next session ready, and return it for the exchange."""
        return ExchangeSession(opens_at=session.opens_at, closes_at=session.closes_at)

    def _warm_up(self, session: TradingSession) -> None:
        """Bring the market to where a session begins."""
        self._path.now = session.opens_at
        self._exchange.advance(self._path.now)

    # --- sessions ----------------------------------------------------------------------------------

    def _begin(self, strategies: Mapping[SlotPlan, Strategy]) -> None:
        self._warm_up(self._session)
        self._exchange.open_account(ACCOUNT, self.terms.cash)
        self._path.tell(Begin(msgspec.structs.replace(self._desk_terms, slots=tuple(strategies)), 1))
        self._path.tell(Reconnected())
        self._path.report_account()
        self._path.look()
        for slot, strategy in strategies.items():
            if only_signals(strategy):
                played = ArraySignals(strategy, self._whole, self._scrutiny.arrays)
                self._arrays.append(played)
                strategy.on_bar = played.signals  # type: ignore[attr-defined]
            day_trade = self._engine.add(slot, strategy).day_trade
            self._path.tell(Declare(slot.slot, slot.strategy, day_trade, 0))
        if self._pick_at <= self._path.now:
            self._pick()

    def _step(self, coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
        assert self._loop is not None
        return self._loop.step(coroutine)

    def _begin_session(self, session: TradingSession, hours: Hours) -> None:
        before, self._session = self._session, session
        splits = {s: ratio_of(due) for s, due in _due(self.terms.splits, before, session)}
        dividends = {
            symbol: sum((exact(dividend.amount) for dividend in due), ZERO)
            for symbol, due in _due(self.terms.dividends, before, session)
        }
        market = self._prepare(session)
        for symbol, ratio in splits.items():
            self._restate(symbol, ratio)
            self._path.split(symbol, float(ratio))
            for arrays in self._arrays:
                arrays.forget(symbol)
            self.loader.data.pop(symbol, None)
        borrow, nights = self.terms.borrow, (before.day, session.day)
        self._exchange.begin_session(
            msgspec.structs.replace(
                market,
                splits=splits,
                dividends=dividends,
                borrow=borrow_statuses(borrow, session.day),
                borrow_fees=borrow_fees(borrow, *nights),
            )
        )
        self._record_cash(self._exchange.cash_activities(ACCOUNT, after=before.closes_at))
        self._warm_up(session)
        self._engine.begin_session(hours)
        for slot, strategy in (self._anew(session) if self._anew is not None else {}).items():
            self._engine.renew(slot, strategy)
        self._exchange.let_go()
        self._path.tell(BeginSession(hours, self._path.closes(), splits))
        self._path.settle()
        self._path.report_account()
        self._path.look()

    def _record_cash(self, activities: Sequence[CashActivity]) -> None:
        """Record what has moved cash without an execution."""
        batch = self.terms.batch_id
        self.record.rows += [
            ActivityRow(f"{batch}:{one.id}", batch, one.activity_type, one.symbol, one.amount, one.at, one.description)
            for one in activities
        ]

    def _pick(self) -> None:
        """Follow the symbols that are picked now, and let go of those that are no more."""
        self._path.take(self._picked())

    def _picked(self) -> list[Output]:
        """Tell the engine what is picked now, and what is no more."""
        changes = self._picking.take(self._path.now, self._step)
        self._pick_at = self._picking.next_at()
        return self._engine.on_batch(EventBatch(1, 1, 0, [*changes]), self._path.now, 0) if changes else []

    # --- what strategies may ask for ---------------------------------------------------------------------

    async def free_cash(self, account_id: int) -> float:
        """Return the account's cash less what working purchases may still cost, dollars; there is one account only."""
        reserved = sum(slot.book.reserved_cash() for slot in self._engine.slots.values())
        return float(self._exchange.account(ACCOUNT).cash - reserved)

    def _time(self) -> int:
        return max(self._path.now, self._engine.now)

    def _frame(self, symbol: str) -> Any:
        state = self._engine.symbols.get(symbol)
        return live_bars(state.bars, with_forming=False) if state is not None and len(state.bars) else None


def _due(
    changes: Mapping[str, Sequence[Change]], before: TradingSession, session: TradingSession
) -> Iterator[tuple[str, list[Change]]]:
    """Yield what takes effect between two sessions, by symbol."""
    for symbol, known in changes.items():
        if due := [change for change in known if before.day < change.day <= session.day]:
            yield symbol, due


def hours_of(
    session: TradingSession,
    liquidation_minutes: int | None,
    next_opens_at: int = 0,
    previous: Sequence[tuple[int, int]] = (),
) -> Hours:
    """Return a session as engine and desk want it, with bounds of those before it, newest first."""
    liquidates_at = 0
    if liquidation_minutes is not None:
        liquidates_at = max(session.opens_at, session.closes_at - liquidation_minutes * MINUTE)
    spans = session.opens_at, session.closes_at, liquidates_at, session.closes_at
    return Hours(session.day.isoformat(), *spans, previous=tuple(previous), next_opens_at=next_opens_at)
