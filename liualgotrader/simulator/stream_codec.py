"""The data stream's two languages, msgpack and JSON: one message a piece, and pieces joined to frames.

A message is encoded once for all who get it; a frame is an array header and the pieces behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from liualgotrader.common.untrusted import read_message
from liualgotrader.simulator.wire import rfc3339, timestamp_extension


class Codec(Protocol):
    """How one connection's frames are written and read."""

    binary: bool

    def instant(self, at: int) -> Any:
        """Return an instant as the value of a message's `t`."""

    def piece(self, message: Any) -> bytes:
        """Return one message encoded."""

    def frame(self, pieces: Sequence[bytes]) -> bytes:
        """Return the array of these encoded messages."""

    def read(self, frame: bytes) -> Any:
        """Return what a client sent; ValueError if it is not in this language, too long or nested too deep."""


class MsgpackCodec:
    """Binary frames, for clients that say `Content-Type: application/msgpack`."""

    binary = True

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()

    def instant(self, at: int) -> msgspec.msgpack.Ext:
        return timestamp_extension(at)

    def piece(self, message: Any) -> bytes:
        return self._encoder.encode(message)

    def frame(self, pieces: Sequence[bytes]) -> bytes:
        count = len(pieces)
        if count < 16:
            head = bytes((0x90 | count,))
        elif count < 1 << 16:
            head = b"\xdc" + count.to_bytes(2, "big")
        else:
            head = b"\xdd" + count.to_bytes(4, "big")
        return head + b"".join(pieces)

    def read(self, frame: bytes) -> Any:
        return read_message(frame, msgspec.msgpack.decode)


class JsonCodec:
    """JSON text frames."""

    binary = False

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def instant(self, at: int) -> str:
        return rfc3339(at)

    def piece(self, message: Any) -> bytes:
        return self._encoder.encode(message)

    def frame(self, pieces: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(pieces) + b"]"

    def read(self, frame: bytes) -> Any:
        return read_message(frame)


MSGPACK = MsgpackCodec()
JSON = JsonCodec()
MSGPACK_TYPE = "application/msgpack"


def codec_for(content_type: str) -> Codec:
    """Return the language a handshake asks for."""
    return MSGPACK if content_type.strip().lower().startswith(MSGPACK_TYPE) else JSON
