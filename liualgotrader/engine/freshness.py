"""Which market data is stale: too old to act on.

Age is machine time since the market clock passed an event. A batch is judged by its oldest event first, and
each event by itself only when that one fails. Stale bars still enter history. Account news is never stale, nor
is what comes late by nature: an updated bar, a correction, the repetition of a halt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from liualgotrader.common.clock import SECOND
from liualgotrader.common.events import Bar, BarSource, Counts, FeedEvent, Quote, TradeTick

Age = Callable[[int], int]

_UPDATE, _LAST = int(BarSource.VENDOR_UPDATE), int(Counts.LAST)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is stale in a batch: `stale` holds the places of such events.

    `behind` says that nothing in it is fresh, so that we have fallen behind; `line` is logged once per such burst.
    A single print that was reported late is stale, but does not make us late.
    """

    stale: frozenset[int] = frozenset()
    behind: bool = False
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
        oldest = None
        for event in events:  # in order of arrival, so the first that can grow old has waited longest
            if _grows_old(event):
                oldest = instant_of(event)
                break
        if oldest is None or age(oldest) <= self._limit:
            self._in_burst = self._in_burst and oldest is None
            return FRESH
        ageing = [i for i, e in enumerate(events) if _grows_old(e)]
        stale = frozenset(i for i in ageing if age(instant_of(events[i])) > self._limit)
        self.stale_events += len(stale)
        behind, logged = len(stale) == len(ageing), self._in_burst
        self._in_burst = behind
        if not behind or logged:
            return Verdict(stale, behind)
        self.bursts += 1
        first = events[ageing[0]]
        late = age(instant_of(first)) / SECOND
        return Verdict(stale, behind, f"consumer A {first.symbol} out of sync w {late:.3f}s")


def instant_of(event: FeedEvent) -> int:
    """Return when an event became known: a bar's close, everything else's own time."""
    return event.closed_at if isinstance(event, Bar) else event.at


def newest_instant(events: Sequence[FeedEvent]) -> int | None:
    """Return when the newest of the events became known, None if none of them shows how far behind we are.

    Picks do not, nor does what comes late by nature.
    """
    return next((instant_of(event) for event in reversed(events) if _grows_old(event)), None)


def newest_places(events: Sequence[FeedEvent], fresh: Sequence[int]) -> frozenset[int]:
    """Return, of the places given, the last of each symbol and kind: what is left when waiting data is drained.

    A print does not stand for a bar, so kinds are kept apart; prints that make the price and those that do not are
    two kinds.
    """
    last: dict[tuple[str, type[FeedEvent], int], int] = {}
    for place in fresh:
        event = events[place]
        if _grows_old(event):
            makes_price = event.flags & _LAST if isinstance(event, TradeTick) else 0
            last[event.symbol, event.__class__, makes_price] = place
    return frozenset(last.values())


def drained(batches: Sequence[Sequence[FeedEvent]], stale: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return, per batch, the places for which no strategy is called once we are behind: all but the newest fresh ones."""
    events = [event for batch in batches for event in batch]
    starts = [0, *accumulate(map(len, batches))]
    old = {start + place for start, places in zip(starts, stale, strict=False) for place in places}
    kept = newest_places(events, [place for place in range(len(events)) if place not in old])
    return [frozenset(p for p in range(end - start) if start + p not in kept) for start, end in pairwise(starts)]


def _grows_old(event: FeedEvent) -> bool:
    return isinstance(event, (Quote, TradeTick)) or (isinstance(event, Bar) and not event.source & _UPDATE)
