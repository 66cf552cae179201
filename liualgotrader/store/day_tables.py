"""What an account's day is made of beside the batch's own orders: activities, and trades of the day's earlier batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from liualgotrader.common.rows import ActivityRow, TradedBefore
from liualgotrader.store.column_values import columns_of, insert_into, json_text, row_from, utc_naive

if TYPE_CHECKING:
    from asyncpg import Connection

    from liualgotrader.store.database import Database

INSERT_ACTIVITIES = f"""
    {insert_into("account_activities", ActivityRow.__struct_fields__)}
    ON CONFLICT (activity_id) DO NOTHING
"""
# Rows that restate a position or write it off are no trades.
TRADED_BEFORE = """
    SELECT
        t.symbol,
        sum(CASE WHEN t.operation IN ('buy', 'buy_short') THEN t.qty ELSE -t.qty END) AS quantity,
        sum(CASE WHEN t.operation IN ('buy', 'buy_short') THEN t.qty ELSE -t.qty END * t.price) AS value,
        sum(t.trade_fee) AS fees
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = ANY($2) AND r.batch_id <> $3 AND t.tstamp >= $4
      AND t.qty > 0 AND t.expire_tstamp IS NULL AND NOT coalesce(t.indicators ? 'adjusted', FALSE)
    GROUP BY t.symbol
    ORDER BY t.symbol
"""


class DayTables:
    """`account_activities`, and the day's executions over all batches."""

    _database: Database

    async def traded_before(
        self, environment: str, strategies: Sequence[str], batch_id: str, since: int
    ) -> Sequence[TradedBefore]:
        """Return what other batches of these strategies have traded since then, by symbol."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(TRADED_BEFORE, environment, list(strategies), batch_id, utc_naive(since))
        return [row_from(TradedBefore, row) for row in rows]


async def save_activities(connection: Connection, activities: Iterable[ActivityRow]) -> None:
    """Write activities that are not there yet."""
    await connection.execute(INSERT_ACTIVITIES, json_text([columns_of(row) for row in activities]))
