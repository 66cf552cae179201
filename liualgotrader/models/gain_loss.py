"""The original's classes for results: `gain_loss` and `trade_analysis`, as frames."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from liualgotrader.store.analysis_tables import UPSERT_GAIN_LOSS, UPSERT_TRADE_ANALYSIS
from liualgotrader.store.column_values import json_text, midnight
from liualgotrader.store.database import current_pool, fetch_frame

if TYPE_CHECKING:
    import pandas as pd

LOAD_GAIN_LOSS = """
    SELECT g.symbol, g.algo_run_id, g.gain_percentage, g.gain_value, g.tstamp, r.algo_name, r.algo_env, r.batch_id,
           r.start_time, g.open_quantity, g.open_price
    FROM gain_loss g JOIN algo_run r ON r.algo_run_id = g.algo_run_id
    WHERE r.start_time >= $1 AND ($2::text IS NULL OR r.algo_env = $2)
    ORDER BY r.start_time, g.symbol
"""
LOAD_TRADE_ANALYSIS = """
    SELECT t.symbol, t.algo_run_id, t.start_tstamp, t.end_tstamp, t.gain_percentage, t.gain_value, t.r_units,
           r.algo_name, r.algo_env, r.batch_id, r.start_time
    FROM trade_analysis t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.start_time >= $1 AND ($2::text IS NULL OR r.algo_env = $2)
    ORDER BY t.start_tstamp, t.symbol
"""
_NUMBERS = ("gain_percentage", "gain_value", "r_units", "open_quantity", "open_price")


class GainLoss:
    """The result of each run in each symbol, without what is open: `open_quantity` shares at `open_price`."""

    @classmethod
    async def save(cls, df: pd.DataFrame, pool: Any = None) -> None:
        """Write a frame with columns symbol, algo_run_id (or org_run_id), gain_percentage, gain_value."""
        await _save(UPSERT_GAIN_LOSS, df.reset_index(), ("symbol", "gain_percentage", "gain_value"), pool)

    @classmethod
    async def load(cls, start_date: date, env: str | None = None, pool: Any = None) -> pd.DataFrame:
        """Return the results of runs that began on or after a day (UTC)."""
        return await _load(LOAD_GAIN_LOSS, start_date, env, pool)


class TradeAnalysis:
    """The result of each round trip."""

    @classmethod
    async def save(cls, df: pd.DataFrame, pool: Any = None) -> None:
        """Write a frame with columns symbol, algo_run_id, start_tstamp, end_tstamp, gains and r_units.

        A time without zone is UTC.
        """
        import pandas as pd

        frame = df.reset_index()
        columns = ("start_tstamp", "end_tstamp")
        times = {name: pd.to_datetime(frame[name], utc=True, format="mixed") for name in columns}
        names = ("symbol", *times, "gain_percentage", "gain_value", *({"r_units"} & set(frame.columns)))
        await _save(UPSERT_TRADE_ANALYSIS, frame.assign(**times), names, pool)

    @classmethod
    async def load(cls, start_date: date, env: str | None = None, pool: Any = None) -> pd.DataFrame:
        """Return the round trips of runs that began on or after a day (UTC)."""
        return await _load(LOAD_TRADE_ANALYSIS, start_date, env, pool)


async def _load(statement: str, start_date: date, env: str | None, pool: Any) -> pd.DataFrame:
    frame = await fetch_frame(statement, midnight(start_date), env, pool=pool)
    return frame.astype({name: float for name in frame.columns if name in _NUMBERS})


async def _save(statement: str, frame: pd.DataFrame, names: Sequence[str], pool: Any) -> None:
    rows = [
        {"algo_run_id": int(row["algo_run_id" if "algo_run_id" in row else "org_run_id"])} | {n: row[n] for n in names}
        for row in frame.to_dict("records")
    ]
    await current_pool(pool).execute(statement, json_text(rows))
