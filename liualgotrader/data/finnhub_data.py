"""Finnhub's market history over plain HTTP: bars and symbols. It has no stream and no snapshots here.

Source: Finnhub's reference of stock candles (columns by their letters, times in seconds, `s` says `ok` or `no_data`) and of
stock symbols. A daily candle is labelled by the midnight UTC of its day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from liualgotrader.common.clock import SECOND, as_utc, block
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import BadData, ConfigError, DataRefused, DataUnavailable, DataUnusable
from liualgotrader.common.events import Bar, is_symbol
from liualgotrader.common.http_guard import guard
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.common.untrusted import EARLIEST, LATEST, Fields
from liualgotrader.data.data_base import midnight
from liualgotrader.data.threaded_data import ThreadedData
from liualgotrader.data.vendor_bars import bars_of, if_usable, vendor_bar

if TYPE_CHECKING:
    from liualgotrader.common.session_plan import Endpoints

_COLUMNS = "tohlcv"
_TRIES = 3
_USUAL_SECONDS = 10.0  # of machine time
_BUSY_STATUSES = (429, 500, 502, 503, 504)
_BUSY_WAIT_SECONDS = 1.0


class FinnhubData(ThreadedData):
    """History and symbols; a question that the vendor is too busy for, or does not answer, is asked `tries` times.

    Without `endpoints` those of the environment are asked, with its key.
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
            settings = replace(Settings.resolve(), data_connector="finnhub")
            endpoints, key = settings.endpoints, settings.finnhub_key.reveal()
        super().__init__("finnhub-data")
        self._address, self._key = endpoints.data_url, key
        self._timeout, self._tries = timeout_seconds, tries

    def warm_up_now(self) -> None:
        import requests  # noqa: F401

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        found: dict[str, Sequence[Bar]] = {}
        bad: dict[str, BadData] = {}
        span = {"from": str(start // SECOND), "to": str(end // SECOND), "resolution": "1" if minutes == 1 else "D"}
        for symbol in symbols:
            try:
                answer = self._ask("stock/candle", {"symbol": symbol, **span}, f"bars of {symbol}")
                bars = _bars(symbol, Fields(f"{symbol}: Finnhub's candles", answer), minutes)
            except BadData as error:
                bad[symbol] = error
            else:
                found[symbol] = [one for one in bars if start <= one.opened_at < end]
        if bad:
            raise DataUnusable(bad, found)
        return found

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        raise DataUnavailable("snapshots do not come from Finnhub: set DATA_CONNECTOR to alpaca or polygon")

    def assets_now(self) -> Mapping[str, Asset]:
        rows = self._ask("stock/symbol", {"exchange": "US"}, "the list of symbols")
        if not isinstance(rows, list):
            raise DataUnavailable("Finnhub's list of symbols is no list")
        read = [one for row in rows if (one := if_usable(partial(_asset, row))) is not None]
        return {one.symbol: one for one in read if is_symbol(one.symbol)}

    def _ask(self, path: str, question: Mapping[str, str], about: str) -> Any:
        """Return the vendor's answer; after `tries` without one give up with one sentence.

        Raises:
            ConfigError: the key is missing; nothing was sent.
            DataUnavailable: the vendor did not answer, or said no.
        """
        import requests

        if not self._key:
            raise ConfigError("data of Finnhub's want a key: set FINNHUB_API_KEY")
        for left in reversed(range(self._tries)):
            with requests.Session() as session:
                guard(session, self._address, timeout_seconds=self._timeout)
                session.headers["X-Finnhub-Token"] = self._key
                try:
                    answer = session.get(f"{self._address}/api/v1/{path}", params=dict(question))
                    if answer.status_code == 200:
                        return msgspec.json.decode(answer.content)
                except (requests.RequestException, msgspec.DecodeError, RecursionError) as error:
                    if not left:
                        why = type(error).__name__
                        raise DataUnavailable(f"Finnhub does not answer for {about} ({why})") from error
                else:
                    if answer.status_code not in _BUSY_STATUSES or not left:
                        kind = DataRefused if answer.status_code in (400, 404, 422) else DataUnavailable
                        hint = "; check FINNHUB_API_KEY and its plan" if answer.status_code in (401, 403) else ""
                        raise kind(f"Finnhub has no {about}: {answer.status_code} {answer.reason}{hint}")
            block(_BUSY_WAIT_SECONDS)
        raise AssertionError("unreachable")


def _bars(symbol: str, candles: Fields, minutes: int) -> Sequence[Bar]:
    if candles.raw.get("s") == "no_data":
        return []
    columns = [candles.raw.get(name) for name in _COLUMNS]
    if candles.raw.get("s") != "ok" or not all(isinstance(column, list) for column in columns):
        raise candles.bad("s", "`ok` with a list for each of t, o, h, l, c and v")
    if len({len(column) for column in columns if isinstance(column, list)}) != 1:
        raise candles.bad("t", "as long as the lists of prices")
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]
    return bars_of(symbol, rows, partial(_bar, symbol, minutes))


def _bar(symbol: str, minutes: int, row: object) -> Bar:
    fields = Fields(f"{symbol}: a candle of Finnhub's", row)
    at = fields.raw.get("t")
    if type(at) is not int or not EARLIEST < at * SECOND < LATEST:
        raise fields.bad("t", "a time of this century in seconds")
    fields.what = f"{symbol}: Finnhub's candle of {at}"
    return vendor_bar(fields, symbol, at * SECOND if minutes == 1 else midnight(as_utc(at * SECOND).date()), minutes)


def _asset(row: object) -> Asset:
    fields = Fields("a symbol of Finnhub's", row)
    symbol = fields.text("symbol")
    return Asset(symbol, fields.text_or("description", symbol), "")
