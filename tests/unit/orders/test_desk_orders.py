"""The life of an order at the desk: written down, sent, acknowledged, filled, taken back, replaced, found again."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.common.orders import (
    BrokerExecution,
    BrokerOrder,
    BrokerUpdate,
    CaughtUp,
    Declare,
    Fill,
    OrderNews,
    OrderState,
    Protect,
    Protection,
    ReplaceIntent,
    Side,
)
from liualgotrader.common.rows import OrderEventRow
from liualgotrader.orders.desk_messages import BrokerSnapshot, Cancel, LookUp, Reconcile, Reconnected, Send, Tell
from liualgotrader.orders.order import OF_BROKER, TABLE, OrderStep, after
from tests.fakes.broker import BATCH, WIDE, World, desk_terms, now_of

S = OrderState


def filled(world: World, slot: int, side: str, quantity: int, symbol: str = "AAPL", **terms: object) -> str:
    name = world.order(slot, side, quantity, symbol, **terms)
    world.run()
    world.wait(1)
    world.run()
    return name


# --- the table


@pytest.mark.parametrize(
    ("state", "step", "becomes"),
    [
        (S.WRITTEN, OrderStep.SENT, S.SENT),
        (S.SENT, OrderStep.SILENCE, S.UNKNOWN),
        (S.SENT, OrderStep.FILLED, S.FILLED),
        (S.UNKNOWN, OrderStep.ACKNOWLEDGED, S.ACKNOWLEDGED),
        (S.UNKNOWN, OrderStep.NOT_THERE, S.REJECTED),
        (S.ACKNOWLEDGED, OrderStep.SILENCE, None),
        (S.ACKNOWLEDGED, OrderStep.CANCEL_ASKED, S.PENDING_CANCEL),
        (S.PARTIALLY_FILLED, OrderStep.ACKNOWLEDGED, None),
        (S.PENDING_CANCEL, OrderStep.PARTIALLY_FILLED, None),
        (S.PENDING_CANCEL, OrderStep.FILLED, S.FILLED),
        (S.PENDING_CANCEL, OrderStep.ACKNOWLEDGED, None),
        (S.PENDING_CANCEL, OrderStep.REOPENED, S.ACKNOWLEDGED),
        (S.PENDING_REPLACE, OrderStep.REPLACED, S.REPLACED),
        (S.CANCELED, OrderStep.ACKNOWLEDGED, None),
        (S.CANCELED, OrderStep.FILLED, S.FILLED),
        (S.FILLED, OrderStep.CANCELED, None),
        (S.REJECTED, OrderStep.APPEARED, S.ACKNOWLEDGED),
        (S.REFUSED, OrderStep.FILLED, None),
    ],
)
def test_one_step_of_the_table(state: S, step: OrderStep, becomes: S | None) -> None:
    assert after(state, step) is becomes


def test_a_working_order_that_has_filled_goes_back_to_partially_filled() -> None:
    assert after(S.PENDING_CANCEL, OrderStep.REOPENED, filled=True) is S.PARTIALLY_FILLED


def test_the_table_knows_every_state_and_only_a_late_fill_or_finding_leaves_a_final_one() -> None:
    assert set(TABLE) == set(S)
    assert set(OF_BROKER) == set(S) - {S.WRITTEN, S.SENT, S.UNKNOWN, S.REFUSED}
    for state in S:
        if state.is_final:
            assert set(TABLE[state]) <= {OrderStep.FILLED, OrderStep.APPEARED}


# --- sending


def test_the_row_and_the_news_written_precede_the_sending(world: World) -> None:
    world.commands.clear()
    number = len(world.rows)
    name = world.order(1, "buy", 10)
    assert [type(c) for c in world.commands] == [Send]
    assert world.order_rows()[name].state == "written"
    assert world.states(name) == ["written"]
    events = [r for n, r in world.rows.items() if n > number and isinstance(r, OrderEventRow)]
    assert [(e.number, e.event) for e in events] == [(1, "approved")]


def test_an_intent_that_comes_again_changes_nothing(world: World) -> None:
    name = world.order(1, "buy", 10)
    again = world.desk.state.orders.by_id[name].intent
    assert world.tell(again) == []


def test_prices_are_rounded_away_from_the_market(world: World) -> None:
    world.commands.clear()
    world.order(1, "buy", 1, limit_price=Decimal("99.9899"))
    world.order(1, "buy", 1, "MSFT", limit_price=Decimal("99.999"))
    assert [c.order.limit_price for c in world.commands if isinstance(c, Send)] == [Decimal("99.98"), Decimal("99.99")]


def test_silence_leads_to_a_question_and_never_to_a_second_order(world: World) -> None:
    name = world.order(1, "buy", 10)
    world.carry_out(fault="mute")  # the broker has it
    world.hear()
    assert world.states(name)[-1] == "unknown"
    assert [type(c) for c in world.commands] == [LookUp]
    world.run()
    assert world.states(name)[-1] == "acknowledged"
    assert len(now_of(world.broker.orders(since=0))) == 1


def test_an_order_that_did_not_arrive_is_sent_again_under_its_id_while_it_is_valid(world: World) -> None:
    name = world.order(1, "buy", 10)
    world.carry_out(fault="lost")
    world.run()
    assert [o.client_order_id for o in now_of(world.broker.orders(since=0))] == [name]


def test_an_order_that_did_not_arrive_and_is_too_old_is_given_up(world: World) -> None:
    name = world.order(1, "buy", 10)
    world.carry_out(fault="lost")
    world.machine += 6 * SECOND
    world.run()
    assert now_of(world.broker.orders(since=0)) == []
    assert world.order_rows()[name].reason == "it never reached the broker"


def test_an_order_given_up_that_appears_after_all_is_taken_back_and_its_fills_are_booked(world: World) -> None:
    name = world.order(1, "buy", 10, limit_price=Decimal("99.00"))
    late = world.commands[0]
    world.carry_out(fault="lost")
    world.machine += 6 * SECOND
    world.run()
    assert isinstance(late, Send)
    now_of(world.broker.submit(late.order))
    world._collect()
    world.calm()
    assert world.states(name)[-3:] == ["acknowledged", "pending_cancel", "canceled"]


def reckless() -> World:
    """Return a world whose desk lets pass what only the broker refuses."""
    limits = {f: 1000.0 for f in ("order_equity_fraction", "position_equity_fraction", "gross_equity_fraction")}
    world = World(desk_terms(limits=msgspec.structs.replace(WIDE, **limits)))
    world.run()
    return world


@pytest.mark.parity(30)
def test_the_brokers_no_is_told_with_its_words() -> None:
    world = reckless()
    name = world.order(1, "buy", 10_000)  # a million dollars
    world.run()
    row = world.order_rows()[name]
    assert (row.state, row.reason) == ("rejected", "insufficient buying power")


def test_three_rejections_in_a_row_stop_the_same_entry_for_a_minute() -> None:
    world = reckless()
    for _ in range(3):
        world.order(1, "buy", 10_000)
        world.run()
    assert world.states(world.order(1, "buy", 10_000)) == ["refused"]
    assert world.states(world.order(2, "buy", 10_000)) == ["written"]  # another slot may try
    world.run()
    world.wait(61)
    world.run()
    assert world.states(world.order(1, "buy", 1))[0] == "written"


# --- fills


def execution(order: BrokerOrder, upto: int, quantity: int, price: str = "100", name: str = "") -> BrokerExecution:
    return BrokerExecution(
        name or f"{order.broker_order_id}/{upto}",
        order.broker_order_id,
        order.symbol,
        order.side,
        Decimal(quantity),
        Decimal(price),
        Decimal("0.01"),
        order.updated_at,
        Decimal(upto),
    )


def view(world: World, name: str, state: S, filled: int, **changes: object) -> BrokerOrder:
    fields: dict[str, object] = {
        "broker_order_id": f"b-{name}",
        "client_order_id": name,
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal(100),
        "filled_quantity": Decimal(filled),
        "average_price": Decimal("100") if filled else None,
        "state": state,
        "vendor_status": str(state),
        "submitted_at": world.now,
        "updated_at": world.now,
    }
    return BrokerOrder(**(fields | changes))  # type: ignore[arg-type]


def told(world: World, name: str, state: S, filled: int, quantity: int = 0, **changes: object) -> BrokerUpdate:
    seen = view(world, name, state, filled, **changes)
    return BrokerUpdate(str(state), seen, world.now, execution(seen, filled, quantity) if quantity else None)


def fills(world: World) -> list[tuple[Decimal, Decimal, Decimal]]:
    """Return (quantity, cumulative, position) of every fill told to slot 1."""
    news = world.desk.news(1)
    return [(n.quantity, n.cumulative_quantity, n.position) for n in news if isinstance(n, Fill)]


@pytest.mark.parity(30)
def test_a_fill_delivered_twice_is_booked_once(world: World) -> None:
    name = world.order(1, "buy", 100)
    update = told(world, name, S.PARTIALLY_FILLED, 40, 40)
    world.tell(update)
    world.tell(update)
    assert fills(world) == [(40, 40, 40)]


@pytest.mark.parity(30)
def test_fills_out_of_order_are_all_booked_and_the_end_waits_for_the_last(world: World) -> None:
    name = world.order(1, "buy", 100)
    world.tell(told(world, name, S.FILLED, 100, 60))
    assert world.states(name)[-1] == "partially_filled" or world.states(name)[-1] == "written"
    world.tell(told(world, name, S.PARTIALLY_FILLED, 40, 40))
    assert fills(world) == [(60, 60, 60), (40, 100, 100)]
    assert world.states(name)[-1] == "filled"


@pytest.mark.parity(30)
def test_a_fill_after_a_cancel_is_booked(world: World) -> None:
    name = world.order(1, "buy", 100)
    world.tell(told(world, name, S.CANCELED, 0))
    world.tell(told(world, name, S.PARTIALLY_FILLED, 30, 30))
    assert (fills(world), world.states(name)[-1]) == ([(30, 30, 30)], "canceled")
    assert world.order_rows()[name].filled_quantity == 30


def test_an_answer_older_than_an_update_takes_nothing_back(world: World) -> None:
    name = world.order(1, "buy", 100)
    world.tell(told(world, name, S.CANCELED, 0))
    world.tell(told(world, name, S.ACKNOWLEDGED, 0, updated_at=world.now - SECOND))
    assert world.states(name)[-1] == "canceled"


def test_a_lost_fill_is_booked_from_the_executions(world: World) -> None:
    name = world.order(1, "buy", 100)
    seen = view(world, name, S.FILLED, 100)
    world.tell(told(world, name, S.FILLED, 100))
    world.tell(BrokerSnapshot(True, (seen,), (execution(seen, 30, 30), execution(seen, 100, 70)), ()))
    assert fills(world) == [(30, 30, 30), (70, 100, 100)]
    assert world.states(name)[-1] == "filled"


def test_a_lost_fill_that_no_execution_shows_is_booked_at_the_average_price_once(world: World) -> None:
    name = world.order(1, "buy", 100)
    world.tell(told(world, name, S.PARTIALLY_FILLED, 40, 40, average_price=Decimal(100)))
    seen = view(world, name, S.FILLED, 100, average_price=Decimal("103"))
    for _ in range(3):
        world.tell(BrokerSnapshot(True, (seen,), (), ()))
    assert fills(world) == [(40, 40, 40), (60, 100, 100)]
    assert world.trade_rows()[-1].price == Decimal(105)  # 40 x 100 + 60 x 105 = 100 x 103
    world.tell(told(world, name, S.FILLED, 100, 60))  # the true one comes after all
    assert len(fills(world)) == 2


# --- cancel and replace


def test_a_cancel_before_the_acknowledgement_waits_for_it(world: World) -> None:
    name = world.order(1, "buy", 10, limit_price=Decimal("99.50"))
    world.cancel(name, 1)
    assert [type(c) for c in world.commands] == [Send]
    world.carry_out()
    world.hear()
    assert [type(c) for c in world.commands] == [Cancel]
    world.calm()
    assert world.states(name)[-1] == "canceled"


@pytest.mark.parity(30)
def test_an_order_older_than_its_lifetime_is_taken_back(world: World) -> None:
    name = world.order(1, "buy", 10, limit_price=Decimal("99.50"), cancel_after=5 * SECOND)
    world.run()
    world.wait(4)
    world.run()
    assert world.states(name)[-1] == "acknowledged"
    world.wait(2)
    world.calm()
    assert (world.states(name)[-1], world.order_rows()[name].reason) == ("canceled", "its lifetime has passed")


def test_a_cancel_that_is_lost_is_asked_again(world: World) -> None:
    name = filled(world, 1, "buy", 10, limit_price=Decimal("99.50"))
    world.cancel(name, 1)
    world.carry_out(fault="lost")
    world.calm()
    assert world.states(name)[-1] == "canceled"


def test_a_replacement_takes_over_and_the_old_id_still_names_the_order(world: World) -> None:
    name = filled(world, 1, "buy", 10, limit_price=Decimal("99.50"))
    world.tell(ReplaceIntent(name, 1, world.now, None, Decimal("99.60")))
    world.run()
    world.wait(1)
    world.run()
    assert world.states(name)[-1] == "replaced"
    assert world.states(f"{name}-r1")[-1] == "acknowledged"
    assert world.order_rows()[f"{name}-r1"].limit_price == Decimal("99.60")
    world.cancel(name, 1)
    world.calm()
    assert world.states(f"{name}-r1")[-1] == "canceled"


def test_a_replacement_counts_once_against_the_limits(world: World) -> None:
    name = filled(world, 1, "buy", 10, limit_price=Decimal("99.50"))
    before = world.desk.state.positions.total.either
    world.tell(ReplaceIntent(name, 1, world.now, Decimal(10), Decimal("99.50")))
    assert world.desk.state.positions.total.either == before


def test_a_replacement_that_the_broker_declines_leaves_the_order_as_it_was(world: World) -> None:
    name = filled(world, 1, "buy", 10, limit_price=Decimal("99.50"))
    world.tell(ReplaceIntent(name, 1, world.now, None, Decimal("99.50")))  # nothing would change
    world.run()
    assert world.states(f"{name}-r1")[-1] == "rejected"
    assert world.states(name)[-1] == "acknowledged"


# --- consumers


def test_a_consumer_that_lost_its_memory_is_told_everything_again(world: World) -> None:
    name = filled(world, 1, "buy", 10, planned_stop=Decimal(95))
    world.tell(Protect(1, "AAPL", world.now, Decimal(97), Decimal(110)))
    said = [d.news for d in world.tell(Declare(1, "alpha", True, 0)) if isinstance(d, Tell)]
    assert list(said[: len(world.desk.news(1))]) == list(world.desk.news(1))
    caught = [n for n in said if isinstance(n, CaughtUp)]
    assert caught == [CaughtUp(1, len(world.desk.news(1)), 2)]
    assert isinstance(said[len(world.desk.news(1)) - 1], Protection)
    assert name.endswith("-1")


def test_a_fill_carries_the_stop_of_its_order_and_the_protection_moves_it(world: World) -> None:
    filled(world, 1, "buy", 10, planned_stop=Decimal(95), planned_target=Decimal(120), indicators={"buy": {"rsi": 3}})
    fill = next(n for n in world.desk.news(1) if isinstance(n, Fill))
    assert (fill.planned_stop, fill.planned_target, fill.indicators) == (95, 120, {"buy": {"rsi": 3}})
    assert world.trade_rows()[0].planned_stop == 95
    world.tell(Protect(1, "AAPL", world.now, Decimal(97), None))
    assert world.desk.facts().positions[0].stop == 97


# --- what is not in the journal


def test_an_order_of_ours_that_the_journal_lacks_is_adopted_and_a_foreign_one_is_not(world: World) -> None:
    mine = view(world, f"liu-{BATCH.replace('-', '')[:12]}-1-77", S.ACKNOWLEDGED, 0)
    foreign = view(world, "somebody-else", S.ACKNOWLEDGED, 0)
    assert world.tell(BrokerUpdate("new", foreign, world.now)) == []
    world.tell(BrokerUpdate("new", mine, world.now))
    assert world.order_rows()[mine.client_order_id].slot == 1
    caught = world.tell(Declare(1, "alpha", True, 0))
    assert any(isinstance(d, Tell) and d.news == CaughtUp(1, len(world.desk.news(1)), 78) for d in caught)


def test_the_exits_of_a_bracket_trade_for_their_parents_position(world: World) -> None:
    name = filled(world, 1, "buy", 10, take_profit=Decimal("103"), stop_loss=Decimal("97"))
    world.wait(1)
    world.run()
    assert world.held(1) == 10
    world.quote("AAPL", 103.50, 103.52)
    world.trade("AAPL", 103.51)
    world.calm()
    assert world.held(1) == 0
    rows = world.order_rows()
    assert len(rows) == 3
    assert sorted(r.state for n, r in rows.items() if n != name) == ["canceled", "filled"]


@pytest.mark.parametrize("time_in_force", ["day", "gtc"])
def test_rows_of_a_brackets_exits_say_how_long_the_exchange_keeps_them(world: World, time_in_force: str) -> None:
    target, stop = Decimal("103"), Decimal("97")
    name = filled(world, 1, "buy", 10, time_in_force=time_in_force, take_profit=target, stop_loss=stop)
    legs = {leg.client_order_id: leg.time_in_force for leg in world.exchange.order_by_client_id("me", name).legs}
    assert {row.client_order_id: row.time_in_force for row in world.order_rows().values()} == {
        name: time_in_force,
        **legs,
    }
    assert [*legs.values()] == [time_in_force] * 2


def test_a_gap_in_the_streams_numbers_asks_for_the_broker_s_books(world: World) -> None:
    name = filled(world, 1, "buy", 10, limit_price=Decimal("99.00"))
    newest = world.desk.state.broker_view.sequence
    seen = now_of(world.broker.order_by_client_id(name))
    assert seen is not None
    decided = world.tell(BrokerUpdate("new", seen, world.now, None, newest + 2))
    assert [type(d).__name__ for d in decided] == ["Reconcile"]


def test_news_of_states_carry_the_quantity_that_has_filled(world: World) -> None:
    name = world.order(1, "buy", 100)
    world.tell(told(world, name, S.PARTIALLY_FILLED, 40, 40))
    world.tell(told(world, name, S.CANCELED, 40))
    last = [n for n in world.desk.news(1) if isinstance(n, OrderNews)][-1]
    assert (last.state, last.quantity, last.filled_quantity) == (S.CANCELED, 100, 40)


def test_a_reconnection_asks_once_however_often_it_happens(world: World) -> None:
    asked = [d for _ in range(3) for d in world.tell(Reconnected()) if isinstance(d, Reconcile)]
    assert len(asked) == 1
