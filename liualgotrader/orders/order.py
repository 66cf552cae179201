"""One order as the desk knows it, and all of them, found by either side's id."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import (
    BrokerExecution,
    BrokerOrder,
    OrderIntent,
    OrderState,
    OrderType,
    ReplaceIntent,
    Side,
)
from liualgotrader.common.rows import EarlierOrder, OrderRow, TradeRow
from liualgotrader.orders.fill_coverage import FillCoverage

_PRICE_STEP = Decimal("0.000001")  # of an average price


class Origin(StrEnum):
    """Whose idea an order was."""

    STRATEGY = "strategy"
    DESK = "desk"  # closes a position: liquidation, caretaker, kill switch
    LEG = "leg"  # an exit that the broker keeps for a bracket
    EARLIER = "earlier"  # sent by an earlier batch, and taken over with the position that it leaves
    ADOPTED = "adopted"  # found at the broker under one of our ids, not in the journal


@dataclass(slots=True, eq=False)
class DeskOrder:
    """An order's whole life. `filled` counts what is booked; `reported_filled` what the broker says has traded."""

    intent: OrderIntent
    origin: Origin
    written_at: int
    opening: bool = False  # may grow the slot's position
    client_order_id: str = ""
    slot: int = 0
    symbol: str = ""
    side: Side = Side.BUY
    quantity: Decimal = ZERO
    state: OrderState = OrderState.WRITTEN
    broker_order_id: str = ""
    reason: str = ""
    updated_at: int = 0
    seen_at: int = 0  # the broker's time of the newest view of it
    filled: Decimal = ZERO
    booked_value: Decimal = ZERO
    stored_filled: Decimal = ZERO  # as its newest row says
    reported_filled: Decimal = ZERO
    reported_average: Decimal | None = None
    offset: Decimal = ZERO  # what the broker counts as filled although its predecessor did it
    coverage: FillCoverage = field(default_factory=FillCoverage)
    ending: OrderState | None = None  # the end that waits until everything filled is booked
    events: int = 0
    cancel_wanted: str = ""  # why, while a cancel is wanted and not confirmed
    urgent: bool = False  # its cancel waits for no budget
    asked_cancels: int = 0
    asked_for: bool = False  # a look-up is out
    lookups: int = 0
    resent: int = 0
    misses: int = 0  # snapshots that lacked executions which the order says it had
    successor: str = ""  # client id of the order that replaces it
    replaced_by: str = ""  # the broker's id of what a person put in the place of an earlier batch's order
    predecessor: str = ""  # client id of the order it replaces
    chain: int = 0  # how many replacements its chain has seen
    is_leg: bool = False
    group: str = ""  # exits of one bracket, an order and what has replaced it: only one of them can trade

    def __post_init__(self) -> None:
        intent = self.intent
        self.client_order_id, self.slot, self.symbol = intent.client_order_id, intent.slot, intent.symbol
        self.side, self.quantity, self.updated_at = intent.side, intent.quantity, self.written_at
        self.is_leg = self.origin is Origin.LEG

    def takes_the_place_of(self, before: DeskOrder) -> None:
        """Take note that it replaces another order, or is to: only one of them can trade."""
        self.predecessor, self.group = before.client_order_id, before.group or before.client_order_id
        self.is_leg = before.is_leg

    @property
    def remaining(self) -> Decimal:
        """Shares that may still trade."""
        if self.state.is_final or self.ending not in (None, OrderState.REPLACED):  # what replaces it may trade
            return max(ZERO, self.missing)
        return max(ZERO, self.quantity - self.filled)

    @property
    def missing(self) -> Decimal:
        """Shares that the broker says have traded and that are not booked yet."""
        return max(ZERO, self.reported_filled - self.filled)

    @property
    def is_done(self) -> bool:
        """Whether nothing can follow but a fill that comes late."""
        return self.state.is_final and not self.missing

    @property
    def awaits_answer(self) -> bool:
        """Whether it was sent and the broker has not confirmed it."""
        return self.state in (OrderState.SENT, OrderState.UNKNOWN)

    @property
    def rests(self) -> bool:
        """Whether the broker keeps it working for a price, and nothing is being done about it."""
        kept = self.state in (OrderState.ACKNOWLEDGED, OrderState.PARTIALLY_FILLED)
        return kept and self.intent.type is not OrderType.MARKET and not self.missing and not self.cancel_wanted

    @property
    def average_price(self) -> Decimal | None:
        """The mean price of what is booked, 6 decimals."""
        return (self.booked_value / self.filled).quantize(_PRICE_STEP) if self.filled else None

    def count(self, execution: BrokerExecution) -> Decimal:
        """Count an execution among what is booked; return how many of its shares are new, 0 if none."""
        fresh = self.coverage.add(
            execution.execution_id, execution.cumulative_quantity - self.offset, execution.quantity
        )
        if fresh <= 0:
            return ZERO
        self.filled += fresh
        self.booked_value += fresh * execution.price
        return fresh

    def unnamed(self, average: Decimal, at: int) -> Iterator[BrokerExecution]:
        """Yield an execution for each part that has traded and that the broker names none for.

        Their price, US dollars per share, is what makes the whole order trade at `average`; `at` is ns UTC. Each
        is to be counted before the next one is asked for; there is no next one if it was not.
        """
        if not self.missing:
            return
        price = (average * self.reported_filled - self.booked_value) / self.missing
        price = (price if price > 0 else average).quantize(_PRICE_STEP)
        before, hole = None, self.coverage.hole(self.reported_filled)
        while hole is not None and hole != before:
            low, high = hole
            yield BrokerExecution(
                execution_id=f"reconciled:{self.broker_order_id}:{plain(high)}",
                broker_order_id=self.broker_order_id,
                symbol=self.symbol,
                side=self.side,
                quantity=high - low,
                price=price,
                fee=ZERO,
                at=at,
                cumulative_quantity=high + self.offset,
            )
            before, hole = hole, self.coverage.hole(self.reported_filled)


class Orders:
    """All orders of the batch, by either side's id. `working` are those that may still trade, by symbol."""

    def __init__(self) -> None:
        self.by_id: dict[str, DeskOrder] = {}
        self._by_broker: dict[str, DeskOrder] = {}
        self._working: dict[str, dict[str, DeskOrder]] = {}
        self._replaced_by_others: dict[str, DeskOrder] = {}  # by the broker's id of what somebody else put in its place
        self.other_batches: Mapping[str, BrokerOrder] = {}  # ours, of another batch, still open, by the broker's id
        self.earlier: dict[str, tuple[EarlierOrder, DeskOrder]] = {}  # those that earlier batches sent, by client id
        self._waiting: dict[str, DeskOrder] = {}  # approved exits that go out once something else has ended
        self._replacements: set[ReplaceIntent] = set()  # those dealt with
        self._sent: deque[int] = deque()  # market instants of the requests of the last minute
        self._cancels: deque[int] = deque()  # and of the cancels, which take nothing from the exits' budget

    def add(self, order: DeskOrder) -> None:
        """Take an order in."""
        self.by_id[order.client_order_id] = order
        if order.broker_order_id:
            self._by_broker[order.broker_order_id] = order
        self._working.setdefault(order.symbol, {})[order.client_order_id] = order

    def add_ended(self, order: DeskOrder) -> None:
        """Take in an order that works nowhere."""
        self.by_id[order.client_order_id] = order

    def name(self, order: DeskOrder, broker_order_id: str) -> None:
        """Remember the broker's id of an order."""
        if broker_order_id and not order.broker_order_id:
            order.broker_order_id = broker_order_id
            self._by_broker[broker_order_id] = order

    def of_broker(self, broker_order_id: str) -> DeskOrder | None:
        """Return the order with the broker's id."""
        return self._by_broker.get(broker_order_id)

    # --- what works

    def keep(self, order: DeskOrder) -> None:
        """Keep the orders that work true after one has changed."""
        if order.is_done:
            here = self._working.get(order.symbol)
            if here is not None and here.pop(order.client_order_id, None) is not None and not here:
                del self._working[order.symbol]
        else:
            self._working.setdefault(order.symbol, {})[order.client_order_id] = order

    def in_symbol(self, symbol: str, slot: int | None = None) -> list[DeskOrder]:
        """Return the working orders of a symbol, of one slot or of all, oldest first."""
        here = self._working.get(symbol)
        if here is None:
            return []
        return list(here.values()) if slot is None else [o for o in here.values() if o.slot == slot]

    def all_working(self) -> Iterator[DeskOrder]:
        """Yield every working order, by symbol in the order they first traded."""
        for symbol in list(self._working):
            yield from list(self._working.get(symbol, {}).values())

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

    def expect(self, broker_order_id: str, order: DeskOrder) -> bool:
        """Take note that somebody else has replaced an order; return whether that was known."""
        known = broker_order_id in self._replaced_by_others
        self._replaced_by_others[broker_order_id] = order
        return known

    def replaced_by_others(self, broker_order_id: str) -> DeskOrder | None:
        """Return our order that the broker's, not seen yet, replaces for somebody else, None if there is none."""
        return self._replaced_by_others.get(broker_order_id)

    def take_expected(self, broker_order_id: str) -> DeskOrder | None:
        """Return the order that the broker's one replaces, None if none is known; it is expected no longer."""
        return self._replaced_by_others.pop(broker_order_id, None)

    def expect_no_more(self, order: DeskOrder) -> None:
        """What replaced the order is not shown: expect it no longer."""
        self._replaced_by_others = {name: o for name, o in self._replaced_by_others.items() if o is not order}

    def waits_for_successor(self, order: DeskOrder) -> bool:
        """Whether the broker has replaced it for somebody else, by an order that we have not seen yet."""
        if order.ending is not OrderState.REPLACED:
            return False
        return order in self._replaced_by_others.values() and not self.is_replaced(order)

    def is_new(self, asked: ReplaceIntent) -> bool:
        """Return whether a replacement is asked for the first time, and take note that it was."""
        new = asked not in self._replacements
        self._replacements.add(asked)
        return new

    # --- exits that wait

    @property
    def waiting(self) -> Mapping[str, DeskOrder]:
        """Approved exits that go out once something else has ended."""
        return self._waiting

    def wait(self, order: DeskOrder) -> None:
        """Let an exit wait."""
        self._waiting[order.client_order_id] = order

    def wait_no_more(self, order: DeskOrder) -> None:
        """Let an exit wait no longer."""
        self._waiting.pop(order.client_order_id, None)

    # --- other batches

    def see_other_batches(self, seen: Mapping[str, BrokerOrder]) -> None:
        """Take in every open order that an earlier batch left at the broker."""
        self.other_batches = seen

    def take_earlier(self, left: EarlierOrder, order: DeskOrder) -> None:
        """Take in an order that an earlier batch sent."""
        self.earlier[order.client_order_id] = left, order

    # --- requests

    def count_request(self, now: int) -> None:
        """Count an order that is sent."""
        self._sent.append(now)

    def count_cancel(self, now: int) -> None:
        """Count a cancel."""
        self._cancels.append(now)

    def requests(self, now: int) -> int:
        """Return how many orders were sent in the last market minute."""
        return _recent(self._sent, now)

    def cancels(self, now: int) -> int:
        """Return how many cancels were asked for in the last market minute."""
        return _recent(self._cancels, now)


def _recent(instants: deque[int], now: int) -> int:
    since = now - MINUTE
    while instants and instants[0] <= since:
        instants.popleft()
    return len(instants)


def counted(order: DeskOrder, orders: Orders) -> Decimal:
    """Return the shares by which an order can change a position, beyond what the order it replaces can."""
    if order.is_leg:  # never more than its parent has filled
        return ZERO
    before = orders.by_id.get(order.predecessor)
    room = before.remaining if before is not None and not before.state.is_final else ZERO
    return max(ZERO, order.remaining - room)


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
    if intent.type is OrderType.LIMIT and intent.side is Side.BUY and intent.limit_price is not None:
        return intent.limit_price
    return max(mark, intent.limit_price or mark, intent.stop_price or mark)


def order_row(order: DeskOrder, batch_id: str, algo_run_id: int, generation: int) -> OrderRow:
    """Return an order as the database keeps it."""
    intent = order.intent
    return OrderRow(
        client_order_id=order.client_order_id,
        batch_id=batch_id,
        slot=order.slot,
        algo_run_id=algo_run_id,
        generation=generation,
        symbol=order.symbol,
        side=str(order.side),
        quantity=order.quantity,
        type=str(intent.type),
        time_in_force=intent.time_in_force,
        limit_price=intent.limit_price,
        stop_price=intent.stop_price,
        state=str(order.state),
        broker_order_id=order.broker_order_id or None,
        filled_quantity=order.filled,
        average_price=order.average_price,
        reason=order.reason,
        planned_stop=intent.planned_stop,
        planned_target=intent.planned_target,
        indicators=intent.indicators,
        decided_at=intent.decided_at,
        updated_at=order.updated_at,
    )


def trade_row(
    order: DeskOrder, execution: BrokerExecution, shares: Decimal, algo_run_id: int, account_id: int | None
) -> TradeRow:
    """Return what is stored of an execution, `shares` of which are new."""
    return TradeRow(
        execution_id=execution.execution_id,
        client_order_id=order.client_order_id,
        algo_run_id=algo_run_id,
        symbol=order.symbol,
        operation=str(order.side),
        quantity=shares,
        price=execution.price,
        fee=execution.fee,
        at=execution.at,
        indicators=order.intent.indicators,
        planned_stop=order.intent.planned_stop,
        planned_target=order.intent.planned_target,
        account_id=account_id,
    )


def with_terms(intent: OrderIntent, **changes: Any) -> OrderIntent:
    """Return the intent with some terms changed."""
    return msgspec.structs.replace(intent, **changes)
