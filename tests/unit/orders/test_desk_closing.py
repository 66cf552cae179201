"""Positions are closed when they must be: at the end of the day, for stopped strategies, by the kill switch, by a loss."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.common.events import Status
from liualgotrader.common.orders import BrokerPosition, Declare, Fill, OrderState, Protect
from liualgotrader.common.rows import ForeignRow
from liualgotrader.orders.closing import level_touched
from liualgotrader.orders.desk_books import Position
from liualgotrader.orders.desk_messages import (
    BrokerSnapshot,
    Carried,
    Condition,
    Flatten,
    KillSwitch,
    Leave,
    Prices,
    Reconnected,
    Resolution,
    Resolve,
    Resume,
    StopSlotTrading,
    Warn,
)
from tests.fakes.broker import HOURS, SYMBOLS, World, desk_terms, now_of


def hold(world: World, slot: int, side: str, quantity: int, symbol: str = "AAPL", **terms: object) -> None:
    world.order(slot, side, quantity, symbol, **terms)
    settle(world)


def reason(world: World, name: str) -> str:
    return world.order_rows()[name].reason


def settle(world: World, seconds: float = 1) -> None:
    world.run()
    world.wait(seconds)
    world.run()


def go_to_liquidation(world: World) -> None:
    world.wait((HOURS.liquidates_at - world.now) / SECOND - 1)
    for symbol in SYMBOLS:  # those of the morning are stale
        world.quote(symbol, 99.99, 100.01)
    for _ in range(6):
        settle(world)


# --- the end of the day


def test_day_trades_are_closed_at_the_liquidation_and_swings_are_kept(world: World) -> None:
    world.tell(Declare(2, "beta", False, 0))
    hold(world, 1, "buy", 10)
    hold(world, 2, "buy", 20, "MSFT")
    low = world.order(1, "buy", 5, limit_price=Decimal("98"))
    swing = world.order(2, "buy", 5, "MSFT", limit_price=Decimal("98"))
    settle(world)
    go_to_liquidation(world)
    assert (world.held(1), world.held(2, "MSFT")) == (0, 20)
    assert (world.states(low)[-1], world.states(swing)[-1]) == ("canceled", "acknowledged")
    closing = world.trade_rows()[-1]
    assert (closing.operation, closing.quantity, closing.indicators) == ("sell", 10, {"liquidation": 1})
    assert closing.client_order_id.endswith("-1-0-d1")
    assert [n.liquidation for n in world.desk.news(1) if isinstance(n, Fill)] == [False, True]


def test_a_short_is_bought_back(world: World) -> None:
    hold(world, 1, "sell", 10)
    assert world.held(1) == -10
    go_to_liquidation(world)
    assert world.held(1) == 0


def test_a_closing_that_is_rejected_is_tried_again_until_it_goes_through(world: World) -> None:
    hold(world, 1, "buy", 10)
    world.wait((HOURS.liquidates_at - world.now) / SECOND - 1)
    world.exchange.on_event(Status("AAPL", world.now, halted=True))
    for _ in range(20):
        settle(world)
    assert world.held(1) == 10
    tries = [o for o in world.order_rows() if "-0-d" in o]
    assert 3 <= len(tries) <= 7  # after 2, 4, 8 ... seconds
    world.exchange.on_event(Status("AAPL", world.now, halted=False))
    world.quote("AAPL", 99.99, 100.01)
    for _ in range(40):
        settle(world)
    assert world.held(1) == 0


def test_nothing_is_sent_after_the_close_where_a_broker_would_keep_it_for_the_next_open(world: World) -> None:
    hold(world, 1, "buy", 10)
    world.wait((HOURS.closes_at - world.now) / SECOND - 30)
    world.exchange.on_event(Status("AAPL", world.now, halted=True))
    settle(world, (HOURS.closes_at - world.now) / SECOND)
    tried = len([o for o in world.order_rows() if "-0-d" in o])
    world.tell(Flatten(1))
    for _ in range(40):
        settle(world)
    assert tried >= 1
    assert len([o for o in world.order_rows() if "-0-d" in o]) == tried
    assert not world.desk.has_closings
    assert world.held(1) == 10
    said = [d.text for d in world.others if isinstance(d, Warn) and d.level == "ERROR"]
    assert any("AAPL: the market has closed and slot 1 still holds 10 shares" in text for text in said)


def test_slots_that_declare_swing_are_not_among_those_of_the_day(world: World) -> None:
    world.tell(Declare(2, "beta", False, 0))
    assert world.desk.day_trade_slots() == [1]


def test_the_liquidation_is_made_up_for_after_a_crash(world: World) -> None:
    hold(world, 1, "buy", 10)
    world.now = HOURS.liquidates_at + 5 * SECOND
    world.quote("AAPL", 99.99, 100.01)
    world.crash()
    for _ in range(5):
        settle(world)
    assert world.held(1) == 0


def test_a_closing_takes_back_what_another_strategy_would_trade_against_it(world: World) -> None:
    world.tell(Declare(2, "beta", False, 0))
    hold(world, 1, "buy", 10)
    other = world.order(2, "buy", 5, limit_price=Decimal("99"))
    settle(world)
    go_to_liquidation(world)
    assert (world.held(1), world.states(other)[-1]) == (0, "canceled")


# --- stopped strategies


@pytest.mark.parametrize(
    ("held", "stop", "target", "price", "touched"),
    [
        (10, 95, 110, "95.00", "stop"),
        (10, 95, 110, "95.01", ""),
        (10, 95, 110, "110.00", "target"),
        (-10, 105, 90, "105.00", "stop"),
        (-10, 105, 90, "104.99", ""),
        (-10, 105, 90, "89.00", "target"),
        (10, None, None, "1.00", ""),
    ],
)
def test_a_stop_or_target_is_touched(held: int, stop: int | None, target: int | None, price: str, touched: str) -> None:
    position = Position(
        Decimal(held),
        Decimal(100),
        Decimal(stop) if stop is not None else None,
        Decimal(target) if target is not None else None,
    )
    assert level_touched(position, Decimal(price)) == touched


def test_the_caretaker_honours_the_stop_of_a_stopped_strategy(world: World) -> None:
    hold(world, 1, "buy", 10, planned_stop=Decimal(97))
    assert world.desk.caretaken() == []
    world.tell(StopSlotTrading(1, "no answer"))
    assert world.desk.caretaken() == ["AAPL"]
    world.tell(Prices({"AAPL": Decimal("97.01")}))
    assert world.held(1) == 10
    world.tell(Prices({"AAPL": Decimal("97.00")}))
    settle(world)
    assert world.held(1) == 0
    assert world.trade_rows()[-1].indicators == {"caretaker": "stop"}


def test_a_stopped_strategys_entries_are_taken_back_and_its_exits_stay(world: World) -> None:
    hold(world, 1, "buy", 10)
    entry = world.order(1, "buy", 5, limit_price=Decimal("99"))
    leaving = world.order(1, "sell", 10, limit_price=Decimal("103"))
    settle(world)
    world.tell(StopSlotTrading(1, "no answer"))
    settle(world)
    assert (world.states(entry)[-1], world.states(leaving)[-1]) == ("canceled", "acknowledged")


# --- switches


def test_the_kill_switch_takes_everything_back_and_stays_on_over_a_crash(world: World) -> None:
    hold(world, 1, "buy", 10)
    name = world.order(1, "buy", 5, limit_price=Decimal("99"))
    settle(world)
    world.tell(KillSwitch())
    settle(world)
    world.crash()
    world.calm()
    assert (world.states(name)[-1], world.held(1)) == ("canceled", 10)
    refused = world.order(1, "buy", 1)
    assert world.order_rows()[refused].reason == "entries_stopped"
    world.tell(Resume())
    assert world.states(world.order(1, "buy", 1)) == ["written"]


def test_the_kill_switch_flattens_when_told_so(world: World) -> None:
    hold(world, 1, "buy", 10)
    hold(world, 2, "sell", 10, "MSFT")
    world.tell(KillSwitch(flatten=True))
    settle(world)
    assert (world.held(1), world.held(2, "MSFT")) == (0, 0)


def test_one_slot_is_flattened_alone(world: World) -> None:
    hold(world, 1, "buy", 10)
    hold(world, 2, "buy", 10, "MSFT")
    world.tell(Flatten(1))
    settle(world)
    assert (world.held(1), world.held(2, "MSFT")) == (0, 10)


def test_an_entry_that_fills_while_everything_is_flattened_is_closed_too(world: World) -> None:
    name = world.order(1, "buy", 10)
    world.tell(Flatten())
    for _ in range(4):
        settle(world)
    assert (world.states(name)[-1], world.held(1)) in [("filled", 0), ("canceled", 0)]
    assert not world.desk.has_closings


def test_leaving_takes_entries_back_until_the_next_begin(world: World) -> None:
    hold(world, 1, "buy", 10)
    entry = world.order(1, "buy", 5, limit_price=Decimal("99"))
    leaving = world.order(1, "sell", 10, limit_price=Decimal("103"))
    settle(world)
    world.tell(Leave("the session ends"))
    settle(world)
    assert (world.states(entry)[-1], world.states(leaving)[-1]) == ("canceled", "acknowledged")
    world.crash()
    world.calm()
    assert world.states(world.order(1, "buy", 1, "MSFT")) == ["written"]


def test_a_daily_loss_stops_entries_and_a_larger_one_closes_everything() -> None:
    world = World(desk_terms())
    world.run()
    hold(world, 1, "buy", 90)
    hold(world, 1, "buy", 90, "MSFT")
    world.quote("AAPL", 87.00, 87.02)
    world.trade("AAPL", 87.01)
    world.quote("MSFT", 87.00, 87.02)
    world.trade("MSFT", 87.01)
    world.learn_account()  # lost about 2,340 $ of 100,000 $
    assert reason(world, world.order(2, "buy", 1)) == "entries_stopped"
    assert world.held(1) == 90
    for symbol in ("AAPL", "MSFT"):
        world.quote(symbol, 75.00, 75.02)
        world.trade(symbol, 75.01)
    world.learn_account()
    settle(world, 4)
    assert world.held(1) == 90, "one look might show a wrong price"
    world.learn_account()
    settle(world)
    assert (world.held(1), world.held(1, "MSFT")) == (0, 0)
    world.tell(Resume())
    world.learn_account()
    assert world.states(world.order(2, "buy", 1, reference_price=Decimal(75))) == ["written"]


NO_FIGURES = {"equity": None, "cash": None, "buying_power": None, "last_equity": None, "trading_blocked": None}


@pytest.mark.parametrize("unknown", ["equity", "trading_blocked"])
def test_an_account_figure_that_is_unknown_stops_entries_once_and_closes_nothing(unknown: str) -> None:
    world = World(desk_terms())
    world.run()
    hold(world, 1, "buy", 90)
    stated = now_of(world.broker.account())
    world.others.clear()
    for _ in range(3):
        world.tell(msgspec.structs.replace(stated, **{unknown: None}))
        settle(world)
    assert world.held(1) == 90
    warned = [d.text for d in world.others if isinstance(d, Warn)]
    assert warned == [f"entries stopped: the broker does not state {unknown} of the account"]
    assert reason(world, world.order(2, "buy", 1)) == "entries_stopped"
    leaving = world.order(1, "sell", 90)
    settle(world)
    assert world.states(leaving)[-1] == "filled"
    world.learn_account()
    assert world.states(world.order(2, "buy", 1)) == ["written"]


class Untold(World):
    """A world whose broker states nothing of the account at first."""

    def learn_account(self) -> None:
        self.tell(msgspec.structs.replace(now_of(self.broker.account()), **NO_FIGURES))


def test_a_loss_is_weighed_against_no_unknown_figure_but_against_the_next_known_one() -> None:
    world = Untold(desk_terms())
    world.run()
    assert reason(world, world.order(1, "buy", 1)) == "entries_stopped"
    world.tell(Carried(1, "AAPL", Decimal(100), Decimal(100)))
    world.tell(Prices({"AAPL": Decimal(70)}, {"AAPL": Decimal(100)}))
    assert world.held(1) == 100
    account = now_of(world.broker.account())
    world.tell(msgspec.structs.replace(account, last_equity=Decimal(100_000)))
    texts = [d.text for d in world.others if isinstance(d, Warn)]
    assert texts == [
        "entries stopped: the broker does not state equity and last_equity and trading_blocked of the account",
        "no longer: the broker does not state equity and last_equity and trading_blocked of the account",
        "entries stopped: our positions have lost 3000.00 $ today, the account began with 100000.00 $",
    ]


def test_entries_go_on_when_what_stopped_them_is_over(world: World) -> None:
    world.tell(Condition("disk", "only 400 MB are free"))
    world.tell(Condition("disk", ""))
    assert world.states(world.order(1, "buy", 1)) == ["written"]


# --- what is not ours


def hold_and_compare(world: World) -> None:
    """Hold 10 AAPL and let the books be compared once more, so that the fill is older than the next answer."""
    hold(world, 1, "buy", 10)
    settle(world, 61)


def foreign_world() -> World:
    """Return a world whose account held 100 MSFT before the batch began."""
    world = World()
    world.commands.clear()
    world.tell(BrokerSnapshot(True, (), (), (BrokerPosition("MSFT", Decimal(100), Decimal(90)),)))
    return world


def test_what_the_account_holds_beyond_us_is_recorded_and_never_closed() -> None:
    world = foreign_world()
    rows = [r for r in world.rows.values() if isinstance(r, ForeignRow)]
    assert [(r.symbol, r.quantity) for r in rows] == [("MSFT", 100)]
    world.tell(KillSwitch(flatten=True))
    assert world.commands == []


def test_a_difference_seen_twice_quarantines_the_symbol_and_trades_nothing(world: World) -> None:
    hold_and_compare(world)
    wrong = BrokerSnapshot(True, (), (), (BrokerPosition("AAPL", Decimal(25), Decimal(100)),))
    world.tell(wrong)
    assert "AAPL" not in world.desk.state.quarantine.reasons
    world.tell(wrong)
    assert reason(world, world.order(1, "buy", 1)) == "quarantined"
    assert world.states(world.order(1, "sell", 10)) == ["written"]
    assert any(isinstance(d, Warn) and "25" not in d.text and "15 shares more" in d.text for d in world.others)


def test_a_difference_that_goes_away_lifts_the_quarantine(world: World) -> None:
    hold_and_compare(world)
    for quantity in (25, 25):
        world.tell(BrokerSnapshot(True, (), (), (BrokerPosition("AAPL", Decimal(quantity), Decimal(100)),)))
    assert "AAPL" in world.desk.state.quarantine.reasons
    world.tell(BrokerSnapshot(True, (), (), (BrokerPosition("AAPL", Decimal(10), Decimal(100)),)))
    assert world.states(world.order(1, "buy", 1)) == ["written"]


def test_an_operator_takes_a_difference_as_not_ours(world: World) -> None:
    wrong = BrokerSnapshot(True, (), (), (BrokerPosition("AAPL", Decimal(15), Decimal(100)),))
    world.tell(wrong)
    world.tell(wrong)
    world.tell(Resume())
    assert list(world.desk.facts().quarantined) == ["AAPL"]  # who takes the kill switch off says nothing of this
    world.tell(Resolve("AAPL", Resolution.IGNORE))
    world.tell(wrong)
    world.tell(wrong)
    assert world.desk.facts().quarantined == {}
    assert world.desk.facts().foreign == {"AAPL": 15}


def test_a_failed_question_is_not_an_empty_account(world: World) -> None:
    hold(world, 1, "buy", 10)
    world.tell(Reconnected())
    world.commands.clear()
    world.tell(BrokerSnapshot(False))
    world.tell(BrokerSnapshot(False))
    assert world.desk.state.quarantine.reasons == {}
    world.run()
    assert world.held(1) == 10


def test_what_a_strategy_carries_over_night_is_its_own_and_closed_with_it() -> None:
    world = World()
    world.tell(Carried(1, "AAPL", Decimal(10), Decimal(90), Decimal(85)))
    world.tell(BrokerSnapshot(True, (), (), (BrokerPosition("AAPL", Decimal(10), Decimal(90)),)))
    world.commands.clear()
    assert world.desk.facts().foreign == {}
    [fill] = [n for n in world.desk.news(1) if isinstance(n, Fill)]
    assert (fill.position, fill.client_order_id) == (10, "")
    assert world.trade_rows() == []
    assert world.desk.facts().positions[0].stop == 85


def test_facts_name_the_positions_without_a_stop(world: World) -> None:
    hold(world, 1, "buy", 10)
    hold(world, 2, "buy", 10, "MSFT")
    world.tell(Protect(1, "AAPL", world.now, Decimal(95)))
    facts = world.desk.facts()
    assert [p.symbol for p in facts.unprotected] == ["MSFT"]
    assert len(facts.positions) == 2
    assert facts.open_orders == ()


def test_orders_of_other_batches_are_cancelled_by_the_kill_switch_only(world: World) -> None:
    mine = world.order(1, "buy", 1, limit_price=Decimal("90"))
    world.run()
    seen = now_of(world.broker.order_by_client_id(mine))
    assert seen is not None
    import msgspec

    other = msgspec.structs.replace(seen, client_order_id="liu-ffffffffffff-1-1", broker_order_id="other")
    world.tell(BrokerSnapshot(True, (seen, other), (), ()))
    world.commands.clear()
    world.tell(KillSwitch())
    [bulk] = world.bulks
    assert [c.client_order_id for c in bulk.cancels] == [mine, "liu-ffffffffffff-1-1"]
    assert world.desk.state.orders.by_id[mine].state is OrderState.PENDING_CANCEL
