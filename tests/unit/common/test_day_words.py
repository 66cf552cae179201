"""Days as a person writes them, on Wednesday 2020-12-30."""

from __future__ import annotations

from datetime import date

import pytest

from liualgotrader.common.day_words import day_from
from liualgotrader.common.errors import ConfigError

TODAY = date(2020, 12, 30)


@pytest.mark.parity(48)
@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2020-10-18", "2020-10-18"),
        ("18 Oct 2020", "2020-10-18"),
        ("October 18, 2020", "2020-10-18"),
        ("10/11/2020", "2020-10-11"),
        ("20201018", "2020-10-18"),
        ("today", "2020-12-30"),
        ("Yesterday", "2020-12-29"),
        ("3 months ago", "2020-09-30"),
        ("  3   MONTHS  ago ", "2020-09-30"),
        ("10 months ago", "2020-02-29"),  # there is no 30th of February
        ("1 day ago", "2020-12-29"),
        ("a week ago", "2020-12-23"),
        ("an year ago", "2019-12-30"),
        ("2 years ago", "2018-12-30"),
        ("last week", "2020-12-23"),
        ("last month", "2020-11-30"),
        ("monday", "2020-12-28"),
        ("last wednesday", "2020-12-23"),
        ("thursday", "2020-12-24"),
    ],
)
def test_a_day_in_words(text: str, day: str) -> None:
    assert day_from(text, TODAY).isoformat() == day


@pytest.mark.parametrize(
    "text",
    [
        "",
        "someday",
        "2020-13-01",
        "2020-10",
        "october",
        "18 oct",
        "3 months",
        "last 3 months ago",
        "99999 years ago",
        "0",
        "-3",
    ],
)
def test_what_is_no_day_is_one_sentence_that_shows_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^'.*' is not a day: write one like 2020-10-18"):
        day_from(text, TODAY)
