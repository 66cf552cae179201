"""What all processes of a session have in common: they read the plan, follow the supervisor and end in order.

A process group gets its signals as a whole: Ctrl-C, a closed terminal, a service that is stopped. Only the supervisor
acts on them and ends its processes over their control links. A process that took such a signal for itself would be gone
before its strategies' orders are cancelled and the last rows are written.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.clock import Clock, WallClock, block
from liualgotrader.common.control import Counters, Failed, Notice, ProcessReport, Ready, StopCommand, SupervisorCommand
from liualgotrader.common.environment import warn_once_a_file
from liualgotrader.common.errors import LiuError
from liualgotrader.common.session_plan import SessionPlan, read_plan
from liualgotrader.common.tlog import log_to_file, say
from liualgotrader.ipc.links import LinkReader, LinkWriter, Reader, Writer
from liualgotrader.ipc.process_status import PageClock, ProcessStatus
from liualgotrader.ipc.queue_link import QueueReader, QueueWriter
from liualgotrader.ipc.session_page import SessionPage

log = logging.getLogger(__name__)

_COUNTERS_SECONDS = 1.0
_ORPHAN_SECONDS = 4.5  # machine time in which a child ends in order after its supervisor died
_GROUP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

Queues = Mapping[str, "Queue[bytes]"]


class Child:
    """One process of a session, as its own code sees it.

    `stopping` is set when the supervisor says stop or dies; `stop_command` is then what it said.
    """

    def __init__(
        self, name: str, plan: SessionPlan, control: Connection, page: SessionPage, queues: Queues | None = None
    ) -> None:
        self.name = name
        self.plan = plan
        self.page = page
        self.status = ProcessStatus(page, name)
        self.clock: Clock = PageClock(page, self.status) if plan.simulated_clock else WallClock()
        self.stopping = asyncio.Event()
        self.stop_command: StopCommand | None = None
        self.orphaned = False
        self._control = control
        self._queues = queues or {}
        self._on_command: Callable[[SupervisorCommand], None] | None = None
        self._counters: Callable[[], Mapping[str, float]] | None = None

    def reader(self, link: str) -> Reader:
        """Return the receiving end of a link, of the plan's kind."""
        if self.plan.link == "queue":
            return QueueReader(self._queues[link], self.page, link, self.status.done)
        return LinkReader(self.plan.link_path(link), self.page, link, self.status.done)

    def writer(self, link: str) -> Writer:
        """Return the sending end of a link, of the plan's kind."""
        if self.plan.link == "queue":
            return QueueWriter(self._queues[link], self.page, link)
        return LinkWriter(self.plan.link_path(link), self.page, link)

    def send(self, message: ProcessReport) -> None:
        """Send a message to the supervisor; drop it if the supervisor is gone or has not read for minutes."""
        try:
            payload = msgspec.msgpack.encode(message)
        except UnicodeEncodeError:  # a lone surrogate in a user's error or a picked symbol
            payload = msgspec.msgpack.encode(_without_surrogates(msgspec.to_builtins(message)))
        with suppress(OSError):
            if has_room(self._control.fileno()):
                self._control.send_bytes(payload)

    def notice(self, level: str, text: str) -> None:
        """Send a sentence that a person should read."""
        self.send(Notice(level, text))

    def ready(self) -> None:
        """State on the page and to the supervisor that this process takes part from now on."""
        self.status.ready()
        self.send(Ready())
        say(log, "process_ready", process=self.name)

    def on_command(self, act: Callable[[SupervisorCommand], None]) -> None:
        """Call `act` for every command of the supervisor but `StopCommand`."""
        self._on_command = act

    def report(self, counters: Callable[[], Mapping[str, float]]) -> None:
        """Send what `counters` returns to the supervisor about once a machine second."""
        self._counters = counters

    def listen(self) -> None:
        """Begin to follow the supervisor; needs a running loop."""
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._receive)
        os.set_blocking(self._control.fileno(), True)  # uvloop unsets it, and a half-read message would be lost
        self._beat()

    def _beat(self) -> None:
        self.status.beat()
        if self._counters is not None:
            self.send(Counters(dict(self._counters())))
        asyncio.get_running_loop().call_later(_COUNTERS_SECONDS, self._beat)

    def _receive(self) -> None:
        try:
            message = msgspec.msgpack.decode(self._control.recv_bytes(), type=SupervisorCommand)
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self.orphaned = True
            message = StopCommand("the supervisor is gone")
        if isinstance(message, StopCommand):
            self.stop_command = self.stop_command or message
            self.stopping.set()
        elif self._on_command is not None:
            self._on_command(message)


Body = Callable[[Child], Coroutine[Any, Any, None]]


def run_child(name: str, run_dir: str, control: Connection, body: Body, queues: Queues | None = None) -> None:
    """Run `body` as the process `name` of the session in `run_dir`, and exit.

    Exit status 0 after `body` returned; the error's own after a LiuError, which the supervisor gets as a sentence; 1
    with a traceback for a bug, also for one in a callback or a task of the loop. The process ends when the supervisor
    says so, and a few seconds after that died, whatever it does.
    """

    def end_with_parent() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            wait([parent.sentinel])
            block(_ORPHAN_SECONDS)
            os._exit(1)

    leave_signals_to_supervisor()
    warn_once_a_file()
    threading.Thread(target=end_with_parent, daemon=True, name="orphan").start()
    plan = read_plan(Path(run_dir))
    log_to_file(Path(plan.log_dir), name, debug=plan.debug)
    page = SessionPage(plan.page_path)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
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
        child.send(Failed(str(error), error.exit_code))
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


def _without_surrogates(value: Any) -> Any:
    """Return plain data with a question mark for every lone surrogate."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    return [_without_surrogates(one) for one in value] if isinstance(value, list) else value


def has_room(descriptor: int) -> bool:
    """Say whether a short message can be sent at once (a socket says so while most of its buffer is free)."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes uvloop's event loops, None on a system without it."""
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


# --- signals -----------------------------------------------------------------------------------------------


def leave_signals_to_supervisor() -> None:
    """Ignore the group's signals in this process from now on, also those that came while it was being started."""
    for number in _GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _GROUP_SIGNALS)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the group's signals in this thread; a process started within inherits the block until it ignores them."""
    start_resource_tracker()
    signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _GROUP_SIGNALS)


def start_resource_tracker() -> None:
    """Start the process in which multiprocessing counts semaphores, unless it runs, so that no group signal ends it.

    It ignores SIGINT and SIGTERM by itself, and its start unblocks them for the parent; SIGHUP stays blocked in it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _GROUP_SIGNALS)
