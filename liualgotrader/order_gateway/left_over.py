"""The rows of a batch that nobody will serve again: what its gateway had written down and could not store."""

from __future__ import annotations

from pathlib import Path

from liualgotrader.common.clock import WallClock
from liualgotrader.common.ports import Store
from liualgotrader.order_gateway.desk_room import JOURNAL_FILE, DeskRoom


async def store_left_over(journal_dir: Path, batch_id: str, store: Store) -> int:
    """Store the rows that the journal in `journal_dir` leads to and the database lacks; return how many there were.

    Nobody else may serve the batch meanwhile. Safe to repeat.

    Raises:
        DatabaseUnavailable: if the server cannot be reached.
        OutsideError: if a gateway still writes that journal, or the disk fails.
        JournalDamaged: if records that had been on disk are broken.
        RecordDiffers: if the journal does not lead to what is stored.
    """
    if not (journal_dir / JOURNAL_FILE).exists():
        return 0
    room = DeskRoom(journal_dir, WallClock())
    try:
        before = await store.progress(batch_id)
        end = await store.apply(batch_id, [row for _, row in room.rows])
        return end.number - before.number
    finally:
        room.close()
