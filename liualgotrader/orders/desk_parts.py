"""The parts of the desk's state beside orders and positions; each changes its own fields and nothing else does."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from liualgotrader.common.clock import NEVER
from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import AccountNews, BrokerAccount, BrokerActivity, News, SlotNews
from liualgotrader.common.rows import Row
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.orders.desk_messages import Announce, Cancel, Decision, Missing, Tell, Warn, Write
from liualgotrader.orders.order import DeskOrder

Place = tuple[int, str]  # slot and symbol


class Due(StrEnum):
    """What is to be done when an alarm goes off; the key says to whom."""

    EXPIRE = "expire"  # an order's lifetime has passed
    CANCEL_AGAIN = "cancel_again"  # a cancel was asked and nothing came of it
    CLOSE = "close"  # a position is to be closed, next try
    LIQUIDATE = "liquidate"  # the end of the day for DAY_TRADE
    RECONCILE = "reconcile"
    WAITED = "waited"  # an exit has waited for the end of other orders as long as it may
    LOOK_UP = "look_up"  # an order's fate is not known


class Alarms:
    """Alarms of one clock, earliest first, in the order they were set where the time is the same.

    An alarm whose reason has gone (`alive` says so) is forgotten as soon as it is the next one.
    """

    def __init__(self, alive: Callable[[Due, Any], bool]) -> None:
        self._heap: list[tuple[int, int, Due, Any]] = []
        self._set: dict[tuple[Due, Hashable], int] = {}
        self._count = 0
        self._alive = alive

    def set(self, at: int, due: Due, key: Hashable = "") -> None:
        """Set an alarm; an earlier one for the same is replaced."""
        self._count += 1
        self._set[due, key] = self._count
        heapq.heappush(self._heap, (at, self._count, due, key))

    def forget(self, due: Due, key: Hashable) -> None:
        """Take an alarm back."""
        self._set.pop((due, key), None)

    def clear(self) -> None:
        """Take every alarm back."""
        self._heap.clear()
        self._set.clear()

    def has(self, due: Due, key: Hashable) -> bool:
        """Whether such an alarm is set."""
        return (due, key) in self._set

    def next(self) -> int:
        """Return the earliest instant, `NEVER` if no alarm is set."""
        while self._heap:
            at, number, due, key = self._heap[0]
            if self._set.get((due, key)) == number and self._alive(due, key):
                return at
            heapq.heappop(self._heap)
            if self._set.get((due, key)) == number:
                del self._set[due, key]
        return NEVER

    def take(self, now: int) -> Iterator[tuple[Due, Any]]:
        """Yield what is due at `now`, earliest first; what is set meanwhile for `now` or before comes too."""
        while self.next() <= now:
            _, _, due, key = heapq.heappop(self._heap)
            del self._set[due, key]
            yield due, key


@dataclass(slots=True)
class DeskSlot:
    """One strategy in one consumer: what it said of itself, and all its news."""

    number: int
    plan: SlotPlan | None
    strategy: str = ""
    day_trade: bool = True  # as the plan says, until it declares itself
    cash: Decimal = ZERO  # dollars that its fills brought, less what it paid, fees and the cost of what it carries
    booked: Decimal = ZERO  # the same without what it carries
    stopped: str = ""
    news: list[SlotNews] = field(default_factory=list)  # from number `first_news` on
    first_news: int = 1
    next_news: int = 1  # the number of its next item of news
    next_number: int = 1  # the lowest n that no order of it has used
    desk_orders: int = 0
    rejections: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  # -> (times, since)


class Slots(dict[int, DeskSlot]):
    """The slots by number; one that the plan does not have is made when it is asked for."""

    def __missing__(self, number: int) -> DeskSlot:
        found = self[number] = DeskSlot(number, None)
        return found


class Outputs(list[Decision]):
    """The decisions of the present input, with the numbers of rows and news."""

    rows = 0  # written so far
    orders: dict[str, DeskOrder] | None = None  # None: each row of an order is written at once

    def warn(self, level: str, text: str) -> None:
        """Say something to a person."""
        self.append(Warn(level, text))

    def write(self, row: Row) -> None:
        """Number a row for the database."""
        self.rows += 1
        self.append(Write(self.rows, row))

    def tell(self, slot: DeskSlot, news: SlotNews) -> None:
        """Store and send a slot's next item of news, whose number is `slot.next_news`."""
        slot.news.append(news)
        slot.next_news += 1
        self.append(Tell(slot.number, news))

    def tell_again(self, slot: int, news: News) -> None:
        """Send a slot something without a number of its own, or news it was sent before."""
        self.append(Tell(slot, news))

    def announce(self, news: AccountNews) -> None:
        """Tell every consumer the account's figures."""
        self.append(Announce(news))

    def take_cancels(self, before: int) -> list[Cancel]:
        """Return the cancels decided on after the first `before` decisions, which are no decisions any more."""
        new = self[before:]
        self[before:] = [d for d in new if not isinstance(d, Cancel)]
        return [d for d in new if isinstance(d, Cancel)]

    def take(self) -> list[Decision]:
        """Return all decisions and begin anew."""
        if not self:
            return []
        decisions = self[:]
        self.clear()
        return decisions


class DirectOutputs(Outputs):
    """The same for an owner in this process: rows go into its list, news into another, and are no decisions.

    Of an order whose row changes only the newest row is made, when it is asked for.
    """

    def __init__(self, written: list[Row]) -> None:
        super().__init__()
        self.write = written.append  # type: ignore[assignment]  # a call less for each row
        self.news: list[News] = []
        self.orders: dict[str, DeskOrder] = {}  # whose rows are to be made, by client order id

    def tell(self, slot: DeskSlot, news: SlotNews) -> None:
        slot.news.append(news)
        slot.next_news += 1
        self.news.append(news)

    def tell_again(self, slot: int, news: News) -> None:
        self.news.append(news)

    def announce(self, news: AccountNews) -> None:
        self.news.append(news)

    def take_news(self) -> list[News]:
        """Return all news and begin anew."""
        news, self.news = self.news, []
        return news


class Quarantine:
    """The symbols in which nothing is opened, and why."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}  # by symbol
        self._for_a_person: dict[Place, str] = {}  # what only a person can settle
        self.missing: dict[Place, Missing] = {}  # held by a slot's strategy before, and not there any more

    def set(self, symbol: str, why: str) -> None:
        """Open nothing in a symbol until a comparison with the broker, or a person, lifts this."""
        self.reasons[symbol] = why

    def set_apart(self, slot: int, symbol: str, why: str) -> None:
        """Open nothing in a symbol until a person has settled it, whatever a comparison says meanwhile."""
        self._for_a_person[slot, symbol] = self.reasons[symbol] = why

    def miss(self, message: Missing, why: str) -> None:
        """Set a symbol apart in which a slot's strategy should hold more than there is."""
        self.missing[message.slot, message.symbol] = message
        self.set_apart(message.slot, message.symbol, why)

    def found_again(self, slot: int, symbol: str) -> bool:
        """Forget that a slot's position was missing; return whether it was."""
        if self.missing.pop((slot, symbol), None) is None:
            return False
        del self._for_a_person[slot, symbol]
        return True

    def write_off(self, place: Place) -> None:
        """Forget what is missing: it is gone."""
        del self.missing[place]

    def lift(self, symbol: str) -> str:
        """Allow entries again, unless a person has something to settle, which is returned."""
        why = "; ".join(why for (_, theirs), why in self._for_a_person.items() if theirs == symbol)
        if why:
            self.reasons[symbol] = why
        else:
            del self.reasons[symbol]
        return why

    def resolve(self, symbol: str) -> tuple[str, list[Missing]]:
        """Allow entries as a person says; return why there were none, and what was missing."""
        self._for_a_person = {place: why for place, why in self._for_a_person.items() if place[1] != symbol}
        lost = [self.missing.pop(place) for place in list(self.missing) if place[1] == symbol]
        return self.reasons.pop(symbol), lost


@dataclass(slots=True)
class Closing:
    """A position that the desk is closing: orders are taken back first, then a market order goes out."""

    slot: int
    symbol: str
    reason: str
    indicators: Mapping[str, Any]
    tries: int = 0
    order_id: str = ""  # of the newest try


class Closings(dict[Place, Closing]):
    """The positions being closed, and why nothing may stay open in a slot, or (None) in any."""

    def __init__(self) -> None:
        super().__init__()
        self.flattening: dict[int | None, str] = {}

    def in_symbol(self, symbol: str) -> list[Closing]:
        """Return the closings in a symbol, oldest first."""
        return [c for c in self.values() if c.symbol == symbol]

    def flatten(self, slot: int | None, reason: str) -> None:
        """Let nothing stay open in a slot, or (None) in any."""
        self.flattening[slot] = reason

    def allow(self, *, but_everything: bool = False) -> None:
        """Let positions stay open again; with `but_everything` unless all are to be closed."""
        self.flattening = {s: why for s, why in self.flattening.items() if but_everything and s is None}

    def reason(self, slot: int) -> str:
        """Return why nothing may stay open in a slot, its own reason first, empty if there is none."""
        return self.flattening.get(slot) or self.flattening.get(None) or ""


class BrokerView:
    """What the broker shows beside our orders: the account, shares that are not ours, and how far they were compared."""

    def __init__(self) -> None:
        self.account: BrokerAccount | None = None
        self.gain_then = ZERO  # what our positions had gained when the account was reported, dollars
        self.activities: dict[str, BrokerActivity] = {}  # those that are no trades, by id
        self.named: list[str] = []  # those of this session in words
        self.foreign: dict[str, Decimal] = {}  # signed shares that are not ours, by symbol
        self.differences: dict[str, Decimal] = {}  # signed shares that the account has beyond our books, seen twice
        self.suspects: dict[str, Decimal] = {}  # differences seen once
        self.named_orders: set[str] = set()  # broker ids of orders that are not ours, named since the start
        self.sequence = 0  # newest number of the broker's order stream
        self.connections = 0  # of the broker's order stream
        self.attached = False  # it was connected since the newest `Begin`: what is ours has been taken up
        self.opened = False  # what is foreign has been recorded
        self.unopened: set[str] = set()  # symbols of which it was not known then
        self.unread: Mapping[str, str] = {}  # by symbol, why nothing is opened in it until it can be read
        self.compared_at = 0  # market time of the newest comparison
        self.asked = False  # and not answered
        self.wants_more = False  # something came up meanwhile that the answer may have missed
        self._failures = 0
        self._fills_then = self._connections_then = 0  # when it was asked for

    # --- the account

    def take_activity(self, activity: BrokerActivity, *, named: bool) -> None:
        """Take in what moved the account; `named`: it is shown to a person."""
        self.activities[activity.activity_id] = activity
        if named:
            self.named.append(activity.text)

    # --- shares

    def beyond(self, symbol: str) -> Decimal:
        """Return the signed shares that the account has beyond our books."""
        return self.foreign.get(symbol, ZERO) + self.differences.get(symbol, ZERO)

    def agree(self, symbol: str) -> bool:
        """Take note that books and account agree; return whether they were known not to."""
        self.suspects.pop(symbol, None)
        return self.differences.pop(symbol, None) is not None

    def differ(self, symbol: str, difference: Decimal) -> bool:
        """Take note of a difference; return whether it is new and was seen twice."""
        if self.suspects.get(symbol) != difference:
            self.suspects[symbol] = difference
            return False
        if self.differences.get(symbol) == difference:
            return False
        self.differences[symbol] = difference
        return True

    def doubt(self, symbol: str, *, again: bool) -> None:
        """A fill lies between two views: forget what was seen once, and compare again if `again`."""
        self.suspects.pop(symbol, None)
        self.wants_more = self.wants_more or again

    # --- comparing

    def name_order(self, broker_order_id: str) -> bool:
        """Return whether an order has not been named since the start, and take note that it is now."""
        new = broker_order_id not in self.named_orders
        self.named_orders.add(broker_order_id)
        return new

    def begin(self) -> None:
        """A new `Begin`: no stream is attached, and orders that are not ours are named again."""
        self.attached = False
        self.named_orders.clear()

    def connect(self) -> None:
        """The order stream is (again) connected."""
        self.connections += 1
        self.attached = True

    def follow_stream(self, sequence: int) -> int:
        """Take in a number of the order stream and return its distance from the one before, 0 if unknown."""
        gap = sequence - self.sequence if sequence and self.sequence else 0
        self.sequence = max(self.sequence, sequence)
        return gap

    def open_books(self, unknown: Iterable[str] = ()) -> None:
        """What is foreign has been recorded, but for symbols of which it is not known."""
        self.opened, self.unopened = True, set(unknown)

    def open_symbol(self, symbol: str) -> bool:
        """What is foreign in a symbol is known; return whether it was not before."""
        new = symbol in self.unopened
        self.unopened.discard(symbol)
        return new

    def begin_question(self, fills: int) -> bool:
        """Return whether the broker's books are to be asked for now, and take note that they are.

        One question at a time. Not before everything that earlier batches left has been taken up: what is not ours by
        then would be foreign.
        """
        if not self.opened and not self.attached:  # the order stream's connection asks
            return False
        if self.asked:
            self.wants_more = True
            return False
        self.asked, self.wants_more, self._fills_then = True, False, fills
        self._connections_then = self.connections
        return True

    def forget_question(self) -> None:
        """The question that is out will not be answered."""
        self.asked = False

    def ask_again(self) -> None:
        """Let another question follow the answer that is awaited."""
        self.wants_more = True

    def answered(self, now: int, *, ok: bool) -> int:
        """Take in that the question was answered, or (not `ok`) failed; return how often in a row it has failed."""
        self.asked = False
        self._failures = 0 if ok else self._failures + 1
        if ok:
            self.compared_at = now
        return self._failures

    def has_moved(self, newest_fill: int) -> bool:
        """Whether a fill with this number came after the question."""
        return newest_fill > self._fills_then

    @property
    def is_complete(self) -> bool:
        """Whether the stream was connected during the whole question; else it may have missed what happened before."""
        return self._connections_then == self.connections
