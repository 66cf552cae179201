"""The engine's outputs, for its shell to carry out: intents, rows, work, lines to log."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from liualgotrader.common.orders import Intent
from liualgotrader.common.rows import SignalRow


@dataclass(frozen=True, slots=True)
class Reject:
    """A strategy has rejected a symbol for this session."""

    slot: int
    strategy: str
    symbol: str
    at: int


@dataclass(frozen=True, slots=True)
class LoadHistory:
    """Load a symbol's minute bars from `since` (ns UTC) on and pass them to `Engine.on_history`.

    `since` is 0 for a new symbol, which gets all of its history.
    """

    symbol: str
    since: int = 0


@dataclass(frozen=True, slots=True)
class SlotStopped:
    """A strategy was stopped; the sentence becomes its end reason."""

    slot: int
    reason: str


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A strategy's call waits for something. The shell runs `rest` and passes the answer to `Engine.on_answer`.

    `first` is what the coroutine has yielded already.
    """

    ticket: int
    slot: int
    symbol: str
    rest: Coroutine[Any, Any, Any]
    first: Any


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the log; `level` is a logging level."""

    level: int
    text: str


Output = Intent | SignalRow | Reject | LoadHistory | SlotStopped | WaitingCall | LogLine
