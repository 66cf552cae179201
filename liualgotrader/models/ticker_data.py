"""The original's classes for `ticker_data` (what companies do) and `stock_ohlc` (their daily bars)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from liualgotrader.store.column_values import from_json, json_text
from liualgotrader.store.database import current_pool

UPSERT_TICKER = """
    INSERT INTO ticker_data (symbol, name, description, tags, similar_tickers, industry, sector, exchange)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (symbol) DO UPDATE SET
        name = excluded.name, description = excluded.description, tags = excluded.tags,
        similar_tickers = excluded.similar_tickers, industry = excluded.industry, sector = excluded.sector,
        exchange = excluded.exchange, modify_tstamp = now() AT TIME ZONE 'UTC'
"""
UPSERT_OHLC = """
    INSERT INTO stock_ohlc (symbol, symbol_date, open, high, low, close, volume, indicators)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb)
    ON CONFLICT (symbol, symbol_date) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, indicators = excluded.indicators, modify_tstamp = now() AT TIME ZONE 'UTC'
"""
OHLC_OF_DAY = """
    SELECT symbol, symbol_date, open, high, low, close, volume, indicators::text AS indicators, create_tstamp
    FROM stock_ohlc WHERE symbol_date = $1 ORDER BY symbol
"""
OHLC_EXISTS = "SELECT EXISTS (SELECT FROM stock_ohlc WHERE symbol = $1 AND symbol_date = $2)"
NEWEST_OHLC = "SELECT max(symbol_date) FROM stock_ohlc WHERE symbol = $1"
OF_SECTORS = "SELECT symbol FROM ticker_data WHERE sector = ANY ($1::text[]) ORDER BY symbol"
OF_INDUSTRIES = "SELECT symbol FROM ticker_data WHERE industry = ANY ($1::text[]) ORDER BY symbol"
SECTORS = "SELECT DISTINCT sector FROM ticker_data WHERE sector <> '' ORDER BY sector"
INDUSTRIES = "SELECT DISTINCT industry FROM ticker_data WHERE industry <> '' ORDER BY industry"


@dataclass
class TickerData:
    """A company: its row of `ticker_data`."""

    name: str
    symbol: str
    description: str
    tags: Sequence[str]
    similar_tickers: Sequence[str]
    industry: str
    sector: str
    exchange: str

    @classmethod
    async def load_symbols(cls, pool: Any = None) -> list[str]:
        """Return the symbols that there are rows of.

        Raises:
            LookupError: if there is none.
        """
        if found := await first_column("SELECT symbol FROM ticker_data ORDER BY symbol", pool=pool):
            return found
        raise LookupError("no data: `market_miner` fills ticker_data with its stock_cluster miner")

    async def save(self, pool: Any = None) -> bool:
        """Write the row, over the one that there is of the symbol; return True."""
        words = self.name, self.description, list(self.tags), list(self.similar_tickers)
        await current_pool(pool).execute(UPSERT_TICKER, self.symbol, *words, self.industry, self.sector, self.exchange)
        return True


@dataclass
class StockOhlc:
    """A symbol's day: its row of `stock_ohlc`. Prices are US dollars, `indicators` whatever was worked out of them."""

    symbol: str
    symbol_date: date
    open: float
    high: float
    low: float
    close: float
    volume: int
    indicators: Mapping[str, Any] = field(default_factory=dict)
    create_tstamp: datetime | None = None

    @classmethod
    async def check_stock_date_exists(cls, symbol: str, symbol_date: date, pool: Any = None) -> bool:
        """Whether the symbol's day is there."""
        found: bool = await current_pool(pool).fetchval(OHLC_EXISTS, symbol, symbol_date)
        return found

    @classmethod
    async def get_latest_date(cls, symbol: str, pool: Any = None) -> date | None:
        """Return the symbol's newest day, None if there is none."""
        newest: date | None = await current_pool(pool).fetchval(NEWEST_OHLC, symbol)
        return newest

    @classmethod
    async def load_by_date(cls, symbol_date: date, pool: Any = None) -> dict[str, StockOhlc]:
        """Return the rows of a day by symbol."""
        rows = await current_pool(pool).fetch(OHLC_OF_DAY, symbol_date)
        return {
            row["symbol"]: cls(**{**dict(row), "indicators": from_json(row["indicators"]) if row["indicators"] else {}})
            for row in rows
        }

    async def save(self, pool: Any = None) -> None:
        """Write the row, over the one that there is of the symbol's day."""
        prices = self.open, self.high, self.low, self.close
        indicators = json_text(dict(self.indicators))
        await current_pool(pool).execute(
            UPSERT_OHLC, self.symbol, self.symbol_date, *prices, int(self.volume), indicators
        )


async def first_column(query: str, *values: Any, pool: Any = None) -> list[str]:
    """Return the texts in the first column of a query's rows."""
    return [row[0] for row in await current_pool(pool).fetch(query, *values)]
