"""The environment of this process, for whoever must not wait for the settings to be imported."""

from __future__ import annotations

import os

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
