"""Replacements, cancels, closings, outages and reboots that cross each other: nothing stays behind, nothing is undone."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from liualgotrader.common.clock import NEVER, SECOND
from liualgotrader.common.orders import (
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    BrokerUpdate,
    Declare,
    OrderState,
    OrderType,
    ReplaceIntent,
    Side,
)
from liualgotrader.common.rows import EarlierOrder
from liualgotrader.exchange.exchange_values import OrderChanges
from liualgotrader.orders.desk_books import held_by_exits
from liualgotrader.orders.desk_messages import (
    Answer,
    Begin,
    BrokerRequest,
    BrokerSnapshot,
    Cancel,
    CancelAll,
    Carried,
    Decision,
    Earlier,
    Flatten,
    KillSwitch,
    Leave,
    OrderFound,
    Outcome,
    Reconnected,
    Send,
    Tick,
)
from tests.fakes.broker import HOURS, WIDE, World, desk_terms, now_of

D = Decimal


def settle(world: World, seconds: float = 1) -> None:
    world.run()
    world.wait(seconds)
    world.run()


def at_the_broker(world: World) -> list[str]:
    return [o.client_order_id for o in now_of(world.broker.orders(since=0, open_only=True))]


def replaced(world: World, name: str, limit: str | None = None, stop: str | None = None, slot: int = 1) -> None:
    prices = (D(limit) if limit else None, D(stop) if stop else None)
    world.tell(ReplaceIntent(name, slot, world.now, None, *prices))


def resting(world: World) -> str:
    name = world.order(1, "buy", 10, limit_price=D("99.00"))
    settle(world)
    return name


def protected(world: World) -> str:
    """Return the stop of a position of 10 shares."""
    world.order(1, "buy", 10)
    settle(world)
    name = world.order(1, "sell", 10, type=OrderType.STOP, stop_price=D("90"))
    settle(world)
    return name


def of(commands: list[Decision], *kinds: type) -> list[Decision]:
    return [c for c in commands if isinstance(c, kinds)]


# --- replacements


@pytest.mark.parametrize("switch", [None, KillSwitch(), Flatten(1), Leave("the session ends")])
def test_a_replacement_is_taken_back_though_the_end_of_what_it_replaces_is_not_told_yet(
    world: World, switch: KillSwitch | Flatten | Leave | None
) -> None:
    name = resting(world)
    replaced(world, name, "99.50")
    world.carry_out()
    world.hear()
    assert world.states(f"{name}-r1")[-1] == "acknowledged"
    if switch is None:
        world.cancel(name, 1)
    else:
        world.tell(switch)
    settle(world)
    assert at_the_broker(world) == []


def test_an_order_that_is_being_taken_back_is_not_replaced(world: World) -> None:
    name = resting(world)
    world.cancel(name, 1)
    world.commands.clear()
    world.tell(Answer(BrokerRequest.CANCEL, name, Outcome.SILENCE))
    world.run()
    assert world.states(name)[-1] == "acknowledged"  # the cancel did not arrive; it is asked again soon
    replaced(world, name, "99.50")
    for _ in range(2):
        settle(world, 5)
    assert (world.order_rows()[f"{name}-r1"].state, at_the_broker(world)) == ("refused", [])


def test_a_strategy_does_not_replace_another_ones_order(world: World) -> None:
    replaced(world, resting(world), "99.50", slot=2)
    assert world.commands == []


def test_a_stop_that_is_replaced_twice_binds_its_shares_once(world: World) -> None:
    stop = protected(world)
    replaced(world, stop, stop="91")
    settle(world)
    replaced(world, stop, stop="92")
    assert len(world.desk.state.orders.in_symbol("AAPL")) == 2
    assert held_by_exits(world.desk.state.orders.in_symbol("AAPL"), Side.SELL) == 10


def test_to_replace_what_an_earlier_batch_sent_is_refused(world: World) -> None:
    stop = protected(world)
    row = msgspec.structs.replace(world.order_rows()[stop], client_order_id="liu-ffffffffffff-1-1", batch_id="ff")
    view = now_of(world.broker.order_by_client_id(stop))
    assert view is not None
    left = msgspec.structs.replace(view, client_order_id=row.client_order_id, broker_order_id="left")
    world.tell(Earlier(EarlierOrder(row, "alpha", 3), left))
    world.tell(Carried(1, "AAPL", D(10), D(99)))
    replaced(world, row.client_order_id, stop="95")
    refused = world.order_rows()[f"{row.client_order_id}-r1"]
    assert (refused.state, refused.reason, refused.batch_id) == ("refused", "not_working", world.terms.batch_id)


def by_hand(world: World, name: str, **terms: Any) -> None:
    """Replace an order on the broker's own page."""
    world.exchange.replace("me", world.desk.state.orders.by_id[name].broker_order_id, world.now, OrderChanges(**terms))


def test_a_person_may_replace_an_order_whose_replacement_by_us_was_refused(world: World) -> None:
    name = resting(world)
    replaced(world, name, "99.50")
    world.commands.clear()
    world.tell(Answer(BrokerRequest.REPLACE, f"{name}-r1", Outcome.DECLINED, None, "no", 422))
    settle(world)
    by_hand(world, name, limit_price=D("99.20"))
    settle(world)
    world.quote("AAPL", 99.00, 99.10)
    settle(world)
    assert world.held(1) == 10


def test_a_person_may_replace_an_order_just_before_we_do(world: World) -> None:
    name = resting(world)
    by_hand(world, name, limit_price=D("99.20"))
    replaced(world, name, "99.50")
    ours = world.commands.pop()
    settle(world)  # the stream tells of his before ours is answered
    world.commands.append(ours)
    settle(world)
    world.quote("AAPL", 99.00, 99.10)
    settle(world)
    assert (world.held(1), world.order_rows()[f"{name}-r1"].state) == (10, "rejected")


def test_what_a_person_replaced_twice_and_what_it_filled_during_an_outage_is_booked(world: World) -> None:
    name = resting(world)
    by_hand(world, name, limit_price=D("99.20"))
    world.now += SECOND
    world._collect()
    [second] = [o for o in now_of(world.broker.orders(since=0, open_only=True))]
    world.exchange.replace("me", second.broker_order_id, world.now, OrderChanges(limit_price=D("99.30")))
    world.now += SECOND
    world.quote("AAPL", 99.00, 99.10)
    world.now += 300 * SECOND
    world._collect()
    world.crash()
    world.run()
    assert world.held(1) == 10


def test_a_stop_that_a_person_has_moved_stays_when_the_session_ends(world: World) -> None:
    by_hand(world, protected(world), stop_price=D("91"))
    settle(world)
    world.tell(Leave("the session ends"))
    settle(world)
    assert len(at_the_broker(world)) == 1


# --- closings


class Opposite(World):
    """Two strategies that carry opposite positions, of which the account shows nothing."""

    def start(self) -> None:
        self.generation += 1
        self.tell(Begin(self.terms, self.generation))
        if self.generation == 1:
            self.tell(Carried(1, "AAPL", D(100), D(99)))
            self.tell(Carried(2, "AAPL", D(-100), D(101)))
        self.tell(Reconnected())
        self.learn_account()


def test_two_closings_that_would_trade_with_each_other_follow_one_another() -> None:
    world = Opposite()
    world.run()
    world.tell(Flatten())
    asked: list[Decision] = []
    while world.commands or world.answers:
        asked += of(world.commands, Cancel)
        if world.commands:
            world.carry_out()
        else:
            world.hear()
    for _ in range(3):
        settle(world)
    assert (asked, world.held(1), world.held(2)) == ([], 0, 0)
    assert len(world.order_rows()) == 2


def until_liquidation(world: World) -> None:
    world.wait((HOURS.liquidates_at - world.now) / SECOND - 1)
    world.run()
    world.quote("AAPL", 99.99, 100.01)


def test_a_consumer_that_comes_back_during_the_liquidation_undoes_none_of_it(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    until_liquidation(world)
    world.now = HOURS.liquidates_at
    world.tell(Tick())
    world.carry_out()
    world.hear()
    world.tell(Declare(2, "beta", True, 0))
    assert of(world.commands, Cancel) == []


def test_what_the_account_did_not_have_at_the_liquidation_is_closed_when_it_is_there_again(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    until_liquidation(world)
    for _ in range(2):
        world.tell(BrokerSnapshot(True))  # a broker whose list of positions lags
    world.now = HOURS.liquidates_at
    world.tell(Tick())
    assert not world.desk.has_closings
    for _ in range(3):
        settle(world, 60)
    assert (world.held(1), world.desk.facts().quarantined) == (0, {})


def test_what_did_not_arrive_before_the_close_is_not_sent_again_after_it(world: World) -> None:
    for slot in world.terms.slots:
        world.tell(Declare(slot.slot, slot.strategy, False, 0))
    world.order(1, "buy", 10)
    settle(world)
    world.now = HOURS.closes_at - SECOND
    world.tell(Flatten(1))
    [sent] = of(world.commands, Send)
    assert isinstance(sent, Send)
    world.commands.clear()
    world.now = HOURS.closes_at + SECOND
    world.tell(Answer(BrokerRequest.SUBMIT, sent.order.client_order_id, Outcome.SILENCE))
    world.run()
    assert (world.states(sent.order.client_order_id)[-1], at_the_broker(world)) == ("rejected", [])
    assert (world.held(1), world.desk.has_closings) == (10, False)


def test_nothing_is_opened_in_a_slot_that_is_flattened_until_the_session_goes_on(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    world.tell(Flatten(1))
    settle(world)
    name = world.order(1, "buy", 10)
    assert world.order_rows()[name].reason == "entries_stopped"
    assert world.states(world.order(2, "buy", 10)) == ["written"]
    world.crash()
    settle(world)
    assert world.states(world.order(1, "buy", 10)) == ["written"]
    settle(world)
    assert world.held(1) == 10


def test_a_shadow_session_closes_nothing_and_takes_back_nothing() -> None:
    world = Opposite(desk_terms(limits=WIDE, shadow=True))
    world.run()
    view = BrokerOrder(
        "other", "liu-ffffffffffff-1-1", "MSFT", Side.BUY, D(1), D(0), None, OrderState.ACKNOWLEDGED, "new", 1, 1
    )
    decided = world.tell(BrokerSnapshot(True, (view,), (), ()))
    world.tell(Flatten())
    until_liquidation(world)
    world.now = HOURS.liquidates_at
    decided += world.tell(Tick())
    assert of(decided + world.commands, Send, Cancel, CancelAll) == []
    assert (world.held(1), world.held(2), world.desk.has_closings) == (100, -100, False)


# --- outages and reboots


def test_whatever_number_of_executions_is_told_at_once_is_booked(world: World) -> None:
    names = [world.order(1, "buy", 30, limit_price=D("99.00")) for _ in range(30)]
    settle(world)
    orders, executions = [], []
    for name in names:
        view = now_of(world.broker.order_by_client_id(name))
        assert view is not None
        ended = {"filled_quantity": D(30), "average_price": D(99), "state": OrderState.FILLED, "updated_at": world.now}
        orders.append(msgspec.structs.replace(view, **ended))
        for n in range(1, 41):
            part, place = D("0.75"), (view.broker_order_id, "AAPL", Side.BUY)
            executions.append(BrokerExecution(f"{name}/{n}", *place, part, D(99), D(0), world.now, part * n))
    world.tell(BrokerSnapshot(True, tuple(orders), tuple(executions), (BrokerPosition("AAPL", D(900), D(99)),)))
    assert (world.held(1), len(world.trade_rows())) == (900, 1200)


def test_alarms_of_a_machine_that_was_booted_again_are_forgotten(world: World) -> None:
    world.tell(BrokerSnapshot(False))
    assert world.desk.next_machine < NEVER  # of the clock that counted since the last boot
    world.machine = 5 * SECOND
    world.crash()
    assert world.desk.next_machine == NEVER
    world.run()
    assert world.desk.has_compared


# --- a vendor that counts what the replaced order has filled again in its successor


def told(name: str, quantity: int, filled: int, state: OrderState, at: int, **changes: object) -> BrokerOrder:
    order = BrokerOrder(
        f"b-{name}",
        name,
        "AAPL",
        Side.BUY,
        D(quantity),
        D(filled),
        D(100) if filled else None,
        state,
        str(state),
        1,
        at,
    )
    return msgspec.structs.replace(order, **changes)


def part(world: World, name: str, shares: int, cumulative: int, quantity: int = 100) -> None:
    """Let the order stream tell of an execution."""
    world.now += SECOND
    execution = BrokerExecution(
        f"{name}/{cumulative}", f"b-{name}", "AAPL", Side.BUY, D(shares), D(100), D(0), world.now, D(cumulative)
    )
    state = OrderState.FILLED if cumulative == quantity else OrderState.PARTIALLY_FILLED
    world.tell(BrokerUpdate("fill", told(name, quantity, cumulative, state, world.now), world.now, execution))


def accepted(world: World, request: BrokerRequest, name: str, filled: int) -> Answer:
    world.now += SECOND
    view = told(name, 100, filled, OrderState.ACKNOWLEDGED, world.now)
    return Answer(request, name, Outcome.ACCEPTED, view)


@pytest.mark.parametrize("way", ["answer", "stream", "look-up"])
def test_what_a_chain_has_filled_is_booked_once_however_its_next_order_becomes_known(world: World, way: str) -> None:
    name = world.order(1, "buy", 100, limit_price=D("99.00"))
    world.tell(accepted(world, BrokerRequest.SUBMIT, name, 0))
    filled, chain = 0, [name, f"{name}-r1", f"{name}-r2"]
    for before, new in pairwise(chain):
        filled += 30
        part(world, before, 30, filled)
        replaced(world, name, f"99.{filled}")
        answer = accepted(world, BrokerRequest.REPLACE, new, filled)
        assert answer.order is not None
        if way == "stream":
            world.tell(BrokerUpdate("new", answer.order, world.now))
        if way == "look-up":
            world.tell(Answer(BrokerRequest.REPLACE, new, Outcome.SILENCE))
            world.tell(OrderFound(new, True, answer.order))
        else:
            world.tell(answer)
        world.tell(BrokerUpdate("replaced", told(before, 100, filled, OrderState.REPLACED, world.now), world.now))
    part(world, chain[-1], 40, 100)
    assert (world.held(1), [t.quantity for t in world.trade_rows()]) == (100, [30, 30, 40])
    assert [o.quantity for o in world.desk.state.orders.by_id.values()] == [100, 70, 40]
    assert {world.order_rows()[one].state for one in chain} == {"replaced", "filled"}


def test_a_quantity_asked_for_counts_what_the_whole_chain_has_filled(world: World) -> None:
    name = world.order(1, "buy", 100, limit_price=D("99.00"))
    world.tell(accepted(world, BrokerRequest.SUBMIT, name, 0))
    part(world, name, 30, 30)
    replaced(world, name, "99.10")
    world.tell(accepted(world, BrokerRequest.REPLACE, f"{name}-r1", 30))
    world.tell(ReplaceIntent(name, 1, world.now, D(80), None))
    assert world.order_rows()[f"{name}-r2"].quantity == 50
