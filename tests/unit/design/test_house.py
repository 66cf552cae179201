"""The package keeps the shape that CONTRIBUTING.md describes; `python -m tools.house` prints the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.house import figures


@pytest.fixture(scope="module")
def house() -> dict[str, Any]:
    return figures(Path(__file__).parents[3])


def test_there_are_at_most_26_rooms_and_each_is_said_in_one_sentence_without_and(house: dict[str, Any]) -> None:
    assert house["rooms"] <= 26
    assert house["rooms_with_and"] == []


def test_no_two_files_have_one_name(house: dict[str, Any]) -> None:
    assert house["file_names_twice"] == {}


def test_no_file_finds_its_way_back_to_itself(house: dict[str, Any]) -> None:
    assert house["cycles"] == []


def test_functions_are_short_and_not_cut_for_their_own_sake(house: dict[str, Any]) -> None:
    assert 6 <= house["function_median"] <= 9
    assert house["function_p90"] <= 25
    assert house["private_helpers_named_once_percent"] <= 25
