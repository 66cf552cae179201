"""What a consumer tells the producer: which symbols it cannot do without, and which nobody wants to hear of.

Everything is by slot, and is said again, whole, on every new connection, so that it outlives either process.
"""

from __future__ import annotations

import msgspec


class Needs(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """All symbols in which slots of this consumer hold something or have an order under way; replaces the last one."""

    symbols: dict[int, list[str]]


class Rejected(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """Symbols that a slot wants to hear of no more this session, beyond those it named before."""

    slot: int
    symbols: list[str]


FromConsumer = Needs | Rejected
