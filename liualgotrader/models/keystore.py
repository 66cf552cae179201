"""Text values by key, kept for ever."""

from __future__ import annotations

from typing import Any

from liualgotrader.common.ports import Store
from liualgotrader.store.pick_tables import KEY_LOAD, KEY_SAVE
from liualgotrader.store.pool import current_pool


class PostgresKeyStore:
    """The port `KeyStore` of one scope: every key is kept as `<scope>:<key>`, an empty scope is shared by all."""

    def __init__(self, store: Store, scope: str = "") -> None:
        self._store = store
        self._prefix = f"{scope}:" if scope else ""

    async def load(self, key: str) -> str | None:
        """Return the value of the key, None if it has none."""
        return await self._store.key_load(self._prefix + key)

    async def save(self, key: str, value: str) -> None:
        """Write the value of the key."""
        await self._store.key_save(self._prefix + key, value)


class KeyStore:
    """The original's address of the same table; its keys have no scope."""

    @classmethod
    async def load(cls, key: str, pool: Any = None) -> str | None:
        """Return the value of the key, None if it has none."""
        async with current_pool(pool).acquire() as connection:
            value: str | None = await connection.fetchval(KEY_LOAD, key)
        return value

    @classmethod
    async def save(cls, key: str, value: str, pool: Any = None) -> None:
        """Write the value of the key."""
        async with current_pool(pool).acquire() as connection:
            await connection.execute(KEY_SAVE, key, str(value))
