"""What travels over links, as msgpack: arrays for market data, maps with a `kind` for orders and news."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from liualgotrader.common.events import EventBatch, FromConsumer, Pick
from liualgotrader.common.orders import Intent, News
from liualgotrader.ipc.links import FRAME_BYTES

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()

encode_batch: Callable[[EventBatch], bytes] = _encoder.encode
encode_intents: Callable[[Sequence[Intent]], bytes] = _encoder.encode
encode_news: Callable[[Sequence[News]], bytes] = _encoder.encode
encode_picks: Callable[[Sequence[Pick]], bytes] = _encoder.encode
encode_needs: Callable[[Sequence[FromConsumer]], bytes] = _encoder.encode

decode_batch: Callable[[bytes], EventBatch] = msgspec.msgpack.Decoder(EventBatch).decode
decode_intents: Callable[[bytes], list[Intent]] = msgspec.msgpack.Decoder(list[Intent]).decode
decode_news: Callable[[bytes], list[News]] = msgspec.msgpack.Decoder(list[News]).decode
decode_picks: Callable[[bytes], list[Pick]] = msgspec.msgpack.Decoder(list[Pick]).decode
decode_needs: Callable[[bytes], list[FromConsumer]] = msgspec.msgpack.Decoder(list[FromConsumer]).decode


def frames(items: Sequence[T], encode: Callable[[Sequence[T]], bytes]) -> Iterator[bytes]:
    """Yield `items` encoded in as few messages as a link takes, in order; nothing for no items.

    Raises:
        ValueError: if one item alone is longer than a message may be.
    """
    if not items:
        return
    payload = encode(items)
    if len(payload) <= FRAME_BYTES:
        yield payload
        return
    if len(items) == 1:
        raise ValueError(f"one item of {len(payload)} bytes does not fit in a message of {FRAME_BYTES}")
    half = len(items) // 2
    yield from frames(items[:half], encode)
    yield from frames(items[half:], encode)
