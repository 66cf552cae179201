"""What happens to a pick before its symbol is routed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from liualgotrader.common.clock import SECOND, WallClock
from liualgotrader.common.events import Pick, Rejected
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.producer.following import UNPICKED_FILE, PickIntake, Unpicked
from liualgotrader.producer.router import EventOutbox, Router
from tests.fakes.store import MemoryStore

BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
SLOTS = (SlotPlan(0, "Alpha", 0, 1), SlotPlan(1, "Alpha", 1, 2), SlotPlan(2, "Rotation", 1, 3, run_all=True))
AT = 1_709_908_200 * SECOND


class Desk:
    """An intake and what it works on."""

    def __init__(self, store: MemoryStore, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.told: list[str] = []
        self.unpicked = Unpicked(folder)
        self.intake = PickIntake(BATCH, store, WallClock(), lambda level, text: self.told.append(text), self.unpicked)

    async def open(self) -> None:
        self.assignment, self.resumed = await self.intake.resume(2)
        self.router = Router(SLOTS, [EventOutbox(1), EventOutbox(1)], self.assignment)
        for pick in self.resumed:
            self.router.accept(pick)

    async def take(self, *picks: Pick, max_symbols: int = 100) -> list[Pick]:
        taken = await self.intake.take(picks, self.router, self.assignment, max_symbols)
        for pick in taken:
            self.router.accept(pick)
        return taken


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    made = Desk(MemoryStore(), tmp_path)
    await made.open()
    return made


@pytest.mark.parity(16)
async def test_the_consumer_of_a_symbol_and_the_pick_are_stored_before_it_is_routed(desk: Desk) -> None:
    picks = [Pick("A", AT, "momentum"), Pick("B", AT, "momentum", "Alpha")]
    assert await desk.intake.take(picks, desk.router, desk.assignment, 100) == picks
    assert desk.router.symbols == set()
    assert await desk.store.assignments(BATCH) == {"A": 0, "B": 1}
    assert [(r.symbol, r.scanner, r.strategy) for r in await desk.store.picks(BATCH)] == [
        ("A", "momentum", ""), ("B", "momentum", "Alpha"),
    ]  # fmt: skip


async def test_a_pick_for_a_run_all_strategy_is_stored_without_a_consumer(desk: Desk) -> None:
    await desk.take(Pick("A", AT, "s", "Rotation"))
    assert await desk.store.assignments(BATCH) == {}
    assert len(await desk.store.picks(BATCH)) == 1


async def test_a_pick_repeated_is_neither_sent_nor_stored_again(desk: Desk) -> None:
    assert len(await desk.take(Pick("A", AT, "s"), Pick("A", AT, "s"))) == 1
    assert await desk.take(Pick("A", AT + 1, "s")) == []
    assert len(await desk.store.picks(BATCH)) == 1


async def test_a_second_scanner_that_finds_the_same_symbol_is_stored_but_sends_nothing(desk: Desk) -> None:
    await desk.take(Pick("A", AT, "s"))
    assert await desk.take(Pick("A", AT, "s2")) == []
    assert [r.scanner for r in await desk.store.picks(BATCH)] == ["s", "s2"]


async def test_the_newest_picks_lose_when_the_session_is_full_and_one_notice_says_so(desk: Desk) -> None:
    picks = [Pick(s, AT, "s") for s in "ABCDE"]
    assert [p.symbol for p in await desk.take(*picks, max_symbols=3)] == ["A", "B", "C"]
    assert await desk.take(Pick("F", AT, "s"), max_symbols=3) == []
    assert [p.symbol for p in await desk.take(Pick("A", AT, "s", "Alpha"), max_symbols=3)] == ["A"]
    assert desk.intake.refused == {"D", "E", "F"}
    assert len(desk.told) == 1
    assert "follows 3 symbols" in desk.told[0]
    assert {r.symbol for r in await desk.store.picks(BATCH)} == {"A", "B", "C"}


async def test_a_producer_started_again_knows_everything(desk: Desk) -> None:
    await desk.take(*(Pick(s, AT, "s") for s in "ABC"), Pick("D", AT, "s", "Rotation"))
    again = Desk(desk.store, desk.folder)
    await again.open()
    assert [(p.symbol, p.strategy) for p in again.resumed] == [("A", ""), ("B", ""), ("C", ""), ("D", "Rotation")]
    assert await again.take(Pick("B", AT, "s")) == []
    await again.take(Pick("E", AT, "s"))
    assert await desk.store.assignments(BATCH) == {"A": 0, "B": 1, "C": 0, "E": 1}


@pytest.mark.slow
async def test_picks_wait_for_a_database_that_is_away_and_then_go_on(desk: Desk) -> None:
    desk.store.database.reachable = False
    waiting = asyncio.ensure_future(desk.take(Pick("A", AT, "s")))
    async with asyncio.timeout(60):
        while not desk.told:
            await asyncio.sleep(0.005)
    assert not waiting.done()
    desk.store.database.reachable = True
    assert len(await asyncio.wait_for(waiting, 60)) == 1
    assert await desk.store.assignments(BATCH) == {"A": 0}
    assert [text.split(":")[0] for text in desk.told] == ["picks wait for the database", "picks"]


async def test_a_symbol_let_go_stays_so_for_a_producer_started_again_until_it_is_picked_again(desk: Desk) -> None:
    await desk.take(Pick("A", AT, "s"), Pick("B", AT, "s"))
    desk.router.let_go("A", AT)
    desk.unpicked.add(["A"])
    again = Desk(desk.store, desk.folder)
    await again.open()
    assert [p.symbol for p in again.resumed] == ["B"]
    assert [p.symbol for p in await again.take(Pick("A", AT + 1, "s"))] == ["A"]
    last = Desk(desk.store, desk.folder)
    await last.open()
    assert [p.symbol for p in last.resumed] == ["A", "B"]
    assert await desk.store.assignments(BATCH) == {"A": 0, "B": 1}, "its consumer stays the same"


async def test_a_symbol_let_go_makes_room_for_another(desk: Desk) -> None:
    await desk.take(Pick("A", AT, "s"), max_symbols=1)
    assert await desk.take(Pick("B", AT, "s"), max_symbols=1) == []
    desk.router.let_go("A", AT)
    assert [p.symbol for p in await desk.take(Pick("B", AT, "s"), max_symbols=1)] == ["B"]


async def test_a_pick_that_all_it_is_meant_for_have_rejected_is_passed_over(desk: Desk) -> None:
    await desk.take(Pick("A", AT, "s", "Alpha"))
    assert desk.router.reject(Rejected(0, ["A"])) == ["A"]
    assert desk.router.let_go("A", AT)
    assert await desk.take(Pick("A", AT + 1, "s", "Alpha")) == []
    assert len(await desk.take(Pick("A", AT + 1, "s", "Rotation"))) == 1


# --- symbols let go ------------------------------------------------------------------------------------------------


def test_it_is_kept_over_the_producers_own_death(tmp_path: Path) -> None:
    unpicked = Unpicked(tmp_path)
    unpicked.add(["A", "B"])
    unpicked.discard(["B"])
    assert Unpicked(tmp_path).symbols == {"A"}


def test_a_disk_without_room_costs_the_memory_of_a_later_life_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unpicked = Unpicked(tmp_path)
    unpicked.add(["A"])
    no_room = tmp_path / "producer.new"
    no_room.mkdir()
    unpicked.add(["B"])
    unpicked.add(["C"])
    assert unpicked.symbols == {"A", "B", "C"}
    assert Unpicked(tmp_path).symbols == {"A"}
    assert len(caplog.messages) == 1
    no_room.rmdir()
    unpicked.add([])
    assert Unpicked(tmp_path).symbols == {"A", "B", "C"}


@pytest.mark.parametrize("left", [b"", b'["A"', b"\0\0\0"])
def test_a_file_that_the_loss_of_the_machine_left_broken_says_nothing(tmp_path: Path, left: bytes) -> None:
    (tmp_path / UNPICKED_FILE).write_bytes(left)
    assert Unpicked(tmp_path).symbols == set()
