"""The original's class for rows of `trending_tickers`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from liualgotrader.store.database import current_pool

INSERT = "INSERT INTO trending_tickers (batch_id, symbol) SELECT $1, symbol FROM unnest($2::text[]) AS t (symbol)"
LOAD = """
    SELECT symbol, create_tstamp FROM trending_tickers
    WHERE batch_id = $1
    ORDER BY create_tstamp, trending_id
"""


class TrendingTickers:
    """What the scanners of a batch picked."""

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id

    async def save(self, symbols: Sequence[str], pool: Any = None) -> None:
        """Write symbols, picked now."""
        await current_pool(pool).execute(INSERT, self.batch_id, list(symbols))

    @classmethod
    async def load(cls, batch_id: str, pool: Any = None) -> Sequence[tuple[str, datetime]]:
        """Return (symbol, time) by time.

        Raises:
            LookupError: if the batch has no picks.
        """
        rows = await current_pool(pool).fetch(LOAD, batch_id)
        if not rows:
            raise LookupError(f"no data for batch {batch_id}")
        return [(row["symbol"], row["create_tstamp"]) for row in rows]
