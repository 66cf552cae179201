"""Polygon's market history through polygon-api-client, on worker threads.

Source: Polygon's reference of the REST API for stocks. Aggregates are labelled by their start in milliseconds, those of a day
by midnight New York; `adjusted` takes out splits and not dividends. A daily bar inside a snapshot has no time of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from liualgotrader.common.calendar import day_of, previous_sessions
from liualgotrader.common.clock import MILLISECOND, block
from liualgotrader.common.config import Settings
from liualgotrader.common.endpoint_address import shown_address
from liualgotrader.common.errors import BadData, DataRefused, DataUnavailable, DataUnusable, OutsideError
from liualgotrader.common.events import Bar, is_symbol
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.common.tlog import some_of
from liualgotrader.common.untrusted import EARLIEST, LATEST, Fields, shown
from liualgotrader.data.data_base import Actions, midnight
from liualgotrader.data.threaded_data import ThreadedData
from liualgotrader.data.vendor_bars import bars_of, if_usable, vendor_bar

if TYPE_CHECKING:
    from liualgotrader.common.session_plan import Endpoints

_BARS_A_PAGE = 50_000
_ROWS_A_PAGE = 1000
_SNAPSHOTS_A_REQUEST = 200
_TRIES = 3
_USUAL_SECONDS = 10.0  # of machine time
_BUSY_STATUSES = (429, 500, 502, 503, 504)
_WRONG_QUESTION = (400, 404)
_KEY_STATUSES = (401, 403)
_BUSY_WAIT_SECONDS = 1.0
_AT_ONCE = 8  # symbols whose bars are asked for side by side: the vendor has no question about several
_SNAPSHOTS = "/v2/snapshot/locale/us/markets/stocks/tickers"
_VENUES = {"XNAS": "NASDAQ", "XNYS": "NYSE", "ARCX": "ARCA", "XASE": "AMEX", "BATS": "BATS"}


class PolygonRefusal(Exception):
    """An answer of the vendor's that is not 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(body.decode(errors="replace").strip()[:200])
        self.status = status


class PolygonData(ThreadedData):
    """History, snapshots and tickers.

    A question that the vendor is too busy for, or does not answer, is asked `tries` times. Without `endpoints` those of
    the environment are asked, with its key, as the original did.
    """

    def __init__(
        self,
        endpoints: Endpoints | None = None,
        key: str = "",
        *,
        timeout_seconds: float = _USUAL_SECONDS,
        tries: int = _TRIES,
    ) -> None:
        if endpoints is None:
            settings = replace(Settings.resolve(), data_connector="polygon")
            endpoints, key = settings.endpoints, settings.polygon_key.reveal()
        super().__init__("polygon-data")
        self._address, self._key = endpoints.data_url, key
        self._timeout, self._tries = timeout_seconds, tries
        self._askers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="polygon-bars")
        self._made: Any = None
        self._making = threading.Lock()

    async def close(self) -> None:
        await super().close()
        self._askers.shutdown(wait=False, cancel_futures=True)
        if self._made is not None:
            self._made.client.clear()

    def warm_up_now(self) -> None:
        self._client()

    def get_max_data_points_per_load(self) -> int:
        return _BARS_A_PAGE

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        return self._bars(symbols, start, end, minutes, adjusted=True)

    def raw_bars_now(
        self, symbols: Sequence[str], start: int, end: int, *, minutes: int
    ) -> Mapping[str, Sequence[Bar]]:
        return self._bars(symbols, start, end, minutes, adjusted=False)

    def _bars(
        self, symbols: Sequence[str], start: int, end: int, minutes: int, *, adjusted: bool
    ) -> Mapping[str, Sequence[Bar]]:
        def of(symbol: str) -> Sequence[Bar] | BadData:
            try:
                return self._bars_of(symbol, start, end, minutes, adjusted=adjusted)
            except BadData as error:
                return error

        if start >= end:
            return {symbol: [] for symbol in symbols}
        answers = dict(zip(symbols, self._askers.map(of, symbols), strict=True))
        found = {symbol: answer for symbol, answer in answers.items() if not isinstance(answer, BadData)}
        if bad := {symbol: answer for symbol, answer in answers.items() if isinstance(answer, BadData)}:
            raise DataUnusable(bad, found)
        return found

    def _bars_of(self, symbol: str, start: int, end: int, minutes: int, *, adjusted: bool) -> Sequence[Bar]:
        first, last = -(-start // MILLISECOND), (end - 1) // MILLISECOND
        timespan = "minute" if minutes == 1 else "day"
        path = f"/v2/aggs/ticker/{quote(symbol, safe='')}/range/1/{timespan}/{first}/{last}"
        question = {"adjusted": str(adjusted).lower(), "sort": "asc", "limit": str(_BARS_A_PAGE)}
        rows: list[Any] = []
        for page in self._pages(path, question, f"bars of {symbol}"):
            rows += _list(page, "results", f"{symbol}: Polygon's bars")
        bars = bars_of(symbol, rows, partial(bar, symbol, minutes=minutes))
        return [one for one in bars if start <= one.opened_at < end]

    def actions_now(self, symbols: Sequence[str], start: int, end: int) -> Mapping[str, Actions]:
        found: dict[str, Actions] = {}
        try:
            for symbol in symbols:
                splits = sorted(map(_split, self._actions("splits", "execution_date", symbol, start, end)))
                cash: dict[date, float] = {}
                for row in self._actions("dividends", "ex_dividend_date", symbol, start, end):
                    day = day_of(row.beginning_of_day("ex_dividend_date"))
                    cash[day] = cash.get(day, 0.0) + float(row.positive("cash_amount"))
                found[symbol] = (splits, sorted(cash.items()))
        except BadData as error:
            raise DataUnusable(dict.fromkeys(symbols, error), {}) from error
        return found

    def _actions(self, kind: str, dated: str, symbol: str, start: int, end: int) -> Iterator[Fields]:
        days = {f"{dated}.gte": f"{day_of(start)}", f"{dated}.lte": f"{day_of(end - 1)}"}
        question = {"ticker": symbol, **days, "limit": str(_ROWS_A_PAGE)}
        for page in self._pages(f"/v3/reference/{kind}", question, f"{kind} of {symbol}"):
            for row in page.objects("results"):
                yield Fields(f"{symbol}: one of Polygon's {kind}", row)

    def market_time_now(self) -> int:
        try:
            return self._ask("/v1/marketstatus/now", {}, "the time").instant("serverTime")
        except BadData as error:
            raise DataUnavailable(str(error)) from error

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        found: dict[str, SymbolSnapshot] = {}
        for at in range(0, len(symbols), _SNAPSHOTS_A_REQUEST):
            chunk = list(symbols[at : at + _SNAPSHOTS_A_REQUEST])
            about = f"snapshots of {some_of(chunk, 3)}"
            try:
                rows = self._ask(_SNAPSHOTS, {"tickers": ",".join(chunk)}, about).objects("tickers")
            except BadData as error:
                raise DataUnusable(dict.fromkeys(chunk, error), found) from error
            by_name = {row.get("ticker"): row for row in rows}
            found |= {symbol: snapshot(symbol, by_name[symbol]) for symbol in chunk if symbol in by_name}
        return found

    def assets_now(self) -> Mapping[str, Asset]:
        question = {"market": "stocks", "active": "true", "limit": str(_ROWS_A_PAGE)}
        try:
            pages = self._pages("/v3/reference/tickers", question, "the list of tickers")
            rows = [row for page in pages for row in page.objects("results")]
        except BadData as error:
            raise DataUnavailable(str(error)) from error
        read = [one for row in rows if (one := if_usable(partial(asset, row))) is not None]
        return {one.symbol: one for one in read if is_symbol(one.symbol)}

    def _pages(self, path: str, question: Mapping[str, str], about: str) -> Iterator[Fields]:
        """Yield the pages of an answer; of `next_url` path and query count, as for the vendor's own client.

        Raises:
            DataUnavailable: as `_ask`.
            BadData: as `_ask`; or if the pages do not end.
        """
        seen: set[str] = set()
        while True:
            page = self._ask(path, question, about)
            yield page
            following = page.text_or("next_url")
            if not following:
                return
            if following in seen:
                raise page.bad("next_url", "a new one")
            seen.add(following)
            parts = urlsplit(following)
            path, question = f"{parts.path}?{parts.query}", {}

    def _ask(self, path: str, question: Mapping[str, str], about: str) -> Fields:
        """Return the vendor's answer; after `tries` without one give up with one sentence.

        Raises:
            DataUnavailable: the vendor did not answer, or said no.
            BadData: it answered, and not with what the question asks for.
        """
        from urllib3.exceptions import HTTPError

        for left in reversed(range(self._tries)):
            try:
                answer = msgspec.json.decode(self._client()._get(path, dict(question), raw=True).data)
                if isinstance(answer, dict) or not left:
                    return Fields(f"Polygon's answer about {about}", answer)
            except PolygonRefusal as refusal:
                if refusal.status not in _BUSY_STATUSES or not left:
                    kind = DataRefused if refusal.status in _WRONG_QUESTION else DataUnavailable
                    hint = "; check POLYGON_API_KEY and its plan" if refusal.status in _KEY_STATUSES else ""
                    raise kind(f"Polygon has no {about}: {refusal.status} {refusal}{hint}") from refusal
            except (HTTPError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                if not left:
                    raise DataUnavailable(f"Polygon does not answer for {about} ({type(error).__name__})") from error
            block(_BUSY_WAIT_SECONDS)
        raise AssertionError("unreachable")

    def _client(self) -> Any:
        """Return the client of the vendor's library; all threads share it."""
        with self._making:
            if self._made is None:
                self._made = guarded_client(self._address, self._key, self._timeout)
        return self._made


def guarded_client(address: str, key: str, seconds: float) -> Any:
    """Return polygon-api-client at the canonical `address`: each call ends in time, none goes anywhere else or is repeated.

    By itself it has no time-out for reading, follows redirects and does not tell the status of a refusal.
    """
    import certifi
    from polygon import RESTClient
    from urllib3 import BaseHTTPResponse, PoolManager

    class GuardedPool(PoolManager):
        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> BaseHTTPResponse:
            if not url.startswith(f"{address}/"):
                raise OutsideError(f"{shown_address(url)} was requested, but this session calls {address} only")
            bounds = {"redirect": False, "retries": False, "timeout": seconds}
            response = super().request(method, url, *args, **(kwargs | bounds))
            if response.status != 200:
                raise PolygonRefusal(response.status, response.data)
            return response

    client = RESTClient(key, base=address)
    trusted = {"ca_certs": certifi.where(), "cert_reqs": "CERT_REQUIRED"}
    client.client = GuardedPool(num_pools=2, maxsize=_AT_ONCE, headers=client.headers, **trusted)
    return client


def _list(page: Fields, name: str, what: str) -> list[Any]:
    found = page.raw.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise BadData(f"{what} are {shown(found)}, not a list")
    return found


def _split(row: Fields) -> Any:
    from liualgotrader.tapes.splits import Split

    day = day_of(row.beginning_of_day("execution_date"))
    return Split(day, float(row.positive("split_to") / row.positive("split_from")))


def bar(symbol: str, row: object, minutes: int) -> Bar:
    """Return one aggregate of the vendor's as ours.

    Raises:
        BadData: naming symbol, time and field if it cannot be true.
    """
    fields = Fields(f"{symbol}: a bar of Polygon's", row)
    at = fields.raw.get("t")
    if type(at) is not int or not EARLIEST < at * MILLISECOND < LATEST:
        raise fields.bad("t", "a time of this century in milliseconds")
    fields.what = f"{symbol}: Polygon's bar of {at}"
    return vendor_bar(fields, symbol, at * MILLISECOND, minutes)


def snapshot(symbol: str, raw: Mapping[str, Any]) -> SymbolSnapshot:
    """Return one snapshot of the vendor's as ours; what cannot be true of it, or is still zero, is None."""
    updated = raw.get("updated")
    today = day_of(updated) if type(updated) is int and EARLIEST < updated < LATEST else None

    def daily(name: str, day_in: Callable[[date], date]) -> Bar | None:
        row = raw.get(name)
        if today is None or not isinstance(row, Mapping) or not row.get("c"):
            return None
        day = day_in(today)
        return if_usable(
            lambda: vendor_bar(Fields(f"{symbol}: Polygon's {name} of {day}", row), symbol, midnight(day), 1440)
        )

    def last_price() -> float:
        trade = Fields(symbol, raw).raw.get("lastTrade")
        return float(Fields(f"{symbol}: Polygon's last trade", trade).positive("p"))

    minute = raw.get("min")
    return SymbolSnapshot(
        symbol=symbol,
        last_price=if_usable(last_price),
        minute_bar=if_usable(lambda: bar(symbol, minute, 1))
        if isinstance(minute, Mapping) and minute.get("c")
        else None,
        daily_bar=daily("day", lambda day: day),
        previous_daily_bar=daily("prevDay", lambda day: previous_sessions(day, 1)[-1].day),
    )


def asset(row: object) -> Asset:
    """Return one ticker of the vendor's as ours; whether it can be borrowed or split the vendor does not know."""
    fields = Fields("a ticker of Polygon's", row)
    symbol = fields.text("ticker")
    return Asset(symbol, fields.text_or("name", symbol), _VENUES.get(fields.text_or("primary_exchange"), ""))
