"""A real gateway process, a real simulated market and a consumer that a test plays."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import requests

from liualgotrader.common.clock import HOUR, SECOND, machine_now
from liualgotrader.common.config import SESSION_DSN
from liualgotrader.common.control import DeskFacts, Notice, ProcessReport, RequestAnswer, StopCommand, SupervisorCommand
from liualgotrader.common.order_id import client_order_id
from liualgotrader.common.orders import (
    AccountNews,
    CancelIntent,
    CaughtUp,
    Declare,
    Fill,
    OrderIntent,
    OrderNews,
    OrderState,
    OrderType,
    Side,
    SlotNews,
)
from liualgotrader.common.rows import AlgoRunRow, BatchRow
from liualgotrader.common.session_plan import Endpoints, Hours, MarketSpec, SessionPlan, SlotPlan, write_plan
from liualgotrader.common.tradeplan import Limits, Timings, TradePlan
from liualgotrader.ipc.batch_codec import decode_news, encode_intents
from liualgotrader.ipc.links import LinkReader, LinkWriter
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from liualgotrader.order_gateway import main as gateway_main
from liualgotrader.simulator import main as simulator_main
from liualgotrader.simulator.market_server import TOKEN_FILE
from liualgotrader.store.postgres_store import PostgresStore

OPEN = 1_750_685_400 * SECOND  # 2025-06-23 09:30 New York
BATCH = "5e55104e-0000-4000-8000-000000000000"
KEY, SECRET = "SIMKEY", "sim-secret-of-no-value"
WIDE = Limits(
    quote_age_seconds=0,
    orders_per_minute=100_000,
    order_equity_fraction=1,
    position_equity_fraction=1,
    daily_loss_stop_fraction=1,
    daily_loss_flatten_fraction=1,
)
_SPAWN = multiprocessing.get_context("spawn")


class Stack:
    """Processes by hand: the market runs at `speed`; the gateway is started, killed and stopped by the test."""

    def __init__(self, dsn: str, monkeypatch: Any, *, speed: float, limits: Limits = WIDE) -> None:
        self.dsn = dsn
        self.home = Path(tempfile.mkdtemp(prefix="liu-gw-"))
        for name, value in {"APCA_API_KEY_ID": KEY, "APCA_API_SECRET_KEY": SECRET, SESSION_DSN: dsn}.items():
            monkeypatch.setenv(name, value)
        for folder in ("run", f"journal/{BATCH}", "logs"):
            (self.home / folder).mkdir(parents=True)
        self.processes: list[Any] = []
        self.heard: list[ProcessReport] = []
        port = self._start_market(speed)
        self.plan = self._plan(port, limits)
        write_plan(self.plan)
        self.gateway: Any = None
        self.program: Callable[..., None] = gateway_main.run
        self.control: Connection | None = None

    @property
    def _page_path(self) -> Path:
        return self.home / "run" / "page"

    def _plan(self, port: int, limits: Limits) -> SessionPlan:
        rest, stream = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        return SessionPlan(
            batch_id=BATCH,
            environment="SIMULATED",
            account_is_new=True,
            hours=Hours("2025-06-23", OPEN, OPEN + 6 * HOUR, OPEN + 6 * HOUR, OPEN + 7 * HOUR),
            simulated_clock=True,
            endpoints=Endpoints(rest, rest, f"{stream}/v2/sip", f"{stream}/stream", loopback=True),
            run_dir=str(self.home / "run"),
            journal_dir=str(self.home / "journal" / BATCH),
            log_dir=str(self.home / "logs"),
            consumers=1,
            slots=(SlotPlan(1, "alpha", 0, 1), SlotPlan(2, "beta", 0, 2)),
            tradeplan=TradePlan(),
            tradeplan_dir=".",
            seed=1,
            timings=Timings(broker_timeout_seconds=2.0),
            limits=limits,
        )

    def _start_market(self, speed: float) -> int:
        links = ["picks", "market-0", "intents-0", "news-0"]
        names = ["order_gateway", "producer", "scanners_runner", "consumer-0"]
        self.page = SessionPage.create(self._page_path, names, links)
        spec = MarketSpec(
            kind="generated",
            day="2025-06-23",
            starts_at=OPEN + 60 * SECOND,
            ends_at=OPEN + 6 * HOUR,
            seed=4,
            symbol_count=6,
            speed=speed,
            page=str(self._page_path),
            options={"log_dir": str(self.home / "logs")},
        )
        path = self.home / "market.json"
        path.write_bytes(msgspec.json.encode(spec))
        mine, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=simulator_main.run, args=(str(path), theirs))
        process.start()
        theirs.close()
        self.processes.append(process)
        self._market = mine
        assert mine.poll(60), "the simulated market does not start"
        return int(msgspec.msgpack.decode(mine.recv_bytes())["port"])

    async def prepare(self, store: PostgresStore) -> None:
        """Write what the supervisor would have written."""
        await store.begin_batch(BatchRow(BATCH, "2025-06-23", "SIMULATED", OPEN, {}, {}, {}))
        for slot in self.plan.slots:
            run = AlgoRunRow(BATCH, slot.slot, slot.strategy, "SIMULATED", "", {}, OPEN)
            assert await store.begin_algo_run(run) == slot.algo_run_id

    def start_gateway(self) -> None:
        mine, theirs = _SPAWN.Pipe()
        self.gateway = _SPAWN.Process(target=self.program, args=(self.plan.run_dir, theirs))
        self.page.put(self.page.process("order_gateway"), Cell.LIFE, Life.DOWN)
        self.gateway.start()
        theirs.close()
        self.processes.append(self.gateway)
        self.control = mine

    def kill_gateway(self) -> None:
        os.kill(self.gateway.pid, signal.SIGKILL)
        self.gateway.join(60)
        assert self.control is not None
        self.control.close()

    def listen(self) -> None:
        """Take what the gateway has said to its supervisor."""
        assert self.control is not None
        with suppress(EOFError, OSError):
            while self.control.poll():
                self.heard.append(msgspec.msgpack.decode(self.control.recv_bytes(), type=ProcessReport))

    def say(self, message: SupervisorCommand) -> None:
        assert self.control is not None
        self.control.send_bytes(msgspec.msgpack.encode(message))

    async def stop_gateway(self, *, flatten: bool = False) -> int:
        self.say(StopCommand("the test is over", flatten))
        until = machine_now() + 60 * SECOND
        while self.gateway.is_alive():
            assert machine_now() < until, f"the gateway does not stop: {self.log()[-3000:]}"
            self.listen()
            await asyncio.sleep(0.05)
        self.listen()
        self.gateway.join()
        return int(self.gateway.exitcode)

    def notices(self) -> list[str]:
        return [m.text for m in self.heard if isinstance(m, Notice)]

    def facts(self) -> dict[str, Any]:
        return {k: v for m in self.heard if isinstance(m, DeskFacts) for k, v in m.facts.items()}

    def ask(self, path: str, **params: Any) -> Any:
        """Return what the broker says, over REST."""
        headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
        answer = requests.get(
            f"{self.plan.endpoints.trading_url}/v2/{path}", params=params, headers=headers, timeout=60
        )
        answer.raise_for_status()
        return answer.json()

    def tell(self, path: str, *, method: str = "POST", **body: Any) -> Any:
        """Ask the broker for something as a person would, past the gateway."""
        headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
        url = f"{self.plan.endpoints.trading_url}/v2/{path}"
        answer = requests.request(method, url, json=body, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def simulate(self, path: str, **body: Any) -> None:
        """Do something to the simulated market that only a test may."""
        token = (self.home / "run" / TOKEN_FILE).read_text()
        url = f"{self.plan.endpoints.trading_url}/_sim/{path}"
        requests.post(url, json=body, headers={"X-LIU-Token": token}, timeout=60).raise_for_status()

    def answer(self, ticket: int) -> str:
        """Return what the gateway answered to an operator's order by now, empty if nothing."""
        self.listen()
        return next((m.text for m in self.heard if isinstance(m, RequestAnswer) and m.ticket == ticket), "")

    def heard_notices(self) -> list[str]:
        """Return what the gateway has told its supervisor by now."""
        self.listen()
        return self.notices()

    def log(self) -> str:
        path = self.home / "logs" / "order_gateway.log"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join(60)
        self._market.close()
        if self.control is not None:
            self.control.close()


class PlayedConsumer:
    """The consumer's end of both links, as the wiring demands it: declares, re-sends what is unanswered, acts once."""

    def __init__(self, stack: Stack, swing: frozenset[int] = frozenset()) -> None:
        plan, page = stack.plan, stack.page
        self.stack = stack
        self.writer = LinkWriter(plan.link_path("intents-0"), page, "intents-0")
        self.reader = LinkReader(plan.link_path("news-0"), page, "news-0")
        self.news: dict[int, list[SlotNews]] = {1: [], 2: []}
        self.kept: dict[str, OrderIntent | CancelIntent] = {}
        self.numbers = {1: 0, 2: 0}
        self.account: AccountNews | None = None
        self.swing = swing
        self.caught_up: set[int] = set()
        loop = asyncio.get_running_loop()
        self.reader.attach(loop, self._on_news)
        self.writer.on_connected(self._connected)
        self.writer.attach(loop)

    def _connected(self) -> None:
        declared = [self._declare(s.slot, s.strategy) for s in self.stack.plan.slots]
        self.writer.send(encode_intents([*declared, *self.kept.values()]))

    def _declare(self, slot: int, strategy: str) -> Declare:
        return Declare(slot, strategy, slot not in self.swing, len(self.news[slot]))

    def _on_news(self, payload: bytes) -> None:
        for item in decode_news(payload):
            if isinstance(item, AccountNews):
                self.account = item
            elif isinstance(item, CaughtUp):
                self.caught_up.add(item.slot)
                self.numbers[item.slot] = max(self.numbers[item.slot], item.next_order_number - 1)
            else:
                self._act(item)
        self.reader.handled()

    def _act(self, item: SlotNews) -> None:
        known = self.news[item.slot]
        if item.seq == len(known) + 1:
            known.append(item)
        elif item.seq > len(known):
            self.writer.send(encode_intents([self._declare(item.slot, "?")]))
            return
        if isinstance(item, OrderNews):
            self.kept.pop(item.client_order_id, None)
            if item.state.is_final or item.state is OrderState.PENDING_CANCEL:
                self.kept.pop(f"cancel {item.client_order_id}", None)

    def order(
        self,
        slot: int,
        side: Side,
        quantity: int,
        symbol: str,
        price: Decimal,
        *,
        limit: bool = False,
        stays: bool = False,
        planned_stop: Decimal | None = None,
    ) -> str:
        self.numbers[slot] += 1
        name = client_order_id(BATCH, slot, self.numbers[slot])
        intent = OrderIntent(
            name,
            slot,
            {1: "alpha", 2: "beta"}[slot],
            symbol,
            side,
            Decimal(quantity),
            OrderType.LIMIT if limit else OrderType.MARKET,
            decided_at=self.market_now(),
            valid_until=machine_now() + 240 * SECOND,
            limit_price=price if limit else None,
            cancel_after=0 if stays else 10 * SECOND,
            reference_price=price,
            reference_at=self.market_now(),
            planned_stop=planned_stop,
        )
        self.kept[name] = intent
        self.writer.send(encode_intents([intent]))
        return name

    def cancel(self, name: str, slot: int) -> None:
        intent = CancelIntent(name, slot, self.market_now())
        self.kept[f"cancel {name}"] = intent
        self.writer.send(encode_intents([intent]))

    def market_now(self) -> int:
        anchor = self.stack.page.anchor()
        return anchor.market(machine_now()) if anchor else 0

    def state(self, name: str) -> OrderState | None:
        found = [
            n.state
            for said in self.news.values()
            for n in said
            if isinstance(n, OrderNews) and n.client_order_id == name
        ]
        return found[-1] if found else None

    def position(self, slot: int, symbol: str) -> Decimal:
        found = [n.position for n in self.news[slot] if isinstance(n, Fill) and n.symbol == symbol]
        return found[-1] if found else Decimal(0)

    def open(self) -> list[str]:
        """Return the orders without a known end."""
        last: dict[str, OrderState] = {}
        for said in self.news.values():
            for item in said:
                if isinstance(item, OrderNews):
                    last[item.client_order_id] = item.state
        unheard = [name for name in self.kept if not name.startswith("cancel")]
        return [*unheard, *(name for name, state in last.items() if not state.is_final)]

    async def until(self, reached: Callable[[], bool], seconds: float = 240.0) -> None:
        """Wait for something to be true."""
        until = machine_now() + int(seconds * SECOND)
        while not reached():
            assert machine_now() < until, f"never came true; open: {self.open()}; log: {self.stack.log()[-3000:]}"
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self.writer.close()
        self.reader.close()
