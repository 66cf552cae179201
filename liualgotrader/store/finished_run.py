"""All rows of a run that is over, written at once: a hundred thousand orders in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from liualgotrader.common.interpreter import no_collection
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
    client_time,
    insert_rows,
)
from liualgotrader.store.session_tables import signal_columns

if TYPE_CHECKING:
    from asyncpg import Connection

_COPY_SECONDS = 600.0


class FinishedRunTables(Tables):
    """What the order gateway's rows and the signals of a whole batch become, in one transaction."""

    async def save_run(self, rows: Sequence[Row], signals: Sequence[SignalRow]) -> None:
        with no_collection():
            await self._save(rows, signals)

    async def _save(self, rows: Sequence[Row], signals: Sequence[SignalRow]) -> None:
        orders = {row.client_order_id: row for row in rows if isinstance(row, OrderRow)}
        events = [row for row in rows if isinstance(row, OrderEventRow)]
        trades = with_plans(rows)
        plans = {(row.algo_run_id, row.symbol): row for row in rows if isinstance(row, PlanRow)}
        foreign = {(row.batch_id, row.symbol): row for row in rows if isinstance(row, ForeignRow)}
        activities = {row.activity_id: row for row in rows if isinstance(row, ActivityRow)}
        cash = [cash_move(trade) for trade in trades if trade.account_id is not None]
        async with self._database.transaction() as connection:
            await _copy(connection, "orders", _columns(list(orders.values())))
            await _copy(connection, "order_events", _columns(events))
            if found := _columns(trades):
                executed = {column: found[name] for name, column in TRADE_COLUMNS.items()}
                # The column of an execution's time is without zone, which COPY does not convert.
                executed["tstamp"] = list(map(utc_naive, found["at"]))
                executed["client_time"] = list(map(client_time, found["at"]))
                await _copy(connection, "new_trades", executed)
            if wanted := signal_columns(signals):
                columns = zip(*(row.values() for row in wanted), strict=True)
                await _copy(connection, "signals", dict(zip(wanted[0], columns, strict=True)))
            await insert_rows(connection, UPSERT_PLANS, plans.values())
            await insert_rows(connection, UPSERT_FOREIGN_POSITIONS, foreign.values())
            await insert_rows(connection, INSERT_ACTIVITIES, activities.values())
            if cash:
                await connection.execute(INSERT_CASH, json_text(cash))


def _columns(rows: Sequence[msgspec.Struct]) -> dict[str, Sequence[Any]]:
    """Return the values of rows of one kind by field, nothing without rows."""
    if not rows:
        return {}
    return dict(zip(rows[0].__struct_fields__, zip(*map(msgspec.structs.astuple, rows), strict=True), strict=True))


async def _copy(connection: Connection, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Append rows, given by their columns."""
    if columns:
        records = zip(*(_storable(name, values) for name, values in columns.items()), strict=True)
        await connection.copy_records_to_table(table, records=records, columns=[*columns], timeout=_COPY_SECONDS)


def _storable(column: str, values: Sequence[Any]) -> Iterable[Any]:
    """Return what COPY takes for the values of a column: clean text, JSON as text, instants as timestamps."""
    kinds = set(map(type, values))
    if dict in kinds:
        return map(json_text, values)
    if int in kinds and column.endswith("at"):
        return map(utc_aware, values)
    if str in kinds:
        whole = "".join(filter(None, values))
        if clean_text(whole) is not whole:
            return [None if text is None else clean_text(text) for text in values]
    return values
