"""What the desk wants of the broker, carried out: each decision is one call, and its result one input."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from liualgotrader.common.errors import BadData, BrokerRefused, OutsideError
from liualgotrader.common.orders import BrokerOrder
from liualgotrader.common.ports import Broker
from liualgotrader.engine.desk import (
    Answer,
    Cancel,
    Command,
    Found,
    Input,
    LookUp,
    Outcome,
    Reconcile,
    Replace,
    Request,
    Send,
    Snapshot,
)

PATIENCE = 4  # times the broker's own time-out; an adapter that has not ended by then has hung
EVERY_OPEN_ORDER = 1  # ns UTC: since ever


class Errands:
    """Carries out commands; never raises for what the broker or the line to it does."""

    def __init__(self, broker: Broker, timeout_seconds: float) -> None:
        self._broker, self._timeout = broker, PATIENCE * timeout_seconds

    async def run(self, command: Command) -> Input:
        """Return what the desk is to be told of the command's end."""
        match command:
            case Send(order):
                return await self._request(Request.SUBMIT, order.client_order_id, lambda: self._broker.submit(order))
            case Cancel(name, broker_id, _):
                return await self._request(Request.CANCEL, name, lambda: self._broker.cancel(broker_id))
            case Replace(name, broker_id, _, terms):
                return await self._request(Request.REPLACE, name, lambda: self._broker.replace(broker_id, terms, name))
            case LookUp(name, _):
                return await self._look_up(name)
            case Reconcile(since):
                return await self._snapshot(since)

    async def _request(self, request: Request, name: str, call: Callable[[], Awaitable[BrokerOrder | None]]) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                order = await call()
        except BrokerRefused as e:
            return Answer(request, name, Outcome.DECLINED, None, str(e), e.code)
        except (OutsideError, BadData, TimeoutError) as e:
            return Answer(request, name, Outcome.SILENCE, None, str(e) or "no answer in time")
        return Answer(request, name, Outcome.ACCEPTED, order)

    async def _look_up(self, name: str) -> Found:
        try:
            async with asyncio.timeout(self._timeout):
                return Found(name, True, await self._broker.order_by_client_id(name))
        except (OutsideError, BrokerRefused, BadData, TimeoutError):
            return Found(name, False)

    async def _snapshot(self, since: int) -> Snapshot:
        broker = self._broker
        try:
            async with asyncio.timeout(PATIENCE * self._timeout):
                positions = await broker.positions()
                orders = {o.broker_order_id: o for o in await broker.orders(since=EVERY_OPEN_ORDER, open_only=True)}
                orders |= {o.broker_order_id: o for o in await broker.orders(since=since)}
                executions = await broker.executions(since=since)
        except (OutsideError, BrokerRefused, BadData, TimeoutError):
            return Snapshot(False)
        return Snapshot(True, tuple(orders.values()), tuple(executions), tuple(positions))
