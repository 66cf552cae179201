"""The loop that owns simulated time: tape in, exchange and streams out, and then it waits for the stack.

Held (the rule in a session): time moves in quanta, and the next one begins only when the session page shows
that everything that was sent has been handled. Free (`free_run`): nobody is waited for; with a speed the
clock runs continuously, without one it jumps as fast as the machine can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

from liualgotrader.common.clock import MILLISECOND, NEVER, Clock
from liualgotrader.common.events import Counts, Quote, Status, TradeTick
from liualgotrader.common.ports import Tape
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.ipc.session_page import Anchor, SessionPage
from liualgotrader.simulator.data_hub import DataHub
from liualgotrader.simulator.day_history import DayRecord
from liualgotrader.simulator.equity import EquityCurve
from liualgotrader.simulator.market_hold import Hold
from liualgotrader.simulator.pace import Pace, grid_after, grid_at_or_after
from liualgotrader.simulator.updates_hub import UpdatesHub

_LAST = int(Counts.LAST)
_TICK_SECONDS = 0.002  # machine time between two looks of a clock that runs continuously
_TURN = 2 * MILLISECOND  # machine time after which requests get a turn even if nothing was sent

TapeEvent = TradeTick | Quote | Status


class MarketLoop:
    """Simulated time. `now` is what has been played; nothing later is known to anybody."""

    def __init__(
        self,
        spec: MarketSpec,
        *,
        tape: Tape,
        exchange: Exchange,
        account_id: str,
        record: DayRecord,
        equity: EquityCurve,
        data: DataHub,
        updates: UpdatesHub,
        page: SessionPage,
        hold: Hold,
        clock: Clock,
    ) -> None:
        self.now = spec.starts_at
        self.ended = asyncio.Event()
        self.quanta = self.waits = self.waited = 0  # steps of time, those that waited for the stack, machine ns waited
        self._spec = spec
        self._tape, self._exchange, self._account_id = tape, exchange, account_id
        self._record, self._equity, self._data, self._updates = record, equity, data, updates
        self._page, self._hold, self._clock = page, hold, clock
        self._held = bool(spec.page) and not spec.free_run
        self._pace = Pace(clock, spec.speed)
        self._going = asyncio.Event()
        self._stop_at = NEVER
        self._stopped = asyncio.Event()
        self._events: Iterator[TapeEvent] = iter(())
        self._next: TapeEvent | None = None
        self._turned_at = 0
        if not spec.options.get("standing", False):
            self._going.set()

    # --- what others may ask and tell

    @property
    def is_standing(self) -> bool:
        """Whether somebody has stopped the market."""
        return not self._going.is_set()

    @property
    def waiting_for(self) -> list[str]:
        """What the market waits for at this moment, in words."""
        if self.ended.is_set():
            return []
        return ["somebody to resume it"] if self.is_standing else list(self._hold.reasons if self._held else [])

    @property
    def waits_for_requests(self) -> bool:
        """Whether time stands while a process of the session waits for an answer, so an answer must not wait for time."""
        return self._held

    def anchor(self) -> Anchor:
        """Return the clock's three numbers as the page states them."""
        return self._page.anchor() or Anchor(self.now, self._clock.machine(), 0.0)

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
        if at <= self.now or self.ended.is_set():
            return
        self._stop_at = at
        self._stopped.clear()
        self._going.set()
        await self._stopped.wait()

    # --- the loop

    async def run(self) -> None:
        """Play the tape from `starts_at`, once the processes of the page are up, to `ends_at`; then time stands."""
        if self._spec.page:
            await self._hold.until_quiet(self.now)
        while self.now < self._spec.ends_at:
            if not self._going.is_set():
                self._state(0.0)
                await self._going.wait()
            if self._held or not self._spec.speed:
                await self._step()
            else:
                await self._run_continuously()
        self._state(0.0)
        self.ended.set()
        self._stopped.set()

    def prepare(self) -> None:
        """Take in the day up to `starts_at`: all of it into the record, the newest of each symbol into the exchange."""
        spec = self._spec
        newest: dict[tuple[type[TapeEvent], str], TapeEvent] = {}
        for event in self._tape_events(0, spec.starts_at):
            self._record.close_minutes(event.at)
            self._record.take(event)
            if not isinstance(event, TradeTick) or event.flags & _LAST:  # an odd lot makes no price
                newest[type(event), event.symbol] = event
        for event in sorted(newest.values(), key=lambda e: e.at):
            self._exchange.on_event(event)
        self._record.close_minutes(spec.starts_at)
        self._exchange.advance(spec.starts_at)
        self._events = self._tape_events(spec.starts_at, spec.ends_at)
        self._next = next(self._events, None)
        self._state(0.0)

    def _tape_events(self, start: int, end: int) -> Iterator[TapeEvent]:
        return cast("Iterator[TapeEvent]", self._tape.events(start, end))  # a tape holds no bars and corrections

    async def _step(self) -> None:
        """Play up to the next instant at which anything happens, and wait until it has been dealt with."""
        target = self._next_instant()
        await self._pace.wait_for(target - self.now)
        sent = self.play(target)
        woken = self._hold.wake(target)
        self.quanta += 1
        if not self._held:
            await self._turn(sent=sent)
        elif sent or woken or self._hold.under_way(target):
            await self._wait_for_the_stack(target)
        else:
            await self._turn(sent=False)
        self._stand_if_told(target)

    async def _wait_for_the_stack(self, target: int) -> None:
        began = self._clock.machine()
        # One turn of the loop takes in what clients wrote before they said that they were done.
        await self._hold.until_quiet(target)
        await self._clock.sleep(0)
        await self._hold.until_quiet(target)
        self._turned_at = self._clock.machine()
        self.waits += 1
        self.waited += self._turned_at - began

    async def _turn(self, *, sent: bool) -> None:
        """Give requests and connections a turn."""
        now = self._clock.machine()
        if sent or now - self._turned_at > _TURN:
            self._turned_at = now
            await self._clock.sleep(0)

    def _stand_if_told(self, at: int) -> None:
        if at >= self._stop_at:
            self._stop_at = NEVER
            self._going.clear()
            self._stopped.set()

    def _next_instant(self) -> int:
        """Return the next boundary at which there is something to do; with a speed limit, the next boundary."""
        quantum, end = self._spec.quantum, min(self._spec.ends_at, self._stop_at)
        soonest = grid_after(self.now, quantum)
        if self._spec.speed:
            return min(soonest, end)
        found = end
        if self._next is not None:
            found = min(found, grid_after(self._next.at, quantum))
        for at in (self._exchange.next_wakeup(), self._hold.next_deadline(), self._bars_due_at()):
            if at < NEVER:
                found = min(found, grid_at_or_after(at, quantum))
        return min(max(found, soonest), end)

    def _bars_due_at(self) -> int:
        wanted = self._data.wants("bars") or self._data.wants("dailyBars")
        return self._record.bars_due_at if wanted else NEVER

    async def _run_continuously(self) -> None:
        """Let the clock run at its speed and play what it has passed, until somebody stops it or the end."""
        began_at, market0 = self._clock.machine(), self.now
        self._page.set_anchor(market0, began_at, self._spec.speed)
        while self._going.is_set() and self.now < self._spec.ends_at:
            await self._clock.sleep(_TICK_SECONDS)
            passed = market0 + round(self._spec.speed * (self._clock.machine() - began_at))
            self.play(min(passed, self._spec.ends_at, self._stop_at), stated=True)
            self._hold.wake(self.now)
            self._stand_if_told(self.now)

    def play(self, target: int, *, stated: bool = False) -> bool:
        """Play everything before `target`, state the new time, send what came of it; return whether anything was sent.

        `stated` says that the page's clock runs by itself.
        """
        exchange, record, data = self._exchange, self._record, self._data
        event = self._next
        while event is not None and event.at < target:
            if event.at >= record.bars_due_at:
                self._close_minutes(event.at)
            exchange.on_event(event)
            if isinstance(event, Quote):
                record.quote(event)
                data.quote(event)
            elif isinstance(event, TradeTick):
                data.trade(event, record.trade(event))
            else:
                record.status(event)
                data.status(event)
            event = next(self._events, None)
        self._next = event
        exchange.advance(target)
        self.now = target
        self._close_minutes(target)
        if target >= self._equity.due_at:
            self._equity.note(target, exchange.account(self._account_id).equity)
        if not stated:
            self._state(0.0)
        sent = data.flush()
        return self._updates.send(exchange.take_updates()) or sent

    def _close_minutes(self, at: int) -> None:
        for bar in self._record.close_minutes(at):
            self._data.minute_bar(bar)
            if self._data.wants("dailyBars") and (day := self._record.day_bar(bar.symbol)) is not None:
                self._data.daily_bar(day)

    def _state(self, speed: float) -> None:
        self._page.set_anchor(self.now, self._clock.machine(), speed)
