"""What outlives the scanners' process: which scanners run at this moment, and which are not run any more.

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


class StoppedScanner(msgspec.Struct, frozen=True):
    """Why a scanner is not run any more in this session, and since when (ns UTC, market time)."""

    at: int
    reason: str


class _State(msgspec.Struct):
    running: list[str] = []
    suspects: list[str] = []  # several ran together when their process ended
    off: dict[str, StoppedScanner] = {}


class ScannerMarks:
    """The marks of one session. A scanner is marked while code of it may run."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        self._state = _State()
        if self._path.exists():
            try:
                self._state = msgspec.json.decode(self._path.read_bytes(), type=_State)
            except msgspec.DecodeError as error:  # the loss of the whole machine has left half a file
                warn(log, "scanner_marks_unreadable", error=error)

    @property
    def stopped(self) -> Mapping[str, StoppedScanner]:
        """The scanners that are not run any more."""
        return self._state.off

    @property
    def suspects(self) -> list[str]:
        """Scanners that ran when one of them ended the process; it is unknown which, so they run one after another."""
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

    def stop(self, name: str, at: int, reason: str) -> None:
        """Remember that a scanner is not run any more."""
        self._state.off[name] = StoppedScanner(at, reason)
        self._write()

    def blame(self, at: int, reason: str) -> str:
        """Stop and return the one scanner that ran when its process ended by itself; empty if it is unknown which.

        If several ran, they become suspects.
        """
        ran = list(dict.fromkeys(self._state.running))
        self._state.running.clear()
        if len(ran) == 1:
            self.stop(ran[0], at, reason)
            return ran[0]
        self._state.suspects = sorted({*self._state.suspects, *ran})
        self._write()
        return ""

    def clear_running(self) -> None:
        """Forget which scanners ran: their process was ended from outside."""
        self._state.running.clear()
        self._write()

    def _write(self) -> None:
        with suppress(OSError):  # a full disk: the marks only say which scanner ended the process
            replace_file(self._path, msgspec.json.encode(self._state))
