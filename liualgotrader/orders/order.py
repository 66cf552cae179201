"""One order as the desk knows it: the life it can have, which of its shares are booked, what is stored of its fills.

The life is one table: (state, step) -> state. What the table does not name changes nothing. `REOPENED` takes a request
back that the broker did not carry out; the other steps are reported by the broker or taken by us. Late fills after an
end are booked without moving the state, except that a complete fill is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import (
    BrokerExecution,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    word,
)
from liualgotrader.common.orders import OrderState as S
from liualgotrader.common.rows import TradeRow

_PRICE_STEP = Decimal("0.000001")  # of an average price


class OrderStep(StrEnum):
    """What can happen to an order."""

    SENT = "sent"
    REFUSED = "refused"
    SILENCE = "silence"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    NOT_THERE = "not_there"  # the broker does not know it and will not any more
    APPEARED = "appeared"  # the broker has it after all
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCEL_ASKED = "cancel_asked"
    REPLACE_ASKED = "replace_asked"
    REOPENED = "reopened"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"


_ENDS = {
    OrderStep.FILLED: S.FILLED,
    OrderStep.CANCELED: S.CANCELED,
    OrderStep.EXPIRED: S.EXPIRED,
    OrderStep.REPLACED: S.REPLACED,
    OrderStep.REJECTED: S.REJECTED,
}
_KNOWN = {
    OrderStep.ACKNOWLEDGED: S.ACKNOWLEDGED,
    OrderStep.PARTIALLY_FILLED: S.PARTIALLY_FILLED,
    OrderStep.CANCEL_ASKED: S.PENDING_CANCEL,
    OrderStep.REPLACE_ASKED: S.PENDING_REPLACE,
    **_ENDS,
}
_COMPLETED_LATE = {OrderStep.FILLED: S.FILLED}

TABLE: Mapping[S, Mapping[OrderStep, S]] = {
    S.WRITTEN: {OrderStep.SENT: S.SENT, OrderStep.REFUSED: S.REFUSED, OrderStep.CANCELED: S.CANCELED},
    S.SENT: {OrderStep.SILENCE: S.UNKNOWN, OrderStep.NOT_THERE: S.REJECTED, **_KNOWN},
    S.UNKNOWN: {OrderStep.SENT: S.SENT, OrderStep.NOT_THERE: S.REJECTED, **_KNOWN},
    S.ACKNOWLEDGED: {k: v for k, v in _KNOWN.items() if k is not OrderStep.ACKNOWLEDGED},
    S.PARTIALLY_FILLED: {
        k: v for k, v in _KNOWN.items() if k not in (OrderStep.ACKNOWLEDGED, OrderStep.PARTIALLY_FILLED)
    },
    S.PENDING_CANCEL: {OrderStep.REOPENED: S.ACKNOWLEDGED, **_ENDS},
    S.PENDING_REPLACE: {OrderStep.REOPENED: S.ACKNOWLEDGED, OrderStep.CANCEL_ASKED: S.PENDING_CANCEL, **_ENDS},
    S.FILLED: {},
    S.CANCELED: _COMPLETED_LATE,
    S.EXPIRED: _COMPLETED_LATE,
    S.REPLACED: _COMPLETED_LATE,
    S.REJECTED: {OrderStep.APPEARED: S.ACKNOWLEDGED, **_COMPLETED_LATE},
    S.REFUSED: {},
}

OF_BROKER: Mapping[S, OrderStep] = {state: step for step, state in _KNOWN.items()}
"""The step that the broker's own view of an order stands for."""


def after(state: S, step: OrderStep, *, filled: bool = False) -> S | None:
    """Return the state after `step`, None if it changes nothing; `filled` says whether anything has been booked.

    >>> after(S.SENT, Step.ACKNOWLEDGED)
    <OrderState.ACKNOWLEDGED: 'acknowledged'>
    >>> after(S.FILLED, Step.CANCELED) is None
    True
    """
    new = TABLE[state].get(step)
    if new is S.ACKNOWLEDGED and filled:
        new = S.PARTIALLY_FILLED
    return None if new is state else new


Part = tuple[Decimal, Decimal]  # (low, high] of an order's shares in the order they traded


class FillCoverage(msgspec.Struct, gc=False):
    """The executions booked of an order, and the `parts` they cover: `(cumulative - quantity, cumulative]`.

    Neither a second delivery nor another order of arrival counts anything twice.
    """

    parts: list[Part] = []
    executions: set[str] = set()

    def add(self, execution_id: str, cumulative: Decimal, quantity: Decimal) -> Decimal:
        """Take note of an execution and return how many of its shares had not been covered before."""
        if execution_id in self.executions:
            return ZERO
        self.executions.add(execution_id)
        low, high, fresh = cumulative - quantity, cumulative, quantity
        for a, b in self.parts:
            if a < high and b > low:
                fresh -= min(high, b) - max(low, a)
        if fresh > 0:
            self.cover((low, high))
        return fresh

    def cover(self, *new: Part) -> None:
        """Take note of parts that are booked."""
        merged: list[Part] = []
        for low, high in sorted((*self.parts, *new)):
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        self.parts = merged

    def place_rest(self, booked: Decimal) -> None:
        """Assign booked shares of unknown place to the lowest uncovered ranges."""
        left = booked - sum((b - a for a, b in self.parts), ZERO)
        low, found = ZERO, list[Part]()
        for a, b in self.parts:
            taken = max(ZERO, min(left, a - low))
            found.append((low, low + taken))
            low, left = b, left - taken
        found.append((low, low + left))
        self.cover(*((a, b) for a, b in found if b > a))

    def hole(self, traded: Decimal) -> Part | None:
        """Return the first part of the `traded` shares that no booked execution covers."""
        low = ZERO
        for a, b in self.parts:
            if a > low:
                return low, min(a, traded)
            low = max(low, b)
        return (low, traded) if low < traded else None


WORKING = frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED})


class Origin(StrEnum):
    """Whose idea an order was."""

    STRATEGY = "strategy"
    DESK = "desk"  # closes a position: liquidation, caretaker, kill switch
    LEG = "leg"  # an exit that the broker keeps for a bracket
    EARLIER = "earlier"  # sent by an earlier batch, and taken over with the position that it leaves
    ADOPTED = "adopted"  # found at the broker under one of our ids, not in the journal


class DeskOrder(msgspec.Struct, eq=False, gc=False):
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
    coverage: FillCoverage = msgspec.field(default_factory=FillCoverage)
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

    def excludes(self, other: DeskOrder) -> bool:
        """Whether only one of two can trade: a replacement or what it replaces, one of the exits of a bracket."""
        bound = bool(self.group) and self.group in (other.group, other.client_order_id)
        return other.client_order_id == self.predecessor or (bound and other.side is self.side)

    @property
    def rests(self) -> bool:
        """Whether the broker keeps it working for a price, and nothing is being done about it."""
        rests = self.state in WORKING and self.intent.type is not OrderType.MARKET
        return rests and not self.missing and not self.cancel_wanted

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

    def execution(
        self, name: str, quantity: Decimal, price: Decimal, at: int, *, cumulative: Decimal, fee: Decimal = ZERO
    ) -> BrokerExecution:
        """Return an execution of the order as a broker would report it."""
        broker_id, symbol, side = self.broker_order_id, self.symbol, self.side
        return BrokerExecution(name, broker_id, symbol, side, quantity, price, fee, at, cumulative)

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
            name = f"reconciled:{self.broker_order_id}:{plain(high)}"
            yield self.execution(name, high - low, price, at, cumulative=high + self.offset)
            before, hole = hole, self.coverage.hole(self.reported_filled)


def trade_row(
    order: DeskOrder, execution: BrokerExecution, shares: Decimal, algo_run_id: int, account_id: int | None
) -> TradeRow:
    """Return what is stored of an execution, `shares` of which are new."""
    return TradeRow(
        execution_id=execution.execution_id,
        client_order_id=order.client_order_id,
        algo_run_id=algo_run_id,
        symbol=order.symbol,
        operation=word(order.side),
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
