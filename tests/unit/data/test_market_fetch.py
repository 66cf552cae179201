"""The store is filled from a vendor: what is missing is asked for once, days that are not over never."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from pathlib import Path

import pytest

from liualgotrader.common.calendar import new_york, sessions
from liualgotrader.common.clock import DAY, MINUTE, NEVER
from liualgotrader.common.errors import BadData, DataRefused, DataUnavailable, DataUnusable
from liualgotrader.common.events import Bar
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.data.data_base import Actions, DataAPI, midnight
from liualgotrader.data.market_fetch import VendorToStore
from liualgotrader.data.market_store import MarketStore
from liualgotrader.tapes.splits import Dividend, Split

MONDAY, FRIDAY = date(2024, 3, 4), date(2024, 3, 8)
NOW = new_york(FRIDAY, time(10))


class LoggedVendor(DataAPI):
    """Every session has a bar of 100 at midnight, or one in its first minute; NONE has nothing, BAD cannot be, NO is refused."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.down = False

    def raw_bars_now(
        self, symbols: Sequence[str], start: int, end: int, *, minutes: int
    ) -> Mapping[str, Sequence[Bar]]:
        if self.down:
            raise DataUnavailable("the vendor does not answer")
        self.asked.append((*symbols, f"{date.fromordinal(719163 + start // DAY)}", f"{minutes}"))
        if "NO" in symbols:
            raise DataRefused("there is no NO")
        days = sessions(date(2023, 1, 1), date(2024, 12, 31))
        at = [midnight(day.day) if minutes > 1 else day.opens_at for day in days]
        bars = [Bar("", t, t + minutes * MINUTE, 100, 100, 100, 100, 5, 100, 1) for t in at if start <= t < end]
        found = {symbol: [] if symbol == "NONE" else bars for symbol in symbols if symbol != "BAD"}
        if "BAD" in symbols:
            raise DataUnusable({"BAD": BadData("BAD: a bar cannot be")}, found)
        return found

    def actions_now(self, symbols: Sequence[str], start: int, end: int) -> Mapping[str, Actions]:
        self.asked.append((*symbols, "actions"))
        split, amount = Split(date(2024, 3, 6), 2.0), {"HUGE": 200.0}
        return {
            symbol: ([split], [(date(2024, 3, 5), amount.get(symbol, 1.0))]) for symbol in symbols if symbol != "NONE"
        }

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        raise AssertionError("adjusted bars are not for the store")

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        raise AssertionError("nobody asks")

    def assets_now(self) -> Mapping[str, Asset]:
        raise AssertionError("nobody asks")


@pytest.fixture
def vendor() -> LoggedVendor:
    return LoggedVendor()


@pytest.fixture
def filling(tmp_path: Path, vendor: LoggedVendor) -> VendorToStore:
    return VendorToStore(MarketStore(tmp_path), vendor, "test")


def fetch(filling: VendorToStore, *symbols: str, period: int = DAY, last: date = FRIDAY) -> None:
    filling.fetch(symbols, period, midnight(MONDAY), midnight(last + timedelta(days=1)), NOW)


def test_daily_bars_span_their_sessions_and_today_is_left_out(filling: VendorToStore) -> None:
    fetch(filling, "ABC")
    found = filling.store.read("ABC", DAY, 0, NEVER)
    days = sessions(date(2024, 2, 20), date(2024, 3, 7))  # the close before the dividend lies before Monday
    assert found.opened_at.tolist()[-4:] == [day.opens_at for day in days[-4:]]
    assert found.closed_at.tolist()[-4:] == [day.closes_at for day in days[-4:]]
    assert filling.store.missing("ABC", "bars", DAY, midnight(MONDAY), NOW) == [(midnight(FRIDAY), NOW)]


def test_what_is_stored_is_not_asked_again_and_only_the_rest_is(filling: VendorToStore, vendor: LoggedVendor) -> None:
    fetch(filling, "ABC", "NONE", period=MINUTE, last=MONDAY)
    vendor.asked.clear()
    fetch(filling, "ABC", "NONE", period=MINUTE, last=MONDAY)
    assert vendor.asked == []
    fetch(filling, "ABC", "NONE", period=MINUTE)
    assert vendor.asked == [("ABC", "NONE", "2024-03-05", "1")]


def test_long_spans_are_asked_for_in_parts(filling: VendorToStore, vendor: LoggedVendor) -> None:
    filling.fetch(["ABC", "XYZ"], MINUTE, midnight(date(2023, 1, 2)), midnight(MONDAY), NOW)
    long = [("ABC", "2023-01-02"), ("XYZ", "2023-01-02"), ("ABC", "2023-07-29"), ("XYZ", "2023-07-29")]
    assert [asked[:-1] for asked in vendor.asked if asked[-1] == "1"] == [*long, ("ABC", "XYZ", "2024-02-22")]
    assert len(filling.store.read("XYZ", MINUTE, 0, NEVER).open) == len(sessions(date(2023, 1, 2), date(2024, 3, 3)))


def test_a_symbol_without_a_usable_answer_is_named_and_the_others_are_stored(filling: VendorToStore) -> None:
    fetch(filling, "ABC", "BAD", "HUGE", "NO")
    assert filling.failed == {
        "BAD": "BAD: a bar cannot be",
        "NO": "there is no NO",
        "HUGE": "no close above its dividend of 200 on 2024-03-05 is known",
    }
    assert len(filling.store.read("ABC", DAY, midnight(MONDAY), NEVER).open) == 4
    assert filling.store.missing("BAD", "bars", DAY, midnight(MONDAY), midnight(FRIDAY)) != []


def test_a_vendor_that_goes_away_leaves_what_it_brought(filling: VendorToStore, vendor: LoggedVendor) -> None:
    fetch(filling, "ABC", last=MONDAY)
    vendor.down = True
    with pytest.raises(DataUnavailable, match="does not answer"):
        fetch(filling, "ABC")
    assert filling.store.missing("ABC", "bars", DAY, midnight(MONDAY), midnight(MONDAY) + DAY) == []


def test_splits_and_dividends_are_known_up_to_today_with_the_close_before(filling: VendorToStore) -> None:
    fetch(filling, "ABC", period=MINUTE, last=MONDAY)
    assert filling.store.actions("ABC") == ([Split(date(2024, 3, 6), 2.0)], [Dividend(date(2024, 3, 5), 1.0, 100.0)])
    assert filling.store.missing("ABC", "actions", 0, midnight(MONDAY), midnight(FRIDAY)) == []
    assert filling.store.read("ABC", MINUTE, 0, NEVER, FRIDAY).close.tolist() == [49.5]
