"""Whole sessions through real processes: what a user runs, audited against the market's own books."""

from __future__ import annotations

import os
import random
import signal
from datetime import date

import pytest

from tests.fakes.real_data import real_data
from tests.session.audit import audit, orders_digest
from tests.session.running import trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(240)]

WINDOW = ("--from", "09:30", "--to", "09:50")


def test_a_session_ends_flat_and_every_fill_is_booked() -> None:
    with trader(*WINDOW, "--seed", "1") as run:
        assert run.start().ended() == 0, run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    strategies = {row["algo_run_id"]: row["algo_name"] for row in record.rows("algo_run")}
    traded = {strategies[row["algo_run_id"]] for row in record.rows("new_trades")}
    assert traded == {"Flipper", "Rotator"}
    assert len(record.rows("new_trades")) >= 20
    assert {row["outcome"] for row in record.rows("signals")} >= {"sent"}
    assert len([r for r in record.rows("algo_run") if r["algo_name"] == "Rotator"]) == 1  # run_all lives once


def test_two_runs_with_one_seed_give_the_same_orders() -> None:
    digests = []
    for _ in range(2):
        with trader("--from", "09:30", "--to", "09:40", "--seed", "3") as run:
            assert run.start().ended() == 0, run.output
            with run.database() as dsn:
                digests.append(orders_digest(audit(run.state, dsn, run.home / "logs")))
    assert digests[0]
    assert digests[0] == digests[1]


def test_every_process_may_be_killed_at_any_time() -> None:
    chance = random.Random(20261121)
    with trader(*WINDOW, "--seed", "2") as run:
        run.start()
        victims = ["producer", "scanners_runner", "consumer-0", "order_gateway", "consumer-1", "order_gateway"]
        for minute, victim in zip(range(33, 33 + 2 * len(victims), 2), victims, strict=True):
            run.wait_for_market(f"09:{minute}:{chance.randrange(60):02d}")
            run.kill(victim)
        assert run.ended(180) == 0, run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    assert len(record.rows("new_trades")) >= 20


def test_a_killed_supervisor_is_taken_up_again_by_the_next_trader() -> None:
    with trader(*WINDOW, "--seed", "4") as run:
        run.start().wait_for_market("09:36:00")
        children = [run.pid(name) for name in ("order_gateway", "producer", "consumer-0")]
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        for pid in children:
            run.wait_for_exit(pid, 5)
        run.forget_page()
        assert run.start().ended() == 0, run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    assert len(record.rows("batch")) == 1


def test_postgresql_may_be_killed() -> None:
    with trader(*WINDOW, "--seed", "5") as run:
        run.start().wait_for_market("09:35:00")
        run.kill_postmaster()
        run.wait_for_market("09:40:00")
        run.kill_postmaster()
        assert run.ended(180) == 0, run.output
        with run.database() as dsn:
            audit(run.state, dsn, run.home / "logs")


def test_a_session_ends_with_3_when_the_market_is_gone() -> None:
    with trader(*WINDOW) as run:
        run.start().wait_for_market("09:33:00")
        run.kill_market()
        assert run.ended(60) == 3
        assert "simulated market is gone" in run.output


def test_ctrl_c_ends_in_order_with_130() -> None:
    with trader(*WINDOW) as run:
        run.start().wait_for_market("09:34:00")
        run.process.send_signal(signal.SIGINT)
        assert run.ended(60) == 130
        assert "Traceback" not in run.output
        with run.database() as dsn:
            audit(run.state, dsn, run.home / "logs", flat=False)


@pytest.mark.realdata
def test_a_recorded_morning_trades_from_ticks() -> None:
    folder = real_data("lean")
    day = date(2013, 10, 7)
    arguments = ("--data", str(folder), "--date", day.isoformat(), "--from", "09:30", "--to", "09:45")
    with trader(*arguments, plan="recorded.toml") as run:
        assert run.start().ended(180) == 0, run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    assert {row["symbol"] for row in record.rows("new_trades")} == {"BAC", "IBM", "SPY"}
