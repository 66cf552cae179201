"""A scanner in a thread of its own."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from liualgotrader.common.clock import block
from liualgotrader.scanners_runner.scanners_process import ScannerOutcome, ScannerThread


async def test_what_a_scanner_returns_comes_back() -> None:
    thread = ScannerThread("x")

    async def scan() -> list[str]:
        await asyncio.sleep(0.001)
        return ["A"]

    assert await thread.run(scan, 5) == ScannerOutcome(["A"])
    thread.close()


async def test_the_loop_of_a_scanner_stays_from_run_to_run() -> None:
    thread, loops = ScannerThread("x"), list[Any]()

    async def scan() -> None:
        loops.append(asyncio.get_running_loop())

    for _ in range(2):
        await thread.run(scan, 5)
    assert loops[0] is loops[1] is not asyncio.get_running_loop()
    thread.close()


async def test_an_error_even_an_exit_comes_back_as_a_value() -> None:
    thread = ScannerThread("x")

    async def leaves() -> None:
        sys.exit(3)

    outcome = await thread.run(leaves, 5)
    assert outcome is not None
    assert isinstance(outcome.error, SystemExit)
    thread.close()


async def test_a_scanner_that_waits_for_what_it_has_cancelled_fails_alone() -> None:
    thread = ScannerThread("x")

    async def cancels() -> None:
        part = asyncio.ensure_future(asyncio.Event().wait())
        part.cancel()
        await part

    outcome = await thread.run(cancels, 5)
    assert outcome is not None
    assert isinstance(outcome.error, asyncio.CancelledError)
    thread.close()


async def test_a_scanner_that_waits_for_ever_is_cancelled_and_the_next_run_works() -> None:
    thread, ended = ScannerThread("x"), threading.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def works() -> int:
        return 1

    assert await thread.run(waits, 0.05) is None
    assert await asyncio.to_thread(ended.wait, 5)
    assert await thread.run(works, 5) == ScannerOutcome(1)
    thread.close()


async def test_a_scanner_that_blocks_its_thread_is_left_alone_and_the_next_run_works() -> None:
    thread, gate = ScannerThread("x"), threading.Event()

    async def blocks() -> None:
        gate.wait(10)

    async def works() -> int:
        return 1

    async with asyncio.timeout(60):
        assert await thread.run(blocks, 0.05) is None
        assert await thread.run(works, 5) == ScannerOutcome(1)
    gate.set()
    thread.close()


async def test_a_blocking_scanner_does_not_stop_the_processs_own_loop() -> None:
    thread = ScannerThread("x")
    turns = 0

    async def blocks() -> None:
        block(0.1)

    running = asyncio.ensure_future(thread.run(blocks, 5))
    while not running.done():
        turns += 1
        await asyncio.sleep(0.005)
    assert turns > 5
    thread.close()
