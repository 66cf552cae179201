"""An exit is never stuck: what stands in its way is taken back, and it goes out for what is still there."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from liualgotrader.common.clock import SECOND
from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import Declare, OrderType, ReplaceIntent
from liualgotrader.common.rows import OrderEventRow
from liualgotrader.common.tradeplan import FillProfile
from liualgotrader.exchange.exchange_values import OrderRequest, Refusal
from liualgotrader.exchange.rules import Rules
from liualgotrader.orders.desk_messages import Cancel, Flatten, KillSwitch, Leave, Reconcile, Reconnected, Tick, Warn
from tests.examples import examples
from tests.fakes.broker import CLOSE, HOURS, SLOTS, SYMBOLS, WIDE, World, desk_terms, now_of

D = Decimal


def settle(world: World, seconds: float = 1) -> None:
    world.run()
    for _ in range(4):  # a cancel, its end, an order, its fill
        world.wait(seconds / 4)
        world.run()


def hold(world: World, quantity: int = 100, slot: int = 1, symbol: str = "AAPL", **terms: Any) -> str:
    name = world.order(slot, "buy", quantity, symbol, **terms)
    settle(world, 2)
    assert world.held(slot, symbol) == quantity
    return name


def there(world: World, symbol: str = "AAPL") -> Decimal:
    return {p.symbol: p.quantity for p in now_of(world.broker.positions())}.get(symbol, ZERO)


def warnings(world: World) -> list[str]:
    return [d.text for d in world.others if isinstance(d, Warn) and d.level == "WARNING"]


def details(world: World, name: str, event: str) -> dict[str, Any]:
    rows = [r for _, r in sorted(world.rows.items()) if isinstance(r, OrderEventRow)]
    return [r.details for r in rows if (r.client_order_id, r.event) == (name, event)][-1]


def half_filled(world: World) -> str:
    world.quote("AAPL", 99.99, 100.01, 50)
    entry = world.order(1, "buy", 100, limit_price=D("100.01"))
    settle(world)
    assert world.held(1) == 50
    world.quote("AAPL", 97.00, 100.50)
    return entry


# --- what would trade with it


def test_an_exit_takes_another_strategys_resting_entry_back_and_follows_at_once(world: World) -> None:
    hold(world)
    other = world.order(2, "buy", 10, limit_price=D("95"))
    settle(world)
    leaving = world.order(1, "sell", 100)
    assert world.states(leaving) == ["written"]
    settle(world)
    assert (world.states(other)[-1], world.states(leaving)[-1], world.held(1)) == ("canceled", "filled", 0)
    assert details(world, leaving, "waiting") == {"for": [other]}


def test_a_limited_exit_leaves_alone_what_it_cannot_trade_with(world: World) -> None:
    hold(world)
    other = world.order(2, "buy", 10, limit_price=D("95"))
    settle(world)
    leaving = world.order(1, "sell", 100, limit_price=D("99.90"))
    settle(world)
    assert (world.states(other)[-1], world.states(leaving)[-1]) == ("acknowledged", "filled")


def test_an_exit_takes_the_rest_of_its_own_entry_back(world: World) -> None:
    entry = half_filled(world)
    world.order(1, "sell", 50)
    settle(world)
    assert (world.states(entry)[-1], world.held(1)) == ("canceled", 0)


def test_an_entry_taken_back_and_an_exit_in_one_call_both_happen(world: World) -> None:
    entry = half_filled(world)
    world.cancel(entry, 1)
    world.order(1, "sell", 50)
    settle(world)
    assert (world.states(entry)[-1], world.held(1)) == ("canceled", 0)


def test_an_entry_still_does_not_trade_with_another_strategys_order(world: World) -> None:
    world.order(1, "buy", 10, limit_price=D("99.50"))
    refused = world.order(2, "sell", 10)
    assert world.order_rows()[refused].reason == "self_crossing"


# --- what binds the shares


def test_an_exit_takes_the_legs_of_its_bracket_back(world: World) -> None:
    hold(world, take_profit=D("110"), stop_loss=D("90"))
    leaving = world.order(1, "sell", 100)
    settle(world, 2)
    assert (world.states(leaving)[-1], world.held(1), there(world)) == ("filled", 0, 0)
    assert not list(world.desk.state.orders.all_working())


def test_an_exit_takes_a_resting_stop_back_and_no_more_than_it_needs(world: World) -> None:
    hold(world)
    first = world.order(1, "sell", 50, type=OrderType.STOP, stop_price=D("95"))
    second = world.order(1, "sell", 50, limit_price=D("105"))
    settle(world)
    leaving = world.order(1, "sell", 50)
    settle(world, 2)
    assert (world.states(first)[-1], world.states(second)[-1], world.states(leaving)[-1]) == (
        "canceled",
        "acknowledged",
        "filled",
    )
    assert world.held(1) == 50


def test_an_exit_that_rests_itself_leaves_resting_exits_alone(world: World) -> None:
    hold(world, take_profit=D("110"), stop_loss=D("90"))
    resting = world.order(1, "sell", 100, limit_price=D("105"))
    assert world.order_rows()[resting].reason == "flip"


def test_a_stop_replaces_one_that_is_being_taken_back(world: World) -> None:
    hold(world)
    old = world.order(1, "sell", 100, type=OrderType.STOP, stop_price=D("95"))
    settle(world)
    world.cancel(old, 1)
    new = world.order(1, "sell", 100, type=OrderType.STOP, stop_price=D("97"))
    settle(world)
    assert (world.states(old)[-1], world.states(new)[-1]) == ("canceled", "acknowledged")


def test_a_second_market_exit_does_not_take_the_first_one_back(world: World) -> None:
    hold(world)
    world.order(1, "sell", 100)
    second = world.order(1, "sell", 100)
    assert world.order_rows()[second].reason == "flip"


def test_a_leg_that_fills_meanwhile_leaves_nothing_for_the_exit(world: World) -> None:
    hold(world, take_profit=D("110"), stop_loss=D("90"))
    leaving = world.order(1, "sell", 100)
    world.quote("AAPL", 110.00, 110.02)
    world.wait(1)  # the target trades before the cancel arrives
    settle(world, 2)
    assert (world.held(1), there(world), world.states(leaving)[-1]) == (0, 0, "canceled")


# --- while it waits


def waiting(world: World) -> tuple[str, str]:
    hold(world)
    other = world.order(2, "buy", 10, limit_price=D("95"))
    settle(world)
    return other, world.order(1, "sell", 100)


def test_an_exit_that_waits_survives_a_crash(world: World) -> None:
    other, leaving = waiting(world)
    world.crash()
    world.calm()
    assert (world.states(other)[-1], world.states(leaving)[-1], world.held(1)) == ("canceled", "filled", 0)


def test_an_exit_that_waits_can_be_taken_back(world: World) -> None:
    _, leaving = waiting(world)
    world.cancel(leaving, 1)
    settle(world)
    assert (world.states(leaving), world.held(1)) == (["written", "canceled"], 100)


@pytest.mark.parametrize("switch", [Flatten(), KillSwitch(flatten=True)])
def test_a_closing_takes_the_place_of_an_exit_that_waits(world: World, switch: Flatten | KillSwitch) -> None:
    _, leaving = waiting(world)
    world.tell(switch)
    settle(world, 2)
    assert (world.states(leaving)[-1], world.held(1), there(world)) == ("canceled", 0, 0)


def test_an_exit_that_waited_past_the_close_is_not_sent() -> None:
    swing = (msgspec.structs.replace(SLOTS[0], day_trade=False), SLOTS[1])
    world = World(desk_terms(limits=WIDE, slots=swing))
    world.run()
    world.tell(Declare(1, "alpha", False, len(world.news[1])))
    hold(world)
    resting = world.order(1, "buy", 10, limit_price=D("90"))
    settle(world)
    world.wait((CLOSE - world.now) / SECOND - 3)
    world.run()
    leaving = world.order(1, "sell", 100)
    world.commands.clear()  # the cancel is lost, and the order in the way ends with the day
    settle(world, 20)
    assert (world.states(resting)[-1], world.states(leaving)) == ("expired", ["written", "canceled"])
    assert (world.held(1), there(world)) == (100, 100)
    assert len([text for text in warnings(world) if "waited too long" in text]) == 1


def test_an_exit_waits_no_longer_than_a_minute_for_a_cancel_that_never_takes_effect(world: World) -> None:
    _, leaving = waiting(world)
    for _ in range(59):
        world.commands.clear()
        world.wait(1)
    assert world.states(leaving) == ["written"]
    world.wait(2)
    assert world.states(leaving) == ["written", "canceled"]
    assert world.order_rows()[leaving].reason == "it waited too long"
    assert any("an exit of alpha was taken back" in text for text in warnings(world))
    assert leaving not in world.desk.state.orders.waiting


def test_an_exit_that_waited_through_a_long_outage_is_not_sent(world: World) -> None:
    _, leaving = waiting(world)
    world.commands.clear()
    world.now += 3600 * SECOND
    world.machine += 3600 * SECOND
    world.crash()
    world.calm()
    assert (world.states(leaving), world.held(1)) == (["written", "canceled"], 100)


def test_an_exit_that_waits_when_the_gateway_leaves_goes_out_if_it_can_soon(world: World) -> None:
    _, leaving = waiting(world)
    world.tell(Leave("the session is over"))
    while world.commands or world.answers:
        world.carry_out() if world.commands else world.hear()
    world.wait(1)
    settle(world)
    assert (world.states(leaving)[-1], world.held(1)) == ("filled", 0)


def test_an_exit_that_cannot_go_out_before_the_gateway_leaves_is_not_left_behind_as_written(world: World) -> None:
    _, leaving = waiting(world)
    world.tell(Leave("the session is over"))
    world.commands.clear()
    assert world.desk.next_machine <= world.machine + 5 * SECOND
    world.machine = world.desk.next_machine  # the market's clock may stand by then
    world.tell(Tick())
    assert (world.order_rows()[leaving].state, world.held(1)) == ("canceled", 100)


# --- what is not there


def by_hand(world: World, side: str, quantity: int, symbol: str = "AAPL") -> None:
    """Trade in the account without the desk, and let it find out."""
    request = OrderRequest(symbol=symbol, side=side, type="market", time_in_force="day", quantity=D(quantity))
    world.exchange.submit("me", request, world.now)
    settle(world, 65)
    settle(world, 65)


def test_an_exit_of_what_was_closed_by_hand_is_refused_and_a_person_is_told_once(world: World) -> None:
    hold(world)
    by_hand(world, "sell", 100)
    for _ in range(3):
        refused = world.order(1, "sell", 100)
        assert world.order_rows()[refused].reason == "not_there"
    assert there(world) == 0
    assert len([text for text in warnings(world) if "an exit of alpha was refused by the rule not_there" in text]) == 1


def test_two_strategies_that_are_closed_sell_no_more_than_is_there(world: World) -> None:
    for slot in (1, 2):
        hold(world, 10, slot)
    by_hand(world, "sell", 15)
    world.tell(Flatten())
    for _ in range(5):
        settle(world)
    assert there(world) == 0


def test_the_liquidation_of_what_is_not_there_sends_nothing(world: World) -> None:
    hold(world)
    by_hand(world, "sell", 100)
    world.wait((HOURS.liquidates_at - world.now) / SECOND + 30)
    for _ in range(5):
        settle(world)
    assert there(world) == 0
    assert list(world.desk.facts().quarantined) == ["AAPL"]


# --- the budget


def test_cancels_do_not_use_up_the_budget_of_exits() -> None:
    limits = msgspec.structs.replace(WIDE, orders_per_minute=60, open_orders=50)
    world = World(desk_terms(limits=limits))
    world.run()
    hold(world, 100, 1, "MSFT")
    for _ in range(40):
        world.order(2, "buy", 1, limit_price=D("99.5"), cancel_after=20 * SECOND)
        settle(world, 0.2)
    for _ in range(25):
        settle(world)
    leaving = world.order(1, "sell", 100, "MSFT")
    assert world.states(leaving) == ["written"]


def test_the_cancels_of_strategies_are_bounded_and_those_of_the_kill_switch_are_not() -> None:
    limits = msgspec.structs.replace(WIDE, orders_per_minute=8)
    world = World(desk_terms(limits=limits))
    world.run()
    names = []
    for _ in range(12):
        names.append(world.order(1, "buy", 1, limit_price=D("99")))
        settle(world, 20)
    assert {world.states(name)[-1] for name in names} == {"acknowledged"}
    for name in names[:10]:
        world.cancel(name, 1)
    assert len([c for c in world.commands if isinstance(c, Cancel)]) == 8
    world.commands.clear()
    world.tell(KillSwitch())
    [bulk] = world.bulks
    assert {c.client_order_id for c in bulk.cancels} == set(names[8:])


def test_a_cancel_that_had_to_wait_is_asked_when_there_is_room() -> None:
    limits = msgspec.structs.replace(WIDE, orders_per_minute=4)
    world = World(desk_terms(limits=limits))
    world.run()
    names = []
    for _ in range(6):
        names.append(world.order(1, "buy", 1, limit_price=D("99")))
        settle(world, 61)
    for name in names:
        world.cancel(name, 1)
    settle(world)
    assert [world.states(name)[-1] for name in names].count("canceled") == 4
    settle(world, 62)
    settle(world)
    assert {world.states(name)[-1] for name in names} == {"canceled"}


# --- terms


def test_a_quantity_is_rounded_down_to_what_a_share_can_be_divided_into(world: World) -> None:
    hold(world, 10)
    leaving = world.order(1, "sell", repr(10 / 3))
    assert world.order_rows()[leaving].quantity == D("3.333333333")
    entry = world.order(2, "buy", "96.91511437727969", "MSFT")
    assert world.order_rows()[entry].quantity == D("96.915114377")


def test_a_replacement_is_asked_for_in_the_terms_that_the_row_has(world: World) -> None:
    entry = world.order(1, "buy", 10, limit_price=D("99"))
    settle(world)
    world.tell(ReplaceIntent(entry, 1, world.now, None, D("99.12345"), None))
    settle(world)
    row = world.order_rows()[f"{entry}-r1"]
    assert (row.state, row.limit_price) == ("acknowledged", D("99.12"))
    seen = now_of(world.broker.order_by_client_id(f"{entry}-r1"))
    assert seen is not None
    assert seen.limit_price == D("99.12")


def test_a_person_is_told_of_an_exit_that_the_broker_rejects(world: World) -> None:
    hold(world)
    world.exchange.submit(
        "me",
        OrderRequest(symbol="AAPL", side="sell", type="limit", time_in_force="day", quantity=D(80), limit_price=D(130)),
        world.now,
    )
    for _ in range(2):
        world.order(1, "sell", 100)
        settle(world)
    assert len([text for text in warnings(world) if "an exit of alpha was rejected by the broker" in text]) == 1


# --- the stream and the end of the session


def test_entries_wait_for_the_books_after_the_stream_was_away_and_exits_go_on(world: World) -> None:
    hold(world)
    world.tell(Reconnected())
    refused = world.order(1, "buy", 1)
    assert world.order_rows()[refused].reason == "entries_stopped"
    assert world.states(world.order(1, "sell", 10)) == ["written"]
    settle(world)
    assert world.states(world.order(1, "buy", 1)) == ["written"]


def test_books_read_before_the_stream_was_back_do_not_let_entries_go_on(world: World) -> None:
    world.tell(Reconnected())
    [question] = [c for c in world.commands if isinstance(c, Reconcile)]
    world.carry_out(world.commands.index(question))
    world.tell(Reconnected())
    world.hear()
    assert not world.desk.has_compared
    settle(world)
    assert world.desk.has_compared


def test_an_exit_under_way_is_waited_for_and_one_that_rests_is_not(world: World) -> None:
    hold(world)
    world.order(1, "sell", 10)
    assert world.desk.has_exits_under_way
    settle(world)
    assert not world.desk.has_exits_under_way
    resting = world.order(1, "sell", 10, limit_price=D("105"))
    settle(world)
    assert not world.desk.has_exits_under_way
    world.cancel(resting, 1)
    assert world.desk.has_exits_under_way


# --- whatever comes in whatever order

PICK = st.integers(0, 10_000)
QUANTITY = st.sampled_from(["1", "7", "20", "3.3333333333333335", "40"])


class Exits(RuleBasedStateMachine):
    """Strategies that never ask for a short, people who sell by hand, and a market that fills in parts."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(rules=Rules(latency_ns=20_000_000, profile=FillProfile.PAPER, partial_probability=0.5))
        self.world.run()
        self.names: list[tuple[str, int]] = []

    @rule(
        slot=st.sampled_from([1, 2]),
        symbol=st.sampled_from(SYMBOLS),
        quantity=st.integers(1, 40),
        limit=st.sampled_from([None, "95", "99.99", "100.01"]),
        bracket=st.booleans(),
    )
    def enters(self, slot: int, symbol: str, quantity: int, limit: str | None, bracket: bool) -> None:
        terms: dict[str, Any] = {} if limit is None else {"limit_price": D(limit)}
        if bracket:
            terms |= {"take_profit": D("100.30"), "stop_loss": D("99.60")}
        self.names.append((self.world.order(slot, "buy", quantity, symbol, **terms), slot))

    @rule(
        slot=st.sampled_from([1, 2]),
        symbol=st.sampled_from(SYMBOLS),
        quantity=QUANTITY,
        how=st.sampled_from(["market", "market", "100.01", "100.30", "stop"]),
    )
    def leaves(self, slot: int, symbol: str, quantity: str, how: str) -> None:
        held = self.world.held(slot, symbol)
        if held <= 0:
            return
        terms: dict[str, Any] = {} if how == "market" else {"limit_price": D(how)} if how != "stop" else {}
        if how == "stop":
            terms = {"type": OrderType.STOP, "stop_price": D("99.70")}
        self.names.append((self.world.order(slot, "sell", str(min(held, D(quantity))), symbol, **terms), slot))

    @precondition(lambda self: self.names)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        self.world.cancel(*self.names[pick % len(self.names)])

    @rule(symbol=st.sampled_from(SYMBOLS), part=st.sampled_from([2, 1]))
    def sells_by_hand(self, symbol: str, part: int) -> None:
        self.world.calm(2)
        shares = there(self.world, symbol) // part
        free = shares - sum((o.remaining for o in self.world.desk.state.orders.in_symbol(symbol)), ZERO)
        if free >= 1:
            with suppress(Refusal):  # another order of the account may stand against it
                by_hand(self.world, "sell", int(free), symbol)

    @rule(symbol=st.sampled_from(SYMBOLS), cents=st.integers(-40, 40))
    def market_moves(self, symbol: str, cents: int) -> None:
        middle = 100 + cents / 100
        self.world.quote(symbol, round(middle - 0.01, 2), round(middle + 0.01, 2))

    @rule(seconds=st.sampled_from([0.01, 0.1, 1, 7]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @precondition(lambda self: self.world.commands)
    @rule()
    def carry_out(self) -> None:
        self.world.carry_out()

    @rule()
    def everything_arrives(self) -> None:
        self.world.run()

    @rule()
    def crash(self) -> None:
        self.world.crash()

    @invariant()
    def the_account_is_never_short(self) -> None:
        for symbol in SYMBOLS:
            assert there(self.world, symbol) >= 0

    def teardown(self) -> None:
        world = self.world
        world.calm()
        for slot in (1, 2):
            for symbol in SYMBOLS:
                self.closes(slot, symbol)
        assert not world.desk.state.orders.waiting

    def closes(self, slot: int, symbol: str) -> None:
        """What the slot holds and the account has leaves by market exits, few of them: an entry may fill meanwhile."""
        world = self.world
        for _ in range(5):
            if not self.comes_to_rest(slot, symbol):
                return  # the market itself fills no more of it
            held = world.held(slot, symbol)
            if held <= 0 or there(world, symbol) == 0:
                return
            name = world.order(slot, "sell", str(held), symbol)
            row = world.order_rows()[name]
            if row.reason == "not_there":  # what was left is bound by exits of the other slot
                assert world.desk.state.lacking(symbol)
                return
            assert row.state != "refused", row
        raise AssertionError(f"slot {slot} still holds {world.held(slot, symbol)} {symbol}")

    def comes_to_rest(self, slot: int, symbol: str) -> bool:
        """Let exits under way go on; whether they have ended, and not only wait for the market at the broker."""
        world = self.world
        for _ in range(20):
            world.quote(symbol, 99.99, 100.01)
            working = [o for o in world.desk.state.orders.in_symbol(symbol, slot) if not o.opening and not o.rests]
            if not working:
                return True
            world.calm(2)
        working = [order for order in working if not order.is_done]
        assert {str(order.state) for order in working} <= {"acknowledged", "partially_filled"}
        return not working


Exits.TestCase.settings = examples(60, stateful_step_count=30, suppress_health_check=list(HealthCheck))
TestExits = Exits.TestCase
