"""What `liu new strategy` writes trades as it is, with the commands that it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from liualgotrader.cli.new import new
from liualgotrader.postgres.embedded_server import EmbeddedServer
from tests.session.running import DATABASE

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]
ORDERS = "SELECT state, coalesce(reason, ''), count(*) FROM orders GROUP BY 1, 2"


def test_the_written_test_passes_without_pytest_and_no_order_breaks_a_limit(tmp_path: Path) -> None:
    new("strategy", "MyIdea", str(tmp_path))
    program = [sys.executable, str(tmp_path / "test_my_idea.py")]
    environment = {"LIU_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin"}
    done = subprocess.run(
        program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("opening the simulated market")
    assert done.stdout.endswith("\npassed\n")
    with EmbeddedServer.start(tmp_path / "home") as server:
        states = server.run_sql(ORDERS, database=DATABASE).splitlines()
    assert any(line.startswith("filled|") for line in states), states
    # After the desk has begun to close DAY_TRADE positions it takes no entries; nothing else is refused.
    assert all(line.startswith(("filled|", "refused|liquidation|")) for line in states), states
