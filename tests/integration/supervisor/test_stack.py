"""Real processes that die, hang, fall silent and are killed; the stack deals with each."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import psutil
import pytest

from liualgotrader.common.session_plan import SessionPlan, read_plan, write_plan
from liualgotrader.ipc.child_process import start_resource_tracker
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from liualgotrader.scanners_runner.scanner_marks import ScannerMarks
from liualgotrader.supervisor import managed_process
from liualgotrader.supervisor.stack import Stack
from tests.fakes.supervisor import PROGRAMS, RecordingOwner, plan_in

TRACKER: Any = resource_tracker._resource_tracker
Made = tuple[Stack, RecordingOwner, SessionPage]


@pytest.fixture
def stack_of(tmp_path: Path) -> Iterator[Callable[..., Made]]:
    made = []

    def make(
        behaviour: dict[str, str] | None = None,
        *,
        wanted: Sequence[str] = ("order_gateway", "consumer-0"),
        **plan_arguments: Any,
    ) -> Made:
        plan, page = plan_in(tmp_path, **plan_arguments)
        (tmp_path / "run" / "behaviour.json").write_text(json.dumps(behaviour or {}))
        owner = RecordingOwner()
        stack = Stack(plan, page, owner, wanted, PROGRAMS)
        made.append((stack, page))
        return stack, owner, page

    yield make
    for _, page in made:
        page.close()


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def end(stack: Stack) -> None:
    stack.kill()
    for worker in stack.workers.values():
        if worker.alive:
            await worker.ended.wait()


def did(tmp_path: Path) -> list[str]:
    path = tmp_path / "run" / "did.log"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parity(12, 83)
async def test_processes_start_take_part_and_stop_in_order(stack_of: Callable[..., Made], tmp_path: Path) -> None:
    wanted = ("order_gateway", "producer", "consumer-0", "consumer-1", "scanners_runner")
    stack, owner, page = stack_of(wanted=wanted, consumers=2)
    assert all(page.get(page.process(name), Cell.LIFE) == Life.DOWN for name in wanted)
    stack.start()
    await until(lambda: all(w.state == "ready" for w in stack.workers.values()))
    if sys.platform == "linux":  # as `ps` shows them
        names = {psutil.Process(w.pid).name() for w in stack.workers.values()}
        assert names == {f"liu-{name}"[:15] for name in wanted}
    assert await stack.stop("market close", flatten=True)
    stops = [line.split()[1] for line in did(tmp_path) if line.startswith("stop")]
    assert stops[0] == "scanners_runner"
    assert stops[1] == "producer"
    assert sorted(stops[2:4]) == ["consumer-0", "consumer-1"]
    assert stops[4] == "order_gateway"
    assert "stop order_gateway market close flatten=True" in did(tmp_path)
    assert (owner.gave_up, owner.notices) == ([], [])
    assert all(page.get(page.process(name), Cell.LIFE) == Life.FINISHED for name in wanted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_no_signal_to_the_group_ends_a_process_even_while_it_is_started(
    stack_of: Callable[..., Made], number: Any
) -> None:
    stack, owner, _ = stack_of()
    stack.start()
    for _ in range(50):  # from before the interpreter runs until the process takes part
        for worker in stack.workers.values():
            os.kill(worker.pid, number)
        await asyncio.sleep(0.01)
    await until(lambda: all(w.state == "ready" for w in stack.workers.values()))
    assert await stack.stop("in order")
    assert owner.notices == []


async def test_nobody_but_the_supervisor_hears_of_the_end_of_its_group_not_even_multiprocessings_helper(
    stack_of: Callable[..., Made],
) -> None:
    TRACKER._stop()  # one that another test started would hear of them
    start_resource_tracker()
    helper = TRACKER._pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(helper, number)
    stack, _, _ = stack_of(wanted=("consumer-0",))
    stack.start()  # multiprocessing would warn that its helper died
    await until(lambda: stack.workers["consumer-0"].state == "ready")
    assert TRACKER._pid == helper
    await end(stack)


async def test_what_a_killed_gateway_was_told_at_the_end_its_repair_is_told_as_well(
    stack_of: Callable[..., Made], tmp_path: Path
) -> None:
    stack, _, _ = stack_of(wanted=("order_gateway",))
    stack.start()
    worker = stack.workers["order_gateway"]
    await until(lambda: worker.state == "ready")
    stack.stopping = True
    worker.kill()
    await worker.ended.wait()
    await stack.run_once("order_gateway", "interrupted", flatten=True)
    assert "stop order_gateway interrupted flatten=True" in did(tmp_path)
    assert worker.exit_code == 0


async def test_a_killed_process_is_started_again_and_holds_the_market_meanwhile(stack_of: Callable[..., Made]) -> None:
    stack, owner, page = stack_of()
    stack.start()
    worker = stack.workers["consumer-0"]
    await until(lambda: worker.state == "ready")
    killed = worker.pid
    os.kill(killed, signal.SIGKILL)
    await until(lambda: worker.pid != killed)
    assert page.get(page.process("consumer-0"), Cell.LIFE) == Life.DOWN
    await until(lambda: worker.alive and worker.state == "ready")
    assert worker.restarts == 1
    assert "was killed by SIGKILL" in owner.notices[0]
    await end(stack)


async def test_a_process_that_dies_again_and_again_ends_the_session(stack_of: Callable[..., Made]) -> None:
    stack, owner, _ = stack_of({"consumer-0": "die"}, wanted=("consumer-0",))
    stack.start()
    await until(lambda: owner.gave_up)
    ((code, sentence),) = owner.gave_up
    assert code == 3
    assert "consumer-0 ended with exit status 1, again and again" in sentence
    assert len(stack.workers["consumer-0"].deaths) == 5
    await end(stack)


async def test_an_error_that_restarting_cannot_cure_ends_the_session_with_its_sentence(
    stack_of: Callable[..., Made],
) -> None:
    stack, owner, _ = stack_of({"order_gateway": "fail"}, wanted=("order_gateway",))
    stack.start()
    await until(lambda: owner.gave_up)
    assert owner.gave_up == [(3, "the broker says no; ask it why.")]
    await end(stack)


async def test_a_strategy_that_never_answers_is_stopped_alone_and_its_stack_written_down(
    stack_of: Callable[..., Made], tmp_path: Path
) -> None:
    stack, owner, _ = stack_of({"consumer-0": "hang-once"}, answer_seconds=0.3)
    stack.start()
    gateway, consumer = stack.workers["order_gateway"], stack.workers["consumer-0"]
    await until(lambda: gateway.state == consumer.state == "ready")
    hung = consumer.pid

    async def watch() -> None:
        while True:
            await stack.watch()

    watching = asyncio.ensure_future(watch())
    await until(lambda: consumer.pid not in (0, hung) and consumer.state == "ready")
    watching.cancel()
    assert owner.stopped == [(1, "no answer")]
    assert "strategy Breakout did not answer" in owner.notices[0]
    assert "AAPL" in owner.notices[0]
    assert read_plan(tmp_path / "run").slots[0].stopped == "no answer"
    assert "time.sleep" in consumer.output.read_text() or "in body" in consumer.output.read_text()
    await until(lambda: any("told order_gateway StopSlotCommand(slot=1" in line for line in did(tmp_path)))
    await end(stack)


async def test_a_strategy_that_ends_its_own_process_is_stopped_alone(stack_of: Callable[..., Made]) -> None:
    stack, owner, page = stack_of({"consumer-0": "crash-in-call"}, wanted=("consumer-0",))
    stack.start()
    await until(lambda: owner.stopped)
    assert owner.stopped == [(1, "its process ended with exit status 7 during a call")]
    assert page.get(page.process("consumer-0"), Cell.CALL_SINCE) == 0
    assert not stack.workers["consumer-0"].deaths
    await end(stack)


async def test_a_scanner_that_ends_their_process_is_taken_out_alone_by_its_name(
    stack_of: Callable[..., Made], tmp_path: Path
) -> None:
    stack, owner, _ = stack_of(wanted=("scanners_runner",))
    marks = tmp_path / "run" / "scanners.json"
    stack.start()
    worker = stack.workers["scanners_runner"]
    await until(lambda: worker.state == "ready")
    marks.write_text('{"running":["Leaver"]}')  # as a process that has died leaves it
    stack._died(worker, 3)
    assert owner.notices == [
        "scanner Leaver will not run again this session: its process ended with exit status 3 while it ran",
        "scanners_runner was ended because of that scanner; it is started again",
    ]
    assert list(ScannerMarks(tmp_path / "run").stopped) == ["Leaver"]
    marks.write_text(marks.read_text().replace('"running":[]', '"running":["One","Other"]'))
    stack._died(worker, -signal.SIGSEGV)
    assert owner.notices[2] == "one of the scanners One, Other ended their process: they run one by one now"
    marks.write_text(marks.read_text().replace('"running":[]', '"running":["One"]'))
    stack._died(worker, -signal.SIGKILL)  # somebody else did that
    assert list(ScannerMarks(tmp_path / "run").stopped) == ["Leaver"]
    stack.stopping = True
    await end(stack)


async def test_an_end_is_orderly_although_a_process_was_killed_before_it(stack_of: Callable[..., Made]) -> None:
    stack, _, _ = stack_of()
    stack.start()
    worker = stack.workers["consumer-0"]
    await until(lambda: worker.state == "ready")
    os.kill(worker.pid, signal.SIGKILL)
    await until(lambda: worker.restarts == 1 and worker.state == "ready")
    assert await stack.stop("market close")


async def test_a_process_whose_loop_stands_still_is_started_again(
    stack_of: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_process, "MUTE_SECONDS", 0.5)
    stack, owner, _ = stack_of({"consumer-0": "mute-once"}, wanted=("consumer-0",))
    stack.start()
    worker = stack.workers["consumer-0"]
    await until(lambda: worker.state == "ready")
    mute = worker.pid

    async def watch() -> None:
        while worker.pid == mute:
            await stack.watch()

    await asyncio.wait_for(watch(), 60)
    await until(lambda: worker.alive and worker.state == "ready")
    assert "consumer-0 was silent" in owner.notices[0]
    assert owner.stopped == []
    await end(stack)


async def test_a_process_that_ignores_stop_is_killed_and_the_end_is_not_orderly(
    stack_of: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liualgotrader.supervisor.stack.STOP_SECONDS", 0.5)
    stack, _, _ = stack_of({"consumer-0": "stubborn"}, wanted=("consumer-0",))
    stack.start()
    await until(lambda: stack.workers["consumer-0"].state == "ready")
    assert not await stack.stop("market close")
    assert not stack.workers["consumer-0"].alive


async def test_a_slot_that_ended_is_written_into_the_plan_once(stack_of: Callable[..., Made], tmp_path: Path) -> None:
    stack, owner, _ = stack_of({"consumer-0": "slot-ends"})
    stack.start()
    await until(lambda: owner.stopped)
    stack.stop_slot(1, "another reason")
    assert owner.stopped == [(1, "raised 10 times")]
    assert read_plan(tmp_path / "run").slots[0].stopped == "raised 10 times"
    await end(stack)


async def test_with_queues_whoever_dies_all_start_again_with_fresh_ones(stack_of: Callable[..., Made]) -> None:
    stack, owner, page = stack_of(link="queue")
    page.set_sent(page.link("news-0"), 3)
    stack.start()
    gateway, consumer = stack.workers["order_gateway"], stack.workers["consumer-0"]
    await until(lambda: gateway.state == consumer.state == "ready")
    before = gateway.keywords["queues"]
    assert set(before) == {"intents-0", "news-0"}
    pids = {gateway.pid, consumer.pid}
    os.kill(consumer.pid, signal.SIGKILL)
    await until(lambda: gateway.alive and consumer.alive and not pids & {gateway.pid, consumer.pid})
    await until(lambda: gateway.state == consumer.state == "ready")
    assert gateway.keywords["queues"]["news-0"] is not before["news-0"]
    assert (len(owner.notices), len(gateway.deaths), len(consumer.deaths)) == (1, 0, 1)
    assert page.handled(page.link("news-0")) == 3
    await end(stack)


async def test_what_a_process_that_ended_did_not_read_does_not_hold_the_market(stack_of: Callable[..., Made]) -> None:
    stack, _, page = stack_of(wanted=("producer", "consumer-0"))
    stack.start()
    await until(lambda: all(w.state == "ready" for w in stack.workers.values()))
    for link in ("picks", "needs-0"):
        page.set_sent(page.link(link), 2)
    await end(stack)
    assert [page.handled(page.link(link)) for link in ("picks", "needs-0")] == [2, 2]


async def test_what_a_process_tells_is_kept(stack_of: Callable[..., Made]) -> None:
    stack, _, _ = stack_of({"consumer-0": "tells"}, wanted=("consumer-0",))
    stack.start()
    await until(lambda: stack.workers["consumer-0"].facts == {"kept": 1})
    await end(stack)


async def test_a_strategy_that_is_stopped_while_the_disk_is_full_stays_stopped(
    stack_of: Callable[..., Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, owner, _ = stack_of({"consumer-0": "hang-once"}, answer_seconds=0.3)
    full = True

    def write(plan: SessionPlan) -> Any:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_plan(plan)

    monkeypatch.setattr("liualgotrader.supervisor.stack.write_plan", write)
    stack.start()
    gateway, consumer = stack.workers["order_gateway"], stack.workers["consumer-0"]
    await until(lambda: gateway.state == consumer.state == "ready")
    hung = consumer.pid
    while not (consumer.pid not in (0, hung) and consumer.state == "ready"):
        await stack.watch()
    assert owner.stopped == [(1, "no answer")]
    for name in ("order_gateway", "consumer-0"):  # the latter has read a plan in which it is not
        told = f"told {name} StopSlotCommand(slot=1"
        await until(lambda told=told: any(told in line for line in did(tmp_path)))  # type: ignore[misc]
    assert read_plan(tmp_path / "run").slots[0].stopped == ""
    full = False
    await stack.watch()
    assert read_plan(tmp_path / "run").slots[0].stopped == "no answer"
    await end(stack)
