"""Market-data REST through the unmodified StockHistoricalDataClient; and no route tells the future (ruling 44)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient

from liualgotrader.common.clock import MINUTE, SECOND, as_utc, instant, nanoseconds
from tests.fakes.simulated_market import KEY, SECRET, MarketThread
from tests.fakes.tapes import at

HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
LONG_AGO = datetime(2024, 2, 1, tzinfo=UTC)
EVENING = as_utc(at("20:00"))
MINUTES = TimeFrame(1, TimeFrameUnit.Minute)
DAYS = TimeFrame(1, TimeFrameUnit.Day)


@pytest.fixture
def client(market: MarketThread) -> StockHistoricalDataClient:
    return StockHistoricalDataClient(KEY, SECRET, url_override=market.url)


def raw(market: MarketThread, path: str, **query: Any) -> Any:
    response = requests.get(f"{market.url}/v2/stocks/{path}", params=query, headers=HEADERS, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


def bars(client: StockHistoricalDataClient, timeframe: TimeFrame, start: datetime, **more: Any) -> list[Any]:
    request = StockBarsRequest(symbol_or_symbols="ABC", timeframe=timeframe, start=start, **more)
    found: list[Any] = client.get_stock_bars(request).data.get("ABC", [])
    return found


@pytest.mark.vendor("StockHistoricalDataClient.get_stock_bars")
def test_minute_bars_reach_from_yesterday_to_the_last_closed_minute(
    market: MarketThread, client: StockHistoricalDataClient
) -> None:
    market.go_to(at("09:36:30"))
    found = bars(client, MINUTES, LONG_AGO)
    yesterday = [b for b in found if b.timestamp.day == 7]
    assert [b.open for b in yesterday] == [90.0 + n for n in range(10)]
    today = [instant(b.timestamp) for b in found if b.timestamp.day == 8]
    assert today == [at("09:30") + n * MINUTE for n in range(6)]
    assert {b.volume for b in found if b.timestamp.day == 8} == {60 * 200}


def test_five_minutes_and_hours_are_folded_from_minutes(
    market: MarketThread, client: StockHistoricalDataClient
) -> None:
    market.go_to(at("09:41"))
    five = bars(client, TimeFrame(5, TimeFrameUnit.Minute), LONG_AGO)
    assert [(f"{b.timestamp:%d %H:%M}", b.open, b.close, b.volume) for b in five] == [
        ("07 14:30", 90.0, 94.5, 5 * 1000 + 0 + 1 + 2 + 3 + 4),
        ("07 14:35", 95.0, 99.5, 5 * 1000 + 5 + 6 + 7 + 8 + 9),
        ("08 14:30", 100.0, 100.0, 5 * 60 * 200),
        ("08 14:35", 100.0, 100.0, 5 * 60 * 200),
        ("08 14:40", 97.0, 97.0, 60 * 200),
    ]
    hours = bars(client, TimeFrame(1, TimeFrameUnit.Hour), LONG_AGO)
    assert [(f"{b.timestamp:%d %H:%M}", b.volume) for b in hours] == [("07 14:00", 10_045), ("08 14:00", 11 * 12_000)]


def test_days_weeks_and_months_are_labelled_by_new_yorks_midnight(
    market: MarketThread, client: StockHistoricalDataClient
) -> None:
    days = bars(client, DAYS, LONG_AGO)
    assert [b.close for b in days] == [80, 81, 91, 92, 93, 94, 100]
    assert {f"{b.timestamp:%H:%M}" for b in days} == {"05:00"}
    weeks = bars(client, TimeFrame(1, TimeFrameUnit.Week), LONG_AGO)
    assert [(f"{b.timestamp:%m-%d}", b.close) for b in weeks] == [("02-26", 81), ("03-04", 100)]
    months = bars(client, TimeFrame(1, TimeFrameUnit.Month), LONG_AGO)
    assert [(f"{b.timestamp:%m-%d}", b.open, b.close) for b in months] == [("02-01", 79, 80), ("03-01", 80, 100)]


def test_bounds_are_inclusive_and_the_order_can_be_turned(
    market: MarketThread, client: StockHistoricalDataClient
) -> None:
    start, end = as_utc(at("09:31")), as_utc(at("09:33"))
    found = bars(client, MINUTES, start, end=end, sort=Sort.DESC)
    assert [instant(b.timestamp) for b in found] == [at("09:33"), at("09:32"), at("09:31")]


@pytest.mark.vendor("StockHistoricalDataClient.get_stock_trades")
def test_the_clients_limit_counts_over_all_pages(market: MarketThread, client: StockHistoricalDataClient) -> None:
    request = StockTradesRequest(symbol_or_symbols=["XYZ", "ABC"], start=as_utc(at("09:30")), limit=305)
    found = client.get_stock_trades(request).data
    assert {symbol: len(rows) for symbol, rows in found.items()} == {"ABC": 300, "XYZ": 5}


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("kind", ["trades", "quotes", "bars"])
def test_pages_lose_nothing_and_repeat_nothing(market: MarketThread, kind: str, sort: str) -> None:
    query = {"symbols": "ABC,XYZ", "start": "2024-03-08", "sort": sort, "timeframe": "1Min"}
    whole = raw(market, kind, limit=10_000, **query)
    assert whole["next_page_token"] is None
    rows: dict[str, list[Any]] = {}
    token: str | None = None
    while True:
        page = raw(market, kind, limit=7, page_token=token, **query)
        assert sum(len(r) for r in page[kind].values()) <= 7
        for symbol, found in page[kind].items():
            rows.setdefault(symbol, []).extend(found)
        if (token := page["next_page_token"]) is None:
            break
    assert rows == whole[kind]


def test_trades_carry_ids_conditions_and_venue(market: MarketThread) -> None:
    market.go_to(at("09:36:04"))
    found = raw(market, "trades", symbols="XYZ", start="2024-03-08T14:36:00Z")["trades"]["XYZ"]
    assert found == [
        {"t": "2024-03-08T14:36:00.5Z", "x": "N", "p": 300.0, "s": 200, "c": ["@"], "i": 37, "z": "A"},
        {"t": "2024-03-08T14:36:03Z", "x": "N", "p": 301.0, "s": 7, "c": ["@", "I"], "i": 38, "z": "A"},
    ]


@pytest.mark.vendor("StockHistoricalDataClient.get_stock_quotes")
def test_quotes_are_in_shares(client: StockHistoricalDataClient) -> None:
    request = StockQuotesRequest(symbol_or_symbols="ABC", start=as_utc(at("09:34:59")))
    (quote,) = client.get_stock_quotes(request).data["ABC"]
    assert (quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size) == (99.99, 500, 100.01, 500)


@pytest.mark.vendor(
    "StockHistoricalDataClient.get_stock_latest_trade",
    "StockHistoricalDataClient.get_stock_latest_quote",
    "StockHistoricalDataClient.get_stock_latest_bar",
    "StockHistoricalDataClient.get_stock_snapshot",
)
def test_latest_and_snapshot_show_the_present(market: MarketThread, client: StockHistoricalDataClient) -> None:
    market.go_to(at("09:36:05"))
    trade = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="XYZ"))["XYZ"]
    assert (trade.price, instant(trade.timestamp)) == (300, at("09:36") + SECOND // 2)  # the odd lot is not the last
    quote = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="ABC"))["ABC"]
    assert instant(quote.timestamp) == at("09:36:04")
    bar = client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="ABC"))["ABC"]
    assert instant(bar.timestamp) == at("09:35")
    snapshots = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["ABC", "NOPE"]))
    assert set(snapshots) == {"ABC"}
    abc = snapshots["ABC"]
    assert (abc.previous_daily_bar.close, abc.minute_bar.close, abc.daily_bar.open) == (94, 100, 100)
    assert abc.latest_trade.price == 100


@pytest.mark.parametrize(
    "query",
    [
        {"symbols": "ABC", "timeframe": "61Min"},
        {"symbols": "ABC", "timeframe": "soon"},
        {"symbols": ""},
        {"symbols": "ABC", "timeframe": "1Min", "limit": 10_001},
        {"symbols": "ABC", "timeframe": "1Min", "page_token": "???"},
        {"symbols": "ABC", "timeframe": "1Min", "sort": "up"},
    ],
)
def test_a_wrong_question_is_answered_with_400(market: MarketThread, query: dict[str, Any]) -> None:
    response = requests.get(f"{market.url}/v2/stocks/bars", params=query, headers=HEADERS, timeout=60)
    assert (response.status_code, response.json()["code"]) == (400, 40010000)


@pytest.mark.parametrize("path", ["ABC/bars", "abc/trades", "ABC/quotes"])
def test_addresses_about_one_symbol_page_through_the_same_rows(market: MarketThread, path: str) -> None:
    kind = path.partition("/")[2]
    query = {"start": "2024-03-08", "timeframe": "1Min"}
    whole = raw(market, kind, symbols="ABC", limit=10_000, **query)[kind]["ABC"]
    first = raw(market, path, limit=3, **query)
    rest = raw(market, path, limit=10_000, page_token=first["next_page_token"], **query)
    assert (first["symbol"], rest["next_page_token"]) == ("ABC", None)
    assert first[kind] + rest[kind] == whole


def test_the_newest_of_one_symbol_is_that_of_many(market: MarketThread) -> None:
    for kind in ("bar", "trade", "quote"):
        many = raw(market, f"{kind}s/latest", symbols="ABC")[f"{kind}s"]["ABC"]
        assert raw(market, f"ABC/{kind}s/latest") == {"symbol": "ABC", kind: many}
    assert raw(market, "ABC/snapshot") == {"symbol": "ABC", **raw(market, "snapshots", symbols="ABC")["ABC"]}
    for path in ("NOPE/trades/latest", "NOPE/snapshot"):
        response = requests.get(f"{market.url}/v2/stocks/{path}", headers=HEADERS, timeout=60)
        assert (response.status_code, response.json()["code"]) == (404, 40410000)


def test_keys_are_taken_as_name_and_password_and_the_secret_as_a_token(market: MarketThread) -> None:
    client = StockHistoricalDataClient(KEY, SECRET, use_basic_auth=True, url_override=market.url)
    assert client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="ABC"))["ABC"].price == 100
    assert TradingClient(oauth_token=SECRET, url_override=market.url).get_clock().is_open
    for stranger in (
        TradingClient(oauth_token="other", url_override=market.url),
        StockHistoricalDataClient(KEY, "other", use_basic_auth=True, url_override=market.url),
    ):
        with pytest.raises(APIError) as caught:
            stranger.get("/clock")
        assert (caught.value.status_code, caught.value.code) == (401, 40110000)


def test_wrong_keys_are_refused(market: MarketThread) -> None:
    stranger = StockHistoricalDataClient("who", "ever", url_override=market.url)
    with pytest.raises(APIError) as caught:
        bars(stranger, MINUTES, LONG_AGO)
    assert caught.value.status_code == 401


def test_reference_tables_say_what_the_letters_mean(market: MarketThread) -> None:
    assert raw(market, "meta/conditions/trade")["I"] == "Odd Lot Trade"
    assert raw(market, "meta/exchanges")["Q"].startswith("NASDAQ")


# --- ruling 44


def instants(answer: Any) -> list[int]:
    """Return every `t` that an answer holds, however deep."""
    if isinstance(answer, dict):
        own = [nanoseconds(answer["t"])] if isinstance(answer.get("t"), str) else []
        return own + [t for value in answer.values() for t in instants(value)]
    return [t for value in answer for t in instants(value)] if isinstance(answer, list) else []


@pytest.mark.parametrize(
    ("path", "newest"),
    [
        ("trades", "09:59:59"),
        ("quotes", "09:59:59"),
        ("trades/latest", "09:59:59"),
        ("quotes/latest", "09:59:59"),
        ("bars/latest", "09:59"),
        ("bars?timeframe=1Min", "09:59"),
        ("bars?timeframe=15Min", "09:45"),
        ("bars?timeframe=1Hour", "09:00"),
        ("bars?timeframe=1Day", "00:00"),
        ("snapshots", "09:59:59"),
    ],
)
def test_at_ten_no_route_knows_more_than_ten(market: MarketThread, path: str, newest: str) -> None:
    market.go_to(at("10:00"))
    whole_day = {"symbols": "ABC,XYZ,HLT,PENY", "start": "2024-03-08", "end": "2024-03-08", "limit": 10_000}
    route, _, more = path.partition("?")
    query = whole_day | dict(pair.split("=") for pair in more.split("&") if pair)
    found = instants(raw(market, route, **query))
    assert found
    assert max(found) < at("10:00")
    assert max(found) // SECOND == at(newest) // SECOND


def test_at_ten_the_running_day_is_the_sum_of_what_was_served(market: MarketThread) -> None:
    market.go_to(at("10:00"))
    day = raw(market, "snapshots", symbols="ABC")["ABC"]["dailyBar"]
    served = raw(market, "trades", symbols="ABC", start="2024-03-08", limit=10_000)["trades"]["ABC"]
    assert day["v"] == sum(t["s"] for t in served)
    assert (day["h"], day["l"], day["c"]) == (104, 97, 104)


def test_in_the_middle_of_a_minute_its_bar_is_not_there(market: MarketThread) -> None:
    market.go_to(at("09:59:59"))
    found = raw(market, "bars", symbols="ABC", timeframe="1Min", start="2024-03-08")["bars"]["ABC"]
    assert found[-1]["t"] == "2024-03-08T14:58:00Z"
