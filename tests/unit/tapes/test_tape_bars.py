from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.events import Bar, BarSource, Counts, TradeTick
from liualgotrader.common.market_columns import TradeColumns
from liualgotrader.tapes.minute_bars import MinuteBars, bars_every, bars_of, sum_of

NINE_THIRTY = 1_381_152_600 * SECOND  # 2013-10-07, New York
ALL, VOLUME, RANGE = int(Counts.ALL), int(Counts.VOLUME), int(Counts.HIGH_LOW | Counts.VOLUME)


def trade(second: float, price: float, size: float, flags: int = ALL, symbol: str = "ABC") -> TradeTick:
    return TradeTick(symbol, NINE_THIRTY + int(second * SECOND), price, size, flags)


trades = st.lists(
    st.builds(
        trade,
        st.floats(0, 600),
        st.integers(100, 9_900).map(lambda c: c / 100),
        st.integers(1, 5_000).map(float),
        st.integers(0, 7),
        st.sampled_from(["ABC", "XYZ"]),
    ),
    max_size=80,
).map(lambda found: sorted(found, key=lambda t: t.at))


def test_a_minute_is_open_high_low_close_volume_and_vwap_of_its_trades() -> None:
    found = bars_of([trade(0, 10.0, 100), trade(20, 10.5, 200), trade(40, 9.75, 100), trade(59.999, 10.25, 100)])
    # (10*100 + 10.5*200 + 9.75*100 + 10.25*100) / 500 = 5100 / 500
    assert found == [
        Bar("ABC", NINE_THIRTY, NINE_THIRTY + MINUTE, 10.0, 10.5, 9.75, 10.25, 500.0, 10.2, 4, int(BarSource.VENDOR))
    ]


def test_what_a_trade_counts_for_decides_what_it_moves() -> None:
    found = bars_of(
        [
            trade(0, 10.0, 100),
            trade(1, 99.0, 50, VOLUME),  # an odd lot: only volume
            trade(2, 12.0, 100, RANGE),  # sold out of sequence: high, low and volume, not the close
            trade(3, 1.0, 700, 0),  # an official close: nothing
        ]
    )
    [bar] = found
    assert (bar.open, bar.high, bar.low, bar.close) == (10.0, 12.0, 10.0, 10.0)
    assert (bar.volume, bar.count) == (250.0, 3)


def test_a_minute_without_a_price_forming_trade_has_no_bar() -> None:
    assert bars_of([trade(5, 10.0, 30, VOLUME), trade(70, 10.0, 100)]) == bars_of([trade(70, 10.0, 100)])


@given(trades)
def test_columns_of_trades_make_the_bars_that_the_trades_make_one_by_one(found: list[TradeTick]) -> None:
    """To the last bit: the parity of a backtest with a session rests on it."""
    for symbol in ("ABC", "XYZ"):
        mine = [trade for trade in found if trade.symbol == symbol]
        at, flags = (np.array([getattr(trade, name) for trade in mine], np.int64) for name in ("at", "flags"))
        price, size = (np.array([getattr(trade, name) for trade in mine], np.float64) for name in ("price", "size"))
        expected = [msgspec.structs.replace(bar, source=int(BarSource.HISTORY)) for bar in bars_of(mine)]
        assert bars_every(MINUTE, symbol, TradeColumns(at, price, size, flags)).bars() == expected


def test_a_bar_is_handed_out_by_the_first_trade_after_it_and_only_once() -> None:
    minutes = MinuteBars()
    assert minutes.add(trade(10, 10.0, 100)) is None
    assert minutes.bars("ABC", 0, 2**62) == []
    finished = minutes.add(trade(200, 11.0, 100))
    assert finished is not None
    assert finished.closed_at == NINE_THIRTY + MINUTE
    assert minutes.close_until(NINE_THIRTY + MINUTE) == []
    assert minutes.last_bar("ABC") == finished


def test_closing_by_the_clock_hands_out_only_minutes_that_have_ended() -> None:
    minutes = MinuteBars()
    minutes.add(trade(10, 10.0, 100, symbol="XYZ"))
    minutes.add(trade(11, 20.0, 100, symbol="ABC"))
    assert minutes.close_until(NINE_THIRTY + MINUTE - 1) == []
    assert [b.symbol for b in minutes.close_until(NINE_THIRTY + MINUTE)] == ["ABC", "XYZ"]
    assert minutes.close_until(NINE_THIRTY + 10 * MINUTE) == []


@pytest.mark.parametrize("closed_by", ["clock", "trade"])
def test_a_trade_in_a_closed_minute_is_refused(closed_by: str) -> None:
    minutes = MinuteBars()
    minutes.add(trade(10, 10.0, 100))
    if closed_by == "clock":
        minutes.close_until(NINE_THIRTY + MINUTE)
    else:
        minutes.add(trade(61, 10.0, 100))
    with pytest.raises(ValueError, match="minute that is closed"):
        minutes.add(trade(30, 10.0, 100))


@given(trades)
def test_volume_of_the_bars_is_the_volume_of_eligible_trades_in_minutes_that_have_a_price(
    found: list[TradeTick],
) -> None:
    priced = {(t.symbol, t.at // MINUTE) for t in found if t.flags & Counts.LAST}
    expected = sum(t.size for t in found if t.flags & VOLUME and (t.symbol, t.at // MINUTE) in priced)
    assert sum(b.volume for b in bars_of(found)) == expected


@given(trades)
def test_bars_hold_their_prices_between_low_and_high_and_come_by_time_then_symbol(found: list[TradeTick]) -> None:
    bars = bars_of(found)
    assert all(b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high for b in bars)
    assert [(b.opened_at, b.symbol) for b in bars] == sorted({(b.opened_at, b.symbol) for b in bars})
    assert all(b.closed_at - b.opened_at == MINUTE and b.opened_at % MINUTE == 0 for b in bars)


@given(trades, st.integers(0, 12))
def test_closing_by_the_clock_now_and_then_changes_no_bar(found: list[TradeTick], every: int) -> None:
    minutes, got = MinuteBars(), []
    for i, t in enumerate(found):
        if every and i % every == 0:
            got += minutes.close_until(t.at)
        bar = minutes.add(t)
        got += [bar] if bar else []
    got += minutes.close_until(2**62)
    assert sorted(got, key=lambda b: (b.opened_at, b.symbol)) == bars_of(found)


def test_bars_are_of_closed_minutes_between_the_bounds() -> None:
    minutes = MinuteBars()
    for t in (trade(-30, 50.0, 900), trade(0, 10.0, 100), trade(61, 12.0, 300), trade(130, 9.0, 100)):
        minutes.add(t)
    closes_at = NINE_THIRTY + 390 * MINUTE
    bar = sum_of(minutes.bars("ABC", NINE_THIRTY, closes_at), NINE_THIRTY, closes_at)  # the third is still open
    assert bar is not None
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap) == (10.0, 12.0, 10.0, 12.0, 400.0, 11.5)
    assert (bar.opened_at, bar.closed_at) == (NINE_THIRTY, closes_at)
    assert minutes.bars("XYZ", NINE_THIRTY, closes_at) == []
