"""The command blocks of README and `docs`: `python -m tools.doc_blocks` counts those that a test runs and those that none can.

A fenced block of `sh` or `python` is run, page by page in one folder, by `tests/docs/test_doc_blocks.py`. A comment on the
line above says otherwise:

    <!-- file: strategy.py -->   the block is written into the folder under this name
    <!-- status: 6 -->           it ends with this exit status
    <!-- not run: cron -->       no test can run it, and why
    <!-- run by: tests/… -->     another test runs it
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

HOUSE = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)(`{3,})(?P<language>[^\n`]*)\n(?P<text>.*?)^\1\2\s*$", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"<!-- (?P<kind>file|status|not run|run by): (?P<what>[^\n]+?) -->\s*\Z")
COMMANDS = ("sh", "python")
# Whole pages whose examples a test of their own takes apart; it names the page.
ELSEWHERE = {
    "docs/strategy_contract.md": "tests/unit/examples/test_strategy_contract.py",
    "docs/scanner_contract.md": "tests/unit/examples/test_scanner_contract.py",
}


class Block(NamedTuple):
    """A fenced block of a page: where it begins, in which language it is, and what its mark says."""

    page: str
    line: int
    language: str
    text: str
    kind: str = ""
    what: str = ""

    @property
    def is_run(self) -> bool:
        """Whether the page's folder runs it."""
        return self.language in COMMANDS and self.kind in ("", "status")


def pages() -> list[Path]:
    """Return README and every page of `docs`."""
    return [HOUSE / "README.md", *sorted((HOUSE / "docs").glob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, from its first line on."""
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(HOUSE))
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        language = found["language"].strip()
        mark = MARK.search(text, 0, found.start())
        kind, what = (mark["kind"], mark["what"]) if mark else ("", "")
        if not kind and name in ELSEWHERE and language in COMMANDS:
            kind, what = "run by", ELSEWHERE[name]
        yield Block(name, line, language, dedent(found["text"]), kind, what)


def main() -> None:
    """Print both counts, and the reasons of those that are not run."""
    commands = [b for page in pages() for b in blocks(page) if b.language in COMMANDS]
    kinds = Counter("run" if b.is_run else b.kind for b in commands)
    run = kinds["run"] + kinds["file"] + kinds["run by"]
    print(f"{run} command blocks are run by tests, {kinds['not run']} cannot be:")  # noqa: T201
    for block in commands:
        if block.kind == "not run":
            print(f"  {block.page}:{block.line}: {block.what}")  # noqa: T201


if __name__ == "__main__":
    main()
