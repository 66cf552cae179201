"""The price that an order is judged by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.events import Quote
from liualgotrader.common.orders import Side
from liualgotrader.engine.slot import SymbolState
from liualgotrader.strategies.frames import lazy_frames

LAST = (19.50, 100)
sides = st.sampled_from(list(Side))
cents = st.integers(0, 10_000_000).map(lambda n: n / 100)


def state_with(quote: Quote | None, last: tuple[float, int] = LAST) -> SymbolState:
    state = SymbolState("A", (), lazy_frames)
    state.last_price, state.last_at = last
    state.quote = quote
    return state


def quote(bid: float, ask: float, at: int = 101) -> Quote:
    return Quote("A", at, bid, 100, ask, 100)


@pytest.mark.parametrize(
    ("bid", "ask"),
    [(0.01, 20.0), (0.01, 199_999.99), (25.0, 19.0), (0.0, 19.6), (19.4, 0.0), (17.0, 19.6)],
    ids=["stub bid", "stub both", "crossed", "no bid", "no offer", "a seventh wide"],
)
@pytest.mark.parametrize("side", list(Side))
def test_a_quote_that_is_no_market_says_nothing(bid: float, ask: float, side: Side) -> None:
    assert state_with(quote(bid, ask)).reference(side) == LAST
    assert state_with(quote(bid, ask), last=(0.0, 0)).reference(side) is None


def test_a_newer_quote_counts_with_the_side_that_the_order_trades_against() -> None:
    state = state_with(quote(19.40, 19.60))
    assert state.reference(Side.BUY) == (19.60, 101)
    assert state.reference(Side.SELL) == (19.40, 101)


def test_a_newer_trade_counts_before_a_quote() -> None:
    assert state_with(quote(19.40, 19.60, at=99)).reference(Side.BUY) == LAST


@given(cents, cents, sides)
def test_whatever_is_quoted_the_price_is_the_last_or_that_of_a_market_at_most_a_tenth_wide(
    bid: float, ask: float, side: Side
) -> None:
    found = state_with(quote(bid, ask)).reference(side)
    assert found is not None
    price, at = found
    if at != LAST[1]:
        assert price == (ask if side is Side.BUY else bid)
        assert 0 < bid <= ask <= bid * 1.1053, "21/19 is the widest that a tenth of the middle allows"
        middle = (bid + ask) / 2
        assert abs(price - middle) <= 0.0501 * middle
