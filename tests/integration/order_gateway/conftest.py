"""The gateway's stack on a fresh database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from liualgotrader.store.postgres_store import PostgresStore
from tests.integration.order_gateway.gateway_stack import Stack


@pytest.fixture
async def stack(dsn: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    """A simulated market at 20 times the clock's speed, and a session's plan; the gateway is not started yet."""
    made = Stack(dsn, monkeypatch, speed=20.0)
    await made.prepare(store)
    yield made
    made.close()
