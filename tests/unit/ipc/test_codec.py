"""What travels comes back as it was sent."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.events import Bar, Correction, EventBatch, FeedEvent, Pick, Quote, Status, TradeTick, Unpick
from liualgotrader.common.orders import Declare, Fill, Intent, News, OrderIntent, OrderNews, OrderState, OrderType, Side
from liualgotrader.ipc.batch_codec import (
    decode_batch,
    decode_intents,
    decode_news,
    decode_picks,
    encode_batch,
    encode_intents,
    encode_news,
    encode_picks,
    frames,
)
from liualgotrader.ipc.links import FRAME_BYTES

symbols = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ.", min_size=1, max_size=6)
instants = st.integers(0, 2**63 - 1)
numbers = st.floats(0, 1e9)
events = st.one_of(
    st.builds(TradeTick, symbols, instants, numbers, numbers, st.integers(0, 7)),
    st.builds(Quote, symbols, instants, numbers, numbers, numbers, numbers),
    st.builds(Bar, symbols, instants, instants, *[numbers] * 6, st.integers(0, 10**6)),
    st.builds(Status, symbols, instants, st.booleans(), st.text(max_size=3), st.text(max_size=5)),
    st.builds(Correction, symbols, instants, *[numbers] * 4),
    st.builds(Pick, symbols, instants, st.text(max_size=9), st.text(max_size=9)),
    st.builds(Unpick, symbols, instants),
)


@given(st.lists(events, max_size=20), st.integers(0, 99))
def test_a_batch_comes_back_as_it_was(made: list[FeedEvent], dropped: int) -> None:
    batch = EventBatch(1, 2, 3, made, dropped)
    assert decode_batch(encode_batch(batch)) == batch


def test_intents_news_and_picks_come_back_as_they_were() -> None:
    order = OrderIntent(
        "liu-0-1-2", 1, "S", "AAPL", Side.BUY, Decimal("1.50"), OrderType.LIMIT, 5, 6, limit_price=Decimal("190.01")
    )
    intents: list[Intent] = [order, Declare(1, "S", True, 7)]
    news: list[News] = [
        OrderNews(1, 1, "liu-0-1-2", "AAPL", Side.BUY, OrderState.SENT, 5, Decimal(1), Decimal(0)),
        Fill(
            2,
            1,
            "liu-0-1-2",
            "e",
            "AAPL",
            Side.BUY,
            Decimal(1),
            Decimal("190"),
            Decimal(0),
            5,
            Decimal(1),
            Decimal(0),
            Decimal(1),
        ),
    ]
    picks = [Pick("AAPL", 5, "momentum", "S")]
    assert decode_intents(encode_intents(intents)) == intents
    assert decode_news(encode_news(news)) == news
    assert decode_picks(encode_picks(picks)) == picks


@given(st.lists(st.integers(1, 40_000), max_size=30))
def test_any_number_of_items_goes_into_messages_that_fit_in_order(sizes: list[int]) -> None:
    picks = [Pick("A", number, "x" * size) for number, size in enumerate(sizes)]
    messages = list(frames(picks, encode_picks))
    assert all(len(message) <= FRAME_BYTES for message in messages)
    assert [pick for message in messages for pick in decode_picks(message)] == picks


def test_an_item_that_fits_in_no_message_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        list(frames([Pick("A", 1, "x" * FRAME_BYTES)], encode_picks))
