"""What every process of a session does alike: read the plan, sit down at the page, follow the supervisor."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from liualgotrader.common.clock import Clock
from liualgotrader.common.control import Counters, Failed, FromChild, Notice, Ready, SlotEnded, Stop, ToChild
from liualgotrader.common.errors import LiuError
from liualgotrader.common.session_plan import SessionPlan, read_plan
from liualgotrader.common.tlog import log_to_file, say
from liualgotrader.transport.market_clock import PageClock, Seat, clock_for
from liualgotrader.transport.page import SessionPage

log = logging.getLogger(__name__)

SUPERVISOR_GONE = "the supervisor is gone"
_COUNTERS_SECONDS = 1.0


class Child:
    """One process of a session, as its own code sees it.

    `stopping` is set when the supervisor says so or dies; `stop_order` then holds what it said.
    """

    def __init__(self, name: str, plan: SessionPlan, control: Connection, page: SessionPage) -> None:
        self.name = name
        self.plan = plan
        self.page = page
        self.seat = Seat(page, name)
        self.clock: Clock = clock_for(page, self.seat, simulated=plan.simulated_clock)
        self.stopping = asyncio.Event()
        self.stop_order: Stop | None = None
        self.orphaned = False
        self._control = control
        self._orders: Callable[[ToChild], None] | None = None
        self._counters: Callable[[], Mapping[str, float]] | None = None

    def tell(self, message: FromChild) -> None:
        """Say something to the supervisor; silently nothing if it is gone."""
        with suppress(OSError):
            self._control.send_bytes(msgspec.msgpack.encode(message))

    def ready(self) -> None:
        """State on the page and to the supervisor that this process takes part from now on."""
        self.seat.ready()
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
        self._turn()

    def _turn(self) -> None:
        self.seat.beat()
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


Body = Callable[[Child], Awaitable[None]]


def run_child(name: str, run_dir: str, control: Connection, body: Body) -> None:
    """Run `body` as the process `name` of the session in `run_dir`, and exit.

    Exit status 0 after `body` returned; the error's own after a LiuError (said to the supervisor in one
    sentence); 1 with a whole traceback for a bug. Ctrl-C is the supervisor's to handle.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan = read_plan(Path(run_dir))
    log_to_file(Path(plan.log_dir), name, debug=plan.debug)
    page = SessionPage(plan.page_path)
    status = _run_loop(name, plan, control, page, body)
    logging.shutdown()
    sys.exit(status)


def _run_loop(name: str, plan: SessionPlan, control: Connection, page: SessionPage, body: Body) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_live(name, plan, control, page, body))


async def _live(name: str, plan: SessionPlan, control: Connection, page: SessionPage, body: Body) -> int:
    child = Child(name, plan, control, page)
    child.seat.arrive()
    child.listen()
    try:
        await body(child)
    except LiuError as error:
        log.error("%s: %s", name, error)
        child.tell(Failed(str(error), error.exit_code))
        return error.exit_code
    except Exception:
        log.exception("%s ended by a bug", name)
        raise
    finally:
        if isinstance(child.clock, PageClock):
            child.clock.close()
    child.seat.leave()
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
