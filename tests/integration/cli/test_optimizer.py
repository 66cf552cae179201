"""The rows that a search leaves, in real processes, whatever cuts it off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.cli import optimizer
from liualgotrader.common.errors import ConfigError, OutsideError
from tests.integration.stored_rows import rows_of

pytestmark = pytest.mark.integration

# `once` does something the first time that a combination comes to it, whatever process that is in.
STRATEGY = """
import os
from pathlib import Path
from liualgotrader.strategies.base import Strategy, StrategyType

def once(act):
    if not Path("done").exists():
        Path("done").touch()
        act()

class Steps(Strategy):
    strategy_type = StrategyType.SWING

    def __init__(self, every=10, held=5, **base):
        super().__init__(**base)
        self.every, self.held = every, held

    def on_bar(self, ctx, bar):
        turn = len(ctx.bars.close) % self.every
        if ctx.position and turn == self.held:
            ctx.close()
        elif turn == 0 and not ctx.position:
            ctx.buy(10)
        {more}
"""
PLAN = """
[strategies.Steps]
filename = "steps.py"
[optimizer]
start_date = 2024-03-12
end_date = "2024-03-12"
[optimizer.hyperparameters.strategies.Steps]
every = {param_type = "int", min = 10, max = 12}
held = {param_type = "int", min = 2, max = 5}
"""
KILLS = "os.kill(os.getpid(), 9)"

Search = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def search(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Search:
    """Return a function that runs the program and returns its status, its document and what it complained of."""
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tradeplan.toml").write_text(PLAN)

    def run(*more: str, acts: str = "", objective: str = "gain") -> tuple[int, dict[str, Any], str]:
        (tmp_path / "steps.py").write_text(STRATEGY.replace("{more}", acts))
        common = ("--generated", "1", "--scale", "minute", "--dsn", dsn, "--json", "--objective", objective)
        status = optimizer.run([*common, "--jobs", "2", *more])
        told = capfd.readouterr()
        return status, json.loads(told.out), told.err

    return run


def ranking(document: dict[str, Any]) -> list[Any]:
    return [(row["number"], row["point"], row["objective"], row["figures"]) for row in document["rows"]]


@pytest.mark.parity(56, 58)
def test_three_by_four_values_become_twelve_rows_and_the_best_a_batch_and_are_mixed_with_no_others(
    search: Search, dsn: str
) -> None:
    status, found, said = search()
    rows = rows_of(dsn, "SELECT *, point::text AS text, figures::text AS told FROM optimizer_run ORDER BY number")
    assert (status, len(rows), {row["optimizer_session_id"] for row in rows}) == (0, 12, {found["session_id"]})
    assert [row["parameters"] for row in (rows[0], rows[1], rows[-1])] == ["(10, 2)", "(10, 3)", "(12, 5)"]
    assert json.loads(rows[-1]["text"]) == {"every": 12, "held": 5}
    assert len({row["batch_id"] for row in rows}) == 12
    assert "11 of 12 combinations are left to play, about" in said

    (batch,) = rows_of(dsn, "SELECT batch_id, end_reason, configuration::text AS told FROM batch")
    best = found["rows"][0]
    assert batch["batch_id"] == best["batch_id"] == max(rows, key=lambda row: row["objective"])["batch_id"]
    table = json.loads(batch["told"])["tradeplan"]["strategies"]["Steps"]
    assert (table["every"], table["held"]) == tuple(best["point"].values())
    (gained,) = rows_of(dsn, "SELECT sum(gain_value) AS gain, count(*) AS trips FROM trade_analysis")
    assert float(gained["gain"]) == pytest.approx(best["figures"]["gain"], abs=0.01)
    assert gained["trips"] == best["figures"]["trips"]

    (session,) = rows_of(dsn, "SELECT *, result::text AS told FROM optimizer_session")
    assert (session["end_reason"], json.loads(session["told"])["best"]) == (
        "all combinations were played",
        [best["point"]],
    )

    with pytest.raises(ConfigError, match="was begun with another plan: its combinations cannot be ranked"):
        search("--resume", found["session_id"], acts="pass")
    with pytest.raises(ConfigError, match="was begun with another objective"):
        search("--resume", found["session_id"], objective="win_rate")
    with pytest.raises(ConfigError, match="no search's id begins with none"):
        search("--resume", "none")


def test_what_ctrl_c_cut_off_is_kept_and_goes_on_to_the_same_table(search: Search, dsn: str) -> None:
    presses = "once(lambda: os.kill(os.getppid(), 2)) if (self.every, self.held) == (10, 2) else None"
    status, cut, said = search(acts=presses)
    stored = rows_of(dsn, "SELECT number, batch_id FROM optimizer_run")
    assert (status, 0 < len(stored) < 12) == (130, True)
    assert f"interrupted: {len(stored)} of 12 combinations are stored; go on with --resume {cut['session_id']}" in said
    assert len(cut["rows"]) == len(stored)

    status, found, said = search("--resume", cut["session_id"][:8], acts=presses)
    assert (status, found["session_id"]) == (0, cut["session_id"])
    assert f"{len(stored)} combinations are stored already, {12 - len(stored)} are left" in said
    again = rows_of(dsn, "SELECT number, batch_id FROM optimizer_run")
    assert len(again) == 12
    assert {(row["number"], row["batch_id"]) for row in stored} <= {(row["number"], row["batch_id"]) for row in again}
    assert ranking(search("--jobs", "1", acts=presses)[1]) == ranking(found)


def test_what_a_killed_process_was_playing_is_played_again_and_what_kills_it_each_time_is_named(search: Search) -> None:
    acts = f"{KILLS} if (self.every, self.held) == (11, 3) else once(lambda: {KILLS}) if self.every == 12 else None"
    status, found, said = search(acts=acts)
    assert "WARNING a process died: what it was playing is played again" in said
    assert (status, len(found["rows"])) == (0, 12)
    last = found["rows"][-1]
    assert (last["point"], last["objective"]) == ({"every": 11, "held": 3}, None)
    assert last["failure"].startswith("each process that played it died")
    assert all(row["objective"] is not None and not row["failure"] for row in found["rows"][:-1])


def test_a_dask_cluster_comes_to_the_same_table(search: Search, tmp_path: Path) -> None:
    status, found, _ = search("--backend", "dask", "--no-database", "--report", "maps.html")
    assert status == 0
    assert ranking(search("--jobs", "1", "--no-database")[1]) == ranking(found)
    assert f"gain of 12 combinations, search {found['session_id'][:8]}" in (tmp_path / "maps.html").read_text()


def test_what_was_finished_before_a_dask_worker_died_is_kept(search: Search) -> None:
    acts = f"once(lambda: {KILLS}) if (self.every, self.held) == (12, 5) else None"
    with pytest.raises(OutsideError, match=r"a dask worker died while it played .* go on with --resume \S+$") as died:
        search("--backend", "dask", "--jobs", "1", acts=acts)
    status, found, said = search("--backend", "dask", "--resume", str(died.value).split()[-1], acts=acts)
    assert (status, len(found["rows"])) == (0, 12)
    assert "combinations are stored already" in said
