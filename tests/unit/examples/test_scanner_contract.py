"""The example of docs/scanner_contract.md is the one that `liu new scanner` writes, and its table is one of a tradeplan."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from liualgotrader.cli.new import TEMPLATES
from liualgotrader.common.tradeplan import load_tradeplan
from liualgotrader.scanners.base import make_scanner

PAGE = (Path(__file__).parents[3] / "docs" / "scanner_contract.md").read_text(encoding="utf-8")


def without_docstrings(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.unparse(tree)


def test_the_example_of_the_page_is_what_liu_new_scanner_writes(tmp_path: Path) -> None:
    [python] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    [table] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert without_docstrings(python) == without_docstrings(
        (TEMPLATES / "scanner.py.txt").read_text("utf-8").format(name="MostTraded")
    )
    (tmp_path / "most_traded.py").write_text(python)
    (tmp_path / "breakout.py").write_text("")
    (tmp_path / "tradeplan.toml").write_text(f'{table}\n[strategies.Breakout]\nfilename = "breakout.py"\n')
    plan = load_tradeplan(tmp_path / "tradeplan.toml")
    scanner = make_scanner(None, "MostTraded", plan.scanners["MostTraded"])
    assert (vars(scanner)["least_price"], vars(scanner)["top"], scanner.target_strategy_name) == (10.0, 10, "Breakout")
