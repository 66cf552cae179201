"""The order stream's connections: which of them listen, and what the page states of it.

In a session the page's row of the order gateway shows the newest update that was sent on a listening
connection, and the market waits until the gateway has handled it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from liualgotrader.exchange.exchange_values import Update
from liualgotrader.ipc.session_page import Cell, SessionPage
from liualgotrader.simulator.client_outbox import ClientOutbox, Connections
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

    def began_to_listen(self, fresh: Listener) -> None:
        """Nothing is unsent on a fresh connection: what a lost one took with it is the gateway's to reconcile."""
        self._seen = True
        unsent = any(x.outbox.queued_bytes for x in self.members if x.listens and x is not fresh)
        if self._page is not None and not unsent:
            sent = self._page.get(self._row, Cell.UPDATES_SENT)
            self._page.put(self._row, Cell.UPDATES_HANDLED, sent)

    def absent(self) -> list[str]:
        """Return the gateway's name if it has listened before and no connection listens now."""
        if self._page is None or not self._seen or self.muted:
            return []
        return [] if any(x.listens and not x.outbox.closing for x in self.members) else [GATEWAY]

    def send(self, updates: Iterable[Update]) -> bool:
        """Send updates to every listening connection and return whether any was sent."""
        sent_any = False
        for update in updates:
            message = {"stream": STREAM, "data": update_body(update)}
            listening = [x for x in self.members if x.listens and not x.outbox.closing]
            if listening and self._page is not None and not self.muted:
                self._page.put(self._row, Cell.UPDATES_SENT, update.sequence)
            for listener in listening:
                sent_any |= listener.send(message)
        return sent_any
