"""Stops and targets that a strategy writes after its order was made: the plan in force, and the executions' own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from liualgotrader.common.rows import PlanRow, Row, TradeRow
from liualgotrader.store.column_values import columns, utc_aware

if TYPE_CHECKING:
    from asyncpg import Connection

UPSERT_PLANS = """
    INSERT INTO position_plans (algo_run_id, symbol, at, planned_stop, planned_target)
    SELECT algo_run_id, symbol, at, planned_stop::numeric, planned_target::numeric
    FROM unnest($1::int[], $2::text[], $3::timestamptz[], $4::text[], $5::text[])
        AS moved (algo_run_id, symbol, at, planned_stop, planned_target)
    ON CONFLICT (algo_run_id, symbol) DO UPDATE SET
        at = excluded.at, planned_stop = excluded.planned_stop, planned_target = excluded.planned_target
"""
# The executions since the run was last flat in the symbol, as far as they have no stop or target of their own.
COMPLETE_TRADES = """
    UPDATE new_trades AS t SET
        stop_price = coalesce(t.stop_price, p.stop::numeric), target_price = coalesce(t.target_price, p.target::numeric)
    FROM unnest($1::int[], $2::text[], $3::text[], $4::text[]) AS p (algo_run_id, symbol, stop, target)
    WHERE t.algo_run_id = p.algo_run_id AND t.symbol = p.symbol AND t.qty > 0
      AND (t.stop_price IS NULL AND p.stop IS NOT NULL OR t.target_price IS NULL AND p.target IS NOT NULL)
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
    first: dict[_Key, list[Decimal | None]] = {}
    for row in plans:
        key = row.algo_run_id, row.symbol
        newest[key] = row
        known = first.setdefault(key, [None, None])
        for place, price in enumerate((row.planned_stop, row.planned_target)):
            known[place] = price if known[place] is None else known[place]
    moved = (
        (r.algo_run_id, r.symbol, utc_aware(r.at), *_texts(r.planned_stop, r.planned_target)) for r in newest.values()
    )
    await connection.execute(UPSERT_PLANS, *columns(moved, 5))
    told = ((*key, *_texts(*known)) for key, known in first.items())
    await connection.execute(COMPLETE_TRADES, *columns(told, 4))


def _texts(*prices: Decimal | None) -> Iterator[str | None]:
    return (None if price is None else str(price) for price in prices)
