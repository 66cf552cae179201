"""Stored orders with their executions: the unfinished ones of earlier batches, and all of one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from liualgotrader.common.orders import FINAL_STATES
from liualgotrader.common.rows import (
    BookedExecution,
    EarlierOrder,
    FilledTrade,
    ForeignRow,
    OrderRow,
    PlanRow,
    RecordedBatch,
    TradedBefore,
    TradeRow,
)
from liualgotrader.store.column_values import SIGNED, from_json, row_from, utc_naive
from liualgotrader.store.database import Tables
from liualgotrader.store.gateway_tables import PROGRESS, progress_of

if TYPE_CHECKING:
    from asyncpg import Connection


# The first event of an order says what it is: an entry or exit, a bracket's exit (`parent`), a replacement (`replaces`).
_ORDERS = f"""
    SELECT
        {", ".join(f"o.{name}" for name in OrderRow.__struct_fields__)},
        coalesce(r.algo_name, '') AS algo_name, e.event AS first, e.details::text AS began,
        (SELECT max(n.number) FROM order_events n WHERE n.client_order_id = o.client_order_id) AS events,
        (SELECT p.account_id FROM portfolio_batch_ids b JOIN portfolio p ON p.portfolio_id = b.portfolio_id
            WHERE b.batch_id = o.batch_id ORDER BY b.assoc_id LIMIT 1) AS account_id
    FROM orders o
    LEFT JOIN algo_run r ON r.algo_run_id = o.algo_run_id
    LEFT JOIN order_events e ON e.client_order_id = o.client_order_id AND e.number = 1
    WHERE {{which}}
    ORDER BY o.decided_at, o.client_order_id
"""
UNFINISHED_ORDERS = _ORDERS.format(which="r.algo_env = $1 AND o.batch_id <> $2 AND o.state <> ALL($3)")
TAKEN_OVER = "SELECT client_order_id FROM order_events WHERE event = 'taken_over' AND details ->> 'batch_id' = $1"
ORDERS_OF_BATCH = _ORDERS.format(which=f"o.batch_id = $1 OR o.client_order_id IN ({TAKEN_OVER})")
# By the order alone: an order that a later batch took over has executions in the runs of both.
BOOKED_OF_ORDERS = """
    SELECT client_order_id, execution_id, qty AS quantity, price FROM new_trades
    WHERE client_order_id = ANY($1) AND execution_id IS NOT NULL AND qty > 0
    ORDER BY trade_id
"""
TRADES_OF_BATCH = """
    SELECT
        t.execution_id, t.client_order_id, t.algo_run_id, t.symbol, t.operation::text AS operation, t.qty AS quantity,
        t.price, t.trade_fee AS fee, t.tstamp AS at
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.batch_id = $1 AND t.execution_id IS NOT NULL AND t.qty > 0 AND t.expire_tstamp IS NULL
    ORDER BY t.trade_id
"""
PLANS_OF_BATCH = """
    SELECT p.algo_run_id, p.symbol, p.at, p.planned_stop, p.planned_target
    FROM position_plans p JOIN algo_run r ON r.algo_run_id = p.algo_run_id
    WHERE r.batch_id = $1
    ORDER BY p.algo_run_id, p.symbol
"""
FOREIGN_OF_BATCH = "SELECT batch_id, symbol, quantity, at FROM foreign_positions WHERE batch_id = $1 ORDER BY symbol"
# Rows of the original have no execution id; with quantity 0 they only mark that an order was sent.
TRADES = """
    SELECT
        t.algo_run_id, r.algo_name AS strategy, t.symbol, t.operation::text AS operation, t.qty AS quantity, t.price,
        t.trade_fee AS fee, t.tstamp AS at, t.stop_price AS stop,
        coalesce(t.execution_id, 'trade-' || t.trade_id) AS execution_id
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.batch_id = $1 AND t.qty > 0 AND t.expire_tstamp IS NULL
    ORDER BY t.tstamp, t.trade_id
"""
# Rows that restate a position or write it off are not trades.
TRADED_BEFORE = f"""
    SELECT
        t.symbol,
        sum({SIGNED}) AS quantity,
        sum({SIGNED} * t.price) AS value,
        sum(t.trade_fee) AS fees
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = ANY($2) AND r.batch_id <> $3 AND t.tstamp >= $4
      AND t.qty > 0 AND t.expire_tstamp IS NULL AND NOT coalesce(t.indicators ? 'adjusted', FALSE)
    GROUP BY t.symbol
    ORDER BY t.symbol
"""


class OrderTables(Tables):
    """What is read back of `orders`, their events and their executions, by batch."""

    async def unfinished_orders(self, environment: str, batch_id: str) -> Sequence[EarlierOrder]:
        ends = [str(state) for state in FINAL_STATES]
        async with self._database.connection() as connection:
            return await _orders(connection, UNFINISHED_ORDERS, environment, batch_id, ends)

    async def recorded(self, batch_id: str) -> RecordedBatch:
        async with self._database.connection() as connection:
            progress = progress_of(await connection.fetchrow(PROGRESS, batch_id))
            orders = await _orders(connection, ORDERS_OF_BATCH, batch_id)
            trades = await connection.fetch(TRADES_OF_BATCH, batch_id)
            plans = await connection.fetch(PLANS_OF_BATCH, batch_id)
            foreign = await connection.fetch(FOREIGN_OF_BATCH, batch_id)
        return RecordedBatch(
            progress=progress,
            orders=tuple(orders),
            trades=tuple(
                row_from(TradeRow, t, indicators={}, planned_stop=None, planned_target=None, account_id=None)
                for t in trades
            ),
            plans=tuple(row_from(PlanRow, row) for row in plans),
            foreign=tuple(row_from(ForeignRow, row) for row in foreign),
        )

    async def trades(self, batch_id: str) -> Sequence[FilledTrade]:
        return [row_from(FilledTrade, row) for row in await self._database.fetch(TRADES, batch_id)]

    async def traded_before(
        self, environment: str, strategies: Sequence[str], batch_id: str, since: int
    ) -> Sequence[TradedBefore]:
        which = (environment, list(strategies), batch_id, utc_naive(since))
        return [row_from(TradedBefore, row) for row in await self._database.fetch(TRADED_BEFORE, *which)]


async def _orders(connection: Connection, query: str, *args: object) -> list[EarlierOrder]:
    rows = await connection.fetch(query, *args)
    booked: dict[str, list[BookedExecution]] = {row["client_order_id"]: [] for row in rows}
    for row in await connection.fetch(BOOKED_OF_ORDERS, list(booked)) if booked else []:
        booked[row["client_order_id"]].append(row_from(BookedExecution, row))
    found = []
    for row in rows:
        began = from_json(row["began"]) or {}
        earlier = EarlierOrder(
            order=row_from(OrderRow, row, indicators=from_json(row["indicators"])),
            strategy=row["algo_name"],
            events=row["events"] or 0,
            parent=str(began.get("parent") or ""),
            account_id=row["account_id"],
            booked=tuple(booked[row["client_order_id"]]),
            first=row["first"] or "",
            began=began,
        )
        found.append(earlier)
    return found
