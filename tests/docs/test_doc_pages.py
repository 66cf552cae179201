"""What the pages for users state of sentences, addresses and tables is so."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from liualgotrader.orders.risk import RULES
from tools.doc_blocks import HOUSE
from tools.messages import sentences

PACKAGE = HOUSE / "liualgotrader"
TROUBLES = (HOUSE / "docs" / "troubleshooting.md").read_text()
MIGRATION = (HOUSE / "docs" / "migration.md").read_text()


def plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def quoted() -> list[str]:
    """Return the sentences of the first column of every table that begins with `you see`."""
    tables = re.findall(r"^\| you see \|.*?(?=\n\n|\Z)", TROUBLES, re.MULTILINE | re.DOTALL)
    cells = [row.split(" | ")[0] for table in tables for row in table.splitlines()[2:]]
    return [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture(scope="module")
def said() -> list[str]:
    trees = [ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]
    return [plain(text) for tree in trees for _, text in sentences(tree)]


@pytest.mark.parametrize("sentence", quoted())
def test_every_sentence_of_the_troubleshooting_page_is_said(sentence: str, said: list[str]) -> None:
    parts = [part for part in (p.strip(" :;.,") for p in sentence.split("…")) if part]
    pattern = re.compile(".*".join(map(re.escape, map(plain, parts))))
    assert any(pattern.search(text) for text in said), sentence


def test_the_troubleshooting_page_has_every_rule_that_can_refuse_an_order() -> None:
    [table] = re.findall(r"^\| rule \|.*?(?=\n\n)", TROUBLES, re.MULTILINE | re.DOTALL)
    rules = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(rules) == sorted(rule.__name__ for rule in RULES)


def test_the_addresses_of_the_migration_page_load_and_those_that_are_gone_do_not() -> None:
    kept, _, gone = MIGRATION.partition("## Python imports")[2].partition("\nGone, ")
    for name in re.findall(r"`(liualgotrader\.[\w.]+)`", kept):
        assert importlib.import_module(name) is not None
    for name in re.findall(r"`(liualgotrader\.[\w.]+)`", gone):
        parent = importlib.import_module(name.rpartition(".")[0])
        assert importlib.util.find_spec(name) is None and not hasattr(parent, name.rpartition(".")[2]), name


def test_every_table_of_the_database_is_on_the_migration_page() -> None:
    tables = re.findall(r"^CREATE TABLE (\w+)", (HOUSE / "database" / "schema.sql").read_text(), re.MULTILINE)
    assert [table for table in tables if f"`{table}`" not in MIGRATION] == []


def test_the_index_leads_to_every_page() -> None:
    index = (HOUSE / "docs" / "index.md").read_text()
    pages = {path.stem for path in Path(HOUSE / "docs").glob("*.md")} - {"index"}
    assert {page for page in pages if not re.search(rf"^{page}$", index, re.MULTILINE)} == set()


@pytest.mark.parametrize("name", ["backtester_ui.py", "day_trade_ui.py"])
def test_the_originals_entry_files_take_the_options_of_liu_ui(name: str) -> None:
    told = subprocess.run(
        [sys.executable, HOUSE / "analysis" / name, "--help"], check=True, capture_output=True, text=True
    )
    assert told.stdout.startswith("usage: liu ui ")
