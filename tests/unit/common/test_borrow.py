"""The list of what can be borrowed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from liualgotrader.common.borrow import BorrowRow, borrow_fees, borrow_statuses, read_borrow
from liualgotrader.common.errors import ConfigError

HEAD = "symbol,day,status,percent\n"


def test_a_row_holds_from_its_day_until_the_next(tmp_path: Path) -> None:
    path = tmp_path / "borrow.csv"
    path.write_text(HEAD + "GME,2021-03-01,easy,0\ngme,2021-01-13,hard,36\n\nAMC,2021-01-27,none,\n")
    rows = read_borrow(path)
    assert rows == (
        BorrowRow("AMC", date(2021, 1, 27), "none"),
        BorrowRow("GME", date(2021, 1, 13), "hard", Decimal(36)),
        BorrowRow("GME", date(2021, 3, 1), "easy", Decimal(0)),
    )
    assert borrow_statuses(rows, date(2021, 1, 12)) == {}
    assert borrow_statuses(rows, date(2021, 1, 27)) == {"GME": "hard", "AMC": "none"}
    assert borrow_statuses(rows, date(2021, 3, 1)) == {"GME": "easy", "AMC": "none"}
    assert borrow_fees(rows, date(2021, 2, 26), date(2021, 3, 2)) == {"GME": Decimal("0.003")}  # of four nights three


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the first line of a borrow list is symbol,day,status,percent"),
        ("symbol,day\n", "the first line of a borrow list is"),
        (HEAD + "G ME,2021-01-13,hard,1\n", "line 2: a row begins with a symbol"),
        (HEAD + "GME,2021-01-13,maybe,1\n", "line 2: status is 'maybe', not one of easy, hard, none"),
        (HEAD + "GME,13.1.2021,hard,1\n", "line 2: a row has a day like 2021-01-13"),
        (HEAD + "GME,2021-01-13,hard,NaN\n", "percent from 0 to 10000"),
        (HEAD + "GME,2021-01-13,hard,-1\n", "percent from 0 to 10000"),
        (HEAD + "GME\n", "status is ''"),
        (HEAD + "GME,2021-01-13,hard,1,2\n", "at most four cells"),
        (HEAD + "GME,2021-01-13,hard,1\nGME,2021-01-13,easy,1\n", "two rows are about GME from 2021-01-13 on"),
    ],
)
def test_a_list_that_cannot_be_is_refused_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "borrow.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"borrow\.csv") as caught:
        read_borrow(path)
    assert words in str(caught.value)


def test_a_list_that_is_not_there_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name another file with --borrow"):
        read_borrow(tmp_path / "none.csv")
