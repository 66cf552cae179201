"""The design pages name code that exists."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[3]
DESIGN = HOUSE / "design"
CODE = ("liualgotrader", "tests", "tools", "benchmarks")
NAME = re.compile(r"`(liualgotrader(?:\.\w+)+):([\w.]+)`")


def names() -> list[tuple[str, str, str]]:
    pages = sorted([*DESIGN.rglob("*.md"), *(HOUSE / "docs").glob("*.md")])
    return [(page.name, *found) for page in pages for found in NAME.findall(page.read_text())]


@pytest.mark.parametrize(("page", "module", "path"), names(), ids=str)
def test_every_name_on_a_design_page_is_in_the_code(page: str, module: str, path: str) -> None:
    assert reduce(getattr, path.split("."), importlib.import_module(module)) is not None


PAGE_NAME = re.compile(r"\b((?:design|docs)/[\w/.-]+\.md)\b")


def test_every_page_that_is_named_anywhere_exists() -> None:
    named = {
        (str(file.relative_to(HOUSE)), page)
        for pattern in (
            "*.md",
            "llms.txt",
            "*.toml",
            "design/**/*.md",
            "docs/*.md",
            *(f"{d}/**/*.py" for d in CODE),
            "examples/**/*.toml",
        )
        for file in HOUSE.glob(pattern)
        for page in PAGE_NAME.findall(file.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert {(file, page) for file, page in named if not (HOUSE / page).exists()} == set()


def walks() -> list[list[str]]:
    """Return the steps of each walk on the page."""
    pages = re.findall(r"^## An? .*?(?=^## )", (DESIGN / "flow.md").read_text(), re.MULTILINE | re.DOTALL)
    return [re.findall(r"^\d+\. (.+?)(?=^\d+\. |\Z)", page, re.MULTILINE | re.DOTALL) for page in pages]


def test_the_walks_name_one_function_at_every_step() -> None:
    assert [len(walk) for walk in walks()] == [11, 12]
    assert [step for walk in walks() for step in walk if len(NAME.findall(step)) != 1] == []


def test_the_walks_come_back_to_no_room_without_saying_why() -> None:
    for walk in walks():
        left: set[str] = set()
        here = ""
        for step in walk:
            room = NAME.findall(step)[0][0].split(".")[1]
            if room != here:
                assert room not in left or f"*Back in* `{room}`, because" in step, step
                left.add(here)
                here = room


@pytest.mark.parametrize(
    ("question", "function"),
    [
        ("limits are checked", "liualgotrader.orders.risk:judge"),
        ("fill becomes a row", "liualgotrader.orders.desk_state:DeskState.book"),
        ("Stale data is dropped", "liualgotrader.engine.freshness:Freshness.judge"),
    ],
)
def test_a_newcomers_question_is_answered_by_its_own_words(question: str, function: str) -> None:
    [step] = [step for walk in walks() for step in walk if question in " ".join(step.split())]
    assert f"`{function}`" in step
