"""One process that the supervisor started: how to start it again, what it says, and that it died.

The simulated market is one too, with reports of its own.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from liualgotrader.common.clock import SECOND, machine_now
from liualgotrader.common.control import Failed, ProcessReport
from liualgotrader.common.environment import unshield_imports
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.ipc.child_process import has_room, leave_signals_to_supervisor, signals_blocked
from liualgotrader.ipc.process_status import MAKING
from liualgotrader.ipc.session_page import Cell, Life, SessionPage, cell_symbol

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess


SPEC_FILE = "market.json"
_SPAWN = multiprocessing.get_context("spawn")
_DEATHS_KEPT = 16
_PORT_SECONDS = 120.0  # machine time; a recorded day is read first
_STOP_SECONDS = 10.0
_REPORTS = msgspec.msgpack.Decoder(ProcessReport)
CONTROL = "its end of the control link"  # stands among the arguments where the link is to go


class ManagedProcess:
    """A process of ours that runs `module.run(*arguments, **keywords)`, started as often as needed.

    `hear` gets its messages, `died` its exit code; both in the loop.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[Any],
        output: Path,
        hear: Callable[[ManagedProcess, Any], None],
        died: Callable[[ManagedProcess, int], None],
        decode: Callable[[bytes], Any] = _REPORTS.decode,
    ) -> None:
        self.name = name
        self.keywords: Mapping[str, Any] = {}  # arguments by name
        self.output = output
        self.state = "new"
        self.spawned_at = 0
        self.restarts = -1
        self.deaths: deque[int] = deque(maxlen=_DEATHS_KEPT)
        self.counters: dict[str, float] = {}
        self.facts: dict[str, Any] = {}
        self.failed: Failed | None = None
        self.exit_code = 0
        self.excused = False  # its next death is not its own fault
        self.ended = asyncio.Event()
        self.stopping = False
        self._module, self._arguments = module, arguments
        self._hear, self._on_death = hear, died
        self._decode = decode
        self._process: SpawnProcess | None = None
        self._control: Connection | None = None

    @property
    def pid(self) -> int:
        """The process's id, 0 while there is none."""
        return (self._process.pid or 0) if self._process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def start(self) -> None:
        """Start the process; needs a running loop."""
        ours, theirs = _SPAWN.Pipe(duplex=True)
        arguments = tuple(theirs if argument is CONTROL else argument for argument in self._arguments)
        process = _SPAWN.Process(
            target=launch,
            args=(self._module, arguments, self.keywords, str(self.output)),
            name=f"liu-{self.name}",
            daemon=True,
        )
        with signals_blocked():
            process.start()
        theirs.close()
        self._process, self._control = process, ours
        self.state, self.spawned_at = "starting", machine_now()
        self.restarts += 1
        self.ended.clear()
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), self._read)
        loop.add_reader(process.sentinel, self._dead)

    def send(self, message: Any) -> bool:
        """Send a message to the process; False if it is not there or does not listen."""
        control = self._control
        if control is None or not has_room(control.fileno()):
            return False
        try:
            control.send_bytes(msgspec.msgpack.encode(message))
        except OSError:
            return False
        return True

    def dump(self) -> None:
        """Have the process write its threads' stacks into its output file."""
        self._signal(signal.SIGUSR1)

    def kill(self) -> None:
        """End the process at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _read(self) -> None:
        control = self._control
        assert control is not None
        try:
            while self._control is control and control.poll():
                self._hear(self, self._decode(control.recv_bytes()))
        except (EOFError, OSError):  # its death is noticed by itself
            asyncio.get_running_loop().remove_reader(control.fileno())

    def _dead(self) -> None:
        process, control = self._process, self._control
        assert process is not None
        assert control is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(process.sentinel)
        self._read()  # its last words
        loop.remove_reader(control.fileno())
        process.join()
        code = process.exitcode if process.exitcode is not None else 1
        process.close()
        control.close()
        self._process = self._control = None
        self.exit_code = code
        self.state = "ended" if self.stopping else "down"
        self.ended.set()
        self._on_death(self, code)


class SimulatedMarket:
    """The process, and what it last said. It is the outside world, so it is never restarted."""

    def __init__(self, module: str, run_dir: Path, log_dir: Path, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended = False
        self.notes: tuple[str, ...] = ()  # how its day is made
        self.doubts: tuple[str, ...] = ()  # what a person should look at in its data
        self.skipped: tuple[str, ...] = ()  # counts of what was left out of its data
        self.report: dict[str, Any] = {}
        self._spec_path, output = run_dir / SPEC_FILE, log_dir / "simulator.out"
        arguments = (str(self._spec_path), CONTROL)
        decode = msgspec.msgpack.decode  # it reports in plain values
        self.worker = ManagedProcess("simulator", module, arguments, output, self._hear, self._died, decode)

    async def start(self, spec: MarketSpec) -> int:
        """Start it and return its port.

        Raises:
            LiuError: if it cannot start; the sentence is its own.
        """
        self._spec_path.write_bytes(msgspec.json.encode(spec))
        self.worker.start()
        try:
            async with asyncio.timeout(_PORT_SECONDS):
                return await self._port
        except TimeoutError:
            self.worker.stopping = True
            self.worker.kill()
            raise OutsideError(
                f"the simulated market did not start within {_PORT_SECONDS:.0f} s; see {self.worker.output}"
            ) from None

    async def stop(self) -> None:
        """End it."""
        worker = self.worker
        worker.stopping = True
        if not worker.alive:
            return
        worker.send({"stop": True})
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await worker.ended.wait()
        except TimeoutError:
            worker.kill()
            await worker.ended.wait()

    def waiting_for(self) -> tuple[str, ...]:
        """Return what simulated time waits for, in its own words."""
        return tuple(str(reason) for reason in self.report.get("waiting_for", ()))

    def _hear(self, worker: ManagedProcess, message: Mapping[str, Any]) -> None:
        if "port" in message and not self._port.done():
            worker.state = "ready"
            self.notes, self.doubts, self.skipped = (tuple(message.get(k, ())) for k in ("notes", "doubts", "skipped"))
            self._port.set_result(int(message["port"]))
        elif "failed" in message:
            worker.failed = Failed(str(message["failed"]), int(message["exit_code"]))
        elif message.get("ended"):
            self.ended = True
        elif "market" in message:
            self.report = dict(message)
            worker.counters = {k: float(v) for k, v in message.items() if isinstance(v, int | float)}

    def _died(self, worker: ManagedProcess, code: int) -> None:
        failed, died = worker.failed, f"it {death_text(code)}; see {worker.output}"
        if self._port.done():
            if not worker.stopping:
                why = failed.text if failed is not None else died
                self._lost(f"the simulated market is gone, so the session ends: {why}")
        elif failed is None:
            self._port.set_exception(OutsideError(f"the simulated market could not start: {died}"))
        else:
            kind = ConfigError if failed.exit_code == ConfigError.exit_code else OutsideError
            self._port.set_exception(kind(failed.text))


def death_text(code: int) -> str:
    """Return how a process ended, in words."""
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit status {code}"


MUTE_SECONDS = 10.0  # machine time without a turn of the loop
MAKE_SECONDS = 30.0  # machine time to make one strategy: its file's imports, its constructor and `create`
ARRIVE_SECONDS = 60.0  # machine time from spawn to the first word on the page

DEATHS_TO_GIVE_UP = 5
DEATHS_WITHIN = 60 * SECOND
_BACK_OFF = (0.0, 0.5, 1.0, 2.0)


class ProcessLook(NamedTuple):
    """One look at a process."""

    name: str
    pid: int
    spawned_at: int  # machine ns
    row_pid: int
    life: int
    beat: int
    call_slot: int
    call_symbol: int
    call_batch: int
    call_count: int
    call_since: int


class StuckCall(NamedTuple):
    """A strategy was called and has not returned."""

    process: str
    slot: int
    symbol: str
    seconds: float


class SilentProcess(NamedTuple):
    """The loop of a process does not turn, and no strategy is being called."""

    process: str
    seconds: float


def look(page: SessionPage, worker: ManagedProcess) -> ProcessLook:
    """Return what the page says about a process."""
    row = page.process(worker.name)
    cells = (Cell.PID, Cell.LIFE, Cell.BEAT, Cell.CALL_SLOT, Cell.CALL_SYMBOL, Cell.CALL_BATCH)
    told = (page.get(row, cell) for cell in (*cells, Cell.CALL_COUNT, Cell.CALL_SINCE))
    return ProcessLook(worker.name, worker.pid, worker.spawned_at, *told)


def finding(
    seen: ProcessLook, before: ProcessLook, machine: int, answer_seconds: float
) -> StuckCall | SilentProcess | None:
    """Return what is wrong with a process that was looked at twice, None if all is well; `seen` is the newer look.

    Twice, because the cells of a call are not written in one step: only a call that stands still counts.
    """
    if seen.row_pid != seen.pid:
        waited = (machine - seen.spawned_at) / SECOND
        return SilentProcess(seen.name, waited) if waited > ARRIVE_SECONDS else None
    if seen.call_since:
        stuck = (machine - seen.call_since) / SECOND
        if stuck <= (MAKE_SECONDS if seen.call_batch == MAKING else answer_seconds) or before[6:] != seen[6:]:
            return None
        return StuckCall(seen.name, seen.call_slot, cell_symbol(seen.call_symbol), stuck)
    silent = (machine - seen.beat) / SECOND
    return SilentProcess(seen.name, silent) if silent > MUTE_SECONDS and seen.life != Life.FINISHED else None


def back_off(deaths: Iterable[int], machine: int) -> float | None:
    """Return how long to wait before a process is started again, None to give up; `deaths` are machine ns."""
    recent = sum(machine - at <= DEATHS_WITHIN for at in deaths)
    if recent >= DEATHS_TO_GIVE_UP:
        return None
    return _BACK_OFF[min(max(recent - 1, 0), len(_BACK_OFF) - 1)]


def launch(module: str, arguments: Sequence[Any], keywords: Mapping[str, Any], output: str) -> None:
    """Call `module.run(*arguments, **keywords)`, with everything it prints appended to the file `output`.

    Signals to the whole process group are left to the supervisor. On SIGUSR1 the stacks of all threads are written to `output`, even
    when the interpreter is inside a call that never returns.
    """
    leave_signals_to_supervisor()
    with suppress(OSError):  # what `ps`, `top` and `pgrep` show; Linux keeps 15 characters of it
        Path("/proc/self/comm").write_text(multiprocessing.current_process().name)
    unshield_imports()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    importlib.import_module(module).run(*arguments, **keywords)
