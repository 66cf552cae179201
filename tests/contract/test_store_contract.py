"""What every record promises; run against the one in memory and against a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, Protocol
from uuid import uuid4

import msgspec
import pytest

from liualgotrader.common.errors import BadData, ConfigError, OutsideError, RecordDiffers
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import (
    ActivityRow,
    AlgoRunRow,
    BatchRow,
    BookedExecution,
    CarriedPosition,
    EarlierOrder,
    EquityRow,
    EventLag,
    ForeignRow,
    GainLossRow,
    HonestyCheck,
    OperatorAction,
    OptimizerRow,
    OptimizerSession,
    OrderEventRow,
    OrderRow,
    PickRow,
    PlanRow,
    PortfolioAccount,
    Progress,
    RecordedBatch,
    ResultFigures,
    Row,
    SignalRow,
    TradeAnalysisRow,
    TradedBefore,
    TradePlanRow,
    TradeRow,
)
from liualgotrader.store.store_factory import open_store
from tests.fakes.postgres import fresh_database
from tests.fakes.store import Account, MemoryDatabase, MemoryStore

BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
OPEN = 1_381_152_600_000_000_000  # 2013-10-07 09:30 New York, ns UTC
SECOND = 1_000_000_000


def batch(batch_id: str = BATCH, environment: str = "SIMULATED", day: str = "2013-10-07") -> BatchRow:
    return BatchRow(
        batch_id=batch_id,
        session_date=day,
        environment=environment,
        started_at=OPEN,
        layout={"consumers": 2},
        configuration={"symbols": ["IBM"]},
        versions={"liualgotrader": "1"},
        seed=2**64 - 1,
    )


def run(slot: int = 0, batch_id: str = BATCH, strategy: str = "Momentum", environment: str = "SIMULATED") -> AlgoRunRow:
    return AlgoRunRow(batch_id, slot, strategy, environment, "1", {"period": 5}, OPEN)


def trip_row(algo_run_id: int, **changed: Any) -> TradeAnalysisRow:
    closed = TradeAnalysisRow(
        "IBM", algo_run_id, OPEN, OPEN + 1, Decimal(1), Decimal(5), None, -1, Decimal("0.000000001"),
        Decimal("20.123456789"), Decimal("19.5"), Decimal("0.000001"), Decimal("21.25"), None, "strategy, past its stop",
    )  # fmt: skip
    return msgspec.structs.replace(closed, **changed)


def order(n: int, state: str, *, run_id: int = 1, generation: int = 1, filled: str = "0") -> OrderRow:
    return OrderRow(
        client_order_id=f"liu-0b5e7a4e0000-0-{n}",
        batch_id=BATCH,
        slot=0,
        algo_run_id=run_id,
        generation=generation,
        symbol="IBM",
        side="buy",
        quantity=Decimal(100),
        type="limit",
        time_in_force="day",
        limit_price=Decimal("181.25"),
        stop_price=None,
        state=state,
        broker_order_id=None,
        filled_quantity=Decimal(filled),
        average_price=None,
        reason="",
        planned_stop=Decimal("180"),
        planned_target=None,
        indicators={"rsi": 31.5},
        decided_at=OPEN,
        updated_at=OPEN + n * SECOND,
    )


def event(n: int, number: int = 1) -> OrderEventRow:
    return OrderEventRow(f"liu-0b5e7a4e0000-0-{n}", number, "sent", OPEN, {"attempt": 1})


def trade(
    n: int,
    run_id: int,
    *,
    operation: str = "buy",
    quantity: str = "100",
    price: str = "181.25",
    fee: str = "0",
    at: int = OPEN,
    account_id: int | None = None,
    symbol: str = "IBM",
) -> TradeRow:
    return TradeRow(
        execution_id=f"execution-{n}",
        client_order_id=f"liu-0b5e7a4e0000-0-{n}",
        algo_run_id=run_id,
        symbol=symbol,
        operation=operation,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        at=at,
        indicators={"rsi": 31.5},
        planned_stop=Decimal("180.5"),
        planned_target=None,
        account_id=account_id,
    )


class Record(Protocol):
    """A database as a test sees it: stores on it, and what lies in it."""

    async def open(self) -> Store: ...
    async def count(self, table: str) -> int: ...
    async def states(self) -> dict[str, str]: ...
    async def outcomes(self) -> dict[str, str]: ...
    async def add_portfolio(self, portfolio_id: str, balance: str) -> int: ...
    async def add_trade_plan(self, strategy: str, parameters: dict[str, Any]) -> str: ...
    async def balance(self, account_id: int) -> Decimal: ...


class StoreContract:
    """The promises. A subclass gives `record`."""

    @pytest.fixture
    async def store(self, record: Record) -> Store:
        return await record.open()

    @pytest.fixture
    async def run_id(self, store: Store) -> int:
        await store.begin_batch(batch())
        return await store.begin_algo_run(run())

    # --- batches ---

    async def test_batches_without_an_end_are_found_as_they_were_written_the_newest_first(self, store: Store) -> None:
        older, newer = batch("older"), batch("newer")
        for row in (older, newer, newer):
            await store.begin_batch(row)
        assert list(await store.unfinished_batches("SIMULATED")) == [newer, older]
        await store.end_batch("newer", OPEN, "market close")
        assert list(await store.unfinished_batches("SIMULATED")) == [older]

    async def test_a_batch_of_another_environment_is_not_found(self, store: Store) -> None:
        await store.begin_batch(batch())
        assert not await store.unfinished_batches("PAPER")

    async def test_batches_are_found_by_the_beginning_of_their_id_the_newest_first(self, store: Store) -> None:
        for name in ("0b5e-1", "0b5e-2", "77aa-3"):
            await store.begin_batch(batch(name, environment="BACKTEST"))
        assert [b.batch_id for b in await store.newest_batches(2)] == ["77aa-3", "0b5e-2"]
        assert await store.newest_batches(5, "0b5e") == [
            batch("0b5e-2", environment="BACKTEST"),
            batch("0b5e-1", environment="BACKTEST"),
        ]
        assert await store.newest_batches(5, "%") == []

    async def test_results_are_listed_the_newest_first_with_what_they_came_to(self, store: Store) -> None:
        figures = ResultFigures(
            "2024-03-08", "2024-03-12", 3, 2, 41, 0.5, Decimal("12.34"), Decimal("0.41"), 0.0001, None, 0.02
        )
        asked = {"note": "slower", "bars": {"first": "2024-03-08"}}
        backtest = msgspec.structs.replace(
            batch("one", environment="BACKTEST"), configuration={"backtest": asked, "more": 1}
        )
        for row in (backtest, batch("two"), batch("three", environment="BACKTEST")):
            await store.begin_batch(row)
        for slot, (name, fast) in enumerate((("Trend", 10), ("Fade", 3), ("Trend", 20))):
            made = run(slot, batch_id="one", strategy=name)
            await store.begin_algo_run(msgspec.structs.replace(made, parameters={"fast": fast}))
        await store.save_figures("one", msgspec.structs.replace(figures, trips=0))
        await store.save_figures("one", figures)
        await store.end_batch("one", OPEN, "the last session was played")
        newest, oldest = await store.results(9, "BACKTEST")
        assert (newest.batch_id, newest.parameters, newest.figures, newest.end_reason) == ("three", {}, None, None)
        assert (oldest.batch_id, oldest.session_date, oldest.started_at) == ("one", batch("one").session_date, OPEN)
        assert (oldest.parameters, oldest.asked) == ({"Trend": {"fast": 10}, "Fade": {"fast": 3}}, asked)
        assert (oldest.figures, oldest.end_reason) == (figures, "the last session was played")
        assert [one.batch_id for one in await store.results(2)] == ["three", "two"]

    async def test_what_a_search_tried_is_kept_once_in_its_order_with_its_end(self, store: Store) -> None:
        for name in ("one", "two"):
            await store.begin_optimizer(OptimizerSession(name, OPEN, {"space": {"fast": [5, 7]}}))
        figures = {"sharpe_ratio": 1.5, "gain": None}
        row = OptimizerRow("one", 1, "b", {"slow": 30, "fast": 5.5, "how": "a\\"}, 1.5, figures, (100.0, 101.5), 0.25)
        none = msgspec.structs.replace(row, number=0, objective=None, equity=(), failure="it raised")
        out = msgspec.structs.replace(row, number=0, fold=2, out_of_sample=True)
        await store.save_optimizer_rows([out, row])
        await store.save_optimizer_rows([none, msgspec.structs.replace(row, objective=9.0)])
        assert await store.optimizer_rows("one") == [none, row, out]
        assert list(row.point) == list((await store.optimizer_rows("one"))[1].point)
        assert await store.optimizer_rows("two") == []
        await store.end_optimizer("one", OPEN, "all were played", {"best": {"fast": 5}})
        newest, oldest = await store.optimizer_sessions(9)
        assert (newest.optimizer_session_id, newest.end_reason, newest.result) == ("two", None, None)
        assert (oldest.end_reason, oldest.result, oldest.started_at) == ("all were played", {"best": {"fast": 5}}, OPEN)
        assert await store.optimizer_sessions(9, "t") == [newest]

    async def test_a_batch_has_its_own_checks_and_those_of_the_same_plan(self, store: Store) -> None:
        plans = {"mine": "p1", "same": "p1", "other": "p2", "none": None, "none too": None}
        for name, plan in plans.items():
            row = batch(name)
            await store.begin_batch(row if plan is None else msgspec.structs.replace(row, configuration={"plan": plan}))
        found = ("Crossing bought IBM at 10:00",)
        of_the_same = HonestyCheck("lookahead", OPEN, "failed", found)
        await store.save_check("mine", HonestyCheck("warmup", OPEN, "unknown"))
        await store.save_check("mine", HonestyCheck("warmup", OPEN, "passed"))
        await store.save_check("same", of_the_same)
        await store.save_check("same", HonestyCheck("warmup", OPEN + SECOND, "failed", found))
        await store.save_check("other", HonestyCheck("lookahead", OPEN + SECOND, "passed"))
        await store.save_check("none", HonestyCheck("lookahead", OPEN + SECOND, "passed"))
        assert await store.honesty_checks("mine") == [of_the_same, HonestyCheck("warmup", OPEN, "passed")]
        assert await store.honesty_checks("none too") == []

    async def test_equity_of_a_session_grows_and_keeps_what_a_later_writer_does_not_know(self, store: Store) -> None:
        first = EquityRow(BATCH, "2024-03-08", OPEN, 60 * SECOND, (100.0, None, 102.25))
        await store.save_equity([first, EquityRow("other", "2024-03-08", OPEN, 60 * SECOND, (1.0,))])
        await store.save_equity([msgspec.structs.replace(first, amounts=(None, None, 102.5, None, 104.0))])
        await store.save_equity([msgspec.structs.replace(first, session_date="2024-03-07", amounts=(99.0,))])
        before, after = await store.equity([BATCH, "none"])
        assert (before.session_date, before.amounts) == ("2024-03-07", (99.0,))
        assert after == msgspec.structs.replace(first, amounts=(100.0, None, 102.5, None, 104.0))
        assert [row.batch_id for row in await store.equity(["other", BATCH])] == [BATCH, BATCH, "other"]
        assert await store.equity([]) == []

    @pytest.mark.parity(20)
    async def test_the_runs_of_a_batch_are_read_back_by_slot(self, store: Store) -> None:
        second = await store.begin_algo_run(run(2, strategy="Fade"))
        first = await store.begin_algo_run(run(1))
        again = await store.begin_algo_run(msgspec.structs.replace(run(1, batch_id="another"), ref_algo_run=first))
        assert await store.algo_runs(BATCH) == {first: run(1), second: run(2, strategy="Fade")}
        assert [row.ref_algo_run for row in (await store.algo_runs("another")).values()] == [first]
        assert again not in (first, second)

    async def test_a_slot_keeps_its_run_over_a_restart(self, store: Store) -> None:
        first = await store.begin_algo_run(run(0))
        assert await store.begin_algo_run(run(1)) != first
        assert await store.begin_algo_run(run(0)) == first
        assert await store.begin_algo_run(run(0, batch_id="another")) != first

    async def test_a_run_that_ended_is_not_open(self, store: Store) -> None:
        ids = [await store.begin_algo_run(run(slot)) for slot in range(3)]
        await store.end_algo_run(ids[1], OPEN, "no answer")
        await store.end_algo_run(ids[1], OPEN, "market close")
        assert list(await store.open_algo_runs(BATCH)) == [ids[0], ids[2]]

    # --- picks ---

    async def test_a_symbol_belongs_to_the_consumer_assigned_last(self, store: Store) -> None:
        await store.assign(BATCH, "IBM", 0)
        await store.assign(BATCH, "SPY", 1)
        await store.assign(BATCH, "IBM", 2)
        await store.assign("another", "BAC", 1)
        assert dict(await store.assignments(BATCH)) == {"IBM": 2, "SPY": 1}

    async def test_a_pick_written_twice_is_there_once(self, store: Store) -> None:
        first = PickRow(BATCH, "IBM", "momentum", "", OPEN)
        again_later = PickRow(BATCH, "IBM", "momentum", "", OPEN + SECOND)
        for_one = PickRow(BATCH, "IBM", "momentum", "Momentum", OPEN + 2 * SECOND)
        await store.save_picks([])
        await store.save_picks([for_one, first, first])
        await store.save_picks([first, again_later])
        assert list(await store.picks(BATCH)) == [first, again_later, for_one]
        assert list(await store.picks("another")) == []

    async def test_a_rejected_symbol_stays_rejected_for_that_strategy(self, store: Store) -> None:
        await store.save_reject(BATCH, "Momentum", "IBM", OPEN)
        await store.save_reject(BATCH, "Momentum", "IBM", OPEN + SECOND)
        await store.save_reject(BATCH, "Momentum", "BAC", OPEN)
        assert list(await store.rejects(BATCH)) == [("Momentum", "BAC"), ("Momentum", "IBM")]

    async def test_signals_written_twice_are_there_once(self, store: Store, record: Record) -> None:
        wanted = [
            SignalRow(BATCH, 0, "IBM", OPEN, {"side": "buy", "quantity": Decimal(5)}, "sent", "liu-1"),
            SignalRow(BATCH, 0, "IBM", OPEN, {"side": "buy", "quantity": Decimal(5)}, "in_flight"),
        ]
        await store.save_signals(wanted)
        await store.save_signals(wanted)
        await store.save_signals([])
        assert await record.count("signals") == 2

    async def test_what_an_operator_did_is_there_once_and_stays_as_it_was(self, store: Store, record: Record) -> None:
        done = OperatorAction("1", BATCH, OPEN, "ann\0", "page", "kill_switch", {"flatten": True}, True, "it is on")
        await store.save_operator_actions([done])
        await store.save_operator_actions([done, msgspec.structs.replace(done, action_id="2", action="resume")])
        await store.save_operator_actions([])
        assert await record.count("operator_action") == 2

    async def test_how_late_market_data_was_is_there_once_for_each_process_and_time(
        self, store: Store, record: Record
    ) -> None:
        lag = EventLag(BATCH, OPEN, "consumer-0", 1000, 3, 0, 0.5, 12.25)
        await store.save_event_lags([lag, msgspec.structs.replace(lag, process="consumer-1")])
        await store.save_event_lags([lag, msgspec.structs.replace(lag, at=OPEN + 1_000_000)])
        await store.save_event_lags([])
        assert await record.count("event_lag") == 3

    async def test_what_becomes_of_an_order_replaces_the_outcome_of_its_signal(
        self, store: Store, record: Record
    ) -> None:
        sent = [SignalRow(BATCH, 0, "IBM", OPEN + n, {"side": "buy"}, "sent", f"liu-{n}") for n in range(3)]
        await store.save_signals(sent[:1])
        refused = [msgspec.structs.replace(s, outcome="refused:order_value") for s in sent[:2]]
        await store.save_signals([*sent, *refused])
        assert await record.outcomes() == {
            "liu-0": "refused:order_value",
            "liu-1": "refused:order_value",
            "liu-2": "sent",
        }

    # --- the gateway's rows ---

    async def test_rows_told_again_are_written_once(self, store: Store, record: Record, run_id: int) -> None:
        rows: list[Row] = [order(1, "written"), event(1), trade(1, run_id), order(1, "filled"), trade(2, run_id)]
        first = await store.apply(BATCH, rows[:1])
        await store.apply(BATCH, rows[1:3], first)
        await store.apply(BATCH, rows[1:3], first)
        end = await store.apply(BATCH, rows[1:], first)
        assert await store.apply(BATCH, [], end) == end
        assert (await store.progress(BATCH)).number == 5
        assert await record.states() == {"liu-0b5e7a4e0000-0-1": "filled"}
        assert [t.execution_id for t in await store.trades(BATCH)] == ["execution-1", "execution-2"]
        assert await record.count("order_events") == 1

    @pytest.mark.parametrize("seed", range(6))
    async def test_any_overlapping_pieces_give_the_same_record(
        self, store: Store, record: Record, run_id: int, seed: int
    ) -> None:
        random = Random(seed)
        steps = ("written", "sent", "acknowledged", "filled")
        lives: list[list[Row]] = [[*(order(n, s) for s in steps), trade(n, run_id)] for n in range(10)]
        rows = [row for life in lives for row in life]
        at = [Progress()]
        while (stored := (await store.progress(BATCH)).number) < len(rows):
            start = random.randrange(stored + 1)
            end = min(len(rows), stored + random.randint(1, 12))
            after = await store.apply(BATCH, rows[start:end], at[start])
            for row in rows[stored:end]:
                at.append(at[-1].after(row))
            assert after == at[-1] == await store.progress(BATCH)
        assert set((await record.states()).values()) == {"filled"}
        assert [t.execution_id for t in await store.trades(BATCH)] == [f"execution-{n}" for n in range(10)]

    async def test_rows_that_do_not_follow_on_those_stored_are_refused_and_never_passed_over(
        self, store: Store, record: Record, run_id: int
    ) -> None:
        stored: list[Row] = [order(1, "written"), event(1), order(1, "acknowledged")]
        end = await store.apply(BATCH, stored)
        cut = Progress().after(stored[0])
        refused: list[tuple[list[Row], Progress]] = [
            ([order(2, "written"), event(2)], cut),  # a journal that was cut: numbers 2 and 3 are taken
            ([order(2, "written")], Progress()),  # one that was deleted
            ([order(n, "written") for n in range(2, 9)], Progress()),  # the same, and grown past what is stored
            ([], cut),
            (stored[:2], Progress()),  # behind what is stored, and it says nothing new
            ([order(2, "written")], end.after(event(9))),  # row 4 is missing
        ]
        for rows, before in refused:
            with pytest.raises(RecordDiffers, match="rebuilds the batch"):
                await store.apply(BATCH, rows, before)
        assert await store.progress(BATCH) == end
        assert len(await record.states()) == 1

    async def test_one_row_that_cannot_be_stored_leaves_out_the_whole_call(
        self, store: Store, record: Record, run_id: int
    ) -> None:
        with pytest.raises(BadData):
            await store.apply(BATCH, [order(1, "written"), trade(1, run_id + 999)])
        assert (await store.progress(BATCH)).number == 0
        assert await record.states() == {}

    async def test_batches_are_numbered_apart(self, store: Store, run_id: int) -> None:
        await store.apply(BATCH, [order(1, "written")])
        await store.apply("another", [order(2, "written")])
        assert (await store.progress("another")).number == 1
        assert (await store.progress("unknown")).number == 0

    async def test_an_older_gateway_does_not_overwrite_a_newer_one(
        self, store: Store, record: Record, run_id: int
    ) -> None:
        rows = [order(1, "sent", generation=2), order(1, "unknown", generation=1)]
        await store.apply(BATCH, rows[:1])
        await store.apply(BATCH, rows[1:], await store.progress(BATCH))
        assert await record.states() == {"liu-0b5e7a4e0000-0-1": "sent"}

    async def test_a_fill_delivered_twice_is_booked_once(self, store: Store, record: Record, run_id: int) -> None:
        account_id = await record.add_portfolio("mine", "10000")
        fill = trade(1, run_id, quantity="10", price="100.5", fee="1.25", account_id=account_id)
        await store.apply(BATCH, [fill, fill])
        await store.apply(BATCH, [fill], await store.progress(BATCH))
        assert len(await store.trades(BATCH)) == 1
        assert await record.count("account_transactions") == 1
        assert await record.balance(account_id) == Decimal("8993.75")  # 10000 - 10 x 100.5 - 1.25

    async def test_a_sale_brings_its_value_less_the_fee(self, store: Store, record: Record, run_id: int) -> None:
        account_id = await record.add_portfolio("mine", "0")
        rows = [trade(1, run_id, operation="sell", quantity="3", price="0.1", fee="0.02", account_id=account_id)]
        await store.apply(BATCH, rows)
        assert await record.balance(account_id) == Decimal("0.28")

    @pytest.mark.parity(35)
    async def test_executions_come_back_by_time_as_they_were_written(self, store: Store, run_id: int) -> None:
        late = trade(1, run_id, at=OPEN + 7_654_321_000)
        early = trade(2, run_id, operation="sell", quantity="0.123456789", fee="0.01", at=OPEN + 1_000)
        await store.apply(BATCH, [late, early])
        first, second = await store.trades(BATCH)
        assert (first.execution_id, first.at, first.operation) == ("execution-2", OPEN + 1_000, "sell")
        assert (first.quantity, first.fee, first.stop) == (Decimal("0.123456789"), Decimal("0.01"), Decimal("180.5"))
        assert (second.at, second.strategy, second.algo_run_id) == (OPEN + 7_654_321_000, "Momentum", run_id)

    async def test_executions_say_why_the_platform_sent_their_order(self, store: Store, run_id: int) -> None:
        why: dict[int, tuple[str, dict[str, str]]] = {
            1: ("market", {"as": "entry", "value": "181.25"}),
            2: ("limit", {"parent": "liu-0b5e7a4e0000-0-1"}),
            3: ("stop", {"parent": "liu-0b5e7a4e0000-0-1"}),
            4: ("market", {"as": "exit", "because": "liquidation"}),
        }
        rows: list[Row] = []
        for n, (kind, details) in why.items():
            sent = msgspec.structs.replace(event(n), details=details)
            rows += [sent, msgspec.structs.replace(order(n, "filled"), type=kind), event(n, 2)]
            rows.append(msgspec.structs.replace(trade(n, run_id, at=OPEN + n * SECOND), planned_target=Decimal("190")))
        await store.apply(BATCH, [*rows, trade(5, run_id, at=OPEN + 5 * SECOND)])
        found = await store.trades(BATCH)
        assert [t.because for t in found] == ["", "target", "stop", "liquidation", ""]
        assert [t.target for t in found] == [Decimal("190")] * 4 + [None]

    async def test_a_run_that_is_over_is_written_as_its_gateway_would_have(
        self, store: Store, record: Record, run_id: int
    ) -> None:
        account_id = await record.add_portfolio("mine", "20000")
        fill = trade(1, run_id, quantity="100", price="100.5", fee="1.25", account_id=account_id)
        rows: list[Row] = [
            *(order(1, "written"), event(1), order(2, "written"), event(2), event(1, 2), order(1, "filled"), fill),
            PlanRow(run_id, "IBM", OPEN, None, Decimal(190)),
            PlanRow(run_id, "IBM", OPEN + SECOND, Decimal(179), Decimal(191)),
            ActivityRow("dividend-1", BATCH, "DIV", "IBM", Decimal("0.5"), OPEN, "a dividend"),
        ]
        sent = SignalRow(BATCH, 0, "IBM", OPEN, {"side": "buy"}, "sent", "liu-1")
        await store.save_run(rows, [sent, msgspec.structs.replace(sent, outcome="refused:order_value")])
        assert await record.states() == {"liu-0b5e7a4e0000-0-1": "filled", "liu-0b5e7a4e0000-0-2": "written"}
        assert await record.count("order_events") == 3
        assert await record.count("account_activities") == 1
        assert await record.outcomes() == {"liu-1": "refused:order_value"}
        assert await record.balance(account_id) == Decimal("9948.75")  # 20000 - 100 x 100.5 - 1.25
        found = await store.recorded(BATCH)
        assert [(t.execution_id, t.price, t.fee) for t in found.trades] == [
            ("execution-1", Decimal("100.5"), Decimal("1.25"))
        ]
        assert found.plans == (PlanRow(run_id, "IBM", OPEN + SECOND, Decimal(179), Decimal(191)),)

    async def test_of_a_run_with_a_row_that_cannot_be_stored_nothing_is(
        self, store: Store, record: Record, run_id: int
    ) -> None:
        with pytest.raises(BadData):
            await store.save_run([order(1, "written"), trade(1, run_id + 999)], [])
        assert await record.states() == {}

    @pytest.mark.parametrize("price", ["1234567.8912", "0.0123", "0.0001", "99999999.999999"])
    async def test_prices_are_kept_exactly(self, store: Store, run_id: int, price: str) -> None:
        await store.apply(BATCH, [trade(1, run_id, price=price)])
        (stored,) = await store.trades(BATCH)
        assert stored.price == Decimal(price)

    async def test_what_earlier_batches_left_open_is_found_by_strategy(self, store: Store) -> None:
        runs = {
            key: await store.begin_algo_run(run(0, *key))
            for key in (
                ("monday", "Momentum", "PAPER"),
                ("tuesday", "Momentum", "PAPER"),
                ("other-strategy", "Reversion", "PAPER"),
                ("other-account", "Momentum", "PROD"),
                ("today", "Momentum", "PAPER"),
                ("tomorrow", "Momentum", "PAPER"),
            )
        }
        rows = [
            trade(n, run_id, quantity="10", operation=operation, symbol=symbol)
            for n, (run_id, symbol, operation) in enumerate(
                (run_id, symbol, "buy" if symbol != "SPY" else "sell")
                for run_id in runs.values()
                for symbol in ("IBM", "SPY")
            )
        ]
        closing = trade(99, runs["tuesday", "Momentum", "PAPER"], quantity="20", operation="sell")
        await store.apply("today", [*rows, closing])
        before = await store.carried_positions("PAPER", "Momentum", "today")
        assert "Momentum" in await store.strategies_before("PAPER", "today")
        assert await store.strategies_before("SIMULATED", "today") == []
        assert {p.symbol: p.quantity for p in before} == {"SPY": Decimal(-20)}
        before = await store.carried_positions("PAPER", "Momentum", "not-begun")
        assert {p.symbol: p.quantity for p in before} == {"IBM": Decimal(20), "SPY": Decimal(-40)}

    async def test_orders_of_other_batches_without_a_known_end_are_found(self, store: Store) -> None:
        monday = await store.begin_algo_run(run(0, "monday", "Momentum", "PAPER"))
        other = await store.begin_algo_run(run(0, "elsewhere", "Momentum", "PROD"))
        today = await store.begin_algo_run(run(0, "today", "Momentum", "PAPER"))
        before = msgspec.structs.replace(
            order(1, "sent", run_id=monday), batch_id="monday", limit_price=Decimal("181.5")
        )
        leg = msgspec.structs.replace(before, client_order_id="leg", side="sell", decided_at=OPEN + SECOND)
        rows: list[Row] = [
            before,
            msgspec.structs.replace(before, client_order_id="done", state="canceled"),
            msgspec.structs.replace(before, client_order_id="elsewhere", batch_id="elsewhere", algo_run_id=other),
            msgspec.structs.replace(before, client_order_id="mine", batch_id="today", algo_run_id=today),
            leg,
            OrderEventRow("leg", 1, "approved", OPEN, {"parent": before.client_order_id}),
            OrderEventRow("leg", 2, "acknowledged", OPEN, {}),
        ]
        await store.apply("monday", rows)
        first, second = await store.unfinished_orders("PAPER", "today")
        assert first == EarlierOrder(before, "Momentum", 0)
        began = {"parent": before.client_order_id}
        assert second == EarlierOrder(leg, "Momentum", 2, before.client_order_id, first="approved", began=began)
        assert [o.order.client_order_id for o in await store.unfinished_orders("PAPER", "monday")] == ["mine"]

    async def test_a_batch_is_read_back_as_it_was_written(self, store: Store, run_id: int) -> None:
        earlier = await store.begin_algo_run(run(0, "monday", environment="PAPER"))
        taken = msgspec.structs.replace(
            order(9, "acknowledged", run_id=earlier), batch_id="monday", decided_at=OPEN - SECOND
        )
        took = msgspec.structs.replace(event(9, 2), event="taken_over", details={"batch_id": BATCH})
        await store.apply("monday", [event(9), taken, took])
        began = msgspec.structs.replace(event(1), event="approved", details={"as": "entry"})
        bought = order(1, "filled", run_id=run_id, filled="100")
        refused = msgspec.structs.replace(order(2, "refused", run_id=run_id), decided_at=OPEN + SECOND)
        nobodys = msgspec.structs.replace(order(3, "filled", run_id=0), decided_at=OPEN + 2 * SECOND)
        rows: list[Row] = [
            began,
            trade(2, run_id, at=OPEN + SECOND),  # executions come in the order in which they were written
            trade(1, run_id),
            bought,
            event(2),
            refused,
            nobodys,
            PlanRow(run_id, "IBM", OPEN + SECOND, Decimal(179), None),
            ForeignRow(BATCH, "T", Decimal(-5), OPEN),
            trade(9, run_id, operation="sell"),
        ]
        end = await store.apply(BATCH, rows)
        found = await store.recorded(BATCH)
        assert found.progress == end
        names = [f"liu-0b5e7a4e0000-0-{n}" for n in (9, 1, 2, 3)]
        assert [o.order.client_order_id for o in found.orders] == names
        assert found.orders[0].order == taken
        assert [e.execution_id for e in found.orders[0].booked] == ["execution-9"]
        assert found.orders[1] == EarlierOrder(
            bought, "Momentum", 1, booked=(BookedExecution("execution-1", Decimal(100), Decimal("181.25")),),
            first="approved", began={"as": "entry"},
        )  # fmt: skip
        assert [(t.execution_id, t.operation, t.quantity, t.at) for t in found.trades] == [
            ("execution-2", "buy", 100, OPEN + SECOND),
            ("execution-1", "buy", 100, OPEN),
            ("execution-9", "sell", 100, OPEN),
        ]
        assert (found.plans, found.foreign) == ((rows[7],), (rows[8],))
        assert await store.recorded("nobody's") == RecordedBatch()

    async def test_an_order_left_comes_with_its_stored_executions_whichever_run_has_them(self, store: Store) -> None:
        monday = await store.begin_algo_run(run(0, "monday", "Momentum", "PAPER"))
        tuesday = await store.begin_algo_run(run(0, "tuesday", "Momentum", "PAPER"))
        await store.begin_algo_run(run(0, "today", "Momentum", "PAPER"))
        left = msgspec.structs.replace(order(1, "sent", run_id=monday), batch_id="monday")
        first = trade(1, monday, quantity="40", price="181.5")
        second = msgspec.structs.replace(trade(2, tuesday, quantity="10"), client_order_id=left.client_order_id)
        await store.apply("monday", [left, first, second, trade(3, monday)])
        [found] = await store.unfinished_orders("PAPER", "today")
        assert found.booked == (
            BookedExecution("execution-1", Decimal(40), Decimal("181.5")),
            BookedExecution("execution-2", Decimal(10), Decimal("181.25")),
        )

    async def test_a_stop_at_the_broker_stands_for_one_that_nobody_planned(self, store: Store) -> None:
        monday = await store.begin_algo_run(run(0, "monday", "Momentum", "PAPER"))
        stop = msgspec.structs.replace(
            order(2, "sent", run_id=monday),
            batch_id="monday",
            side="sell",
            type="stop",
            limit_price=None,
            stop_price=Decimal("170"),
        )
        bare = msgspec.structs.replace(trade(1, monday), planned_stop=None)
        await store.apply("monday", [bare, stop])
        [held] = await store.open_after("PAPER", "Momentum", "monday")
        assert held.planned_stop == 170
        [carried] = await store.carried_positions("PAPER", "Momentum", "today")
        assert carried.planned_stop is None

    @pytest.mark.parametrize(("opened_by", "stop_side", "nearest"), [("buy", "sell", 175), ("sell", "buy", 165)])
    async def test_of_several_stops_at_the_broker_the_one_that_comes_first_counts(
        self, store: Store, opened_by: str, stop_side: str, nearest: int
    ) -> None:
        monday = await store.begin_algo_run(run(0, "monday", "Momentum", "PAPER"))
        stops = [
            msgspec.structs.replace(
                order(n, "sent", run_id=monday),
                batch_id="monday",
                side=stop_side,
                type="stop",
                stop_price=Decimal(price),
            )
            for n, price in ((2, 170), (3, 165), (4, 175), (5, 170))
        ]
        bare = msgspec.structs.replace(trade(1, monday, operation=opened_by), planned_stop=None)
        await store.apply("monday", [bare, *stops])
        [held] = await store.open_after("PAPER", "Momentum", "monday")
        assert held.planned_stop == nearest

    async def test_what_was_left_open_comes_with_its_cost_and_the_newest_stop_and_target(self, store: Store) -> None:
        monday = await store.begin_algo_run(run(0, "monday", "Momentum", "PAPER"))
        tuesday = await store.begin_algo_run(run(0, "tuesday", "Momentum", "PAPER"))
        at = [OPEN + n * SECOND for n in range(8)]
        rows: list[Row] = [
            trade(1, monday, quantity="10", price="100", at=at[0]),
            PlanRow(monday, "IBM", at[1], Decimal(95), Decimal(120)),
            PlanRow(monday, "IBM", at[2], Decimal(97), Decimal(120)),
            trade(2, monday, quantity="5", price="10", symbol="F", at=at[2]),
            trade(3, monday, quantity="5", price="11", symbol="F", operation="sell", at=at[3]),
            PlanRow(monday, "GE", at[3], Decimal(1), None),
            trade(4, tuesday, quantity="10", price="110", at=at[4]),
            trade(5, tuesday, quantity="5", price="111", operation="sell", at=at[5]),
            PlanRow(tuesday, "IBM", at[6], Decimal("101.5"), None),
        ]
        await store.apply("monday", rows)
        [ibm] = await store.carried_positions("PAPER", "Momentum", "today")
        assert (ibm.symbol, ibm.quantity, ibm.average_price, ibm.opened_at) == ("IBM", 15, 105, at[0])
        assert (ibm.planned_stop, ibm.planned_target) == (Decimal("101.5"), None)
        [then] = await store.carried_positions("PAPER", "Momentum", "tuesday")
        assert (then.quantity, then.average_price, then.planned_stop, then.planned_target) == (10, 100, 97, 120)
        assert list(await store.carried_positions("PAPER", "Reversion", "today")) == []

    @pytest.mark.parametrize("how", ["row by row", "at once", "when the run is over"])
    async def test_a_stop_written_after_the_fill_is_that_of_the_executions_it_was_written_for(
        self, store: Store, run_id: int, how: str
    ) -> None:
        other = await store.begin_algo_run(run(1))

        def bare(n: int, operation: str = "buy", run_id: int = run_id, symbol: str = "IBM") -> TradeRow:
            made = trade(n, run_id, operation=operation, symbol=symbol, at=OPEN + n * SECOND)
            return msgspec.structs.replace(made, planned_stop=None, planned_target=None)

        def plan(stop: str | None, target: str | None = None) -> PlanRow:
            return PlanRow(run_id, "IBM", OPEN, *(None if p is None else Decimal(p) for p in (stop, target)))

        rows: list[Row] = [
            bare(1),  # was stopped without a plan
            bare(2, "sell"),
            bare(3),
            bare(4),
            bare(5, run_id=other),
            bare(6, symbol="F"),
            plan(None, "190"),
            plan("179"),
            plan("180", "191"),  # moved: what was risked at entry stays
            bare(7),
            plan("180.25"),
            trade(8, run_id, quantity="300", operation="sell", at=OPEN + 8 * SECOND),
            bare(9),
            plan("170"),
        ]
        if how == "at once":
            await store.apply(BATCH, rows)
        elif how == "when the run is over":
            await store.save_run(rows, [])
        else:
            at = Progress()
            for row in rows:
                at = await store.apply(BATCH, [row], at)
        stops = {t.execution_id: t.stop for t in await store.trades(BATCH)}
        expected = [None, None, "179", "179", None, None, "180.25", "180.5", "170"]
        assert stops == {
            f"execution-{n}": None if stop is None else Decimal(stop) for n, stop in enumerate(expected, 1)
        }

    async def test_what_is_open_after_a_batch_counts_what_was_carried_into_it_unless_its_account_was_new(
        self, store: Store
    ) -> None:
        monday = await store.begin_algo_run(run(0, "monday", "Momentum", "PAPER"))
        tuesday = await store.begin_algo_run(run(0, "tuesday", "Momentum", "PAPER"))
        wednesday = await store.begin_algo_run(run(0, "wednesday", "Momentum", "PAPER"))
        at = [OPEN + n * SECOND for n in range(6)]
        rows: list[Row] = [
            trade(1, monday, quantity="10", price="100", at=at[0]),
            trade(2, monday, quantity="7", price="50", symbol="GE", at=at[0]),
            trade(3, tuesday, quantity="4", price="110", operation="sell", at=at[1]),
            PlanRow(tuesday, "IBM", at[2], Decimal(99), None),
            trade(4, tuesday, quantity="5", price="20", symbol="F", at=at[3]),
            PlanRow(tuesday, "F", at[4], Decimal(19), Decimal(25)),
            trade(5, wednesday, quantity="6", operation="sell", at=at[5]),
        ]
        await store.apply("monday", rows)

        def told(found: Sequence[CarriedPosition]) -> list[tuple[Any, ...]]:
            return [(p.symbol, p.quantity, p.average_price, p.planned_stop, p.planned_target) for p in found]

        assert told(await store.open_after("PAPER", "Momentum", "tuesday")) == [
            ("F", 5, 20, 19, 25),
            ("GE", 7, 50, Decimal("180.5"), None),
            ("IBM", 6, 100, 99, None),
        ]
        alone = await store.open_after("PAPER", "Momentum", "tuesday", alone=True)
        assert told(alone) == [("F", 5, 20, 19, 25), ("IBM", -4, 110, 99, None)]
        assert [p.symbol for p in await store.open_after("PAPER", "Momentum", "wednesday")] == ["F", "GE"]
        assert list(await store.open_after("PROD", "Momentum", "tuesday")) == []

    async def test_what_is_not_ours_is_recorded_once_a_batch(self, store: Store, record: Record) -> None:
        await store.apply(BATCH, [ForeignRow(BATCH, "T", Decimal(5), OPEN), ForeignRow(BATCH, "T", Decimal(6), OPEN)])
        assert await record.count("foreign_positions") == 1

    async def test_an_activity_told_again_is_there_once(self, store: Store, record: Record) -> None:
        moved = [
            ActivityRow("1::a", BATCH, "CSW", "", Decimal("-6000.00"), OPEN, "to the bank"),
            ActivityRow("2::b", BATCH, "ACATS", "IBM", None, OPEN, ""),
        ]
        await store.apply(BATCH, moved)
        await store.apply("another", moved)  # a later batch of the same day sees them too
        assert await record.count("account_activities") == 2

    async def test_what_other_batches_traded_since_an_instant_is_summed_by_symbol(self, store: Store) -> None:
        await store.begin_batch(batch("morning"))
        await store.begin_batch(batch("noon"))
        mine = await store.begin_algo_run(run(1, "morning"))
        other = await store.begin_algo_run(run(2, "morning", "Reversal"))
        now = await store.begin_algo_run(run(1, "noon"))
        split = msgspec.structs.replace(trade(9, mine, quantity="50", at=OPEN), indicators={"adjusted": "restated:now"})
        rows = [
            trade(1, mine, quantity="7", price="50", at=OPEN - SECOND),  # before
            trade(2, mine, quantity="10", price="100", fee="1", at=OPEN),
            trade(3, mine, quantity="4", price="101", fee="0.5", operation="sell", at=OPEN + SECOND),
            trade(4, mine, quantity="3", price="20", symbol="GE", operation="sell", at=OPEN),
            trade(5, other, quantity="8", price="100", at=OPEN),
            split,
        ]
        await store.apply("morning", rows)
        await store.apply("noon", [trade(6, now, quantity="2", at=OPEN)])
        told = await store.traded_before("SIMULATED", ["Momentum"], "noon", OPEN)
        assert list(told) == [
            TradedBefore("GE", Decimal(-3), Decimal(-60), Decimal(0)),
            TradedBefore("IBM", Decimal(6), Decimal(596), Decimal("1.5")),  # 10 x 100 - 4 x 101
        ]
        assert list(await store.traded_before("PAPER", ["Momentum"], "noon", OPEN)) == []

    # --- the account ---

    async def test_only_one_gateway_holds_an_account(self, store: Store, record: Record) -> None:
        second = await record.open()
        assert await store.lease("PA1") == 1
        assert await second.lease("PA2") == 1
        with pytest.raises(OutsideError, match="gateway"):
            await second.lease("PA1")

    async def test_each_gateway_gets_a_higher_generation(self, store: Store, record: Record) -> None:
        assert await store.lease("PA1") == 1
        await store.close()
        assert await (await record.open()).lease("PA1") == 2

    async def test_a_gateway_with_a_lease_writes(self, store: Store, run_id: int) -> None:
        await store.lease("PA1")
        await store.apply(BATCH, [trade(1, run_id)])
        assert (await store.progress(BATCH)).number == 1

    async def test_a_batch_remembers_the_account_it_began_in(self, store: Store) -> None:
        await store.begin_batch(batch())
        assert await store.is_account_of(BATCH, "PA1")  # it knew none yet, as one of an older version
        assert not await store.is_account_of(BATCH, "PA2")
        assert await store.is_account_of(BATCH, "PA1")
        assert await store.is_account_of("no such batch", "PA2")
        [found] = await store.unfinished_batches("SIMULATED")
        assert found.configuration.pop("account_digest")
        assert found == batch()

    # --- results, portfolios, keys ---

    async def test_an_analysis_repeated_replaces_the_first(self, store: Store, record: Record, run_id: int) -> None:
        gain = GainLossRow(
            "IBM", run_id, Decimal("1000.01"), Decimal("1234567.89"), Decimal("-0.000000001"), Decimal("9.123456")
        )
        trip = trip_row(run_id, gain_percentage=Decimal("-1000.5"), gain=Decimal("-0.01"), r_units=Decimal("250.25"))
        no_risk = trip_row(run_id, ended_at=OPEN + 2, gain_percentage=Decimal(5), gain=Decimal(50))
        for _ in range(2):
            await store.save_analysis([gain], [trip, no_risk])
        assert await record.count("gain_loss") == 1
        assert await record.count("trade_analysis") == 2
        await store.save_analysis([], [])
        assert await record.count("trade_analysis") == 2

    async def test_a_round_trip_that_was_none_after_all_is_taken_out(
        self, store: Store, record: Record, run_id: int
    ) -> None:
        other = await store.begin_algo_run(run(7))
        gains = [GainLossRow(symbol, run_id, Decimal(1), Decimal(5)) for symbol in ("IBM", "GE")]
        trips = [trip_row(n) for n in (run_id, other)]
        await store.save_analysis(gains, trips)
        await store.save_analysis([GainLossRow("IBM", run_id, Decimal(-50), Decimal(-995))], [])  # shares bought then
        assert await record.count("trade_analysis") == 1  # the other run's
        assert await record.count("gain_loss") == 1

    async def test_results_of_a_run_that_is_not_there_are_refused(self, store: Store, record: Record) -> None:
        with pytest.raises(BadData):
            await store.save_analysis([GainLossRow("IBM", 999, Decimal(1), Decimal(1))], [])

    async def test_a_trade_plan_joins_a_batch_once_with_the_layout_of_that_moment(
        self, store: Store, record: Record
    ) -> None:
        plan = await record.add_trade_plan("Breakout", {"name": "Breakout", "filename": "b.py", "lookback": 20})
        [row] = await store.trade_plans()
        assert (row.trade_plan_id, row.strategy_name, row.ran_as) == (plan, "Breakout", "")
        assert row.parameters == {"name": "Breakout", "filename": "b.py", "lookback": 20}
        await store.begin_batch(batch())
        for strategy in ("Breakout", "Another"):
            await store.start_trade_plan(BATCH, plan, {"of": strategy}, {"strategy": strategy}, {})
        [stored] = await store.newest_batches(2)
        assert stored.layout == {"of": "Breakout"}
        assert await record.count("trade_plan_execution_audit") == 1
        assert [row.ran_as for row in await store.trade_plans()] == ["Breakout"]

    @pytest.mark.parity(62)
    async def test_a_portfolio_has_an_account_and_is_associated_once(self, store: Store, record: Record) -> None:
        account_id = await record.add_portfolio("mine", "5000.25")
        assert await store.portfolio_account("mine") == PortfolioAccount(account_id, Decimal("5000.25"))
        assert await store.portfolio_account("unknown") is None
        await store.associate_portfolio("mine", BATCH)
        await store.associate_portfolio("mine", BATCH)
        assert await record.count("portfolio_batch_ids") == 1
        with pytest.raises(ConfigError, match="unknown"):
            await store.associate_portfolio("unknown", BATCH)

    async def test_a_key_has_its_newest_value(self, store: Store) -> None:
        assert await store.key_load("Momentum:day") is None
        await store.key_save("Momentum:day", "1")
        await store.key_save("Momentum:day", "2 — ünïcode")
        assert await store.key_load("Momentum:day") == "2 — ünïcode"

    async def test_a_value_that_would_change_in_the_database_is_refused(self, store: Store) -> None:
        with pytest.raises(BadData):
            await store.key_save("k", "a\0b")


# --- the two records --------------------------------------------------------------------------------


@dataclass
class MemoryRecord:
    database: MemoryDatabase = field(default_factory=MemoryDatabase)

    async def open(self) -> Store:
        return MemoryStore(self.database)

    async def count(self, table: str) -> int:
        tables: dict[str, int] = {
            "signals": len(self.database.signals),
            "operator_action": len(self.database.actions),
            "event_lag": len(self.database.lags),
            "order_events": len(self.database.events),
            "foreign_positions": len(self.database.foreign),
            "account_activities": len(self.database.activities),
            "gain_loss": len(self.database.gains),
            "trade_analysis": len(self.database.trips),
            "portfolio_batch_ids": len(self.database.portfolio_batches),
            "trade_plan_execution_audit": len(self.database.plans_started),
            "account_transactions": sum(len(account.amounts) for account in self.database.accounts.values()),
        }
        return tables[table]

    async def states(self) -> dict[str, str]:
        return {row.client_order_id: row.state for row in self.database.orders.values()}

    async def outcomes(self) -> dict[str, str]:
        return {str(row.client_order_id): row.outcome for row in self.database.signals.values()}

    async def add_portfolio(self, portfolio_id: str, balance: str) -> int:
        self.database.accounts[1] = Account(Decimal(balance))
        self.database.portfolios[portfolio_id] = 1
        return 1

    async def add_trade_plan(self, strategy: str, parameters: dict[str, Any]) -> str:
        self.database.trade_plans.append(TradePlanRow(str(uuid4()), "mine", strategy, parameters))
        return self.database.trade_plans[-1].trade_plan_id

    async def balance(self, account_id: int) -> Decimal:
        return self.database.accounts[account_id].balance


class PostgresRecord:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._stores: list[Store] = []

    async def open(self) -> Store:
        store = await open_store(self._dsn)
        self._stores.append(store)
        return store

    async def close(self) -> None:
        for store in self._stores:
            await store.close()

    async def _one(self, query: str, *args: Any) -> Any:
        rows = await self._stores[0].fetch(query, *args)
        return next(iter(rows[0].values()))

    async def count(self, table: str) -> int:
        number: int = await self._one(f"SELECT count(*) FROM {table}")
        return number

    async def states(self) -> dict[str, str]:
        rows = await self._stores[0].fetch("SELECT client_order_id, state FROM orders")
        return {row["client_order_id"]: row["state"] for row in rows}

    async def outcomes(self) -> dict[str, str]:
        rows = await self._stores[0].fetch("SELECT client_order_id, outcome FROM signals")
        return {row["client_order_id"]: row["outcome"] for row in rows}

    async def add_portfolio(self, portfolio_id: str, balance: str) -> int:
        account: int = await self._one(
            "INSERT INTO accounts (balance) VALUES ($1::text::numeric) RETURNING account_id", balance
        )
        await self._stores[0].fetch(
            "INSERT INTO portfolio (portfolio_id, size, account_id) VALUES ($1, $2::text::numeric, $3)",
            portfolio_id,
            balance,
            account,
        )
        return account

    async def add_trade_plan(self, strategy: str, parameters: dict[str, Any]) -> str:
        await self.add_portfolio("mine", "1000")
        for start, expiry in (("'2999-01-01'", "NULL"), ("'2020-01-01'", "now()")):  # not yet, not any more
            await self._stores[0].fetch(
                "INSERT INTO trade_plan (portfolio_id, start_date, strategy_name, expire_tstamp)"
                f" VALUES ('mine', {start}, 'Other', {expiry}) RETURNING trade_plan_id"
            )
        found: str = await self._one(
            "INSERT INTO trade_plan (portfolio_id, start_date, strategy_name, parameters)"
            " VALUES ('mine', current_date, $1, $2::text::jsonb) RETURNING trade_plan_id::text",
            strategy,
            json.dumps(parameters),
        )
        return found

    async def balance(self, account_id: int) -> Decimal:
        amount: Decimal = await self._one("SELECT balance FROM accounts WHERE account_id = $1", account_id)
        return amount


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def record(self) -> Record:
        return MemoryRecord()


@pytest.mark.integration
class TestPostgresStore(StoreContract):
    @pytest.fixture
    def address(self) -> Iterator[str]:
        yield from fresh_database()

    @pytest.fixture
    async def record(self, address: str) -> AsyncIterator[Record]:
        record = PostgresRecord(address)
        yield record
        await record.close()
