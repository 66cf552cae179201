from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from liualgotrader.common.calendar import session_of
from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import (
    Bar,
    BarSource,
    Correction,
    Counts,
    Quote,
    QuoteMark,
    Status,
    TradeTick,
)
from liualgotrader.tapes.columns import TapeEvent
from liualgotrader.tapes.files_tape import FilesTape
from liualgotrader.tapes.generated import GeneratedTape
from liualgotrader.tapes.plain_files import holds_files
from tests.examples import examples
from tests.fakes.tape_files import write_tape

DAY = date(2024, 3, 12)
OPENS = 1_710_250_200 * SECOND  # 2024-03-12 09:30 New York is 13:30 UTC
ALL = int(Counts.ALL)


def rows_of(tape: FilesTape) -> list[TapeEvent]:
    return list(tape.events(0, 2**62))


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return folder


cents = st.integers(100, 90_000).map(lambda c: c / 100)
sizes = st.floats(0.001, 1e6, allow_nan=False)
names = st.sampled_from(["ABC", "XYZ", "BRK.B"])
within = st.integers(OPENS - 3600 * SECOND, OPENS + 23_400 * SECOND)
one_event = st.one_of(
    st.builds(TradeTick, names, within, cents, sizes, st.integers(0, 7)),
    st.builds(lambda s, at, a, b: Quote(s, at, min(a, b), 100.0, max(a, b), 200.5), names, within, cents, cents),
    st.builds(Status, names, within, st.booleans(), st.sampled_from(["", "H", "T"]), st.sampled_from(["", "T1, T2"])),
)
RANK: dict[type, int] = {Status: 0, Quote: 1, TradeTick: 2}


@pytest.mark.parametrize("format", ["csv", "parquet"])
@examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(one_event, min_size=1, max_size=40))
def test_what_is_written_is_read_back_equal_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, format: str, events: list[TapeEvent]
) -> None:
    folder = tmp_path_factory.mktemp("tape")
    quoted = {e.symbol for e in events if isinstance(e, Quote)}
    kept = [e for e in events if e.symbol in quoted]  # without quotes the tape would make some up
    if not any(isinstance(e, TradeTick) for e in kept):
        return
    write_tape(folder, kept, format=format)
    assert rows_of(FilesTape(folder, DAY)) == sorted(kept, key=lambda e: (e.at, e.symbol, RANK[type(e)]))


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_generated_day_can_be_kept_and_played_again(tmp_path: Path, format: str) -> None:
    tape = GeneratedTape(DAY, 3, 4, 8_000)
    minutes = [b for s in tape.symbols() for b in tape.minute_bars(s, 0, 2**62)]
    days = [b for s in tape.symbols() for b in tape.daily_bars(s, date(2024, 1, 2), DAY)]
    write_tape(
        tmp_path,
        tape.events(0, 2**62),
        format=format,
        minute_bars=minutes,
        daily_bars=days,
        assets=tape.assets(),
    )
    again = FilesTape(tmp_path, DAY)
    assert rows_of(again) == list(tape.events(0, 2**62))
    assert again.assets() == tape.assets()
    assert again.notes() == []
    for symbol in tape.symbols():
        assert again.minute_bars(symbol, 0, 2**62) == tape.minute_bars(symbol, 0, 2**62)
        assert again.daily_bars(symbol, date(2024, 1, 2), DAY) == tape.daily_bars(symbol, date(2024, 1, 2), DAY)


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-12T13:30:00.000000123Z",
        "2024-03-12 13:30:00.000000123+00:00",
        "2024-03-12T09:30:00.000000123-04:00",
        str(OPENS + 123),
    ],
)
def test_a_time_may_be_iso_with_any_offset_or_ns(tmp_path: Path, text: str) -> None:
    write(tmp_path, "trades.csv", "symbol,at,price,size", f"abc,{text},10.25,100")
    assert rows_of(FilesTape(tmp_path, DAY))[0] == TradeTick("ABC", OPENS + 123, 10.25, 100.0, ALL)


def test_rows_need_not_be_sorted_and_equal_times_keep_the_order_of_the_file(tmp_path: Path) -> None:
    lines = [f"ABC,{OPENS + t},{p},100" for t, p in ((5, 10), (1, 11), (5, 12), (1, 13))]
    write(tmp_path, "trades.csv", "symbol,at,price,size", *lines)
    assert [e.price for e in rows_of(FilesTape(tmp_path, DAY)) if isinstance(e, TradeTick)] == [11, 13, 10, 12]


def test_one_file_per_symbol_needs_no_symbol_column(tmp_path: Path) -> None:
    write(tmp_path, "trades/abc.csv", "at,price,size", f"{OPENS},10,100")
    write(tmp_path, "trades/xyz.csv", "price,at,size,venue", f"20,{OPENS},100,Q")
    found = [(e.symbol, e.price) for e in rows_of(FilesTape(tmp_path, DAY)) if isinstance(e, TradeTick)]
    assert found == [("ABC", 10.0), ("XYZ", 20.0)]


def test_without_quotes_they_are_made_from_trades_and_the_notes_say_so(tmp_path: Path) -> None:
    write(tmp_path, "trades.csv", "symbol,at,price,size", f"ABC,{OPENS},10,300")
    tape = FilesTape(tmp_path, DAY)
    assert rows_of(tape)[1] == Quote("ABC", OPENS, 9.995, 300.0, 10.005, 300.0, int(QuoteMark.SYNTHETIC))
    assert "ABC: the files hold no quotes" in tape.notes()[0]


def test_a_symbol_without_trades_is_played_from_its_minute_bars(tmp_path: Path) -> None:
    write(
        tmp_path,
        "bars.csv",
        "symbol,opened_at,open,high,low,close,volume",
        f"ABC,{OPENS},10,12,9,11,400",
        f"ABC,{OPENS - 1440 * MINUTE},5,5,5,5,100",
    )
    tape = FilesTape(tmp_path, DAY)
    assert [e.price for e in rows_of(tape) if isinstance(e, TradeTick)] == [10, 9, 12, 11]
    assert any("made from minute bars" in n for n in tape.notes())
    yesterday = OPENS - 1440 * MINUTE
    [bar] = tape.minute_bars("ABC", 0, 2**62)
    assert bar == Bar("ABC", yesterday, yesterday + MINUTE, 5, 5, 5, 5, 100, 5, 0, int(BarSource.HISTORY))
    [day] = tape.daily_bars("ABC", date(2024, 3, 1), DAY)
    assert (day.close, day.volume, day.opened_at) == (5.0, 100.0, yesterday)


def test_days_without_bars_are_folded_from_their_trades(tmp_path: Path) -> None:
    """The previous close falls back on the newest earlier day of which anything is known: minutes, else prints."""
    yesterday, before = (
        OPENS - 1440 * MINUTE,
        OPENS - 4 * 1440 * MINUTE,
    )  # Tuesday, and Friday over the change of clocks
    write(
        tmp_path,
        "trades.csv",
        "symbol,at,price,size",
        f"ABC,{yesterday + MINUTE},10,100",
        f"ABC,{yesterday + MINUTE + 5},12,300",
        f"ABC,{yesterday + 3 * MINUTE},11,100",
        f"ABC,{before + 61 * MINUTE},99,100",
        f"ABC,{OPENS},13,300",
    )
    write(
        tmp_path, "bars.csv", "symbol,opened_at,open,high,low,close,volume", f"ABC,{before + 61 * MINUTE},5,6,4,5,100"
    )
    tape = FilesTape(tmp_path, DAY)
    first, second = tape.minute_bars("ABC", yesterday, 2**62)
    assert (first.open, first.high, first.close, first.volume, first.vwap) == (10, 12, 12, 400, 11.5)
    assert (second.opened_at, second.close) == (yesterday + 3 * MINUTE, 11)
    days = tape.daily_bars("ABC", date(2024, 3, 1), DAY)
    assert [(d.open, d.high, d.low, d.close, d.volume) for d in days] == [(5, 6, 4, 5, 100), (10, 12, 10, 11, 500)]


def test_the_history_of_a_file_is_what_lies_before_the_day(tmp_path: Path) -> None:
    write(tmp_path, "trades.csv", "symbol,at,price,size", f"ABC,{OPENS},10,300")
    write(
        tmp_path,
        "daily.csv",
        "symbol,day,open,high,low,close,volume,vwap,count",
        "ABC,2024-03-12,9,9,9,9,9,9,9",
        "ABC,2024-03-11,8,9,7,8.5,1000,8.25,12",
        "ABC,2024-03-08,7,8,6,7.5,1000,,",
    )
    tape = FilesTape(tmp_path, DAY)
    friday, monday = tape.daily_bars("ABC", date(2024, 1, 1), DAY)
    session = session_of(date(2024, 3, 11))
    assert session is not None
    source = int(BarSource.HISTORY)
    assert monday == Bar("ABC", session.opens_at, session.closes_at, 8, 9, 7, 8.5, 1000, 8.25, 12, source)
    assert (friday.vwap, friday.count) == (7.125, 0)  # unknown: the mean of the prices


def test_only_the_day_that_is_asked_for_is_played(tmp_path: Path) -> None:
    lines = [f"ABC,{OPENS + d * 1440 * MINUTE},1{d + 1},100" for d in (-1, 0, 1)]
    write(tmp_path, "trades.csv", "symbol,at,price,size", *lines, f"XYZ,{OPENS + 1440 * MINUTE},9,100")
    tape = FilesTape(tmp_path, DAY)
    assert tape.symbols() == ("ABC",)
    assert [e.price for e in rows_of(tape) if isinstance(e, TradeTick)] == [11.0]


def test_parquet_times_may_be_timestamps_with_a_zone(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    at = datetime(2024, 3, 12, 9, 30, tzinfo=timezone(timedelta(hours=-4)))
    table = {"symbol": ["ABC"], "price": [10.0], "size": [100]}
    parquet.write_table(
        pa.table({**table, "at": pa.array([at], pa.timestamp("us", "America/New_York"))}), tmp_path / "trades.parquet"
    )
    assert rows_of(FilesTape(tmp_path, DAY))[0].at == OPENS
    naive = pa.array([at.astimezone(UTC).replace(tzinfo=None)], pa.timestamp("us"))
    parquet.write_table(pa.table({**table, "at": naive}), tmp_path / "trades.parquet")
    with pytest.raises(ConfigError, match=r"trades\.parquet, column at: its times have no time zone"):
        FilesTape(tmp_path, DAY)


HEADER = "symbol,at,price,size"
GOOD = f"ABC,{OPENS},10,100"
BROKEN = [
    ("trades.csv", [HEADER, GOOD, f"ABC,{OPENS},ten,100"], "line 3, column price: `ten` is not a price above 0"),
    ("trades.csv", [HEADER, GOOD, f"ABC,{OPENS},,100"], "line 3, column price: nothing is not a price above 0"),
    ("trades.csv", [HEADER, GOOD, f"ABC,{OPENS},0,100"], "line 3, column price: `0` is not a price above 0"),
    ("trades.csv", [HEADER, GOOD, f"ABC,{OPENS},nan,100"], "line 3, column price: `nan`"),
    ("trades.csv", [HEADER, GOOD, f"ABC,{OPENS},10,-5"], "line 3, column size: `-5` is not a number from 0"),
    ("trades.csv", [HEADER, GOOD, f" ,{OPENS},10,5"], "line 3, column symbol: ` ` is not a symbol"),
    ("trades.csv", [HEADER, GOOD, "ABC,2024-03-12T09:30:00,10,5"], "line 3, column at: .* with its offset"),
    ("trades.csv", [HEADER, GOOD, f"ABC,{OPENS // 1000},10,5"], "line 3, column at: .* is not a time"),
    ("trades.csv", [HEADER, GOOD, "ABC,2024-13-45T09:30:00Z,10,5"], "line 3, column at: "),
    ("trades.csv", [HEADER, GOOD, f"ABC,{OPENS},10"], "line 3: 3 cells where the header names 4 columns"),
    ("trades.csv", [HEADER.replace("price", "prize"), GOOD], "has no column `price`; it needs symbol, at, price"),
    ("trades.csv", [HEADER + ",price", GOOD + ",11"], "has more than one column `price`; keep one of them"),
    (
        "trades.csv",
        [HEADER, GOOD, "ABC,2024-03-12T09:30:00Z,10,5"],
        "column at: its cells are in different formats",
    ),
    ("trades.csv", [HEADER + ",flags", GOOD + ",9"], "line 2, column flags: `9` is not a whole number from 0 to 7"),
    ("quotes.csv", ["symbol,at,bid,bid_size,ask,ask_size", f"ABC,{OPENS},1,1,-2,1"], "line 2, column ask: `-2`"),
    ("statuses.csv", ["symbol,at,halted", f"ABC,{OPENS},maybe"], "line 2, column halted: `maybe` is not true or false"),
    (
        "bars.csv",
        ["symbol,opened_at,open,high,low,close,volume", f"ABC,{OPENS + 1},1,1,1,1,1"],
        "beginning of a minute",
    ),
    (
        "bars.csv",
        ["symbol,opened_at,open,high,low,close,volume", f"ABC,{OPENS},1,1,2,1,1"],
        "line 2: its open 1 or its close 1 lies outside its low 2 and its high 1",
    ),
    (
        "daily.csv",
        ["symbol,day,open,high,low,close,volume", "ABC,11.3.2024,1,1,1,1,1"],
        "column day: `11.3.2024` is not",
    ),
    (
        "daily.csv",
        ["symbol,day,open,high,low,close,volume", "ABC,2024-03-10,1,1,1,1,1"],
        "line 2: a daily bar of ABC for 2024-03-10, on which",
    ),
    ("trades.parquet", ["this is not Parquet"], "is not a Parquet file"),
]


@pytest.mark.parametrize(("name", "lines", "says"), BROKEN, ids=[b[2][:40] for b in BROKEN])
def test_a_malformed_file_is_one_sentence_with_file_row_and_column(
    tmp_path: Path, name: str, lines: list[str], says: str
) -> None:
    if not name.startswith("trades"):
        write(tmp_path, "trades.csv", HEADER, GOOD)
    write(tmp_path, name, *lines)
    with pytest.raises(ConfigError, match=says) as error:
        FilesTape(tmp_path, DAY)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("column", "cells", "says"),
    [
        ("day", [None], "row 1, column day: nothing is not a day as YYYY-MM-DD"),
        ("day", [20240308], "row 1, column day: `20240308` is not a day as YYYY-MM-DD"),
        ("open", [[1.0]], r"row 1, column open: `\[1.0\]` is not a price above 0"),
    ],
    ids=["nothing", "number", "list"],
)
def test_a_parquet_cell_of_another_kind_is_one_sentence(
    tmp_path: Path, column: str, cells: list[object], says: str
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    write(tmp_path, "trades.csv", HEADER, GOOD)
    prices = {price: [1.0] for price in ("open", "high", "low", "close", "volume")}
    parquet.write_table(
        pa.table({"symbol": ["ABC"], "day": ["2024-03-08"], **prices, column: cells}), tmp_path / "daily.parquet"
    )
    with pytest.raises(ConfigError, match=says):
        FilesTape(tmp_path, DAY)


def test_an_empty_file_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "trades.csv", HEADER)
    with pytest.raises(ConfigError, match="holds no market data; name another folder"):
        FilesTape(tmp_path, DAY)
    (tmp_path / "trades.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a CSV file with a header line"):
        FilesTape(tmp_path, DAY)


def test_the_same_kind_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "trades.csv", HEADER, GOOD)
    write(tmp_path, "trades/abc.csv", HEADER, GOOD)
    with pytest.raises(ConfigError, match="holds trades more than once"):
        FilesTape(tmp_path, DAY)


def test_a_folder_counts_as_a_tape_if_it_has_trades_or_bars(tmp_path: Path) -> None:
    assert not holds_files(tmp_path)
    write(tmp_path, "quotes.csv", "symbol")
    assert not holds_files(tmp_path)
    write(tmp_path, "bars/abc.csv", "x")
    assert holds_files(tmp_path)


def test_what_files_do_not_hold_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no Correction"):
        write_tape(tmp_path, [Correction("ABC", OPENS, 10, 100, 0, 0)])
    with pytest.raises(ValueError, match="not as xml"):
        write_tape(tmp_path, [], format="xml")
