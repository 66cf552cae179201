"""Orders, their events, executions and the cash they moved: what the order gateway writes, exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
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
from liualgotrader.store.column_values import clean_text, columns, instant_of, json_text, utc_aware, utc_naive
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

UPSERT_ORDERS = """
    INSERT INTO orders (
        client_order_id, batch_id, slot, algo_run_id, generation, symbol, side, quantity, type, time_in_force,
        limit_price, stop_price, state, broker_order_id, filled_quantity, average_price, reason,
        planned_stop, planned_target, indicators, decided_at, updated_at
    )
    SELECT
        client_order_id, batch_id, slot, algo_run_id, generation, symbol, side, quantity::numeric, type, time_in_force,
        limit_price::numeric, stop_price::numeric, state, broker_order_id, filled_quantity::numeric,
        average_price::numeric, reason, planned_stop::numeric, planned_target::numeric, indicators::jsonb,
        decided_at, updated_at
    FROM unnest(
        $1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
        $18::text[], $19::text[], $20::text[], $21::timestamptz[], $22::timestamptz[]
    ) AS told (
        client_order_id, batch_id, slot, algo_run_id, generation, symbol, side, quantity, type, time_in_force,
        limit_price, stop_price, state, broker_order_id, filled_quantity, average_price, reason,
        planned_stop, planned_target, indicators, decided_at, updated_at
    )
    ON CONFLICT (client_order_id) DO UPDATE SET
        generation = excluded.generation,
        quantity = excluded.quantity,
        limit_price = excluded.limit_price,
        stop_price = excluded.stop_price,
        state = excluded.state,
        broker_order_id = excluded.broker_order_id,
        filled_quantity = excluded.filled_quantity,
        average_price = excluded.average_price,
        reason = excluded.reason,
        planned_stop = excluded.planned_stop,
        planned_target = excluded.planned_target,
        indicators = excluded.indicators,
        updated_at = excluded.updated_at
    WHERE orders.generation <= excluded.generation
"""
INSERT_ORDER_EVENTS = """
    INSERT INTO order_events (client_order_id, number, event, at, details)
    SELECT client_order_id, number, event, at, details::jsonb
    FROM unnest($1::text[], $2::int[], $3::text[], $4::timestamptz[], $5::text[])
        AS steps (client_order_id, number, event, at, details)
    ON CONFLICT (client_order_id, number) DO NOTHING
"""
INSERT_TRADES = """
    INSERT INTO new_trades (
        execution_id, client_order_id, algo_run_id, symbol, operation, qty, price, trade_fee, tstamp, client_time,
        indicators, stop_price, target_price
    )
    SELECT
        execution_id, client_order_id, algo_run_id, symbol, operation::trade_operation, qty::numeric, price::numeric,
        trade_fee::numeric, tstamp, to_char(tstamp, 'YYYY-MM-DD HH24:MI:SS.US+00:00'),
        indicators::jsonb, stop_price::numeric, target_price::numeric
    FROM unnest(
        $1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::timestamp[], $10::text[], $11::text[], $12::text[]
    ) WITH ORDINALITY AS executions (
        execution_id, client_order_id, algo_run_id, symbol, operation, qty, price, trade_fee, tstamp,
        indicators, stop_price, target_price, number
    )
    ORDER BY number
    ON CONFLICT (execution_id) DO NOTHING
    RETURNING execution_id
"""
INSERT_CASH = """
    INSERT INTO account_transactions (account_id, amount, details, tstamp)
    SELECT account_id, amount::numeric, details::jsonb, tstamp
    FROM unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[]) WITH ORDINALITY
        AS moves (account_id, amount, details, tstamp, number)
    ORDER BY number
"""
UPSERT_FOREIGN_POSITIONS = """
    INSERT INTO foreign_positions (batch_id, symbol, quantity, at)
    SELECT batch_id, symbol, quantity::numeric, at
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS held (batch_id, symbol, quantity, at)
    ON CONFLICT (batch_id, symbol) DO UPDATE SET quantity = excluded.quantity, at = excluded.at
"""
# Rows of the original have no execution id; with quantity 0 they only mark that an order was sent.
TRADES = """
    SELECT
        t.algo_run_id, r.algo_name, t.symbol, t.operation::text AS operation, t.qty, t.price, t.trade_fee, t.tstamp,
        t.stop_price, coalesce(t.execution_id, 'trade-' || t.trade_id) AS execution_id
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
    SELECT t.symbol, sum(CASE WHEN t.operation IN ('buy', 'buy_short') THEN t.qty ELSE -t.qty END) AS quantity
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND t.expire_tstamp IS NULL AND {runs}
    GROUP BY t.symbol
    HAVING sum(CASE WHEN t.operation IN ('buy', 'buy_short') THEN t.qty ELSE -t.qty END) <> 0
    ORDER BY t.symbol
"""
# The executions behind POSITIONS, for the symbols that it finds, and the stops and targets moved since.
TRADES_OF_POSITIONS = """
    SELECT t.symbol, t.operation::text AS operation, t.qty, t.price, t.stop_price, t.target_price, t.tstamp
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND t.expire_tstamp IS NULL AND {runs}
      AND t.qty > 0 AND t.symbol = ANY($4)
    ORDER BY t.trade_id
"""
PLANS_OF_POSITIONS = """
    SELECT p.symbol, p.at, p.planned_stop, p.planned_target
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
        return [_filled_trade(row) for row in rows]

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
        return left_open([*map(_execution, trades), *map(_move, plans)])


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
    if orders:
        await connection.execute(UPSERT_ORDERS, *columns(map(_order_columns, orders.values()), 22))
    if events:
        await connection.execute(INSERT_ORDER_EVENTS, *columns(map(_event_columns, events), 5))
    if trades:
        await _book(connection, trades)
    if foreign:
        held = ((f.batch_id, f.symbol, str(f.quantity), utc_aware(f.at)) for f in foreign.values())
        await connection.execute(UPSERT_FOREIGN_POSITIONS, *columns(held, 4))
    if plans:
        await save_plans(connection, plans)


async def _book(connection: Connection, trades: Mapping[str, TradeRow]) -> None:
    """Write executions, and move cash for those that were not there before."""
    booked = await connection.fetch(INSERT_TRADES, *columns(map(_trade_columns, trades.values()), 12))
    fresh = (trades[row["execution_id"]] for row in booked)
    cash = [_cash_columns(row) for row in fresh if row.account_id is not None]
    if cash:
        await connection.execute(INSERT_CASH, *columns(cash, 4))


def _number(value: Decimal | None) -> str | None:
    """Return the number as text: the server reads it faster than asyncpg packs a Decimal."""
    return None if value is None else str(value)


def _order_columns(row: OrderRow) -> tuple[Any, ...]:
    return (
        row.client_order_id,
        row.batch_id,
        row.slot,
        row.algo_run_id,
        row.generation,
        row.symbol,
        row.side,
        str(row.quantity),
        row.type,
        row.time_in_force,
        _number(row.limit_price),
        _number(row.stop_price),
        row.state,
        row.broker_order_id,
        str(row.filled_quantity),
        _number(row.average_price),
        clean_text(row.reason),
        _number(row.planned_stop),
        _number(row.planned_target),
        json_text(row.indicators),
        utc_aware(row.decided_at),
        utc_aware(row.updated_at),
    )


def _event_columns(row: OrderEventRow) -> tuple[Any, ...]:
    return (row.client_order_id, row.number, clean_text(row.event), utc_aware(row.at), json_text(row.details))


def _trade_columns(row: TradeRow) -> tuple[Any, ...]:
    return (
        row.execution_id,
        row.client_order_id,
        row.algo_run_id,
        row.symbol,
        row.operation,
        str(row.quantity),
        str(row.price),
        str(row.fee),
        utc_naive(row.at),
        json_text(row.indicators),
        _number(row.planned_stop),
        _number(row.planned_target),
    )


def _execution(row: Mapping[str, Any]) -> PositionStep:
    sign = 1 if row["operation"] in ("buy", "buy_short") else -1
    at, stop, target = instant_of(row["tstamp"]), _price(row["stop_price"]), _price(row["target_price"])
    return PositionStep(row["symbol"], at, sign * row["qty"], row["price"], stop, target)


def _move(row: Mapping[str, Any]) -> PositionStep:
    stop, target = _price(row["planned_stop"]), _price(row["planned_target"])
    return PositionStep(row["symbol"], instant_of(row["at"]), stop=stop, target=target)


def _price(value: Decimal | None) -> Decimal | None:
    return None if value is None else plain(value)


def _cash_columns(row: TradeRow) -> tuple[Any, ...]:
    value = notional(row.price, row.quantity)
    amount = (-value if row.operation == "buy" else value) - row.fee
    details = {
        "symbol": row.symbol,
        "operation": row.operation,
        "execution_id": row.execution_id,
        "client_order_id": row.client_order_id,
    }
    return (row.account_id, str(amount), json_text(details), utc_aware(row.at))


def _filled_trade(row: Mapping[str, Any]) -> FilledTrade:
    return FilledTrade(
        algo_run_id=row["algo_run_id"],
        strategy=row["algo_name"],
        symbol=row["symbol"],
        operation=row["operation"],
        quantity=plain(row["qty"]),
        price=plain(row["price"]),
        fee=plain(row["trade_fee"]),
        at=instant_of(row["tstamp"]),
        stop=None if row["stop_price"] is None else plain(row["stop_price"]),
        execution_id=row["execution_id"],
    )
