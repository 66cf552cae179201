"""Bars of whole folders as columns, from both layouts and in every period."""

from __future__ import annotations

import csv
import zipfile
from datetime import date, time
from pathlib import Path

import numpy as np
import pytest

from liualgotrader.cli import liu
from liualgotrader.common.calendar import new_york, session_of
from liualgotrader.common.clock import DAY, HOUR, MINUTE, NEVER, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.data.market_store import MarketStore
from liualgotrader.tapes.splits import Dividend, Split, adjusted
from liualgotrader.tapes.tape_factory import folder_bars, folder_dividends, folder_splits
from tests.fakes.lean import MS_0930, LeanFolder
from tests.fakes.real_data import real_data

FRIDAY, MONDAY = date(2013, 10, 4), date(2013, 10, 7)
OPENS = 1_381_152_600 * SECOND  # 2013-10-07 09:30 New York, by the calendar of a bank
SEVEN_HOURS = 390 * MINUTE


def rows_of(bars: BarColumns) -> list[tuple[float, ...]]:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.average, bars.count)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def write(folder: Path, name: str, *lines: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")


BARS = "symbol,opened_at,open,high,low,close,volume,vwap,count"


@pytest.mark.parametrize(("resolution", "period"), [("second", SECOND), ("minute", MINUTE)])
def test_lean_bars_of_many_days_are_raw_dollars_by_time(tmp_path: Path, resolution: str, period: int) -> None:
    folder = LeanFolder(tmp_path)
    folder.intraday(resolution, "brk.b", "20131007", "trade", [f"{MS_0930},100000,104000,98000,102000,300"])
    folder.intraday(resolution, "brk.b", "20131004", "trade", [f"{MS_0930},90000,90000,90000,90000,100"])
    folder.intraday(resolution, "brk.b", "20131006", "trade", [f"{MS_0930},1,1,1,1,1"])  # a Sunday
    found = folder_bars(tmp_path, period, 0, NEVER, None)
    assert list(found) == ["BRK.B"]
    bars = found["BRK.B"]
    assert bars.opened_at.tolist() == [new_york(FRIDAY, time(9, 30)), OPENS]
    assert (bars.closed_at - bars.opened_at).tolist() == [period, period]
    assert rows_of(bars) == [(9.0, 9.0, 9.0, 9.0, 100.0, 9.0, 0.0), (10.0, 10.4, 9.8, 10.2, 300.0, 10.1, 0.0)]
    assert rows_of(folder_bars(tmp_path, period, OPENS, OPENS + 1, ["brk.b"])["BRK.B"]) == rows_of(bars)[1:]


def test_hours_and_days_of_lean_begin_where_they_say_and_a_day_spans_its_session(tmp_path: Path) -> None:
    folder = LeanFolder(tmp_path)
    folder.daily("abc", ["20131004 00:00,90000,99000,89000,98500,7000"])
    (tmp_path / "hour").mkdir()
    (tmp_path / "daily/abc.zip").rename(tmp_path / "hour/abc.zip")
    folder.daily(
        "abc", ["20131007 00:00,1,1,1,1,1", "20131004 00:00,90000,99000,89000,98500,7000", "20131005 00:00,1,1,1,1,1"]
    )
    folder.intraday(
        "minute", "abc", "20131003", "trade", [f"{MS_0930 - 60_000},1,1,1,1,9", f"{MS_0930},80000,80000,80000,80000,40"]
    )
    [hour] = folder_bars(tmp_path, HOUR, 0, NEVER, None)["ABC"].opened_at.tolist()
    assert hour == new_york(FRIDAY, time(0))
    days = folder_bars(tmp_path, DAY, 0, OPENS, ["ABC"])["ABC"]
    friday = session_of(FRIDAY)
    assert friday is not None
    assert (days.opened_at[-1], days.closed_at[-1]) == (friday.opens_at, friday.closes_at)
    assert rows_of(days) == [(8.0, 8.0, 8.0, 8.0, 40.0, 8.0, 0.0), (9.0, 9.9, 8.9, 9.85, 7000.0, 9.4125, 0.0)]


def test_plain_files_hold_bars_of_every_period(tmp_path: Path) -> None:
    row = "10,12,9,11,100"
    for kind, period in (("seconds", SECOND), ("bars", MINUTE), ("hours", HOUR)):
        opened = OPENS - OPENS % period
        write(
            tmp_path,
            f"{kind}/BTC_USD.csv",
            BARS.removeprefix("symbol,"),
            f"{opened},{row},,",
            f"{opened + period},{row},10.4,7",
        )
        bars = folder_bars(tmp_path, period, 0, NEVER, None)["BTC/USD"]
        assert bars.closed_at.tolist() == [opened + period, opened + 2 * period]
        assert rows_of(bars) == [(10, 12, 9, 11, 100, 10.5, 0), (10, 12, 9, 11, 100, 10.4, 7)]
    write(tmp_path, "daily.csv", "symbol,day,open,high,low,close,volume", f"ABC,2013-10-04,{row}")
    day = folder_bars(tmp_path, DAY, 0, NEVER, ["ABC"])["ABC"]
    assert (day.closed_at - day.opened_at).tolist() == [SEVEN_HOURS]


def test_minutes_are_folded_from_trades_and_days_summed_from_minutes_where_nobody_wrote_them(tmp_path: Path) -> None:
    second = OPENS + 70 * SECOND
    write(
        tmp_path,
        "trades.csv",
        "symbol,at,price,size",
        f"ABC,{OPENS},10,100",
        f"ABC,{second},10.5,300",
        f"ABC,{OPENS - MINUTE},9,5",
    )
    minutes = folder_bars(tmp_path, MINUTE, 0, NEVER, None)["ABC"]
    assert minutes.close.tolist() == [9.0, 10.0, 10.5]
    assert rows_of(folder_bars(tmp_path, DAY, 0, NEVER, None)["ABC"]) == [(10, 10.5, 10, 10.5, 400, 10.375, 2)]


@pytest.mark.parametrize(
    ("name", "lines", "says"),
    [
        ("bars.csv", [BARS, f"ABC,{OPENS},10,11,9,12,1,,"], r"bars\.csv, line 2: its open 10 or its close 12 lies outside"),
        ("seconds.csv", [BARS, f"ABC,{OPENS + 1},10,11,9,10,1,,"], "line 2, column opened_at: .* is not the beginning of a second"),
        ("hours.csv", [BARS, f"ABC,{OPENS},10,11,9,10,1,,"], "line 2, column opened_at: .* is not the beginning of an hour"),
        ("daily.csv", ["symbol,day,open,high,low,close,volume", "ABC,2013-10-05,9,9,9,9,1"], "line 2: .* on which the exchange was shut"),
    ],
)  # fmt: skip
def test_an_impossible_bar_of_a_folder_is_named_with_file_and_line(
    tmp_path: Path, name: str, lines: list[str], says: str
) -> None:
    write(tmp_path, name, *lines)
    period = {"bars.csv": MINUTE, "seconds.csv": SECOND, "hours.csv": HOUR, "daily.csv": DAY}[name]
    with pytest.raises(ConfigError, match=says):
        folder_bars(tmp_path, period, 0, NEVER, None)


def test_a_symbol_that_the_folder_lacks_is_named_with_those_that_it_has(tmp_path: Path) -> None:
    write(tmp_path, "bars.csv", BARS, f"ABC,{OPENS},10,11,9,10,1,,")
    with pytest.raises(ConfigError, match=r"holds nothing for QQQ; it has ABC\."):
        folder_bars(tmp_path, MINUTE, 0, NEVER, ["qqq"])


def test_splits_and_dividends_come_from_factor_files_and_from_plain_files(tmp_path: Path) -> None:
    """AAPL went 7:1 on 2014-06-09 and paid $0.47 on 2014-08-07 after a close of $94.97 (press releases of Apple)."""
    rows = ["20140606,0.9907549,0.1428572,645.57", "20140806,0.9907549,1,94.97", "20141105,0.9956825,1,108.86"]
    write(tmp_path / "lean", "factor_files/aapl.csv", *rows)
    LeanFolder(tmp_path / "lean").daily("aapl", ["20140606 00:00,1,1,1,1,1"])
    assert folder_splits(tmp_path / "lean", "AAPL") == (Split(date(2014, 6, 9), 7.0),)
    [dividend] = folder_dividends(tmp_path / "lean", "AAPL")
    assert (dividend.day, dividend.close) == (date(2014, 8, 7), 94.97)
    assert dividend.amount == pytest.approx(0.47, abs=0.001)
    plain = tmp_path / "plain"
    write(plain, "daily.csv", "symbol,day,open,high,low,close,volume", "AAPL,2014-08-06,95,95,94,94.97,1")
    write(plain, "splits.csv", "symbol,day,ratio", "AAPL,2014-06-09,7")
    write(plain, "dividends.csv", "symbol,day,amount", "AAPL,2014-08-07,0.47")
    assert folder_splits(plain, "AAPL") == (Split(date(2014, 6, 9), 7.0),)
    assert folder_dividends(plain, "AAPL") == (Dividend(date(2014, 8, 7), 0.47, 94.97),)
    write(plain, "dividends.csv", "symbol,day,amount", "AAPL,2014-08-06,0.47")
    with pytest.raises(ConfigError, match=r"dividends\.csv, line 2: no close of AAPL before 2014-08-06"):
        folder_dividends(plain, "AAPL")


def test_history_is_brought_to_the_prices_of_a_day_and_the_rest_stays_as_it_is(tmp_path: Path) -> None:
    opened = [new_york(day, time(9, 30)) for day in (date(2014, 6, 6), date(2014, 6, 9), date(2014, 8, 7))]
    at, price = np.array(opened, np.int64), np.array([700.0, 100.0, 99.0])
    bars = BarColumns(
        "ABC", at, at + MINUTE, price, price, price, price, np.array([10.0, 70.0, 1.0]), price, np.zeros(3)
    )
    split, dividend = Split(date(2014, 6, 9), 7.0), Dividend(date(2014, 8, 7), 1.0, 100.0)
    assert adjusted(bars, [split], date(2014, 6, 8), [dividend]) is bars
    assert adjusted(bars, [split], date(2014, 6, 9)).close.tolist() == [100.0, 100.0, 99.0]
    both = adjusted(bars, [split], date(2014, 8, 7), [dividend])
    assert (both.close.tolist(), both.volume.tolist()) == ([99.0, 99.0, 99.0], [70.0, 70.0, 1.0])


@pytest.mark.realdata
def test_every_recorded_bar_is_read_and_the_split_of_apple_joins_its_days() -> None:
    folder = real_data("lean")
    days = folder_bars(folder, DAY, 0, NEVER, ["AAPL"])["AAPL"]
    assert len(days.opened_at) == 4277  # rows of the file, as the data's own list counts them
    before, after = days.close[days.opened_at < new_york(date(2014, 6, 9), time())][-1], 93.70  # 2014-06-09, Nasdaq
    joined_up = adjusted(days, folder_splits(folder, "AAPL"), date(2014, 12, 31)).close
    assert joined_up[days.close == before][-1] == pytest.approx(after, rel=0.03)
    hours = folder_bars(folder, HOUR, 0, NEVER, ["SPY"])["SPY"]
    assert len(hours.opened_at) == 27_719
    assert np.all(np.diff(hours.opened_at) > 0)


@pytest.mark.realdata
def test_the_dividends_of_a_factor_file_lead_back_to_its_price_factors() -> None:
    """Adjusted = raw x price factor x split factor, as the format says."""
    folder = real_data("lean")
    days = folder_bars(folder, DAY, 0, NEVER, ["IBM"])["IBM"]
    ours = adjusted(days, folder_splits(folder, "IBM"), date(2013, 10, 9), folder_dividends(folder, "IBM")).close
    rows = [line.split(",") for line in (folder / "factor_files/ibm.csv").read_text().split()]
    ends = [new_york(date.fromisoformat(row[0]), time(23)) for row in rows[:-1]]
    factors = np.array([float(row[1]) * float(row[2]) for row in rows])
    assert ours == pytest.approx(days.close * factors[np.searchsorted(ends, days.opened_at)], rel=1e-4)


@pytest.mark.realdata
@pytest.mark.parametrize("symbol", ["AAPL", "MSFT"])
def test_adjusted_closes_agree_with_a_vendor_who_adjusts_for_splits_and_dividends(symbol: str) -> None:
    """Quandl's table has raw and adjusted closes side by side, as of its own day; AAPL split 7:1 in it."""
    with zipfile.ZipFile(real_data("quandl_wiki") / "QUANDL_ARCHIVE.zip") as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    rows = [row for row in csv.DictReader(lines) if row["ticker"] == symbol]
    days = [date.fromisoformat(row["date"]) for row in rows]
    raw, theirs = (np.array([float(row[name]) for row in rows]) for name in ("close", "adj_close"))
    at = np.array([new_york(day, time(9, 30)) for day in days], np.int64)
    bars = BarColumns(symbol, at, at, raw, raw, raw, raw, raw, raw, raw)
    splits = [
        Split(d, float(row["split_ratio"])) for d, row in zip(days, rows, strict=True) if row["split_ratio"] != "1.0"
    ]
    paid = [(i, float(row["ex-dividend"])) for i, row in enumerate(rows) if float(row["ex-dividend"])]
    ours = adjusted(bars, splits, days[-1], [Dividend(days[i], cash, float(raw[i - 1])) for i, cash in paid]).close
    assert len(paid) == 4
    assert ours / ours[-1] == pytest.approx(theirs / theirs[-1], rel=2e-4)


# --- names that changed ---------------------------------------------------------------------------------


@pytest.mark.parity(46)
@pytest.mark.realdata
def test_a_symbol_that_was_called_otherwise_for_three_years_has_one_history() -> None:
    """SunPower was SPWR to 2008-09-29, SPWRA to 2011-11-16, and SPWR again; figures are those of the files."""
    folder = real_data("lean")
    bars = folder_bars(folder, HOUR, 0, NEVER, ["SPWR"])["SPWR"]
    assert len(bars.opened_at) == 1489 + 1108 + 211
    assert np.all(np.diff(bars.opened_at) > 0)
    changed = int(np.searchsorted(bars.opened_at, new_york(date(2008, 9, 30), time())))
    assert (bars.close[changed - 1], bars.close[changed]) == (67.30, 66.89)
    again = int(np.searchsorted(bars.opened_at, new_york(date(2011, 11, 17), time())))
    assert (bars.close[again - 1], bars.open[again]) == (26.36, 8.60)
    assert len(folder_bars(folder, HOUR, 0, NEVER, ["SPWRA"])["SPWRA"].opened_at) == 1108


@pytest.mark.parity(46)
def test_history_splits_and_dividends_go_on_under_a_new_name(tmp_path: Path) -> None:
    write(tmp_path, "renames.csv", "symbol,day,before", "META,2022-06-09,FB", "FB,2022-06-07,TFB")
    write(
        tmp_path,
        "daily.csv",
        "symbol,day,open,high,low,close,volume",
        "TFB,2022-06-06,10,12,9,11,100",
        "FB,2022-06-07,11,13,10,12,100",
        "FB,2022-06-08,12,14,11,13,100",
        "FB,2022-06-09,500,500,500,500,1",  # another company's, which took the name over
        "META,2022-06-09,13,15,12,14,100",
    )
    write(tmp_path, "splits.csv", "symbol,day,ratio", "FB,2022-06-08,2", "FB,2022-06-10,3", "META,2022-06-09,4")
    write(tmp_path, "dividends.csv", "symbol,day,amount", "FB,2022-06-08,1")
    assert folder_bars(tmp_path, DAY, 0, NEVER, ["META"])["META"].close.tolist() == [11, 12, 13, 14]
    assert folder_bars(tmp_path, DAY, 0, NEVER, ["FB"])["FB"].close.tolist() == [11, 12, 13, 500]
    assert folder_splits(tmp_path, "META") == (Split(date(2022, 6, 8), 2.0), Split(date(2022, 6, 9), 4.0))
    assert folder_dividends(tmp_path, "META") == (Dividend(date(2022, 6, 8), 1.0, 12.0),)
    assert liu.run(["data", "import", str(tmp_path), "--home", str(tmp_path / "home"), "--symbols", "META"]) == 0
    store = MarketStore(tmp_path / "home" / "market")
    assert store.read("META", DAY, 0, NEVER).close.tolist() == [11, 12, 13, 14]
    assert [split.ratio for split in store.actions("META")[0]] == [2.0, 4.0]


def test_two_names_before_one_day_and_a_map_file_that_is_none_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "renames.csv", "symbol,day,before", "META,2022-06-09,FB", "META,2022-06-09,X")
    write(tmp_path, "daily.csv", "symbol,day,open,high,low,close,volume", "META,2022-06-09,13,15,12,14,100")
    with pytest.raises(ConfigError, match="a second name before one day of META"):
        folder_bars(tmp_path, DAY, 0, NEVER, ["META"])
    lean = tmp_path / "lean"
    LeanFolder(lean).daily("abc", ["20131004 00:00,90000,99000,89000,98500,7000"])
    write(lean, "map_files/abc.csv", "20131004,abc,Q", "soon,abd,Q")
    with pytest.raises(ConfigError, match=r"abc\.csv, line 2: a row is a day as YYYYMMDD"):
        folder_bars(lean, DAY, 0, NEVER, ["ABC"])
