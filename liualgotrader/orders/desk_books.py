"""All orders of the batch, what each slot holds and could come to hold, and what that has gained today.

The day's gain counts from the previous official close: only trades, prices and fees move it. Shares held at that close
count from it, shares traded since from their own price; fees come off. Deposits, withdrawals and shares that are not ours
play no part. While the close is unknown, shares count from the first price of the day. One wrong answer closes nothing:
`confirmed_gain` values each position at the best of the newest prices, and uses a close only once a second answer has
stated it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import BrokerOrder, OrderIntent, OrderState, OrderType, ReplaceIntent, Side
from liualgotrader.common.position import after_execution
from liualgotrader.common.rows import EarlierOrder, TradedBefore
from liualgotrader.orders.desk_parts import Place
from liualgotrader.orders.order import WORKING, DeskOrder, Origin


class Requests(deque[int]):
    """The market instants of the requests of the last minute."""

    def within_minute(self, now: int) -> int:
        """Return how many there were in the last market minute."""
        if not self:
            return 0
        since = now - MINUTE
        while self and self[0] <= since:
            self.popleft()
        return len(self)


class Orders:
    """All orders of the batch, by either side's id. `working` are those that may still trade, by symbol."""

    def __init__(self) -> None:
        self.by_id: dict[str, DeskOrder] = {}
        self.by_broker_id: dict[str, DeskOrder] = {}
        self.working: dict[str, dict[str, DeskOrder]] = {}
        self.number = 0  # of those
        self.moved: set[str] = set()  # symbols whose exposure has to be worked out again
        self.replaced_by_others: dict[str, DeskOrder] = {}  # by the broker's id of what somebody else put in its place
        self.other_batches: Mapping[str, BrokerOrder] = {}  # ours, of another batch, still open, by the broker's id
        self.earlier: dict[str, tuple[EarlierOrder, DeskOrder]] = {}  # those that earlier batches sent, by client id
        self.waiting: dict[str, DeskOrder] = {}  # approved exits that go out once something else has ended
        self._replacements: set[ReplaceIntent] = set()  # those dealt with
        self.sent = Requests()
        self.cancels = Requests()  # which take nothing from the exits' budget

    def add(self, order: DeskOrder) -> None:
        """Take an order in."""
        self.by_id[order.client_order_id] = order
        if order.broker_order_id:
            self.by_broker_id[order.broker_order_id] = order
        self.keep(order)

    def add_ended(self, order: DeskOrder) -> None:
        """Take in an order that works nowhere."""
        self.by_id[order.client_order_id] = order

    def name(self, order: DeskOrder, broker_order_id: str) -> None:
        """Remember the broker's id of an order."""
        if broker_order_id and not order.broker_order_id:
            order.broker_order_id = broker_order_id
            self.by_broker_id[broker_order_id] = order

    def let_go(self) -> None:
        """Forget the orders that have ended, but for those that a working one has replaced or belongs to."""
        kept: dict[str, DeskOrder] = {}
        left = [order for here in self.working.values() for order in here.values()] + list(self.waiting.values())
        while left:
            order = left.pop()
            if order.client_order_id not in kept:
                kept[order.client_order_id] = order
                tied = (order.predecessor, order.successor, order.group)
                left += [self.by_id[name] for name in tied if name in self.by_id]
        self.by_id = {name: order for name, order in self.by_id.items() if name in kept}
        self.by_broker_id = {name: o for name, o in self.by_broker_id.items() if o.client_order_id in kept}
        self._replacements.clear()

    # --- what works

    def keep(self, order: DeskOrder) -> None:
        """Keep the orders that work, and the exposure they make, true after one has changed."""
        symbol = order.symbol
        here = self.working.get(symbol)
        if order.state.is_final and order.reported_filled <= order.filled:
            if here is not None and here.pop(order.client_order_id, None) is not None:
                self.number -= 1
                if not here:
                    del self.working[symbol]
        elif here is None:
            self.number += 1
            self.working[symbol] = {order.client_order_id: order}
        else:
            self.number += order.client_order_id not in here
            here[order.client_order_id] = order
        self.moved.add(symbol)

    def in_symbol(self, symbol: str, slot: int | None = None) -> list[DeskOrder]:
        """Return the working orders of a symbol, of one slot or of all, oldest first."""
        here = self.working.get(symbol)
        return [] if here is None else [o for o in here.values() if slot in (None, o.slot)]

    def all_working(self) -> list[DeskOrder]:
        """Return every working order, by symbol in the order they first traded."""
        return [order for here in self.working.values() for order in here.values()]

    def resting_stop(self, slot: int, symbol: str, held: Decimal) -> Decimal | None:
        """Return the price of a stop that the broker keeps for a position, None if there is none for all of it."""
        opposite = [o for o in self.in_symbol(symbol, slot) if held * o.side.sign < 0 and not o.cancel_wanted]
        stops = {o: o.intent.stop_price for o in opposite if o.intent.stop_price is not None}
        covered = sum((o.remaining for o in stops), ZERO) >= abs(held)
        return max(stops.values()) if stops and covered else None

    # --- chains of replacements

    def root(self, order: DeskOrder) -> DeskOrder:
        """Return the order that a chain of replacements goes back to, whoever made them."""
        while order.predecessor:
            order = self.by_id[order.predecessor]
        return order

    def leaf(self, order: DeskOrder) -> DeskOrder:
        """Return the newest order of a replacement chain that may still trade, or the last one tried."""
        while order.successor:
            following = self.by_id[order.successor]
            took_over = order.state.is_final and not following.state.is_final
            if order.state is not OrderState.REPLACED and not took_over:
                break
            order = following
        return order

    def is_replaced(self, order: DeskOrder) -> bool:
        """Whether an order that may still work or trade is in its place, or is to be."""
        following = self.by_id.get(order.successor)
        return following is not None and not following.state.is_final

    def not_replaceable(self, order: DeskOrder) -> str:
        """Return why an order cannot be replaced now, empty if it can."""
        if self.root(order).origin is Origin.EARLIER:
            return "was not sent by this session: take it back and send another"
        if order.cancel_wanted:  # asked for and not confirmed, or about to be: what replaced it would stay
            return "is being taken back"
        return "" if order.state in WORKING and order.ending is None else f"is {order.ending or order.state}"

    def expect(self, broker_order_id: str, order: DeskOrder) -> bool:
        """Take note that somebody else has replaced an order; return whether that was known."""
        known = broker_order_id in self.replaced_by_others
        self.replaced_by_others[broker_order_id] = order
        return known

    def expect_no_more(self, order: DeskOrder) -> None:
        """What replaced the order is not shown: expect it no longer."""
        self.replaced_by_others = {name: o for name, o in self.replaced_by_others.items() if o is not order}

    def waits_for_successor(self, order: DeskOrder) -> bool:
        """Whether the broker has replaced it for somebody else, by an order that we have not seen yet."""
        replaced = order.ending is OrderState.REPLACED and order in self.replaced_by_others.values()
        return replaced and not self.is_replaced(order)

    def is_new(self, asked: ReplaceIntent) -> bool:
        """Return whether a replacement is asked for the first time, and take note that it was."""
        new = asked not in self._replacements
        self._replacements.add(asked)
        return new

    # --- exits that wait, other batches

    def wait(self, order: DeskOrder) -> None:
        """Let an exit wait."""
        self.waiting[order.client_order_id] = order

    def wait_no_more(self, order: DeskOrder) -> None:
        """Let an exit wait no longer."""
        self.waiting.pop(order.client_order_id, None)

    def see_other_batches(self, seen: Mapping[str, BrokerOrder]) -> None:
        """Take in every open order that an earlier batch left at the broker."""
        self.other_batches = seen

    def take_earlier(self, left: EarlierOrder, order: DeskOrder) -> None:
        """Take in an order that an earlier batch sent."""
        self.earlier[order.client_order_id] = left, order


def counted(order: DeskOrder, orders: Orders) -> Decimal:
    """Return the shares by which an order can change a position, beyond what the order it replaces can."""
    if order.is_leg:  # never more than its parent has filled
        return ZERO
    before = orders.by_id.get(order.predecessor) if order.predecessor else None
    if before is None or before.state.is_final:
        return order.remaining
    return max(ZERO, order.remaining - before.remaining)


def bound_together(orders: Iterable[DeskOrder], side: Side) -> list[list[DeskOrder]]:
    """Return the orders of one side in groups of which one can trade: a bracket's exits, a chain of replacements."""
    groups: dict[str, list[DeskOrder]] = {}
    for order in orders:
        if order.side is side:
            groups.setdefault(order.group or order.client_order_id, []).append(order)
    return list(groups.values())


def held_by_exits(orders: Sequence[DeskOrder], side: Side) -> Decimal:
    """Return the shares that working orders of one side already bind; exits of one bracket bind them once."""
    if not orders:
        return ZERO
    return sum((max(o.remaining for o in together) for together in bound_together(orders, side)), ZERO)


def worst_price(intent: OrderIntent, mark: Decimal) -> Decimal:
    """Return the price in dollars at which limits count an order: its own terms where those cost more than the mark."""
    limit, stop = intent.limit_price, intent.stop_price
    if limit is stop is None:
        return mark
    if intent.type is OrderType.LIMIT and intent.side is Side.BUY and limit is not None:
        return limit
    return max(mark, limit or mark, stop or mark)


@dataclass(slots=True)
class Position:
    """Signed shares of one slot in one symbol: the sum of its confirmed fills (and what it carried in)."""

    quantity: Decimal = ZERO
    average_price: Decimal = ZERO  # dollars per share of what is held
    planned_stop: Decimal | None = None
    planned_target: Decimal | None = None
    planned_at: int = 0  # when the strategy decided on them, market time; 0 where there is no plan
    filled_at: int = 0  # the broker's time of its newest execution

    def take(self, signed: Decimal, price: Decimal) -> None:
        """Book a fill of `signed` shares at `price`.

        The plan ends with the position it was made for: what is opened next begins without one.
        """
        before = self.quantity
        self.quantity, self.average_price, _ = after_execution(before, self.average_price, signed, price)
        if before and before * self.quantity <= 0:
            self.planned_stop, self.planned_target, self.planned_at = None, None, 0

    def protect(self, stop: Decimal | None, target: Decimal | None, decided_at: int) -> bool:
        """Set the plan; False if a newer one stands. Before the first fill it waits for it."""
        if decided_at < self.planned_at:
            return False
        self.planned_stop, self.planned_target, self.planned_at = stop, target, decided_at
        return True

    def grown_by(self, stop: Decimal | None, target: Decimal | None, decided_at: int, *, opened: bool) -> bool:
        """Take the plan of an order that opened or grew the position; False if one stands that was made since."""
        if decided_at <= self.planned_at:
            return decided_at == self.planned_at and (stop, target) == (self.planned_stop, self.planned_target)
        if opened:
            self.planned_stop, self.planned_target = stop, target
        else:
            self.planned_stop, self.planned_target = stop or self.planned_stop, target or self.planned_target
        self.planned_at = decided_at
        return True


class Exposure(msgspec.Struct, frozen=True, gc=False):
    """The most dollars one symbol can come to, all working orders filled: on either side, and on the short side."""

    either: Decimal = ZERO
    short: Decimal = ZERO


NOTHING = Exposure()


class Positions:
    """All positions, marks and exposures of the batch. An exposure is worked out when it is read after a change."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._moved = orders.moved
        self._positions: dict[Place, Position] = {}
        self.marks: dict[str, Decimal] = {}  # newest price known, dollars per share
        self._costs: dict[str, Decimal] = {}  # of what was carried, where no price is known yet
        self._ours: dict[str, Decimal] = {}
        self._exposures: dict[str, Exposure] = {}
        self._gross = self._short = ZERO

    def position(self, slot: int, symbol: str) -> Position:
        """Return a slot's position, made empty if there is none."""
        found = self._positions.get((slot, symbol))
        if found is None:
            found = self._positions[slot, symbol] = Position()
        return found

    def held(self, slot: int, symbol: str) -> Decimal:
        """Return a slot's signed shares."""
        found = self._positions.get((slot, symbol))
        return found.quantity if found is not None else ZERO

    def ours(self, symbol: str) -> Decimal:
        """Return the signed shares that all slots together hold."""
        return self._ours.get(symbol, ZERO)

    def symbols(self) -> set[str]:
        """Return the symbols in which any slot holds something, even if it adds up to nothing."""
        return {symbol for _, symbol, _ in self.open()}

    def open(self, slot: int | None = None) -> Iterator[tuple[int, str, Position]]:
        """Yield (slot, symbol, position) of what is not flat."""
        for (owner, symbol), position in list(self._positions.items()):
            if position.quantity and slot in (None, owner):
                yield owner, symbol, position

    def take(self, slot: int, symbol: str, signed: Decimal, price: Decimal, *, traded: bool = True) -> Position:
        """Book a fill of `signed` shares for a slot and return its position; what is not traded makes no price."""
        position = self.position(slot, symbol)
        position.take(signed, price)
        self._ours[symbol] = self._ours.get(symbol, ZERO) + signed
        (self.marks if traded else self._costs)[symbol] = price
        self._moved.add(symbol)
        return position

    def see(self, symbol: str, price: Decimal) -> None:
        """Take in a symbol's newest price, dollars per share."""
        self.marks[symbol] = price
        self._moved.add(symbol)

    def valued_at(self, symbol: str) -> Decimal:
        """Return the newest price, else what was paid for what was carried, else 0."""
        return self.marks.get(symbol) or self._costs.get(symbol, ZERO)

    # --- exposure

    @property
    def total(self) -> Exposure:
        """The exposures of all symbols together, every working order counted as filled."""
        for symbol in self._moved:
            old, new = self._exposures.pop(symbol, NOTHING), self.exposure_with(symbol)
            self._gross += new.either - old.either
            self._short += new.short - old.short
            if new.either:
                self._exposures[symbol] = new
        self._moved.clear()
        return Exposure(self._gross, self._short)

    def exposure(self, symbol: str) -> Exposure:
        """Return the symbol's present exposure."""
        if symbol in self._moved:
            return self.exposure_with(symbol)
        return self._exposures.get(symbol, NOTHING)

    def exposure_with(self, symbol: str, *more: DeskOrder) -> Exposure:
        """Return what the symbol's exposure would be with more orders."""
        price = mark = self.marks.get(symbol) or self._costs.get(symbol, ZERO)
        held, working = self._ours.get(symbol, ZERO), self._orders.working.get(symbol)
        if not (working or more):
            if not held:
                return NOTHING
            return Exposure(held * price) if held > 0 else Exposure(-held * price, -held * price)
        bought = sold = ZERO
        for order in (*working.values(), *more) if working else more:
            shares = counted(order, self._orders)
            if not shares:
                continue
            worst = worst_price(order.intent, mark)
            price = price if worst is mark else max(price, worst)
            if order.side is Side.BUY:
                bought += shares
            else:
                sold += shares
        long, short = max(ZERO, held + bought), max(ZERO, sold - held)
        return Exposure(max(long, short) * price, short * price) if long or short else NOTHING


LOOKS_APART = 4 * SECOND  # market time; closer answers may be one answer twice


@dataclass(slots=True)
class SymbolDay:
    """One symbol's part in the day, over all slots: signed shares, US dollars."""

    opening: Decimal = ZERO  # shares held at the previous official close
    close: Decimal | None = None  # as stated last, dollars per share; None: unknown
    close_since: int = 0  # market time of the first answer that stated it
    close_confirmed: bool = False  # a second answer has stated it
    first: Decimal | None = None  # the first price seen of the day, which stands in for it
    uses_close: bool = True  # False: counted from `first`, as the close is one of other terms or of no account
    traded: Decimal = ZERO  # shares since
    paid: Decimal = ZERO  # dollars for them, less what was received
    looks: tuple[tuple[int, Decimal], ...] = ()  # (time, price) of the last `LOOKS_APART`, and the one before
    earliest: tuple[Decimal, ...] = ()  # the day's first prices, until one of another look was among them

    @property
    def held(self) -> Decimal:
        """Signed shares held now."""
        return self.opening + self.traded

    def see(self, price: Decimal | None) -> None:
        """Take in the price of an execution, dollars per share: the first of the day stands in for an unknown close."""
        self.first = price if self.first is None else self.first

    def look(self, now: int, price: Decimal | None, close: Decimal | None) -> None:
        """Take in an answer at market time `now`: price and previous official close, dollars per share."""
        self.see(price)
        if price is not None:
            if not self._is_confirmed:
                self.earliest = (*self.earliest, price)
            before = [look for look in self.looks if look[0] <= now - LOOKS_APART][-1:]
            self.looks = (*before, *(look for look in self.looks if look[0] > now - LOOKS_APART), (now, price))
        if close is None or not self.uses_close:
            return
        if close != self.close:
            self.close, self.close_since, self.close_confirmed = close, now, False
        elif now >= self.close_since + LOOKS_APART:
            self.close_confirmed = True

    @property
    def _is_confirmed(self) -> bool:
        return bool(self.looks) and self.looks[-1][0] - self.looks[0][0] >= LOOKS_APART

    def gain(self, mark: Decimal | None) -> Decimal:
        """Return what it has gained at `mark`; nothing as long as no price has been seen."""
        return self._gain(self.close or self.first, mark or self.first)

    def confirmed_gain(self, mark: Decimal | None) -> Decimal:
        """Return the gain that no single wrong price or close can have made smaller."""
        prices = [mark, *(price for _, price in self.looks)]
        if not self._is_confirmed:
            prices += [self.first, self.close]
        bases = [self.close] if self.close_confirmed else [self.first, *self.earliest]
        least, most = (max if self.opening < 0 else min), (max if self.held > 0 else min)
        return self._gain(least(filter(None, bases), default=None), most(filter(None, prices), default=None))

    def _gain(self, base: Decimal | None, newest: Decimal | None) -> Decimal:
        """Return the gain from `base` to `newest`; nothing while one that counts is not known."""
        if (self.opening and base is None) or (self.held and newest is None):
            return ZERO
        return self.held * (newest or ZERO) - self.opening * (base or ZERO) - self.paid


class Day:
    """The day's gain of all that is ours, and the equity that its limits are fractions of."""

    def __init__(self) -> None:
        self.began_with: Decimal | None = None  # equity, dollars; None: not known yet
        self.fees = ZERO
        self.symbols: dict[str, SymbolDay] = {}
        self.unknown: dict[str, str] = {}  # by symbol, what is not known of it; said once
        self._before: set[str] = set()  # symbols of which the trades of today's earlier batches are counted

    def of(self, symbol: str) -> SymbolDay:
        """Return a symbol's part, made empty if there is none."""
        part = self.symbols.get(symbol)
        if part is None:
            part = self.symbols[symbol] = SymbolDay()
        return part

    def carry(self, symbol: str, quantity: Decimal, *, restated: bool) -> None:
        """Count shares that were held before; a restated position has a close that may be in other terms."""
        part = self.of(symbol)
        part.opening += quantity
        part.uses_close = part.uses_close and not restated

    def trade(self, symbol: str, signed: Decimal, price: Decimal, fee: Decimal) -> None:
        """Count an execution of today."""
        part = self.of(symbol)
        part.see(price)
        part.traded += signed
        part.paid += signed * price
        self.fees += fee

    def traded_before(self, message: TradedBefore) -> None:
        """Count what earlier batches of today have traded in a symbol: of what is carried, so much is of today."""
        if message.symbol in self._before:
            return
        self._before.add(message.symbol)
        part = self.of(message.symbol)
        part.see(message.value / message.quantity if message.value * message.quantity > 0 else None)
        part.opening -= message.quantity
        part.traded += message.quantity
        part.paid += message.value
        self.fees += message.fees

    def gain(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return what our positions have gained today, fees paid, US dollars; `marks` are the prices known."""
        return sum((part.gain(marks.get(symbol)) for symbol, part in self.symbols.items()), -self.fees)

    def confirmed_gain(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return the same as far as answers of two looks show it: nothing is closed on one."""
        return sum((part.confirmed_gain(marks.get(symbol)) for symbol, part in self.symbols.items()), -self.fees)

    def restart(self, marks: Mapping[str, Decimal], equity: Decimal | None) -> None:
        """Count from here: what is held now at the prices of now."""
        held = {symbol: part.held for symbol, part in self.symbols.items() if part.held}
        self.symbols = {s: SymbolDay(q, first=marks.get(s), uses_close=False) for s, q in held.items()}
        self.fees, self.unknown = ZERO, {}
        self.began_with = self.began_with if equity is None else equity
