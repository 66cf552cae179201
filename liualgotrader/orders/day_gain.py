"""What our positions have gained or lost since the previous official close: only trades, prices and fees move it.

Shares held at that close count from it, shares traded since from their own price; fees come off. Deposits, withdrawals
and shares that are not ours play no part. While the close is unknown, shares count from the first price of the day.

One wrong answer closes nothing: `confirmed_gain` values each position at the best of the newest prices, and uses a
close only once a second answer has stated it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from liualgotrader.common.clock import SECOND
from liualgotrader.common.money import ZERO
from liualgotrader.common.rows import TradedBefore

LOOKS_APART = 4 * SECOND  # market time; closer answers may be one answer twice


@dataclass(slots=True)
class SymbolDay:
    """One symbol's part in the day, over all slots: signed shares, US dollars."""

    opening: Decimal = ZERO  # shares held at the previous official close
    close: Decimal | None = None  # as stated last, dollars per share; None: unknown
    close_since: int = 0  # market time of the first answer that stated it
    close_confirmed: bool = False  # a second answer has stated it
    first: Decimal | None = None  # the first price seen of the day, which stands in for it
    uses_close: bool = True  # False: counted from `first`, as the close is one of other terms or of no account
    traded: Decimal = ZERO  # shares since
    paid: Decimal = ZERO  # dollars for them, less what was received
    looks: tuple[tuple[int, Decimal], ...] = ()  # (time, price) of the last `LOOKS_APART`, and the one before
    earliest: tuple[Decimal, ...] = ()  # the day's first prices, until one of another look was among them

    @property
    def held(self) -> Decimal:
        """Signed shares held now."""
        return self.opening + self.traded

    def see(self, price: Decimal | None) -> None:
        """Take in the price of an execution, dollars per share: the first of the day stands in for an unknown close."""
        self.first = price if self.first is None else self.first

    def look(self, now: int, price: Decimal | None, close: Decimal | None) -> None:
        """Take in an answer at market time `now`: price and previous official close, dollars per share."""
        self.see(price)
        if price is not None:
            if not self._is_confirmed:
                self.earliest = (*self.earliest, price)
            before = [look for look in self.looks if look[0] <= now - LOOKS_APART][-1:]
            self.looks = (*before, *(look for look in self.looks if look[0] > now - LOOKS_APART), (now, price))
        if close is None or not self.uses_close:
            return
        if close != self.close:
            self.close, self.close_since, self.close_confirmed = close, now, False
        elif now >= self.close_since + LOOKS_APART:
            self.close_confirmed = True

    @property
    def _is_confirmed(self) -> bool:
        return bool(self.looks) and self.looks[-1][0] - self.looks[0][0] >= LOOKS_APART

    def gain(self, mark: Decimal | None) -> Decimal:
        """Return what it has gained at `mark`; nothing as long as no price has been seen."""
        return self._gain(self.close or self.first, mark or self.first)

    def confirmed_gain(self, mark: Decimal | None) -> Decimal:
        """Return the gain that no single wrong price or close can have made smaller."""
        prices = [mark, *(price for _, price in self.looks)]
        if not self._is_confirmed:
            prices += [self.first, self.close]
        bases = [self.close] if self.close_confirmed else [self.first, *self.earliest]
        return self._gain(_best([p for p in bases if p], -self.opening), _best([p for p in prices if p], self.held))

    def _gain(self, base: Decimal | None, newest: Decimal | None) -> Decimal:
        """Return the gain from `base` to `newest`; nothing while one that counts is not known."""
        if (self.opening and base is None) or (self.held and newest is None):
            return ZERO
        return self.held * (newest or ZERO) - self.opening * (base or ZERO) - self.paid


def _best(prices: list[Decimal], shares: Decimal) -> Decimal | None:
    return (max if shares > 0 else min)(prices, default=None)


class Day:
    """The day's gain of all that is ours, and the equity that its limits are fractions of."""

    def __init__(self) -> None:
        self.began_with: Decimal | None = None  # equity, dollars; None: not known yet
        self.fees = ZERO
        self.symbols: dict[str, SymbolDay] = {}
        self.unknown: dict[str, str] = {}  # by symbol, what is not known of it; said once
        self._before: set[str] = set()  # symbols of which the trades of today's earlier batches are counted

    def of(self, symbol: str) -> SymbolDay:
        """Return a symbol's part, made empty if there is none."""
        part = self.symbols.get(symbol)
        if part is None:
            part = self.symbols[symbol] = SymbolDay()
        return part

    def tell_unknown(self, symbol: str, text: str) -> bool:
        """Take note of what is not known of a symbol; return whether it is the first such thing."""
        new = symbol not in self.unknown
        self.unknown.setdefault(symbol, text)
        return new

    def carry(self, symbol: str, quantity: Decimal, *, restated: bool) -> None:
        """Count shares that were held before; a restated position has a close that may be in other terms."""
        part = self.of(symbol)
        part.opening += quantity
        part.uses_close = part.uses_close and not restated

    def trade(self, symbol: str, signed: Decimal, price: Decimal, fee: Decimal) -> None:
        """Count an execution of today."""
        part = self.of(symbol)
        part.see(price)
        part.traded += signed
        part.paid += signed * price
        self.fees += fee

    def traded_before(self, message: TradedBefore) -> None:
        """Count what earlier batches of today have traded in a symbol: of what is carried, so much is of today."""
        if message.symbol in self._before:
            return
        self._before.add(message.symbol)
        part = self.of(message.symbol)
        part.see(message.value / message.quantity if message.value * message.quantity > 0 else None)
        part.opening -= message.quantity
        part.traded += message.quantity
        part.paid += message.value
        self.fees += message.fees

    def gain(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return what our positions have gained today, fees paid, US dollars; `marks` are the prices known."""
        return sum((part.gain(marks.get(symbol)) for symbol, part in self.symbols.items()), -self.fees)

    def confirmed_gain(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return the same as far as answers of two looks show it: nothing is closed on one."""
        return sum((part.confirmed_gain(marks.get(symbol)) for symbol, part in self.symbols.items()), -self.fees)

    def restart(self, marks: Mapping[str, Decimal], equity: Decimal | None) -> None:
        """Count from here: what is held now at the prices of now."""
        held = {symbol: part.held for symbol, part in self.symbols.items() if part.held}
        self.symbols = {s: SymbolDay(q, first=marks.get(s), uses_close=False) for s, q in held.items()}
        self.fees, self.unknown = ZERO, {}
        self.began_with = self.began_with if equity is None else equity
