"""Around each call of a strategy: its name on the session page, and what it changes for everybody in the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from liualgotrader.common.folder_imports import forget_plain_names
from liualgotrader.common.interpreter import WATCHED, InterpreterState, listed
from liualgotrader.ipc.process_status import ProcessStatus
from liualgotrader.ipc.session_page import symbol_cell

_NOBODY = -1
_CLOSELY = 50  # first calls of each strategy after which the interpreter is looked at, so that it is known whose it was


class CallGuard:
    """Puts each strategy call on the session page.

    The interpreter's settings that strategies share are compared after each of a strategy's first calls and after every
    batch (`compare`), put back, and `tell` gets one sentence that names the strategy.
    """

    def __init__(self, status: ProcessStatus, tell: Callable[[str], None]) -> None:
        self._status, self._tell = status, tell
        self._cells: dict[str, int] = {}
        self._names: Mapping[int, str] = {}
        self._closely: dict[int, int] = {}
        self._called: set[int] = set()
        self._slot = _NOBODY
        self._kept = InterpreterState(())
        self._said: set[str] = set()
        self.batch = 0

    def begin(self, names: Mapping[int, str]) -> None:
        """Take the settings as they are now for those that are right; `names` are the strategies by slot."""
        self._names = names
        self._closely = dict.fromkeys(names, _CLOSELY)
        self._kept = InterpreterState(WATCHED)

    def calling(self, slot: int, symbol: str) -> None:
        """State the call that begins."""
        if slot != self._slot:
            self._slot = slot
            self._called.add(slot)
        cell = self._cells.get(symbol)
        if cell is None:
            cell = self._cells[symbol] = symbol_cell(symbol)
        self._status.calling(slot, cell, self.batch)

    def returned(self) -> None:
        """State that it ended."""
        self._status.returned()
        if self._closely and self._slot in self._closely:
            self._look_closely(self._slot)

    def _look_closely(self, slot: int) -> None:
        self.compare()
        self._closely[slot] -= 1
        if not self._closely[slot]:
            del self._closely[slot]

    def compare(self) -> None:
        """Put back what was changed since it was looked at last, and say who did it."""
        forget_plain_names()
        changed = self._kept.put_back()
        if changed:
            self._blame(changed)
        self._called.clear()
        self._slot = _NOBODY

    def _blame(self, changed: Sequence[str]) -> None:
        names = sorted({self._names[slot] for slot in self._called or self._names if slot in self._names})
        whose = f"strategy {names[0]}" if len(names) == 1 else f"one of the strategies {', '.join(names)}"
        if len(names) > 1:
            self._closely = dict.fromkeys(self._names, _CLOSELY)
        sentence = f"{whose} has changed {listed(changed)} for every strategy of its process; it was put back"
        if sentence not in self._said:
            self._said.add(sentence)
            self._tell(sentence)
