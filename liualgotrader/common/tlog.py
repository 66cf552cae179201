"""Log lines: `say` for facts that changed the state of the system, `tlog` for strategies of the original."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from liualgotrader.common.clock import WallClock, as_datetime

_LINE = "%(asctime)s %(process)d %(levelname)s %(message)s"


def some_of(names: Sequence[str], most: int = 12) -> str:
    """Return the first names for a sentence, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def say(log: logging.Logger, event: str, **facts: object) -> None:
    """Log one fact at INFO as `event key=value ...`; event and keys are words of design/glossary.md."""
    if log.isEnabledFor(logging.INFO):
        log.info("%s", line(event, facts), stacklevel=2)


def warn(log: logging.Logger, event: str, **facts: object) -> None:
    """The same at WARNING: a person may want to look today."""
    log.warning("%s", line(event, facts), stacklevel=2)


def line(event: str, facts: dict[str, object]) -> str:
    """Return the text that `say` logs."""
    return " ".join([event, *(f"{key}={value}" for key, value in facts.items())])


def tlog(msg: str, origin: str | None = None) -> None:
    """Log a line of user code as `[<caller>()][<pid>]<local time>:<msg>`."""
    caller = origin or sys._getframe(1).f_code.co_name
    local = datetime.fromtimestamp(WallClock().now() / 1e9)  # noqa: DTZ006 - the original shows local time
    logging.getLogger("liualgotrader.user").info("[%s()][%d]%s:%s", caller, os.getpid(), local, msg)


def tlog_exception(origin: str) -> None:
    """Log the exception being handled, with its traceback, under the name `origin`."""
    logging.getLogger("liualgotrader.user").exception("%s", origin)


def log_to_file(folder: Path, name: str, *, debug: bool = False) -> None:
    """Send all log lines of this process to `<folder>/<name>.log`, rotated at 50 MB."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        folder / f"{name}.log", maxBytes=50_000_000, backupCount=5, encoding="utf-8", delay=True
    )
    handler.setFormatter(_NewYorkTimes(_LINE))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)


class _NewYorkTimes(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return as_datetime(int(record.created * 1e9)).isoformat(" ", "microseconds")
