"""Real money from the first word to the last row: the command line, supervisor and PostgreSQL, a host on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.session_plan import SessionPlan, read_plan
from liualgotrader.postgres.embedded_server import EmbeddedServer
from tests.fakes.http_vendor import answering
from tests.integration.test_trader_session import STRATEGY, end_market, finish, until_line, until_ready

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

PLAN = """
protection = "local"
consumers = 1
bypass_market_schedule = true
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
ACCOUNT = {
    "account_number": "98761234", "status": "ACTIVE", "equity": "50000", "last_equity": "50000", "cash": "50000",
    "buying_power": "50000", "shorting_enabled": True, "trading_blocked": False,
}  # fmt: skip


class LiveStack:
    """Sessions on one data folder and one tradeplan; what they start is ended."""

    def __init__(self, folder: Path, url: str, server: EmbeddedServer) -> None:
        self.folder, self.home, self.url, self.server = folder, folder / "home", url, server
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, gateway: str = "trade", **environment: str) -> Any:
        (self.folder / "did.log").unlink(missing_ok=True)
        (self.folder / "behaviour.json").write_text(json.dumps({"order_gateway": gateway}))
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("APCA", "DSN", "LIU"))}
        settings = {
            "LIU_HOME": str(self.home),
            "TRADEPLAN_DIR": str(self.folder),
            "LIU_FAKE_BEHAVIOUR": str(self.folder / "behaviour.json"),
            "APCA_API_KEY_ID": "PKTEST",
            "APCA_API_SECRET_KEY": "hush-hush-hush",
            "APCA_API_BASE_URL": self.url,
            "TEST_LIVE_URL": self.url,
            "PYTHONPATH": str(ROOT),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.live_trader", *arguments],
            env=clean | settings | environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *arguments: str, **more: Any) -> tuple[int, str, str]:
        """Return what a session comes to that needs nobody to stop it."""
        return finish(self.start(*arguments, **more))

    def run_until_stopped(self, *arguments: str, **more: Any) -> tuple[int, str, str, SessionPlan]:
        """Return what a session comes to that is told to stop once it is ready, and its plan."""
        process = self.start(*arguments, **more)
        until_ready((self.home, None))
        plan = self.plan()
        process.send_signal(signal.SIGTERM)
        return *finish(process), plan

    def plan(self) -> SessionPlan:
        (path,) = (self.home / "run").glob("*/session.json")
        return read_plan(path.parent)

    def did(self) -> list[str]:
        log = self.folder / "did.log"
        return [line.rsplit(" ", 1)[0] if line.startswith("start") else line for line in log.read_text().splitlines()]

    def rows(self, query: str) -> list[str]:
        return self.server.run_sql(query, database="liualgotrader").splitlines()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveStack]:
    (tmp_path / "breakout.py").write_text(STRATEGY)
    (tmp_path / "tradeplan.toml").write_text(PLAN)
    end_market(tmp_path)  # a simulated day is over as soon as every process is ready
    with EmbeddedServer.start(tmp_path / "home") as server:
        server.ensure_database("liu_simulated")
        with answering(lambda path: (200, json.dumps(ACCOUNT).encode())) as url:
            stack = LiveStack(tmp_path, url, server)
            yield stack
            for process in stack.started:
                if process.poll() is None:
                    process.kill()
                process.communicate(timeout=10)


def test_a_plan_trades_real_money_after_it_has_traded_simulated_at_a_tenth_first_and_whole_the_next_time(
    live: LiveStack,
) -> None:
    unproven = live.run("--live")
    assert (unproven[0], unproven[2].count("\n")) == (2, 1)
    assert "has not ended a paper or simulated session in which it traded" in unproven[2]
    idle = live.run("--simulate", gateway="")
    assert idle[0] == 0, idle
    assert "has not ended" in live.run("--live")[2]
    proof = live.run("--simulate")
    assert proof[0] == 0, proof

    stopped = live.start("--live", TEST_STAYS="1")
    until_line(live.folder, "waited 10 s")
    stopped.send_signal(signal.SIGINT)
    assert finish(stopped)[0] == 130
    assert live.did() == ["waited 10 s"]
    assert live.rows("SELECT count(*) FROM batch") == ["0"]

    code, out, err, plan = live.run_until_stopped("--live")
    assert (code, err) == (0, ""), out
    assert (plan.environment, plan.arming) == ("PROD", plan.arming)
    assert plan.arming is not None
    assert (plan.arming.account, plan.arming.refusal) == ("1234", "")
    assert plan.limits.order_dollars == 2_500
    shown = out.splitlines()
    banner = next(i for i, line in enumerate(shown) if "REAL MONEY: account …1234, PROD, equity 50,000.00 $" in line)
    assert banner < next(i for i, line in enumerate(shown) if line.startswith("batch "))
    assert live.did()[0] == "waited 10 s"
    assert live.rows("SELECT algo_env, end_reason FROM algo_run") == ["PROD|stopped"]
    assert live.rows("SELECT configuration->>'full_size' FROM batch") == ["false"]

    whole = live.run_until_stopped(LIU_LIVE="1234")
    assert (whole[0], whole[3].limits.order_dollars) == (0, 25_000), whole[1]
    assert "hush" not in out + err + whole[1]

    (live.folder / "breakout.py").write_text(STRATEGY + "\n# another one\n")
    assert "has not ended a paper or simulated session" in live.run("--live")[2]
    assert live.run(LIU_LIVE="9999")[0] == 2
    checked = live.run("--check", "--live")
    assert "no  real money: this tradeplan, with its limits and files as they are now, has not ended" in checked[1]
    (live.folder / "breakout.py").write_text(STRATEGY)
    assert "ok  real money: armed, at all of the tradeplan's limits" in live.run("--check", "--live")[1]
    assert "no: " in _config(live.run("--show-config"))
    assert "armed, at all" in _config(live.run("--show-config", LIU_LIVE="1234"))


def _config(ran: tuple[int, str, str]) -> str:
    return next(line for line in ran[1].splitlines() if line.startswith("real_money "))


def test_an_unfinished_batch_of_real_money_is_taken_up_at_once_whatever_was_changed_or_not_said(
    live: LiveStack,
) -> None:
    assert live.run("--simulate")[0] == 0
    first = live.start("--live", "--full-size")
    until_ready((live.home, None))
    first.kill()
    first.communicate(timeout=10)
    batch = live.plan().batch_id

    def changed(name: str, text: str) -> None:
        (live.folder / name).write_text(text)

    changed("another.py", STRATEGY.replace("Breakout", "Another"))
    another = PLAN.replace("Breakout", "Another").replace("breakout", "another")
    for name, text, why in (
        ("breakout.py", STRATEGY + "\n# another one\n", "say so with `trader --live`"),
        ("breakout.py", "def :", "is not valid Python"),
        ("tradeplan.toml", "consumers = ", "is not valid TOML"),
        ("tradeplan.toml", another, "say so with `trader --live`"),
    ):
        before = (live.folder / name).read_text()
        changed(name, text)
        process = live.start()
        until_line(live.folder, "start consumer-0 ")
        plan = live.plan()
        process.kill()
        out, _ = process.communicate(timeout=10)
        changed(name, before)
        assert (plan.batch_id, plan.environment) == (batch, "PROD")
        assert plan.arming is not None
        assert why in plan.arming.refusal
        assert [bool(slot.stopped) for slot in plan.slots] == [text == another]
        assert plan.limits.order_dollars == 25_000, "a batch keeps the size that it began with"
        assert not [line for line in live.did() if "waited" in line]
        assert f"batch {batch} (taken up again)" in out

    for folder in (live.home / "journal").iterdir():
        shutil.rmtree(folder)
    elsewhere = live.start(LIU_HOME=str(live.folder / "another home"), DSN=live.server.dsn("liualgotrader"))
    until_line(live.folder, "start consumer-0 ")
    elsewhere.kill()
    assert f"batch {batch} (taken up again)" in elsewhere.communicate(timeout=10)[0]

    code, out, err, plan = live.run_until_stopped("--live")
    assert (code, err, plan.batch_id) == (0, "", batch), out
    assert plan.arming is not None
    assert (plan.arming.account, plan.arming.refusal) == ("1234", "")
    assert not [line for line in live.did() if "waited" in line]


def test_another_plan_in_an_unfinished_batch_begins_at_a_tenth_after_a_person_could_read_it(live: LiveStack) -> None:
    assert live.run("--simulate")[0] == 0
    first = live.start("--live", "--full-size")
    until_ready((live.home, None))
    batch = live.plan().batch_id
    first.kill()
    first.communicate(timeout=10)
    (live.folder / "breakout.py").write_text(STRATEGY + "\n# another one\n")
    assert live.run("--simulate")[0] == 0
    code, out, err, plan = live.run_until_stopped("--live")
    assert (code, plan.batch_id, plan.limits.order_dollars) == (0, batch, 2_500), err
    assert plan.limits.daily_loss_flatten_fraction == 0.04
    assert "REAL MONEY: account …1234" in out
    assert live.did()[0] == "waited 10 s"


def test_positions_of_another_day_are_looked_after_by_a_plan_that_may_open_nothing(live: LiveStack) -> None:
    assert live.run("--simulate")[0] == 0
    assert live.run_until_stopped("--live", gateway="buy")[0] == 0
    (live.folder / "breakout.py").write_text(STRATEGY + "\n# another one\n")
    code, _, err = live.run()
    assert (code, err.count("\n")) == (2, 1)
    assert "say so with `trader --live`" in err
    code, out, err, plan = live.run_until_stopped("--live", gateway="")
    assert code == 0, err
    assert "open positions are managed, and no new ones are opened: this tradeplan" in out + err
    assert plan.arming is not None
    assert plan.arming.account == "1234"
    assert "has not ended a paper or simulated session" in plan.arming.refusal
    assert plan.limits.order_dollars == 25_000
    assert not [line for line in live.did() if "waited" in line]
