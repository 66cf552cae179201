"""The connections of both streams: what each of them wants and is sent, and what the session page states of that.

Each message of market data is encoded once, and each subscriber gets its own in order. In a session the page counts the
frames that a process of ours was sent, and the market waits until that process says that it has handled them. The page's
row of the order gateway shows the newest order update that was sent on a listening connection, and the market waits
until the gateway has handled that too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappop, heappush
from typing import Any, Protocol

import msgspec

from liualgotrader.common.clock import MINUTE, NEVER, SECOND
from liualgotrader.common.events import Bar, Quote, Status, TradeTick
from liualgotrader.exchange.exchange_values import Update
from liualgotrader.ipc.session_page import Cell, SessionPage
from liualgotrader.simulator import shapes
from liualgotrader.simulator.asset_codes import SymbolTable
from liualgotrader.simulator.client_outbox import ClientOutbox, Connections, frames_below_limit
from liualgotrader.simulator.subscriptions import CHANNELS, EVERYTHING, ApiKeys, Codec, by_symbol

SIP_DELAY = 15 * MINUTE
STREAM = "trade_updates"
_SECONDS = "seconds"  # bars of seconds, which Polygon's stream alone has
_ALL_CHANNELS = (*CHANNELS, _SECONDS)
GATEWAY = "order_gateway"


class DataSession(Protocol):
    """One client's conversation, in whatever protocol; `symbols` are its subscriptions by channel."""

    @property
    def authenticated(self) -> bool: ...
    @property
    def close_code(self) -> int | None: ...
    @property
    def symbols(self) -> dict[str, set[str]]: ...


class Subscriber:
    """One data connection: its conversation, its language, and the messages of the present batch."""

    __slots__ = ("codec", "delay", "late", "outbox", "pending", "process", "session")

    def __init__(
        self, session: DataSession, codec: Codec, outbox: ClientOutbox, process: str = "", delay: int = 0
    ) -> None:
        self.session = session
        self.codec = codec
        self.outbox = outbox
        self.process = process  # of the session page, empty for outsiders
        self.pending: list[bytes] = []
        self.delay = delay  # ns of market time
        self.late: deque[tuple[int, bytes]] = deque()  # what is held back, and until when

    def take_due(self, now: int) -> list[bytes]:
        """Return the messages that are to be sent now, and queue them no longer."""
        pending, self.pending = self.pending, []
        if not self.delay:
            return pending
        self.late.extend((now + self.delay, piece) for piece in pending)
        due = []
        while self.late and self.late[0][0] <= now:
            due.append(self.late.popleft()[1])
        return due

    def send(self, messages: list[dict[str, object]]) -> None:
        """Send control messages, each as an array of one, and close the connection if the session has to end."""
        for message in messages:
            self.outbox.put(self.codec.frame([self.codec.piece(message)]))
        if self.session.close_code is not None:
            self.outbox.close(self.session.close_code)


class DataHub(Connections[Subscriber]):
    """All data connections, and which of them want what."""

    def __init__(self, symbols: SymbolTable, page: SessionPage) -> None:
        super().__init__()
        self._symbols = symbols
        self._page = page
        self._wanted: dict[str, dict[str, list[Subscriber]]] = {channel: {} for channel in _ALL_CHANNELS}
        self._seen: set[str] = set()  # processes that have had a data connection
        self._traded: dict[str, None] = {}  # symbols that traded in the second that is open, while anybody follows it
        self.seconds_due_at = NEVER  # when that second ends

    # --- connections

    def refresh(self, subscriber: Subscriber) -> None:
        """Take up what a client subscribes to now; once authenticated, the page counts the frames to a process of it.

        The count is that of this connection, from its first frame on.
        """
        page, process = self._page, subscriber.process
        is_new = subscriber.session.authenticated and subscriber.outbox.on_sent is None
        if is_new and process in page.processes:
            row = page.process(process)
            for older in self.members:  # a dead connection that is not closed yet no longer counts
                if older.process == process:
                    older.outbox.on_sent = None
            page.put(row, Cell.FEED_SENT, subscriber.outbox.frames)
            self._seen.add(process)
            subscriber.outbox.on_sent = lambda frames: page.put(row, Cell.FEED_SENT, frames)
        self._index()

    def leave(self, member: Subscriber) -> None:
        """Forget a connection. The page's count stays, so a process holds the market until it is back."""
        member.outbox.on_sent = None
        super().leave(member)
        self._index()

    def _index(self) -> None:
        self._wanted = {channel: by_symbol(self.members, channel) for channel in _ALL_CHANNELS}

    def absent(self) -> list[str]:
        """Return the processes that had a data connection and have none that is authenticated now."""
        if self.muted or self.down:
            return []
        present = {s.process for s in self.members if s.session.authenticated and not s.outbox.closing}
        return sorted(self._seen - present)

    def cut_off(self, *, down: bool) -> None:
        """Break every connection and let nobody connect any more, or let everybody again; the market waits for none of them."""
        self.down = down
        for process in self._seen:
            self._page.put(self._page.process(process), Cell.CUT_OFF, down)
        self.drop_all()

    # --- market data

    def wants(self, channel: str) -> bool:
        """Return whether any client subscribes to a channel."""
        return bool(self._wanted[channel])

    def trade(self, trade: TradeTick, number: int) -> None:
        """Queue a print for its subscribers."""
        if takers := self._takers("trades", trade.symbol):
            venue = self._symbols.venue(trade.symbol)
            _queue(takers, lambda codec: codec.shapes.trade_message(trade, number, venue, codec.instant(trade.at)))
        if self._wanted[_SECONDS]:
            self._traded[trade.symbol] = None
            if self.seconds_due_at == NEVER:
                self.seconds_due_at = trade.at - trade.at % SECOND + SECOND

    def quote(self, quote: Quote) -> None:
        """Queue a quote for its subscribers."""
        if takers := self._takers("quotes", quote.symbol):
            venue = self._symbols.venue(quote.symbol)
            _queue(takers, lambda codec: codec.shapes.quote_message(quote, venue, codec.instant(quote.at)))

    def status(self, status: Status) -> None:
        """Queue a trading status for its subscribers."""
        if takers := self._takers("statuses", status.symbol):
            venue = self._symbols.venue(status.symbol)
            _queue(takers, lambda codec: shapes.status_message(status, venue, codec.instant(status.at)))

    def minute_bar(self, bar: Bar) -> None:
        """Queue a minute's bar for its subscribers."""
        if takers := self._takers("bars", bar.symbol):
            _queue(takers, lambda codec: codec.shapes.bar_message("b", bar, codec.instant(bar.opened_at)))

    def close_second(self, bars_of: Callable[[str, int, int], list[Bar]]) -> None:
        """Queue the bars of the second that has ended, made by `bars_of` from the symbol's prints between two instants."""
        end, traded = self.seconds_due_at, self._traded
        self.seconds_due_at, self._traded = NEVER, {}
        for symbol in traded:
            if takers := self._takers(_SECONDS, symbol):
                for bar in bars_of(symbol, end - SECOND, end):
                    _queue(takers, partial(_second, bar))

    def updated_bar(self, bar: Bar) -> None:
        """Queue the bar of a minute in which a print was corrected."""
        if takers := self._takers("updatedBars", bar.symbol):
            _queue(takers, lambda codec: shapes.bar_message("u", bar, codec.instant(bar.opened_at)))

    def daily_bar(self, bar: Bar) -> None:
        """Queue a running daily bar for its subscribers."""
        if takers := self._takers("dailyBars", bar.symbol):
            _queue(takers, lambda codec: shapes.bar_message("d", bar, codec.instant(shapes.day_label(bar))))

    def notice(self, channel: str, kind: str, symbol: str, at: int, **fields: object) -> None:
        """Queue a message that the market's control asked for: a correction, a cancelled print, a price band."""
        if takers := self._takers(channel, symbol):
            body = {"T": kind, "S": symbol, **fields, "z": self._symbols.venue(symbol).tape}
            _queue(takers, lambda codec: {**body, "t": codec.instant(at)})

    def _takers(self, channel: str, symbol: str) -> list[Subscriber] | None:
        wanted = self._wanted[channel]
        return wanted.get(symbol) or wanted.get(EVERYTHING)

    @property
    def is_delayed(self) -> bool:
        """Whether any client is sent messages later: each is timed from the step in which it came."""
        return any(subscriber.delay for subscriber in self.members)

    def flush(self, now: int) -> bool:
        """Send what is queued and due at `now`, and return whether there was anything."""
        sent = False
        for subscriber in self.members:
            for pieces in frames_below_limit(subscriber.take_due(now)):
                sent |= subscriber.outbox.put(subscriber.codec.frame(pieces))
        return sent


def _second(bar: Bar, codec: Codec) -> object:
    return codec.shapes.bar_message("s", bar, codec.instant(bar.opened_at))


def _queue(takers: list[Subscriber], make: Callable[[Codec], Any]) -> None:
    """Queue one message for all takers, encoded once per language."""
    first = takers[0]
    piece = first.codec.piece(make(first.codec))
    first.pending.append(piece)
    encoded = {first.codec: piece}
    for taker in takers[1:]:
        codec = taker.codec
        if codec not in encoded:
            encoded[codec] = codec.piece(make(codec))
        taker.pending.append(encoded[codec])


# --- the order stream


class Listener:
    """One connection of `/stream`, and its conversation."""

    def __init__(self, keys: ApiKeys, outbox: ClientOutbox, *, msgpack: bool = False) -> None:
        self.outbox = outbox
        self.authenticated = False
        self.listens = False
        self.msgpack = msgpack
        self._keys = keys

    def receive(self, message: object) -> dict[str, object]:
        """Return the answer to one message of the client."""
        action = message.get("action") if isinstance(message, dict) else None
        if not isinstance(message, dict) or action not in ("authenticate", "auth", "listen"):
            return _answer("authorization", status="unauthorized", action=str(action))
        data = message.get("data")
        if action == "listen":
            if not self.authenticated:
                return _answer("authorization", status="unauthorized", action="listen")
            asked = data.get("streams") if isinstance(data, dict) else None
            streams = [s for s in asked if s == STREAM] if isinstance(asked, list) else []
            self.listens = bool(streams)
            return _answer("listening", streams=streams)
        given = data if isinstance(data, dict) else {"key_id": message.get("key"), "secret_key": message.get("secret")}
        self.authenticated = self._keys.match(given.get("key_id"), given.get("secret_key"))
        status = "authorized" if self.authenticated else "unauthorized"
        return _answer("authorization", status=status, action=action)

    def send(self, message: object) -> bool:
        """Queue a message in the connection's language."""
        encode = msgspec.msgpack.encode if self.msgpack else msgspec.json.encode
        return self.outbox.put(encode(message))


def _answer(stream: str, **data: object) -> dict[str, object]:
    return {"stream": stream, "data": data}


class UpdatesHub(Connections[Listener]):
    """All connections of the order stream."""

    def __init__(self, page: SessionPage) -> None:
        super().__init__()
        self._page = page if GATEWAY in page.processes else None
        self._row = page.process(GATEWAY) if GATEWAY in page.processes else 0
        self._seen = False
        self.late = 0  # ns of market time by which updates come too late
        self.order = ""  # in which they come: one after the other, or `twice` or `swapped` (see `ScriptedFault`)
        self._taken = 0
        self._waiting: list[tuple[int, int, Update]] = []  # a heap by instant

    def began_to_listen(self, fresh: Listener) -> None:
        """Nothing is unsent on a fresh connection: what a lost one took with it is the gateway's to reconcile."""
        self._seen = True
        unsent = any(x.outbox.queued_bytes for x in self.members if x.listens and x is not fresh)
        if self._page is not None and not unsent:
            sent = self._page.get(self._row, Cell.UPDATES_SENT)
            self._page.put(self._row, Cell.UPDATES_HANDLED, sent)

    def absent(self) -> list[str]:
        """Return the gateway's name if it has listened before and no connection listens now."""
        if self._page is None or not self._seen or self.muted or self.down:
            return []
        return [] if any(x.listens and not x.outbox.closing for x in self.members) else [GATEWAY]

    def cut_off(self, *, down: bool) -> None:
        """Break every connection and let nobody connect any more, or let everybody again; the market waits for none of them."""
        self.down = down
        if self._page is not None:
            self._page.put(self._row, Cell.CUT_OFF, down)
        self.drop_all()

    @property
    def due_at(self) -> int:
        """When the next update that came too late for its instant is sent, ns UTC."""
        return self._waiting[0][0] if self._waiting else NEVER

    def send(self, updates: Iterable[Update], now: int) -> bool:
        """Send updates to every listening connection, as far as no fault keeps them, and return whether any was sent."""
        for update in updates:
            self._taken += 1
            swapped = self.order == "swapped" and self._taken % 2  # the next one, if it comes soon, overtakes it
            for copy in range(2 if self.order == "twice" else 1):
                at = now + self.late + (SECOND if swapped else 0)
                heappush(self._waiting, (at, 2 * self._taken + copy, update))
        sent_any = False
        while self._waiting and self._waiting[0][0] <= now:
            update = heappop(self._waiting)[-1]
            message = {"stream": STREAM, "data": shapes.update_body(update)}
            listening = [x for x in self.members if x.listens and not x.outbox.closing]
            if listening and self._page is not None and not self.muted:
                self._page.put(self._row, Cell.UPDATES_SENT, update.sequence)
            for listener in listening:
                sent_any |= listener.send(message)
        return sent_any
