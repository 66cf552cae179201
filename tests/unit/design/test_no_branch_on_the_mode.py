"""What decides does not know whether it runs live, on paper, in a backtest or on the simulated market."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import liualgotrader

ROOMS = ("engine", "strategies", "scanners", "fincalcs", "exchange")
PACKAGE = Path(liualgotrader.__file__).parent
FILES = sorted(path for room in ROOMS for path in (PACKAGE / room).rglob("*.py"))
WORDS = frozenset({"backtest", "backtesting", "environment", "paper", "prod", "production", "simulated", "simulation"})
PROFILES = frozenset({"FillProfile.PAPER"})  # how the exchange fills, not where we are


def branches(source: str) -> Iterator[str]:
    """Yield whatever a branch, a comparison or a pattern of `source` asks that names a mode."""
    for node in ast.walk(ast.parse(source)):
        asked: list[ast.AST] = []
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            asked = [node.test]
        elif isinstance(node, ast.comprehension):
            asked = list(node.ifs)
        elif isinstance(node, ast.Compare | ast.BoolOp):
            asked = [node]
        elif isinstance(node, ast.Match):
            asked = [node.subject, *(case.pattern for case in node.cases)]
        for question in asked:
            if any(_names_a_mode(part) for part in ast.walk(question)):
                yield ast.unparse(question)


def _names_a_mode(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return ast.unparse(node) not in PROFILES and node.attr.lower() in WORDS
    if isinstance(node, ast.Name):
        return node.id.lower() in WORDS
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.lower() in WORDS


@pytest.mark.parametrize(
    "source",
    [
        "if environment == x: pass",
        "a = 1 if plan.environment else 2",
        "b = word == 'PAPER'",
        "match mode:\n    case 'backtest': pass",
        "[s for s in slots if not s.simulated]",
    ],
)
def test_a_branch_on_the_mode_is_found(source: str) -> None:
    assert list(branches(source))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_decides_does_not_branch_on_the_mode(path: Path) -> None:
    assert list(branches(path.read_text())) == []
