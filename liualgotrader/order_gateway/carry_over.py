"""What earlier batches of our strategies left open, handed to the slot that goes on with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import BrokerPosition
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import LeftOpen
from liualgotrader.common.session_plan import SessionPlan, SlotPlan
from liualgotrader.orders import Carried, Missing, Restated

Notice = Callable[[str, str], None]

_NO_SPLIT = Decimal("0.1")  # a cost that differs by less was not split
_PARTS = 4  # splits are n:1 to n:4, or the other way round
_ROUNDING = Fraction(1, 100)  # of a cost that the broker has rounded


def takes_up(plan: SessionPlan) -> bool:
    """Whether the session goes on from what earlier batches left in the account.

    Not where the account is new, nor in a shadow session: it takes no order back and closes nothing.
    """
    return not plan.account_is_new and not plan.shadow


def carries(plan: SessionPlan) -> bool:
    """Whether their positions are taken up; with `skip_existing` what the account holds is foreign."""
    return takes_up(plan) and not plan.tradeplan.skip_existing


async def carried_positions(
    plan: SessionPlan, store: Store, held: Iterable[BrokerPosition], notice: Notice
) -> list[Carried | Missing | Restated]:
    """Return what each strategy of the plan still holds, with its cost, stop and target, as far as the account holds it.

    A strategy's positions go to its first slot. What the broker does not hold (any more) is missing: a person
    may say what became of it. What it holds in other terms, as after a split, is restated.
    """
    before = [
        (slot, position)
        for slot in _first_slots(plan.slots)
        for position in await store.left_open(plan.environment, slot.strategy, plan.batch_id)
    ]
    account = {p.symbol: p for p in held}
    left = {symbol: p.quantity for symbol, p in account.items()}
    carried: list[Carried | Missing | Restated] = []
    for slot, position in before:
        alone = [p for _, p in before if p.symbol == position.symbol] == [position]
        seen = account.get(position.symbol)
        restated = _restated(slot, position, seen) if seen is not None and alone else None
        if restated is not None:
            carried.append(restated)
            continue
        if seen is not None and not alone and looks_split(_total(before, position.symbol), seen):
            seen_text = _differs(
                f"the strategies held {plain(_total(before, position.symbol).quantity)}", position, seen
            )
            carried.append(_unchanged(slot, position, seen_text))
            left[position.symbol] -= position.quantity
            continue
        there = _part(left.get(position.symbol, ZERO), position.quantity)
        left[position.symbol] = left.get(position.symbol, ZERO) - there
        if there:
            held_then = f"{slot.strategy} held {plain(position.quantity)} {position.symbol} after its last session"
            notice("INFO", f"{held_then} and goes on with {'them' if there == position.quantity else plain(there)}")
            carried.append(_carried(slot.slot, position, there))
        if there != position.quantity:
            gone = position.quantity - there
            carried.append(Missing(slot.slot, position.symbol, gone, position.average_price, ZERO))
    return carried


async def recorded_positions(plan: SessionPlan, store: Store) -> list[Carried]:
    """Return what the record says that each strategy of the plan held before the batch, whatever the account holds."""
    return [
        _carried(slot.slot, position, position.quantity)
        for slot in _first_slots(plan.slots)
        for position in await store.left_open(plan.environment, slot.strategy, plan.batch_id)
    ]


def _carried(slot: int, before: LeftOpen, quantity: Decimal) -> Carried:
    return Carried(
        slot,
        before.symbol,
        quantity,
        before.average_price,
        before.planned_stop,
        before.planned_target,
    )


# --- splits


def looks_split(before: LeftOpen, now: BrokerPosition) -> bool:
    """Whether quantity or cost differ from the record by the ratio of a split, and the cost by a tenth or more.

    A split changes both and keeps their product. Where only one of them fits, shares of somebody else may be mixed in:
    that is no proof of a split, and none that there was none.
    """
    if before.quantity * now.quantity <= 0 or before.average_price <= 0 or now.average_price <= 0:
        return False
    by_price = before.average_price / now.average_price
    if abs(by_price - 1) < _NO_SPLIT:
        return False
    by_quantity = now.quantity / before.quantity
    return _is_ratio(by_price) or (by_quantity != 1 and _is_ratio(by_quantity))


def is_split(before: LeftOpen, now: BrokerPosition) -> bool:
    """Whether both quantity and cost differ from the record by one ratio; of a part of a share the broker pays cash."""
    if not looks_split(before, now):
        return False
    by_price = _nearest(before.average_price / now.average_price)
    exactly = before.quantity * by_price.numerator / by_price.denominator
    return now.quantity != before.quantity and now.quantity in (exactly, Decimal(int(exactly)))


def _restated(slot: SlotPlan, before: LeftOpen, now: BrokerPosition) -> Restated | None:
    if not looks_split(before, now):
        return None
    text = _differs(f"{slot.strategy} held {plain(before.quantity)}", before, now)
    if not is_split(before, now):
        return _unchanged(slot, before, text, _part(now.quantity, before.quantity))
    went_on = f"{text}; it goes on with what the account has"
    return Restated(
        slot.slot, before.symbol, before.quantity, before.average_price, now.quantity, now.average_price, went_on
    )


def _unchanged(slot: SlotPlan, before: LeftOpen, text: str, there: Decimal | None = None) -> Restated:
    """Return the position at its recorded cost, as much as is there, without its stop and target."""
    quantity = before.quantity if there is None else there
    return Restated(
        slot.slot, before.symbol, before.quantity, before.average_price, quantity, before.average_price, text
    )


def _differs(whose: str, before: LeftOpen, now: BrokerPosition) -> str:
    return (
        f"{whose} at {before.average_price} $ after the last session, the account has {plain(now.quantity)} at "
        f"{now.average_price} $, as after a split: stop {before.planned_stop} and target {before.planned_target} are "
        "dropped and nothing is opened in it; compare quantity and cost at the broker, then set a new stop"
    )


def _total(before: Sequence[tuple[SlotPlan, LeftOpen]], symbol: str) -> LeftOpen:
    all_of_it = [p for _, p in before if p.symbol == symbol]
    quantity = sum((p.quantity for p in all_of_it), ZERO)
    cost = sum((p.quantity * p.average_price for p in all_of_it), ZERO)
    return LeftOpen(symbol, quantity, cost / quantity if quantity else ZERO, 0)


def _nearest(ratio: Decimal) -> Fraction:
    exact = Fraction(ratio)
    return exact.limit_denominator(_PARTS) if exact >= 1 else 1 / (1 / exact).limit_denominator(_PARTS)


def _is_ratio(ratio: Decimal) -> bool:
    near = _nearest(ratio)
    return near != 1 and abs(Fraction(ratio) / near - 1) <= _ROUNDING


def _part(there: Decimal, wanted: Decimal) -> Decimal:
    """Return how much of what is wanted is there, signed alike."""
    return min(abs(there), abs(wanted)).copy_sign(wanted) if there * wanted > 0 else ZERO


def _first_slots(slots: Sequence[SlotPlan]) -> list[SlotPlan]:
    first: dict[str, SlotPlan] = {}
    for slot in sorted(slots, key=lambda s: s.slot):
        first.setdefault(slot.strategy, slot)
    return list(first.values())
