"""What earlier batches of our strategies left open, handed to the slot that goes on with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import BrokerPosition
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import LeftOpen
from liualgotrader.common.session_plan import SessionPlan, SlotPlan
from liualgotrader.engine.desk import Carried, Missing

Notice = Callable[[str, str], None]


def carries(plan: SessionPlan) -> bool:
    """Whether positions of earlier batches are taken up.

    Not in a simulated session, whose account is new, nor with `skip_existing`: what the account holds is then foreign.
    """
    return plan.environment != "SIMULATED" and not plan.tradeplan.get("skip_existing")


async def carried_positions(
    plan: SessionPlan, store: Store, held: Iterable[BrokerPosition], notice: Notice
) -> list[Carried | Missing]:
    """Return what each strategy of the plan still holds, with its cost, stop and target, as far as the account holds it.

    A strategy's positions go to its first slot. What the broker does not hold (any more) is missing: a person
    must say what became of it.
    """
    left = {p.symbol: p.quantity for p in held}
    carried: list[Carried | Missing] = []
    for slot in _first_slots(plan.slots):
        for before in await store.left_open(plan.environment, slot.strategy, plan.batch_id):
            symbol, there = before.symbol, left.get(before.symbol, ZERO)
            if not _covers(there, before.quantity):
                carried.append(Missing(slot.slot, symbol, before.quantity, before.average_price, there))
                continue
            left[symbol] = there - before.quantity
            held_then = f"{slot.strategy} held {plain(before.quantity)} {symbol} after its last session"
            notice("INFO", f"{held_then} and goes on with them")
            carried.append(_carried(slot.slot, before))
    return carried


def _carried(slot: int, before: LeftOpen) -> Carried:
    return Carried(
        slot,
        before.symbol,
        before.quantity,
        before.average_price,
        before.planned_stop,
        before.planned_target,
    )


def _first_slots(slots: Sequence[SlotPlan]) -> list[SlotPlan]:
    first: dict[str, SlotPlan] = {}
    for slot in sorted(slots, key=lambda s: s.slot):
        first.setdefault(slot.strategy, slot)
    return list(first.values())


def _covers(there: Decimal, wanted: Decimal) -> bool:
    return there * wanted > 0 and abs(there) >= abs(wanted)
