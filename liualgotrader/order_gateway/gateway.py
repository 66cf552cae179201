"""Connects the order desk to broker, database, consumers and supervisor; it decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from liualgotrader.common.clock import NEVER, SECOND, Alarm
from liualgotrader.common.control import (
    FILLS_OF,
    OperatorRequest,
    RequestAnswer,
    RestartOther,
    StartSlotsCommand,
    StopSlotCommand,
    SupervisorCommand,
)
from liualgotrader.common.errors import BadData, BrokerRefused, OutsideError
from liualgotrader.common.orders import AccountNews, Declare, Fill, News, OrderNews, OrderState
from liualgotrader.common.plugins import one_line
from liualgotrader.common.ports import Broker
from liualgotrader.common.tlog import say, warn
from liualgotrader.ipc.batch_codec import decode_intents, encode_news, frames
from liualgotrader.ipc.child_process import Child
from liualgotrader.ipc.links import Reader, Writer
from liualgotrader.ipc.process_status import MarketHold
from liualgotrader.ipc.session_page import Cell, Life
from liualgotrader.order_gateway.account_lock import AccountLock
from liualgotrader.order_gateway.broker_calls import BrokerCalls, Lanes
from liualgotrader.order_gateway.journaled_desk import JournaledDesk
from liualgotrader.order_gateway.operator_requests import OperatorRequests, news_line
from liualgotrader.order_gateway.row_writer import RowRecorder
from liualgotrader.order_gateway.watches import ClockWatch, LatestPrices
from liualgotrader.orders import desk_messages as messages
from liualgotrader.orders.account_state import ACCOUNT_SECONDS, ACCOUNT_UNKNOWN, PRICES_SECONDS

log = logging.getLogger(__name__)

_MOST_UNREADABLE = 50  # sentences about unusable answers that are shown to a person; the others are in the log
_A_MESSAGE = 64  # items of news put into one message
_LAST_SECONDS = 2.0  # machine time for what the account came to
_LOOK_SECONDS = 0.1  # machine time between two checks for a nearer deadline by machine time
_ACCOUNT_LANE, _BOOKS_LANE, _PRICES_LANE, _CLOCK_LANE = "/account", "/books", "/prices", "/clock"  # no symbol's name


class Gateway:
    """Passes inputs to the desk, carries out its decisions, and polls account, clock and prices."""

    def __init__(
        self,
        child: Child,
        journaled: JournaledDesk,
        broker: Broker,
        recorder: RowRecorder,
        lock: AccountLock,
        prices: LatestPrices,
    ) -> None:
        self._child, self._journaled, self._broker = child, journaled, broker
        self._recorder, self._prices = recorder, prices
        self._plan, self._clock, self._status = child.plan, child.clock, child.status
        self._calls = BrokerCalls(broker, child.plan.timings.broker_timeout_seconds, self._unreadable)
        self._unreadable_said: set[str] = set()
        self.lanes = Lanes(child.status.hold)
        self._consumer_of = {s.slot: s.consumer for s in child.plan.slots}
        self._outboxes = [
            NewsOutbox(child.writer(f"news-{index}"), child.status.hold(), partial(self._has_finished, index))
            for index in range(child.plan.consumers)
        ]
        self._readers: list[Reader] = []
        self._stream: asyncio.Task[None] | None = None
        self._alarm: Alarm | None = None
        self._alarm_at = NEVER
        self._machine_wait: asyncio.Task[None] | None = None
        self._polls: dict[str, Alarm] = {}  # by lane, the next poll
        self._failing_sources: set[str] = set()  # of prices
        self.rebuilt = False  # by this process: its news are numbered anew
        self._began_anew: set[int] = set()
        self._skew = ClockWatch(
            lambda text: self.tell(messages.Condition("clock", text)), lambda t: self._notice("WARNING", t)
        )
        self.clock_asked = child.plan.simulated_clock
        self.counts = Counter({"orders": 0, "refused": 0, "fills": 0, "intents": 0, "updates": 0})
        self._counted: dict[int, int] = {}  # slot -> number of its newest news in `counts`
        self.operator = OperatorRequests(
            child, journaled, lock, prices, self.tell, partial(self.lanes.put, _PRICES_LANE)
        )

    # --- life ------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Start to follow the broker, its clock and the supervisor."""
        self._stream = asyncio.ensure_future(self._follow_updates())
        self._child.on_command(self.on_command)
        self.lanes.put(_ACCOUNT_LANE, self._learn_account)
        if not self._plan.simulated_clock:  # else the broker's clock is ours
            self.lanes.put(_CLOCK_LANE, self._learn_clock)

    def attach_consumers(self) -> None:
        """Start to take intents and to send news."""
        loop = asyncio.get_running_loop()
        for index, outbox in enumerate(self._outboxes):
            outbox.attach(loop)
            reader = self._child.reader(f"intents-{index}")
            self._readers.append(reader)
            reader.attach(loop, partial(self._on_intents, reader))

    def failed(self) -> BaseException | None:
        """Return what ended a task that must not end, None while all go on."""
        stream, wait = self._stream, self._machine_wait
        if stream is not None and stream.done() and not stream.cancelled():
            return stream.exception() or OutsideError("the broker's order stream has ended: start again.")
        if wait is not None and wait.done() and not wait.cancelled() and (error := wait.exception()) is not None:
            return error
        return self._recorder.failed()

    async def close(self) -> None:
        """Stop taking inputs and cancel what runs."""
        if self._alarm is not None:
            self._alarm.cancel()
        tasks = [t for t in (self._stream, self._machine_wait) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.operator.close()
        await self.lanes.close()
        for alarm in self._polls.values():
            alarm.cancel()
        for reader in self._readers:
            reader.close()
        for outbox in self._outboxes:
            outbox.close()

    # --- inputs ------------------------------------------------------------------------------------

    def tell(self, *inputs: messages.Input) -> list[messages.Warn]:
        """Journal the inputs, carry out the desk's decisions, and return its warnings."""
        decisions = self._journaled.tell(inputs)
        self._carry_out(decisions)
        desk = self._journaled.desk
        if desk.next_market != self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = desk.next_market
            self._alarm = self._clock.call_at(self._alarm_at, self._tick) if self._alarm_at != NEVER else None
        if desk.next_machine != NEVER and self._machine_wait is None:
            self._machine_wait = asyncio.ensure_future(self._wait_by_machine())
        self._watch_prices()
        return [d for d in decisions if isinstance(d, messages.Warn)]

    def _on_intents(self, reader: Reader, payload: bytes) -> None:
        try:
            intents = decode_intents(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a bug of ours; the others' orders must go on
            self._notice("ERROR", f"orders of a consumer cannot be read and are lost ({one_line(error)})")
            reader.handled()
            return
        self.counts["intents"] += len(intents)
        for said in (intent for intent in intents if isinstance(intent, Declare)):
            consumer = self._consumer_of.get(said.slot, 0)
            from_before = self.rebuilt and said.last_seq > 0 and said.slot not in self._began_anew
            if from_before or said.last_seq > len(self._journaled.desk.news(said.slot)):
                # After the journal was lost a consumer may remember news that the desk does not have.
                self._child.send(RestartOther(f"consumer-{consumer}"))
                break
            self._began_anew.add(said.slot)
            self._outboxes[consumer].declared(said.slot)
        else:
            self.tell(*intents)
        reader.handled()

    def _has_finished(self, consumer: int) -> bool:
        page = self._child.page
        return page.get(page.process(f"consumer-{consumer}"), Cell.LIFE) == Life.FINISHED

    async def _follow_updates(self) -> None:
        async for update in self._broker.updates():
            if update is None:
                say(log, "order_stream_connected")
                self.tell(messages.Reconnected())
            elif isinstance(update, BadData):
                self._unreadable(update)
                self.tell(messages.Reconnected())  # something happened that only the broker's books say
            else:
                self.counts["updates"] += 1
                self.tell(update)
                if not self._plan.simulated_clock:
                    self._skew.update(update.at, self._clock.now())
                if update.sequence:
                    self._status.updates_handled(update.sequence)

    def on_command(self, command: SupervisorCommand) -> None:
        """Carry out a command of the supervisor or a request of an operator."""
        if isinstance(command, StopSlotCommand):
            self.tell(messages.StopSlotTrading(command.slot, command.reason))
        elif isinstance(command, StartSlotsCommand):
            self._consumer_of |= {slot.slot: slot.consumer for slot in command.slots}
            self.tell(messages.SlotsJoined(command.slots))
            self._child.send(RequestAnswer(command.ticket, "joined"))
        elif isinstance(command, OperatorRequest):
            self.operator.carry_out(command)

    # --- decisions -----------------------------------------------------------------------------------

    def _carry_out(self, decisions: Sequence[messages.Decision]) -> None:
        self._recorder.add((d.number, d.row) for d in decisions if isinstance(d, messages.Write))
        self._count()
        for decision in decisions:
            match decision:
                case messages.Tell(slot, news):
                    if self._plan.verbose and isinstance(news, OrderNews | Fill):
                        strategy = self._journaled.desk.strategies[slot]
                        self._child.notice("INFO", news_line(strategy, news))
                    self._outboxes[self._consumer_of.get(slot, 0)].add(slot, news)
                case messages.Announce(news):
                    for outbox in self._outboxes:
                        outbox.add_account(news)
                case messages.Warn(level, text):
                    self._notice(level, text)
                case messages.Write():
                    pass
                case messages.CancelAll():
                    self.lanes.put_first(partial(self._run, decision))
                case messages.Send(order):
                    self.lanes.put(order.symbol, partial(self._run, decision))
                case messages.Reconcile():
                    self.lanes.put(_BOOKS_LANE, partial(self._run, decision))
                case _:
                    self.lanes.put(decision.symbol, partial(self._run, decision))
        for outbox in self._outboxes:
            outbox.flush()

    async def _run(self, command: messages.BrokerCall | messages.CancelAll) -> None:
        if isinstance(command, messages.CancelAll):
            self.tell(*await self._calls.cancel_all(command))
        else:
            self.tell(await self._calls.run(command))

    def _count(self) -> None:
        """Count orders, refusals, and fills by strategy from the desk's news, each once however often it is sent."""
        desk = self._journaled.desk
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
        """Report an answer of the broker that cannot be used, once; it is asked for again."""
        text = f"{error}: it is not used, and the broker is asked again"
        if text not in self._unreadable_said and len(self._unreadable_said) < _MOST_UNREADABLE:
            self._unreadable_said.add(text)
            self._notice("WARNING", text)
        else:
            log.warning("%s", text)

    def _notice(self, level: str, text: str) -> None:
        log.log(logging.getLevelNamesMapping()[level], "%s", text)
        if level != "INFO":
            self._child.notice(level, text)

    # --- time ------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._alarm_at = NEVER
        self.tell(messages.Tick())

    async def _wait_by_machine(self) -> None:
        """Hold the market until it is known what became of an order."""
        desk = self._journaled.desk
        with self._status.hold():
            while (due := desk.next_machine) != NEVER:
                wait = (due - self._clock.machine()) / SECOND
                await self._clock.sleep(min(max(0.0, wait), _LOOK_SECONDS))  # what comes up meanwhile may be due before
                if desk.next_machine <= self._clock.machine():
                    self.tell(messages.Tick())
        self._machine_wait = None

    def _poll(self, lane: str, seconds: int, look: Callable[[], Awaitable[None]]) -> None:
        """Call `look` in its lane after some market time; a held market waits for it."""

        def due() -> None:
            del self._polls[lane]
            self.lanes.put(lane, look)
            self._watch_prices()

        self._polls[lane] = self._clock.call_at(self._clock.now() + seconds * SECOND, due)

    def _watch_prices(self) -> None:
        """Ask for prices more often while positions of stopped strategies need them."""
        if _PRICES_LANE not in self._polls and self._journaled.desk.caretaken():
            self._poll(_PRICES_LANE, PRICES_SECONDS, self._learn_prices)

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
        self._poll(_CLOCK_LANE, self._skew.asks_again_after // SECOND, self._learn_clock)

    async def _learn_account(self) -> None:
        """Ask for the account together with prices, so that both are of one moment."""
        self._poll(_ACCOUNT_LANE, ACCOUNT_SECONDS, self._learn_account)
        try:
            account = await self._broker.account()
        except BadData as error:
            if ACCOUNT_UNKNOWN not in self._journaled.desk.entries_stopped:
                self.tell(
                    messages.Condition(ACCOUNT_UNKNOWN, f"the broker's answer about the account is unusable ({error})")
                )
        except (OutsideError, BrokerRefused) as error:
            warn(log, "account_not_known", error=error)
        else:
            self._recorder.see_equity(self._plan.hours, self._clock.now(), account.equity)
            await self._learn_prices()
            self.tell(account)

    async def learn_last_equity(self) -> None:
        """Note what the account came to; if the broker does not say it, the newest answer before stays."""
        with suppress(OutsideError, BrokerRefused, BadData, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                account = await self._broker.account()
                self._recorder.see_equity(self._plan.hours, self._clock.now(), account.equity)

    async def _learn_prices(self) -> None:
        """Ask the broker for prices of what is held, then the data vendor for what the broker lacks, whatever it answered."""
        desk = self._journaled.desk
        if not (held := desk.held()):
            return
        prices = messages.Prices({})
        try:
            positions, _ = await self._calls.usable(self._broker.positions())
            prices = messages.prices_of(p for p in positions if p.symbol in held)
        except (OutsideError, BrokerRefused, BadData) as error:
            self._no_prices("the broker", held, error)
        else:
            self._failing_sources.discard("the broker")
        if missing := [symbol for symbol in desk.caretaken() if symbol not in prices.prices]:
            try:
                prices.prices.update(await self._prices.latest(missing))
            except (OutsideError, BadData) as error:
                self._no_prices("the data vendor", missing, error)
            else:
                self._failing_sources.discard("the data vendor")
        if prices.prices or prices.closes:
            self.tell(prices)

    def _no_prices(self, source: str, symbols: Sequence[str], error: Exception) -> None:
        """Report once an outage that a source has no prices."""
        if source not in self._failing_sources:
            self._notice("WARNING", f"no prices for {', '.join(symbols)} from {source}: {error}")
        self._failing_sources.add(source)


class NewsOutbox:
    """Sends news to one consumer as soon as there is room, in order. While something is unsent the market is held.

    `is_gone` says that the consumer has finished: its news are dropped.
    """

    def __init__(self, writer: Writer, hold: MarketHold, is_gone: Callable[[], bool]) -> None:
        self._writer, self._hold, self._is_gone = writer, hold, is_gone
        self._unsent: list[tuple[int, News]] = []  # with their slot, 0 for the account's
        self._declared: set[int] = set()
        writer.on_connected(self.flush)
        writer.on_room(self.flush)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Connect to the consumer."""
        self._writer.attach(loop)

    def declared(self, slot: int) -> None:
        """Begin a slot anew: its consumer has said which news it has."""
        self._declared.add(slot)
        self._unsent = [(owner, news) for owner, news in self._unsent if owner != slot]

    def add(self, slot: int, news: News) -> None:
        """Take an item of a slot; before its consumer has declared the slot it is dropped, as the desk keeps it."""
        if slot in self._declared:
            self._unsent.append((slot, news))

    def add_account(self, news: AccountNews) -> None:
        """Take the account's figures; they replace unsent ones."""
        self._unsent = [one for one in self._unsent if not isinstance(one[1], AccountNews)]
        self._unsent.append((0, news))

    def flush(self) -> None:
        """Send what is unsent, as far as there is room."""
        if self._unsent and self._is_gone():
            self._unsent.clear()
        while self._unsent and self._writer.connected:
            some = [news for _, news in self._unsent[:_A_MESSAGE]]
            if not all(self._writer.send(frame) for frame in frames(some, encode_news)):
                break
            del self._unsent[:_A_MESSAGE]
        self._hold.hold_while(bool(self._unsent))

    def close(self) -> None:
        """Send nothing more."""
        self._hold.end()
        self._writer.close()
