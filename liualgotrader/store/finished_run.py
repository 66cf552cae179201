"""All rows of a run that is over, written at once: a hundred thousand orders in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from liualgotrader.common.position import with_plans
from liualgotrader.common.rows import (
    ActivityRow,
    ForeignRow,
    OrderEventRow,
    OrderRow,
    PlanRow,
    Row,
    SignalRow,
)
from liualgotrader.store.column_values import clean_text, json_text, utc_aware, utc_naive
from liualgotrader.store.database import Tables
from liualgotrader.store.gateway_tables import (
    INSERT_ACTIVITIES,
    INSERT_CASH,
    TRADE_COLUMNS,
    UPSERT_FOREIGN_POSITIONS,
    UPSERT_PLANS,
    cash_move,
    insert_rows,
    trade_columns,
)
from liualgotrader.store.session_tables import signal_columns

if TYPE_CHECKING:
    from asyncpg import Connection

_COPY_SECONDS = 600.0


class FinishedRunTables(Tables):
    """What the order gateway's rows and the signals of a whole batch become, in one transaction."""

    async def save_run(self, rows: Sequence[Row], signals: Sequence[SignalRow]) -> None:
        orders = {row.client_order_id: row for row in rows if isinstance(row, OrderRow)}
        events = [row for row in rows if isinstance(row, OrderEventRow)]
        trades = with_plans(rows)
        plans = {(row.algo_run_id, row.symbol): row for row in rows if isinstance(row, PlanRow)}
        foreign = {(row.batch_id, row.symbol): row for row in rows if isinstance(row, ForeignRow)}
        activities = {row.activity_id: row for row in rows if isinstance(row, ActivityRow)}
        cash = [cash_move(trade) for trade in trades if trade.account_id is not None]
        async with self._database.transaction() as connection:
            await _copy(connection, "orders", OrderRow.__struct_fields__, map(msgspec.structs.astuple, orders.values()))
            await _copy(
                connection, "order_events", OrderEventRow.__struct_fields__, map(msgspec.structs.astuple, events)
            )
            # The column of an execution's time is without zone, which COPY does not convert.
            found = ({**trade_columns(trade), "tstamp": utc_naive(trade.at)}.values() for trade in trades)
            await _copy(connection, "new_trades", (*TRADE_COLUMNS.values(), "client_time"), found)
            columns = ("signal_id", *SignalRow.__struct_fields__)
            await _copy(connection, "signals", columns, (row.values() for row in signal_columns(signals)))
            await insert_rows(connection, UPSERT_PLANS, plans.values())
            await insert_rows(connection, UPSERT_FOREIGN_POSITIONS, foreign.values())
            await insert_rows(connection, INSERT_ACTIVITIES, activities.values())
            if cash:
                await connection.execute(INSERT_CASH, json_text(cash))


async def _copy(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Append rows whose values stand in the order of the columns."""
    records = (tuple(map(_storable, columns, row)) for row in rows)
    await connection.copy_records_to_table(table, records=records, columns=columns, timeout=_COPY_SECONDS)


def _storable(column: str, value: Any) -> Any:
    """Return what COPY takes for a value of a row: clean text, JSON as text, instants as timestamps."""
    kind = type(value)
    if kind is str:
        return clean_text(value)
    if kind is int and column.endswith("at"):
        return utc_aware(value)
    return json_text(value) if kind is dict else value
