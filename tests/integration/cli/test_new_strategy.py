"""`liu new strategy` writes a strategy that loads."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from liualgotrader.cli.new import new
from liualgotrader.common.tradeplan import load_tradeplan
from liualgotrader.supervisor.plan_inspection import inspect_tradeplan


def test_the_written_files_load_and_hold_a_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new("strategy", "OpeningRange", str(tmp_path)) == 0
    (facts,) = inspect_tradeplan(load_tradeplan(tmp_path / "tradeplan.toml")).strategies
    assert (facts.name, facts.run_all, facts.day_trade, facts.notes) == ("OpeningRange", False, True, ())
    tree = ast.parse((tmp_path / "test_opening_range.py").read_text())
    assert any(isinstance(n, ast.FunctionDef) and n.name.startswith("test_") for n in tree.body)
    assert "trader --simulate" in capsys.readouterr().out
