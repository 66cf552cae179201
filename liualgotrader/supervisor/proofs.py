"""What a tradeplan has shown: the sessions that it ended in order and traded in, kept in the data folder by its hash.

A file for each plan, in the data folder and in no database: a simulated session writes to the embedded server, a
session with real money perhaps to another, and both happen on this machine.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.files import replace_file
from liualgotrader.common.session_plan import Limits
from liualgotrader.common.tradeplan import TradePlan


class Proof(msgspec.Struct, frozen=True):
    """A session that ended in order and traded."""

    batch_id: str
    day: str
    executions: int


def plan_hash(plan: TradePlan, limits: Limits, files: Iterable[str], folder: Path) -> str:
    """Return a hash over everything that decides what a plan trades: each key, the limits, each file of the user's.

    `folder` is the tradeplan's; files are named relative to it, so that a plan may move as a whole.
    """

    def place(path: str) -> str:
        return os.path.relpath(path, folder.resolve())

    def placed(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {n: {k: place(v) if k == "filename" else v for k, v in t.items()} for n, t in tables.items()}

    values = plan.as_dict()
    values |= {"strategies": placed(values["strategies"]), "scanners": placed(values["scanners"])}
    contents = {place(path): hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in files}
    whole = {"tradeplan": values, "limits": limits, "files": contents}
    return hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()


def imported_files(loaded: Iterable[Path]) -> list[str]:
    """Return the files that were loaded, and those beside them that one of them imports later, inside a function."""
    todo, found = [path.resolve() for path in loaded], set[Path]()
    tops = {path.parent for path in todo}
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += _imports_of(path, tops)
    return sorted(map(str, found))


def _imports_of(path: Path, tops: Iterable[Path]) -> list[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    named: list[tuple[Path, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named += [(top, alias.name) for alias in node.names for top in (path.parent, *tops)]
        elif isinstance(node, ast.ImportFrom):
            within = [path.parents[node.level - 1]] if 0 < node.level <= len(path.parents) else [path.parent, *tops]
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
            named += [(top, name) for name in names for top in within]
    files: list[Path] = []
    for top, name in named:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            place = top.joinpath(*parts[:end])
            files += [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]
    return files


def proofs_of(home: Path, plan: str) -> Mapping[str, Proof]:
    """Return by environment a session of the plan with that hash that ended in order and traded."""
    try:
        return msgspec.json.decode(_file(home, plan).read_bytes(), type=dict[str, Proof])
    except (OSError, msgspec.DecodeError):
        return {}


def keep_proof(home: Path, plan: str, environment: str, proof: Proof) -> None:
    """Write down that the plan with that hash has traded and ended in order."""
    path = _file(home, plan)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    replace_file(path, msgspec.json.encode({**proofs_of(home, plan), environment: proof}))


def _file(home: Path, plan: str) -> Path:
    return home / "proofs" / f"{plan}.json"
