"""The original's class for rows of `algo_run`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from liualgotrader.common.secret import without_secrets
from liualgotrader.store.column_values import from_json, json_text, midnight
from liualgotrader.store.database import current_pool

INSERT = """
    INSERT INTO algo_run (algo_name, algo_env, build_number, parameters, batch_id, ref_algo_run)
    VALUES ($1, $2, $3, $4::text::jsonb, $5, $6)
    RETURNING algo_run_id
"""
END = "UPDATE algo_run SET end_time = now() AT TIME ZONE 'UTC', end_reason = $2 WHERE algo_run_id = $1"
BATCH_IDS = """
    SELECT batch_id FROM algo_run
    WHERE start_time >= $1
    GROUP BY batch_id
    ORDER BY max(start_time) DESC
"""
BATCHES = """
    SELECT batch_id, min(start_time) AS start_time, string_agg(DISTINCT algo_name, ', ' ORDER BY algo_name) AS names
    FROM algo_run
    WHERE start_time >= $1
    GROUP BY batch_id
    ORDER BY min(start_time) DESC
    LIMIT $2
"""
BATCHES_OF_DAY = """
    SELECT batch_id FROM algo_run
    WHERE start_time >= $1::date AND start_time < $1::date + 1
    GROUP BY batch_id
    ORDER BY min(start_time)
"""
BATCH_DETAILS = """
    SELECT algo_run_id, start_time, end_time, parameters::text AS parameters
    FROM algo_run
    WHERE batch_id = $1
    ORDER BY algo_run_id
"""
BEGINNING = date(2019, 1, 1)


class AlgoRun:
    """One strategy in one program of one batch. `run_id` is its id once it is saved."""

    def __init__(self, strategy_name: str, batch_id: str) -> None:
        self.run_id: int | None = None
        self.strategy_name = strategy_name
        self.batch_id = batch_id

    async def save(
        self,
        pool: Any = None,
        env: str = "unknown",
        ref_algo_run_id: int | None = None,
        *,
        build_number: str = "",
        parameters: dict[str, Any] | None = None,
    ) -> None:
        """Write the row; secrets in `parameters` are not kept."""
        kept = json_text(without_secrets(parameters or {}))
        self.run_id = await current_pool(pool).fetchval(
            INSERT, self.strategy_name, env, build_number, kept, self.batch_id, ref_algo_run_id
        )

    async def update_end_time(self, pool: Any = None, end_reason: str = "") -> None:
        """Write that the run ended now."""
        await current_pool(pool).execute(END, self.run_id, end_reason)

    @classmethod
    async def get_batch_ids(cls, pool: Any = None, start_date: date = BEGINNING) -> Sequence[str]:
        """Return the batches since a day, newest first."""
        return [row["batch_id"] for row in await current_pool(pool).fetch(BATCH_IDS, midnight(start_date))]

    @classmethod
    async def get_batches(
        cls, pool: Any = None, nax_batches: int = 30, start_date: date = BEGINNING
    ) -> Sequence[tuple[str, datetime, str]]:
        """Return (batch id, start, names of strategies) of the newest batches; `nax_batches` is spelled as it was."""
        rows = await current_pool(pool).fetch(BATCHES, midnight(start_date), nax_batches)
        return [(row["batch_id"], row["start_time"], row["names"]) for row in rows]

    @classmethod
    async def get_batch_list_by_date(cls, day: date, pool: Any = None) -> Sequence[str]:
        """Return the batches that began on a day (UTC), oldest first."""
        return [row["batch_id"] for row in await current_pool(pool).fetch(BATCHES_OF_DAY, day)]

    @classmethod
    async def get_batch_details(
        cls, batch_id: str, pool: Any = None
    ) -> Sequence[tuple[int, datetime, datetime | None, dict[str, Any]]]:
        """Return (run id, start, end, parameters) of a batch's runs."""
        rows = await current_pool(pool).fetch(BATCH_DETAILS, batch_id)
        return [
            (row["algo_run_id"], row["start_time"], row["end_time"], from_json(row["parameters"]) or {}) for row in rows
        ]
