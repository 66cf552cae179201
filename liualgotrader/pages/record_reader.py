"""The rows that pages show, read in transactions that cannot write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from liualgotrader.common.config import Settings
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import BatchResult, BatchRow, EquityRow, OptimizerRow, OptimizerSession
from liualgotrader.postgres.embedded_server import DEFAULT_DATABASE, SIMULATED_DATABASE
from liualgotrader.store.page_queries import DATABASES
from liualgotrader.store.store_factory import open_store
from liualgotrader.supervisor.request import KEPT_DATABASE, TraderRequest
from liualgotrader.supervisor.session_database import Record, open_record

T = TypeVar("T")

_ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ListedBatch:
    """One batch of the list, with the database that holds it."""

    database: str
    result: BatchResult

    @property
    def days(self) -> str:
        """Its day, or the first and the last one."""
        figures = self.result.figures
        if figures is None or figures.first_day == figures.last_day:
            return self.result.session_date
        return f"{figures.first_day} to {figures.last_day}"

    @property
    def name(self) -> str:
        """What a person chooses it by."""
        r = self.result
        gain = f", {r.figures.gain:+,.2f} $" if r.figures else ""
        return f"{self.days} · {r.environment}{gain} · {', '.join(r.parameters) or 'no strategy'} · {r.batch_id[:8]}"


class RecordReader:
    """All databases of a data folder, or the one that DSN names; usable from every thread.

    Raises LiuError from every method where a database cannot be used or reached.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="record", daemon=True)
        self._thread.start()
        self._readers: dict[str, Store] = {}
        self._record = self._await(open_record(settings, TraderRequest()))

    def results(self, most: int = 300, environment: str = "") -> list[ListedBatch]:
        """Return the newest batches of all databases, the newest first, so many at most."""
        return self._await(self._results(most, environment))

    def fetch(self, database: str, query: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Return the rows of a query."""

        async def rows() -> Sequence[Mapping[str, Any]]:
            return await (await self._reader(database)).fetch(query, *args)

        return self._await(rows())

    def write(self, database: str, statement: str, *args: Any) -> None:
        """Run a statement that writes: what a person has written is all that pages write."""

        async def written() -> None:
            writer = await open_store(await self._dsn(database))
            try:
                await writer.fetch(statement, *args)
            finally:
                await writer.close()

        self._await(written())

    def batch(self, database: str, batch_id: str) -> BatchRow:
        """Return the row of a batch."""

        async def row() -> BatchRow:
            return (await (await self._reader(database)).newest_batches(1, batch_id))[0]

        return self._await(row())

    def equity(self, database: str, batch_id: str) -> Sequence[EquityRow]:
        """Return the account's value over the sessions of a batch, by day."""

        async def rows() -> Sequence[EquityRow]:
            return await (await self._reader(database)).equity([batch_id])

        return self._await(rows())

    def searches(self, most: int = 100) -> list[tuple[str, OptimizerSession]]:
        """Return the newest searches for parameters with the database of each, the newest first."""

        async def found() -> list[tuple[str, OptimizerSession]]:
            return [
                (name, one)
                for name in await self._databases()
                for one in await (await self._reader(name)).optimizer_sessions(most)
            ]

        return sorted(self._await(found()), key=lambda pair: pair[1].started_at, reverse=True)[:most]

    def combinations(self, database: str, session_id: str) -> Sequence[OptimizerRow]:
        """Return the combinations of a search by fold and number."""

        async def rows() -> Sequence[OptimizerRow]:
            return await (await self._reader(database)).optimizer_rows(session_id)

        return self._await(rows())

    def close(self) -> None:
        """Close all connections; the last user of the embedded server stops it."""

        async def closed() -> None:
            for reader in self._readers.values():
                await reader.close()
            await self._record.store.close()

        self._await(closed())
        if self._record.server is not None:
            self._record.server.release()  # here: at the program's end no thread can be started any more
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _results(self, most: int, environment: str) -> list[ListedBatch]:
        found = [
            ListedBatch(name, result)
            for name in await self._databases()
            for result in await (await self._reader(name)).results(most, environment)
        ]
        return sorted(found, key=lambda one: one.result.recorded_at, reverse=True)[:most]

    async def _databases(self) -> list[str]:
        """Return the names of our databases; of a server that is not ours the one that DSN names."""
        if self._record.server is None:
            return [DEFAULT_DATABASE]
        there = [row["datname"] for row in await self._record.store.fetch(DATABASES)]
        return [DEFAULT_DATABASE, *(n for n in there if KEPT_DATABASE.fullmatch(n) or n == SIMULATED_DATABASE)]

    async def _reader(self, name: str) -> Store:
        if (reader := self._readers.get(name)) is None:
            reader = self._readers[name] = await open_store(await self._dsn(name), readonly=True)
        return reader

    async def _dsn(self, name: str) -> str:
        if self._record.server is None:
            return self._record.dsn
        record: Record = await open_record(self.settings, TraderRequest(simulate=True), name)
        await record.close()  # its tables are up to date now
        return record.dsn

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)
