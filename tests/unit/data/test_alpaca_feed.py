"""Alpaca's protocol without a socket."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.events import Bar, BarSource, Correction, Counts, Quote, Status, TradeTick
from liualgotrader.data.alpaca_conditions import counts_of
from liualgotrader.data.alpaca_feed import AlpacaFeed
from liualgotrader.data.feed_base import FeedState, Remedy
from tests.fakes.vendor_stream import timestamp

AT = 1_709_908_200_123_456_789
TEXT_AT = "2024-03-08T14:30:00.123456789Z"


def packed(*messages: dict[str, Any]) -> bytes:
    return msgspec.msgpack.encode(messages)


def said(frames: list[bytes]) -> list[dict[str, Any]]:
    return [msgspec.msgpack.decode(frame) for frame in frames]


def trade(symbol: str = "AAPL", **more: Any) -> dict[str, Any]:
    return {
        "T": "t",
        "S": symbol,
        "i": 1,
        "x": "V",
        "p": 170.5,
        "s": 100,
        "c": ["@"],
        "z": "C",
        "t": timestamp(AT),
        **more,
    }


def quote(**more: Any) -> dict[str, Any]:
    fields = {"T": "q", "S": "AAPL", "bx": "V", "bp": 170.4, "bs": 300, "ax": "N", "ap": 170.6, "as": 200}
    return {**fields, "c": ["R"], "z": "C", "t": timestamp(AT), **more}


def bar(**more: Any) -> dict[str, Any]:
    fields = {"T": "b", "S": "AAPL", "o": 170, "h": 171.5, "l": 169.5, "c": 171, "v": 12345, "n": 99, "vw": 170.6}
    return {**fields, "t": timestamp(AT - AT % MINUTE), **more}


@pytest.fixture
def feed() -> AlpacaFeed:
    """A feed that the vendor has taken in."""
    made = AlpacaFeed("k", "s")
    made.receive(packed({"T": "success", "msg": "connected"}))
    made.receive(packed({"T": "success", "msg": "authenticated"}))
    made.to_send()
    return made


MINUTE_AT = AT - AT % MINUTE
CASES = [
    (trade(), TradeTick("AAPL", AT, 170.5, 100.0, Counts.ALL)),
    (trade(c=["@", "I"], s=3), TradeTick("AAPL", AT, 170.5, 3.0, Counts.VOLUME)),
    (trade(c=None), TradeTick("AAPL", AT, 170.5, 100.0, Counts.ALL)),
    (quote(), Quote("AAPL", AT, 170.4, 300.0, 170.6, 200.0)),
    (quote(bp=0, bs=0), Quote("AAPL", AT, 0.0, 0.0, 170.6, 200.0)),
    (bar(), Bar("AAPL", MINUTE_AT, MINUTE_AT + MINUTE, 170.0, 171.5, 169.5, 171.0, 12345.0, 170.6, 99)),
    (
        bar(T="u"),
        Bar("AAPL", MINUTE_AT, MINUTE_AT + MINUTE, 170.0, 171.5, 169.5, 171.0, 12345.0, 170.6, 99, BarSource.VENDOR_UPDATE),
    ),
    (
        {"T": "c", "S": "AAPL", "x": "V", "oi": 1, "op": 170.5, "os": 100, "oc": ["@"], "ci": 2, "cp": 170.4, "cs": 90, "cc": ["@"], "z": "C", "t": timestamp(AT)},
        Correction("AAPL", AT, 170.5, 100.0, 170.4, 90.0),
    ),
    (
        {"T": "x", "S": "AAPL", "i": 1, "x": "V", "p": 170.5, "s": 100, "a": "C", "z": "C", "t": timestamp(AT)},
        Correction("AAPL", AT, 170.5, 100.0, 0.0, 0.0),
    ),
    (
        {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "News", "z": "C", "t": timestamp(AT)},
        Status("AAPL", AT, True, "H", "News"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("message", "event"), CASES)
def test_each_kind_of_message_becomes_its_event(feed: AlpacaFeed, message: dict[str, Any], event: object) -> None:
    assert feed.receive(packed(message)) == [event]
    assert feed.bad == 0


@pytest.mark.parametrize(("message", "event"), CASES)
def test_the_same_in_json_gives_the_same_event(feed: AlpacaFeed, message: dict[str, Any], event: object) -> None:
    is_bar = message["T"] in "bu"
    text = {**message, "t": "2024-03-08T14:30:00Z" if is_bar else TEXT_AT}
    assert feed.receive(msgspec.json.encode([text])) == [event]
    assert feed.bad == 0


def test_ordinary_prints_after_the_first_of_their_kind_are_the_same(feed: AlpacaFeed) -> None:
    assert feed.receive(packed(trade(), trade(), quote(), trade())) == [
        TradeTick("AAPL", AT, 170.5, 100.0, 7), TradeTick("AAPL", AT, 170.5, 100.0, 7),
        Quote("AAPL", AT, 170.4, 300.0, 170.6, 200.0), TradeTick("AAPL", AT, 170.5, 100.0, 7),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024-03-08T14:30:00Z", AT - 123_456_789),
        ("2024-03-08T14:30:00.3Z", AT - 123_456_789 + 300_000_000),
        ("2024-03-08T14:30:00.000000001Z", AT - 123_456_789 + 1),
        ("2024-03-08T09:30:00.5-05:00", AT - 123_456_789 + 500_000_000),
        ("2024-03-08T14:30:01.25Z", AT - 123_456_789 + 1_250_000_000),
    ],
)
def test_text_times_have_no_to_nine_digits(feed: AlpacaFeed, text: str, at: int) -> None:
    two = feed.receive(msgspec.json.encode([quote(t=text), quote(t=text)]))
    assert [event.at for event in two] == [at, at]


@given(st.integers(SECOND, 2**62 - 1))
def test_a_packed_time_is_exact_to_the_nanosecond(at: int) -> None:
    feed = AlpacaFeed("k", "s")
    twelve = Ext(-1, (at % SECOND).to_bytes(4, "big") + (at // SECOND).to_bytes(8, "big", signed=True))
    events = feed.receive(packed(quote(t=timestamp(at)), quote(t=twelve)))
    assert [event.at for event in events] == [at, at]


def test_a_packed_time_of_whole_seconds_may_have_four_bytes(feed: AlpacaFeed) -> None:
    (event,) = feed.receive(packed(quote(t=Ext(-1, (1_709_908_200).to_bytes(4, "big")))))
    assert event.at == 1_709_908_200 * SECOND


@pytest.mark.parametrize(
    "broken",
    [
        {"T": "t", "S": "AAPL"},
        {"T": "zz", "S": "AAPL"},
        {"S": "AAPL"},
        trade(p="170.5"),
        trade(p=0),
        trade(p=float("nan")),
        trade(p=float("inf")),
        trade(s=-5),
        trade(s=float("nan")),
        trade(t="yesterday"),
        trade(t=Ext(5, b"12345678"), c=["new"]),
        quote(bp=-1.0),
        quote(ap=float("nan")),
        quote(ap=float("inf")),
        bar(l=0),
        bar(o=0),
        bar(c=float("nan")),
        bar(h=float("inf")),
        bar(h=169.0),
        bar(v=-1),
        bar(vw=float("nan")),
        bar(t=timestamp(AT)),
        {"T": "x", "S": "AAPL", "p": float("nan"), "s": 100, "t": timestamp(AT)},
        17,
    ],
)
def test_a_message_that_cannot_be_read_costs_only_itself(feed: AlpacaFeed, broken: Any) -> None:
    events = feed.receive(msgspec.msgpack.encode([trade("A"), broken, trade("B")]))
    assert [event.symbol for event in events] == ["A", "B"]
    assert feed.bad == 1


@pytest.mark.parametrize("broken", [trade(p=float("inf")), trade(s=-5), quote(bp=float("inf"))])
def test_nonsense_is_refused_also_among_prints_of_a_known_kind(feed: AlpacaFeed, broken: dict[str, Any]) -> None:
    feed.receive(packed(trade(), quote()))
    assert feed.receive(packed(broken)) == []
    assert feed.bad == 1


@pytest.mark.parametrize(("figures", "vwap", "count"), [({"n": None}, 170.6, 0), ({"vw": None}, 171.0, 99)])
def test_a_bar_may_come_without_its_count_or_its_average(
    feed: AlpacaFeed, figures: dict[str, Any], vwap: float, count: int
) -> None:
    (event,) = feed.receive(packed(bar(**figures)))
    assert isinstance(event, Bar)
    assert (event.vwap, event.count) == (vwap, count)


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x81", b"{}", b"[1", b"\xdc\xff\xff"])
def test_a_frame_that_is_no_list_of_messages_is_counted(feed: AlpacaFeed, frame: bytes) -> None:
    assert feed.receive(frame) == []
    assert feed.bad == 1


@given(st.binary(max_size=200))
def test_no_bytes_whatever_end_the_feed(frame: bytes) -> None:
    AlpacaFeed("k", "s").receive(frame)


def test_kinds_nobody_uses_are_passed_over(feed: AlpacaFeed) -> None:
    events = feed.receive(packed({**bar(), "T": "d"}, {"T": "l", "S": "A", "u": 1, "d": 2}, {"T": "n"}, {"T": "i"}))
    assert (events, feed.passed_over, feed.bad) == ([], 4, 0)


@pytest.mark.parametrize(
    ("codes", "halted"),
    [
        (["H"], [True]),
        (["2", "5", "3"], [True, True, False]),
        (["P", "Q", "T"], [True, True, False]),  # a quotation resumption is not yet a trading resumption
        (["E", "F"], [False, False]),  # a short-sale restriction and a price band halt nothing
    ],
)
def test_a_symbol_is_halted_from_its_halt_to_its_resumption(
    feed: AlpacaFeed, codes: list[str], halted: list[bool]
) -> None:
    frames = [
        packed({"T": "s", "S": "A", "sc": code, "rc": "", "rm": "", "z": "A", "t": timestamp(AT)}) for code in codes
    ]
    assert [event.halted for frame in frames for event in feed.receive(frame)] == halted


@pytest.mark.parametrize(
    ("conditions", "tape", "counts"),
    [
        ((), "A", Counts.ALL),
        (("@", "F"), "C", Counts.ALL),
        (("@", "T", "I"), "C", Counts.VOLUME),
        (("Z",), "B", Counts.HIGH_LOW | Counts.VOLUME),
        (("M",), "C", Counts.NOTHING),
        (("9",), "A", Counts.LAST | Counts.HIGH_LOW),
        (("9", "Z"), "A", Counts.HIGH_LOW),
        (("B",), "A", Counts.VOLUME),  # average price on tapes A and B,
        (("B",), "C", Counts.ALL),  # bunched on tape C
        (("?",), "C", Counts.VOLUME),
    ],
)
def test_a_print_counts_for_what_all_of_its_conditions_allow(
    conditions: tuple[str, ...], tape: str, counts: int
) -> None:
    assert counts_of(conditions, tape) == counts


# --- the conversation ----------------------------------------------------------------------------------


def test_a_connection_is_greeted_authenticated_and_subscribed_in_that_order() -> None:
    feed = AlpacaFeed("k", "s")
    feed.subscribe(["aapl", "MSFT"], ["trades", "statuses"])
    assert (feed.state, feed.to_send()) == (FeedState.CONNECTING, [])
    feed.receive(packed({"T": "success", "msg": "connected"}))
    assert said(feed.to_send()) == [{"action": "auth", "key": "k", "secret": "s"}]
    assert feed.state is FeedState.CONNECTED
    feed.receive(packed({"T": "success", "msg": "authenticated"}))
    assert said(feed.to_send()) == [{"action": "subscribe", "trades": ["AAPL", "MSFT"], "statuses": ["AAPL", "MSFT"]}]
    assert not feed.subscribed
    feed.receive(packed({"T": "subscription", "trades": ["AAPL", "MSFT"], "statuses": ["AAPL", "MSFT"]}))
    assert (feed.state, feed.subscribed) == (FeedState.SUBSCRIBED, True)
    assert feed.to_send() == []


def test_what_is_carried_already_is_not_asked_for_again(feed: AlpacaFeed) -> None:
    feed.subscribe(["A"], ["trades"])
    feed.to_send()
    feed.subscribe(["A"], ["trades"])
    assert feed.to_send() == []
    feed.subscribe(["A", "B"], ["trades", "quotes"])
    assert said(feed.to_send()) == [{"action": "subscribe", "trades": ["B"], "quotes": ["A", "B"]}]


def test_unsubscribing_names_the_channels_that_carried_the_symbol(feed: AlpacaFeed) -> None:
    feed.subscribe(["A", "B"], ["trades", "bars"])
    feed.to_send()
    feed.unsubscribe(["a", "C"])
    assert said(feed.to_send()) == [{"action": "unsubscribe", "trades": ["A"], "bars": ["A"]}]
    assert feed.symbols == {"B"}


def test_after_a_reconnect_everything_wanted_is_asked_for_again(feed: AlpacaFeed) -> None:
    feed.subscribe(["A", "B"], ["trades"])
    feed.unsubscribe(["B"])
    feed.reconnected()
    assert (feed.state, feed.to_send()) == (FeedState.CONNECTING, [])
    feed.receive(packed({"T": "success", "msg": "connected"}))
    feed.receive(packed({"T": "success", "msg": "authenticated"}))
    assert said(feed.to_send())[1:] == [{"action": "subscribe", "trades": ["A"]}]


def test_many_symbols_go_in_messages_of_a_thousand(feed: AlpacaFeed) -> None:
    symbols = [f"S{i:04d}" for i in range(2500)]
    feed.subscribe(symbols, ["trades", "quotes"])
    requests = said(feed.to_send())
    assert [len(request["trades"]) for request in requests] == [1000, 1000, 500]
    assert [s for request in requests for s in request["quotes"]] == symbols


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (402, Remedy.GIVE_UP), (404, Remedy.RECONNECT), (406, Remedy.RECONNECT), (407, Remedy.RECONNECT),
        (409, Remedy.GIVE_UP), (411, Remedy.GIVE_UP), (403, Remedy.GO_ON), (500, Remedy.RECONNECT), (777, Remedy.RECONNECT),
    ],
)  # fmt: skip
def test_every_complaint_of_the_vendor_has_a_remedy(feed: AlpacaFeed, code: int, remedy: Remedy) -> None:
    feed.receive(packed({"T": "error", "code": code, "msg": "as it says"}))
    (notice,) = feed.notices()
    assert (notice.code, notice.remedy) == (code, remedy)
    assert f"(code {code}: as it says)" in notice.text
    assert feed.notices() == []


def answer(feed: AlpacaFeed, limit: int, carried: set[str]) -> None:
    """Be a vendor that carries `limit` symbols: answer every request until there is none."""
    while requests := said(feed.to_send()):
        for request in requests:
            asked = {s for names in request.values() if isinstance(names, list) for s in names}
            if len(carried | asked) > limit:
                feed.receive(packed({"T": "error", "code": 405, "msg": "symbol limit exceeded"}))
            else:
                carried |= asked
                feed.receive(packed({"T": "subscription", "trades": sorted(carried)}))


@given(st.integers(0, 40), st.integers(1, 60))
def test_over_the_symbol_limit_as_many_as_fit_are_carried_and_one_notice_names_the_rest(limit: int, count: int) -> None:
    feed = AlpacaFeed("k", "s")
    feed.receive(packed({"T": "success", "msg": "connected"}))
    feed.receive(packed({"T": "success", "msg": "authenticated"}))
    feed.to_send()
    carried: set[str] = set()
    feed.subscribe([f"S{i:02d}" for i in range(count)], ["trades", "quotes"])
    answer(feed, limit, carried)
    assert len(carried) == min(limit, count)
    assert feed.symbols == carried
    assert feed.refused == {f"S{i:02d}" for i in range(count)} - carried
    assert len(feed.notices()) == int(count > limit)
    assert feed.subscribed


def test_what_was_refused_is_tried_again_on_a_new_connection(feed: AlpacaFeed) -> None:
    feed.subscribe(["A", "B"], ["trades"])
    answer(feed, 1, set())
    assert feed.refused == {"B"}
    feed.reconnected()
    assert feed.symbols == {"A", "B"}


def test_what_found_no_room_is_asked_for_again_when_another_is_let_go(feed: AlpacaFeed) -> None:
    carried: set[str] = set()
    feed.subscribe(["A", "B", "C", "D"], ["trades"])
    answer(feed, 2, carried)
    assert (carried, feed.refused) == ({"A", "B"}, {"C", "D"})
    feed.unsubscribe(["A"])
    asked = said(feed.to_send())
    assert [(one["action"], one["trades"]) for one in asked] == [("unsubscribe", ["A"]), ("subscribe", ["C"])]
    feed.receive(packed({"T": "subscription", "trades": ["B"]}))
    feed.receive(packed({"T": "subscription", "trades": ["B", "C"]}))
    assert (feed.symbols, feed.refused, feed.subscribed) == ({"B", "C"}, {"D"}, True)


def test_a_channel_that_is_not_offered_is_not_asked_for_again(feed: AlpacaFeed) -> None:
    feed.subscribe(["A"], ["trades"])
    feed.subscribe(["B"], ["statuses"])
    feed.to_send()
    feed.receive(packed({"T": "subscription", "trades": ["A"]}))
    feed.receive(packed({"T": "error", "code": 410, "msg": "invalid subscribe action for this feed"}))
    feed.unsubscribe(["A"])
    assert [one["action"] for one in said(feed.to_send())] == ["unsubscribe"]


def test_a_text_feed_speaks_json() -> None:
    feed = AlpacaFeed("k", "s", text=True)
    feed.receive(b'[{"T":"success","msg":"connected"}]')
    assert [msgspec.json.decode(frame)["action"] for frame in feed.to_send()] == ["auth"]
