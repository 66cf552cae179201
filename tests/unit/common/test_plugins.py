"""What is said of the errors of users' files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from liualgotrader.common.plugins import one_line


class Mute(Exception):
    def __str__(self) -> str:
        return self.missing  # type: ignore[attr-defined,no-any-return]


def test_an_error_is_told_by_its_kind_and_its_text_in_one_line() -> None:
    assert one_line(ValueError("no\n  such   thing")) == "ValueError: no such thing"
    assert len(one_line(ValueError("x" * 10_000))) < 1_000


def test_an_error_whose_text_cannot_be_read_is_told_all_the_same() -> None:
    assert one_line(Mute()) == "Mute: (its text cannot be read)"


def test_a_place_that_pandas_3_takes_for_a_label_is_explained() -> None:
    days = pd.Series([1.0, 2.0], pd.DatetimeIndex(["2024-01-02", "2024-01-03"]))
    numbered = pd.Series([1.0, 2.0])
    said = [raised_by(lambda: numbered[-1]), raised_by(lambda: {1: 1}[-1])]  # labels in pandas 2 too, and no Series
    assert said == ["KeyError: -1", "KeyError: -1"]
    if pd.__version__.startswith("2."):
        with pytest.warns(FutureWarning):
            assert days[-1] == 2.0
    else:
        assert raised_by(lambda: days[-1]).startswith(
            "KeyError: -1: pandas 3 takes a number in brackets for a label; write .iloc[-1]"
        )


def raised_by(call: Callable[[], Any]) -> str:
    with pytest.raises(KeyError) as raised:
        call()
    return one_line(raised.value)
