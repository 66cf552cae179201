"""The frames that the benchmark's server sends, and what it answers."""

from __future__ import annotations

import io
import socket
from collections import Counter

import msgpack
import pytest

from benchmarks.feed_server import Client, Sender, frame, read_frame, rest_answer
from benchmarks.tape import MESSAGES_A_FRAME, SYMBOLS, FrameTape, timestamp64
from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.data.alpaca_feed import AlpacaFeed

AT = 1_709_908_200_123_456_789  # 2024-03-08 14:30:00.123456789 UTC


def payloads(tape: FrameTape, first: int, count: int) -> list[bytes]:
    """Return the frames' payloads, read by the rules of RFC 6455 and not by ours."""
    raw = bytes(tape.part(first, count))
    found = []
    while raw:
        assert raw[0] == 0x82, "final and binary"
        assert raw[1] == 126, "unmasked, 16-bit length"
        size = int.from_bytes(raw[2:4], "big")
        found.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    return found


def test_every_message_of_a_stamped_part_carries_the_time_and_no_other_does() -> None:
    tape = FrameTape(frames=5)
    tape.stamp(1, 2, AT)
    times = [
        m["t"].seconds * 1_000_000_000 + m["t"].nanoseconds for p in payloads(tape, 0, 5) for m in msgpack.unpackb(p)
    ]
    ten = [AT] * MESSAGES_A_FRAME
    assert times == [0] * 10 + ten + ten + [0] * 20


def test_the_adapter_reads_every_message_as_a_trade_or_a_sensible_quote() -> None:
    tape = FrameTape(frames=200)
    tape.stamp(0, 200, AT)
    feed = AlpacaFeed("key", "secret")
    events = [event for payload in payloads(tape, 0, 200) for event in feed.receive(payload)]
    kinds = Counter(type(event) for event in events)
    assert (kinds[TradeTick], kinds[Quote], feed.bad, feed.passed_over) == (800, 1200, 0, 0)
    assert all(e.bid < e.ask for e in events if isinstance(e, Quote))
    assert {e.symbol for e in events} == set(SYMBOLS)
    assert {e.at for e in events if isinstance(e, (TradeTick, Quote))} == {AT}


def test_a_tape_of_the_same_seed_is_the_same() -> None:
    assert FrameTape(frames=3, seed=7).block == FrameTape(frames=3, seed=7).block
    assert FrameTape(frames=3, seed=7).block != FrameTape(frames=3, seed=8).block


def test_symbols_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        FrameTape(symbols=("A", "BB"), frames=20)


def test_a_timestamp_is_30_bits_of_ns_then_34_bits_of_seconds() -> None:
    packed = msgpack.Timestamp(AT // 10**9, AT % 10**9).to_bytes()
    assert timestamp64(AT).to_bytes(8, "big") == packed


@pytest.mark.parametrize("size", [0, 125, 126, 70_000])
def test_a_client_message_is_unmasked_and_its_continuations_are_joined(size: int) -> None:
    payload = bytes(n % 251 for n in range(size))
    half = size // 2
    stream = io.BytesIO(masked(2, payload[:half], final=False) + masked(0, payload[half:], final=True))
    assert read_frame(stream) == (2, payload)
    assert read_frame(stream) is None


def masked(opcode: int, payload: bytes, *, final: bool) -> bytes:
    """Return a client's frame. Source: RFC 6455, 5.2 and 5.3."""
    key = b"\x01\x02\x03\x04"
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    body = bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))
    return bytes([opcode | (0x80 if final else 0)]) + length + key + body


@pytest.mark.parametrize(("size", "head"), [(3, b"\x8a\x03"), (200, b"\x8a\x7e\x00\xc8")])
def test_our_frames_are_final_and_unmasked(size: int, head: bytes) -> None:
    assert frame(10, bytes(size)) == head + bytes(size)


def test_the_sender_sends_what_was_planned_and_goes_round_its_tape() -> None:
    tape = FrameTape(frames=30)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_000_000)
        sent = Sender(tape).send(Client(ours), rate=100_000, seconds=0.01)
        ours.shutdown(socket.SHUT_WR)
        received = sum(len(part) for part in iter(lambda: theirs.recv(1 << 20), b""))
    assert sent.planned_events == 1000
    assert 0 < sent.events <= 1000  # all of them where the machine keeps up
    assert received == sent.events // 10 * tape.frame_bytes


def test_history_is_half_an_hour_of_minutes_that_end_before_the_end() -> None:
    query = {"symbols": "S000,S001", "timeframe": "1Min", "end": "2024-03-08T14:30:20Z"}
    bars = rest_answer("/v2/stocks/bars", query)["bars"]
    assert sorted(bars) == ["S000", "S001"]
    assert len(bars["S000"]) == 30
    assert (bars["S000"][0]["t"], bars["S000"][-1]["t"]) == ("2024-03-08T14:00:00Z", "2024-03-08T14:29:00Z")


def test_days_have_no_history_and_all_symbols_are_assets() -> None:
    assert rest_answer("/v2/stocks/bars", {"symbols": "S000", "timeframe": "1Day"})["bars"] == {}
    assert [asset["symbol"] for asset in rest_answer("/v2/assets", {})] == list(SYMBOLS)
