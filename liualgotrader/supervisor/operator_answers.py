"""What a session answers to `trader status | stop | resume`, `liu kill-switch` and `liu positions`, in each part of its life."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.control import OperatorRequest
from liualgotrader.common.errors import LiuError, OutsideError
from liualgotrader.ipc.address import forget_address
from liualgotrader.supervisor.operator_socket import OperatorSocket, running_sessions
from liualgotrader.supervisor.session_figures import SessionFigures
from liualgotrader.supervisor.stack import Stack

GATEWAY_SECONDS = 8.0  # machine time for the order gateway's answer
_FRESH_SECONDS = 2.0  # machine time that an answer to `trader status` waits for the record
_SAID_FIRST = 0.1  # machine time between an answer and what follows from it
_FOLDER = "trader-"  # and the process id
_OF_THE_GATEWAY = ("kill_switch", "resume", "positions", "orders")

Answer = Mapping[str, Any]


class OperatorAnswers:
    """Answers for a session whose processes run. `stop(flatten)` ends it, `count` looks at the record."""

    def __init__(
        self, stack: Stack, figures: SessionFigures, count: Callable[[], Awaitable[None]], stop: Callable[[bool], None]
    ) -> None:
        self._stack, self._figures, self._count, self._stop = stack, figures, count, stop

    async def answer(self, asked: Mapping[str, Any]) -> Answer:
        """Do what is asked and return the answer."""
        batch = self._stack.plan.batch_id
        match asked.get("do"):
            case "status":
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FRESH_SECONDS):
                        await self._count()
                return {"view": msgspec.to_builtins(self._figures.view(), str_keys=True)}
            case "stop":
                self._stop(bool(asked.get("flatten")))
                return {"done": f"batch {batch} is being stopped"}
            case str(name) if name in _OF_THE_GATEWAY:
                return await self._ask_gateway(name, {key: value for key, value in asked.items() if key != "do"})
            case other:
                return {"error": f"there is no order {other!r:.40}"}

    async def _ask_gateway(self, name: str, arguments: dict[str, Any]) -> Answer:
        try:
            answer = await self._stack.ask("order_gateway", OperatorRequest(name, arguments), GATEWAY_SECONDS)
        except OutsideError as error:
            return {"error": str(error)}
        if answer is None:
            return {
                "error": f"the order gateway was told and has not answered in {GATEWAY_SECONDS:.0f} s; see `trader status`"
            }
        return {"done" if answer.done else "refused": answer.text}


class AnswerHolder:
    """The door of one `trader`. It answers itself before there is a batch, then has the batch's session answer."""

    def __init__(self, home: Path, environment: str, stop: Callable[[], None]) -> None:
        pid = os.getpid()
        self._home, self._folder, self._stop = home, home / "run" / f"{_FOLDER}{pid}", stop
        self._door = OperatorSocket(home, self._folder, f"waiting-{pid}", environment, "", self._answer)
        self._phase = "is being prepared"

    def waits(self, what: str) -> None:
        """Take note of what the preparation is waiting for, as the rest of a sentence about the session."""
        self._phase = what

    async def open(self) -> None:
        """Begin to listen; what is left of those that were killed while they waited is removed."""
        await asyncio.to_thread(_forget_killed, self._home)
        await self._door.open()

    def hand_over(self, batch_id: str, environment: str, day: str, answer: OperatorAnswers) -> None:
        """Have the session of a batch answer from here on."""
        self._door.hand_over(batch_id, environment, day, answer.answer)

    async def close(self) -> None:
        """Listen no longer; safe to repeat."""
        await self._door.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        forget_address(self._folder)

    async def _answer(self, asked: Mapping[str, Any]) -> Answer:
        match asked.get("do"):
            case "status":
                return {"waiting": self._phase}
            case "stop":
                asyncio.get_running_loop().call_later(_SAID_FIRST, self._stop)
                return {"done": f"the session, which {self._phase}, is being stopped"}
            case _:
                return {"error": f"the session {self._phase}, so there is no order gateway yet; `trader stop` ends it"}


def _forget_killed(home: Path) -> None:
    try:
        listening = {Path(session.socket).parent for session in running_sessions(home)}
    except LiuError:  # what cannot be looked into is left as it is
        return
    for folder in set((home / "run").glob(f"{_FOLDER}*")) - listening:
        if not _lives(folder.name.removeprefix(_FOLDER)):
            shutil.rmtree(folder, ignore_errors=True)
            forget_address(folder)


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except (OSError, ValueError):  # somebody else's process, or a name that is not ours
        pass
    return True
