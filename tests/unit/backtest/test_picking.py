"""Scanners of a run: when they are asked, what they see, and whom their picks are for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from liualgotrader.backtest.picking import Scanning
from liualgotrader.backtest.run_record import BacktestTerms, RunRecord
from liualgotrader.backtest.runner import Backtest
from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import DAY, MINUTE, NEVER, as_datetime, instant
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import Timings
from liualgotrader.scanners.base import Scanner, make_scanner
from liualgotrader.strategies.base import Strategy, StrategyType

DAYS = sessions(date(2024, 7, 1), date(2024, 7, 3))  # the last is a half day
PLAYED = DAYS[1:]


def rising(symbol: str, price: float, gap: float = 0.0) -> BarColumns:
    """Minutes that rise by a cent each, and by `gap` over each night; a thousand shares each."""
    opened = np.concatenate([np.arange(d.opens_at, d.closes_at, MINUTE, dtype=np.int64) for d in DAYS])
    night = np.searchsorted([d.opens_at for d in DAYS], opened, side="right") - 1
    opening = price + np.arange(len(opened)) / 100 + gap * night
    close = opening + 0.01
    volume = np.full(len(opened), 1000.0)
    return BarColumns(
        symbol, opened, opened + MINUTE, opening, close, opening, close, volume, close, np.ones(len(opened))
    )


BARS = {one.symbol: one for one in (rising("AA", 20.0), rising("BB", 30.0, gap=5.0), rising("CC", 40.0))}


class Hears(Strategy):
    """Notes which bars it is told."""

    strategy_type = StrategyType.SWING

    def __init__(self, buys: str = "", sells_at: int = NEVER) -> None:
        super().__init__("Hears", batch_id="b")
        self.sells_at = sells_at
        self.told: list[tuple[str, int, int]] = []
        self.buys = buys

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.told.append((bar.symbol, bar.closed_at, len(ctx.bars)))
        if bar.closed_at == self.sells_at:
            ctx.close()
        elif bar.symbol == self.buys and not ctx.position and bar.closed_at < self.sells_at:
            ctx.buy(1)


class Asked(Scanner):
    """Answers what it is made with, and notes what it sees."""

    def __init__(self, answer: Callable[[datetime], Any], minutes: float | None = None, target: str = "") -> None:
        super().__init__(
            "asked", recurrence=timedelta(minutes=minutes) if minutes else None, target_strategy_name=target
        )
        self.answer = answer
        self.seen: list[tuple[int, dict[str, Any]]] = []

    async def run(self, back_time: datetime | None = None) -> list[str]:
        assert back_time is not None
        symbols = sorted(await self.data_api.tradable_symbols())
        self.seen.append((instant(back_time), dict(await self.data_api.snapshots(symbols))))
        found: list[str] = self.answer(back_time)
        return found


def always(*symbols: str) -> Callable[[datetime], list[str]]:
    return lambda at: list(symbols)


def play(
    strategies: Sequence[Strategy], scanners: Sequence[Scanner], *, unpick: int = NEVER, **more: Any
) -> tuple[RunRecord, Scanning]:
    terms = BacktestTerms(batch_id="b", sessions=tuple(PLAYED), timings=Timings(order_lifetime_seconds=1e7), **more)
    backtest = Backtest(terms, BARS)
    named = {f"s{n}": scanner for n, scanner in enumerate(scanners)}
    scanning = Scanning(named, backtest.data, PLAYED, terms.period, unpick)
    slots = {SlotPlan(n, f"S{n}", 0, n, day_trade=False): one for n, one in enumerate(strategies, 1)}
    return backtest.run(slots, picking=scanning), scanning


def closes(symbol: str, after: int, until: int = NEVER) -> list[tuple[str, int, int]]:
    """The bars that a strategy must hear between two instants, with how many have closed by then."""
    every = enumerate(BARS[symbol].closed_at.tolist(), 1)
    return [(symbol, at, n) for n, at in every if after < at <= until]


@pytest.mark.parity(15, 54)
def test_a_scanner_runs_at_the_open_and_once_a_recurrence_and_sees_only_what_has_closed() -> None:
    scanner = Asked(always("AA"), minutes=100)
    play([Hears()], [scanner])
    grid = [d.opens_at + k * 100 * MINUTE for d in PLAYED for k in range(4) if k * 100 < d.minutes]
    assert [at for at, _ in scanner.seen] == grid  # 09:30, 11:10, 12:50, 14:30 and, on the half day, three
    for at, seen in scanner.seen:
        opens_at = max(d.opens_at for d in DAYS if d.opens_at <= at)
        for symbol, bars in BARS.items():
            closed, before = bars.closed_at <= at, bars.closed_at <= opens_at
            assert seen[symbol].last_price == bars.close[closed][-1]
            assert seen[symbol].previous_daily_bar.close == bars.close[before][-1]
            today = seen[symbol].daily_bar
            assert (today is None) == (at == opens_at)
            if today is not None:
                inside = closed & ~before
                assert (today.open, today.volume) == (bars.open[inside][0], inside.sum() * 1000.0)
                assert (today.high, today.low) == (bars.high[inside].max(), bars.low[inside].min())


@pytest.mark.parametrize("period", [MINUTE, DAY])
def test_a_scanner_without_a_recurrence_and_any_on_daily_bars_runs_once_a_session(period: int) -> None:
    scanner = Asked(always("AA"), minutes=None if period == MINUTE else 5)
    play([Hears()], [scanner], period=period)
    assert [at for at, _ in scanner.seen] == [d.opens_at for d in PLAYED]


@pytest.mark.parity(17)
def test_a_strategy_is_called_for_what_was_picked_for_it_from_then_on_and_for_nothing_else() -> None:
    noon = PLAYED[0].opens_at + 150 * MINUTE
    second, other = Hears(), Hears()
    late = Asked(lambda at: ["BB"] if instant(at) == noon else [], minutes=150, target="S1")
    play([second, other], [late, Asked(always("CC"), target="S1"), Asked(always("aa", "CC"), target="S2")])
    both = sorted(closes("BB", noon, PLAYED[0].closes_at) + closes("CC", PLAYED[0].opens_at))
    assert sorted(second.told) == both  # BB's pick ended with its session
    assert sorted(other.told) == closes("AA", PLAYED[0].opens_at) + closes("CC", PLAYED[0].opens_at)


def test_a_pick_without_a_target_is_for_all_strategies() -> None:
    first, second = Hears(), Hears()
    play([first, second], [Asked(always("AA"))])
    assert first.told == second.told == closes("AA", PLAYED[0].opens_at)


def test_what_is_picked_no_more_is_let_go_after_a_while_and_a_symbol_that_is_held_later() -> None:
    first = PLAYED[0].opens_at

    def picked(at: datetime) -> list[str]:
        minutes = (instant(at) - first) // MINUTE
        return {0: ["AA", "BB"], 200: ["BB"]}.get(minutes, [])

    flat, holds, sells = Hears(), Hears(buys="AA"), Hears(buys="AA", sells_at=first + 62 * MINUTE)
    play([flat], [Asked(picked, minutes=10)], unpick=30 * MINUTE)
    assert sorted(flat.told) == sorted(
        closes("AA", first, first + 30 * MINUTE)
        + closes("BB", first, first + 30 * MINUTE)
        + closes("BB", first + 200 * MINUTE, first + 230 * MINUTE)
    )
    flat.told.clear()
    play([holds, flat, sells], [Asked(picked, minutes=10)], unpick=30 * MINUTE)
    assert [told for told in holds.told if told[0] == "AA"] == closes("AA", first)
    assert [told for told in flat.told if told[0] == "AA"] == closes("AA", first, first + 30 * MINUTE)
    assert [told for told in sells.told if told[0] == "AA"] == closes("AA", first, first + 70 * MINUTE)


def test_a_scanner_that_raises_is_named_once_with_its_time_and_count_and_the_run_goes_on() -> None:
    def sometimes(at: datetime) -> list[str]:
        if at.hour == 11:
            raise LookupError("no list today")
        return ["AA"]

    strategy = Hears()
    record, scanning = play([strategy], [Asked(sometimes, minutes=30), Asked(lambda at: "AA")])
    assert (scanning.runs, scanning.failed) == (13 + 7 + 2, 4 + 2)
    (wrong, raised), failures = scanning.warnings(), record.failures
    assert raised.startswith("scanner s0 failed 4 times, first on 2024-07-02 at 11:00 New York: LookupError: no list")
    assert "(test_picking.py:" in raised
    assert "scanner s1 failed 2 times, first on 2024-07-02 at 09:30 New York" in wrong
    assert "returned 'AA' instead of a list of symbols" in wrong
    assert failures == []
    assert strategy.told == closes("AA", PLAYED[0].opens_at)


def test_a_scanner_without_back_time_sees_the_bars_up_to_now_through_its_loader() -> None:
    backtest = Backtest(BacktestTerms(batch_id="b", sessions=tuple(PLAYED)), BARS)

    class Newest(Scanner):
        async def run(self) -> list[str]:  # type: ignore[override]
            return ["AA"] if self.data_loader["AA"].close[-1] == BARS["AA"].close[390 + 59] else []

    scanning = Scanning(
        {"s": Newest(data_loader=backtest.loader, recurrence=timedelta(minutes=30))}, backtest.data, PLAYED
    )
    backtest.run({SlotPlan(1, "S1", 0, 1, day_trade=False): Hears()}, picking=scanning)
    assert [(p.symbol, p.at) for p in scanning.picks] == [("AA", PLAYED[0].opens_at + 60 * MINUTE)]
    assert scanning.failed == 0


def test_symbols_without_bars_are_left_out_and_named() -> None:
    record, scanning = play([Hears()], [Asked(always("ZZ", "AA", "YY"), minutes=30)])
    assert scanning.warnings() == ["scanner s0 picked ZZ, YY, of which there are no bars"]
    assert record.failures == []
    assert [(p.symbol, p.at, p.scanner) for p in scanning.picks] == [("AA", d.opens_at, "s0") for d in PLAYED]


def test_the_momentum_scanner_picks_the_gaps_of_each_day_from_the_volume_until_then() -> None:
    settings = {
        "min_last_dv": 1,
        "min_share_price": 1.0,
        "max_share_price": 100.0,
        "min_volume": 14_999,
        "from_market_open": 15,
        "today_change_percent": 5.0,
    }
    strategy = Hears()
    _, scanning = play([strategy], [make_scanner(None, "momentum", settings)])
    # BB opens 5.00 above a close of 33.90 and, a day later, of 42.80: gaps of 14.7 and 11.7 %.
    at = [d.opens_at + 15 * MINUTE for d in PLAYED]
    assert [(p.symbol, p.at) for p in scanning.picks] == [("BB", at[0]), ("BB", at[1])]
    assert strategy.told == closes("BB", at[0], PLAYED[0].closes_at) + closes("BB", at[1])
    later = {**settings, "min_volume": 15_000, "recurrence": 1}
    _, scanning = play([Hears()], [make_scanner(None, "momentum", later)])
    assert [p.at for p in scanning.picks] == [one + MINUTE for one in at]


def test_the_scanners_loader_shows_nothing_that_has_not_closed() -> None:
    terms = BacktestTerms(batch_id="b", sessions=tuple(PLAYED))
    backtest = Backtest(terms, BARS)
    seen: list[tuple[int, Any, Any]] = []

    def look(at: datetime) -> list[str]:
        newest = backtest.loader["AA"]
        seen.append((instant(at), newest.close[-1], newest[: at + timedelta(days=2)].index[-1]))
        return []

    scanning = Scanning({"s": Asked(look, minutes=60)}, backtest.data, PLAYED)
    backtest.run({SlotPlan(1, "S1", 0, 1, day_trade=False): Hears()}, picking=scanning)
    assert len(seen) == 7 + 4
    for at, close, label in seen:
        assert close == BARS["AA"].close[BARS["AA"].closed_at <= at][-1]
        assert label <= as_datetime(at - MINUTE)
    assert scanning.warnings() == ["the scanners picked no symbol, so no strategy was called"]
