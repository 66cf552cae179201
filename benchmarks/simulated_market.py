"""`python -m benchmarks.simulated_market`: what the simulated market sends and accepts, beside bare servers in one run.

Events: a generated day is sent to one subscriber as fast as it goes, and then the same messages by a server that does nothing
else, in one frame for each tenth of a second of market time, as a session gets them. Orders: concurrent clients place limit orders over HTTP with the market, and then with an aiohttp handler that
only reads the body and answers. Each server is a process of its own; each is measured in turn with the other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import groupby
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import msgpack
from aiohttp import web

from benchmarks.machine import load_average, machine, versions
from liualgotrader.common.calendar import session_of
from liualgotrader.common.clock import SECOND, WallClock, machine_now
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.simulator.market_server import serve
from liualgotrader.simulator.subscriptions import ApiKeys

DAY = "2024-06-03"
KEYS = {"APCA-API-KEY-ID": "PKBENCH", "APCA-API-SECRET-KEY": "of-no-value"}
MSGPACK = {"Content-Type": "application/msgpack"}
CLIENTS = 16
ORDER = {"symbol": "", "qty": "1", "side": "buy", "type": "limit", "limit_price": "0.50", "time_in_force": "day"}


def market_process(symbols: int, pipe: Connection) -> None:
    """Serve the market; at each message over `pipe` let its time run to its end, and answer with what it needed."""

    async def live() -> None:
        session = session_of(dt.date.fromisoformat(DAY))
        assert session is not None
        options = {"standing": True, "outgoing_limit_bytes": 1 << 40}
        spec = MarketSpec(
            "generated", DAY, session.opens_at, session.closes_at, symbol_count=symbols, free_run=True, options=options
        )
        running = await serve(spec, ApiKeys(*KEYS.values()))
        pipe.send((running.port, running.world.tape.assets()[0].symbol))
        while await asyncio.to_thread(pipe.recv):
            before, began, used = rss(), machine_now(), time.process_time()
            running.loop.resume()
            await running.loop.ended.wait()
            seconds, cpu = (machine_now() - began) / SECOND, time.process_time() - used
            pipe.send({"seconds": seconds, "cpu_seconds": cpu, "grew_mb": rss() - before, "mb": rss()})
        await running.close()

    asyncio.run(live())


def bare_process(frames: list[bytes], pipe: Connection) -> None:
    """Send these frames to who connects to `/stream`, and answer every order of `/v2/orders` with the same text."""

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.receive()
        for frame in frames:
            await socket.send_bytes(frame)
        await socket.close()
        return socket

    answer = b"{" + b'"filled_avg_price":null,' * 60 + b'"id":"0"}'  # as long as an order

    async def order(request: web.Request) -> web.Response:
        await request.json()
        return web.Response(body=answer, content_type="application/json")

    async def live() -> None:
        app = web.Application()
        app.add_routes([web.get("/stream", stream), web.post("/v2/orders", order)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send((runner.addresses[0][1], "AAA"))
        await asyncio.to_thread(pipe.recv)
        await runner.cleanup()

    asyncio.run(live())


def rss() -> float:
    """Return the most memory that this process has had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.asynccontextmanager
async def process_of(target: Callable[..., None], argument: object) -> AsyncIterator[tuple[Connection, int, str]]:
    """Run a server process for the block; yield its pipe, its port and a symbol."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(argument, theirs), daemon=True)
    process.start()
    try:
        port, symbol = await asyncio.to_thread(ours.recv)
        yield ours, port, symbol
    finally:
        ours.send(None)
        process.join(30)


async def frames_from(socket: aiohttp.ClientWebSocketResponse, until: Callable[[], bool]) -> tuple[list[bytes], int]:
    """Return the frames that come until `until()` or the end, and when the last one came, machine ns."""
    frames: list[bytes] = []
    last = machine_now()
    while True:
        try:
            message = await socket.receive(timeout=1.0 if until() else 60.0)
        except TimeoutError:
            return frames, last
        if message.type is not aiohttp.WSMsgType.BINARY:
            return frames, last
        frames.append(message.data)
        last = machine_now()


async def events(symbols: int, repeats: int) -> dict[str, Any]:
    """Measure events a second that one subscriber gets, from the market and from the bare sender in turn."""
    rows = []
    for _ in range(repeats):
        async with aiohttp.ClientSession() as session, process_of(market_process, symbols) as (pipe, port, _):
            socket = await session.ws_connect(
                f"ws://127.0.0.1:{port}/v2/sip", headers={**MSGPACK, **KEYS}, max_msg_size=0
            )
            for _ in range(2):
                await socket.receive()  # connected, authenticated
            await socket.send_bytes(msgpack.packb({"action": "subscribe", "trades": ["*"], "quotes": ["*"]}))
            await socket.receive()
            began = machine_now()
            pipe.send("go")
            frames, last = await frames_from(socket, pipe.poll)
            figures = pipe.recv()
        messages = [one for frame in frames for one in msgpack.unpackb(frame, timestamp=1)]
        count, ours = len(messages), len(messages) * SECOND / (last - began)
        steps = groupby(messages, key=lambda one: one["t"] // 0.1)
        quanta = [msgpack.packb(list(group)) for _, group in steps]
        async with aiohttp.ClientSession() as session, process_of(bare_process, quanta) as (_, port, _):
            socket = await session.ws_connect(f"ws://127.0.0.1:{port}/stream", max_msg_size=0)
            began = machine_now()
            await socket.send_str("go")
            again, last = await frames_from(socket, lambda: False)
        assert len(again) == len(quanta)
        bare = count * SECOND / (last - began)
        rows.append(
            {"events": count, "frames": len(frames), "market": ours, "bare": bare, "of_bare": ours / bare, **figures}
        )
    return summary(rows)


async def orders(symbols: int, number: int, repeats: int) -> dict[str, Any]:
    """Measure orders a second that concurrent clients place, with the market and with the bare handler in turn."""

    async def rate(session: aiohttp.ClientSession, port: int, symbol: str) -> float:
        bodies = iter(range(number))

        async def client() -> None:
            for _ in bodies:
                order = ORDER | {"symbol": symbol}
                async with session.post(f"http://127.0.0.1:{port}/v2/orders", json=order, headers=KEYS) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()

        began = machine_now()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return number * SECOND / (machine_now() - began)

    rows = []
    async with (
        aiohttp.ClientSession() as session,
        process_of(bare_process, []) as (_, bare_port, _),
        process_of(market_process, symbols) as (_, port, symbol),
    ):
        for _ in range(repeats):
            ours, bare = await rate(session, port, symbol), await rate(session, bare_port, "AAA")
            rows.append({"market": ours, "bare": bare, "of_bare": ours / bare})
    return summary(rows)


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return the medians of rows, and the rows."""
    return {
        "median": {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]},
        "rows": [{name: round(value, 3) for name, value in row.items()} for row in rows],
    }


def main() -> None:
    """Measure, and print the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--orders", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    async def measured(work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        await WallClock().sleep(0.5)  # the machine comes to rest
        return await work()

    document = {
        "benchmark": "simulated_market",
        "machine": machine(),
        "versions": versions(),
        "load_average": load_average(),
        "unit": "a second",
        "events": asyncio.run(measured(lambda: events(options.symbols, options.repeats))),
        "orders": asyncio.run(measured(lambda: orders(5, options.orders, options.repeats))),
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
