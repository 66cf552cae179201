"""What a session remembers of its scanners beyond the life of their process: who runs, and who is not run any more.

One small file of the runtime folder. The scanners' process writes it while it lives, the supervisor once it has died.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from liualgotrader.common.files import replace_file
from liualgotrader.common.tlog import warn

log = logging.getLogger(__name__)

FILE = "scanners.json"


class Off(msgspec.Struct, frozen=True):
    """Why a scanner is not run any more in this session, and since when (ns UTC, market time)."""

    at: int
    reason: str


class _State(msgspec.Struct):
    running: list[str] = []
    suspects: list[str] = []  # several ran together when their process ended
    off: dict[str, Off] = {}


class Marks:
    """The marks of one session. A scanner is marked while code of it may run."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        self._state = _state_in(self._path)

    @property
    def off(self) -> Mapping[str, Off]:
        """The scanners that are not run any more."""
        return self._state.off

    @property
    def suspects(self) -> list[str]:
        """Scanners of which one has ended the process, nobody knows which: they are to run one after another."""
        return self._state.suspects

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Mark a scanner while its code runs."""
        self._state.running.append(name)
        self._write()
        try:
            yield
        finally:
            self._state.running.remove(name)
            self._write()

    def put_off(self, name: str, at: int, reason: str) -> None:
        """Write down that a scanner is not run any more."""
        self._state.off[name] = Off(at, reason)
        self._write()

    def blame(self, at: int, reason: str) -> str:
        """Return the one scanner that ran when its process ended by itself, now off; empty if that is not known.

        If several ran, they become suspects.
        """
        ran = list(dict.fromkeys(self._state.running))
        self._state.running.clear()
        if len(ran) == 1:
            self.put_off(ran[0], at, reason)
            return ran[0]
        self._state.suspects = sorted({*self._state.suspects, *ran})
        self._write()
        return ""

    def nobody_runs(self) -> None:
        """Forget who was running: the process was ended by somebody else."""
        self._state.running.clear()
        self._write()

    def _write(self) -> None:
        with suppress(OSError):  # a full disk: the marks only say who is to blame if the process dies
            replace_file(self._path, msgspec.json.encode(self._state))


def _state_in(path: Path) -> _State:
    """Return what the file holds; nothing if there is none, or the loss of the whole machine has left half of it."""
    if not path.exists():
        return _State()
    try:
        return msgspec.json.decode(path.read_bytes(), type=_State)
    except msgspec.DecodeError as error:
        warn(log, "scanner_marks_unreadable", error=error)
        return _State()
