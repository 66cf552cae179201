"""Stops and targets that a strategy writes after its order was made: the plan in force, and the executions' own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from liualgotrader.common.rows import PlanRow, Row, TradeRow
from liualgotrader.store.column_values import columns_of, insert_into, json_text, rows_of

if TYPE_CHECKING:
    from asyncpg import Connection

UPSERT_PLANS = f"""
    {insert_into("position_plans", PlanRow.__struct_fields__)}
    ON CONFLICT (algo_run_id, symbol) DO UPDATE SET
        at = excluded.at, planned_stop = excluded.planned_stop, planned_target = excluded.planned_target
"""
# The executions since the run was last flat in the symbol, as far as they have no stop or target of their own.
COMPLETE_TRADES = f"""
    UPDATE new_trades AS t SET
        stop_price = coalesce(t.stop_price, p.planned_stop), target_price = coalesce(t.target_price, p.planned_target)
    FROM {rows_of("position_plans")} AS p
    WHERE t.algo_run_id = p.algo_run_id AND t.symbol = p.symbol AND t.qty > 0
      AND (
        t.stop_price IS NULL AND p.planned_stop IS NOT NULL
        OR t.target_price IS NULL AND p.planned_target IS NOT NULL
      )
      AND t.trade_id > coalesce((
        SELECT max(s.trade_id) FROM (
            SELECT f.trade_id,
                sum(CASE WHEN f.operation IN ('buy', 'buy_short') THEN f.qty ELSE -f.qty END)
                    OVER (ORDER BY f.trade_id) AS held
            FROM new_trades f
            WHERE f.algo_run_id = p.algo_run_id AND f.symbol = p.symbol AND f.qty > 0 AND f.expire_tstamp IS NULL
        ) AS s
        WHERE s.held = 0
      ), 0)
"""

_Key = tuple[int, str]  # algo_run_id, symbol


def in_steps(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    """Yield the rows in parts, in which no execution follows a plan of the same position.

    A plan completes what was executed before it, so that each part can be written table by table.
    """
    part: list[Row] = []
    planned: set[_Key] = set()
    for row in rows:
        if isinstance(row, TradeRow) and (row.algo_run_id, row.symbol) in planned:
            yield part
            part, planned = [], set()
        elif isinstance(row, PlanRow):
            planned.add((row.algo_run_id, row.symbol))
        part.append(row)
    if part:
        yield part


async def save_plans(connection: Connection, plans: Sequence[PlanRow]) -> None:
    """Write where stops and targets are now; executions that have none get the first that is known for their position.

    What is risked at entry is known only then to a strategy that writes its stop once it has heard of its fill.
    """
    newest: dict[_Key, PlanRow] = {}
    first: dict[_Key, PlanRow] = {}
    for row in plans:
        key = row.algo_run_id, row.symbol
        newest[key] = row
        known = first.setdefault(key, row)
        stop = row.planned_stop if known.planned_stop is None else known.planned_stop
        target = row.planned_target if known.planned_target is None else known.planned_target
        first[key] = msgspec.structs.replace(known, planned_stop=stop, planned_target=target)
    for statement, rows in ((UPSERT_PLANS, newest), (COMPLETE_TRADES, first)):
        await connection.execute(statement, json_text([columns_of(row) for row in rows.values()]))
