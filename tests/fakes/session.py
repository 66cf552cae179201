"""One process of a session inside the test's own: a real plan, page and control link."""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.clock import HOUR, WallClock
from liualgotrader.common.control import Notice, ProcessReport, StopCommand
from liualgotrader.common.session_plan import Endpoints, Hours, SessionPlan, SlotPlan, write_plan
from liualgotrader.common.tradeplan import Limits, TradePlan
from liualgotrader.ipc.child_process import Child
from liualgotrader.ipc.process_status import PageClock
from liualgotrader.ipc.session_page import SessionPage

NOWHERE = Endpoints("http://127.0.0.1:1", "http://127.0.0.1:1", "ws://127.0.0.1:1", "ws://127.0.0.1:1", loopback=True)


def open_hours(*, bypass: bool = False) -> Hours:
    """Return a session that opened an hour ago by the real clock."""
    now = WallClock().now()
    return Hours("2024-03-08", now - HOUR, now + HOUR, now + HOUR, now + 2 * HOUR, bypass=bypass)


def make_plan(
    folder: Path, tradeplan: dict[str, Any] | None = None, page: SessionPage | None = None, **more: Any
) -> SessionPlan:
    """Return a plan for two consumers, written into its runtime folder; with a fresh page unless one is given."""
    values: dict[str, Any] = {
        "batch_id": "0b5e7a4e-0000-4000-8000-000000000000",
        "environment": "SIMULATED",
        "account_is_new": True,
        "hours": open_hours(),
        "simulated_clock": False,
        "endpoints": NOWHERE,
        "run_dir": str(folder),
        "journal_dir": str(folder),
        "log_dir": str(folder / "logs"),
        "consumers": 2,
        "slots": (SlotPlan(0, "Alpha", 0, 1), SlotPlan(1, "Alpha", 1, 2)),
        "tradeplan": msgspec.convert(tradeplan or {}, TradePlan),
        "tradeplan_dir": str(folder),
        "seed": 0,
        "limits": Limits(),
    }
    plan = SessionPlan(**{**values, **more})
    write_plan(plan)
    if page is None:
        SessionPage.create(plan.page_path, plan.process_names(), plan.link_names()).close()
    return plan


class HostedChild:
    """A `Child` in this process, and the supervisor's end of its control link."""

    def __init__(self, name: str, plan: SessionPlan) -> None:
        self.page = SessionPage(plan.page_path)
        self._ours, theirs = multiprocessing.Pipe()
        self.control: Connection = self._ours
        self.child = Child(name, plan, theirs, self.page)
        self.child.status.arrive()
        self.child.listen()
        self._theirs = theirs
        self._said: list[ProcessReport] = []

    def said(self, kind: type[Any]) -> list[Any]:
        """Return all messages of a kind that the process sent so far."""
        while self._ours.poll(0):
            self._said.append(msgspec.msgpack.decode(self._ours.recv_bytes(), type=ProcessReport))
        return [message for message in self._said if isinstance(message, kind)]

    @property
    def notices(self) -> list[str]:
        """The lines for a person so far."""
        return [notice.text for notice in self.said(Notice)]

    def say(self, message: Any) -> None:
        """Say something to the process."""
        self._ours.send_bytes(msgspec.msgpack.encode(message))

    def stop(self) -> None:
        """Say that the session is over."""
        self.say(StopCommand("the session is over"))

    def close(self) -> None:
        """Let go of what a process's end would let go of."""
        asyncio.get_running_loop().remove_reader(self._theirs.fileno())
        self.child.status.close()
        if isinstance(self.child.clock, PageClock):
            self.child.clock.close()
        self._ours.close()
        self._theirs.close()
