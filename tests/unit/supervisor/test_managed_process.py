"""What the page says about a process, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.ipc.process_status import MAKING
from liualgotrader.ipc.session_page import Life, symbol_cell
from liualgotrader.supervisor.managed_process import ProcessLook, SilentProcess, StuckCall, back_off, finding

NOW = 1000 * SECOND
WELL = ProcessLook("consumer-0", 7, NOW - 90 * SECOND, 7, Life.READY, NOW, 3, symbol_cell("IBM"), 5, 12, 0)


def seen(**changes: Any) -> ProcessLook:
    return WELL._replace(**changes)


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (seen(), None),
        (seen(beat=NOW - 11 * SECOND), SilentProcess("consumer-0", 11.0)),
        (seen(beat=NOW - 9 * SECOND), None),
        (seen(beat=NOW - 99 * SECOND, life=Life.FINISHED), None),
        (seen(call_since=NOW - 4 * SECOND, beat=NOW - 99 * SECOND), None),
        (seen(call_since=NOW - 6 * SECOND), StuckCall("consumer-0", 3, "IBM", 6.0)),
        (seen(call_since=NOW - 29 * SECOND, call_batch=MAKING), None),
        (seen(call_since=NOW - 31 * SECOND, call_batch=MAKING), StuckCall("consumer-0", 3, "IBM", 31.0)),
        (seen(row_pid=6, beat=0), SilentProcess("consumer-0", 90.0)),
        (seen(row_pid=6, beat=0, spawned_at=NOW - 30 * SECOND), None),
    ],
)
def test_a_process_is_judged_by_its_beat_and_its_call(look: Any, expected: Any) -> None:
    assert finding(look, look, NOW, 5.0) == expected


def test_a_call_that_is_another_one_at_the_second_look_is_no_finding() -> None:
    stuck = seen(call_since=NOW - 6 * SECOND)
    assert finding(stuck, stuck._replace(call_count=11), NOW, 5.0) is None


@pytest.mark.parametrize(
    ("ages", "wait"),
    [([0], 0.0), ([10, 0], 0.5), ([30, 10, 0], 1.0), ([40, 30, 10, 0], 2.0), ([50, 40, 30, 10, 0], None)],
)
def test_restarts_wait_longer_each_time_and_end_after_five_deaths_in_a_minute(
    ages: list[Any], wait: float | None
) -> None:
    assert back_off([NOW - age * SECOND for age in ages], NOW) == wait


def test_deaths_of_long_ago_do_not_count() -> None:
    assert back_off([NOW - 61 * SECOND] * 10 + [NOW], NOW) == 0.0
