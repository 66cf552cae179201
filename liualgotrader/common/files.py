"""Replace a file as a whole."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, data: bytes | memoryview, *, durable: bool = False) -> None:
    """Put `data` in place of a file that only its owner can read; a reader finds the old contents or the new.

    With `durable` it survives the loss of the whole machine: it is on disk when this returns.

    Raises:
        OSError: if the disk does not take it; the old file stays.
    """
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    with fresh.open("wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
