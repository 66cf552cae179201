"""Orders, their events, executions and the cash they moved: what the order gateway writes, exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liualgotrader.common.errors import RecordDiffers
from liualgotrader.common.money import notional, plain
from liualgotrader.common.orders import FINAL_STATES
from liualgotrader.common.rows import (
    ActivityRow,
    FilledTrade,
    ForeignRow,
    LeftOpen,
    OrderEventRow,
    OrderRow,
    PlanRow,
    Progress,
    Row,
    TradeRow,
)
from liualgotrader.store.carried_positions import PositionStep, left_open, with_resting_stop
from liualgotrader.store.column_values import columns_of, insert_into, json_text, row_from, utc_aware
from liualgotrader.store.day_tables import save_activities
from liualgotrader.store.lease_tables import LeaseTables
from liualgotrader.store.position_plans import in_steps, save_plans

if TYPE_CHECKING:
    from asyncpg import Connection

_NOTHING = Progress()

# Locks the row until the transaction ends, so that two callers cannot both find the same number.
LOCK_PROGRESS = """
    INSERT INTO gateway_progress (batch_id, row_number, digest) VALUES ($1, 0, '')
    ON CONFLICT (batch_id) DO UPDATE SET row_number = gateway_progress.row_number
    RETURNING row_number, digest
"""
SAVE_PROGRESS = "UPDATE gateway_progress SET row_number = $2, digest = $3, recorded_at = now() WHERE batch_id = $1"
PROGRESS = "SELECT row_number, digest FROM gateway_progress WHERE batch_id = $1"

# The original's names for the fields of an execution.
TRADE_COLUMNS = {name: name for name in TradeRow.__struct_fields__ if name != "account_id"} | {
    "quantity": "qty",
    "fee": "trade_fee",
    "at": "tstamp",
    "planned_stop": "stop_price",
    "planned_target": "target_price",
}
# What a later state of an order may change.
_CHANGING = (
    *("generation", "quantity", "limit_price", "stop_price", "state", "broker_order_id", "filled_quantity"),
    *("average_price", "reason", "planned_stop", "planned_target", "indicators", "updated_at"),
)
UPSERT_ORDERS = f"""
    {insert_into("orders", OrderRow.__struct_fields__)}
    ON CONFLICT (client_order_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _CHANGING)}
    WHERE orders.generation <= excluded.generation
"""
INSERT_ORDER_EVENTS = f"""
    {insert_into("order_events", OrderEventRow.__struct_fields__)}
    ON CONFLICT (client_order_id, number) DO NOTHING
"""
INSERT_TRADES = f"""
    {insert_into("new_trades", (*TRADE_COLUMNS.values(), "client_time"))}
    ON CONFLICT (execution_id) DO NOTHING
    RETURNING execution_id
"""
INSERT_CASH = insert_into("account_transactions", ("account_id", "amount", "details", "tstamp"))
UPSERT_FOREIGN_POSITIONS = f"""
    {insert_into("foreign_positions", ForeignRow.__struct_fields__)}
    ON CONFLICT (batch_id, symbol) DO UPDATE SET quantity = excluded.quantity, at = excluded.at
"""
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
# Which runs of a strategy count. Earlier is what began to be written earlier: ids grow, whatever the clocks say.
BEFORE_BATCH = """r.batch_id <> $3
      AND r.algo_run_id < coalesce((SELECT min(algo_run_id) FROM algo_run WHERE batch_id = $3), 2147483647)"""
UP_TO_BATCH = """r.batch_id IS NOT NULL
      AND r.algo_run_id <= coalesce((SELECT max(algo_run_id) FROM algo_run WHERE batch_id = $3), 2147483647)"""
IN_BATCH = "r.batch_id = $3"

POSITIONS = """
    SELECT t.symbol
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND t.expire_tstamp IS NULL AND {runs}
    GROUP BY t.symbol
    HAVING sum(CASE WHEN t.operation IN ('buy', 'buy_short') THEN t.qty ELSE -t.qty END) <> 0
    ORDER BY t.symbol
"""
# The executions behind POSITIONS, for the symbols that it finds, and the stops and targets moved since.
TRADES_OF_POSITIONS = """
    SELECT
        t.symbol, t.tstamp AS at, CASE WHEN t.operation IN ('buy', 'buy_short') THEN t.qty ELSE -t.qty END AS signed,
        t.price, t.stop_price AS stop, t.target_price AS target
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND t.expire_tstamp IS NULL AND {runs}
      AND t.qty > 0 AND t.symbol = ANY($4)
    ORDER BY t.trade_id
"""
PLANS_OF_POSITIONS = """
    SELECT p.symbol, p.at, 0::numeric AS signed, 0::numeric AS price, p.planned_stop AS stop, p.planned_target AS target
    FROM position_plans p JOIN algo_run r ON r.algo_run_id = p.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND {runs} AND p.symbol = ANY($4)
    ORDER BY p.algo_run_id
"""
# Stops that the broker keeps: they protect a position for which the strategy has planned none. Of several the price
# reaches the highest first that sells, and the lowest that buys a short position back.
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


class GatewayTables(LeaseTables):
    """`orders`, `order_events`, `new_trades`, `account_transactions`, `foreign_positions`, `position_plans`, …"""

    async def apply(self, batch_id: str, rows: Sequence[Row], before: Progress = _NOTHING) -> Progress:
        """Write the gateway's next rows, those that follow on `before`, and return the progress after them.

        One transaction: after an exception nothing of the call is stored, unless the server was lost while it
        committed. Then calling again with the same rows, or more, is right in either case: what is stored is passed over.

        Raises:
            RecordDiffers: if what is stored is neither `before` nor the outcome of these rows up to one of them.
            BadData: if a row breaks a rule of its table, for example a trade of an unknown algo_run.
            OutsideError: if another gateway has taken the account since.
        """
        await self._hold_lease()
        async with self._database.transaction() as connection:
            await self._check_generation(connection)
            stored = progress_of(await connection.fetchrow(LOCK_PROGRESS, batch_id))
            fresh, end = rows_after(stored, rows, before)
            if fresh:
                await _write(connection, fresh)
                await connection.execute(SAVE_PROGRESS, batch_id, end.number, end.digest)
        return end

    async def progress(self, batch_id: str) -> Progress:
        """Return how many of the gateway's rows are stored, and what stands for them."""
        async with self._database.connection() as connection:
            return progress_of(await connection.fetchrow(PROGRESS, batch_id))

    async def trades(self, batch_id: str) -> Sequence[FilledTrade]:
        """Return the batch's executions by time."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(TRADES, batch_id)
        return [row_from(FilledTrade, row) for row in rows]

    async def left_open(self, environment: str, strategy: str, batch_id: str) -> Sequence[LeftOpen]:
        """Return what earlier batches of a strategy left open, with stop and target as they were left, by symbol."""
        return await self._open(BEFORE_BATCH, environment, strategy, batch_id)

    async def strategies_before(self, environment: str, batch_id: str) -> Sequence[str]:
        """Return the names of the strategies that other batches of an environment ran, in alphabetical order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(STRATEGIES_BEFORE, environment, batch_id)
        return [row["algo_name"] for row in rows]

    async def open_after(
        self, environment: str, strategy: str, batch_id: str, *, alone: bool = False
    ) -> Sequence[LeftOpen]:
        """Return what a strategy holds after this batch and all before it, or (`alone`) from this batch alone."""
        runs = IN_BATCH if alone else UP_TO_BATCH
        found = await self._open(runs, environment, strategy, batch_id)
        bare = [p.symbol for p in found if p.planned_stop is None]
        if not bare:
            return found
        ends = [str(state) for state in FINAL_STATES]
        async with self._database.connection() as connection:
            rows = await connection.fetch(RESTING_STOPS.format(runs=runs), environment, strategy, batch_id, bare, ends)
        stops = {(row["symbol"], row["side"]): plain(row["stop_price"]) for row in rows}
        return [with_resting_stop(p, stops) for p in found]

    async def _open(self, runs: str, environment: str, strategy: str, batch_id: str) -> Sequence[LeftOpen]:
        async with self._database.connection() as connection:
            open_now = await connection.fetch(POSITIONS.format(runs=runs), environment, strategy, batch_id)
            which = (environment, strategy, batch_id, [row["symbol"] for row in open_now])
            trades = await connection.fetch(TRADES_OF_POSITIONS.format(runs=runs), *which)
            plans = await connection.fetch(PLANS_OF_POSITIONS.format(runs=runs), *which)
        return left_open(row_from(PositionStep, row) for row in (*trades, *plans))


def rows_after(stored: Progress, rows: Sequence[Row], before: Progress) -> tuple[Sequence[Row], Progress]:
    """Return which of the rows that follow on `before` are not stored yet, and the progress after the last of them.

    Raises:
        RecordDiffers: if they do not lead from `before` over what is stored.
    """
    at, fresh = before, rows if before.agrees(stored) else None
    for place, row in enumerate(rows, 1):
        at = at.after(row)
        if fresh is None and at.agrees(stored):
            fresh = rows[place:]
    if fresh is None:
        raise RecordDiffers(
            f"{stored.number} rows of the batch are stored, and rows {before.number + 1} to {at.number} do not follow on them:"
            " start `trader` again, which rebuilds the batch from the database and the broker."
        )
    return fresh, at


def progress_of(row: Mapping[str, Any] | None) -> Progress:
    """Return the progress that a row of `gateway_progress` states; no row is none."""
    return _NOTHING if row is None else Progress(row["row_number"], row["digest"])


async def _write(connection: Connection, rows: Sequence[Row]) -> None:
    for part in in_steps(rows):
        await _write_part(connection, part)
    if activities := [row for row in rows if isinstance(row, ActivityRow)]:
        await save_activities(connection, activities)


async def _write_part(connection: Connection, rows: Iterable[Row]) -> None:
    # Of several states of one order the last counts; of an execution told twice the first.
    orders: dict[str, OrderRow] = {}
    events: list[OrderEventRow] = []
    trades: dict[str, TradeRow] = {}
    foreign: dict[tuple[str, str], ForeignRow] = {}
    plans: list[PlanRow] = []
    for row in rows:
        match row:
            case OrderRow():
                orders[row.client_order_id] = row
            case OrderEventRow():
                events.append(row)
            case TradeRow():
                trades.setdefault(row.execution_id, row)
            case ForeignRow():
                foreign[row.batch_id, row.symbol] = row
            case PlanRow():
                plans.append(row)
    for statement, values in (
        (UPSERT_ORDERS, orders.values()),
        (INSERT_ORDER_EVENTS, events),
        (UPSERT_FOREIGN_POSITIONS, foreign.values()),
    ):
        if values:
            await connection.execute(statement, json_text([columns_of(row) for row in values]))
    if trades:
        await _book(connection, trades)
    if plans:
        await save_plans(connection, plans)


async def _book(connection: Connection, trades: Mapping[str, TradeRow]) -> None:
    """Write executions, and move cash for those that were not there before."""
    booked = await connection.fetch(INSERT_TRADES, json_text([_trade_columns(row) for row in trades.values()]))
    new = [trades[row["execution_id"]] for row in booked]
    if cash := [_cash_columns(row) for row in new if row.account_id is not None]:
        await connection.execute(INSERT_CASH, json_text(cash))


def _trade_columns(row: TradeRow) -> dict[str, Any]:
    values = columns_of(row)
    client_time = values["at"].isoformat(" ", "microseconds")
    return {column: values[name] for name, column in TRADE_COLUMNS.items()} | {"client_time": client_time}


def _cash_columns(row: TradeRow) -> dict[str, Any]:
    value = notional(row.price, row.quantity)
    details = {name: getattr(row, name) for name in ("symbol", "operation", "execution_id", "client_order_id")}
    amount = (-value if row.operation == "buy" else value) - row.fee
    return {"account_id": row.account_id, "amount": amount, "details": details, "tstamp": utc_aware(row.at)}
