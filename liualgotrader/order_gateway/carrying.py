"""What earlier batches of our strategies left open, handed to the slot that goes on with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from liualgotrader.common.money import plain
from liualgotrader.common.orders import BrokerPosition
from liualgotrader.common.ports import Store
from liualgotrader.common.session_plan import SessionPlan, SlotPlan
from liualgotrader.engine.desk import Carried

Notice = Callable[[str, str], None]


async def carried_positions(
    plan: SessionPlan, store: Store, held: Iterable[BrokerPosition], notice: Notice
) -> list[Carried]:
    """Return what each strategy of the plan still holds, as far as the account really holds it.

    A strategy's positions go to its first slot. What the broker does not hold (any more) is not carried: a
    person is told, and the strategy starts without it.
    """
    left = {p.symbol: p for p in held}
    carried: list[Carried] = []
    for slot in _first_slots(plan.slots):
        before = await store.positions_before(plan.environment, slot.strategy, plan.batch_id)
        for symbol, quantity in sorted(before.items()):
            position = left.get(symbol)
            if position is None or not _covers(position.quantity, quantity):
                there = plain(position.quantity) if position else 0
                notice(
                    "WARNING",
                    f"{slot.strategy} held {plain(quantity)} {symbol} after its last session, the account holds {there}: "
                    "it starts without them",
                )
                continue
            left[symbol] = BrokerPosition(symbol, position.quantity - quantity, position.average_price)
            carried.append(Carried(slot.slot, symbol, quantity, position.average_price))
    return carried


def _first_slots(slots: Sequence[SlotPlan]) -> list[SlotPlan]:
    first: dict[str, SlotPlan] = {}
    for slot in sorted(slots, key=lambda s: s.slot):
        first.setdefault(slot.strategy, slot)
    return list(first.values())


def _covers(there: Decimal, wanted: Decimal) -> bool:
    return there * wanted > 0 and abs(there) >= abs(wanted)
