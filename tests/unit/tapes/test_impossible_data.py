"""Market data that cannot be true: refused with file and line, or left out and counted with the worst example."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Quote, QuoteMark, TradeTick, is_symbol
from liualgotrader.tapes.tape_factory import require_day, tape_from
from tests.fakes.lean import MS_0930, LeanFolder
from tests.fakes.real_data import real_data

DAY = date(2024, 3, 12)
OPENS = 1_710_250_200 * SECOND  # 2024-03-12 09:30 New York is 13:30 UTC
TRADES, QUOTES = "symbol,at,price,size", "symbol,at,bid,bid_size,ask,ask_size"
BARS, DAILY = "symbol,opened_at,open,high,low,close,volume", "symbol,day,open,high,low,close,volume"
GOOD = f"ABC,{OPENS},10,100"


def write(folder: Path, name: str, *lines: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def refusal(folder: Path, day: date = DAY) -> str:
    with pytest.raises(ConfigError) as error:
        tape_from("recorded", day=day, folder=folder).load()
    assert "\n" not in str(error.value)
    return str(error.value)


IMPOSSIBLE = [
    ("trades.csv", [TRADES, GOOD, f"ABC,{OPENS},1e12,1"], "line 3, column price: `1e12` is not a price above 0, 1,000,000,000 at most"),
    ("trades.csv", [TRADES, GOOD, f"ABC,{OPENS},1e308,1"], "line 3, column price: `1e308`"),
    ("trades.csv", [TRADES, GOOD, f"ABC,{OPENS},1e999,1"], "line 3, column price: `1e999`"),
    ("trades.csv", [TRADES, GOOD, f"ABC,{OPENS},10,1e12"], "line 3, column size: `1e12` is not a number from 0 to 100,000,000,000"),
    ("trades.csv", [TRADES, "", GOOD, "", f"ABC,{OPENS},-1,1"], "line 5, column price: `-1`"),
    ("quotes.csv", [QUOTES, f"ABC,{OPENS},10,1,1e308,1"], "line 2, column ask: `1e308`"),
    ("quotes.csv", [QUOTES, f"ABC,{OPENS},10,1e308,11,1"], "line 2, column bid_size: `1e308`"),
    ("bars.csv", [BARS, f"ABC,{OPENS},10,11,9,12,1"], "line 2: its open 10 or its close 12 lies outside its low 9 and its high 11"),
    ("bars.csv", [BARS, f"ABC,{OPENS},8,11,9,10,1"], "line 2: its open 8 or its close 10 lies outside its low 9 and its high 11"),
    ("bars.csv", [BARS, *[f"ABC,{OPENS},10,10,10,10,1"] * 20], r"bars\.csv, line 3: a second bar of one minute of ABC, after .*line 2; keep one of them"),
    ("bars.csv", [BARS, f"ABC,{OPENS},10,10,10,10,1e12"], "line 2, column volume: `1e12`"),
    ("daily.csv", [DAILY, "ABC,2024-03-08,9,9,9,9,1", "ABC,2024-03-07,9,9,9,9,1", "abc,2024-03-08,8,8,8,8,1"], r"line 4: a second bar of one day of ABC, after .*line 2"),
    ("daily.csv", [DAILY, "ABC,2024-03-08,9,9,9,20,1"], "line 2: its open 9 or its close 20 lies outside"),
    ("splits.csv", ["symbol,day,ratio", "ABC,2024-03-12,0"], "line 2, column ratio: `0` is not new shares per old one"),
    ("assets.csv", ["symbol,name", "ABC,a", "ABC,b"], "line 3: a second row of ABC, after .*line 2"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "lines", "says"), IMPOSSIBLE, ids=[i[2][:30] for i in IMPOSSIBLE])
def test_a_row_that_cannot_be_true_is_refused_with_file_and_line(
    tmp_path: Path, name: str, lines: list[str], says: str
) -> None:
    write(tmp_path, "trades.csv", TRADES, GOOD)
    write(tmp_path, name, *lines)
    told = refusal(tmp_path)
    assert str(tmp_path / name) in told
    assert re.search(says, told), told


@pytest.mark.parametrize(
    "symbol", ["*", "../X", "%s", "A\0B", "X" * 300, "X" * 21, "A B", "-3", "A..B", ".A", "A.", "ÄBC"]
)
def test_a_text_that_can_be_no_symbol_is_refused_with_file_and_line(tmp_path: Path, symbol: str) -> None:
    assert not is_symbol(symbol)
    write(tmp_path, "trades.csv", TRADES, GOOD, f"{symbol},{OPENS},10,100")
    told = refusal(tmp_path)
    assert "trades.csv, line 3, column symbol: " in told
    assert told.isprintable()
    assert len(told) < 250 + len(str(tmp_path))


def test_a_file_or_folder_whose_name_is_no_symbol_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "plain", "trades/%s.csv", "at,price,size", f"{OPENS},10,100")
    assert "plain/trades/%s.csv is not a symbol: up to 20 letters and digits" in refusal(tmp_path / "plain")
    LeanFolder(tmp_path / "lean").intraday("tick", "a b", "20240312", "trade", [f"{MS_0930},1,1,P,1,0"])
    assert "tick/a b is not a symbol" in refusal(tmp_path / "lean")


LEAN_TRADE = f"{MS_0930},100000,100,P,1,0"
LEAN_IMPOSSIBLE = [
    ("tick", "trade", [LEAN_TRADE, f"{MS_0930},10000000000001,100,P,1,0"], "line 2: its price is 10000000000001, but must be 10000000000000 or less"),
    ("tick", "trade", [LEAN_TRADE, f"{MS_0930},0,100,P,1,0"], "line 2: its price is 0, but must be "),
    ("tick", "trade", [LEAN_TRADE, f"{MS_0930},100000,1e12,P,1,0"], "line 2: its size is 1000000000000, but must be 100000000000 or less"),
    ("tick", "trade", [LEAN_TRADE, f"{MS_0930},100000,-1,P,1,0"], "line 2: its size is -1, but must be 0 or more"),
    ("tick", "trade", ["90000000,100000,100,P,1,0"], "line 1: its ms is 90000000, but must be 89999999 or less"),
    ("tick", "trade", [LEAN_TRADE, f"{MS_0930 - 1},100000,100,P,1,0"], "line 2: its time is not after that"),
    ("tick", "quote", [f"{MS_0930},-5,100,0,0,P,1,0"], "line 1: its bid is -5, but must be 0 or more"),
    ("minute", "trade", [f"{MS_0930},10,11,9,12,1"], "line 1: its open 0.001 or its close 0.0012 lies outside"),
    ("minute", "trade", [f"{MS_0930},10,10,10,10,1"] * 20, "line 2: its time is not after that of the line before"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("resolution", "kind", "rows", "says"), LEAN_IMPOSSIBLE, ids=[i[3][:30] for i in LEAN_IMPOSSIBLE]
)
def test_a_lean_row_that_cannot_be_true_is_refused_with_file_and_line(
    tmp_path: Path, resolution: str, kind: str, rows: list[str], says: str
) -> None:
    folder = LeanFolder(tmp_path)
    folder.intraday("tick", "abc", "20240312", "trade", [LEAN_TRADE])
    if resolution == "minute":
        (tmp_path / "tick/abc/20240312_trade.zip").unlink()
    folder.intraday(resolution, "abc", "20240312", kind, rows)
    assert f"{resolution}/abc/20240312_{kind}.zip, {says}" in refusal(tmp_path)


def test_two_daily_rows_of_lean_for_one_day_are_refused(tmp_path: Path) -> None:
    folder = LeanFolder(tmp_path)
    folder.intraday("tick", "abc", "20240312", "trade", [LEAN_TRADE])
    folder.daily("abc", ["20240308 00:00,9,9,9,9,1", "20240311 00:00,9,9,9,9,1", "20240308 00:00,8,8,8,8,1"])
    with pytest.raises(ConfigError, match=r"daily/abc\.zip, line 3: a second row for 2024-03-08; keep one"):
        tape_from("recorded", day=DAY, folder=tmp_path).daily_bars("ABC", date(2024, 3, 1), DAY)


def test_what_the_vendor_marked_as_suspicious_may_be_anything(tmp_path: Path) -> None:
    rows = [LEAN_TRADE, f"{MS_0930},10000000000001,-100,P,1,1"]
    LeanFolder(tmp_path).intraday("tick", "abc", "20240312", "trade", rows)
    tape = tape_from("recorded", day=DAY, folder=tmp_path)
    assert len(tape.columns("ABC").trades.at) == 1


def test_crossed_quotes_are_left_out_and_counted_with_the_widest_and_locked_ones_stay(tmp_path: Path) -> None:
    rows = [
        f"ABC,{OPENS + 3},10.02,100,10.00,100",  # later in time, earlier in the file
        f"ABC,{OPENS},9.99,100,10.01,100",
        f"ABC,{OPENS + 1},10.00,100,10.00,100",
        f"ABC,{OPENS + 125 * SECOND},11.00,100,10.00,100",
        f"XYZ,{OPENS},5,100,0,0",  # nobody offers
    ]
    write(tmp_path, "trades.csv", TRADES, GOOD, f"XYZ,{OPENS},5,100")
    write(tmp_path, "quotes.csv", QUOTES, *rows)
    tape = tape_from("recorded", day=DAY, folder=tmp_path)
    tape.load()
    assert [(e.bid, e.ask) for e in tape.events(0, 2**62) if isinstance(e, Quote)] == [(9.99, 10.01), (5, 0), (10, 10)]
    assert tape.skipped() == [
        "2 of 4 quotes of ABC are crossed and were left out; the widest: "
        f"{tmp_path}/quotes.csv, line 5: ABC at 09:32:05.000000 New York, bid 11 above ask 10"
    ]
    assert tape.doubts() == []


@pytest.mark.parametrize("lean", [False, True], ids=["files", "lean"])
def test_a_session_of_which_every_quote_is_crossed_is_refused_and_not_played_in_silence(
    tmp_path: Path, lean: bool
) -> None:
    if lean:
        folder = LeanFolder(tmp_path)
        folder.intraday("tick", "abc", "20240312", "trade", [LEAN_TRADE])
        good = f"{MS_0930 - 1},99900,100,100100,100,P,1,0"  # before the open nothing trades with it
        rows = [good, f"{MS_0930},100100,100,99900,100,P,1,1", f"{MS_0930},100300,100,99900,100,P,1,0"]
        folder.intraday("tick", "abc", "20240312", "quote", rows)
        where = "tick/abc/20240312_quote.zip, line 3: ABC at 09:30:00.000000 New York, bid 10.03 above ask 9.99"
    else:
        write(tmp_path, "trades.csv", TRADES, GOOD)
        write(tmp_path, "quotes.csv", QUOTES, f"ABC,{OPENS},10.02,100,10.00,100")
        where = "quotes.csv, line 2: ABC at 09:30:00.000000 New York, bid 10.02 above ask 10"
    told = refusal(tmp_path)
    assert told.startswith(
        "Every one of the 1 quotes in the session of 2024-03-12 is crossed (bid above ask), so no order"
    )
    assert f"{where}." in told


def test_a_symbol_of_which_every_quote_is_crossed_is_named_and_quoted_from_its_trades(tmp_path: Path) -> None:
    write(tmp_path, "trades.csv", TRADES, GOOD, f"XYZ,{OPENS},5,100")
    write(tmp_path, "quotes.csv", QUOTES, f"ABC,{OPENS},10.02,1,10,1", f"XYZ,{OPENS},4.99,100,5.01,100")
    tape = tape_from("recorded", day=DAY, folder=tmp_path)
    tape.load()
    assert tape.columns("ABC").quotes.flags.tolist() == [int(QuoteMark.SYNTHETIC)]
    assert tape.doubts() == ["ABC: every quote is crossed; they are the last trade plus and minus half a tick."]


@pytest.mark.realdata
@pytest.mark.slow
def test_the_crossed_quotes_of_a_recorded_day_are_those_that_awk_counts() -> None:
    """Each side carried forward over rows that are not suspicious: 89, the widest 181.93 over 181.75 at 08:20:04.773."""
    folder = real_data("lean")
    tape = tape_from("recorded", day=date(2013, 10, 7), folder=folder)
    tape.load()
    assert tape.skipped() == [
        f"89 of 109,066 quotes of IBM are crossed and were left out; the widest: {folder}/tick/ibm/20131007_quote.zip,"
        " line 474: IBM at 08:20:04.773000 New York, bid 181.93 above ask 181.75"
    ]
    assert tape.doubts() == []


# --- the days of a folder


def days_folder(root: Path, lean: bool, days: list[int]) -> Path:
    if lean:
        for n in days:
            LeanFolder(root).intraday("minute", "abc", f"202403{n:02}", "trade", [f"{MS_0930},1,1,1,1,1"])
    else:
        rows = [f"ABC,{OPENS + (n - 12) * 1440 * MINUTE},10,100" for n in days]
        write(root, "trades.csv", TRADES, *rows)
    return root


@pytest.mark.parametrize("lean", [False, True], ids=["files", "lean"])
def test_a_folder_without_the_day_lists_the_days_that_it_has(tmp_path: Path, lean: bool) -> None:
    few = days_folder(tmp_path / "few", lean, [11, 12, 14])
    require_day(few, DAY)
    with pytest.raises(
        ConfigError, match=r"few holds no market data for 2024-03-13; it has 2024-03-11, 2024-03-12, 2024-03-14\.$"
    ):
        require_day(few, date(2024, 3, 13))
    assert "it has 2024-03-11, 2024-03-12, 2024-03-14." in refusal(few, date(2024, 3, 13))
    many = days_folder(tmp_path / "many", lean, list(range(11, 29)))
    with pytest.raises(ConfigError, match=r"it has 18 days from 2024-03-11 to 2024-03-28\.$"):
        require_day(many, date(2024, 4, 1))


def test_days_are_those_of_new_york_in_any_way_to_write_times(tmp_path: Path) -> None:
    write(tmp_path, "trades.csv", TRADES, "ABC,2024-03-13T00:30:00Z,10,100")  # still the evening of the 12th
    require_day(tmp_path, DAY)
    with pytest.raises(ConfigError, match=r"it has 2024-03-12\.$"):
        require_day(tmp_path, date(2024, 3, 13))


def test_a_file_whose_times_cannot_be_read_is_left_to_the_reading_that_names_the_line(tmp_path: Path) -> None:
    write(tmp_path, "trades.csv", TRADES, "ABC,noon,10,100")
    require_day(tmp_path, DAY)
    assert "line 2, column at: `noon` is not a time" in refusal(tmp_path)


@pytest.mark.parametrize("lean", [False, True], ids=["files", "lean"])
def test_a_day_on_which_the_exchange_was_shut_is_played_only_if_that_is_asked_for(tmp_path: Path, lean: bool) -> None:
    sunday = date(2024, 3, 17)
    folder = days_folder(tmp_path, lean, [15, 17])
    with pytest.raises(ConfigError, match="exchange is closed on 2024-03-17"):
        tape_from("recorded", day=sunday, folder=folder)
    tape = tape_from("recorded", day=sunday, folder=folder, bypass=True)
    midnight = OPENS + 5 * 1440 * MINUTE - (9 * 60 + 30) * MINUTE
    assert (tape.opens_at, tape.closes_at) == (midnight, midnight + (23 * 60 + 50) * MINUTE)
    [trade] = [e for e in tape.events(tape.opens_at, tape.closes_at) if isinstance(e, TradeTick)]
    assert trade.at == midnight + (9 * 60 + 30) * MINUTE
    assert len(tape.daily_bars("ABC", date(2024, 3, 1), sunday)) == 1, "Friday"
