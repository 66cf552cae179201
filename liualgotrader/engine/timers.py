"""What is due by the market clock: ends of bars in the making, and the strategies' periods."""

from __future__ import annotations

from collections.abc import Iterator

from liualgotrader.common.bar_builder import BarBuilder
from liualgotrader.common.clock import NEVER, SECOND
from liualgotrader.common.session_plan import Hours
from liualgotrader.engine.slot import StrategySlot
from liualgotrader.engine.symbol_state import SymbolState


class Ends:
    """Instants at which bars in the making must be closed, each with its symbols in the order they came."""

    def __init__(self) -> None:
        self._at: dict[int, list[tuple[SymbolState, BarBuilder]]] = {}
        self._next = NEVER

    def add(self, at: int, state: SymbolState, forming: BarBuilder) -> None:
        """Remember that `forming` is to be closed at `at`."""
        here = self._at.get(at)
        if here is None:
            self._at[at] = [(state, forming)]
            self._next = min(self._next, at)
        else:
            here.append((state, forming))

    def due(self, now: int) -> list[tuple[SymbolState, BarBuilder]]:
        """Return and forget what is due by `now`, oldest first; it may have been closed by other means."""
        found: list[tuple[SymbolState, BarBuilder]] = []
        for at in sorted(at for at in self._at if at <= now):
            found += self._at.pop(at)
        self._next = min(self._at, default=NEVER)
        return found

    def next(self) -> int:
        """Return the earliest instant, NEVER if there is none."""
        return self._next


class Ticks:
    """The periods of `run_all` and `on_timer`, counted from the session's open."""

    def __init__(self, hours: Hours) -> None:
        self._hours = hours
        self._periods: list[tuple[StrategySlot, int]] = []

    def every(self, slot: StrategySlot, seconds: float) -> None:
        """Call a slot each `seconds` of market time, at the open for the first time."""
        self._periods.append((slot, max(1, round(seconds * SECOND))))

    def begin(self, now: int) -> None:
        """Set every slot's next tick: the first one at or after `now`."""
        for slot, period in self._periods:
            slot.next_tick = self._hours.opens_at + -((self._hours.opens_at - now) // period) * period

    def due(self, now: int) -> Iterator[tuple[StrategySlot, int, int]]:
        """Yield (slot, tick, ticks missed before it) for each slot whose tick has come; a late one is made once."""
        for slot, period in self._periods:
            if slot.next_tick <= now:
                missed = (now - slot.next_tick) // period
                tick = slot.next_tick + missed * period
                slot.next_tick = tick + period
                yield slot, tick, missed

    def next(self) -> int:
        """Return the earliest tick, NEVER if there is none."""
        return min((slot.next_tick for slot, _ in self._periods), default=NEVER)
