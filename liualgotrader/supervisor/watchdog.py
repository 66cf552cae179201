"""What the session page says about processes that are alive but not well. Pure: numbers in, findings out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from liualgotrader.common.clock import SECOND
from liualgotrader.ipc.process_status import MAKING
from liualgotrader.ipc.session_page import Cell, Life, SessionPage, cell_symbol

MUTE_SECONDS = 10.0  # machine time without a turn of the loop
MAKE_SECONDS = 30.0  # machine time to make one strategy: its file's imports, its constructor and `create`
ARRIVE_SECONDS = 60.0  # machine time from spawn to the first word on the page

DEATHS_TO_GIVE_UP = 5
DEATHS_WITHIN = 60 * SECOND
_BACK_OFF = (0.0, 0.5, 1.0, 2.0)


class ProcessLook(NamedTuple):
    """One look at a process."""

    name: str
    pid: int
    spawned_at: int  # machine ns
    row_pid: int
    life: int
    beat: int
    call_slot: int
    call_symbol: int
    call_batch: int
    call_count: int
    call_since: int


class StuckCall(NamedTuple):
    """A strategy was called and has not returned."""

    process: str
    slot: int
    symbol: str
    seconds: float


class SilentProcess(NamedTuple):
    """A process's loop does not turn, and no strategy is to blame."""

    process: str
    seconds: float


def look(page: SessionPage, name: str, pid: int, spawned_at: int) -> ProcessLook:
    """Return what the page says about a process."""
    row = page.process(name)
    cells = (Cell.PID, Cell.LIFE, Cell.BEAT, Cell.CALL_SLOT, Cell.CALL_SYMBOL, Cell.CALL_BATCH)
    return ProcessLook(
        name, pid, spawned_at, *(page.get(row, cell) for cell in (*cells, Cell.CALL_COUNT, Cell.CALL_SINCE))
    )


def finding(
    seen: ProcessLook, before: ProcessLook, machine: int, answer_seconds: float
) -> StuckCall | SilentProcess | None:
    """Return what is wrong with a process that was looked at twice, None if all is well; `seen` is the newer look.

    Twice, because the cells of a call are not written in one step: only a call that stands still counts.
    """
    if seen.row_pid != seen.pid:
        waited = (machine - seen.spawned_at) / SECOND
        return SilentProcess(seen.name, waited) if waited > ARRIVE_SECONDS else None
    if seen.call_since:
        stuck = (machine - seen.call_since) / SECOND
        if stuck <= (MAKE_SECONDS if seen.call_batch == MAKING else answer_seconds) or before[6:] != seen[6:]:
            return None
        return StuckCall(seen.name, seen.call_slot, cell_symbol(seen.call_symbol), stuck)
    silent = (machine - seen.beat) / SECOND
    return SilentProcess(seen.name, silent) if silent > MUTE_SECONDS and seen.life != Life.FINISHED else None


def back_off(deaths: Iterable[int], machine: int) -> float | None:
    """Return how long to wait before a process is started again, None to give up; `deaths` are machine ns."""
    recent = sum(machine - at <= DEATHS_WITHIN for at in deaths)
    if recent >= DEATHS_TO_GIVE_UP:
        return None
    return _BACK_OFF[min(max(recent - 1, 0), len(_BACK_OFF) - 1)]
