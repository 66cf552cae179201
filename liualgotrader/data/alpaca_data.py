"""Alpaca's market history through alpaca-py, on worker threads.

Source: Alpaca market data API 1.1, historical bars and snapshots. Bars are labelled by their start; a
daily bar is stamped midnight New York.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from liualgotrader.common.calendar import day_of
from liualgotrader.common.clock import as_utc, block
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import BadData, DataRefused, DataUnavailable, DataUnusable
from liualgotrader.common.events import Bar
from liualgotrader.common.http_guard import guard
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.common.tlog import some_of
from liualgotrader.common.untrusted import Fields, shown
from liualgotrader.data.data_base import Actions
from liualgotrader.data.threaded_data import ThreadedData
from liualgotrader.data.vendor_bars import bars_of, if_usable, vendor_bar

if TYPE_CHECKING:
    from liualgotrader.common.session_plan import Endpoints

log = logging.getLogger(__name__)

_SYMBOLS_A_REQUEST = 200
_BARS_A_PAGE = 10_000
_ACTIONS_A_PAGE = 1000
_VERSIONS = {"/corporate-actions": {"api_version": "v1"}}  # of the address, where it is not the client's own
_SNAPSHOTS_A_REQUEST = 1000
_TRIES = 3
_USUAL_SECONDS = 10.0
_BUSY_STATUSES = (429, 500, 502, 503, 504)
_WRONG_QUESTION = (400, 404, 422)
_BUSY_WAIT_SECONDS = 1.0
_WORKERS = 4

T = TypeVar("T")


class AlpacaData(ThreadedData):
    """History, snapshots and assets.

    A question that the vendor is too busy for, or does not answer, is asked `tries` times. Without `endpoints` those of
    the environment are asked, with its keys and feed, as the original did.
    """

    def __init__(
        self,
        endpoints: Endpoints | None = None,
        key_id: str = "",
        secret_key: str = "",
        *,
        feed: str = "",
        timeout_seconds: float = _USUAL_SECONDS,
        tries: int = _TRIES,
        adjustment: str = "all",
    ) -> None:
        if endpoints is None:
            settings = Settings.resolve()
            endpoints, feed = settings.endpoints, settings.data_feed
            key_id, secret_key = settings.key_id.reveal(), settings.secret_key.reveal()
        super().__init__("alpaca-data")
        self._endpoints = endpoints
        self._keys = (key_id, secret_key)
        self._feed = feed
        self._adjustment = adjustment  # of history, the vendor's word
        self._timeout = timeout_seconds
        self._tries = tries
        self._local = threading.local()

    def warm_up_now(self) -> None:
        for name in ("history", "account"):
            self._client(name)

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        return self._bars(symbols, start, end, minutes, self._adjustment)

    def raw_bars_now(
        self, symbols: Sequence[str], start: int, end: int, *, minutes: int
    ) -> Mapping[str, Sequence[Bar]]:
        return self._bars(symbols, start, end, minutes, "raw")

    def _bars(
        self, symbols: Sequence[str], start: int, end: int, minutes: int, adjustment: str
    ) -> Mapping[str, Sequence[Bar]]:
        found: dict[str, Sequence[Bar]] = {}
        bad: dict[str, BadData] = {}
        for at in range(0, len(symbols), _SYMBOLS_A_REQUEST):
            chunk = list(symbols[at : at + _SYMBOLS_A_REQUEST])
            rows = self._rows_of(chunk, start, end, minutes, adjustment, bad)
            for symbol in rows.keys() - bad.keys():
                try:
                    found[symbol] = [
                        b
                        for b in bars_of(symbol, rows[symbol], partial(bar, symbol, minutes=minutes))
                        if start <= b.opened_at < end
                    ]
                except BadData as error:
                    bad[symbol] = error
        if bad:
            raise DataUnusable(bad, found)
        return found

    def _rows_of(
        self, symbols: list[str], start: int, end: int, minutes: int, adjustment: str, bad: dict[str, BadData]
    ) -> Mapping[str, list[Any]]:
        """Return the vendor's bar objects by symbol; put into `bad` why those of a symbol are not a list."""
        question = {
            "symbols": ",".join(symbols),
            "start": as_utc(start).isoformat(),
            "end": as_utc(end - 1).isoformat(),  # the vendor's end belongs to what is asked for
            "timeframe": "1Min" if minutes == 1 else "1Day",
            "adjustment": adjustment,
            "feed": self._feed,
            "limit": _BARS_A_PAGE,
        }
        about = f"bars of {some_of(symbols, 3)}"
        rows: dict[str, list[Any]] = {symbol: [] for symbol in symbols}
        try:
            for page in self._pages("/stocks/bars", question, about):
                found = Fields(page.what, page.raw.get("bars")).raw
                for symbol in rows.keys() & found.keys():
                    if isinstance(found[symbol], list):
                        rows[symbol] += found[symbol]
                    else:
                        bad[symbol] = BadData(f"{symbol}: Alpaca's bars are {shown(found[symbol])}, not a list")
        except BadData as error:
            bad.update((symbol, error) for symbol in symbols)
        return rows

    def actions_now(self, symbols: Sequence[str], start: int, end: int) -> Mapping[str, Actions]:
        from liualgotrader.tapes.splits import Split

        kinds = ("forward_splits", "reverse_splits", "stock_dividends", "cash_dividends")
        question = {
            "symbols": ",".join(symbols),
            "types": ",".join(kind.removesuffix("s") for kind in kinds),
            "start": f"{day_of(start)}",
            "end": f"{day_of(end - 1)}",
            "limit": _ACTIONS_A_PAGE,
        }
        found: dict[str, tuple[dict[date, Split], dict[date, float]]] = {symbol: ({}, {}) for symbol in symbols}
        try:
            for page in self._pages("/corporate-actions", question, f"splits and dividends of {some_of(symbols, 3)}"):
                answer = Fields(page.what, page.raw.get("corporate_actions"))
                for kind in kinds:
                    for row in (Fields(f"one of Alpaca's {kind}", one) for one in answer.objects(kind)):
                        splits, cash = found.get(row.text("symbol"), ({}, {}))
                        day = day_of(row.beginning_of_day("ex_date"))
                        if kind == "cash_dividends":
                            cash[day] = cash.get(day, 0.0) + float(row.positive("rate"))
                        elif kind == "stock_dividends":
                            splits[day] = Split(day, 1 + float(row.positive("rate")))
                        else:
                            splits[day] = Split(day, float(row.positive("new_rate") / row.positive("old_rate")))
        except BadData as error:
            raise DataUnusable(dict.fromkeys(symbols, error), {}) from error
        return {symbol: (sorted(s.values()), sorted(cash.items())) for symbol, (s, cash) in found.items()}

    def market_time_now(self) -> int:
        try:
            return Fields("Alpaca's clock", self._ask("/clock", {}, "the time")).instant("timestamp")
        except BadData as error:
            raise DataUnavailable(str(error)) from error

    def _pages(self, path: str, question: dict[str, Any], about: str) -> Iterator[Fields]:
        """Yield the pages of an answer.

        Raises:
            DataUnavailable: as `_ask`.
            BadData: as `_ask`; or if the pages do not end.
        """
        seen = {""}
        while True:
            page = Fields(f"Alpaca's answer about {about}", self._ask(path, question, about))
            yield page
            token = page.text_or("next_page_token")
            if not token:
                return
            if token in seen:
                raise page.bad("next_page_token", "a new one")
            seen.add(token)
            question["page_token"] = token

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        found: dict[str, SymbolSnapshot] = {}
        for at in range(0, len(symbols), _SNAPSHOTS_A_REQUEST):
            chunk = list(symbols[at : at + _SNAPSHOTS_A_REQUEST])
            question = {"symbols": ",".join(chunk), "feed": self._feed}
            about = f"snapshots of {some_of(chunk, 3)}"
            try:
                answer = self._ask("/stocks/snapshots", question, about)
            except BadData as error:
                raise DataUnusable(dict.fromkeys(chunk, error), found) from error
            found |= {symbol: snapshot(symbol, fields) for symbol, fields in answer.items() if fields}
        return found

    def assets_now(self) -> Mapping[str, Asset]:
        question = {"status": "active", "asset_class": "us_equity"}
        try:
            rows = self._ask("/assets", question, "the list of assets", list)
        except BadData as error:
            raise DataUnavailable(str(error)) from error
        tradable = [row for row in rows if isinstance(row, dict) and row.get("tradable") is True]
        read = [one for row in tradable if (one := if_usable(partial(asset, row))) is not None]
        return {one.symbol: one for one in read}

    def _ask(self, path: str, question: Mapping[str, Any], about: str, form: type = dict) -> Any:
        """Return the vendor's answer; after `tries` without one give up with one sentence.

        Raises:
            DataUnavailable: the vendor did not answer, or said no.
            BadData: it answered, and not with what the question asks for.
        """
        from alpaca.common.exceptions import APIError
        from requests import RequestException

        for left in reversed(range(self._tries)):
            try:
                client = self._client("account" if path in ("/assets", "/clock") else "history")
                answer = client.get(path, question, **_VERSIONS.get(path, {}))
                if isinstance(answer, form):
                    return answer
                if not left:
                    raise BadData(f"Alpaca's answer about {about} is {shown(answer)}, not a {form.__name__}")
            except APIError as e:
                status = int(getattr(e, "status_code", 0) or 0)
                if status not in _BUSY_STATUSES or not left:
                    kind = DataRefused if status in _WRONG_QUESTION else DataUnavailable
                    raise kind(f"Alpaca has no {about}: {status} {str(e).strip()[:200]}") from e
            except (RequestException, ValueError, RecursionError) as e:  # the last two: no JSON, or too deep
                if not left:
                    raise DataUnavailable(f"Alpaca does not answer for {about} ({type(e).__name__})") from e
            block(_BUSY_WAIT_SECONDS)
        raise AssertionError("unreachable")

    def _client(self, name: str) -> Any:
        """Return this thread's client of the vendor's library: `history` or `account`."""
        from alpaca.data.historical import StockHistoricalDataClient
        from alpaca.trading.client import TradingClient

        client: Any = getattr(self._local, name, None)
        if client is None:
            kind: Any = StockHistoricalDataClient if name == "history" else TradingClient
            address = self._endpoints.data_url if name == "history" else self._endpoints.trading_url
            client = kind(*self._keys, raw_data=True, url_override=address)
            client._retry = 0  # its own waits three seconds inside the call
            guard(client._session, address, timeout_seconds=self._timeout)
            setattr(self._local, name, client)
        return client


def bar(symbol: str, row: object, minutes: int) -> Bar:
    """Return one bar object of the vendor's as ours.

    Raises:
        BadData: naming symbol, time and field if it cannot be true.
    """
    fields = Fields(f"{symbol}: a bar of Alpaca's", row)
    opened_at = fields.instant("t")
    fields.what = f"{symbol}: Alpaca's bar of {fields.raw['t']}"
    return vendor_bar(fields, symbol, opened_at, minutes)


def snapshot(symbol: str, raw: object) -> SymbolSnapshot:
    """Return one snapshot object of the vendor's as ours; what cannot be true of it is None, as what is not there."""

    def optional_bar(name: str, minutes: int) -> Bar | None:
        found = raw.get(name) if isinstance(raw, dict) else None
        return if_usable(lambda: bar(symbol, found, minutes)) if found else None

    def last_price() -> float:
        trade = Fields(symbol, raw).raw.get("latestTrade")
        return float(Fields(f"{symbol}: Alpaca's latest trade", trade).positive("p"))

    return SymbolSnapshot(
        symbol=symbol,
        last_price=if_usable(last_price),
        minute_bar=optional_bar("minuteBar", 1),
        daily_bar=optional_bar("dailyBar", 1440),
        previous_daily_bar=optional_bar("prevDailyBar", 1440),
    )


def asset(row: object) -> Asset:
    """Return one asset object of the vendor's as ours; what it does not allow is not allowed."""
    fields = Fields("an asset of Alpaca's", row)
    symbol = fields.text("symbol")
    return Asset(
        symbol=symbol,
        name=fields.text_or("name", symbol),
        exchange=fields.text_or("exchange"),
        shortable=fields.flag("shortable") is True,
        fractionable=fields.flag("fractionable") is True,
    )
