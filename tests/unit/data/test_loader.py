"""The loader's index rules, against the table of the original's documentation with its look-ahead mended."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import MINUTE, NEVER, NEW_YORK, Alarm, instant
from liualgotrader.common.events import Bar
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.common.types import TimeScale
from liualgotrader.data.data_base import Actions, DataAPI, midnight
from liualgotrader.data.loader import DataLoader
from liualgotrader.data.market_store import MarketStore
from liualgotrader.strategies.frame_classes import LiveColumns
from liualgotrader.tapes.splits import Split


@cache
def counted(minutes: int) -> tuple[list[int], list[Bar]]:
    """Return when the minutes (or days) of some sessions begin, and a bar of each that closes at its number."""
    days = sessions(date(2021, 11, 1), date(2022, 1, 7))
    if minutes == 1:
        starts = [at for day in days for at in range(day.opens_at, day.closes_at, MINUTE)]
    else:
        starts = [midnight(day.day) for day in days]
    closes = [(at, float(close)) for close, at in enumerate(starts)]
    return starts, [Bar("AAPL", at, at + minutes * MINUTE, c, c, c, c, 100.0, c, 1) for at, c in closes]


class CountedDays(DataAPI):
    """A vendor whose bar closes are the number of minutes (or days) since its first one; it keeps a call log.

    Loaders of these tests read through `store` if there is one.
    """

    def __init__(self, store: MarketStore | None = None) -> None:
        self.calls: list[tuple[int, int]] = []
        self.store = store

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        self.calls.append((start, end))
        starts, bars = counted(minutes)
        made = bars[bisect_left(starts, start) : bisect_left(starts, end)]
        return {symbol: made for symbol in symbols if symbol != "NONE"}

    def raw_bars_now(
        self, symbols: Sequence[str], start: int, end: int, *, minutes: int
    ) -> Mapping[str, Sequence[Bar]]:
        return self.bars_now(symbols, start, end, minutes=minutes)

    def actions_now(self, symbols: Sequence[str], start: int, end: int) -> Mapping[str, Actions]:
        return {}

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        return {}

    def assets_now(self) -> Mapping[str, Asset]:
        return {}


class Shown:
    """A frame of bars, as a consumer shows its own."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame, self.rows = frame, len(frame)

    def column(self, name: str) -> Any:
        return self.frame[name].to_numpy(dtype=float)

    def opened_at(self) -> Any:
        return np.array([instant(at.to_pydatetime()) for at in self.frame.index], np.int64)


class StandingClock:
    """A clock that stands at one market instant."""

    def __init__(self, now: datetime) -> None:
        self._now = instant(now)

    def now(self) -> int:
        return self._now

    def machine(self) -> int:
        return 0

    def age(self, at: int) -> int:
        return self._now - at

    def call_at(self, at: int, act: Any) -> Alarm:
        raise AssertionError("nothing waits here")

    async def sleep_until(self, at: int) -> None:
        raise AssertionError("nothing waits here")

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


FRIDAY_NIGHT = datetime(2022, 1, 7, 20, 0, tzinfo=NEW_YORK)


@pytest.fixture(params=["the vendor alone", "through the store"])
def vendor(request: pytest.FixtureRequest, tmp_path: Path) -> CountedDays:
    return CountedDays(MarketStore(tmp_path) if "store" in request.param else None)


def loader(vendor: CountedDays, scale: TimeScale = TimeScale.minute, now: datetime = FRIDAY_NIGHT) -> DataLoader:
    return DataLoader(scale, data_api=vendor, clock=StandingClock(now), store=vendor.store)


def ny(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def test_the_last_bar_is_the_last_minute_traded(vendor: CountedDays) -> None:
    row = loader(vendor)["aapl"][-1]
    assert row.name == ny("2022-01-07 15:59:00")
    assert list(row.index) == ["open", "high", "low", "close", "volume", "vwap", "average", "count"]


@pytest.mark.parametrize(
    ("key", "first", "last", "count"),
    [
        (slice(-5, -1), "2022-01-07 15:55", "2022-01-07 15:59", 5),
        (slice(-90, None), "2022-01-07 14:30", "2022-01-07 15:59", 90),
        (slice(-1000, None), "2022-01-05 12:20", "2022-01-07 15:59", 1000),
        (slice(-3, "2022-01-06 09:31:00"), "2022-01-05 15:59", "2022-01-06 09:31", 3),
        (slice("2022-01-06 09:45:00", "2022-01-06 09:50:00"), "2022-01-06 09:45", "2022-01-06 09:50", 6),
        (slice("2022-01-04", "2022-01-08"), "2022-01-04 09:30", "2022-01-07 15:59", 1560),
        (slice("2021-12-31", -1), "2021-12-31 09:30", "2022-01-07 15:59", 2340),
        (slice(date(2022, 1, 7), None), "2022-01-07 09:30", "2022-01-07 15:59", 390),
    ],
    ids=str,
)
def test_a_slice_of_minutes_holds(vendor: CountedDays, key: slice, first: str, last: str, count: int) -> None:
    rows = loader(vendor).AAPL[key]
    assert (rows.index[0], rows.index[-1], len(rows)) == (ny(first), ny(last), count)


def test_a_slice_of_days_includes_both_ends(vendor: CountedDays) -> None:
    rows = loader(vendor, TimeScale.day)["AAPL"]["2022-01-03":"2022-01-07"]
    assert len(rows) == 5


def test_an_offset_on_days_ends_at_the_date(vendor: CountedDays) -> None:
    closes = loader(vendor, TimeScale.day)["AAPL"].close[-10 : date(2021, 12, 15)]
    assert len(closes) == 10
    assert closes.index[-1] == ny("2021-12-15")


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("2022-01-06 09:45:00", "2022-01-06 09:45"),
        ("2022-01-06 09:45:30", "2022-01-06 09:45"),
        ("2022-01-06 18:00:00", "2022-01-06 15:59"),
        (date(2022, 1, 6), "2022-01-05 15:59"),  # midnight: never a bar of that day itself
        (ny("2022-01-06 09:46"), "2022-01-06 09:46"),
        ("2022-01-02 12:00:00", "2021-12-31 15:59"),  # a Sunday
    ],
)
def test_a_time_means_the_bar_at_or_before_it(vendor: CountedDays, key: Any, found: str) -> None:
    assert loader(vendor)["AAPL"][key].name == ny(found)


def test_nothing_later_than_the_market_clock_is_ever_shown(vendor: CountedDays) -> None:
    at_ten = loader(vendor, now=ny("2022-01-06 10:00"))
    assert at_ten["AAPL"][-1].name == ny("2022-01-06 09:59")
    assert len(at_ten["AAPL"]["2022-01-06":]) == 30  # 09:30 to 09:59


@pytest.mark.parity(44)
def test_what_was_fetched_is_not_fetched_again(vendor: CountedDays) -> None:
    loaded = loader(vendor)
    loaded["AAPL"].close[-90:]
    calls = len(vendor.calls)
    loaded["AAPL"].close[-10:]
    loaded["aapl"]["2022-01-07 09:45:00"]
    assert len(vendor.calls) == calls


@pytest.mark.parity(44)
def test_pre_fetch_asks_once_for_all(vendor: CountedDays) -> None:
    loaded = loader(vendor)
    loaded.pre_fetch(["aapl", "MSFT"], "2022-01-04", "2022-01-07")
    assert len(vendor.calls) == (2 if vendor.store else 1)  # the days that are over, and today
    assert loaded["MSFT"][-1].name == ny("2022-01-07 15:59")
    assert loaded.exist("msft")
    assert loaded.keys() == ["AAPL", "MSFT"]


def test_an_unknown_symbol_is_said_so(vendor: CountedDays) -> None:
    with pytest.raises(ValueError, match="NONE"):
        loader(vendor)["NONE"][-1]


@pytest.mark.parity(45)
def test_a_bar_can_be_put_and_read_back(vendor: CountedDays) -> None:
    symbol = loader(vendor)["AAPL"]
    at = ny("2022-01-07 16:00")
    symbol.loc[at] = [1.0, 2.0, 0.5, 1.5, 10.0, 1.2, 1.2, 3.0]
    assert symbol.loc[at]["close"] == 1.5
    assert symbol.close[-1] == 1.5


@pytest.mark.parity(45)
def test_columns_are_pandas_series_when_called(vendor: CountedDays) -> None:
    symbol = loader(vendor)["AAPL"]
    symbol[-20:]
    assert symbol.close.rolling(5).mean().iloc[-1] == symbol.close().iloc[-5:].mean()
    assert len(symbol.between_time("9:30", "16:00")) == len(symbol)


def test_a_column_is_an_array_and_is_gone_through_like_its_series(vendor: CountedDays) -> None:
    symbol = loader(vendor)["AAPL"]
    closes = symbol.close[-20:].to_numpy()
    assert np.array_equal(np.array(symbol.close)[-20:], closes)
    assert np.asarray(symbol.close, dtype=np.float32).dtype == np.float32
    assert list(symbol.close)[-20:] == closes.tolist()
    np.array(symbol.close)[-1] = 0.0  # a copy
    assert symbol.close[-1] == closes[-1]


@pytest.mark.parametrize("key", [-1, slice(-3, None), "2022-01-07 15:59:00", slice("2022-01-07 15:58", None)], ids=str)
def test_what_is_put_into_the_frame_is_read_by_every_form(vendor: CountedDays, key: Any) -> None:
    symbol = loader(vendor)["AAPL"]
    assert np.all(symbol.close[key] != 7.0)
    symbol.symbol_data.iloc[-3:, 3] = 7.0
    assert np.all(symbol.close[key] == 7.0)
    assert np.all(symbol[key]["close"] == 7.0)
    symbol.symbol_data.loc[ny("2022-01-07 16:00")] = [8.0] * 8
    assert symbol.close[-1] == symbol[-1]["close"] == symbol.close["2022-01-07 16:00"] == 8.0


@pytest.mark.skipif(pd.__version__ < "3", reason="pandas 2 shares memory between a series and its slices")
def test_what_is_changed_in_an_answer_stays_there(vendor: CountedDays) -> None:
    symbol = loader(vendor)["AAPL"]
    answer, before = symbol.close[-3:], symbol.close[-1]
    answer.iloc[-1] = 0.0
    assert symbol.close[-1] == symbol[-1]["close"] == before


def test_the_consumers_own_bars_stand_on_top(vendor: CountedDays) -> None:
    live = loader(vendor)["AAPL"][-3:].assign(close=1.0)
    on_top = DataLoader(
        data_api=vendor, clock=StandingClock(FRIDAY_NIGHT), live=lambda symbol: LiveColumns(Shown(live))
    )
    assert on_top["AAPL"].close[-5:].tolist()[2:] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "key", [-1, -3, slice(-3, None), slice(-3, -1), ny("2022-01-07 15:58"), slice("2022-01-07 15:58", None)]
)
def test_the_consumers_own_bars_are_read_like_those_that_were_loaded(vendor: CountedDays, key: Any) -> None:
    loaded = loader(vendor)["AAPL"]
    own = DataLoader(data_api=vendor, clock=StandingClock(FRIDAY_NIGHT), live=lambda s: LiveColumns(Shown(shown)))[
        "AAPL"
    ]
    shown = loaded[-600:]
    assert np.array_equal(own.close[key], loaded.close[key])
    assert np.array_equal(own[key].to_numpy(), loaded[key].to_numpy())
    if isinstance(key, slice):
        assert own[key].index.equals(loaded[key].index)
        assert own.close[key][-1] == loaded.close[-1]  # a place, as in the pandas the original was written for
    else:
        assert own[key].name == loaded[key].name


def test_what_the_consumer_has_itself_is_never_fetched(vendor: CountedDays) -> None:
    live = loader(vendor)["AAPL"][-600:]
    vendor.calls.clear()
    clock = StandingClock(FRIDAY_NIGHT)
    on_top = DataLoader(data_api=vendor, clock=clock, live=lambda symbol: LiveColumns(Shown(live)))
    for minute in range(5):
        clock._now += minute * MINUTE
        assert len(on_top["AAPL"].close[-30:]) == 30
    assert vendor.calls == []
    on_top["AAPL"].close[-700:]
    assert all(end <= instant(live.index[0].to_pydatetime()) + 1 for _, end in vendor.calls)


@pytest.mark.parametrize(
    "key",
    [
        -1,
        slice(-60, None),
        slice(-60, -2),
        ny("2022-01-07 10:00"),
        "2022-01-07 09:45:30",
        slice("2022-01-07 09:45", "2022-01-07 09:50"),
        slice(ny("2022-01-07 09:45"), None),
    ],
    ids=str,
)
def test_what_lies_within_the_consumers_own_bars_is_answered_from_memory(vendor: CountedDays, key: Any) -> None:
    live = loader(vendor)["AAPL"][-600:]
    vendor.calls.clear()
    on_top = DataLoader(
        data_api=vendor, clock=StandingClock(FRIDAY_NIGHT), live=lambda symbol: LiveColumns(Shown(live))
    )
    on_top["AAPL"].close[key]
    assert vendor.calls == []


def test_a_minute_that_still_runs_is_no_bar_yet_and_is_fetched_once_it_has_closed(vendor: CountedDays) -> None:
    clock = StandingClock(ny("2022-01-06 10:00:59"))
    loaded = DataLoader(data_api=vendor, clock=clock)
    assert loaded["AAPL"][-1].name == ny("2022-01-06 09:59")
    clock._now = instant(ny("2022-01-06 10:01:00"))
    assert loaded["AAPL"][-1].name == ny("2022-01-06 10:00")


def test_a_minute_that_still_runs_is_not_pre_fetched_either(vendor: CountedDays) -> None:
    clock = StandingClock(ny("2022-01-06 10:00:59"))
    loaded = DataLoader(data_api=vendor, clock=clock)
    loaded.pre_fetch(["AAPL"], "2022-01-06", "2022-01-06")
    assert loaded["AAPL"][-1].name == ny("2022-01-06 09:59")
    clock._now = instant(ny("2022-01-06 10:01:00"))
    assert loaded["AAPL"][-1].name == ny("2022-01-06 10:00")


def test_the_clock_may_pass_while_a_loader_lives(vendor: CountedDays) -> None:
    clock = StandingClock(ny("2022-01-06 10:00"))
    loaded = DataLoader(data_api=vendor, clock=clock)
    before = loaded["AAPL"][-1].name
    clock._now += int(timedelta(minutes=5).total_seconds()) * 1_000_000_000
    assert loaded["AAPL"][-1].name == before + timedelta(minutes=5)
    assert clock.now() < NEVER


MINUTE_SCALE, DAY_SCALE = TimeScale.minute, TimeScale.day
FORMS = [  # section 3.4 of the original's description; "mended" marks where it showed the future, nothing, or less
    (MINUTE_SCALE, -1, "01-07 15:59", "01-07 15:59", 1),
    (MINUTE_SCALE, -5, "01-07 15:55", "01-07 15:55", 1),
    (MINUTE_SCALE, slice(-5, -1), "01-07 15:55", "01-07 15:59", 5),
    (MINUTE_SCALE, slice(-90, None), "01-07 14:30", "01-07 15:59", 90),
    (MINUTE_SCALE, slice(-90, "2022-01-05 09:30:00"), "01-04 14:31", "01-05 09:30", 90),  # mended: was empty
    (MINUTE_SCALE, slice(-10, date(2022, 1, 5)), "01-04 15:50", "01-04 15:59", 10),  # mended: was empty
    (DAY_SCALE, slice(-90, "2022-01-05 09:30:00"), "11-01 00:00", "01-05 00:00", 46),  # all that there are
    (DAY_SCALE, slice(-10, date(2021, 12, 15)), "12-02 00:00", "12-15 00:00", 10),
    (DAY_SCALE, slice("2022-01-03", "2022-01-07"), "01-03 00:00", "01-07 00:00", 5),
    (MINUTE_SCALE, slice("2022-01-03", "2022-01-07"), "01-03 09:30", "01-06 15:59", 1560),
    (MINUTE_SCALE, slice(date(2022, 1, 4), date(2022, 1, 6)), "01-04 09:30", "01-05 15:59", 780),
    (MINUTE_SCALE, slice(date(2022, 1, 4), "2022-01-04 09:32:00"), "01-04 09:30", "01-04 09:32", 3),
    (MINUTE_SCALE, slice(datetime(2022, 1, 4, 9, 45), "2022-01-04 09:50:00"), "01-04 09:45", "01-04 09:50", 6),
    (MINUTE_SCALE, slice(ny("2022-01-04 09:45"), ny("2022-01-04 09:50")), "01-04 09:45", "01-04 09:50", 6),
    (MINUTE_SCALE, slice("2022-01-06", -1), "01-06 09:30", "01-07 15:59", 780),
    (MINUTE_SCALE, slice("2022-01-06", None), "01-06 09:30", "01-07 15:59", 780),
    (MINUTE_SCALE, "2022-01-04 09:45:00", "01-04 09:45", "01-04 09:45", 1),
    (MINUTE_SCALE, ny("2022-01-04 09:45:59"), "01-04 09:45", "01-04 09:45", 1),
    (MINUTE_SCALE, date(2022, 1, 5), "01-04 15:59", "01-04 15:59", 1),  # mended: was the last bar of the day itself
    (DAY_SCALE, date(2022, 1, 5), "01-05 00:00", "01-05 00:00", 1),
    (MINUTE_SCALE, date(2022, 1, 2), "12-31 15:59", "12-31 15:59", 1),  # mended: a Sunday was an error
    (MINUTE_SCALE, slice("2022-01-01", "2022-01-02"), "", "", 0),
]


@pytest.mark.parity(43)
@pytest.mark.parametrize("form", ["rows", "column", "small letters"])
@pytest.mark.parametrize(("scale", "key", "first", "last", "count"), FORMS, ids=[f"{f[0].name} {f[1]}" for f in FORMS])
def test_every_index_form_of_the_original_on_a_fresh_loader(
    vendor: CountedDays, scale: TimeScale, key: Any, first: str, last: str, count: int, form: str
) -> None:
    symbol = loader(vendor, scale)["aapl" if form == "small letters" else "AAPL"]
    found = symbol.close[key] if form == "column" else symbol[key]
    if not isinstance(key, slice):
        row = symbol.close()[symbol.close() == found] if form == "column" else found
        assert (row.index[0] if form == "column" else row.name) == ny(f"2022-{first}".replace("2022-12", "2021-12"))
        return
    assert len(found) == count
    times = [ny(f"202{1 if text[:2] > '06' else 2}-{text}") for text in (first, last) if text]
    assert [found.index[i] for i in (0, -1) if count] == times


def test_places_count_from_the_first_bar_that_is_loaded_and_a_bare_slice_shows_all_of_it(vendor: CountedDays) -> None:
    symbol = loader(vendor)["AAPL"]
    everything = symbol[:]
    assert everything.index[-1] == ny("2022-01-07 15:59")
    calls = len(vendor.calls)
    assert symbol[0].name == everything.index[0]
    assert symbol.close[3] == everything.close.iloc[3]
    assert len(symbol[:]) == len(everything)
    assert len(vendor.calls) == calls  # mended: each of these asked for the newest day again


def test_an_empty_answer_is_not_asked_for_again(vendor: CountedDays) -> None:
    symbol = loader(vendor)["NONE"]
    calls: list[int] = []
    for _ in range(3):
        with pytest.raises(ValueError, match="no minute bars of NONE; is the symbol right"):
            symbol[-1]
        calls.append(len(vendor.calls))
    assert calls[0] == calls[1] == calls[2]


def test_what_the_store_has_is_asked_of_no_vendor_by_the_next_loader(tmp_path: Path) -> None:
    vendor = CountedDays(MarketStore(tmp_path))
    first = loader(vendor)["AAPL"]["2021-12-01":"2022-01-04"]
    vendor.calls.clear()
    again = loader(vendor)["AAPL"]["2021-12-01":"2022-01-04"]
    assert vendor.calls == []
    assert again.equals(first)
    assert len(loader(vendor)["AAPL"]["2022-01-06":]) == 780
    assert min(start for start, _ in vendor.calls) >= midnight(date(2022, 1, 4))  # the rest, and today


def test_stored_prices_are_shown_as_of_the_day_of_the_clock(tmp_path: Path) -> None:
    class Split7(CountedDays):
        def actions_now(self, symbols: Sequence[str], start: int, end: int) -> Mapping[str, Actions]:
            return {symbol: ([Split(date(2022, 1, 5), 7.0)], []) for symbol in symbols}

    vendor = Split7(MarketStore(tmp_path))
    before, after = (loader(vendor, DAY_SCALE, ny(f"2022-01-0{day} 20:00")) for day in (4, 7))
    raw = before["AAPL"].close["2022-01-03"]
    assert raw == 43.0  # sessions since 2021-11-01, counted in a calendar
    assert after["AAPL"].close["2022-01-03"] == pytest.approx(raw / 7, abs=1e-6)
    assert after["AAPL"].close["2022-01-06"] == 46.0


def test_without_keys_there_is_what_the_store_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("APCA_API_KEY_ID", "ALPACA_API_KEY", "DATA_CONNECTOR", "APCA_API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIU_HOME", str(tmp_path))
    opens_at = instant(datetime(2019, 1, 3, 9, 30, tzinfo=NEW_YORK))
    starts = [opens_at + n * MINUTE for n in range(390)]
    prices = [10.0 + n for n in range(390)]
    bars = [Bar("SPY", at, at + MINUTE, p, p, p, p, 100, p, 1) for at, p in zip(starts, prices, strict=True)]
    known = (midnight(date(2018, 12, 3)), midnight(date(2019, 1, 4)))
    MarketStore(tmp_path / "market").write("SPY", MINUTE, BarColumns.of("SPY", bars), [known], "folder")
    spy = DataLoader(TimeScale.minute)["spy"]
    assert spy.close[-1] == 399.0, "years after the newest bar"
    assert list(spy.close["2019-01-03 09:31":"2019-01-03 09:33"]) == [11.0, 12.0, 13.0]
    with pytest.raises(ValueError, match="no bars of IBM, and no keys of a vendor are set"):
        DataLoader(TimeScale.minute)["IBM"].close[-1]
