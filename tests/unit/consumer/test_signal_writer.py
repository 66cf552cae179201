"""What a consumer writes into the record, and what it leaves for the next start of its batch."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.clock import WallClock
from liualgotrader.common.errors import BadData, DatabaseUnavailable
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import SignalRow
from liualgotrader.consumer.signal_writer import SignalRecorder, StoredKeys, signal_spool, store_spooled_signals
from tests.fakes.market_hold import Holds
from tests.fakes.store import MemoryStore


class Ledger:
    """The part of a store that consumers write, on a server that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.rows: list[Any] = []
        self.keys: dict[str, str] = {}

    def _here(self) -> None:
        if self.away:
            raise DatabaseUnavailable("away")

    async def save_signals(self, signals: Any) -> None:
        self._here()
        self.rows += signals

    async def save_reject(self, batch_id: str, strategy: str, symbol: str, at: int) -> None:
        self._here()
        self.rows.append((strategy, symbol))

    async def key_save(self, key: str, value: str) -> None:
        self._here()
        if "\0" in value:
            raise BadData("a text must not contain NUL")
        self.keys[key] = value

    async def key_load(self, key: str) -> str | None:
        self._here()
        return self.keys.get(key)

    async def close(self) -> None: ...


class QuickClock(WallClock):
    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


def a_recorder(ledger: Ledger) -> SignalRecorder:
    async def opened() -> Any:
        return ledger

    recorder = SignalRecorder("b", opened, QuickClock())
    recorder.start()
    return recorder


def signal(n: int) -> SignalRow:
    return SignalRow("b", 0, "A", n, {}, "sent")


async def test_rows_are_written_once_although_the_server_was_away() -> None:
    ledger = Ledger()
    ledger.away = True
    recorder = a_recorder(ledger)
    for n in range(3):
        recorder.signal(signal(n))
    recorder.reject("S", "A", 1)
    await WallClock().sleep(0.03)
    ledger.away = False
    while recorder.waiting:
        await WallClock().sleep(0.005)
    await recorder.close(60.0)
    assert ledger.rows == [("S", "A"), signal(0), signal(1), signal(2)]


async def test_a_bug_of_the_writer_ends_the_process_at_once() -> None:
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[BaseException] = loop.create_future()

    def keep(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not broken.done():
            broken.set_result(context["exception"])

    loop.set_exception_handler(keep)
    ledger = Ledger()

    async def wrong(signals: Any) -> None:
        raise LookupError("no such column")

    ledger.save_signals = wrong  # type: ignore[method-assign]
    recorder = a_recorder(ledger)
    recorder.signal(signal(1))
    async with asyncio.timeout(60):
        assert isinstance(await broken, LookupError)
    assert recorder.waiting == 1


async def test_what_is_left_is_written_at_the_end() -> None:
    ledger = Ledger()
    recorder = a_recorder(ledger)
    recorder.signal(signal(1))
    await recorder.close(60.0)
    assert ledger.rows == [signal(1)]


async def test_a_value_is_read_back_at_once_and_from_the_server_when_another_wrote_it() -> None:
    ledger = Ledger()
    recorder = a_recorder(ledger)
    keys = StoredKeys(recorder, Holds().hold)
    await keys.save("k", "mine")
    assert await keys.load("k") == "mine"
    while recorder.waiting:
        await WallClock().sleep(0.005)
    ledger.keys["k"] = "theirs"
    assert await keys.load("k") == "theirs"
    ledger.away = True
    assert await keys.load("k") == "theirs"
    assert await keys.load("other") is None
    ledger.away = False
    await recorder.close(60.0)


async def test_a_value_stored_while_an_older_one_is_being_read_is_what_is_read() -> None:
    ledger, asked, answers = Ledger(), asyncio.Event(), asyncio.Event()
    ledger.keys["k"] = "old"

    async def slow(key: str) -> str | None:
        found = ledger.keys.get(key)
        asked.set()
        await answers.wait()
        return found

    ledger.key_load = slow  # type: ignore[method-assign]
    recorder = a_recorder(ledger)
    keys = StoredKeys(recorder, Holds().hold)
    reading = asyncio.create_task(keys.load("k"))
    await asked.wait()
    await keys.save("k", "new")
    answers.set()
    assert await reading == "new"
    assert await keys.load("k") == "new"
    await recorder.close(60.0)


async def test_the_market_is_held_until_a_value_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async def until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                await asyncio.sleep(0.001)

    monkeypatch.setattr("liualgotrader.consumer.signal_writer.KEY_SECONDS", 60.0)
    ledger, hold = Ledger(), Holds()
    recorder = a_recorder(ledger)
    keys = StoredKeys(recorder, hold.hold)
    await keys.save("k", "1")
    await keys.save("k", "2")
    assert hold.count == 2
    await until(lambda: (hold.count, ledger.keys) == (0, {"k": "2"}))
    ledger.away = True
    monkeypatch.setattr("liualgotrader.consumer.signal_writer.KEY_SECONDS", 0.05)
    await keys.save("k", "3")
    assert hold.count == 1
    await until(lambda: hold.count == 0)  # not for ever
    await until(lambda: recorder.is_down)
    await keys.save("k", "4")
    assert (hold.count, await keys.load("k")) == (0, "4")
    ledger.away = False
    await recorder.close(60.0)
    assert (hold.count, ledger.keys) == (0, {"k": "4"})


async def test_a_value_that_cannot_be_stored_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    ledger, hold = Ledger(), Holds()
    recorder = a_recorder(ledger)
    keys = StoredKeys(recorder, hold.hold)
    await keys.save("bad", "a\0b")
    await keys.save("good", "1")
    await recorder.close(60.0)
    assert (hold.count, ledger.keys) == (0, {"good": "1"})
    assert "key_not_storable" in caplog.text


# --- what is left at the end ----------------------------------------------------------------------

ROWS = [SignalRow("b", 0, "AAPL", n, {"qty": "1"}, "sent", f"liu-b-0-{n}") for n in range(1500)]


async def no_store() -> Store:
    raise DatabaseUnavailable("no room")


async def closed(folder: Path, open_store: Any, rows: list[SignalRow]) -> None:
    recorder = SignalRecorder("b", open_store, WallClock(), signal_spool(folder, 0))
    recorder.start()
    for row in rows:
        recorder.signal(row)
    await recorder.close(0.5)


async def test_what_the_database_did_not_take_is_stored_by_the_next_start(tmp_path: Path) -> None:
    await closed(tmp_path, no_store, ROWS)
    store = MemoryStore()
    assert await store_spooled_signals(tmp_path, store) == len(ROWS)
    assert list(store._data.signals.values()) == ROWS
    assert await store_spooled_signals(tmp_path, store) == 0
    assert not any(os.scandir(tmp_path))


async def test_the_reserved_room_is_given_back_when_everything_is_stored(tmp_path: Path) -> None:
    store = MemoryStore()

    async def opened() -> Store:
        return store

    await closed(tmp_path, opened, ROWS[:3])
    assert not any(os.scandir(tmp_path))


async def test_room_without_rows_is_nothing(tmp_path: Path) -> None:
    signal_spool(tmp_path, 0).reserve()
    assert await store_spooled_signals(tmp_path, MemoryStore()) == 0
