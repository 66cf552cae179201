"""The gateway's shell: inputs to the desk, decisions to broker, record and consumers. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from liualgotrader.common.clock import NEVER, SECOND, Alarm
from liualgotrader.common.control import FILLS_OF, OperatorRequest, RestartOther, StopSlotCommand, SupervisorCommand
from liualgotrader.common.errors import BadData, BrokerRefused, OutsideError
from liualgotrader.common.orders import BrokerUpdate, Declare, Fill, News, OrderNews, OrderState
from liualgotrader.common.plugins import one_line
from liualgotrader.common.ports import Broker
from liualgotrader.common.session_plan import SessionPlan
from liualgotrader.common.tlog import say, warn
from liualgotrader.ipc.batch_codec import decode_intents
from liualgotrader.ipc.child_process import Child
from liualgotrader.ipc.links import Reader
from liualgotrader.ipc.session_page import Cell, Life
from liualgotrader.order_gateway.account_lock import AccountLock
from liualgotrader.order_gateway.broker_calls import BrokerCalls, Lanes
from liualgotrader.order_gateway.journaled_desk import JournaledDesk
from liualgotrader.order_gateway.news_outbox import NewsOutbox
from liualgotrader.order_gateway.operator_requests import Operator, news_line
from liualgotrader.order_gateway.row_writer import RowRecorder
from liualgotrader.order_gateway.watches import ClockWatch, LatestPrices
from liualgotrader.orders import (
    ACCOUNT_UNKNOWN,
    Announce,
    BrokerCall,
    CancelAll,
    Condition,
    Decision,
    Input,
    Prices,
    Reconcile,
    Reconnected,
    Send,
    StopSlotTrading,
    Tell,
    Tick,
    Warn,
    Write,
    prices_of,
)

log = logging.getLogger(__name__)

ACCOUNT_SECONDS = 20  # market time between two looks at the account
PRICES_SECONDS = 5  # market time between two looks at prices while the caretaker needs them
_MOST_UNREADABLE = 50  # sentences about unusable answers that a person is told; the others are in the log
_LOOK_SECONDS = 0.1  # machine time between two looks at what is due next by machine time, while anything is
_ACCOUNT_LANE, _BOOKS_LANE, _PRICES_LANE, _CLOCK_LANE = "/account", "/books", "/prices", "/clock"  # no symbol's name


class Gateway:
    """Plugs the desk's room, the broker, the record and the consumers' links into each other."""

    def __init__(
        self,
        child: Child,
        room: JournaledDesk,
        broker: Broker,
        recorder: RowRecorder,
        lock: AccountLock,
        prices: LatestPrices,
    ) -> None:
        self._child, self._room, self._broker = child, room, broker
        self._recorder, self._lock, self._prices = recorder, lock, prices
        self._clock, self._status = child.clock, child.status
        self._errands = BrokerCalls(broker, child.plan.timings.broker_timeout_seconds, self._unreadable)
        self._unreadable_said: set[str] = set()
        self.lanes = Lanes(child.status.hold)
        self._consumer_of = {s.slot: s.consumer for s in child.plan.slots}
        self.outboxes = [self._outbox(i) for i in range(child.plan.consumers)]
        self._readers: list[Reader] = []
        self._stream: asyncio.Task[None] | None = None
        self._alarm: Alarm | None = None
        self._alarm_at = NEVER
        self._hurry: asyncio.Task[None] | None = None
        self._polls: dict[str, Alarm] = {}  # by lane, the next look of each kind
        self._prices_watched = False
        self._priceless: set[str] = set()  # sources of prices that fail
        self.rebuilt = False  # by this process: its news are numbered anew
        self._began_anew: set[int] = set()
        self._skew = ClockWatch(lambda text: self.tell(Condition("clock", text)), lambda t: self._notice("WARNING", t))
        self.clock_asked = child.plan.simulated_clock
        self.counts = Counter({"orders": 0, "refused": 0, "fills": 0, "intents": 0, "updates": 0})
        self._counted: dict[int, int] = {}  # slot -> number of its newest news in `counts`
        self.operator = Operator(child, room, lock, prices, self.tell, partial(self.lanes.put, _PRICES_LANE))

    @property
    def plan(self) -> SessionPlan:
        """The session's plan."""
        return self._child.plan

    # --- life ------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Begin to follow the broker, the clock and the supervisor."""
        self._stream = asyncio.ensure_future(self._follow_updates())
        self._child.on_command(self.on_order)
        self._poll_account()
        if not self.plan.simulated_clock:  # else the broker's clock is ours
            self._poll_clock()

    def attach_consumers(self) -> None:
        """Begin to take intents and to tell news."""
        loop = asyncio.get_running_loop()
        for index, outbox in enumerate(self.outboxes):
            outbox.attach(loop)
            reader = self._child.reader(f"intents-{index}")
            self._readers.append(reader)
            reader.attach(loop, partial(self._on_intents, reader))

    def failed(self) -> BaseException | None:
        """Return what ended a task that must not end, None while all go on."""
        stream = self._stream
        if stream is not None and stream.done() and not stream.cancelled():
            return stream.exception() or OutsideError("the broker's order stream has ended: start again.")
        hurry = self._hurry
        if hurry is not None and hurry.done() and not hurry.cancelled() and (error := hurry.exception()) is not None:
            return error
        return self._recorder.failed()

    async def close(self) -> None:
        """Take nothing more in and end what is under way."""
        for alarm in [self._alarm, *self._polls.values()]:
            if alarm is not None:
                alarm.cancel()
        tasks = [t for t in (self._stream, self._hurry) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.operator.close()
        await self.lanes.close()
        for reader in self._readers:
            reader.close()
        for outbox in self.outboxes:
            outbox.close()

    def _outbox(self, index: int) -> NewsOutbox:
        page, row = self._child.page, self._child.page.process(f"consumer-{index}")
        writer = self._child.writer(f"news-{index}")
        return NewsOutbox(writer, self._status.hold(), lambda: page.get(row, Cell.LIFE) == Life.FINISHED)

    # --- inputs ------------------------------------------------------------------------------------

    def tell(self, *inputs: Input) -> list[Warn]:
        """Write inputs down, let the desk decide, carry out what it decided, and return what it says to a person."""
        decisions = self._room.tell(inputs)
        self._carry_out(decisions)
        self._set_alarms()
        self._watch_prices()
        return [d for d in decisions if isinstance(d, Warn)]

    def _on_intents(self, reader: Reader, payload: bytes) -> None:
        try:
            intents = decode_intents(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a bug of ours; the others' orders must go on
            self._notice("ERROR", f"orders of a consumer cannot be read and are lost ({one_line(error)})")
            reader.handled()
            return
        self.counts["intents"] += len(intents)
        for intent in intents:
            if isinstance(intent, Declare):
                if self._remembers_too_much(intent):
                    reader.handled()
                    return
                self.outboxes[self._consumer_of.get(intent.slot, 0)].declared(intent.slot)
        self.tell(*intents)
        reader.handled()

    def _remembers_too_much(self, said: Declare) -> bool:
        """Whether a consumer counts news that the desk, whose journal was lost, does not; it is started again without."""
        from_before = self.rebuilt and said.last_seq > 0 and said.slot not in self._began_anew
        if from_before or said.last_seq > len(self._room.desk.news(said.slot)):
            self._child.send(RestartOther(f"consumer-{self._consumer_of.get(said.slot, 0)}"))
            return True
        self._began_anew.add(said.slot)
        return False

    async def _follow_updates(self) -> None:
        async for update in self._broker.updates():
            if update is None:
                say(log, "order_stream_connected")
                self.tell(Reconnected())
            elif isinstance(update, BadData):
                self._unreadable(update)
                self.tell(Reconnected())  # something happened that only the broker's books say
            else:
                self._on_update(update)

    def _on_update(self, update: BrokerUpdate) -> None:
        self.counts["updates"] += 1
        self.tell(update)
        if not self.plan.simulated_clock:
            self._skew.update(update.at, self._clock.now())
        if update.sequence:
            self._status.updates_handled(update.sequence)

    def on_order(self, order: SupervisorCommand) -> None:
        """Do what the supervisor or an operator says."""
        if isinstance(order, StopSlotCommand):
            self.tell(StopSlotTrading(order.slot, order.reason))
        elif isinstance(order, OperatorRequest):
            self.operator.do(order)

    # --- decisions -----------------------------------------------------------------------------------

    def _carry_out(self, decisions: Sequence[Decision]) -> None:
        self._recorder.add((d.number, d.row) for d in decisions if isinstance(d, Write))
        self._count()
        for decision in decisions:
            match decision:
                case Tell(slot, news):
                    self._show(slot, news)
                    self.outboxes[self._consumer_of.get(slot, 0)].add(slot, news)
                case Announce(news):
                    for outbox in self.outboxes:
                        outbox.add_account(news)
                case Warn(level, text):
                    self._notice(level, text)
                case Write():
                    pass
                case CancelAll():
                    self.lanes.put_first(partial(self._take_back, decision))
                case _:
                    self._send(decision)
        for outbox in self.outboxes:
            outbox.flush()

    def _send(self, command: BrokerCall) -> None:
        match command:
            case Send(order):
                lane = order.symbol
            case Reconcile():
                lane = _BOOKS_LANE
            case _:
                lane = command.symbol
        self.lanes.put(lane, lambda: self._run(command))

    async def _run(self, command: BrokerCall) -> None:
        result = await self._errands.run(command)
        self.tell(result)

    async def _take_back(self, wanted: CancelAll) -> None:
        self.tell(*await self._errands.take_back(wanted))

    def _count(self) -> None:
        """Count orders, refusals, and fills by strategy from the desk's news: each once, however often it is told."""
        desk = self._room.desk
        for slot, strategy in desk.strategies.items():
            told = desk.news(slot)
            for news in told[self._counted.get(slot, 0) :]:
                if isinstance(news, Fill) and news.client_order_id:  # else it is what an earlier batch left
                    self.counts["fills"] += 1
                    self.counts[f"{FILLS_OF}{strategy}"] += 1
                elif isinstance(news, OrderNews) and news.state in (OrderState.WRITTEN, OrderState.REFUSED):
                    self.counts["orders" if news.state is OrderState.WRITTEN else "refused"] += 1
            self._counted[slot] = len(told)

    def _unreadable(self, error: BadData) -> None:
        """Say, once for each, what of the broker's cannot be used; it is asked for again."""
        text = f"{error}: it is not used, and the broker is asked again"
        if text not in self._unreadable_said and len(self._unreadable_said) < _MOST_UNREADABLE:
            self._unreadable_said.add(text)
            self._notice("WARNING", text)
        else:
            log.warning("%s", text)

    def _show(self, slot: int, news: News) -> None:
        if self.plan.verbose and isinstance(news, OrderNews | Fill):
            self._child.notice("INFO", news_line(self._room.desk.strategies[slot], news))

    def _notice(self, level: str, text: str) -> None:
        log.log(logging.getLevelNamesMapping()[level], "%s", text)
        if level != "INFO":
            self._child.notice(level, text)

    # --- time ------------------------------------------------------------------------------------------

    def _set_alarms(self) -> None:
        desk = self._room.desk
        if desk.next_market != self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = desk.next_market
            self._alarm = self._clock.call_at(self._alarm_at, self._tick) if self._alarm_at != NEVER else None
        if desk.next_machine != NEVER and self._hurry is None:
            self._hurry = asyncio.ensure_future(self._wait_by_machine())

    def _tick(self) -> None:
        self._alarm_at = NEVER
        self.tell(Tick())

    async def _wait_by_machine(self) -> None:
        """An order's fate is being found out: the market is held meanwhile."""
        desk = self._room.desk
        with self._status.hold():
            while (due := desk.next_machine) != NEVER:
                wait = (due - self._clock.machine()) / SECOND
                await self._clock.sleep(min(max(0.0, wait), _LOOK_SECONDS))  # what comes up meanwhile may be due before
                if desk.next_machine <= self._clock.machine():
                    self.tell(Tick())
        self._hurry = None

    def _poll_account(self) -> None:
        self.lanes.put(_ACCOUNT_LANE, self._learn_account)
        self._poll(_ACCOUNT_LANE, ACCOUNT_SECONDS, self._poll_account)

    def _poll_clock(self) -> None:
        self.lanes.put(_CLOCK_LANE, self._learn_clock)

    async def _learn_clock(self) -> None:
        asked_at = self._clock.now()
        try:
            theirs = await self._broker.clock()
        except BadData as error:
            self._unreadable(error)
        except (OutsideError, BrokerRefused) as error:
            warn(log, "clock_not_known", error=error)
        else:
            self._skew.answered(asked_at, theirs, self._clock.now())
        self.clock_asked = True
        self._poll(_CLOCK_LANE, self._skew.asks_again_after // SECOND, self._poll_clock)

    def _watch_prices(self) -> None:
        """Look at prices more often while the caretaker needs any; a held market waits for each look."""
        if not self._prices_watched and self._room.desk.caretaken():
            self._prices_watched = True
            self._poll(_PRICES_LANE, PRICES_SECONDS, self._poll_prices)

    def _poll_prices(self) -> None:
        self._prices_watched = False
        self.lanes.put(_PRICES_LANE, self._learn_prices)
        self._watch_prices()

    def _poll(self, lane: str, seconds: int, act: Callable[[], None]) -> None:
        self._polls[lane] = self._clock.call_at(self._clock.now() + seconds * SECOND, act)

    async def _learn_account(self) -> None:
        """Learn the account's figures together with prices, so that both are of one moment."""
        try:
            account = await self._broker.account()
        except BadData as error:
            if ACCOUNT_UNKNOWN not in self._room.desk.entries_stopped:
                self.tell(Condition(ACCOUNT_UNKNOWN, f"the broker's answer about the account is unusable ({error})"))
            return
        except (OutsideError, BrokerRefused) as error:
            warn(log, "account_not_known", error=error)
            return
        await self._learn_prices()
        self.tell(account)

    async def _learn_prices(self) -> None:
        """Ask for the prices of what is held: the broker, and, whatever it answers, the data vendor for what it lacks."""
        desk = self._room.desk
        if not (held := desk.held()):
            return
        told = Prices({})
        try:
            positions, _ = await self._errands.usable(self._broker.positions())
            told = prices_of(p for p in positions if p.symbol in held)
        except (OutsideError, BrokerRefused, BadData) as error:
            self._no_prices("the broker", held, error)
        else:
            self._priceless.discard("the broker")
        if missing := [symbol for symbol in desk.caretaken() if symbol not in told.prices]:
            try:
                told.prices.update(await self._prices.latest(missing))
            except (OutsideError, BadData) as error:
                self._no_prices("the data vendor", missing, error)
            else:
                self._priceless.discard("the data vendor")
        if told.prices or told.closes:
            self.tell(told)

    def _no_prices(self, source: str, symbols: Sequence[str], error: Exception) -> None:
        """Say once an outage, not at every look, that a source tells no prices."""
        if source not in self._priceless:
            self._notice("WARNING", f"no prices for {', '.join(symbols)} from {source}: {error}")
        self._priceless.add(source)
