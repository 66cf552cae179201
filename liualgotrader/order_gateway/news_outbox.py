"""News on their way to one consumer: in order, and only after it has said (in this gateway's life) where it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from liualgotrader.common.orders import AccountNews, News
from liualgotrader.ipc.batch_codec import encode_news, frames
from liualgotrader.ipc.links import Writer
from liualgotrader.ipc.process_status import MarketHold

_A_MESSAGE = 64  # items put into one message


class NewsOutbox:
    """Sends what it is given as soon as there is room. While something is unsent the market is held.

    `is_gone` says that the consumer has ended on purpose: nobody will read any more.
    """

    def __init__(self, writer: Writer, hold: MarketHold, is_gone: Callable[[], bool]) -> None:
        self._writer, self._hold, self._is_gone = writer, hold, is_gone
        self._unsent: list[tuple[int, News]] = []  # with their slot, 0 for the account's
        self._declared: set[int] = set()
        writer.on_connected(self.flush)
        writer.on_room(self.flush)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to reach the consumer."""
        self._writer.attach(loop)

    def declared(self, slot: int) -> None:
        """The consumer has said where it stands in a slot: what comes next begins there."""
        self._declared.add(slot)
        self._unsent = [(owner, news) for owner, news in self._unsent if owner != slot]

    def add(self, slot: int, news: News) -> None:
        """Take an item of a slot; before its consumer has declared the slot it is left to what the desk keeps."""
        if slot in self._declared:
            self._unsent.append((slot, news))

    def add_account(self, news: AccountNews) -> None:
        """Take the account's figures; older ones that are unsent are forgotten."""
        self._unsent = [one for one in self._unsent if not isinstance(one[1], AccountNews)]
        self._unsent.append((0, news))

    def flush(self) -> None:
        """Send what is unsent, as far as there is room."""
        if self._unsent and self._is_gone():
            self._unsent.clear()
        while self._unsent and self._writer.connected:
            some = [news for _, news in self._unsent[:_A_MESSAGE]]
            if not all(self._writer.send(frame) for frame in frames(some, encode_news)):
                break
            del self._unsent[:_A_MESSAGE]
        self._hold.hold_while(bool(self._unsent))

    @property
    def is_empty(self) -> bool:
        """Whether everything has been sent."""
        return not self._unsent

    def close(self) -> None:
        """Send nothing more."""
        self._hold.end()
        self._writer.close()
