"""Recorded batches, listed and played again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.cli import backtester, liu
from liualgotrader.common.calendar import session_of
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.rows import AlgoRunRow, BatchRow, PickRow
from liualgotrader.store.postgres_store import PostgresStore
from liualgotrader.store.store_factory import open_store
from liualgotrader.tapes.generated_profile import tickers
from tests.contract.test_store_contract import trade
from tests.integration.cli.test_report import document

pytestmark = pytest.mark.integration

DAY = date(2024, 6, 3)
SESSION = session_of(DAY)
assert SESSION is not None
OPEN = SESSION.opens_at
FIRST, SECOND, THIRD = tickers(8)[:3]
SIMULATED = "51a11a7e-0000-4000-8000-000000000001"
STRATEGY = """
from liualgotrader.strategies.base import Strategy, StrategyType

class Buys(Strategy):
    strategy_type = StrategyType.SWING
    bought = frozenset()

    async def run(self, symbol, shortable, position, now, minute_history, debug=False, **_):
        if symbol in self.bought or not await self.is_buy_time(now):
            return False, {}
        self.bought |= {symbol}
        return True, {"side": "buy", "qty": "1" if debug else "2", "type": "market"}
"""
PLAN = """
[strategies.Buys]
filename = "buys.py"

[[strategies.Buys.schedule]]
start = 20
duration = 300
"""
MARKET = {
    "data": "",
    "symbols": [],
    "symbol_count": 8,
    "opens_at": OPEN,
    "closes_at": OPEN + 60 * MINUTE,
    "fills": "strict",
    "fees": "none",
    "latency_ms": 1.0,
    "account": None,
}

Program = Callable[..., Any]


def batch_row(batch_id: str = SIMULATED, environment: str = "SIMULATED", **configuration: Any) -> BatchRow:
    told = {"market": MARKET, **configuration}
    return BatchRow(batch_id, f"{DAY}", environment, OPEN, {"consumers": 1}, told, {}, 7)


async def record_session(store: PostgresStore) -> None:
    """Leave what a simulated session would: two picks, one of them traded."""
    await store.begin_batch(batch_row())
    runs = [
        await store.begin_algo_run(AlgoRunRow(SIMULATED, slot, name, "SIMULATED", "v1", {}, OPEN))
        for slot, name in ((1, "Other"), (2, "Buys"))
    ]
    picks = [
        PickRow(SIMULATED, FIRST, "momentum", "Buys", OPEN + 5 * MINUTE),
        PickRow(SIMULATED, SECOND, "momentum", "", OPEN + 40 * MINUTE),
        PickRow(SIMULATED, THIRD, "momentum", "Gone", OPEN + 40 * MINUTE),
    ]
    await store.save_picks(picks)
    await store.save_run([trade(1, runs[1], symbol=SECOND, at=OPEN)], [])


def in_database(dsn: str, act: Callable[[PostgresStore], Awaitable[Any]]) -> Any:
    async def done() -> Any:
        store = await open_store(dsn)
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(done())


def rows_of(dsn: str, query: str) -> Sequence[Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = in_database(dsn, lambda store: store.fetch(query))
    return rows


@pytest.fixture
def program(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Return a function that runs `backtester batch` on a record with a simulated session: its document."""
    (tmp_path / "buys.py").write_text(STRATEGY)
    (tmp_path / "tradeplan.toml").write_text(PLAN)
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    in_database(dsn, record_session)

    def run(*arguments: str) -> Any:
        more = ["--json", "--dsn", dsn, "--tradeplan", str(tmp_path / "tradeplan.toml")]
        assert backtester.run(["batch", *arguments, *more]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def bought(dsn: str) -> dict[str, tuple[int, int]]:
    """Return shares and the minute of the session by symbol, of what the newest batch bought."""
    rows = rows_of(
        dsn,
        "SELECT symbol, sum(qty) AS shares, min(tstamp) AS at FROM new_trades JOIN algo_run USING (algo_run_id)"
        " WHERE algo_env = 'BACKTEST' GROUP BY symbol ORDER BY symbol",
    )
    return {row["symbol"]: (int(row["shares"]), row["at"].hour * 60 + row["at"].minute - 13 * 60 - 30) for row in rows}


@pytest.mark.parity(52)
def test_a_simulated_session_is_played_again_from_its_picks_on(dsn: str, program: Program) -> None:
    told = program(SIMULATED[:8])
    # Its window has an hour. The first is bought once the schedule lets it, the others on the first bar since their pick.
    assert (told["summary"]["sessions"], told["summary"]["bars"]) == (1, 180)
    assert {symbol: minute for symbol, (_, minute) in bought(dsn).items()} == {FIRST: 21, SECOND: 41, THIRD: 41}
    (run,) = rows_of(dsn, "SELECT * FROM algo_run WHERE algo_env = 'BACKTEST'")
    (repeated,) = rows_of(dsn, "SELECT algo_run_id FROM algo_run WHERE algo_name = 'Buys' AND algo_env = 'SIMULATED'")
    assert run["ref_algo_run"] == repeated["algo_run_id"]
    (batch,) = rows_of(dsn, "SELECT configuration::text AS told FROM batch WHERE environment = 'BACKTEST'")
    assert json.loads(batch["told"])["backtest"]["repeats"]["batch_id"] == SIMULATED


def test_a_session_and_the_backtest_that_repeats_it_lie_in_one_sheet(
    dsn: str, program: Program, tmp_path: Path
) -> None:
    again = program(SIMULATED)["batch_id"]
    place = tmp_path / "sheet.html"
    words = [
        "report",
        SIMULATED,
        "--beside",
        again[:8],
        "--benchmark",
        FIRST.lower(),
        "--output",
        str(place),
        "--dsn",
        dsn,
    ]
    assert liu.run(words) == 0
    (beside,) = document(place)["figures"]["beside"]
    assert (beside["batch_id"], beside["environment"]) == (again, "BACKTEST")
    (session,) = beside["returns"]
    assert session[0] == f"{DAY}"
    equity = rows_of(dsn, "SELECT amounts FROM equity WHERE batch_id <> '" + SIMULATED + "'")[0]["amounts"]
    assert float(session[2]) == pytest.approx(equity[-1] / equity[0] - 1, abs=1e-9)
    assert document(place)["figures"]["benchmark"]["total_return"] is not None


@pytest.mark.parity(52)
def test_strict_plays_only_what_was_traded_then(dsn: str, program: Program) -> None:
    program(SIMULATED, "--strict")
    assert set(bought(dsn)) == {SECOND}


@pytest.mark.parity(52)
def test_symbols_that_are_named_take_the_place_of_the_picks(dsn: str, program: Program) -> None:
    name = tickers(8)[5]
    program(SIMULATED, "--symbol", name.lower())
    assert bought(dsn) == {name: (2, 21)}


@pytest.mark.parity(52)
def test_windows_last_as_long_as_is_said(dsn: str, program: Program) -> None:
    program(SIMULATED, "--duration", "10")
    assert set(bought(dsn)) == {FIRST}


@pytest.mark.parity(52)
def test_run_is_told_to_debug_the_symbols_that_are_named(dsn: str, program: Program) -> None:
    program(SIMULATED, "--debug", FIRST)
    assert {symbol: shares for symbol, (shares, _) in bought(dsn).items()} == {FIRST: 1, SECOND: 2, THIRD: 2}


def test_a_backtest_is_played_again_as_it_was(
    dsn: str, program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--json", "--dsn", dsn, "--tradeplan", str(tmp_path / "tradeplan.toml")]
    first = ["from", "2024-06-03", "--to", "2024-06-04", "--scale", "minute", "--generated", "3"]
    assert backtester.run([*first, *more]) == 0
    capsys.readouterr()
    (batch,) = rows_of(dsn, "SELECT batch_id FROM batch WHERE environment = 'BACKTEST'")
    again = program(batch["batch_id"])
    assert again["summary"]["bars"] == 3 * 780
    rows = rows_of(
        dsn,
        "SELECT b.batch_id, t.symbol, t.qty, t.price, t.tstamp FROM new_trades t JOIN algo_run r USING (algo_run_id)"
        " JOIN batch b ON b.batch_id = r.batch_id WHERE b.environment = 'BACKTEST' ORDER BY t.trade_id",
    )
    one, other = (
        [tuple(r.values())[1:] for r in rows if (r["batch_id"] == batch["batch_id"]) is which]
        for which in (True, False)
    )
    assert one == other != []


@pytest.mark.parity(51)
def test_batches_are_listed_the_newest_first(dsn: str, program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    program(SIMULATED)
    assert backtester.run(["batch", "-b", "--dsn", dsn]) == 0
    header, newest, oldest = capsys.readouterr().out.strip().splitlines()[1:]
    assert header.split() == ["batch_id", "environment", "day", "strategies", "start", "(UTC)", "build"]
    assert newest.split()[1:4] == ["BACKTEST", f"{DAY}", "Buys"]
    assert oldest.split()[:5] == [SIMULATED, "SIMULATED", f"{DAY}", "Other,", "Buys"]
    assert oldest.split()[-1] == "v1"
    listed = program("-b")
    assert [batch["environment"] for batch in listed] == ["BACKTEST", "SIMULATED"]
    assert listed[1] == {
        "batch_id": SIMULATED,
        "environment": "SIMULATED",
        "day": f"{DAY}",
        "strategies": ["Other", "Buys"],
        "started_at": "2024-06-03 13:30",
        "build": "v1",
    }


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (None, "there is no batch 77: `backtester batch --batch-list` lists the newest"),
        (batch_row("77000000-1"), "no symbol was picked in batch 77000000-1: name some with --symbol"),
        (
            batch_row("77000000-1", market={**MARKET, "account": "SIM1"}),
            r"batch 77000000-1 was traded on an invented market that other sessions led to \(--state\)",
        ),
        (batch_row("77000000-1", "PAPER", market={}), "no symbol was picked in batch 77000000-1"),
        (batch_row("77000000-1", market={**MARKET, "data": "/gone"}), "no symbol was picked in batch 77000000-1"),
    ],
)
def test_what_cannot_be_played_again_is_one_sentence(
    dsn: str, program: Program, batch: BatchRow | None, sentence: str
) -> None:
    if batch is not None:
        in_database(dsn, lambda store: store.begin_batch(batch))
    with pytest.raises(ConfigError, match=sentence):
        program("77")


def test_an_id_of_which_too_little_is_written_is_one_sentence(dsn: str, program: Program) -> None:
    in_database(dsn, lambda store: store.begin_batch(batch_row("51a11a7e-1")))
    with pytest.raises(ConfigError, match="more than one batch begins with 51a11a7e"):
        program("51a11a7e")


def test_batches_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        backtester.run(["batch"])
    assert ended.value.code == 2
    assert "name one or more batches; --batch-list lists the newest" in capsys.readouterr().err
