"""The order desk: an input and two clocks in, decisions out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from liualgotrader.common.control import DeskPosition, DeskView, WorkingOrder
from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import (
    BrokerAccount,
    BrokerUpdate,
    CancelIntent,
    Declare,
    OrderIntent,
    OrderState,
    Protect,
    ReplaceIntent,
    SlotNews,
)
from liualgotrader.common.rows import OrderRow, TradedBefore
from liualgotrader.orders import account_state, broker_side, closing, exits, intents, rebuilding, reconcile, resolving
from liualgotrader.orders import desk_messages as messages
from liualgotrader.orders.desk_books import Day
from liualgotrader.orders.desk_parts import Due, Outputs
from liualgotrader.orders.desk_state import KILL_SWITCH, DeskState
from liualgotrader.orders.order import DeskOrder, OrderStep, Origin

LEAVING = "leaving"
LIFETIME_OVER = "its lifetime has passed"
MOST_TURNS = 1000  # of the consequences of what one input changed; more is a bug


class Desk:
    """Everything about orders, decided from inputs alone: the same inputs in the same order give the same state,
    the same numbered rows and the same news.

    The first input is `Begin`. After a restart the journaled inputs are decided again, their commands thrown
    away, and a new `Begin` asks for the fate of whatever was under way.

    With `DirectOutputs` rows and news are no decisions, and `take_order_rows` makes the rows of orders.
    """

    def __init__(self, outputs: Outputs | None = None) -> None:
        self._state: DeskState | None = None
        self._outputs = Outputs() if outputs is None else outputs

    # --- deciding ----------------------------------------------------------------------------------

    def decide(self, message: messages.Input, now: int, machine: int) -> list[messages.Decision]:
        """Return what follows from one input, in order; `now` is market time and `machine` machine time, ns.

        Carry out the decisions only after the input is on disk.
        """
        state = self._state
        if isinstance(message, messages.Begin):
            restarted = state is not None
            state = self._state = state or DeskState(message, self._outputs)
            state.now, state.machine = now, machine
            on_begin(state, message, restarted=restarted)
        else:
            if state is None:
                state = self.state  # which says what is missing
            state.now, state.machine = now, machine
            _HANDLERS[type(message)](state, message)
        if state.changed:
            _follow_changes(state)
        return state.outputs.take()

    @property
    def state(self) -> DeskState:
        """The desk's memory; only its own modules and tests read it."""
        if self._state is None:
            raise RuntimeError("the desk's first input must be Begin")
        return self._state

    def take_order_rows(self) -> dict[str, OrderRow]:
        """Return the newest rows of the orders that something has happened to since the last call, by client order id."""
        return self.state.take_order_rows()

    # --- what its owner needs to know ----------------------------------------------------------------

    @property
    def next_market(self) -> int:
        """The market instant at which it wants a `Tick`, `NEVER` if it waits for none."""
        return self.state.market.next()

    @property
    def next_machine(self) -> int:
        """The machine instant at which it wants a `Tick`; while there is one, an order's fate is being found out."""
        return self.state.machine_alarms.next()

    def relevant(self, snapshot: messages.BrokerSnapshot) -> messages.BrokerSnapshot:
        """Return what of a snapshot is worth writing down and deciding on."""
        return reconcile.relevant(self.state, snapshot)

    def news(self, slot: int) -> Sequence[SlotNews]:
        """Return all news of a slot, numbered 1 upwards."""
        return self.state.slots[slot].news

    def held(self) -> list[str]:
        """Return the symbols of which a slot holds something."""
        return sorted(self.state.positions.symbols())

    def caretaken(self) -> list[str]:
        """Return the symbols whose prices the caretaker needs: positions of stopped slots with a stop or a target."""
        state = self.state
        guarded = (
            symbol
            for slot, symbol, p in state.positions.open()
            if state.slots[slot].stopped and (p.planned_stop is not None or p.planned_target is not None)
        )
        return sorted(set(guarded))

    def day_trade_slots(self) -> list[int]:
        """Return the slots whose positions must not stay overnight."""
        return sorted(slot.number for slot in self.state.slots.values() if slot.day_trade)

    @property
    def is_killed(self) -> bool:
        """Whether the kill switch is on; putting it on again would also take back the exits sent since."""
        return KILL_SWITCH in self.state.conditions

    @property
    def has_compared(self) -> bool:
        """Whether the broker's books have been compared with ours since the newest `Begin`."""
        return reconcile.WAITING not in self.state.conditions

    @property
    def has_opened(self) -> bool:
        """Whether what the account held at the start was divided into ours from before and foreign."""
        return self.state.broker_view.opened

    @property
    def has_entries(self) -> bool:
        """Whether an order that could open a position still works."""
        return any(o.opening for o in self.state.orders.all_working())

    @property
    def has_exits_under_way(self) -> bool:
        """Whether exits have yet to trade or end that do not rest: sent or about to be, at market, or being taken back."""
        return any(not o.opening and not o.rests for o in self.state.orders.all_working())

    @property
    def has_closings(self) -> bool:
        """Whether the desk is closing positions."""
        return bool(self.state.closings)

    @property
    def account(self) -> BrokerAccount | None:
        """The account as last reported by the broker, None before the first report."""
        return self.state.broker_view.account

    @property
    def generation(self) -> int:
        """The lease generation of the newest `Begin`."""
        return self.state.generation

    @property
    def entries_stopped(self) -> Mapping[str, str]:
        """Why nothing is opened now, by condition."""
        return self.state.conditions

    @property
    def strategies(self) -> Mapping[int, str]:
        """The strategy in each slot."""
        return {slot.number: slot.strategy for slot in self.state.slots.values()}

    def working(self) -> list[str]:
        """Return the client order ids of the orders that may still trade."""
        return [order.client_order_id for order in self.state.orders.all_working()]

    def earlier_batches(self) -> list[str]:
        """Return the batches whose orders were brought up to date."""
        return sorted({left.order.batch_id for left, _ in self.state.orders.earlier.values()})

    def has_taken_up(self, held: messages.Carried | messages.Restated | messages.Missing) -> bool:
        """Whether what a slot held before the batch is known already."""
        if isinstance(held, messages.Missing):
            return (held.slot, held.symbol) in self.state.quarantine.missing
        return bool(self.state.positions.held(held.slot, held.symbol))

    @property
    def equity_floor(self) -> Decimal | None:
        """The equity, dollars, below which prices make the day's loss stop entries, or then close everything; None: neither."""
        return account_state.equity_floor(self.state)

    def facts(self) -> DeskView:
        """Return what the desk shows of itself now."""
        state, marks = self.state, self.state.positions.marks
        positions = tuple(
            DeskPosition(
                slot=slot,
                strategy=state.slots[slot].strategy,
                symbol=symbol,
                quantity=p.quantity,
                average_price=p.average_price,
                last=marks.get(symbol),
                stop=p.planned_stop,
                resting_stop=state.orders.resting_stop(slot, symbol, p.quantity),
                target=p.planned_target,
                day_trade=state.slots[slot].day_trade,
            )
            for slot, symbol, p in state.positions.open()
        )
        realized = {slot.strategy: ZERO for slot in state.slots.values() if slot.number}
        for slot in state.slots.values():
            if slot.number:
                held = (p.quantity * p.average_price for _, _, p in state.positions.open(slot.number))
                realized[slot.strategy] += slot.cash + sum(held, ZERO)
        account, equity, account_gain = state.broker_view.account, None, None
        if account is not None and account.equity is not None:  # brought forward to the newest prices of our positions
            equity = account.equity + state.gain() - state.broker_view.gain_then
            account_gain = None if account.last_equity is None else round(equity - account.last_equity, 2)
        began_with = state.day.began_with
        return DeskView(
            positions=positions,
            unprotected=tuple(p for p in positions if p.stop is None and p.resting_stop is None),
            open_orders=tuple(
                WorkingOrder(
                    client_order_id=order.client_order_id,
                    slot=order.slot,
                    strategy=state.slots[order.slot].strategy,
                    symbol=order.symbol,
                    side=order.side,
                    quantity=order.intent.quantity,
                    filled=order.filled,
                    type=order.intent.type,
                    limit_price=order.intent.limit_price,
                    stop_price=order.intent.stop_price,
                    state=order.state,
                )
                for order in state.orders.all_working()
            ),
            foreign={symbol: shares for symbol, shares in state.broker_view.foreign.items() if shares},
            quarantined=dict(state.quarantine.reasons),
            entries_stopped=dict(state.conditions),
            realized=realized,
            equity=None if equity is None else round(equity, 2),
            account_gain=account_gain,
            day_gain=round(state.day.gain(marks), 2),
            day_began_with=None if began_with is None else round(began_with, 2),
            day_unknown=dict(state.day.unknown),
            activities=tuple(state.broker_view.named),
        )


def on_begin(state: DeskState, message: messages.Begin, *, restarted: bool) -> None:
    state.take_terms(message)
    state.broker_view.begin()
    state.conditions.pop(LEAVING, None)
    state.closings.allow(but_everything=True)
    state.condition(reconcile.WAITING, reconcile.WAITING_TEXT, quiet=True)
    hours = message.terms.hours
    if not hours.bypass and hours.liquidates_at > 0:
        state.market.set(hours.liquidates_at, Due.LIQUIDATE)
    if restarted:
        _ask_after_restart(state)


def on_begin_session(state: DeskState, message: messages.BeginSession) -> None:
    state.terms = msgspec.structs.replace(state.terms, hours=message.hours)
    if KILL_SWITCH not in state.conditions:
        state.closings.allow()
    state.conditions.pop(account_state.DAILY_LOSS, None)
    state.conditions.pop(LEAVING, None)
    state.day = Day()
    resolving.on_splits(state, message.splits)
    for _, symbol, position in state.positions.open():
        state.day.carry(symbol, position.quantity, restated=False)
        state.day.of(symbol).look(state.now, None, message.closes.get(symbol))
    state.orders.let_go()
    for slot in state.slots.values():
        slot.first_news = slot.next_news
        slot.news.clear()
    if message.hours.liquidates_at > 0:
        state.market.set(message.hours.liquidates_at, Due.LIQUIDATE)


def _follow_changes(state: DeskState) -> None:
    """Do what follows from orders having ended or filled."""
    turns = MOST_TURNS + len(state.changed)  # after an outage much may arrive at once
    while state.changed:
        if not turns:
            raise RuntimeError(f"the desk does not come to rest: {[o.client_order_id for o in state.changed]}")
        turns -= 1
        order = state.changed.popleft()
        if order.stored_filled != order.filled:
            state.write(order)
        rejections, kind = state.slots[order.slot].rejections, (order.symbol, str(order.side))
        if order.origin is not Origin.STRATEGY or order.state is OrderState.REFUSED:
            pass
        elif order.state is OrderState.REJECTED:  # how often in a row
            rejections[kind] = (rejections.get(kind, (0, 0))[0] + 1, state.now)
            if not order.opening:
                state.exit_failed(order, order.reason, f"rejected by the broker: {order.reason or 'no reason given'}")
        elif order.state.is_final or order.filled:
            rejections.pop(kind, None)
        closing.follow_closings(state, order)
        if state.orders.waiting:
            exits.follow_waiting(state, order.symbol)


def _ask_after_restart(state: DeskState) -> None:
    """Nothing that was under way is known to have been sent: ask for every order without a known end, by its id."""
    state.broker_view.forget_question()
    state.machine_alarms.clear()  # all is asked for below, and a machine that was booted again counts anew
    for order in state.orders.all_working():
        if order.state is OrderState.WRITTEN:  # an exit that waits for another order has not been sent
            continue
        if order.state is OrderState.SENT:
            state.move(order, OrderStep.SILENCE, reason="we were down")
        order.lookups, order.asked_for = 0, False
        state.look_up(order)
    for slot in state.slots.values():
        if slot.stopped:
            closing.take_back_entries(state, slot.stopped, slot.number)
    state.ask_reconcile()


# --- one function for each kind of input -----------------------------------------------------------------


def on_carried(state: DeskState, message: messages.Carried) -> None:
    resolving.found_again(state, message.slot, message.symbol)
    rebuilding.carry_on(state, message)
    rebuilding.take_over(state, message.slot, message.symbol)


def on_recovered(state: DeskState, message: messages.Recovered) -> None:
    rebuilding.on_recovered(state, message)
    _ask_after_restart(state)


def on_restated(state: DeskState, message: messages.Restated) -> None:
    resolving.found_again(state, message.slot, message.symbol)
    resolving.on_restated(state, message)
    rebuilding.take_over(state, message.slot, message.symbol)


def on_declare(state: DeskState, message: Declare) -> None:
    intents.on_declare(state, message)
    if closing.liquidation_is_over(state):
        closing.liquidate(state)


def on_reconnected(state: DeskState, _: messages.Reconnected) -> None:
    state.broker_view.connect()
    if reconcile.WAITING not in state.conditions:
        state.condition(reconcile.WAITING, reconcile.RECONNECTED_TEXT, quiet=True)
    state.ask_reconcile()


def on_condition(state: DeskState, message: messages.Condition) -> None:
    state.condition(message.name, message.text)
    if message.takes_back:
        closing.take_back_entries(state, message.text)


def on_leave(state: DeskState, message: messages.Leave) -> None:
    state.condition(LEAVING, message.reason, quiet=True)
    closing.take_back_entries(state, message.reason)
    exits.on_leave(state)
    if not message.resumes:
        resolving.write_off(state)


def on_tick(state: DeskState, _: messages.Tick) -> None:
    clocks = (state.market.take(state.now), state.machine_alarms.take(state.machine))
    for due, key in itertools.chain(*clocks):
        if due is Due.LIQUIDATE:
            closing.liquidate(state)
        elif due is Due.RECONCILE:
            state.ask_reconcile()
        elif due is Due.CLOSE:
            if (wanted := state.closings.get(key)) is not None:
                closing.advance(state, wanted, woken=True)
        else:
            _OF_ORDERS[due](state, state.orders.by_id[key])


_OF_ORDERS: Mapping[Due, Callable[[DeskState, DeskOrder], None]] = {
    Due.EXPIRE: lambda state, order: closing.want_cancel(state, order, LIFETIME_OVER, patient=True),
    Due.CANCEL_AGAIN: closing.cancel_again,
    Due.LOOK_UP: DeskState.look_up,
    Due.WAITED: exits.give_up,
}
_HANDLERS: Mapping[type, Callable[[DeskState, Any], None]] = {
    messages.BeginSession: on_begin_session,
    messages.SlotsJoined: lambda state, message: state.join(message.slots),
    messages.Carried: on_carried,
    messages.Recovered: on_recovered,
    messages.Earlier: rebuilding.on_earlier,
    messages.Restated: on_restated,
    messages.Missing: resolving.on_missing,
    messages.Resolve: resolving.on_resolve,
    OrderIntent: intents.on_order,
    CancelIntent: intents.on_cancel,
    ReplaceIntent: intents.on_replace,
    Protect: intents.on_protect,
    Declare: on_declare,
    BrokerUpdate: broker_side.on_update,
    BrokerAccount: account_state.on_account,
    messages.Answer: broker_side.on_answer,
    messages.OrderFound: broker_side.on_found,
    messages.Reconnected: on_reconnected,
    messages.BrokerSnapshot: reconcile.on_snapshot,
    messages.Tick: on_tick,
    messages.Condition: on_condition,
    messages.KillSwitch: account_state.kill,
    messages.Resume: lambda state, _: account_state.resume(state),
    messages.Flatten: lambda state, message: closing.flatten(state, message.slot, message.reason),
    messages.StopSlotTrading: lambda state, message: closing.stop_slot(state, message.slot, message.reason),
    messages.Leave: on_leave,
    messages.Prices: account_state.on_prices,
    TradedBefore: lambda state, message: state.day.traded_before(message),
}
