"""The demo's plan on the demo's day: its scanners and strategies on the generated minute bars, filled at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.clock import HOUR, MINUTE, SECOND
from liualgotrader.common.events import Bar, TradeTick
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tradeplan import load_tradeplan
from liualgotrader.scanners.base import Scanner, make_scanner
from liualgotrader.strategies.base import make_strategy
from liualgotrader.tapes.columns import merged
from liualgotrader.tapes.generated import GeneratedTape
from liualgotrader.tapes.minute_bars import MinuteBars, sum_of
from tests.fakes.strategies import BATCH_ID, Play

DEMO = Path(__file__).parents[3] / "examples" / "demo" / "tradeplan.toml"
DAY = date(2024, 6, 3)


@dataclass(frozen=True)
class Seen:
    symbol: str
    last_price: float | None
    daily_bar: Bar | None
    previous_daily_bar: Bar | None


class Day:
    """The generated day as minute bars, and as the vendor that shows what has closed of it."""

    def __init__(self, seed: int) -> None:
        self.tape = tape = GeneratedTape(DAY, seed=seed)
        self.now = tape.opens_at
        self.bars = {symbol: self._minutes(symbol) for symbol in tape.symbols()}
        self.closing: dict[int, list[Bar]] = {}
        for bars in self.bars.values():
            for bar in bars:
                self.closing.setdefault(bar.closed_at, []).append(bar)
        self.before = {s: tape.daily_bars(s, DAY - timedelta(days=7), DAY)[-1] for s in tape.symbols()}

    def _minutes(self, symbol: str) -> Sequence[Bar]:
        tape, minutes = self.tape, MinuteBars()
        for event in merged([tape.columns(symbol)], tape.opens_at, tape.closes_at):
            if isinstance(event, TradeTick):
                minutes.add(event)
        minutes.close_until(tape.closes_at)
        return minutes.bars(symbol, tape.opens_at, tape.closes_at)

    def history(self, symbol: str) -> Sequence[Bar]:
        opens_at = self.tape.opens_at
        earlier = self.tape.minute_bars(symbol, opens_at - 96 * HOUR, opens_at)
        return [*earlier, *(bar for bar in self.bars[symbol] if bar.closed_at <= self.now)]

    async def tradable_symbols(self) -> Mapping[str, Any]:
        return {asset.symbol: asset for asset in self.tape.assets()}

    async def snapshots(self, symbols: Sequence[str]) -> Mapping[str, Seen]:
        return {symbol: self._snapshot(symbol) for symbol in symbols}

    def _snapshot(self, symbol: str) -> Seen:
        closed = [bar for bar in self.bars[symbol] if bar.closed_at <= self.now]
        today = sum_of(closed, self.tape.opens_at, self.tape.closes_at) if closed else None
        return Seen(symbol, closed[-1].close if closed else None, today, self.before[symbol])


def trade_the_day(seed: int) -> tuple[Play, float]:
    """Return the day as it was played, and the most dollars that were ever in positions."""
    day, plan = Day(seed), load_tradeplan(DEMO)
    tape = day.tape
    liquidates_at = tape.closes_at - plan.market_liquidation_end_time_minutes * MINUTE
    hours = Hours(DAY.isoformat(), tape.opens_at, tape.closes_at, liquidates_at, tape.closes_at)
    strategies = [make_strategy(BATCH_ID, name, table, Path()) for name, table in plan.strategies.items()]
    homes = [strategy.name for strategy in strategies if asyncio.run(strategy.should_run_all())]
    play = Play(*strategies, events=plan.events, hours=hours, run_all=homes, history=day.history)
    scanners = [make_scanner(None, name, table) for name, table in plan.scanners.items()]
    for scanner in scanners:
        scanner.join_session(data_api=day, now=lambda: day.now, opens_at=tape.opens_at)  # type: ignore[arg-type]
    most = 0.0
    for number in range((liquidates_at - tape.opens_at) // MINUTE):
        day.now = play.now = tape.opens_at + number * MINUTE
        play.bars(day.closing.get(day.now, ()))
        for scanner in scanners:
            if is_due(scanner, number):
                play.pick(*asyncio.run(scanner.run()), strategy=scanner.target_strategy_name or "")
        play.timer(number)
        most = max(most, dollars_held(play))
    return play, most


def dollars_held(play: Play) -> float:
    prices = {symbol: state.last_price for symbol, state in play.engine.symbols.items()}
    return sum(abs(float(shares)) * prices[symbol] for (_, symbol), shares in play.positions.items())


def is_due(scanner: Scanner, minute: int) -> bool:
    return scanner.recurrence is not None and minute * MINUTE % round(scanner.recurrence.total_seconds() * SECOND) == 0


@pytest.mark.slow
def test_the_demos_day_has_many_round_trips_of_every_strategy() -> None:
    play, most = trade_the_day(seed=0)
    assert (play.lines, play.stopped, play.waiting) == ([], [], [])
    trips = Counter(trip.strategy for trip in play.trips)
    assert trips.total() >= 20
    assert all(trips[name] >= 3 for name in ("MomentumBreakout", "VwapReversion", "Rotation"))
    assert {trip.side.value for trip in play.trips if trip.strategy == "VwapReversion"} == {"buy", "sell"}
    assert all(order.quantity == int(order.quantity) for order in play.orders)
    assert most < 100_000, "no entry is refused because the account is full"
    for order in play.orders:
        assert order.planned_stop is not None and order.planned_target is not None
        if order.limit_price is not None:  # an entry: what it loses at its stop, filled at its worst
            assert order.quantity * abs(order.limit_price - order.planned_stop) <= 101  # 100 $ and the cents of ticks
