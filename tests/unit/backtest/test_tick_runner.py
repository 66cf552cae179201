"""Runs on trades and quotes: when an order arrives, what it meets there, and what strategies know by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liualgotrader.backtest.run_record import BacktestTerms, RunRecord
from liualgotrader.backtest.tick_runner import TickBacktest
from liualgotrader.common.calendar import new_york, sessions
from liualgotrader.common.clock import DAY, MILLISECOND, MINUTE, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar, TradeTick
from liualgotrader.common.market_columns import QuoteColumns, TradeColumns
from liualgotrader.common.ports import Asset
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import EVENT_KINDS
from liualgotrader.data.market_store import MarketStore
from liualgotrader.data.store_tape import StoreTape
from liualgotrader.exchange.rules import Rules
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.tapes.base import ColumnTape, SecondsTape
from liualgotrader.tapes.columns import SymbolColumns
from liualgotrader.tapes.splits import Split
from tests.unit.backtest.test_runner import BATCH, UNBOUND, trades

DAYS = sessions(date(2024, 3, 7), date(2024, 3, 8))
Figures = Sequence[tuple[float, ...]]


class WrittenTape(ColumnTape):
    """The trades (second of the session, price, shares) and quotes (second, bid, shares, ask, shares) of one symbol."""

    def __init__(self, number: int, prints: Figures, quotes: Figures) -> None:
        super().__init__(DAYS[number], [Asset("ABC", "Alphabet Soup", "NASDAQ")])
        self.prints, self.quotes = prints, quotes

    def _load(self, symbol: str) -> SymbolColumns:
        at, price, size = np.array(self.prints, float).reshape(-1, 3).T
        when, bid, bid_size, ask, ask_size = np.array(self.quotes, float).reshape(-1, 5).T
        all_flags, no_flags = np.full(len(at), 7), np.zeros(len(when), np.int64)
        trades = TradeColumns(self._times(at), price, size, all_flags)
        return SymbolColumns(symbol, QuoteColumns(self._times(when), bid, bid_size, ask, ask_size, no_flags), trades)

    def _times(self, seconds: Any) -> Any:
        return self.opens_at + np.rint(seconds * 1000).astype(np.int64) * MILLISECOND

    def history(self, symbol: str, period: int) -> list[Bar]:
        before = DAYS[0]
        if self.day == before.day or period == DAY:
            return []
        minutes = [before.closes_at - MINUTE, before.closes_at]  # the second one after the close
        return [Bar("ABC", at, at + MINUTE, 99.0, 99.5, 98.5, 99.25, 500.0, 99.1, 3) for at in minutes]

    def notes(self) -> list[str]:
        return []


def played(
    kind: type[Strategy], tapes: Mapping[date, ColumnTape], *, loads: bool = False, run_all: bool = False, **more: Any
) -> RunRecord:
    strategy = kind("Tested", batch_id=BATCH)
    with pytest.raises(StopIteration):  # it waits for nothing
        strategy.create().send(None)
    days = tuple(session for session in DAYS if session.day in tapes)
    rules = Rules(latency_ns=more.pop("latency", MILLISECOND))
    events = frozenset(more.pop("events", EVENT_KINDS))
    terms = BacktestTerms(
        batch_id=BATCH, sessions=days, rules=rules, limits=UNBOUND, period=more.pop("period", 0), **more
    )
    backtest = TickBacktest(terms, lambda session: tapes[session.day], events)
    if loads:
        strategy.data_loader = backtest.loader
    day_trade = strategy.type is StrategyType.DAY_TRADE
    return backtest.run({SlotPlan(1, "Tested", 0, 1, day_trade=day_trade, run_all=run_all): strategy})


class BuysOnPrint(Strategy):
    """Buys 100 shares on the first print at 101."""

    strategy_type = StrategyType.SWING

    def on_trade(self, ctx: Any, trade: Any) -> None:
        if trade.price == 101 and not ctx.position and not ctx.open_orders:
            ctx.buy(100)


CALM = (0.0, 99.99, 500, 100.01, 500)


@pytest.mark.parametrize(
    ("latency", "expected_at", "price"),
    [
        # The print at 60.03 s is known at 60.1 s: what stood at 60.05 s is gone by then, and so on.
        (MILLISECOND, 60_101, "100.21"),
        (250 * MILLISECOND, 60_350, "100.31"),
        (0, 60_100, "100.21"),
    ],
)
def test_an_order_arrives_at_the_end_of_its_tenth_of_a_second_and_the_latency_and_meets_what_stands_then(
    latency: int, expected_at: int, price: str
) -> None:
    quotes = [
        CALM,
        (60.0, 99.99, 500, 100.11, 500),
        (60.05, 100.19, 500, 100.21, 500),
        (60.3, 100.29, 500, 100.31, 500),
    ]
    tape = WrittenTape(1, [(59.0, 100, 100), (60.03, 101, 100), (70, 101, 100)], quotes)
    [fill] = trades(played(BuysOnPrint, {tape.day: tape}, latency=latency))
    assert (fill.at, fill.price) == (tape.opens_at + expected_at * MILLISECOND, Decimal(price))


def test_what_is_displayed_bounds_a_fill_and_the_rest_waits_for_the_next_quote() -> None:
    quotes = [(0.0, 99.99, 500, 100.01, 30), (62.0, 99.99, 500, 100.05, 500)]
    tape = WrittenTape(1, [(60.03, 101, 100)], quotes)
    fills = [
        (fill.at - tape.opens_at, int(fill.quantity), float(fill.price))
        for fill in trades(played(BuysOnPrint, {tape.day: tape}))
    ]
    assert fills == [(60_101 * MILLISECOND, 30, 100.01), (62 * SECOND, 70, 100.05)]


def test_a_minute_is_told_once_it_is_over_with_what_a_vendor_knows_of_before() -> None:
    """History ends with the minute after yesterday's close, and goes on with those before today's open."""
    seen: list[tuple[str, float, int, list[float]]] = []

    class Notes(Strategy):
        strategy_type = StrategyType.SWING

        def on_bar(self, ctx: Any, bar: Any) -> None:
            seen.append((f"{ctx.now:%H:%M:%S}", bar.close, bar.count, ctx.bars.close[-4:].tolist()))

    early = (-90.0, 98, 100)
    tape = WrittenTape(1, [early, (10, 100, 100), (20, 102, 100), (60, 103, 100), (125, 104, 100)], [CALM])
    played(Notes, {tape.day: tape})
    assert seen == [
        ("09:31:00", 102.0, 2, [99.25, 99.25, 98.0, 102.0]),
        ("09:32:00", 103.0, 1, [99.25, 98.0, 102.0, 103.0]),
        ("09:33:00", 104.0, 1, [98.0, 102.0, 103.0, 104.0]),
    ]


@pytest.mark.parity(10)
def test_a_position_of_a_day_trade_is_closed_before_the_close_and_one_of_a_swing_stays_over_night() -> None:
    first = WrittenTape(0, [(60.03, 101, 100), (22_000, 100, 100)], [CALM, (22_300, 99.99, 500, 100.01, 500)])
    second = WrittenTape(1, [(5, 100, 100)], [CALM])
    tapes = {first.day: first, second.day: second}
    swing = played(BuysOnPrint, tapes)
    assert [fill.operation for fill in trades(swing)] == ["buy"]
    assert swing.equity.tolist() == [99_999.0, 99_999.0]  # 100 shares at 100.01, worth 100.00 each

    class ForADay(BuysOnPrint):
        strategy_type = StrategyType.DAY_TRADE

    bought, sold = trades(played(ForADay, tapes))
    # A quarter of an hour before the close; the quote of three minutes before is the newest.
    assert (sold.operation, sold.at) == ("sell", new_york(first.day, time(15, 45)) + MILLISECOND)
    assert (bought.price, sold.price) == (Decimal("100.01"), Decimal("99.99"))


def test_seconds_are_told_at_their_end_and_an_order_then_meets_the_last_quote_of_the_second() -> None:
    prints = [(59, 100, 100), (60.03, 101, 100), (60.5, 103, 50), (60.9, 102, 100), (125, 102, 100)]
    quotes = [CALM, (60.2, 101.49, 500, 101.5, 500), (60.8, 102.49, 500, 102.5, 500), (61.5, 104.99, 500, 105, 500)]
    tape = WrittenTape(1, prints, quotes)
    seen: list[tuple[str, float, float, float, float, float]] = []
    minutes: list[tuple[str, float, float, float]] = []

    class OnSeconds(Strategy):
        strategy_type = StrategyType.SWING

        def on_second(self, ctx: Any, bar: Any) -> None:
            seen.append((f"{ctx.now:%H:%M:%S}", bar.open, bar.high, bar.low, bar.close, bar.volume))
            assert ctx.last == bar.close
            if bar.high == 103:
                ctx.buy(100)

        def on_bar(self, ctx: Any, bar: Any) -> None:
            minutes.append((f"{ctx.now:%H:%M:%S}", bar.open, bar.high, bar.volume))

        def on_trade(self, ctx: Any, trade: Any) -> None:
            raise AssertionError("seconds tell no prints")

    record = played(OnSeconds, {tape.day: SecondsTape(tape)}, period=SECOND, events=("second", "minute"))
    assert seen == [
        ("09:31:00", 100, 100, 100, 100, 100),
        ("09:31:01", 101, 103, 101, 102, 250),
        ("09:32:06", 102, 102, 102, 102, 100),
    ]
    assert minutes == [("09:31:00", 100, 100, 100), ("09:32:00", 101, 103, 250), ("09:33:00", 102, 102, 100)]
    [fill] = trades(record)
    assert (fill.at, fill.price) == (tape.opens_at + 61_001 * MILLISECOND, Decimal("102.5"))
    assert not record.failures


def stored(folder: Path, tape: WrittenTape, *kinds: str) -> MarketStore:
    """A store of a tape's trades and quotes, or of its seconds."""
    store, columns = MarketStore(folder, durable=False), tape.columns("ABC")
    whole = [(new_york(tape.day, time(0)), new_york(tape.day, time(0)) + DAY)]
    for kind in kinds:
        if kind == "seconds":
            store.write("ABC", SECOND, tape.bars_today("ABC", SECOND), whole, "tests")
        else:
            store.write("ABC", 0, columns.trades if kind == "trades" else columns.quotes, whole, "tests")
    return store


def test_a_day_of_the_store_is_played_as_what_it_was_filled_with(tmp_path: Path) -> None:
    quotes = [(0.0, 99.99, 500, 100.01, 30), (62.0, 99.99, 500, 100.05, 500)]
    tape = WrittenTape(1, [(60.03, 101, 100), (70.0, 102, 100)], quotes)
    store = stored(tmp_path / "ticks", tape, "trades", "quotes")
    kept = StoreTape(store, tape.day)
    assert list(kept.events(0, 2**62)) == list(tape.events(0, 2**62))
    assert (kept.symbols(), kept.notes()) == (("ABC",), [])
    fills, expected = (trades(played(BuysOnPrint, {tape.day: one})) for one in (kept, tape))
    assert [(one.at, one.price) for one in fills] == [(one.at, one.price) for one in expected]
    assert expected

    seconds = StoreTape(stored(tmp_path / "seconds", tape, "seconds"), tape.day)
    assert [(e.price, e.size) for e in seconds.events(0, 2**62) if isinstance(e, TradeTick)] == [(101, 100), (102, 100)]
    assert [note.partition(";")[0] for note in seconds.notes()] == [
        "ABC: no quotes are stored",
        "ABC: trades are made from seconds or minutes, up to four prints a bar.",
    ]


def test_a_day_or_a_symbol_that_the_store_lacks_is_named(tmp_path: Path) -> None:
    store = stored(tmp_path, WrittenTape(1, [(60.03, 101, 100)], [CALM]), "trades")
    with pytest.raises(ConfigError, match="holds no market data for 2024-03-07; it has 2024-03-08"):
        StoreTape(store, DAYS[0].day)
    with pytest.raises(ConfigError, match="no trades yet: name a folder with --data"):
        StoreTape(MarketStore(tmp_path / "empty"), DAYS[1].day)
    with pytest.raises(ConfigError, match="holds nothing for XYZ; it has ABC"):
        StoreTape(store, DAYS[1].day, ["xyz"])


def test_the_loader_of_a_strategy_ends_with_the_print_that_it_is_told_of() -> None:
    """Before it lie the minutes that a vendor has: yesterday's last and the one after it, and one before the open."""
    seen: list[tuple[float, float, int]] = []

    class Loads(Strategy):
        strategy_type = StrategyType.SWING

        def on_trade(self, ctx: Any, trade: Any) -> None:
            frame = self.data_loader["ABC"].close[:]
            seen.append((trade.price, float(frame.iloc[-1]), len(frame)))

    tape = WrittenTape(1, [(-90, 98, 100), (10, 100, 100), (70, 102, 100), (125, 104, 100)], [CALM])
    assert not played(Loads, {tape.day: tape}, loads=True).failures
    assert seen == [(100.0, 100.0, 4), (102.0, 102.0, 5), (104.0, 104.0, 6)]


def test_of_a_symbol_that_is_not_followed_closed_minutes_of_regular_trading_are_known() -> None:
    """A session's scanner knows the newest print, and the minutes outside of regular trading."""
    tape = WrittenTape(1, [(-90, 98, 100), (10, 100, 100), (70, 102, 100)], [CALM])
    terms = BacktestTerms(batch_id=BATCH, sessions=(DAYS[1],), period=0)
    known = TickBacktest(terms, lambda session: tape, frozenset(EVENT_KINDS)).data
    now = tape.opens_at
    known.now = lambda: now
    assert [bar.close for bar in known.bars_now(["ABC"], 0, 2**62, minutes=1)["ABC"]] == [99.25]
    now = tape.opens_at + 65 * SECOND
    assert known.snapshots_now(["ABC"])["ABC"].last_price == 100.0


def test_a_strategy_over_all_symbols_sees_every_print_of_the_open_minute() -> None:
    """A session samples four times a second what its home gets."""
    seen: list[tuple[int, int, dict[str, float], float | None]] = []

    class Everything(Strategy):
        strategy_type = StrategyType.SWING

        async def should_run_all(self) -> bool:
            return True

        async def run_all(  # type: ignore[override]
            self, symbols_position: Any, data_loader: Any, now: Any, **more: Any
        ) -> dict[str, Any]:
            seen.append((now.hour * 60 + now.minute, now.second, dict(symbols_position), more.get("portfolio_value")))
            return {"ABC": {"side": "buy", "qty": "10", "type": "market"}} if len(seen) == 2 else {}

    tape = WrittenTape(1, [(10, 100, 100), (200, 102, 100)], [CALM, (150.0, 100.99, 500, 101.01, 500)])
    record = played(Everything, {tape.day: tape}, run_all=True)
    assert seen[:3] == [
        (570, 0, {"ABC": 0.0}, 100_000.0),
        (571, 0, {"ABC": 0.0}, 100_000.0),
        (572, 0, {"ABC": 10.0}, 99_999.9),  # its ten shares are worth 100.00 each
    ]
    [fill] = trades(record)
    assert (fill.at - tape.opens_at, float(fill.price)) == (60 * SECOND + MILLISECOND, 100.01)


def test_without_a_scanner_all_symbols_are_followed_from_the_open_on() -> None:
    seen: list[float] = []

    class Notes(Strategy):
        strategy_type = StrategyType.SWING

        def on_trade(self, ctx: Any, trade: Any) -> None:
            seen.append(trade.price)

    tape = WrittenTape(
        1, [(-1, 98, 100), (0, 100, 100), (10, 101, 100), (23_399.9, 102, 100), (23_400, 103, 100)], [CALM]
    )
    played(Notes, {tape.day: tape})
    assert seen == [100, 101]  # the last tenth of a second is known at the close, when only bars are told


def test_prices_of_a_session_after_a_split_are_in_its_terms() -> None:
    """Two shares for one: the position doubles, and the bars of the day before are halved."""
    seen: list[list[float]] = []

    class Keeps(BuysOnPrint):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            seen.append([ctx.position, *ctx.bars.close[-2:].tolist()])

    first = WrittenTape(0, [(60.03, 101, 100), (200, 100, 100)], [CALM])
    second = WrittenTape(1, [(5, 51, 100)], [(0.0, 50.99, 500, 51.01, 500)])
    record = played(Keeps, {first.day: first, second.day: second}, splits={"ABC": [Split(second.day, 2.0)]})
    assert seen == [[100, 101], [100, 101, 100], [200, 50, 51]]
    assert record.equity.tolist() == [99_999.0, 100_199.0]  # 200 shares worth 51, for what cost 10,001
