"""Each rule of pre-trade risk says no where it should, lets exits out, and never lets exposure past its limit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import SECOND
from liualgotrader.common.money import exact
from liualgotrader.common.orders import OrderState, OrderType
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tradeplan import Limits
from liualgotrader.orders.desk_messages import Condition, KillSwitch, StopSlotTrading
from liualgotrader.orders.risk import RULES
from tests.examples import examples
from tests.fakes.broker import CLOSE, HOURS, OPEN, SLOTS, SYMBOLS, World, desk_terms


def small_world(cash: str = "100000", **changes: Any) -> World:
    """Return a world under the default limits: order <= 10,000 $, position <= 20,000 $, gross <= 100,000 $."""
    world = World(desk_terms(**changes), cash=cash)
    world.run()
    return world


def refusal(world: World, name: str) -> str:
    """Return the rule that refused an order, empty if it was approved."""
    row = world.order_rows()[name]
    return row.reason if row.state == "refused" else ""


def hold(world: World, slot: int, side: str, quantity: int, symbol: str = "AAPL") -> None:
    name = world.order(slot, side, quantity, symbol)
    assert refusal(world, name) == ""
    world.run()
    world.wait(1)
    world.run()


D = Decimal


@pytest.mark.parametrize(
    ("rule", "terms"),
    [
        ("", {}),
        ("intent_too_old", {"valid_until": 999 * SECOND}),
        ("intent_too_old", {"valid_until": 100_000 * SECOND}),  # from before the machine was restarted
        ("terms", {"type": OrderType.LIMIT}),
        ("terms", {"type": OrderType.MARKET, "stop_price": D(90)}),
        ("terms", {"limit_price": D(0)}),
        ("terms", {"time_in_force": "forever"}),
        ("size", {"quantity": "0"}),
        ("size", {"quantity": "-1"}),
        ("size", {"quantity": "NaN"}),
        ("size", {"quantity": "1.5", "time_in_force": "gtc"}),
        ("size", {"quantity": "0.0000000001"}),
        ("", {"quantity": "0.1234567891"}),
        ("size", {"quantity": "1.5", "side": "sell"}),
        ("size", {"quantity": "1.5", "stop_loss": D(90)}),
        ("", {"quantity": "1.5"}),
        ("price_too_old", {"reference_at": OPEN - 10 * SECOND}),
        ("price_too_old", {"reference_at": 0}),
        ("no_price", {"reference_price": None}),
        ("price_collar", {"limit_price": D("103.20")}),
        ("", {"limit_price": D("50.00")}),
        ("order_value", {"quantity": "101"}),
        ("short_exposure", {"quantity": "60", "side": "sell", "cash": "10000"}),
        ("unknown_slot", {"slot": 9}),
    ],
)
def test_an_entry_meets_its_rule(rule: str, terms: dict[str, Any]) -> None:
    terms = dict(terms)
    limits = Limits()
    if "cash" in terms:
        limits = Limits(order_equity_fraction=1, position_equity_fraction=1)
    world = small_world(terms.pop("cash", "100000"), limits=limits)
    slot, side = terms.pop("slot", 1), terms.pop("side", "buy")
    name = world.order(slot, side, terms.pop("quantity", "10"), **terms)
    assert refusal(world, name) == rule


def test_the_rules_keep_the_names_that_rows_and_news_have() -> None:
    assert [rule.__name__ for rule in RULES] == [
        *("unknown_slot", "slot_stopped", "intent_too_old", "terms", "size", "closing", "flip", "not_there"),
        *("self_crossing", "liquidation", "entries_stopped", "quarantined", "account_flip", "no_price"),
        *("price_too_old", "price_collar", "no_equity", "order_value", "position_value", "gross_exposure"),
        *("short_exposure", "portfolio_funds", "open_orders", "rejected_before", "order_rate", "shadow"),
    ]


def test_a_position_grows_to_its_limit_and_no_further() -> None:
    world = small_world()
    names = [world.order(1, "buy", 99) for _ in range(3)]  # 9,901 $ each, nothing filled yet
    assert [refusal(world, n) for n in names] == ["", "", "position_value"]


def test_all_positions_together_stay_below_the_gross_limit() -> None:
    limits = Limits(gross_equity_fraction=0.15)
    world = small_world(limits=limits)
    assert refusal(world, world.order(1, "buy", 90, "AAPL")) == ""
    assert refusal(world, world.order(1, "buy", 90, "MSFT")) == "gross_exposure"


@pytest.mark.parity(61)
def test_entries_stay_within_what_their_portfolio_and_its_credit_line_hold() -> None:
    slots = tuple(msgspec.structs.replace(slot, account_id=7, funds=D(1500)) for slot in SLOTS)  # two share it
    world = small_world(slots=slots)
    first = world.order(1, "buy", 10)  # at about 100 $
    assert refusal(world, first) == ""
    assert refusal(world, world.order(2, "buy", 6, "MSFT")) == "portfolio_funds"  # the first may still trade
    world.run()
    world.wait(1)
    world.run()
    assert refusal(world, world.order(2, "buy", 6, "MSFT")) == "portfolio_funds"  # and now it has
    assert refusal(world, world.order(1, "sell", 10)) == ""  # an exit always passes
    world.run()
    world.wait(1)
    world.run()
    assert refusal(world, world.order(2, "buy", 14, "MSFT")) == ""  # what was sold may be spent again
    alone = small_world(slots=(SLOTS[0], slots[1]))
    assert refusal(alone, alone.order(1, "buy", 90)) == ""  # who has no portfolio has the account's limits alone


def test_an_exit_passes_what_stops_entries() -> None:
    world = small_world()
    hold(world, 1, "buy", 50)
    world.tell(Condition("database", "the database has been unavailable for 60 s"))
    assert refusal(world, world.order(1, "buy", 1)) == "entries_stopped"
    assert refusal(world, world.order(1, "sell", 50, reference_at=OPEN - 60 * SECOND)) == ""


def test_a_position_is_not_turned_over_in_one_order_nor_in_two() -> None:
    world = small_world()
    hold(world, 1, "buy", 50)
    assert refusal(world, world.order(1, "sell", 51)) == "flip"
    assert refusal(world, world.order(1, "sell", 30, limit_price=D("101"))) == ""
    assert refusal(world, world.order(1, "sell", 30, limit_price=D("101"))) == "flip"
    assert refusal(world, world.order(1, "sell", 20, limit_price=D("101"))) == ""


def test_two_strategies_do_not_trade_with_each_other() -> None:
    world = small_world()
    assert refusal(world, world.order(1, "buy", 10, limit_price=D("99.50"))) == ""
    assert refusal(world, world.order(2, "sell", 10, limit_price=D("99.40"))) == "self_crossing"
    assert refusal(world, world.order(2, "sell", 10)) == "self_crossing"
    assert refusal(world, world.order(2, "sell", 10, limit_price=D("100.50"))) == ""


def test_a_strategy_does_not_sell_another_ones_shares() -> None:
    world = small_world()
    hold(world, 1, "buy", 50)
    assert refusal(world, world.order(2, "sell", 10)) == "account_flip"


def test_shares_that_are_not_ours_are_never_sold() -> None:
    world = small_world()
    world.desk.state.broker_view.foreign["AAPL"] = D(500)
    assert refusal(world, world.order(1, "sell", 10)) == "account_flip"
    hold(world, 1, "buy", 10)
    assert refusal(world, world.order(1, "sell", 10)) == ""


def test_a_quarter_of_the_rate_is_kept_for_exits() -> None:
    world = small_world(limits=Limits(orders_per_minute=8))
    hold(world, 1, "buy", 8)
    names = [world.order(1, "buy", 1, "MSFT") for _ in range(6)]
    assert [refusal(world, n) for n in names] == [*[""] * 5, "order_rate"]
    exits = [world.order(1, "sell", 1) for _ in range(3)]
    assert [refusal(world, n) for n in exits] == ["", "", "order_rate"]
    world.run()
    world.wait(61)
    assert refusal(world, world.order(1, "buy", 1, "MSFT")) == ""


def test_no_more_orders_work_at_once_than_allowed() -> None:
    world = small_world(limits=Limits(open_orders=2))
    names = [world.order(1, "buy", 1, limit_price=D("99")) for _ in range(3)]
    assert [refusal(world, n) for n in names] == ["", "", "open_orders"]


def test_a_stopped_slot_is_not_listened_to() -> None:
    world = small_world()
    hold(world, 1, "buy", 10)
    world.tell(StopSlotTrading(1, "no answer"))
    assert refusal(world, world.order(1, "sell", 10)) == "slot_stopped"


def test_day_trading_ends_at_the_liquidation() -> None:
    world = small_world()
    world.now = HOURS.liquidates_at
    assert refusal(world, world.order(1, "buy", 1)) == "liquidation"
    assert world.now < CLOSE


def test_a_session_without_a_schedule_has_no_liquidation() -> None:
    hours = msgspec.structs.replace(HOURS, bypass=True)
    world = small_world(hours=hours)
    world.now = HOURS.liquidates_at
    assert refusal(world, world.order(1, "buy", 1)) == ""
    unset = small_world(hours=Hours("2025-06-23", OPEN, CLOSE, 0, CLOSE))
    unset.now = HOURS.liquidates_at
    assert refusal(unset, unset.order(1, "buy", 1)) == ""


def test_a_shadow_session_decides_everything_and_sends_nothing() -> None:
    world = small_world(shadow=True)
    assert refusal(world, world.order(1, "buy", 1)) == "shadow"
    assert refusal(world, world.order(1, "buy", 1000)) == "order_value"
    assert world.commands == []


def test_the_kill_switch_stops_entries() -> None:
    world = small_world()
    world.tell(KillSwitch())
    assert refusal(world, world.order(1, "buy", 1)) == "entries_stopped"


def test_without_the_accounts_equity_nothing_is_opened() -> None:
    world = small_world()
    world.desk.state.broker_view.account = None
    assert refusal(world, world.order(1, "buy", 1)) == "no_equity"


ORDERS = st.lists(
    st.tuples(
        st.sampled_from([1, 2]),
        st.sampled_from(SYMBOLS),
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 120),
        st.sampled_from([None, 97, 99, 100, 101, 102]),
        st.sampled_from(["", "fill", "cancel", "move"]),
    ),
    max_size=25,
)


@examples(150)
@given(ORDERS)
def test_no_order_that_is_approved_takes_exposure_past_its_limits(orders: list[tuple[Any, ...]]) -> None:
    world = small_world(limits=Limits(gross_equity_fraction=0.3, short_equity_fraction=0.1, orders_per_minute=1000))
    for slot, symbol, side, quantity, price, then in orders:
        terms = {} if price is None else {"limit_price": D(price)}
        name = world.order(slot, side, quantity, symbol, **terms)
        order = world.desk.state.orders.by_id[name]
        if order.state is not OrderState.REFUSED and order.opening:
            within_limits(world, symbol, to_sell=side == "sell")
        if then == "cancel":
            world.cancel(name, slot)
        elif then == "move":
            world.quote(symbol, 98.99, 99.01)
        if then:
            world.run()
            world.wait(1)
            world.run()
            world.learn_account()


def within_limits(world: World, symbol: str, *, to_sell: bool) -> None:
    """Work the worst case out anew from orders and positions: every working order filled.

    A price that moves may carry a short past its limit; an order that buys elsewhere is not to blame.
    """
    state = world.desk.state
    assert state.broker_view.account is not None
    equity, limits = state.broker_view.account.equity, state.terms.limits
    assert equity is not None
    gross = short = D(0)
    for each in SYMBOLS:
        held = world.held(1, each) + world.held(2, each)
        working = state.orders.in_symbol(each)
        buys = sum((o.remaining for o in working if o.side == "buy"), D(0))
        sells = sum((o.remaining for o in working if o.side == "sell"), D(0))
        price = state.positions.marks.get(each) or D(0)
        value = max(held + buys, sells - held, D(0)) * price
        gross += value
        short += max(sells - held, D(0)) * price
        if each == symbol:
            assert value <= exact(limits.position_equity_fraction) * equity
    assert gross <= exact(limits.gross_equity_fraction) * equity
    assert short <= exact(limits.short_equity_fraction) * equity or not to_sell
