"""Alpaca's market-data stream as it stands on the wire: one slim record per kind of message.

Only fields that are read are here; the decoder skips the others.
Source: Alpaca, "Real-time Stock Data" (v2); `t` is a msgpack Timestamp (extension -1) or RFC 3339 text.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.msgpack import Ext

At = Ext | str


class _Message(msgspec.Struct, gc=False, tag_field="T"):
    pass


class WireTrade(_Message, tag="t"):
    S: str
    p: float
    s: float
    t: At
    c: tuple[str, ...] | None = None
    z: str = ""


class WireQuote(_Message, tag="q"):
    S: str
    bp: float
    bs: float
    ap: float
    as_: float = msgspec.field(name="as")
    t: At = msgspec.field()


class WireBar(_Message, tag="b"):
    S: str
    o: float
    h: float
    l: float  # noqa: E741 - the vendor's name
    c: float
    v: float
    t: At
    n: int | None = None
    vw: float | None = None


class WireUpdatedBar(WireBar, tag="u"):
    pass


class WireStatus(_Message, tag="s"):
    S: str
    t: At
    sc: str = ""
    rc: str = ""
    rm: str = ""


class WireCorrection(_Message, tag="c"):
    S: str
    op: float
    os: float
    cp: float
    cs: float
    t: At


class WireCancel(_Message, tag="x"):
    S: str
    p: float
    s: float
    t: At


class WireSuccess(_Message, tag="success"):
    msg: str = ""


class WireSubscription(_Message, tag="subscription"):
    trades: list[str] = []
    quotes: list[str] = []
    bars: list[str] = []
    updatedBars: list[str] = []
    statuses: list[str] = []


class WireError(_Message, tag="error"):
    code: int = 0
    msg: str = ""


class WireDailyBar(_Message, tag="d"):
    pass


class WireLimits(_Message, tag="l"):
    pass


class WireImbalance(_Message, tag="i"):
    pass


class WireNews(_Message, tag="n"):
    pass


Market = WireTrade | WireQuote | WireBar | WireUpdatedBar | WireStatus | WireCorrection | WireCancel
Control = WireSuccess | WireSubscription | WireError
Passed = WireDailyBar | WireLimits | WireImbalance | WireNews
Message = Market | Control | Passed

_packed = msgspec.msgpack.Decoder(list[Message])
_text = msgspec.json.Decoder(list[Message])
_one_packed = msgspec.msgpack.Decoder(Message)
_one_text = msgspec.json.Decoder(Message)
_packed_parts = msgspec.msgpack.Decoder(list[msgspec.Raw])
_text_parts = msgspec.json.Decoder(list[msgspec.Raw])

_JSON_STARTS = b"[{ \n"  # none of them begins a msgpack array


def decode(frame: bytes) -> list[Any]:
    """Return a frame's messages.

    Raises:
        msgspec.DecodeError: one of them is unknown or broken; then use `decode_each`.
    """
    return _text.decode(frame) if frame[:1] in _JSON_STARTS else _packed.decode(frame)


def decode_each(frame: bytes) -> tuple[list[Any], list[str]]:
    """Return the messages of a frame that can be read, in order, and what is wrong with the others.

    Raises:
        msgspec.DecodeError: the frame is not even a list of messages.
    """
    text = frame[:1] in _JSON_STARTS
    one = _one_text if text else _one_packed
    good: list[Any] = []
    wrong: list[str] = []
    for part in (_text_parts if text else _packed_parts).decode(frame):
        try:
            good.append(one.decode(part))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            wrong.append(str(error))
    return good, wrong


def encode(message: dict[str, Any], *, text: bool) -> bytes:
    """Return a message to the vendor as the bytes of one frame."""
    return msgspec.json.encode(message) if text else msgspec.msgpack.encode(message)
