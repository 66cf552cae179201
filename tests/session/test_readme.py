"""README's way to a first report (my_idea.html), and the strategy that the page of strategies shows, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from liualgotrader.postgres.embedded_server import EmbeddedServer
from tests.session.running import DATABASE, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]
HOUSE = Path(__file__).parents[2]
README = HOUSE / "README.md"
STRATEGIES = HOUSE / "docs" / "strategies.md"
QUERY = """SELECT algo_name, count(*), sum(gain_value) FROM trade_analysis JOIN algo_run USING (algo_run_id)
WHERE batch_id = (SELECT batch_id FROM algo_run ORDER BY algo_run_id DESC LIMIT 1) GROUP BY 1"""
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


def test_the_six_lines_to_a_first_report_do_what_they_say(tmp_path: Path) -> None:
    [block] = [text for text in re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL) if "my_idea.html" in text]
    lines = block.strip().splitlines()
    assert len(lines) == 6
    script = [line for line in lines if not line.startswith(("source", "${EDITOR", "python -m webbrowser"))]
    shorter = "\n".join(script).replace("--to 2024-03-28", "--to 2024-01-03")
    assert len(script) == 3 and "2024-01-03" in shorter
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    home = {"HOME": str(tmp_path), "LIU_HOME": str(tmp_path / "data"), "PATH": programs}
    told = subprocess.run(
        ["bash", "-ec", f"{shorter}\nliu verify my_idea.zip"],
        cwd=tmp_path, env={**os.environ, **home}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    ).stdout  # fmt: skip
    assert "equal: 2024-01-02 to 2024-01-03, 10 symbols, " in told
    assert "MyIdea" in (tmp_path / "my_idea" / "my_idea.html").read_text()


def test_it_trades_is_flat_at_the_end_and_breaks_no_limit(tmp_path: Path) -> None:
    [source] = [
        block for block in re.findall(r"```python\n(.*?)```", STRATEGIES.read_text(), re.DOTALL) if "Crossing" in block
    ]
    (tmp_path / "crossing.py").write_text(source)
    (tmp_path / "tradeplan.toml").write_text(PLAN)
    with trader("--from", "09:30", "--to", "11:00", "--symbols", "12", plan=str(tmp_path / "tradeplan.toml")) as run:
        assert run.start().ended() == 0, run.output
        with EmbeddedServer.start(run.home) as server:
            orders = Counter(server.run_sql(ORDERS, database=DATABASE).splitlines())
            left = server.run_sql(LEFT, database=DATABASE)
            told = server.run_sql(QUERY, database=DATABASE)
        output = run.output
    assert orders["filled|"] > 10
    assert set(orders) <= {"filled|", "refused|liquidation"}, orders
    assert left == ""
    assert re.search(rf"^Crossing +{told.split('|')[1]} ", output, re.MULTILINE), (told, output)
