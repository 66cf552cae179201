"""Which event goes into which consumer's outbox. Pure: no link, no feed, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from liualgotrader.common.events import Gap, MarketEvent, Needs, Pick, Rejected
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.producer.assignment import Assignment
from liualgotrader.producer.event_outbox import EventOutbox
from liualgotrader.producer.sampler import Sampler

Handler = Callable[[MarketEvent | Gap], None]


class Router:
    """Routes picks and events of a session.

    A symbol picked for strategies that share the consumers goes to its assigned consumer with every event. The homes of
    `run_all` strategies get bars and sampled prices of the symbols picked for them or for all; `tick_homes` names those
    that get every event at home, and so does every other strategy with a process of its own. What a consumer needs for
    its positions and orders it gets whether picked or not.
    """

    def __init__(
        self,
        slots: Sequence[SlotPlan],
        outboxes: Sequence[EventOutbox],
        assignment: Assignment,
        tick_homes: Iterable[str] = (),
    ) -> None:
        self.outboxes = outboxes
        self.unrouted = 0
        self._assignment = assignment
        self._samplers = [Sampler(outbox.append) for outbox in outboxes]
        self._slots = {slot.slot: slot for slot in slots}
        self._homes: dict[str, int] = {slot.strategy: slot.consumer for slot in slots if slot.has_home}
        self._sharded = {slot.strategy for slot in slots if not slot.has_home}
        self._tick_homes = {*tick_homes, *(slot.strategy for slot in slots if slot.own_process and not slot.run_all)}
        self._routes: dict[str, Handler] = {}
        self._picks: dict[str, set[str]] = {}  # symbol -> strategies it was picked for, "" for all
        self._holders: dict[str, set[int]] = {}  # symbol -> consumers that have heard of it
        self._needs: list[Mapping[str, bool] | None] = [None] * len(outboxes)  # symbol -> whether every event
        self._rejected: set[tuple[int, str]] = set()  # (slot, symbol)

    @property
    def symbols(self) -> set[str]:
        """The symbols that somebody needs."""
        return set(self._routes)

    @property
    def samples_wait(self) -> bool:
        """Whether a home is to be given newest prices at the next sample."""
        return any(sampler.holds for sampler in self._samplers)

    # --- picks ----------------------------------------------------------------------------------------

    def is_known(self, pick: Pick) -> bool:
        """Whether the symbol was picked for that strategy before, and not let go since."""
        return pick.strategy in self._picks.get(pick.symbol, ())

    def is_wanted(self, symbol: str, strategy: str) -> bool:
        """Whether a strategy that such a pick is meant for has not rejected the symbol; `strategy` empty for all."""
        meant = list(self._meant(symbol, strategy))
        return not meant or any((slot, symbol) not in self._rejected for slot in meant)

    def _meant(self, symbol: str, strategy: str) -> Iterator[int]:
        owner = self._assignment.of(symbol)
        for slot in self._slots.values():
            if strategy in ("", slot.strategy) and (slot.has_home or owner in (None, slot.consumer)):
                yield slot.slot

    def needs_consumer(self, pick: Pick) -> bool:
        """Whether a strategy that shares the consumers is meant, so that the symbol must belong to one of them."""
        return self._is_sharded(pick.strategy)

    def _is_sharded(self, strategy: str) -> bool:
        if not self._assignment.counts():
            return False
        if strategy:
            return strategy not in self._homes
        return bool(self._sharded) or not self._homes

    def accept(self, pick: Pick) -> None:
        """Route the symbol and send the pick to everybody it is meant for."""
        self._picks.setdefault(pick.symbol, set()).add(pick.strategy)
        owner = self._assignment.assign(pick.symbol) if self.needs_consumer(pick) else None
        if owner is not None:
            self.outboxes[owner].stand(pick)
        for strategy, home in self._homes.items():
            if pick.strategy in ("", strategy) and home != owner:
                # For the strategy at home alone: the others there trade the symbols of their own consumer.
                self.outboxes[home].stand(Pick(pick.symbol, pick.at, pick.scanner, strategy))
        self._rewire(pick.symbol)

    def let_go(self, symbol: str, at: int) -> bool:
        """Route the symbol no more and say so to everybody who had it; False if a consumer needs it."""
        if self.is_needed(symbol):
            return False
        self._picks.pop(symbol, None)
        self._routes.pop(symbol, None)
        for consumer in sorted(self._holders.pop(symbol, ())):
            self.outboxes[consumer].let_go(symbol, at)
        return True

    def gone(self, symbol: str, at: int) -> None:
        """Have every consumer hear that the symbol was let go, by a producer before this one."""
        for outbox in self.outboxes:
            outbox.let_go(symbol, at)

    # --- what consumers tell ------------------------------------------------------------------------------

    @property
    def knows_needs(self) -> bool:
        """Whether every consumer has told what it needs."""
        return all(needs is not None for needs in self._needs)

    def is_needed(self, symbol: str) -> bool:
        """Whether a consumer has a position or an order in the symbol."""
        return any(needs is not None and symbol in needs for needs in self._needs)

    def need(self, consumer: int, needs: Needs) -> list[str]:
        """Take what a consumer needs from now on; return the symbols that nobody needs any more."""
        before = self._needs[consumer] or {}
        now: dict[str, bool] = {}
        for number, symbols in needs.symbols.items():
            whole = self._gets_every_event(number)
            now.update((symbol, whole or now.get(symbol, False)) for symbol in symbols)
        self._needs[consumer] = now
        for symbol in sorted(before.keys() | now.keys()):
            if before.get(symbol) != now.get(symbol):
                self._rewire(symbol, keep=True)
        return [symbol for symbol in sorted(before) if not self.is_needed(symbol)]

    def unassigned(self, needs: Needs) -> list[str]:
        """Return those needed symbols of strategies that share the consumers that belong to none of these yet."""
        slots = [number for number in needs.symbols if number in self._slots and not self._slots[number].has_home]
        found = {symbol for number in slots for symbol in needs.symbols[number]}
        return sorted(symbol for symbol in found if self._assignment.of(symbol) is None)

    def reject(self, told: Rejected) -> list[str]:
        """Take what a slot has rejected; return those of the symbols that now nobody wants."""
        self._rejected.update((told.slot, symbol) for symbol in told.symbols)
        return [symbol for symbol in told.symbols if self.is_unwanted(symbol)]

    def is_unwanted(self, symbol: str) -> bool:
        """Whether the symbol was picked and everybody it was picked for has rejected it."""
        picks = self._picks.get(symbol)
        return bool(picks) and not any(self.is_wanted(symbol, strategy) for strategy in picks or ())

    def _gets_every_event(self, number: int) -> bool:
        slot = self._slots.get(number)
        return slot is None or not slot.run_all or slot.strategy in self._tick_homes

    # --- events ---------------------------------------------------------------------------------------------

    def dispatch(self, events: Iterable[MarketEvent | Gap]) -> None:
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

    def _rewire(self, symbol: str, *, keep: bool = False) -> None:
        """Work out who gets a symbol's events; with `keep` nobody is taken away who still hears of it."""
        full, sampled = self._takers(symbol)
        if keep and not full and not sampled:
            return  # until it is let go
        self._holders.setdefault(symbol, set()).update(full | sampled)
        self._routes[symbol] = self._handler(full, sampled - full)

    def _takers(self, symbol: str) -> tuple[set[int], set[int]]:
        """Return the consumers that get every event, and those that get bars and samples."""
        full: set[int] = set()
        sampled: set[int] = set()
        picked = self._picks.get(symbol, set())
        owner = self._assignment.of(symbol)
        if owner is not None and any(self._is_sharded(strategy) for strategy in picked):
            full.add(owner)
        for strategy, home in self._homes.items():
            if picked & {"", strategy}:
                (full if strategy in self._tick_homes else sampled).add(home)
        for consumer, needs in enumerate(self._needs):
            if needs is not None and symbol in needs:
                (full if needs[symbol] else sampled).add(consumer)
        return full, sampled

    def _handler(self, full: set[int], sampled: set[int]) -> Handler:
        """Return what to do with each event of a symbol; for the usual case of one consumer a bare append."""
        handlers: list[Handler] = [self.outboxes[consumer].append for consumer in sorted(full)]
        handlers += [self._samplers[consumer].take for consumer in sorted(sampled)]
        if len(handlers) == 1:
            return handlers[0]

        def all_of_them(event: MarketEvent | Gap) -> None:
            for handler in handlers:
                handler(event)

        return all_of_them
