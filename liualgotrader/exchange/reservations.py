"""Running totals of what an account's open orders hold, so that accepting one more costs the same however many there are."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple


class Reservation(NamedTuple):
    """What one open order adds to the totals. Units as in units.py."""

    symbol: str
    sign: int  # +1 buys, -1 sells
    marginable: bool
    shares: int  # of a position, that it closes
    value: int  # buying power, that it opens with
    opens: bool
    reach: int | None  # the worst price it would take; None: it cannot wash with another


class Reservations:
    """The stakes of one account's open orders and their sums; `put` keeps both true."""

    def __init__(self) -> None:
        self._of: dict[str, Reservation] = {}
        self._shares: dict[str, int] = {}
        self._value = {True: 0, False: 0}  # by whether the symbol is marginable
        self._opening: dict[tuple[str, int], int] = {}
        self._reaches: dict[tuple[str, int], list[int]] = {}  # ascending

    def put(self, order_id: str, stake: Reservation | None) -> None:
        """Let an order hold this from now on, or (None) nothing."""
        before = self._of.get(order_id)
        if before == stake:
            return
        if before is not None:
            del self._of[order_id]
            self._add(before, -1)
        if stake is not None:
            self._of[order_id] = stake
            self._add(stake, 1)

    def _add(self, stake: Reservation, times: int) -> None:
        place = stake.symbol, stake.sign
        self._shares[stake.symbol] = self._shares.get(stake.symbol, 0) + times * stake.shares
        self._value[stake.marginable] += times * stake.value
        self._opening[place] = self._opening.get(place, 0) + times * stake.opens
        if stake.reach is not None:
            reaches = self._reaches.setdefault(place, [])
            if times > 0:
                insort(reaches, stake.reach)
            else:
                del reaches[bisect_left(reaches, stake.reach)]

    def shares(self, symbol: str) -> int:
        """Return the shares of a position that closing orders hold."""
        return self._shares.get(symbol, 0)

    def shares_of(self, order_id: str | None) -> int:
        """Return the shares that one order holds, 0 if it is not open."""
        stake = self._of.get(order_id or "")
        return stake.shares if stake is not None else 0

    def value(self, multiplier: int) -> int:
        """Return the buying power that opening orders hold; what is not marginable counts `multiplier` times."""
        return self._value[True] + self._value[False] * multiplier

    def opens(self, symbol: str, sign: int) -> bool:
        """Whether an order of that side would open a position in the symbol."""
        return self._opening.get((symbol, sign), 0) > 0

    def best_reach(self, symbol: str, sign: int) -> int | None:
        """Return the price nearest to the other side that an order of this side would take, None if there is none."""
        reaches = self._reaches.get((symbol, sign))
        return None if not reaches else reaches[-1] if sign > 0 else reaches[0]
