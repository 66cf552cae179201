"""Batches and the runs of strategies in them: what the supervisor writes."""

from __future__ import annotations

from collections.abc import Sequence

from liualgotrader.common.rows import AlgoRunRow, BatchRow
from liualgotrader.common.secret import without_secrets
from liualgotrader.store.column_values import (
    clean_text,
    columns_of,
    from_json,
    insert_into,
    json_text,
    row_from,
    utc_aware,
    utc_naive,
)
from liualgotrader.store.database import Database

INSERT_BATCH = f"""
    {insert_into("batch", BatchRow.__struct_fields__)}
    ON CONFLICT (batch_id) DO NOTHING
"""
END_BATCH = """
    UPDATE batch SET ended_at = $2, end_reason = $3
    WHERE batch_id = $1 AND ended_at IS NULL
"""
UNFINISHED_BATCHES = """
    SELECT batch_id, session_date, environment, started_at, seed,
           layout::text AS layout, configuration::text AS configuration, versions::text AS versions
    FROM batch
    WHERE environment = $1 AND ended_at IS NULL
    ORDER BY recorded_at DESC
"""
# The update changes nothing: it makes the statement return the id of a row that is there already.
BEGIN_ALGO_RUN = """
    INSERT INTO algo_run (algo_name, algo_env, build_number, parameters, start_time, batch_id, slot)
    VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7)
    ON CONFLICT (batch_id, slot) WHERE slot IS NOT NULL DO UPDATE SET slot = excluded.slot
    RETURNING algo_run_id
"""
END_ALGO_RUN = """
    UPDATE algo_run SET end_time = $2, end_reason = $3
    WHERE algo_run_id = $1 AND end_time IS NULL
"""
OPEN_ALGO_RUNS = """
    SELECT algo_run_id FROM algo_run
    WHERE batch_id = $1 AND end_time IS NULL
    ORDER BY algo_run_id
"""


class BatchTables:
    """`batch` and `algo_run`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin_batch(self, batch: BatchRow) -> None:
        """Write the batch, unless it is there."""
        layout, configuration = without_secrets(batch.layout), without_secrets(batch.configuration)
        row = {**columns_of(batch), "layout": layout, "configuration": configuration}
        async with self._database.connection() as connection:
            await connection.execute(INSERT_BATCH, json_text([row]))

    async def end_batch(self, batch_id: str, at: int, reason: str) -> None:
        """Write the end, unless one is written."""
        async with self._database.connection() as connection:
            await connection.execute(END_BATCH, batch_id, utc_aware(at), clean_text(reason))

    async def unfinished_batches(self, environment: str) -> list[BatchRow]:
        """Return the environment's batches that have no end, the newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(UNFINISHED_BATCHES, environment)
        documents = ("layout", "configuration", "versions")
        return [
            row_from(
                BatchRow,
                row,
                seed=None if row["seed"] is None else int(row["seed"]),
                **{name: from_json(row[name]) for name in documents},
            )
            for row in rows
        ]

    async def begin_algo_run(self, run: AlgoRunRow) -> int:
        """Return the id of the row for (batch, slot), making it if it is not there."""
        async with self._database.connection() as connection:
            algo_run_id: int = await connection.fetchval(
                BEGIN_ALGO_RUN,
                run.strategy,
                run.environment,
                run.build_number,
                json_text(without_secrets(run.parameters)),
                utc_naive(run.started_at),
                run.batch_id,
                run.slot,
            )
        return algo_run_id

    async def end_algo_run(self, algo_run_id: int, at: int, reason: str) -> None:
        """Write the end, unless one is written."""
        async with self._database.connection() as connection:
            await connection.execute(END_ALGO_RUN, algo_run_id, utc_naive(at), clean_text(reason))

    async def open_algo_runs(self, batch_id: str) -> Sequence[int]:
        """Return the ids of the batch's runs without an end, lowest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(OPEN_ALGO_RUNS, batch_id)
        return [row["algo_run_id"] for row in rows]
