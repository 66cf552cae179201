"""Rows of `trade_plan` become slots of a batch once, whatever is killed when."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from liualgotrader.common.rows import TradePlanRow
from liualgotrader.supervisor.batch import Batch, BatchFinder, BatchTerms, Layout, stored_layout
from liualgotrader.supervisor.plan_inspection import StrategyFacts
from liualgotrader.supervisor.stack import Stack
from liualgotrader.supervisor.trade_plans import EXPIRED, TradePlans, name_of, table_of, tables_of
from tests.fakes.store import Account, MemoryStore
from tests.fakes.supervisor import RecordingOwner, plan_in

FILE = (StrategyFacts("Breakout", run_all=False),)
STRATEGY = """
from liualgotrader.strategies.base import Strategy

class Mine(Strategy):
    def on_bar(self, ctx, bar):
        pass
"""
A, B = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"


def row(plan: str = A, name: str = "Late", ran_as: str = "", **parameters: object) -> TradePlanRow:
    return TradePlanRow(plan, "savings", name, {"name": "Mine", "filename": "mine.py", **parameters}, ran_as)


class Table:
    """A batch in a folder, and looks at the table by one supervisor after another."""

    def __init__(self, folder: Path, environment: str = "PAPER") -> None:
        plan, self.page = plan_in(folder)
        (folder / "mine.py").write_text(STRATEGY)
        self.plan = msgspec.structs.replace(plan, environment=environment)
        self.store, self.owner = MemoryStore(), RecordingOwner()
        self.store.database.accounts[1] = Account(Decimal(1000))
        self.store.database.portfolios["savings"] = 1
        self.joined: list[str] = []
        self.folder = folder

    async def begin(self) -> TradePlans:
        """Take the batch up, as a supervisor does that starts."""
        finder = BatchFinder(self.store, self.folder)
        terms = BatchTerms(self.plan.environment, "2024-06-03", 1, 0, FILE, {})
        batch: Batch = await finder.batch(terms, 0, fresh=False)
        finder.release()
        plan = msgspec.structs.replace(self.plan, batch_id=batch.batch_id)
        self.stack = Stack(plan, self.page, self.owner, ())

        def joined(facts: StrategyFacts, batch: Batch) -> None:
            self.joined.append(facts.name)

        return TradePlans(self.stack, self.store, finder, batch, plan.tradeplan, self.notice, joined)

    def notice(self, level: str, text: str) -> None:
        self.owner.notice(level, text)

    def layout(self) -> Layout:
        [found] = self.store.database.batches.values()
        return stored_layout(found.layout, FILE, found.batch_id)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path)
    yield made
    made.page.close()


async def test_a_row_becomes_slots_with_a_run_and_its_portfolio_and_nothing_the_second_time(table: Table) -> None:
    table.store.database.trade_plans = [row()]
    plans = await table.begin()
    await plans.look(5)
    await plans.look(6)
    assert table.joined == ["Late"]
    [slot] = table.stack.plan.slots[1:]
    assert (slot.slot, slot.strategy, slot.consumer, slot.account_id) == (2, "Late", 0, 1)
    assert table.stack.plan.tradeplan.strategies["Late"]["class"] == "Mine"
    assert [run.row.strategy for run in table.store.database.runs.values()] == ["Late"]
    assert {portfolio for portfolio, _ in table.store.database.portfolio_batches} == {"savings"}
    assert [place.trade_plan for place in table.layout().places] == ["", A]


async def test_a_supervisor_killed_after_the_row_was_taken_and_before_anything_else_leaves_one_start(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    async def killed(*_: object) -> None:
        raise Killed

    table.store.database.trade_plans = [row()]
    plans = await table.begin()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(BatchFinder, "slots", killed)
        await plans.look(5)
    again = await table.begin()
    assert [place.trade_plan for place in again.batch.layout.places] == ["", A]
    assert (await tables_of(again.batch.layout, table.store, table.folder)).keys() == {"Late"}
    await again.look(6)
    assert [place.trade_plan for place in table.layout().places] == ["", A]
    assert len(table.store.database.plans_started) == 1


async def test_what_has_expired_is_stopped(table: Table) -> None:
    table.store.database.trade_plans = [row()]
    plans = await table.begin()
    await plans.look(5)
    table.store.database.trade_plans = []
    await plans.look(6)
    assert table.owner.stopped == [(2, EXPIRED)]


async def test_a_row_that_cannot_run_is_named_once_until_it_is_changed(table: Table) -> None:
    table.store.database.trade_plans = [row(filename="nowhere.py"), row(B, portfolio_id="x", unknown=1)]
    plans = await table.begin()
    await plans.look(5)
    await plans.look(6)
    first, second = table.owner.notices
    assert "nowhere.py does not exist" in first
    assert "unknown" in second
    table.store.database.trade_plans[0] = row()
    await plans.look(7)
    assert table.joined == ["Late"]


async def test_a_portfolio_of_a_sub_account_is_not_traded_in_the_account_of_the_keys(table: Table) -> None:
    table.store.database.trade_plans = [row()]
    table.store.database.sub_accounts["savings"] = "x-9"
    await (await table.begin()).look(5)
    [said] = table.owner.notices
    assert "trades for another account at the broker than this session" in said
    assert [place.trade_plan for place in table.layout().places] == [""]


async def test_a_row_that_wants_a_process_of_its_own_is_refused_with_what_to_do(table: Table) -> None:
    table.store.database.trade_plans = [row(own_process=True)]
    await (await table.begin()).look(5)
    [said] = table.owner.notices
    assert "take own_process out of its parameters, or write the strategy into the tradeplan's file" in said
    assert table.joined == []


async def test_rows_trade_no_real_money(tmp_path: Path) -> None:
    table = Table(tmp_path, "PROD")
    table.store.database.trade_plans = [row()]
    await (await table.begin()).look(5)
    [said] = table.owner.notices
    assert "real money is traded by a whole tradeplan that has proved itself" in said
    assert [place.trade_plan for place in table.layout().places] == [""]
    table.page.close()


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (msgspec.structs.replace(row(), parameters=cast(Any, [1])), "an object of JSON"),
        (row(name=""), "needs a strategy_name"),
        (row(name="x", filename=7), "`filename` must be text"),
        (msgspec.structs.replace(row(), parameters={"name": 7, "filename": "mine.py"}), "`class` must be text"),
        (row(schedule=[{"start": -1, "duration": 5}]), "start"),
        (row(huge=2**80), "cannot be used"),
    ],
)
async def test_whatever_stands_in_a_row_the_session_goes_on(table: Table, bad: TradePlanRow, sentence: str) -> None:
    table.store.database.trade_plans = [bad, row(B, "Other")]
    await (await table.begin()).look(5)
    assert sentence in table.owner.notices[0]
    assert table.joined == ["Other"]


async def test_a_row_whose_file_is_gone_does_not_keep_its_batch_from_going_on(table: Table) -> None:
    table.store.database.trade_plans = [row(), row(B, "Other", filename="other.py")]
    (table.folder / "other.py").write_text(STRATEGY)
    await (await table.begin()).look(5)
    (table.folder / "other.py").unlink()
    assert (await tables_of(table.layout(), table.store, table.folder)).keys() == {"Late"}


def test_a_strategy_keeps_the_name_of_its_batch_before_and_never_takes_that_of_another() -> None:
    first, second = row(ran_as="Late"), row(B)
    assert name_of(first, [first, second], ()) == "Late"
    assert name_of(second, [first, second], ()) == "Late-bbbbbbbb"
    assert name_of(second, [second], ["Breakout"]) == "Late"
    assert name_of(second, [second], ["Late"]) == "Late-bbbbbbbb"  # the tradeplan's file has one of that name


def test_a_row_says_what_a_tradeplans_table_says(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STRATEGY)
    assert table_of(row(lookback=20), tmp_path) == {
        "class": "Mine",
        "portfolio_id": "savings",
        "filename": str((tmp_path / "mine.py").resolve()),
        "lookback": 20,
    }
