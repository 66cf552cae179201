"""A sub-account at Alpaca through the Broker API: the same adapter at other addresses, and news by server-sent events.

The events are those of all accounts of the firm; what is another's is passed over. Source: Alpaca Broker API 1.1, trading
for an account, account activities, trade events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from liualgotrader.common.errors import BadData
from liualgotrader.common.http_guard import guard
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.untrusted import MOST_BYTES
from liualgotrader.trading.alpaca_broker import AlpacaBroker, Say, UpdatesThread

_ACTIVITIES, _CLOCK = "/account/activities", "/clock"
_QUIET_SECONDS = 30.0  # machine time without a byte, after which the events are asked for again and books compared
_EVENTS = "/v1/events/trades"
_CHUNK = 16 << 10  # bytes at most at a time; what has come is not waited with


class AlpacaSubAccount(AlpacaBroker):
    """One sub-account. Implements the `Broker` port."""

    def __init__(
        self, endpoints: Endpoints, key_id: str, secret_key: str, sub_account: str, *, timeout_seconds: float
    ) -> None:
        super().__init__(endpoints, key_id, secret_key, timeout_seconds=timeout_seconds)
        self._sub_account = sub_account

    def _ask(self, method: str, path: str, fields: Mapping[str, Any] | None, about: str) -> Any:
        if path == _ACTIVITIES:
            path, fields = "/accounts/activities", {**(fields or {}), "account_id": self._sub_account}
        elif path != _CLOCK:
            path = f"/trading/accounts/{self._sub_account}{path}"
        return super()._ask(method, path, fields, about)

    def _make_client(self) -> Any:
        return broker_client(self._endpoints, self._keys, self._timeout)

    def _make_stream(self, say: Say) -> UpdatesThread:
        return _EventsThread(self._endpoints, self._keys, say, self._sub_account)


def broker_client(endpoints: Endpoints, keys: tuple[str, str], timeout_seconds: float) -> Any:
    """Return alpaca-py's client of the Broker API, with a time-out and without blind retries."""
    from alpaca.broker.client import BrokerClient

    client = BrokerClient(*keys, raw_data=True, url_override=endpoints.broker_url)
    client._retry = 0
    guard(client._session, endpoints.broker_url, timeout_seconds=timeout_seconds)
    return client


def _bounded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what a stream sends.

    Raises:
        BadData: if an event has no end.
    """
    size = 0
    for chunk in chunks:
        size = 0 if b"\n\n" in chunk or b"\r\n\r\n" in chunk else size + len(chunk)
        if size > MOST_BYTES:
            raise BadData(f"an event of Alpaca's is longer than {MOST_BYTES:,} bytes")
        yield chunk


class _EventsThread(UpdatesThread):
    """The events of orders in a thread of their own; as soon as they come the stream says None: reconcile."""

    def __init__(self, endpoints: Endpoints, keys: tuple[str, str], say: Say, sub_account: str) -> None:
        super().__init__(endpoints, keys, say)
        self._sub_account = sub_account

    async def _live(self) -> None:
        from requests import ConnectionError as ConnectionEnded
        from sseclient import SSEClient

        client = broker_client(self._endpoints, self._keys, _QUIET_SECONDS)
        headers, address = client._get_sse_headers(), f"{self._endpoints.broker_url}{_EVENTS}"
        while not self._ended.is_set():
            with client._session.get(address, headers=headers, stream=True) as answer:
                answer.raise_for_status()
                self._say(None)
                try:
                    for event in SSEClient(_bounded(answer.iter_content(_CHUNK))).events():
                        if self._ended.is_set():
                            return
                        await self._take(event.data)
                except ConnectionEnded as error:
                    if "timed out" not in f"{error}":
                        raise
                else:
                    return

    async def _take(self, text: str) -> None:
        """Say what an event tells of our account."""
        try:
            data = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError):
            self._say(BadData("an event of Alpaca's that is not JSON"))
            return
        if not isinstance(data, dict) or "account_id" not in data:
            self._say(BadData("an event of Alpaca's without its account"))
        elif data["account_id"] == self._sub_account:
            await self._hear({"data": data})
