from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.events import Counts, Quote, QuoteMark, Status, TradeTick
from liualgotrader.common.market_columns import QuoteColumns, TradeColumns, no_quotes, no_trades
from liualgotrader.tapes.columns import SymbolColumns, TapeEvent, merged, quotes_from_trades, trades_from_bars
from liualgotrader.tapes.minute_bars import bars_of

ALL = int(Counts.ALL)


def columns(
    symbol: str, quotes: list[int], trades: list[int], statuses: list[int] | None = None, mark: int = 0
) -> SymbolColumns:
    q, t = (np.array(sorted(x), np.int64) for x in (quotes, trades))
    bids, prices = (np.arange(len(x), dtype=np.float64) + first for x, first in ((q, 1), (t, 10)))
    size = np.full(len(q), 100.0)
    return SymbolColumns(
        symbol,
        QuoteColumns(q, bids, size, bids + 1, size, np.full(len(q), mark)),
        TradeColumns(t, prices, np.full(len(t), 50.0), np.full(len(t), ALL)),
        tuple(Status(symbol, at, True) for at in sorted(statuses or [])),
    )


instants = st.lists(st.integers(0, 30), max_size=25)
symbols = st.lists(st.tuples(instants, instants, instants), max_size=4).map(
    lambda found: [columns(f"S{i}", q, t, s) for i, (q, t, s) in enumerate(found)]
)
RANK = {Status: 0, Quote: 1, TradeTick: 2}


@given(symbols, st.integers(0, 31), st.integers(0, 31))
def test_merging_gives_each_event_of_the_window_once_by_time_symbol_and_kind(
    found: list[SymbolColumns], start: int, end: int
) -> None:
    expected: list[TapeEvent] = []
    for s in found:
        expected += [Quote(s.symbol, *row, 0) for row in zip(*_rows(s.quotes), strict=True)]  # type: ignore[call-arg]
        expected += [TradeTick(s.symbol, *row, ALL) for row in zip(*_rows(s.trades), strict=True)]  # type: ignore[call-arg]
        expected += s.statuses
    within = [e for e in expected if start <= e.at < end]
    within.sort(key=lambda e: (e.at, e.symbol, RANK[type(e)]))
    assert list(merged(found, start, end)) == within


def _rows(part: QuoteColumns | TradeColumns) -> list[list[float]]:
    names = ("at", "bid", "bid_size", "ask", "ask_size") if isinstance(part, QuoteColumns) else ("at", "price", "size")
    return [getattr(part, n).tolist() for n in names]


def test_events_carry_plain_python_numbers() -> None:
    quote, trade = merged([columns("A", [1], [2])], 0, 9)
    assert isinstance(quote, Quote)
    assert isinstance(trade, TradeTick)
    assert [type(v) for v in (quote.at, quote.bid, quote.flags, trade.at, trade.price, trade.flags)] == [
        *(int, float, int),
        *(int, float, int),
    ]


def test_more_events_than_a_block_come_out_whole() -> None:
    found = list(merged([columns("A", list(range(40_000)), list(range(30_000)))], 0, 10**6))
    assert len(found) == 70_000
    assert [e.at for e in found] == sorted(e.at for e in found)


def test_nothing_merged_is_nothing() -> None:
    assert list(merged([], 0, 9)) == []
    assert list(merged([SymbolColumns("A", no_quotes(), no_trades())], 0, 9)) == []


def test_a_made_up_quote_follows_the_trade_it_was_made_from() -> None:
    trades = columns("A", [], [5]).trades
    found = list(merged([SymbolColumns("A", quotes_from_trades(trades), trades)], 0, 9))
    assert [type(e) for e in found] == [TradeTick, Quote]


def test_a_made_up_quote_is_half_a_tick_round_the_last_price_and_says_so() -> None:
    made = quotes_from_trades(
        TradeColumns(
            np.arange(5),
            np.array([10.0, 10.0, 10.02, 99.0, 0.5]),
            np.array([30.0, 500.0, 700.0, 100.0, 100.0]),
            np.array([ALL, ALL, ALL, int(Counts.VOLUME), ALL]),
        )
    )
    assert made.at.tolist() == [0, 2, 4]
    assert made.bid.tolist() == [9.995, 10.015, 0.49995]
    assert made.ask.tolist() == [10.005, 10.025, 0.50005]
    assert made.bid_size.tolist() == made.ask_size.tolist() == [100.0, 700.0, 100.0]
    assert set(made.flags.tolist()) == {int(QuoteMark.SYNTHETIC)}


def test_a_stock_that_trades_on_at_one_price_is_quoted_anew_each_minute() -> None:
    at = np.arange(0, 600, 10) * SECOND
    same = np.full(len(at), 10.0)
    made = quotes_from_trades(TradeColumns(at, same, np.full(len(at), 500.0), np.full(len(at), ALL)))
    assert (made.at // SECOND).tolist() == [60 * minute for minute in range(10)]


cents = st.integers(100, 5_000).map(lambda c: c / 100)
bars = st.lists(st.tuples(cents, cents, cents, cents, st.integers(0, 9_999).map(float)), min_size=1, max_size=20)


@given(bars)
def test_bars_played_as_prints_fold_into_the_same_bars(rows: list[tuple[float, ...]]) -> None:
    shaped = [(o, max(o, a, b, c), min(o, a, b, c), c, volume) for o, a, b, c, volume in rows]
    opened = np.arange(len(shaped)) * MINUTE
    o, h, low, c, v = (np.array(x) for x in zip(*shaped, strict=True))
    t = trades_from_bars(opened, (o, h, low, c), v, MINUTE)
    assert all(np.diff(t.at) > 0)
    whole = SymbolColumns("A", no_quotes(), t)
    got = bars_of(e for e in merged([whole], 0, 2**62) if isinstance(e, TradeTick))
    found = {b.opened_at: (b.open, b.high, b.low, b.close, round(b.volume, 6)) for b in got}
    assert found == {int(at): row for at, row in zip(opened, shaped, strict=True) if row[4] > 0}


def test_prints_of_a_bar_lie_within_it_and_share_whole_shares() -> None:
    rising = trades_from_bars(
        np.array([0]), tuple(np.array([p]) for p in (10.0, 12.0, 9.0, 11.0)), np.array([103.0]), SECOND
    )
    assert rising.price.tolist() == [10.0, 9.0, 12.0, 11.0]
    assert rising.size.tolist() == [25.0, 25.0, 25.0, 28.0]
    assert rising.at.tolist() == [0, 333_333_333, 666_666_666, 999_000_000]
    flat = trades_from_bars(np.array([0]), tuple(np.array([p]) for p in (10.0,) * 4), np.array([7.0]), SECOND)
    assert (flat.price.tolist(), flat.size.tolist(), flat.at.tolist()) == ([10.0], [7.0], [0])
