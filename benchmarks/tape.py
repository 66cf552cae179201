"""Trades and quotes as websocket frames that only lack the time: made once, stamped and sent many times over."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.msgpack import Ext

SYMBOLS = tuple(f"S{number:03d}" for number in range(200))
MESSAGES_A_FRAME = 10
_TRADE_PLACES = frozenset({1, 4, 6, 9})  # in a frame; about the share of trades in a real feed of both
_FRAMES = 2000
_STAMP_BYTES = 8
_SECOND = 1_000_000_000
_ID = 52_983_525_000_000  # of a trade; always takes nine bytes


class FrameTape:
    """Unmasked binary frames of one length, in one block of memory that is sent as it stands.

    The messages are Alpaca's (`T` t and q, msgpack, `t` a Timestamp 64). Source: Alpaca, "Real-time Stock Data".
    """

    def __init__(self, symbols: Sequence[str] = SYMBOLS, frames: int = _FRAMES, seed: int = 1) -> None:
        made = list(_frames(symbols, frames, random.Random(seed)))
        heads = [[len(message) for message in frame] for frame in made]
        if any(head != heads[0] for head in heads):
            raise ValueError("the symbols must be of one length, or the frames would not be")
        payload = _array_head(MESSAGES_A_FRAME) + b"".join(made[0])
        opening = _frame_head(len(payload))
        self.frames = frames
        self.frame_bytes = len(opening) + len(payload)
        self.message_bytes = sum(heads[0]) / MESSAGES_A_FRAME
        start = opening + _array_head(MESSAGES_A_FRAME)
        self.block = bytearray().join(start + b"".join(frame) for frame in made)
        self._whole = memoryview(self.block)
        ends = np.cumsum(heads[0]) + len(start)
        self._stamps = [self._column(int(end) - _STAMP_BYTES) for end in ends]

    def stamp(self, first: int, count: int, at: int) -> None:
        """Write the time `at` (ns UTC) into every message of `count` frames from the `first` on."""
        value = timestamp64(at)
        for column in self._stamps:
            column[first : first + count] = value

    def part(self, first: int, count: int) -> memoryview:
        """Return the bytes of `count` frames from the `first` on."""
        return self._whole[first * self.frame_bytes : (first + count) * self.frame_bytes]

    def _column(self, offset: int) -> Any:
        """Return the same eight bytes of every frame as an array that can be written at once."""
        return np.ndarray((self.frames,), ">u8", self.block, offset, (self.frame_bytes,))


def timestamp64(at: int) -> int:
    """Return the msgpack Timestamp 64 of an instant: 30 bits of ns, then 34 bits of seconds."""
    seconds, rest = divmod(at, _SECOND)
    return rest << 34 | seconds


def _frames(symbols: Sequence[str], frames: int, rng: random.Random) -> Any:
    """Yield the messages of each frame; prices walk by symbol, the quote lies around the last trade."""
    prices = {symbol: round(rng.uniform(20.0, 200.0), 2) for symbol in symbols}
    for number in range(frames):
        frame: list[bytes] = []
        for place in range(MESSAGES_A_FRAME):
            symbol = rng.choice(symbols)
            if place in _TRADE_PLACES:
                prices[symbol] = round(max(1.0, prices[symbol] + rng.choice((-0.01, 0.0, 0.01))), 2)
                frame.append(_trade(symbol, prices[symbol], rng, number * MESSAGES_A_FRAME + place))
            else:
                frame.append(_quote(symbol, prices[symbol], rng))
        yield frame


def _trade(symbol: str, price: float, rng: random.Random, number: int) -> bytes:
    fields = {"T": "t", "S": symbol, "i": _ID + number, "x": rng.choice("DNQV"), "p": price}
    return _message({**fields, "s": rng.randrange(1, 128), "c": ["@", rng.choice("FT")], "z": "C"})


def _quote(symbol: str, price: float, rng: random.Random) -> bytes:
    bid = {"bx": rng.choice("NQV"), "bp": round(price - 0.01, 2), "bs": rng.randrange(1, 128)}
    ask = {"ax": rng.choice("NQV"), "ap": round(price + 0.01, 2), "as": rng.randrange(1, 128)}
    return _message({"T": "q", "S": symbol, **bid, **ask, "c": ["R"], "z": "C"})


def _message(fields: dict[str, Any]) -> bytes:
    """Return the message with its time, still zero, at the very end."""
    return msgspec.msgpack.encode({**fields, "t": Ext(-1, bytes(_STAMP_BYTES))})


def _array_head(length: int) -> bytes:
    return bytes([0x90 | length])  # a msgpack array of up to 15


def _frame_head(length: int) -> bytes:
    """Return the head of a final, unmasked binary frame of 126 to 65,535 bytes. Source: RFC 6455, 5.2."""
    return bytes([0x82, 126]) + length.to_bytes(2, "big")
