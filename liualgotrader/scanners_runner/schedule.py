"""When a scanner runs, and in which order picks of one instant leave. Pure but for the waiting."""

from __future__ import annotations

import asyncio

from liualgotrader.common.clock import NEVER, Clock

PATIENCE_SECONDS = 1.0  # machine time that a scanner waits for an earlier one that was due at the same instant


def next_due(now: int, opens_at: int, period: int) -> int:
    """Return the first instant after `now` on the grid of whole periods from the open, ns UTC.

    The grid, unlike "a period after the last run", gives the same instants after a restart.

    >>> [next_due(now, 100, 50) for now in (100, 149, 150, 30)]
    [150, 150, 200, 50]
    """
    return opens_at + ((now - opens_at) // period + 1) * period


class Turns:
    """Lets scanners that were due at one instant hand over their picks in the order of the tradeplan."""

    def __init__(self, count: int) -> None:
        self._due = [NEVER] * count
        self._changed = asyncio.Event()

    def expect(self, index: int, due: int) -> None:
        """State when scanner `index` is due next, NEVER if it will not run again."""
        self._due[index] = due
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, index: int, clock: Clock, seconds: float = PATIENCE_SECONDS) -> bool:
        """Return once no earlier scanner of the same instant is out; False if one took too long (machine time)."""
        due = self._due[index]
        patience = asyncio.ensure_future(clock.sleep(seconds))
        try:
            while due in self._due[:index]:
                change = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({change, patience}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                if patience.done():
                    return False
            return True
        finally:
            patience.cancel()
