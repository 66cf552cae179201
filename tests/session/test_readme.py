"""The strategy that README shows first, exactly as it stands there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from liualgotrader.postgres.embedded_server import EmbeddedServer
from tests.session.running import DATABASE, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]
README = Path(__file__).parents[2] / "README.md"
PLAN = """
events = ["minute"]
consumers = 1

[scanners.momentum]
today_change_percent = -100.0
min_last_dv = 0
min_share_price = 1.0
max_share_price = 500.0
min_volume = 0
from_market_open = 0
recurrence = 5
max_symbols = 10

[strategies.Crossing]
filename = "crossing.py"
"""
ORDERS = "SELECT state, coalesce(reason, '') FROM orders"
LEFT = "SELECT symbol FROM new_trades GROUP BY 1 HAVING sum(CASE WHEN operation = 'buy' THEN qty ELSE -qty END) <> 0"


def test_it_trades_is_flat_at_the_end_and_breaks_no_limit(tmp_path: Path) -> None:
    [source] = [
        block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "Crossing" in block
    ]
    (tmp_path / "crossing.py").write_text(source)
    (tmp_path / "tradeplan.toml").write_text(PLAN)
    with trader("--from", "09:30", "--to", "11:00", "--symbols", "12", plan=str(tmp_path / "tradeplan.toml")) as run:
        assert run.start().ended() == 0, run.output
        with EmbeddedServer.start(run.home) as server:
            orders = Counter(server.run_sql(ORDERS, database=DATABASE).splitlines())
            left = server.run_sql(LEFT, database=DATABASE)
            [query] = re.findall(r"liu_simulated=> (.*?);", README.read_text(), re.DOTALL)
            told = server.run_sql(query, database=DATABASE)
        output = run.output
    assert orders["filled|"] > 10
    assert set(orders) <= {"filled|", "refused|liquidation"}, orders
    assert left == ""
    assert re.search(rf"^Crossing +{told.split('|')[1]} ", output, re.MULTILINE), (told, output)
