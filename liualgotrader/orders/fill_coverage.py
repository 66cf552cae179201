"""Which shares of an order are booked: neither a second delivery nor another order of arrival counts anything twice."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from liualgotrader.common.money import ZERO

Part = tuple[Decimal, Decimal]  # (low, high] of an order's shares in the order they traded


class FillCoverage:
    """The executions booked of an order, by the part they cover: `(cumulative - quantity, cumulative]`."""

    __slots__ = ("_executions", "_parts")

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._executions: set[str] = set()

    def __contains__(self, execution_id: str) -> bool:
        return execution_id in self._executions

    def know(self, execution_ids: Iterable[str]) -> None:
        """Take note of executions that are booked, whatever they cover."""
        self._executions.update(execution_ids)

    def add(self, execution_id: str, cumulative: Decimal, quantity: Decimal) -> Decimal:
        """Take note of an execution and return how many of its shares had not been covered before."""
        if execution_id in self._executions:
            return ZERO
        self._executions.add(execution_id)
        low, high = cumulative - quantity, cumulative
        known = sum((min(high, b) - max(low, a) for a, b in self._parts if a < high and b > low), ZERO)
        fresh = quantity - known
        if fresh > 0:
            self._cover([(low, high)])
        return fresh

    def place(self, cumulative: Decimal, quantity: Decimal) -> None:
        """Take note of which shares an execution was that is booked already."""
        self._cover([(cumulative - quantity, cumulative)])

    def place_rest(self, booked: Decimal) -> None:
        """Assign booked shares of unknown place to the lowest uncovered ranges."""
        left = booked - sum((b - a for a, b in self._parts), ZERO)
        low, found = ZERO, list[Part]()
        for a, b in self._parts:
            taken = max(ZERO, min(left, a - low))
            found.append((low, low + taken))
            low, left = b, left - taken
        if left > 0:
            found.append((low, low + left))
        self._cover([(a, b) for a, b in found if b > a])

    def hole(self, traded: Decimal) -> Part | None:
        """Return the first part of the `traded` shares that no booked execution covers."""
        low = ZERO
        for a, b in self._parts:
            if a > low:
                return low, min(a, traded)
            low = max(low, b)
        return (low, traded) if low < traded else None

    def _cover(self, new: list[Part]) -> None:
        merged: list[Part] = []
        for low, high in sorted([*self._parts, *new]) if self._parts or len(new) > 1 else new:
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        self._parts = merged
