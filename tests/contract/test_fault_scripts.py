"""Faults of a script as the unmodified alpaca-py meets them, and the market that a user's own tests begin."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import MarketOrderRequest

from liualgotrader.common.fault_script import read_faults
from liualgotrader.testing import StandingMarket


@pytest.fixture
def markets(tmp_path: Path) -> Iterator[Any]:
    opened: list[StandingMarket] = []

    def market(script: str, **options: Any) -> tuple[StandingMarket, TradingClient]:
        (tmp_path / "faults.toml").write_text(script)
        made = StandingMarket(3, start="10:00", end="11:00", faults=tmp_path / "faults.toml", **options)
        opened.append(made)
        return made, TradingClient(made.key_id, made.secret_key, url_override=made.url)

    yield market
    for made in opened:
        made.close()


def buy(client: TradingClient, symbol: str, quantity: int = 1) -> Any:
    return client.submit_order(MarketOrderRequest(symbol=symbol, qty=quantity, side="buy", time_in_force="day"))


def some_symbol(client: TradingClient) -> str:
    return str(min(asset.symbol for asset in client.get_all_assets()))


def test_orders_of_a_script_are_executed_though_the_answer_is_504_and_then_all_is_well(markets: Any) -> None:
    market, client = markets('[[fault]]\nat = "10:05"\nanswer = "504_after"\ncount = 2\n')
    client._retry = 0  # the client would send the order again by itself
    symbol = some_symbol(client)
    market.run_until("10:04")
    buy(client, symbol)
    market.run_until("10:05")
    for _ in range(2):
        with pytest.raises(APIError, match="request timed out"):
            buy(client, symbol)
    buy(client, symbol)
    market.advance(5)
    assert client.get_all_positions()[0].qty == "4"


def test_every_third_order_is_refused_for_as_long_as_the_script_says(markets: Any) -> None:
    market, client = markets('[[fault]]\nat = "10:05:00"\nrefuse_every = 3\nfor = "10m"\n')
    symbol, refused = some_symbol(client), []
    market.run_until("10:05")
    for number in range(1, 8):
        try:
            buy(client, symbol)
        except APIError as error:
            assert error.status_code == 403
            refused.append(number)
    assert refused == [3, 6]
    market.run_until("10:15")
    for _ in range(3):
        buy(client, symbol)


async def heard(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[tuple[str, str]]:
    """Return event and the order's own id of the next messages of an order stream."""
    return [
        (m["data"]["event"], m["data"]["order"]["client_order_id"]) for m in [await _json(socket) for _ in range(count)]
    ]


async def _json(socket: aiohttp.ClientWebSocketResponse) -> Any:
    import json

    message = await socket.receive(timeout=30)
    return json.loads(message.data)


async def order_stream(session: aiohttp.ClientSession, market: StandingMarket) -> aiohttp.ClientWebSocketResponse:
    socket = await session.ws_connect(f"{market.websocket_url}/stream")
    keys = {"key": market.key_id, "secret": market.secret_key}
    await socket.send_json({"action": "auth", **keys})
    await _json(socket)
    await socket.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
    await _json(socket)
    return socket


@pytest.mark.parametrize(
    ("fault", "events"),
    [
        ('updates = "twice"', ["pending_new", "pending_new", "new", "new", "fill", "fill"]),
        ('updates = "swapped"', ["new", "pending_new", "fill"]),
        ('late = "20s"', ["pending_new", "new", "fill"]),
    ],
)
async def test_order_updates_come_twice_out_of_order_or_late(markets: Any, fault: str, events: list[str]) -> None:
    import asyncio

    market, client = markets(f'[[fault]]\nat = "10:05"\n{fault}\n')
    symbol = some_symbol(client)
    async with aiohttp.ClientSession() as session:
        socket = await order_stream(session, market)
        await asyncio.to_thread(market.run_until, "10:05")
        await asyncio.to_thread(buy, client, symbol)
        await asyncio.to_thread(market.advance, 19)
        if fault.startswith("late"):
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.2)
        await asyncio.to_thread(market.advance, 5)
        assert [event for event, _ in await heard(socket, len(events))] == events


async def test_dropped_sockets_break_and_nobody_connects_until_the_time_is_over(markets: Any) -> None:
    import asyncio

    market, _ = markets('[[fault]]\nat = "10:05"\ndrop = "data"\nfor = "40s"\n')
    address = f"{market.websocket_url}/v2/iex"
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(address)
        assert (await socket.receive(timeout=30)).data
        await asyncio.to_thread(market.run_until, "10:05")
        while (await socket.receive(timeout=30)).type != aiohttp.WSMsgType.CLOSED:
            pass
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(address)
        async with session.ws_connect(f"{market.websocket_url}/stream"):
            pass  # the order stream is as it was
        await asyncio.to_thread(market.run_until, "10:05:40")
        async with session.ws_connect(address) as again:
            assert (await again.receive(timeout=30)).data


def test_nothing_trades_in_a_halt_of_the_script_and_it_does_afterwards(markets: Any) -> None:
    _, client = markets("fault = []\n")
    symbol = some_symbol(client)
    market, client = markets(f'[[fault]]\nat = "10:30"\nhalt = "{symbol}"\nfor = "5m"\n')
    market.run_until("10:30:01")
    with pytest.raises(APIError, match="trading halt"):
        buy(client, symbol)
    market.run_until("10:35:01")
    order = buy(client, symbol)
    market.run_until("10:36")
    assert client.get_order_by_id(order.id).filled_qty == "1"


def test_a_split_overnight_gives_seven_shares_at_a_seventh_and_leaves_the_account_its_worth(
    markets: Any, tmp_path: Path
) -> None:
    state = tmp_path / "account"
    market, client = markets("fault = []\n", day="2024-06-03", state=state)
    symbol = some_symbol(client)
    market.run_until("10:30")
    buy(client, symbol, 10)
    market.run_until("11:00")
    close = Decimal(client.get_all_positions()[0].current_price)
    market.close()
    script = f'[[fault]]\nday = "2024-06-04"\nsplit = "{symbol}"\nratio = 7\n'
    following, client = markets(script, day="2024-06-04", state=state)
    position = client.get_all_positions()[0]
    assert position.qty == "70"
    assert Decimal(position.current_price) == pytest.approx(close / 7, rel=Decimal("0.2"))
    data = StockHistoricalDataClient(following.key_id, following.secret_key, url_override=following.url)
    asked = StockBarsRequest(symbol_or_symbols=symbol, timeframe=TimeFrame.Day, adjustment="split")
    bars = data.get_stock_bars(asked).data[symbol]
    assert bars[-1].close == pytest.approx(float(close) / 7, rel=0.25)  # the past is told at new prices


def test_a_test_that_takes_simulated_market_has_one_that_the_vendors_variables_point_at(
    simulated_market: StandingMarket,
) -> None:
    import os

    client = TradingClient(
        os.environ["APCA_API_KEY_ID"], os.environ["APCA_API_SECRET_KEY"], url_override=os.environ["APCA_API_BASE_URL"]
    )
    assert not client.get_clock().is_open
    simulated_market.run_until("09:31")
    assert client.get_clock().is_open
    assert client.get_clock().timestamp.astimezone(simulated_market.time.tzinfo).strftime("%H:%M") == "09:31"
    assert client.get_account().cash == "100000.00"


def test_the_script_that_the_page_for_users_shows_is_one(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "simulated_market.md"
    [shown] = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "faults.toml").write_text(shown)
    assert [fault.action for fault in read_faults(tmp_path / "faults.toml")] == ["drop", "answer", "halt", "split"]


def test_several_days_follow_each_other_on_one_port_and_account() -> None:
    words = ["simulate", "--symbols", "2", "--speed", "max", "--date", "2024-06-03", "--to", "2024-06-04"]
    command = [sys.executable, "-c", "from liualgotrader.cli.liu import main; main()", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "the market stands" in line:
                break
        address = re.search(r"APCA_API_BASE_URL=(\S+)", "".join(printed))
        keys = dict(re.findall(r"export (\w+)=(\S+)", "".join(printed)))
        assert address is not None
        client = TradingClient(keys["APCA_API_KEY_ID"], keys["APCA_API_SECRET_KEY"], url_override=address[1])
        assert f"{client.get_clock().timestamp:%Y-%m-%d}" == "2024-06-04"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert [line.split(",")[0] for line in printed if "simulated market of" in line] == [
        "# simulated market of 2024-06-03",
        "# simulated market of 2024-06-04",
    ]
