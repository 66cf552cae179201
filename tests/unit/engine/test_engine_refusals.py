"""Orders that come to nothing: stored with their reason, counted, said once; and how to size one that goes through."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.orders import AccountNews, CaughtUp, OrderNews, OrderState, Side
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.common.tradeplan import Limits
from liualgotrader.engine.outputs import LogLine, Output
from liualgotrader.strategies.base import Strategy, StrategyType
from tests.unit.engine.conftest import BATCH, OPEN, Stage, bar, orders, running, signals


class Buys(Strategy):
    """Buys at every bar, how much its `asked` says; keeps the handles."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked: Any = lambda ctx: 100
        self.handles: list[Any] = []

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.handles.append(ctx.buy(self.asked(ctx), stop_price=9.0))


def lines(found: list[Output]) -> list[str]:
    return [one.text for one in found if isinstance(one, LogLine) and one.level == logging.WARNING]


def counts(stage: Stage) -> dict[str, int]:
    return dict(stage.engine.slots[0].refusals.counts)


# --- refused by the gateway ------------------------------------------------------------------------------


def test_the_row_of_a_refused_order_says_so_with_the_rule(stage: Stage) -> None:
    stage.cast(Buys)
    stage.pick()
    found = stage.minute(0)
    [order], [sent] = orders(found), signals(found)
    assert sent.outcome == "sent"
    [refused] = signals(stage.state(order, OrderState.REFUSED, "order_value"))
    assert refused.outcome == "refused:order_value"
    assert (refused.client_order_id, refused.action, refused.at) == (sent.client_order_id, sent.action, sent.at)


def test_an_order_that_was_taken_keeps_its_row(stage: Stage) -> None:
    stage.cast(Buys)
    stage.pick()
    [order] = orders(stage.minute(0))
    assert signals(stage.state(order, OrderState.WRITTEN)) == []
    assert signals(stage.state(order, OrderState.REJECTED, "insufficient buying power")) == []
    assert counts(stage) == {}


def test_refused_terms_of_a_replacement_leave_the_row_of_the_order_alone(stage: Stage) -> None:
    stage.cast(Buys)
    stage.pick()
    [order] = orders(stage.minute(0))
    found = stage.state(order, OrderState.REFUSED, "price_collar", client_id=order.client_order_id + "-r1")
    assert signals(found) == [] and counts(stage) == {"price_collar": 1}


def test_each_rule_is_said_once_with_what_it_allows_and_every_refusal_is_counted() -> None:
    stage = Stage(limits=Limits(order_dollars=5000.0))
    stage.cast(Buys)
    stage.pick()
    said: list[str] = []
    for minute, rule in enumerate(["order_value", "order_value", "no_price", "order_value"]):
        [order] = orders(stage.minute(minute))
        said += lines(stage.state(order, OrderState.REFUSED, rule))
    assert counts(stage) == {"order_value": 3, "no_price": 1}
    assert len(said) == 2
    assert "strategy Buys was refused an order in AAPL by the rule order_value" in said[0]
    assert "10% of equity and 5,000 $" in said[0] and "order_dollars" in said[0]
    assert "by the rule no_price;" in said[1]


def test_an_exit_that_is_refused_is_said_for_each_symbol(stage: Stage) -> None:
    class Leaves(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if ctx.position:
                ctx.close()
            else:
                ctx.buy(10)

    stage.cast(Leaves)
    said = []
    for symbol in ("AAPL", "MSFT"):
        stage.pick(symbol)
        [entry] = orders(stage.minute(0, symbol=symbol))
        stage.fill(entry, "10", "10", "10")
        for minute in (1, 2):
            [leave] = orders(stage.minute(minute, symbol=symbol))
            said += lines(stage.state(leave, OrderState.REFUSED, "not_there"))
    assert [text.partition(" by ")[0] for text in said] == [
        "strategy Leaves could not exit AAPL",
        "strategy Leaves could not exit MSFT",
    ]


def test_what_a_shadow_session_keeps_back_was_not_refused() -> None:
    stage = Stage(shadow=True)
    stage.cast(Buys)
    stage.pick()
    found = stage.minute(0)
    assert [one.outcome for one in signals(found)] == ["shadow"]
    assert stage.state(orders(found)[0], OrderState.REFUSED, "shadow") == []
    found = stage.minute(1)
    [refused] = signals(stage.state(orders(found)[0], OrderState.REFUSED, "order_value"))
    assert refused.outcome == "refused:order_value"
    assert counts(stage) == {"order_value": 1}


def test_a_restarted_process_counts_what_was_refused_before_it_and_does_not_say_it_again() -> None:
    stage = Stage()
    stage.engine.add(SlotPlan(0, "Buys", 0, 1), Buys("Buys", StrategyType.DAY_TRADE, BATCH, []))
    told = [
        OrderNews(n, 0, f"liu-0b5e7a4e0000-0-{n}", "AAPL", Side.BUY, OrderState.REFUSED, OPEN, Decimal(100), Decimal(0),
                  "order_value")
        for n in (1, 2)
    ]  # fmt: skip
    stage.seq[0] = 2
    assert [one for one in stage.news(*told, CaughtUp(0, 2, 3)) if isinstance(one, LogLine)] == []
    stage.pick()
    [order] = orders(stage.minute(0))
    assert lines(stage.state(order, OrderState.REFUSED, "order_value")) == []
    assert counts(stage) == {"order_value": 3}


# --- without shares --------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [0, -12, "0", 1e-10])
def test_an_order_without_shares_goes_nowhere_and_says_why(stage: Stage, asked: Any) -> None:
    strategy = stage.cast(Buys)
    strategy.asked = lambda ctx: asked
    stage.pick()
    found = stage.minute(0)
    assert orders(found) == []
    [signal] = signals(found)
    assert (signal.outcome, signal.client_order_id) == ("refused:size", None)
    [handle] = strategy.handles
    assert (handle.state, handle.reason, handle.is_open) == (OrderState.REFUSED, "size", False)
    assert counts(stage) == {"size": 1} and len(lines(found)) == 1
    assert stage.engine.slots[0].book.notes.planned("AAPL", "stop_prices") is None, "there is nothing to protect"
    assert not stage.engine.slots[0].book.in_flight("AAPL")


@pytest.mark.parametrize("side, qty", [("buy", 0), ("buy", "-80"), ("sell", -5), ("sell", "-5"), ("buy", "0.0")])
def test_an_action_without_shares_is_refused_and_never_turned_round(stage: Stage, side: str, qty: Any) -> None:
    stage.cast(running(lambda self, **told: (True, {"side": side, "qty": qty, "type": "market"})))
    stage.pick()
    found = [one for minute in range(10) for one in stage.minute(minute)]
    assert orders(found) == []
    assert {(one.outcome, one.action["qty"]) for one in signals(found)} == {("refused:size", qty)}
    assert counts(stage) == {"size": 10} and len(lines(found)) == 1


def test_asking_for_nothing_often_does_not_stop_the_strategy(stage: Stage) -> None:
    strategy = stage.cast(Buys)
    strategy.asked = lambda ctx: 0
    stage.pick()
    for minute in range(10):
        stage.minute(minute)
    assert len(strategy.handles) == 10 and counts(stage) == {"size": 10}


def test_parts_of_a_share_are_cut_to_what_can_be_ordered(stage: Stage) -> None:
    strategy = stage.cast(Buys)
    strategy.asked = lambda ctx: 10 / 3
    stage.pick()
    [order] = orders(stage.minute(0))
    assert order.quantity == Decimal("3.333333333")


# --- sizing ----------------------------------------------------------------------------------------------


class Asks(Strategy):
    """Calls `ask` with its context at every bar."""

    ask: Any = None

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.found = self.ask(ctx)


def asked(ask: Any, close: float, *, equity: int | None = 100_000, **terms: Any) -> Any:
    stage = Stage(**terms)
    strategy = stage.cast(Asks)
    strategy.ask = ask
    stage.pick()
    if equity is not None:
        stage.news(AccountNews(OPEN, Decimal(equity), Decimal(0), Decimal(0)))
    stage.play([bar(0, close)])
    return strategy.found


def test_affordable_is_what_one_order_may_cost() -> None:
    assert asked(lambda ctx: ctx.affordable(), 53.0) == 186  # 10 % of 99,000 $ is 9,900 $: 186.8 shares
    assert asked(lambda ctx: ctx.affordable(), 53.0, equity=1_000_000) == 471  # 25,000 $ at most: 471.7
    assert asked(lambda ctx: ctx.affordable(53.5), 53.0) == 185  # 185.05 at the limit
    assert asked(lambda ctx: ctx.affordable(50.0), 53.0) == 186  # a limit below the market does not make it cheaper
    assert asked(lambda ctx: ctx.affordable(), 53.0, limits=Limits(order_dollars=530.0)) == 10


@pytest.mark.parametrize("equity", [None, 0, -5])
def test_nothing_is_affordable_while_there_is_no_money(equity: int | None) -> None:
    assert asked(lambda ctx: (ctx.affordable(), ctx.shares(stop=50.0)), 53.0, equity=equity) == (0, 0)


@pytest.mark.parametrize(("kind", "shares"), [(StrategyType.DAY_TRADE, 0), (StrategyType.SWING, 186)])
def test_nothing_is_affordable_to_day_trades_once_they_have_ended_for_today(kind: StrategyType, shares: int) -> None:
    stage = Stage(hours=Hours("2024-03-08", OPEN, OPEN + 390 * MINUTE, OPEN, OPEN + 395 * MINUTE))
    strategy = stage.cast(Asks, type=kind)
    strategy.ask = lambda ctx: ctx.affordable()
    stage.pick()
    stage.news(AccountNews(OPEN, Decimal(100_000), Decimal(0), Decimal(0)))
    stage.play([bar(0, 53.0)])
    assert strategy.found == shares


def test_affordable_leaves_room_for_what_is_held_and_on_order(stage: Stage) -> None:
    strategy = stage.cast(Asks)
    strategy.ask = lambda ctx: (ctx.affordable(), ctx.buy(100) if not ctx.position else ctx.buy(50, limit=9.5))[0]
    stage.pick()
    stage.news(AccountNews(OPEN, Decimal(10_000), Decimal(0), Decimal(0)))
    [order] = orders(stage.minute(0, 10.0))
    assert strategy.found == 99  # 990 $ an order, 1,980 $ a position
    stage.fill(order, "100", "10", "100")
    stage.minute(1, 10.0)
    assert strategy.found == 98  # 100 held: 980 $ of the position are left
    stage.minute(2, 10.0)
    assert strategy.found == 48  # 100 held, 50 on order


def test_shares_lose_at_most_the_fraction_risked_and_are_affordable() -> None:
    assert asked(lambda ctx: ctx.shares(stop=48.0), 50.0) == 50  # 0.1 % of 100,000 $ is 100 $, 2 $ a share
    assert asked(lambda ctx: ctx.shares(stop=48.0, risk=0.002), 50.0) == 100
    assert asked(lambda ctx: ctx.shares(stop=49.9), 50.0) == 198  # 1,000 by risk, 198 by cost
    assert asked(lambda ctx: ctx.shares(stop=48.0, price=50.5), 50.0) == 40  # 2.5 $ a share
    assert asked(lambda ctx: ctx.shares(stop=50.0), 50.0) == 0
    assert asked(lambda ctx: ctx.shares(stop=48.0), 50.0, portfolio_value=10_000.0) == 5


# --- what purchases may still cost -----------------------------------------------------------------------


def test_what_working_purchases_may_still_cost_is_set_aside(stage: Stage) -> None:
    class Rests(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            ctx.sell(5, limit=11.0) if ctx.position else ctx.buy(10, limit=9.5)

    stage.cast(Rests)
    stage.pick()
    book = stage.engine.slots[0].book
    assert book.reserved_cash() == 0
    [order] = orders(stage.minute(0))
    assert book.reserved_cash() == 95
    stage.fill(order, "4", "9.5", "4", remaining="6")
    assert book.reserved_cash() == 57
    stage.minute(1)
    assert book.reserved_cash() == 57, "a sale costs nothing"
    stage.state(order, OrderState.CANCELED)
    assert book.reserved_cash() == 0
