"""The checklist of what the original could do is that of the markers, and leaves no row out."""

from __future__ import annotations

from tools.parity import NOTES, PAGE, ROWS, page, proofs


def test_the_page_is_that_of_the_markers() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `python -m tools.parity`"


def test_every_row_has_a_test_or_says_why_it_has_none() -> None:
    assert len(ROWS) == len(set(ROWS)) == 84
    rows = {row for row, _ in proofs()}
    assert rows | set(NOTES) == set(range(1, 85))
    assert {row for row in rows & set(NOTES) if NOTES[row].startswith("waits")} == set()
