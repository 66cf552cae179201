"""A batch that is left for a new one: what its gateway could not store is stored before its end is written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from liualgotrader.common.clock import WallClock
from liualgotrader.common.orders import BrokerPosition
from liualgotrader.engine.desk import Begin, Snapshot
from liualgotrader.order_gateway.desk_room import JOURNAL_FILE, DeskRoom
from liualgotrader.supervisor.layout import StrategyFacts
from liualgotrader.supervisor.record import Batch, Ledger, Wanted
from tests.fakes.broker import desk_terms
from tests.fakes.store import MemoryStore

WANTED = Wanted("SIMULATED", "2024-06-03", 1, 0, (StrategyFacts("Day", False, True),), {})


async def first_batch(store: MemoryStore, home: Path) -> Batch:
    """Make a batch whose gateway wrote down that 5 shares of X are not ours, and could store nothing."""
    ledger = Ledger(store, home)
    batch = await ledger.batch(WANTED, 0, fresh=False)
    ledger.release()
    batch.journal_dir.mkdir(parents=True)
    room = DeskRoom(batch.journal_dir, WallClock())
    room.tell([Begin(desk_terms(), 1), Snapshot(True, (), (), (BrokerPosition("X", Decimal(5), Decimal(10)),))])
    room.close()
    return batch


async def next_batch(store: MemoryStore, home: Path, *, fresh: bool) -> tuple[Batch, list[str]]:
    ledger = Ledger(store, home)
    batch = await ledger.batch(WANTED, 1, fresh=fresh)
    ledger.release()
    return batch, ledger.notes


async def test_rows_that_wait_in_a_journal_are_stored_before_a_new_batch_begins(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path)
    second, notes = await next_batch(store, tmp_path, fresh=True)
    assert second.batch_id != first.batch_id
    assert [row.quantity for row in store._data.foreign.values()] == [5]
    (note,) = notes
    assert note.endswith(f"rows of batch {first.batch_id} waited in its journal and are stored now")


async def test_a_market_without_its_state_does_not_take_the_rows_with_it(tmp_path: Path) -> None:
    store = MemoryStore()
    await first_batch(store, tmp_path)
    await next_batch(store, tmp_path, fresh=False)  # as after a disk that was full at its end
    assert len(store._data.foreign) == 1


async def test_a_damaged_journal_is_said_and_does_not_stop_the_new_batch(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path)
    room = DeskRoom(first.journal_dir, WallClock())
    room.tell([Begin(desk_terms(), 2)])
    room.close()
    journal = first.journal_dir / JOURNAL_FILE
    data = bytearray(journal.read_bytes())
    data[40] ^= 0xFF
    journal.write_bytes(data)
    _, (note,) = await next_batch(store, tmp_path, fresh=True)
    assert note.endswith(f"What batch {first.batch_id} had not stored yet is in no table.")
