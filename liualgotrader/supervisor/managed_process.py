"""One process that the supervisor started: how to start it again, what it says, and that it died."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from liualgotrader.common.clock import machine_now
from liualgotrader.common.control import Failed, ProcessReport
from liualgotrader.ipc.child_process import has_room, signals_blocked
from liualgotrader.supervisor.launch import launch
from liualgotrader.supervisor.view import ProcessView

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_SPAWN = multiprocessing.get_context("spawn")
_DEATHS_KEPT = 16


class ProcessSpec(msgspec.Struct, frozen=True):
    """What a process runs: `module.run(*before, control, *after, **keywords)`."""

    name: str
    module: str
    before: tuple[Any, ...]
    after: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = {}


class ManagedProcess:
    """A process, started as often as needed. `hear` gets its messages, `died` its exit code; both in the loop."""

    def __init__(
        self,
        command: ProcessSpec,
        output: Path,
        hear: Callable[[ManagedProcess, Any], None],
        died: Callable[[ManagedProcess, int], None],
        decode: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.command = command
        self.name = command.name
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
        self._hear, self._on_death = hear, died
        self._decode = decode or _from_child
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
        command = self.command
        arguments: Sequence[Any] = (*command.before, theirs, *command.after)
        process = _SPAWN.Process(
            target=launch,
            args=(command.module, arguments, command.keywords, str(self.output)),
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
        """Say something to the process; False if it is not there or does not listen."""
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

    def view(self) -> ProcessView:
        """Return what a screen shows of it."""
        return ProcessView(self.name, self.state, self.pid, max(self.restarts, 0), dict(self.counters))

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


def _from_child(payload: bytes) -> ProcessReport:
    message: ProcessReport = msgspec.msgpack.decode(payload, type=ProcessReport)
    return message


def death_text(code: int) -> str:
    """Return how a process ended, in words."""
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit status {code}"
