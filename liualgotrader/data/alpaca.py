"""Alpaca's market history through alpaca-py, on worker threads.

Source: Alpaca market data API 1.1, historical bars and snapshots. Bars are labelled by their start; a
daily bar is stamped midnight New York.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from liualgotrader.common.clock import MINUTE, as_datetime, as_utc, block, instant
from liualgotrader.common.errors import DataRefused, DataUnavailable
from liualgotrader.common.events import Bar, BarSource
from liualgotrader.common.http_guard import guard
from liualgotrader.common.rfc3339 import nanoseconds
from liualgotrader.data.data_base import AssetFacts, DataAPI, SnapshotFacts

if TYPE_CHECKING:
    from alpaca.data.historical import StockHistoricalDataClient

    from liualgotrader.common.session_plan import Endpoints

_SYMBOLS_A_REQUEST = 200
_SNAPSHOTS_A_REQUEST = 1000
_TRIES = 3
_BUSY_STATUSES = (429, 500, 502, 503, 504)
_WRONG_QUESTION = (400, 404, 422)
_BUSY_WAIT_SECONDS = 1.0
_WORKERS = 4

T = TypeVar("T")


class AlpacaData(DataAPI):
    """History, snapshots and assets. The async methods are the `DataAPI` port; those ending in `_now` block.

    A question that the vendor is too busy for, or does not answer, is asked `tries` times.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        key_id: str,
        secret_key: str,
        *,
        feed: str,
        timeout_seconds: float,
        tries: int = _TRIES,
    ) -> None:
        self._endpoints = endpoints
        self._keys = (key_id, secret_key)
        self._feed = feed
        self._timeout = timeout_seconds
        self._tries = tries
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="alpaca-data")
        self._local = threading.local()

    async def bars(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        """Return bars with start <= opened_at < end, oldest first; `minutes` is 1 or 1440 (a session day)."""
        return await self._off_the_loop(lambda: self.bars_now(symbols, start, end, minutes=minutes))

    async def snapshots(self, symbols: Sequence[str]) -> Mapping[str, SnapshotFacts]:
        """Return the newest figures of those symbols that have any."""
        return await self._off_the_loop(lambda: self.snapshots_now(symbols))

    async def tradable_symbols(self) -> Mapping[str, AssetFacts]:
        """Return active, tradable US equities by symbol."""
        return await self._off_the_loop(self.assets_now)

    async def warm_up(self) -> None:
        """Import the vendor's clients off the loop, so that the first question does not pay for it."""
        await self._off_the_loop(self._clients)

    async def close(self) -> None:
        """End all connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _off_the_loop(self, ask: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    # --- blocking --------------------------------------------------------------------------------

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        """Return bars with start <= opened_at < end, oldest first; see `DataAPI.bars_now`."""
        found: dict[str, Sequence[Bar]] = {}
        for at in range(0, len(symbols), _SYMBOLS_A_REQUEST):
            chunk = list(symbols[at : at + _SYMBOLS_A_REQUEST])
            found |= self._bars_of(chunk, start, end, minutes)
        return found

    def _bars_of(self, symbols: list[str], start: int, end: int, minutes: int) -> dict[str, Sequence[Bar]]:
        from alpaca.data.enums import Adjustment, DataFeed
        from alpaca.data.requests import StockBarsRequest
        from alpaca.data.timeframe import TimeFrame

        request = StockBarsRequest(
            symbol_or_symbols=symbols,
            start=as_utc(start),
            end=as_utc(end - 1),  # the vendor's end belongs to what is asked for
            timeframe=TimeFrame.Minute if minutes == 1 else TimeFrame.Day,
            adjustment=Adjustment.ALL,
            feed=DataFeed(self._feed),
        )
        raw = self._ask(lambda: self._client().get_stock_bars(request), f"bars of {_some(symbols)}")
        made = {symbol: [bar(symbol, fields, minutes) for fields in rows or ()] for symbol, rows in raw.items()}
        return {symbol: [b for b in bars if start <= b.opened_at < end] for symbol, bars in made.items()}

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SnapshotFacts]:
        """Return the newest figures of those symbols that have any."""
        from alpaca.data.enums import DataFeed
        from alpaca.data.requests import StockSnapshotRequest

        found: dict[str, SnapshotFacts] = {}
        for at in range(0, len(symbols), _SNAPSHOTS_A_REQUEST):
            chunk = list(symbols[at : at + _SNAPSHOTS_A_REQUEST])
            request = StockSnapshotRequest(symbol_or_symbols=chunk, feed=DataFeed(self._feed))
            raw = self._ask(partial(self._snapshots_of, request), f"snapshots of {_some(chunk)}")
            found |= {symbol: snapshot(symbol, fields) for symbol, fields in raw.items() if fields}
        return found

    def _snapshots_of(self, request: Any) -> Any:
        return self._client().get_stock_snapshot(request)

    def assets_now(self) -> Mapping[str, AssetFacts]:
        """Return active, tradable US equities by symbol."""
        question = {"status": "active", "asset_class": "us_equity"}
        rows = self._ask(lambda: self._account_client().get("/assets", question), "the list of assets")
        return {row["symbol"]: asset(row) for row in rows if row.get("tradable")}

    def _ask(self, call: Callable[[], Any], about: str) -> Any:
        """Repeat a question that may be asked again, then give up with one sentence."""
        from alpaca.common.exceptions import APIError
        from requests import RequestException

        for left in reversed(range(self._tries)):
            try:
                return call()
            except APIError as e:
                status = int(getattr(e, "status_code", 0) or 0)
                if status not in _BUSY_STATUSES or not left:
                    kind = DataRefused if status in _WRONG_QUESTION else DataUnavailable
                    raise kind(f"Alpaca has no {about}: {status} {_words(e)}") from e
            except RequestException as e:
                if not left:
                    raise DataUnavailable(f"Alpaca does not answer for {about} ({type(e).__name__})") from e
            block(_BUSY_WAIT_SECONDS)
        raise AssertionError("unreachable")

    def _clients(self) -> None:
        self._client()
        self._account_client()

    def _client(self) -> StockHistoricalDataClient:
        from alpaca.data.historical import StockHistoricalDataClient

        return self._kept("history", StockHistoricalDataClient, self._endpoints.data_url)

    def _account_client(self) -> Any:
        from alpaca.trading.client import TradingClient

        return self._kept("account", TradingClient, self._endpoints.trading_url)

    def _kept(self, name: str, kind: Callable[..., T], address: str) -> T:
        client: Any = getattr(self._local, name, None)
        if client is None:
            client = kind(*self._keys, raw_data=True, url_override=address)
            client._retry = 0  # its own waits three seconds inside the call
            guard(client._session, address, timeout_seconds=self._timeout)
            setattr(self._local, name, client)
        kept: T = client
        return kept


def bar(symbol: str, fields: Mapping[str, Any], minutes: int) -> Bar:
    """Return one bar object of the vendor's as ours."""
    opened_at = nanoseconds(fields["t"])
    closed_at = opened_at + MINUTE if minutes == 1 else next_midnight(opened_at)
    price = fields.get("vw")
    return Bar(
        symbol=symbol,
        opened_at=opened_at,
        closed_at=closed_at,
        open=float(fields["o"]),
        high=float(fields["h"]),
        low=float(fields["l"]),
        close=float(fields["c"]),
        volume=float(fields["v"]),
        vwap=float(fields["c"] if price is None else price),
        count=int(fields.get("n") or 0),
        source=int(BarSource.HISTORY),
    )


def snapshot(symbol: str, fields: Mapping[str, Any]) -> SnapshotFacts:
    """Return one snapshot object of the vendor's as ours."""
    trade = fields.get("latestTrade") or {}

    def optional_bar(name: str, minutes: int) -> Bar | None:
        found = fields.get(name)
        return bar(symbol, found, minutes) if found else None

    return SnapshotFacts(
        symbol=symbol,
        last_price=float(trade["p"]) if trade.get("p") is not None else None,
        minute_bar=optional_bar("minuteBar", 1),
        daily_bar=optional_bar("dailyBar", 1440),
        previous_daily_bar=optional_bar("prevDailyBar", 1440),
    )


def asset(row: Mapping[str, Any]) -> AssetFacts:
    """Return one asset object of the vendor's as ours."""
    return AssetFacts(
        symbol=row["symbol"],
        name=row.get("name") or row["symbol"],
        exchange=str(row.get("exchange") or ""),
        shortable=bool(row.get("shortable")),
        fractionable=bool(row.get("fractionable")),
    )


def next_midnight(at: int) -> int:
    """Return the first instant of the New York day after the one that `at` lies in."""
    local = as_datetime(at)
    return instant((local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0))


def _some(symbols: Sequence[str]) -> str:
    shown = ", ".join(symbols[:3])
    return shown if len(symbols) <= 3 else f"{shown} and {len(symbols) - 3} more"


def _words(error: Exception) -> str:
    return str(error).strip()[:200]
