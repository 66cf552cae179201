"""A word means one thing: the glossary has every class that users import, and no class name is used twice."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tools.house import parsed, public_classes

HOUSE = Path(__file__).parents[3]
PACKAGE = HOUSE / "liualgotrader"
SURFACE = (
    "strategies/*.py",
    "scanners/*.py",
    "miners/base.py",
    "models/*.py",
    "fincalcs/*.py",
    "common/events.py",
    "common/types.py",
    "common/trading_data.py",
    "data/loader.py",
    "analytics/trips.py",
)  # what a user's file may import
ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \| \S.*\|$", re.MULTILINE)


def classes_in(*patterns: str) -> Counter[str]:
    trees = parsed(PACKAGE)
    found = public_classes({path: trees[path] for pattern in patterns for path in PACKAGE.glob(pattern)})
    return Counter(name for names in found.values() for name in names)


@pytest.fixture(scope="module")
def listed() -> Counter[str]:
    rows = ROW.findall((HOUSE / "design" / "glossary.md").read_text())
    return Counter(name.strip("`") for row in rows for name in row.split(", "))


def test_the_glossary_lists_each_class_that_a_user_may_import_once(listed: Counter[str]) -> None:
    assert listed == classes_in(*SURFACE)


def test_no_two_classes_of_the_package_have_one_name() -> None:
    assert [name for name, count in classes_in("**/*.py").items() if count > 1] == []


def test_the_surface_is_where_it_is_said_to_be() -> None:
    assert all(list(PACKAGE.glob(pattern)) for pattern in SURFACE)
