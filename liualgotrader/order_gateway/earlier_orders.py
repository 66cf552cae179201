"""What became of the orders that earlier batches left: asked at the broker before anything is carried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal

from liualgotrader.common.clock import MINUTE, SECOND, Clock
from liualgotrader.common.errors import BrokerRefused
from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import BrokerExecution, BrokerOrder, Side
from liualgotrader.common.ports import Broker, Store
from liualgotrader.common.rows import EarlierOrder
from liualgotrader.order_gateway.broker_calls import usable_but
from liualgotrader.orders import Earlier

Notice = Callable[[str, str], None]
Views = Mapping[str, BrokerOrder]

CANCEL_SECONDS = 5.0  # machine time that the end of entries taken back is waited for
_LOOK_SECONDS = 0.1


class EarlierOrders:
    """Looks up the orders that earlier batches left, and takes back those that could still open a position."""

    def __init__(self, environment: str, batch_id: str, store: Store, broker: Broker, clock: Clock) -> None:
        self._environment, self._batch_id = environment, batch_id
        self._store, self._broker, self._clock = store, broker, clock

    async def found(self, notice: Notice) -> list[Earlier]:
        """Return each order that the broker knows, with its executions; entries have ended or are being cancelled.

        Raises:
            OutsideError: if broker or database do not answer.
        """
        left = await self._store.orders_left(self._environment, self._batch_id)
        views = await self._look_up(left)
        held = await self._held(left, views)
        entries = [one for one in left if _could_open(one, views, held)]
        for one in entries:
            await self._take_back(one, views[one.order.client_order_id], notice)
        views |= await self._ends(entries, notice)
        traded = [
            one.order.decided_at
            for one in _of(left, views)
            if views[one.order.client_order_id].filled_quantity > one.order.filled_quantity
        ]
        executions: Sequence[BrokerExecution] = ()
        if traded:
            ids = {"", *(view.broker_order_id for view in views.values())}
            asked = self._broker.executions(since=min(traded) - MINUTE)
            executions = await usable_but(lambda row: row.broker_order_id in ids, asked)
        return [
            Earlier(one, view, tuple(e for e in executions if e.broker_order_id == view.broker_order_id))
            for one in _of(left, views)
            for view in [views[one.order.client_order_id]]
        ]

    async def _look_up(self, left: Sequence[EarlierOrder]) -> dict[str, BrokerOrder]:
        asked = {one.order.client_order_id: await self._ask(one) for one in left}
        return {name: view for name, view in asked.items() if view is not None}

    async def _ask(self, one: EarlierOrder) -> BrokerOrder | None:
        return await self._broker.order_by_client_id(one.order.client_order_id)

    async def _held(self, left: Sequence[EarlierOrder], views: Views) -> dict[tuple[str, str], Decimal]:
        """Return the signed shares of strategies by symbol: as recorded, and what these orders filled since."""
        held: dict[tuple[str, str], Decimal] = {}
        for strategy in {one.strategy for one in left}:
            for p in await self._store.left_open(self._environment, strategy, self._batch_id):
                held[strategy, p.symbol] = p.quantity
        for one in _of(left, views):
            place, order = (one.strategy, one.order.symbol), one.order
            since = views[order.client_order_id].filled_quantity - order.filled_quantity
            held[place] = held.get(place, ZERO) + since * Side(order.side).sign
        return held

    async def _take_back(self, one: EarlierOrder, view: BrokerOrder, notice: Notice) -> None:
        what = f"{view.side} {plain(view.quantity - view.filled_quantity)} {view.symbol}"
        notice(
            "WARNING",
            f"an earlier batch of {one.strategy} left an order that could open a position, {what}: taken back",
        )
        with suppress(BrokerRefused):  # it has ended meanwhile
            await self._broker.cancel(view.broker_order_id)

    async def _ends(self, entries: Sequence[EarlierOrder], notice: Notice) -> dict[str, BrokerOrder]:
        until = self._clock.machine() + int(CANCEL_SECONDS * SECOND)
        ended: dict[str, BrokerOrder] = {}
        waited_for = list(entries)
        while waited_for and self._clock.machine() < until:
            views = await self._look_up(waited_for)
            ended |= views
            open_ids = {name for name, view in views.items() if not view.state.is_final}
            waited_for = [one for one in waited_for if one.order.client_order_id in open_ids]
            if waited_for:
                await self._clock.sleep(_LOOK_SECONDS)
        for one in waited_for:
            notice(
                "ERROR",
                f"{one.order.client_order_id} of an earlier batch is not cancelled yet: look at it at the broker",
            )
        return ended


def _of(left: Sequence[EarlierOrder], views: Views) -> list[EarlierOrder]:
    return [one for one in left if one.order.client_order_id in views]


def _could_open(one: EarlierOrder, views: Views, held: Mapping[tuple[str, str], Decimal]) -> bool:
    view = views.get(one.order.client_order_id)
    if view is None or view.state.is_final:
        return False
    return held.get((one.strategy, view.symbol), ZERO) * view.side.sign >= 0
