"""Looks at the database that a program has written to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from liualgotrader.store.store_factory import open_store


def rows_of(dsn: str, query: str, *args: Any) -> Sequence[Mapping[str, Any]]:
    """Return a query's rows."""

    async def fetched() -> Sequence[Mapping[str, Any]]:
        store = await open_store(dsn)
        try:
            return await store.fetch(query, *args)
        finally:
            await store.close()

    return asyncio.run(fetched())
