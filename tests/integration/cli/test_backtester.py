"""The rows that a backtest leaves are what its summary says."""

from __future__ import annotations

import json
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest

from liualgotrader.cli import backtester, portfolios
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.postgres.embedded_server import DEFAULT_DATABASE, EmbeddedServer
from tests.integration.stored_rows import rows_of

pytestmark = pytest.mark.integration

STRATEGY = """
from liualgotrader.strategies.base import Strategy, StrategyType

class Steps(Strategy):
    strategy_type = StrategyType.SWING

    def on_bar(self, ctx, bar):
        if len(ctx.bars.close) % 10 == 5:
            ctx.close() if ctx.position else ctx.buy(10, stop_price=bar.close * 0.95)
"""
ARGUMENTS = ("from", "2024-03-12", "--to", "2024-03-14", "--scale", "minute", "--generated", "3", "--json")


@pytest.fixture
def tradeplan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "steps.py").write_text(STRATEGY)
    path = tmp_path / "tradeplan.toml"
    path.write_text('[strategies.Steps]\nfilename = "steps.py"\n')
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    return path


def test_a_portfolio_that_is_not_there_is_refused_and_one_of_simulated_sessions_is_known(
    tradeplan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = ("from", "2024-03-12", "--to", "2024-03-12", "--scale", "day", "--generated", "1", "--tradeplan")
    plan = tradeplan.read_text()
    tradeplan.write_text(plan + 'portfolio_id = "nobodys"\n')
    with pytest.raises(ConfigError, match="there is no portfolio nobodys in the database: make one"):
        backtester.run([*played, str(tradeplan)])
    capsys.readouterr()
    assert portfolios.run(["create", "25000", "--json", "--simulated"]) == 0
    made = json.loads(capsys.readouterr().out)["portfolio_id"]
    tradeplan.write_text(plan + f'portfolio_id = "{made}"\n')
    assert backtester.run([*played, str(tradeplan)]) == 0


@pytest.mark.parity(53)
@pytest.mark.parametrize("scale", ["minute", "tick"])
def test_every_figure_of_the_summary_is_that_of_the_rows(
    scale: str, dsn: str, tradeplan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--scale", scale, "--tradeplan", str(tradeplan), "--dsn", dsn, "--fee-per-share", "0.01")
    assert backtester.run([*ARGUMENTS, *more]) == 0
    told = json.loads(capsys.readouterr().out, parse_float=Decimal)
    summary, batch_id = told["summary"], told["batch_id"]

    (batch,) = rows_of(dsn, "SELECT * FROM batch")
    assert (batch["batch_id"], batch["environment"], f"{batch['session_date']}") == (batch_id, "BACKTEST", "2024-03-12")
    assert batch["end_reason"] == "the last session was played"
    assert batch["ended_at"] is not None
    (run,) = rows_of(dsn, "SELECT * FROM algo_run")
    assert (run["algo_name"], run["algo_env"], run["batch_id"]) == ("Steps", "BACKTEST", batch_id)
    assert (run["end_reason"], run["ref_algo_run"]) == ("the last session was played", None)

    (found,) = rows_of(
        dsn,
        "SELECT count(*) AS fills, sum(trade_fee) AS fees,"
        " sum(CASE WHEN operation = 'buy' THEN -qty * price ELSE qty * price END) - sum(trade_fee) AS cash FROM new_trades",
    )
    assert found["fees"] == summary["total"]["fees"]
    worth = sum((p["quantity"] * p["last"] for p in summary["open"]), Decimal(0))
    gained = summary["account"]["last"] - summary["account"]["first"]
    assert round(found["cash"] + worth, 2) == round(gained, 2)
    assert round(summary["total"]["gain"] + summary["total"]["open_gain"], 2) == pytest.approx(
        gained, abs=Decimal("0.02")
    )

    (trips,) = rows_of(dsn, "SELECT count(*) AS trips, avg(gain_value) AS mean, avg(r_units) AS r FROM trade_analysis")
    assert trips["trips"] == summary["total"]["trips"] > 50
    assert trips["mean"] == pytest.approx(summary["total"]["expectancy"], abs=Decimal("1e-6"))
    assert trips["r"] == pytest.approx(summary["total"]["average_r"], abs=Decimal("1e-4"))
    by_symbol = rows_of(
        dsn, "SELECT symbol, round(gain_value, 2) AS gain, open_quantity FROM gain_loss ORDER BY symbol"
    )
    told = [(s["name"], pytest.approx(s["gain"], abs=Decimal("0.01"))) for s in summary["symbols"]]
    assert [(row["symbol"], row["gain"]) for row in by_symbol] == told
    assert sum(row["open_quantity"] != 0 for row in by_symbol) == summary["total"]["open_positions"]

    (orders,) = rows_of(dsn, "SELECT count(*) AS orders, sum(filled_quantity) AS shares FROM orders")
    (shares,) = rows_of(dsn, "SELECT sum(qty) AS shares FROM new_trades")
    assert orders["shares"] == shares["shares"]
    (events,) = rows_of(dsn, "SELECT count(DISTINCT client_order_id) AS orders FROM order_events")
    assert events["orders"] == orders["orders"]
    (signals,) = rows_of(dsn, "SELECT count(*) AS sent FROM signals WHERE outcome = 'sent'")
    assert signals["sent"] == orders["orders"]


def test_a_backtest_that_could_not_begin_leaves_runs_with_an_end_and_no_batch(
    dsn: str, tradeplan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tradeplan.parent / "steps.py"
    source.write_text(STRATEGY + "\n    async def create(self):\n        raise RuntimeError('no')\n")
    with pytest.raises(Exception, match="raised in create: RuntimeError: no"):
        backtester.run([*ARGUMENTS, "--tradeplan", str(tradeplan), "--dsn", dsn])
    assert rows_of(dsn, "SELECT * FROM batch") == []
    (run,) = rows_of(dsn, "SELECT end_reason FROM algo_run")
    assert run["end_reason"] == "could not run"


def test_a_run_whose_database_has_gone_shows_its_results_and_says_that_they_are_not_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    home = Path(tempfile.mkdtemp(prefix="liu-test-"))  # short: a socket's path has at most 107 bytes
    server = EmbeddedServer.start(home)
    server.ensure_database(DEFAULT_DATABASE)
    kill = f"        if len(ctx.bars.close) == 1000:\n            __import__('os').kill({server.postmaster_pid}, 9)\n"
    (tmp_path / "steps.py").write_text(STRATEGY + kill)
    (tmp_path / "tradeplan.toml").write_text('[strategies.Steps]\nfilename = "steps.py"\n')
    try:
        with pytest.raises(OutsideError, match=r"^PostgreSQL cannot .*, so batch \S+ is not stored"):
            backtester.run([*ARGUMENTS, "--tradeplan", str(tmp_path / "tradeplan.toml"), "--dsn", server.dsn()])
    finally:
        server.release()
        shutil.rmtree(home, ignore_errors=True)
    told = json.loads(capsys.readouterr().out)
    assert told["summary"]["total"]["trips"] > 50
