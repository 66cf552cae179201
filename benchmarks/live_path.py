"""`python -m benchmarks.live_path`: the live path against the bare loop, in alternation, as one JSON document."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from benchmarks.feed_server import TICK_SECONDS
from benchmarks.figures import MOST_BEHIND_US, Run, Search, judge, medians, ratios
from benchmarks.machine import CpuMeter, load_average, machine, versions
from benchmarks.sides import CONSUMERS, LINKS, Bare, Database, Feed, Product, Side
from benchmarks.tape import MESSAGES_A_FRAME, SYMBOLS, FrameTape

LATENCY_RATES = (10_000, 100_000)
_FIRST_RATE = {"bare": 400_000, "product": 200_000}  # where the search for the ceiling begins
_WARM_UP_RATE, _WARM_UP_SECONDS = 20_000, 0.5
_LIVE_SECONDS = 60.0  # for all histories to be loaded, so that every event reaches the strategy
_QUIET_LOOKS = 50  # 20 ms apart, at which nothing more was handled: the rest was dropped
_LOOK_SECONDS = 0.5
BUSY_CORES = 0.1  # used by others: more disturbs a run


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long and how often to measure."""

    seconds: float
    repeats: int
    resolution: float
    sides: tuple[str, ...]
    patience: float
    keep: bool
    link: str


@dataclass(slots=True)
class Findings:
    """Every single run, and each side's ceilings by repeat."""

    runs: list[Run] = field(default_factory=list)
    ceilings: dict[str, list[int]] = field(default_factory=dict)
    counters: list[dict[str, dict[str, float]]] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the JSON document; progress goes to the error output."""
    sizes = _sizes(arguments)
    try:
        document = asyncio.run(_document(sizes))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _sizes(arguments: Sequence[str] | None) -> Sizes:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_path", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.5, help="length of each run (default 2.5)")
    parser.add_argument("--repeats", type=int, default=3, help="alternations; medians are taken over them (default 3)")
    parser.add_argument("--quick", action="store_true", help="one repeat, shorter runs, a coarse ceiling")
    parser.add_argument("--only", choices=("bare", "product"), help="measure one side alone")
    parser.add_argument("--keep", action="store_true", help="leave the product's folder with its logs and journals")
    parser.add_argument("--patience", type=float, default=0, help="seconds, in all, to wait for a quiet machine")
    parser.add_argument("--link", choices=tuple(LINKS), default="socket", help="the product's links (default socket)")
    given = parser.parse_args(arguments)
    sides = (given.only,) if given.only else ("bare", "product")
    if given.quick:
        return Sizes(min(given.seconds, 1.5), 1, 0.3, sides, given.patience, given.keep, given.link)
    return Sizes(given.seconds, given.repeats, 0.1, sides, given.patience, given.keep, given.link)


async def _document(sizes: Sizes) -> dict[str, Any]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that everything started is ended
    before = load_average()
    begun = time.monotonic()
    found = await _measure(sizes)
    return {
        "benchmark": "live_path",
        "machine": machine(),
        "versions": versions(),
        "sizes": {
            "symbols": len(SYMBOLS),
            "messages_a_frame": MESSAGES_A_FRAME,
            "bytes_a_message": FrameTape(frames=1).message_bytes,
            "consumers": CONSUMERS,
            "link": sizes.link,
            "tick_seconds": TICK_SECONDS,
            "seconds": sizes.seconds,
            "repeats": sizes.repeats,
            "ceiling_resolution": sizes.resolution,
            "most_behind_us": MOST_BEHIND_US,
            "patience_seconds": sizes.patience,
        },
        "load_average": {"before": before, "after": load_average()},
        "took_seconds": round(time.monotonic() - begun, 1),
        "ceilings": found.ceilings,
        "medians": medians(found.runs, found.ceilings),
        "product_over_bare": ratios(found.runs, found.ceilings),
        "runs": found.runs,
        "product_counters": found.counters,
    }


async def _measure(sizes: Sizes) -> Findings:
    found = Findings(ceilings={name: [] for name in sizes.sides})
    patience = Patience(sizes.patience)
    feed = Feed()
    database = Database() if "product" in sizes.sides else None
    try:
        for repeat in range(sizes.repeats):
            await _repeat(Measuring(feed, sizes, repeat, found, patience), database)
    finally:
        feed.stop()
        if database is not None:
            database.close(keep=sizes.keep)
            if sizes.keep:
                _say(f"kept {database.home}")
    return found


async def _repeat(measuring: Measuring, database: Database | None) -> None:
    """Start both sides afresh, and alternate between them."""
    sides: list[Side] = []
    found = measuring.found
    try:
        if "bare" in measuring.sizes.sides:
            sides.append(Bare(measuring.feed))
        if database is not None:
            sides.append(await Product.start(measuring.feed, database, measuring.sizes.link))
        for side in sides:
            await measuring.warm_up(side)
        for rate in LATENCY_RATES:
            for side in sides:
                await measuring.run(side, rate, "latency")
        for side in sides:
            found.ceilings[side.name].append(await measuring.ceiling(side))
    finally:
        for side in sides:
            if isinstance(side, Product):
                found.counters.append(side.counters())
            await side.stop()


@dataclass(frozen=True, slots=True)
class Measuring:
    """The runs of one repeat."""

    feed: Feed
    sizes: Sizes
    repeat: int
    found: Findings
    patience: Patience

    async def warm_up(self, side: Side) -> None:
        """Return once every event sent reaches the strategy."""
        until = time.monotonic() + _LIVE_SECONDS
        while await self.feed.symbols(side.client) < len(SYMBOLS) and time.monotonic() < until:  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.05)
        while True:
            sent = await self.feed.send(side.client, _WARM_UP_RATE, _WARM_UP_SECONDS)
            handled = await _settled(side, sent.events)
            side.readings.take()
            side.check()
            if handled == sent.events > 0:
                return
            if time.monotonic() > until:
                raise RuntimeError(f"{side.name}: {handled} of {sent.events} events reach the strategy")

    async def run(self, side: Side, rate: int, purpose: str) -> Run:
        """Make one run and keep what it showed; one that others disturbed is made again while patience lasts."""
        while True:
            await self.patience.quiet()
            begun = time.monotonic()
            run = await self._once(side, rate, purpose)
            harmed = run.other_cores > BUSY_CORES and not (purpose == "ceiling" and run.kept)
            again = harmed and self.patience.spend(time.monotonic() - begun)
            if again:
                run = msgspec.structs.replace(run, purpose="disturbed")
            self.found.runs.append(run)
            _say(f"{self.repeat} {_line(run)}")
            if not run.kept:
                await self.warm_up(side)  # so that what is left of this run does not burden the next
            if not again:
                return run

    async def ceiling(self, side: Side) -> int:
        """Return the highest rate that the side keeps."""
        search = Search(_FIRST_RATE[side.name], self.sizes.resolution)
        while (rate := search.next()) is not None:
            search.tell(kept=(await self.run(side, rate, "ceiling")).kept)
        _say(f"{self.repeat} {side.name:8}ceiling {search.ceiling:,}/s")
        return search.ceiling

    async def _once(self, side: Side, rate: int, purpose: str) -> Run:
        meter = CpuMeter({"feed_server": [self.feed.pid], **side.roles()})
        sent = await self.feed.send(side.client, rate, self.sizes.seconds)
        await _settled(side, sent.events)
        spent, other_cores = meter.spent()
        side.check()
        facts = {"side": side.name, "purpose": purpose, "repeat": self.repeat, "offered": rate}
        return judge(side.readings.take(), sent, spent, other_cores=round(other_cores, 2), **facts)


@dataclass(slots=True)
class Patience:
    """How long, in all, may still be spent on waiting for other programs to leave the processors alone."""

    seconds: float

    async def quiet(self) -> None:
        """Return once the machine is quiet, or patience is at its end."""
        while self.seconds > 0:
            meter = CpuMeter({})
            await asyncio.sleep(_LOOK_SECONDS)
            if meter.spent()[1] <= BUSY_CORES:
                return
            self.spend(_LOOK_SECONDS)

    def spend(self, seconds: float) -> bool:
        """Take off what was spent; return whether there was any left before."""
        left = self.seconds > 0
        self.seconds -= seconds
        return left


async def _settled(side: Side, expected: int) -> int:
    """Return how many events were handled, once all were or nothing more comes."""
    handled, looks = -1, 0
    while handled < expected and looks < _QUIET_LOOKS:
        now = side.readings.count()
        looks = looks + 1 if now == handled else 0
        handled = now
        await asyncio.sleep(0.02)
    return handled


def _line(run: Run) -> str:
    """Return a run in one line, for the error output."""
    cpu = " ".join(f"{role} {spent:.2f}" for role, spent in run.cpu_us_an_event.items())
    return (
        f"{run.side:8}{run.offered:>10,}/s {run.purpose:9} {'kept' if run.kept else 'LOST'}"
        f"  p50 {run.p50_us:,.0f} p99 {run.p99_us:,.0f} p99.9 {run.p999_us:,.0f} us"
        f"  handled {run.handled / max(1, run.sent):.3f}  cpu us: {cpu}, other cores {run.other_cores}"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
