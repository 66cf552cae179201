"""Which event goes into which consumer's outbox. Pure: no link, no feed, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from liualgotrader.common.events import MarketEvent, Pick
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.producer.assignment import Assignment
from liualgotrader.producer.outbox import Outbox
from liualgotrader.producer.sampler import Sampler

Handler = Callable[[MarketEvent], None]


class Router:
    """Routes picks and events of a session.

    A symbol picked for per-symbol strategies goes to its assigned consumer with every event. The homes of
    `run_all` strategies get bars and sampled prices of the symbols picked for them or for all;
    `tick_homes` names those strategies that get every event at home as well.
    """

    def __init__(
        self,
        slots: Sequence[SlotPlan],
        outboxes: Sequence[Outbox],
        assignment: Assignment,
        tick_homes: Iterable[str] = (),
    ) -> None:
        self.outboxes = outboxes
        self.unrouted = 0
        self._assignment = assignment
        self._samplers = [Sampler(outbox.append) for outbox in outboxes]
        self._homes: dict[str, int] = {slot.strategy: slot.consumer for slot in slots if slot.run_all}
        self._sharded = {slot.strategy for slot in slots if not slot.run_all}
        self._tick_homes = frozenset(tick_homes)
        self._routes: dict[str, Handler] = {}
        self._full: dict[str, set[int]] = {}
        self._sampled: dict[str, set[int]] = {}
        self._known: set[tuple[str, str]] = set()

    @property
    def symbols(self) -> set[str]:
        """The symbols that somebody needs."""
        return set(self._routes)

    @property
    def samples_wait(self) -> bool:
        """Whether a home is to be given newest prices at the next sample."""
        return any(sampler.holds for sampler in self._samplers)

    def is_known(self, pick: Pick) -> bool:
        """Whether the symbol was picked for that strategy before."""
        return (pick.symbol, pick.strategy) in self._known

    def needs_consumer(self, pick: Pick) -> bool:
        """Whether a per-symbol strategy is meant, so that the symbol must belong to a consumer."""
        if pick.strategy:
            return pick.strategy not in self._homes
        return bool(self._sharded) or not self._homes

    def accept(self, pick: Pick) -> None:
        """Route the symbol and send the pick to everybody it is meant for."""
        self._known.add((pick.symbol, pick.strategy))
        full = self._full.setdefault(pick.symbol, set())
        sampled = self._sampled.setdefault(pick.symbol, set())
        owner = self._assignment.assign(pick.symbol) if self.needs_consumer(pick) else None
        if owner is not None:
            full.add(owner)
            self.outboxes[owner].stand(pick)
        for strategy, home in self._homes.items():
            if pick.strategy not in ("", strategy):
                continue
            (full if strategy in self._tick_homes else sampled).add(home)
            if home != owner:
                # For the strategy at home alone: the others there trade the symbols of their own consumer.
                self.outboxes[home].stand(Pick(pick.symbol, pick.at, pick.scanner, strategy))
        self._routes[pick.symbol] = self._handler(full, sampled - full)

    def let_go(self, symbol: str, at: int) -> None:
        """Route the symbol no more and say so to everybody who had it."""
        if self._routes.pop(symbol, None) is None:
            return
        for consumer in sorted(self._full.pop(symbol) | self._sampled.pop(symbol)):
            self.outboxes[consumer].let_go(symbol, at)
        self._known = {key for key in self._known if key[0] != symbol}

    def dispatch(self, events: Iterable[MarketEvent]) -> None:
        """Put each event where it belongs."""
        routes = self._routes
        for event in events:
            handler = routes.get(event.symbol)
            if handler is None:
                self.unrouted += 1
            else:
                handler(event)

    def sample(self) -> None:
        """Hand the homes the newest prices."""
        for sampler in self._samplers:
            sampler.sample()

    def counts(self) -> Mapping[str, float]:
        """Return what waits for each consumer and what it lost."""
        values: dict[str, float] = {"events_unrouted": self.unrouted}
        for index, outbox in enumerate(self.outboxes):
            values[f"waiting_{index}"] = len(outbox.waiting)
            values[f"dropped_{index}"] = outbox.dropped
            values[f"batches_{index}"] = outbox.batches
        return values

    def _handler(self, full: set[int], sampled: set[int]) -> Handler:
        """Return what to do with each event of a symbol; for the usual case of one consumer a bare append."""
        handlers: list[Handler] = [self.outboxes[consumer].append for consumer in sorted(full)]
        handlers += [self._samplers[consumer].take for consumer in sorted(sampled)]
        if len(handlers) == 1:
            return handlers[0]

        def all_of_them(event: MarketEvent) -> None:
            for handler in handlers:
                handler(event)

        return all_of_them
