"""Each notebook runs from top to bottom on a record with a backtest, a portfolio and a search, and shows something."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import jupytext
import nbclient
import pytest

from liualgotrader.cli import backtester, liu, optimizer
from liualgotrader.cli import portfolios as portfolio
from liualgotrader.common import config
from liualgotrader.models.connection import create_db_connection
from liualgotrader.models.portfolio import Portfolio
from tests.integration.cli.test_report import STRATEGY

pytestmark = [pytest.mark.docs, pytest.mark.timeout(300)]
NOTEBOOKS = sorted((Path(__file__).parents[2] / "analysis" / "notebooks").glob("*.py"))
PLAN = """
[strategies.Turns]
filename = "turns.py"

[optimizer]
start_date = "2024-01-02"
end_date = "2024-01-02"
objective = "gain"
[optimizer.hyperparameters.strategies.Turns]
every = {param_type = "int", min = 8, max = 10}
keep = {param_type = "int", min = 1, max = 2}
"""


def write_days(folder: Path) -> None:
    """Write three days of minutes whose price goes up and down."""
    folder.mkdir()
    lines = ["symbol,opened_at,open,high,low,close,volume"]
    for day in ("2024-01-02", "2024-01-03", "2024-01-04"):
        for minute in range(390):
            price = 470 + 2 * math.sin(minute / 12) + minute / 200
            at = f"{day}T{9 + (30 + minute) // 60:02}:{(30 + minute) % 60:02}:00-05:00"
            lines.append(
                f"SPY,{at},{price:.2f},{price + 0.06:.2f},{price - 0.05:.2f},{price + 0.02:.2f},{1000 + minute}"
            )
    (folder / "bars.csv").write_text("\n".join(lines))


async def take_newest_batch(portfolio_id: str) -> None:
    """Say that the backtest was played for the portfolio."""
    await create_db_connection()
    (row,) = await config.db_conn_pool.fetch("SELECT batch_id FROM batch ORDER BY recorded_at DESC LIMIT 1")
    await Portfolio.associate_batch_id_to_profile(portfolio_id, row["batch_id"])
    await config.db_conn_pool.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with everything that the notebooks look at."""
    folder = tmp_path_factory.mktemp("notebooks")
    home = folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIU_HOME", str(home))
        patch.delenv("DSN", raising=False)
        patch.chdir(folder)
        with (folder / "said").open("w") as said, pytest.MonkeyPatch.context() as out:
            out.setattr("sys.stdout", said)
            assert portfolio.run(["create", "25000", "--json"]) == 0
        portfolio_id = json.loads((folder / "said").read_text())["portfolio_id"]
        (folder / "turns.py").write_text(
            STRATEGY.replace(
                "strategy_type = StrategyType.SWING",
                "strategy_type = StrategyType.SWING\n\n    def __init__(self, every=10, keep=1, **base):\n"
                "        super().__init__(**base)\n        self.every = every",
            ).replace("n % 10 != 5", "n % self.every != 5")
        )
        (folder / "tradeplan.toml").write_text(PLAN)
        days = ("from", "2024-01-02", "--to", "2024-01-04", "--scale", "minute", "--symbols", "SPY", "--data", "days")
        write_days(folder / "days")
        assert liu.run(["data", "import", "days"]) == 0
        assert optimizer.run(["--scale", "minute", "--jobs", "1", "--data", "days"]) == 0
        assert backtester.run(list(days)) == 0
        asyncio.run(take_newest_batch(portfolio_id))
        assert portfolio.run(["recalc", portfolio_id, "--yes"]) == 0
    return home


@pytest.mark.parity(76)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(home: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIU_HOME", str(home))
    monkeypatch.delenv("DSN", raising=False)
    notebook = jupytext.read(path)
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(home)}}
    ).execute()
    shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert len(shown) > 1
    assert not [out for cell in shown for out in cell.outputs if out.output_type == "error"]


def test_all_notebooks_are_run() -> None:
    assert len(NOTEBOOKS) == 7
