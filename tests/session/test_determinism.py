"""One seed, the same orders: whatever the hash seed, and whichever process of the session is slower than the others."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.session.audit import audit, orders_digest
from tests.session.running import TraderRun, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

WINDOW = ("--from", "09:30", "--to", "09:43", "--seed", "7")  # until orders of several strategies would cross
PROCESSES = ("order_gateway", "producer", "consumer-0", "consumer-1", "scanners_runner")
LONGEST_SECONDS = 0.3


def test_two_runs_with_one_seed_give_the_same_orders_whoever_is_slow() -> None:
    """In the second run any process may be stopped at any time, for a moment."""
    smooth = orders_of({"PYTHONHASHSEED": "0"}, disturbed=False)
    rough = orders_of({"PYTHONHASHSEED": "1"}, disturbed=True)
    assert len(smooth) > 50
    assert any(state == "refused" for *_, state, _, _, _ in smooth), "nothing crossed, so nothing could race"
    assert smooth == rough


def test_calls_that_really_wait_give_the_same_orders_however_long_their_answers_take() -> None:
    """Their sleeps differ from run to run, and all instances count in one text of the key-store."""
    smooth = orders_of({"PYTHONHASHSEED": "0"}, disturbed=False, plan="waiting.toml")
    rough = orders_of({"PYTHONHASHSEED": "1"}, disturbed=True, plan="waiting.toml")
    assert len(smooth) > 50
    assert any(state == "refused" for *_, state, _, _, _ in smooth), "nothing crossed, so nothing could race"
    assert smooth == rough


def orders_of(environment: Mapping[str, str], *, disturbed: bool, plan: str = "quick.toml") -> list[tuple[Any, ...]]:
    """Return the orders of one session."""
    with trader(*WINDOW, plan=plan) as run:
        run.environment |= environment
        run.start()
        if disturbed:
            run.wait_for_market("09:30:00")
            hold_up(run, random.Random(20261121))
        assert run.ended() == 0, run.output
        with run.database() as dsn:
            return orders_digest(audit(run.state, dsn, run.home / "logs"))


def hold_up(run: TraderRun, chance: random.Random) -> None:
    """Stop one process after another, each for a moment, until the market closes."""
    while run.process.poll() is None and "the session ends" not in run.output:
        pid = run.pid(chance.choice(PROCESSES))
        try:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(chance.choice((0.005, 0.02, LONGEST_SECONDS)) * chance.random())
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue  # the session ends
        time.sleep(0.05 * chance.random())
