"""What the engine decides, for its shell to carry out: intents, rows to keep, work to do, lines to log."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from liualgotrader.common.orders import Intent
from liualgotrader.common.rows import SignalRow


@dataclass(frozen=True, slots=True)
class Reject:
    """A strategy wants nothing more of a symbol this session."""

    slot: int
    strategy: str
    symbol: str
    at: int


@dataclass(frozen=True, slots=True)
class LoadHistory:
    """A symbol's minute bars from `since` (ns UTC) on are to be loaded and handed to `Engine.on_history`.

    `since` is 0 for a symbol that is new: all the history that there is to be.
    """

    symbol: str
    since: int = 0


@dataclass(frozen=True, slots=True)
class SlotStopped:
    """A strategy is called no more; the sentence becomes its end reason."""

    slot: int
    reason: str


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A strategy's call really waits. The shell runs `rest` and hands the answer to `Engine.on_answer`.

    `first` is what the coroutine has yielded already.
    """

    ticket: int
    slot: int
    symbol: str
    rest: Coroutine[Any, Any, Any]
    first: Any


@dataclass(frozen=True, slots=True)
class LogLine:
    """Something for the log; `level` is a logging level."""

    level: int
    text: str


Output = Intent | SignalRow | Reject | LoadHistory | SlotStopped | WaitingCall | LogLine
