"""Arrival, cancel, replace, groups of orders, and the day."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.clock import NEVER
from liualgotrader.common.events import Counts, TradeTick
from liualgotrader.exchange.exchange_values import OrderChanges, Refusal
from liualgotrader.exchange.rules import ExchangeSession, Rules
from tests.fakes.exchange import CLOSE, OPEN, SECOND, Floor, refusal_of

LATE = Rules(latency_ns=500_000_000)


def floor_at_ten(**options: Any) -> Floor:
    floor = Floor(**options)
    floor.trade(10.00)
    floor.quote(9.99, 1000, 10.01, 1000)
    return floor


def test_an_order_is_pending_until_its_latency_has_passed() -> None:
    floor = floor_at_ten(rules=LATE)
    view = floor.submit("buy", "10", client_order_id="a")
    assert view.status == "pending_new"
    assert floor.exchange.next_wakeup() == floor.now + 500_000_000
    floor.wait(0.4)
    assert floor.events("a") == ["pending_new"]
    floor.wait(0.1)
    assert floor.events("a") == ["pending_new", "new", "fill"]
    assert floor.order("a").filled_at == view.submitted_at + 500_000_000


def test_order_and_execution_ids_are_uuids() -> None:
    floor = floor_at_ten()
    floor.send("buy", "10", client_order_id="a")
    execution = floor.updates[-1].execution
    assert execution is not None
    assert uuid.UUID(execution.execution_id).version == 5
    assert uuid.UUID(execution.order_id) == uuid.UUID(floor.order("a").id)


# --- cancel


def test_a_fill_may_come_before_a_cancel_that_was_taken() -> None:
    floor = floor_at_ten(rules=LATE)
    floor.send("buy", "10", "limit", limit_price="9.95", client_order_id="a")
    floor.wait()
    floor.cancel("a")
    assert floor.order("a").status == "pending_cancel"
    floor.seconds -= 0.9
    floor.quote(9.90, 4, 9.94, 4)
    floor.wait()
    assert floor.events("a") == ["pending_new", "new", "pending_cancel", "partial_fill", "canceled"]
    order = floor.order("a")
    assert (order.status, order.filled_quantity, order.filled_average_price) == ("canceled", 4, Decimal("9.94"))


def test_a_cancel_that_lost_the_race_is_told() -> None:
    floor = floor_at_ten(rules=LATE)
    floor.submit("buy", "10", client_order_id="a")
    floor.exchange.cancel("me", floor.order("a").id, floor.now)
    floor.wait()
    assert floor.events("a") == ["pending_new", "new", "fill", "order_cancel_rejected"]


def test_canceling_twice_is_no_error_and_canceling_a_filled_order_is() -> None:
    floor = floor_at_ten()
    floor.send("buy", "10", "limit", limit_price="9", client_order_id="a")
    floor.cancel("a")
    floor.cancel("a")
    assert floor.events("a").count("canceled") == 1
    floor.send("buy", "10", client_order_id="b")
    with pytest.raises(Refusal, match='already in "filled" state') as caught:
        floor.cancel("b")
    assert caught.value.status == 422


def test_cancel_all_names_every_open_order() -> None:
    floor = floor_at_ten()
    views = [floor.send("buy", "10", "limit", limit_price=p) for p in ("9", "9.10")]
    results = floor.exchange.cancel_all("me", floor.now)
    assert [(r.order_id, r.status) for r in results] == [(v.id, 200) for v in views]
    floor.wait()
    assert floor.exchange.orders("me") == []


# --- replace


def test_a_replacement_is_a_new_order_for_what_the_total_leaves() -> None:
    floor = floor_at_ten()
    floor.send("buy", "100", "limit", limit_price="9.95", client_order_id="a")
    floor.quote(9.90, 100, 9.95, 30)
    new = floor.replace("a", quantity="80", limit_price="9.96", client_order_id="a-r1")
    old = floor.order("a")
    assert (old.status, old.filled_quantity, old.replaced_by) == ("replaced", 30, new.id)
    assert new.replaces == old.id
    assert floor.order("a-r1").quantity == 50
    floor.quote(9.90, 100, 9.96, 500)
    assert floor.fills() == ["a 30 @ 9.95", "a-r1 50 @ 9.96"]
    assert floor.events("a") == ["pending_new", "new", "partial_fill", "pending_replace", "replaced"]


def test_a_replacement_is_rejected_when_the_old_order_fills_first() -> None:
    floor = floor_at_ten(rules=LATE)
    floor.send("buy", "10", "limit", limit_price="9.95", client_order_id="a")
    floor.wait()
    floor.replace("a", limit_price="9.90", client_order_id="b")
    floor.seconds -= 0.9
    floor.quote(9.90, 100, 9.94, 100)
    floor.wait()
    assert floor.events("a")[-2:] == ["fill", "order_replace_rejected"]
    assert floor.events("b") == ["pending_new", "rejected"]
    assert floor.exchange.account("me").reserved == 0


def test_a_replacement_keeps_the_larger_of_both_reserved() -> None:
    floor = floor_at_ten(rules=LATE)
    floor.send("buy", "100", "limit", limit_price="9.00", client_order_id="a")
    floor.wait()
    floor.replace("a", limit_price="9.50")
    assert floor.exchange.account("me").reserved == 950
    floor.wait()
    assert floor.exchange.account("me").reserved == 950


UNREPLACEABLE = [
    ("nothing changes", {"limit_price": "9.00"}, "order parameters are not changed"),
    ("less than is filled", {"quantity": "0"}, "qty must be > 0"),
    ("a fraction", {"quantity": "1.5"}, "whole shares"),
    ("a stop it has not", {"stop_price": "12"}, "no stop_price"),
    ("a sub-penny price", {"limit_price": "9.001"}, "sub-penny"),
    ("more than there is money for", {"quantity": "100000"}, "insufficient buying power"),
]


@pytest.mark.parametrize(("changes", "words"), [c[1:] for c in UNREPLACEABLE], ids=[c[0] for c in UNREPLACEABLE])
def test_a_replacement_is_refused_for(changes: dict[str, str], words: str) -> None:
    floor = floor_at_ten()
    floor.send("buy", "10", "limit", limit_price="9.00", client_order_id="a")
    with pytest.raises(Refusal, match=words):
        floor.replace("a", **changes)
    assert floor.order("a").status == "new"


def test_an_order_that_has_not_arrived_cannot_be_replaced() -> None:
    floor = floor_at_ten(rules=LATE)
    floor.submit("buy", "10", "limit", limit_price="9.00", client_order_id="a")
    with pytest.raises(Refusal, match="isn't sent to exchange yet"):
        floor.exchange.replace("me", floor.order("a").id, floor.now, OrderChanges(limit_price=Decimal("9.5")))


# --- brackets


def bracket(floor: Floor, quantity: str = "100", **more: Any) -> Any:
    return floor.send(
        "buy", quantity, "limit", limit_price="10.01", order_class="bracket", take_profit_limit="10.50",
        stop_loss_stop="9.50", client_order_id="entry", **more,
    )  # fmt: skip


def test_exits_are_held_until_the_entry_is_filled_completely() -> None:
    floor = floor_at_ten()
    floor.quote(9.99, 1000, 10.01, 60)
    view = bracket(floor)
    assert [(leg.status, leg.side, leg.type) for leg in view.legs] == [
        ("held", "sell", "limit"),
        ("held", "sell", "stop"),
    ]
    assert {leg.status for leg in floor.order("entry").legs} == {"held"}
    floor.quote(9.99, 1000, 10.01, 61)
    assert [(leg.status, leg.quantity) for leg in floor.order("entry").legs] == [("new", 100), ("new", 100)]
    assert floor.exchange.position("me", "X").quantity_available == 0


def test_the_other_exit_is_canceled_in_the_same_event() -> None:
    floor = floor_at_ten()
    bracket(floor)
    before = len(floor.updates)
    floor.quote(10.55, 1000, 10.56, 1000)
    assert [(u.event, u.order.type, u.at) for u in floor.updates[before:]] == [
        ("fill", "limit", floor.now),
        ("canceled", "stop", floor.now),
    ]
    with pytest.raises(Refusal):
        floor.exchange.position("me", "X")


def test_a_partly_filled_target_shrinks_the_stop() -> None:
    floor = floor_at_ten()
    bracket(floor)
    floor.quote(10.50, 40, 10.52, 1000)
    target, stop = floor.order("entry").legs
    assert (target.filled_quantity, stop.quantity) == (40, 60)
    floor.quote(9.40, 1000, 9.42, 1000)
    floor.trade(9.41)
    target, stop = floor.order("entry").legs
    assert (target.status, stop.status, stop.filled_quantity) == ("canceled", "filled", 60)


def test_a_stop_that_is_partly_sold_shrinks_the_target() -> None:
    floor = floor_at_ten()
    bracket(floor)
    floor.quote(9.40, 70, 9.42, 1000)
    floor.trade(9.41)
    target, stop = floor.order("entry").legs
    assert (target.quantity, stop.filled_quantity, stop.status) == (30, 70, "partially_filled")
    floor.quote(10.60, 1000, 10.62, 1000)
    assert sum(leg.filled_quantity for leg in floor.order("entry").legs) == 100
    assert floor.exchange.positions("me") == []


def filled_while_shares_were_sold(type_: str = "market", **terms: str) -> Floor:
    """A bracket for 50: 30 are filled and given to an order that closes them, then the other 20 are filled."""
    floor = floor_at_ten()
    floor.quote(9.99, 1000, 10.01, 30)
    bracket(floor, "50")
    floor.send("sell", "30", type_, **terms)
    floor.quote(9.99, 1000, 10.01, 20)
    assert floor.order("entry").status == "filled"
    return floor


def test_exits_close_only_what_is_left_when_their_entry_is_filled() -> None:
    floor = filled_while_shares_were_sold()
    assert [leg.quantity for leg in floor.order("entry").legs] == [20, 20]
    floor.quote(10.50, 1000, 10.52, 100)
    assert floor.exchange.positions("me") == []
    assert [leg.status for leg in floor.order("entry").legs] == ["filled", "canceled"]


def test_exits_leave_what_another_order_closes() -> None:
    floor = filled_while_shares_were_sold("limit", limit_price="12.00")
    assert [leg.quantity for leg in floor.order("entry").legs] == [20, 20]
    assert floor.exchange.position("me", "X").quantity_available == 0
    floor.quote(12.00, 1000, 12.02, 100)
    assert floor.exchange.positions("me") == []


def test_canceling_one_of_the_group_cancels_all_of_it() -> None:
    floor = floor_at_ten()
    floor.quote(9.99, 1000, 10.01, 60)
    view = bracket(floor)
    floor.cancel(view.legs[0].client_order_id)
    group = floor.order("entry")
    assert [group.status, *(leg.status for leg in group.legs)] == ["canceled"] * 3
    assert group.filled_quantity == 60


def test_an_exit_is_replaced_by_its_own_id_and_stays_in_the_group() -> None:
    floor = floor_at_ten()
    stop = bracket(floor).legs[1]
    floor.replace(stop.client_order_id, stop_price="9.80", client_order_id="stop-2")
    assert [leg.client_order_id for leg in floor.order("entry").legs][1] == "stop-2"
    floor.quote(9.70, 1000, 9.72, 1000)
    floor.trade(9.71)
    assert floor.fills()[-1] == "stop-2 100 @ 9.70"
    assert floor.order("entry").legs[0].status == "canceled"


def test_an_oco_is_a_target_with_its_stop_as_leg_and_holds_the_shares_once() -> None:
    floor = floor_at_ten()
    floor.send("buy", "100")
    oco = floor.send(
        "sell", "100", "limit", order_class="oco", take_profit_limit="10.50", stop_loss_stop="9.50",
        stop_loss_limit="9.45", client_order_id="oco",
    )  # fmt: skip
    assert (oco.limit_price, oco.legs[0].type, oco.legs[0].limit_price) == (
        Decimal("10.50"),
        "stop_limit",
        Decimal("9.45"),
    )
    assert floor.order("oco").legs[0].status == "new"
    assert floor.exchange.position("me", "X").quantity_available == 0
    floor.quote(9.46, 1000, 9.48, 1000)
    floor.trade(9.47)
    assert (floor.order("oco").status, floor.order("oco").legs[0].status) == ("canceled", "filled")


@pytest.mark.parametrize(("target", "stop"), [("a", "b"), ("b", "a")])
def test_exits_that_are_replaced_at_one_instant_stay_a_pair(target: str, stop: str) -> None:
    floor = floor_at_ten(rules=LATE)
    floor.send("buy", "100")
    floor.wait(1)
    oco = floor.send(
        "sell", "100", "limit", order_class="oco", take_profit_limit="10.50", stop_loss_stop="9.50",
        client_order_id="oco",
    )  # fmt: skip
    floor.wait(1)
    exchange, now = floor.exchange, floor.now
    exchange.replace("me", oco.id, now, OrderChanges(limit_price=Decimal("10.60"), client_order_id=target))
    exchange.replace("me", oco.legs[0].id, now, OrderChanges(stop_price=Decimal("9.60"), client_order_id=stop))
    floor.wait(1)
    assert [leg.client_order_id for leg in floor.order(target).legs] == [stop]
    floor.replace(stop, stop_price="9.70", client_order_id="stop-3")
    floor.wait(1)
    assert [leg.client_order_id for leg in floor.order(target).legs] == ["stop-3"]
    floor.quote(10.60, 1000, 10.62, 1000)
    assert (floor.order(target).status, floor.order("stop-3").status) == ("filled", "canceled")


def test_an_oto_sends_its_one_exit_after_the_entry() -> None:
    floor = floor_at_ten()
    floor.send("sell", "100", order_class="oto", stop_loss_stop="10.50", client_order_id="short")
    leg = floor.order("short").legs[0]
    assert (leg.status, leg.side, leg.type) == ("new", "buy", "stop")
    floor.quote(10.54, 1000, 10.56, 1000)
    floor.trade(10.55)
    assert floor.fills()[-1].endswith("100 @ 10.56")
    assert floor.exchange.positions("me") == []


def test_orders_are_listed_flat_or_nested() -> None:
    floor = floor_at_ten()
    bracket(floor)
    flat = floor.exchange.orders("me", status="all", direction="asc")
    assert len(flat) == 3
    assert all(view.legs == () for view in flat)
    nested = floor.exchange.orders("me", status="all", nested=True)
    assert [(v.client_order_id, len(v.legs)) for v in nested] == [("entry", 2)]


# --- the day


def test_an_order_before_the_open_is_accepted_and_becomes_new_at_the_open() -> None:
    floor = Floor(start=-600)
    floor.quote(9.90, 100, 10.10, 100)  # a quote of the pre-market fills nothing in the session
    floor.send("buy", "10", client_order_id="a")
    floor.wait(600)
    assert floor.events("a") == ["accepted", "new"]
    assert floor.updates[-1].at == OPEN
    floor.quote(9.99, 100, 10.01, 100)
    assert floor.fills() == ["a 10 @ 10.01"]


def test_a_day_order_expires_at_the_close_and_its_fills_stay() -> None:
    floor = floor_at_ten()
    floor.send("buy", "2000", "limit", limit_price="10.01", client_order_id="a")
    floor.send("buy", "10", "limit", limit_price="9", time_in_force="gtc", client_order_id="g")
    floor.exchange.advance(CLOSE)
    order = floor.order("a")
    assert (order.status, order.filled_quantity, order.expired_at) == ("expired", 1000, CLOSE)
    assert floor.order("g").status == "new"


def test_a_day_order_after_the_close_waits_for_the_next_session() -> None:
    floor = Floor(start=23_500)
    floor.trade(10.0)
    floor.send("buy", "10", client_order_id="a")
    floor.exchange.advance(CLOSE + 4 * 3600 * SECOND)
    assert floor.order("a").status == "accepted"
    next_open = OPEN + 24 * 3600 * SECOND
    floor.exchange.begin_session(ExchangeSession(opens_at=next_open, closes_at=next_open + 23_400 * SECOND))
    floor.seconds = 24 * 3600
    floor.wait(0)
    floor.quote(9.99, 100, 10.01, 100)
    assert floor.fills() == ["a 10 @ 10.01"]


def test_an_extended_limit_order_trades_before_the_open_and_expires_in_the_evening() -> None:
    floor = Floor(start=-3600)
    floor.quote(9.90, 100, 10.00, 40)
    floor.send("buy", "100", "limit", limit_price="10", extended_hours=True, client_order_id="a")
    floor.send("buy", "100", "limit", limit_price="10", client_order_id="b")
    assert floor.fills() == ["a 40 @ 10.00"]
    floor.exchange.advance(CLOSE)
    assert floor.order("a").status == "partially_filled"
    assert floor.order("b").status == "expired"
    floor.exchange.advance(CLOSE + 4 * 3600 * SECOND)
    assert floor.order("a").status == "expired"


def test_stops_are_not_set_off_outside_the_session() -> None:
    floor = floor_at_ten()
    floor.send("buy", "10")
    floor.send("sell", "10", "stop", stop_price="9.50", time_in_force="gtc", client_order_id="s")
    floor.seconds = 23_401
    floor.quote(9.40, 100, 9.42, 100)
    floor.trade(9.41)
    assert floor.order("s").status == "new"


def test_opening_auction_orders_fill_at_the_first_print_or_are_canceled() -> None:
    floor = Floor(start=-600)
    for name, limit in (("in", "10.10"), ("out", "10.00")):
        floor.send("buy", "100", "limit", limit_price=limit, time_in_force="opg", client_order_id=name)
    floor.seconds = 0.5
    floor.trade(10.05, 20)
    assert floor.fills() == ["in 100 @ 10.05"]
    assert floor.order("out").status == "canceled"


def test_closing_auction_orders_fill_at_the_first_print_from_the_close_on() -> None:
    floor = floor_at_ten()
    floor.send("buy", "100", time_in_force="cls", client_order_id="a")
    floor.seconds = 23_399
    floor.trade(10.20, 5000)
    assert floor.fills() == ["a 100 @ 10.20"]


def test_without_a_closing_print_the_last_trade_is_the_close() -> None:
    floor = floor_at_ten()
    floor.send("buy", "100", time_in_force="cls", client_order_id="a")
    floor.seconds = 23_400
    floor.wait(121)
    assert floor.fills() == ["a 100 @ 10.00"]


def test_auctions_whose_print_is_marked_take_its_price_and_wait_for_it() -> None:
    marked = ExchangeSession(
        opens_at=OPEN, closes_at=CLOSE, opening_crosses=frozenset({"X"}), closing_crosses=frozenset({"X", "Y"})
    )
    floor = Floor(start=-600, session=marked)
    floor.send("buy", "100", time_in_force="opg", limit_price="11", type_="limit", client_order_id="o")
    floor.seconds = 0
    floor.trade(10.05)
    floor.wait(240)
    assert floor.fills() == []
    floor.exchange.on_event(TradeTick("X", floor.now, 10.20, 90_000.0, int(Counts.ALL | Counts.OPENING_CROSS)))
    floor.wait()
    assert floor.fills() == ["o 100 @ 10.20"]
    floor.trade(20.00, symbol="Y")
    for name, symbol in (("c", "X"), ("never", "Y")):
        floor.send("buy", "100", time_in_force="cls", client_order_id=name, symbol=symbol)
    floor.seconds = 23_400
    floor.trade(10.30)
    floor.exchange.on_event(TradeTick("X", floor.now, 10.40, 90_000.0, int(Counts.ALL | Counts.CLOSING_CROSS)))
    floor.wait(1799)
    assert floor.fills()[1:] == ["c 100 @ 10.40", "never 100 @ 20.00"], "what was announced and never came: the last"


def test_a_day_order_that_the_close_overtook_ends_with_its_day() -> None:
    floor = floor_at_ten(rules=LATE)
    floor.seconds = 23_399 - 1 + 0.8
    floor.submit("buy", "10", "limit", limit_price="10.05", client_order_id="a")
    floor.wait(1)
    assert floor.order("a").status == "expired"


def test_the_exits_of_a_day_bracket_end_with_the_day() -> None:
    floor = floor_at_ten()
    bracket(floor)
    floor.exchange.advance(CLOSE)
    assert [leg.status for leg in floor.order("entry").legs] == ["expired", "expired"]


def test_nothing_is_due_once_the_day_is_over() -> None:
    floor = floor_at_ten()
    floor.exchange.advance(CLOSE + 4 * 3600 * SECOND)
    assert floor.exchange.next_wakeup() == NEVER


def test_a_bracket_needs_a_flat_or_growing_position() -> None:
    floor = floor_at_ten()
    floor.send("sell", "100")
    refusal = refusal_of(floor, "buy", "50", order_class="bracket", take_profit_limit="11", stop_loss_stop="9")
    assert refusal.message == "bracket orders must be entry orders"


def test_a_gtc_order_lives_over_the_night_and_runs_out_after_ninety_days() -> None:
    floor = floor_at_ten()
    floor.send("buy", "10", "limit", limit_price="9", time_in_force="gtc", client_order_id="a")
    floor.send("buy", "10", "limit", limit_price="9", time_in_force="gtc", client_order_id="b")
    next_open = OPEN + 24 * 3600 * SECOND
    floor.exchange.begin_session(ExchangeSession(opens_at=next_open, closes_at=next_open + 23_400 * SECOND))
    floor.seconds = 24 * 3600
    floor.quote(8.90, 100, 9.00, 10)
    assert floor.fills() == ["a 10 @ 9.00"]
    quarter_past_the_close = CLOSE + 900 * SECOND
    assert floor.order("b").expires_at == quarter_past_the_close + 90 * 24 * 3600 * SECOND
    floor.exchange.advance(quarter_past_the_close + 90 * 24 * 3600 * SECOND)
    assert floor.order("b").status == "expired"


def test_canceling_an_exit_also_cancels_the_replacement_of_its_entry() -> None:
    floor = floor_at_ten(rules=LATE)
    floor.send("buy", "10", "limit", limit_price="9.90", order_class="oto", stop_loss_stop="9.50", client_order_id="a")
    floor.wait()
    floor.exchange.cancel("me", floor.order("a").legs[0].id, floor.now)
    floor.exchange.replace(
        "me", floor.order("a").id, floor.now, OrderChanges(limit_price=Decimal("9.80"), client_order_id="b")
    )
    floor.seconds += 0.1
    floor.wait()
    assert (floor.order("a").status, floor.order("b").status) == ("replaced", "canceled")
    assert floor.exchange.orders("me") == []
