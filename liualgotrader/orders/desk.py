"""The order desk's one door: an input and the two clocks in, decisions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import (
    BrokerAccount,
    BrokerUpdate,
    CancelIntent,
    Declare,
    News,
    OrderIntent,
    OrderState,
    Protect,
    ReplaceIntent,
    SlotNews,
)
from liualgotrader.common.rows import TradedBefore
from liualgotrader.orders import (
    account_state,
    broker_side,
    cancels,
    closing,
    earlier_batches,
    exits,
    intents,
    rebuilding,
    reconcile,
    resolving,
    restating,
)
from liualgotrader.orders.alarms import Due, Key
from liualgotrader.orders.desk_messages import (
    Answer,
    Begin,
    BrokerSnapshot,
    Carried,
    Condition,
    Decision,
    Earlier,
    Flatten,
    Input,
    KillSwitch,
    Leave,
    Missing,
    OrderFound,
    Prices,
    Reconnected,
    Recovered,
    Resolve,
    Restated,
    Resume,
    StopSlotTrading,
    Tick,
)
from liualgotrader.orders.desk_state import KILL_SWITCH, DeskState
from liualgotrader.orders.order import DeskOrder, Origin
from liualgotrader.orders.reconcile_asking import ask_reconcile
from liualgotrader.orders.states import OrderStep

LEAVING = "leaving"
MOST_TURNS = 1000  # of the consequences of what one input changed; more is a bug


class Desk:
    """Everything about orders, decided from inputs alone: the same inputs in the same order give the same state,
    the same numbered rows and the same news.

    The first input is `Begin`. After a restart the journaled inputs are decided again, their commands thrown
    away, and a new `Begin` asks for the fate of whatever was under way.
    """

    def __init__(self) -> None:
        self._ledger: DeskState | None = None

    # --- deciding ----------------------------------------------------------------------------------

    def decide(self, told: Input, now: int, machine: int) -> list[Decision]:
        """Return what follows from one input, in order; `now` is market time and `machine` machine time, ns.

        Carry out the decisions only after the input is on disk.
        """
        if isinstance(told, Begin):
            return self._begin(told, now, machine)
        ledger = self.ledger
        ledger.now, ledger.machine = now, machine
        _HANDLERS[type(told)](ledger, told)
        return self._finish()

    def _begin(self, told: Begin, now: int, machine: int) -> list[Decision]:
        restarted = self._ledger is not None
        if self._ledger is None:
            self._ledger = DeskState(told)
        ledger = self._ledger
        ledger.now, ledger.machine = now, machine
        ledger.take_terms(told)
        ledger.reconciling.attached = False
        ledger.reconciling.strangers.clear()
        ledger.conditions.pop(LEAVING, None)
        ledger.flattening = {slot: why for slot, why in ledger.flattening.items() if slot is None}
        ledger.condition(reconcile.WAITING, reconcile.WAITING_TEXT, quiet=True)
        hours = told.terms.hours
        if not hours.bypass and hours.liquidates_at > 0:
            ledger.market.set(hours.liquidates_at, Due.LIQUIDATE, "")
        if restarted:
            _ask_after_restart(ledger)
        return self._finish()

    def _finish(self) -> list[Decision]:
        ledger = self.ledger
        turns = MOST_TURNS + len(ledger.changed)  # after an outage the broker may tell very much at once
        for _ in range(turns):
            if not ledger.changed:
                break
            order = ledger.changed.popleft()
            if order.stored_filled != order.filled:
                ledger.store(order)
            _remember_rejections(ledger, order)
            closing.follow(ledger, order)
            if ledger.waiting:
                exits.follow(ledger, order.symbol)
        else:
            raise RuntimeError(f"the desk does not come to rest: {[o.client_order_id for o in ledger.changed]}")
        out, ledger.out = ledger.out, []
        return out

    @property
    def ledger(self) -> DeskState:
        """The desk's memory, for reading."""
        if self._ledger is None:
            raise RuntimeError("the desk's first input must be Begin")
        return self._ledger

    # --- what its owner needs to know ----------------------------------------------------------------

    @property
    def next_market(self) -> int:
        """The market instant at which it wants a `Tick`, `NEVER` if it waits for none."""
        return self.ledger.market.next()

    @property
    def next_machine(self) -> int:
        """The machine instant at which it wants a `Tick`; while there is one, an order's fate is being found out."""
        return self.ledger.machine_alarms.next()

    def relevant(self, snapshot: BrokerSnapshot) -> BrokerSnapshot:
        """Return what of a snapshot is worth writing down and deciding on."""
        return reconcile.relevant(self.ledger, snapshot)

    def news(self, slot: int) -> Sequence[SlotNews]:
        """Return all news of a slot, numbered 1 upwards."""
        return self.ledger.slot(slot).news

    def account_news(self) -> News | None:
        """Return the account's figures as consumers are told them, None before the first."""
        return self.ledger.account_news() if self.ledger.account is not None else None

    def held(self) -> list[str]:
        """Return the symbols of which a slot holds something."""
        return sorted(self.ledger.books.symbols())

    def caretaken(self) -> list[str]:
        """Return the symbols whose prices the caretaker needs: positions of stopped slots with a stop or a target."""
        ledger = self.ledger
        guarded = (
            symbol
            for slot, symbol, p in ledger.books.open()
            if ledger.slot(slot).stopped and (p.planned_stop is not None or p.planned_target is not None)
        )
        return sorted(set(guarded))

    def day_trade_slots(self) -> list[int]:
        """Return the slots whose positions must not stay overnight."""
        return sorted(slot.number for slot in self.ledger.slots.values() if slot.day_trade)

    @property
    def is_killed(self) -> bool:
        """Whether the kill switch is on; putting it on again would also take back the exits sent since."""
        return KILL_SWITCH in self.ledger.conditions

    @property
    def has_compared(self) -> bool:
        """Whether the broker's books have been compared with ours since the newest `Begin`."""
        return reconcile.WAITING not in self.ledger.conditions

    @property
    def has_opened(self) -> bool:
        """Whether what the account held at the start has been told apart: ours from before, and foreign."""
        return self.ledger.reconciling.opened

    @property
    def has_entries(self) -> bool:
        """Whether an order that could open a position still works."""
        return any(o.opening for o in self.ledger.orders.all_working())

    @property
    def has_exits_under_way(self) -> bool:
        """Whether exits have yet to trade or end that do not rest: sent or about to be, at market, or being taken back."""
        return any(not o.opening and not o.rests for o in self.ledger.orders.all_working())

    @property
    def has_closings(self) -> bool:
        """Whether the desk is closing positions."""
        return bool(self.ledger.closings)

    def facts(self) -> dict[str, Any]:
        """Return what the summary shows: positions, those without a stop, working orders, what is not ours."""
        ledger = self.ledger
        positions = [
            {
                "slot": slot,
                "strategy": ledger.slot(slot).strategy,
                "symbol": symbol,
                "quantity": str(p.quantity),
                "average_price": str(p.average_price),
                "last": str(ledger.books.marks[symbol]) if symbol in ledger.books.marks else None,
                "stop": str(p.planned_stop) if p.planned_stop is not None else None,
                "resting_stop": _resting_stop(ledger, slot, symbol, p.quantity),
                "target": str(p.planned_target) if p.planned_target is not None else None,
                "day_trade": ledger.slot(slot).day_trade,
            }
            for slot, symbol, p in ledger.books.open()
        ]
        return {
            "positions": positions,
            "unprotected": [p for p in positions if p["stop"] is None and p["resting_stop"] is None],
            "open_orders": [o.client_order_id for o in ledger.orders.all_working()],
            "foreign": {s: str(q) for s, q in ledger.books.foreign.items() if q},
            "quarantined": dict(ledger.books.quarantined),
            "entries_stopped": dict(ledger.conditions),
            "realized": _gains(ledger),
            **account_state.facts(ledger),
        }


def _gains(ledger: DeskState) -> dict[str, str]:
    """Return what each strategy has realized in this batch, fees paid, US dollars."""
    realized = {slot.strategy: ZERO for slot in ledger.slots.values() if slot.number}
    for slot in ledger.slots.values():
        if slot.number:
            held = (p.quantity * p.average_price for _, _, p in ledger.books.open(slot.number))
            realized[slot.strategy] += slot.cash + sum(held, ZERO)
    return {strategy: str(gain) for strategy, gain in realized.items()}


def _resting_stop(ledger: DeskState, slot: int, symbol: str, held: Decimal) -> str | None:
    """Return the price of a stop that the broker keeps for a position, None if there is none for all of it."""
    working = ledger.orders.in_symbol(symbol, slot)
    stops = [o for o in working if o.intent.stop_price is not None and held * o.side.sign < 0 and not o.cancel_wanted]
    covered = sum((o.remaining for o in stops), ZERO) >= abs(held)
    return str(max((o.intent.stop_price for o in stops), key=lambda p: p or ZERO)) if stops and covered else None


def _ask_after_restart(ledger: DeskState) -> None:
    """Nothing that was under way is known to have been sent: ask for every order without a known end, by its id."""
    ledger.reconciling.out = False
    ledger.machine_alarms.clear()  # all is asked for below, and a machine that was booted again counts anew
    for order in list(ledger.orders.all_working()):
        if order.state is OrderState.WRITTEN:  # an exit that waits for another order has not been sent
            continue
        if order.state is OrderState.SENT:
            ledger.move(order, OrderStep.SILENCE, reason="we were down")
        order.lookups, order.asked_for = 0, False
        ledger.look_up(order)
    for slot in ledger.slots.values():
        if slot.stopped:
            closing.take_back_entries(ledger, slot.stopped, slot.number)
    ask_reconcile(ledger)


def _remember_rejections(ledger: DeskState, order: DeskOrder) -> None:
    """Count how often in a row the broker rejected a slot's entries of one kind."""
    if order.origin is not Origin.STRATEGY or (not order.state.is_final and not order.filled):
        return
    counts, kind = ledger.slot(order.slot).rejections, (order.symbol, str(order.side))
    if order.state is OrderState.REJECTED:
        counts[kind] = (counts.get(kind, (0, 0))[0] + 1, ledger.now)
        if not order.opening:
            ledger.exit_failed(order, order.reason, f"rejected by the broker: {order.reason or 'no reason given'}")
    elif order.state is not OrderState.REFUSED:
        counts.pop(kind, None)


# --- one function for each kind of input -----------------------------------------------------------------


def _on_carried(ledger: DeskState, told: Carried) -> None:
    restating.found_again(ledger, told.slot, told.symbol)
    position = ledger.carry(told.slot, told.symbol, told.quantity, told.average_price)
    position.planned_stop, position.planned_target = told.planned_stop, told.planned_target
    ledger.tell_protection(told.slot, told.symbol, position)
    earlier_batches.take_over(ledger, told.slot, told.symbol)


def _on_recovered(ledger: DeskState, told: Recovered) -> None:
    rebuilding.on_recovered(ledger, told)
    _ask_after_restart(ledger)


def _on_restated(ledger: DeskState, told: Restated) -> None:
    restating.found_again(ledger, told.slot, told.symbol)
    restating.on_restated(ledger, told)
    earlier_batches.take_over(ledger, told.slot, told.symbol)


def _on_declare(ledger: DeskState, told: Declare) -> None:
    intents.on_declare(ledger, told)
    if closing.liquidation_is_over(ledger):
        closing.liquidate(ledger)


def _on_reconnected(ledger: DeskState, _: Reconnected) -> None:
    ledger.reconciling.connections += 1
    ledger.reconciling.attached = True
    if reconcile.WAITING not in ledger.conditions:
        ledger.condition(reconcile.WAITING, reconcile.RECONNECTED_TEXT, quiet=True)
    ask_reconcile(ledger)


def _on_condition(ledger: DeskState, told: Condition) -> None:
    ledger.condition(told.name, told.text)
    if told.takes_back:
        closing.take_back_entries(ledger, told.text)


def _on_resume(ledger: DeskState, _: Resume) -> None:
    account_state.resume(ledger)


def _on_flatten(ledger: DeskState, told: Flatten) -> None:
    closing.flatten(ledger, told.slot, told.reason)


def _on_slot_stopped(ledger: DeskState, told: StopSlotTrading) -> None:
    closing.stop_slot(ledger, told.slot, told.reason)


def _on_leave(ledger: DeskState, told: Leave) -> None:
    ledger.condition(LEAVING, told.reason, quiet=True)
    closing.take_back_entries(ledger, told.reason)
    exits.on_leave(ledger)
    if not told.resumes:
        restating.write_off(ledger)


def _on_tick(ledger: DeskState, _: Tick) -> None:
    for due, key in ledger.market.take(ledger.now):
        _serve(ledger, due, key)
    for due, key in ledger.machine_alarms.take(ledger.machine):
        _serve(ledger, due, key)


def _serve(ledger: DeskState, due: Due, key: Key) -> None:
    if due is Due.LIQUIDATE:
        closing.liquidate(ledger)
    elif due is Due.RECONCILE:
        ask_reconcile(ledger)
    elif due is Due.CLOSE:
        for wanted in [c for (slot, symbol), c in ledger.closings.items() if f"{slot}/{symbol}" == key]:
            closing.advance(ledger, wanted, woken=True)
    else:
        act = {Due.EXPIRE: cancels.expire, Due.CANCEL_AGAIN: cancels.cancel_again, Due.LOOK_UP: DeskState.look_up}
        act[Due.WAITED] = exits.give_up
        act[due](ledger, ledger.orders.by_id[key])


_HANDLERS: Mapping[type, Callable[[DeskState, Any], None]] = {
    Carried: _on_carried,
    Recovered: _on_recovered,
    Earlier: earlier_batches.on_earlier,
    Restated: _on_restated,
    Missing: resolving.on_missing,
    Resolve: resolving.on_settle,
    OrderIntent: intents.on_order,
    CancelIntent: intents.on_cancel,
    ReplaceIntent: intents.on_replace,
    Protect: intents.on_protect,
    Declare: _on_declare,
    BrokerUpdate: broker_side.on_update,
    BrokerAccount: account_state.on_account,
    Answer: broker_side.on_answer,
    OrderFound: broker_side.on_found,
    Reconnected: _on_reconnected,
    BrokerSnapshot: reconcile.on_snapshot,
    Tick: _on_tick,
    Condition: _on_condition,
    KillSwitch: account_state.kill,
    Resume: _on_resume,
    Flatten: _on_flatten,
    StopSlotTrading: _on_slot_stopped,
    Leave: _on_leave,
    Prices: account_state.on_prices,
    TradedBefore: account_state.on_traded_before,
}
