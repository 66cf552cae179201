"""Recorded days as the unmodified alpaca-py gets them over the wire, held to the data's own files."""

from __future__ import annotations

import csv
import io
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.data.requests import StockBarsRequest, StockQuotesRequest, StockTradesRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import MarketOrderRequest

from liualgotrader.testing import StandingMarket
from tests.fakes.real_data import real_data

pytestmark = pytest.mark.realdata

MIDNIGHT = datetime(2013, 10, 7, 4, tzinfo=UTC)  # of New York, by the calendar
SYMBOLS = ("BAC", "IBM")


@pytest.fixture(scope="module")
def lean() -> Path:
    return real_data("lean")


def rows(lean: Path, symbol: str, kind: str, start: str, end: str) -> Iterator[tuple[datetime, list[str]]]:
    """Yield the rows of a tick file between two times of 2013-10-07, in the order of the file."""
    with zipfile.ZipFile(lean / "tick" / symbol.lower() / f"20131007_{kind}.zip") as archive:
        text = archive.read(archive.namelist()[0]).decode()
    for row in csv.reader(io.StringIO(text)):
        at = MIDNIGHT + timedelta(milliseconds=int(row[0]))
        if start <= (at - timedelta(hours=4)).strftime("%H:%M:%S") < end and row[-1] == "0":  # not suspicious
            yield at, row[1:]


def prints(lean: Path, symbol: str, start: str, end: str) -> list[tuple[datetime, float, float]]:
    return [(at, int(price) / 10_000, float(size)) for at, (price, size, *_) in rows(lean, symbol, "trade", start, end)]


def best_quotes(lean: Path, symbol: str, end: str) -> list[tuple[datetime, float, float]]:
    """Return bid and ask after each row, each row being of one side; without the crossed ones, which a tape leaves out."""
    bid = ask = 0
    found = []
    for at, (new_bid, _, new_ask, *_) in rows(lean, symbol, "quote", "00:00", end):
        bid, ask = int(new_bid) or bid, int(new_ask) or ask
        if not 0 < ask < bid:
            found.append((at, bid / 10_000, ask / 10_000))
    return found


@contextmanager
def market(lean: Path, **options: Any) -> Iterator[tuple[StandingMarket, StockHistoricalDataClient, TradingClient]]:
    with StandingMarket(**{"symbols": SYMBOLS, "data": str(lean), "day": "2013-10-07", **options}) as served:
        keys = (served.key_id, served.secret_key)
        history = StockHistoricalDataClient(*keys, url_override=served.url)
        yield served, history, TradingClient(*keys, url_override=served.url)


def test_trades_come_in_the_order_of_the_file_and_quotes_as_the_best_of_both_sides(lean: Path) -> None:
    with market(lean, start="10:00", end="10:10") as (served, history, _):
        served.run_until("10:10")
        span: Any = {"start": MIDNIGHT + timedelta(hours=10), "end": MIDNIGHT + timedelta(hours=10, minutes=10)}
        for symbol in SYMBOLS:
            trades = history.get_stock_trades(StockTradesRequest(symbol_or_symbols=symbol, **span)).data[symbol]
            expected = prints(lean, symbol, "10:00:00", "10:10:00")
            assert [(t.timestamp, t.price, t.size) for t in trades] == expected
            assert len(expected) > 200
            quotes = history.get_stock_quotes(StockQuotesRequest(symbol_or_symbols=symbol, **span)).data[symbol]
            best = [one for one in best_quotes(lean, symbol, "10:10:00") if one[0] >= span["start"]]
            assert [(q.timestamp, q.bid_price, q.ask_price) for q in quotes] == best


def test_simulated_minutes_are_the_sums_of_their_ticks(lean: Path) -> None:
    with market(lean, start="10:00", end="10:10") as (served, history, _):
        served.run_until("10:10")
        start = MIDNIGHT + timedelta(hours=10)
        for symbol in SYMBOLS:
            asked = StockBarsRequest(
                symbol_or_symbols=symbol, timeframe=TimeFrame.Minute, start=start, end=start + timedelta(minutes=9)
            )
            bars = history.get_stock_bars(asked).data[symbol]
            sizes: dict[datetime, float] = defaultdict(float)
            for at, _, size in prints(lean, symbol, "10:00:00", "10:10:00"):
                sizes[at.replace(second=0, microsecond=0)] += size
            assert {bar.timestamp: bar.volume for bar in bars} == sizes
            for bar in bars:
                end = bar.timestamp + timedelta(minutes=1)
                inside = [p for at, p, _ in prints(lean, symbol, "10:00:00", "10:10:00") if bar.timestamp <= at < end]
                assert min(inside) <= bar.low <= bar.open <= bar.high <= max(inside)


@pytest.mark.parametrize(("speed", "machine_seconds"), [(1.0, 30), (60.0, 10), (0.0, 0)])
def test_a_subscriber_gets_each_print_once_at_real_time_at_sixty_times_and_as_fast_as_it_goes(
    lean: Path, speed: float, machine_seconds: int
) -> None:
    market_seconds = 600 if speed != 1 else 30
    began_at = MIDNIGHT + timedelta(hours=10)
    end = (datetime(2013, 10, 7, 10) + timedelta(seconds=market_seconds)).strftime("%H:%M:%S")
    expected = {symbol: prints(lean, symbol, "10:00:00", end) for symbol in SYMBOLS}
    got: dict[str, list[tuple[datetime, float, float]]] = {symbol: [] for symbol in SYMBOLS}
    everything = threading.Event()
    with market(lean, start="10:00", speed=speed) as (served, _, _):
        url = f"{served.websocket_url}/v2/sip"
        stream = StockDataStream(served.key_id, served.secret_key, url_override=url)

        async def take(trade: Any) -> None:
            if began_at <= trade.timestamp < began_at + timedelta(seconds=market_seconds):
                got[trade.symbol].append((trade.timestamp, trade.price, trade.size))
            if all(len(got[symbol]) == len(expected[symbol]) for symbol in SYMBOLS):
                everything.set()

        stream.subscribe_trades(take, *SYMBOLS)
        client = threading.Thread(target=stream.run, daemon=True)
        client.start()
        while not served.read(lambda running: running.world.data.wants("trades")):
            everything.wait(0.01)
        began = served.read(lambda running: running.world.clock.machine())
        if speed:
            served.read(lambda running: running.loop.resume())
        else:
            served.run_until("10:10")
        assert everything.wait(180)
        passed = served.read(lambda running: running.world.clock.machine()) - began
        stream.stop()
        served.read(lambda running: running.world.data.drop_all())
        client.join(60)
    assert passed >= (machine_seconds - 1) * 1_000_000_000  # no faster than asked for
    assert got == expected


def test_days_follow_each_other_and_a_split_between_them_multiplies_shares(lean: Path, tmp_path: Path) -> None:
    kept: dict[str, Any] = {"symbols": ("AAPL",), "state": str(tmp_path / "account")}
    with market(lean, day="2014-06-06", start="15:00", **kept) as (served, _, client):
        served.run_until("15:30")
        client.submit_order(MarketOrderRequest(symbol="AAPL", qty=10, side="buy", time_in_force="day"))
        served.run_until("16:00")
        cash = Decimal(client.get_account().cash)
        assert [(p.symbol, p.qty) for p in client.get_all_positions()] == [("AAPL", "10")]
    with market(lean, day="2014-06-09", **kept) as (served, history, client):
        [position] = client.get_all_positions()
        assert position.qty == "70"  # 7:1 on 2014-06-09
        assert Decimal(position.cost_basis) == 100_000 - cash
        assert Decimal(client.get_account().cash) == cash
        served.run_until("10:00")
        span: Any = {"start": datetime(2014, 6, 6, tzinfo=UTC), "end": datetime(2014, 6, 7, tzinfo=UTC)}
        closes = [
            history.get_stock_bars(
                StockBarsRequest(symbol_or_symbols="AAPL", timeframe=TimeFrame.Day, adjustment=adjustment, **span)
            )
            .data["AAPL"][0]
            .close
            for adjustment in ("raw", "split")
        ]
        assert closes[0] == pytest.approx(7 * closes[1], abs=0.01)


def test_a_half_day_ends_at_one_in_the_afternoon(lean: Path) -> None:
    with market(lean, symbols=("GOOG",), day="2015-12-24") as (served, _, client):
        served.run_until("12:59")
        assert client.get_clock().is_open
        assert f"{client.get_clock().next_close:%H:%M}" == "13:00"
        served.run_until("13:00:01")
        assert not client.get_clock().is_open
