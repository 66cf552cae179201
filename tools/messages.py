"""Print every sentence that a user can see, one a line with its place, so that all can be read in one go.

`python -m tools.messages` walks the syntax trees of the package. A sentence is a string or f-string of three words or
more that is no docstring and no SQL: what is raised, logged, shown, written into a file or printed by `--help`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

WORDS = re.compile(r"[^\W\d_]{2,}(?:'\w+)?[,;:.`)]* +[^\W_]+[,;:.`)]* +(?:\w|`|\{)")
SQL = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|DROP|ALTER|LOCK|COMMENT|FROM|WHERE|AND|JOIN|ON|SET)\s"
    r"|ON CONFLICT|CASE WHEN|IS NOT NULL|WITH ORDINALITY"
)


def sentences(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Return line and text of each sentence, an f-string's expressions in braces."""
    inner: set[ast.AST] = set()  # docstrings, and the parts of f-strings
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            inner.update(node.values)
        text = _text(node) if node not in inner else ""
        if WORDS.search(text) and not SQL.search(text):
            yield getattr(node, "lineno", 0), text


def _text(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) for value in values)
        case ast.FormattedValue(value=value):
            return "{" + ast.unparse(value) + "}"
    return ""


if __name__ == "__main__":
    for path in sorted(Path("liualgotrader").rglob("*.py")):
        for line, text in sorted(sentences(ast.parse(path.read_text()))):
            print(f"{path}:{line}: {' '.join(text.split())}")  # noqa: T201
