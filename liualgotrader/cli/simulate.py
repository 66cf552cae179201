"""`liu simulate`: the simulated market alone, for any program that speaks the vendor's protocol.

It serves on this machine's loopback until Ctrl-C; what it prints points other programs at it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from liualgotrader.cli.trader_arguments import request_from
from liualgotrader.common.clock import clock_text
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.supervisor.request import batch_account, generated_pair, market_spec, simulated_hours

if TYPE_CHECKING:
    from liualgotrader.common.session_plan import MarketSpec
    from liualgotrader.simulator.market_server import RunningMarket
    from liualgotrader.simulator.subscriptions import ApiKeys
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
    if "-" in request.window_to:
        raise ConfigError("`liu simulate` serves one day: --to is a time like 10:15")
    stated = {name: getattr(options, name, None) for name in ("fills", "fees", "latency_ms")}
    with tempfile.TemporaryDirectory(prefix="liu-market-") as folder:
        return asyncio.run(_serve(_spec(request, Settings.resolve(stated), options.seed, Path(folder))))


def _spec(request: TraderRequest, settings: Settings, seed: int, folder: Path) -> MarketSpec:
    hours = simulated_hours(request.market_day(), (request.window_from, request.window_to), 1, 0)
    account = request.kept_account() or batch_account("000000001", folder)
    if account.now >= hours.ends_at:
        raise ConfigError(f"the account in {request.state} has traded {account.played} already: choose a later --date")
    return market_spec(request, settings.simulation, hours, seed, account, not_before=account.now)


async def _serve(spec: MarketSpec) -> int:
    from liualgotrader.simulator.market_server import about, keep, serve
    from liualgotrader.simulator.subscriptions import ApiKeys

    key_id, secret_key = generated_pair()
    keys = ApiKeys(key_id.reveal(), secret_key.reveal())
    running = await serve(spec, keys)
    _say(spec, running, keys)
    for sentence in chain.from_iterable(about(running.world.tape).values()):
        print(f"# {sentence}", flush=True)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    ended, stopped = (asyncio.ensure_future(event.wait()) for event in (running.loop.ended, stopping))
    try:
        await asyncio.wait([running.task, ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            keep(running.world.exchange, spec)
            print(f"the session of {spec.day} is over, and the market stands; Ctrl-C ends it", flush=True)
            await asyncio.wait([running.task, stopped], return_when=asyncio.FIRST_COMPLETED)
        if running.task.done():
            running.task.result()  # a bug of ours: raise it
            await stopped
    finally:
        ended.cancel()
        stopped.cancel()
        at = clock_text(running.world.now)
        await running.close()
    keep(running.world.exchange, spec)
    print(f"ended at {at} New York, {running.world.orders_taken} orders", flush=True)
    return 0


def _say(spec: MarketSpec, running: RunningMarket, keys: ApiKeys) -> None:
    print(
        f"# simulated market of {spec.day}, account {running.world.account_id}, from {clock_text(spec.starts_at)} New York"
    )
    for name, value in (
        ("APCA_API_KEY_ID", keys.key_id),
        ("APCA_API_SECRET_KEY", keys.secret_key),
        ("APCA_API_BASE_URL", running.url),
        ("APCA_API_DATA_URL", running.url),
        ("ALPACA_STREAM_URL", running.websocket_url),
    ):
        print(f"export {name}={value}")
    print(f"# alpaca-py's clients: url_override={running.url!r}")
    print(
        f"# its streams: url_override='{running.websocket_url}/v2/iex' (data), '{running.websocket_url}/stream' (orders)"
    )
    print(f"# control: POST {running.url}/_sim/…, with the header X-LIU-Token from {running.world.token_path}")
    print("# Ctrl-C ends the market", flush=True)
