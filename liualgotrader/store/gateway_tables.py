"""Orders, their events, executions and the cash they moved: what the order gateway of an account writes, exactly once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from liualgotrader.common.errors import OutsideError, RecordDiffers
from liualgotrader.common.money import notional
from liualgotrader.common.rows import ActivityRow, ForeignRow, OrderEventRow, OrderRow, PlanRow, Progress, Row, TradeRow
from liualgotrader.store.column_values import SIGNED, columns_of, insert_into, json_text, rows_of, utc_aware
from liualgotrader.store.database import Database, Tables, our_errors

if TYPE_CHECKING:
    from asyncpg import Connection

_NOTHING = Progress()

# The server may not have noticed yet that the gateway before was killed.
WAIT_AT_MOST = "SET lock_timeout = '3s'"
TAKE_LOCK = "SELECT pg_advisory_lock($1)"
NEXT_GENERATION = """
    INSERT INTO account_lease (account_digest, generation) VALUES ($1, 1)
    ON CONFLICT (account_digest) DO UPDATE SET generation = account_lease.generation + 1, taken_at = now()
    RETURNING generation
"""
# A stored digest stays: of equal keys `||` keeps the right one.
REMEMBER_ACCOUNT = """
    UPDATE batch SET configuration = jsonb_build_object('account_digest', $2::text) || configuration
    WHERE batch_id = $1
    RETURNING configuration ->> 'account_digest'
"""
GENERATION = "SELECT generation FROM account_lease WHERE account_digest = $1"
# Locks the row until the transaction ends, so that no two callers find the same number.
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
INSERT_ACTIVITIES = f"""
    {insert_into("account_activities", ActivityRow.__struct_fields__)}
    ON CONFLICT (activity_id) DO NOTHING
"""
UPSERT_PLANS = f"""
    {insert_into("position_plans", PlanRow.__struct_fields__)}
    ON CONFLICT (algo_run_id, symbol) DO UPDATE SET
        at = excluded.at, planned_stop = excluded.planned_stop, planned_target = excluded.planned_target
"""
# The executions since the run was last flat in the symbol that have no stop or target of their own.
COMPLETE_TRADES = f"""
    UPDATE new_trades AS held SET
        stop_price = coalesce(held.stop_price, p.planned_stop), target_price = coalesce(held.target_price, p.planned_target)
    FROM {rows_of("position_plans")} AS p
    WHERE held.algo_run_id = p.algo_run_id AND held.symbol = p.symbol AND held.qty > 0
      AND (
        held.stop_price IS NULL AND p.planned_stop IS NOT NULL
        OR held.target_price IS NULL AND p.planned_target IS NOT NULL
      )
      AND held.trade_id > coalesce((
        SELECT max(s.trade_id) FROM (
            SELECT t.trade_id, sum({SIGNED}) OVER (ORDER BY t.trade_id) AS quantity
            FROM new_trades t
            WHERE t.algo_run_id = p.algo_run_id AND t.symbol = p.symbol AND t.qty > 0 AND t.expire_tstamp IS NULL
        ) AS s
        WHERE s.quantity = 0
      ), 0)
"""


@dataclass(frozen=True, slots=True)
class _Lease:
    connection: Connection  # the lock lives as long as this connection
    digest: str
    generation: int


class GatewayTables(Tables):
    """`orders`, `order_events`, `new_trades`, `account_transactions`, `foreign_positions`, `position_plans`, `account_activities`.

    One gateway at a time trades for an account (`account_lease`, with an advisory lock), each later one outranks the
    one before, and it writes batches of that account only.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._lease: _Lease | None = None

    async def lease(self, account_number: str) -> int:
        """Take the account until the store is closed.

        A lost connection gives the lock up; the next `apply` takes it again, unless another gateway was faster.
        """
        await self._end_lease()
        self._lease = await self._taken(_digest(account_number))
        return self._lease.generation

    async def is_account_of(self, batch_id: str, account_number: str) -> bool:
        digest = _digest(account_number)
        return await self._database.fetchval(REMEMBER_ACCOUNT, batch_id, digest) in (digest, None)

    async def _taken(self, digest: str, generation: int | None = None) -> _Lease:
        """Return the lease of an account, locked; without a generation it is a new one."""
        from asyncpg import LockNotAvailableError

        connection = await self._database.dedicated()
        try:
            with our_errors():
                await connection.execute(WAIT_AT_MOST)
                await connection.execute(TAKE_LOCK, int.from_bytes(bytes.fromhex(digest)[:8], signed=True))
                if generation is None:
                    generation = await connection.fetchval(NEXT_GENERATION, digest)
        except BaseException as error:
            connection.terminate()
            if isinstance(error, LockNotAvailableError):
                raise OutsideError("Another order gateway trades for this account: end it, then start again.") from None
            raise
        return _Lease(connection, digest, generation)

    async def _end_lease(self) -> None:
        if self._lease is not None:
            self._lease.connection.terminate()
            self._lease = None

    async def apply(self, batch_id: str, rows: Sequence[Row], before: Progress = _NOTHING) -> Progress:
        """Write the gateway's next rows in one transaction.

        After an exception nothing of the call is stored, unless the server was lost during the commit. In both cases
        the caller calls again with the same rows, or more: rows that are stored are skipped.

        Raises:
            RecordDiffers: if what is stored is neither `before` nor the outcome of these rows up to one of them.
            BadData: if a row breaks a rule of its table, for example a trade of an unknown algo_run.
            OutsideError: if another gateway has taken the account since.
        """
        lease = self._lease
        if lease is not None and lease.connection.is_closed():  # lost with the server
            self._lease = lease = await self._taken(lease.digest, lease.generation)
        async with self._database.transaction() as connection:
            if lease is not None and await connection.fetchval(GENERATION, lease.digest) != lease.generation:
                raise OutsideError("Another order gateway has taken this account over: this one must stop.")
            stored = progress_of(await connection.fetchrow(LOCK_PROGRESS, batch_id))
            fresh, end = rows_after(stored, rows, before)
            if fresh:
                for part in _parts(fresh):
                    await _write(connection, part)
                await connection.execute(SAVE_PROGRESS, batch_id, end.number, end.digest)
        return end

    async def progress(self, batch_id: str) -> Progress:
        return progress_of(await self._database.fetchrow(PROGRESS, batch_id))


def _digest(account_number: str) -> str:
    return sha256(f"liu-account:{account_number}".encode()).hexdigest()


def rows_after(stored: Progress, rows: Sequence[Row], before: Progress) -> tuple[Sequence[Row], Progress]:
    """Return the rows after `before` that are not stored yet, and the progress after the last row.

    Raises:
        RecordDiffers: if what is stored is not on the way from `before` to the last row.
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


def _parts(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    """Yield the rows in parts that can be written table by table.

    A plan completes the executions before it, so no execution follows a plan of its position in one part.
    """
    part: list[Row] = []
    planned: set[tuple[int, str]] = set()
    for row in rows:
        if isinstance(row, TradeRow) and (row.algo_run_id, row.symbol) in planned:
            yield part
            part, planned = [], set()
        elif isinstance(row, PlanRow):
            planned.add((row.algo_run_id, row.symbol))
        part.append(row)
    if part:
        yield part


async def _write(connection: Connection, rows: Iterable[Row]) -> None:
    of: defaultdict[type[Row], list[Any]] = defaultdict(list)
    for row in rows:
        of[type(row)].append(row)
    orders = {row.client_order_id: row for row in of[OrderRow]}  # the last state counts
    foreign = {(row.batch_id, row.symbol): row for row in of[ForeignRow]}
    await insert_rows(connection, UPSERT_ORDERS, orders.values())
    await insert_rows(connection, INSERT_ORDER_EVENTS, of[OrderEventRow])
    await insert_rows(connection, UPSERT_FOREIGN_POSITIONS, foreign.values())
    await insert_rows(connection, INSERT_ACTIVITIES, of[ActivityRow])
    if of[TradeRow]:
        await _book(connection, of[TradeRow])
    if of[PlanRow]:
        await _save_plans(connection, of[PlanRow])


async def insert_rows(connection: Connection, statement: str, rows: Collection[msgspec.Struct]) -> None:
    """Execute a statement made by `insert_into` for rows whose fields are its columns, if there are any."""
    if rows:
        await connection.execute(statement, json_text([columns_of(row) for row in rows]))


async def _book(connection: Connection, reports: Sequence[TradeRow]) -> None:
    """Write executions, and move cash for those that were not there before; the first report of each counts."""
    trades: dict[str, TradeRow] = {}
    for trade in reports:
        trades.setdefault(trade.execution_id, trade)
    stored = await connection.fetch(INSERT_TRADES, json_text([trade_columns(trade) for trade in trades.values()]))
    fresh = (trades[row["execution_id"]] for row in stored)
    if cash := [cash_move(trade) for trade in fresh if trade.account_id is not None]:
        await connection.execute(INSERT_CASH, json_text(cash))


def trade_columns(trade: TradeRow) -> dict[str, Any]:
    """Return an execution by the columns of `new_trades`."""
    values = columns_of(trade)
    named = {column: values[name] for name, column in TRADE_COLUMNS.items()}
    return named | {"client_time": client_time(trade.at)}


def client_time(at: int) -> str:
    """Return what an execution's row says of its instant in words."""
    return utc_aware(at).isoformat(" ", "microseconds")


def cash_move(trade: TradeRow) -> dict[str, Any]:
    """Return what an execution moves in its portfolio's account, by the columns of `account_transactions`."""
    value = notional(trade.price, trade.quantity)
    amount = (-value if trade.operation == "buy" else value) - trade.fee
    details = {name: getattr(trade, name) for name in ("symbol", "operation", "execution_id", "client_order_id")}
    return {"account_id": trade.account_id, "amount": amount, "details": details, "tstamp": utc_aware(trade.at)}


async def _save_plans(connection: Connection, plans: Sequence[PlanRow]) -> None:
    """Write the newest stops and targets; executions without one get the first one of their position.

    A strategy may set its stop only after its fill: the risk taken at entry is known from then on.
    """
    newest: dict[tuple[int, str], PlanRow] = {}
    first: dict[tuple[int, str], PlanRow] = {}
    for row in plans:
        key = row.algo_run_id, row.symbol
        newest[key] = row
        known = first.setdefault(key, row)
        stop = row.planned_stop if known.planned_stop is None else known.planned_stop
        target = row.planned_target if known.planned_target is None else known.planned_target
        first[key] = msgspec.structs.replace(known, planned_stop=stop, planned_target=target)
    await insert_rows(connection, UPSERT_PLANS, newest.values())
    await insert_rows(connection, COMPLETE_TRADES, first.values())
