"""A whole session over inherited queues, as on systems without SEQPACKET sockets, in which a consumer dies."""

from __future__ import annotations

import pytest

from tests.session.audit import audit
from tests.session.running import trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

STACK = ("order_gateway", "producer", "consumer-0", "consumer-1", "scanners_runner")


def test_over_queues_one_death_starts_all_again_and_the_day_is_booked_and_flat() -> None:
    with trader("--from", "09:30", "--to", "09:50", "--seed", "3", plan="queue.toml") as run:
        run.start().wait_for_market("09:40:00")
        before = {name: run.pid(name) for name in STACK}
        run.kill("consumer-1")
        run.wait_for_market("09:41:00")
        after = {name: run.pid(name) for name in STACK}
        assert [name for name in STACK if before[name] == after[name]] == []
        assert run.ended() == 0, run.output
        assert "WARNING consumer-1 was killed by SIGKILL; all processes are started again" in run.output
        assert "Traceback" not in run.output
        run.nothing_is_left()
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    decided = sorted(row["decided_at"] for row in record.rows("orders"))
    assert len(record.rows("new_trades")) >= 20
    assert decided[0].minute < 40 < 42 < decided[-1].minute, "both the first processes and the second have traded"
