"""The consumer: carries messages to the engine and the engine's outputs to where they belong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import partial
from pathlib import Path
from typing import Any, get_args

from liualgotrader.common.clock import NEVER, Alarm
from liualgotrader.common.control import Counters, OperatorRequest, SlotEnded, StopSlotCommand, SupervisorCommand
from liualgotrader.common.errors import DatabaseUnavailable, LiuError
from liualgotrader.common.events import Bar, EventBatch
from liualgotrader.common.money import OURS
from liualgotrader.common.orders import Intent
from liualgotrader.common.ports import MarketHistory
from liualgotrader.common.rows import SignalRow
from liualgotrader.common.session_plan import SessionPlan, SlotPlan
from liualgotrader.common.tlog import say, warn
from liualgotrader.common.trading_data import called
from liualgotrader.consumer.call_guard import CallGuard
from liualgotrader.consumer.consumer_counters import ConsumerCounters
from liualgotrader.consumer.event_intake import Answer, EventIntake, Gate
from liualgotrader.consumer.fetches import Fetches
from liualgotrader.consumer.history_loader import HistoryLoader
from liualgotrader.consumer.intent_outbox import IntentOutbox
from liualgotrader.consumer.loading import load_strategies
from liualgotrader.consumer.needed_symbols import NeedsTeller
from liualgotrader.consumer.order_numbers import OrderNumbers
from liualgotrader.consumer.signal_spool import SignalSpool
from liualgotrader.consumer.signal_writer import Recorder, StoredKeys
from liualgotrader.consumer.waiting import CallTimeout, Waits
from liualgotrader.engine.engine import Engine, EngineTerms, session_starts
from liualgotrader.engine.freshness import Freshness, newest_instant, newest_places
from liualgotrader.engine.outputs import LoadHistory, LogLine, Output, Reject, SlotStopped, WaitingCall
from liualgotrader.ipc.batch_codec import decode_batch, decode_news
from liualgotrader.ipc.child_process import Child
from liualgotrader.store.background_writer import OpenStore
from liualgotrader.strategies.base import SessionServices
from liualgotrader.strategies.frames import lazy_frames, real_frames

log = logging.getLogger(__name__)

ANSWER_REASON = "no answer"
_INTENTS = get_args(Intent)
_ASSETS_SECONDS = 10.0  # machine time for the list of assets
_RECORD_SECONDS = 10.0  # machine time for what an earlier process of this session left in the record
_ASK_AGAIN_SECONDS = 1.0
_LAST_ROWS_SECONDS = 3.0  # machine time to write what is left at the end
_ORPHAN_ROWS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ConsumerDependencies:
    """What a consumer needs from outside; the entry point opens them, tests hand in their own."""

    data: MarketHistory
    open_store: OpenStore
    make_loader: Callable[[Callable[[str], Any]], Any] = lambda live: None
    make_trader: Callable[[Any], Any] = lambda account: None
    fetches: Fetches | None = None  # what the loader asks


class Consumer:
    """One consumer process of a session."""

    def __init__(self, child: Child, index: int, dependencies: ConsumerDependencies) -> None:
        plan = child.plan
        self._child, self._index, self._plan, self._dependencies = child, index, plan, dependencies
        self._clock = child.clock
        self._own_context = copy_context()
        self._watch = CallGuard(child.status, self._tell)
        self._waits = Waits(plan.timings.strategy_answer_seconds, self._on_answer)
        make_frame = real_frames if plan.tradeplan.real_frames else lazy_frames
        self.engine = Engine(terms_of(plan), make_frame, step=self._waits.step, watch=self._watch)
        slots = plan.slots_of(index)
        numbers = Path(plan.journal_dir) / f"consumer-{index}.numbers"
        self._numbers = OrderNumbers(numbers, [s.slot for s in slots])
        self._outbox = IntentOutbox(
            child.writer(f"intents-{index}"), self._numbers, self.engine.declarations, child.status.hold()
        )
        left = SignalSpool(Path(plan.journal_dir), index)
        self._recorder = Recorder(plan.batch_id, dependencies.open_store, self._clock, left)
        self._keys = StoredKeys(self._recorder, child.status.hold)
        self._needs = NeedsTeller(child.writer(f"needs-{index}"), self.engine)
        self._freshness = Freshness(plan.timings.stale_after_seconds)
        self.figures = ConsumerCounters(self.engine, self._freshness, self._outbox, dependencies.fetches)
        self._intake = EventIntake(
            Gate(child.page, index),
            child.reader(f"market-{index}"),
            child.reader(f"news-{index}"),
            self._work_by_ourselves,
            child.status.hold(),
            rebuilds=lambda: self.engine.needs() is None,
            longest_call=plan.timings.strategy_answer_seconds,
        )
        self._history = HistoryLoader(
            dependencies.data,
            plan.hours,
            plan.timings.history_sessions,
            self._clock,
            self._on_history,
            self._intake.expecting,
            child.notice,
            lambda symbol: any(slot.book.quantity(symbol) for slot in self.engine.slots.values()),
        )
        self._alarm: Alarm | None = None
        self._alarm_at = NEVER
        self._restoring: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make the strategies, restore what an earlier process of this session left, and take part."""
        self._recorder.start()
        self.engine.loader = self._dependencies.make_loader(self._live_frame)
        self.engine.trader = self._dependencies.make_trader(CalledAccount(self.engine))
        slots = self._plan.slots_of(self._index)
        loader, status = self.engine.loader, self._child.status
        for ended in await load_strategies(self._plan, slots, self.engine, self._services, loader, status):
            self._child.send(ended)
        for slot in self.engine.slots.values():
            slot.next_number = self._numbers.highest(slot.number) + 1
        self._watch.begin({number: slot.name for number, slot in self.engine.slots.items()})
        self.engine.market.shortable = await self._shortable()
        await self._restore()
        self._child.on_command(self._on_order)
        self._child.report(self.figures.values)
        loop = asyncio.get_running_loop()
        self._intake.attach(loop)
        self._outbox.attach(loop)
        self._needs.attach(loop)
        self._set_alarm()
        self._child.ready()

    async def run(self) -> None:
        """Take part until the session ends for this process."""
        await self.start()
        await self._child.stopping.wait()
        await self.close()

    async def close(self) -> None:
        """Call no strategy any more, write what is left and go."""
        self.engine.stop()
        self._child.send(Counters(dict(self.figures.values())))
        if self._alarm is not None:
            self._alarm.cancel()
        if self._restoring is not None:
            self._restoring.cancel()
        self._waits.close()
        self._intake.close()
        await self._history.close()
        self._outbox.close()
        self._needs.close()
        await self._recorder.close(_ORPHAN_ROWS_SECONDS if self._child.orphaned else _LAST_ROWS_SECONDS)
        if self._dependencies.fetches is not None:
            self._dependencies.fetches.close()
        await self._dependencies.data.close()
        self._numbers.close()
        say(log, "consumer_closed", events=self.engine.events, orders=self._outbox.orders)

    def _tell(self, sentence: str) -> None:
        log.warning("%s", sentence)
        self._child.notice("WARNING", sentence)

    async def _shortable(self) -> Mapping[str, bool]:
        """Ask which shares the broker lends; unknown ones count as lent, and the broker has the last word."""
        try:
            async with asyncio.timeout(_ASSETS_SECONDS):
                assets = await self._dependencies.data.tradable_symbols()
        except (LiuError, TimeoutError) as error:
            warn(log, "assets_unknown", error=error or "no answer in time")
            return {}
        return {symbol: asset.shortable for symbol, asset in assets.items()}

    async def _restore(self) -> None:
        """Pass over what strategies have rejected in this session; what is picked the producer says.

        A record that cannot be reached is asked on while the consumer takes part.
        """
        try:
            async with asyncio.timeout(_RECORD_SECONDS):
                await self._restore_rejects()
        except (DatabaseUnavailable, TimeoutError) as error:
            warn(log, "rejects_not_restored_yet", error=error or "no answer in time")
            self._restoring = asyncio.get_running_loop().create_task(self._restore_later())

    async def _restore_rejects(self) -> None:
        batch_id = self._plan.batch_id
        rejects = await self._recorder.ask(lambda store: store.rejects(batch_id))
        self.engine.restore_rejects(rejects)
        if rejects:
            say(log, "rejects_restored", count=len(rejects))

    async def _restore_later(self) -> None:
        while True:
            await self._clock.sleep(_ASK_AGAIN_SECONDS)
            try:
                await self._restore_rejects()
            except DatabaseUnavailable:
                continue
            self._needs.say_all()
            return

    def _services(self, slot: SlotPlan) -> SessionServices:
        details = self._plan.tradeplan.strategies.get(slot.strategy, {})
        portfolio = details.get("portfolio_id")

        async def balance(account_id: int) -> float:
            found = None
            if isinstance(portfolio, str):
                found = await self._recorder.ask(lambda store: store.portfolio_account(portfolio))
            if found is None or found[0] != account_id:
                raise LookupError(f"strategy {slot.strategy} has no portfolio with account {account_id}")
            mine = [s for s in self.engine.slots.values() if s.plan.account_id == account_id]
            with localcontext(OURS):  # the strategy that asks may have a precision of its own
                return found[1] - float(sum(s.book.reserved_cash() for s in mine))

        return SessionServices(self._plan.hours, self._keys, balance)

    def _live_frame(self, symbol: str) -> Any:
        state = self.engine.symbols.get(symbol)
        return real_frames(state.bars)(True) if state is not None and state.live else None

    # --- inputs -------------------------------------------------------------------------------------------

    def _work_by_ourselves(
        self, news: Sequence[bytes], answers: Sequence[Answer], market: Sequence[bytes], timer: bool
    ) -> None:
        """Work in our own context, whoever has woken us: a strategy's decimal arithmetic is not ours."""
        self._own_context.run(self._work, news, answers, market, timer)
        self._watch.compare()

    def _work(self, news: Sequence[bytes], answers: Sequence[Answer], market: Sequence[bytes], timer: bool) -> None:
        for payload in news:
            items = decode_news(payload)
            self._outbox.heard(items)
            self._carry_out(self.engine.on_news(items, self._clock.now(), self._clock.machine()))
        if news:
            self._needs.look()
        for take in answers:
            take()
        if market:
            self._take_market([decode_batch(payload) for payload in market])
        if timer:
            self._alarm_at = NEVER
            self._carry_out(self.engine.on_timer(self._clock.now(), self._clock.machine()))
        self._set_alarm()

    def _take_market(self, batches: Sequence[EventBatch]) -> None:
        """Act on batches; once one is stale, of all that wait only the newest state of each symbol is acted on."""
        age = self._clock.age
        # While the market waits for us nothing newer exists, however long our machine takes.
        judged_age = (lambda at: 0) if self._child.page.is_held else age
        verdicts = [self._freshness.judge(batch.events, judged_age) for batch in batches]
        silent = [v.stale for v in verdicts]
        if any(v.behind for v in verdicts):
            silent = _drained(batches, silent)
        for batch, verdict, places in zip(batches, verdicts, silent, strict=True):
            if verdict.line:
                log.warning("%s", verdict.line)
            self.figures.dropped += batch.dropped
            newest = newest_instant(batch.events)
            if newest is not None:
                self.figures.lags.note(age(newest))
            self._watch.batch = batch.seq
            self._carry_out(self.engine.on_batch(batch, self._clock.now(), self._clock.machine(), places))

    def _on_history(self, symbol: str, bars: Sequence[Bar]) -> None:
        say(log, "history_loaded", symbol=symbol, bars=len(bars))
        self._intake.answered(partial(self._take_history, symbol, bars))

    def _take_history(self, symbol: str, bars: Sequence[Bar]) -> None:
        self._carry_out(self.engine.on_history(symbol, bars, self._clock.now(), self._clock.machine()))

    def _on_answer(self, ticket: int, result: Any, error: BaseException | None) -> None:
        self._intake.answered(partial(self._take_answer, ticket, result, error), ticket)

    def _take_answer(self, ticket: int, result: Any, error: BaseException | None) -> None:
        slot = self.engine.slot_of_ticket(ticket)
        outputs = self.engine.on_answer(ticket, result, error, self._clock.now(), self._clock.machine())
        self._carry_out(outputs)
        if isinstance(error, CallTimeout) and slot is not None:
            self._carry_out(self.engine.stop_slot(slot, ANSWER_REASON))

    def _on_order(self, order: SupervisorCommand) -> None:
        if isinstance(order, StopSlotCommand):
            self._carry_out(self.engine.stop_slot(order.slot, order.reason))
        elif isinstance(order, OperatorRequest):
            warn(log, "unknown_order", name=order.name)

    def _set_alarm(self) -> None:
        at = self.engine.next_deadline()
        if at == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._clock.call_at(at, self._intake.alarm) if at != NEVER else None

    # --- outputs ------------------------------------------------------------------------------------------

    def _carry_out(self, outputs: Sequence[Output]) -> None:
        if not outputs:
            return
        intents = [one for one in outputs if isinstance(one, _INTENTS)]
        if intents:
            self._outbox.add(intents)
        for one in outputs:
            match one:
                case SignalRow():
                    self._recorder.signal(one)
                case LoadHistory(symbol, since):
                    self._history.want(symbol, since)
                case WaitingCall():
                    self._go_on(one)
                case LogLine(level, text):
                    log.log(level, "%s", text)
                case Reject():
                    self._recorder.reject(one.strategy, one.symbol, one.at)
                    self._needs.rejected(one.slot, one.symbol)
                case SlotStopped(slot, reason):
                    self._child.send(SlotEnded(slot, reason))
        if intents:
            self._needs.look()

    def _go_on(self, waiting: WaitingCall) -> None:
        self._waits.go_on(waiting, self.engine.slots[waiting.slot].own_context, self._intake.expecting())


class CalledAccount:
    """What `run_all`'s trader knows: the account, and the book of the strategy being called."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def equity(self) -> Decimal | None:
        """The account's equity in US dollars, None until the broker has told it."""
        return self._engine.equity

    def position(self, symbol: str) -> Decimal:
        """Return the calling strategy's signed shares."""
        book = called.get()
        return Decimal(str(book.read_only("positions").get(symbol, 0))) if book is not None else Decimal(0)

    def shortable(self, symbol: str) -> bool:
        """Say whether the broker lends the share; unknown ones count as lent."""
        return self._engine.market.shortable.get(symbol, True)


def terms_of(plan: SessionPlan) -> EngineTerms:
    """Return what the engine decides by, out of the session's plan."""
    return EngineTerms(
        batch_id=plan.batch_id,
        hours=plan.hours,
        seed=plan.seed,
        timings=plan.timings,
        events=frozenset(plan.tradeplan.events),
        session_starts=session_starts(plan.hours),
        portfolio_value=plan.tradeplan.portfolio_value,
        shadow=plan.shadow,
        limits=plan.limits,
    )


def _drained(batches: Sequence[EventBatch], stale: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return, per batch, the places nobody is called for once we are behind: all but what is newest and fresh."""
    events = [event for batch in batches for event in batch.events]
    old: set[int] = set()
    start = 0
    for batch, places in zip(batches, stale, strict=True):
        old |= {start + place for place in places}
        start += len(batch.events)
    kept = newest_places(events, [place for place in range(len(events)) if place not in old])
    silent: list[frozenset[int]] = []
    start = 0
    for batch in batches:
        count = len(batch.events)
        silent.append(frozenset(p for p in range(count) if start + p not in kept))
        start += count
    return silent
