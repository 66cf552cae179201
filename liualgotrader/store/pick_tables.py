"""Picks, who takes care of which symbol, what strategies wanted: what producer and consumers write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from uuid import UUID

import msgspec

from liualgotrader.common.errors import BadData
from liualgotrader.common.rows import PickRow, SignalRow
from liualgotrader.store.column_values import clean_text, columns, instant_of, json_text, utc_aware
from liualgotrader.store.database import Database

ASSIGN = """
    INSERT INTO assignment (batch_id, symbol, consumer) VALUES ($1, $2, $3)
    ON CONFLICT (batch_id, symbol) DO UPDATE SET consumer = excluded.consumer
"""
ASSIGNMENTS = "SELECT symbol, consumer FROM assignment WHERE batch_id = $1 ORDER BY symbol"
SAVE_PICKS = """
    INSERT INTO trending_tickers (batch_id, symbol, scanner_name, strategy_name, create_tstamp)
    SELECT batch_id, symbol, scanner_name, strategy_name, create_tstamp
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) WITH ORDINALITY
        AS picks (batch_id, symbol, scanner_name, strategy_name, create_tstamp, number)
    ORDER BY number
    ON CONFLICT (batch_id, symbol, scanner_name, strategy_name, create_tstamp) WHERE strategy_name IS NOT NULL
    DO NOTHING
"""
PICKS = """
    SELECT batch_id, symbol, scanner_name, coalesce(strategy_name, '') AS strategy_name, create_tstamp
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
SAVE_SIGNALS = """
    INSERT INTO signals (signal_id, batch_id, slot, symbol, at, action, outcome, client_order_id)
    SELECT signal_id, batch_id, slot, symbol, at, action::jsonb, outcome, client_order_id
    FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[])
        AS wanted (signal_id, batch_id, slot, symbol, at, action, outcome, client_order_id)
    ON CONFLICT (signal_id) DO UPDATE SET outcome = excluded.outcome
"""
KEY_LOAD = "SELECT value FROM keystore WHERE key = $1"
KEY_SAVE = """
    INSERT INTO keystore (key, value, tstamp) VALUES ($1, $2, now())
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, tstamp = excluded.tstamp
"""


class PickTables:
    """`assignment`, `trending_tickers`, `rejects`, `signals`, `keystore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def assign(self, batch_id: str, symbol: str, consumer: int) -> None:
        """Write that the symbol belongs to the consumer, in place of what was written before."""
        async with self._database.connection() as connection:
            await connection.execute(ASSIGN, batch_id, symbol, consumer)

    async def assignments(self, batch_id: str) -> Mapping[str, int]:
        """Return the consumer of each symbol."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(ASSIGNMENTS, batch_id)
        return {row["symbol"]: row["consumer"] for row in rows}

    async def save_picks(self, picks: Sequence[PickRow]) -> None:
        """Write picks; one that is written already (same batch, symbol, scanner, strategy and time) is passed over."""
        if not picks:
            return
        rows = [(p.batch_id, p.symbol, p.scanner, p.strategy, utc_aware(p.at)) for p in picks]
        async with self._database.connection() as connection:
            await connection.execute(SAVE_PICKS, *columns(rows, 5))

    async def picks(self, batch_id: str) -> Sequence[PickRow]:
        """Return the batch's picks by time."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(PICKS, batch_id)
        return [
            PickRow(
                batch_id=row["batch_id"],
                symbol=row["symbol"],
                scanner=row["scanner_name"],
                strategy=row["strategy_name"],
                at=instant_of(row["create_tstamp"]),
            )
            for row in rows
        ]

    async def save_reject(self, batch_id: str, strategy: str, symbol: str, at: int) -> None:
        """Write that the strategy is never called for the symbol again in this batch."""
        async with self._database.connection() as connection:
            await connection.execute(SAVE_REJECT, batch_id, strategy, symbol, utc_aware(at))

    async def rejects(self, batch_id: str) -> Sequence[tuple[str, str]]:
        """Return (strategy, symbol) pairs that are never called again this session, in alphabetical order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(REJECTS, batch_id)
        return [(row["strategy_name"], row["symbol"]) for row in rows]

    async def save_signals(self, signals: Sequence[SignalRow]) -> None:
        """Write signals; one that is written already is passed over, and of an order's outcomes the last counts."""
        if not signals:
            return
        rows = {row[0]: row for row in map(_signal_columns, signals)}.values()
        async with self._database.connection() as connection:
            await connection.execute(SAVE_SIGNALS, *columns(rows, 8))

    async def key_load(self, key: str) -> str | None:
        """Return the value of the key, None if it has none."""
        async with self._database.connection() as connection:
            value: str | None = await connection.fetchval(KEY_LOAD, _storable(key))
        return value

    async def key_save(self, key: str, value: str) -> None:
        """Write the value of the key.

        Raises:
            BadData: if key or value contain what PostgreSQL cannot keep in a text.
        """
        async with self._database.connection() as connection:
            await connection.execute(KEY_SAVE, _storable(key), _storable(value))


def _signal_columns(signal: SignalRow) -> tuple[object, ...]:
    action, outcome = json_text(signal.action), clean_text(signal.outcome)
    own = "" if signal.client_order_id is not None else outcome  # what becomes of an order is told later
    same = (signal.batch_id, signal.slot, signal.symbol, signal.at, action, own, signal.client_order_id)
    signal_id = UUID(bytes=blake2b(msgspec.json.encode(same), digest_size=16).digest())
    at = utc_aware(signal.at)
    return (signal_id, signal.batch_id, signal.slot, signal.symbol, at, action, outcome, signal.client_order_id)


def _storable(text: str) -> str:
    """Return `text` unchanged: a strategy must read back what it wrote, so nothing is cleaned here."""
    if clean_text(text) != text:
        raise BadData("A key or value of the key-store contains a NUL or a lone surrogate, which no text column keeps.")
    return text
