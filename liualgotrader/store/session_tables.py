"""Batches with their runs, picks, rejects and signals, and the key-store: what all but the order gateway write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from liualgotrader.common.errors import BadData
from liualgotrader.common.rows import (
    AlgoRunRow,
    BatchResult,
    BatchRow,
    EventLag,
    OperatorAction,
    PickRow,
    ResultFigures,
    SignalRow,
)
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
from liualgotrader.store.database import Tables

INSERT_BATCH = f"""
    {insert_into("batch", BatchRow.__struct_fields__)}
    ON CONFLICT (batch_id) DO NOTHING
"""
END_BATCH = """
    UPDATE batch SET ended_at = $2, end_reason = $3
    WHERE batch_id = $1 AND ended_at IS NULL
"""
END_TRADE_PLANS = """
    UPDATE trade_plan_execution_audit a SET ended_on = coalesce((
        SELECT max(r.end_time) AT TIME ZONE 'UTC' FROM algo_run r
        WHERE r.batch_id = $1 AND r.algo_name = a.details ->> 'strategy'
    ), $2)
    WHERE a.details ->> 'batch_id' = $1 AND a.ended_on IS NULL
"""
_BATCHES = """
    SELECT batch_id, session_date, environment, started_at, seed,
           layout::text AS layout, configuration::text AS configuration, versions::text AS versions
    FROM batch
"""
UNFINISHED_BATCHES = f"{_BATCHES} WHERE environment = $1 AND ended_at IS NULL ORDER BY recorded_at DESC"
NEWEST_BATCHES = f"{_BATCHES} WHERE starts_with(batch_id, $1) ORDER BY recorded_at DESC LIMIT $2"
# Neither orders nor fills are read: a run of a hundred thousand trades is listed as fast as one of none.
RESULTS = """
    SELECT b.batch_id, b.environment, b.session_date, b.started_at, b.recorded_at, b.end_reason, b.figures::text AS figures,
           (b.configuration -> 'backtest')::text AS asked, r.parameters::text AS parameters, r.build_number
    FROM batch b LEFT JOIN LATERAL (
        SELECT json_agg(json_build_array(algo_name, parameters) ORDER BY slot) AS parameters, min(build_number) AS build_number
        FROM algo_run WHERE batch_id = b.batch_id AND slot IS NOT NULL
    ) r ON true
    WHERE $2 IN ('', b.environment)
    ORDER BY b.recorded_at DESC LIMIT $1
"""
SAVE_FIGURES = "UPDATE batch SET figures = $2::text::jsonb WHERE batch_id = $1"
ALGO_RUNS = """
    SELECT algo_run_id, batch_id, slot, algo_name AS strategy, algo_env AS environment, build_number,
           parameters::text AS parameters, start_time AS started_at, ref_algo_run
    FROM algo_run
    WHERE batch_id = $1 AND slot IS NOT NULL
    ORDER BY slot
"""
# The update changes nothing: it lets the statement return the id of an existing row.
BEGIN_ALGO_RUN = """
    INSERT INTO algo_run (algo_name, algo_env, build_number, parameters, start_time, batch_id, slot, ref_algo_run)
    VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7, $8)
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
ASSIGN = """
    INSERT INTO assignment (batch_id, symbol, consumer) VALUES ($1, $2, $3)
    ON CONFLICT (batch_id, symbol) DO UPDATE SET consumer = excluded.consumer
"""
ASSIGNMENTS = "SELECT symbol, consumer FROM assignment WHERE batch_id = $1 ORDER BY symbol"
_PICK_COLUMNS = {"scanner": "scanner_name", "strategy": "strategy_name", "at": "create_tstamp"}  # the original's names
SAVE_PICKS = f"""
    {insert_into("trending_tickers", [_PICK_COLUMNS.get(name, name) for name in PickRow.__struct_fields__])}
    ON CONFLICT (batch_id, symbol, scanner_name, strategy_name, create_tstamp) WHERE strategy_name IS NOT NULL
    DO NOTHING
"""
PICKS = """
    SELECT
        batch_id, symbol, scanner_name AS scanner, coalesce(strategy_name, '') AS strategy, create_tstamp AS at
    FROM trending_tickers
    WHERE batch_id = $1
    ORDER BY create_tstamp, trending_id
"""
SAVE_REJECT = """
    INSERT INTO rejects (batch_id, strategy_name, symbol, rejected_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (batch_id, strategy_name, symbol) DO NOTHING
"""
REJECTS = """
    SELECT strategy_name, symbol FROM rejects
    WHERE batch_id = $1
    ORDER BY strategy_name, symbol
"""
SAVE_SIGNALS = f"""
    {insert_into("signals", ("signal_id", *SignalRow.__struct_fields__))}
    ON CONFLICT (signal_id) DO UPDATE SET outcome = excluded.outcome
"""
SAVE_OPERATOR_ACTIONS = f"""
    {insert_into("operator_action", OperatorAction.__struct_fields__)}
    ON CONFLICT (action_id) DO NOTHING
"""
SAVE_EVENT_LAGS = f"""
    {insert_into("event_lag", EventLag.__struct_fields__)}
    ON CONFLICT (batch_id, process, at) DO NOTHING
"""
KEY_LOAD = "SELECT value FROM keystore WHERE key = $1"
KEY_SAVE = """
    INSERT INTO keystore (key, value, tstamp) VALUES ($1, $2, now())
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, tstamp = excluded.tstamp
"""


class SessionTables(Tables):
    """`batch`, `algo_run`, `assignment`, `trending_tickers`, `rejects`, `signals`, `operator_action`, `keystore`."""

    async def begin_batch(self, batch: BatchRow) -> None:
        """Write the batch, unless it is there."""
        layout, configuration = without_secrets(batch.layout), without_secrets(batch.configuration)
        row = {**columns_of(batch), "layout": layout, "configuration": configuration}
        await self._database.execute(INSERT_BATCH, json_text([row]))

    async def end_batch(self, batch_id: str, at: int, reason: str) -> None:
        """Write the end, unless one is written, and that of the trade plans which ran in it: when their last run ended."""
        async with self._database.transaction() as connection:
            await connection.execute(END_BATCH, batch_id, utc_aware(at), clean_text(reason))
            await connection.execute(END_TRADE_PLANS, batch_id, utc_aware(at))

    async def unfinished_batches(self, environment: str) -> list[BatchRow]:
        """Return the environment's batches that have no end, the newest first."""
        return [_batch_row(row) for row in await self._database.fetch(UNFINISHED_BATCHES, environment)]

    async def newest_batches(self, most: int, beginning: str = "") -> list[BatchRow]:
        """Return the batches whose id begins so, the newest first, so many at most."""
        return [_batch_row(row) for row in await self._database.fetch(NEWEST_BATCHES, beginning, most)]

    async def results(self, most: int, environment: str = "") -> Sequence[BatchResult]:
        """Return the newest batches, of one environment if it is named, with what each of them came to."""
        return [_result(row) for row in await self._database.fetch(RESULTS, most, environment)]

    async def save_figures(self, batch_id: str, figures: ResultFigures) -> None:
        """Write what a batch came to, in place of what was written before."""
        await self._database.execute(SAVE_FIGURES, batch_id, json_text(msgspec.to_builtins(figures)))

    async def algo_runs(self, batch_id: str) -> Mapping[int, AlgoRunRow]:
        """Return the batch's runs by id, in the order of their slots."""
        rows = await self._database.fetch(ALGO_RUNS, batch_id)
        return {row["algo_run_id"]: row_from(AlgoRunRow, row, parameters=from_json(row["parameters"])) for row in rows}

    async def begin_algo_run(self, run: AlgoRunRow) -> int:
        """Return the id of the row for (batch, slot), making it if it is not there."""
        what = run.strategy, run.environment, run.build_number, json_text(without_secrets(run.parameters))
        where = utc_naive(run.started_at), run.batch_id, run.slot, run.ref_algo_run
        algo_run_id: int = await self._database.fetchval(BEGIN_ALGO_RUN, *what, *where)
        return algo_run_id

    async def end_algo_run(self, algo_run_id: int, at: int, reason: str) -> None:
        """Write the end, unless one is written."""
        await self._database.execute(END_ALGO_RUN, algo_run_id, utc_naive(at), clean_text(reason))

    async def open_algo_runs(self, batch_id: str) -> Sequence[int]:
        """Return the ids of the batch's runs without an end, lowest first."""
        return [row["algo_run_id"] for row in await self._database.fetch(OPEN_ALGO_RUNS, batch_id)]

    async def assign(self, batch_id: str, symbol: str, consumer: int) -> None:
        """Write that the symbol belongs to the consumer, in place of what was written before."""
        await self._database.execute(ASSIGN, batch_id, symbol, consumer)

    async def assignments(self, batch_id: str) -> Mapping[str, int]:
        """Return the consumer of each symbol."""
        return {row["symbol"]: row["consumer"] for row in await self._database.fetch(ASSIGNMENTS, batch_id)}

    async def save_picks(self, picks: Sequence[PickRow]) -> None:
        """Write picks, each batch, symbol, scanner, strategy and time once."""
        if not picks:
            return
        rows = [{_PICK_COLUMNS.get(name, name): v for name, v in columns_of(pick).items()} for pick in picks]
        await self._database.execute(SAVE_PICKS, json_text(rows))

    async def picks(self, batch_id: str) -> Sequence[PickRow]:
        """Return the batch's picks by time."""
        return [row_from(PickRow, row) for row in await self._database.fetch(PICKS, batch_id)]

    async def save_reject(self, batch_id: str, strategy: str, symbol: str, at: int) -> None:
        """Write that the strategy is not called for the symbol again in this batch."""
        await self._database.execute(SAVE_REJECT, batch_id, strategy, symbol, utc_aware(at))

    async def rejects(self, batch_id: str) -> Sequence[tuple[str, str]]:
        """Return (strategy, symbol) pairs that are never called again this session, in alphabetical order."""
        return [(row["strategy_name"], row["symbol"]) for row in await self._database.fetch(REJECTS, batch_id)]

    async def save_signals(self, signals: Sequence[SignalRow]) -> None:
        """Write signals once each; the last outcome of an order counts."""
        if signals:
            await self._database.execute(SAVE_SIGNALS, json_text(signal_columns(signals)))

    async def save_operator_actions(self, actions: Sequence[OperatorAction]) -> None:
        """Write what operators asked for, each once."""
        rows = [{**columns_of(one), "arguments": without_secrets(one.arguments)} for one in actions]
        await self._database.execute(SAVE_OPERATOR_ACTIONS, json_text(rows))

    async def save_event_lags(self, lags: Sequence[EventLag]) -> None:
        """Write how late market data was, each row once."""
        await self._database.execute(SAVE_EVENT_LAGS, json_text([columns_of(one) for one in lags]))

    async def key_load(self, key: str) -> str | None:
        """Return the value of the key, None if it has none."""
        value: str | None = await self._database.fetchval(KEY_LOAD, _storable(key))
        return value

    async def key_save(self, key: str, value: str) -> None:
        """Write the value of the key.

        Raises:
            BadData: if key or value contain what PostgreSQL cannot keep in a text.
        """
        async with self._database.connection() as connection:
            await connection.execute(KEY_SAVE, _storable(key), _storable(value))


def _result(row: Mapping[str, Any]) -> BatchResult:
    parameters: dict[str, Any] = {}
    for name, values in from_json(row["parameters"]) or []:
        parameters.setdefault(name, values)  # of several slots of a strategy the first
    return row_from(
        BatchResult,
        row,
        parameters=parameters,
        build_number=row["build_number"] or "",
        asked=from_json(row["asked"]) or {},
        figures=None if row["figures"] is None else msgspec.json.decode(row["figures"], type=ResultFigures),
    )


def _batch_row(row: Mapping[str, Any]) -> BatchRow:
    documents = {name: from_json(row[name]) for name in ("layout", "configuration", "versions")}
    return row_from(BatchRow, row, seed=None if row["seed"] is None else int(row["seed"]), **documents)


def signal_columns(signals: Sequence[SignalRow]) -> list[dict[str, Any]]:
    """Return each signal once, by the columns of `signals`, with the last outcome of its order."""
    rows: dict[UUID, dict[str, Any]] = {}
    for signal in signals:
        # The outcome of an order comes later, so it does not identify the signal.
        outcome = "" if signal.client_order_id is not None else clean_text(signal.outcome)
        same = (
            *(signal.batch_id, signal.slot, signal.symbol, signal.at),
            *(json_text(signal.action), outcome, signal.client_order_id),
        )
        signal_id = UUID(bytes=blake2b(msgspec.json.encode(same), digest_size=16).digest())
        rows[signal_id] = {"signal_id": signal_id, **columns_of(signal)}
    return list(rows.values())


def _storable(text: str) -> str:
    """Return `text` unchanged: a strategy must read back what it wrote, so nothing is cleaned here."""
    if clean_text(text) != text:
        raise BadData("A key or value of the key-store contains a NUL or a lone surrogate, which no text column keeps.")
    return text
