"""The account at Alpaca, through alpaca-py: REST on worker threads, trade_updates on a thread of its own.

The vendor's client does authentication, connections and the stream; bodies are ours, because its models turn money
into floats. Its own retries are off: it would repeat a POST blindly.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from liualgotrader.common import orders as ours
from liualgotrader.common.clock import SECOND, as_datetime, block, machine_now, rfc3339
from liualgotrader.common.errors import BadData, BrokerRefused, BrokerUnreachable
from liualgotrader.common.http_guard import guard
from liualgotrader.common.tlog import warn
from liualgotrader.common.untrusted import Fields
from liualgotrader.trading import alpaca_orders as wire

if TYPE_CHECKING:
    from liualgotrader.common.session_plan import Endpoints

log = logging.getLogger(__name__)

_WORKERS = 4
_CANCEL_WORKERS = 16  # their own threads: a cancel waits for no other request
_ORDERS_PAGE = 500
_ACTIVITIES_PAGE = 100
_BUSY, _BUSY_TRIES = 429, 3
_BUSY_WAIT_SECONDS = 1.0
_PING_SECONDS = 10
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0  # machine time before the stream's client is started again
_ANSWER_SECONDS = 10.0  # machine time for the stream to accept the keys; its client would wait for ever
_STEADY = 60 * SECOND  # machine time; after a longer life the pause is the first again

Say = Callable[[ours.BrokerUpdate | BadData | None], None]


class AlpacaBroker:
    """One account. Implements the `Broker` port; one HTTP client per worker thread."""

    def __init__(self, endpoints: Endpoints, key_id: str, secret_key: str, *, timeout_seconds: float) -> None:
        self._endpoints = endpoints
        self._keys = (key_id, secret_key)
        self._timeout = timeout_seconds
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="alpaca-rest")
        self._cancels = ThreadPoolExecutor(_CANCEL_WORKERS, thread_name_prefix="alpaca-cancel")
        self._local = threading.local()
        self._stream: UpdatesThread | None = None

    # --- the Broker port ---------------------------------------------------------------------------

    async def submit(self, order: ours.OrderIntent) -> ours.BrokerOrder:
        raw = await self._call("POST", "/orders", wire.order_body(order), about=order.client_order_id)
        return wire.broker_order(raw)

    async def cancel(self, broker_order_id: str) -> None:
        await self._call("DELETE", f"/orders/{broker_order_id}", about=broker_order_id, urgent=True)

    async def cancel_all(self) -> Collection[str]:
        answers = await self._call("DELETE", "/orders", about="all orders", urgent=True)
        rows = wire.rows_of(answers or [], "orders")
        return [str(one.get("id")) for one in rows if isinstance(one, Mapping) and one.get("status") in (200, 204)]

    async def replace(self, broker_order_id: str, terms: ours.ReplaceIntent, client_order_id: str) -> ours.BrokerOrder:
        body = wire.replace_body(terms, client_order_id)
        return wire.broker_order(await self._call("PATCH", f"/orders/{broker_order_id}", body, about=client_order_id))

    async def order_by_client_id(self, client_order_id: str) -> ours.BrokerOrder | None:
        question = {"client_order_id": client_order_id}
        try:
            raw = await self._call("GET", "/orders:by_client_order_id", question, about=client_order_id)
        except BrokerRefused as e:
            if e.status == 404:
                return None
            raise
        return wire.broker_order(raw)

    async def orders(self, *, since: int, open_only: bool = False) -> Sequence[ours.BrokerOrder]:
        """See the port.

        Of a bracket whose entry is filled the vendor's nested list of open orders shows nothing: an exit of it that
        is open comes with its parent all the same, or alone where the parent cannot be found.
        """
        reader = wire.RowReader()
        if not open_only:
            rows = await self._all_pages("all", since, nested=True)
            return reader.require_all(reader.read(rows, wire.broker_order))
        rows = await self._all_pages("open", since, nested=False)
        flat = reader.read(rows, wire.broker_order)
        if all((wire.stated_text(raw, "order_class") or "simple") == "simple" for raw in rows):
            return reader.require_all(flat)
        nested = reader.read(await self._all_pages("open", since, nested=True), wire.broker_order)
        found = {order.broker_order_id: order for order in nested}
        shown = found.keys() | {leg.broker_order_id for order in nested for leg in order.legs}
        alone = [order for order in flat if order.broker_order_id not in shown]
        found |= {order.broker_order_id: order for order in await self._with_parents(alone, reader)}
        return reader.require_all(sorted(found.values(), key=lambda order: order.submitted_at))

    async def _with_parents(self, exits: Sequence[ours.BrokerOrder], reader: wire.RowReader) -> list[ours.BrokerOrder]:
        """Return the brackets that these exits belong to, and the exits whose bracket is not among the newest orders."""
        if not exits:
            return []
        newest_first = await self._orders_page(
            status="all",
            direction="desc",
            nested="true",
            until=rfc3339(max(order.submitted_at for order in exits) + SECOND),
            symbols=",".join(sorted({order.symbol for order in exits})),
        )
        seen = reader.read(newest_first, wire.broker_order)[::-1]
        wanted = {order.broker_order_id for order in exits}
        parents = [o for o in seen if any(leg.broker_order_id in wanted for leg in o.legs)]
        shown = {leg.broker_order_id for parent in parents for leg in parent.legs}
        return [*parents, *(order for order in exits if order.broker_order_id not in shown)]

    async def _all_pages(self, status: str, since: int, *, nested: bool) -> Sequence[object]:
        """Return the orders of that status; with `nested` the exits of a bracket come as its legs."""
        found: dict[str, object] = {}
        after, with_legs = since - 1, "true" if nested else "false"
        while True:
            page = await self._orders_page(status=status, direction="asc", nested=with_legs, after=rfc3339(after))
            named = {wire.stated_text(raw, "id") or str(raw): raw for raw in page}
            fresh = [raw for name, raw in named.items() if name not in found]
            found |= named
            if len(page) < _ORDERS_PAGE or not fresh:
                return list(found.values())
            # `after` is exclusive: equal times at the page's end come again
            after = wire.newest_submission(fresh) - 1

    async def _orders_page(self, **question: str) -> list[Any]:
        answer = await self._call("GET", "/orders", {**question, "limit": _ORDERS_PAGE}, about="orders")
        return wire.rows_of(answer, "orders")

    async def executions(self, *, since: int) -> Sequence[ours.BrokerExecution]:
        asked, reader = {"activity_types": "FILL", "after": rfc3339(since - 1)}, wire.RowReader()
        rows = await self._all_activities(asked, "executions")
        return reader.require_all(reader.read(rows, wire.broker_execution, order_id="order_id"))

    async def activities(self, *, since: int) -> Sequence[ours.BrokerActivity]:
        """Return what has changed the account and is no execution, of the day of `since` in New York and later."""
        day = as_datetime(since).date()  # Alpaca dates them by day; whether `after` includes its own is not documented
        asked = {"category": "non_trade_activity", "after": (day - timedelta(days=1)).isoformat()}
        reader = wire.RowReader()
        found = reader.read(await self._all_activities(asked, "activities"), wire.broker_activity)
        return reader.require_all([a for a in found if as_datetime(a.at).date() >= day])

    async def _all_activities(self, asked: Mapping[str, Any], about: str) -> Sequence[object]:
        found: dict[str, object] = {}
        question = {**asked, "direction": "asc", "page_size": _ACTIVITIES_PAGE}
        while True:
            page = wire.rows_of(await self._call("GET", "/account/activities", question, about=about), about)
            before = len(found)
            names = [wire.stated_text(raw, "id") for raw in page]
            found |= {name or str(raw): raw for name, raw in zip(names, page, strict=True)}
            if len(page) < _ACTIVITIES_PAGE:
                return list(found.values())
            if len(found) == before or not any(names):
                raise BadData(f"Alpaca answers with the same page of {about} again and again")
            question = question | {"page_token": [name for name in names if name][-1]}

    async def positions(self) -> Sequence[ours.BrokerPosition]:
        answer, reader = await self._call("GET", "/positions", about="positions"), wire.RowReader()
        return reader.require_all(reader.read(wire.rows_of(answer, "positions"), wire.broker_position))

    async def account(self) -> ours.BrokerAccount:
        return wire.broker_account(await self._call("GET", "/account", about="account"))

    async def clock(self) -> int:
        raw = await self._call("GET", "/clock", about="the broker's clock")
        return Fields("Alpaca's clock", raw).instant("timestamp")

    async def updates(self) -> AsyncIterator[ours.BrokerUpdate | BadData | None]:
        waiting: asyncio.Queue[ours.BrokerUpdate | BadData | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def say(update: ours.BrokerUpdate | BadData | None) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(waiting.put_nowait, update)

        self._stream = self._make_stream(say)
        self._stream.start()
        try:
            while True:
                yield await waiting.get()
        finally:
            self._stream.end()

    async def close(self) -> None:
        if self._stream is not None:
            self._stream.end()
        for threads in (self._threads, self._cancels):
            threads.shutdown(wait=False, cancel_futures=True)

    # --- REST ------------------------------------------------------------------------------------

    async def _call(
        self, method: str, path: str, fields: Mapping[str, Any] | None = None, *, about: str, urgent: bool = False
    ) -> Any:
        loop = asyncio.get_running_loop()
        threads = self._cancels if urgent else self._threads
        return await loop.run_in_executor(threads, self._ask, method, path, fields, about)

    def _ask(self, method: str, path: str, fields: Mapping[str, Any] | None, about: str) -> Any:
        """Make one call on a worker thread; 429 is repeated, since the broker did nothing then."""
        from alpaca.common.exceptions import APIError
        from requests import RequestException

        question = dict(fields) if fields is not None else None
        for _ in range(_BUSY_TRIES):
            try:
                return self._client()._request(method, path, question)
            except APIError as e:
                failure = wire.broker_failure(e, about)
                if not isinstance(failure, BrokerRefused) or failure.status != _BUSY:
                    raise failure from e
            except (RequestException, ValueError, RecursionError) as e:  # the last two: no JSON, or too deep
                raise BrokerUnreachable(f"{about}: no answer from Alpaca ({type(e).__name__})") from e
            block(_BUSY_WAIT_SECONDS)
        raise BrokerUnreachable(f"{about}: Alpaca says too many requests, {_BUSY_TRIES} times")

    def _client(self) -> Any:
        """Return this thread's client."""
        if not hasattr(self._local, "client"):
            self._local.client = self._make_client()
        return self._local.client

    def _make_client(self) -> Any:
        """Return a client of the vendor's with a time-out, without blind retries, and bound to the endpoints."""
        from alpaca.trading.client import TradingClient

        url = self._endpoints.trading_url
        client = TradingClient(*self._keys, raw_data=True, url_override=url)
        client._retry = 0  # it would repeat a POST after 429 and 504, three times, sleeping three seconds
        guard(client._session, url, timeout_seconds=self._timeout)
        return client

    def _make_stream(self, say: Say) -> UpdatesThread:
        """Return what hears the news of orders, not started yet."""
        return UpdatesThread(self._endpoints, self._keys, say)


class UpdatesThread:
    """alpaca-py's trade_updates client in a thread and an event loop of its own.

    It reconnects by itself; when the client as a whole ends, whatever the reason, it is started again after a
    pause that doubles from one ending to the next. As soon as it listens the stream says None: reconcile.
    """

    def __init__(self, endpoints: Endpoints, keys: tuple[str, str], say: Say) -> None:
        self._endpoints, self._keys, self._say = endpoints, keys, say
        self._ended = threading.Event()
        self._jitter = Random(machine_now())  # noqa: S311 - only so that two machines do not reconnect at once
        self._thread = threading.Thread(target=self._run, name="alpaca-updates", daemon=True)
        self._stream: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Connect, and go on connecting."""
        self._thread.start()

    def end(self) -> None:
        """End the stream; the thread is a daemon and is not waited for."""
        self._ended.set()
        if self._loop is not None and self._stream is not None:
            with suppress(RuntimeError):
                asyncio.run_coroutine_threadsafe(self._stream.stop_ws(), self._loop)

    def _run(self) -> None:
        endings = 0
        while not self._ended.is_set():
            began, reason = machine_now(), "the vendor's client stopped"
            try:
                asyncio.run(self._live())
            except asyncio.CancelledError:
                reason = "it was cancelled"
            except Exception as error:  # a bug of the client's must not end the news of our orders
                reason = f"{type(error).__name__}: {error}"[:200]
            if self._ended.is_set():
                return
            endings = 1 if machine_now() - began > _STEADY else endings + 1
            pause = min(_FIRST_PAUSE_SECONDS * 2 ** (endings - 1), _LONGEST_PAUSE_SECONDS)
            pause *= 1 - self._jitter.random() / 2
            warn(log, "order_stream_ended", reason=reason, again_in=f"{pause:.1f} s")
            self._ended.wait(pause)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = updates_stream(self._endpoints, self._keys, self._hear, lambda: self._say(None))
        await self._stream._run_forever()

    async def _hear(self, message: Mapping[str, Any]) -> None:
        data = message.get("data")
        order = data.get("order") if isinstance(data, dict) else None
        if isinstance(order, dict) and not wire.is_shares(order):
            return
        try:
            self._say(wire.broker_update(data, numbered=self._endpoints.loopback))
        except BadData as error:
            self._say(error)


def updates_stream(
    endpoints: Endpoints,
    keys: tuple[str, str],
    hear: Callable[[Mapping[str, Any]], Any],
    listening: Callable[[], None],
) -> Any:
    """Return alpaca-py's TradingStream, raw, which also says when the server has confirmed the subscription.

    Its pings find a dead connection within 20 s instead of its own three minutes.
    """
    from alpaca.common.utils import get_default_user_agent
    from alpaca.trading.stream import TradingStream
    from websockets.exceptions import SecurityError
    from websockets.legacy.client import connect

    class NoRedirect(connect):
        def handle_redirect(self, uri: str) -> None:
            raise SecurityError("the order stream answered with a redirect, which is not followed")

    class ListeningStream(TradingStream):  # type: ignore[misc] # the client has no type hints
        async def _connect(self) -> None:
            agent = {"User-Agent": get_default_user_agent()}
            self._ws = await NoRedirect(self._endpoint, extra_headers=agent, **self._websocket_params)

        async def _auth(self) -> None:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await super()._auth()

        async def _dispatch(self, msg: dict[str, Any]) -> None:
            if msg.get("stream") == "listening":
                listening()
            await super()._dispatch(msg)

    stream = ListeningStream(
        *keys,
        raw_data=True,
        url_override=endpoints.updates_url,
        websocket_params={"ping_interval": _PING_SECONDS, "ping_timeout": _PING_SECONDS, "max_queue": 1024},
    )
    stream.subscribe_trade_updates(hear)
    return stream
