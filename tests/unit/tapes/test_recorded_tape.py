from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from liualgotrader.common.calendar import session_of
from liualgotrader.common.clock import MILLISECOND, MINUTE, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import BarSource, Counts, Quote, QuoteMark, TradeTick
from liualgotrader.tapes.minute_bars import bars_of
from liualgotrader.tapes.recorded import RecordedTape, holds_lean_data
from tests.fakes.lean import MS_0930, LeanFolder
from tests.fakes.real_data import real_data

DAY = date(2013, 10, 7)
OPENS = 1_381_152_600 * SECOND  # 2013-10-07 09:30 New York, by the calendar of a bank
ALL = int(Counts.ALL)
SEVERAL = [f"{MS_0930},100000,100,P,1,0"]


@pytest.fixture
def folder(tmp_path: Path) -> LeanFolder:
    return LeanFolder(tmp_path)


def events(tape: RecordedTape) -> list[TradeTick | Quote]:
    return [e for e in tape.events(0, 2**62) if isinstance(e, TradeTick | Quote)]


def test_a_quote_row_of_one_side_keeps_the_other_side(folder: LeanFolder) -> None:
    folder.intraday("tick", "abc", "20131007", "trade", SEVERAL)
    rows = ["0,0,140200,500,Q,1,0", "138400,700,0,0,P,1,0", "0,0,139500,300,P,1,0", "138500,900,0,0,P,1,0"]
    folder.intraday("tick", "abc", "20131007", "quote", [f"{MS_0930 + i},{r}" for i, r in enumerate(rows)])
    found = [e for e in events(RecordedTape(folder.root, DAY)) if isinstance(e, Quote)]
    ms = MILLISECOND
    assert found == [
        Quote("ABC", OPENS, 0.0, 0.0, 14.02, 500.0),
        Quote("ABC", OPENS + ms, 13.84, 700.0, 14.02, 500.0),
        Quote("ABC", OPENS + 2 * ms, 13.84, 700.0, 13.95, 300.0),
        Quote("ABC", OPENS + 3 * ms, 13.85, 900.0, 13.95, 300.0),
    ]


def test_an_empty_side_of_a_quote_keeps_the_other_side_too(folder: LeanFolder) -> None:
    folder.intraday("tick", "abc", "20131007", "trade", SEVERAL)
    rows = ["138400,700,140200,500,Q,1,0", "138500,800,,,Q,1,0"]
    folder.intraday("tick", "abc", "20131007", "quote", [f"{MS_0930 + i},{r}" for i, r in enumerate(rows)])
    found = [e for e in events(RecordedTape(folder.root, DAY)) if isinstance(e, Quote)]
    assert [(q.bid, q.ask, q.ask_size) for q in found] == [(13.84, 14.02, 500.0), (13.85, 14.02, 500.0)]


def test_suspicious_ticks_are_dropped_and_conditions_become_counts(folder: LeanFolder) -> None:
    rows = ["100000,100,P,1,0", "990000,100,P,1,1", "100100,40,P,80000000,0", "100200,500,D,100000,0"]
    folder.intraday("tick", "abc", "20131007", "trade", [f"{MS_0930},{r}" for r in rows])
    found = [e for e in events(RecordedTape(folder.root, DAY)) if isinstance(e, TradeTick)]
    assert [(t.price, t.size, t.flags) for t in found] == [
        (10.0, 100.0, ALL),
        (10.01, 40.0, int(Counts.VOLUME)),
        (10.02, 500.0, int(Counts.VOLUME)),
    ]


def test_the_largest_print_of_an_auction_is_its_cross(folder: LeanFolder) -> None:
    close = 57_600_000
    rows = [
        f"{MS_0930},100000,300,P,1,0",
        f"{MS_0930 + 500},100100,200,P,40,0",
        f"{MS_0930 + 16_000},100200,90000,N,40,0",
        f"{MS_0930 + 20_000},100300,90001,N,1,0",
        f"{close + 64_000},101000,150000,N,80,0",
        f"{close + 65_000},101100,10,Q,80,0",
    ]
    folder.intraday("tick", "abc", "20131007", "trade", rows)
    folder.intraday("tick", "xyz", "20131007", "trade", SEVERAL)
    tape = RecordedTape(folder.root, DAY)
    marked = [(e.price, e.flags - ALL) for e in events(tape) if isinstance(e, TradeTick) and e.flags > ALL]
    assert marked == [(10.02, int(Counts.OPENING_CROSS)), (10.1, int(Counts.CLOSING_CROSS))]
    assert tape.crosses() == (frozenset({"ABC"}), frozenset({"ABC"}))


def test_an_extended_hours_print_forms_prices_only_outside_regular_trading(folder: LeanFolder) -> None:
    at = [MS_0930 - 1, MS_0930, 57_600_000 - 1, 57_600_000]
    folder.intraday("tick", "abc", "20131007", "trade", [f"{ms},100000,100,P,2000,0" for ms in at])
    found = [e.flags for e in events(RecordedTape(folder.root, DAY)) if isinstance(e, TradeTick)]
    assert found == [ALL, int(Counts.VOLUME), int(Counts.VOLUME), ALL]


@pytest.mark.parametrize(("resolution", "later"), [("second", SECOND), ("minute", MINUTE)])
def test_without_tick_quotes_quote_bars_are_valid_from_their_end(
    folder: LeanFolder, resolution: str, later: int
) -> None:
    folder.intraday("tick", "abc", "20131007", "trade", SEVERAL)
    folder.intraday("minute", "abc", "20131007", "quote", [f"{MS_0930},1,1,1,99900,300,1,1,1,100100,400"])
    if resolution == "second":
        folder.intraday("second", "abc", "20131007", "quote", [f"{MS_0930},1,1,1,99900,300,1,1,1,100100,400"])
    tape = RecordedTape(folder.root, DAY)
    [quote] = [e for e in events(tape) if isinstance(e, Quote)]
    assert quote == Quote("ABC", OPENS + later, 9.99, 300.0, 10.01, 400.0)
    assert tape.notes() == [f"ABC: quotes are the closing quotes of {resolution} bars, valid from the end of each bar."]


def test_without_any_quotes_they_are_made_from_trades_and_the_notes_say_so(folder: LeanFolder) -> None:
    folder.intraday("tick", "abc", "20131007", "trade", SEVERAL)
    tape = RecordedTape(folder.root, DAY)
    trade, quote = events(tape)
    assert isinstance(trade, TradeTick)
    assert quote == Quote("ABC", OPENS, 9.995, 100.0, 10.005, 100.0, int(QuoteMark.SYNTHETIC))
    assert tape.notes() == ["ABC: no quotes were recorded; they are the last trade plus and minus half a tick."]


def test_without_tick_trades_bars_are_played_and_the_notes_say_so(folder: LeanFolder) -> None:
    folder.intraday("minute", "abc", "20131007", "trade", [f"{MS_0930},100000,102000,99000,101000,400"])
    tape = RecordedTape(folder.root, DAY)
    trades = [e for e in events(tape) if isinstance(e, TradeTick)]
    assert [t.price for t in trades] == [10.0, 9.9, 10.2, 10.1]
    assert "ABC: trades are made from minute bars, up to four prints a bar." in tape.notes()


def test_quotes_come_before_trades_of_the_same_millisecond_and_symbols_in_order(folder: LeanFolder) -> None:
    for symbol in ("xyz", "abc"):
        folder.intraday("tick", symbol, "20131007", "trade", SEVERAL)
        folder.intraday("tick", symbol, "20131007", "quote", [f"{MS_0930},99900,100,0,0,P,1,0"])
    found = events(RecordedTape(folder.root, DAY))
    assert [(e.symbol, type(e)) for e in found] == [
        ("ABC", Quote),
        ("ABC", TradeTick),
        ("XYZ", Quote),
        ("XYZ", TradeTick),
    ]


def test_a_symbol_without_data_is_named_together_with_what_exists(folder: LeanFolder) -> None:
    folder.intraday("tick", "abc", "20131007", "trade", SEVERAL)
    with pytest.raises(ConfigError, match=r"holds nothing for QQQ; it has ABC\."):
        RecordedTape(folder.root, DAY, ["abc", "qqq"])


def test_a_day_without_data_or_without_a_session_is_refused(folder: LeanFolder) -> None:
    folder.intraday("tick", "abc", "20131007", "trade", SEVERAL)
    with pytest.raises(ConfigError, match=r"holds no market data for 2013-10-08; it has 2013-10-07\.$"):
        RecordedTape(folder.root, date(2013, 10, 8))
    with pytest.raises(ConfigError, match="exchange is closed on 2013-10-06"):
        RecordedTape(folder.root, date(2013, 10, 6))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([f"{MS_0930},100000,100"], "not a Lean data file"),
        ([f"{MS_0930},1,1,P,zz,0"], "not a hexadecimal number"),
        ([*SEVERAL, f"{MS_0930},,100,P,1,0"], "line 2: its price is not a number"),
        ([",100000,100,P,1,0"], "line 1: its ms is not a number"),
    ],
)
def test_a_broken_file_is_named(folder: LeanFolder, rows: list[str], says: str) -> None:
    folder.intraday("tick", "abc", "20131007", "trade", rows)
    with pytest.raises(ConfigError, match=rf"20131007_trade\.zip.*{says}"):
        events(RecordedTape(folder.root, DAY))


def test_history_is_earlier_minute_files_and_daily_rows_completed_from_minutes(folder: LeanFolder) -> None:
    for day, price in (("20131003", 98000), ("20131004", 99000), ("20131007", 100000), ("20131008", 101000)):
        rows = [f"{MS_0930 - 60_000},1,1,1,1,900", f"{MS_0930},{price},{price},{price},{price},100"]
        folder.intraday("minute", "abc", day, "trade", rows)
    folder.daily("abc", ["20131003 00:00,90000,99000,89000,98500,7000", "20131007 00:00,1,1,1,1,1"])
    tape = RecordedTape(folder.root, DAY)

    minutes = tape.minute_bars("ABC", 0, 2**62)
    assert [(b.close, b.volume) for b in minutes] == [(0.0001, 900.0), (9.8, 100.0), (0.0001, 900.0), (9.9, 100.0)]
    friday = session_of(date(2013, 10, 4))
    assert friday is not None
    assert tape.minute_bars("ABC", friday.opens_at, friday.closes_at) == minutes[3:]
    assert tape.minute_bars("ABC", friday.opens_at + 1, friday.closes_at) == []

    days = tape.daily_bars("ABC", date(2013, 10, 1), date(2013, 10, 31))
    assert [(b.open, b.high, b.low, b.close, b.volume) for b in days] == [
        (9.0, 9.9, 8.9, 9.85, 7000.0),  # as written
        (9.9, 9.9, 9.9, 9.9, 100.0),  # summed from regular minutes
    ]
    assert (days[1].opened_at, days[1].closed_at) == (friday.opens_at, friday.closes_at)
    assert tape.daily_bars("ABC", date(2013, 10, 4), date(2013, 10, 4)) == days[1:]


def test_the_venue_comes_from_the_map_file_of_the_day(folder: LeanFolder) -> None:
    folder.intraday("tick", "abc", "20131007", "trade", SEVERAL)
    folder.intraday("tick", "xyz", "20131007", "trade", SEVERAL)
    folder.map_file("abc", ["19980102,abc,N", "20120101,abc,N", "20501231,abc,Q"])
    assert [(a.symbol, a.exchange) for a in RecordedTape(folder.root, DAY).assets()] == [
        ("ABC", "NASDAQ"),
        ("XYZ", "NYSE"),
    ]


def test_asking_for_columns_of_a_symbol_that_is_not_there_names_those_that_are(folder: LeanFolder) -> None:
    folder.intraday("tick", "abc", "20131007", "trade", SEVERAL)
    with pytest.raises(ConfigError, match="no symbol QQQ; it has ABC"):
        RecordedTape(folder.root, DAY).columns("QQQ")


@pytest.fixture(scope="module")
def recorded() -> RecordedTape:
    return RecordedTape(real_data("lean"), DAY)


@pytest.mark.realdata
def test_the_recorded_day_has_three_symbols_and_says_what_is_not_ticks(recorded: RecordedTape) -> None:
    assert holds_lean_data(real_data("lean"))
    assert [(a.symbol, a.exchange) for a in recorded.assets()] == [("BAC", "NYSE"), ("IBM", "NYSE"), ("SPY", "ARCA")]
    assert recorded.notes() == ["SPY: quotes are the closing quotes of second bars, valid from the end of each bar."]


@pytest.mark.realdata
@pytest.mark.slow
def test_every_recorded_tick_comes_out_once_and_in_time_order(recorded: RecordedTape) -> None:
    at = [e.at for e in recorded.events(0, 2**62)]
    assert all(a <= b for a, b in pairwise(at))
    # Rows of the five tick files as the data's own list counts them, and SPY's seconds; IBM's last quote is suspicious.
    # 89 of IBM's quotes are crossed, counted from the file with awk, each side carried forward.
    assert len(at) == 88_172 + 476_855 + 24_293 + (109_067 - 1 - 89) + 250_601 + 27_409


@pytest.mark.realdata
@pytest.mark.slow
def test_minute_volume_agrees_with_the_recorded_minute_bars(recorded: RecordedTape) -> None:
    tomorrow = RecordedTape(real_data("lean"), date(2013, 10, 8))
    ours = bars_of(e for e in recorded.events(recorded.opens_at, recorded.closes_at) if isinstance(e, TradeTick))
    for symbol in recorded.symbols():
        theirs = {b.opened_at: b.volume for b in tomorrow.minute_bars(symbol, recorded.opens_at, recorded.closes_at)}
        mine = {b.opened_at: b.volume for b in ours if b.symbol == symbol}
        assert mine.keys() == theirs.keys()
        near = sum(abs(mine[at] - theirs[at]) <= 0.01 * theirs[at] for at in mine)
        assert near / len(mine) >= 0.99, symbol


@pytest.mark.realdata
@pytest.mark.parametrize("symbol", ["BAC", "IBM"])
def test_the_last_quote_of_each_minute_is_the_close_of_the_minute_quote_bar(
    recorded: RecordedTape, symbol: str
) -> None:
    from liualgotrader.common.market_columns import between
    from liualgotrader.tapes import lean

    path = lean.path_of(real_data("lean"), "minute", symbol, DAY, "quote")
    bars = between(lean.bar_quotes(path, recorded.session, MINUTE), OPENS + 1, recorded.closes_at + 1)
    ticks = recorded.columns(symbol).quotes
    last = ticks.at.searchsorted(bars.at) - 1
    assert len(bars.at) == 390
    for name in ("bid", "ask", "bid_size", "ask_size"):
        assert (getattr(ticks, name)[last] == getattr(bars, name)).all(), name


@pytest.mark.realdata
def test_yesterdays_close_stands_in_the_daily_history(recorded: RecordedTape) -> None:
    [friday] = recorded.daily_bars("SPY", date(2013, 10, 4), date(2013, 10, 7))
    minutes = recorded.minute_bars("SPY", friday.opened_at, friday.closed_at)
    assert len(minutes) == 390
    assert friday.close == pytest.approx(minutes[-1].close, abs=0.05)
    assert friday.source == int(BarSource.HISTORY)
    assert len(recorded.daily_bars("SPY", date(1998, 1, 1), DAY)) > 3900


@pytest.mark.realdata
def test_a_day_without_any_quotes_is_played_from_minutes() -> None:
    tape = RecordedTape(real_data("lean"), date(2015, 12, 23), ["goog"])
    found = events(tape)
    assert {e.flags for e in found if isinstance(e, Quote)} == {int(QuoteMark.SYNTHETIC)}
    assert len(tape.notes()) == 2
