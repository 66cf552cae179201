"""The original's class for its oldest table, `trades`; newer code of users writes `NewTrade`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from liualgotrader.store.column_values import json_text
from liualgotrader.store.database import current_pool

BUY = """
    INSERT INTO trades (algo_run_id, symbol, qty, buy_price, buy_indicators, client_buy_time)
    VALUES ($1, $2, $3, $4::text::numeric, $5::text::jsonb, $6)
    RETURNING trade_id
"""
SELL = """
    UPDATE trades SET sell_price = $2::text::numeric, sell_indicators = $3::text::jsonb, is_win = $4,
        client_sell_time = $5, sell_time = now()
    WHERE trade_id = $1
"""


class LegacyTrade:
    """A purchase, and later its sale, in one row. `Trade` at the original's address, which deprecates it."""

    def __init__(self, algo_run_id: int, symbol: str, qty: int, price: float, indicators: Mapping[str, Any]) -> None:
        warnings.warn("models.trades.Trade is deprecated: write models.new_trades.NewTrade", DeprecationWarning, 2)
        self.algo_run_id, self.symbol, self.qty = algo_run_id, symbol, qty
        self.buy_price, self.buy_indicators = price, indicators
        self.trade_id: int | None = None

    async def save_buy(self, pool: Any, client_buy_time: str) -> None:
        """Write the purchase."""
        told = json_text(dict(self.buy_indicators))
        values = self.algo_run_id, self.symbol, self.qty, str(self.buy_price), told, client_buy_time
        self.trade_id = await current_pool(pool).fetchval(BUY, *values)

    async def save_sell(self, pool: Any, price: float, indicators: Mapping[str, Any], client_sell_time: str) -> None:
        """Write the sale of what was bought."""
        self.sell_price, self.sell_indicators, self.is_win = price, indicators, price > self.buy_price
        values = self.trade_id, str(price), json_text(dict(indicators)), self.is_win, client_sell_time
        await current_pool(pool).execute(SELL, *values)


Trade = LegacyTrade  # its name at the original's address
