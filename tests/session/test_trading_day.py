"""Whole sessions through real processes: what a user runs, audited against the market's own books."""

from __future__ import annotations

import random
import signal
import sys
from datetime import date
from pathlib import Path

import pytest

from tests.fakes.real_data import real_data
from tests.session.audit import audit
from tests.session.running import trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

WINDOW = ("--from", "09:30", "--to", "09:50")
REFUSE = Path(__file__).parent / "refuse"


@pytest.mark.parity(10)
def test_a_day_is_flat_and_booked_without_reaching_beyond_this_machine() -> None:
    with trader(*WINDOW, "--seed", "3") as run:
        refused = run.home / "refused.txt"
        run.environment = {"PYTHONPATH": f"{REFUSE}:{':'.join(sys.path)}", "LIU_REFUSED": str(refused)}
        assert run.start().ended() == 0, run.output
        assert not refused.exists(), refused.read_text()
        run.nothing_is_left()
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    strategies = {row["algo_run_id"]: row["algo_name"] for row in record.rows("algo_run")}
    assert {strategies[row["algo_run_id"]] for row in record.rows("new_trades")} == {"Flipper", "Rotator"}
    assert len(record.rows("new_trades")) >= 20
    taken = {row["process"] for row in record.rows("event_lag") if row["events"] > 0}
    assert taken == {"producer", "consumer-0", "consumer-1"}
    assert {row["outcome"] for row in record.rows("signals")} >= {"sent"}
    assert len([r for r in record.rows("algo_run") if r["algo_name"] == "Rotator"]) == 1  # run_all lives once


def test_a_script_of_faults_costs_trades_but_no_row_and_no_share(tmp_path: Path) -> None:
    faults = [
        ("09:32", 'drop = "data"\nfor = "40s"'),
        ("09:34", 'answer = "504_after"\ncount = 2'),
        ("09:36", 'updates = "swapped"\nfor = "2m"'),
        ("09:38", 'updates = "twice"\nfor = "2m"'),
        ("09:40", 'late = "2s"\nfor = "2m"'),
        ("09:42", 'refuse_every = 3\nfor = "2m"'),
        ("09:44", 'drop = "all"\nfor = "10s"'),
    ]
    script = tmp_path / "faults.toml"
    script.write_text("".join(f'[[fault]]\nat = "{at}"\n{fault}\n' for at, fault in faults))
    with trader(*WINDOW, "--seed", "3", "--faults", str(script)) as run:
        assert run.start().ended() == 0, run.output
        run.nothing_is_left()
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    assert len(record.rows("new_trades")) >= 20
    assert "the fault script refuses this order" in str(record.rows("order_events")), "nothing was refused"


def test_every_process_may_be_killed_at_any_time_and_the_journal_be_lost_with_the_supervisor() -> None:
    chance = random.Random(20261121)
    with trader(*WINDOW, "--seed", "2") as run:
        run.start()
        victims = ["producer", "scanners_runner", "database", "consumer-0", "supervisor", "order_gateway", "consumer-1"]
        for minute, victim in zip(range(33, 33 + 2 * len(victims), 2), victims, strict=True):
            run.wait_for_market(f"09:{minute}:{chance.randrange(60):02d}")
            if victim == "database":
                run.kill_postmaster()
            elif victim == "supervisor":
                run.kill_supervisor()
                run.money_journal.unlink()  # the batch is rebuilt from database and broker
                run.start()
            else:
                run.kill(victim)
        assert run.ended() == 0, run.output
        assert "Traceback" not in run.output
        assert run.output.count("is behind the record") == 1, run.output
        run.nothing_is_left()
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    assert len(record.rows("batch")) == 1
    assert len(record.rows("new_trades")) >= 20


def test_a_session_ends_with_3_when_the_market_is_gone() -> None:
    with trader(*WINDOW) as run:
        run.start().wait_for_market("09:33:00")
        run.kill_market()
        assert run.ended() == 3
        assert "simulated market is gone" in run.output
        assert "Traceback" not in run.output
        run.nothing_is_left()


def test_ctrl_c_ends_in_order_with_130_and_the_last_rows_arrive_although_postgresql_was_just_killed() -> None:
    with trader(*WINDOW) as run:
        run.start().wait_for_market("09:36:00")
        run.kill_postmaster()
        run.process.send_signal(signal.SIGINT)
        assert run.ended() == 130
        assert "Traceback" not in run.output
        run.nothing_is_left()
        with run.database() as dsn:
            audit(run.state, dsn, run.home / "logs", flat=False)


@pytest.mark.realdata
def test_a_recorded_morning_trades_from_ticks() -> None:
    folder = real_data("lean")
    day = date(2013, 10, 7)
    arguments = ("--data", str(folder), "--date", day.isoformat(), "--from", "09:30", "--to", "09:45")
    with trader(*arguments, plan="recorded.toml") as run:
        assert run.start().ended() == 0, run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    assert {row["symbol"] for row in record.rows("new_trades")} == {"BAC", "IBM", "SPY"}


@pytest.mark.realdata
def test_the_plan_that_lies_in_the_folder_trades_a_recorded_window() -> None:
    arguments = ("--data", str(real_data("lean")), "--date", "2013-10-07", "--from", "09:30", "--to", "10:15")
    with trader(*arguments, plan=str(Path(__file__).parents[2] / "tradeplan.toml")) as run:
        assert run.start().ended() == 0, run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    assert {row["symbol"] for row in record.rows("new_trades")} == {"BAC", "IBM", "SPY"}
