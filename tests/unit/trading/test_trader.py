"""What `run_all` may ask the original's `Trader`."""

from __future__ import annotations

from contextvars import copy_context
from datetime import timedelta
from types import SimpleNamespace

import pytest

from liualgotrader.common.clock import MINUTE, as_datetime
from liualgotrader.common.errors import LiuError
from liualgotrader.common.ports import Asset
from liualgotrader.common.trading_data import called
from liualgotrader.trading.base import Trader
from tests.unit.engine.conftest import HOURS


def trader_at(at: int) -> Trader:
    clock = SimpleNamespace(now=lambda: at)
    return Trader(HOURS, clock, lambda symbol: symbol != "GME")


def test_a_trader_knows_the_position_of_the_strategy_being_called_alone() -> None:
    trader = trader_at(HOURS.opens_at)
    book = SimpleNamespace(read_only={"positions": {"AAPL": -3.5}}.get)

    def asked() -> list[float]:
        called.set(book)
        return [trader.get_position("aapl"), trader.get_position("MSFT")]

    assert copy_context().run(asked) == [-3.5, 0.0]
    assert trader.get_position("AAPL") == 0.0, "no strategy is being called"


def test_a_trader_knows_the_session() -> None:
    trader = trader_at(HOURS.closes_at - MINUTE)
    assert trader.get_market_schedule() == (as_datetime(HOURS.opens_at), as_datetime(HOURS.closes_at))
    assert trader.get_time_market_close() == timedelta(minutes=1)
    assert trader_at(HOURS.closes_at).get_time_market_close() is None
    assert [trader.is_market_open(as_datetime(at)) for at in (HOURS.opens_at, HOURS.closes_at)] == [True, False]


async def test_a_trader_says_what_is_lent_and_sends_no_order() -> None:
    trader = trader_at(HOURS.opens_at)
    assert [await trader.is_shortable(symbol) for symbol in ("aapl", "gme")] == [True, False]
    with pytest.raises(LiuError, match="return the order for AAPL from run or run_all"):
        await trader.submit_order("AAPL", 1)
    for asked in (trader.cancel_order("id"), trader.get_order("id"), trader.get_account_order("x-9", "id")):
        with pytest.raises(LiuError, match=r"cancel with ctx\.cancel"):
            await asked
    with pytest.raises(LiuError, match=r"cancel with ctx\.cancel"):
        await trader.is_order_completed("id")
    with pytest.raises(LiuError, match="Mine is given its batch by trader or backtester"):
        await trader.create_session("Mine")
    assert Trader.get_instance() is trader
    await trader.reconnect()
    await trader.run()
    await trader.close()


async def test_a_trader_asks_the_vendor_for_assets_and_outside_a_session_says_where_they_are() -> None:
    async def assets() -> dict[str, Asset]:
        gme = Asset("GME", "", "NYSE", shortable=False, fractionable=False)
        return {"MSFT": Asset("MSFT", "", "NASDAQ"), "GME": gme}

    trader = Trader(HOURS, SimpleNamespace(now=lambda: 0), lambda symbol: True, assets)
    assert await trader.get_tradeable_symbols() == ["GME", "MSFT"]
    assert await trader.get_shortable_symbols() == ["MSFT"]
    assert [await trader.is_fractionable(symbol) for symbol in ("msft", "GME", "NONE")] == [True, False, False]
    with pytest.raises(LiuError, match="no session to ask for assets"):
        await trader_at(0).get_tradeable_symbols()
