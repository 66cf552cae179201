"""What every process of a session does alike: read the plan, sit down at the page, follow the supervisor."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import select
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.clock import Clock, block
from liualgotrader.common.control import Counters, Failed, FromChild, Notice, Ready, SlotEnded, Stop, ToChild
from liualgotrader.common.errors import LiuError
from liualgotrader.common.session_plan import SessionPlan, read_plan
from liualgotrader.common.tlog import log_to_file, say
from liualgotrader.ipc.links import LinkReader, LinkWriter, Reader, Writer
from liualgotrader.ipc.market_clock import PageClock, clock_for
from liualgotrader.ipc.process_signals import leave_to_the_supervisor
from liualgotrader.ipc.process_status import ProcessStatus
from liualgotrader.ipc.queue_link import QueueReader, QueueWriter
from liualgotrader.ipc.session_page import SessionPage

log = logging.getLogger(__name__)

SUPERVISOR_GONE = "the supervisor is gone"
_COUNTERS_SECONDS = 1.0
_ORPHAN_SECONDS = 4.5  # machine time that a child may use to end in order after its supervisor died

Queues = Mapping[str, "Queue[bytes]"]


class Child:
    """One process of a session, as its own code sees it.

    `stopping` is set when the supervisor says so or dies; `stop_order` then holds what it said.
    """

    def __init__(
        self, name: str, plan: SessionPlan, control: Connection, page: SessionPage, queues: Queues | None = None
    ) -> None:
        self.name = name
        self.plan = plan
        self.page = page
        self.status = ProcessStatus(page, name)
        self.clock: Clock = clock_for(page, self.status, simulated=plan.simulated_clock)
        self.stopping = asyncio.Event()
        self.stop_order: Stop | None = None
        self.orphaned = False
        self._control = control
        self._queues = queues or {}
        self._orders: Callable[[ToChild], None] | None = None
        self._counters: Callable[[], Mapping[str, float]] | None = None

    def reader(self, link: str) -> Reader:
        """Return the receiving end of a link, of the kind that the plan says."""
        if self.plan.link == "queue":
            return QueueReader(self._queues[link], self.page, link, self.status.done)
        return LinkReader(self.plan.link_path(link), self.page, link, self.status.done)

    def writer(self, link: str) -> Writer:
        """Return the sending end of a link, of the kind that the plan says."""
        if self.plan.link == "queue":
            return QueueWriter(self._queues[link], self.page, link)
        return LinkWriter(self.plan.link_path(link), self.page, link)

    def tell(self, message: FromChild) -> None:
        """Say something to the supervisor; silently nothing if it is gone or has not listened for minutes."""
        with suppress(OSError):
            if _has_room(self._control.fileno()):
                self._control.send_bytes(_encoded(message))

    def ready(self) -> None:
        """State on the page and to the supervisor that this process takes part from now on."""
        self.status.ready()
        self.tell(Ready())
        say(log, "process_ready", process=self.name)

    def notice(self, level: str, text: str) -> None:
        """Say something a person should read."""
        self.tell(Notice(level, text))

    def slot_ended(self, slot: int, reason: str) -> None:
        """State that a strategy slot is not called any more."""
        self.tell(SlotEnded(slot, reason))

    def on_order(self, act: Callable[[ToChild], None]) -> None:
        """Call `act` for every message of the supervisor but `Stop`, which is dealt with here."""
        self._orders = act

    def report(self, counters: Callable[[], Mapping[str, float]]) -> None:
        """Send what `counters` returns to the supervisor about once a machine second."""
        self._counters = counters

    def listen(self) -> None:
        """Begin to follow the supervisor; needs a running loop."""
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._hear)
        os.set_blocking(self._control.fileno(), True)  # uvloop unsets it, and a half-read message would be lost
        self._turn()

    def _turn(self) -> None:
        self.status.beat()
        if self._counters is not None:
            self.tell(Counters(dict(self._counters())))
        asyncio.get_running_loop().call_later(_COUNTERS_SECONDS, self._turn)

    def _hear(self) -> None:
        try:
            message = msgspec.msgpack.decode(self._control.recv_bytes(), type=ToChild)
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self.orphaned = True
            self._stop(Stop(SUPERVISOR_GONE))
            return
        if isinstance(message, Stop):
            self._stop(message)
        elif self._orders is not None:
            self._orders(message)

    def _stop(self, order: Stop) -> None:
        self.stop_order = self.stop_order or order
        self.stopping.set()


Body = Callable[[Child], Coroutine[Any, Any, None]]


def run_child(name: str, run_dir: str, control: Connection, body: Body, queues: Queues | None = None) -> None:
    """Run `body` as the process `name` of the session in `run_dir`, and exit.

    Exit status 0 after `body` returned; the error's own after a LiuError (said to the supervisor in one
    sentence); 1 with a whole traceback for a bug, also for one in a callback or a task of the loop.
    Ctrl-C, SIGTERM and a closed terminal are the supervisor's to handle; a child ends when that says so, and a few
    seconds after it died, whatever the child does.
    """
    leave_to_the_supervisor()
    threading.Thread(target=_end_with_parent, daemon=True, name="orphan").start()
    plan = read_plan(Path(run_dir))
    log_to_file(Path(plan.log_dir), name, debug=plan.debug)
    page = SessionPage(plan.page_path)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        status = runner.run(_live(Child(name, plan, control, page, queues), body))
    logging.shutdown()
    sys.exit(status)


async def _live(child: Child, body: Body) -> int:
    child.status.arrive()
    child.listen()
    try:
        await _until_done_or_broken(body(child))
    except LiuError as error:
        log.error("%s: %s", child.name, error)
        child.tell(Failed(str(error), error.exit_code))
        return error.exit_code
    except Exception:
        log.exception("%s ended by a bug", child.name)
        raise
    finally:
        if isinstance(child.clock, PageClock):
            child.clock.close()
    child.status.leave()
    return 0


async def _until_done_or_broken(body: Coroutine[Any, Any, None]) -> None:
    """Run `body`; raise what it raises, or what a callback or another task of the loop raised meanwhile."""
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()

    def broke(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        outside = isinstance(error, OSError) or "transport" in context  # a library's connection, not our code
        if isinstance(error, Exception) and not outside and not broken.done():
            broken.set_exception(error)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(broke)
    main = asyncio.ensure_future(body)
    try:
        await asyncio.wait({main, broken}, return_when=asyncio.FIRST_COMPLETED)
        await (broken if broken.done() else main)
    finally:
        loop.set_exception_handler(None)
        broken.cancel()


def _end_with_parent() -> None:
    """End this process at the latest a few seconds after the one that started it, even if its loop is stuck."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        block(_ORPHAN_SECONDS)
        os._exit(1)


def _encoded(message: FromChild) -> bytes:
    """Return a message as bytes; a lone surrogate in a text (a user's error, a picked symbol) becomes a question mark."""
    try:
        return msgspec.msgpack.encode(message)
    except UnicodeEncodeError:
        return msgspec.msgpack.encode(_sendable(msgspec.to_builtins(message)))


def _sendable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_sendable(key): _sendable(one) for key, one in value.items()}
    return [_sendable(one) for one in value] if isinstance(value, list) else value


def _has_room(descriptor: int) -> bool:
    """Say whether a short message can be sent at once (a socket says so while most of its buffer is free)."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
