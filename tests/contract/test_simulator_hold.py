"""The held market: it waits for every process of the session page, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from liualgotrader.common.clock import MILLISECOND, SECOND, WallClock
from liualgotrader.ipc.process_status import PageClock, ProcessStatus
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from liualgotrader.simulator.market_server import RunningMarket, serve
from liualgotrader.simulator.subscriptions import ApiKeys
from tests.fakes.simulated_market import KEY, SECRET, spec_of
from tests.fakes.tapes import HandTape, at

PROCESSES = ("order_gateway", "producer", "idle")
HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
CLOCK = WallClock()


@pytest.fixture
def page(tmp_path: Path) -> SessionPage:
    made = SessionPage.create(tmp_path / "page", PROCESSES, ("market-0",))
    for name in ("order_gateway", "producer"):
        made.put(made.process(name), Cell.LIFE, Life.DOWN)
    return made


@asynccontextmanager
async def market_on(page: SessionPage, **changes: Any) -> AsyncIterator[RunningMarket]:
    fields = {"options": {}, "page": str(page.path), "ends_at": at("09:36")} | changes
    running = await serve(spec_of(**fields), ApiKeys(KEY, SECRET), tape=HandTape())
    try:
        yield running
    finally:
        await running.close()


TakeStatus = Callable[[SessionPage, str], ProcessStatus]


@pytest.fixture
def status() -> Iterator[TakeStatus]:
    """Return a function that lets a process of the page be up."""
    taken: list[ProcessStatus] = []

    def take(page: SessionPage, name: str) -> ProcessStatus:
        taken.append(ProcessStatus(page, name))
        taken[-1].arrive()
        taken[-1].ready()
        return taken[-1]

    yield take
    for each in taken:
        each.close()


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await CLOCK.sleep(0.001)


async def stands(running: RunningMarket) -> int:
    """Return the market's time after making sure that it does not move."""
    before = running.world.now
    await CLOCK.sleep(0.05)
    assert running.world.now == before
    return before


class Producer:
    """A process that reads the data stream and says what it has handled only when the test lets it."""

    def __init__(self, page: SessionPage, socket: aiohttp.ClientWebSocketResponse, taken: ProcessStatus) -> None:
        self.page, self.socket, self.status, self.frames = page, socket, taken, 0

    @classmethod
    @asynccontextmanager
    async def connected(cls, running: RunningMarket, taken: ProcessStatus) -> AsyncIterator[Producer]:
        taken.feed_handled(0)
        headers = {"X-LIU-Process": "producer", "Content-Type": "application/msgpack"}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{running.websocket_url}/v2/sip", headers=headers) as socket,
        ):
            yield cls(taken.page, socket, taken)

    async def hear(self) -> Any:
        received = await self.socket.receive_bytes(timeout=60)
        self.frames += 1
        return msgspec.msgpack.decode(received)

    async def say(self, **message: Any) -> None:
        await self.socket.send_bytes(msgspec.msgpack.encode(message))

    def handled(self) -> None:
        self.status.feed_handled(self.frames)

    async def enter(self, *symbols: str) -> None:
        await self.hear()
        await self.say(action="auth", key=KEY, secret=SECRET)
        await self.hear()
        await self.say(action="subscribe", trades=list(symbols))
        await self.hear()


async def test_the_market_stands_until_the_whole_stack_is_up(page: SessionPage, status: TakeStatus) -> None:
    async with market_on(page) as running:
        status(page, "order_gateway")
        assert await stands(running) == at("09:35")
        assert running.loop.waiting_for == ["producer is not up"]
        status(page, "producer")
        await until(running.loop.ended.is_set)


async def test_a_page_without_anybody_moves_no_time(tmp_path: Path) -> None:
    page = SessionPage.create(tmp_path / "page", PROCESSES, ())
    async with market_on(page) as running:
        assert await stands(running) == at("09:35")
        assert running.loop.waiting_for == ["no process takes part"]


async def test_the_market_waits_for_every_frame_and_goes_on_when_it_was_handled(
    page: SessionPage, status: TakeStatus
) -> None:
    gateway, producer_status = status(page, "order_gateway"), status(page, "producer")
    with producer_status.hold():
        starting = market_on(page)
        running = await starting.__aenter__()
        producer_context = Producer.connected(running, producer_status)
        producer = await producer_context.__aenter__()
        await producer.enter("ABC")
        producer.handled()
    frame = await producer.hear()
    assert [(m["T"], m["S"]) for m in frame] == [("t", "ABC")]
    first_trade = at("09:35") + SECOND // 2
    assert await stands(running) == first_trade + 100 * MILLISECOND
    assert page.get(page.process("producer"), Cell.FEED_SENT) == producer.frames == 4
    assert running.loop.waiting_for == ["producer has market data to take"]
    producer.handled()
    await producer.hear()
    assert await stands(running) == first_trade + SECOND + 100 * MILLISECOND
    # The connection is lost: the market stays where it is, and counts the frames of the next one from zero.
    await producer_context.__aexit__(None, None, None)
    producer.handled()
    await until(lambda: not running.world.data.members)
    await stands(running)
    assert running.loop.waiting_for == ["producer has lost its connection"]
    async with Producer.connected(running, producer_status) as again:
        with producer_status.hold():
            await again.enter("XYZ")
            assert page.get(page.process("producer"), Cell.FEED_SENT) == 3
            again.handled()
        assert [m["S"] for m in await again.hear()] == ["XYZ"]
    gateway.leave()
    producer_status.leave()
    await starting.__aexit__(None, None, None)


async def test_a_timer_is_woken_at_its_market_time_and_holds_the_market_until_it_was_served(
    page: SessionPage, status: TakeStatus
) -> None:
    gateway = status(page, "order_gateway")
    status(page, "producer")
    clock = PageClock(page, gateway)
    seen: list[int] = []
    with gateway.hold():
        async with market_on(page, ends_at=at("09:45")) as running:

            async def each_minute() -> None:
                for minute in range(36, 44):
                    await clock.sleep_until(at(f"09:{minute}") + 1)
                    seen.append(running.world.now)

            task = asyncio.create_task(each_minute())
            await CLOCK.sleep(0)
            gateway.page.put(page.process("order_gateway"), Cell.BUSY, 0)
            await asyncio.wait_for(task, 60)
    clock.close()
    assert seen == [at(f"09:{minute}") + 100 * MILLISECOND for minute in range(36, 44)]


async def test_the_market_waits_for_order_updates_to_be_handled(page: SessionPage, status: TakeStatus) -> None:
    gateway = status(page, "order_gateway")
    status(page, "producer")
    row = page.process("order_gateway")
    with gateway.hold():
        starting = market_on(page)
        running = await starting.__aenter__()
        session = aiohttp.ClientSession()
        stream = await session.ws_connect(f"{running.websocket_url}/stream")
        await stream.send_json({"action": "auth", "key": KEY, "secret": SECRET})
        await stream.receive_bytes()
        await stream.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
        await stream.receive_bytes()
        order = {"symbol": "ABC", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
        answer = await session.post(f"{running.url}/v2/orders", json=order, headers=HEADERS)
        assert (await answer.json())["created_at"] == "2024-03-08T14:35:00Z"
        assert page.get(row, Cell.UPDATES_SENT) == 1
        await stream.receive_bytes()
    assert await stands(running) == at("09:35")
    gateway.updates_handled(1)
    told = [msgspec.json.decode(await stream.receive_bytes())["data"]["event"] for _ in range(2)]
    assert told == ["new", "fill"]
    # The order took effect one latency (1 ms) after its request, in the very next quantum.
    assert await stands(running) == at("09:35") + 100 * MILLISECOND
    gateway.updates_handled(3)
    await until(running.loop.ended.is_set)
    await session.close()
    await starting.__aexit__(None, None, None)


async def test_updates_that_nobody_heard_do_not_hold_the_market_for_ever(page: SessionPage, status: TakeStatus) -> None:
    gateway = status(page, "order_gateway")
    status(page, "producer")
    row = page.process("order_gateway")
    page.put(row, Cell.UPDATES_SENT, 5)  # sent on a connection that is lost, with its gateway
    async with market_on(page) as running, aiohttp.ClientSession() as session:
        await stands(running)
        async with session.ws_connect(f"{running.websocket_url}/stream") as stream:
            await stream.send_json({"action": "auth", "key": KEY, "secret": SECRET})
            await stream.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
            await until(running.loop.ended.is_set)
        assert page.get(row, Cell.UPDATES_HANDLED) == 5
    gateway.leave()


async def test_a_free_running_clock_goes_on_by_itself_at_its_speed(page: SessionPage, status: TakeStatus) -> None:
    gateway = status(page, "order_gateway")
    status(page, "producer")
    async with market_on(page, free_run=True, speed=60.0) as running:
        await until(lambda: running.world.now > at("09:35:00.500000"))
        with gateway.hold():
            anchor = page.anchor()
            assert anchor is not None and anchor.speed == 60
            began = running.world.now
            await until(lambda: running.world.now > began)  # although a process holds
        await until(running.loop.ended.is_set)
        assert running.world.now == at("09:36")
        assert page.anchor().speed == 0


async def test_a_speed_limit_is_kept(page: SessionPage, status: TakeStatus) -> None:
    status(page, "order_gateway")
    status(page, "producer")
    async with market_on(page, speed=100.0) as running:
        await until(lambda: running.world.now > at("09:35"))
        machine = CLOCK.machine()
        await until(running.loop.ended.is_set)
        assert 0.5 < (CLOCK.machine() - machine) / SECOND < 1.5  # 60 market seconds at 100


async def test_two_runs_with_one_stack_play_the_same(tmp_path: Path, status: TakeStatus) -> None:
    async def play(number: int) -> tuple[str, ...]:
        page = SessionPage.create(tmp_path / f"page-{number}", PROCESSES, ())
        gateway = status(page, "order_gateway")
        clock = PageClock(page, gateway)
        async with market_on(page, ends_at=at("09:45")) as running, aiohttp.ClientSession() as session:

            async def trade() -> None:
                for n in range(8):
                    with gateway.hold():
                        side = "sell" if n % 2 else "buy"
                        body = {"symbol": "ABC", "qty": 100, "side": side, "type": "market", "time_in_force": "day"}
                        body["client_order_id"] = f"n{n}"
                        await session.post(f"{running.url}/v2/orders", json=body, headers=HEADERS)
                    await clock.sleep_until(at("09:35") + (n + 1) * 60 * SECOND + n * 333 * MILLISECOND)

            await trade()
            gateway.deadline(2**63 - 1)
            await until(running.loop.ended.is_set)
            fills = running.world.exchange.activities(running.world.account_id)
        clock.close()
        gateway.leave()
        return tuple(f"{f.id} {f.at} {f.side} {f.quantity} {f.price}" for f in fills)

    first, second = await play(1), await play(2)
    assert first == second
    assert len(first) >= 8
