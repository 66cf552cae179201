"""What is read back of orders, executions and plans: the orders of batches, and the positions of strategies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import FINAL_STATES
from liualgotrader.common.position import after_execution
from liualgotrader.common.rows import (
    BookedExecution,
    CarriedPosition,
    EarlierOrder,
    FilledTrade,
    ForeignRow,
    OrderRow,
    PlanRow,
    RecordedBatch,
    TradedBefore,
    TradeRow,
    why_sent,
)
from liualgotrader.store.column_values import SIGNED, from_json, row_from, utc_naive
from liualgotrader.store.database import Tables
from liualgotrader.store.gateway_tables import PROGRESS, progress_of

if TYPE_CHECKING:
    from asyncpg import Connection

_COST_STEP = Decimal("0.000001")  # dollars per share


# The first event of an order says what it is: an entry or exit, a bracket's exit (`parent`), a replacement (`replaces`).
_ORDERS = f"""
    SELECT
        {", ".join(f"o.{name}" for name in OrderRow.__struct_fields__)},
        coalesce(r.algo_name, '') AS strategy, coalesce(e.event, '') AS first, e.details::text AS began,
        coalesce((SELECT max(n.number) FROM order_events n WHERE n.client_order_id = o.client_order_id), 0) AS events,
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
        coalesce(t.execution_id, 'trade-' || t.trade_id) AS execution_id, t.target_price AS target,
        o.type AS order_type, CASE WHEN e.details ?| ARRAY['because', 'parent'] THEN e.details::text END AS began
    FROM new_trades t
    JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    LEFT JOIN orders o ON o.client_order_id = t.client_order_id
    LEFT JOIN order_events e ON e.client_order_id = t.client_order_id AND e.number = 1
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

# Which runs of a strategy count. Ids say what came earlier: they grow whatever the clocks say.
BEFORE_BATCH = """r.batch_id <> $3
      AND r.algo_run_id < coalesce((SELECT min(algo_run_id) FROM algo_run WHERE batch_id = $3), 2147483647)"""
UP_TO_BATCH = """r.batch_id IS NOT NULL
      AND r.algo_run_id <= coalesce((SELECT max(algo_run_id) FROM algo_run WHERE batch_id = $3), 2147483647)"""
IN_BATCH = "r.batch_id = $3"

POSITIONS = f"""
    SELECT t.symbol
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND t.expire_tstamp IS NULL AND {{runs}}
    GROUP BY t.symbol
    HAVING sum({SIGNED}) <> 0
    ORDER BY t.symbol
"""
# The executions behind POSITIONS, for the symbols that it finds, and the stops and targets moved since.
TRADES_OF_POSITIONS = f"""
    SELECT t.symbol, t.tstamp AS at, {SIGNED} AS signed, t.price, t.stop_price AS stop, t.target_price AS target
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND t.expire_tstamp IS NULL AND {{runs}}
      AND t.qty > 0 AND t.symbol = ANY($4)
    ORDER BY t.trade_id
"""
PLANS_OF_POSITIONS = """
    SELECT p.symbol, p.at, 0::numeric AS signed, 0::numeric AS price, p.planned_stop AS stop, p.planned_target AS target
    FROM position_plans p JOIN algo_run r ON r.algo_run_id = p.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND {runs} AND p.symbol = ANY($4)
    ORDER BY p.algo_run_id
"""
# Stop orders at the broker protect a position for which the strategy has planned no stop. Of several the one that the
# price reaches first counts: the highest that sells, the lowest that buys a short position back.
RESTING_STOPS = """
    SELECT o.symbol, o.side, CASE o.side WHEN 'buy' THEN min(o.stop_price) ELSE max(o.stop_price) END AS stop_price
    FROM orders o JOIN algo_run r ON r.algo_run_id = o.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND {runs} AND o.symbol = ANY($4)
      AND o.stop_price IS NOT NULL AND o.state <> ALL($5)
    GROUP BY o.symbol, o.side
"""
STRATEGIES_BEFORE = """
    SELECT DISTINCT algo_name FROM algo_run WHERE algo_env = $1 AND batch_id <> $2 ORDER BY algo_name
"""


class OrderTables(Tables):
    """What is read back: orders with their events and executions by batch, positions and their plans by strategy."""

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
        rows = await self._database.fetch(TRADES, batch_id)
        return [
            row_from(FilledTrade, row, because=why_sent(row["order_type"] or "", from_json(row["began"]) or {}))
            for row in rows
        ]

    async def traded_before(
        self, environment: str, strategies: Sequence[str], batch_id: str, since: int
    ) -> Sequence[TradedBefore]:
        which = (environment, list(strategies), batch_id, utc_naive(since))
        return [row_from(TradedBefore, row) for row in await self._database.fetch(TRADED_BEFORE, *which)]

    async def carried_positions(self, environment: str, strategy: str, batch_id: str) -> Sequence[CarriedPosition]:
        return await self._open(BEFORE_BATCH, environment, strategy, batch_id)

    async def strategies_before(self, environment: str, batch_id: str) -> Sequence[str]:
        return [row["algo_name"] for row in await self._database.fetch(STRATEGIES_BEFORE, environment, batch_id)]

    async def open_after(
        self, environment: str, strategy: str, batch_id: str, *, alone: bool = False
    ) -> Sequence[CarriedPosition]:
        runs = IN_BATCH if alone else UP_TO_BATCH
        found = await self._open(runs, environment, strategy, batch_id)
        unprotected = [p.symbol for p in found if p.planned_stop is None]
        ends = [str(state) for state in FINAL_STATES]
        which = (environment, strategy, batch_id, unprotected, ends)
        rows = await self._database.fetch(RESTING_STOPS.format(runs=runs), *which) if unprotected else []
        stops = {(row["symbol"], row["side"]): plain(row["stop_price"]) for row in rows}
        return [with_resting_stop(p, stops) for p in found]

    async def _open(self, runs: str, environment: str, strategy: str, batch_id: str) -> Sequence[CarriedPosition]:
        async with self._database.connection() as connection:
            open_now = await connection.fetch(POSITIONS.format(runs=runs), environment, strategy, batch_id)
            which = (environment, strategy, batch_id, [row["symbol"] for row in open_now])
            trades = await connection.fetch(TRADES_OF_POSITIONS.format(runs=runs), *which)
            plans = await connection.fetch(PLANS_OF_POSITIONS.format(runs=runs), *which)
        return carried_positions(row_from(PositionStep, row) for row in (*trades, *plans))


async def _orders(connection: Connection, query: str, *args: object) -> list[EarlierOrder]:
    rows = await connection.fetch(query, *args)
    booked: dict[str, list[BookedExecution]] = {row["client_order_id"]: [] for row in rows}
    for row in await connection.fetch(BOOKED_OF_ORDERS, list(booked)) if booked else []:
        booked[row["client_order_id"]].append(row_from(BookedExecution, row))
    found = []
    for row in rows:
        began = from_json(row["began"]) or {}
        order = row_from(OrderRow, row, indicators=from_json(row["indicators"]))
        executions = tuple(booked[order.client_order_id])
        parent = str(began.get("parent") or "")
        found.append(row_from(EarlierOrder, row, order=order, parent=parent, booked=executions, began=began))
    return found


class PositionStep(msgspec.Struct, frozen=True):
    """An execution (`signed` shares at `price`), or with `signed` zero a moved stop and target."""

    symbol: str
    at: int
    signed: Decimal = ZERO
    price: Decimal = ZERO
    stop: Decimal | None = None
    target: Decimal | None = None


@dataclass(slots=True)
class _Position:
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    opened_at: int = 0
    stop: Decimal | None = None
    target: Decimal | None = None
    entry_stop: Decimal | None = None

    def take(self, step: PositionStep) -> None:
        if not step.signed:
            if self.quantity:
                self.stop, self.target = step.stop, step.target
            return
        before = self.quantity
        self.quantity, self.cost, _ = after_execution(before, self.cost, step.signed, step.price)
        if before * self.quantity <= 0:  # opened, closed or turned over
            self.opened_at, self.stop, self.target, self.entry_stop = step.at, step.stop, step.target, step.stop
        elif abs(self.quantity) > abs(before):
            self.stop, self.target = step.stop or self.stop, step.target or self.target
            self.entry_stop = self.entry_stop or step.stop


def carried_positions(steps: Iterable[PositionStep]) -> list[CarriedPosition]:
    """Return what is open after all steps, by symbol; equal times count in the order given, moves after executions."""
    positions: dict[str, _Position] = {}
    for step in sorted(steps, key=lambda step: (step.at, not step.signed)):
        positions.setdefault(step.symbol, _Position()).take(step)
    return [
        CarriedPosition(
            symbol,
            plain(p.quantity),
            p.cost.quantize(_COST_STEP).normalize(),
            p.opened_at,
            p.stop,
            p.target,
            p.entry_stop,
        )
        for symbol, p in sorted(positions.items())
        if p.quantity
    ]


def with_resting_stop(position: CarriedPosition, stops: Mapping[tuple[str, str], Decimal]) -> CarriedPosition:
    """Return a position with the stop that the broker keeps for it, by symbol and side, if its strategy has none."""
    if position.planned_stop is not None:
        return position
    side = "sell" if position.quantity > 0 else "buy"
    return msgspec.structs.replace(position, planned_stop=stops.get((position.symbol, side)))
