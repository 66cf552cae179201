"""Which event goes into which consumer's outbox, and what is dropped when a consumer falls too far behind.

Pure: no link, no feed, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from liualgotrader.common.clock import MILLISECOND
from liualgotrader.common.events import (
    Counts,
    EventBatch,
    FeedEvent,
    Gap,
    MarketEvent,
    Needs,
    Pick,
    Quote,
    Rejected,
    TradeTick,
    Unpick,
)
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.ipc.batch_codec import encode_batch
from liualgotrader.ipc.links import FRAME_BYTES

EVENTS_A_BATCH = 512
EVENTS_WAITING = 65_536  # above it a consumer lags, and only the newest trade and quote of a symbol are kept

SAMPLE_PERIOD = 250 * MILLISECOND  # of market time
_LAST = int(Counts.LAST)

Send = Callable[[bytes], bool]
Handler = Callable[[MarketEvent | Gap], None]


class EventOutbox:
    """The events for one consumer, in order, until they are sent.

    `append` is called for every event of the feed and does nothing but append. Picks *stand*: a consumer that was
    started again gets them before all else, with the symbols that were let go.
    """

    def __init__(self, epoch: int, limit: int = EVENTS_WAITING) -> None:
        self.waiting: list[FeedEvent] = []
        self.append = self.waiting.append  # the list stays the same object for ever
        self.dropped = 0  # in all
        self.batches = 0
        self._epoch = epoch
        self._limit = self._conflate_at = limit
        self._received_at = 0
        self._unreported = 0  # dropped, and not yet reported in a batch
        self._standing: dict[tuple[str, str], Pick] = {}
        self._gone: dict[str, Unpick] = {}
        self._blocked = False

    def stand(self, pick: Pick) -> None:
        """Send a pick, now and to every later start of the consumer."""
        self._standing[pick.symbol, pick.strategy] = pick
        self._gone.pop(pick.symbol, None)
        self.append(pick)

    def let_go(self, symbol: str, at: int) -> None:
        """Send that the symbol is followed no more."""
        for key in [key for key in self._standing if key[0] == symbol]:
            del self._standing[key]
        self._gone[symbol] = Unpick(symbol, at)
        self.append(self._gone[symbol])

    def begin(self) -> None:
        """Begin with a consumer that was just reached: symbols let go and standing picks are sent first."""
        rest = [event for event in self.waiting if not isinstance(event, Pick | Unpick)]
        self.waiting[:] = [*self._gone.values(), *self._standing.values(), *rest]
        self._blocked = False

    def unblock(self) -> None:
        """There is room again."""
        self._blocked = False

    def flush(self, send: Send, received_at: int) -> bool:
        """Send what waits in batches; False if some of it could not be sent.

        `received_at` is the machine time (ns) at which the oldest event since the last flush came.
        """
        if not self.waiting:
            return True
        self._received_at = self._received_at or received_at
        while self.waiting and not self._blocked:
            self._blocked = not self._send_one(send)
        if not self._blocked:
            self._received_at = 0
            return True
        before = len(self.waiting)
        if before > self._conflate_at:
            self.waiting[:] = newest(self.waiting)
            gone = before - len(self.waiting)
            self.dropped += gone
            self._unreported += gone
            self._conflate_at = max(self._limit, 2 * len(self.waiting))
        return False

    def _send_one(self, send: Send) -> bool:
        count = EVENTS_A_BATCH
        while True:
            events = self.waiting[:count]
            payload = encode_batch(
                EventBatch(self._epoch, self.batches + 1, self._received_at, events, self._unreported)
            )
            if len(payload) <= FRAME_BYTES or count == 1:
                break
            count //= 2
        if not send(payload):
            return False
        self.batches += 1
        self._unreported = 0
        del self.waiting[: len(events)]
        return True


def newest(events: Iterable[FeedEvent]) -> list[FeedEvent]:
    """Return the newest trade and quote of each symbol and everything that is neither, in the order given.

    A trade that makes no price (an odd lot, say) is not newer than one that does: both are kept.
    """
    ordered = list(events)
    seen: set[tuple[type[FeedEvent], str, int]] = set()
    kept: list[FeedEvent] = []
    for event in reversed(ordered):
        if isinstance(event, TradeTick | Quote):
            key = (type(event), event.symbol, event.flags & _LAST if isinstance(event, TradeTick) else 0)
            if key in seen:
                continue
            seen.add(key)
        kept.append(event)
    kept.reverse()
    return kept


class Assignment:
    """The table symbol → consumer. A new symbol goes to the consumer with the fewest, ties to the lowest index.

    An assignment is for the whole session and survives restarts, so that a symbol never has two owners.
    """

    def __init__(self, consumers: int, existing: Mapping[str, int]) -> None:
        self._consumer_of = dict(existing)
        self.counts = [0] * consumers  # symbols of each consumer
        for consumer in self._consumer_of.values():
            self.counts[consumer] += 1

    def of(self, symbol: str) -> int | None:
        """Return the symbol's consumer, None if it has none yet."""
        return self._consumer_of.get(symbol)

    def assign(self, symbol: str) -> int:
        """Return the symbol's consumer, choosing one if it has none."""
        known = self._consumer_of.get(symbol)
        if known is not None:
            return known
        chosen = self.counts.index(min(self.counts))
        self.give(symbol, chosen)
        return chosen

    def give(self, symbol: str, consumer: int) -> None:
        """Give a symbol that has no consumer yet to this one, which holds it."""
        self._consumer_of[symbol] = consumer
        self.counts[consumer] += 1


class Sampler:
    """What the home of a `run_all` strategy receives: the newest quote and trade per symbol now and then, all else at once.

    A trade that makes no price (an odd lot, say) does not take the place of one that does: both are kept.
    """

    def __init__(self, append: Callable[[FeedEvent], None]) -> None:
        self._append = append
        self.newest: dict[tuple[type[MarketEvent], str, int], MarketEvent] = {}  # since the last sample

    def take(self, event: MarketEvent | Gap) -> None:
        """Take one event of a symbol that the home needs."""
        if isinstance(event, Quote | TradeTick):
            key = (type(event), event.symbol, event.flags & _LAST if isinstance(event, TradeTick) else 0)
            self.newest.pop(key, None)  # so that a sample keeps the order of arrival
            self.newest[key] = event
        else:
            self._append(event)

    def sample(self) -> None:
        """Hand on what changed since the last sample."""
        for event in self.newest.values():
            self._append(event)
        self.newest.clear()


def next_sample(now: int) -> int:
    """Return the first multiple of the period after `now`, ns UTC."""
    return (now // SAMPLE_PERIOD + 1) * SAMPLE_PERIOD


class Router:
    """Routes picks and events of a session.

    A symbol picked for strategies that share the consumers goes to its assigned consumer with every event. The homes of
    `run_all` strategies get bars and sampled prices of the symbols picked for them or for all; `tick_homes` names the
    strategies that get every event at home, as does every other strategy with a process of its own. What a consumer
    needs for its positions and orders it gets whether picked or not.
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
        self._picks: dict[str, dict[str, Pick]] = {}  # symbol -> picks by the strategy they are for, "" for all
        self._holders: dict[str, set[int]] = {}  # symbol -> consumers that have heard of it
        self._needs: list[Mapping[str, bool] | None] = [None] * len(outboxes)  # symbol -> whether every event
        self._rejected: set[tuple[int, str]] = set()  # (slot, symbol)

    @property
    def symbols(self) -> set[str]:
        """The symbols that are routed."""
        return set(self._routes)

    @property
    def samples_wait(self) -> bool:
        """Whether the next sample has prices for a home."""
        return any(sampler.newest for sampler in self._samplers)

    def join(self, slots: Sequence[SlotPlan], *, ticks_at_home: bool) -> list[Pick]:
        """Route for the slots of one more strategy too; return the picks to be accepted again for it, if it is new.

        `ticks_at_home`: it gets every event at its home.
        """
        fresh = [slot for slot in slots if slot.slot not in self._slots]
        for slot in fresh:
            self._slots[slot.slot] = slot
            if not slot.has_home:
                self._sharded.add(slot.strategy)
                continue
            self._homes[slot.strategy] = slot.consumer
            if ticks_at_home or not slot.run_all:
                self._tick_homes.add(slot.strategy)
        names = {"", *(slot.strategy for slot in fresh)}
        return [pick for picks in self._picks.values() for name, pick in picks.items() if fresh and name in names]

    # --- picks ----------------------------------------------------------------------------------------

    def is_known(self, pick: Pick) -> bool:
        """Whether the symbol was picked for that strategy before, and not let go since."""
        return pick.strategy in self._picks.get(pick.symbol, ())

    def is_wanted(self, symbol: str, strategy: str) -> bool:
        """Whether a slot that such a pick is for has not rejected the symbol; `strategy` is empty for all."""
        owner = self._assignment.of(symbol)
        targets = [
            slot.slot
            for slot in self._slots.values()
            if strategy in ("", slot.strategy) and (slot.has_home or owner in (None, slot.consumer))
        ]
        return not targets or any((slot, symbol) not in self._rejected for slot in targets)

    def needs_consumer(self, strategy: str) -> bool:
        """Whether a pick for `strategy` (empty: for all) is for one that shares the consumers: one must own the symbol."""
        if not self._assignment.counts:
            return False
        if strategy:
            return strategy not in self._homes
        return bool(self._sharded) or not self._homes

    def accept(self, pick: Pick) -> None:
        """Route the symbol and send the pick to every consumer that it is for."""
        self._picks.setdefault(pick.symbol, {})[pick.strategy] = pick
        owner = self._assignment.assign(pick.symbol) if self.needs_consumer(pick.strategy) else None
        if owner is not None:
            self.outboxes[owner].stand(pick)
        for strategy, home in self._homes.items():
            if pick.strategy in ("", strategy) and home != owner:
                # For the strategy at home alone: others there trade only the symbols of their own consumer.
                self.outboxes[home].stand(Pick(pick.symbol, pick.at, pick.scanner, strategy))
        self._rewire(pick.symbol)

    def let_go(self, symbol: str, at: int) -> bool:
        """Route the symbol no more and say so to every consumer that had it; False if a consumer needs it."""
        if self.is_needed(symbol):
            return False
        self._picks.pop(symbol, None)
        self._routes.pop(symbol, None)
        for consumer in sorted(self._holders.pop(symbol, ())):
            self.outboxes[consumer].let_go(symbol, at)
        return True

    # --- what consumers say -------------------------------------------------------------------------------

    @property
    def knows_needs(self) -> bool:
        """Whether every consumer has said what it needs."""
        return all(needs is not None for needs in self._needs)

    def is_needed(self, symbol: str) -> bool:
        """Whether a consumer has a position or an order in the symbol."""
        return any(needs is not None and symbol in needs for needs in self._needs)

    def need(self, consumer: int, needs: Needs) -> list[str]:
        """Take what a consumer needs from now on; return the symbols that no consumer needs any more."""
        before = self._needs[consumer] or {}
        now: dict[str, bool] = {}
        for number, symbols in needs.symbols.items():
            slot = self._slots.get(number)
            whole = slot is None or not slot.run_all or slot.strategy in self._tick_homes
            now.update((symbol, whole or now.get(symbol, False)) for symbol in symbols)
        self._needs[consumer] = now
        for symbol in sorted(before.keys() | now.keys()):
            if before.get(symbol) != now.get(symbol):
                self._rewire(symbol, keep=True)
        return [symbol for symbol in sorted(before) if not self.is_needed(symbol)]

    def unassigned(self, needs: Needs) -> list[str]:
        """Return the needed symbols of strategies that share the consumers that no consumer owns yet."""
        slots = [number for number in needs.symbols if number in self._slots and not self._slots[number].has_home]
        found = {symbol for number in slots for symbol in needs.symbols[number]}
        return sorted(symbol for symbol in found if self._assignment.of(symbol) is None)

    def reject(self, rejected: Rejected) -> list[str]:
        """Take what a slot has rejected; return those of the symbols that no slot wants now."""
        self._rejected.update((rejected.slot, symbol) for symbol in rejected.symbols)
        return [symbol for symbol in rejected.symbols if self.is_unwanted(symbol)]

    def is_unwanted(self, symbol: str) -> bool:
        """Whether the symbol was picked and every slot that it was picked for has rejected it."""
        picks = self._picks.get(symbol)
        return bool(picks) and not any(self.is_wanted(symbol, strategy) for strategy in picks or ())

    # --- events ---------------------------------------------------------------------------------------------

    def dispatch(self, events: Iterable[MarketEvent | Gap]) -> None:
        """Put each event into the outboxes of the consumers that get it."""
        routes = self._routes
        for event in events:
            handler = routes.get(event.symbol)
            if handler is None:
                self.unrouted += 1
            else:
                handler(event)

    def sample(self) -> None:
        """Send the newest prices to the homes."""
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
        """Decide which consumers get a symbol's events; with `keep` the last ones keep it until it is let go."""
        full, sampled = self._takers(symbol)
        if keep and not full and not sampled:
            return
        self._holders.setdefault(symbol, set()).update(full | sampled)
        handlers: list[Handler] = [self.outboxes[consumer].append for consumer in sorted(full)]
        handlers += [self._samplers[consumer].take for consumer in sorted(sampled - full)]

        def all_of_them(event: MarketEvent | Gap) -> None:
            for handler in handlers:
                handler(event)

        # Usually one consumer has the symbol, and its events cost a bare append.
        self._routes[symbol] = handlers[0] if len(handlers) == 1 else all_of_them

    def _takers(self, symbol: str) -> tuple[set[int], set[int]]:
        """Return the consumers that get every event, and those that get bars and samples."""
        full: set[int] = set()
        sampled: set[int] = set()
        picked = self._picks.get(symbol, {}).keys()
        owner = self._assignment.of(symbol)
        if owner is not None and any(self.needs_consumer(strategy) for strategy in picked):
            full.add(owner)
        for strategy, home in self._homes.items():
            if picked & {"", strategy}:
                (full if strategy in self._tick_homes else sampled).add(home)
        for consumer, needs in enumerate(self._needs):
            if needs is not None and symbol in needs:
                (full if needs[symbol] else sampled).add(consumer)
        return full, sampled
