"""Real processes of a session: how they start, what they hear, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
import psutil
import pytest

from liualgotrader.common.control import (
    Counters,
    Failed,
    Notice,
    OperatorRequest,
    ProcessReport,
    Ready,
    StopCommand,
    SupervisorCommand,
)
from liualgotrader.common.session_plan import Endpoints, Hours, SessionPlan, write_plan
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from tests.fakes.child_processes import run, supervise

pytestmark = pytest.mark.integration

WAIT = 60.0


class Session:
    """A session with one process, seen from the supervisor's chair."""

    def __init__(self, folder: Path) -> None:
        nowhere = Endpoints("", "", "", "", loopback=True)
        self.plan = SessionPlan(
            batch_id="b", environment="SIMULATED", hours=Hours("2024-03-08", 0, 0, 0, 0), simulated_clock=False,
            endpoints=nowhere, run_dir=str(folder), journal_dir=str(folder), log_dir=str(folder / "logs"), consumers=1,
            slots=(), tradeplan=TradePlan(), tradeplan_dir=str(folder), seed=0,
        )  # fmt: skip
        write_plan(self.plan)
        self.page = SessionPage.create(self.plan.page_path, self.plan.process_names(), self.plan.link_names())
        self.context = multiprocessing.get_context("spawn")

    def start(self, body: str) -> tuple[BaseProcess, Connection]:
        mine, theirs = self.context.Pipe()
        process = self.context.Process(target=run, args=(self.plan.run_dir, theirs, body))
        process.start()
        theirs.close()
        return process, mine

    @property
    def life(self) -> int:
        return self.page.get(self.page.process("producer"), Cell.LIFE)

    @property
    def log(self) -> str:
        return (Path(self.plan.log_dir) / "producer.log").read_text()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    yield Session(tmp_path)
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


def hear(control: Connection, kind: type[ProcessReport]) -> ProcessReport:
    """Return the next message of a kind."""
    while True:
        assert control.poll(WAIT), f"no {kind.__name__} came"
        message = msgspec.msgpack.decode(control.recv_bytes(), type=ProcessReport)
        if isinstance(message, kind):
            return message


def say(control: Connection, message: SupervisorCommand) -> None:
    control.send_bytes(msgspec.msgpack.encode(message))


def test_a_child_takes_part_reports_obeys_and_ends_with_zero(session: Session) -> None:
    process, control = session.start("waits")
    hear(control, Ready)
    assert session.life == Life.READY
    assert hear(control, Counters) == Counters({"turns": 1.0})
    say(control, OperatorRequest("resume"))
    assert hear(control, Notice) == Notice("INFO", "heard OperatorRequest")
    say(control, StopCommand("session over"))
    assert hear(control, Notice) == Notice("INFO", "stop: session over")
    process.join(WAIT)
    assert (process.exitcode, session.life) == (0, Life.FINISHED)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_whole_group_is_left_to_the_supervisor(session: Session, number: signal.Signals) -> None:
    process, control = session.start("waits")
    hear(control, Ready)
    assert process.pid is not None
    os.kill(process.pid, number)
    hear(control, Counters)
    say(control, StopCommand("after the signal"))
    process.join(WAIT)
    assert process.exitcode == 0


def test_a_child_whose_supervisor_closed_the_line_stops_by_itself_in_order(session: Session) -> None:
    process, control = session.start("waits")
    hear(control, Ready)
    hear(control, Counters)
    control.close()
    process.join(WAIT)
    assert process.exitcode == 0


def test_a_lasting_error_ends_a_child_with_its_own_status_and_one_sentence(session: Session) -> None:
    process, control = session.start("is_misconfigured")
    said = hear(control, Failed)
    process.join(WAIT)
    assert said == Failed("scanners.X.filename: nowhere.py is not a file; correct the path", 2)
    assert process.exitcode == 2
    assert "Traceback" not in session.log


@pytest.mark.parametrize(("body", "key"), [("has_a_bug", "body"), ("has_a_bug_in_a_callback", "callback"), ("has_a_bug_in_a_task", "task")])  # fmt: skip
def test_a_bug_anywhere_in_the_loop_ends_a_child_with_one_and_a_traceback(
    session: Session, body: str, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    process, control = session.start(body)
    hear(control, Ready)
    process.join(WAIT)
    assert process.exitcode == 1
    assert session.life == Life.READY, "the supervisor decides whether it is down"
    assert "producer ended by a bug" in session.log
    assert f"KeyError: '{key}'" in session.log


def test_no_child_outlives_a_killed_supervisor_by_more_than_five_seconds(session: Session) -> None:
    mine, theirs = session.context.Pipe()
    supervisor = session.context.Process(target=supervise, args=(session.plan.run_dir, theirs, "never_stops"))
    supervisor.start()
    assert mine.poll(WAIT)
    child = psutil.Process(mine.recv())
    supervisor.kill()
    child.wait(6)
