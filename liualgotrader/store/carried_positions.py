"""What the executions of earlier sessions add up to, one strategy's position after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.position import after_execution
from liualgotrader.common.rows import LeftOpen

_COST_STEP = Decimal("0.000001")  # dollars per share


class PositionStep(msgspec.Struct, frozen=True):
    """An execution (`signed` shares at `price`), or with `signed` zero a moved stop and target."""

    symbol: str
    at: int
    signed: Decimal = ZERO
    price: Decimal = ZERO
    stop: Decimal | None = None
    target: Decimal | None = None


@dataclass(slots=True)
class _Position:
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    opened_at: int = 0
    stop: Decimal | None = None
    target: Decimal | None = None
    entry_stop: Decimal | None = None

    def take(self, step: PositionStep) -> None:
        if not step.signed:
            if self.quantity:
                self.stop, self.target = step.stop, step.target
            return
        before = self.quantity
        self.quantity, self.cost, _ = after_execution(before, self.cost, step.signed, step.price)
        if before * self.quantity <= 0:  # opened, closed or turned over
            self.opened_at, self.stop, self.target, self.entry_stop = step.at, step.stop, step.target, step.stop
        elif abs(self.quantity) > abs(before):
            self.stop, self.target = step.stop or self.stop, step.target or self.target
            self.entry_stop = self.entry_stop or step.stop


def left_open(steps: Iterable[PositionStep]) -> list[LeftOpen]:
    """Return what is open after all steps, by symbol; equal times count in the order given, moves after executions."""
    positions: dict[str, _Position] = {}
    for step in sorted(steps, key=lambda step: (step.at, not step.signed)):
        positions.setdefault(step.symbol, _Position()).take(step)
    return [
        LeftOpen(
            symbol,
            plain(p.quantity),
            p.cost.quantize(_COST_STEP).normalize(),
            p.opened_at,
            p.stop,
            p.target,
            p.entry_stop,
        )
        for symbol, p in sorted(positions.items())
        if p.quantity
    ]


def with_resting_stop(position: LeftOpen, stops: Mapping[tuple[str, str], Decimal]) -> LeftOpen:
    """Return a position with the stop that the broker keeps for it, by symbol and side, if its strategy has none."""
    stop = stops.get((position.symbol, "sell" if position.quantity > 0 else "buy"))
    return position if position.planned_stop is not None else msgspec.structs.replace(position, planned_stop=stop)
