"""The data folder before a session: that there is one, and room in it."""

from __future__ import annotations

import os
from pathlib import Path

from liualgotrader.common.errors import ConfigError, OutsideError

LEAST_FREE = 500_000_000  # bytes that a new batch needs; one that was begun goes on with less, without entries


def make_home(home: Path) -> None:
    """See that the data folder is there.

    Raises:
        ConfigError: if it cannot be made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the data folder {home} cannot be made ({error.strerror}); set LIU_HOME to another"
        ) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise ConfigError(f"nothing can be written in the data folder {home}; set LIU_HOME to another")


def enough_room(home: Path) -> None:
    """Check that the data folder has room for a new batch.

    Raises:
        OutsideError: if the disk is full.
    """
    least = LEAST_FREE
    free = os.statvfs(home).f_bavail * os.statvfs(home).f_frsize
    if free < least:
        raise OutsideError(
            f"only {free / 1e6:.0f} MB are free in {home}; a session needs {least / 1e6:.0f} MB: "
            "free some, or set LIU_HOME to another disk"
        )
