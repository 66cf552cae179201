"""Print how the house stands: its size, its rooms, its names, and how finely its functions are cut.

`python -m tools.house` prints one JSON object; `python -m tools.house OTHER` prints that of another checkout, so that two
can be compared. Everything is counted over the syntax trees of the package.
"""

from __future__ import annotations

import ast
import io
import json
import re
import statistics
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ADDRESSES = frozenset(
    {
        "common/database.py",
        "common/market_data.py",
        "models/optimizer.py",
        "models/tradeplan.py",
        "reprocess/__init__.py",
        "reprocess/portfolio.py",
        "trading/alpaca.py",
    }
)  # the original's; ours have their names too
FREE_NAMES = frozenset({"__init__.py", "__main__.py", "main.py", "base.py"})
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@cache
def parsed(package: Path) -> dict[Path, ast.Module]:
    """Return the syntax tree of each file of a package."""
    return {path: ast.parse(path.read_text()) for path in sorted(package.rglob("*.py"))}


def figures(checkout: Path) -> dict[str, Any]:
    """Return the house's figures: counts, shares in per cent, and the names behind whatever must be none."""
    package = checkout / "liualgotrader"
    trees = parsed(package)
    nodes = {path: list(ast.walk(tree)) for path, tree in trees.items()}
    lengths = sorted(_length(node) for found in nodes.values() for node in found if isinstance(node, Function))
    private, once = _private_helpers(nodes.values())
    rooms = {
        path.parent: ast.get_docstring(tree) or ""
        for path, tree in trees.items()
        if path.name == "__init__.py" and str(path.relative_to(package)) not in ADDRESSES
    }
    classes = public_classes(trees)
    return {
        "files": len(trees),
        "rooms": len(rooms) - 1,  # the package itself is the house
        "rooms_with_and": sorted(_short(room, package) for room, said in rooms.items() if _says_and(said)),
        "file_names_twice": _twice(
            path.name
            for path in trees
            if path.name not in FREE_NAMES and str(path.relative_to(package)) not in ADDRESSES
        ),
        "class_names_twice": _twice(name for names in classes.values() for name in names),
        "functions": len(lengths),
        "function_median": statistics.median(lengths),
        "function_p90": lengths[int(0.9 * len(lengths))],
        "private_helpers": private,
        "private_helpers_named_once_percent": round(100 * once / private, 1),
        "cycles": cycles(_imports(nodes, checkout)),
    }


def public_classes(trees: Mapping[Path, ast.Module]) -> dict[Path, list[str]]:
    """Return the classes without a leading underscore at the top of each file."""
    found = {
        path: [node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        for path, tree in trees.items()
    }
    return {path: names for path, names in found.items() if names}


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def logical_lines(path: Path, tree: ast.Module) -> int:
    """Count the lines of a file that hold code: no docstring, comment or blank line."""
    documented = {
        line
        for node in ast.walk(tree)
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


def _private_helpers(files: Iterable[list[ast.AST]]) -> tuple[int, int]:
    """Return how many private functions there are, and how many of them are named once in the whole package."""
    defined: list[str] = []
    named: Counter[str] = Counter()
    for nodes in files:
        for node in nodes:
            if isinstance(node, Function) and re.match(r"_[^_]", node.name):
                defined.append(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                named[node.id] += 1
            elif isinstance(node, ast.Attribute):
                named[node.attr] += 1
    return len(defined), sum(named[name] == 1 for name in defined)


def _imports(nodes: Mapping[Path, list[ast.AST]], checkout: Path) -> dict[str, set[str]]:
    """Return for each module those that it imports when it is loaded or its types are checked."""
    modules = {".".join(path.relative_to(checkout).with_suffix("").parts): found for path, found in nodes.items()}
    found: dict[str, set[str]] = {}
    for module, inside in modules.items():
        targets = found[module] = set()
        for node in inside:
            if isinstance(node, ast.Import):
                targets.update(name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{name.name}" for name in node.names} & modules.keys()
                targets.update(inner or {node.module})
        targets.intersection_update(modules)
        targets.discard(module)
    return found


def cycles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, round about or directly."""
    reach: dict[str, set[str]] = {}
    for start in imports:
        seen: set[str] = set()
        ahead = list(imports[start])
        while ahead:
            module = ahead.pop()
            if module not in seen:
                seen.add(module)
                ahead.extend(imports[module])
        reach[start] = seen
    groups = defaultdict(list)
    for module, seen in reach.items():
        if module in seen:
            groups[frozenset(other for other in seen if module in reach[other])].append(module)
    return sorted(sorted(group) for group in groups.values())


def _says_and(docstring: str) -> bool:
    return " and " in docstring.split("\n\n", maxsplit=1)[0].split(":", maxsplit=1)[0].split(";", maxsplit=1)[0]


def _twice(names: Iterator[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(Counter(names).items()) if count > 1}


def _short(room: Path, package: Path) -> str:
    return str(room.relative_to(package.parent))


if __name__ == "__main__":
    house = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    lines = sum(logical_lines(path, tree) for path, tree in parsed(house / "liualgotrader").items())
    print(json.dumps({"logical_lines": lines, **figures(house)}, indent=1))  # noqa: T201
