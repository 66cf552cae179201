"""Which market data is too old to act on.

Age is machine time since the market clock passed an event. A batch is judged by its oldest event first, and
each event by itself only when that one fails. Old bars still enter history; account news never grows old.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from liualgotrader.common.clock import SECOND
from liualgotrader.common.events import Bar, FeedEvent, Pick, Unpick

Age = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is stale in a batch: `stale` holds the places of such events. `line` is said once per burst."""

    stale: frozenset[int] = frozenset()
    line: str = ""


FRESH = Verdict()


class Freshness:
    """Judges batches; counts what it found stale since the start."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = round(limit_seconds * SECOND)
        self._in_burst = False
        self.stale_events = 0
        self.bursts = 0

    def judge(self, events: Sequence[FeedEvent], age: Age) -> Verdict:
        """Return which events strategies must not be called for; `age` is the clock's own."""
        oldest = _first_instant(events)
        if oldest is None or age(oldest) <= self._limit:
            self._in_burst = self._in_burst and oldest is None
            return FRESH
        stale = frozenset(i for i, e in enumerate(events) if _is_market(e) and age(instant_of(e)) > self._limit)
        self.stale_events += len(stale)
        if not stale or self._in_burst:
            return Verdict(stale)
        self._in_burst = True
        self.bursts += 1
        first = events[min(stale)]
        behind = age(instant_of(first)) / SECOND
        return Verdict(stale, f"consumer A {first.symbol} out of sync w {behind:.3f}s")


def instant_of(event: FeedEvent) -> int:
    """Return when an event became known: a bar's close, everything else's own time."""
    return event.closed_at if isinstance(event, Bar) else event.at


def newest_places(events: Sequence[FeedEvent], fresh: Sequence[int]) -> frozenset[int]:
    """Return, of the places given, the last of each symbol: what is left when waiting data is drained."""
    last: dict[str, int] = {}
    for place in fresh:
        last[events[place].symbol] = place
    return frozenset(last.values())


def _first_instant(events: Sequence[FeedEvent]) -> int | None:
    """Batches keep the order of arrival, so the first market event is the one that waited longest."""
    for event in events:
        if _is_market(event):
            return instant_of(event)
    return None


def _is_market(event: FeedEvent) -> bool:
    return not isinstance(event, (Pick, Unpick))
