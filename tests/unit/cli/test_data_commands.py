"""`liu data`: a folder goes in, is listed, checked and written out again, and what is wrong is named."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from liualgotrader.cli import liu
from liualgotrader.common.clock import DAY, HOUR, MINUTE, NEVER, NEW_YORK, SECOND, instant
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns, QuoteColumns, TradeColumns
from liualgotrader.data.market_store import MarketStore
from liualgotrader.tapes.splits import Dividend, Split
from tests.fakes.lean import MS_0930, LeanFolder
from tests.fakes.real_data import real_data

OPENS = 1_381_152_600 * SECOND  # 2013-10-07 09:30 New York


def data(home: Path, *words: str) -> int:
    return liu.run(["data", *words, "--home", str(home)])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def lean(tmp_path: Path) -> Path:
    folder = LeanFolder(tmp_path / "lean")
    minute = [f"{MS_0930},100000,104000,98000,102000,300", f"{MS_0930 + 60_000},102000,102000,102000,102000,7"]
    for symbol in ("abc", "brk.b"):
        folder.intraday("minute", symbol, "20131004", "trade", minute)
        folder.intraday("minute", symbol, "20131007", "trade", minute)
    folder.intraday("second", "abc", "20131007", "trade", minute[:1])
    folder.intraday("tick", "abc", "20131007", "trade", [f"{MS_0930},100000,100,P,1,0"])
    folder.intraday("tick", "abc", "20131007", "quote", [f"{MS_0930},99900,100,100100,200,P,1,0"])
    folder.daily(
        "abc", ["20131003 00:00,1400000,1400000,1400000,1400000,1", "20131004 00:00,100000,104000,98000,102000,307"]
    )
    factors = folder.root / "factor_files/abc.csv"
    factors.parent.mkdir()
    factors.write_text("20130701,0.99,0.0714286,50\n20131003,1,0.0714286,140\n20501231,1,1,0\n")
    return folder.root


def test_a_folder_goes_in_and_is_listed_with_its_source(
    lean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data(tmp_path, "import", str(lean)) == 0
    counts = {"tick": (2, 1), "second": (1, 1), "minute": (8, 2), "day": (5, 2)}
    assert lines(capsys) == [f"{name}: {rows} rows, symbols: {symbols}" for name, (rows, symbols) in counts.items()]
    assert data(tmp_path, "list", "--json") == 0
    rows = [json.loads(line) for line in lines(capsys)]
    assert [(row["symbol"], row["data"], row["rows"], row["first"], row["last"]) for row in rows] == [
        ("ABC", "day", 3, "2013-10-03", "2013-10-07"),
        ("ABC", "minute", 4, "2013-10-04", "2013-10-07"),
        ("ABC", "quotes", 1, "2013-10-07", "2013-10-07"),
        ("ABC", "second", 1, "2013-10-07", "2013-10-07"),
        ("ABC", "trades", 1, "2013-10-07", "2013-10-07"),
        ("BRK.B", "day", 2, "2013-10-04", "2013-10-07"),
        ("BRK.B", "minute", 4, "2013-10-04", "2013-10-07"),
    ]
    assert {(row["spans"], row["sources"]) for row in rows} == {(1, f"folder {lean}")}
    store = MarketStore(tmp_path / "market")
    assert store.actions("ABC") == ([Split(date(2013, 10, 4), 14.0)], [Dividend(date(2013, 7, 2), 0.5, 50.0)])
    assert store.missing("ABC", "bars", MINUTE, OPENS - 3 * DAY, OPENS) == []  # the weekend is complete too


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_written_out_is_read_back_the_same(lean: Path, tmp_path: Path, form: str) -> None:
    data(tmp_path / "one", "import", str(lean))
    assert data(tmp_path / "one", "export", str(tmp_path / "files"), "--format", form) == 0
    data(tmp_path / "two", "import", str(tmp_path / "files"))
    one, two = (MarketStore(tmp_path / home / "market") for home in ("one", "two"))
    names = [str(path.relative_to(one.folder)) for path in one.files()]
    assert [str(path.relative_to(two.folder)) for path in two.files()] == names
    assert len(names) == 7
    for name in names:
        first, second = one.open(one.folder / name).columns, two.open(two.folder / name).columns
        assert all(np.array_equal(getattr(first, n), getattr(second, n)) for n in first.__slots__), name
    assert one.actions("ABC") == two.actions("ABC")


def test_symbols_days_and_period_choose_what_goes_in(lean: Path, tmp_path: Path) -> None:
    options = ("--symbols", "brk.b", "--period", "minute", "--from", "2013-10-05", "--to", "2013-10-07")
    assert data(tmp_path, "import", str(lean), *options) == 0
    store = MarketStore(tmp_path / "market")
    assert [path.name for path in store.files()] == ["BRK.B.arrow"]
    assert store.read("BRK.B", MINUTE, 0, NEVER).opened_at.tolist() == [OPENS, OPENS + MINUTE]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("import", "nowhere"), "The data folder nowhere does not exist"),
        (("import", "LEAN", "--symbols", "QQQ"), "holds nothing for QQQ; it has ABC, BRK.B"),
        (("import", "LEAN", "--from", "2020-01-02"), "has nothing between 2020-01-02 and 2050-12-31; nothing was imported"),
        (("import", "LEAN", "--from", "2020-01-02", "--to", "2019-01-02"), "--from 2020-01-02 lies after --to 2019-01-02"),
        (("fetch", ",", "--from", "2024-03-04", "--to", "2024-03-08"), "name the symbols to fetch"),
        (("list", "--symbols", "QQQ"), "holds nothing of QQQ; `liu data list` shows what it holds"),
        (("export", "LEAN"), "is there already and not empty; name a new folder"),
        (("export", "new"), "the store has nothing of that between"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(lean: Path, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        data(tmp_path, *(str(lean) if word == "LEAN" else word for word in words))
    assert not list(MarketStore(tmp_path / "market").files())


def test_a_folder_with_an_impossible_bar_keeps_what_was_stored(lean: Path, tmp_path: Path) -> None:
    data(tmp_path, "import", str(lean), "--period", "minute")
    LeanFolder(lean).intraday("minute", "abc", "20131004", "trade", [f"{MS_0930},100000,104000,98000,105000,300"])
    with pytest.raises(ConfigError, match=r"20131004_trade\.zip, line 1: its open 10 or its close 10\.5 lies outside"):
        data(tmp_path, "import", str(lean), "--period", "minute")
    assert len(MarketStore(tmp_path / "market").read("ABC", MINUTE, 0, NEVER).open) == 4


def made(opens: list[float], at: list[int] | None = None, **columns: list[float]) -> BarColumns:
    """Bars of whole sessions of October 2013, from the 7th, or minutes."""
    price = np.array(opens)
    times = np.array(
        at or [instant(datetime(2013, 10, 7 + i, 9, 30, tzinfo=NEW_YORK)) for i in range(len(opens))], np.int64
    )
    figures = {name: np.array(columns.get(name, opens), np.float64) for name in ("high", "low", "close")}
    return BarColumns("ABC", times, times + MINUTE, price, **figures, volume=price, average=price, count=price)


def rows(count: int) -> np.ndarray:
    return OPENS + np.arange(count, dtype=np.int64)


ONES, NONE = np.ones(2), np.zeros(2, np.int64)
WRONG = [
    (DAY, made([10, 10, 10], high=[10, 9, 9], low=[10, 10, 10]), "its high lies below its low"),
    (DAY, made([10, 10, 10], close=[10, 11, 10]), "2013-10-08 09:30:00-04:00: its close lies outside low and high"),
    (DAY, made([10, 0, 10]), "2013-10-08 09:30:00-04:00: a price that is not above zero"),
    (DAY, made([10, float("nan"), 10]), "a price that is not above zero"),
    (DAY, made([70, 10.1, 10]), r"2013-10-08 .*: opens at 10\.1 after 70, as over a 7:1 split that is not known"),
    (DAY, made([10, 10.1, 10, 10]), "2013-10-10 .*: opens at 10 after 10, although it was split 7:1 on 2013-10-10"),
    (MINUTE, made([9] * 340, [OPENS + (i + 40 * (i > 200)) * MINUTE for i in range(340)]), "2013-10-07 12:51.* no bar for 40 minutes"),
    (HOUR, made([9, 9], [OPENS - OPENS % HOUR, OPENS - OPENS % HOUR + 3 * DAY]), "2013-10-08 .*: no bar of the session of 2013-10-08, 2013-10-09"),
    (0, QuoteColumns(rows(2), ONES * 2, ONES, ONES, ONES, NONE), r"09:30:00-04:00: crossed: its bid lies above its ask \(2 in all\)"),
    (0, TradeColumns(rows(2), ONES * 0, ONES, NONE), "a price that is not above zero"),
]  # fmt: skip


@pytest.mark.parametrize(("period", "columns", "says"), WRONG, ids=[one[2][-40:] for one in WRONG])
def test_what_is_wrong_is_named_with_file_symbol_and_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], period: int, columns: BarColumns, says: str
) -> None:
    store = MarketStore(tmp_path / "market")
    store.write("ABC", period, columns, [(OPENS - HOUR, OPENS + 5 * DAY)], "test")
    store.write_actions("ABC", [Split(date(2013, 10, 10), 7.0)], [], [(0, NEVER)], "test")
    assert data(tmp_path, "check", "--symbols", "abc") == 3
    found = [line for line in lines(capsys) if "findings" not in line]
    assert any(re.search(rf"^{tmp_path}/market/.*\.arrow: ABC at .*{says}", line) for line in found), found


def test_damage_and_rows_out_of_order_are_found_and_a_good_store_has_nothing_wrong(
    lean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data(tmp_path, "import", str(lean), "--symbols", "brk.b")
    lines(capsys)
    assert data(tmp_path, "check") == 0
    assert lines(capsys) == ["nothing wrong in 2 files"]
    day, minute = sorted(MarketStore(tmp_path / "market").files())
    day.write_bytes(day.read_bytes()[:-40])
    content = minute.read_bytes()
    first, second = (np.int64(at).tobytes() for at in (OPENS, OPENS + MINUTE))
    minute.write_bytes(content.replace(second, b"second!!", 1).replace(first, second, 1).replace(b"second!!", first, 1))
    assert data(tmp_path, "check", "--json") == 3
    found = {(row["file"].rsplit("/", 2)[1], row["what"]) for row in map(json.loads, lines(capsys))}
    assert any(kind == "day" and "is damaged" in what for kind, what in found)
    assert {what for kind, what in found if kind == "minute"} == {
        "the file was changed after it was written: load it again",
        "its time lies before that of the row before",
    }
    assert data(tmp_path, "list") == 3  # and shows the rest
    assert len(lines(capsys)) == 2


@pytest.mark.realdata
def test_recorded_data_is_imported_whole_and_its_odd_print_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data's own list counts the rows, and names the pre-split print of AAPL at 04:00 on 2014-06-09."""
    folder = str(real_data("lean"))
    assert data(tmp_path, "import", folder, "--symbols", "aapl", "--period", "minute") == 0
    assert data(tmp_path, "import", folder, "--symbols", "ibm", "--period", "tick", "--to", "2013-10-07") == 0
    assert lines(capsys) == [
        "minute: 2,303 rows, symbols: 1",
        "tick: 133,359 rows, symbols: 1",
    ]  # one row is suspicious
    assert data(tmp_path, "check", "--symbols", "AAPL") == 3
    assert "AAPL at 2014-06-09 04:00:00-04:00: opens at 645.57" in lines(capsys)[0]
    quotes = MarketStore(tmp_path / "market").quotes("IBM", 0, NEVER)
    assert int(((quotes.bid > quotes.ask) & (quotes.ask > 0)).sum()) == 89  # counted from the file with awk
