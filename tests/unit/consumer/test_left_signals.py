"""Signals that found no room in the database are stored by the next start of their batch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from liualgotrader.common.clock import WallClock
from liualgotrader.common.errors import DatabaseUnavailable
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import SignalRow
from liualgotrader.consumer.signal_spool import SignalSpool, store_left_signals
from liualgotrader.consumer.signal_writer import Recorder
from tests.fakes.store import MemoryStore

ROWS = [SignalRow("b", 0, "AAPL", n, {"qty": "1"}, "sent", f"liu-b-0-{n}") for n in range(1500)]


async def no_store() -> Store:
    raise DatabaseUnavailable("no room")


async def closed(folder: Path, open_store: Any, rows: list[SignalRow]) -> None:
    recorder = Recorder("b", open_store, WallClock(), SignalSpool(folder, 0))
    recorder.start()
    for row in rows:
        recorder.signal(row)
    await recorder.close(0.5)


async def test_what_the_database_did_not_take_is_stored_by_the_next_start(tmp_path: Path) -> None:
    await closed(tmp_path, no_store, ROWS)
    store = MemoryStore()
    assert await store_left_signals(tmp_path, store) == len(ROWS)
    assert list(store._data.signals.values()) == ROWS
    assert await store_left_signals(tmp_path, store) == 0
    assert not any(os.scandir(tmp_path))


async def test_the_reserved_room_is_given_back_when_everything_is_stored(tmp_path: Path) -> None:
    store = MemoryStore()

    async def opened() -> Store:
        return store

    await closed(tmp_path, opened, ROWS[:3])
    assert not any(os.scandir(tmp_path))


async def test_room_without_rows_is_nothing(tmp_path: Path) -> None:
    SignalSpool(tmp_path, 0).reserve()
    assert await store_left_signals(tmp_path, MemoryStore()) == 0
