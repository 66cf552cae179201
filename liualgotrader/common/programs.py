"""How a person calls the programs of this installation."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def program_call(name: str) -> str:
    """Return what to type for a program of this installation: its name where the shell finds it, else its path, quoted."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not beside.exists() or (found is not None and Path(found).absolute() == beside):
        return name
    return shlex.quote(str(beside))
