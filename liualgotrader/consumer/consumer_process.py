"""The consumer: carries messages to the engine, and the engine's outputs to the processes and files that they are for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from liualgotrader.common import control
from liualgotrader.common.clock import MILLISECOND, NEVER, Alarm
from liualgotrader.common.errors import DatabaseUnavailable
from liualgotrader.common.events import EventBatch
from liualgotrader.common.orders import Intent
from liualgotrader.common.ports import MarketHistory
from liualgotrader.common.rows import SignalRow
from liualgotrader.common.session_plan import SessionPlan, SlotPlan
from liualgotrader.common.tlog import say, warn
from liualgotrader.consumer.bar_keeper import BarKeeper
from liualgotrader.consumer.event_intake import Answer, EventIntake, Gate
from liualgotrader.consumer.fetches import Fetches
from liualgotrader.consumer.history_loader import HistoryLoader
from liualgotrader.consumer.loading import lent_shares, load_strategies, services_of
from liualgotrader.consumer.outboxes import IntentOutbox, NeedsOutbox, OrderNumbers
from liualgotrader.consumer.series_writer import SeriesWriter
from liualgotrader.consumer.signal_writer import SignalRecorder, StoredKeys, signal_spool
from liualgotrader.consumer.strategy_calls import CallGuard, CallTimeout, TimedCallGuard, WaitingCalls
from liualgotrader.data.data_base import SIMULATED
from liualgotrader.data.recorded_series import MARKET, SeriesFile
from liualgotrader.engine.engine import Engine, EngineTerms, session_starts
from liualgotrader.engine.freshness import Freshness, drained, newest_instant
from liualgotrader.engine.outputs import LoadHistory, LogLine, Output, Reject, SlotStopped, WaitingCall
from liualgotrader.ipc.batch_codec import decode_batch, decode_news
from liualgotrader.ipc.child_process import Child
from liualgotrader.store.background_writer import OpenStore
from liualgotrader.strategies.frames import lazy_frames, live_bars, real_frames

log = logging.getLogger(__name__)

ANSWER_REASON = "no answer"
_INTENTS = get_args(Intent)
_RECORD_SECONDS = 10.0  # machine time for what an earlier process of this session left in the record
_ASK_AGAIN_SECONDS = 1.0
_LAST_ROWS_SECONDS = 3.0  # machine time to write what is left at the end
_ORPHAN_ROWS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ConsumerDependencies:
    """What a consumer needs from outside; the entry point opens it."""

    data: MarketHistory
    open_store: OpenStore
    make_loader: Callable[[Callable[[str], Any]], Any] = lambda live: None
    make_trader: Callable[[Callable[[str], bool]], Any] = lambda lends: None
    fetches: Fetches | None = None  # the loader's requests


class ConsumerCounters:
    """Totals since the start, and gauges of this moment."""

    def __init__(
        self, engine: Engine, freshness: Freshness, outbox: IntentOutbox, fetches: Fetches | None = None
    ) -> None:
        self._fetches = fetches
        self._engine, self._freshness, self._outbox = engine, freshness, outbox
        self.lags: list[int] = []  # how old market data was when it was read, since the last report, machine ns
        self.dropped = 0

    def values(self) -> Mapping[str, float]:
        """Return all figures by name.

        `mark.<symbol>` is the newest price of what is held, in US dollars; `positions.<strategy>` is a count, and
        `refused.<strategy>.<rule>` counts the orders that risk or the engine refused.
        """
        engine, lags = self._engine, sorted(self.lags) or [0]
        self.lags.clear()
        found: dict[str, float] = {
            "events": engine.events,
            "symbols": len(engine.symbols),
            "dropped_before_us": self.dropped,
            "stale": self._freshness.stale_events,
            "stale_bursts": self._freshness.bursts,
            "lag_p50_ms": max(0, lags[len(lags) // 2]) / MILLISECOND,
            "lag_ms": max(0, lags[-1]) / MILLISECOND,
            "orders_decided": self._outbox.orders,
            "unanswered": self._outbox.unanswered,
            "fills_booked": engine.fills,
            "ignored": engine.market.ignored,
            "late_trades": sum(state.bars.late for state in engine.symbols.values()),
        }
        if self._fetches is not None:
            found["fetches"], found["fetches_failed"] = self._fetches.asked, self._fetches.failed
        for slot in engine.slots.values():
            held = slot.book.held()
            found[f"positions.{slot.name}"] = len(held)
            found[f"missed_periods.{slot.name}"] = slot.missed_ticks
            found |= {
                f"{control.MARK_OF}{symbol}": price for symbol in held if (price := slot.port.last(symbol)) is not None
            }
            found |= {f"refused.{slot.name}.{rule}": count for rule, count in slot.refusals.counts.items()}
        return found


class Consumer:
    """One consumer process of a session."""

    def __init__(self, child: Child, index: int, dependencies: ConsumerDependencies) -> None:
        plan = child.plan
        self._child, self._plan, self._dependencies = child, plan, dependencies
        self._clock = child.clock
        self._guard = (TimedCallGuard if plan.trace else CallGuard)(child.status, self._warn)
        self._calls = WaitingCalls(plan.timings.strategy_answer_seconds, self._on_answer)
        make_frame = real_frames if plan.tradeplan.real_frames else lazy_frames
        folder = Path(plan.journal_dir)
        self._series = SeriesWriter(
            SeriesFile(Path(plan.records_dir or plan.journal_dir), f"consumer-{index}"), self._warn
        )
        self.engine = Engine(
            terms_of(plan), make_frame, step=self._calls.step, watch=self._guard, recording=self._series.recording
        )
        source = SIMULATED if plan.endpoints.loopback else plan.data_connector
        market = Path(plan.records_dir or plan.journal_dir) / MARKET
        self._keeper = BarKeeper(market, source, plan.kept_bars_bytes // plan.consumers, self._warn)
        self.engine.let_go = self._keeper.keep
        self._index, self._slots = index, plan.slots_of(index)
        self._numbers = OrderNumbers(folder / f"consumer-{index}.numbers", [slot.slot for slot in self._slots])
        self._outbox = IntentOutbox(
            child.writer(f"intents-{index}"), self._numbers, self.engine.declarations, child.status.hold()
        )
        spool = signal_spool(folder, index)
        self._recorder = SignalRecorder(plan.batch_id, dependencies.open_store, self._clock, spool)
        self._needs = NeedsOutbox(child.writer(f"needs-{index}"), self.engine)
        self._freshness = Freshness(plan.timings.stale_after_seconds)
        self._counters = ConsumerCounters(self.engine, self._freshness, self._outbox, dependencies.fetches)
        ours = copy_context()  # whatever wakes us: a strategy may have changed decimal arithmetic in its own
        self._intake = EventIntake(
            Gate(child.page, index),
            child.reader(f"market-{index}"),
            child.reader(f"news-{index}"),
            lambda *inputs: ours.run(self._work, *inputs),
            child.status.hold(),
            rebuilds=lambda: self.engine.needs() is None,
            longest_call=plan.timings.strategy_answer_seconds,
        )
        self._history = HistoryLoader(
            dependencies.data,
            plan.hours,
            plan.timings.history_sessions,
            self._clock,
            lambda symbol, bars: self._intake.answered(
                lambda: self._carry_out(self.engine.on_history(symbol, bars, self._clock.now(), self._clock.machine()))
            ),
            self._intake.expecting,
            child.notice,
            lambda symbol: any(slot.book.quantity(symbol) for slot in self.engine.slots.values()),
        )
        self._alarm: Alarm | None = None
        self._alarm_at = NEVER
        self._restoring: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # of strategies that join
        self._joining: set[asyncio.Task[None]] = set()

    # --- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make the strategies, restore what an earlier process of this session left, and take part."""
        self._recorder.start()
        self._series.start()
        self.engine.loader = self._dependencies.make_loader(self._live_frame)
        self.engine.trader = self._dependencies.make_trader(
            lambda symbol: self.engine.market.shortable.get(symbol, True)
        )
        await self._make(self._slots)
        self.engine.market.shortable = await lent_shares(self._dependencies.data)
        try:
            async with asyncio.timeout(_RECORD_SECONDS):
                await self._restore_rejects()
        except (DatabaseUnavailable, TimeoutError) as error:
            warn(log, "rejects_not_restored_yet", error=error or "no answer in time")
            self._restoring = asyncio.get_running_loop().create_task(self._restore_later())
        self._child.on_command(self._on_command)
        self._child.report(self._counters.values)
        loop = asyncio.get_running_loop()
        self._intake.attach(loop)
        self._outbox.writer.attach(loop)
        self._needs.writer.attach(loop)
        self._set_alarm()
        self._child.ready()

    async def run(self) -> None:
        """Take part until the session ends for this process."""
        await self.start()
        await self._child.stopping.wait()
        await self.close()

    async def close(self) -> None:
        """Call no strategy any more and write what is left."""
        self.engine.stop()
        self._child.send(control.Counters(dict(self._counters.values())))
        if self._alarm is not None:
            self._alarm.cancel()
        if self._restoring is not None:
            self._restoring.cancel()
        for joining in self._joining:
            joining.cancel()
        self._calls.close()
        self._intake.close()
        await self._history.close()
        self._outbox.close()
        self._needs.writer.close()
        await self._series.close()
        await self._recorder.close(_ORPHAN_ROWS_SECONDS if self._child.orphaned else _LAST_ROWS_SECONDS)
        if self._dependencies.fetches is not None:
            self._dependencies.fetches.close()
        await self._dependencies.data.close()
        if not self._child.orphaned:
            for state in self.engine.symbols.values():
                self._keeper.keep(state.bars)
            fetched, over = self._dependencies.fetches, self._plan.hours.opens_at
            for symbol, days in fetched.days.items() if fetched is not None else ():
                self._keeper.keep_days(symbol, (bar for bar in days.values() if bar.closed_at <= over))
            await self._keeper.close()
        self._numbers.close()
        say(log, "consumer_closed", events=self.engine.events, orders=self._outbox.orders)

    def _warn(self, sentence: str) -> None:
        log.warning("%s", sentence)
        self._child.notice("WARNING", sentence)

    async def _restore_rejects(self) -> None:
        """Restore what strategies have rejected in this session; the producer sends what is picked."""
        batch_id = self._plan.batch_id
        rejects = await self._recorder.ask(lambda store: store.rejects(batch_id))
        self.engine.restore_rejects(rejects)
        if rejects:
            say(log, "rejects_restored", count=len(rejects))

    async def _restore_later(self) -> None:
        """Ask again until the database answers, while the consumer takes part."""
        while True:
            await self._clock.sleep(_ASK_AGAIN_SECONDS)
            with suppress(DatabaseUnavailable):
                await self._restore_rejects()
                self._needs.send_all()
                return

    def _live_frame(self, symbol: str) -> Any:
        state = self.engine.symbols.get(symbol)
        return live_bars(state.bars, with_forming=True) if state is not None and state.live else None

    # --- inputs -------------------------------------------------------------------------------------------

    def _work(self, news: Sequence[bytes], answers: Sequence[Answer], market: Sequence[bytes], timer: bool) -> None:
        for payload in news:
            items = decode_news(payload)
            self._outbox.take_news(items)
            self._carry_out(self.engine.on_news(items, self._clock.now(), self._clock.machine()))
        if news:
            self._needs.send_changes()
        for take in answers:
            take()
        if market:
            self._take_market([decode_batch(payload) for payload in market])
        if timer:
            self._alarm_at = NEVER
            self._carry_out(self.engine.on_timer(self._clock.now(), self._clock.machine()))
        self._set_alarm()
        self._guard.compare()

    def _take_market(self, batches: Sequence[EventBatch]) -> None:
        """Act on batches; if one is stale, only on the newest state of each symbol in all of them."""
        age = self._clock.age
        # While the market stands nothing newer exists, however long this machine takes.
        judged_age = (lambda at: 0) if self._child.page.is_held else age
        verdicts = [self._freshness.judge(batch.events, judged_age) for batch in batches]
        silent = [v.stale for v in verdicts]
        if any(v.behind for v in verdicts):
            silent = drained([batch.events for batch in batches], silent)
        for batch, verdict, places in zip(batches, verdicts, silent, strict=True):
            if verdict.line:
                log.warning("%s", verdict.line)
            self._counters.dropped += batch.dropped
            newest = newest_instant(batch.events)
            if newest is not None:
                self._counters.lags.append(age(newest))
            self._guard.batch = batch.seq
            self._carry_out(self.engine.on_batch(batch, self._clock.now(), self._clock.machine(), places))

    def _on_answer(self, ticket: int, result: Any, error: BaseException | None) -> None:
        def take() -> None:
            slot = self.engine.slot_of_ticket(ticket)
            self._carry_out(self.engine.on_answer(ticket, result, error, self._clock.now(), self._clock.machine()))
            if isinstance(error, CallTimeout) and slot is not None:
                self._carry_out(self.engine.stop_slot(slot, ANSWER_REASON))

        self._intake.answered(take, ticket)

    def _on_command(self, command: control.SupervisorCommand) -> None:
        if isinstance(command, control.StopSlotCommand):
            self._carry_out(self.engine.stop_slot(command.slot, command.reason))
        elif isinstance(command, control.StartSlotsCommand):
            joining = asyncio.ensure_future(self._join(command))
            self._joining.add(joining)
            joining.add_done_callback(self._joining.discard)
        elif isinstance(command, control.OperatorRequest):
            warn(log, "unknown_request", name=command.name)

    async def _join(self, command: control.StartSlotsCommand) -> None:
        """Make the strategy that joins the session, unless it is there, and answer; the market waits meanwhile."""
        with self._child.status.hold():
            async with self._turn:
                self._plan = self._plan.joined_by(command.slots, command.table)
                known = {slot.slot for slot in self._slots}
                fresh = [slot for slot in self._plan.slots_of(self._index) if slot.slot not in known]
                self._slots += fresh
                self._numbers.take_in([slot.slot for slot in self._slots])
                await self._make(fresh)
                numbers = {slot.slot for slot in fresh}
                self._outbox.add([said for said in self.engine.declarations() if said.slot in numbers])
                self._set_alarm()
        self._child.send(control.RequestAnswer(command.ticket, "joined"))

    async def _make(self, slots: Sequence[SlotPlan]) -> None:
        """Put the strategies of these slots into the engine, and report those that will not run."""
        keys = StoredKeys(self._recorder, self._child.status.hold)
        for ended in await load_strategies(
            self._plan,
            slots,
            self.engine,
            lambda slot: services_of(slot, self._plan, self.engine, self._recorder, keys),
            self.engine.loader,
            self._child.status,
        ):
            self._child.send(ended)
        for number in (slot.slot for slot in slots if slot.slot in self.engine.slots):
            self.engine.slots[number].next_number = self._numbers.highest(number) + 1
        self._guard.begin({number: slot.name for number, slot in self.engine.slots.items()})

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
                    context = self.engine.slots[one.slot].own_context
                    self._calls.go_on(one, context, self._intake.expecting())
                case LogLine(level, text):
                    log.log(level, "%s", text)
                case Reject():
                    self._recorder.reject(one.strategy, one.symbol, one.at)
                    self._needs.reject(one.slot, one.symbol)
                case SlotStopped(slot, reason):
                    self._child.send(control.SlotEnded(slot, reason))
        if intents:
            self._needs.send_changes()


def terms_of(plan: SessionPlan) -> EngineTerms:
    """Return what the engine decides by, from the session's plan."""
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
