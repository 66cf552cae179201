"""`python -m benchmarks.live_path`: the live path against the bare loop, in alternation, as one JSON document."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from benchmarks.feed_server import TICK_SECONDS
from benchmarks.figures import MOST_BEHIND_US, Run, Search, judge, medians, ratios
from benchmarks.machine import CpuMeter, load_average, machine, versions
from benchmarks.sides import CONSUMERS, Bare, Database, Feed, Product, Side
from benchmarks.tape import MESSAGES_A_FRAME, SYMBOLS, FrameTape

LATENCY_RATES = (10_000, 100_000)
_FIRST_RATE = {"bare": 400_000, "product": 200_000}  # where the search for the ceiling begins
_WARM_UP_RATE, _WARM_UP_SECONDS = 20_000, 0.5
_LIVE_SECONDS = 60.0  # for all histories to be loaded, so that every event reaches the strategy
_QUIET_SECONDS = 0.4  # nothing handled for so long: the rest was dropped


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long and how often to measure."""

    seconds: float
    repeats: int
    resolution: float
    sides: tuple[str, ...]
    keep: bool


@dataclass(slots=True)
class Findings:
    """Every single run, and each side's ceilings by repeat."""

    runs: list[Run] = field(default_factory=list)
    ceilings: dict[str, list[int]] = field(default_factory=dict)
    counters: list[dict[str, dict[str, float]]] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the JSON document; progress goes to the error output."""
    sizes = _sizes(arguments)
    document = asyncio.run(_document(sizes))
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _sizes(arguments: Sequence[str] | None) -> Sizes:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_path", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.5, help="length of each run (default 2.5)")
    parser.add_argument("--repeats", type=int, default=3, help="alternations; medians are taken over them (default 3)")
    parser.add_argument("--quick", action="store_true", help="one repeat, shorter runs, a coarse ceiling")
    parser.add_argument("--only", choices=("bare", "product"), help="measure one side alone")
    parser.add_argument("--keep", action="store_true", help="leave the product's folder with its logs and journals")
    given = parser.parse_args(arguments)
    sides = (given.only,) if given.only else ("bare", "product")
    if given.quick:
        return Sizes(min(given.seconds, 1.5), 1, 0.3, sides, given.keep)
    return Sizes(given.seconds, given.repeats, 0.1, sides, given.keep)


async def _document(sizes: Sizes) -> dict[str, Any]:
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
            "tick_seconds": TICK_SECONDS,
            "seconds": sizes.seconds,
            "repeats": sizes.repeats,
            "ceiling_resolution": sizes.resolution,
            "most_behind_us": MOST_BEHIND_US,
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
    feed = Feed()
    database = Database() if "product" in sizes.sides else None
    try:
        for repeat in range(sizes.repeats):
            await _repeat(sizes, repeat, feed, database, found)
    finally:
        feed.stop()
        if database is not None:
            database.close(keep=sizes.keep)
            if sizes.keep:
                _say(f"kept {database.home}")
    return found


async def _repeat(sizes: Sizes, repeat: int, feed: Feed, database: Database | None, found: Findings) -> None:
    """Start both sides afresh, and alternate between them."""
    sides: list[Side] = []
    try:
        if "bare" in sizes.sides:
            sides.append(Bare(feed))
        if database is not None:
            sides.append(await Product.start(feed, database))
        measuring = Measuring(feed, sizes, repeat, found)
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
        """Make one run and keep what it showed."""
        meter = CpuMeter({"feed_server": [self.feed.pid], **side.roles()})
        begun = time.monotonic()
        sent = await self.feed.send(side.client, rate, self.sizes.seconds)
        await _settled(side, sent.events)
        spent, others = meter.spent()
        took = time.monotonic() - begun
        side.check()
        run = judge(
            side.readings.take(),
            sent,
            spent,
            side=side.name,
            purpose=purpose,
            repeat=self.repeat,
            offered=rate,
            other_cores=round(others / took, 2),
        )
        self.found.runs.append(run)
        _say(
            f"{self.repeat} {side.name:8}{rate:>10,}/s  {'kept' if run.kept else 'LOST'}"
            f"  p50 {run.p50_us:,.0f} p99 {run.p99_us:,.0f} p99.9 {run.p999_us:,.0f} us"
            f"  handled {run.handled / max(1, run.sent):.3f}  cpu {run.cpu_us_an_event}  others {run.other_cores}"
        )
        return run

    async def ceiling(self, side: Side) -> int:
        """Return the highest rate that the side keeps."""
        search = Search(_FIRST_RATE[side.name], self.sizes.resolution)
        while (rate := search.next()) is not None:
            search.tell(kept=(await self.run(side, rate, "ceiling")).kept)
        _say(f"{self.repeat} {side.name:8}ceiling {search.ceiling:,}/s")
        return search.ceiling


async def _settled(side: Side, expected: int) -> int:
    """Return how many events were handled, once all were or nothing more comes."""
    handled, since = -1, time.monotonic()
    while handled < expected and time.monotonic() - since < _QUIET_SECONDS:
        now = side.readings.count()
        if now != handled:
            handled, since = now, time.monotonic()
        await asyncio.sleep(0.02)
    return handled


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
