"""Market data on its way out: each message is encoded once, and each subscriber gets its own in order.

In a session the page counts the frames that a process of ours was sent, and the market waits until that
process says that it has handled them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liualgotrader.common.events import Bar, Quote, Status, TradeTick
from liualgotrader.ipc.session_page import Cell, SessionPage
from liualgotrader.simulator.asset_codes import SymbolTable
from liualgotrader.simulator.client_outbox import ClientOutbox, frames_below_limit
from liualgotrader.simulator.market_shapes import (
    bar_message,
    day_label,
    quote_message,
    status_message,
    trade_message,
)
from liualgotrader.simulator.stream_codec import Codec
from liualgotrader.simulator.subscriptions import CHANNELS, EVERYTHING, StreamSession, by_symbol

MakeMessage = Callable[[Codec], Any]


class Subscriber:
    """One data connection: its conversation, its language, and the messages of the present batch."""

    __slots__ = ("codec", "outbox", "pending", "process", "session")

    def __init__(self, session: StreamSession, codec: Codec, outbox: ClientOutbox, process: str = "") -> None:
        self.session = session
        self.codec = codec
        self.outbox = outbox
        self.process = process  # of the session page, empty for outsiders
        self.pending: list[bytes] = []

    def send(self, messages: list[dict[str, object]]) -> None:
        """Send control messages, each as an array of one."""
        for message in messages:
            self.outbox.put(self.codec.frame([self.codec.piece(message)]))


class DataHub:
    """All data connections, and who wants what."""

    def __init__(self, symbols: SymbolTable, page: SessionPage | None = None) -> None:
        self._symbols = symbols
        self._page = page
        self._subscribers: list[Subscriber] = []
        self._wanted: dict[str, dict[str, list[Subscriber]]] = {channel: {} for channel in CHANNELS}
        self._seen: set[str] = set()  # processes that have had a data connection
        self.muted = False

    # --- connections

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """Return all connections."""
        return tuple(self._subscribers)

    def join(self, subscriber: Subscriber) -> None:
        """Take a new connection."""
        self._subscribers.append(subscriber)
        subscriber.outbox.muted = self.muted

    def heard_from(self, subscriber: Subscriber) -> None:
        """Look again at what a client may and wants; once authenticated, a process of the page has its frames counted.

        The count is that of this connection, from its first frame on.
        """
        page = self._page
        is_new = subscriber.session.authenticated and subscriber.outbox.on_sent is None
        if page is not None and is_new and subscriber.process in page.processes:
            self._count(page, subscriber)
        self._changed()

    def _count(self, page: SessionPage, subscriber: Subscriber) -> None:
        row = page.process(subscriber.process)
        for older in self._subscribers:  # a dead connection that nobody has noticed yet counts no more
            if older.process == subscriber.process:
                older.outbox.on_sent = None
        page.put(row, Cell.FEED_SENT, subscriber.outbox.frames)
        self._seen.add(subscriber.process)
        subscriber.outbox.on_sent = lambda frames: page.put(row, Cell.FEED_SENT, frames)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a connection. The page's count stays, so a process holds the market until it is back."""
        subscriber.outbox.on_sent = None
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
        self._changed()

    def absent(self) -> list[str]:
        """Return the processes that had a data connection and have none that is authenticated now."""
        if self.muted:
            return []
        present = {s.process for s in self._subscribers if s.session.authenticated and not s.outbox.closing}
        return [name for name in sorted(self._seen) if name not in present]

    def mute(self, *, muted: bool) -> None:
        """Send nothing any more although the connections stay, or send again."""
        self.muted = muted
        for subscriber in self._subscribers:
            subscriber.outbox.muted = muted

    def drop_all(self) -> int:
        """Break every connection as a failing network does, and return how many there were."""
        for subscriber in self._subscribers:
            subscriber.outbox.abort()
        return len(self._subscribers)

    def _changed(self) -> None:
        self._wanted = {channel: by_symbol(self._subscribers, channel) for channel in CHANNELS}

    # --- market data

    def wants(self, channel: str) -> bool:
        """Return whether anybody gets anything of a channel."""
        return bool(self._wanted[channel])

    def trade(self, trade: TradeTick, number: int) -> None:
        """Take a print for those who want it."""
        wanted = self._wanted["trades"]
        takers = wanted.get(trade.symbol) or wanted.get(EVERYTHING)
        if not takers:
            return
        venue = self._symbols.venue(trade.symbol)
        self._hand(takers, lambda codec: trade_message(trade, number, venue, codec.instant(trade.at)))

    def quote(self, quote: Quote) -> None:
        """Take a quote for those who want it."""
        wanted = self._wanted["quotes"]
        takers = wanted.get(quote.symbol) or wanted.get(EVERYTHING)
        if not takers:
            return
        venue = self._symbols.venue(quote.symbol)
        self._hand(takers, lambda codec: quote_message(quote, venue, codec.instant(quote.at)))

    def status(self, status: Status) -> None:
        """Take a trading status for those who want it."""
        wanted = self._wanted["statuses"]
        takers = wanted.get(status.symbol) or wanted.get(EVERYTHING)
        if takers:
            venue = self._symbols.venue(status.symbol)
            self._hand(takers, lambda codec: status_message(status, venue, codec.instant(status.at)))

    def minute_bar(self, bar: Bar) -> None:
        """Take a minute's bar for those who want it."""
        wanted = self._wanted["bars"]
        takers = wanted.get(bar.symbol) or wanted.get(EVERYTHING)
        if takers:
            self._hand(takers, lambda codec: bar_message("b", bar, codec.instant(bar.opened_at)))

    def daily_bar(self, bar: Bar) -> None:
        """Take a running daily bar for those who want it."""
        wanted = self._wanted["dailyBars"]
        takers = wanted.get(bar.symbol) or wanted.get(EVERYTHING)
        if takers:
            self._hand(takers, lambda codec: bar_message("d", bar, codec.instant(day_label(bar))))

    def flush(self) -> bool:
        """Send what was taken since the last call and return whether there was anything."""
        sent = False
        for subscriber in self._subscribers:
            if not subscriber.pending:
                continue
            for pieces in frames_below_limit(subscriber.pending):
                sent |= subscriber.outbox.put(subscriber.codec.frame(pieces))
            subscriber.pending = []
        return sent

    @staticmethod
    def _hand(takers: list[Subscriber], make: MakeMessage) -> None:
        """Give one message to all takers, encoded once per language."""
        first = takers[0]
        codec = first.codec
        piece = codec.piece(make(codec))
        first.pending.append(piece)
        encoded = {codec.binary: piece} if len(takers) > 1 else {}
        for taker in takers[1:]:
            codec = taker.codec
            if codec.binary not in encoded:
                encoded[codec.binary] = codec.piece(make(codec))
            taker.pending.append(encoded[codec.binary])
