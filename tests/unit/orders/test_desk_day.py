"""The day's loss is what our positions did: no deposit, no withdrawal, no share of somebody else's moves it."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value.

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import HOUR
from liualgotrader.common.orders import BrokerActivity, BrokerPosition, Side
from liualgotrader.common.rows import ActivityRow, TradedBefore
from liualgotrader.exchange.exchange_values import OrderRequest
from liualgotrader.exchange.fees import PerShareCommission
from liualgotrader.exchange.rules import Rules
from liualgotrader.orders.desk_books import Day
from liualgotrader.orders.desk_messages import BrokerSnapshot, Carried, Prices, Restated, Resume, Warn
from tests.examples import examples
from tests.fakes.broker import OPEN, SYMBOLS, World, desk_terms, now_of

D = Decimal


def limited(**rules: Any) -> World:
    """Return a session with the default limits: 2 % of the equity stop entries, 4 % close everything."""
    world = World(desk_terms(), rules=Rules(latency_ns=10_000_000, **rules))
    world.run()
    return world


def settle(world: World, seconds: float = 1) -> None:
    world.run()
    world.wait(seconds)
    world.run()


def hold(world: World, slot: int, side: str, quantity: int, symbol: str = "AAPL") -> None:
    world.order(slot, side, quantity, symbol)
    settle(world)


def price(world: World, symbol: str, at: str) -> None:
    """Let a symbol trade at a price, and quote it a cent beside."""
    world.quote(symbol, float(D(at) - D("0.01")), float(D(at) + D("0.01")))
    world.trade(symbol, float(at))


def fact(world: World, name: str) -> Decimal:
    value: Decimal = getattr(world.desk.facts(), name)
    return value


def warnings(world: World) -> list[str]:
    return [d.text for d in world.others if isinstance(d, Warn) and d.level != "INFO"]


# --- cash and what is not ours


def test_a_withdrawal_is_no_loss_and_closes_nothing() -> None:
    world = limited()
    hold(world, 1, "buy", 90)  # at 100.01
    world.exchange.move_cash("me", "CSW", D(-6000), world.now)
    world.learn_account()
    settle(world)
    assert world.held(1) == 90
    assert fact(world, "day_gain") == D("-0.90")  # 90 shares, a cent below what they cost
    assert fact(world, "account_gain") == D("-6000.90")  # the account's own change, beside it
    assert world.states(world.order(2, "buy", 1))[-1] == "written"


def test_a_deposit_hides_no_loss() -> None:
    world = limited()
    hold(world, 1, "buy", 90)
    hold(world, 1, "buy", 90, "MSFT")
    world.exchange.move_cash("me", "CSD", D(50_000), world.now)
    for symbol in SYMBOLS:
        price(world, symbol, "75.01")
    for _ in range(2):
        world.wait(5)
        world.learn_account()  # 180 shares, 25.00 $ below what they cost: 4,500 of the 100,000 $ it began with
    settle(world)
    assert (world.held(1), world.held(1, "MSFT")) == (0, 0)


def test_one_wrong_price_closes_nothing_and_a_loss_that_lasts_closes_everything() -> None:
    world = limited()
    hold(world, 1, "buy", 90)
    for last in ("1", "100.01", "1", "99", "1"):  # a loss of 8,911 of the 100,000 $ by every other price alone
        world.tell(Prices({"AAPL": D(last)}, {}))
        world.tell(now_of(world.broker.account()))
        settle(world, 4)
        assert world.held(1) == 90
    world.tell(Prices({"AAPL": D("1.01")}, {}))
    settle(world)
    assert world.held(1) == 0


# --- one wrong answer


@pytest.mark.parametrize(
    "then",
    [
        ({}, {}),  # nothing at all
        ({"MSFT": D(100)}, {}),  # what the caretaker asks the data vendor in the same look
        ({"MSFT": D(99)}, {"AAPL": D(100), "MSFT": D(100)}),  # a symbol that has lost 5 $ as well
        ({"AAPL": D(1)}, {}),  # the same answer, told again at once
    ],
)
def test_one_wrong_price_stays_one_whatever_else_is_told_beside_it(then: tuple[Any, Any]) -> None:
    world = limited()
    hold(world, 1, "buy", 90)
    hold(world, 2, "buy", 5, "MSFT")
    world.tell(Prices({"AAPL": D(1)}))  # 90 x 99.01 = 8,910.90 $ of 100,000 $
    for _ in range(3):
        world.tell(Prices(*then))
        world.tell(now_of(world.broker.account()))
    if "AAPL" not in then[0]:
        world.wait(10)
        world.tell(Prices(*then))
        world.tell(now_of(world.broker.account()))
    assert not world.desk.has_closings
    assert warnings(world)[-1].startswith("entries stopped")


@pytest.mark.parametrize("told_first", [True, False])
def test_one_wrong_close_closes_nothing_and_the_next_one_counts(told_first: bool) -> None:
    world = limited()
    world.tell(Carried(1, "AAPL", D(100), D(100)))
    closes = ["1000", "100", "100"] if told_first else ["100", "100", "1000", "100"]
    for close in closes:  # 100 x 900 $ lost by a close of 1,000 $ alone
        world.tell(Prices({"AAPL": D(100)}, {"AAPL": D(close)}))
        assert fact(world, "day_gain") == 100 * (100 - D(close))
        world.wait(20)
    assert not world.desk.has_closings


def test_one_wrong_first_price_closes_nothing_where_no_close_is_told() -> None:
    world = limited()
    world.tell(Carried(1, "AAPL", D(100), D(100)))
    for price_told in ("1000", "100", "100", "100"):
        world.tell(Prices({"AAPL": D(price_told)}, {"AAPL": None}))
        world.wait(20)
    assert not world.desk.has_closings


@pytest.mark.parametrize(("held", "now"), [(100, "55"), (-100, "145")])
def test_a_loss_from_the_close_that_two_answers_show_closes_everything(held: int, now: str) -> None:
    world = limited()
    world.tell(Carried(1, "AAPL", D(held), D(100)))
    for closing in (False, True):  # 100 x 45 = 4,500 $ of 100,000 $
        world.tell(Prices({"AAPL": D(now)}, {"AAPL": D(100)}))
        assert world.desk.has_closings is closing
        world.wait(5)


def test_what_is_lost_for_good_needs_no_second_look() -> None:
    day = Day()
    day.trade("AAPL", D(100), D(100), D(0))
    day.trade("AAPL", D(-100), D(50), D(1))
    assert day.confirmed_gain({"AAPL": D(1)}) == -5001


def test_no_equity_that_is_none_of_a_trading_account_closes_anything() -> None:
    for began_with in ("0", "-500"):
        world = limited()
        hold(world, 1, "buy", 90)
        world.desk.state.day.began_with = D(began_with)
        for _ in range(2):
            world.tell(Prices({"AAPL": D(99)}, {}))
        assert not world.desk.has_closings
        assert "daily_loss" not in world.desk.state.conditions


def test_shares_that_are_not_ours_may_fall_as_they_like() -> None:
    world = limited()
    for last in ("90", "9", "0.9"):
        position = BrokerPosition("MSFT", D(1000), D(90), D(last), D(90))
        world.tell(BrokerSnapshot(True, (), (), (position,)))
        world.tell(Prices({"MSFT": D(last)}, {"MSFT": D(90)}))
    assert fact(world, "day_gain") == 0
    assert world.states(world.order(1, "buy", 1))[-1] == "written"


@examples(25)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("trade"), st.integers(-40, 40).filter(bool)),
            st.tuples(st.just("price"), st.integers(5_000, 15_000)),
            st.tuples(st.just("cash"), st.integers(-90_000, 900_000)),
            st.tuples(st.just("foreign"), st.integers(1_000, 90_000)),
            st.tuples(st.just("crash"), st.just(0)),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_the_days_loss_is_the_sum_over_our_trades_whatever_else_happens(steps: list[tuple[str, int]]) -> None:
    """Loss = sum of shares x (price paid - newest price) + fees, over the exchange's own record of our executions."""
    world = World(rules=Rules(latency_ns=10_000_000, fees=PerShareCommission()))
    world.run()
    strange = OrderRequest(symbol="MSFT", side="buy", type="market", quantity=D(100), client_order_id="somebody-else")
    world.exchange.submit("me", strange, world.now)
    price(world, "AAPL", "100")
    last = D(100)
    for kind, number in steps:
        if kind == "trade":
            world.order(1, "buy" if number > 0 else "sell", abs(number))
        elif kind == "price":
            last = D(number) / 100
            price(world, "AAPL", str(last))
        elif kind == "cash":
            world.exchange.move_cash("me", "CSD" if number > 0 else "CSW", D(number), world.now)
        elif kind == "foreign":
            price(world, "MSFT", str(D(number) / 100))
        else:
            world.crash()
        settle(world)
        world.learn_account()
        ours = [a for a in world.exchange.activities("me") if a.symbol == "AAPL"]
        gain = sum((a.quantity * (1 if a.side is Side.BUY else -1) * (last - a.price) - a.fee for a in ours), D(0))
        assert fact(world, "day_gain") == round(gain, 2)


# --- what is held from before


@pytest.mark.parametrize(
    ("quantity", "cost", "close", "now", "gain"),
    [
        (100, "60", "50", "48", "-200.00"),  # 100 x (48 - 50), whatever was lost the days before
        (100, "40", "50", "48", "-200.00"),
        (-100, "60", "50", "53", "-300.00"),  # short: 100 x (50 - 53)
        (-100, "40", "50", "49.50", "50.00"),
    ],
)
def test_what_is_carried_counts_from_the_previous_official_close(
    quantity: int, cost: str, close: str, now: str, gain: str
) -> None:
    world = limited()
    world.tell(Carried(1, "AAPL", D(quantity), D(cost)))
    world.tell(Prices({"AAPL": D(now)}, {"AAPL": D(close)}))
    assert fact(world, "day_gain") == D(gain)


def test_a_position_carried_grown_and_reduced_counts_each_share_from_its_own_base() -> None:
    day = Day()
    day.carry("AAPL", D(100), restated=False)
    day.of("AAPL").look(OPEN, D(51), D(50))
    day.trade("AAPL", D(50), D(52), D("0.25"))
    day.trade("AAPL", D(-120), D(49), D("0.60"))
    # 100 from 50 and 50 from 52; 120 left at 49, 30 stand at 48: 120*49 + 30*48 - 100*50 - 50*52 = -280; fees 0.85
    assert day.gain({"AAPL": D(48)}) == D("-280.85")


def test_a_fill_before_any_other_price_has_cost_its_fee_and_no_more() -> None:
    day = Day()
    day.trade("AAPL", D(10), D(20), D("0.35"))
    assert day.gain({}) == D("-0.35")


def test_what_the_days_earlier_batches_traded_counts_once_and_from_its_price() -> None:
    world = limited()
    for _ in range(2):  # a gateway that died while it took them up tells them again
        world.tell(TradedBefore("AAPL", D(10), D(1010), D(1)))  # 10 of the 30 carried were bought today at 101
        world.tell(TradedBefore("MSFT", D(0), D(50), D(2)))  # a round trip that lost 50
    world.tell(Carried(1, "AAPL", D(30), D(90)))
    world.tell(Prices({"AAPL": D(100)}, {"AAPL": D(95)}))
    assert fact(world, "day_gain") == D("37.00")  # 20 x 5 - 10 x 1 - 1 - 50 - 2


def test_a_split_overnight_is_no_loss_in_whichever_terms_the_close_is_told() -> None:
    for close in (D(100), D(50), None):
        world = limited()
        world.tell(Restated(1, "AAPL", D(100), D(90), D(200), D(45), "as after a split"))
        world.tell(Prices({"AAPL": D(50)}, {"AAPL": close}))
        assert fact(world, "day_gain") == 0
        world.tell(Prices({"AAPL": D(49)}, {"AAPL": close}))
        assert fact(world, "day_gain") == -200
        assert world.held(1) == 200


# --- what is not known


def test_an_unknown_close_is_said_once_and_counts_from_the_first_price_seen() -> None:
    world = limited()
    world.tell(Carried(1, "AAPL", D(100), D(300)))  # far below its cost: that is no loss of today
    for now in ("100", "97", "95"):
        world.tell(Prices({"AAPL": D(now)}, {"AAPL": None}))
    assert fact(world, "day_gain") == -500
    assert [w for w in warnings(world) if "previous close is not known" in w] == warnings(world) != []
    assert world.held(1) == 100
    world.tell(Prices({"AAPL": D(95)}, {"AAPL": D(96)}))
    assert fact(world, "day_gain") == -100  # from the close, once it is told


def test_an_unknown_price_is_said_once_and_is_no_loss() -> None:
    world = limited()
    world.tell(Carried(1, "AAPL", D(100), D(300)))
    for _ in range(3):
        world.tell(Prices({}, {"AAPL": D(250)}))
    assert fact(world, "day_gain") == 0
    assert len(warnings(world)) == 1
    assert "its price is not known" in warnings(world)[0]


@pytest.mark.parametrize("said", [None, D(0), D(-5)])
def test_a_price_or_close_that_can_be_none_closes_nothing(said: Decimal | None) -> None:
    world = limited()
    hold(world, 1, "buy", 90)
    settle(world, 61)  # older than the next answer
    world.tell(BrokerSnapshot(True, (), (), (BrokerPosition("AAPL", D(90), D("100.01"), said, said),)))
    assert fact(world, "day_gain") == D("-0.90")  # by the price known before
    assert world.held(1) == 90


@pytest.mark.parametrize("last_equity", [D(0), D(-1)])
def test_a_day_that_no_equity_is_told_for_begins_with_the_first(last_equity: Decimal) -> None:
    world = World(desk_terms())
    told = msgspec.structs.replace(now_of(world.broker.account()), equity=D(50_000), last_equity=last_equity)
    world.desk.state.day.began_with = None
    world.tell(told)
    assert fact(world, "day_began_with") == 50_000


# --- the count goes on, and begins anew


def test_the_count_of_the_day_survives_a_restart_of_the_gateway() -> None:
    world = limited()
    world.tell(TradedBefore("MSFT", D(0), D(50), D(0)))
    world.tell(Carried(1, "AAPL", D(30), D(90)))
    world.tell(Prices({"AAPL": D(94)}, {"AAPL": D(95)}))
    hold(world, 2, "buy", 10, "MSFT")
    world.learn_account()
    before = world.desk.facts()
    world.crash()
    after = world.desk.facts()
    assert (before.day_gain, before.day_began_with) == (after.day_gain, after.day_began_with)


def test_after_resume_the_loss_counts_from_there() -> None:
    world = limited()
    hold(world, 1, "buy", 90)
    price(world, "AAPL", "75.01")  # 2,250 $ lost
    world.learn_account()
    assert world.states(world.order(2, "buy", 1))[-1] == "refused"
    world.learn_account()
    world.tell(Resume())
    world.learn_account()
    assert fact(world, "day_gain") == 0
    assert fact(world, "day_began_with") == 97_750
    assert world.states(world.order(2, "buy", 1))[-1] == "written"
    price(world, "AAPL", "50.01")  # and 2,250 $ more, above 2 % of 97,750 $
    world.learn_account()
    assert world.states(world.order(2, "buy", 1))[-1] == "refused"
    assert world.held(1) == 90


# --- activities


def test_what_moved_the_account_is_stored_and_named_from_this_day_on() -> None:
    world = limited()
    seen = [
        BrokerActivity("1::a", "CSW", OPEN - 20 * HOUR, D(-100)),  # yesterday's
        BrokerActivity("2::b", "CSW", OPEN - 9 * HOUR, D(-6000)),
    ]
    world.desk.state.broker_view.compared_at = 0
    world.tell(BrokerSnapshot(True, activities=tuple(seen)))
    world.tell(
        BrokerSnapshot(True, activities=(*seen, BrokerActivity("3::c", "DIV", OPEN - 20 * HOUR, D("12.5"), "AAPL")))
    )
    rows = [r for r in world.rows.values() if isinstance(r, ActivityRow)]
    assert [(r.activity_id, r.amount) for r in rows] == [("1::a", -100), ("2::b", -6000), ("3::c", D("12.5"))]
    assert world.desk.facts().activities == ("withdrawal of 6,000.00 $", "dividend of +12.50 $ for AAPL")


@pytest.mark.parametrize(
    ("kind", "amount", "symbol", "description", "text"),
    [
        ("CSD", "2500", "", "", "deposit of 2,500.00 $"),
        ("CSW", "-6000", "", "", "withdrawal of 6,000.00 $"),
        ("DIVNRA", "-1.5", "IBM", "", "dividend of -1.50 $ for IBM"),
        ("FEE", "-0.12", "", "TAF fee", "fee of the broker of -0.12 $"),
        ("JNLC", "100", "", "", "cash moved between accounts of +100.00 $"),
        ("ACATS", None, "GE", "", "shares moved from another broker for GE"),
        ("CSW", None, "", "", "withdrawal of an unknown amount"),
        ("NEWKIND", "3", "", "a thing of 2030", "a thing of 2030 (NEWKIND) of +3.00 $"),
    ],
)
def test_an_activity_is_said_in_words(kind: str, amount: str | None, symbol: str, description: str, text: str) -> None:
    told = BrokerActivity("id", kind, 0, None if amount is None else D(amount), symbol, description)
    assert told.text == text


# --- one frame


def test_equity_and_gains_are_of_one_moment_also_between_two_looks_at_the_account() -> None:
    world = limited(fees=PerShareCommission())
    world.learn_account()
    hold(world, 1, "buy", 90)
    hold(world, 2, "sell", 50, "MSFT")
    world.tell(Prices({"AAPL": D(103), "MSFT": D(98)}))
    facts = world.desk.facts()
    held = [p.quantity * (p.last - p.average_price) for p in facts.positions if p.last is not None]
    gains = sum(facts.realized.values(), sum(held, D(0)))
    assert facts.equity is not None
    assert round(gains, 2) == facts.day_gain == facts.account_gain == facts.equity - 100_000
