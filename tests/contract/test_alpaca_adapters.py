"""Our Alpaca adapters against the simulated market: the account, its order stream, and history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.clock import HOUR, MINUTE
from liualgotrader.common.errors import BrokerRefused, BrokerUnreachable, DataUnavailable
from liualgotrader.common.orders import BrokerUpdate, OrderIntent, OrderState, OrderType, ReplaceIntent, Side
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.data.alpaca_data import AlpacaData
from liualgotrader.data.polygon_data import PolygonData
from liualgotrader.data.threaded_data import ThreadedData
from liualgotrader.simulator.shapes import account_uuid
from liualgotrader.trading.alpaca_broker import AlpacaBroker
from liualgotrader.trading.alpaca_sub_account import AlpacaSubAccount
from liualgotrader.trading.simulated_broker import SimulatedBroker
from tests.fakes.simulated_market import KEY, SECRET, MarketThread
from tests.fakes.tapes import at

D = Decimal


def endpoints_of(market: MarketThread) -> Endpoints:
    streams = f"{market.ws}/v2/sip", f"{market.ws}/stream"
    return Endpoints(market.url, market.url, *streams, loopback=True, broker_url=market.url)


OF_THE_WEBSOCKET = pytest.mark.parametrize("broker", ["account"], indirect=True)


@pytest.fixture(params=["account", pytest.param("sub-account", marks=pytest.mark.parity(38))])
async def broker(market: MarketThread, request: pytest.FixtureRequest) -> AsyncIterator[AlpacaBroker]:
    keys = endpoints_of(market), KEY, SECRET
    if request.param == "account":
        opened = AlpacaBroker(*keys, timeout_seconds=60.0)
    else:
        opened = AlpacaSubAccount(*keys, account_uuid("SIM000000001"), timeout_seconds=60.0)
    yield opened
    await opened.close()


def open_history(vendor: str, url: str, seconds: float = 60.0, tries: int = 3) -> ThreadedData:
    """Return one of the adapters that are one port's."""
    endpoints = Endpoints(url, url, "", "", loopback=True)
    if vendor == "polygon":
        return PolygonData(endpoints, SECRET, timeout_seconds=seconds, tries=tries)
    return AlpacaData(endpoints, KEY, SECRET, feed="sip", timeout_seconds=seconds, tries=tries)


VENDORS = ("alpaca", "polygon")


@pytest.fixture(params=VENDORS)
async def data(market: MarketThread, request: pytest.FixtureRequest) -> AsyncIterator[ThreadedData]:
    opened = open_history(request.param, market.url)
    yield opened
    await opened.close()


def intent(number: int, **changes: Any) -> OrderIntent:
    values: dict[str, Any] = {
        "client_order_id": f"liu-0b5e7a4e0000-1-{number}",
        "slot": 1,
        "strategy": "Test",
        "symbol": "ABC",
        "side": Side.BUY,
        "quantity": D(10),
        "type": OrderType.MARKET,
        "decided_at": 0,
        "valid_until": 0,
    }
    return OrderIntent(**values | changes)


async def go_on(market: MarketThread, seconds: float) -> None:
    await asyncio.to_thread(market.advance, seconds)


async def test_an_order_is_found_again_by_its_own_id(broker: AlpacaBroker, market: MarketThread) -> None:
    sent = await broker.submit(intent(1))
    found = await broker.order_by_client_id("liu-0b5e7a4e0000-1-1")
    assert found is not None
    assert found.broker_order_id == sent.broker_order_id
    assert await broker.order_by_client_id("liu-0b5e7a4e0000-1-2") is None


async def test_the_same_id_twice_is_refused_not_executed_twice(broker: AlpacaBroker) -> None:
    await broker.submit(intent(1))
    with pytest.raises(BrokerRefused, match="unique") as refused:
        await broker.submit(intent(1))
    assert refused.value.status == 422
    assert len(await broker.orders(since=0)) == 1


@pytest.mark.parity(37)
async def test_executions_and_positions_add_up_to_the_cent(broker: AlpacaBroker, market: MarketThread) -> None:
    await broker.submit(intent(1))
    await broker.submit(intent(2, symbol="XYZ", side=Side.SELL, quantity=D(3)))
    await go_on(market, 1)
    fills = await broker.executions(since=at("09:35"))
    # ABC is offered at 100.01, XYZ bid at 299.99.
    assert {(f.symbol, f.side, f.quantity, f.price) for f in fills} == {
        ("ABC", Side.BUY, D(10), D("100.01")),
        ("XYZ", Side.SELL, D(3), D("299.99")),
    }
    assert {p.symbol: p.quantity for p in await broker.positions()} == {"ABC": D(10), "XYZ": D(-3)}
    assert (await broker.account()).cash == D(100_000) - D("1000.10") + D("899.97")


async def test_positions_come_with_prices_and_what_moved_the_account_is_read(
    broker: AlpacaBroker, market: MarketThread
) -> None:
    await broker.submit(intent(1))
    await go_on(market, 1)
    market.control("activities", {"activity_type": "CSW", "amount": "-6000"})
    [position] = await broker.positions()
    assert (position.last_price, position.previous_close) == (D(100), D(94))
    [moved] = await broker.activities(since=at("09:35"))  # told with its day alone
    assert (moved.kind, moved.amount, moved.text) == ("CSW", D(-6000), "withdrawal of 6,000.00 $")
    assert moved.at == at("00:00")
    assert [m.activity_id for m in await broker.activities(since=at("00:00") - 1)] == [moved.activity_id]
    assert list(await broker.activities(since=at("00:00") + 24 * HOUR)) == []


async def test_all_pages_of_orders_and_executions_are_read(broker: AlpacaBroker, market: MarketThread) -> None:
    for number in range(1, 111):
        await broker.submit(intent(number, quantity=D(1)))
    await go_on(market, 2)
    fills = await broker.executions(since=0)
    assert len(fills) == 110  # a page holds 100
    assert len({f.execution_id for f in fills}) == 110
    assert len(await broker.orders(since=0)) == 110


async def test_a_replacement_and_a_cancellation_reach_the_order(broker: AlpacaBroker, market: MarketThread) -> None:
    resting = await broker.submit(intent(1, type=OrderType.LIMIT, limit_price=D("90.00")))
    await go_on(market, 1)
    terms = ReplaceIntent("liu-0b5e7a4e0000-1-1", 1, 0, limit_price=D("91.00"))
    replaced = await broker.replace(resting.broker_order_id, terms, "liu-0b5e7a4e0000-1-1-r1")
    await go_on(market, 1)
    await broker.cancel(replaced.broker_order_id)
    await go_on(market, 1)
    states = {o.client_order_id: o.state for o in await broker.orders(since=0)}
    assert states == {
        "liu-0b5e7a4e0000-1-1": OrderState.REPLACED,
        "liu-0b5e7a4e0000-1-1-r1": OrderState.CANCELED,
    }
    [old, new] = await broker.orders(since=0)
    assert (old.replaced_by, new.replaces) == (new.broker_order_id, old.broker_order_id)
    assert (old.replaces, new.replaced_by) == ("", "")


async def test_an_exit_of_a_bracket_is_replaced_by_its_own_id_and_stays_an_exit_of_it(
    broker: AlpacaBroker, market: MarketThread
) -> None:
    await broker.submit(intent(1, take_profit=D(120), stop_loss=D(80)))
    await go_on(market, 2)
    [parent] = await broker.orders(since=1, open_only=True)
    [loss] = [leg for leg in parent.legs if leg.type is OrderType.STOP]
    terms = ReplaceIntent(loss.client_order_id, 1, 0, stop_price=D(85))
    replaced = await broker.replace(loss.broker_order_id, terms, "liu-0b5e7a4e0000-1-0-d1")
    await go_on(market, 1)
    [parent] = await broker.orders(since=1, open_only=True)
    assert {(leg.type, leg.limit_price, leg.stop_price) for leg in parent.legs if not leg.state.is_final} == {
        (OrderType.LIMIT, D(120), None),
        (OrderType.STOP, None, D(85)),
    }
    found = await broker.order_by_client_id("liu-0b5e7a4e0000-1-0-d1")
    assert found is not None
    assert (found.broker_order_id, found.replaces) == (replaced.broker_order_id, loss.broker_order_id)


async def test_open_orders_include_the_exits_of_a_bracket_whose_entry_is_filled(
    broker: AlpacaBroker, market: MarketThread
) -> None:
    bracket = {"take_profit": D(120), "stop_loss": D(80)}
    sent = [await broker.submit(intent(n, **bracket)) for n in (1, 2)]
    await broker.submit(intent(3))
    await go_on(market, 2)
    [parent, second] = await broker.orders(since=1, open_only=True)
    assert [parent.client_order_id, second.client_order_id] == [f"liu-0b5e7a4e0000-1-{n}" for n in (1, 2)]
    assert parent.state is OrderState.FILLED
    assert {leg.broker_order_id for leg in parent.legs} == {leg.broker_order_id for leg in sent[0].legs}
    [*exits] = await broker.orders(since=1)
    assert len(exits) == 3, "they stand with their parents"
    in_process = market.read(
        lambda running: SimulatedBroker(running.world.exchange, running.world.account_id, lambda: running.world.now)
    )
    same = await in_process.orders(since=1, open_only=True)
    assert [o.broker_order_id for o in same] == [parent.broker_order_id, second.broker_order_id]


@pytest.mark.parity(37)
async def test_the_order_stream_says_when_it_listens_and_then_everything_in_order(
    broker: AlpacaBroker, market: MarketThread
) -> None:
    stream = broker.updates()
    assert await anext(stream) is None  # connected: reconcile
    await broker.submit(intent(1))
    await go_on(market, 1)
    heard: list[BrokerUpdate] = []
    while not heard or heard[-1].event != "fill":
        update = await asyncio.wait_for(anext(stream), 60)
        assert isinstance(update, BrokerUpdate)
        heard.append(update)
    assert [u.event for u in heard] == ["pending_new", "new", "fill"]
    assert [u.sequence for u in heard] == [1, 2, 3]
    assert heard[-1].execution is not None
    [fill] = await broker.executions(since=0)
    assert heard[-1].execution.execution_id == fill.execution_id
    assert heard[-1].execution.cumulative_quantity == fill.cumulative_quantity == 10


async def test_a_dropped_order_stream_is_connected_again_and_says_so(
    broker: AlpacaBroker, market: MarketThread
) -> None:
    stream = broker.updates()
    assert await anext(stream) is None
    await asyncio.to_thread(market.control, "faults/drop_websockets")
    assert await asyncio.wait_for(anext(stream), 60) is None


@OF_THE_WEBSOCKET
async def test_an_order_stream_that_answers_nothing_is_connected_again(
    broker: AlpacaBroker, market: MarketThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liualgotrader.trading.alpaca_broker._ANSWER_SECONDS", 0.2)
    await asyncio.to_thread(market.control, "faults/mute", {"on": True})
    stream = broker.updates()
    listening = asyncio.ensure_future(anext(stream))
    while not market.read(lambda r: r.world.updates.members):
        await asyncio.sleep(0.01)
    await asyncio.to_thread(market.control, "faults/mute", {"on": False})
    assert await asyncio.wait_for(listening, 60) is None
    await stream.aclose()  # type: ignore[attr-defined]


@OF_THE_WEBSOCKET
async def test_an_order_stream_that_ends_by_itself_is_started_again_and_says_so(
    broker: AlpacaBroker, market: MarketThread, caplog: pytest.LogCaptureFixture
) -> None:
    stream = broker.updates()
    assert await anext(stream) is None
    thread = broker._stream
    assert thread is not None and thread._loop is not None
    asyncio.run_coroutine_threadsafe(thread._stream.stop_ws(), thread._loop).result(60)
    assert await asyncio.wait_for(anext(stream), 60) is None  # reconcile
    said = [r.getMessage() for r in caplog.records if r.name.startswith("liualgotrader.trading")]
    assert [text for text in said if "order_stream_ended" in text] == said != []
    await broker.submit(intent(1))
    update = await asyncio.wait_for(anext(stream), 60)
    assert update is not None and update.order.client_order_id == intent(1).client_order_id


@OF_THE_WEBSOCKET
async def test_an_order_stream_whose_client_fails_is_started_again(
    broker: AlpacaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alpaca.trading.stream import TradingStream

    real, failures = TradingStream._run_forever, 2

    async def failing(self: TradingStream) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise RuntimeError("a bug of the client's")
        await real(self)

    monkeypatch.setattr(TradingStream, "_run_forever", failing)
    assert await asyncio.wait_for(anext(broker.updates()), 60) is None
    assert failures == -1


async def test_a_broker_that_does_not_answer_leaves_the_orders_fate_open(
    market: MarketThread,
) -> None:
    broker = AlpacaBroker(endpoints_of(market), KEY, SECRET, timeout_seconds=0.2)
    await asyncio.to_thread(market.control, "faults/order_never", {"count": 1})
    with pytest.raises(BrokerUnreachable, match="liu-0b5e7a4e0000-1-1"):
        await broker.submit(intent(1))
    await broker.close()


async def test_a_gateway_time_out_after_execution_is_not_taken_for_a_refusal(
    broker: AlpacaBroker, market: MarketThread
) -> None:
    await asyncio.to_thread(market.control, "faults/order_504_after", {"count": 1})
    with pytest.raises(BrokerUnreachable):
        await broker.submit(intent(1))
    assert await broker.order_by_client_id("liu-0b5e7a4e0000-1-1") is not None


async def test_wrong_keys_are_a_refusal_without_the_keys_in_it(market: MarketThread) -> None:
    broker = AlpacaBroker(endpoints_of(market), KEY, "wrong-secret-value", timeout_seconds=60.0)
    with pytest.raises(BrokerRefused) as refused:
        await broker.account()
    assert refused.value.status == 401
    assert "wrong-secret-value" not in str(refused.value)
    await broker.close()


# --- history -----------------------------------------------------------------------------------


async def test_minutes_of_today_end_with_the_last_closed_one(data: ThreadedData, market: MarketThread) -> None:
    bars = await data.bars(["ABC"], at("09:30"), at("16:00"), minutes=1)
    starts = [bar.opened_at for bar in bars["ABC"]]
    assert starts == [at("09:30") + i * MINUTE for i in range(5)]
    # 60 prints of 200 shares a minute, all at the middle.
    assert {(bar.close, bar.volume, bar.count) for bar in bars["ABC"]} == {(100.0, 12_000.0, 60)}


@pytest.mark.parity(37)
async def test_yesterdays_minutes_are_those_of_the_tape(data: ThreadedData) -> None:
    day = 86_400_000_000_000
    bars = (await data.bars(["ABC"], at("09:30") - day, at("16:00") - day, minutes=1))["ABC"]
    assert [(b.open, b.close, b.volume) for b in bars[:2]] == [(90.0, 90.5, 1000.0), (91.0, 91.5, 1001.0)]
    assert len(bars) == 10


async def test_a_snapshot_knows_today_and_yesterday(data: ThreadedData) -> None:
    snapshot = (await data.snapshots(["ABC", "XYZ", "NONE"]))["ABC"]
    assert snapshot.last_price == 100.0
    assert snapshot.previous_daily_bar is not None
    assert snapshot.previous_daily_bar.close == 94.0
    assert snapshot.previous_daily_bar.opened_at == at("00:00") - 24 * HOUR
    assert snapshot.daily_bar is not None
    assert (snapshot.daily_bar.open, snapshot.daily_bar.opened_at) == (100.0, at("00:00"))
    assert snapshot.minute_bar is not None
    assert snapshot.minute_bar.opened_at == at("09:34")


async def test_the_assets_say_what_may_be_done(data: ThreadedData) -> None:
    assets = await data.tradable_symbols()
    assert {a.symbol: a.exchange for a in assets.values()} == {
        "ABC": "NASDAQ", "HLT": "NYSE", "PENY": "AMEX", "XYZ": "NYSE",
    }  # fmt: skip
    assert assets["ABC"].shortable
    if isinstance(data, AlpacaData):  # Polygon knows nothing of it: the broker says no
        assert not assets["PENY"].shortable


def test_the_time_is_the_markets(data: ThreadedData) -> None:
    assert data.market_time_now() == at("09:35")


async def test_bars_are_those_whose_start_lies_between_two_instants(data: ThreadedData) -> None:
    for start, end, count in (
        (at("09:31"), at("09:33"), 2),
        (at("09:31") + 1, at("09:33") + 1, 2),
        (at("09:33"), at("09:33"), 0),
    ):
        bars = await data.bars(["ABC", "NONE"], start, end, minutes=1)
        assert (len(bars["ABC"]), bars["NONE"]) == (count, [])


@pytest.mark.parametrize("vendor", VENDORS)
def test_splits_and_raw_bars_come_for_the_market_data_store(vendor: str, split_market: MarketThread) -> None:
    data = open_history(vendor, split_market.url)
    span = (at("00:00") - 3 * 24 * HOUR, at("00:00"))
    assert [b.close for b in data.raw_bars_now(["ABC"], *span, minutes=1440)["ABC"]] == [99.0, 33.0, 32.0]
    splits, dividends = data.actions_now(["ABC"], *span)["ABC"]
    assert [(f"{split.day}", split.ratio) for split in splits] == [("2024-03-06", 3.0)]
    assert [(f"{day}", rate) for day, rate in dividends] == [("2024-03-07", 0.99)]
    asyncio.run(data.close())


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_vendor_that_is_gone_is_said_so(vendor: str) -> None:
    data = open_history(vendor, "http://127.0.0.1:1", 0.2, tries=2)
    with pytest.raises(DataUnavailable, match="bars of ABC"):
        await data.bars(["ABC"], at("09:30"), at("16:00"), minutes=1)
    await data.close()
