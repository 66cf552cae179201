"""One order as the desk knows it, and the register that finds it by either side's id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import BrokerExecution, BrokerOrder, OrderIntent, OrderState, OrderType, Side
from liualgotrader.common.rows import OrderRow, TradeRow


class Origin(StrEnum):
    """Whose idea an order was."""

    STRATEGY = "strategy"
    DESK = "desk"  # closes a position: liquidation, caretaker, kill switch
    LEG = "leg"  # an exit that the broker keeps for a bracket
    EARLIER = "earlier"  # sent by an earlier batch, and taken over with the position that it leaves
    ADOPTED = "adopted"  # found at the broker under one of our ids, not in the journal


class DeskOrder:
    """An order's whole life. `filled` counts what is booked; `told_filled` what the broker says has traded.

    Executions are booked by the part of the order they cover, `(cumulative - quantity, cumulative]`, so that
    neither a second delivery nor another order of arrival counts anything twice.
    """

    __slots__ = (
        "asked_cancels",
        "asked_for",
        "average_told",
        "booked_value",
        "broker_order_id",
        "cancel_wanted",
        "chain",
        "client_order_id",
        "covered",
        "ending",
        "events",
        "executions",
        "filled",
        "generation",
        "group",
        "hurry",
        "intent",
        "is_leg",
        "leaves_room_of",
        "lookups",
        "misses",
        "offset",
        "opening",
        "origin",
        "quantity",
        "reason",
        "replaced_by",
        "resent",
        "seen_at",
        "side",
        "slot",
        "state",
        "stored_filled",
        "successor",
        "symbol",
        "told_filled",
        "updated_at",
        "written_at",
    )

    def __init__(self, intent: OrderIntent, *, origin: Origin, opening: bool, generation: int, at: int) -> None:
        self.intent = intent
        self.client_order_id = intent.client_order_id
        self.slot = intent.slot
        self.symbol = intent.symbol
        self.side = intent.side
        self.quantity = intent.quantity
        self.origin = origin
        self.opening = opening  # may grow the slot's position
        self.generation = generation
        self.state = OrderState.WRITTEN
        self.broker_order_id = ""
        self.reason = ""
        self.written_at = at
        self.updated_at = at
        self.seen_at = 0  # the broker's time of the newest view of it
        self.filled = ZERO
        self.booked_value = ZERO
        self.stored_filled = ZERO  # as its newest row says
        self.told_filled = ZERO
        self.average_told: Decimal | None = None
        self.offset = ZERO  # what the broker counts as filled although its predecessor did it
        self.covered: list[tuple[Decimal, Decimal]] = []
        self.executions: set[str] = set()
        self.ending: OrderState | None = None  # the end that waits until everything filled is booked
        self.events = 0
        self.cancel_wanted = ""  # why, while a cancel is wanted and not confirmed
        self.hurry = False  # its cancel waits for no budget
        self.asked_cancels = 0
        self.asked_for = False  # a look-up is out
        self.lookups = 0
        self.resent = 0
        self.misses = 0  # snapshots that lacked executions which the order says it had
        self.successor = ""  # client id of the order that replaces it
        self.replaced_by = ""  # the broker's id of what a person put in the place of an earlier batch's order
        self.leaves_room_of = ""  # client id of the order it replaces
        self.chain = 0  # how many replacements its chain has seen
        self.is_leg = origin is Origin.LEG
        self.group = ""  # exits of one bracket, an order and what has replaced it: only one of them can trade

    def takes_the_place_of(self, before: DeskOrder) -> None:
        """Take note that it replaces another order, or is to: only one of them can trade."""
        self.leaves_room_of, self.group = before.client_order_id, before.group or before.client_order_id
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
        return max(ZERO, self.told_filled - self.filled)

    @property
    def is_done(self) -> bool:
        """Whether nothing can follow but a fill that comes late."""
        return self.state.is_final and not self.missing

    @property
    def awaits_answer(self) -> bool:
        """Whether it was sent and nobody knows yet whether the broker has it."""
        return self.state in (OrderState.SENT, OrderState.UNKNOWN)

    @property
    def rests(self) -> bool:
        """Whether the broker keeps it working for a price, and nothing is being done about it."""
        kept = self.state in (OrderState.ACKNOWLEDGED, OrderState.PARTIALLY_FILLED)
        return kept and self.intent.type is not OrderType.MARKET and not self.missing and not self.cancel_wanted

    @property
    def average_price(self) -> Decimal | None:
        """The mean price of what is booked, 6 decimals."""
        return (self.booked_value / self.filled).quantize(Decimal("0.000001")) if self.filled else None

    def count(self, execution: BrokerExecution) -> Decimal:
        """Count an execution among what is booked; return how many of its shares are new, 0 if none."""
        fresh = self.cover(execution.execution_id, execution.cumulative_quantity - self.offset, execution.quantity)
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
        price = (average * self.told_filled - self.booked_value) / self.missing
        price = (price if price > 0 else average).quantize(Decimal("0.000001"))
        before, hole = None, self.hole()
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
            before, hole = hole, self.hole()

    def cover(self, execution_id: str, cumulative: Decimal, quantity: Decimal) -> Decimal:
        """Take note of an execution and return how many of its shares had not been counted before."""
        if execution_id in self.executions:
            return ZERO
        self.executions.add(execution_id)
        low, high = cumulative - quantity, cumulative
        known = sum((min(high, b) - max(low, a) for a, b in self.covered if a < high and b > low), ZERO)
        fresh = quantity - known
        if fresh > 0:
            self.covered = _merged([*self.covered, (low, high)])
        return fresh

    def cover_again(self, cumulative: Decimal, quantity: Decimal) -> None:
        """Take note of which shares an execution was that is counted already."""
        self.covered = _merged([*self.covered, (cumulative - quantity, cumulative)])

    def cover_lowest(self) -> None:
        """Take what is booked and belongs to no execution whose place is known for the first shares that are free."""
        left = self.filled - sum((b - a for a, b in self.covered), ZERO)
        low, parts = ZERO, list(self.covered)
        for a, b in self.covered:
            taken = max(ZERO, min(left, a - low))
            parts.append((low, low + taken))
            low, left = b, left - taken
        if left > 0:
            parts.append((low, low + left))
        self.covered = _merged([(a, b) for a, b in parts if b > a])

    def hole(self) -> tuple[Decimal, Decimal] | None:
        """Return the first part of what has traded that no booked execution covers."""
        low = ZERO
        for a, b in self.covered:
            if a > low:
                return low, min(a, self.told_filled)
            low = max(low, b)
        return (low, self.told_filled) if low < self.told_filled else None


def _merged(parts: list[tuple[Decimal, Decimal]]) -> list[tuple[Decimal, Decimal]]:
    merged: list[tuple[Decimal, Decimal]] = []
    for low, high in sorted(parts):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


class Orders:
    """All orders of the batch. `working` are those that may still trade, by symbol."""

    def __init__(self) -> None:
        self.by_id: dict[str, DeskOrder] = {}
        self._by_broker: dict[str, DeskOrder] = {}
        self.working: dict[str, dict[str, DeskOrder]] = {}
        self.expected: dict[str, DeskOrder] = {}  # broker ids that replace an order of ours by somebody else's hand
        self.other_batches: dict[str, BrokerOrder] = {}  # ours by the prefix, of another batch, still open

    def add(self, order: DeskOrder) -> None:
        """Take an order in."""
        self.by_id[order.client_order_id] = order
        if order.broker_order_id:
            self._by_broker[order.broker_order_id] = order
        self.working.setdefault(order.symbol, {})[order.client_order_id] = order

    def name(self, order: DeskOrder, broker_order_id: str) -> None:
        """Remember the broker's id of an order."""
        if broker_order_id and not order.broker_order_id:
            order.broker_order_id = broker_order_id
            self._by_broker[broker_order_id] = order

    def of_broker(self, broker_order_id: str) -> DeskOrder | None:
        """Return the order with the broker's id."""
        return self._by_broker.get(broker_order_id)

    def settle(self, order: DeskOrder) -> None:
        """Keep `working` true after an order has changed."""
        here = self.working.setdefault(order.symbol, {})
        if order.is_done:
            here.pop(order.client_order_id, None)
            if not here:
                del self.working[order.symbol]
        else:
            here[order.client_order_id] = order

    def in_symbol(self, symbol: str, slot: int | None = None) -> list[DeskOrder]:
        """Return the working orders of a symbol, of one slot or of all, oldest first."""
        return [o for o in self.working.get(symbol, {}).values() if slot is None or o.slot == slot]

    def all_working(self) -> Iterator[DeskOrder]:
        """Yield every working order, by symbol in the order they first traded."""
        for symbol in list(self.working):
            yield from list(self.working.get(symbol, {}).values())

    def root(self, order: DeskOrder) -> DeskOrder:
        """Return the order that a chain of replacements goes back to, whoever made them."""
        while order.leaves_room_of:
            order = self.by_id[order.leaves_room_of]
        return order

    def leaf(self, order: DeskOrder) -> DeskOrder:
        """Return the newest order of a replacement chain that may still trade, or the last one tried."""
        while order.successor and (order.state is OrderState.REPLACED or self._took_over(order)):
            order = self.by_id[order.successor]
        return order

    def is_replaced(self, order: DeskOrder) -> bool:
        """Whether an order that may still work or trade is in its place, or is to be."""
        following = self.by_id.get(order.successor)
        return following is not None and not following.state.is_final

    def waits_for_successor(self, order: DeskOrder) -> bool:
        """Whether the broker has replaced it for somebody else, by an order that we have not seen yet."""
        return order.ending is OrderState.REPLACED and order in self.expected.values() and not self.is_replaced(order)

    def _took_over(self, order: DeskOrder) -> bool:
        following = self.by_id[order.successor]
        return order.state.is_final and not following.state.is_final


def counted(order: DeskOrder, orders: Orders) -> Decimal:
    """Return the shares by which an order can change a position, beyond what the order it replaces can."""
    if order.is_leg:  # never more than its parent has filled
        return ZERO
    before = orders.by_id.get(order.leaves_room_of)
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
    own = [p for p in (intent.limit_price, intent.stop_price) if p is not None]
    if intent.type is OrderType.LIMIT and intent.side is Side.BUY and intent.limit_price is not None:
        return intent.limit_price
    return max([mark, *own])


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
