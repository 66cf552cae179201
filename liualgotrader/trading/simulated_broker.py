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
from liualgotrader.exchange.exchange_values import Activity, Execution, OrderChanges, OrderRequest, OrderView, Update
from liualgotrader.trading.alpaca_orders import STATES, TYPES

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
        changes = OrderChanges(
            quantity=terms.quantity,
            limit_price=terms.limit_price,
            stop_price=terms.stop_price,
            client_order_id=client_order_id,
        )
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
        views = self._exchange.positions(self._account_id)
        return [
            ours.BrokerPosition(v.symbol, v.quantity, v.average_entry_price, v.current_price, v.lastday_price)
            for v in views
        ]

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


def order_request(order: ours.OrderIntent) -> OrderRequest:
    """Return an intent as the exchange asks for it."""
    exits = (order.take_profit is not None) + (order.stop_loss is not None)
    return OrderRequest(
        symbol=order.symbol,
        side=str(order.side),
        type=str(order.type),
        time_in_force=order.time_in_force,
        quantity=order.quantity,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        client_order_id=order.client_order_id,
        order_class=("simple", "oto", "bracket")[exits],
        take_profit_limit=order.take_profit,
        stop_loss_stop=order.stop_loss,
    )


def broker_order(view: OrderView) -> ours.BrokerOrder:
    """Return the exchange's view of an order, with its legs, as a broker tells it."""
    return ours.BrokerOrder(
        broker_order_id=view.id,
        client_order_id=view.client_order_id,
        symbol=view.symbol,
        side=view.side,
        quantity=view.quantity if view.quantity is not None else view.filled_quantity,
        filled_quantity=view.filled_quantity,
        average_price=view.filled_average_price,
        state=STATES.get(view.status, ours.OrderState.ACKNOWLEDGED),
        vendor_status=view.status,
        submitted_at=view.submitted_at,
        updated_at=view.updated_at,
        replaced_by=view.replaced_by or "",
        replaces=view.replaces or "",
        legs=tuple(map(broker_order, view.legs)),
        type=TYPES.get(view.type),
        limit_price=view.limit_price,
        stop_price=view.stop_price,
    )


def broker_update(update: Update) -> ours.BrokerUpdate:
    """Return one message of the exchange's order stream as a broker tells it."""
    execution = update.execution
    return ours.BrokerUpdate(
        event=update.event,
        order=broker_order(update.order),
        at=update.at,
        execution=broker_execution(execution) if execution is not None else None,
        sequence=update.sequence,
    )


def broker_execution(fill: Execution | Activity) -> ours.BrokerExecution:
    """Return an execution, or the account's record of it, as a broker tells it."""
    return ours.BrokerExecution(
        execution_id=fill.execution_id,
        broker_order_id=fill.order_id,
        symbol=fill.symbol,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        fee=fill.fee,
        at=fill.at,
        cumulative_quantity=fill.cumulative_quantity,
    )
