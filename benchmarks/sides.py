"""The two sides of the comparison as running processes: the bare loop, and the product's own producer and consumers."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks import bare_loop, feed_server
from benchmarks.figures import Sent
from benchmarks.recorder import AllReadings, shared_folder
from benchmarks.tape import SYMBOLS
from liualgotrader.common.clock import HOUR, MINUTE
from liualgotrader.common.config import Secrets, enter_session_environment
from liualgotrader.common.events import Pick
from liualgotrader.common.rows import AlgoRunRow, BatchRow
from liualgotrader.common.secret import Secret
from liualgotrader.common.session_plan import Hours, SessionPlan, SlotPlan, write_plan
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.ipc.batch_codec import encode_picks, frames
from liualgotrader.ipc.links import LinkWriter, Writer
from liualgotrader.ipc.queue_link import QueueWriter
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.store.store_factory import open_store
from liualgotrader.supervisor.request import endpoints_of
from liualgotrader.supervisor.stack import PROGRAMS, Stack

CONSUMERS = 2
LINKS: Mapping[str, Literal["seqpacket", "queue"]] = {"socket": "seqpacket", "queue": "queue"}  # as a tradeplan says it
_STRATEGY = Path(__file__).parent / "strategies" / "last_bar.py"
_DATABASE = "liu_benchmark"
_START_SECONDS = 60.0
_SPAWN = multiprocessing.get_context("spawn")


class _Process:
    """A process of the benchmark itself, with its control link; ends with it."""

    def __init__(self, run: Callable[..., None], *arguments: Any) -> None:
        self.control, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=run, args=(*arguments, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def stop(self) -> None:
        self.control.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)


class Feed:
    """The feed server."""

    def __init__(self) -> None:
        self._process = _Process(feed_server.run)
        if not self._process.control.poll(_START_SECONDS):
            raise RuntimeError("the feed server did not start")
        self.port = int(self._process.control.recv())

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    async def symbols(self, client: str) -> int:
        """Return how many symbols a client has subscribed to."""
        return int(await asyncio.to_thread(self._ask, ["symbols", client]))

    async def send(self, client: str, rate: int, seconds: float) -> Sent:
        """Send a client `rate` events a second for `seconds`."""
        answer = await asyncio.to_thread(self._ask, ["send", client, rate, seconds])
        return msgspec.json.decode(answer, type=Sent)

    def stop(self) -> None:
        """End the server."""
        self._process.stop()

    def _ask(self, request: list[Any]) -> Any:
        self._process.control.send(request)
        return self._process.control.recv()


class Bare:
    """The bare loop."""

    name = "bare"
    client = bare_loop.CLIENT

    def __init__(self, feed: Feed) -> None:
        self._folder = shared_folder()
        self.readings = AllReadings(self._folder)
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(CONSUMERS)]
        self._consumers = [_Process(bare_loop.consume, theirs, self._folder) for _, theirs in pairs]
        self._receiver = _Process(bare_loop.receive, feed.port, [ours for ours, _ in pairs])
        for pair in pairs:
            for end in pair:
                end.close()

    def roles(self) -> dict[str, list[int]]:
        """Return the process ids by role."""
        return {"producer": [self._receiver.pid], "consumers": [c.pid for c in self._consumers]}

    def check(self) -> None:
        """Nothing can go wrong here that the figures do not show."""

    async def stop(self) -> None:
        """End the processes."""
        for process in (self._receiver, *self._consumers):
            await asyncio.to_thread(process.stop)
        shutil.rmtree(self._folder, ignore_errors=True)


class Database:
    """The embedded PostgreSQL in a folder of its own."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="liu-bench-"))
        self._server = EmbeddedServer.start(self.home)
        self._server.ensure_database(_DATABASE)
        self.dsn = self._server.dsn(_DATABASE)

    def close(self, *, keep: bool) -> None:
        """Stop the server and remove the folder, unless it is to be kept for its logs."""
        self._server.release()
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)


class Product:
    """The real producer and consumers on a session plan of their own; only the gateway is a stub."""

    name = "product"
    client = "producer"  # it says so in the handshake

    def __init__(self, plan: SessionPlan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self.readings = AllReadings(folder)
        self._page = SessionPage.create(plan.page_path, plan.process_names(), plan.link_names())
        self._said: list[str] = []
        wanted = ("order_gateway", "producer", *(f"consumer-{i}" for i in range(CONSUMERS)))
        programs = {**PROGRAMS, "order_gateway": "benchmarks.gateway_stub"}
        self._stack = Stack(plan, self._page, self, wanted, programs)
        self._picks: Writer | None = None

    @classmethod
    async def start(cls, feed: Feed, database: Database, link: str) -> Product:
        """Return the running stack over links of that kind, all symbols picked and subscribed; history may still load."""
        folder = shared_folder()
        plan = await _recorded_plan(feed, database, folder, LINKS[link])
        product = cls(plan, folder)
        try:
            await product._begin(feed)
        except BaseException:
            await product.stop()
            raise
        return product

    async def _begin(self, feed: Feed) -> None:
        self._stack.start()
        workers = self._stack.workers.values()
        await self._until("the processes are ready", lambda: _soon(all(w.state == "ready" for w in workers)))
        self._picks = picks = self._picks_writer()
        picks.attach(asyncio.get_running_loop())
        await self._until("the producer takes picks", lambda: _soon(picks.connected))
        now = time.time_ns()
        for payload in frames([Pick(symbol, now, "benchmark") for symbol in SYMBOLS], encode_picks):
            picks.send(payload)

        async def subscribed() -> bool:
            return await feed.symbols(self.client) == len(SYMBOLS)

        await self._until("all symbols are subscribed", subscribed)

    def _picks_writer(self) -> Writer:
        if self._plan.link == "queue":
            queues = self._stack.workers["producer"].keywords["queues"]
            return QueueWriter(queues["picks"], self._page, "picks")
        return LinkWriter(self._plan.link_path("picks"), self._page, "picks")

    def roles(self) -> dict[str, list[int]]:
        """Return the process ids by role."""
        workers = self._stack.workers
        consumers = [workers[f"consumer-{i}"].pid for i in range(CONSUMERS)]
        return {"producer": [workers["producer"].pid], "consumers": consumers}

    def counters(self) -> dict[str, dict[str, float]]:
        """Return what the processes last said of themselves."""
        return {name: dict(worker.counters) for name, worker in self._stack.workers.items()}

    def check(self) -> None:
        """Raise if a process died or said that something is wrong."""
        lost = [w.name for w in self._stack.workers.values() if w.restarts > 0 or not w.alive]
        if lost or self._said:
            raise RuntimeError(f"{', '.join(lost) or 'the stack'}: {'; '.join(self._said)} (see {self._plan.log_dir})")

    async def stop(self) -> None:
        """End the processes in order."""
        if self._picks is not None:
            self._picks.close()
        await self._stack.stop("the benchmark is over")
        self._page.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- what the stack tells its owner ------------------------------------------------------------------

    def give_up(self, sentence: str, exit_code: int) -> None:
        """Hear that the stack cannot go on."""
        self._said.append(sentence)

    def slot_stopped(self, slot: int, reason: str) -> None:
        """Hear that a strategy is not called any more."""
        self._said.append(f"slot {slot} stopped: {reason}")

    def notice(self, level: str, text: str) -> None:
        """Hear what a person should read."""
        if level in ("WARNING", "ERROR"):
            self._said.append(text)

    async def _until(self, what: str, holds: Callable[[], Any]) -> None:
        until = time.monotonic() + _START_SECONDS
        while not await holds():
            self.check_start()
            if time.monotonic() > until:
                raise RuntimeError(f"waited {_START_SECONDS:.0f} s in vain until {what}; see {self._plan.log_dir}")
            await asyncio.sleep(0.05)

    def check_start(self) -> None:
        """Raise if a process ended while it should start."""
        if any(worker.deaths for worker in self._stack.workers.values()) or self._said:
            raise RuntimeError(f"the stack did not start: {'; '.join(self._said)} (see {self._plan.log_dir})")


Side = Bare | Product


async def _soon(value: bool) -> bool:
    return value


async def _recorded_plan(
    feed: Feed, database: Database, folder: Path, link: Literal["seqpacket", "queue"]
) -> SessionPlan:
    """Return a session plan whose batch and slots are in the database, and whose folders exist."""
    batch_id = str(uuid.uuid4())
    home = database.home
    short = batch_id[:8]
    places = {name: home / name / short for name in ("run", "journal", "logs")}
    for place in places.values():
        place.mkdir(parents=True)
    slots = await _record(database.dsn, batch_id)
    pair = Secret("BENCH" + uuid.uuid4().hex[:12].upper()), Secret(uuid.uuid4().hex)
    enter_session_environment(Secrets(*pair, Secret(database.dsn)), keep_vendors=False)
    table = {"filename": str(_STRATEGY), "record_dir": str(folder)}
    tradeplan = TradePlan(
        bypass_market_schedule=True, events=("minute", "trade", "quote"), strategies={"LastBar": table}, link=link
    )
    plan = SessionPlan(
        batch_id=batch_id,
        environment="SIMULATED",
        account_is_new=True,
        hours=session_hours(),
        simulated_clock=False,
        endpoints=endpoints_of(feed.port, "sip"),
        run_dir=str(places["run"]),
        journal_dir=str(places["journal"]),
        log_dir=str(places["logs"]),
        consumers=CONSUMERS,
        slots=tuple(slots),
        tradeplan=tradeplan,
        tradeplan_dir=str(_STRATEGY.parent),
        seed=1,
        timings=tradeplan.timings,
        limits=tradeplan.limits,
        link=link,
    )
    write_plan(plan)
    return plan


async def _record(dsn: str, batch_id: str) -> Sequence[SlotPlan]:
    store = await open_store(dsn, migrate=True)
    now = time.time_ns()
    await store.begin_batch(BatchRow(batch_id, _today(), "SIMULATED", now, {}, {}, {}, 1))
    slots = []
    for index in range(CONSUMERS):
        row = AlgoRunRow(batch_id, index, "LastBar", "SIMULATED", "", {}, now)
        slots.append(SlotPlan(index, "LastBar", index, await store.begin_algo_run(row)))
    await store.close()
    return slots


def session_hours() -> Hours:
    """Return a session that is open now and for as long as a benchmark may take, whatever the time of day."""
    minute = time.time_ns() // MINUTE * MINUTE
    opens, closes = minute - HOUR, minute + 12 * HOUR
    day_before = (opens - 24 * HOUR, opens - 18 * HOUR)
    return Hours(
        day=_today(),
        opens_at=opens,
        closes_at=closes,
        liquidates_at=closes,
        ends_at=closes,
        previous=(day_before,),
        bypass=True,
    )


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
