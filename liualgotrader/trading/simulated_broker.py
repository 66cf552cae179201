"""The in-process exchange as the port `Broker`: one account of it, without a wire.

Time is the caller's: `now` names it, and after moving the exchange on the caller calls `deliver`, which
hands the account's updates to whoever reads `updates()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from liualgotrader.common import orders as ours
from liualgotrader.common.errors import BrokerRefused
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.trading.exchange_orders import (
    broker_execution,
    broker_order,
    broker_position,
    broker_update,
    order_changes,
    order_request,
)

_ALL = 1_000_000  # orders asked for at once; the exchange has no pages


class SimulatedBroker:
    """One account of an exchange. Implements `Broker`; every answer comes at once."""

    def __init__(self, exchange: Exchange, account_id: str, now: Callable[[], int]) -> None:
        self._exchange = exchange
        self._account_id = account_id
        self._now = now
        self._waiting: asyncio.Queue[ours.BrokerUpdate | None] = asyncio.Queue()

    async def submit(self, order: ours.OrderIntent) -> ours.BrokerOrder:
        return broker_order(self._exchange.submit(self._account_id, order_request(order), self._now()))

    async def cancel(self, broker_order_id: str) -> None:
        self._exchange.cancel(self._account_id, broker_order_id, self._now())

    async def cancel_all(self) -> Collection[str]:
        results = self._exchange.cancel_all(self._account_id, self._now())
        return [result.order_id for result in results if result.status == 200]

    async def replace(self, broker_order_id: str, terms: ours.ReplaceIntent, client_order_id: str) -> ours.BrokerOrder:
        changes = order_changes(terms, client_order_id)
        return broker_order(self._exchange.replace(self._account_id, broker_order_id, self._now(), changes))

    async def order_by_client_id(self, client_order_id: str) -> ours.BrokerOrder | None:
        try:
            return broker_order(self._exchange.order_by_client_id(self._account_id, client_order_id))
        except BrokerRefused as e:
            if e.status == 404:
                return None
            raise

    async def orders(self, *, since: int, open_only: bool = False) -> Sequence[ours.BrokerOrder]:
        """Return all orders submitted at or after `since`, oldest first; a bracket is open while an exit of it is."""
        views = self._exchange.orders(
            self._account_id, status="all", after=since - 1, limit=_ALL, direction="asc", nested=True
        )
        if open_only:
            views = [view for view in views if any(v.is_open for v in (view, *view.legs))]
        return [broker_order(view) for view in views]

    async def executions(self, *, since: int) -> Sequence[ours.BrokerExecution]:
        return [broker_execution(a) for a in self._exchange.activities(self._account_id, after=since - 1)]

    async def activities(self, *, since: int) -> Sequence[ours.BrokerActivity]:
        found = self._exchange.cash_activities(self._account_id, after=since - 1)
        return [ours.BrokerActivity(a.id, a.activity_type, a.at, a.amount, a.symbol, a.description) for a in found]

    async def positions(self) -> Sequence[ours.BrokerPosition]:
        return [broker_position(held) for held in self._exchange.positions(self._account_id)]

    async def account(self) -> ours.BrokerAccount:
        view = self._exchange.account(self._account_id)
        return ours.BrokerAccount(
            account_number=view.account_id,
            status="ACTIVE",
            equity=view.equity,
            cash=view.cash,
            buying_power=view.buying_power,
            last_equity=view.last_equity,
            shorting_enabled=view.shorting_enabled,
            trading_blocked=view.trading_blocked,
        )

    async def clock(self) -> int:
        return self._now()

    async def latest(self, symbols: Iterable[str]) -> Mapping[str, Decimal]:
        """Return the newest eligible print of those symbols that have one, dollars per share."""
        prints = ((symbol, self._exchange.last_trade(symbol)) for symbol in symbols)
        return {symbol: Decimal(str(print_.price)) for symbol, print_ in prints if print_ is not None}

    async def updates(self) -> AsyncIterator[ours.BrokerUpdate | None]:
        yield None
        while True:
            yield await self._waiting.get()

    def deliver(self) -> None:
        """Hand on what has happened in the account since the last call."""
        for update in self._exchange.take_updates():
            if update.account_id == self._account_id:
                self._waiting.put_nowait(broker_update(update))

    async def close(self) -> None:
        """End nothing: there is no connection."""
