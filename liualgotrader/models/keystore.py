"""The original's class for text values by key, kept for ever."""

from __future__ import annotations

from typing import Any

from liualgotrader.store.database import current_pool
from liualgotrader.store.session_tables import KEY_LOAD, KEY_SAVE


class KeyStore:
    """The table `keystore`, which strategies write through their context."""

    @classmethod
    async def load(cls, key: str, pool: Any = None) -> str | None:
        """Return the value of the key, None if it has none."""
        value: str | None = await current_pool(pool).fetchval(KEY_LOAD, key)
        return value

    @classmethod
    async def save(cls, key: str, value: str, pool: Any = None) -> None:
        """Write the value of the key."""
        await current_pool(pool).execute(KEY_SAVE, key, str(value))
