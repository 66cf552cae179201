"""The original's address of sectors, industries and trading days; for user code only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from liualgotrader.common.calendar import FIRST_DAY, LAST_DAY, day_of, sessions
from liualgotrader.common.clock import WallClock
from liualgotrader.common.config import Settings
from liualgotrader.common.types import TimeScale
from liualgotrader.data.constituents import constituents
from liualgotrader.data.loader import DataLoader
from liualgotrader.models import ticker_data

if TYPE_CHECKING:
    import pandas as pd

volume_today: dict[str, int] = {}
quotes: dict[str, Any] = {}


def get_symbol_data(
    symbol: str, start_date: date, end_date: date, data_loader: Any = None, scale: str = "minute"
) -> pd.DataFrame:
    """Return a symbol's bars from one day to another, through `data_loader` or a new one of `scale` (minute, day)."""
    loader = DataLoader(TimeScale[scale]) if data_loader is None else data_loader
    bars: pd.DataFrame = loader[symbol][start_date:end_date]
    return bars


async def get_sector_tickers(sector: str) -> list[str]:
    """Return the symbols of a sector, as `ticker_data` has them."""
    return await get_sectors_tickers([sector])


async def get_sectors_tickers(sectors: Sequence[str]) -> list[str]:
    """Return the symbols of all these sectors."""
    return await ticker_data.first_column(ticker_data.OF_SECTORS, list(sectors))


async def get_industry_tickers(industry: str) -> list[str]:
    """Return the symbols of an industry, as `ticker_data` has them."""
    return await get_industries_tickers([industry])


async def get_industries_tickers(industries: Sequence[str]) -> list[str]:
    """Return the symbols of all these industries."""
    return await ticker_data.first_column(ticker_data.OF_INDUSTRIES, list(industries))


async def get_market_sectors() -> list[str]:
    """Return the sectors that `ticker_data` names."""
    return await ticker_data.first_column(ticker_data.SECTORS)


async def get_market_industries() -> list[str]:
    """Return the industries that `ticker_data` names."""
    return await ticker_data.first_column(ticker_data.INDUSTRIES)


async def sp500_historical_constituents(date: date | str) -> list[str]:
    """Return the symbols of the S&P 500 on a day.

    They come from a file that `liu data import-constituents` has read, else, of today alone, from pytickersymbols.

    Raises:
        ConfigError: if that day is not known.
    """
    day = datetime.fromisoformat(date).date() if isinstance(date, str) else date
    settings = Settings.resolve()
    return constituents(settings.home_path / "market", "SP500", day_of(WallClock().now())).on(day)


async def get_trading_holidays() -> list[date]:
    """Return the weekdays from 1998 to 2050 on which New York's exchange stays shut."""
    open_days = {session.day for session in sessions(FIRST_DAY, LAST_DAY)}
    days = map(date.fromordinal, range(FIRST_DAY.toordinal(), LAST_DAY.toordinal() + 1))
    return [day for day in days if day.weekday() < 5 and day not in open_days]


async def get_trading_day(now: date | datetime, offset: int) -> pd.Timestamp:
    """Return the trading day that lies `offset` trading days before `now`, with the time of day of `now`."""
    import pandas as pd

    return pd.Timestamp(now) - pd.offsets.CustomBusinessDay(n=offset, holidays=await get_trading_holidays())
