"""`liu simulate`: the simulated market alone, for any program that speaks the vendor's protocol.

It serves on this machine's loopback until Ctrl-C; what it prints points other programs at it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from liualgotrader.cli.trader import requests
from liualgotrader.cli.trader_arguments import request_from
from liualgotrader.common.clock import NEVER, WallClock, clock_text
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.supervisor.request import batch_account, generated_pair, market_spec, simulated_hours

if TYPE_CHECKING:
    from liualgotrader.common.session_plan import MarketSpec
    from liualgotrader.simulator.market_server import RunningMarket
    from liualgotrader.supervisor.request import TraderRequest


def simulate(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM and return the exit status.

    Raises:
        ConfigError: if what is asked for cannot be played.
        OutsideError: if the port is taken, or the accounts cannot be kept.
    """
    request = request_from(options)
    if request.data and not request.day:
        raise ConfigError("--data needs --date, the recorded day to play")
    stated = {name: getattr(options, name, None) for name in ("fills", "fees", "latency_ms")}
    settings = Settings.resolve(stated)
    with tempfile.TemporaryDirectory(prefix="liu-market-") as name:
        days, folder = requests(request, Path(name)), Path(name)
        return asyncio.run(_serve(days, lambda day: _spec(day, settings, options.seed, folder)))


def _spec(request: TraderRequest, settings: Settings, seed: int, folder: Path) -> MarketSpec:
    hours = simulated_hours(request.market_day(), (request.window_from, request.window_to), 1, 0)
    account = request.kept_account() or batch_account("000000001", folder)
    if account.now >= hours.ends_at:
        raise ConfigError(f"the account in {request.state} has traded {account.played} already: choose a later --date")
    return market_spec(request, settings.simulation, hours, seed, account, not_before=account.now)


async def _serve(days: list[TraderRequest], spec_of: Callable[[TraderRequest], MarketSpec]) -> int:
    """Serve one session after the other on one port, for one key pair; at the end of the last the market stands."""
    from liualgotrader.simulator.market_server import about, keep, serve
    from liualgotrader.simulator.subscriptions import ApiKeys

    key_id, secret_key = generated_pair()
    keys, stopping = ApiKeys(key_id.reveal(), secret_key.reveal()), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    port, orders, at = days[0].port, 0, ""
    for day in days:
        spec = spec_of(msgspec.structs.replace(day, port=port))
        running = await serve(spec, keys)
        port = running.port
        _say(spec, running, whole=day is days[0])
        for sentence in chain.from_iterable(about(running.world.tape).values()):
            print(f"# {sentence}", flush=True)
        line = asyncio.create_task(_follow(running))
        try:
            await _until_any(running.task, running.loop.ended.wait(), stopping.wait())
            if running.task.done():
                running.task.result()  # a bug of ours: raise it
            if day is days[-1] and not stopping.is_set():
                keep(running.world.exchange, spec)
                print(f"the session of {spec.day} is over, and the market stands; Ctrl-C ends it", flush=True)
                await stopping.wait()
        finally:
            line.cancel()
            at = clock_text(running.world.now)
            await running.close()
        keep(running.world.exchange, spec)
        orders += running.world.orders_taken
        if stopping.is_set():
            break
    print(f"ended at {at} New York, {orders} orders", flush=True)
    return 0


async def _until_any(task: asyncio.Task[None], *others: Coroutine[Any, Any, Any]) -> None:
    """Return once one of these is done; the coroutines are given up then."""
    waits = [asyncio.ensure_future(one) for one in others]
    await asyncio.wait([task, *waits], return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _follow(running: RunningMarket) -> None:
    """Show in a terminal, in one line, how far the market is and who listens."""
    world, clock = running.world, WallClock()
    while sys.stderr.isatty():
        clients = f"{len(world.data.members)} data and {len(world.updates.members)} order streams"
        coming = f"next fault at {clock_text(world.faults.due_at)}" if world.faults.due_at < NEVER else ""
        figures = f"{world.record.events:,} events, {world.orders_taken} orders, {clients}"
        print(f"\r{clock_text(world.now)} New York  {figures}  {coming}\033[K", end="", file=sys.stderr, flush=True)
        await clock.sleep(1)


def _say(spec: MarketSpec, running: RunningMarket, *, whole: bool) -> None:
    account, begin = running.world.account_id, clock_text(spec.starts_at)
    print(f"# simulated market of {spec.day}, account {account}, from {begin} New York", flush=True)
    if not whole:
        return
    for name, value in running.environment.items():
        print(f"export {name}={value}")
    print(f"# alpaca-py's clients: url_override={running.url!r}")
    streams = running.websocket_url
    print(f"# its streams: url_override='{streams}/v2/iex' (data), '{streams}/stream' (orders)")
    print(f"# control: POST {running.url}/_sim/…, with the header X-LIU-Token from {running.world.token_path}")
    print(
        f"# polygon-api-client's: base={running.url!r}; feed={running.url.removeprefix('http://')!r}, secure=False (stream)"
    )
    print("# Ctrl-C ends the market", flush=True)
