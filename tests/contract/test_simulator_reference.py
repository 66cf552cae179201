"""What a client may ask besides prices of the day and orders, through the unmodified alpaca-py clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, CorporateActionsType, MostActivesBy
from alpaca.data.historical import NewsClient, ScreenerClient, StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.live import StockDataStream
from alpaca.data.requests import (
    CorporateActionsRequest,
    MarketMoversRequest,
    MostActivesRequest,
    NewsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import (
    CreateWatchlistRequest,
    GetCorporateAnnouncementsRequest,
    GetOptionContractsRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    UpdateWatchlistRequest,
)
from alpaca.trading.stream import TradingStream

from liualgotrader.common.borrow import read_borrow
from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import MINUTE, SECOND, as_utc, instant
from liualgotrader.simulator.market_server import keep
from liualgotrader.tapes.files_tape import FilesTape
from liualgotrader.tapes.tape_factory import tape_from
from tests.fakes.real_data import real_data
from tests.fakes.simulated_market import KEY, SECRET, MarketThread, spec_of
from tests.fakes.tapes import at
from tools.doc_blocks import HOUSE, blocks

HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
LONG_AGO = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def trading(market: MarketThread) -> TradingClient:
    client = TradingClient(KEY, SECRET, paper=True, url_override=market.url)
    client._retry = 0
    return client


def refused(ask: Callable[[], Any]) -> tuple[int, int, str]:
    with pytest.raises(APIError) as caught:
        ask()
    return int(caught.value.status_code or 0), caught.value.code, caught.value.message


def raw(market: MarketThread, path: str, **query: Any) -> tuple[int, Any]:
    response = requests.get(f"{market.url}{path}", params=query, headers=HEADERS, timeout=60)
    return response.status_code, response.json()


# --- watchlists


@pytest.mark.vendor(
    "TradingClient.create_watchlist",
    "TradingClient.get_watchlists",
    "TradingClient.get_watchlist_by_id",
    "TradingClient.update_watchlist_by_id",
    "TradingClient.add_asset_to_watchlist_by_id",
    "TradingClient.remove_asset_from_watchlist_by_id",
    "TradingClient.delete_watchlist_by_id",
)
def test_a_watchlist_is_made_changed_and_deleted(trading: TradingClient) -> None:
    made = trading.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["XYZ"]))
    assert [a.symbol for a in made.assets] == ["XYZ"]
    assert made.account_id == trading.get_account().id
    assert [one.name for one in trading.get_watchlists()] == ["mine"]
    added = trading.add_asset_to_watchlist_by_id(made.id, "ABC")
    assert [a.symbol for a in added.assets] == ["XYZ", "ABC"]
    left = trading.remove_asset_from_watchlist_by_id(made.id, "XYZ")
    assert [a.symbol for a in left.assets] == ["ABC"]
    changed = trading.update_watchlist_by_id(made.id, UpdateWatchlistRequest(name="yours"))
    assert (changed.name, [a.symbol for a in changed.assets]) == ("yours", ["ABC"])
    assert trading.get_watchlist_by_id(made.id).name == "yours"
    assert trading.get("/watchlists:by_name", {"name": "yours"})["id"] == str(made.id)
    trading.delete_watchlist_by_id(made.id)
    assert trading.get_watchlists() == []
    assert refused(lambda: trading.get_watchlist_by_id(made.id))[:2] == (404, 40410000)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "taken"}, 40010001),
        ({"name": ""}, 40010001),
        ({"name": "x" * 65}, 40010001),
        ({"name": 7}, 40010001),
        ({"name": "new", "symbols": "ABC"}, 40010001),
        ({"name": "new", "symbols": ["NOPE"]}, 42210000),
    ],
)
def test_a_watchlist_that_cannot_be_is_refused(trading: TradingClient, body: Any, code: int) -> None:
    trading.create_watchlist(CreateWatchlistRequest(name="taken", symbols=["ABC"]))
    assert refused(lambda: trading.post("/watchlists", body))[:2] == (422, code)
    assert len(trading.get_watchlists()) == 1


# --- splits and dividends


@pytest.mark.parametrize(
    ("adjustment", "closes", "volumes"),
    [
        (None, [99.0, 33.0, 32.0], [10_000, 30_000, 30_000]),
        (Adjustment.RAW, [99.0, 33.0, 32.0], [10_000, 30_000, 30_000]),
        (Adjustment.SPLIT, [33.0, 33.0, 32.0], [30_000, 30_000, 30_000]),
        (Adjustment.DIVIDEND, [96.03, 32.01, 32.0], [10_000, 30_000, 30_000]),  # 3 % of what is older
        (Adjustment.ALL, [32.01, 32.01, 32.0], [30_000, 30_000, 30_000]),
    ],
)
def test_history_is_at_the_prices_that_the_adjustment_asks_for(
    split_market: MarketThread, adjustment: Adjustment | None, closes: list[float], volumes: list[int]
) -> None:
    client = StockHistoricalDataClient(KEY, SECRET, url_override=split_market.url)
    request = StockBarsRequest(
        symbol_or_symbols="ABC", timeframe=TimeFrame(1, TimeFrameUnit.Day), start=LONG_AGO, adjustment=adjustment,
        end=as_utc(at("00:00") - 1),
    )  # fmt: skip
    found = client.get_stock_bars(request).data["ABC"]
    assert [bar.close for bar in found] == closes
    assert [bar.volume for bar in found] == volumes
    request.timeframe = TimeFrame(1, TimeFrameUnit.Minute)
    assert client.get_stock_bars(request).data["ABC"][0].close == closes[0]


@pytest.mark.realdata
def test_apples_close_before_its_split_is_645_57_as_traded_and_92_22_on_every_chart_since() -> None:
    split_day, friday = date(2014, 6, 9), date(2014, 6, 6)
    tape = tape_from("recorded", day=split_day, folder=real_data("lean"), symbols=["AAPL"])
    opens_at = new_york(split_day, time(9, 30))
    spec = spec_of(day=split_day.isoformat(), starts_at=opens_at, ends_at=opens_at + MINUTE, kind="recorded")
    market = MarketThread(spec, tape)
    try:
        client = StockHistoricalDataClient(KEY, SECRET, url_override=market.url)
        closes = {}
        for adjustment in (Adjustment.RAW, Adjustment.SPLIT):
            request = StockBarsRequest(
                symbol_or_symbols="AAPL", timeframe=TimeFrame(1, TimeFrameUnit.Day), adjustment=adjustment,
                start=datetime(2014, 6, 6, tzinfo=UTC), end=datetime(2014, 6, 7, tzinfo=UTC),
            )  # fmt: skip
            [bar] = client.get_stock_bars(request).data["AAPL"]
            assert bar.timestamp.date() == friday
            closes[adjustment] = bar.close
        assert closes == {Adjustment.RAW: 645.57, Adjustment.SPLIT: pytest.approx(92.22, abs=0.01)}
        actions = CorporateActionsClient(KEY, SECRET, url_override=market.url)
        [split] = actions.get_corporate_actions(CorporateActionsRequest(symbols=["AAPL"])).data["forward_splits"]
        assert (split.new_rate, split.old_rate, split.ex_date) == (7, 1, split_day)
    finally:
        market.close()


@pytest.mark.vendor("CorporateActionsClient.get_corporate_actions")
def test_corporate_actions_are_those_that_the_tape_knows_by_its_day(split_market: MarketThread) -> None:
    client = CorporateActionsClient(KEY, SECRET, url_override=split_market.url)
    span = {"start": date(2024, 1, 1), "end": date(2024, 12, 31)}
    found = client.get_corporate_actions(CorporateActionsRequest(symbols=["ABC"], **span)).data
    [split], [dividend] = found["forward_splits"], found["cash_dividends"]
    assert set(found) == {"forward_splits", "cash_dividends"}  # the reverse split of 2024-03-11 is not known yet
    assert (split.symbol, split.new_rate, split.old_rate, split.ex_date) == ("ABC", 3, 1, date(2024, 3, 6))
    assert (dividend.rate, dividend.ex_date, dividend.special) == (0.99, date(2024, 3, 7), False)
    only = client.get_corporate_actions(
        CorporateActionsRequest(types=[CorporateActionsType.CASH_DIVIDEND], **span)
    ).data
    assert set(only) == {"cash_dividends"}
    assert client.get_corporate_actions(CorporateActionsRequest(symbols=["ABC"])).data == {}  # none of today
    assert client.get_corporate_actions(CorporateActionsRequest(symbols=["XYZ"], **span)).data == {}


def test_corporate_actions_come_in_pages_and_by_id(split_market: MarketThread) -> None:
    span = {"start": "2024-01-01", "end": "2024-12-31", "limit": 1, "sort": "desc"}
    _, first = raw(split_market, "/v1/corporate-actions", **span)
    assert list(first["corporate_actions"]) == ["cash_dividends"]
    _, second = raw(split_market, "/v1/corporate-actions", page_token=first["next_page_token"], **span)
    [split] = second["corporate_actions"]["forward_splits"]
    assert second["next_page_token"] is None
    _, named = raw(split_market, "/v1/corporate-actions", ids=split["id"])
    assert named["corporate_actions"] == {"forward_splits": [split]}
    assert raw(split_market, "/v1/corporate-actions", types="gift")[0] == 400


@pytest.mark.vendor("TradingClient.get_corporate_announcements", "TradingClient.get_corporate_announcement_by_id")
def test_announcements_are_the_same_by_the_older_way(split_market: MarketThread) -> None:
    client = TradingClient(KEY, SECRET, url_override=split_market.url)
    request = GetCorporateAnnouncementsRequest(
        ca_types=["split", "dividend"], since=date(2024, 2, 1), until=date(2024, 3, 31), symbol="ABC"
    )
    with pytest.warns(DeprecationWarning, match="deprecated"):
        split, dividend = client.get_corporate_announcements(request)
    assert (split.ca_type.value, split.ca_sub_type.value, split.new_rate) == ("split", "stock_split", 3)
    assert (dividend.ca_type.value, dividend.cash, dividend.ex_date) == ("dividend", 0.99, date(2024, 3, 7))
    assert client.get_corporate_announcement_by_id(split.id) == split
    nobody = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
    assert refused(lambda: client.get_corporate_announcement_by_id(nobody))[:2] == (404, 40410000)
    assert refused(lambda: client.get("/corporate_actions/announcements"))[:2] == (422, 40010001)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("bars", {"timeframe": "1Day", "adjustment": "guess"}),
        ("bars", {"timeframe": "1Day", "asof": "2023-01-03"}),
        ("bars", {"timeframe": "1Day", "feed": "delayed_sip"}),
        ("trades", {"feed": "otc"}),
        ("quotes/latest", {"feed": "boats"}),
        ("snapshots", {"currency": "EUR"}),
    ],
)
def test_what_this_market_has_no_answer_to_is_refused_in_a_sentence(
    market: MarketThread, path: str, query: dict[str, str]
) -> None:
    status, body = raw(market, f"/v2/stocks/{path}", symbols="ABC", **query)
    assert (status, body["code"]) == (400, 40010000)
    assert body["message"].startswith(f"invalid {list(query)[-1]}: ")


@pytest.mark.parametrize("asof", ["2024-03-08", "-", ""])
def test_the_names_of_the_day_are_what_asof_may_ask_for(market: MarketThread, asof: str) -> None:
    status, body = raw(market, "/v2/stocks/bars", symbols="ABC", timeframe="1Day", start="2024-03-01", asof=asof)
    assert (status, len(body["bars"]["ABC"])) == (200, 6)


def test_the_delayed_feed_is_a_quarter_of_an_hour_behind(market: MarketThread) -> None:
    market.go_to(at("10:00"))
    client = StockHistoricalDataClient(KEY, SECRET, url_override=market.url)
    late: dict[str, Any] = {"symbol_or_symbols": "ABC", "feed": "delayed_sip"}
    trade = client.get_stock_latest_trade(StockLatestTradeRequest(**late))["ABC"]
    assert (instant(trade.timestamp), trade.price) == (at("09:45") - SECOND // 2, 97.0)
    quote = client.get_stock_latest_quote(StockLatestQuoteRequest(**late))["ABC"]
    assert instant(quote.timestamp) == at("09:45")
    bar = client.get_stock_latest_bar(StockLatestBarRequest(**late))["ABC"]
    assert instant(bar.timestamp) == at("09:45") - MINUTE
    market.go_to(at("10:10"))
    assert client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="ABC"))["ABC"].price == 100.0


# --- the day's movers, news, options


@pytest.mark.vendor("ScreenerClient.get_most_actives")
def test_the_most_active_symbols_are_those_of_the_day_so_far(market: MarketThread) -> None:
    client = ScreenerClient(KEY, SECRET, url_override=market.url)
    found = client.get_most_actives(MostActivesRequest(top=2, by=MostActivesBy.VOLUME))
    assert [(one.symbol, one.volume, one.trade_count) for one in found.most_actives] == [
        ("ABC", 300 * 200, 300),
        ("HLT", 30 * 200, 30),
    ]
    by_trades = client.get_most_actives(MostActivesRequest(top=100, by=MostActivesBy.TRADES))
    assert [one.symbol for one in by_trades.most_actives] == ["ABC", "HLT", "PENY", "XYZ"]
    assert refused(lambda: client.get_most_actives(MostActivesRequest(top=101, by=MostActivesBy.TRADES)))[:2] == (
        422,
        40010001,
    )


@pytest.mark.vendor("ScreenerClient.get_market_movers")
def test_movers_are_measured_from_the_close_before(market: MarketThread) -> None:
    client = ScreenerClient(KEY, SECRET, url_override=market.url)
    found = client.get_market_movers(MarketMoversRequest(top=5))
    [abc] = found.gainers  # no close of the others is known
    assert (abc.symbol, abc.price, abc.change, abc.percent_change) == ("ABC", 100.0, 6.0, 6.38)  # 94 before
    assert (found.losers, found.market_type.value) == ([], "stocks")
    status, body = raw(market, "/v1beta1/screener/crypto/movers")
    assert (status, body["code"]) == (501, 50110000)


@pytest.mark.vendor("NewsClient.get_news")
def test_there_is_no_news(market: MarketThread) -> None:
    found = NewsClient(KEY, SECRET, url_override=market.url).get_news(NewsRequest(symbols="ABC"))
    assert found.data == {"news": []}


@pytest.mark.vendor(
    "TradingClient.get_option_contracts",
    "TradingClient.get_option_contract",
    "TradingClient.exercise_options_position",
    refused=501,
)
def test_options_are_refused_in_a_sentence(trading: TradingClient) -> None:
    for ask in (
        lambda: trading.get_option_contracts(GetOptionContractsRequest(underlying_symbols=["ABC"])),
        lambda: trading.get_option_contract("ABC240621C00100000"),
        lambda: trading.exercise_options_position("ABC240621C00100000"),
    ):
        assert refused(ask) == (501, 50110000, "options are not traded on this simulated market, stocks are")


# --- addresses


def test_a_question_for_thousands_of_symbols_is_answered(market: MarketThread) -> None:
    names = ",".join(["ABC", *(f"S{n:04d}" for n in range(4000))])
    status, body = raw(market, "/v2/stocks/trades/latest", symbols=names)
    assert len(names) > 20_000
    assert (status, list(body["trades"])) == (200, ["ABC"])


def test_an_address_that_is_too_long_is_refused_in_json(market: MarketThread) -> None:
    client = StockHistoricalDataClient(KEY, SECRET, url_override=market.url)
    many = StockLatestTradeRequest(symbol_or_symbols=[f"S{n:05d}" for n in range(9000)])
    assert refused(lambda: client.get_stock_latest_trade(many))[:2] == (414, 41410000)


# --- nights: of ABC a dividend of 0.40 dollars on 2024-03-11


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Callable[[date], MarketThread]]:
    """Return a function that serves a day on the account of the day before, from files; a borrow list is part of it."""
    tables = {
        "trades": [
            "symbol,at,price,size",
            *(f"{s},2024-03-{d:02d}T09:{m}:00-0{h}:00,{p},900" for d, h in ((8, 5), (11, 4)) for m in (34, 36)
              for s, p in (("ABC", 20), ("XYZ", 50))),
        ],
        "dividends": ["symbol,day,amount", "ABC,2024-03-11,0.4"],
    }  # fmt: skip
    for name, lines in tables.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "borrow.list").write_text("symbol,day,status,percent\nXYZ,2024-01-02,hard,72\nABC,2024-03-11,none,\n")
    served: list[MarketThread] = []

    def serve(day: date) -> MarketThread:
        if served:
            running = served[-1].running
            served[-1].read(lambda r: keep(r.world.exchange, r.world.spec))
            assert running.world.spec.state
        opens_at = new_york(day, time(9, 30))
        spec = spec_of(
            day=day.isoformat(), starts_at=opens_at + 5 * MINUTE, ends_at=opens_at + 20 * MINUTE, state=str(tmp_path / "state"),
            borrow=read_borrow(tmp_path / "borrow.list"),
        )  # fmt: skip
        served.append(MarketThread(spec, FilesTape(tmp_path, day)))
        return served[-1]

    yield serve
    for market in served:
        market.close()


def test_positions_that_are_kept_over_nights_are_paid_dividends_and_pay_for_what_they_borrowed(
    days: Callable[[date], MarketThread],
) -> None:
    friday = days(date(2024, 3, 8))
    client = TradingClient(KEY, SECRET, url_override=friday.url)
    assert (client.get_asset("XYZ").shortable, client.get_asset("XYZ").easy_to_borrow) == (True, False)
    client.submit_order(MarketOrderRequest(symbol="ABC", qty=50, side="buy", time_in_force="day"))
    client.submit_order(MarketOrderRequest(symbol="XYZ", qty=30, side="sell", time_in_force="day"))
    short = {"symbol": "XYZ", "qty": 1, "side": "sell", "time_in_force": "gtc", "limit_price": 60}
    assert refused(lambda: client.submit_order(LimitOrderRequest(**short)))[:2] == (422, 42210000)
    friday.go_to(friday.now + 2 * MINUTE)
    before = Decimal(client.get_account().cash)
    monday = days(date(2024, 3, 11))
    client = TradingClient(KEY, SECRET, url_override=monday.url)
    moved = client.get("/account/activities", {"category": "non_trade_activity", "direction": "asc"})
    assert [(a["activity_type"], a["symbol"], a["net_amount"]) for a in moved] == [
        ("FEE", "XYZ", "-30.00"),  # 72 % a year of one lot at 50 dollars, for three nights of 360
        ("DIV", "ABC", "20.00"),
    ]
    assert Decimal(client.get_account().cash) == before - 30 + 20
    assert client.get_asset("ABC").shortable is False


# --- docs/simulated_market.md


def test_the_page_for_users_points_the_clients_at_the_market(market: MarketThread) -> None:
    block = next(one for one in blocks(HOUSE / "docs" / "simulated_market.md") if one.language == "python")
    text = block.text.replace("http://127.0.0.1:PORT", market.url).replace("ws://127.0.0.1:PORT", market.ws)
    names: dict[str, Any] = {**globals(), "StockDataStream": StockDataStream, "TradingStream": TradingStream}
    lines = text.splitlines()
    exec(lines[0], names)
    trading, history, *streams = (eval(line, names) for line in lines[1:])
    assert trading.get_clock().is_open
    assert history.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="ABC"))["ABC"].price == 100
    assert [stream._endpoint for stream in streams] == [f"{market.ws}/v2/sip", f"{market.ws}/stream"]
