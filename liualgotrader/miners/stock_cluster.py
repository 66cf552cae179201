"""`ticker_data`: what companies are and do, from Polygon or from a file."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liualgotrader.common.endpoint_address import canonical_address
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.miners.base import Miner, number, texts
from liualgotrader.models.ticker_data import TickerData, first_column

if TYPE_CHECKING:
    from polygon import RESTClient

COLUMNS = ("symbol", "name", "description", "tags", "similar_tickers", "industry", "sector", "exchange")
KNOWN_SINCE = "SELECT symbol FROM ticker_data WHERE coalesce(modify_tstamp, create_tstamp) >= $1"
_WORKERS, _MOST_WORKERS = 20, 100
# Divisions of the Standard Industrial Classification by the first two digits of a code: first group, name.
# Source: SIC manual, U.S. Department of Labor (osha.gov/data/sic-manual).
DIVISIONS = (
    (1, "Agriculture, Forestry, Fishing"),
    (10, "Mining"),
    (15, "Construction"),
    (20, "Manufacturing"),
    (40, "Transportation, Communications, Utilities"),
    (50, "Wholesale Trade"),
    (52, "Retail Trade"),
    (60, "Finance, Insurance, Real Estate"),
    (70, "Services"),
    (91, "Public Administration"),
)


class StockCluster(Miner):
    """Keeps name, description, industry, sector and similar symbols of companies.

    With `filename`, from a CSV file whose columns are those of `ticker_data` (lists separated by spaces). Else from
    Polygon: industry is the SIC description, sector the SIC division; companies looked up in the last `refresh_days`
    (default 30) are passed over, so that a run that was cut off goes on. `symbols` limits it.
    """

    def __init__(self, data: dict[str, Any] | None = None, debug: bool = False) -> None:
        super().__init__("StockCluster")
        data = data or {}
        self.file, self.debug = str(data.get("filename", "")), debug
        self._workers = _WORKERS
        self.refresh_days = number(data, "refresh_days", default=30)
        try:
            self.base = canonical_address(str(data.get("base_url", "https://api.polygon.io")))
        except ConfigError as error:
            raise ConfigError(f"`base_url`: {error}") from None
        self.symbols = [symbol.upper() for symbol in texts(data, "symbols")]

    def in_file(self) -> list[TickerData]:
        """Return the companies of the file that are wanted."""
        every = read_companies(self.services.folder, self.file)
        return [company for company in every if not self.symbols or company.symbol in self.symbols]

    @property
    def num_workers(self) -> int:
        """How many companies are looked up at a time, 1 to 100."""
        return self._workers

    @num_workers.setter
    def num_workers(self, workers: int) -> None:
        if not 1 <= workers <= _MOST_WORKERS:
            raise ValueError(f"num_workers is {workers}; it must be 1 to {_MOST_WORKERS}")
        self._workers = workers

    async def known(self) -> set[str]:
        """Return the symbols that were looked up lately."""
        since = self.services.today - timedelta(days=int(self.refresh_days))
        return {*await first_column(KNOWN_SINCE, since)}

    async def would_do(self) -> str:
        if self.file:
            return f"reads {len(self.in_file())} companies from {self.file}: as many rows of ticker_data"
        known = await self.known()
        if not self.symbols:
            return f"asks Polygon for all symbols that it lists, but for {len(known)} known already: a row of ticker_data each"
        wanted = [symbol for symbol in self.symbols if symbol not in known]
        return f"asks Polygon for {len(wanted)} of {len(self.symbols)} symbols: as many rows of ticker_data"

    async def run(self) -> bool:
        services = self.services
        if self.file:
            companies = self.in_file()
            for company in services.progress(companies):
                await company.save()
            services.say(f"{len(companies)} companies read from {self.file}")
            return True
        if not services.polygon_key:
            raise ConfigError("companies come from Polygon: set POLYGON_API_KEY, or name a CSV file with `filename`")
        from polygon import RESTClient

        client = RESTClient(services.polygon_key.reveal(), base=self.base, num_pools=self._workers)
        return await self._from_polygon(client)

    async def _from_polygon(self, client: RESTClient) -> bool:
        services = self.services
        fresh = await self.known()
        listed = self.symbols or await asyncio.to_thread(_listed, client)
        wanted = [symbol for symbol in listed if symbol not in fresh]
        unknown = 0
        with ThreadPoolExecutor(self._workers) as pool:
            found = pool.map(lambda symbol: company_from_polygon(client, symbol), wanted)
            for _ in services.progress(wanted):
                company = await asyncio.to_thread(next, found)
                if company is None:
                    unknown += 1
                else:
                    await company.save()
        said = f"{len(wanted) - unknown} companies looked up, {len(listed) - len(wanted)} known already"
        services.say(said + (f", {unknown} not known to Polygon" if unknown else ""))
        return True


def _listed(client: RESTClient) -> list[str]:
    try:
        every: Iterator[Any] = client.list_tickers(market="stocks", active=True, limit=1000)
        return [ticker.ticker for ticker in every if ticker.ticker]
    except Exception as error:
        raise OutsideError(f"Polygon does not list its symbols: {_reason(error)}") from error


def company_from_polygon(client: RESTClient, symbol: str) -> TickerData | None:
    """Return what Polygon knows of a company, None if it does not know it.

    Raises:
        OutsideError: if Polygon does not answer.
    """
    try:
        told: Any = client.get_ticker_details(symbol)
        similar: Any = client.get_related_companies(symbol)
    except Exception as error:
        if "NOT_FOUND" in str(error):
            return None
        raise OutsideError(f"Polygon says nothing of {symbol}: {_reason(error)}") from error
    related = [other.ticker for other in similar or () if other.ticker]
    industry, sector = told.sic_description or "", division_of(told.sic_code or "")
    words = told.name or symbol, symbol, told.description or ""
    return TickerData(*words, [told.type] if told.type else [], related, industry, sector, told.primary_exchange or "")


def division_of(sic_code: str) -> str:
    """Return the name of the division that a SIC code of four digits belongs to, empty if it belongs to none."""
    group = int(sic_code[:2]) if len(sic_code) == 4 and sic_code.isdecimal() else 0
    return next((name for first, name in reversed(DIVISIONS) if group >= first), "")


def read_companies(folder: Path, name: str) -> Iterator[TickerData]:
    """Yield the companies of a CSV file, named absolutely or from `folder`.

    Raises:
        ConfigError: if it cannot be read, lacks a column, or a line has no symbol.
    """
    path = (folder / Path(name).expanduser()).resolve()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if lacking := {"symbol", "industry", "sector"} - {*(reader.fieldnames or ())}:
                raise ConfigError(f"{path} lacks the column {min(lacking)}; it has those of ticker_data")
            for line in reader:
                yield _company(line, f"{path}:{reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _company(line: Mapping[str, str | None], where: str) -> TickerData:
    told = {name: (line.get(name) or "").strip() for name in COLUMNS}
    if not (symbol := told["symbol"].upper()):
        raise ConfigError(f"{where} has no symbol")
    words = told["name"] or symbol, symbol, told["description"]
    lists = told["tags"].split(), told["similar_tickers"].upper().split()
    return TickerData(*words, *lists, told["industry"], told["sector"], told["exchange"])


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
