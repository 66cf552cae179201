"""The loop that moves simulated time: it plays the tape into exchange and streams, then waits for the stack.

Held (the rule in a session): time moves in quanta, and the next one begins only when the session page shows
that everything sent has been handled. Free (`free_run`): time waits for no process; with a speed the clock
runs continuously, without one it jumps as fast as the machine can.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from aiohttp import web

from liualgotrader.common.clock import MILLISECOND, NEVER, SECOND, Clock, clock_text, grid_after, grid_at_or_after
from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.common.fault_script import ScriptedFault, nanoseconds
from liualgotrader.common.ports import Tape
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.common.tlog import say
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import OrderRequest, OrderView, Refusal
from liualgotrader.ipc.session_page import Anchor, SessionPage
from liualgotrader.simulator.asset_codes import SymbolTable
from liualgotrader.simulator.day_history import DayRecord, EquityCurve, HistorySource
from liualgotrader.simulator.faults import Faults
from liualgotrader.simulator.market_hold import Hold
from liualgotrader.simulator.practice_feed import PracticeFeed
from liualgotrader.simulator.stream_hubs import DataHub, UpdatesHub
from liualgotrader.simulator.subscriptions import ApiKeys
from liualgotrader.tapes.columns import TapeEvent, newest_of

log = logging.getLogger(__name__)

_TICK_SECONDS = 0.002  # machine time between two looks of a clock that runs continuously
_CREDIT = 50 * MILLISECOND  # machine time that may be caught up after a delay; older delays are forgotten
_SHORTEST_SLEEP = MILLISECOND  # the loop's timers are no finer
_TURN = 2 * MILLISECOND  # machine time after which requests get a turn even if nothing was sent


@dataclass(slots=True)
class Pace:
    """An upper limit: `speed` market seconds a machine second, 0 for none."""

    clock: Clock
    speed: float
    _due: int = 0

    async def wait_for(self, market_ns: int) -> None:
        """Return when `market_ns` more of market time may have passed."""
        if self.speed <= 0:
            return
        now = self.clock.machine()
        self._due = max(self._due, now - _CREDIT) + round(market_ns / self.speed)
        if (ahead := self._due - now) >= _SHORTEST_SLEEP:
            await self.clock.sleep(ahead / SECOND)


@dataclass(slots=True)
class World:
    """What the market's loop and its routes share. `now` is the market's time, ns UTC: what has been played."""

    spec: MarketSpec
    keys: ApiKeys
    account_id: str
    clock: Clock  # for machine time only
    tape: Tape
    symbols: SymbolTable
    exchange: Exchange
    record: DayRecord
    history: HistorySource
    equity: EquityCurve
    data: DataHub
    updates: UpdatesHub
    practice: PracticeFeed
    page: SessionPage
    token: str = field(repr=False)
    token_path: Path
    now: int
    faults: Faults = field(default_factory=Faults)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    orders_taken: int = 0
    refuse_every: int = 0  # orders; 0 for none

    def submit(self, order: OrderRequest) -> OrderView:
        """Give the exchange an order of the account's, and count it."""
        if self.refuse_every and not (self.orders_taken + 1) % self.refuse_every:
            self.orders_taken += 1
            raise Refusal(403, 40310000, "the fault script refuses this order")
        view = self.exchange.submit(self.account_id, order, self.now)
        self.orders_taken += 1
        return view

    def send_updates(self) -> None:
        """Send what a request has just caused on the order stream."""
        self.updates.send(self.exchange.take_updates(), self.now)

    def strike(self, fault: ScriptedFault, *, begins: bool) -> None:
        """Begin or end a fault of the script."""
        hubs: dict[str, tuple[DataHub | UpdatesHub, ...]] = {"data": (self.data,), "updates": (self.updates,)}
        say(log, "scripted_fault", action=fault.action, begins=begins, time=clock_text(self.now))
        match fault.action:
            case "drop":
                for hub in hubs.get(fault.drop, (self.data, self.updates)):
                    hub.cut_off(down=begins)
            case "mute":
                for hub in hubs.get(fault.mute, (self.data, self.updates)):
                    hub.mute(muted=begins)
            case "answer":
                self.faults.add(f"{fault.to}_{fault.answer}", fault.count)
            case "updates":
                self.updates.order = fault.updates if begins else ""
            case "late":
                self.updates.late = nanoseconds(fault.late) if begins else 0
            case "refuse_every":
                self.refuse_every = fault.refuse_every if begins else 0


class MarketLoop:
    """Plays the tape: the only place where simulated time moves."""

    def __init__(self, world: World, hold: Hold) -> None:
        spec = world.spec
        self.ended = asyncio.Event()
        self.quanta = self.waits = self.waited = 0  # steps of time, those that waited for the stack, machine ns waited
        self.held = bool(spec.page) and not spec.free_run  # no answer may wait for time here: time waits for the stack
        self._world, self._spec, self._clock, self._hold = world, spec, world.clock, hold
        self._pace = Pace(world.clock, spec.speed)
        self._going = asyncio.Event()
        self._stop_at = NEVER
        self._stopped = asyncio.Event()
        self._events: Iterator[TapeEvent] = iter(())
        self._next: TapeEvent | None = None
        self._turned_at = 0
        self._sent_until = world.now
        if not spec.options.get("standing", False):
            self._going.set()

    # --- control

    @property
    def is_standing(self) -> bool:
        """Whether the market was stopped by a control request."""
        return not self._going.is_set()

    @property
    def waiting_for(self) -> list[str]:
        """What the market waits for at this moment."""
        if self.ended.is_set():
            return []
        return ["a request to resume"] if self.is_standing else list(self._hold.reasons if self.held else [])

    def anchor(self) -> Anchor:
        """Return the clock's three numbers as the page states them."""
        return self._world.page.anchor() or Anchor(self._world.now, self._clock.machine(), 0.0)

    def stop(self) -> None:
        """Let the market stand after the present step."""
        self._going.clear()

    def resume(self) -> None:
        """Let the market go on."""
        self._stop_at = NEVER
        self._stopped.set()
        self._going.set()

    async def run_until(self, at: int) -> None:
        """Let the market go on to `at` (or its end) and stand there; return then."""
        if at <= self._world.now or self.ended.is_set():
            return
        self._stop_at = at
        self._stopped.clear()
        self._going.set()
        await self._stopped.wait()

    # --- the loop

    async def run(self) -> None:
        """Play the tape from `starts_at`, once the processes of the page are up, to `ends_at`; then time stands."""
        if self._spec.page:
            await self._hold.until_quiet(self._world.now)
        while self._world.now < self._spec.ends_at:
            if not self._going.is_set():
                self._state_time()
                await self._going.wait()
            if self.held or not self._spec.speed:
                await self._step()
                continue
            began_at, market0 = (
                self._clock.machine(),
                self._world.now,
            )  # the clock runs at its speed until it is stopped
            self._world.page.set_anchor(market0, began_at, self._spec.speed)
            while self._going.is_set() and self._world.now < self._spec.ends_at:
                await self._clock.sleep(_TICK_SECONDS)
                passed = market0 + round(self._spec.speed * (self._clock.machine() - began_at))
                self.play(min(passed, self._spec.ends_at, self._stop_at), stated=True)
                self._hold.wake(self._world.now)
                self._stop_if_due(self._world.now)
        self._state_time()
        self.ended.set()
        self._stopped.set()

    def prepare(self) -> None:
        """Play the day up to `starts_at`: all of it into the record, the newest of each symbol into the exchange."""
        world, start = self._world, self._spec.starts_at

        def recorded() -> Iterator[TapeEvent]:
            for event in self._tape_events(0, start):
                world.record.close_minutes(event.at)
                world.record.take(event)
                yield event

        for event in newest_of(recorded()):
            world.exchange.on_event(event)
        world.record.close_minutes(start)
        world.exchange.advance(start)
        self._events = self._tape_events(start, self._spec.ends_at)
        self._next = next(self._events, None)
        self._state_time()

    def _tape_events(self, start: int, end: int) -> Iterator[TapeEvent]:
        return cast("Iterator[TapeEvent]", self._world.tape.events(start, end))  # a tape holds no bars and corrections

    async def _step(self) -> None:
        """Play up to the next instant at which anything happens, and wait until it has been handled."""
        target = self._next_instant()
        await self._pace.wait_for(target - self._world.now)
        # Where time waits for nobody, what gathers in a turn is sent together: a frame for each step took most of the time.
        gathers = not (self.held or self._world.data.is_delayed or target >= min(self._stop_at, self._spec.ends_at))
        sent = self.play(target, send=not gathers or self._clock.machine() - self._turned_at > _TURN)
        woken = self._hold.wake(target)
        self.quanta += 1
        if not self.held:
            await self._turn(sent=False)
        elif sent or woken or self._hold.under_way(target):
            began = self._clock.machine()
            # One turn of the loop takes in what clients wrote before they said that they were done.
            await self._hold.until_quiet(target)
            await self._clock.sleep(0)
            await self._hold.until_quiet(target)
            self._turned_at = self._clock.machine()
            self.waits += 1
            self.waited += self._turned_at - began
        else:
            await self._turn(sent=False)
        self._stop_if_due(target)

    async def _turn(self, *, sent: bool) -> None:
        """Give requests and connections a turn."""
        now = self._clock.machine()
        if sent or now - self._turned_at > _TURN:
            self._turned_at = now
            await self._clock.sleep(0)

    def _stop_if_due(self, at: int) -> None:
        if at >= self._stop_at:
            self._stop_at = NEVER
            self._going.clear()
            self._stopped.set()

    def _next_instant(self) -> int:
        """Return the next boundary at which there is something to do; with a speed limit, the next boundary."""
        quantum, end = self._spec.quantum, min(self._spec.ends_at, self._stop_at)
        soonest = grid_after(self._world.now, quantum)
        if self._spec.speed:
            return min(soonest, end)
        found = end
        if self._next is not None:
            found = min(found, grid_after(self._next.at, quantum))
        wants_bars = self._world.data.wants("bars") or self._world.data.wants("dailyBars")
        bars_due_at = self._world.record.bars_due_at if wants_bars else NEVER
        of_faults = (self._world.faults.due_at, self._world.updates.due_at)
        for at in (
            self._world.exchange.next_wakeup(),
            self._hold.next_deadline(),
            bars_due_at,
            self._world.data.seconds_due_at,
            *of_faults,
        ):
            if at < NEVER:
                found = min(found, grid_at_or_after(at, quantum))
        return min(max(found, soonest), end)

    def play(self, target: int, *, stated: bool = False, send: bool = True) -> bool:
        """Play everything before `target`, state the new time, send what came of it; return whether anything was sent.

        `stated` says that the page's clock runs by itself; without `send` what came of it waits for the next time.
        """
        world = self._world
        while world.faults.due_at <= target:
            self._play_events(world.faults.due_at)
            fault, begins = world.faults.take_due()
            world.strike(fault, begins=begins)
        self._play_events(target)
        if target >= world.equity.due_at:
            world.equity.add(target, world.exchange.account(world.account_id).equity)
        if not stated:
            self._state_time()
        if not send:
            return False
        sent = world.data.flush(target) | world.practice.play(self._sent_until, target)
        self._sent_until = target
        return world.updates.send(world.exchange.take_updates(), target) or sent

    def _play_events(self, target: int) -> None:
        world = self._world
        exchange, record, data = world.exchange, world.record, world.data
        event = self._next
        while event is not None and event.at < target:
            if event.at >= data.seconds_due_at:
                data.close_second(record.second_bars)
            if event.at >= record.bars_due_at:
                self._close_minutes(event.at)
            exchange.on_event(event)
            if isinstance(event, Quote):
                record.quote(event)
                data.quote(event)
            elif isinstance(event, TradeTick):
                data.trade(event, record.trade(event))
            else:
                record.events += 1
                data.status(event)
            event = next(self._events, None)
        self._next = event
        exchange.advance(target)
        world.now = target
        if target >= data.seconds_due_at:
            data.close_second(record.second_bars)
        self._close_minutes(target)

    def _close_minutes(self, at: int) -> None:
        record, data = self._world.record, self._world.data
        for bar in record.close_minutes(at):
            data.minute_bar(bar)
            if data.wants("dailyBars") and (day := record.day_bar(bar.symbol)) is not None:
                data.daily_bar(day)

    def _state_time(self) -> None:
        self._world.page.set_anchor(self._world.now, self._clock.machine(), 0.0)


WORLD: web.AppKey[World] = web.AppKey("world")
MARKET: web.AppKey[MarketLoop] = web.AppKey("market")
