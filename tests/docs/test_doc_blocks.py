"""The pages' commands do what they say: each page's blocks run in order in a folder of its own, offline."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from liualgotrader.common.tradeplan import TradePlan, converted
from tests.session.running import bare_environment
from tools.doc_blocks import COMMANDS, ELSEWHERE, HOUSE, Block, blocks, pages

BLOCKS = {str(page.relative_to(HOUSE)): list(blocks(page)) for page in pages()}
ALL = [block for found in BLOCKS.values() for block in found]
LANGUAGES = {*COMMANDS, "toml", "ini", "sql", "text"}


@pytest.mark.docs
@pytest.mark.timeout(1200)  # a minute or two; a page is one story, however busy the machine
@pytest.mark.parametrize("page", [name for name, found in BLOCKS.items() if any(b.is_run for b in found)])
def test_the_commands_of_a_page_work_in_their_order(page: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="liu-d-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user where root runs this
    home = {"HOME": str(folder), "LIU_HOME": str(folder / "data"), "EDITOR": "true"}
    programs = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(HOUSE)}
    environment = bare_environment() | home | programs
    try:
        here = folder / "work"
        here.mkdir()
        (here / ".venv").symlink_to(sys.prefix)
        for block in BLOCKS[page]:
            here = play(block, here, folder, environment)
    finally:
        for process in psutil.process_iter():  # what a block that failed has left
            with suppress(psutil.Error):
                if process.environ().get("LIU_HOME") == environment["LIU_HOME"]:
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def play(block: Block, here: Path, folder: Path, environment: dict[str, str]) -> Path:
    """Write or run a block, and return the folder in which the next one begins."""
    if block.kind == "file":
        (here / block.what).write_text(block.text)
    if not block.is_run:
        return here
    where = folder / "where"
    if block.language == "sh":
        script = ["bash", "-euo", "pipefail", "-c", f"trap 'pwd > {where}' EXIT\n{block.text}"]
    else:
        script = [sys.executable, "-c", block.text]
    done = subprocess.run(script, cwd=here, env=environment, capture_output=True, text=True, check=False)
    expected = int(block.what) if block.kind == "status" else 0
    assert done.returncode == expected, f"{block.page}:{block.line}\n{block.text}\n{done.stdout}\n{done.stderr}"
    return Path(where.read_text().strip()) if block.language == "sh" else here


def test_every_block_says_its_language_and_every_mark_is_understood() -> None:
    strange = [(b.page, b.line, b.language) for b in ALL if b.language not in LANGUAGES and b.language[:1] != "{"]
    assert strange == []
    for page in pages():
        marks = re.findall(r"<!-- (\w[\w ]*): ", page.read_text())
        assert len(marks) == sum(bool(b.kind) for b in blocks(page) if b.what not in ELSEWHERE.values()), page


def test_what_is_said_to_be_run_by_another_test_is_named_there() -> None:
    for block in ALL:
        if block.kind == "run by":
            assert Path(block.page).name in (HOUSE / block.what).read_text(), (block.page, block.line)


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "toml"], ids=lambda b: f"{b.page}:{b.line}")
def test_every_toml_block_is_a_tradeplan_unless_it_is_another_file(block: Block) -> None:
    table = tomllib.loads(block.text)
    if block.kind != "file":
        converted(dict(table), TradePlan, f"{block.page}:{block.line}:")
