"""What a supervisor needs around it: stand-in programs, a screen that remembers, a plan on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.session_plan import Endpoints, Hours, SessionPlan, SlotPlan, write_plan
from liualgotrader.common.tradeplan import Timings, TradePlan
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.supervisor.view import GatewayFacts, View

PROGRAMS = {
    name: f"tests.fakes.stack.{name}"
    for name in ("order_gateway", "producer", "consumer", "scanners_runner", "simulator")
}


class RecordingScreen:
    """A screen that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.tables: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = []
        self.views: list[View] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def show(self, view: View) -> None:
        self.views.append(view)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.tables.append((title, tuple(header), [tuple(r) for r in rows]))

    def close(self) -> None:
        pass


async def waiting(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer an operator as a session does that has no batch yet."""
    return {"waiting": "waits for the open"}


class RecordingOwner:
    """The owner of a stack, as the supervisor's session is one."""

    def __init__(self) -> None:
        self.gave_up: list[tuple[int, str]] = []
        self.stopped: list[tuple[int, str]] = []
        self.notices: list[str] = []

    def give_up(self, sentence: str, exit_code: int) -> None:
        self.gave_up.append((exit_code, sentence))

    def slot_stopped(self, slot: int, reason: str) -> None:
        self.stopped.append((slot, reason))

    def notice(self, level: str, text: str) -> None:
        self.notices.append(text)


def plan_in(
    folder: Path, *, consumers: int = 1, answer_seconds: float = 5.0, link: str = "seqpacket"
) -> tuple[SessionPlan, SessionPage]:
    """Return a plan with one strategy per consumer, written into `folder`, and its page."""
    run_dir = folder / "run"
    for name in ("run", "journal", "logs"):
        (folder / name).mkdir()
    plan = SessionPlan(
        batch_id="0b5e7a4e-0000-4000-8000-000000000000",
        environment="SIMULATED",
        hours=Hours(day="2024-06-03", opens_at=1, closes_at=2, liquidates_at=1, ends_at=3),
        simulated_clock=False,
        endpoints=Endpoints("http://127.0.0.1:1", "", "", "", loopback=True),
        run_dir=str(run_dir),
        journal_dir=str(folder / "journal"),
        log_dir=str(folder / "logs"),
        consumers=consumers,
        slots=tuple(SlotPlan(i + 1, "Breakout", i, 100 + i) for i in range(consumers)),
        tradeplan=TradePlan(),
        tradeplan_dir=str(folder),
        seed=0,
        link=link,
        timings=Timings(strategy_answer_seconds=answer_seconds),
    )
    write_plan(plan)
    return plan, SessionPage.create(plan.page_path, plan.process_names(), plan.link_names())


def gateway_facts(**known: Any) -> GatewayFacts:
    """Return what an order gateway tells, with `known` facts, also in the text of its messages; the others say nothing."""
    empty: dict[str, Any] = {n: {} for n in ("foreign", "quarantined", "entries_stopped", "realized", "day_unknown")}
    unknown = dict.fromkeys(("equity", "account_gain", "day_began_with"))
    nothing = {
        **empty,
        **unknown,
        "positions": (),
        "unprotected": (),
        "open_orders": (),
        "activities": (),
        "day_gain": 0,
    }
    return msgspec.convert(nothing | known, GatewayFacts)
