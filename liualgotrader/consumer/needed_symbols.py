"""Tells the producer what this consumer's strategies cannot do without, and what none of them wants to hear of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from liualgotrader.common.events import FromConsumer, Needs, Rejected
from liualgotrader.engine.engine import Engine
from liualgotrader.ipc.batch_codec import encode_needs, frames
from liualgotrader.ipc.links import Writer

_A_MESSAGE = 1000  # symbols of one `Rejected`


class NeedsTeller:
    """Says all of it on every new connection, then what changes.

    Nothing is said before the engine knows its books: until then the producer lets nothing go.
    """

    def __init__(self, writer: Writer, engine: Engine) -> None:
        self._writer, self._engine = writer, engine
        self._said: dict[int, list[str]] | None = None
        writer.on_connected(self.say_all)
        writer.on_room(self.say_all)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to reach the producer."""
        self._writer.attach(loop)

    def say_all(self) -> None:
        """Say everything, also what was said before."""
        rejected = [
            Rejected(slot.number, symbols[first : first + _A_MESSAGE])
            for slot in self._engine.slots.values()
            for symbols in [sorted(slot.rejected)]
            for first in range(0, len(symbols), _A_MESSAGE)
        ]
        self._said = None
        self._send(rejected)
        self.look()

    def look(self) -> None:
        """Say what is needed if that has changed."""
        needs = self._engine.needs()
        if needs is not None and needs != self._said and self._send([Needs(needs)]):
            self._said = needs

    def rejected(self, slot: int, symbol: str) -> None:
        """Say that a slot wants to hear of a symbol no more."""
        self._send([Rejected(slot, [symbol])])

    def close(self) -> None:
        """Say nothing more."""
        self._writer.close()

    def _send(self, messages: Sequence[FromConsumer]) -> bool:
        """Send, or (False) leave it to the next connection or the next room, when everything is said again."""
        return self._writer.connected and all(self._writer.send(frame) for frame in frames(messages, encode_needs))
