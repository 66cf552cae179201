"""The processes of one session: started in order, watched, restarted and stopped in order, and their links."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import msgspec

from liualgotrader.common.clock import WallClock, machine_now
from liualgotrader.common.control import (
    Counters,
    DeskFacts,
    Failed,
    Notice,
    OperatorRequest,
    Ready,
    RequestAnswer,
    RestartOther,
    SlotEnded,
    StartSlotsCommand,
    StopCommand,
    StopSlotCommand,
)
from liualgotrader.common.errors import OutsideError
from liualgotrader.common.session_plan import SessionPlan, SlotPlan, write_plan
from liualgotrader.common.tlog import say, warn
from liualgotrader.ipc.queue_link import new_queue
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from liualgotrader.scanners_runner.scanner_marks import ScannerMarks
from liualgotrader.supervisor.managed_process import (
    CONTROL,
    ManagedProcess,
    StuckCall,
    back_off,
    death_text,
    finding,
    look,
)

log = logging.getLogger(__name__)

STOP_SECONDS = 20.0  # machine time that a process may use to end in order
GATEWAY_STOP_SECONDS = 30.0  # it may have to flatten, to wait for cancels, and to write its last rows
_SECOND_LOOK = 0.1
_DUMP_SECONDS = 0.3  # until a dumped stack has reached its file
_JOIN_SECONDS = 5.0  # machine time until a process is told again of a strategy that joins
NO_ANSWER = "no answer"

PROGRAMS: Mapping[str, str] = {
    "order_gateway": "liualgotrader.order_gateway.main",
    "producer": "liualgotrader.producer.main",
    "consumer": "liualgotrader.consumer.main",
    "scanners_runner": "liualgotrader.scanners_runner.main",
    "simulator": "liualgotrader.simulator.main",
}
_STOP_ORDER = ("scanners_runner", "producer", "consumer", "order_gateway")


class Owner(Protocol):
    """What the stack reports to."""

    def give_up(self, sentence: str, exit_code: int) -> None:
        """End the session; restarting would not help."""

    def slot_stopped(self, slot: int, reason: str) -> None:
        """Write down that a slot is not called any more."""

    def notice(self, level: str, text: str) -> None:
        """Show a person a line."""


class Stack:
    """The processes of the plan but the simulated market; `plan` follows what happens to the slots."""

    def __init__(
        self,
        plan: SessionPlan,
        page: SessionPage,
        owner: Owner,
        wanted: Sequence[str],
        programs: Mapping[str, str] = PROGRAMS,
    ) -> None:
        self.plan = plan
        self._page = page
        self._owner = owner
        self._clock = WallClock()
        self._whole: asyncio.Task[None] | None = None  # all processes being started again together
        self._tickets = count(1)
        self._answers: dict[int, asyncio.Future[RequestAnswer]] = {}
        self._unwritten = False  # the plan's file does not say yet which slots are stopped: the disk had no room
        self.stopping = self.started = False
        self.workers: dict[str, ManagedProcess] = {}
        for name in wanted:
            kind, _, index = name.partition("-")
            arguments = (plan.run_dir, CONTROL, *([int(index)] if index else []))
            output = Path(plan.log_dir) / f"{name}.out"
            page.put(page.process(name), Cell.LIFE, Life.DOWN)
            self.workers[name] = ManagedProcess(name, programs[kind], arguments, output, self._hear, self._died)

    def start(self) -> None:
        """Start all processes in order."""
        # A reader killed inside `get` dies holding the queue's lock, and a fresh queue cannot be handed to a running
        # process: whoever dies, all are started again, with fresh queues.
        names = self.plan.link_names() if self.plan.link == "queue" else ()
        queues = {name: new_queue(self._page, name) for name in names}
        for worker in self.workers.values():
            theirs = {link: queue for link, queue in queues.items() if worker.name in _ends(link)}
            worker.keywords = {"queues": theirs} if queues else {}
        for worker in self.workers.values():
            worker.start()
        self.started = True

    def send(self, name: str, message: Any) -> bool:
        """Send a message to one process; False if it is not there."""
        worker = self.workers.get(name)
        return worker is not None and worker.send(message)

    async def join(self, slots: Sequence[SlotPlan], table: dict[str, Any]) -> None:
        """Have a strategy join the session: in the plan, at the gateway, in its consumers, and at the producer, in this order.

        Each is told until it has answered; one that starts again finds the slots in the plan's file.
        """
        self.plan = self.plan.joined_by(slots, table)
        self._write_plan()
        homes = dict.fromkeys(f"consumer-{slot.consumer}" for slot in slots)
        for name in ("order_gateway", *homes, "producer") if self.started else ():
            answer = None
            while answer is None and not self.stopping:
                try:
                    answer = await self.ask(name, StartSlotsCommand(tuple(slots), table), _JOIN_SECONDS)
                except OutsideError:
                    await self._clock.sleep(_SECOND_LOOK)

    async def ask(
        self, name: str, request: OperatorRequest | StartSlotsCommand, seconds: float
    ) -> RequestAnswer | None:
        """Send a request to a process and return its answer, None if it gives none in `seconds` of machine time.

        Raises:
            OutsideError: if the process is not there.
        """
        ticket = next(self._tickets)
        answer: asyncio.Future[RequestAnswer] = asyncio.get_running_loop().create_future()
        self._answers[ticket] = answer
        try:
            if not self.send(name, msgspec.structs.replace(request, ticket=ticket)):
                raise OutsideError(f"{name} is not available right now; try again")
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._answers[ticket]

    async def stop(self, reason: str, *, flatten: bool = False) -> bool:
        """Stop all processes in order; return whether each one ended by itself and without error."""
        self.stopping = True
        if self._whole is not None:
            await self._whole
        orderly = True
        for kind in _STOP_ORDER:
            group = [w for w in self.workers.values() if _kind(w.name) == kind]
            done = await asyncio.gather(*(self._stop(w, reason, flatten=flatten) for w in group))
            orderly = orderly and all(done)
        return orderly

    async def run_once(self, name: str, reason: str, *, flatten: bool = False) -> None:
        """Start a process again and stop it as soon as it is ready, so that it finishes what another left."""
        worker = self.workers[name]
        worker.start()
        for _ in range(round(STOP_SECONDS / _SECOND_LOOK)):
            if worker.state == "ready" or not worker.alive:
                break
            await self._clock.sleep(_SECOND_LOOK)
        await self._stop(worker, reason, flatten=flatten)

    def kill(self) -> None:
        """End all processes at once."""
        self.stopping = True
        for worker in self.workers.values():
            worker.kill()

    async def watch(self) -> None:
        """Look once at every process, and deal with those that are alive but not well."""
        if self._unwritten:
            self._write_plan()
        first = [look(self._page, worker) for worker in self.workers.values() if worker.alive]
        await self._clock.sleep(_SECOND_LOOK)
        limit = self.plan.timings.strategy_answer_seconds
        for seen in first:
            worker = self.workers[seen.name]
            if self.stopping or worker.pid != seen.pid:
                continue
            found = finding(look(self._page, worker), seen, machine_now(), limit)
            if found is None:
                continue
            worker.dump()
            await self._clock.sleep(_DUMP_SECONDS)
            if worker.pid != seen.pid:
                continue
            if isinstance(found, StuckCall):
                strategy = next((s.strategy for s in self.plan.slots if s.slot == found.slot), f"slot {found.slot}")
                self._owner.notice(
                    "WARNING",
                    f"strategy {strategy} did not answer for {found.seconds:.1f} s when called for"
                    f" {found.symbol or 'all'}; its stack trace is in {worker.output}",
                )
                self.stop_slot(found.slot, NO_ANSWER)
                worker.excused = True  # it runs without that strategy from now on
            else:
                silence = f"{worker.name} was silent for {found.seconds:.0f} s and is started again"
                self._owner.notice("WARNING", silence)
            worker.kill()

    def stop_slot(self, slot: int, reason: str, *, told_by: str = "") -> None:
        """Stop a slot for good: in the plan, at the gateway and its consumer, and in the record."""
        if any(s.slot == slot and s.stopped for s in self.plan.slots):
            return
        slots = tuple(msgspec.structs.replace(s, stopped=reason) if s.slot == slot else s for s in self.plan.slots)
        self.plan = msgspec.structs.replace(self.plan, slots=slots)
        self._write_plan()
        for name in ("order_gateway", *(f"consumer-{s.consumer}" for s in slots if s.slot == slot)):
            if name != told_by:
                self.send(name, StopSlotCommand(slot, reason))
        self._owner.slot_stopped(slot, reason)

    # --- inside ------------------------------------------------------------------------------------

    def _write_plan(self) -> None:
        """Write down which slots are stopped, for processes that start again; on a full disk try again later."""
        try:
            write_plan(self.plan)
        except OSError as error:
            if not self._unwritten:
                warn(log, "plan_not_written", error=error)
            self._unwritten = True
        else:
            self._unwritten = False

    async def _stop(self, worker: ManagedProcess, reason: str, *, flatten: bool) -> bool:
        worker.stopping = True
        if not worker.alive:
            return worker.exit_code == 0  # else it had died and was about to be started again
        worker.state = "stopping"
        worker.send(StopCommand(reason, flatten))
        try:
            async with asyncio.timeout(GATEWAY_STOP_SECONDS if worker.name == "order_gateway" else STOP_SECONDS):
                await worker.ended.wait()
        except TimeoutError:
            warn(log, "process_killed_at_stop", process=worker.name)
            worker.dump()
            await self._clock.sleep(_DUMP_SECONDS)
            worker.kill()
            await worker.ended.wait()
            return False
        return worker.exit_code == 0

    def _hear(self, worker: ManagedProcess, message: Any) -> None:
        match message:
            case Ready():
                worker.state = "ready"
                say(log, "process_ready", process=worker.name, pid=worker.pid)
                for slot in self.plan.slots if self._unwritten else ():  # it may have read an old plan
                    if slot.stopped and worker.name in ("order_gateway", f"consumer-{slot.consumer}"):
                        worker.send(StopSlotCommand(slot.slot, slot.stopped))
            case Counters(values):
                worker.counters = values
            case DeskFacts(facts):
                worker.facts.update(facts)
            case SlotEnded(slot, reason):
                self.stop_slot(slot, reason, told_by=worker.name)
            case Notice(level, text):
                self._owner.notice(level, text)
            case RequestAnswer(ticket):
                if (waiting := self._answers.get(ticket)) is not None and not waiting.done():
                    waiting.set_result(message)
            case RestartOther(name):
                self.workers[name].kill()
            case Failed():
                worker.failed = message

    def _died(self, worker: ManagedProcess, code: int) -> None:
        row = self._page.process(worker.name)
        if worker.stopping or self.stopping:
            self._page.put(row, Cell.LIFE, Life.FINISHED)  # it is not restarted: the market need not wait
            for name in self._page.links:  # or the market would wait until it has read what it was sent
                if _ends(name)[1] == worker.name:
                    link = self._page.link(name)
                    self._page.set_handled(link, self._page.sent(link))
            if code:
                worker.deaths.append(machine_now())
            return
        self._page.put(row, Cell.LIFE, Life.DOWN)
        if self._whole is not None and worker.failed is None:
            return
        if worker.failed is not None:
            self._owner.give_up(worker.failed.text, worker.failed.exit_code)
            return
        self._blame(worker, code)
        what = f"{worker.name} {death_text(code)}"
        if worker.excused:
            worker.excused = False
            who = "scanner" if worker.name == "scanners_runner" else "strategy"
            what = f"{worker.name} was ended because of that {who}"
        else:
            worker.deaths.append(machine_now())
        wait = back_off(worker.deaths, machine_now())
        if wait is None:
            self._owner.give_up(f"{what}, again and again within a minute; see {worker.output}", 3)
            return
        together = self.plan.link == "queue"
        who = "all processes are" if together else "it is"
        self._owner.notice("WARNING", f"{what}; {who} started again" + (f" in {wait:g} s" if wait else ""))
        if together:
            self._whole = asyncio.ensure_future(self._start_all_again(wait))
        else:

            def start_again() -> None:
                if not self.stopping:
                    worker.start()

            asyncio.get_running_loop().call_later(wait, start_again)

    def _blame(self, worker: ManagedProcess, code: int) -> None:
        """Stop the strategy or scanner that ended its own process: a crash in a library, `os._exit`.

        SIGKILL and SIGTERM come from a person.
        """
        row = self._page.process(worker.name)
        since, slot = self._page.get(row, Cell.CALL_SINCE), self._page.get(row, Cell.CALL_SLOT)
        self._page.put(row, Cell.CALL_SINCE, 0)
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            return
        if since and _kind(worker.name) == "consumer":
            self.stop_slot(slot, f"its process {death_text(code)} during a call")
            worker.excused = True
        if worker.name != "scanners_runner":
            return
        anchor = self._page.anchor() if self.plan.simulated_clock else None
        at = anchor.market(machine_now()) if anchor else self._clock.now()
        marks, reason = ScannerMarks(Path(self.plan.run_dir)), f"its process {death_text(code)} while it ran"
        if name := marks.blame(at, reason):
            self._owner.notice("WARNING", f"scanner {name} will not run again this session: {reason}")
            worker.excused = True
        elif marks.suspects:
            together = ", ".join(marks.suspects)
            self._owner.notice(
                "WARNING", f"one of the scanners {together} ended their process: they run one by one now"
            )

    async def _start_all_again(self, wait: float) -> None:
        for worker in self.workers.values():
            if worker.alive:
                worker.kill()
                await worker.ended.wait()
        await self._clock.sleep(wait)
        self._whole = None
        if not self.stopping:
            self.start()


def _ends(link: str) -> tuple[str, str]:
    """Return who writes to a link and who reads it."""
    kind, _, index = link.partition("-")
    return {
        "picks": ("scanners_runner", "producer"),
        "market": ("producer", f"consumer-{index}"),
        "intents": (f"consumer-{index}", "order_gateway"),
        "news": ("order_gateway", f"consumer-{index}"),
        "needs": (f"consumer-{index}", "producer"),
    }[kind]


def _kind(name: str) -> str:
    return name.partition("-")[0]
