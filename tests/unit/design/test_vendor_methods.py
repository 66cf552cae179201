"""The table of the vendors' methods is that of their clients and of the markers, and leaves none out."""

from __future__ import annotations

import re

from tools.vendor_methods import HOUSE, PAGE, methods, page, proofs


def test_the_page_is_that_of_the_clients_and_the_markers() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `python -m tools.vendor_methods`"


def test_every_method_of_the_vendors_clients_has_a_test() -> None:
    assert {method for method, _, _ in proofs()} == set(methods())


def test_a_file_with_a_marker_calls_the_method() -> None:
    for method, test, _ in proofs():
        text = (HOUSE / "tests" / f"{test.partition(':')[0]}.py").read_text("utf-8")
        assert re.search(rf"\.{method.partition('.')[2]}\b", text), f"{test} does not call {method}"
