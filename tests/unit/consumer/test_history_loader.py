"""What is asked of the data provider, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from liualgotrader.common.clock import MINUTE, SECOND, Alarm, WallClock
from liualgotrader.common.errors import BadData, DataRefused, DataUnusable
from liualgotrader.common.events import Bar
from liualgotrader.common.ports import MarketHistory
from liualgotrader.consumer import history_loader as module
from liualgotrader.consumer.history_loader import HistoryLoader
from tests.fakes.market_hold import Holds
from tests.fakes.session import open_hours

HOURS = open_hours()


class Data:
    """Answers once it is let; `asked` holds (symbols, start)."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], int]] = []
        self.answers = asyncio.Event()
        self.shows_running_minute = False

    async def bars(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        self.asked.append((list(symbols), start))
        await self.answers.wait()
        starts = (end - end % MINUTE - MINUTE, end - end % MINUTE)
        return {s: [Bar(s, at, at + MINUTE, 1, 1, 1, 1, 1, 1, 1) for at in starts] for s in symbols}


class Choosy(Data):
    """Refuses every request that holds a symbol with a dash."""

    async def bars(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        self.asked.append((list(symbols), start))
        wrong = [symbol for symbol in symbols if "-" in symbol]
        if wrong:
            raise DataRefused(f"400 invalid symbol: {wrong[0]}")
        return {s: [Bar(s, HOURS.opens_at, HOURS.opens_at + MINUTE, 1, 1, 1, 1, 1, 1, 1)] for s in symbols}


class Odd(Data):
    """Has of ODD what cannot be used, as often as told."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    async def bars(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        self.asked.append((list(symbols), start))
        good = {s: [Bar(s, HOURS.opens_at, HOURS.opens_at + MINUTE, 1, 1, 1, 1, 1, 1, 1)] for s in symbols}
        if "ODD" not in symbols or not self.left:
            return good
        self.left -= 1
        del good["ODD"]
        raise DataUnusable({"ODD": BadData("ODD: Alpaca's bar of 14:30: c is None, not a price")}, good)


class Alarms(WallClock):
    """A wall clock whose alarms ring when told; `pauses` are the seconds they were set for."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.acts: list[Any] = []

    def call_at(self, at: int, act: Any) -> Alarm:
        self.pauses.append(round((at - self.now()) / SECOND))
        self.acts.append(act)
        return asyncio.get_running_loop().call_later(1e6, act)


def history_of(data: Data, loaded: list[tuple[str, int]], notices: list[str] | None = None) -> HistoryLoader:
    keep = lambda symbol, bars: loaded.append((symbol, len(bars)))  # noqa: E731
    tell = lambda level, text: notices.append(text) if notices is not None else None  # noqa: E731
    return HistoryLoader(cast(MarketHistory, cast(Any, data)), HOURS, 2, WallClock(), keep, Holds().hold, tell)


async def _until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


async def test_a_symbol_wanted_again_while_it_is_loaded_is_loaded_again() -> None:
    data, loaded = Data(), []  # type: ignore[var-annotated]
    history = history_of(data, loaded)
    history.want("A")
    await _until(lambda: data.asked)
    since = HOURS.opens_at + 10 * MINUTE
    history.want("A", since)
    data.answers.set()
    await _until(lambda: len(loaded) == 2)
    assert data.asked == [(["A"], HOURS.opens_at), (["A"], since)]
    assert [symbol for symbol, _ in loaded] == ["A", "A"]


async def test_of_two_wishes_in_one_turn_the_longer_history_is_loaded() -> None:
    data, loaded = Data(), []  # type: ignore[var-annotated]
    data.answers.set()
    history = history_of(data, loaded)
    history.want("A", HOURS.opens_at + 10 * MINUTE)
    history.want("A")
    await _until(lambda: loaded)
    assert data.asked == [(["A"], HOURS.opens_at)]


async def test_a_minute_that_had_not_ended_when_it_was_asked_for_is_left_out() -> None:
    data, loaded = Data(), []  # type: ignore[var-annotated]
    data.answers.set()
    history_of(data, loaded).want("A")
    await _until(lambda: loaded)
    assert loaded == [("A", 1)]


async def test_a_gap_is_given_up_after_some_seconds_so_that_strategies_go_on(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_GAP_SECONDS", 0.01)
    data, loaded, notices = Data(), [], []  # type: ignore[var-annotated]
    history_of(data, loaded, notices).want("A", HOURS.opens_at + MINUTE)
    await _until(lambda: loaded)
    assert loaded == [("A", 0)] and notices == ["no history of A; their bars begin now"]


async def test_one_symbol_that_the_vendor_refuses_costs_no_other_its_history() -> None:
    data, loaded, notices = Choosy(), [], []  # type: ignore[var-annotated]
    history = history_of(data, loaded, notices)
    symbols = [f"S{i}" for i in range(40)]
    for symbol in [*symbols[:17], "BF-B", *symbols[17:]]:
        history.want(symbol)
    await _until(lambda: len(loaded) == 41)
    assert dict(loaded) == {symbol: 1 for symbol in symbols} | {"BF-B": 0}
    assert notices == ["no history of BF-B; their bars begin now"]
    assert len(data.asked) <= 13, "the whole, and two halves for each of six halvings"


async def test_a_symbol_whose_history_cannot_be_used_waits_alone_and_is_asked_for_again_more_and_more_seldom() -> None:
    clock, loaded, notices = Alarms(), [], []
    data = Odd(3)
    history = HistoryLoader(
        cast(MarketHistory, cast(Any, data)), HOURS, 2, clock, lambda symbol, bars: loaded.append((symbol, len(bars))),
        Holds().hold, lambda level, text: notices.append(text),
    )  # fmt: skip
    for symbol in ("A", "ODD", "B"):
        history.want(symbol)
    await _until(lambda: len(loaded) == 2)
    for _ in range(3):
        await _until(lambda: clock.acts)
        clock.acts.pop()()
        await _until(lambda: history._task is None)
    assert loaded == [("A", 1), ("B", 1), ("ODD", 1)]
    assert clock.pauses == [5, 10, 20]
    assert [symbols for symbols, _ in data.asked] == [["A", "ODD", "B"], ["ODD"], ["ODD"], ["ODD"]]
    assert notices == [
        "ODD: Alpaca's bar of 14:30: c is None, not a price; the history of ODD is not used, and is asked for again"
    ]
    await history.close()


async def test_a_symbol_that_is_held_goes_on_while_its_history_cannot_be_used() -> None:
    clock, loaded = Alarms(), []
    history = HistoryLoader(
        cast(MarketHistory, cast(Any, Odd(1))), HOURS, 2, clock, lambda symbol, bars: loaded.append((symbol, len(bars))),
        Holds().hold, held=lambda symbol: symbol == "ODD",
    )  # fmt: skip
    history.want("ODD")
    await _until(lambda: loaded and clock.acts)
    clock.acts.pop()()
    await _until(lambda: len(loaded) == 2)
    assert loaded == [("ODD", 0), ("ODD", 1)]
    await history.close()
