"""The first function of every process that the supervisor starts."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from liualgotrader.common.config import unshield_imports
from liualgotrader.ipc.child_process import leave_signals_to_supervisor


def launch(module: str, arguments: Sequence[Any], keywords: Mapping[str, Any], output: str) -> None:
    """Call `module.run(*arguments, **keywords)`, with everything it prints appended to the file `output`.

    Signals to the whole process group are left to the supervisor. On SIGUSR1 the stacks of all threads are written to `output`, even
    when the interpreter is inside a call that never returns.
    """
    leave_signals_to_supervisor()
    unshield_imports()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    importlib.import_module(module).run(*arguments, **keywords)
