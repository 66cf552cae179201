"""The design pages name code that exists."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

DESIGN = Path(__file__).parents[3] / "design"
NAME = re.compile(r"`(liualgotrader(?:\.\w+)+):([\w.]+)`")


def names() -> list[tuple[str, str, str]]:
    return [(page.name, *found) for page in sorted(DESIGN.rglob("*.md")) for found in NAME.findall(page.read_text())]


@pytest.mark.parametrize(("page", "module", "path"), names(), ids=str)
def test_every_name_on_a_design_page_is_in_the_code(page: str, module: str, path: str) -> None:
    assert reduce(getattr, path.split("."), importlib.import_module(module)) is not None


def test_the_walks_name_a_function_at_every_step() -> None:
    steps = re.findall(r"^\d+\. (.+?)(?=^\d+\. |^## |\Z)", (DESIGN / "flow.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(steps) == 22
    assert [step for step in steps if not NAME.search(step)] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "AGENTS.md"])
def test_every_file_that_contributors_are_sent_to_is_there(page: str) -> None:
    house = DESIGN.parent
    files = re.findall(r"`((?:\w+/)+\w+\.\w+)(?::\w+)?`", (house / page).read_text())
    assert files
    assert [file for file in files if not ((house / file).exists() or (house / "liualgotrader" / file).exists())] == []
