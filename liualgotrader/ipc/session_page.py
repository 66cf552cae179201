"""One page of shared memory per session: the simulated market's clock, who is alive, and what is still under way.

The page is a small file that every process maps. It begins with the names of processes and links (JSON),
then come 64-bit cells. A cell has one writer at a time, so no lock is needed; the clock's three numbers go
into a ring, and count only once they are all there, so that a writer killed half-way stops no reader.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from liualgotrader.common.clock import NEVER
from liualgotrader.common.files import replace_file

_NAMES_BYTES = 8192
_ANCHORS = 64
_HEAD, _COUNT, _WAITING = 16, 0, 1
_ANCHOR_CELLS = 3
_PROCESS_CELLS, _LINK_CELLS = 16, 4
_SPEED_UNIT = 1_000_000  # speeds are kept in millionths


class Life(IntEnum):
    """What a process is doing, as the page shows it."""

    ABSENT = 0  # does not take part
    DOWN = 1  # starting, restarting or dead: the market waits
    READY = 2
    FINISHED = 3  # ended on purpose: the market goes on without it


_AWAY = (Life.ABSENT, Life.FINISHED)  # the market does not wait for them


class Cell(IntEnum):
    """The cells of one process."""

    LIFE = 0
    PID = 1
    DEADLINE = 2  # the market instant it waits for next
    BUSY = 3  # activities under way that the market must wait for
    BEAT = 4  # machine time of its loop's last turn
    CALL_SLOT = 5  # the strategy being called: slot, symbol, batch, running number, since (machine ns; 0 = none)
    CALL_SYMBOL = 6
    CALL_BATCH = 7
    CALL_COUNT = 8
    CALL_SINCE = 9
    FEED_SENT = 10  # market-data frames the simulated market sent it, and those it has handled
    FEED_HANDLED = 11
    UPDATES_SENT = 12  # number of the newest order update sent to it, and handled by it
    UPDATES_HANDLED = 13
    ACTING = 14  # 1 while a consumer acts on what it has gathered (they take turns while the market is held)
    CUT_OFF = 15  # 1 while a scripted fault keeps it from the simulated market: nobody waits for it


class Anchor(NamedTuple):
    """market = market0 + speed * (machine - machine0)."""

    market0: int
    machine0: int
    speed: float

    def market(self, machine: int) -> int:
        """Return the market's time at that machine time."""
        if self.speed == 0:
            return self.market0
        return self.market0 + round(self.speed * (machine - self.machine0))


class SessionPage:
    """The page, mapped. `processes` and `links` are the names it was made with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        names = json.loads(self._map[:_NAMES_BYTES].rstrip(b"\0"))
        self.processes: tuple[str, ...] = tuple(names["processes"])
        self.links: tuple[str, ...] = tuple(names["links"])
        self._views: list[memoryview] = []
        self._cells = memoryview(self._map)[_NAMES_BYTES:].cast("q")
        self._first_process = _HEAD + _ANCHORS * _ANCHOR_CELLS
        self._first_link = self._first_process + len(self.processes) * _PROCESS_CELLS
        self._end = self._first_link + len(self.links) * _LINK_CELLS
        self._quiet, self._quiet_until = b"", -NEVER  # the cells as they were when all was quiet, and up to when

    @classmethod
    def create(cls, path: Path, processes: Sequence[str], links: Sequence[str]) -> SessionPage:
        """Make a fresh page for these processes and links, replacing an old one, and map it."""
        names = json.dumps({"processes": list(processes), "links": list(links)}).encode()
        if len(names) > _NAMES_BYTES:
            raise ValueError(f"{len(processes)} processes and {len(links)} links do not fit on a page")
        count = _HEAD + _ANCHORS * _ANCHOR_CELLS + len(processes) * _PROCESS_CELLS + len(links) * _LINK_CELLS
        replace_file(path, names.ljust(_NAMES_BYTES, b"\0") + bytes(8 * count))
        return cls(path)

    def close(self) -> None:
        """Unmap the page."""
        for view in self._views:
            view.release()
        self._cells.release()
        self._map.close()

    # --- the clock -------------------------------------------------------------------------------

    def set_anchor(self, market0: int, machine0: int, speed: float) -> None:
        """State the market's time. Only the simulated market calls this."""
        cells = self._cells
        count = cells[_COUNT]
        at = _HEAD + count % _ANCHORS * _ANCHOR_CELLS
        cells[at], cells[at + 1], cells[at + 2] = market0, machine0, round(speed * _SPEED_UNIT)
        cells[_COUNT] = count + 1

    def anchor(self, back: int = 0) -> Anchor | None:
        """Return the newest anchor, or the one `back` before it; None if there is none (any more)."""
        cells = self._cells
        while True:
            count = cells[_COUNT]
            if count <= back or back >= _ANCHORS - 1:
                return None
            at = _HEAD + (count - 1 - back) % _ANCHORS * _ANCHOR_CELLS
            found = Anchor(cells[at], cells[at + 1], cells[at + 2] / _SPEED_UNIT)
            if cells[_COUNT] - count < _ANCHORS - 1 - back:  # it was not written over meanwhile
                return found

    @property
    def is_held(self) -> bool:
        """Whether the simulated market stands until all its processes are done; never without such a market."""
        anchor = self.anchor()
        return anchor is not None and anchor.speed == 0

    def passed_at(self, market: int) -> int:
        """Return the machine time at which the market clock passed `market`.

        An instant ahead of the market gives a machine time in the future, `NEVER` while the market stands.
        One older than the page remembers gives the oldest machine time it remembers.
        """
        later = None
        for back in range(_ANCHORS - 1):
            anchor = self.anchor(back)
            if anchor is None:
                break
            if anchor.market0 < market:
                ahead = market - anchor.market0
                crossing = anchor.machine0 + round(ahead / anchor.speed) if anchor.speed else NEVER
                return crossing if later is None else min(crossing, later)
            later = anchor.machine0
        return NEVER if later is None else later

    # --- processes -------------------------------------------------------------------------------

    def process(self, name: str) -> int:
        """Return the index of a process by name."""
        return self.processes.index(name)

    def row(self, process: int) -> memoryview:
        """Return the cells of one process for writing by plain index, where `put` costs too much."""
        at = self._first_process + process * _PROCESS_CELLS
        view = self._cells[at : at + _PROCESS_CELLS]
        self._views.append(view)
        return view

    def get(self, process: int, cell: Cell) -> int:
        """Return one cell of a process."""
        return self._cells[self._first_process + process * _PROCESS_CELLS + cell]

    def put(self, process: int, cell: Cell, value: int) -> None:
        """Write one cell of a process."""
        self._cells[self._first_process + process * _PROCESS_CELLS + cell] = value

    def column(self, cell: Cell) -> list[int]:
        """Return one cell of every process, in their order."""
        found: list[int] = self._cells[self._first_process + cell : self._first_link : _PROCESS_CELLS].tolist()
        return found

    def snapshot(self) -> bytes:
        """Return the cells of all processes and links: while two are equal, no work has moved."""
        return self._cells[self._first_process : self._end].tobytes()

    def work(self) -> list[int]:
        """Return the cells of all processes and links but the beats: while two are equal, no process has got on."""
        return self._without_beats(self._cells[self._first_process : self._end].tolist())

    def _without_beats(self, cells: Sequence[int]) -> list[int]:
        found = list(cells)
        found[Cell.BEAT : len(self.processes) * _PROCESS_CELLS : _PROCESS_CELLS] = [0] * len(self.processes)
        return found

    # --- links -----------------------------------------------------------------------------------

    def link(self, name: str) -> int:
        """Return the index of a link by name."""
        return self.links.index(name)

    def sent(self, link: int) -> int:
        """Return how many messages were sent over a link."""
        return self._cells[self._first_link + link * _LINK_CELLS]

    def set_sent(self, link: int, count: int) -> None:
        """State how many messages were sent over a link; the writer calls it *before* it sends."""
        self._cells[self._first_link + link * _LINK_CELLS] = count

    def handled(self, link: int) -> int:
        """Return how many messages of a link were handled."""
        return self._cells[self._first_link + link * _LINK_CELLS + 1]

    def set_handled(self, link: int, count: int) -> None:
        """State how many messages were handled; the reader calls it after all that follows from them was sent."""
        self._cells[self._first_link + link * _LINK_CELLS + 1] = count

    def waits_for(self, link: int) -> bool:
        """Return whether the reader of a link can take what is on its way: a producer that is cut off takes nothing."""
        name = self.links[link]
        if name != "picks" and not name.startswith("needs-"):
            return True
        return not self.get(self.process("producer"), Cell.CUT_OFF)

    # --- the held market ---------------------------------------------------------------------------

    def set_waiting(self, waiting: bool) -> None:
        """State whether the simulated market waits to be told that all is quiet."""
        self._cells[_WAITING] = int(waiting)

    @property
    def waiting(self) -> bool:
        """Whether the simulated market waits to be told that all is quiet."""
        return self._cells[_WAITING] != 0

    def under_way(self, market: int) -> list[str]:
        """Return what the market has to wait for at `market`, in words; empty when all is quiet.

        Looks twice: work that moves from one process to another between two looks changes a count. One look is enough
        while no cell has changed since all was quiet and no process's deadline has come.
        """
        looked = self.snapshot()
        if market < self._quiet_until and looked == self._quiet:
            return []
        first = memoryview(looked).cast("q").tolist()
        reasons = self._reasons(first, market)
        if reasons:
            return reasons
        looked = self.snapshot()
        second = memoryview(looked).cast("q").tolist()
        reasons = self._reasons(second, market)
        if not reasons and first != second and self._without_beats(first) != self._without_beats(second):
            reasons = ["work is on its way"]
        if not reasons:
            rows = range(0, len(self.processes) * _PROCESS_CELLS, _PROCESS_CELLS)
            deadlines = (second[row + Cell.DEADLINE] for row in rows if second[row + Cell.LIFE] not in _AWAY)
            self._quiet, self._quiet_until = looked, min(deadlines, default=NEVER)
        return reasons

    def _reasons(self, cells: list[int], market: int) -> list[str]:
        reasons: list[str] = []
        for index, name in enumerate(self.processes):
            row = cells[index * _PROCESS_CELLS : (index + 1) * _PROCESS_CELLS]
            if row[Cell.LIFE] in _AWAY or row[Cell.CUT_OFF]:
                continue
            if row[Cell.LIFE] == Life.DOWN:
                reasons.append(f"{name} is not up")
            elif row[Cell.BUSY] > 0:
                reasons.append(f"{name} is busy")
            elif row[Cell.DEADLINE] <= market:
                reasons.append(f"{name} has a timer to serve")
            elif row[Cell.FEED_HANDLED] < row[Cell.FEED_SENT]:
                reasons.append(f"{name} has market data to take")
            elif row[Cell.UPDATES_HANDLED] < row[Cell.UPDATES_SENT]:
                reasons.append(f"{name} has order updates to take")
        base = len(self.processes) * _PROCESS_CELLS
        for index, name in enumerate(self.links):
            at = base + index * _LINK_CELLS
            if cells[at + 1] < cells[at] and self.waits_for(index):
                reasons.append(f"link {name} is not empty")
        return reasons


def symbol_cell(symbol: str) -> int:
    """Return the first eight characters of a symbol as one cell."""
    return int.from_bytes(symbol.encode()[:8].ljust(8, b"\0"), "little", signed=True)


def cell_symbol(cell: int) -> str:
    """Return the symbol that `symbol_cell` packed."""
    return cell.to_bytes(8, "little", signed=True).rstrip(b"\0").decode(errors="replace")
