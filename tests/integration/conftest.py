"""A real PostgreSQL for every integration test that asks for `dsn` or `store`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.store.postgres_store import PostgresStore
from liualgotrader.store.store_factory import open_store
from tests.fakes.postgres import fresh_database, shared_server


@pytest.fixture(scope="session")
def postgres() -> EmbeddedServer:
    """The server of this test process; do not kill it, start one of your own for that."""
    return shared_server()


@pytest.fixture
def dsn() -> Iterator[str]:
    """The address of a fresh database with all tables."""
    yield from fresh_database()


@pytest.fixture
def empty_dsn() -> Iterator[str]:
    """The address of a fresh database without any table."""
    yield from fresh_database(migrated=False)


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    """An open store on a fresh database."""
    store = await open_store(dsn)
    yield store
    await store.close()
