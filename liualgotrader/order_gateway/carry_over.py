"""What earlier batches left, taken up by the slot that goes on with it: first their orders, then their positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import msgspec

from liualgotrader.common.clock import MINUTE, SECOND, Clock
from liualgotrader.common.errors import BadData, BrokerRefused
from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import BrokerExecution, BrokerOrder, BrokerPosition, Side, with_legs
from liualgotrader.common.ports import Broker, Store
from liualgotrader.common.rows import CarriedPosition, EarlierOrder
from liualgotrader.common.session_plan import SessionPlan, SlotPlan
from liualgotrader.order_gateway.broker_calls import usable_but
from liualgotrader.orders.desk_messages import Carried, Earlier, Missing, Recovered, Restated

Notice = Callable[[str, str], None]

CANCEL_SECONDS = 5.0  # machine time to wait for cancelled entries to end
_LOOK_SECONDS = 0.1
_UNUSABLE_ANSWERS = 5  # that are asked for again
_NO_SPLIT = Decimal("0.1")  # a cost that differs by less was not split
_PARTS = 4  # splits are n:1 to n:4, or the other way round
_ROUNDING = Fraction(1, 100)  # of a cost that the broker has rounded


def takes_up(plan: SessionPlan) -> bool:
    """Whether the session goes on from what earlier batches left in the account.

    Not where the account is new, nor in a shadow session, which cancels and closes nothing.
    """
    return not plan.account_is_new and not plan.shadow


def carries(plan: SessionPlan) -> bool:
    """Whether their positions are taken up; with `skip_existing` what the account holds is foreign."""
    return takes_up(plan) and not plan.tradeplan.skip_existing


# --- orders


class EarlierOrders:
    """Looks up the orders that earlier batches left, and cancels those that could still open a position.

    An answer that cannot be used is asked for again; an order that has none other is named and left as it is.
    """

    def __init__(self, environment: str, batch_id: str, store: Store, broker: Broker, clock: Clock) -> None:
        self._environment, self._batch_id = environment, batch_id
        self._store, self._broker, self._clock = store, broker, clock
        self._unusable = 0  # answers

    async def found(self, notice: Notice) -> list[Earlier]:
        """Return each order that the broker knows, with its executions; entries have ended or are being cancelled.

        Raises:
            OutsideError: if broker or database do not answer.
            BadData: if an answer cannot be used, the first times.
        """
        left = await self._store.unfinished_orders(self._environment, self._batch_id)
        views = await self._look_up(left, notice)
        held = await self._held(left, views)
        entries: list[EarlierOrder] = []
        for one in left:
            view = views.get(one.order.client_order_id)
            if view is None or view.state.is_final or held.get((one.strategy, view.symbol), ZERO) * view.side.sign < 0:
                continue
            entries.append(one)
            what = f"{view.side} {plain(view.quantity - view.filled_quantity)} {view.symbol}"
            notice(
                "WARNING",
                f"cancelling an order that an earlier batch of {one.strategy} left and that could open a position: {what}",
            )
            with suppress(BrokerRefused):  # it has ended meanwhile
                await self._broker.cancel(view.broker_order_id)
        views |= await self._wait_for_ends(entries, notice)
        known = [(one, views[one.order.client_order_id]) for one in left if one.order.client_order_id in views]
        traded = [one.order.decided_at for one, view in known if view.filled_quantity > one.order.filled_quantity]
        executions: Sequence[BrokerExecution] = ()
        if traded:
            ids = {"", *(view.broker_order_id for _, view in known)}
            asked = self._broker.executions(since=min(traded) - MINUTE)
            executions = await usable_but(lambda row: row.broker_order_id in ids, asked)
        return [
            Earlier(one, view, tuple(e for e in executions if e.broker_order_id == view.broker_order_id))
            for one, view in known
        ]

    async def _look_up(self, left: Sequence[EarlierOrder], notice: Notice) -> dict[str, BrokerOrder]:
        views: dict[str, BrokerOrder] = {}
        for one in left:
            try:
                view = await self._broker.order_by_client_id(one.order.client_order_id)
            except BadData as error:
                self._unusable += 1
                if self._unusable <= _UNUSABLE_ANSWERS:
                    raise
                notice("ERROR", f"{error}: this order of an earlier batch is left as it is, look at it at the broker")
            else:
                views |= {} if view is None else {one.order.client_order_id: view}
        return views

    async def _held(
        self, left: Sequence[EarlierOrder], views: dict[str, BrokerOrder]
    ) -> dict[tuple[str, str], Decimal]:
        """Return each strategy's signed shares by symbol: as recorded, plus what these orders have filled since."""
        held: dict[tuple[str, str], Decimal] = {}
        for strategy in {one.strategy for one in left}:
            for p in await self._store.carried_positions(self._environment, strategy, self._batch_id):
                held[strategy, p.symbol] = p.quantity
        for one in left:
            if (view := views.get(one.order.client_order_id)) is not None:
                place, since = (one.strategy, one.order.symbol), view.filled_quantity - one.order.filled_quantity
                held[place] = held.get(place, ZERO) + since * Side(one.order.side).sign
        return held

    async def _wait_for_ends(self, entries: Sequence[EarlierOrder], notice: Notice) -> dict[str, BrokerOrder]:
        until = self._clock.machine() + int(CANCEL_SECONDS * SECOND)
        views: dict[str, BrokerOrder] = {}
        working = list(entries)
        while working and self._clock.machine() < until:
            seen = await self._look_up(working, notice)
            views |= seen
            open_ids = {name for name, view in seen.items() if not view.state.is_final}
            working = [one for one in working if one.order.client_order_id in open_ids]
            if working:
                await self._clock.sleep(_LOOK_SECONDS)
        for one in working:
            notice(
                "ERROR",
                f"{one.order.client_order_id} of an earlier batch is not cancelled yet: look at it at the broker",
            )
        return views


# --- positions


async def recorded_positions(plan: SessionPlan, store: Store) -> list[Carried]:
    """Return what the record says that each strategy of the plan held before the batch, whatever the account holds."""
    return [_carried(slot.slot, position, position.quantity) for slot, position in await _positions_before(plan, store)]


async def account_positions(plan: SessionPlan, store: Store, broker: Broker) -> Sequence[BrokerPosition]:
    """Return what the account holds; a row that cannot be read is left out where no strategy of the plan holds anything.

    Raises:
        UnusableRows: if another row cannot be read.
    """
    ours = {position.symbol for _, position in await _positions_before(plan, store)}
    return await usable_but(lambda row: not row.symbol or row.symbol in ours, broker.positions())


def before_the_batch(held: Sequence[BrokerPosition], found: Recovered | None) -> list[BrokerPosition]:
    """Return what the account held before the batch's own orders, of which no journal knew, had filled."""
    ours: dict[str, Decimal] = {}
    for one in with_legs(found.seen if found is not None else ()):
        ours[one.symbol] = ours.get(one.symbol, ZERO) + one.filled_quantity * one.side.sign
    before = {p.symbol: msgspec.structs.replace(p, quantity=p.quantity - ours.pop(p.symbol, ZERO)) for p in held}
    before |= {symbol: BrokerPosition(symbol, -shares, ZERO) for symbol, shares in ours.items() if shares}
    return [position for position in before.values() if position.quantity]


async def carried_positions(
    plan: SessionPlan, store: Store, held: Iterable[BrokerPosition], notice: Notice
) -> list[Carried | Missing | Restated]:
    """Return what each strategy of the plan still holds, with its cost, stop and target, as far as the account holds it.

    A strategy's positions go to its first slot. What the account does not hold (any more) is missing: a person
    may say what became of it. What it holds in other terms, as after a split, is restated.
    """
    before = await _positions_before(plan, store)
    account = {p.symbol: p for p in held}
    left = {symbol: p.quantity for symbol, p in account.items()}
    carried: list[Carried | Missing | Restated] = []
    for slot, position in before:
        symbol, seen = position.symbol, account.get(position.symbol)
        together = [p for _, p in before if p.symbol == symbol]
        if seen is not None and looks_split(all_of_it := _sum(together), seen):
            whose = slot.strategy if together == [position] else "the strategies"
            carried.append(_restated(slot.slot, whose, position, all_of_it, seen))
            if together != [position]:
                left[symbol] -= position.quantity
            continue
        there = _part(left.get(symbol, ZERO), position.quantity)
        left[symbol] = left.get(symbol, ZERO) - there
        if there:
            held_then = f"{slot.strategy} held {plain(position.quantity)} {symbol} after its last session"
            notice("INFO", f"{held_then} and goes on with {'them' if there == position.quantity else plain(there)}")
            carried.append(_carried(slot.slot, position, there))
        if there != position.quantity:
            carried.append(Missing(slot.slot, symbol, position.quantity - there, position.average_price, ZERO))
    return carried


async def _positions_before(plan: SessionPlan, store: Store) -> list[tuple[SlotPlan, CarriedPosition]]:
    """Return what earlier batches left open of the plan's strategies, each with the first slot of its strategy."""
    first: dict[str, SlotPlan] = {}
    for slot in sorted(plan.slots, key=lambda s: s.slot):
        first.setdefault(slot.strategy, slot)
    return [
        (slot, position)
        for slot in first.values()
        for position in await store.carried_positions(plan.environment, slot.strategy, plan.batch_id)
    ]


def _carried(slot: int, before: CarriedPosition, quantity: Decimal) -> Carried:
    return Carried(slot, before.symbol, quantity, before.average_price, before.planned_stop, before.planned_target)


def _part(there: Decimal, wanted: Decimal) -> Decimal:
    """Return how much of what is wanted is there, signed alike."""
    return min(abs(there), abs(wanted)).copy_sign(wanted) if there * wanted > 0 else ZERO


# --- splits


def looks_split(before: CarriedPosition, now: BrokerPosition) -> bool:
    """Whether quantity or cost differ from the record by the ratio of a split, and the cost by a tenth or more.

    A split changes both and keeps their product. Where only one of them fits, foreign shares may be mixed in:
    that neither proves a split nor rules one out.
    """
    if before.quantity * now.quantity <= 0 or before.average_price <= 0 or now.average_price <= 0:
        return False
    by_price = before.average_price / now.average_price
    if abs(by_price - 1) < _NO_SPLIT:
        return False
    by_quantity = now.quantity / before.quantity
    return _is_ratio(by_price) or (by_quantity != 1 and _is_ratio(by_quantity))


def is_split(before: CarriedPosition, now: BrokerPosition) -> bool:
    """Whether both quantity and cost differ from the record by one ratio; of a part of a share the broker pays cash."""
    if not looks_split(before, now):
        return False
    by_price = _nearest(before.average_price / now.average_price)
    exactly = before.quantity * by_price.numerator / by_price.denominator
    return now.quantity != before.quantity and now.quantity in (exactly, Decimal(int(exactly)))


def _restated(
    slot: int, whose: str, before: CarriedPosition, all_of_it: CarriedPosition, now: BrokerPosition
) -> Restated:
    """Return a position as the account has it after a certain split, else at its recorded cost and without its stop.

    `all_of_it` is what all strategies together held; of several none can be told apart.
    """
    text = (
        f"{whose} held {plain(all_of_it.quantity)} at {before.average_price} $ after the last session, the account has"
        f" {plain(now.quantity)} at {now.average_price} $, as after a split: stop {before.planned_stop} and target"
        f" {before.planned_target} are dropped and nothing is opened in it; compare quantity and cost at the broker, then"
        " set a new stop"
    )
    quantity, price = before.quantity, before.average_price
    if all_of_it == before:
        quantity = _part(now.quantity, before.quantity)
        if is_split(before, now):
            quantity, price, text = now.quantity, now.average_price, f"{text}; it goes on with what the account has"
    return Restated(slot, before.symbol, before.quantity, before.average_price, quantity, price, text)


def _sum(positions: Sequence[CarriedPosition]) -> CarriedPosition:
    if len(positions) == 1:
        return positions[0]
    quantity = sum((p.quantity for p in positions), ZERO)
    cost = sum((p.quantity * p.average_price for p in positions), ZERO)
    return CarriedPosition(positions[0].symbol, quantity, cost / quantity if quantity else ZERO, 0)


def _nearest(ratio: Decimal) -> Fraction:
    exact = Fraction(ratio)
    return exact.limit_denominator(_PARTS) if exact >= 1 else 1 / (1 / exact).limit_denominator(_PARTS)


def _is_ratio(ratio: Decimal) -> bool:
    near = _nearest(ratio)
    return near != 1 and abs(Fraction(ratio) / near - 1) <= _ROUNDING
