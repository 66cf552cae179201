"""Small helpers of the original at their addresses, with the values that its documentation gives."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from datetime import date

import pandas as pd
import pytest

from liualgotrader.common.assets import get_asset_min_qty, get_asset_precision, round_asset
from liualgotrader.common.concurrency import calc_num_consumer_processes
from liualgotrader.common.decorators import timeit, trace
from liualgotrader.common.exceptions import LiuException, MarketClosedToday
from liualgotrader.common.list_utils import chunks
from liualgotrader.common.market_data import get_trading_day, get_trading_holidays
from liualgotrader.common.tlog import tlog


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
    assert trace({})(thrice) is thrice


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
