"""The simulated market as a process: serves, reports over the control link, ends when its parent does."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.clock import MILLISECOND, machine_now
from liualgotrader.common.config import Secrets
from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.common.tlog import log_to_file, say
from liualgotrader.ipc.child_process import loop_factory
from liualgotrader.simulator.market_server import RunningMarket, about, keep, serve
from liualgotrader.simulator.subscriptions import ApiKeys

log = logging.getLogger(__name__)

_REPORT_SECONDS = 1.0


def run(spec_path: str, control: Connection) -> None:
    """Serve the market of the specification in `spec_path` until the parent stops it or is gone, then exit.

    Exit status 0; of a LiuError its own, after `{"failed": sentence, "exit_code": n}` over `control`. Ctrl-C is
    the parent's to handle. The key pair is in the environment.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        spec = msgspec.json.decode(Path(spec_path).read_bytes(), type=MarketSpec)
        log_to_file(Path(str(spec.options.get("log_dir") or Path(spec_path).parent)), "simulator")
        secrets = Secrets.from_environment()
        if not secrets.key_id or not secrets.secret_key:
            raise ConfigError("The simulated market needs APCA_API_KEY_ID and APCA_API_SECRET_KEY in its environment.")
        keys = ApiKeys(secrets.key_id.reveal(), secrets.secret_key.reveal())
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_live(spec, keys, control))
    except LiuError as error:
        log.error("simulator: %s", error)
        _send(control, {"failed": str(error), "exit_code": error.exit_code})
        sys.exit(error.exit_code)
    except Exception:
        log.exception("simulator ended by a bug")
        raise
    finally:
        logging.shutdown()


async def _live(spec: MarketSpec, keys: ApiKeys, control: Connection) -> None:
    running = await serve(spec, keys)
    say(log, "market_serves", port=running.port, day=spec.day, kind=spec.kind)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_reader(control.fileno(), _receive, control, stopping)
    _send(control, {"port": running.port, **about(running.world.tape)})
    try:
        await _report(running, control, stopping)  # a bug of the market is raised here: its accounts are not kept
    finally:
        asyncio.get_running_loop().remove_reader(control.fileno())
        await running.close()
    keep(running.world.exchange, spec)  # only now can no order be accepted any more
    world, loop = running.world, running.loop
    say(
        log,
        "market_closes",
        events=world.record.events,
        orders=world.orders_taken,
        quanta=loop.quanta,
        waits=loop.waits,
        waited_ms=loop.waited // MILLISECOND,
    )


def _receive(control: Connection, stopping: asyncio.Event) -> None:
    try:
        message = msgspec.msgpack.decode(control.recv_bytes())
    except (EOFError, OSError):
        asyncio.get_running_loop().remove_reader(control.fileno())
        stopping.set()
        return
    if isinstance(message, dict) and message.get("stop"):
        stopping.set()


async def _report(running: RunningMarket, control: Connection, stopping: asyncio.Event) -> None:
    """Report figures to the parent each machine second until it says stop, and the market's end once; raise its bug."""
    world = running.world
    market, machine = world.now, machine_now()
    ended = False
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_REPORT_SECONDS):
                await stopping.wait()
                return
        if running.task.done() and not running.task.cancelled() and (bug := running.task.exception()) is not None:
            raise bug
        seen = (world.now - market) / max(machine_now() - machine, 1)
        market, machine = world.now, machine_now()
        figures = {"market": market, "speed_seen": round(seen, 3), "events": world.record.events}
        _send(control, {**figures, "waiting_for": running.loop.waiting_for})
        if running.loop.ended.is_set() and not ended:
            ended = True
            keep(world.exchange, world.spec)
            _send(control, {"ended": True})


def _send(control: Connection, message: dict[str, Any]) -> None:
    with suppress(OSError):
        control.send_bytes(msgspec.msgpack.encode(message))
