"""Small helpers of the original at their addresses, with the values that its documentation gives."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from liualgotrader.common import config, data_loader
from liualgotrader.common.assets import get_asset_min_qty, get_asset_precision, round_asset
from liualgotrader.common.clock import MINUTE, instant
from liualgotrader.common.concurrency import calc_num_consumer_processes
from liualgotrader.common.decorators import timeit, trace
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar
from liualgotrader.common.exceptions import LiuException, MarketClosedToday
from liualgotrader.common.hyperparameter import Hyperparameters, Parameter
from liualgotrader.common.list_utils import chunks
from liualgotrader.common.market_data import get_trading_day, get_trading_holidays, sp500_historical_constituents
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.common.tlog import tlog, tlog_exception
from liualgotrader.common.types import BrokerType, DataConnectorType, Order, QueueMapper, ThreadFlags, TimeScale
from liualgotrader.consumer import should_cancel_order
from liualgotrader.data.alpaca import AlpacaData
from liualgotrader.data.constituents import import_constituents
from liualgotrader.data.data_base import COLUMNS, DataAPI
from liualgotrader.data.data_factory import data_loader_factory
from liualgotrader.data.polygon import PolygonData
from liualgotrader.miners.gainloss import Gainloss
from liualgotrader.models.ticker_snapshot import TickerSnapshot
from liualgotrader.trading.alpaca import AlpacaTrader
from liualgotrader.trading.trader_factory import get_trader_by_name, trader_factory


@pytest.mark.parity(81)
def test_crypto_assets_have_their_least_quantity_and_digits() -> None:
    assert (get_asset_min_qty("BTC/USD"), get_asset_precision("btcusd")) == (0.00001, 8)
    assert (get_asset_min_qty("ethusd"), get_asset_precision("ETH/USD")) == (0.001, 6)
    assert round_asset("ethusd", 1.23456789) == 1.234568
    with pytest.raises(ValueError, match="DOGE"):
        round_asset("DOGE", 1.0)


def test_a_list_comes_in_parts() -> None:
    assert list(chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(chunks([], 2)) == []
    with pytest.raises(ValueError, match="n is 0"):
        list(chunks([1], 0))


@pytest.mark.parity(79)
def test_a_timed_function_is_awaited_whether_it_is_async_or_not(caplog: pytest.LogCaptureFixture) -> None:
    @timeit
    def twice(x: int) -> int:
        return 2 * x

    @timeit
    async def thrice(x: int) -> int:
        return 3 * x

    async def both() -> tuple[int, int]:
        return await twice(2), await thrice(x=3)

    with caplog.at_level(logging.INFO):
        assert asyncio.run(both()) == (4, 9)
    said = [record.getMessage().rpartition(":")[2] for record in caplog.records]
    assert [words.split()[:2] for words in said] == [
        ["twice", "started"],
        ["twice", "took"],
        ["thrice", "started"],
        ["thrice", "took"],
    ]


@pytest.mark.parity(78)
@pytest.mark.parametrize(("asked", "spans"), [(True, ["outer>inner", "outer>inner", "outer"]), (False, [])])
async def test_traced_functions_log_which_of_them_each_stood_below(
    asked: bool, spans: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def inner(x: int) -> int:
        return 2 * x

    async def outer(carrier: Any = None) -> int:
        first, second = await asyncio.gather(trace(carrier)(inner)(1), trace(carrier)(inner)(x=2))
        return int(first + second)

    with caplog.at_level(logging.INFO), config.session_view(trace_enabled=asked):
        assert await trace({})(outer)() == 6
    found = [re.fullmatch(r"span path=(\S+) took_us=\d+", record.getMessage()) for record in caplog.records]
    assert [match and match[1] for match in found] == spans


@pytest.mark.parametrize("count", [5, 8, 500])
def test_consumers_are_as_many_as_are_set(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_CONSUMERS", str(count))
    assert calc_num_consumer_processes() == count


def test_the_errors_are_one_family() -> None:
    assert issubclass(MarketClosedToday, LiuException)


def test_trading_days_are_counted_backwards_over_holidays() -> None:
    holidays = asyncio.run(get_trading_holidays())
    assert {date(2021, 9, 6), date(2021, 12, 24), date(2022, 1, 17)} <= set(holidays)
    assert date(2021, 12, 25) not in holidays  # a Saturday
    assert asyncio.run(get_trading_day(date(2021, 9, 7), 1)) == pd.Timestamp(2021, 9, 3)
    assert asyncio.run(get_trading_day(date(2022, 1, 7), 5)) == pd.Timestamp(2021, 12, 31)


@pytest.mark.parity(56)
def test_parameters_go_from_their_least_value_to_their_largest() -> None:
    combinations = list(Hyperparameters([Parameter("a", int, 5, 7), Parameter("b", "int", 8, 10)]))
    assert (len(combinations), combinations[0], combinations[1], combinations[-1]) == (
        9,
        (("a", 5), ("b", 8)),
        (("a", 5), ("b", 9)),
        (("a", 7), ("b", 10)),
    )
    steps = Parameter("x", float, 0.01, 0.05, delta=0.01)
    assert [value for _, value in steps] == [0.01, 0.02, 0.03, 0.04, 0.05]
    assert [value for _, value in steps] == [0.01, 0.02, 0.03, 0.04, 0.05]  # again from the beginning
    assert [value for _, value in Parameter("below", int, -1, 1)] == [-1, 0, 1]
    assert list(Parameter("none", int, 2, 1)) == []
    single = Parameter("one", int, 5, 5)
    assert (next(single), single.value) == (("one", 5), 5)
    with pytest.raises(StopIteration):
        next(single)


def test_a_parameter_that_cannot_be_gone_through_says_what_it_lacks() -> None:
    for wrong, sentence in [
        (Parameter("x", float, 0.01, 0.05), "x needs `delta`"),
        (Parameter("x", int, 1), "x needs `min` and `max`"),
    ]:
        with pytest.raises(AttributeError, match=sentence):
            next(wrong)
    with pytest.raises(NotImplementedError, match="no values to go through"):
        next(Parameter("p", "portfolio", size=1))
    with pytest.raises(NotImplementedError, match="iterate it"):
        Parameter("x", int, 1, 2)()


class Newest(DataAPI):
    """A vendor that knows one minute bar, of Friday 2022-01-07 15:59 New York."""

    def snapshots_now(self, symbols: Sequence[str]) -> dict[str, SymbolSnapshot]:
        opened_at = instant(datetime.fromisoformat("2022-01-07T15:59:00-05:00"))
        bar = Bar("AAPL", opened_at, opened_at + MINUTE, 1, 1, 1, 1, 1, 1, 1)
        return {symbol: SymbolSnapshot(symbol, minute_bar=bar) for symbol in symbols if symbol != "NONE"}

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> dict[str, list[Bar]]:
        bar = self.snapshots_now(["AAPL"])["AAPL"].minute_bar
        assert bar is not None
        return {symbol: [bar] for symbol in symbols if start <= bar.opened_at < end and minutes == 1}

    def assets_now(self) -> dict[str, Asset]:
        return {"NONE": Asset("NONE", "", "NYSE"), "AAPL": Asset("AAPL", "Apple", "NASDAQ")}


@pytest.mark.parametrize(
    ("symbol", "start", "end", "days"),
    [
        ("AAPL", "2022-01-06", "2022-01-07", 2),
        ("aapl", "2022-01-01", "2022-01-07", 5),
        ("AAPL", "2021-12-28", "2022-01-07", 9),
        ("AAPL", date(2021, 7, 1), date(2021, 7, 7), 4),
        ("BTC/USD", "2021-07-01", "2021-07-07", 7),
        ("btcusd", "2021-07-07", "2021-07-01", 0),
        ("AAPL", "2022-08-06", "2022-01-07", 0),
    ],
)
def test_trading_days_of_shares_and_of_crypto_are_counted(symbol: str, start: Any, end: Any, days: int) -> None:
    data = Newest()
    assert data.num_trading_days(symbol, start, end) == days
    assert data.num_trading_minutes(symbol, start, end) == days * (1440 if "T" in symbol.upper() else 960)


def test_a_long_time_is_loaded_in_parts() -> None:
    data = Newest()
    for start, edges in (("2021-11-10", 5), ("2022-01-01", 2)):
        found = data.data_concurrency_ranges("AAPL", start, "2022-01-07", TimeScale.minute)
        assert (len(found), found[0]) == (edges, pd.Timestamp(start))
    assert len(data.data_concurrency_ranges("AAPL", "2018-01-01", "2022-01-01", TimeScale.day)) == 2


def test_days_are_counted_from_a_symbol_s_last_trade() -> None:
    data = Newest()
    last = data.get_last_trading("aapl")
    assert last.isoformat() == "2022-01-07T15:59:00-05:00"
    assert data.get_trading_day("AAPL", last, -5) == date(2021, 12, 31)  # the exchange was shut on no weekday between
    assert data.get_trading_day("BTC/USD", last, -5) == date(2022, 1, 2)
    assert data.trading_days_slice("AAPL", slice(-5, "2022-01-07")) == slice(date(2021, 12, 31), "2022-01-07")
    with pytest.raises(ValueError, match="no trade of NONE"):
        data.get_last_trading("NONE")


def test_a_trader_of_no_session_knows_the_calendar() -> None:
    days = trader_factory().get_trading_days(date(2021, 9, 3), date(2021, 9, 8))
    assert [day.date() for day in days.index] == [date(2021, 9, 3), date(2021, 9, 7), date(2021, 9, 8)]  # Labor Day
    assert days["open"].iloc[0].isoformat() == "2021-09-03T09:30:00-04:00"
    assert repr(get_trader_by_name("ALPACA")) == "AlpacaTrader"
    with pytest.raises(ConfigError, match="GEMINI is not built yet"):
        get_trader_by_name("GEMINI")


def test_settings_are_the_module_s_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSN", "postgresql://a:b@c/d")
    monkeypatch.delenv("DATA_CONNECTOR", raising=False)
    assert (config.data_connector, config.broker) == (DataConnectorType.alpaca, BrokerType.alpaca)
    assert config.dsn == "postgresql://a:b@c/d"
    assert isinstance(data_loader_factory(DataConnectorType.alpaca), DataAPI)
    with pytest.raises(ConfigError, match="tradier is not built yet"):
        data_loader_factory(DataConnectorType.tradier)


def test_alpaca_s_history_takes_keys_and_addresses_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"APCA_API_KEY_ID": "k", "APCA_API_SECRET_KEY": "s", "ALPACA_DATA_FEED": "iex"}.items():
        monkeypatch.setenv(name, value)
    data = AlpacaData()
    assert isinstance(data, type(data_loader_factory("alpaca")))
    assert data.num_trading_days("AAPL", "2022-01-06", "2022-01-07") == 2
    assert (data._keys, data._feed) == (("k", "s"), "iex")
    monkeypatch.setenv("POLYGON_API_KEY", "p")
    assert (PolygonData()._address, PolygonData()._key) == ("https://api.polygon.io", "p")


def test_the_originals_trader_knows_the_session_that_goes_on_or_comes_next() -> None:
    trader = AlpacaTrader(QueueMapper())
    assert AlpacaTrader.get_instance() is trader
    assert repr(trader) == "AlpacaTrader"
    opened, closed = trader.get_market_schedule()
    assert f"{opened:%H:%M}" == "09:30" and opened < closed


def test_what_was_inside_the_loader_says_what_to_use() -> None:
    assert data_loader.nyc.key == "America/New_York"
    with pytest.raises(ConfigError, match="index one instead"):
        from liualgotrader.common.data_loader import getitem_slice  # noqa: F401
    with pytest.raises(ConfigError, match="renames"):
        from liualgotrader.common.data_loader import m_and_a_data  # noqa: F401
    assert not hasattr(data_loader, "anything_else")


@pytest.mark.parametrize(("seconds", "old"), [(59.9, False), (60.0, True), (-5.0, False)])
async def test_an_order_is_old_after_a_minute(seconds: float, old: bool) -> None:
    at = datetime.fromisoformat("2024-03-08T10:00:00-05:00")
    order = Order("id", "AAPL", Order.EventType.open, at)
    now = datetime.fromisoformat("2024-03-08T15:00:00+00:00") + timedelta(seconds=seconds)
    assert await should_cancel_order(order, now) is old


async def test_a_vendor_answers_by_frame_symbol_and_snapshot() -> None:
    data, friday = Newest(), date(2022, 1, 7)
    assert data.get_symbols() == ["AAPL", "NONE"]
    frame = data.get_symbol_data("AAPL", friday)  # until today
    assert (list(frame.columns), len(frame)) == (list(COLUMNS), 1)
    assert data.get_symbols_data(["AAPL"], friday, friday, TimeScale.minute)["AAPL"].equals(frame)
    with pytest.raises(ValueError, match="no minute bars of AAPL"):
        data.get_symbol_data("AAPL", date(2022, 1, 3), date(2022, 1, 6))
    found = await data.get_market_snapshot(lambda facts: facts.minute_bar is not None)
    assert [facts.symbol for facts in found] == ["AAPL"]
    assert data.get_max_data_points_per_load() == 10_000


def test_queues_are_found_by_symbol_in_any_case_and_only_known_ones_are_taken() -> None:
    first, second = object(), object()
    queues = QueueMapper([first, second])
    queues["aapl"] = second
    assert queues["AAPL"] is second
    assert queues.get_allqueues() == [first, second]
    with pytest.raises(AssertionError):
        queues["IBM"] = object()
    with pytest.raises(AssertionError):
        queues["IBM"]
    assert (ThreadFlags().run, ThreadFlags(run=False).run) == (True, False)
    assert TickerSnapshot("AAPL", 10, 1.5).today_change == 1.5


def test_a_strategy_s_exception_is_logged_with_where_it_was_raised(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise KeyError("x")
    except KeyError:
        tlog_exception("run()")
    [record] = caplog.records
    assert record.getMessage() == "run()"
    assert record.exc_info is not None and record.exc_info[0] is KeyError


async def test_constituents_of_a_day_are_those_of_the_file_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIU_HOME", str(tmp_path))
    (tmp_path / "sp500.csv").write_text('date,tickers\n2020-01-02,"AAPL,IBM"\n2021-01-04,"AAPL,MSFT"\n')
    import_constituents(tmp_path / "sp500.csv", tmp_path / "market", "SP500")
    assert await sp500_historical_constituents("2020-06-01") == ["AAPL", "IBM"]
    assert await sp500_historical_constituents(date(2021, 1, 4)) == ["AAPL", "MSFT"]


def test_a_batch_s_results_are_mined_for_a_number_of_days() -> None:
    assert Gainloss({"days": 3}).name == "gainloss"
    with pytest.raises(ConfigError, match="days"):
        Gainloss({})
    assert trader_factory().is_market_open_today()


@pytest.mark.parity(77)
def test_a_line_of_tlog_names_its_caller_process_and_time_and_goes_to_any_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="liualgotrader.user"):
        tlog("bought 100 %s")
        tlog("a word", origin="elsewhere")
    lines = [record.getMessage() for record in caplog.records]
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?"
    caller = "test_a_line_of_tlog_names_its_caller_process_and_time_and_goes_to_any_handler"
    for line, name, said in zip(lines, (caller, "elsewhere"), ("bought 100 %s", "a word"), strict=True):
        assert re.fullmatch(rf"\[{name}\(\)\]\[{os.getpid()}\]{time}:{said}", line), line
