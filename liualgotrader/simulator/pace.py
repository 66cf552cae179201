"""How fast simulated time may pass, and the places where it stops."""

from __future__ import annotations

from dataclasses import dataclass

from liualgotrader.common.clock import MILLISECOND, SECOND, Clock

_CREDIT = 50 * MILLISECOND  # machine time that may be caught up after a delay; older delays are forgotten
_SHORTEST_SLEEP = MILLISECOND  # the loop's timers are no finer


def grid_after(at: int, quantum: int) -> int:
    """Return the end of the quantum that holds `at`: the first boundary after it."""
    return (at // quantum + 1) * quantum


def grid_at_or_after(at: int, quantum: int) -> int:
    """Return the first boundary at or after `at`."""
    return -(-at // quantum) * quantum


@dataclass(slots=True)
class Pace:
    """An upper limit: `speed` market seconds a machine second, 0 for none."""

    clock: Clock
    speed: float
    _due: int = 0

    async def wait_for(self, market_ns: int) -> None:
        """Return when `market_ns` more of market time may have passed."""
        if self.speed <= 0:
            return
        now = self.clock.machine()
        self._due = max(self._due, now - _CREDIT) + round(market_ns / self.speed)
        if (ahead := self._due - now) >= _SHORTEST_SLEEP:
            await self.clock.sleep(ahead / SECOND)
