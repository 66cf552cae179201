"""Polygon's market-data stream as it stands on the wire: one slim record per kind of message.

Only fields that are read are here; the decoder skips the others. Source: Polygon's reference of the websocket for stocks.
"""

from __future__ import annotations

from typing import Any

import msgspec


class _Record(msgspec.Struct, gc=False, tag_field="ev"):
    pass


class PolygonTrade(_Record, tag="T"):
    sym: str
    p: float
    s: float
    t: int
    c: tuple[int, ...] | None = None
    z: int = 0


class PolygonQuote(_Record, tag="Q"):
    sym: str
    t: int
    bp: float = 0.0  # a side without quotes is left out
    bs: float = 0.0
    ap: float = 0.0
    as_: float = msgspec.field(default=0.0, name="as")


class PolygonMinute(_Record, tag="AM"):
    sym: str
    o: float
    h: float
    l: float  # noqa: E741 - the vendor's name
    c: float
    v: float
    s: int
    e: int
    vw: float | None = None
    z: float | None = None


class PolygonSecond(PolygonMinute, tag="A"):
    pass


class PolygonStatus(_Record, tag="status"):
    status: str = ""
    message: str = ""


class PolygonBand(_Record, tag="LULD"):
    pass


class PolygonFairValue(_Record, tag="FMV"):
    pass


class PolygonImbalance(_Record, tag="NOI"):
    pass


class PolygonLaunchpad(_Record, tag="LV"):
    pass


Market = PolygonTrade | PolygonQuote | PolygonMinute | PolygonSecond
_Message = Market | PolygonStatus | PolygonBand | PolygonFairValue | PolygonImbalance | PolygonLaunchpad

_all = msgspec.json.Decoder(list[_Message])
_one = msgspec.json.Decoder(_Message)
_parts = msgspec.json.Decoder(list[msgspec.Raw])
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(frame: bytes) -> tuple[list[Any], int]:
    """Return the messages of a frame that can be read, in order, and how many cannot."""
    try:
        return _all.decode(frame), 0
    except UNREADABLE:
        pass
    good: list[Any] = []
    bad = 0
    try:
        parts = _parts.decode(frame)
    except UNREADABLE:
        return good, 1
    for part in parts:
        try:
            good.append(_one.decode(part))
        except UNREADABLE:
            bad += 1
    return good, bad
