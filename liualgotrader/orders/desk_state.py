"""The desk's memory, and the changes that concern several of its parts: states, bookings, rows and news.

Whatever changes an order goes through `move` or `book`, so that its row, its event, its news and the exposure it
makes change together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from liualgotrader.common.clock import HOUR, MINUTE, NEVER, SECOND
from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.order_id import PREFIX, OrderId, batch_part, replacement_id
from liualgotrader.common.orders import (
    AccountNews,
    BrokerExecution,
    Fill,
    OrderIntent,
    OrderNews,
    OrderState,
    OrderType,
    Protection,
    Side,
    word,
)
from liualgotrader.common.rows import ForeignRow, OrderEventRow, OrderRow, PlanRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.orders.desk_books import Day, Orders, Position, Positions, worst_price
from liualgotrader.orders.desk_messages import Begin, DeskTerms, LookUp, Reconcile, Send
from liualgotrader.orders.desk_parts import Alarms, BrokerView, Closings, DeskSlot, Due, Outputs, Quarantine, Slots
from liualgotrader.orders.order import DeskOrder, OrderStep, Origin, after, trade_row

KILL_SWITCH = "kill_switch"  # the condition that holds until `Resume`
FIRST_LOOK_BACK = 24 * HOUR
LOOK_BACK = MINUTE  # market time that questions about the broker's books overlap
_NO_DETAILS: dict[str, Any] = {}
LONGEST_WAIT = 30  # machine seconds between two attempts to read them


class DeskState:
    """All that the desk remembers, in parts that change their own fields."""

    def __init__(self, begin: Begin, outputs: Outputs) -> None:
        self.terms: DeskTerms = begin.terms
        self.generation = begin.generation
        self.now = 0
        self.machine = 0
        self.outputs = outputs
        self.orders = Orders()
        self.positions = Positions(self.orders)
        self.quarantine = Quarantine()
        self.closings = Closings()
        self.broker_view = BrokerView()
        self.day = Day()
        self.slots = Slots()
        self.funds: dict[int, Decimal] = {}  # by account, what it could spend when the batch's journal began
        self.conditions: dict[str, str] = {}  # name -> why nothing is opened
        self.market = Alarms(self._alive)
        self.machine_alarms = Alarms(self._alive)
        self.changed: deque[DeskOrder] = deque()  # orders that have ended or filled during this input
        self.fills = 0
        self._fills_in: dict[str, int] = {}  # symbol -> number of the newest fill in it
        # (slot, symbol, cause) of the failed exits that a person knows of.
        self._failed_exits_reported: set[tuple[int, str, str]] = set()
        self._disbelieved: set[tuple[int, str, str]] = set()  # executions that go beyond their order
        self.take_terms(begin)

    def take_terms(self, begin: Begin) -> None:
        """Go on under these terms and this lease."""
        self.terms, self.generation = begin.terms, begin.generation
        self.batch = batch_part(begin.terms.batch_id)  # in the ids of its orders
        self._take_slots(begin.terms.slots)

    def join(self, slots: Sequence[SlotPlan]) -> None:
        """Go on with these slots too."""
        known = {plan.slot for plan in self.terms.slots}
        fresh = tuple(plan for plan in slots if plan.slot not in known)
        self.terms = msgspec.structs.replace(self.terms, slots=(*self.terms.slots, *fresh))
        self._take_slots(fresh)

    def _take_slots(self, slots: Sequence[SlotPlan]) -> None:
        for plan in slots:
            slot = self.slots.setdefault(plan.slot, DeskSlot(plan.slot, plan, plan.strategy, plan.day_trade))
            if slot.plan is None or slot.plan.day_trade != plan.day_trade:  # else what it declared since counts
                slot.day_trade = plan.day_trade
            slot.plan = plan
            if plan.account_id is not None and plan.funds is not None:
                self.funds.setdefault(plan.account_id, plan.funds)
            slot.stopped = slot.stopped or plan.stopped

    def _alive(self, due: Due, key: Any) -> bool:
        if due is Due.CLOSE:
            return key in self.closings
        if due is Due.WAITED:
            return key in self.orders.waiting
        if due in (Due.EXPIRE, Due.CANCEL_AGAIN, Due.LOOK_UP):
            order = self.orders.by_id.get(key)
            return order is not None and not order.is_done
        return True

    # --- books against the account

    def there(self, symbol: str) -> Decimal:
        """Return the signed shares that the account holds, as far as we know."""
        return self.positions.ours(symbol) + self.broker_view.beyond(symbol)

    def lacking(self, symbol: str) -> bool:
        """Whether the account has less of a symbol than our books say."""
        view = self.broker_view
        return bool(view.foreign or view.differences) and self.positions.ours(symbol) * view.beyond(symbol) < 0

    def set_foreign(self, symbol: str, shares: Decimal) -> None:
        """Take note of shares that are not ours, in the record too."""
        self.broker_view.foreign[symbol] = shares
        self.outputs.write(ForeignRow(self.terms.batch_id, symbol, shares, self.now))

    def has_moved(self, symbol: str) -> bool:
        """Whether a fill in a symbol came after the broker's books were asked for."""
        return self.broker_view.has_moved(self._fills_in.get(symbol, 0))

    def ask_reconcile(self) -> None:
        """Ask for the broker's books, once the question that is out has been answered."""
        if not self.broker_view.begin_question(self.fills):
            return
        if compared_at := self.broker_view.compared_at:
            oldest = min((o.written_at for o in self.orders.all_working()), default=self.now)
            since = min(oldest, compared_at) - LOOK_BACK
        else:
            opens_at = self.terms.hours.opens_at
            since = (min(self.now, opens_at) if opens_at > 0 else self.now) - FIRST_LOOK_BACK
        self.outputs.append(Reconcile(since))

    def next_reconcile(self, *, ok: bool) -> None:
        """Set the alarm for the next question: by market time after an answer, by machine time after a failure."""
        view = self.broker_view
        failures = view.answered(self.now, ok=ok)
        if not ok:
            self.machine_alarms.set(self.machine + min(2**failures, LONGEST_WAIT) * SECOND, Due.RECONCILE)
            return
        wait = SECOND if view.suspects else int(self.terms.timings.reconcile_seconds * SECOND)
        self.market.set(self.now + wait, Due.RECONCILE)
        if not view.wants_more:
            return
        if any(o.misses for o in self.orders.all_working()):  # the vendor's record may need a moment
            self.machine_alarms.set(self.machine + SECOND, Due.RECONCILE)
        else:
            self.ask_reconcile()

    # --- orders ------------------------------------------------------------------------------------

    def enter(self, order: DeskOrder, details: dict[str, Any]) -> None:
        """Take an approved or adopted order in: its row, its first event and the news that it is written down."""
        self.orders.add(order)
        self.note(order, "adopted" if order.origin is Origin.ADOPTED else "approved", details)
        self.tell_state(order, "")

    def refuse(self, order: DeskOrder, rule: str, detail: str) -> None:
        """Store an order that risk refused, and tell its slot by which rule."""
        self.orders.add_ended(order)
        order.state = OrderState.REFUSED
        order.reason = rule
        self.note(order, "refused", {"rule": rule, "detail": detail})
        self.tell_state(order, rule)
        if order.side.sign * self.positions.held(order.slot, order.symbol) < 0 and not self.terms.shadow:
            self.exit_failed(order, rule, f"refused by the rule {rule}: {detail}")

    def exit_failed(self, order: DeskOrder, cause: str, what: str) -> None:
        """Tell a person, once for each cause until an exit trades again, that a strategy does not get out."""
        key = order.slot, order.symbol, cause
        if key not in self._failed_exits_reported:
            self._failed_exits_reported.add(key)
            strategy = self.slots[order.slot].strategy or f"slot {order.slot}"
            self.outputs.warn("WARNING", f"{order.symbol}: an exit of {strategy} was {what}")

    def send(self, order: DeskOrder) -> None:
        """Decide that the order goes out (again), and count it against the rate."""
        self.move(order, OrderStep.SENT)
        self.orders.sent.append(self.now)
        self.outputs.append(Send(order.intent))

    def move(self, order: DeskOrder, step: OrderStep, *, at: int = 0, reason: str = "") -> None:
        """Take one step of the table, if it changes anything."""
        new = after(order.state, step, filled=bool(order.filled))
        if new is None:
            return
        had_ended, order.state = order.state.is_final, new
        order.updated_at = at or self.now
        if reason:
            order.reason = reason
        if new.is_final and new is not OrderState.REJECTED:  # then what it was to replace is taken back
            order.cancel_wanted = ""
        if new is not OrderState.SENT:  # stored and shown as written: the answer follows at once
            self.note(order, word(new), {"reason": reason} if reason else _NO_DETAILS, at)
            self.tell_state(order, reason)
        if new.is_final or had_ended:  # else it works as before
            self.orders.keep(order)
        if new.is_final:
            self._has_changed(order)

    def look_up(self, order: DeskOrder) -> None:
        """Ask the broker what it knows about an order, unless that question is out already."""
        self.machine_alarms.forget(Due.LOOK_UP, order.client_order_id)
        if not order.asked_for:
            order.asked_for = True
            self.outputs.append(LookUp(order.client_order_id, order.symbol))

    def note(self, order: DeskOrder, event: str, details: dict[str, Any], at: int = 0) -> None:
        """Store something that happened to an order, and its newest row."""
        order.events += 1
        self.outputs.write(OrderEventRow(order.client_order_id, order.events, event, at or self.now, details))
        self.write(order)

    def write(self, order: DeskOrder) -> None:
        """Store an order's newest row, or remember that it is to be made."""
        order.stored_filled = order.filled
        if (later := self.outputs.orders) is None:
            self.outputs.write(self._row(order))
        else:
            later[order.client_order_id] = order

    def take_order_rows(self) -> dict[str, OrderRow]:
        """Return the newest rows of the orders that something has happened to since the last call, by client order id."""
        later = self.outputs.orders or {}
        rows = {name: self._row(order) for name, order in later.items()}
        later.clear()
        return rows

    def resize(self, order: DeskOrder, quantity: Decimal) -> None:
        """Take another quantity of an order from the broker; store and tell it if the order works."""
        order.quantity = quantity
        self.orders.keep(order)
        if order.state in (OrderState.ACKNOWLEDGED, OrderState.PARTIALLY_FILLED):
            self.note(order, "restated", {"quantity": str(plain(quantity))})
            self.tell_state(order, "")

    def tell_state(self, order: DeskOrder, reason: str) -> None:
        """Tell the order's slot where it stands."""
        slot, intent = self.slots[order.slot], order.intent
        self.outputs.tell(
            slot,
            OrderNews(
                seq=slot.next_news,
                slot=order.slot,
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                state=order.state,
                at=order.updated_at,
                quantity=order.quantity,
                filled_quantity=order.filled,
                reason=reason,
                chain=self.orders.root(order).client_order_id if order.predecessor else "",
                type=intent.type,
                limit_price=intent.limit_price,
                stop_price=intent.stop_price,
            ),
        )

    def _row(self, order: DeskOrder) -> OrderRow:
        """Return the order's newest row: one that an earlier batch sent stays that batch's."""
        intent, plan = order.intent, self.slots[order.slot].plan
        batch_id, slot, algo_run_id = self.terms.batch_id, order.slot, plan.algo_run_id if plan is not None else 0
        if order.origin is Origin.EARLIER:
            was = self.orders.earlier[order.client_order_id][0].order
            batch_id, slot, algo_run_id = was.batch_id, was.slot, was.algo_run_id
        return OrderRow(
            client_order_id=order.client_order_id,
            batch_id=batch_id,
            slot=slot,
            algo_run_id=algo_run_id,
            generation=self.generation,
            symbol=order.symbol,
            side=word(order.side),
            quantity=order.quantity,
            type=word(intent.type),
            time_in_force=intent.time_in_force,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            state=word(order.state),
            broker_order_id=order.broker_order_id or None,
            filled_quantity=order.filled,
            average_price=order.average_price if order.filled else None,
            reason=order.reason,
            planned_stop=intent.planned_stop,
            planned_target=intent.planned_target,
            indicators=intent.indicators,
            decided_at=intent.decided_at,
            updated_at=order.updated_at,
        )

    # --- fills -------------------------------------------------------------------------------------

    def book(self, order: DeskOrder, execution: BrokerExecution) -> bool:
        """Book what is new in an execution: position, row, news. False if all of it was booked before, or cannot be true."""
        beyond = execution.cumulative_quantity - order.offset - order.quantity
        if beyond > 0:
            key = order.slot, order.symbol, execution.execution_id
            if key not in self._disbelieved:
                what = f"execution {execution.execution_id} of {plain(execution.quantity)} shares"
                text = f"the broker reports {what}, {plain(beyond)} beyond the order: not booked"
                self.outputs.warn("ERROR", f"{order.client_order_id}: {text}")
            self._disbelieved.add(key)
            return False
        fresh = order.count(execution)
        if not fresh:
            return False
        if fresh is not execution.quantity and fresh != execution.quantity:
            self.outputs.warn(
                "ERROR",
                f"{order.client_order_id}: execution {execution.execution_id} overlaps others; {fresh} of it are new",
            )
        order.reported_filled = max(order.reported_filled, order.filled)
        order.misses = 0
        self.take(order, execution, fresh, order.filled)
        if (plan := self.slots[order.slot].plan) is not None:
            self.outputs.write(trade_row(order, execution, fresh, plan.algo_run_id, plan.account_id))
        if self._failed_exits_reported and not order.opening:
            self._failed_exits_reported = {
                key for key in self._failed_exits_reported if key[:2] != (order.slot, order.symbol)
            }
        self.orders.keep(order)
        self._has_changed(order)
        return True

    def _has_changed(self, order: DeskOrder) -> None:
        if not self.changed or self.changed[-1] is not order:  # a fill that ends it is looked at once
            self.changed.append(order)

    def take(self, order: DeskOrder, execution: BrokerExecution, shares: Decimal, filled: Decimal) -> None:
        """Move the slot's position by shares of an execution that makes the order `filled` so far, and tell the slot."""
        slot, signed = self.slots[order.slot], shares * order.side.sign
        position = self.positions.take(order.slot, order.symbol, signed, execution.price)
        before = position.quantity - signed
        if order.slot:  # slot 0 closes what no strategy owns
            slot.cash -= signed * execution.price + execution.fee
            slot.booked -= signed * execution.price + execution.fee
            self.day.trade(order.symbol, signed, execution.price, execution.fee)
        position.filled_at = max(position.filled_at, execution.at)
        if position.quantity * order.side.sign > 0:  # it grew, by stop and target as they were when it was decided
            intent, decided_at = order.intent, self.orders.root(order).intent.decided_at
            opened = before * position.quantity <= 0
            if not position.grown_by(intent.planned_stop, intent.planned_target, decided_at, opened=opened):
                self.write_plan(order.slot, order.symbol, position)  # the fill's own row states the order's
        self.fills += 1
        self._fills_in[order.symbol] = self.fills
        self.outputs.tell(
            slot,
            Fill(
                seq=slot.next_news,
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

    def protect(self, slot: int, symbol: str, stop: Decimal | None, target: Decimal | None, decided_at: int) -> None:
        """Store the plan of a position, unless a newer one stands, and tell its slot what is stored."""
        position = self.positions.position(slot, symbol)
        if position.protect(stop, target, decided_at) and position.quantity:
            self.write_plan(slot, symbol, position)
        self.tell_protection(slot, symbol, position)

    def write_plan(self, slot: int, symbol: str, position: Position) -> None:
        """Store the plan of a position."""
        plan = self.slots[slot].plan
        if plan is not None:
            at = max(self.now, position.filled_at)  # by the broker's clock, if that is ahead: the record goes by time
            row = PlanRow(plan.algo_run_id, symbol, at, position.planned_stop, position.planned_target)
            self.outputs.write(row)

    def may_open(self, order: DeskOrder) -> bool:
        """Whether an order could open or grow its slot's position, all of it traded."""
        held = self.positions.held(order.slot, order.symbol)
        return held * order.side.sign >= 0 or order.remaining > abs(held)

    def funds_for(self, order: DeskOrder) -> Decimal | None:
        """Return what the portfolio of an order's slot may still spend, US dollars, None if it has none.

        It is what the account had, with what all fills of its slots have moved since, less what working entries may cost.
        """
        plan = self.slots[order.slot].plan
        account = plan.account_id if plan is not None else None
        if account is None or account not in self.funds:
            return None
        mine = {s.number: s for s in self.slots.values() if s.plan is not None and s.plan.account_id == account}
        left = self.funds[account] + sum((slot.booked for slot in mine.values()), ZERO)
        for other in self.orders.all_working():
            if other.slot in mine and other.opening and other.side is Side.BUY and not order.excludes(other):
                left -= other.remaining * worst_price(other.intent, self.positions.valued_at(other.symbol))
        return left

    def gain(self) -> Decimal:
        """Return what our positions have gained in this batch, fees paid, at the newest prices known, else at their cost."""
        cash = sum((slot.cash for slot in self.slots.values()), ZERO)
        held = (
            p.quantity * self.positions.marks.get(s, p.average_price) for owner, s, p in self.positions.open() if owner
        )
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
        """Give a slot what its strategy holds from an earlier batch, as a fill without order or row."""
        position = self.positions.take(slot_number, symbol, quantity, price, traded=False)
        self.day.carry(symbol, quantity, restated=restated)
        slot = self.slots[slot_number]
        slot.cash -= quantity * price
        self.outputs.tell(
            slot,
            Fill(
                seq=slot.next_news,
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
        slot = self.slots[slot_number]
        stop, target = position.planned_stop, position.planned_target
        self.outputs.tell(slot, Protection(slot.next_news, slot_number, symbol, self.now, stop, target))

    def account_news(self) -> AccountNews:
        """Return the account's figures as consumers get them."""
        account = self.broker_view.account
        assert account is not None
        return AccountNews(
            at=self.now,
            equity=account.equity,
            cash=account.cash,
            buying_power=account.buying_power,
            entries_stopped=next(iter(self.conditions.values()), ""),
        )

    def condition(self, name: str, text: str, *, quiet: bool = False) -> None:
        """Stop entries for a reason, or (empty text) stop them for it no longer, and say so.

        `quiet` is for what every session begins and ends with: consumers are told, a person is not.
        """
        before = self.conditions.get(name, "")
        if text:
            self.conditions[name] = text
        else:
            self.conditions.pop(name, None)
        if bool(text) == bool(before):
            return
        if not quiet:
            self.outputs.warn(
                "WARNING" if text else "INFO", f"entries stopped: {text}" if text else f"no longer: {before}"
            )
        if self.broker_view.account is not None:
            self.outputs.announce(self.account_news())

    # --- ids ---------------------------------------------------------------------------------------

    def number_of(self, intent: OrderIntent) -> int | None:
        """Return the number in the id of an order, or of what replaces it, if it is one of this batch and its slot."""
        prefix = f"{PREFIX}{self.batch}-{intent.slot}-"
        if not intent.client_order_id.startswith(prefix):
            return None
        number = intent.client_order_id[len(prefix) :].partition("-")[0]
        return int(number) if number.isdecimal() else None

    def own_id(self, client_order_id: str) -> OrderId | None:
        """Return the parts of an id of this batch, None if it is not one."""
        parsed = OrderId.parse(client_order_id)
        return parsed if parsed is not None and parsed.batch == self.batch else None

    def replacement_id(self, root: DeskOrder) -> str:
        """Return the id of the next replacement in a chain; a bracket's exit has the broker's, which says nothing to us."""
        root.chain += 1
        if OrderId.parse(root.client_order_id) is not None:
            return replacement_id(root.client_order_id, root.chain)
        return self.next_own_id(self.slots[root.slot])

    def next_own_id(self, slot: DeskSlot) -> str:
        """Return the id of the slot's next order that the desk itself wants: number 0, and a count of its own."""
        slot.desk_orders += 1
        return str(OrderId(self.batch, slot.number, 0, slot.desk_orders))

    def own_order(
        self, origin: Origin, slot_number: int, symbol: str, signed: Decimal, reason: str, indicators: Mapping[str, Any]
    ) -> DeskOrder:
        """Return a market order of the desk's own for `signed` shares."""
        slot = self.slots[slot_number]
        intent = OrderIntent(
            client_order_id=self.next_own_id(slot),
            slot=slot_number,
            strategy=slot.strategy,
            symbol=symbol,
            side=Side.BUY if signed > 0 else Side.SELL,
            quantity=abs(signed),
            type=OrderType.MARKET,
            decided_at=self.now,
            valid_until=NEVER,
            indicators=dict(indicators),
            reason=reason,
        )
        return DeskOrder(intent, origin, self.now)
