"""Whole sessions: the real command line, supervisor and PostgreSQL, with stand-ins for the other processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.session_plan import read_plan
from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.supervisor.operator_socket import ask, running_sessions
from tests.fakes.stack.simulator import THE_END

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

GUARD_SECONDS = 120  # what is waited for comes long before, however busy the machine

STRATEGY = """
from liualgotrader.strategies.base import Strategy, StrategyType

class Breakout(Strategy):
    def __init__(self, batch_id, schedule=None, ref_run_id=None, data_loader=None):
        super().__init__("Breakout", StrategyType.DAY_TRADE, batch_id, schedule or [], ref_run_id, data_loader)

    async def run(self, symbol, shortable, position, now, minute_history, **_):
        return False, {}
"""
PLAN = """
consumers = 2
[scanners.momentum]
min_last_dv = 1
min_share_price = 1
max_share_price = 2
min_volume = 1
from_market_open = 1
min_gap = 1
[strategies.Breakout]
filename = "breakout.py"
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, EmbeddedServer]]:
    folder = tmp_path_factory.mktemp("home")
    with EmbeddedServer.start(folder) as server:
        server.ensure_database("liu_simulated")
        yield folder, server


@pytest.fixture
def trader(home: tuple[Path, EmbeddedServer], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts `trader --simulate` with stand-ins; everything started is ended."""
    (tmp_path / "breakout.py").write_text(STRATEGY)
    (tmp_path / "tradeplan.toml").write_text(PLAN)
    started = []

    def start(
        *arguments: str,
        behaviour: dict[str, str] | None = None,
        ends: bool = False,
        simulate: bool = True,
        environment_more: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        (tmp_path / "behaviour.json").write_text(json.dumps(behaviour or {}))
        if ends:
            end_market(tmp_path)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("APCA", "DSN"))}
        environment |= {
            "LIU_HOME": str(home[0]),
            "TRADEPLAN_DIR": str(tmp_path),
            "LIU_FAKE_BEHAVIOUR": str(tmp_path / "behaviour.json"),
            "APCA_API_SECRET_KEY": "a-real-secret-that-nobody-may-see",
            "PYTHONPATH": str(ROOT),
        } | (environment_more or {})
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.trader_with_fakes", *(["--simulate"] if simulate else []), *arguments],
            env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def end_market(tmp_path: Path) -> None:
    """Let the market's day be over, once every process is ready."""
    (tmp_path / THE_END).touch()


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=GUARD_SECONDS)
    return process.returncode, out, err


def until_line(tmp_path: Path, start: str, times: int = 1) -> list[str]:
    """Wait until stand-ins have written so many lines that begin so."""
    log = tmp_path / "did.log"
    deadline = time.monotonic() + GUARD_SECONDS
    while time.monotonic() < deadline:
        found = [line for line in log.read_text().splitlines() if line.startswith(start)] if log.exists() else []
        if len(found) >= times:
            return found
        time.sleep(0.05)
    raise AssertionError(f"nobody did {start!r}: {log.read_text() if log.exists() else 'nothing'}")


def until_ready(home: tuple[Path, Any]) -> Any:
    """Wait until every process of the one session that runs is ready; return the session."""
    deadline = time.monotonic() + GUARD_SECONDS
    while time.monotonic() < deadline:
        for session in running_sessions(home[0]):
            if (view := ask(session, {"do": "status"}).get("view")) and {p["state"] for p in view["processes"]} == {
                "ready"
            }:
                return session
        time.sleep(0.05)
    raise AssertionError("no session became ready")


def batch_in(out: str) -> str:
    return next(line.split()[1] for line in out.splitlines() if line.startswith("batch "))


def rows(home: tuple[Path, EmbeddedServer], query: str) -> list[list[str]]:
    return [line.split("|") for line in home[1].run_sql(query, database="liu_simulated").splitlines()]


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parity(3, 11)
def test_a_session_ends_at_its_time_with_status_0_and_the_day_analysed(
    trader: Callable[..., subprocess.Popen[str]], home: tuple[Path, EmbeddedServer]
) -> None:
    code, out, err = finish(trader(behaviour={"order_gateway": "trade"}, ends=True))
    assert (code, err) == (0, ""), out
    batch = batch_in(out)
    assert [line.split()[1].strip(",") for line in out.splitlines() if line.startswith("batch ")] == [batch, batch]
    runs = f"SELECT algo_run_id FROM algo_run WHERE batch_id = '{batch}'"
    assert (
        rows(home, f"SELECT algo_env, end_reason, end_time IS NOT NULL FROM algo_run WHERE batch_id = '{batch}'")
        == [["SIMULATED", "market close", "t"]] * 2
    )
    assert rows(
        home, f"SELECT symbol, gain_value = 50, gain_percentage = 5 FROM gain_loss WHERE algo_run_id IN ({runs})"
    ) == [["AAPL", "t", "t"]]
    assert rows(home, f"SELECT r_units = 1 FROM trade_analysis WHERE algo_run_id IN ({runs})") == [["t"]]
    summary = next(line.split() for line in out.splitlines() if line.startswith("Breakout "))
    assert summary[:5] == ["Breakout", "1", "100.0", "%", "50.00"]
    assert "account …4567, SIMULATED, equity 100,000.00 $" in out
    assert "liu db psql liu_simulated" in out
    assert "a-real-secret" not in out
    assert rows(
        home, f"SELECT count(*) FROM batch WHERE batch_id = '{batch}' AND configuration::text LIKE '%a-real-secret%'"
    ) == [["0"]]


def test_kill_9_of_any_process_leaves_a_session_that_ends_as_it_should(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = trader()
    victims = ("consumer-1", "order_gateway", "scanners_runner", "producer")
    for name in victims:
        pid = int(until_line(tmp_path, f"start {name} ")[0].split()[2])
        os.kill(pid, signal.SIGKILL)
    for name in victims:
        until_line(tmp_path, f"start {name} ", times=2)
    end_market(tmp_path)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert out.count("was killed by SIGKILL; it is started again") == 4


def test_a_killed_postmaster_is_started_again(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    process = trader()
    until_line(tmp_path, "start consumer-0 ")
    assert home[1].postmaster_pid
    os.kill(home[1].postmaster_pid, signal.SIGKILL)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("PostgreSQL was killed and is started again" in line for line in lines)
    end_market(tmp_path)
    code, out, _ = finish(process)
    assert code == 0, out
    assert "Session summary" in out


def test_a_dead_simulated_market_ends_the_session_with_3_and_a_sentence(
    trader: Callable[..., subprocess.Popen[str]], home: tuple[Path, EmbeddedServer]
) -> None:
    code, out, err = finish(trader(behaviour={"simulator": "die"}))
    assert code == 3
    assert "the simulated market is gone, so the session ends" in err
    reasons = rows(home, f"SELECT end_reason FROM algo_run WHERE batch_id = '{batch_in(out)}'")
    assert reasons == [["the simulated market is gone"]] * 2


def test_a_market_that_cannot_start_is_a_sentence_and_leaves_no_open_batch(
    trader: Callable[..., subprocess.Popen[str]], home: tuple[Path, EmbeddedServer]
) -> None:
    code, _, err = finish(trader(behaviour={"simulator": "refuse"}))
    assert (code, err) == (2, "trader: The data folder holds nothing.\n")
    assert rows(home, "SELECT count(*) FROM batch WHERE ended_at IS NULL") == [["0"]]


def test_an_error_of_the_gateway_ends_the_session_with_its_sentence_and_status(
    trader: Callable[..., subprocess.Popen[str]],
) -> None:
    code, out, err = finish(trader(behaviour={"order_gateway": "fail"}))
    assert (code, err) == (3, "trader: the broker says no; ask it why.\n"), out


def test_a_batch_whose_gateway_gives_up_stays_unfinished_until_one_has_looked_after_it(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    first = trader()
    until_line(tmp_path, "start scanners_runner")
    first.kill()
    batch = batch_in(first.communicate(timeout=60)[0])
    for _ in range(2):
        code, out, err = finish(trader(behaviour={"order_gateway": "fail"}))
        assert (code, batch_in(out)) == (3, batch)
        assert err == (
            "trader: the broker says no; ask it why. The batch stays unfinished, and what it left at the broker keeps working:"
            " the next `trader` takes it up\n"
        )
        assert rows(home, f"SELECT count(*) FROM batch WHERE batch_id = '{batch}' AND ended_at IS NULL") == [["1"]]
    code, out, _ = finish(trader(ends=True))
    assert (code, batch_in(out)) == (0, batch)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_gateway_that_gives_up_while_it_is_to_stop_says_why_and_its_status_is_the_sessions(
    trader: Callable[..., subprocess.Popen[str]], home: tuple[Path, EmbeddedServer], by_hand: bool
) -> None:
    process = trader(behaviour={"order_gateway": "fail-at-end"}, ends=not by_hand)
    if by_hand:
        until_ready(home)
        process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, err.count("\n")) == (4, 1), out
    assert err.startswith("trader: the journal is another batch's. The batch stays unfinished")
    assert finish(trader(ends=True))[0] == 0


def test_the_gateway_is_told_when_a_person_could_read_whose_account_it_is(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = trader()
    until_line(tmp_path, "told order_gateway OperatorRequest(name='announced'")
    process.send_signal(signal.SIGTERM)
    code, out, _ = finish(process)
    assert (code, out.count("account …4567, SIMULATED, equity 100,000.00 $")) == (0, 1)


@pytest.mark.parametrize(
    ("word", "status", "sentence"),
    [
        ("slot-fails", 2, "no strategy could run: Breakout: could not be made"),
        ("slot-ends", 4, "every strategy was stopped before its time: Breakout: raised 10 times"),
    ],
)
def test_a_session_in_which_no_strategy_is_left_ends_at_once_and_not_with_0(
    trader: Callable[..., subprocess.Popen[str]], word: str, status: int, sentence: str
) -> None:
    code, out, err = finish(trader(behaviour={"consumer-0": word, "consumer-1": word}))
    assert code == status, out
    assert sentence in err
    assert "strategy Breakout is stopped, and no other is left (" in out
    assert "nothing was traded: " in out


def test_a_session_that_is_being_prepared_says_so_and_can_be_stopped(
    trader: Callable[..., subprocess.Popen[str]], home: tuple[Path, EmbeddedServer]
) -> None:
    process = trader()
    environment = dict(os.environ, LIU_HOME=str(home[0]))
    deadline = time.monotonic() + GUARD_SECONDS
    while not (found := running_sessions(home[0])):
        assert time.monotonic() < deadline, "no session says that it is being prepared"
        time.sleep(0.02)
    assert ask(found[0], {"do": "status"}) == {"waiting": "is being prepared"}
    assert "no order gateway yet" in ask(found[0], {"do": "resume"})["error"]
    stop = [sys.executable, "-c", "from liualgotrader.cli.trader import main; main()", "stop"]
    told = subprocess.run(stop, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "is being stopped" in told.stdout, told.stderr
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    assert running_sessions(home[0]) == []
    assert list((home[0] / "run").glob("trader-*")) == []


def test_ctrl_c_ends_in_order_with_130(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    process = trader("--flatten")
    until_ready(home)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, err) == (130, "trader: interrupted by Ctrl-C\n"), out
    assert until_line(tmp_path, "stop order_gateway") == ["stop order_gateway interrupted flatten=True"]
    assert rows(home, f"SELECT DISTINCT end_reason FROM algo_run WHERE batch_id = '{batch_in(out)}'") == [
        ["interrupted"]
    ]


def test_a_second_ctrl_c_kills_everything(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    process = trader(behaviour={"consumer-0": "stubborn"})
    pid = int(until_line(tmp_path, "start consumer-0 ")[0].split()[2])
    until_ready(home)
    process.send_signal(signal.SIGINT)
    until_line(tmp_path, "stop producer")
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "the next `trader` takes the batch up again" in err
    assert not is_alive(pid)


def test_a_killed_supervisor_leaves_no_process_and_the_next_takes_the_batch_up_where_the_market_stood(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    first = trader()
    pids = [
        int(until_line(tmp_path, f"start {n} ")[0].split()[2]) for n in ("simulator", "order_gateway", "consumer-0")
    ]
    until_line(tmp_path, "start scanners_runner")
    first.send_signal(signal.SIGSTOP)  # reports pile up unread: its end is a reset then, not an end of file
    time.sleep(1)
    first.kill()
    out, _ = first.communicate(timeout=60)
    deadline = time.monotonic() + GUARD_SECONDS
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"outlive their supervisor: {left}"
        time.sleep(0.1)
    code, again, err = finish(trader(ends=True))
    assert (code, err) == (0, ""), again
    assert f"batch {batch_in(out)} (taken up again)" in again
    starts = [int(line.split()[3]) for line in until_line(tmp_path, "start simulator")]
    assert starts[1] >= starts[0]
    assert rows(home, f"SELECT count(*) FROM algo_run WHERE batch_id = '{batch_in(out)}'") == [["2"]]


def test_new_begins_a_fresh_batch_and_ends_the_one_left_unfinished(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    first = trader()
    until_line(tmp_path, "start scanners_runner")
    first.kill()
    out, _ = first.communicate(timeout=60)
    code, again, _ = finish(trader("--new", ends=True))
    assert code == 0
    assert batch_in(again) != batch_in(out)
    assert rows(home, f"SELECT DISTINCT end_reason FROM algo_run WHERE batch_id = '{batch_in(out)}'") == [
        ["left unfinished; a new batch was started"]
    ]


def test_status_and_stop_talk_to_the_running_session(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    process = trader()
    until_ready(home)
    environment = dict(os.environ, LIU_HOME=str(home[0]))
    ask = [sys.executable, "-c", "from liualgotrader.cli.trader import main; main()"]
    status = subprocess.run([*ask, "status"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert status.returncode == 0, status.stderr
    assert "SIMULATED session of 2024-06-03" in status.stdout
    assert "consumer-1       ready" in status.stdout
    stop = subprocess.run([*ask, "stop"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (stop.returncode, "is being stopped" in stop.stdout) == (0, True)
    code, out, err = finish(process)
    assert (code, err) == (0, ""), out
    assert rows(home, f"SELECT DISTINCT end_reason FROM algo_run WHERE batch_id = '{batch_in(out)}'") == [["stopped"]]


def test_status_counts_a_fill_as_soon_as_its_row_is_there(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    process = trader()
    until_ready(home)  # the supervisor has looked at the record and is told of nothing new after
    run = rows(home, "SELECT max(algo_run_id) FROM algo_run")[0][0]
    columns = "algo_run_id, symbol, operation, qty, price, tstamp, execution_id, indicators"
    for number, side in enumerate(("buy", "sell"), start=1):
        home[1].run_sql(
            f"INSERT INTO new_trades ({columns}) VALUES ({run}, 'AAPL', '{side}', 10, 100, now(), 'e-{number}', 'null')",
            database="liu_simulated",
        )
    ask = [sys.executable, "-c", "from liualgotrader.cli.trader import main; main()"]
    environment = dict(os.environ, LIU_HOME=str(home[0]))
    status = subprocess.run([*ask, "status"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "  fills=2  " in status.stdout, status.stderr
    process.send_signal(signal.SIGHUP)
    assert finish(process)[0] == 0


def test_no_variable_of_a_vendor_reaches_a_process_of_the_simulated_market(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = trader()
    pid = int(until_line(tmp_path, "start order_gateway ")[0].split()[2])
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    names = {
        e.split("=")[0] for e in environment if e.startswith(("APCA_", "ALPACA_", "POLYGON_", "TRADIER_", "GEMINI_"))
    }
    assert names == {"APCA_API_KEY_ID", "APCA_API_SECRET_KEY"}
    assert "a-real-secret-that-nobody-may-see" not in "".join(environment)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0


PAPER = {"APCA_API_KEY_ID": "PKTEST", "APCA_API_BASE_URL": "http://127.0.0.1:9"}


def test_a_paper_session_keeps_its_keys_and_writes_to_its_own_database(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    plan = (tmp_path / "tradeplan.toml").read_text()
    (tmp_path / "tradeplan.toml").write_text("bypass_market_schedule = true\n" + plan)
    process = trader("--shadow", simulate=False, environment_more=PAPER)
    pid = int(until_line(tmp_path, "start order_gateway ")[0].split()[2])
    until_line(tmp_path, "start consumer-1 ")
    environment = dict(e.partition("=")[::2] for e in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    assert environment["APCA_API_KEY_ID"] == "PKTEST"
    assert "/liualgotrader?" in environment["LIU_SESSION_DSN"]
    until_ready(home)
    process.send_signal(signal.SIGTERM)
    code, out, err = finish(process)
    assert (code, err) == (0, ""), out
    assert "shadow: nothing is sent" in out
    told = home[1].run_sql("SELECT algo_env, end_reason FROM algo_run", database="liualgotrader").splitlines()
    assert told == ["PAPER|stopped"] * 2


@pytest.mark.parity(38)
def test_a_session_trades_for_the_sub_account_that_its_portfolio_names_and_for_no_other_beside(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    plan = "bypass_market_schedule = true\n" + (tmp_path / "tradeplan.toml").read_text()
    made = [sys.executable, "-c", "from liualgotrader.cli.portfolios import main; main()", "create", "10000", "--json"]
    told = subprocess.run(made, env=os.environ | {"LIU_HOME": str(home[0])}, capture_output=True, text=True, check=True)
    portfolio = json.loads(told.stdout)["portfolio_id"]
    home[1].run_sql(
        f"UPDATE portfolio SET external_account_id = 'sub-account-4711' WHERE portfolio_id = '{portfolio}'",
        database="liualgotrader",
    )
    other = '[strategies.Second]\nfilename = "breakout.py"\nclass = "Breakout"\n'
    (tmp_path / "tradeplan.toml").write_text(plan + f'portfolio_id = "{portfolio}"\n' + other)
    code, _, err = finish(trader(simulate=False, environment_more=PAPER))
    assert code == 2
    assert "Second trades for the account of the keys and Breakout for sub-account …4711" in err
    (tmp_path / "tradeplan.toml").write_text(plan + f'portfolio_id = "{portfolio}"\n')
    code, _, err = finish(trader(simulate=False, environment_more=PAPER))
    assert (code, "set ALPACA_BROKER_API_KEY and ALPACA_BROKER_API_SECRET" in err) == (2, True), err
    keys = {"ALPACA_BROKER_API_KEY": "CKTEST", "ALPACA_BROKER_API_SECRET": "hush-hush-hush"}
    elsewhere = PAPER | keys | {"ALPACA_BROKER_API_BASEURL": "https://broker-api.alpaca.markets"}
    code, _, err = finish(trader(simulate=False, environment_more=elsewhere))
    assert (code, "set ALPACA_BROKER_API_BASEURL to https://broker-api.sandbox.alpaca.markets" in err) == (2, True), err
    process = trader(simulate=False, environment_more=PAPER | keys)
    session = until_ready(home)
    plans = [read_plan(path.parent) for path in (home[0] / "run").glob("*/session.json")]
    assert [p.sub_account for p in plans if p.batch_id == session.batch_id] == ["sub-account-4711"]
    process.send_signal(signal.SIGTERM)
    code, out, err = finish(process)
    assert code == 0, err
    assert "orders go to sub-account …4711 through https://broker-api.sandbox.alpaca.markets" in out
    assert "hush" not in out + err


def test_a_second_paper_session_of_the_day_is_refused_while_the_first_runs(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    plan = (tmp_path / "tradeplan.toml").read_text()
    (tmp_path / "tradeplan.toml").write_text("bypass_market_schedule = true\n" + plan)
    first = trader(simulate=False, environment_more=PAPER)
    until_line(tmp_path, "start consumer-1 ")
    code, _, err = finish(trader(simulate=False, environment_more=PAPER))
    assert code == 2
    assert "is being traded by another `trader`" in err
    first.send_signal(signal.SIGTERM)
    assert finish(first)[0] == 0


def test_check_says_what_would_run_and_starts_nothing(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    code, out, err = finish(trader("--check"))
    assert (code, err) == (0, ""), out
    assert "Breakout (per symbol, DAY_TRADE); scanners momentum; 2 consumer(s), 2 slots" in out
    assert "2024-06-03, 09:30 to 16:00 New York, DAY_TRADE positions are closed at 15:45" in out
    assert "everything is ready" in out
    assert not (tmp_path / "did.log").exists()
    (tmp_path / "breakout.py").write_text("raise RuntimeError")
    code, out, _ = finish(trader("--check"))
    assert code == 2
    assert "no  strategies and scanners: [strategies.Breakout] breakout.py cannot be imported" in out


def test_check_does_not_call_ready_what_cannot_run_or_will_surprise(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    plan = (tmp_path / "tradeplan.toml").read_text()
    (tmp_path / "tradeplan.toml").write_text(plan.replace("min_gap = 1", "min_gap = 1\nrecurence = 5"))
    code, out, _ = finish(trader("--check"))
    assert (code, "no argument `recurence`; did you mean `recurrence`?" in out) == (2, True), out
    code, _, err = finish(trader())
    assert (code, "no argument `recurence`" in err) == (2, True), err
    (tmp_path / "tradeplan.toml").write_text(plan)
    code, out, _ = finish(trader("--check", "--from", "09:30", "--to", "09:40"))
    assert code == 0
    assert "  !!  the session lasts 10 minutes, and DAY_TRADE positions are closed 15 minutes before its end" in out
    assert "everything is ready" not in out
    (tmp_path / "tradeplan.toml").write_text(plan + 'portfolio_id = "nowhere"\n')
    code, out, _ = finish(trader("--check"))
    assert (code, "  no  database: there is no portfolio nowhere in the database" in out) == (2, True), out
    (tmp_path / "tradeplan.toml").write_text(plan)
    code, out, _ = finish(trader("--check", "--consumers", "500"))
    assert (code, "500 consumers are asked for" in out) == (2, True)


def test_a_plan_of_which_no_strategy_can_be_made_is_refused_before_anything_starts(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "breakout.py").write_text(
        STRATEGY.replace("        super()", "        open('/no/model')\n        super()")
    )
    code, out, _ = finish(trader("--check"))
    assert (code, "Breakout could not be made: FileNotFoundError" in out) == (2, True), out
    code, out, err = finish(trader())
    assert (code, out) == (2, "")
    assert "Breakout could not be made: FileNotFoundError" in err
    assert not (tmp_path / "did.log").exists()


def test_check_leaves_the_database_that_dsn_names_as_it_is(
    trader: Callable[..., subprocess.Popen[str]], home: tuple[Path, EmbeddedServer]
) -> None:
    home[1].ensure_database("somebodys")
    dsn = home[1].dsn("somebodys")
    code, out, err = finish(trader("--check", "--dsn", dsn))
    assert (code, err) == (0, ""), out
    assert (
        "database: the server that DSN names, whose tables the next session, or `liu db migrate`, brings to this version"
        in out
    )
    assert home[1].run_sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database="somebodys") == "0\n"


def test_check_and_session_say_the_same_of_a_database_that_is_away(
    trader: Callable[..., subprocess.Popen[str]],
) -> None:
    dead = ("--dsn", "postgresql://me:hidden@127.0.0.1:9/nowhere")
    _, told, _ = finish(trader("--check", *dead))
    code, _, err = finish(trader(*dead))
    assert code == 3
    said = err.removeprefix("trader: ").strip()
    assert said.endswith("so nothing is started: see that it runs and that DSN names it")
    assert f"  no  database: {said}" in told.splitlines()
    assert "hidden" not in told + err


def test_a_strategy_that_never_answers_is_marked_and_the_session_goes_on(
    trader: Callable[..., subprocess.Popen[str]], tmp_path: Path, home: tuple[Path, EmbeddedServer]
) -> None:
    plan = (tmp_path / "tradeplan.toml").read_text()
    (tmp_path / "tradeplan.toml").write_text(plan + "[timings]\nstrategy_answer_seconds = 0.5\n")
    process = trader(behaviour={"consumer-0": "hang-once"})
    until_line(tmp_path, "start consumer-0 ", times=2)
    end_market(tmp_path)
    code, out, err = finish(process)
    assert (code, err) == (0, ""), out
    assert "strategy Breakout did not answer for" in out
    runs = rows(home, f"SELECT end_reason FROM algo_run WHERE batch_id = '{batch_in(out)}' ORDER BY algo_run_id")
    assert runs == [["no answer"], ["market close"]]


def test_keep_leaves_the_market_open_until_ctrl_c(trader: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    process = trader("--keep", ends=True)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("kept alive: the simulated market at http://127.0.0.1:65000" in line for line in lines)
    assert not (tmp_path / "did.log").read_text().count("stop simulator")
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 0
    assert "stop simulator" in (tmp_path / "did.log").read_text()
