"""The supervisor's small parts: endpoints, limits, the market's specification, the operator's socket."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from getpass import getuser
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.common.config import Settings, default_home
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.orders import Side
from liualgotrader.common.rows import BatchRow
from liualgotrader.common.session_plan import Hours, read_plan, write_plan
from liualgotrader.common.tradeplan import Limits, Simulation, TradePlan
from liualgotrader.ipc.address import short_link, socket_address
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.simulator.market_server import rules_of
from liualgotrader.supervisor import session_database
from liualgotrader.supervisor.arming import session_limits
from liualgotrader.supervisor.batch import BatchFinder, BatchLock, BatchTerms, same_market
from liualgotrader.supervisor.managed_process import death_text
from liualgotrader.supervisor.operator_socket import ListedSession, OperatorSocket, ask, remove_killed, running_sessions
from liualgotrader.supervisor.plan_inspection import StrategyFacts
from liualgotrader.supervisor.prepare import last_market_time
from liualgotrader.supervisor.request import MarketAccount, TraderRequest, batch_account, endpoints_of, market_spec
from liualgotrader.supervisor.session_database import Record, enough_room, has_record, make_home
from tests.fakes.store import MemoryStore
from tests.fakes.supervisor import plan_in, waiting

HOURS = Hours(day="2024-06-03", opens_at=100 * SECOND, closes_at=200 * SECOND, liquidates_at=0, ends_at=500 * SECOND)


@pytest.mark.parametrize(
    ("url", "trading", "updates"),
    [
        (
            "https://paper-api.alpaca.markets",
            "https://paper-api.alpaca.markets",
            "wss://paper-api.alpaca.markets/stream",
        ),
        (
            "https://paper-api.alpaca.markets/v2/",
            "https://paper-api.alpaca.markets",
            "wss://paper-api.alpaca.markets/stream",
        ),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "ws://127.0.0.1:8000/stream"),
    ],
)
def test_the_endpoints_follow_from_the_trading_address(url: str, trading: str, updates: str) -> None:
    endpoints = Settings.resolve({}, {"APCA_API_BASE_URL": url, "ALPACA_DATA_FEED": "iex"}).endpoints
    assert (endpoints.trading_url, endpoints.updates_url) == (trading, updates)
    assert endpoints.stream_url == "wss://stream.data.alpaca.markets/v2/iex"
    assert not endpoints.loopback


def test_the_simulated_markets_endpoints_are_on_this_machine() -> None:
    endpoints = endpoints_of(4711, "sip")
    assert endpoints.trading_url == endpoints.data_url == "http://127.0.0.1:4711"
    assert (endpoints.stream_url, endpoints.updates_url) == ("ws://127.0.0.1:4711/v2/sip", "ws://127.0.0.1:4711/stream")
    assert endpoints.loopback


def test_the_market_begins_before_the_open_and_ends_with_the_session() -> None:
    request = TraderRequest(simulate=True, speed=10.0, quantum_seconds=0.5, symbols=("A",), data="d", port=1)
    spec = market_spec(request, Simulation(), HOURS, 7, MarketAccount("SIM0B5E7A4E0", Path("/s")))
    assert (spec.starts_at, spec.ends_at) == (90 * SECOND, 500 * SECOND)
    assert (spec.kind, spec.seed, spec.speed, spec.quantum, spec.symbols) == ("recorded", 7, 10.0, SECOND // 2, ("A",))
    assert spec.folder == str(Path("d").absolute())


def test_max_symbols_of_the_environment_comes_before_the_tradeplans() -> None:
    plan = TradePlan(limits=Limits(max_symbols=7))
    assert session_limits(plan, Settings.resolve({}, {})).max_symbols == 7
    assert session_limits(plan, Settings.resolve({}, {"LIU_MAX_SYMBOLS": "3"})).max_symbols == 3


def test_simulated_time_is_found_on_the_page_of_a_session_that_was_killed(tmp_path: Path) -> None:
    assert last_market_time(tmp_path) == 0
    page = SessionPage.create(tmp_path / "page", ["producer"], ["picks"])
    assert last_market_time(tmp_path) == 0
    page.set_anchor(123, 456, 0.0)
    page.close()
    assert last_market_time(tmp_path) == 123


@pytest.mark.parametrize(
    ("code", "text"), [(-9, "was killed by SIGKILL"), (-99, "was killed by signal 99"), (3, "ended with exit status 3")]
)
def test_a_death_is_told_in_words(code: int, text: str) -> None:
    assert death_text(code) == text


def test_only_the_same_market_and_seed_are_taken_up_again() -> None:
    found = BatchRow("b", "2024-06-03", "SIMULATED", 0, {}, {"market": {"data": "x"}}, {}, 1)
    wanted = BatchTerms("SIMULATED", "2024-06-03", 1, 1, (), {"market": {"data": "x"}})
    assert same_market(found, wanted)
    for field, value in (("seed", 2), ("configuration", {"market": {"data": "y"}})):
        other = {f: getattr(wanted, f) for f in wanted.__struct_fields__} | {field: value}
        assert not same_market(found, BatchTerms(**other))


def test_a_batch_of_a_version_that_named_no_fills_is_the_market_that_is_played_unless_asked() -> None:
    found = BatchRow("b", "2024-06-03", "SIMULATED", 0, {}, {"market": {"data": "x"}}, {}, 1)
    today = {"data": "x", "fills": "strict", "fees": "none", "latency_ms": 1.0, "account": None}
    for other, same in (({}, True), ({"fills": "touch"}, False), ({"account": "7"}, False)):
        assert same_market(found, BatchTerms("SIMULATED", "2024-06-03", 1, 1, (), {"market": today | other})) == same


def test_every_simulated_batch_has_an_account_of_its_own() -> None:
    batches = ("0b5e7a4e-0000-4000-8000-0", "0b5e7a4e-0000-4000-8000-1", "0b5e7a4f-0")
    assert {batch_account(batch, Path()).number for batch in batches} == {"SIM0B5E7A4E0", "SIM0B5E7A4F0"}


def test_a_batch_has_one_supervisor(tmp_path: Path) -> None:
    first, second = BatchLock(tmp_path, "0b5e7a4e-0000"), BatchLock(tmp_path, "0b5e7a4e-0000")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    again = BatchLock(tmp_path, "0b5e7a4e-0000")
    assert again.acquire()
    again.release()
    second.release()


def test_a_full_disk_and_a_folder_that_cannot_be_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_database, "LEAST_FREE", 10**18)
    with pytest.raises(OutsideError, match="MB are free"):
        enough_room(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        make_home(tmp_path / "file" / "home")


async def test_a_full_disk_refuses_a_new_batch_and_lets_an_unfinished_one_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    wanted = BatchTerms("PAPER", "2024-06-03", 1, 0, (StrategyFacts("Swing", run_all=False),), {})
    first = BatchFinder(store, tmp_path)
    begun = await first.batch(wanted, 1, fresh=False)
    first.release()
    monkeypatch.setattr(session_database, "LEAST_FREE", 10**18)
    again = BatchFinder(store, tmp_path)
    batch = await again.batch(wanted, 2, fresh=False)
    assert (batch.batch_id, batch.resumed) == (begun.batch_id, True)
    await again.end(batch.batch_id, 3, "market close")
    again.release()
    with pytest.raises(OutsideError, match="MB are free"):
        await BatchFinder(store, tmp_path).batch(wanted, 4, fresh=False)


def test_only_without_a_database_of_any_kind_there_is_no_batch_to_take_up(tmp_path: Path) -> None:
    new, named = Settings.resolve({"home": str(tmp_path)}, {}), {"DSN": "postgresql://db/liu"}
    elsewhere = Settings.resolve({"home": str(tmp_path)}, named)
    real, simulated = TraderRequest(), TraderRequest(simulate=True)
    assert [has_record(s, r) for s in (new, elsewhere) for r in (real, simulated)] == [False, False, True, False]
    (tmp_path / "postgres").mkdir()
    assert has_record(new, real)
    assert has_record(new, simulated)


async def test_the_operators_socket_answers_its_owner_and_disappears(tmp_path: Path) -> None:
    asked = []

    async def answer(request: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"done": "yes"}

    operator_socket = OperatorSocket(tmp_path, "PAPER", answer)
    await operator_socket.open()
    (listed,) = await asyncio.to_thread(running_sessions, tmp_path)
    assert (listed.batch_id, Path(listed.socket).stat().st_mode & 0o777) == (f"waiting-{os.getpid()}", 0o600)
    assert await asyncio.to_thread(ask, listed, {"do": "stop"}) == {"done": "yes"}
    assert asked == [{"do": "stop", "asked_by": getuser()}]
    await operator_socket.close()
    assert running_sessions(tmp_path) == []
    with pytest.raises(OutsideError, match="does not answer"):
        ask(listed, {"do": "stop"})


def test_the_entry_of_a_session_that_was_killed_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "sessions"
    folder.mkdir(parents=True)
    (folder / "dead.json").write_text('{"pid":1,"batch_id":"b","environment":"PAPER","day":"d","socket":"/nowhere"}')
    assert running_sessions(tmp_path) == []
    assert not list(folder.iterdir())


def test_the_command_that_shows_the_rows_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    server, nowhere = cast(Any, object()), cast(Any, None)
    assert (
        Record(nowhere, "", server, "liu_simulated").how_to_look(default_home()).endswith("liu db psql liu_simulated")
    )
    words = shlex.split(Record(nowhere, "", server, "liu_simulated").how_to_look(Path("/höme with späce ☃")))
    assert words[0] == "LIU_HOME=/höme with späce ☃"
    assert words[-3:] == ["db", "psql", "liu_simulated"]


async def test_the_socket_of_a_waiting_session_answers_in_a_folder_too_deep_for_sockets_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    home = tmp_path / ("d" * 120)
    operator_socket = OperatorSocket(home, "PAPER", waiting)
    await operator_socket.open()
    (listed,) = await asyncio.to_thread(running_sessions, home)
    assert await asyncio.to_thread(ask, listed, {"do": "status"}) == {"waiting": "waits for the open"}
    link = short_link(Path(listed.socket).parent)
    assert link.is_symlink()
    await operator_socket.close()
    assert not os.path.lexists(link)
    assert running_sessions(home) == []


async def test_every_question_is_answered_while_a_waiting_session_hands_its_socket_over_to_its_batch(
    tmp_path: Path,
) -> None:
    class Session:
        async def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
            return {"view": "of the batch"}

    def keep_asking() -> tuple[list[str], str, str]:
        answers: list[str] = []
        while len(answers) < 2 or answers[-1] == "waiting":
            (listed,) = running_sessions(tmp_path)  # never none: the socket stays open
            answers += ask(listed, {"do": "status"})
        (listed,) = running_sessions(tmp_path)
        return answers, listed.batch_id, listed.day

    operator_socket = OperatorSocket(tmp_path, "PAPER", waiting)
    await operator_socket.open()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        (listed,) = await asyncio.to_thread(running_sessions, tmp_path)
        await asyncio.get_running_loop().sock_connect(
            caller, socket_address(Path(listed.socket))
        )  # has knocked, and has not asked yet
        asking = asyncio.create_task(asyncio.to_thread(keep_asking))
        await asyncio.to_thread(ask, listed, {"do": "status"})
        operator_socket.hand_over("0b5e-77", "2024-06-03", Session().answer)
        answers, batch_id, day = await asking
        await asyncio.get_running_loop().sock_sendall(caller, b'{"do": "status"}\n')
        assert await asyncio.get_running_loop().sock_recv(caller, 100) == b'{"view":"of the batch"}\n'
    assert set(answers) <= {"waiting", "view"}
    assert (answers[-1], batch_id, day) == ("view", "0b5e-77", "2024-06-03")
    await operator_socket.close()
    assert [path.name for path in (tmp_path / "run").rglob("*")] == ["sessions"]


async def test_sessions_that_wait_side_by_side_are_listed_each_however_large_their_process_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = []
    for pid in (1_234_567, 1_234_568):  # 64-bit systems count to 4 194 304
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        sockets.append(OperatorSocket(tmp_path, "PAPER", waiting))
        await sockets[-1].open()
    first, second = await asyncio.to_thread(running_sessions, tmp_path)
    assert (first.pid, second.pid) == (1_234_567, 1_234_568)
    assert "waiting" in await asyncio.to_thread(ask, first, {"do": "status"})
    await sockets[0].close()
    [left] = await asyncio.to_thread(running_sessions, tmp_path)
    assert left == second
    assert "waiting" in await asyncio.to_thread(ask, left, {"do": "status"})
    await sockets[1].close()


async def test_what_a_session_that_was_killed_while_it_waited_has_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setattr(os, "getpid", lambda: gone.pid)
    killed = OperatorSocket(tmp_path, "PAPER", waiting)
    await killed.open()
    killed._server.close()  # as the end of its process does
    without_entry = tmp_path / "run" / f"trader-{gone.pid}0000"
    without_entry.mkdir()
    (tmp_path / "run" / "trader-1").mkdir()  # somebody lives under that number
    monkeypatch.undo()
    await asyncio.to_thread(remove_killed, tmp_path)
    left = sorted(str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*"))
    assert left == ["sessions", "trader-1"]


async def test_a_socket_that_finds_no_room_is_one_sentence_about_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sessions").write_text("")  # in place of the folder: what is to be written cannot be
    operator_socket = OperatorSocket(tmp_path, "PAPER", waiting)
    with pytest.raises(OutsideError, match=r"nothing can be written in .*run \(File exists\): make room"):
        await operator_socket.open()
    await operator_socket.close()


def test_a_data_folder_that_may_not_be_looked_into_is_not_called_empty(ordinary_user: Path) -> None:
    home = ordinary_user / "home"
    (home / "run" / "sessions").mkdir(parents=True)
    (home / "run").chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        running_sessions(home)


def test_a_session_whose_socket_is_not_ours_to_open_stays_listed(ordinary_user: Path) -> None:
    sessions = ordinary_user / "run" / "sessions"
    sessions.mkdir(parents=True)
    (ordinary_user / "x").mkdir()
    with socket.socket(socket.AF_UNIX) as operator_socket:
        operator_socket.bind(str(ordinary_user / "x" / "operator.sock"))
        entry = ListedSession(1, "b", "PAPER", "d", str(ordinary_user / "x" / "operator.sock"))
        (sessions / "x.json").write_bytes(msgspec.json.encode(entry))
        (ordinary_user / "x").chmod(0)
        assert running_sessions(ordinary_user) == [entry]
    with pytest.raises(OutsideError, match="does not answer"):
        ask(entry, {"do": "status"})


@pytest.mark.parametrize("profile", ["strict", "paper", "touch", "siis"])
@pytest.mark.parametrize("fees", ["none", "regulatory", "commission", "all"])
def test_fills_fees_and_latency_of_a_session_reach_the_exchange(profile: str, fees: str) -> None:
    stated = {"fills": profile, "latency_ms": 2.5}
    chosen = Settings.resolve(stated, {}, {"simulation": {"fills": "paper", "fees": fees, "latency_ms": 9.0}})
    spec = market_spec(TraderRequest(), chosen.simulation, HOURS, 7, MarketAccount("SIM", Path("/s")))
    rules = rules_of(spec)
    assert (rules.profile, rules.latency_ns) == (profile, 2_500_000)
    sale = rules.fees.total(Side.SELL, Decimal(1000), Decimal(50_000), dt.date(2024, 6, 3))
    # 1,000 shares at 50 $: 27.80 $ a million is 1.39 $, 0.000166 $ a share is 0.17 $; 0.005 $ a share is 5.00 $
    assert sale == {"none": 0, "regulatory": Decimal("1.56"), "commission": 5, "all": Decimal("6.56")}[fees]


def test_a_session_plan_keeps_what_a_tradeplan_says_though_json_has_no_dates_and_no_infinity(tmp_path: Path) -> None:
    parameters = {"since": dt.date(2024, 6, 3), "most": float("inf"), "at": [dt.time(9, 45)], "size": 3}
    plan, page = plan_in(tmp_path)
    page.close()
    plan = msgspec.structs.replace(plan, tradeplan=TradePlan(strategies={"Swing": parameters}, events=("trade",)))
    write_plan(plan)
    assert read_plan(Path(plan.run_dir)) == plan
