"""The order stream's connections: who listens, and what the page knows of it.

In a session the page's row of the order gateway shows the newest update that was sent on a listening
connection, and the market waits until the gateway has handled it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from liualgotrader.exchange.exchange_values import Update
from liualgotrader.ipc.session_page import Cell, SessionPage
from liualgotrader.simulator.client_outbox import ClientOutbox
from liualgotrader.simulator.subscriptions import ApiKeys
from liualgotrader.simulator.trading_shapes import update_body

STREAM = "trade_updates"
GATEWAY = "order_gateway"


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
        if action in ("authenticate", "auth"):
            assert isinstance(message, dict)
            return self._authenticate(message)
        if action == "listen" and isinstance(message, dict):
            return self._listen(message)
        return _answer("authorization", status="unauthorized", action=str(action))

    def send(self, message: object) -> bool:
        """Queue a message in the connection's language."""
        encode = msgspec.msgpack.encode if self.msgpack else msgspec.json.encode
        return self.outbox.put(encode(message))

    def _authenticate(self, message: dict[str, object]) -> dict[str, object]:
        data = message.get("data")
        given = data if isinstance(data, dict) else {"key_id": message.get("key"), "secret_key": message.get("secret")}
        self.authenticated = self._keys.match(given.get("key_id"), given.get("secret_key"))
        status = "authorized" if self.authenticated else "unauthorized"
        return _answer("authorization", status=status, action=str(message["action"]))

    def _listen(self, message: dict[str, object]) -> dict[str, object]:
        if not self.authenticated:
            return _answer("authorization", status="unauthorized", action="listen")
        data = message.get("data")
        asked = data.get("streams") if isinstance(data, dict) else None
        streams = [s for s in asked if s == STREAM] if isinstance(asked, list) else []
        self.listens = bool(streams)
        return _answer("listening", streams=streams)


def _answer(stream: str, **data: object) -> dict[str, object]:
    return {"stream": stream, "data": data}


class UpdatesHub:
    """All connections of the order stream."""

    def __init__(self, page: SessionPage | None = None) -> None:
        self._listeners: list[Listener] = []
        self._page = page if page is not None and GATEWAY in page.processes else None
        self._row = self._page.process(GATEWAY) if self._page is not None else 0
        self._seen = False
        self.muted = False

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Return all connections."""
        return tuple(self._listeners)

    def join(self, listener: Listener) -> None:
        """Take a new connection."""
        self._listeners.append(listener)
        listener.outbox.muted = self.muted

    def leave(self, listener: Listener) -> None:
        """Forget a connection."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def began_to_listen(self, fresh: Listener) -> None:
        """Nothing is unsent on a fresh connection: what a lost one took with it is the gateway's to reconcile."""
        self._seen = True
        unsent = any(x.outbox.queued_bytes for x in self._listeners if x.listens and x is not fresh)
        if self._page is not None and not unsent:
            sent = self._page.get(self._row, Cell.UPDATES_SENT)
            self._page.put(self._row, Cell.UPDATES_HANDLED, sent)

    def absent(self) -> list[str]:
        """Return the gateway's name if it has listened before and nobody listens now."""
        if self._page is None or not self._seen or self.muted:
            return []
        return [] if any(x.listens and not x.outbox.closing for x in self._listeners) else [GATEWAY]

    def mute(self, *, muted: bool) -> None:
        """Send nothing any more although the connections stay, or send again."""
        self.muted = muted
        for listener in self._listeners:
            listener.outbox.muted = muted

    def drop_all(self) -> int:
        """Break every connection as a failing network does, and return how many there were."""
        for listener in self._listeners:
            listener.outbox.abort()
        return len(self._listeners)

    def send(self, updates: Iterable[Update]) -> bool:
        """Send updates to all who listen and return whether there were any such."""
        sent_any = False
        for update in updates:
            message = {"stream": STREAM, "data": update_body(update)}
            listening = [x for x in self._listeners if x.listens and not x.outbox.closing]
            if listening and self._page is not None and not self.muted:
                self._page.put(self._row, Cell.UPDATES_SENT, update.sequence)
            for listener in listening:
                sent_any |= listener.send(message)
        return sent_any
