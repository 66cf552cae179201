"""Keeps what user code changes in the interpreter from other code in its process.

The decimal context, NumPy's error state and random numbers live in a `contextvars.Context`: each strategy and scanner
has one of its own, in which all of its code runs. Other settings belong to the whole process and are restored.
"""

from __future__ import annotations

import contextvars
import decimal
import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from types import ModuleType
from typing import Any

from liualgotrader.common.tlog import say

log = logging.getLogger(__name__)

_OURS = logging.getLogger("liualgotrader")
_SIGNALS = [getattr(signal, f"SIG{name}") for name in ("INT", "TERM", "HUP", "ALRM", "CHLD", "PIPE", "USR1")]
_HOOKS: Sequence[tuple[Any, str]] = (
    (sys, "excepthook"),
    (sys, "unraisablehook"),
    (sys, "stdout"),
    (sys, "stderr"),
    (threading, "excepthook"),
)
_LIBRARIES = ("site-packages", "dist-packages")  # a folder of this name on the import path is for everybody
_of_signal: Callable[[int], Any] = getattr(signal, "_signal", signal).getsignal  # without making an enum of the answer


@contextmanager
def no_collection() -> Iterator[None]:
    """Look for no cycles of garbage meanwhile: where very many values are made that stay, each look goes through all of them."""
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_collecting:
            gc.enable()


# --- what is a strategy's own ------------------------------------------------------------------------------

chance: contextvars.ContextVar[random.Random | None] = contextvars.ContextVar("chance", default=None)


def own_context(seed: str, of: contextvars.Context | None = None) -> contextvars.Context:
    """Return a context for one strategy or scanner: its decimal arithmetic, and random numbers that begin with `seed`.

    Its decimal context is a copy of that in `of`, the context in which its file was imported.
    """
    context = of.copy() if of is not None else contextvars.copy_context()
    arithmetic = of.run(decimal.getcontext).copy() if of is not None else decimal.Context()
    context.run(decimal.setcontext, arithmetic)
    context.run(chance.set, random.Random(seed))  # noqa: S311 - a strategy's chance, not a secret
    return context


def own_random() -> ModuleType:
    """Return a module `random` whose functions draw from the random numbers of the strategy that calls them."""

    def drawing(name: str, shared: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(shared)
        def draw(*arguments: Any, **named: Any) -> Any:
            own = chance.get()
            return shared(*arguments, **named) if own is None else getattr(own, name)(*arguments, **named)

        return draw

    module = ModuleType("random", random.__doc__)
    module.__dict__.update(vars(random))
    for name in random.__all__:
        shared = getattr(random, name)
        if getattr(shared, "__self__", None) is not None:
            module.__dict__[name] = drawing(name, shared)
    return module


# --- what is put back --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the interpreter that any code can change. `words` name it in a sentence."""

    words: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _write_warnings(kept: Any) -> None:
    filters, warnings.showwarning = kept
    warnings.filters[:] = filters  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _read_logging() -> Any:
    root = logging.root
    return [*root.handlers], root.level, root.disabled, root.manager.disable, _OURS.level, _OURS.propagate, log.disabled


def _write_logging(kept: Any) -> None:
    root = logging.root
    root.handlers[:] = kept[0]
    root.level, root.disabled, root.manager.disable, _OURS.level, _OURS.propagate, disabled = kept[1:]
    for name, logger in root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.startswith(_OURS.name):
            logger.disabled = disabled
    root.manager._clear_cache()  # type: ignore[attr-defined]


def _write_signals(kept: Any) -> None:
    for number, handler in zip(_SIGNALS, kept, strict=True):
        if handler is not None and _of_signal(number) != handler:
            if number is signal.SIGALRM:
                signal.setitimer(signal.ITIMER_REAL, 0)
            with suppress(ValueError):  # outside the main thread, where none could have been changed either
                signal.signal(number, handler)


def _read_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return ""


def _write_folder(kept: str) -> None:
    with suppress(OSError):
        os.chdir(kept)


def _write_time_zone(kept: str | None) -> None:
    os.environ.pop("TZ", None)  # noqa: TID251 - no setting of ours
    if kept is not None:
        os.environ["TZ"] = kept  # noqa: TID251 - as above
    time.tzset()


def _write_path(kept: list[str]) -> None:
    libraries = [p for p in sys.path if p not in kept and os.path.basename(p.rstrip("/")) in _LIBRARIES]
    sys.path[:] = kept + libraries


def _write_hooks(kept: Any) -> None:
    for (owner, name), value in zip(_HOOKS, kept, strict=True):
        setattr(owner, name, value)


_FILTERS = Setting("the warnings filters", lambda: (list(warnings.filters), warnings.showwarning), _write_warnings)
WATCHED = (
    _FILTERS,
    Setting("the root logger", _read_logging, _write_logging),
    Setting("signal handlers", lambda: [_of_signal(number) for number in _SIGNALS], _write_signals),
    Setting("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda kept: locale.setlocale(locale.LC_ALL, kept)),
    Setting("the working directory", _read_folder, _write_folder),
)
"""What is compared again and again while strategies run; see `InterpreterState.put_back`."""

ALL = (
    *WATCHED,
    Setting(
        "the default decimal context",
        lambda: decimal.DefaultContext.__reduce__()[1],
        lambda kept: decimal.DefaultContext.__init__(*kept),  # type: ignore[misc]
    ),
    Setting("the time zone", lambda: os.environ.get("TZ"), _write_time_zone),  # noqa: TID251 - as above
    Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting(
        "the default socket timeout",  # without the module nobody can have changed it
        lambda: sys.modules["socket"].getdefaulttimeout() if "socket" in sys.modules else None,
        lambda kept: sys.modules["socket"].setdefaulttimeout(kept),  # noqa: PLW0108 - not before the module is there
    ),
    Setting("the import path", sys.path.copy, _write_path),
    Setting("hooks of the interpreter", lambda: [getattr(o, n) for o, n in _HOOKS], _write_hooks),
    Setting("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    Setting("thresholds of garbage collection", gc.get_threshold, lambda kept: gc.set_threshold(*kept)),
)


class InterpreterState:
    """The interpreter's settings at the moment this is made."""

    def __init__(self, settings: Sequence[Setting] = ALL) -> None:
        self._kept = [(setting, setting.read, setting.read()) for setting in settings]
        self._modules = len(sys.modules)

    def put_back(self) -> list[str]:
        """Restore them, and return the names of those that were changed.

        Filters of warnings set while modules were imported are not named: libraries set their own.
        """
        before, self._modules = self._modules, len(sys.modules)
        changed = [(setting, kept) for setting, read, kept in self._kept if read() != kept]
        for setting, kept in changed:
            setting.write(kept)
        return [setting.words for setting, _ in changed if setting is not _FILTERS or before == self._modules]


def listed(words: Sequence[str]) -> str:
    """Return words joined for a sentence.

    >>> listed(["the locale", "signal handlers", "the import path"])
    'the locale, signal handlers and the import path'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@contextmanager
def kept_interpreter(whose: str) -> Iterator[None]:
    """Restore at the end what the code in the block changes for its process; the log names it as `whose`."""
    kept = InterpreterState()
    try:
        yield
    finally:
        changed = kept.put_back()
        if changed:
            say(log, "interpreter_put_back", after=whose, changed=", ".join(changed))
