"""What each slot holds, and what it could come to hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import Side
from liualgotrader.common.position import after_execution
from liualgotrader.orders.desk_parts import Place
from liualgotrader.orders.order import DeskOrder, Orders, counted, worst_price


@dataclass(slots=True)
class Position:
    """Signed shares of one slot in one symbol: the sum of its confirmed fills (and what it carried in)."""

    quantity: Decimal = ZERO
    average_price: Decimal = ZERO  # dollars per share of what is held
    planned_stop: Decimal | None = None
    planned_target: Decimal | None = None
    planned_at: int = 0  # when the strategy decided on them, market time; 0 where there is no plan
    filled_at: int = 0  # the broker's time of its newest execution

    def take(self, signed: Decimal, price: Decimal) -> None:
        """Book a fill of `signed` shares at `price`.

        The plan ends with the position it was made for: what is opened next begins without one.
        """
        before = self.quantity
        self.quantity, self.average_price, _ = after_execution(before, self.average_price, signed, price)
        if before and before * self.quantity <= 0:
            self.planned_stop, self.planned_target, self.planned_at = None, None, 0

    def protect(self, stop: Decimal | None, target: Decimal | None, decided_at: int) -> bool:
        """Set the plan; False if a newer one stands. Before the first fill it waits for it."""
        if decided_at < self.planned_at:
            return False
        self.planned_stop, self.planned_target, self.planned_at = stop, target, decided_at
        return True

    def grown_by(self, stop: Decimal | None, target: Decimal | None, decided_at: int, *, opened: bool) -> bool:
        """Take the plan of an order that opened or grew the position; False if one stands that was made since."""
        if decided_at <= self.planned_at:
            return decided_at == self.planned_at and (stop, target) == (self.planned_stop, self.planned_target)
        if opened:
            self.planned_stop, self.planned_target = stop, target
        else:
            self.planned_stop, self.planned_target = stop or self.planned_stop, target or self.planned_target
        self.planned_at = decided_at
        return True


class Exposure(NamedTuple):
    """The most dollars one symbol can come to, all working orders filled: on either side, and on the short side."""

    either: Decimal = ZERO
    short: Decimal = ZERO


NOTHING = Exposure()


class Positions:
    """All positions, marks and exposures of the batch. An exposure is worked out when it is read after a change."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._positions: dict[Place, Position] = {}
        self._marks: dict[str, Decimal] = {}  # newest price known, dollars per share
        self._costs: dict[str, Decimal] = {}  # of what was carried, where no price is known yet
        self._ours: dict[str, Decimal] = {}
        self._exposures: dict[str, Exposure] = {}
        self._changed: set[str] = set()  # symbols whose exposure has to be worked out again
        self._gross = self._short = ZERO

    @property
    def marks(self) -> Mapping[str, Decimal]:
        """The newest prices known, dollars per share."""
        return self._marks

    def position(self, slot: int, symbol: str) -> Position:
        """Return a slot's position, made empty if there is none."""
        found = self._positions.get((slot, symbol))
        if found is None:
            found = self._positions[slot, symbol] = Position()
        return found

    def held(self, slot: int, symbol: str) -> Decimal:
        """Return a slot's signed shares."""
        found = self._positions.get((slot, symbol))
        return found.quantity if found is not None else ZERO

    def ours(self, symbol: str) -> Decimal:
        """Return the signed shares that all slots together hold."""
        return self._ours.get(symbol, ZERO)

    def symbols(self) -> set[str]:
        """Return the symbols in which any slot holds something, even if it adds up to nothing."""
        return {symbol for _, symbol, _ in self.open()}

    def open(self, slot: int | None = None) -> Iterator[tuple[int, str, Position]]:
        """Yield (slot, symbol, position) of what is not flat."""
        for (owner, symbol), position in list(self._positions.items()):
            if position.quantity and (slot is None or slot == owner):
                yield owner, symbol, position

    def take(self, slot: int, symbol: str, signed: Decimal, price: Decimal, *, traded: bool = True) -> Position:
        """Book a fill of `signed` shares for a slot and return its position; what is not traded makes no price."""
        position = self.position(slot, symbol)
        position.take(signed, price)
        self._ours[symbol] = self.ours(symbol) + signed
        (self._marks if traded else self._costs)[symbol] = price
        self._changed.add(symbol)
        return position

    def see(self, symbol: str, price: Decimal) -> None:
        """Take in a symbol's newest price, dollars per share."""
        self._marks[symbol] = price
        self._changed.add(symbol)

    def touch(self, symbol: str) -> None:
        """Take note that an order in a symbol has changed, and with it the exposure."""
        self._changed.add(symbol)

    def valued_at(self, symbol: str) -> Decimal:
        """Return the newest price, else what was paid for what was carried, else 0."""
        return self._marks.get(symbol) or self._costs.get(symbol, ZERO)

    # --- exposure

    @property
    def total(self) -> Exposure:
        """The exposures of all symbols together, every working order counted as filled."""
        if self._changed:
            self._work_out()
        return Exposure(self._gross, self._short)

    def exposure(self, symbol: str) -> Exposure:
        """Return the symbol's present exposure."""
        if self._changed:
            self._work_out()
        return self._exposures.get(symbol, NOTHING)

    def _work_out(self) -> None:
        for symbol in self._changed:
            old, new = self._exposures.get(symbol, NOTHING), self.exposure_with(symbol)
            self._gross += new.either - old.either
            self._short += new.short - old.short
            if new.either:
                self._exposures[symbol] = new
            else:
                self._exposures.pop(symbol, None)
        self._changed.clear()

    def exposure_with(self, symbol: str, more: DeskOrder | None = None) -> Exposure:
        """Return what the symbol's exposure would be with one more order."""
        price = mark = self.valued_at(symbol)
        bought = sold = ZERO
        orders = self._orders.in_symbol(symbol)
        for order in orders if more is None else [*orders, more]:
            shares = counted(order, self._orders)
            if not shares:
                continue
            price = max(price, worst_price(order.intent, mark))
            if order.side is Side.BUY:
                bought += shares
            else:
                sold += shares
        held = self.ours(symbol)
        long, short = max(ZERO, held + bought), max(ZERO, sold - held)
        return Exposure(max(long, short) * price, short * price) if long or short else NOTHING
