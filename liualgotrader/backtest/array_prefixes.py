"""Whether array signals use bars that had not closed: `signals` is asked again about bars that end earlier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np

from liualgotrader.backtest.array_signals import WholeBars, columns_of
from liualgotrader.common.interpreter import chance
from liualgotrader.common.market_columns import Floats, Ints
from liualgotrader.common.plugins import one_line
from liualgotrader.strategies.base import Strategy

MOST_ENDS = 10_000  # of a symbol that are tried unless all are wanted
_SAME = 1e-9  # of a figure: what sums of other lengths may differ by

Columns = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class ArrayRows:
    """What one strategy answers about one symbol: a row a bar, of which those from `first` on may act."""

    strategy: str
    symbol: str
    opened_at: Ints
    first: int
    columns: Columns

    def text(self, row: int) -> str:
        """Return what a row wants."""
        entry, leaves = self.columns["entry"][row], bool(self.columns["exit"][row])
        parts = ["exit"] if leaves else []
        if entry:
            parts.append(f"entry {entry:+.0f} size {self.columns['size'][row]:.10g}")
            parts += [f"{n} {p:.10g}" for n in ("stop", "target") if not np.isnan(p := self.columns[n][row])]
        return ", ".join(parts) or "nothing"

    def acts(self) -> bool:
        """Whether any row wants something."""
        return bool(self.columns["entry"][self.first :].any() or self.columns["exit"][self.first :].any())

    def first_difference(self, other: Columns, skip: int = 0, same: float = _SAME) -> int | None:
        """Return the first row that wants something else than its counterpart in `other`, which lacks the first `skip`."""
        first, end = max(self.first, skip), skip + len(other["entry"])
        mine = {name: column[first:end] for name, column in self.columns.items()}
        theirs = {name: column[first - skip :] for name, column in other.items()}
        if all(np.array_equal(mine[name], theirs[name], equal_nan=True) for name in mine):
            return None
        wrong = (mine["entry"] != theirs["entry"]) | (mine["exit"].astype(bool) != theirs["exit"].astype(bool))
        for name in ("size", "stop", "target"):
            close = np.isclose(mine[name], theirs[name], rtol=same, atol=0, equal_nan=True)
            wrong |= (mine["entry"] != 0) & ~close
        return first + int(np.argmax(wrong)) if wrong.any() else None


@dataclass
class AskedRows:
    """Keeps what strategies answer about all bars: an `InspectArrays`."""

    session_opens: Sequence[int]
    rows: list[ArrayRows] = field(default_factory=list)
    unsteady: set[str] = field(default_factory=set)  # strategies that answer otherwise when they are asked twice

    def __call__(self, strategy: Strategy, symbol: str, whole: WholeBars) -> None:
        """Ask twice, and keep the answer if it is the same."""
        ask = _asking(strategy, whole)
        opened = whole.first(whole.rows).opened_at
        known = int(np.searchsorted(opened, self.session_opens[0]))
        rows = ArrayRows(strategy.name, symbol, opened, known, ask(whole.rows))
        if rows.first_difference(ask(whole.rows)) is not None:
            self.unsteady.add(strategy.name)
            return
        self.rows.append(rows)
        self.compare(rows, ask)

    def compare(self, rows: ArrayRows, ask: Callable[[int], Columns]) -> None:
        """Do nothing more with the answer."""


@dataclass(frozen=True, slots=True)
class EarlierEnd:
    """A row that wants something else if the bars end with the one in place `end`: `cut` instead of `full`."""

    rows: ArrayRows
    row: int
    end: int
    full: str
    cut: str


@dataclass
class EarlierEnds(AskedRows):
    """Asks about the bars up to many ends, and keeps the first answer of each strategy and symbol that differs.

    The ends are all, or `most` of them: sessions' ends first, then where what is wanted changes, then others.
    `told(strategy, symbol, done, of)` hears of each and stops by answering False.
    """

    most: int = MOST_ENDS
    told: Callable[[str, str, int, int], object] = lambda strategy, symbol, done, of: None
    found: list[EarlierEnd] = field(default_factory=list)
    tried: int = 0
    possible: int = 0
    stopped: bool = False

    def compare(self, rows: ArrayRows, ask: Callable[[int], Columns]) -> None:
        """Ask about earlier ends until one differs. One that raises differs too, if the strategy could do with fewer bars."""
        ends, answered = self._ends(rows), False
        raised: EarlierEnd | None = None
        self.possible += max(0, len(rows.opened_at) - rows.first - 1)
        for done, end in enumerate(ends, 1):
            self.tried += 1
            try:
                answer = ask(end + 1)
            except Exception as error:
                raised = raised or EarlierEnd(rows, end, end, rows.text(end), f"it raises {one_line(error)}")
                if answered:
                    break
                continue
            answered, raised = True, None
            if (row := rows.first_difference(answer)) is not None:
                cut = ArrayRows(rows.strategy, rows.symbol, rows.opened_at, rows.first, answer)
                self.found.append(EarlierEnd(rows, row, end, rows.text(row), cut.text(row)))
                return
            if self.told(rows.strategy, rows.symbol, done, len(ends)) is False:
                self.stopped = True
                return
        if raised is not None:
            self.found.append(raised)

    def _ends(self, rows: ArrayRows) -> list[int]:
        """Return the places of the bars to end with, the last one left out."""
        every = np.arange(rows.first, len(rows.opened_at) - 1)
        if len(every) <= self.most:
            return every.tolist()
        closes = np.searchsorted(rows.opened_at, self.session_opens[1:]) - 1
        changes = np.zeros(len(rows.opened_at), bool)
        for name in ("entry", "exit"):
            changes[1:] |= np.diff(rows.columns[name]) != 0
        chosen: set[int] = set(closes[closes >= rows.first].tolist())
        for more in (np.flatnonzero(changes), every):
            wanted = [one for one in more.tolist() if rows.first <= one < len(rows.opened_at) - 1 and one not in chosen]
            room = max(0, self.most - len(chosen))
            spread = np.linspace(0, len(wanted) - 1, min(room, len(wanted))).round().astype(int)
            chosen |= {wanted[place] for place in spread.tolist()}
        return sorted(chosen)


def _asking(strategy: Strategy, whole: WholeBars) -> Callable[[int], Columns]:
    """Return a function that asks about the first so many bars, each time with the same random numbers to come."""
    own = chance.get()
    state, shared = own.getstate() if own is not None else None, np.random.get_state()

    def ask(rows: int) -> Columns:
        try:
            return columns_of(copy(strategy), whole.first(rows))
        finally:
            np.random.set_state(shared)
            if own is not None and state is not None:
                own.setstate(state)

    return ask
