"""All that the desk remembers, and the only hands that change it: states, bookings, rows and news.

Whatever changes an order goes through `move` or `book`, so that its row, its event, its news and the
exposure it makes change together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.order_id import OrderId, batch_part
from liualgotrader.common.orders import (
    AccountNews,
    BrokerAccount,
    BrokerActivity,
    BrokerExecution,
    Fill,
    OrderNews,
    OrderState,
    Protection,
    ReplaceIntent,
    Side,
    SlotNews,
)
from liualgotrader.common.rows import EarlierOrder, OrderEventRow, OrderRow, PlanRow, Row
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.orders.alarms import Alarms, Due, Key
from liualgotrader.orders.day import Day
from liualgotrader.orders.desk_messages import (
    Announce,
    Begin,
    Decision,
    DeskTerms,
    LookUp,
    Send,
    Tell,
    Warn,
    Write,
)
from liualgotrader.orders.order import DeskOrder, Orders, Origin, order_row, trade_row
from liualgotrader.orders.positions import Books, Position
from liualgotrader.orders.states import OrderStep, after

LIQUIDATION = {"liquidation": 1}
KILL_SWITCH = "kill_switch"  # the condition that holds until `Resume`


@dataclass(slots=True)
class DeskSlot:
    """One strategy in one consumer: what it said of itself, and all its news."""

    number: int
    plan: SlotPlan | None
    strategy: str = ""
    day_trade: bool = True  # as the plan says, until it declares itself
    cash: Decimal = ZERO  # dollars that its fills brought, less what it paid, fees and the cost of what it carries
    stopped: str = ""
    news: list[SlotNews] = field(default_factory=list)
    next_number: int = 1  # the lowest n that no order of it has used
    desk_orders: int = 0
    rejections: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  # -> (times, since)


@dataclass(slots=True)
class Closing:
    """A position that the desk is closing: orders are taken back first, then a market order goes out."""

    slot: int
    symbol: str
    reason: str
    indicators: Mapping[str, Any]
    tries: int = 0
    order_id: str = ""


@dataclass(slots=True)
class Reconciling:
    """Where the comparison with the broker's books stands."""

    out: bool = False  # asked for and not answered
    again: bool = False  # something came up meanwhile that it may have missed
    failures: int = 0
    fills_then: int = 0  # the newest fill when it was asked for
    done_at: int = 0  # market time of the newest one that was answered
    attached: bool = False  # the order stream was connected since the newest `Begin`: what is ours has been taken up
    opened: bool = False  # what is foreign has been recorded
    unopened: set[str] = field(default_factory=set)  # symbols of which it was not known then
    unread: dict[str, str] = field(default_factory=dict)  # symbol -> why nothing is opened in it until it can be read
    strangers: set[str] = field(default_factory=set)  # broker ids of other batches' orders named since the start
    suspects: dict[str, Decimal] = field(default_factory=dict)  # differences seen once
    sequence: int = 0  # newest number of the broker's order stream
    connections: int = 0  # of the broker's order stream
    connections_then: int = 0  # when it was asked for


class DeskState:
    """The desk's memory. `out` collects the decisions of the input being dealt with."""

    def __init__(self, begin: Begin) -> None:
        self.terms: DeskTerms = begin.terms
        self.generation = begin.generation
        self.now = 0
        self.machine = 0
        self.out: list[Decision] = []
        self.rows = 0
        self.fills = 0
        self.fills_in: dict[str, int] = {}  # symbol -> number of the newest fill in it
        self.orders = Orders()
        self.books = Books(self.orders)
        self.slots: dict[int, DeskSlot] = {}
        self.conditions: dict[str, str] = {}  # name -> why nothing is opened
        self.account: BrokerAccount | None = None
        self.day = Day()
        self.gain_then = ZERO  # what our positions had gained when the account was told, dollars
        self.activities: dict[str, BrokerActivity] = {}  # of the account, that are no trades, by id
        self.named: list[str] = []  # those of this session in words
        self.requests: deque[int] = deque()  # market instants of the orders sent to the broker in the last minute
        self.cancels: deque[int] = deque()  # and of the cancels, which take nothing from the exits' budget
        self.waiting: dict[str, DeskOrder] = {}  # approved exits that go out once something else has ended
        self.said: set[tuple[int, str, str]] = set()  # (slot, symbol, cause) of exits refused that a person was told of
        self.disbelieved: set[tuple[int, str, str]] = set()  # executions that go beyond their order
        self.replaces: set[ReplaceIntent] = set()  # those dealt with
        self.earlier: dict[str, tuple[EarlierOrder, DeskOrder]] = {}  # of earlier batches, by client id
        self.closings: dict[tuple[int, str], Closing] = {}
        self.flattening: dict[int | None, str] = {}  # slot (None: all) -> why nothing may stay open in it
        self.changed: deque[DeskOrder] = deque()  # orders that have ended or filled during this input
        self.reconciling = Reconciling()
        self.market = Alarms(self._alive)
        self.machine_alarms = Alarms(self._alive)
        self.take_terms(begin)

    def take_terms(self, begin: Begin) -> None:
        """Go on under these terms and this lease."""
        self.terms, self.generation = begin.terms, begin.generation
        self.batch = batch_part(begin.terms.batch_id)  # in the ids of its orders
        for plan in begin.terms.slots:
            slot = self.slots.setdefault(plan.slot, DeskSlot(plan.slot, plan, plan.strategy, plan.day_trade))
            if slot.plan is None or slot.plan.day_trade != plan.day_trade:  # else what it declared since counts
                slot.day_trade = plan.day_trade
            slot.plan = plan
            slot.stopped = slot.stopped or plan.stopped

    def slot(self, number: int) -> DeskSlot:
        """Return a slot, made if the plan does not have it."""
        return self.slots.setdefault(number, DeskSlot(number, None))

    def _alive(self, due: Due, key: Key) -> bool:
        if due is Due.CLOSE:
            return any(f"{slot}/{symbol}" == key for slot, symbol in self.closings)
        if due is Due.WAITED:
            return key in self.waiting
        if due in (Due.EXPIRE, Due.CANCEL_AGAIN, Due.LOOK_UP):
            order = self.orders.by_id.get(key)
            return order is not None and not order.is_done
        return True

    # --- decisions ---------------------------------------------------------------------------------

    def decide(self, decision: Decision) -> None:
        """Add a decision to those of the present input."""
        self.out.append(decision)

    def warn(self, level: str, text: str) -> None:
        """Say something to a person."""
        self.out.append(Warn(level, text))

    def write(self, row: Row) -> None:
        """Number a row for the database."""
        self.rows += 1
        self.out.append(Write(self.rows, row))

    def tell(self, slot: DeskSlot, make: Callable[[int], SlotNews]) -> None:
        """Make a slot's next item of news with its number, keep it and tell it."""
        news = make(len(slot.news) + 1)
        slot.news.append(news)
        self.out.append(Tell(slot.number, news))

    # --- orders ------------------------------------------------------------------------------------

    def enter(self, order: DeskOrder, details: Mapping[str, Any]) -> None:
        """Take an approved or adopted order in: its row, its first event and the news that it is written down."""
        self.orders.add(order)
        self._event(order, "adopted" if order.origin is Origin.ADOPTED else "approved", details)
        self.store(order)
        self.tell_state(order, "")
        self.books.touch(order.symbol)

    def refuse(self, order: DeskOrder, rule: str, detail: str) -> None:
        """Store an order that risk said no to, and tell its slot which rule did."""
        self.orders.by_id[order.client_order_id] = order
        order.state = OrderState.REFUSED
        order.reason = rule
        self._event(order, "refused", {"rule": rule, "detail": detail})
        self.store(order)
        self.tell_state(order, rule)
        if order.side.sign * self.books.held(order.slot, order.symbol) < 0 and not self.terms.shadow:
            self.exit_failed(order, rule, f"refused by the rule {rule}: {detail}")

    def exit_failed(self, order: DeskOrder, cause: str, what: str) -> None:
        """Tell a person, once for each cause until an exit trades again, that a strategy does not get out."""
        key = order.slot, order.symbol, cause
        if key not in self.said:
            self.said.add(key)
            strategy = self.slot(order.slot).strategy or f"slot {order.slot}"
            self.warn("WARNING", f"{order.symbol}: an exit of {strategy} was {what}")

    def send(self, order: DeskOrder) -> None:
        """Decide that the order goes out (again), and count it against the rate."""
        self.move(order, OrderStep.SENT)
        self.requests.append(self.now)
        self.out.append(Send(order.intent))

    def move(self, order: DeskOrder, step: OrderStep, *, at: int = 0, reason: str = "") -> bool:
        """Take one step of the table; False if it changes nothing."""
        new = after(order.state, step, filled=bool(order.filled))
        if new is None:
            return False
        order.state = new
        order.updated_at = at or self.now
        order.reason = reason or order.reason
        if new.is_final and new is not OrderState.REJECTED:  # then what it was to replace is taken back
            order.cancel_wanted = ""
        if new is not OrderState.SENT:  # told and stored as written; the answer follows at once
            self._event(order, str(new), {"reason": reason} if reason else {}, at)
            self.store(order)
            self.tell_state(order, reason)
        self.keep(order)
        if new.is_final:
            self.changed.append(order)
        return True

    def recent(self, instants: deque[int]) -> int:
        """Return how many of the instants lie in the last market minute, and forget the others."""
        since = self.now - MINUTE
        while instants and instants[0] <= since:
            instants.popleft()
        return len(instants)

    def keep(self, order: DeskOrder) -> None:
        """Keep the lists of working orders, and the exposure they make, true after an order has changed."""
        self.orders.settle(order)
        self.books.touch(order.symbol)

    def look_up(self, order: DeskOrder) -> None:
        """Ask the broker what it knows about an order, unless that question is out already."""
        self.machine_alarms.forget(Due.LOOK_UP, order.client_order_id)
        if not order.asked_for:
            order.asked_for = True
            self.out.append(LookUp(order.client_order_id, order.symbol))

    def note(self, order: DeskOrder, event: str, details: Mapping[str, Any]) -> None:
        """Store something that happened to an order without moving it."""
        self._event(order, event, details)
        self.store(order)

    def resize(self, order: DeskOrder, quantity: Decimal) -> None:
        """Take another quantity of an order from the broker; of one that works, row and slot are told."""
        order.quantity = quantity
        self.books.touch(order.symbol)
        if order.state in (OrderState.ACKNOWLEDGED, OrderState.PARTIALLY_FILLED):
            self.note(order, "restated", {"quantity": str(plain(quantity))})
            self.tell_state(order, "")

    def _event(self, order: DeskOrder, event: str, details: Mapping[str, Any], at: int = 0) -> None:
        order.events += 1
        self.write(OrderEventRow(order.client_order_id, order.events, event, at or self.now, dict(details)))

    def tell_state(self, order: DeskOrder, reason: str) -> None:
        """Tell the order's slot where it stands."""
        self.tell(
            self.slot(order.slot),
            lambda seq: OrderNews(
                seq=seq,
                slot=order.slot,
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                state=order.state,
                at=order.updated_at,
                quantity=order.quantity,
                filled_quantity=order.filled,
                reason=reason,
                chain=self.orders.root(order).client_order_id if order.leaves_room_of else "",
                type=order.intent.type,
                limit_price=order.intent.limit_price,
                stop_price=order.intent.stop_price,
            ),
        )

    def store(self, order: DeskOrder) -> None:
        """Write the order's newest row."""
        order.stored_filled = order.filled
        self.write(self.row(order))

    def row(self, order: DeskOrder) -> OrderRow:
        """Return the order as the database keeps it: one that an earlier batch sent stays that batch's."""
        plan = self.slot(order.slot).plan
        row = order_row(order, self.terms.batch_id, plan.algo_run_id if plan else 0, self.generation)
        if order.origin is not Origin.EARLIER:
            return row
        was = self.earlier[order.client_order_id][0].order
        return msgspec.structs.replace(row, batch_id=was.batch_id, slot=was.slot, algo_run_id=was.algo_run_id)

    # --- fills -------------------------------------------------------------------------------------

    def book(self, order: DeskOrder, execution: BrokerExecution) -> bool:
        """Book what is new in an execution: position, row, news. False if all of it was booked before, or cannot be true."""
        beyond = execution.cumulative_quantity - order.offset - order.quantity
        if beyond > 0:
            self._disbelieve(order, execution, beyond)
            return False
        fresh = order.count(execution)
        if not fresh:
            return False
        if fresh != execution.quantity:
            self.warn(
                "ERROR",
                f"{order.client_order_id}: execution {execution.execution_id} overlaps others; {fresh} of it are new",
            )
        order.told_filled = max(order.told_filled, order.filled)
        order.misses = 0
        self.take(order, execution, fresh, order.filled)
        if (plan := self.slot(order.slot).plan) is not None:
            self.write(trade_row(order, execution, fresh, plan.algo_run_id, plan.account_id))
        if self.said and not order.opening:
            self.said = {key for key in self.said if key[:2] != (order.slot, order.symbol)}
        self.keep(order)
        self.changed.append(order)
        return True

    def take(self, order: DeskOrder, execution: BrokerExecution, shares: Decimal, filled: Decimal) -> None:
        """Move the slot's position by shares of an execution that makes the order `filled` so far, and tell the slot."""
        before = self.books.held(order.slot, order.symbol)
        signed = shares * order.side.sign
        position = self.books.take(order.slot, order.symbol, signed, execution.price)
        if order.slot:  # slot 0 closes what is nobody's
            self.slot(order.slot).cash -= signed * execution.price + execution.fee
            self.day.trade(order.symbol, signed, execution.price, execution.fee)
        position.filled_at = max(position.filled_at, execution.at)
        self._plan(order, position, opened=before * position.quantity <= 0)
        self.fills += 1
        self.fills_in[order.symbol] = self.fills
        self._tell_fill(order, execution, shares, position, filled)

    def _disbelieve(self, order: DeskOrder, execution: BrokerExecution, beyond: Decimal) -> None:
        key = order.slot, order.symbol, execution.execution_id
        if key not in self.disbelieved:
            self.disbelieved.add(key)
            what = f"execution {execution.execution_id} of {plain(execution.quantity)} shares"
            self.warn(
                "ERROR",
                f"{order.client_order_id}: the broker reports {what}, {plain(beyond)} beyond the order: not booked",
            )

    def _plan(self, order: DeskOrder, position: Position, *, opened: bool) -> None:
        """An order that grows a position brings its stop and target with it, as they were when it was decided."""
        if position.quantity * order.side.sign <= 0:
            return
        decided_at = self.orders.root(order).intent.decided_at
        stop, target = order.intent.planned_stop, order.intent.planned_target
        if not position.grown_by(stop, target, decided_at, opened=opened):
            self._write_plan(order.slot, order.symbol, position)  # the fill's own row states the order's

    def protect(self, slot: int, symbol: str, stop: Decimal | None, target: Decimal | None, decided_at: int) -> None:
        """Store the plan of a position, unless a newer one stands, and tell its slot what is stored."""
        position = self.books.position(slot, symbol)
        if position.protect(stop, target, decided_at) and position.quantity:
            self._write_plan(slot, symbol, position)
        self.tell_protection(slot, symbol, position)

    def _write_plan(self, slot: int, symbol: str, position: Position) -> None:
        plan = self.slot(slot).plan
        if plan is not None:
            at = max(self.now, position.filled_at)  # by the broker's clock, if that is ahead: the record goes by time
            row = PlanRow(plan.algo_run_id, symbol, at, position.planned_stop, position.planned_target)
            self.write(row)

    def _tell_fill(
        self, order: DeskOrder, execution: BrokerExecution, shares: Decimal, position: Position, filled: Decimal
    ) -> None:
        self.tell(
            self.slot(order.slot),
            lambda seq: Fill(
                seq=seq,
                slot=order.slot,
                client_order_id=order.client_order_id,
                execution_id=execution.execution_id,
                symbol=order.symbol,
                side=order.side,
                quantity=shares,
                price=execution.price,
                fee=execution.fee,
                at=execution.at,
                cumulative_quantity=filled,
                remaining_quantity=max(ZERO, order.quantity - filled),
                position=plain(position.quantity),
                planned_stop=position.planned_stop,
                planned_target=position.planned_target,
                indicators=order.intent.indicators,
                liquidation=order.origin is Origin.DESK,
            ),
        )

    def may_open(self, order: DeskOrder) -> bool:
        """Whether an order could open or grow its slot's position, all of it traded."""
        held = self.books.held(order.slot, order.symbol)
        return held * order.side.sign >= 0 or order.remaining > abs(held)

    def gain(self) -> Decimal:
        """Return what our positions have gained in this batch, fees paid, at the newest prices known, else at their cost."""
        cash = sum((slot.cash for slot in self.slots.values()), ZERO)
        held = (p.quantity * self.books.marks.get(s, p.average_price) for owner, s, p in self.books.open() if owner)
        return cash + sum(held, ZERO)

    def carry(
        self,
        slot_number: int,
        symbol: str,
        quantity: Decimal,
        price: Decimal,
        name: str = "carried",
        *,
        restated: bool = False,
    ) -> Position:
        """Give a slot what its strategy holds from an earlier batch, told as a fill without an order or a row."""
        position = self.books.take(slot_number, symbol, quantity, price, traded=False)
        self.books.touch(symbol)
        self.day.carry(symbol, quantity, restated=restated)
        self.slot(slot_number).cash -= quantity * price
        self.tell(
            self.slot(slot_number),
            lambda seq: Fill(
                seq=seq,
                slot=slot_number,
                client_order_id="",
                execution_id=f"{name}:{self.terms.batch_id}:{slot_number}:{symbol}",
                symbol=symbol,
                side=Side.BUY if quantity > 0 else Side.SELL,
                quantity=abs(quantity),
                price=price,
                fee=ZERO,
                at=self.now,
                cumulative_quantity=abs(quantity),
                remaining_quantity=ZERO,
                position=plain(position.quantity),
            ),
        )
        return position

    def tell_protection(self, slot_number: int, symbol: str, position: Position) -> None:
        """Tell a slot the stop and target that are stored for its position."""
        self.tell(
            self.slot(slot_number),
            lambda seq: Protection(
                seq=seq,
                slot=slot_number,
                symbol=symbol,
                at=self.now,
                planned_stop=position.planned_stop,
                planned_target=position.planned_target,
            ),
        )

    def account_news(self) -> AccountNews:
        """Return the account's figures as consumers are told them."""
        assert self.account is not None
        return AccountNews(
            at=self.now,
            equity=self.account.equity,
            cash=self.account.cash,
            buying_power=self.account.buying_power,
            entries_stopped=next(iter(self.conditions.values()), ""),
        )

    def condition(self, name: str, text: str, *, quiet: bool = False) -> None:
        """Stop entries for a reason, or (empty text) stop them for it no longer, and say so.

        `quiet` is for what belongs to every session's beginning and end: consumers are told, a person is not.
        """
        before = self.conditions.get(name, "")
        if text:
            self.conditions[name] = text
        else:
            self.conditions.pop(name, None)
        if bool(text) == bool(before):
            return
        if not quiet:
            self.warn("WARNING" if text else "INFO", f"entries stopped: {text}" if text else f"no longer: {before}")
        if self.account is not None:
            self.out.append(Announce(self.account_news()))

    # --- ids ---------------------------------------------------------------------------------------

    def desk_order_id(self, slot: DeskSlot) -> str:
        """Return the id of the slot's next order that the desk itself wants: number 0, and a count of its own."""
        slot.desk_orders += 1
        return str(OrderId(self.batch, slot.number, 0, slot.desk_orders))
