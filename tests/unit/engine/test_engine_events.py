"""Event methods, callbacks, run_all and timers."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common import trading_data
from liualgotrader.common.clock import MINUTE, SECOND, as_datetime
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Counts, Quote, Status
from liualgotrader.common.orders import AccountNews, CancelIntent, OrderState, OrderType, Protect, ReplaceIntent, Side
from liualgotrader.engine.outputs import LogLine
from liualgotrader.ipc.batch_codec import decode_intents, encode_intents
from liualgotrader.strategies.base import Strategy
from tests.unit.engine.conftest import OPEN, Stage, bar, buy, orders, signals


class Recording(Strategy):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: list[Any] = []


class OnBar(Recording):
    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.told.append((ctx.symbol, ctx.now, bar.close, ctx.position, list(ctx.bars.close)))


def test_on_bar_sees_closed_bars_and_the_bars_close_as_now(stage: Stage) -> None:
    strategy = stage.cast(OnBar)
    stage.pick(history=[bar(-1, 9.0)])
    stage.minute(0, 10.0)
    assert strategy.told == [("AAPL", as_datetime(OPEN + MINUTE), 10.0, 0.0, [9.0, 10.0])]


def test_each_event_method_gets_its_own_kind(stage: Stage) -> None:
    class All(Recording):
        def on_trade(self, ctx: Any, trade: Any) -> None:
            self.told.append(("trade", ctx.at - OPEN, trade.price))

        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.told.append(("quote", ctx.at - OPEN, ctx.quote.bid))

        def on_second(self, ctx: Any, bar: Any) -> None:
            self.told.append(("second", ctx.at - OPEN, bar.volume))

        def on_bar(self, ctx: Any, bar: Any) -> None:
            self.told.append(("bar", ctx.at - OPEN, ctx.last))

    strategy = stage.cast(All)
    stage.pick()
    stage.trade(10.25, 10.0)
    stage.trade(11.5, 10.5)
    stage.play([Quote("AAPL", OPEN + 12 * SECOND, 9.9, 1, 10.1, 1)])
    stage.minute(0, 10.75)
    assert strategy.told == [
        ("trade", 10.25 * SECOND, 10.0),
        ("second", 11 * SECOND, 100.0),
        ("trade", 11.5 * SECOND, 10.5),
        ("quote", 12 * SECOND, 9.9),
        ("second", 12 * SECOND, 100.0),
        ("bar", 60 * SECOND, 10.75),
    ]


def test_a_context_orders_cancels_replaces_and_closes(stage: Stage) -> None:
    class Acting(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            step = len(self.told)
            if step == 0:
                self.told.append(
                    ctx.buy(
                        10,
                        limit=10.5,
                        stop_price=9,
                        target_price=12,
                        cancel_after=timedelta(seconds=30),
                        indicators={"x": 1.5},
                        reason="why",
                    )
                )
            elif step == 1:
                ctx.replace(self.told[0], limit="10.6")
                ctx.cancel(reason="late")
                self.told.append(None)
            elif ctx.position:
                self.told.append(ctx.close(reason="done"))

    strategy = stage.cast(Acting)
    stage.pick()
    [order] = orders(stage.minute(0))
    handle = strategy.told[0]
    assert (order.type, order.limit_price, order.cancel_after) == (OrderType.LIMIT, Decimal("10.5"), 30 * SECOND)
    assert (order.planned_stop, order.planned_target) == (Decimal("9"), Decimal("12"))
    assert (order.indicators, order.reason) == ({"x": 1.5}, "why")
    assert handle.is_open and handle.client_order_id == order.client_order_id
    found = stage.minute(1)
    assert [type(one) for one in found] == [ReplaceIntent, CancelIntent]
    stage.fill(order, "4", "10.4", "4", remaining="6")
    assert (handle.filled, handle.remaining, handle.average_price) == (Decimal(4), Decimal(6), Decimal("10.4"))
    stage.state(order, OrderState.CANCELED, "asked")
    assert not handle.is_open and handle.reason == "asked"
    [closing] = orders(stage.minute(2))
    assert (closing.side, closing.quantity, closing.type) == (Side.SELL, Decimal(4), OrderType.MARKET)
    assert closing.valid_until == 30 * SECOND  # reduces the position
    assert order.valid_until == 5 * SECOND


def test_a_handle_follows_its_replacement(stage: Stage) -> None:
    class Once(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if not self.told:
                self.told.append(ctx.buy(10, limit=9))

    strategy = stage.cast(Once)
    stage.pick()
    [order] = orders(stage.minute(0))
    handle = strategy.told[0]
    stage.state(order, OrderState.WRITTEN, client_id=order.client_order_id + "-r1")
    stage.state(order, OrderState.REPLACED)
    assert handle.is_open
    stage.state(order, OrderState.CANCELED, client_id=order.client_order_id + "-r1")
    assert not handle.is_open and handle.state is OrderState.CANCELED


def test_a_rejected_replacement_leaves_the_order_open(stage: Stage) -> None:
    class Once(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if not self.told:
                self.told.append(ctx.buy(10, limit=9))

    strategy = stage.cast(Once)
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.state(order, OrderState.ACKNOWLEDGED)
    stage.state(order, OrderState.WRITTEN, client_id=order.client_order_id + "-r1")
    stage.state(order, OrderState.REJECTED, client_id=order.client_order_id + "-r1")
    assert strategy.told[0].is_open


@pytest.mark.parametrize(
    "arguments", [{"quantity": float("nan")}, {"quantity": 1e30}, {"quantity": 1, "limit": float("nan")}]
)
def test_a_senseless_order_raises_inside_the_strategy(stage: Stage, arguments: dict[str, Any]) -> None:
    class Wrong(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            ctx.buy(**arguments)

    stage.cast(Wrong)
    stage.pick()
    found = stage.minute(0)
    assert orders(found) == [] and "ValueError" in found[0].text


def test_a_moved_stop_without_an_order_is_sent_for_a_position(stage: Stage) -> None:
    class Trailing(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if not ctx.position and not ctx.open_orders:
                ctx.buy(10, stop_price=bar.close - 1)
            else:
                ctx.protect(stop_price=bar.close - 1)

    stage.cast(Trailing)
    stage.pick()
    [order] = orders(stage.minute(0, 10.0))
    stage.fill(order, "10", "10", "10")
    assert stage.minute(1, 10.0) == []
    assert stage.minute(2, 11.0) == [Protect(0, "AAPL", OPEN + 3 * MINUTE, Decimal("10"), None)]


def test_random_numbers_are_the_same_for_the_same_seed() -> None:
    class Dice(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            self.told.append(ctx.rng.random())

    rolls = []
    for seed in (1, 1, 2):
        stage = Stage(seed=seed)
        strategy = stage.cast(Dice)
        stage.pick()
        stage.minute(0)
        rolls.append(strategy.told[0])
    assert rolls[0] == rolls[1] != rolls[2]


def test_on_timer_comes_each_period_from_the_open_on(stage: Stage) -> None:
    class Timed(Recording):
        timer_seconds = 30.0

        def on_timer(self, ctx: Any) -> None:
            self.told.append((ctx.symbol, (ctx.at - OPEN) / SECOND))

    strategy = stage.cast(Timed)
    stage.pick()
    assert stage.engine.next_deadline() == OPEN
    for second in (0, 30, 61):
        stage.timer(second)
    assert strategy.told == [("AAPL", 0.0), ("AAPL", 30.0), ("AAPL", 60.0)]


class Rotation(Recording):
    action: Any = {}

    async def run_all(  # type: ignore[override]
        self, symbols_position: Any, data_loader: Any, now: Any, portfolio_value: Any = None, trading_api: Any = None
    ) -> Any:
        self.told.append((symbols_position, now, portfolio_value, trading_api))
        return self.action


def test_a_failing_on_timer_is_told_by_its_name(stage: Stage) -> None:
    class Fails(Recording):
        timer_seconds = 60.0

        def on_timer(self, ctx: Any) -> None:
            raise LookupError("gone")

    stage.cast(Fails)
    stage.pick()
    [line] = [one.text for one in stage.timer(60) if isinstance(one, LogLine)]
    assert line.startswith("strategy Fails raised in on_timer for AAPL: LookupError: gone (test_engine_events.py:")


@pytest.mark.parity(23)
def test_run_all_gets_its_picks_and_positions_each_period(stage: Stage) -> None:
    strategy = stage.cast(Rotation, run_all=True)
    stage.engine.trader = "broker"
    stage.pick("AAPL")
    stage.pick("MSFT", strategy="Other")
    stage.pick("IBM", strategy="Rotation")
    stage.news(AccountNews(OPEN, Decimal(100), Decimal(1), Decimal(1)))
    strategy.action = {"aapl": buy(5), "IBM": None}
    [order] = orders(stage.timer(60))
    assert strategy.told == [({"AAPL": 0.0, "IBM": 0.0}, as_datetime(OPEN + MINUTE), 100.0, "broker")]
    assert order.symbol == "AAPL"
    assert stage.engine.slots[0].missed_ticks == 1
    stage.fill(order, "5", "10", "5")
    strategy.action = {}
    stage.timer(120)
    assert strategy.told[1][0] == {"AAPL": 5.0, "IBM": 0.0}


def test_run_all_does_not_order_twice_in_a_symbol_with_an_order_in_flight(stage: Stage) -> None:
    strategy = stage.cast(Rotation, run_all=True)
    stage.pick()
    strategy.action = {"AAPL": buy(5)}
    assert len(orders(stage.timer(0))) == 1
    found = stage.timer(60)
    assert orders(found) == [] and signals(found)[0].outcome == "in_flight"


def test_a_strategy_of_bars_is_not_called_for_run_all_slots(stage: Stage) -> None:
    strategy = stage.cast(Rotation, run_all=True)
    stage.pick()
    stage.minute(0)
    assert strategy.told == []


@pytest.mark.parity(25)
@pytest.mark.parametrize("with_remaining", [True, False])
def test_callbacks_come_on_every_fill_only_if_they_take_the_remaining_quantity(
    stage: Stage, with_remaining: bool
) -> None:
    heard: list[Any] = []

    class Partial(Recording):
        async def run(self, symbol, shortable, position, now, minute_history, **more):  # type: ignore[no-untyped-def, override]
            return (True, buy(10)) if not position else (False, {})

    if with_remaining:

        async def buy_callback(self, symbol, price, qty, now=None, trade_fee=0.0, remaining_qty=0.0):  # type: ignore[no-untyped-def]
            heard.append((symbol, price, qty, trade_fee, remaining_qty))
    else:

        async def buy_callback(self, symbol, price, qty, now=None, trade_fee=0.0):  # type: ignore[no-untyped-def, misc]
            heard.append((symbol, price, qty, trade_fee, isinstance(now, datetime)))

    Partial.buy_callback = buy_callback  # type: ignore[method-assign]
    stage.cast(Partial)
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.fill(order, "4", "10", "4", remaining="6", fee="0.1")
    stage.fill(order, "6", "11", "10", fee="0.2")
    if with_remaining:
        assert heard == [("AAPL", 10.0, 4.0, 0.1, 6.0), ("AAPL", 11.0, 6.0, 0.2, 0.0)]
    else:
        assert heard == [("AAPL", 10.6, 10.0, pytest.approx(0.3), True)]


@pytest.mark.parity(25)
def test_a_callback_with_the_oldest_signature_is_called(stage: Stage) -> None:
    heard: list[Any] = []

    class Old(Recording):
        async def run(self, symbol, shortable, position, minute_history, now, portfolio_value=None, trading_api=None):  # type: ignore[no-untyped-def, override]
            assert isinstance(now, datetime)
            return (True, buy(10)) if not position else (False, {})

        async def buy_callback(self, symbol, price, qty):  # type: ignore[no-untyped-def, override]
            heard.append((symbol, price, qty))

    stage.cast(Old)
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.fill(order, "10", "10", "10")
    assert heard == [("AAPL", 10.0, 10.0)]


def test_on_fill_may_order_again(stage: Stage) -> None:
    class Scaling(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if not ctx.position:
                ctx.buy(1)

        def on_fill(self, ctx: Any, fill: Any) -> None:
            if ctx.position < 3:
                ctx.buy(1)

    stage.cast(Scaling)
    stage.pick()
    [first] = orders(stage.minute(0))
    [second] = orders(stage.fill(first, "1", "10", "1"))
    assert second.client_order_id.endswith("-2")


@pytest.mark.parity(27)
def test_trading_data_shows_the_strategy_its_own_book_only(stage: Stage) -> None:
    seen: list[Any] = []

    class Looking(Recording):
        async def run(self, symbol, shortable, position, now, minute_history, **more):  # type: ignore[no-untyped-def, override]
            trading_data.cool_down["aapl"] = self.name
            trading_data.buy_indicators[symbol] = {"who": self.name}
            seen.append(
                (
                    dict(trading_data.positions),
                    trading_data.cool_down["AAPL"],
                    symbol in trading_data.open_orders,
                    [s.name for s in trading_data.strategies],
                    dict(trading_data.latest_cost_basis),
                )
            )
            return (True, buy(10)) if self.name == "A" and not position else (False, {})

    stage.cast(Looking, slot=0, name="A")
    stage.cast(Looking, slot=1, name="B")
    stage.pick()
    [order] = orders(stage.minute(0))
    assert order.indicators == {"buy": {"who": "A"}}
    stage.fill(order, "10", "10.5", "10")
    stage.minute(1)
    names = ["A", "B"]
    assert seen == [
        ({}, "A", False, names, {}),
        ({}, "B", False, names, {}),
        ({"AAPL": 10.0}, "A", False, names, {"AAPL": 10.5}),
        ({}, "B", False, names, {}),
    ]


@pytest.mark.parity(27)
def test_trading_data_is_empty_and_closed_outside_a_call(stage: Stage) -> None:
    stage.cast(OnBar)
    stage.pick()
    stage.minute(0)
    assert len(trading_data.positions) == 0 and "AAPL" not in trading_data.stop_prices
    with pytest.raises(RuntimeError, match="belongs to the strategy being called"):
        trading_data.stop_prices["AAPL"] = 1.0


def test_the_average_cost_is_kept_over_buys_and_partial_sales(stage: Stage) -> None:
    class Buying(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            ctx.buy(10)

    stage.cast(Buying)
    stage.pick()
    book = stage.engine.slots[0].book
    [first] = orders(stage.minute(0))
    stage.fill(first, "10", "10", "10")
    [second] = orders(stage.minute(1))
    stage.fill(second, "10", "12", "20")
    assert book.costs["AAPL"] == Decimal(11)
    assert book.cash == Decimal(-220)


def test_a_strategy_with_only_signals_is_refused_in_one_sentence(stage: Stage) -> None:
    class Arrays(Recording):
        def signals(self, bars: Any) -> Any: ...

    with pytest.raises(ConfigError, match="has only `signals`"):
        stage.cast(Arrays)


def test_a_strategy_without_any_method_is_refused(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="defines none of run"):
        stage.cast(Recording)


def test_an_event_method_that_is_a_coroutine_is_refused(stage: Stage) -> None:
    class Wrong(Recording):
        async def on_bar(self, ctx: Any, bar: Any) -> None: ...

    with pytest.raises(ConfigError, match="on_bar must be a plain `def`"):
        stage.cast(Wrong)


def test_what_rows_cannot_hold_is_stored_as_text(stage: Stage) -> None:
    import numpy as np

    class Odd(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            ctx.buy(np.float64(3), indicators={"a": np.float64(1.5), "b": float("nan"), "c": np.arange(2), "d": {1}})

    stage.cast(Odd)
    stage.pick()
    [order] = orders(stage.minute(0))
    assert order.indicators == {"a": 1.5, "b": "nan", "c": [0, 1], "d": [1]}
    assert order.quantity == Decimal(3)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"reason": None}, {"reason": ""}),
        ({"reason": 7}, {"reason": "7"}),
        ({"reason": "no \ud800 text\0"}, {"reason": "no ? text"}),
        ({"reason": "x" * 200_000}, {"reason": "x" * 500}),
        ({"time_in_force": None}, {"time_in_force": "None"}),  # the desk refuses it
        ({"cancel_after": timedelta.max}, {"cancel_after": 366 * 24 * 3600 * SECOND}),
        ({"indicators": [1, 2]}, {"indicators": {"buy": [1, 2]}}),
        ({"indicators": {"n": 2**64}}, {"indicators": {"n": "18446744073709551616"}}),
        ({"indicators": {"n": Counts.LAST}}, {"indicators": {"n": 1}}),
        ({"indicators": {"\ud800": "\ud800"}}, {"indicators": {"?": "?"}}),
        (
            {"indicators": {"all": list(range(100_000, 120_000))}},
            {"indicators": {"left_out": "100008 bytes of indicators; 32768 are kept at most"}},
        ),
    ],
    ids=("none", "number", "text", "long", "in_force", "for_ever", "list", "whole", "enum", "surrogate", "large"),
)
def test_whatever_a_strategy_says_with_an_order_the_gateway_can_read(
    stage: Stage, terms: dict[str, Any], said: dict[str, Any]
) -> None:
    class Careless(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            ctx.buy(1, **terms)

    stage.cast(Careless)
    stage.pick()
    [order] = orders(stage.minute(0))
    assert decode_intents(encode_intents([order])) == [order]
    assert {name: getattr(order, name) for name in said} == said


def test_a_cancellation_without_a_reason_can_be_read(stage: Stage) -> None:
    class Careless(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            ctx.cancel(ctx.buy(1), reason=None)

    stage.cast(Careless)
    stage.pick()
    [cancel] = [one for one in stage.minute(0) if isinstance(one, CancelIntent)]
    assert decode_intents(encode_intents([cancel])) == [cancel]


def test_a_stop_that_is_no_price_of_this_world_is_none(stage: Stage) -> None:
    class Careless(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            ctx.buy(1)
            trading_data.stop_prices[ctx.symbol] = 1e30

    stage.cast(Careless)
    stage.pick()
    [protect] = [one for one in stage.minute(0) if isinstance(one, Protect)]
    assert protect.planned_stop is None


def test_a_strategy_sees_that_a_symbol_is_halted(stage: Stage) -> None:
    class Looks(Recording):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            self.told.append(ctx.halted)

    strategy = stage.cast(Looks)
    stage.pick()
    for number, news in enumerate(([], [Status("AAPL", stage.now, True)], [], [Status("AAPL", stage.now, False)])):
        stage.play(news)
        stage.minute(number)
    assert strategy.told == [False, True, True, False]
