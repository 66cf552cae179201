"""The original's class for rows of `new_trades`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from liualgotrader.store.column_values import from_json, json_text
from liualgotrader.store.database import current_pool

INSERT = """
    INSERT INTO new_trades (
        algo_run_id, symbol, operation, qty, price, indicators, client_time, stop_price, target_price, trade_fee, tstamp
    )
    VALUES (
        $1, $2, $3::text::trade_operation, $4::text::numeric, $5::text::numeric, $6::text::jsonb, $7,
        $8::text::numeric, $9::text::numeric, $10::text::numeric, now() AT TIME ZONE 'UTC'
    )
    RETURNING trade_id
"""
EXPIRE = "UPDATE new_trades SET expire_tstamp = now() AT TIME ZONE 'UTC' WHERE trade_id = $1"
LATEST = """
    SELECT
        t.algo_run_id, t.qty, t.price, t.operation::text AS operation, t.indicators::text AS indicators, t.client_time,
        t.stop_price, t.target_price, t.tstamp
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE t.symbol = $1 AND r.algo_name = $2 AND t.expire_tstamp IS NULL
    ORDER BY t.tstamp DESC, t.trade_id DESC
    LIMIT 1
"""
RUN_SYMBOLS = "SELECT DISTINCT symbol FROM new_trades WHERE algo_run_id = $1 ORDER BY symbol"
MOVE = "UPDATE new_trades SET algo_run_id = $1 WHERE algo_run_id = $2 AND symbol = $3"


class NewTrade:
    """One execution, written by code of users; a session's own executions come from the order gateway."""

    def __init__(
        self, algo_run_id: int, symbol: str, operation: str, qty: float, price: float, indicators: Mapping[str, Any]
    ) -> None:
        self.algo_run_id = algo_run_id
        self.symbol = symbol
        self.operation = operation
        self.qty = qty
        self.price = price
        self.indicators = indicators
        self.trade_id: int | None = None

    async def save(
        self,
        pool: Any = None,
        client_buy_time: str = "",
        stop_price: float | Decimal | None = None,
        target_price: float | Decimal | None = None,
        trade_fee: float | Decimal = 0.0,
    ) -> None:
        """Write the row; indicators that are no numbers (NaN) become null."""
        values = (self.qty, self.price, stop_price, target_price, trade_fee)
        qty, price, stop, target, fee = (None if value is None else str(value) for value in values)
        indicators = json_text(dict(self.indicators or {}))
        names = self.algo_run_id, self.symbol, self.operation
        self.trade_id = await current_pool(pool).fetchval(
            INSERT, *names, qty, price, indicators, client_buy_time, stop, target, fee
        )

    @classmethod
    async def expire_trade(cls, trade_id: int, pool: Any = None) -> None:
        """Take an execution out of every later reading."""
        await current_pool(pool).execute(EXPIRE, trade_id)

    @classmethod
    async def load_latest(cls, pool: Any, symbol: str, strategy_name: str) -> Mapping[str, Any] | None:
        """Return the newest execution of a strategy in a symbol as a mapping of its columns, None if there is none."""
        row = await current_pool(pool).fetchrow(LATEST, symbol, strategy_name)
        return None if row is None else {**row, "indicators": from_json(row["indicators"])}

    @classmethod
    async def get_run_symbols(cls, algo_run_id: int, pool: Any = None) -> Sequence[str]:
        """Return the symbols that a run has traded."""
        return [row["symbol"] for row in await current_pool(pool).fetch(RUN_SYMBOLS, algo_run_id)]

    @classmethod
    async def rename_algo_run_id(cls, new: int, old: int, symbol: str, pool: Any = None) -> None:
        """Move a symbol's executions from one run to another."""
        await current_pool(pool).execute(MOVE, new, old, symbol)

    @classmethod
    async def get_latest_algo_run_id(cls, symbol: str, strategy_name: str, pool: Any = None) -> int | None:
        """Return the run that traded a symbol for a strategy last, None if none did."""
        run_id: int | None = await current_pool(pool).fetchval(LATEST, symbol, strategy_name)  # its first column
        return run_id
