"""The end of a session that could not be written into the record: kept beside its journal, for the next `trader`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from liualgotrader.journal.reserved_file import ReservedFile

_RESERVE_BYTES = 64 * 1024


class PendingEnd(msgspec.Struct, frozen=True):
    """When, ns UTC, and why a batch ended, and the runs that ended before it with their reasons."""

    at: int
    reason: str
    runs: tuple[tuple[int, str], ...] = ()


def end_file(journal_dir: Path) -> ReservedFile:
    """Return the file of the batch's end; its room is to be reserved when the batch begins."""
    return ReservedFile(journal_dir / "end.left", _RESERVE_BYTES)


def keep_end(journal_dir: Path, end: PendingEnd) -> None:
    """Keep the end of a batch.

    Raises:
        OSError: if the disk does not take it.
    """
    end_file(journal_dir).keep(msgspec.json.encode(end))


def kept_end(journal_dir: Path) -> PendingEnd | None:
    """Return the end that the batch came to, None if it was cut off before it came to one."""
    data = end_file(journal_dir).kept()
    return msgspec.json.decode(data, type=PendingEnd) if data else None
