"""The producer between a vendor, a scanner's link and two consumers' links."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.clock import MILLISECOND, MINUTE, SECOND, machine_now
from liualgotrader.common.control import Counters, Ready
from liualgotrader.common.events import (
    Bar,
    EventBatch,
    FeedEvent,
    FromConsumer,
    Gap,
    Needs,
    Pick,
    Rejected,
    Status,
    TradeTick,
    Unpick,
)
from liualgotrader.common.session_plan import SessionPlan, SlotPlan
from liualgotrader.common.tradeplan import Limits, Timings
from liualgotrader.ipc.batch_codec import decode_batch, encode_needs, encode_picks
from liualgotrader.ipc.links import LinkReader, LinkWriter
from liualgotrader.ipc.session_page import Cell, SessionPage
from liualgotrader.producer.producer_process import Producer
from tests.fakes.producer_process import FileStore, dependencies, run
from tests.fakes.session import HostedChild, make_plan
from tests.fakes.vendor_stream import VendorStream, timestamp, vendor

pytestmark = pytest.mark.integration

AT = 1_709_908_200 * SECOND


def trade(symbol: str, number: int) -> dict[str, Any]:
    at = timestamp(AT + number * MILLISECOND)
    return {"T": "t", "S": symbol, "i": 1, "x": "V", "p": 10.0, "s": 100, "c": ["@"], "z": "C", "t": at}


def bar(symbol: str) -> dict[str, Any]:
    return {
        "T": "b",
        "S": symbol,
        "o": 1.0,
        "h": 1.0,
        "l": 1.0,
        "c": 1.0,
        "v": 1,
        "n": 1,
        "vw": 1.0,
        "t": timestamp(AT),
    }


class Consumer:
    """A consumer's ends of its market link and its needs link."""

    def __init__(self, plan: SessionPlan, index: int) -> None:
        self._page = SessionPage(plan.page_path)
        self.link = LinkReader(plan.link_path(f"market-{index}"), self._page, f"market-{index}")
        self.needs = LinkWriter(plan.link_path(f"needs-{index}"), self._page, f"needs-{index}")
        self.needs.on_connected(self._tell)
        self.told: list[FromConsumer] = [Needs({})]
        self.batches: list[EventBatch] = []
        self.handles = True

    def attach(self) -> None:
        self.link.attach(asyncio.get_running_loop(), self._take)
        self.needs.attach(asyncio.get_running_loop())

    def tell(self, *messages: FromConsumer) -> None:
        """Say what is so from now on, to this producer and to each one after it."""
        self.told = list(messages)
        self._tell()

    def _tell(self) -> None:
        if self.needs.connected:
            assert not self.told or self.needs.send(encode_needs(self.told))

    def close(self) -> None:
        self.link.close()
        self.needs.close()

    def _take(self, payload: bytes) -> None:
        self.batches.append(decode_batch(payload))
        if self.handles:
            self.link.handled()

    @property
    def events(self) -> list[FeedEvent]:
        return [event for batch in self.batches for event in batch.events]

    def trades(self) -> list[int]:
        return [(event.at - AT) // MILLISECOND for event in self.events if isinstance(event, TradeTick)]


class Floor:
    """A vendor, two consumers and a scanner round one producer."""

    def __init__(self, market: VendorStream, plan: SessionPlan, *, silent: bool = False) -> None:
        self.market, self.plan = market, plan
        self.page = SessionPage(plan.page_path)
        self.consumers = [Consumer(plan, 0), Consumer(plan, 1)]
        if silent:
            self.consumers[1].told = []
        for consumer in self.consumers:
            consumer.attach()
        self.scanner = LinkWriter(plan.link_path("picks"), self.page, "picks")
        self.scanner.attach(asyncio.get_running_loop())

    async def pick(self, *picks: Pick) -> None:
        await self.market.until(lambda: self.scanner.connected)
        assert self.scanner.send(encode_picks(picks))

    async def until_quiet(self) -> None:
        """Return once nothing is under way, as the simulated market would see it."""
        await self.market.until(lambda: not self.page.under_way(AT))

    def close(self) -> None:
        self.scanner.close()
        for consumer in self.consumers:
            consumer.close()


@asynccontextmanager
async def floor(
    folder: Path, tradeplan: dict[str, Any] | None = None, *, silent: bool = False, **more: Any
) -> AsyncIterator[tuple[Floor, HostedChild]]:
    """A producer that runs in this process; if `silent`, the second consumer does not say what it needs."""
    async with vendor() as market:
        plan = make_plan(folder, tradeplan, endpoints=market.endpoints, **more)
        around = Floor(market, plan, silent=silent)
        hosted = HostedChild("producer", plan)
        store = FileStore(folder / "record.json")
        task = asyncio.ensure_future(Producer(hosted.child, dependencies(hosted.child, store)).run())
        try:
            await market.until(lambda: task.done() or hosted.said(Ready))
            await market.until(lambda: all(consumer.needs.connected for consumer in around.consumers))
            yield around, hosted
        finally:
            hosted.stop()
            await asyncio.wait_for(task, 60)
            around.close()
            hosted.close()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("p")


@pytest.mark.parity(12)
async def test_picked_symbols_are_subscribed_sharded_and_delivered_in_order(folder: Path) -> None:
    async with floor(folder) as (around, _):
        await around.pick(Pick("A", AT, "s"), Pick("B", AT, "s"))
        await around.market.until(lambda: around.consumers[1].events)
        await around.until_quiet()
        assert around.market.carried["trades"] == around.market.carried["quotes"] == {"A", "B"}
        for number in range(0, 100, 2):
            await around.market.push(trade("A", number), trade("B", number + 1))
        await around.market.until(lambda: len(around.consumers[1].trades()) == 50)
        assert around.consumers[0].trades() == list(range(0, 100, 2))
        assert around.consumers[1].trades() == list(range(1, 100, 2))
        assert [c.events[0] for c in around.consumers] == [Pick("A", AT, "s"), Pick("B", AT, "s")]
        for consumer in around.consumers:
            assert [b.seq for b in consumer.batches] == list(range(1, len(consumer.batches) + 1))
            assert len({b.producer_epoch for b in consumer.batches}) == 1


@pytest.mark.parity(8)
async def test_only_the_events_of_the_tradeplan_are_subscribed(folder: Path) -> None:
    async with floor(folder, {"events": ("minute",)}) as (around, _):
        await around.pick(Pick("A", AT, "s"))
        await around.until_quiet()
        assert {c for c, symbols in around.market.carried.items() if symbols} == {"bars", "updatedBars", "statuses"}


async def test_a_run_all_home_gets_minute_bars_whatever_the_tradeplans_events(folder: Path) -> None:
    slots = (SlotPlan(0, "Alpha", 0, 1), SlotPlan(1, "Rotation", 1, 2, run_all=True))
    async with floor(folder, {"events": ("trade",)}, slots=slots) as (around, _):
        await around.pick(Pick("A", AT, "s", "Rotation"))
        await around.until_quiet()
        assert around.market.carried["bars"] == around.market.carried["updatedBars"] == {"A"}
        await around.market.push(bar("A"))
        await around.market.until(lambda: any(isinstance(event, Bar) for event in around.consumers[1].events))


async def test_a_feed_that_falls_mute_in_market_hours_is_connected_again_and_a_person_is_told(folder: Path) -> None:
    async with floor(folder, timings=Timings(feed_mute_seconds=0.2)) as (around, hosted):
        await around.pick(*(Pick(f"S{i}", AT, "s") for i in range(20)))
        await around.market.until(lambda: len(around.market.handshakes) == 2)
        await around.market.until(lambda: any("has sent nothing" in notice for notice in hosted.notices))


async def test_the_market_is_held_until_a_pick_is_subscribed_and_sent_and_each_frame_handled(folder: Path) -> None:
    async with floor(folder) as (around, hosted):
        await around.until_quiet()
        answers = asyncio.Event()
        say = around.market._say_carried

        async def late(connection: Any) -> None:
            await answers.wait()
            await say(connection)

        around.market._say_carried = late  # type: ignore[method-assign]
        await around.pick(Pick("A", AT, "s"))
        await around.market.until(lambda: around.consumers[0].events)
        assert around.page.under_way(AT) == ["link picks is not empty"]
        answers.set()
        await around.until_quiet()
        row = around.page.process("producer")
        frames = around.page.get(row, Cell.FEED_HANDLED)
        around.consumers[0].handles = False
        around.page.put(row, Cell.FEED_SENT, frames + 1)  # as the simulated market does before it sends
        await around.market.push(trade("A", 1))
        await around.market.until(lambda: around.page.get(row, Cell.FEED_HANDLED) == frames + 1)
        assert around.page.under_way(AT) == ["link market-0 is not empty"]
        await around.market.until(lambda: len(around.consumers[0].trades()) == 1)
        around.consumers[0].link.handled()
        await around.until_quiet()
        assert hosted.child.status.name == "producer"


async def test_a_broken_line_holds_the_market_until_all_is_subscribed_again(folder: Path) -> None:
    async with floor(folder) as (around, _):
        await around.pick(Pick("A", AT, "s"))
        await around.until_quiet()
        around.market.cut()
        await around.market.until(lambda: around.page.under_way(AT) == ["producer is busy"])
        await around.until_quiet()
        assert around.market.carried["trades"] == {"A"}
        await around.market.push(trade("A", 7))
        await around.market.until(lambda: around.consumers[0].trades() == [7])


async def test_a_consumer_that_starts_again_hears_its_picks_and_halts_first(folder: Path) -> None:
    async with floor(folder) as (around, _):
        await around.pick(Pick("A", AT, "s"), Pick("B", AT, "s"))
        await around.until_quiet()
        halt = {"T": "s", "S": "A", "sc": "H", "sm": "", "rc": "T1", "rm": "", "z": "C", "t": timestamp(AT)}
        await around.market.push(halt)
        await around.market.until(lambda: around.consumers[0].events[-1:] == [Status("A", AT, True, "H", "T1")])
        around.consumers[0].close()  # it is killed
        fresh = Consumer(around.plan, 0)
        await around.market.push(trade("A", 1))
        fresh.attach()
        around.consumers[0] = fresh
        await around.market.until(lambda: fresh.trades() == [1])
        assert fresh.events[0] == Pick("A", AT, "s")
        assert Status("A", AT, True, "H", "T1") in fresh.events


async def test_a_consumer_that_does_not_read_delays_nobody(folder: Path) -> None:
    async with floor(folder) as (around, _):
        await around.pick(Pick("A", AT, "s"), Pick("B", AT, "s"))
        await around.until_quiet()
        around.consumers[0].link.close()
        for number in range(300):
            await around.market.push(*(trade("A", number) for _ in range(20)), trade("B", number))
        await around.market.until(lambda: len(around.consumers[1].trades()) == 300)
        assert around.consumers[1].trades() == list(range(300))


async def test_a_run_all_home_gets_bars_and_sampled_prices(folder: Path) -> None:
    slots = (SlotPlan(0, "Alpha", 0, 1), SlotPlan(1, "Rotation", 1, 2, run_all=True))
    async with floor(folder, slots=slots) as (around, _):
        await around.pick(Pick("A", AT, "s", "Rotation"))
        await around.until_quiet()
        await around.market.push(*(trade("A", number) for number in range(50)))
        await around.market.push(bar("A"))
        home = around.consumers[1]
        await around.market.until(lambda: home.trades()[-1:] == [49])
        kinds = [
            type(event) for event in home.events if not isinstance(event, Gap)
        ]  # on a slow machine the line may break
        assert (kinds[0], kinds.count(Bar)) == (Pick, 1)
        assert kinds.count(TradeTick) < 10  # four times a second, however many there were
        assert around.consumers[0].events == []


async def test_a_symbol_that_everybody_rejected_is_unsubscribed_and_not_taken_in_again(folder: Path) -> None:
    async with floor(folder) as (around, _):
        await around.pick(Pick("A", AT, "s"), Pick("B", AT, "s"))
        await around.until_quiet()
        around.consumers[0].tell(Rejected(0, ["A"]), Needs({0: []}))
        await around.market.until(lambda: isinstance(around.consumers[0].events[-1], Unpick))
        await around.until_quiet()
        assert around.market.carried["trades"] == {"B"}
        await around.pick(Pick("A", AT + SECOND, "s"), Pick("C", AT + SECOND, "s"))
        await around.until_quiet()
        assert around.market.carried["trades"] == {"B", "C"}


async def test_what_a_consumer_holds_is_subscribed_stored_as_its_own_and_delivered(folder: Path) -> None:
    async with floor(folder) as (around, _):
        around.consumers[1].tell(Needs({1: ["X"]}))
        await around.market.until(lambda: around.market.carried["trades"] == {"X"})
        await around.until_quiet()
        await around.market.push(trade("X", 3))
        await around.market.until(lambda: around.consumers[1].trades() == [3])
        assert await FileStore(folder / "record.json").assignments("") == {"X": 1}
        await around.pick(Pick("X", AT, "s"))
        await around.market.until(lambda: around.consumers[1].events[-1] == Pick("X", AT, "s"))
        assert around.consumers[0].events == []


async def test_where_positions_may_be_left_from_before_no_pick_comes_first(folder: Path) -> None:
    async with floor(folder, environment="PAPER", account_is_new=False, silent=True) as (around, _):
        await around.pick(Pick("X", AT, "s"))
        await around.market.until(lambda: around.consumers[0].needs.qsize() == 0)
        assert around.page.under_way(AT) == ["link picks is not empty"]
        late = around.consumers[1]
        late.tell(Needs({1: ["X"]}))
        await around.market.until(lambda: Pick("X", AT, "s") in late.events)
        assert around.consumers[0].events == []


class HeldMarket:
    """Simulated time, moved by hand."""

    def __init__(self, around: Floor) -> None:
        self.around = around

    async def reach(self, at: int) -> None:
        """Let time go on to `at` and return once all that follows is done with."""
        page = self.around.page
        page.set_anchor(at, machine_now(), 0.0)
        await self.around.market.until(lambda: not page.under_way(at))


RECURRING = {"scanners": {"s": {"recurrence": 5}}}


@asynccontextmanager
async def held(folder: Path, *, silent: bool = False, **more: Any) -> AsyncIterator[tuple[Floor, HeldMarket]]:
    """A producer in simulated time; scanner `s` runs every five minutes, its picks last eight."""
    tradeplan = {**RECURRING, "timings": Timings(unpick_minutes=8), **more}
    page = SessionPage(make_plan(folder).page_path)
    page.set_anchor(AT, machine_now(), 0.0)
    async with floor(folder, tradeplan, silent=silent, page=page, simulated_clock=True) as (around, _):
        yield around, HeldMarket(around)


async def test_a_symbol_not_picked_for_too_long_is_let_go_unless_somebody_needs_it(folder: Path) -> None:
    async with held(folder) as (around, market):
        await around.pick(*(Pick(symbol, AT, "s") for symbol in ("A", "B", "C", "D")), Pick("O", AT, "once"))
        await around.until_quiet()
        around.consumers[0].tell(Needs({0: ["C"]}))
        await market.reach(AT + 5 * MINUTE)
        await around.pick(Pick("B", AT + 5 * MINUTE, "s"))
        await around.until_quiet()
        await market.reach(AT + 8 * MINUTE + 29 * SECOND)
        assert around.market.carried["trades"] == set("ABCDO")
        await market.reach(AT + 8 * MINUTE + 30 * SECOND)
        assert around.market.carried["trades"] == set("BCO")
        gone = {event.symbol for consumer in around.consumers for event in consumer.events if isinstance(event, Unpick)}
        assert gone == {"A", "D"}
        around.consumers[0].tell(Needs({0: []}))
        await around.until_quiet()
        await market.reach(AT + 9 * MINUTE + 30 * SECOND)
        assert around.market.carried["trades"] == set("BO"), "what was held is let go when it is not any more"
        await market.reach(AT + 13 * MINUTE + 30 * SECOND)
        assert around.market.carried["trades"] == set("O")
        await around.pick(Pick("A", AT + 14 * MINUTE, "s"))
        await around.until_quiet()
        assert around.market.carried["trades"] == set("AO")


async def test_nothing_is_let_go_before_every_consumer_has_said_what_it_needs(folder: Path) -> None:
    async with held(folder, silent=True) as (around, market):
        await around.pick(Pick("A", AT, "s"))
        await around.until_quiet()
        await market.reach(AT + 60 * MINUTE)
        assert around.market.carried["trades"] == {"A"}
        around.consumers[1].tell(Needs({1: []}))
        await around.until_quiet()
        await market.reach(AT + 61 * MINUTE)
        assert around.market.carried["trades"] == set()


async def test_with_keep_picks_nothing_is_let_go(folder: Path) -> None:
    async with held(folder, keep_picks=True) as (around, market):
        await around.pick(Pick("A", AT, "s"))
        await around.until_quiet()
        await market.reach(AT + 6 * 60 * MINUTE)
        assert around.market.carried["trades"] == {"A"}


async def test_figures_are_reported(folder: Path) -> None:
    async with floor(folder, limits=Limits(max_symbols=1)) as (around, hosted):
        await around.pick(Pick("A", AT, "s"), Pick("B", AT, "s"))
        await around.until_quiet()
        await around.market.push(trade("A", 1), trade("A", 2))
        await around.market.until(lambda: [c for c in hosted.said(Counters) if c.values["events"] == 2])
        values = hosted.said(Counters)[-1].values
        assert {n: values[n] for n in ("symbols", "picks_refused", "dropped_0", "waiting_0", "connected", "bad_messages")} == {
            "symbols": 1, "picks_refused": 1, "dropped_0": 0, "waiting_0": 0, "connected": 1, "bad_messages": 0,
        }  # fmt: skip
        assert any("follows 1 symbols" in text for text in hosted.notices)


async def test_after_kill_9_a_new_producer_goes_on_within_a_second_with_the_same_owners(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    async with vendor() as market:
        plan = make_plan(folder, endpoints=market.endpoints)
        around = Floor(market, plan)

        def start() -> Any:
            ours, theirs = context.Pipe()
            process = context.Process(target=run, args=(plan.run_dir, theirs), daemon=True)
            process.start()
            theirs.close()
            return process, ours

        process, control = start()
        await around.pick(*(Pick(symbol, AT, "s") for symbol in "ABCDE"))
        await around.until_quiet()
        owners = [{e.symbol for e in c.events} for c in around.consumers]
        assert owners == [{"A", "C", "E"}, {"B", "D"}]
        for times in range(3):
            process.kill()
            process.join(60)
            process, control = start()
            await market.until(lambda times=times: len(market.handshakes) == times + 2)
            await market.until(lambda: market.carried["trades"] == set("ABCDE"))
            counts = [len(c.trades()) for c in around.consumers]
            await market.push(*(trade(symbol, times) for symbol in "ABCDE"))
            await market.until(
                lambda counts=counts: [len(c.trades()) for c in around.consumers] == [counts[0] + 3, counts[1] + 2]
            )
        assert [{e.symbol for e in c.events} for c in around.consumers] == owners
        assert len({b.producer_epoch for b in around.consumers[0].batches}) == 4
        await around.pick(Pick("F", AT, "s"))
        await market.until(lambda: Pick("F", AT, "s") in around.consumers[1].events)
        process.kill()
        process.join(60)
        control.close()
        around.close()
