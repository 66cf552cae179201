"""What consumers write into the record, in the background: signals, rejects and the key-store.

Signals that the database did not take before the end lie in a file for the next start of the batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from liualgotrader.common.clock import Clock
from liualgotrader.common.errors import BadData, DatabaseUnavailable
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import SignalRow
from liualgotrader.common.tlog import warn
from liualgotrader.ipc.process_status import MarketHold
from liualgotrader.journal.reserved_file import ReservedFile
from liualgotrader.store.background_writer import BackgroundWriter, OpenStore

log = logging.getLogger(__name__)
T = TypeVar("T")

_PAUSE_SECONDS = 0.2  # machine time between two writes
_RETRY_SECONDS = 1.0
_MOST_SIGNALS = 500  # rows of one statement
_SPOOL_BYTES = 2 * 1024 * 1024
KEY_SECONDS = 2.0  # machine time a strategy waits for the key-store


def signal_spool(folder: Path, consumer: int) -> ReservedFile:
    """Return the file for a consumer's signals; its room is reserved at the start, as the disk may be full later."""
    return ReservedFile(folder / f"signals-{consumer}.left", _SPOOL_BYTES)


async def store_spooled_signals(folder: Path, store: Store) -> int:
    """Store what consumers of the batch in `folder` have left there; return how many rows. Safe to repeat.

    Raises:
        DatabaseUnavailable: if the server cannot be reached.
    """
    count = 0
    for path in sorted(folder.glob("signals-*.left")):  # noqa: ASYNC240 - a few names
        file = ReservedFile(path, _SPOOL_BYTES)
        if data := file.kept():
            rows = msgspec.msgpack.decode(data, type=list[SignalRow])
            await store.save_signals(rows)
            count += len(rows)
        file.forget()
    return count


class SignalRecorder(BackgroundWriter):
    """Writes signals, rejects and keys in order. What is not written at the end is left to the next start of the batch."""

    def __init__(self, batch_id: str, open_store: OpenStore, clock: Clock, spool: ReservedFile | None = None) -> None:
        super().__init__(open_store, clock, first_pause=_RETRY_SECONDS, longest_pause=_RETRY_SECONDS)
        self._batch_id, self._spool = batch_id, spool
        self._signals: list[SignalRow] = []
        self._others: list[Callable[[Store], Awaitable[None]]] = []
        self._urgent = asyncio.Event()

    def start(self) -> None:
        def ended(writing: asyncio.Task[None]) -> None:
            if not writing.cancelled():
                writing.result()  # a bug ends the process; else rows would gather unseen until the end

        if self._spool is not None:
            self._spool.reserve()
        super().start()
        assert self._task is not None
        self._task.add_done_callback(ended)

    def signal(self, row: SignalRow) -> None:
        """Have a signal written."""
        self._signals.append(row)
        self._wake.set()

    def reject(self, strategy: str, symbol: str, at: int) -> None:
        """Have a reject written."""

        async def write(store: Store) -> None:
            await store.save_reject(self._batch_id, strategy, symbol, at)

        self._others.append(write)
        self._wake.set()

    def key(self, key: str, value: str, written: Callable[[], None]) -> None:
        """Have a value of the key-store written, without a pause; `written` is called when it is."""

        async def write(store: Store) -> None:
            try:
                await store.key_save(key, value)
            except BadData as error:
                warn(log, "key_not_storable", error=error)
            written()

        self._others.append(write)
        self._urgent.set()
        self._wake.set()

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """Return what `question` finds in the record.

        Raises:
            DatabaseUnavailable: the server cannot be reached.
        """
        return await question(await self._opened())

    @property
    def waiting(self) -> int:
        return len(self._signals) + len(self._others)

    async def close(self, seconds: float) -> None:
        """Write what is left, for `seconds` of machine time at most, and end the connection."""
        await self._stop()
        try:
            async with asyncio.timeout(seconds):
                while self.waiting:
                    await self.write_some()
        except (TimeoutError, DatabaseUnavailable):
            warn(log, "rows_not_written", count=self.waiting)
            try:
                if self._spool is not None:
                    self._spool.keep(msgspec.msgpack.encode(self._signals))
            except OSError as error:
                warn(log, "signals_lost", count=len(self._signals), error=error)
        else:
            if self._spool is not None:
                self._spool.forget()
        if self._store is not None:
            await self._store.close()

    async def after_write(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE_SECONDS):
                await self._urgent.wait()

    async def write_some(self) -> None:
        self._urgent.clear()
        if not self.waiting:
            return
        store = await self._opened()
        while self._others:
            await self._others[0](store)
            del self._others[0]
        while self._signals:
            some = self._signals[:_MOST_SIGNALS]
            await store.save_signals(some)
            del self._signals[: len(some)]


class StoredKeys:
    """The key-store as strategies use it: what this process wrote is read back at once, database or not.

    The market is held until a value is written, so that every run reads it at the same instant: for as long as a
    strategy waits for the key-store at most, and not while the database is known to be away.
    """

    def __init__(self, recorder: SignalRecorder, new_hold: Callable[[], MarketHold]) -> None:
        self._recorder, self._new_hold = recorder, new_hold
        self._own: dict[str, str] = {}
        self._saved: Counter[str] = Counter()  # how often a key was stored
        self._unwritten: Counter[str] = Counter()

    async def load(self, key: str) -> str | None:
        """Return the stored text; what was last known of it while the database does not answer."""
        if self._unwritten[key]:
            return self._own[key]
        saved = self._saved[key]
        try:
            async with asyncio.timeout(KEY_SECONDS):
                found = await self._recorder.ask(lambda store: store.key_load(key))
        except (DatabaseUnavailable, TimeoutError):
            return self._own.get(key)
        if self._saved[key] != saved:  # stored while an older value was on its way
            return self._own[key]
        if found is not None:
            self._own[key] = found
        return found

    async def save(self, key: str, value: str) -> None:
        """Store a text; it is written in the background."""
        self._own[key] = value
        self._saved[key] += 1
        self._unwritten[key] += 1
        hold = self._new_hold()
        if not self._recorder.is_down:
            hold.begin(KEY_SECONDS)

        def written() -> None:
            self._unwritten[key] -= 1
            hold.end()

        self._recorder.key(key, value, written)
