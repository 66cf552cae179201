"""`python -m benchmarks.stages`: what each step between the wire and the strategy costs, in ns of CPU per event.

One process, no sockets: the product's own functions on the frames that the live path sends, step after step.
"""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import load_average, machine, versions
from benchmarks.sides import session_hours
from benchmarks.strategies.last_bar import LastBar
from benchmarks.tape import SYMBOLS, FrameTape
from liualgotrader.common.clock import MINUTE, WallClock
from liualgotrader.common.events import Bar, EventBatch, MarketEvent, Pick
from liualgotrader.common.orders import CaughtUp
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.consumer.strategy_calls import CallGuard
from liualgotrader.data import alpaca_messages as alpaca_wire
from liualgotrader.data.alpaca_feed import AlpacaFeed
from liualgotrader.engine.calling import CallWatch
from liualgotrader.engine.engine import Engine, EngineTerms
from liualgotrader.engine.freshness import Freshness
from liualgotrader.ipc.batch_codec import decode_batch
from liualgotrader.ipc.process_status import ProcessStatus
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.producer.router import Assignment, EventOutbox, Router
from liualgotrader.strategies.frames import lazy_frames

_REPEATS = 9
_HEAD_BYTES = 4  # of a websocket frame
_SLOTS = (SlotPlan(0, "LastBar", 0, 1),)


def main() -> None:
    """Measure, and print the JSON document."""
    folder = Path(tempfile.mkdtemp(prefix="liu-stages-"))
    try:
        page = SessionPage.create(folder / "page", ["consumer-0"], ["market-0"])
        status = ProcessStatus(page, "consumer-0")
        gc.collect()
        gc.freeze()
        watch = CallGuard(status, print)
        watch.begin({slot.slot: slot.strategy for slot in _SLOTS})
        runs = [_once(folder, watch) for _ in range(_REPEATS)]
        status.close()
        page.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    document = {
        "benchmark": "stages",
        "machine": machine(),
        "versions": versions(),
        "load_average": load_average(),
        "unit": "ns of CPU per event",
        "medians": {step: round(statistics.median(run[step] for run in runs)) for step in runs[0]},
        "runs": [{step: round(ns) for step, ns in run.items()} for run in runs],
    }
    print(json.dumps(document, indent=2))


def _once(folder: Path, watch: CallGuard) -> dict[str, float]:
    clock = WallClock()
    payloads = _payloads(clock.now())
    events = 10 * len(payloads)
    took: dict[str, float] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        before = time.process_time_ns()
        found = work()
        took[step] = (time.process_time_ns() - before) / events
        return found

    feed, outbox = AlpacaFeed("key", "secret"), EventOutbox(1)
    router = Router(_SLOTS, [outbox], Assignment(1, {}))
    for symbol in SYMBOLS:
        router.accept(Pick(symbol, 1, "benchmark"))
    outbox.flush(lambda payload: True, 1)
    sent: list[bytes] = []
    timed("producer: decode alone", lambda: list(map(alpaca_wire.decode, payloads)))
    received = timed("producer: decode and make events", lambda: list(map(feed.receive, payloads)))
    timed("producer: route", partial(_route, router, received))
    timed("producer: encode batches", lambda: outbox.flush(lambda payload: _keep(sent, payload), 1))
    batches = timed("consumer: decode batches", lambda: list(map(decode_batch, sent)))
    freshness = Freshness(5.0)
    timed("consumer: judge age", lambda: [freshness.judge(batch.events, clock.age) for batch in batches])
    for name, seen in (("engine and strategy", None), ("engine and strategy, watched", watch)):
        engine = _engine(folder, seen, clock.now())
        timed(f"consumer: {name}", partial(_drive, engine, batches, clock, seen))
    return took


def _payloads(at: int) -> list[bytes]:
    tape = FrameTape()
    tape.stamp(0, tape.frames, at)
    return [bytes(tape.part(number, 1))[_HEAD_BYTES:] for number in range(tape.frames)]


def _engine(folder: Path, watch: CallWatch | None, now: int) -> Engine:
    engine = Engine(EngineTerms("stages", session_hours()), lazy_frames, watch=watch)
    strategy = LastBar("stages", str(folder))
    asyncio.run(strategy.create())
    engine.add(_SLOTS[0], strategy)
    engine.on_news([CaughtUp(0, 0, 1)], now, 0)
    engine.on_batch(EventBatch(0, 0, 0, [Pick(symbol, now, "benchmark") for symbol in SYMBOLS]), now, 0)
    opened_at = now // MINUTE * MINUTE - MINUTE
    for symbol in SYMBOLS:
        bar = Bar(symbol, opened_at, opened_at + MINUTE, 100.0, 100.1, 99.9, 100.0, 1000.0, 100.0, 10)
        engine.on_history(symbol, [bar], now, 0)
    return engine


def _route(router: Router, received: Iterable[Iterable[MarketEvent]]) -> None:
    for some in received:
        router.dispatch(some)


def _keep(sent: list[bytes], payload: bytes) -> bool:
    sent.append(payload)
    return True


def _drive(engine: Engine, batches: Sequence[EventBatch], clock: WallClock, watch: CallGuard | None) -> None:
    for batch in batches:
        engine.on_batch(batch, clock.now(), clock.machine())
        if watch is not None:
            watch.compare()


if __name__ == "__main__":
    main()
