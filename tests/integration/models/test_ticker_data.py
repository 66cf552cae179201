"""Companies and daily bars of the original, on a real database, and the connection that notebooks open."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from liualgotrader.common import config
from liualgotrader.common.database import create_db_connection, fetch_as_dataframe
from liualgotrader.common.market_data import (
    get_industries_tickers,
    get_industry_tickers,
    get_market_industries,
    get_market_sectors,
    get_sector_tickers,
    get_sectors_tickers,
)
from liualgotrader.models.ticker_data import StockOhlc, TickerData
from liualgotrader.store.database import set_pool
from liualgotrader.store.postgres_store import PostgresStore

pytestmark = pytest.mark.integration


@pytest.fixture
def pool(store: PostgresStore) -> Iterator[Any]:
    set_pool(store.pool)
    yield store.pool
    set_pool(None)


def company(symbol: str, industry: str, sector: str) -> TickerData:
    return TickerData(f"{symbol} Inc", symbol, "makes things", ["a", "b"], ["XYZ"], industry, sector, "NYSE")


@pytest.mark.parity(67)
async def test_companies_are_found_by_sector_and_industry(pool: Any) -> None:
    with pytest.raises(LookupError, match="no data"):
        await TickerData.load_symbols()
    for symbol, industry, sector in (("IBM", "Services", "Tech"), ("INTC", "Chips", "Tech"), ("XOM", "Oil", "Energy")):
        assert await company(symbol, industry, sector).save(pool)
    assert await company("XOM", "Gas", "Energy").save()  # over the row that there is
    assert await TickerData.load_symbols() == ["IBM", "INTC", "XOM"]
    assert await get_market_sectors() == ["Energy", "Tech"]
    assert await get_market_industries() == ["Chips", "Gas", "Services"]
    assert await get_sector_tickers("Tech") == ["IBM", "INTC"]
    assert await get_sectors_tickers(["Tech", "Energy"]) == ["IBM", "INTC", "XOM"]
    assert await get_industry_tickers("Gas") == ["XOM"]
    assert await get_industries_tickers(["Oil"]) == []


async def test_a_day_is_kept_once_a_symbol_with_what_was_worked_out_of_it(pool: Any) -> None:
    day = date(2021, 9, 7)
    assert await StockOhlc.get_latest_date("IBM") is None
    await StockOhlc("IBM", day, 10.0, 12.0, 9.0, 11.0, 500, {"rsi": 40.0}).save()
    await StockOhlc("IBM", day, 10.0, 12.0, 9.0, 11.5, 600, {"rsi": float("nan")}).save(pool)
    (row,) = (await StockOhlc.load_by_date(day)).values()
    assert (row.close, row.volume, dict(row.indicators)) == (11.5, 600, {"rsi": None})
    assert await StockOhlc.check_stock_date_exists("IBM", day)
    assert not await StockOhlc.check_stock_date_exists("SPY", day)
    assert await StockOhlc.get_latest_date("IBM") == day


async def test_a_notebook_opens_the_database_that_dsn_names(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSN", dsn)
    try:
        frame = await fetch_as_dataframe("SELECT $1::int AS a, 'x' AS b", 7)
        assert frame.to_dict("records") == [{"a": 7, "b": "x"}]
        await config.db_conn_pool.close()
        await create_db_connection(dsn)
        assert (await fetch_as_dataframe("SELECT 1 AS a WHERE false")).columns.tolist() == ["a"]
    finally:
        await config.db_conn_pool.close()
        config.show_pool(None)
        set_pool(None)
