"""Polygon's protocol without a socket: what is said, what comes of it, and what cannot be true."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.events import Bar, Counts, Quote, TradeTick
from liualgotrader.data.feed_base import FeedState, Remedy
from liualgotrader.data.polygon_feed import PolygonFeed

MS = 1_709_908_200_123  # 2024-03-08 14:30:00.123 UTC
MINUTE = MS - 123
TRADE = {"ev": "T", "sym": "AAPL", "i": "5", "x": 11, "p": 170.5, "s": 100, "c": [14, 41], "t": MS, "q": 7, "z": 3}
QUOTE = {
    "ev": "Q",
    "sym": "AAPL",
    "bx": 11,
    "bp": 170.4,
    "bs": 300,
    "ax": 12,
    "ap": 170.6,
    "as": 200,
    "c": 0,
    "t": MS,
    "z": 3,
}
BAR = {
    "ev": "AM", "sym": "AAPL", "v": 900, "av": 9000, "op": 170.0, "vw": 170.4, "o": 170.0, "c": 170.5, "h": 171.0, "l": 169.5,
    "a": 170.3, "z": 90, "s": MINUTE, "e": MINUTE + 60_000,
}  # fmt: skip


def told(*messages: Any) -> bytes:
    return json.dumps(messages).encode()


def status(word: str, text: str = "") -> bytes:
    return told({"ev": "status", "status": word, "message": text})


@pytest.fixture
def feed() -> PolygonFeed:
    return PolygonFeed("the-key")


def said(feed: PolygonFeed) -> list[dict[str, str]]:
    return [json.loads(frame) for frame in feed.to_send()]


def test_the_conversation_goes_from_the_key_to_one_answer_for_each_name(feed: PolygonFeed) -> None:
    feed.subscribe(["aapl", "IBM"], ["T", "AM"])
    assert said(feed) == []
    feed.receive(status("connected"))
    assert said(feed) == [{"action": "auth", "params": "the-key"}]
    feed.receive(status("auth_success"))
    assert said(feed) == [{"action": "subscribe", "params": "T.AAPL,AM.AAPL,T.IBM,AM.IBM"}]
    for name in ("T.AAPL", "AM.AAPL", "T.IBM"):
        feed.receive(status("success", f"subscribed to: {name}"))
        assert not feed.subscribed
    feed.receive(status("success", "subscribed to: AM.IBM"))
    assert (feed.subscribed, feed.state, feed.symbols) == (True, FeedState.SUBSCRIBED, {"AAPL", "IBM"})
    feed.subscribe(["AAPL"], ["T"])
    assert said(feed) == []  # carried already
    feed.unsubscribe(["aapl"])
    assert said(feed) == [{"action": "unsubscribe", "params": "T.AAPL,AM.AAPL"}]
    feed.reconnected()
    feed.receive(status("auth_success"))
    assert said(feed) == [{"action": "subscribe", "params": "T.IBM,AM.IBM"}]


def test_all_kinds_become_events_in_nanoseconds(feed: PolygonFeed) -> None:
    second = {**BAR, "ev": "A", "s": MINUTE, "e": MINUTE + 1000}
    events = feed.receive(told(TRADE, QUOTE, BAR, second, {"ev": "LULD", "T": "AAPL"}))
    at, opened = MS * 1_000_000, MINUTE * 1_000_000
    assert events == [
        TradeTick("AAPL", at, 170.5, 100.0, 7), Quote("AAPL", at, 170.4, 300.0, 170.6, 200.0),
        Bar("AAPL", opened, opened + 60_000_000_000, 170.0, 171.0, 169.5, 170.5, 900.0, 170.4, 10),
        Bar("AAPL", opened, opened + 1_000_000_000, 170.0, 171.0, 169.5, 170.5, 900.0, 170.4, 10),
    ]  # fmt: skip
    assert (feed.bad, feed.passed_over, feed.messages) == (0, 1, 5)


@pytest.mark.parametrize(
    ("conditions", "tape", "counts"),
    [
        ([], 1, Counts.ALL),
        ([0], 3, Counts.ALL),
        ([37], 3, Counts.VOLUME),  # odd lot
        ([12, 37], 1, Counts.VOLUME),  # outside regular hours
        ([10], 1, Counts.HIGH_LOW | Counts.VOLUME),  # derivatively priced
        ([15], 2, Counts.NOTHING),  # official close
        ([2], 1, Counts.VOLUME),  # average price
        ([4], 3, Counts.ALL),  # bunched, on Nasdaq's tape
        ([999], 3, Counts.VOLUME),
    ],
)
def test_conditions_say_what_a_trade_counts_for(
    feed: PolygonFeed, conditions: list[int], tape: int, counts: Counts
) -> None:
    [event] = feed.receive(told({**TRADE, "c": conditions, "z": tape}))
    assert isinstance(event, TradeTick)
    assert event.flags == int(counts)


@pytest.mark.parametrize(
    "odd",
    [
        {**TRADE, "p": 0}, {**TRADE, "p": -1}, {**TRADE, "p": 1e300}, {**TRADE, "s": -1}, {**TRADE, "p": "170"},
        {**TRADE, "t": 0}, {**TRADE, "t": MS * 1_000_000}, {**TRADE, "t": 10**30}, {**TRADE, "sym": None},
        {**QUOTE, "bp": -0.1}, {**QUOTE, "as": 1e18},
        {**BAR, "l": 170.2}, {**BAR, "h": 0}, {**BAR, "s": MINUTE + 1}, {**BAR, "e": MINUTE + 1000}, {"ev": "?"}, 7,
    ],
)  # fmt: skip
def test_a_message_that_cannot_be_true_is_counted_and_costs_the_others_nothing(feed: PolygonFeed, odd: Any) -> None:
    assert len(feed.receive(told(TRADE, odd, QUOTE), MS * 2_000_000)) == 2
    assert feed.bad == 1


def test_a_side_without_quotes_is_zero(feed: PolygonFeed) -> None:
    [quote] = feed.receive(told({"ev": "Q", "sym": "AAPL", "bp": 1.5, "bs": 100, "t": MS}))
    assert quote == Quote("AAPL", MS * 1_000_000, 1.5, 100.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("auth_failed", Remedy.GIVE_UP), ("auth_timeout", Remedy.RECONNECT), ("max_connections", Remedy.RECONNECT),
        ("slow_consumer", Remedy.RECONNECT), ("force_disconnect", Remedy.RECONNECT), ("a_new_word", Remedy.GO_ON),
    ],
)  # fmt: skip
def test_every_complaint_of_the_vendor_has_a_remedy(feed: PolygonFeed, word: str, remedy: Remedy) -> None:
    feed.receive(status(word, "so it is"))
    [notice] = feed.notices()
    assert (notice.code, notice.remedy) == (word, remedy)
    assert "so it is" in notice.text


def test_a_refusal_that_names_nothing_ends_what_is_open_and_is_asked_for_anew_after_a_break(feed: PolygonFeed) -> None:
    feed.subscribe(["AAPL", "IBM"], ["T"])
    feed.receive(status("auth_success"))
    assert said(feed) == [{"action": "subscribe", "params": "T.AAPL,T.IBM"}]
    feed.receive(status("success", "subscribed to: T.AAPL"))
    feed.receive(status("error", "you may not"))
    assert (feed.subscribed, feed.symbols, feed.refused) == (True, {"AAPL"}, {"IBM"})
    [notice] = feed.notices()
    assert notice.text == "market data: Polygon does not carry T.IBM (error: you may not)"
    feed.reconnected()
    assert feed.symbols == {"AAPL", "IBM"}


@given(st.binary() | st.text().map(str.encode) | st.lists(st.dictionaries(st.sampled_from(["ev", "sym", "p", "s", "t", "c", "z", "status"]), st.none() | st.integers() | st.floats() | st.text())).map(lambda found: json.dumps(found).encode()))  # fmt: skip
def test_no_frame_ends_the_feed(frame: bytes) -> None:
    feed = PolygonFeed("the-key")
    feed.receive(frame)
    assert feed.frames == 1
