"""A batch that is left for a new one: what its gateway could not store is stored before its end is written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from msgspec import structs

from liualgotrader.common.clock import WallClock
from liualgotrader.common.orders import BrokerPosition
from liualgotrader.common.rows import AlgoRunRow, ForeignRow, OperatorAction, OrderEventRow, OrderRow, TradeRow
from liualgotrader.order_gateway.journaled_desk import JOURNAL_FILE, JournaledDesk
from liualgotrader.orders.desk_messages import Begin, BrokerSnapshot, Recovered
from liualgotrader.supervisor.batch import Batch, BatchFinder, BatchLock, BatchTerms, PendingEnd, keep_end, kept_end
from liualgotrader.supervisor.plan_inspection import StrategyFacts
from tests.fakes.broker import desk_terms
from tests.fakes.store import MemoryStore

PAPER = BatchTerms("PAPER", "2024-06-03", 1, 0, (StrategyFacts("Day", False, True),), {})
WANTED = BatchTerms("SIMULATED", "2024-06-03", 1, 0, (StrategyFacts("Day", False, True),), {"market": {}})


async def first_batch(store: MemoryStore, home: Path, wanted: BatchTerms = WANTED) -> Batch:
    """Make a batch whose gateway wrote down that 5 shares of X are not ours, and could store nothing."""
    ledger = BatchFinder(store, home, account_is_new=wanted.environment == "SIMULATED")
    batch = await ledger.batch(wanted, 0, fresh=False)
    ledger.release()
    batch.journal_dir.mkdir(parents=True)
    room = JournaledDesk(batch.journal_dir, WallClock())
    room.tell([Begin(desk_terms(), 1), BrokerSnapshot(True, (), (), (BrokerPosition("X", Decimal(5), Decimal(10)),))])
    room.close()
    return batch


async def next_batch(
    store: MemoryStore, home: Path, *, fresh: bool = False, wanted: BatchTerms = WANTED
) -> tuple[Batch, list[str]]:
    ledger = BatchFinder(store, home, account_is_new=wanted.environment == "SIMULATED")
    batch = await ledger.batch(wanted, 1, fresh=fresh)
    ledger.release()
    return batch, ledger.notes


async def test_rows_that_wait_in_a_journal_are_stored_before_a_new_batch_begins(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path)
    second, notes = await next_batch(store, tmp_path, fresh=True)
    assert second.batch_id != first.batch_id
    assert [row.quantity for row in store._data.foreign.values()] == [5]
    (note,) = notes
    assert f"rows of batch {first.batch_id} of 2024-06-03 waited beside its journal and are stored now" in note
    assert store._data.ends[first.batch_id] == (1, "left unfinished; a new batch was started")


async def test_a_market_without_its_state_does_not_take_the_rows_with_it(tmp_path: Path) -> None:
    store = MemoryStore()
    await first_batch(store, tmp_path)
    await next_batch(store, tmp_path, fresh=False)  # as after a disk that was full at its end
    assert len(store._data.foreign) == 1


async def test_a_damaged_journal_is_said_and_does_not_stop_the_new_batch(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path)
    room = JournaledDesk(first.journal_dir, WallClock())
    room.tell([Begin(desk_terms(), 2)])
    room.close()
    journal = first.journal_dir / JOURNAL_FILE
    data = bytearray(journal.read_bytes())
    data[40] ^= 0xFF
    journal.write_bytes(data)
    _, (note,) = await next_batch(store, tmp_path, fresh=True)
    assert note.endswith(f"What batch {first.batch_id} had not stored yet is in no table.")


async def test_a_batch_that_came_to_its_end_keeps_that_end(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path)
    run = AlgoRunRow(first.batch_id, 1, "Day", "SIMULATED", "1", {}, 0)
    run_id = await store.begin_algo_run(run)
    done = OperatorAction("1", first.batch_id, 5, "ann", "page", "stop", {}, True, "it is being stopped")
    keep_end(first.journal_dir, PendingEnd(77, "market close", ((run_id, "raised KeyError"),), (done,)))
    await next_batch(store, tmp_path)
    assert list(store._data.actions.values()) == [done]
    assert store._data.ends[first.batch_id] == (77, "market close")
    assert (store._data.runs[run_id].ended_at, store._data.runs[run_id].end_reason) == (77, "raised KeyError")
    assert kept_end(first.journal_dir) is None


async def test_a_paper_batch_of_an_earlier_day_is_finished_before_todays_begins(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path, PAPER)
    second, (note,) = await next_batch(store, tmp_path, wanted=structs.replace(PAPER, day="2024-06-04"))
    assert second.batch_id != first.batch_id
    assert store._data.ends[first.batch_id] == (1, "left unfinished; a later session found it")
    assert first.batch_id in note
    assert len(store._data.foreign) == 1


async def test_a_batch_that_somebody_serves_or_whose_journal_lies_elsewhere_is_left_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    here, there = tmp_path / "here", tmp_path / "there"
    for home in (here, there):
        home.mkdir()
    first = await first_batch(store, here, PAPER)
    lock = BatchLock(here, first.batch_id)
    assert lock.acquire()
    for home in (here, there):
        await next_batch(store, home, wanted=structs.replace(PAPER, day="2024-06-04"))
    assert first.batch_id not in store._data.ends
    another = BatchLock(here, first.batch_id)
    assert not another.acquire(), "its file was removed under the one that holds it"
    another.release()
    lock.release()


async def test_a_simulated_day_that_was_cut_off_may_still_be_played_on(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path)
    await next_batch(store, tmp_path, wanted=structs.replace(WANTED, day="2024-06-04"))
    assert first.batch_id not in store._data.ends


async def test_a_shadow_session_does_not_take_up_a_batch_that_trades_nor_the_other_way_round(tmp_path: Path) -> None:
    store = MemoryStore()
    shadow = structs.replace(PAPER, configuration={"shadow": True})
    real = await first_batch(store, tmp_path, PAPER)
    shown, _ = await next_batch(store, tmp_path, wanted=shadow)
    assert real.batch_id not in store._data.ends
    for wanted, expected in ((PAPER, real), (shadow, shown)):
        again, _ = await next_batch(store, tmp_path, wanted=wanted)
        assert (again.batch_id, again.resumed) == (expected.batch_id, True)


async def test_orders_of_a_market_that_was_killed_are_named_and_closed_in_the_record_at_the_next_start(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path)
    run_id = await store.begin_algo_run(AlgoRunRow(first.batch_id, 1, "Day", "SIMULATED", "1", {}, 0))
    bought, working = (order_row(n, first.batch_id, run_id) for n in (1, 2))
    filled = structs.replace(bought, state="filled", filled_quantity=Decimal(10))
    event = OrderEventRow(working.client_order_id, 1, "acknowledged", 5, {})
    fill = TradeRow(
        "x1", bought.client_order_id, run_id, "AAPL", "buy", Decimal(10), Decimal(9), Decimal(0), 5, {}, None, None
    )
    await store.apply(first.batch_id, [filled, fill, event, working])
    await store.end_batch(first.batch_id, 6, "the simulated market is gone")
    _, notes = await next_batch(store, tmp_path)
    (note,) = notes
    assert note.startswith(f"orders of batch {first.batch_id} that were working when its simulated market was lost")
    assert f"{working.client_order_id} (" in note
    assert note.endswith("it held +10 AAPL")
    closed = store._data.orders[working.client_order_id]
    assert (closed.state, closed.reason) == ("canceled", "its simulated market is gone")
    last = store._data.events[working.client_order_id, 2]
    assert (last.event, last.details) == ("market_gone", {"state": "acknowledged"})
    assert (await next_batch(store, tmp_path, fresh=True))[1] == []


def order_row(n: int, batch_id: str, run_id: int) -> OrderRow:
    name = f"liu-{batch_id.replace('-', '')[:12]}-1-{n}"
    return OrderRow(name, batch_id, 1, run_id, 1, "AAPL", "buy", Decimal(10), "limit", "day", Decimal(9), None, "acknowledged",
                    f"b{n}", Decimal(0), None, "", None, None, {}, 5, 5)  # fmt: skip


async def test_orders_of_a_simulated_day_that_may_be_played_on_stay_as_they_are(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path)
    run_id = await store.begin_algo_run(AlgoRunRow(first.batch_id, 1, "Day", "SIMULATED", "1", {}, 0))
    await store.apply(first.batch_id, [order_row(1, first.batch_id, run_id)])
    _, notes = await next_batch(store, tmp_path, wanted=structs.replace(WANTED, day="2024-06-04"))
    assert (notes, [row.state for row in store._data.orders.values()]) == ([], ["acknowledged"])


async def test_rows_that_wait_in_a_rebuilt_journal_follow_on_those_it_was_rebuilt_from(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await first_batch(store, tmp_path)
    stored = await store.apply(first.batch_id, [ForeignRow(first.batch_id, s, Decimal(1), 0) for s in "ABC"])
    room = JournaledDesk(first.journal_dir, WallClock())
    aside = room.start_over()
    found = Recovered(await store.recorded(first.batch_id), (), (), (), opened=False)
    held = BrokerPosition("X", Decimal(5), Decimal(10))
    room.tell([Begin(desk_terms(), 2), found, BrokerSnapshot(True, (), (), (held,))])
    room.close()
    again = JournaledDesk(first.journal_dir, WallClock())
    assert (again.begins_after, [number for number, _ in again.rows]) == (stored, [4])
    again.close()
    await next_batch(store, tmp_path, fresh=True)
    assert {symbol for _, symbol in store._data.foreign} == {"A", "B", "C", "X"}
    assert aside.name == f"{JOURNAL_FILE}.behind-1"
