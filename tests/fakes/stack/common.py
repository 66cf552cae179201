"""Stand-ins for the processes of a session: real processes that behave as a file in the runtime folder says.

`behaviour.json` beside the plan, or named by LIU_FAKE_BEHAVIOUR, maps a process's name to a word:
die (exit 1 when ready), die-once, hang-once (in a strategy's call), crash-in-call, mute-once, fail (say why, exit 3), fail-at-end (gateway: say why once told to stop, exit 4),
slot-fails and slot-ends (its strategy stops before and after it is ready), stubborn (ignore Stop), trade and buy (gateway: store two executions, or one). What they did is appended to `did.log`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

from liualgotrader.common.control import DeskFacts, SlotEnded
from liualgotrader.common.errors import OutsideError
from liualgotrader.ipc.child_process import Child, Queues, run_child
from liualgotrader.ipc.session_page import symbol_cell


def behaviour_of(run_dir: str, name: str) -> str:
    path = Path(os.environ.get("LIU_FAKE_BEHAVIOUR") or Path(run_dir) / "behaviour.json")
    return json.loads(path.read_text()).get(name, "") if path.exists() else ""


def did(run_dir: str, text: str) -> None:
    path = Path(os.environ.get("LIU_FAKE_BEHAVIOUR") or Path(run_dir) / "x").with_name("did.log")
    with path.open("a") as log:
        log.write(text + "\n")


def first_time(run_dir: str, name: str) -> bool:
    path = Path(os.environ.get("LIU_FAKE_BEHAVIOUR") or Path(run_dir) / "x").with_name(f"{name}.once")
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def play(
    name: str,
    run_dir: str,
    control: Connection,
    extra: Callable[[Child, str], Awaitable[None]] | None = None,
    queues: Queues | None = None,
) -> None:
    word = behaviour_of(run_dir, name)

    async def body(child: Child) -> None:
        did(run_dir, f"start {name} {os.getpid()}")
        if word == "fail":
            raise OutsideError("the broker says no; ask it why.")
        own = (
            child.plan.slots_of(int(name.rpartition("-")[2]))[:1] if name.startswith("consumer-") else child.plan.slots
        )
        if word == "slot-fails":
            child.send(SlotEnded(own[0].slot, "could not be made"))
        child.report(lambda: {"events": 7.0, "symbols": 3.0})
        child.on_command(lambda message: did(run_dir, f"told {name} {message}"))
        child.ready()
        if word == "die" or (word == "die-once" and first_time(run_dir, name)):
            os._exit(1)
        if word == "hang-once" and first_time(run_dir, name):
            child.status.calling(child.plan.slots[0].slot, symbol_cell("AAPL"), 1)
            time.sleep(60)
        if word == "crash-in-call":
            child.status.calling(child.plan.slots[0].slot, symbol_cell("AAPL"), 1)
            os._exit(7)
        if word == "mute-once" and first_time(run_dir, name):
            time.sleep(60)
        if word == "slot-ends":
            child.send(SlotEnded(own[0].slot, "raised 10 times"))
        if word == "tells":
            child.send(DeskFacts({"kept": 1}))
        if extra is not None:
            await extra(child, word)
        if word == "stubborn":
            await asyncio.sleep(60)
        await child.stopping.wait()
        did(run_dir, f"stop {name} {child.stop_command.reason} flatten={child.stop_command.flatten}")

    run_child(name, run_dir, control, body, queues)
