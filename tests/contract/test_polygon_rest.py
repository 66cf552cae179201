"""Polygon's REST of the simulated market through the unmodified polygon-api-client, by the vendor's field and type rules."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.request import Request, urlopen

import pytest
from polygon import RESTClient, WebSocketClient
from polygon.exceptions import BadResponse
from urllib3.exceptions import MaxRetryError

from liualgotrader.common.clock import MILLISECOND, NEW_YORK, SECOND
from tests.fakes.simulated_market import KEY, SECRET, MarketThread
from tests.fakes.tapes import at
from tools.doc_blocks import HOUSE, blocks

DAY = "2024-03-08"
MarketOf = Callable[..., MarketThread]


ClientOf = Callable[..., RESTClient]


@pytest.fixture
def client_of() -> Iterator[ClientOf]:
    """Return a function that makes a client; the connections of all end with the test."""
    made: list[RESTClient] = []

    def make(market: MarketThread, key: str = SECRET, **options: Any) -> RESTClient:
        made.append(RESTClient(key, base=market.url, **options))
        return made[-1]

    yield make
    for one in made:
        one.client.clear()


@pytest.fixture
def client(market: MarketThread, client_of: ClientOf) -> RESTClient:
    return client_of(market)


def raw(market: MarketThread, path: str) -> Any:
    with urlopen(Request(f"{market.url}{path}", headers={"Authorization": f"Bearer {SECRET}"}), timeout=60) as answer:
        return json.loads(answer.read())


def ms(text: str) -> int:
    return at(text) // MILLISECOND


# --- aggregates


@pytest.mark.vendor("RESTClient.get_aggs")
def test_minutes_of_the_day_are_those_that_have_closed_labelled_by_their_start(client: RESTClient) -> None:
    bars = client.get_aggs("ABC", 1, "minute", DAY, DAY)
    assert [bar.timestamp for bar in bars] == [ms("09:30") + n * 60_000 for n in range(5)]
    # 60 prints of 200 shares a minute, all at the middle.
    assert {(b.open, b.high, b.low, b.close, b.volume, b.vwap, b.transactions) for b in bars} == {
        (100.0, 100.0, 100.0, 100.0, 12_000, 100.0, 60)
    }


@pytest.mark.parametrize(
    ("multiplier", "timespan", "labels"),
    [
        (90, "second", ["09:30", "09:31:30", "09:33", "09:34:30"]),
        (2, "minute", ["09:30", "09:32", "09:34"]),
        (1, "hour", ["09:00"]),
        (1, "day", ["00:00"]),
    ],
)
def test_windows_are_counted_from_new_yorks_midnight(
    client: RESTClient, multiplier: int, timespan: str, labels: list[str]
) -> None:
    bars = client.get_aggs("ABC", multiplier, timespan, ms("09:30"), ms("09:35"))
    assert [bar.timestamp for bar in bars] == [ms(label) for label in labels]
    assert sum(bar.volume for bar in bars) == 60_000


@pytest.mark.parametrize(
    ("timespan", "first_days", "volumes"),
    [
        ("week", ["2024-02-25", "2024-03-03"], [20_000, 100_000]),  # weeks begin on Sunday
        ("month", ["2024-02-01", "2024-03-01"], [10_000, 110_000]),
        ("quarter", ["2024-01-01"], [120_000]),
        ("year", ["2024-01-01"], [120_000]),
    ],
)
def test_longer_windows_hold_the_days_of_the_tapes_past(
    client: RESTClient, timespan: str, first_days: list[str], volumes: list[int]
) -> None:
    bars = client.get_aggs("ABC", 1, timespan, "2024-02-29", DAY)
    assert [datetime.fromtimestamp(bar.timestamp / 1000, NEW_YORK).isoformat()[:16] for bar in bars] == [
        f"{day}T00:00" for day in first_days
    ]
    assert [bar.volume for bar in bars] == volumes


@pytest.mark.vendor("RESTClient.list_aggs")
@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_pages_bring_every_window_once_and_whole(client: RESTClient, sort: str) -> None:
    question = ("ABC", 2, "minute", "2024-03-07", DAY)
    whole = client.get_aggs(*question)
    paged = list(client.list_aggs(*question, limit=3, sort=sort))
    assert [(b.timestamp, b.volume) for b in paged] == [
        (b.timestamp, b.volume) for b in (whole if sort == "asc" else whole[::-1])
    ]
    assert len(whole) == 8  # five of yesterday's ten minutes, and 09:30, 09:32 and 09:34


def test_a_page_names_the_next_one_without_the_key(market: MarketThread) -> None:
    path = f"/v2/aggs/ticker/ABC/range/1/minute/{DAY}/{DAY}?limit=2&apiKey={SECRET}"
    with urlopen(f"{market.url}{path}", timeout=60) as answer:
        first = json.loads(answer.read())
    assert (first["queryCount"], first["resultsCount"], first["count"], first["status"]) == (2, 2, 2, "OK")
    assert first["next_url"].startswith(f"{market.url}/v2/aggs/ticker/ABC/range/1/minute/{DAY}/{DAY}?cursor=")
    assert SECRET not in first["next_url"]
    second = raw(market, first["next_url"].removeprefix(market.url))
    assert second["results"][0]["t"] == ms("09:32")


def test_nothing_of_a_symbol_or_time_is_an_answer_without_results(market: MarketThread, client: RESTClient) -> None:
    assert client.get_aggs("NONE", 1, "minute", DAY, DAY) == []
    answer = raw(market, "/v2/aggs/ticker/ABC/range/1/day/2024-03-09/2024-03-10")
    assert (answer["resultsCount"], "results" in answer) == (0, False)


def test_no_aggregate_lies_ahead_of_the_market(client: RESTClient, market: MarketThread) -> None:
    assert client.get_aggs("ABC", 1, "day", DAY, "2024-12-31")[-1].volume == 60_000
    market.advance(60)
    assert client.get_aggs("ABC", 1, "second", ms("09:35"), ms("16:00"))[-1].timestamp == ms("09:35:59")


@pytest.mark.vendor("RESTClient.get_grouped_daily_aggs")
def test_a_days_bars_of_all_symbols_come_at_once_and_none_on_a_weekend(client: RESTClient) -> None:
    bars = client.get_grouped_daily_aggs(DAY)
    assert [(b.ticker, b.close, b.timestamp) for b in bars] == [
        ("ABC", 100.0, ms("16:00")), ("HLT", 50.0, ms("16:00")), ("PENY", 0.5, ms("16:00")), ("XYZ", 300.0, ms("16:00")),
    ]  # fmt: skip
    assert client.get_grouped_daily_aggs("2024-03-09") == []


@pytest.mark.vendor("RESTClient.get_previous_close_agg")
@pytest.mark.vendor("RESTClient.get_daily_open_close_agg")
def test_the_session_before_and_a_named_day_are_told(client: RESTClient) -> None:
    [before] = client.get_previous_close_agg("ABC")
    assert (before.ticker, before.close, before.timestamp) == ("ABC", 94.0, ms("16:00") - 86_400_000)
    day = client.get_daily_open_close_agg("ABC", "2024-03-06")
    assert (day.symbol, day.from_, day.open, day.high, day.low, day.close) == ("ABC", "2024-03-06", 92, 94, 91, 93)
    with pytest.raises(BadResponse, match=r'"NOT_FOUND".*Data not found'):
        client.get_daily_open_close_agg("ABC", "2024-03-09")


@pytest.mark.vendor("RESTClient.list_splits")
@pytest.mark.vendor("RESTClient.list_dividends")
def test_splits_are_taken_out_of_prices_unless_the_question_says_no(
    split_market: MarketThread, client_of: ClientOf
) -> None:
    client = client_of(split_market)
    for adjusted, close, volume in ((True, 33.0, 30_000), (False, 99.0, 10_000)):
        bars = client.get_aggs("ABC", 1, "day", "2024-03-05", "2024-03-07", adjusted=adjusted)
        assert (bars[0].close, bars[0].volume) == (close, volume)
        assert [bar.close for bar in bars[1:]] == [33.0, 32.0]  # dividends are never taken out
        assert client.get_daily_open_close_agg("ABC", "2024-03-05", adjusted=adjusted).close == close
        [bar] = client.get_grouped_daily_aggs("2024-03-05", adjusted=adjusted)
        assert bar.close == close
    [split] = client.list_splits("ABC")  # the one of 2024-03-11 is not known yet
    assert (split.execution_date, split.split_from, split.split_to) == ("2024-03-06", 1, 3)
    assert list(client.list_splits(execution_date_gt="2024-03-06")) == []
    [dividend] = client.list_dividends(ticker="ABC")
    assert (dividend.ex_dividend_date, dividend.cash_amount, dividend.dividend_type) == ("2024-03-07", 0.99, "CD")


# --- ticks


@pytest.mark.vendor("RESTClient.list_trades")
def test_prints_have_the_vendors_fields_and_types(client: RESTClient) -> None:
    newest = next(client.list_trades("ABC"))
    assert (newest.price, newest.size, newest.exchange, newest.tape, newest.conditions) == (100.0, 200, 12, 3, [0])
    assert newest.sip_timestamp == newest.participant_timestamp == at("09:34:59") + SECOND // 2  # ns
    assert (newest.id, newest.sequence_number) == ("300", 300)
    assert len(list(client.list_trades("ABC", limit=70))) == 300


def test_an_odd_lot_has_its_condition(client: RESTClient, market: MarketThread) -> None:
    market.go_to(at("09:37"))
    [odd] = client.list_trades("XYZ", timestamp=at("09:36:03"))
    assert (odd.size, odd.conditions, odd.tape, odd.exchange) == (7, [37], 1, 10)


@pytest.mark.parametrize(
    ("bounds", "count"),
    [
        ({"timestamp_gte": at("09:34")}, 60),
        ({"timestamp_gt": at("09:34") + SECOND // 2}, 59),
        ({"timestamp_lt": at("09:30") + SECOND // 2}, 0),
        ({"timestamp_lte": at("09:30") + SECOND // 2}, 1),
        ({"timestamp": DAY}, 300),
        ({"timestamp_gt": DAY}, 0),
        ({"timestamp_lt": DAY}, 0),
    ],
)
def test_times_bound_what_comes(client: RESTClient, bounds: dict[str, Any], count: int) -> None:
    assert len(list(client.list_trades("ABC", **bounds))) == count


@pytest.mark.vendor("RESTClient.list_quotes")
def test_quotes_come_in_either_order_through_all_pages(client: RESTClient) -> None:
    oldest_first = list(client.list_quotes("ABC", order="asc", limit=99))
    assert [q.sip_timestamp for q in oldest_first] == [at("09:30") + n * SECOND for n in range(300)]
    first = oldest_first[0]
    assert (first.bid_price, first.ask_price, first.bid_size, first.ask_size) == (99.99, 100.01, 500, 500)
    assert (first.bid_exchange, first.ask_exchange, first.tape) == (12, 12, 3)
    assert [q.sequence_number for q in client.list_quotes("ABC", limit=99)] == list(range(300, 0, -1))


@pytest.mark.vendor("RESTClient.get_last_trade")
@pytest.mark.vendor("RESTClient.get_last_quote")
def test_the_newest_print_is_one_that_makes_the_price(client: RESTClient, market: MarketThread) -> None:
    market.go_to(at("09:36:04"))
    trade, quote = client.get_last_trade("XYZ"), client.get_last_quote("XYZ")
    assert (trade.ticker, trade.price, trade.sip_timestamp) == ("XYZ", 300.0, at("09:36") + SECOND // 2)
    assert (quote.ticker, quote.bid_price, quote.ask_price, quote.bid_size) == ("XYZ", 299.99, 300.01, 500)
    with pytest.raises(BadResponse, match="NOT_FOUND"):
        client.get_last_trade("NONE")


# --- snapshots


@pytest.mark.vendor("RESTClient.get_snapshot_ticker")
def test_a_snapshot_has_its_units_of_time_mixed_as_the_vendor_has(client: RESTClient, market: MarketThread) -> None:
    snapshot = client.get_snapshot_ticker("stocks", "ABC")
    assert (snapshot.ticker, snapshot.todays_change, snapshot.todays_change_percent) == ("ABC", 6.0, 6.382979)
    assert (snapshot.day.close, snapshot.prev_day.close, snapshot.min.accumulated_volume) == (100.0, 94.0, 60_000)
    assert snapshot.updated == snapshot.last_trade.sip_timestamp == at("09:34:59") + SECOND // 2  # ns
    assert snapshot.last_quote.sip_timestamp == at("09:34:59")
    assert snapshot.min.timestamp == ms("09:34")
    with pytest.raises(BadResponse, match="NOT_FOUND"):
        client.get_snapshot_ticker("stocks", "NONE")


def test_before_the_first_print_a_snapshot_is_zero(market_of: MarketOf, client_of: ClientOf) -> None:
    early = client_of(market_of(starts_at=at("09:29"))).get_snapshot_ticker("stocks", "ABC")
    assert (early.day.close, early.last_trade.price, early.todays_change, early.updated) == (0, 0, 0, 0)
    assert early.prev_day.close == 94.0


@pytest.mark.vendor("RESTClient.get_snapshot_all")
def test_snapshots_come_for_all_symbols_or_those_named(client: RESTClient) -> None:
    assert [s.ticker for s in client.get_snapshot_all("stocks")] == ["ABC", "HLT", "PENY", "XYZ"]
    assert [s.ticker for s in client.get_snapshot_all("stocks", ["XYZ", "NONE"])] == ["XYZ"]


@pytest.mark.vendor("RESTClient.get_snapshot_direction")
def test_gainers_are_those_above_the_close_before_and_losers_those_below(
    client: RESTClient, market: MarketThread
) -> None:
    assert [s.ticker for s in client.get_snapshot_direction("stocks", "gainers")] == ["ABC"]
    assert client.get_snapshot_direction("stocks", "losers") == []


@pytest.mark.vendor("RESTClient.list_universal_snapshots")
def test_the_newer_snapshot_says_which_ticker_there_is_not(client: RESTClient) -> None:
    found, missing = client.list_universal_snapshots(ticker_any_of=["NONE", "ABC"])
    assert (found.ticker, found.session.price, found.session.previous_close, found.last_quote.ask) == (
        "ABC", 100.0, 94.0, 100.01,
    )  # fmt: skip
    assert (missing.ticker, missing.error, missing.message) == ("NONE", "NOT_FOUND", "Ticker not found.")
    assert [s.ticker for s in client.list_universal_snapshots(limit=2)] == ["ABC", "HLT", "PENY", "XYZ"]


# --- reference


@pytest.mark.vendor("RESTClient.list_tickers")
@pytest.mark.vendor("RESTClient.get_ticker_details")
@pytest.mark.vendor("RESTClient.get_ticker_types")
def test_tickers_are_listed_paged_searched_and_detailed(client: RESTClient) -> None:
    assert [t.ticker for t in client.list_tickers(limit=3)] == ["ABC", "HLT", "PENY", "XYZ"]
    assert [t.ticker for t in client.list_tickers(order="desc", limit=3)] == ["XYZ", "PENY", "HLT", "ABC"]
    assert [t.ticker for t in client.list_tickers(search="last letters")] == ["XYZ"]
    assert [t.ticker for t in client.list_tickers(ticker_gte="HLT", ticker_lt="XYZ")] == ["HLT", "PENY"]
    assert [t.ticker for t in client.list_tickers(exchange="XASE")] == ["PENY"]
    assert list(client.list_tickers(market="crypto")) == list(client.list_tickers(active=False)) == []
    details = client.get_ticker_details("ABC")
    assert (details.name, details.primary_exchange, details.active) == ("Alphabet Soup", "XNAS", True)
    assert details.type in {kind.code for kind in client.get_ticker_types()}
    with pytest.raises(BadResponse, match="NOT_FOUND"):
        client.get_ticker_details("NONE")


@pytest.mark.vendor("RESTClient.get_market_status")
@pytest.mark.vendor("RESTClient.get_market_holidays")
def test_the_markets_status_goes_by_its_own_time(client: RESTClient, market_of: MarketOf, client_of: ClientOf) -> None:
    status = client.get_market_status()
    assert (status.market, status.exchanges.nyse, status.early_hours) == ("open", "open", False)
    assert status.server_time == "2024-03-08T09:35:00-05:00"
    early = client_of(market_of(starts_at=at("08:00"))).get_market_status()
    assert (early.market, early.early_hours, early.after_hours) == ("extended-hours", True, False)
    named = [(h.date, h.name, h.status) for h in client.get_market_holidays() if h.exchange == "NYSE"]
    # From the exchange's calendar of 2024 and 2025 as it was published then: without the funeral of 9 January.
    assert named == [
        ("2024-03-29", "Good Friday", "closed"), ("2024-05-27", "Memorial Day", "closed"),
        ("2024-06-19", "Juneteenth", "closed"), ("2024-07-03", "Independence Day", "early-close"),
        ("2024-07-04", "Independence Day", "closed"), ("2024-09-02", "Labor Day", "closed"),
        ("2024-11-28", "Thanksgiving", "closed"), ("2024-11-29", "Thanksgiving", "early-close"),
        ("2024-12-24", "Christmas", "early-close"), ("2024-12-25", "Christmas", "closed"),
        ("2025-01-01", "New Years Day", "closed"), ("2025-01-20", "Martin Luther King, Jr. Day", "closed"), ("2025-02-17", "Washington's Birthday", "closed"),
    ]  # fmt: skip
    half = next(h for h in client.get_market_holidays() if h.status == "early-close")
    assert (half.open, half.close) == ("2024-07-03T09:30:00-04:00", "2024-07-03T13:00:00-04:00")


@pytest.mark.vendor("RESTClient.get_exchanges")
@pytest.mark.vendor("RESTClient.list_conditions")
def test_every_number_of_a_print_is_in_the_lists(client: RESTClient) -> None:
    exchanges = {exchange.id for exchange in client.get_exchanges("stocks", "us")}
    conditions = {condition.id: condition for condition in client.list_conditions("stocks", "trade", limit=3)}
    for symbol in ("ABC", "HLT", "PENY", "XYZ"):
        for trade in client.list_trades(symbol):
            assert trade.exchange in exchanges
            assert set(trade.conditions) <= conditions.keys()
    rules = conditions[37].update_rules.consolidated
    assert (rules.updates_volume, rules.updates_high_low, rules.updates_open_close) == (True, False, False)


# --- who may ask, and what is not served


def test_the_key_comes_as_a_bearer_or_in_the_address(market: MarketThread, client_of: ClientOf) -> None:
    with urlopen(f"{market.url}/v1/marketstatus/now?apiKey={SECRET}", timeout=60) as answer:
        assert json.loads(answer.read())["market"] == "open"
    for key in ("wrong", KEY):
        with pytest.raises(BadResponse, match=r'"ERROR".*Unknown API Key'):
            client_of(market, key).get_last_trade("ABC")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/aggs/ticker/ABC/range/0/minute/2024-03-08/2024-03-08",
        "/v2/aggs/ticker/ABC/range/1/fortnight/2024-03-08/2024-03-08",
        "/v2/aggs/ticker/ABC/range/1/minute/2024-03-09/2024-03-08",
        "/v2/aggs/ticker/ABC/range/1/minute/yesterday/2024-03-08",
        "/v2/aggs/ticker/ABC/range/1/minute/2024-03-08/2024-03-08?limit=50001",
        "/v2/aggs/ticker/ABC/range/1/minute/2024-03-08/2024-03-08?sort=up",
        "/v2/aggs/ticker/ABC/range/1/minute/2024-03-08/2024-03-08?cursor=%FF",
        "/v2/aggs/grouped/locale/us/market/stocks/2024-13-01",
        "/v3/trades/ABC?timestamp=1e9",
        "/v3/trades/ABC?limit=0",
        "/v3/snapshot?type=crypto",
    ],
)
def test_a_question_that_cannot_be_answered_says_what_is_wrong_with_it(client: RESTClient, path: str) -> None:
    with pytest.raises(BadResponse, match=r'"status":"ERROR".*"error":"[^"]{12,}'):
        client._get(path)


def test_too_many_requests_are_refused_until_the_client_gives_up(market_of: MarketOf, client_of: ClientOf) -> None:
    client = client_of(market_of(options={"standing": True, "polygon_requests_per_minute": 2}), retries=1)
    for _ in range(2):
        client.get_market_status()
    with pytest.raises(MaxRetryError, match="429"):
        client.get_market_status()


def test_the_free_plan_has_neither_ticks_nor_snapshots(market_of: MarketOf, client_of: ClientOf) -> None:
    client = client_of(market_of(options={"standing": True, "polygon_plan": "free"}))
    assert client.get_aggs("ABC", 1, "day", DAY, DAY)
    with pytest.raises(BadResponse, match=r'"NOT_AUTHORIZED".*not entitled'):
        client.get_snapshot_all("stocks")
    with pytest.raises(BadResponse, match=r'"NOT_AUTHORIZED".*not entitled'):
        client.get_last_trade("ABC")


@pytest.mark.vendor(
    "RESTClient.get_ema",
    "RESTClient.get_etf_global_analytics",
    "RESTClient.get_etf_global_constituents",
    "RESTClient.get_etf_global_fund_flows",
    "RESTClient.get_etf_global_profiles",
    "RESTClient.get_etf_global_taxonomies",
    "RESTClient.get_futures_contract_details",
    "RESTClient.get_futures_product_details",
    "RESTClient.get_futures_snapshot",
    "RESTClient.get_last_crypto_trade",
    "RESTClient.get_last_forex_quote",
    "RESTClient.get_macd",
    "RESTClient.get_options_contract",
    "RESTClient.get_real_time_currency_conversion",
    "RESTClient.get_related_companies",
    "RESTClient.get_rsi",
    "RESTClient.get_sma",
    "RESTClient.get_snapshot_crypto_book",
    "RESTClient.get_snapshot_indices",
    "RESTClient.get_snapshot_option",
    "RESTClient.get_summaries",
    "RESTClient.get_ticker_events",
    "RESTClient.list_benzinga_analyst_insights",
    "RESTClient.list_benzinga_analysts",
    "RESTClient.list_benzinga_consensus_ratings",
    "RESTClient.list_benzinga_earnings",
    "RESTClient.list_benzinga_firms",
    "RESTClient.list_benzinga_guidance",
    "RESTClient.list_benzinga_news",
    "RESTClient.list_benzinga_news_v2",
    "RESTClient.list_benzinga_ratings",
    "RESTClient.list_financials_balance_sheets",
    "RESTClient.list_financials_cash_flow_statements",
    "RESTClient.list_financials_income_statements",
    "RESTClient.list_financials_ratios",
    "RESTClient.list_futures_aggregates",
    "RESTClient.list_futures_contracts",
    "RESTClient.list_futures_market_statuses",
    "RESTClient.list_futures_products",
    "RESTClient.list_futures_quotes",
    "RESTClient.list_futures_schedules",
    "RESTClient.list_futures_schedules_by_product_code",
    "RESTClient.list_futures_trades",
    "RESTClient.list_inflation",
    "RESTClient.list_options_contracts",
    "RESTClient.list_short_interest",
    "RESTClient.list_short_volume",
    "RESTClient.list_snapshot_options_chain",
    "RESTClient.list_ticker_news",
    "RESTClient.list_tmx_corporate_events",
    "RESTClient.list_treasury_yields",
    refused=404,
)
def test_what_is_not_served_says_so(client: RESTClient, request: pytest.FixtureRequest) -> None:
    names = [name for mark in request.node.iter_markers("vendor") for name in mark.args]
    for ask in (getattr(client, name.removeprefix("RESTClient.")) for name in names):
        needed = [p for p in inspect.signature(ask).parameters.values() if p.default is p.empty]
        with pytest.raises(BadResponse, match=r'"NOT_FOUND".*the simulated market does not serve GET /'):
            list(ask(*["ABC"] * len(needed)))


# --- the client under the vendor's new name


def test_the_successor_of_the_client_gets_the_same_answers(market: MarketThread, client: RESTClient) -> None:
    massive = pytest.importorskip("massive", reason="massive, which follows polygon-api-client, is not installed")
    newer = massive.RESTClient(SECRET, base=market.url)
    assert [bar.close for bar in newer.get_aggs("ABC", 1, "minute", DAY, DAY)] == [100.0] * 5
    assert len(list(newer.list_trades("ABC", limit=70))) == 300
    theirs, ours = newer.get_snapshot_ticker("stocks", "ABC"), client.get_snapshot_ticker("stocks", "ABC")
    assert (theirs.day.close, theirs.updated) == (ours.day.close, ours.updated)
    newer.client.clear()


# --- docs/polygon.md


def test_the_page_for_users_points_the_clients_at_the_market(market: MarketThread) -> None:
    [block] = [one for one in blocks(HOUSE / "docs" / "polygon.md") if one.language == "python"]
    text = block.text.replace("127.0.0.1:PORT", market.url.removeprefix("http://"))
    names: dict[str, Any] = {"RESTClient": RESTClient, "WebSocketClient": WebSocketClient, "KEY": SECRET}
    lines = text.splitlines()
    exec(lines[0], names)
    rest, stream = (eval(line, names) for line in lines[1:])
    assert rest.get_last_trade("ABC").price == 100
    assert stream.url == f"{market.ws}/stocks"
    rest.client.clear()
