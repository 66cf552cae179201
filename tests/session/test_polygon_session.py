"""A session whose market data comes from Polygon and whose orders go to Alpaca, through the real processes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.session.audit import audit, orders_digest
from tests.session.running import trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

WINDOW = ("--from", "09:30", "--to", "09:43", "--seed", "7")


@pytest.mark.parity(41)
def test_a_session_on_polygons_data_gives_the_orders_that_it_gives_on_alpacas() -> None:
    polygon, log = orders_of({"DATA_CONNECTOR": "polygon"})
    assert re.search(r"feed_connected host=ws://127.0.0.1:\d+/stocks", log)
    alpaca, log = orders_of({"DATA_CONNECTOR": "alpaca"})
    assert "/v2/sip" in log
    assert len(polygon) > 50
    assert polygon == alpaca


def orders_of(environment: Mapping[str, str]) -> tuple[list[tuple[Any, ...]], str]:
    """Return the orders of one session, and the log of its producer."""
    with trader(*WINDOW, plan="quick.toml") as run:
        run.environment |= environment
        run.start()
        assert run.ended() == 0, run.output
        with run.database() as dsn:
            found = orders_digest(audit(run.state, dsn, run.home / "logs"))
        [log] = (run.home / "logs").rglob("producer.log")
        return found, log.read_text()
