"""What a user's file changes for everybody in its process is put back; what is its own does not reach its neighbour."""

from __future__ import annotations

import decimal
import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from liualgotrader.common.environment import warn_once_a_file
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.interpreter import InterpreterState, own_context, own_random
from liualgotrader.common.plugins import build, load_class


def everything() -> dict[str, Any]:
    """What a file may change, read here by other means than the code under test where there are any."""
    root = logging.getLogger()
    ours = [logging.getLogger(name) for name in ("liualgotrader", "liualgotrader.common.interpreter")]
    return {
        "decimal": (decimal.getcontext().prec, decimal.getcontext().rounding, decimal.Context().prec),
        "decimal traps": str(decimal.getcontext().traps),
        "warnings": ([*warnings.filters], warnings.showwarning),
        "handlers": ([*root.handlers], root.level, root.disabled, root.manager.disable),
        "ours": [(one.level, one.disabled, one.propagate, one.isEnabledFor(logging.ERROR)) for one in ours],
        "locale": (locale.localeconv()["decimal_point"], locale.getlocale(locale.LC_TIME)),
        "numpy": (np.geterr(), np.get_printoptions()["precision"]),
        "signals": {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)},
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0] > 500,
        "folder": os.getcwd(),
        "zone": (time.tzname, time.timezone, os.environ.get("TZ")),
        "recursion": sys.getrecursionlimit(),
        "timeout": socket.getdefaulttimeout(),
        "path": [*sys.path],
        "hooks": (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr),
        "collection": (gc.isenabled(), gc.get_threshold()),
        "chance": random.getstate(),
    }


HARM = [
    "import decimal; decimal.getcontext().prec = 8",
    "import decimal; decimal.setcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP))",
    "import decimal; decimal.getcontext().traps[decimal.Inexact] = True",
    "import decimal; decimal.DefaultContext.prec = 4; decimal.DefaultContext.traps[decimal.Rounded] = True",
    "import warnings; warnings.simplefilter('error')",
    "import warnings; warnings.filterwarnings('ignore'); warnings.resetwarnings()",
    "import logging; logging.basicConfig(force=True)",
    "import logging; logging.disable(logging.CRITICAL)",
    "import logging; logging.getLogger().setLevel(logging.CRITICAL); logging.getLogger().handlers.clear()",
    "import logging; logging.getLogger('liualgotrader').setLevel(99)",
    "import logging.config; logging.config.dictConfig({'version': 1})",
    "import logging; logging.captureWarnings(True)",
    "import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8'); locale.setlocale(locale.LC_TIME, 'POSIX')",
    "import numpy as np; np.seterr(all='raise'); np.set_printoptions(precision=2)",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL); signal.signal(signal.SIGINT, lambda *_: None)",
    "import signal; signal.signal(signal.SIGALRM, lambda *_: None); signal.alarm(1000)",
    "import os; os.chdir('/')",
    "import os, time; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()",
    "import sys; sys.setrecursionlimit(333)",
    "import socket; socket.setdefaulttimeout(0.001)",
    "import sys; sys.path.insert(0, '/nowhere'); sys.path.append('/nor/here')",
    "import sys; sys.path.clear()",
    "import sys, threading; sys.excepthook = threading.excepthook = lambda *_: None; sys.stdout = None",
    "import gc; gc.disable(); gc.set_threshold(1)",
    "import random; random.seed(1); random.random()",
]


@pytest.fixture
def handled() -> Iterator[None]:
    """As in a process of a session: a handler at the root."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("where", ["import", "constructor", "import that fails"])
def test_what_a_file_changes_for_everybody_is_as_before(tmp_path: Path, harm: str, where: str) -> None:
    before = everything()
    head, inside = ("", harm) if where == "constructor" else (harm, "pass")
    tail = "raise ValueError" if where == "import that fails" else ""
    (tmp_path / "harm.py").write_text(f"{head}\nclass Harm:\n    def __init__(self):\n        {inside}\n{tail}\n")
    try:
        kind = load_class(object, "Harm", "harm.py", tmp_path, table="strategies.Harm")
        build(kind, {}, table="strategies.Harm", context=own_context("seed"))
    except ConfigError:
        assert tail
    assert everything() == before


def test_what_is_changed_later_is_put_back_and_named(handled: None, tmp_path: Path) -> None:
    before, kept = everything(), InterpreterState()
    assert kept.put_back() == []
    for harm, named in {
        HARM[4]: "the warnings filters",
        HARM[6]: "the root logger",
        HARM[10]: "the root logger",
        HARM[12]: "the locale",
        HARM[14]: "signal handlers",
        HARM[16]: "the working directory",
    }.items():
        exec(harm, {})
        assert kept.put_back() == [named]
        assert everything() == before


def test_each_has_its_own_chance_which_is_the_same_in_every_run_with_the_same_seed() -> None:
    module, state = own_random(), random.getstate()
    draws: dict[str, list[object]] = {}
    contexts = {name: own_context(seed) for name, seed in (("a", "1/a"), ("again", "1/a"), ("b", "1/b"))}
    for _ in range(3):
        for name, context in contexts.items():
            draws.setdefault(name, []).append(context.run(lambda: (module.random(), module.choice("abcdef"))))
    contexts["b"].run(module.seed, 5)
    assert draws["a"] == draws["again"] != draws["b"]
    assert contexts["b"].run(module.randint, 1, 10**9) == random.Random(5).randint(1, 10**9)
    assert random.getstate() == state


def test_a_strategys_arithmetic_begins_as_its_file_left_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import decimal\ndecimal.getcontext().prec = 6\nclass Mine: pass\nclass Other: pass\n"
    )
    from liualgotrader.common.plugins import context_for

    kinds = [load_class(object, name, "mine.py", tmp_path, table="t") for name in ("Mine", "Other")]
    mine, other = (context_for(kind, "seed") for kind in kinds)
    mine.run(lambda: setattr(decimal.getcontext(), "prec", 3))
    third = decimal.Decimal(1)
    assert str(mine.run(lambda: third / 3)) == "0.333"
    assert str(other.run(lambda: third / 3)) == "0.333333"
    assert len(str(third / 3)) == 30


def test_filters_that_a_library_sets_while_it_is_imported_are_put_back_and_nobody_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = InterpreterState()
    monkeypatch.setitem(sys.modules, "a_library_of_somebody", ModuleType("a_library_of_somebody"))
    before = list(warnings.filters)
    warnings.simplefilter("error")
    assert (kept.put_back(), warnings.filters) == ([], before)
    warnings.simplefilter("error")
    assert (kept.put_back(), warnings.filters) == (["the warnings filters"], before)


def test_a_future_warning_is_shown_once_for_each_file_whatever_forgets_that() -> None:
    told: list[tuple[str, str]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, category, filename, *more: told.append((category.__name__, filename))
        for line in (1, 2, 1):
            warn_once_a_file()
            warnings.warn_explicit("goes", FutureWarning, "own.py", line)
            warnings.warn_explicit("odd", UserWarning, "own.py", line)
            warnings.warn_explicit("goes", FutureWarning, "other.py", 1)
    assert told.count(("FutureWarning", "own.py")) == told.count(("FutureWarning", "other.py")) == 1
    assert told.count(("UserWarning", "own.py")) == 3
