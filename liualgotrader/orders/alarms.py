"""What the desk wants to be woken for, on one clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from enum import StrEnum

from liualgotrader.common.clock import NEVER


class Due(StrEnum):
    """What is to be done when an alarm goes off; the key says to whom."""

    EXPIRE = "expire"  # an order's lifetime has passed
    CANCEL_AGAIN = "cancel_again"  # a cancel was asked and nothing came of it
    CLOSE = "close"  # a position is to be closed, next try
    LIQUIDATE = "liquidate"  # the end of the day for DAY_TRADE
    RECONCILE = "reconcile"
    WAITED = "waited"  # an exit has waited for the end of other orders as long as it may
    LOOK_UP = "look_up"  # an order's fate is not known


Key = str
Alive = Callable[[Due, Key], bool]


class Alarms:
    """Alarms of one clock, earliest first, in the order they were set where the time is the same.

    An alarm whose reason has gone (`alive` says so) is forgotten as soon as it is the next one.
    """

    def __init__(self, alive: Alive) -> None:
        self._heap: list[tuple[int, int, Due, Key]] = []
        self._set: dict[tuple[Due, Key], int] = {}
        self._count = 0
        self._alive = alive

    def set(self, at: int, due: Due, key: Key) -> None:
        """Ask for `due` at an instant; an earlier wish for the same is replaced."""
        self._count += 1
        self._set[due, key] = self._count
        heapq.heappush(self._heap, (at, self._count, due, key))

    def forget(self, due: Due, key: Key) -> None:
        """Take a wish back."""
        self._set.pop((due, key), None)

    def clear(self) -> None:
        """Take every wish back."""
        self._heap.clear()
        self._set.clear()

    def has(self, due: Due, key: Key) -> bool:
        """Whether such a wish waits."""
        return (due, key) in self._set

    def next(self) -> int:
        """Return the earliest instant wished for, `NEVER` if there is none."""
        while self._heap:
            at, number, due, key = self._heap[0]
            if self._set.get((due, key)) == number and self._alive(due, key):
                return at
            heapq.heappop(self._heap)
            if self._set.get((due, key)) == number:
                del self._set[due, key]
        return NEVER

    def take(self, now: int) -> Iterator[tuple[Due, Key]]:
        """Yield what is due at `now`, earliest first; what is set meanwhile for `now` or before comes too."""
        while self.next() <= now:
            _, _, due, key = heapq.heappop(self._heap)
            del self._set[due, key]
            yield due, key
