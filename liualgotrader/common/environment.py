"""The environment of this process, for whoever must not wait for the settings to be imported."""

from __future__ import annotations

import os
import warnings
from typing import Any

_SAFE_PATH = "PYTHONSAFEPATH"


def environment() -> dict[str, str]:
    """Return a copy of this process's environment."""
    return dict(os.environ)


def shield_imports() -> None:
    """Start our own Python processes, from now on, without the working directory on their import path.

    A user's file named like a standard module (`signal.py`) would end each of them at once.
    """
    os.environ[_SAFE_PATH] = "1"


def unshield_imports() -> None:
    """Let programs that user code starts find modules as usual."""
    os.environ.pop(_SAFE_PATH, None)


def warn_once_a_file() -> None:
    """Let a FutureWarning be shown once for each file, and not at each bar: pandas forgets what was shown, with each filter that it sets."""
    shown = warnings.showwarning
    if hasattr(shown, "files"):
        return
    files: set[str] = set()

    def show(message: Any, category: type[Warning], filename: str, lineno: int, *more: Any, **named: Any) -> None:
        if issubclass(category, FutureWarning):
            if filename in files:
                return
            files.add(filename)
        shown(message, category, filename, lineno, *more, **named)

    show.files = files  # type: ignore[attr-defined]
    warnings.showwarning = show
