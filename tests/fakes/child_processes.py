"""Bodies for real child processes of a session."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection

from liualgotrader.common.control import Notice
from liualgotrader.common.errors import ConfigError
from liualgotrader.ipc.child_process import Child, run_child


async def waits(child: Child) -> None:
    child.on_command(lambda order: child.send(Notice("INFO", f"heard {type(order).__name__}")))
    child.report(lambda: {"turns": 1.0})
    child.ready()
    await child.stopping.wait()
    child.send(Notice("INFO", f"stop: {child.stop_command.reason if child.stop_command else None}"))


async def is_misconfigured(child: Child) -> None:
    raise ConfigError("scanners.X.filename: nowhere.py is not a file; correct the path")


async def has_a_bug(child: Child) -> None:
    child.ready()
    raise KeyError("body")


async def has_a_bug_in_a_callback(child: Child) -> None:
    child.ready()
    asyncio.get_running_loop().call_soon(lambda: {}["callback"])  # type: ignore[index]
    await child.stopping.wait()


async def has_a_bug_in_a_task(child: Child) -> None:
    child.ready()

    async def broken() -> None:
        raise KeyError("task")

    task = asyncio.create_task(broken())
    await asyncio.wait({task})
    del task
    await child.stopping.wait()


async def never_stops(child: Child) -> None:
    child.ready()
    while True:
        await child.stopping.wait()
        await asyncio.Event().wait()


BODIES = {
    body.__name__: body
    for body in (waits, is_misconfigured, has_a_bug, has_a_bug_in_a_callback, has_a_bug_in_a_task, never_stops)
}


def run(run_dir: str, control: Connection, body: str) -> None:
    """Be the producer of the session in `run_dir`, with one of the bodies above."""
    run_child("producer", run_dir, control, BODIES[body])


def supervise(run_dir: str, report: Connection, body: str) -> None:
    """Start a child, say its pid, and wait to be killed."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=run, args=(run_dir, theirs, body))
    process.start()
    theirs.close()
    mine.recv_bytes()  # Ready
    report.send(process.pid)
    process.join()
