"""The momentum scanner on snapshots made by hand: each filter at its boundary, the order of its picks, its hours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from liualgotrader.common.clock import HOUR, MINUTE, instant
from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.common.events import Bar
from liualgotrader.scanners.base import Scanner, make_scanner
from liualgotrader.scanners.momentum import Momentum

OPENS_AT = instant(datetime.fromisoformat("2024-06-03T09:30:00-04:00"))
MIDNIGHT = OPENS_AT - 9 * HOUR - 30 * MINUTE
DAY = 24 * HOUR
SETTINGS: dict[str, Any] = {
    "min_last_dv": 500_000,
    "min_share_price": 2.0,
    "max_share_price": 50.0,
    "min_volume": 30_000,
    "from_market_open": 15,
    "today_change_percent": 3.5,
}


def day_bar(symbol: str, opened_at: int, open: float, close: float, volume: float) -> Bar:
    top, bottom = max(open, close), min(open, close)
    return Bar(symbol, opened_at, opened_at + DAY, open, top, bottom, close, volume, close, 100)


@dataclass(frozen=True)
class Seen:
    """A snapshot that passes: it opened 5 % above yesterday's close."""

    symbol: str = "AA"
    last_price: float | None = 21.5
    opened: float | None = 21.0
    volume: float = 40_000.0
    close_before: float | None = 20.0
    volume_before: float = 30_000.0
    day: int = MIDNIGHT
    minute_bar: Bar | None = None

    @property
    def daily_bar(self) -> Bar | None:
        return None if self.opened is None else day_bar(self.symbol, self.day, self.opened, 21.5, self.volume)

    @property
    def previous_daily_bar(self) -> Bar | None:
        before = self.close_before
        return None if before is None else day_bar(self.symbol, self.day - DAY, 19.0, before, self.volume_before)


class Market:
    """A vendor that knows these snapshots; ASLEEP can be traded, but there is none of it."""

    def __init__(self, *seen: Seen) -> None:
        self.seen = {one.symbol: one for one in seen}
        self.asked: list[str] = []

    async def tradable_symbols(self) -> Mapping[str, Any]:
        return {**self.seen, "ASLEEP": None}

    async def snapshots(self, symbols: Sequence[str]) -> Mapping[str, Seen]:
        self.asked = list(symbols)
        return {symbol: self.seen[symbol] for symbol in symbols if symbol in self.seen}


def a_scanner(*seen: Seen, minutes: float = 20.0, **settings: Any) -> Scanner:
    scanner = make_scanner(None, "momentum", {**SETTINGS, **settings})
    now = OPENS_AT + round(minutes * MINUTE)
    scanner.join_session(data_api=Market(*seen), now=lambda: now, opens_at=OPENS_AT)  # type: ignore[arg-type]
    return scanner


async def test_a_symbol_that_passes_every_filter_is_picked() -> None:
    scanner = a_scanner(Seen())
    assert await scanner.run() == ["AA"]
    assert scanner.data_api.asked == ["AA", "ASLEEP"]  # type: ignore[attr-defined]


@pytest.mark.parity(19)
@pytest.mark.parametrize(
    "change, picked",
    [
        ({"last_price": 2.0}, True),
        ({"last_price": 1.99}, False),
        ({"last_price": 50.0}, True),
        ({"last_price": 50.01}, False),
        ({"last_price": None}, False),
        ({"volume_before": 25_000.0}, False),  # 20 $ x 25,000 is 500,000 $, and not more
        ({"volume_before": 25_001.0}, True),
        ({"volume": 30_000.0}, False),
        ({"volume": 30_001.0}, True),
        ({"close_before": 100.0, "opened": 103.5}, True),  # 3.5 % exactly
        ({"close_before": 100.0, "opened": 103.4}, False),
        ({"opened": 20.0}, False),
        ({"opened": 10.0}, False),  # a gap down
        ({"opened": None}, False),
        ({"close_before": None}, False),
        ({"close_before": 0.0}, False),
        ({"day": MIDNIGHT - DAY}, False),  # it has not traded today: the vendor's newest day is Friday's
    ],
)
async def test_each_filter_at_its_boundary(change: dict[str, Any], picked: bool) -> None:
    found = await a_scanner(replace(Seen(), **change)).run()
    assert found == (["AA"] if picked else [])


async def test_the_largest_gaps_come_first_and_ties_by_symbol() -> None:
    seen = [Seen("BB", opened=22.0), Seen("DD", opened=24.0), Seen("AA", opened=22.0), Seen("CC", opened=20.8)]
    assert await a_scanner(*seen).run() == ["DD", "AA", "BB", "CC"]


@pytest.mark.parity(19)
async def test_the_largest_gaps_win_where_there_are_too_many() -> None:
    seen = [Seen("BB", opened=22.0), Seen("DD", opened=24.0), Seen("AA", opened=22.0)]
    assert await a_scanner(*seen, max_symbols=2).run() == ["DD", "AA"]


class Choosy(Momentum):
    """Takes what passes and ends on A, and ODD whatever it did."""

    def momentum_filter(self, snapshot: Any) -> bool:
        return snapshot.symbol == "ODD" or (super().momentum_filter(snapshot) and snapshot.symbol.endswith("A"))


async def test_a_scanner_that_extends_it_may_filter_otherwise() -> None:
    scanner = Choosy(None, **SETTINGS)
    seen = [Seen("BA", opened=22.0), Seen("BB", opened=24.0), Seen("ODD", opened=None), Seen("AA", opened=23.0)]
    market: Any = Market(*seen)
    scanner.join_session(data_api=market, now=lambda: OPENS_AT + HOUR, opens_at=OPENS_AT)
    assert await scanner.run() == ["AA", "BA", "ODD"]
    assert await scanner.apply_filter_on_market_snapshot(scanner.momentum_filter) == ["AA", "BA", "ODD"]
    assert await scanner.apply_filter_on_market_snapshot() == ["AA", "BA", "BB", "ODD"]
    passes: Any = Seen()
    assert scanner.alpaca_snapshot_details(passes) == (True, 21.5, 600_000.0, 5.0, 40_000.0)
    unknown: Any = replace(Seen(), opened=None, close_before=None, last_price=None)
    assert all(map(math.isnan, scanner.polygon_snapshot_details(unknown)[1:]))
    with pytest.raises(LiuError, match="runs the scanner on past bars"):
        await scanner.load_from_db(datetime.fromisoformat("2024-06-03T10:00:00-04:00"))
    with pytest.raises(LiuError, match="are written by the miner DailyOHLC"):
        await scanner.add_stock_data_for_date("AA", date(2024, 6, 3))


@pytest.mark.parity(19)
@pytest.mark.parametrize("minutes, picked", [(-5, []), (0, []), (14.99, []), (15, ["AA"]), (200, ["AA"])])
async def test_nothing_is_picked_before_its_minutes_have_passed(minutes: float, picked: list[str]) -> None:
    assert await a_scanner(Seen(), minutes=minutes).run() == picked


@pytest.mark.parity(19)
async def test_older_plans_say_min_gap() -> None:
    settings = {key: value for key, value in SETTINGS.items() if key != "today_change_percent"}
    scanner = make_scanner(None, "momentum", {**settings, "min_gap": 5.1})
    market = Market(Seen(), Seen("BB", opened=22.0))
    scanner.join_session(data_api=market, now=lambda: OPENS_AT + HOUR, opens_at=OPENS_AT)  # type: ignore[arg-type]
    assert await scanner.run() == ["BB"]


async def test_the_newer_name_wins_where_a_plan_has_both() -> None:
    assert await a_scanner(Seen(), min_gap=50.0).run() == ["AA"]


def test_a_plan_that_names_no_gap_is_refused_in_one_sentence() -> None:
    settings = {key: value for key, value in SETTINGS.items() if key != "today_change_percent"}
    with pytest.raises(ConfigError, match="needs today_change_percent"):
        make_scanner(None, "momentum", settings)


async def test_without_recurrence_it_picks_once_at_its_minute() -> None:
    scanner = a_scanner(Seen(), minutes=0)
    assert scanner.recurrence == timedelta(minutes=15)
    assert await scanner.run() == []
    for expected in (["AA"], []):
        scanner.join_session(data_api=scanner.data_api, now=lambda: OPENS_AT + 15 * MINUTE, opens_at=OPENS_AT)
        assert await scanner.run() == expected


async def test_with_recurrence_it_picks_every_time() -> None:
    scanner = a_scanner(Seen(), recurrence=5, target_strategy_name="MomentumLong")
    assert (scanner.recurrence, scanner.target_strategy_name) == (timedelta(minutes=5), "MomentumLong")
    assert [await scanner.run(), await scanner.run()] == [["AA"], ["AA"]]


async def test_it_says_once_which_symbols_have_no_previous_close() -> None:
    said: list[str] = []
    unknown = [Seen(f"U{i}", close_before=None) for i in range(6)]
    scanner = a_scanner(Seen(), *unknown, Seen("ZERO", close_before=0.0), recurrence=5)
    scanner.join_session(
        data_api=scanner.data_api, now=lambda: OPENS_AT + 20 * MINUTE, opens_at=OPENS_AT, tell=said.append
    )
    assert [await scanner.run(), await scanner.run()] == [["AA"], ["AA"]]
    [line] = said
    assert line.startswith("cannot pick 7 of 8 symbols, whose previous close is unknown")
    assert line.endswith("U0, U1, U2, U3, U4 and 2 more")


async def test_it_has_nothing_to_say_where_every_close_is_known() -> None:
    said: list[str] = []
    scanner = a_scanner(Seen())
    scanner.join_session(
        data_api=scanner.data_api, now=lambda: OPENS_AT + 20 * MINUTE, opens_at=OPENS_AT, tell=said.append
    )
    await scanner.run()
    assert said == []


async def test_it_compares_the_open_and_not_what_the_price_has_done_since() -> None:
    fallen, risen = Seen("FALLEN", opened=21.0, last_price=19.0), Seen("RISEN", opened=20.1, last_price=30.0)
    assert await a_scanner(fallen, risen).run() == ["FALLEN"]


async def test_the_past_is_not_answered_with_the_present() -> None:
    with pytest.raises(ValueError, match="sees the market as it is now"):
        await a_scanner(Seen()).run(datetime.fromisoformat("2024-05-31T10:00:00-04:00"))


def test_it_is_the_scanner_that_needs_no_file() -> None:
    assert Scanner.get_supported_scanners() == ["momentum"]
    assert isinstance(make_scanner(None, "momentum", {**SETTINGS, "provider": "alpaca"}), Momentum)
