"""What each slot holds, what it could come to hold, and what the account holds beyond us."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import Side
from liualgotrader.common.position import after_execution
from liualgotrader.orders.desk_messages import Missing
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


@dataclass(frozen=True, slots=True)
class Exposure:
    """The most dollars one symbol can come to, all working orders filled: on either side, and on the short side."""

    either: Decimal = ZERO
    short: Decimal = ZERO


NOTHING = Exposure()


class Books:
    """All positions, marks and exposures of the batch, and the account's foreign holdings."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self.positions: dict[tuple[int, str], Position] = {}
        self.marks: dict[str, Decimal] = {}  # newest price known, dollars per share
        self.costs: dict[str, Decimal] = {}  # of what was carried, where no price is known yet
        self.foreign: dict[str, Decimal] = {}  # signed shares that are not ours
        self.quarantined: dict[str, str] = {}  # symbol -> why nothing is opened in it
        self.apart: dict[tuple[int, str], str] = {}  # the same by slot and symbol, where only a person can lift it
        self.differences: dict[str, Decimal] = {}  # signed shares that the account has beyond our books, seen twice
        self.missing: dict[tuple[int, str], Missing] = {}  # held by a slot's strategy before, and not there any more
        self._ours: dict[str, Decimal] = {}
        self._exposures: dict[str, Exposure] = {}
        self.gross = ZERO  # dollars, all symbols, every working order counted as filled
        self.short = ZERO

    def position(self, slot: int, symbol: str) -> Position:
        """Return a slot's position, made empty if there is none."""
        return self.positions.setdefault((slot, symbol), Position())

    def held(self, slot: int, symbol: str) -> Decimal:
        """Return a slot's signed shares."""
        found = self.positions.get((slot, symbol))
        return found.quantity if found is not None else ZERO

    def ours(self, symbol: str) -> Decimal:
        """Return the signed shares that all slots together hold."""
        return self._ours.get(symbol, ZERO)

    def lacking(self, symbol: str) -> bool:
        """Whether the account has less of a symbol than our books say."""
        beyond = self.foreign.get(symbol, ZERO) + self.differences.get(symbol, ZERO)
        return self.ours(symbol) * beyond < 0

    def there(self, symbol: str) -> Decimal:
        """Return the signed shares that the account holds, as far as we know."""
        return self.ours(symbol) + self.foreign.get(symbol, ZERO) + self.differences.get(symbol, ZERO)

    def set_apart(self, slot: int, symbol: str, why: str) -> None:
        """Open nothing in a symbol until a person has settled it, whatever a comparison says meanwhile."""
        self.apart[slot, symbol] = self.quarantined[symbol] = why

    def why_apart(self, symbol: str) -> str:
        """Return what a person has to settle in a symbol, nothing if there is nothing."""
        return "; ".join(why for (_, theirs), why in self.apart.items() if theirs == symbol)

    def symbols(self) -> set[str]:
        """Return the symbols in which any slot holds something, even if it adds up to nothing."""
        return {symbol for _, symbol, _ in self.open()}

    def take(self, slot: int, symbol: str, signed: Decimal, price: Decimal, *, traded: bool = True) -> Position:
        """Book a fill of `signed` shares for a slot and return its position; what is not traded makes no price."""
        position = self.position(slot, symbol)
        position.take(signed, price)
        self._ours[symbol] = self.ours(symbol) + signed
        (self.marks if traded else self.costs)[symbol] = price
        return position

    def see(self, symbol: str, price: Decimal) -> None:
        """Take in a symbol's newest price, dollars per share."""
        self.marks[symbol] = price
        self.touch(symbol)

    def valued_at(self, symbol: str) -> Decimal:
        """Return the newest price, else what was paid for what was carried, else 0."""
        return self.marks.get(symbol) or self.costs.get(symbol, ZERO)

    def open(self, slot: int | None = None) -> Iterator[tuple[int, str, Position]]:
        """Yield (slot, symbol, position) of what is not flat."""
        for (owner, symbol), position in list(self.positions.items()):
            if position.quantity and (slot is None or slot == owner):
                yield owner, symbol, position

    def exposure(self, symbol: str) -> Exposure:
        """Return the symbol's present exposure."""
        return self._exposures.get(symbol, NOTHING)

    def touch(self, symbol: str) -> None:
        """Work the symbol's exposure out again, after a fill, an order or a mark changed."""
        old, new = self.exposure(symbol), self.exposure_with(symbol)
        self.gross += new.either - old.either
        self.short += new.short - old.short
        if new is NOTHING or not new.either:
            self._exposures.pop(symbol, None)
        else:
            self._exposures[symbol] = new

    def exposure_with(self, symbol: str, more: DeskOrder | None = None) -> Exposure:
        """Return what the symbol's exposure would be with one more order."""
        mark = self.valued_at(symbol)
        bought = sold = ZERO
        price = mark
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
