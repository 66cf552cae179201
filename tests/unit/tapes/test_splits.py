"""History at the prices of the day that is played, and jumps that look like a split that nobody told."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest

from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.tapes.splits import Split, lean_splits
from liualgotrader.tapes.tape_factory import tape_from
from tests.fakes.lean import MS_0930, LeanFolder
from tests.fakes.real_data import real_data

DAY = date(2024, 3, 12)
OPENS = 1_710_250_200 * SECOND
SPLIT_DAY = date(2014, 6, 9)


def files(folder: Path, close: float, opening: float, *splits: str) -> Path:
    (folder / "trades.csv").write_text(f"symbol,at,price,size\nABC,{OPENS},{opening},100\n")
    row = f"ABC,2024-03-11,{close},{close},{close},{close},700"
    (folder / "daily.csv").write_text(f"symbol,day,open,high,low,close,volume\n{row}\n")
    if splits:
        (folder / "splits.csv").write_text("\n".join(["symbol,day,ratio", *splits]) + "\n")
    return folder


def test_a_split_that_the_file_tells_is_taken_out_of_prices_and_volumes_before_it(tmp_path: Path) -> None:
    tape = tape_from("recorded", day=DAY, folder=files(tmp_path, 70.0, 10.2, "ABC,2024-03-12,7"))
    tape.load()
    [before] = tape.daily_bars("ABC", date(2024, 3, 1), DAY)
    assert (before.open, before.close, before.vwap, before.volume) == (10.0, 10.0, 10.0, 4900.0)
    assert tape.adjustments() == ["History is adjusted as of 2024-03-12 for splits: ABC 7:1 on 2024-03-12."]
    assert tape.doubts() == []


@pytest.mark.parametrize(
    ("close", "opening", "says"),
    [
        (70.0, 10.2, "ABC opens at 10.2 after a close of 70, as over a 7:1 split that `splits.csv` does not list: its history is"),
        (1.0, 10.3, "ABC opens at 10.3 after a close of 1, as over a 1:10 split that"),
        (20.0, 10.1, "as over a 2:1 split"),
        (10.0, 14.0, None),  # a gap of 40 % is one
        (10.0, 15.5, None),
        (10.0, 6.0, None),
    ],
)  # fmt: skip
def test_an_open_as_over_a_split_that_nobody_told_is_a_warning(
    tmp_path: Path, close: float, opening: float, says: str | None
) -> None:
    tape = tape_from("recorded", day=DAY, folder=files(tmp_path, close, opening))
    tape.load()
    doubts = tape.doubts()
    assert len(doubts) == (says is not None)
    assert says is None or says in doubts[0]


def test_history_that_was_adjusted_already_is_a_warning(tmp_path: Path) -> None:
    tape = tape_from("recorded", day=DAY, folder=files(tmp_path, 10.0, 10.2, "ABC,2024-03-12,7"))
    tape.load()
    [doubt] = tape.doubts()
    assert doubt.endswith(
        "although history is adjusted for the split 7:1 on 2024-03-12: check whether it was adjusted before."
    )


def test_splits_of_later_days_are_not_known_yet_and_those_of_all_earlier_ones_multiply(tmp_path: Path) -> None:
    splits = ("ABC,2024-03-13,100", "ABC,2024-03-12,2", "ABC,2024-03-08,3")
    folder = files(tmp_path, 20.0, 10.0, *splits)
    with (folder / "daily.csv").open("a") as daily:
        daily.write("ABC,2024-03-07,60,60,60,60,1\n")
    tape = tape_from("recorded", day=DAY, folder=folder)
    assert [b.close for b in tape.daily_bars("ABC", date(2024, 3, 1), DAY)] == [10.0, 10.0]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        # Apple's splits: 2:1 on 2000-06-21, 2:1 on 2005-02-28, 7:1 on 2014-06-09 (investor.apple.com).
        (
            ["19980102,0.9,0.03571428,1", "20000620,0.9,0.03571428,101", "20050225,0.9,0.0714284,89", "20140606,1,0.1428572,645", "20501231,1,1,0"],
            [Split(date(2000, 6, 21), 2.0), Split(date(2005, 2, 28), 2.0), Split(date(2014, 6, 9), 7.0)],
        ),
        (["20200101,1,10,1", "20240311,1,10,1", "20501231,1,1,0"], [Split(DAY, 0.1)]),
        (["20200101,0.9,1,1", "20240311,0.95,1.0000001,1", "20501231,1,1,0"], []),
    ],
    ids=["7:1 and 2:1", "reverse", "dividends only"],
)  # fmt: skip
def test_a_factor_file_tells_splits_on_the_session_after_its_rows(
    tmp_path: Path, rows: list[str], found: list[Split]
) -> None:
    (tmp_path / "abc.csv").write_text("\n".join(rows))
    assert list(lean_splits(tmp_path / "abc.csv")) == found


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["20200101,1,1,1", "soon,1,1,1"], r"line 2: `soon,1,1,1` is not YYYYMMDD, price factor, split factor above 0"),
        (["20200101,1,0,1"], "line 1: `20200101,1,0,1` is not"),
        (["20200101,1,nan,1"], "line 1: "),
        (["20200102,1,1,1", "20200101,1,1,1"], "line 2: 2020-01-01 does not follow 2020-01-02"),
    ],
)
def test_a_broken_factor_file_is_refused_with_its_line(tmp_path: Path, rows: list[str], says: str) -> None:
    (tmp_path / "abc.csv").write_text("\n".join(rows))
    with pytest.raises(ConfigError, match=rf"abc\.csv, {says}"):
        lean_splits(tmp_path / "abc.csv")


def test_a_lean_folder_without_factor_files_is_doubted_at_a_jump(tmp_path: Path) -> None:
    folder = LeanFolder(tmp_path)
    folder.intraday("minute", "abc", "20240312", "trade", [f"{MS_0930},20000,20000,20000,20000,1"])
    folder.daily("abc", ["20240311 00:00,2000,2000,2000,2000,1"])
    tape = tape_from("recorded", day=DAY, folder=tmp_path)
    tape.load()
    [doubt] = tape.doubts()
    assert f"as over a 1:10 split that {tmp_path}/factor_files/abc.csv does not list" in doubt


@pytest.mark.realdata
def test_apples_history_before_its_split_is_a_seventh_on_that_day_and_whole_the_day_before() -> None:
    """Closes of 2014-06-06: 645.57 as traded, 92.22 as every chart has shown it since."""
    after = tape_from("recorded", day=SPLIT_DAY, folder=real_data("lean"), symbols=["AAPL"])
    after.load()
    friday = date(2014, 6, 6)
    [daily] = after.daily_bars("AAPL", friday, friday)
    assert daily.close == pytest.approx(645.57 / 7, abs=0.001)
    minutes = after.minute_bars("AAPL", new_york(friday, time(9, 30)), new_york(friday, time(16)))
    assert minutes[-1].close == pytest.approx(92.22, abs=0.05)
    before = tape_from("recorded", day=friday, folder=real_data("lean"), symbols=["AAPL"])
    [thursday] = before.daily_bars("AAPL", date(2014, 6, 5), friday)
    [later] = after.daily_bars("AAPL", date(2014, 6, 5), date(2014, 6, 5))
    assert (thursday.close, later.close, later.volume) == (
        pytest.approx(647.35, abs=0.01),
        pytest.approx(thursday.close / 7),
        pytest.approx(thursday.volume * 7),
    )
    assert after.doubts() == []
    assert after.adjustments() == [
        "History is adjusted as of 2014-06-09 for splits: AAPL 7:1 on 2014-06-09, AAPL 2:1 on 2005-02-28, AAPL 2:1 on 2000-06-21."
    ]
