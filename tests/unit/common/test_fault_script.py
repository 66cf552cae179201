"""A fault script is read whole, or refused in one sentence that names the fault."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from liualgotrader.common.clock import NEVER, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.fault_script import read_faults

MONDAY, TUESDAY = date(2024, 6, 3), date(2024, 6, 4)


def faults(tmp_path: Path, text: str) -> list[tuple[str, int, int]]:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    return [(f.action, f.begins_at(MONDAY), f.ends_at(MONDAY)) for f in read_faults(path)]


def test_a_fault_comes_at_its_time_in_new_york_and_lasts_as_long_as_it_says(tmp_path: Path) -> None:
    script = """
    [[fault]]
    at = "10:05"
    drop = "data"
    for = "40s"

    [[fault]]
    at = "15:59:30"
    mute = "all"

    [[fault]]
    at = "09:30"
    day = "2024-06-04"
    refuse_every = 3
    """
    ten_five = 1_717_423_500 * SECOND  # 2024-06-03 14:05 UTC
    assert faults(tmp_path, script) == [
        ("drop", ten_five, ten_five + 40 * SECOND),
        ("mute", ten_five + (5 * 3600 + 54 * 60 + 30) * SECOND, NEVER),
        ("refuse_every", NEVER, NEVER),
    ]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("", "it names nothing, but a fault does one thing"),
        ('at = "10:00"', "it names nothing, but a fault does one thing"),
        ('at = "10:00"\ndrop = "data"\nmute = "data"', "it names drop, mute, but a fault does one thing"),
        ('drop = "data"', "every other fault has `at`"),
        ('at = "10"\ndrop = "dates"', "`drop` is 'dates', not one of data, updates, all"),
        ('at = "25:00"\ndrop = "data"', "they must be like 10:05"),
        ('at = "10:00+02:00"\ndrop = "data"', "they must be like 10:05"),
        ('at = "10:00"\nday = "soon"\ndrop = "data"', "they must be like 10:05"),
        ('at = "10:00"\ndrop = "data"\nfor = "forty"', "`for` is 'forty', but it must be a time such as 40s"),
        ('at = "10:00"\ndrop = "data"\nfor = 40', "Expected `str`, got `int`"),
        ('at = "10:00"\nlate = "-3s"', "`late` is '-3s'"),
        ('at = "10:00"\nanswer = "500"\nfor = "3s"', "`for` goes neither with `answer`"),
        ('at = "10:00"\nanswer = "404"', "`answer` is '404', not one of 500, 504_after, never, never_after"),
        ('at = "10:00"\nanswer = "500"\ncount = 0', "are whole numbers from 1"),
        ('at = "10:00"\nmute = "data"\ncount = 2', "`count` goes with `answer`"),
        ('at = "10:00"\nhalt = "../X"', "is not a symbol"),
        ('split = "IBM"\nratio = 7', "a split needs `day`"),
        ('split = "IBM"\nday = "2024-06-02"\nratio = 7', "a split needs `day`, a trading day"),
        ('split = "IBM"\nday = "2024-06-03"\nratio = nan', "a split needs `day`"),
        ('at = "10:00"\nexplode = true', "unknown field `explode`"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_with_file_and_place(tmp_path: Path, fault: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        faults(tmp_path, f'[[fault]]\nat = "10:00"\nmute = "data"\n[[fault]]\n{fault}\n')
    assert f"{tmp_path / 'faults.toml'}, fault 2: " in str(refused.value)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("text", ["", "fault = 3", "[fault]\nat = 1", "[[fualt]]", "fault = [1]"])
def test_a_file_that_is_no_script_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"faults\.toml"):
        faults(tmp_path, text)
