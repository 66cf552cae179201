"""Strategies of the original: what `run` is told, what its actions become, and when it is not called."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from liualgotrader.common import trading_data
from liualgotrader.common.clock import MINUTE, NEVER, SECOND, as_datetime
from liualgotrader.common.events import Bar, Pick, Quote, TradeTick, Unpick
from liualgotrader.common.orders import AccountNews, CaughtUp, Fill, OrderState, OrderType, Protect, Protection, Side
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.engine.engine import ALL_EVENTS, LAST_BARS
from liualgotrader.engine.outputs import LoadHistory, LogLine, Reject, SlotStopped, WaitingCall
from liualgotrader.strategies.base import Strategy, StrategyType
from tests.unit.engine.conftest import BATCH, CLOSE, HOURS, OPEN, Stage, bar, buy, orders, running, signals

NOTHING: tuple[bool, dict[str, Any]] = (False, {})


def nothing(self: Any, **told: Any) -> Any:
    return NOTHING


def acts(action: Any, do: bool = True) -> Any:
    return running(lambda self, **told: (do, action))


def test_a_pick_asks_for_history_once_and_calls_begin_when_it_is_there() -> None:
    stage = Stage()
    strategy = stage.cast(running(nothing))
    first = stage.play([__import__("liualgotrader.common.events", fromlist=["Pick"]).Pick("AAPL", OPEN, "s")])
    assert first == [LoadHistory("AAPL")]
    stage.minute(0)
    assert strategy.told == []
    stage.engine.on_history("AAPL", [], stage.now, 0)
    stage.minute(1)
    assert len(strategy.told) == 1


@pytest.mark.parity(22)
def test_run_is_told_the_closed_bars_and_the_newest_ones_close_as_now(stage: Stage) -> None:
    strategy = stage.cast(running(nothing))
    stage.pick(history=[bar(-2, 8.0), bar(-1, 9.0)])
    stage.news(AccountNews(OPEN, Decimal(50000), Decimal(1), Decimal(1)))
    stage.minute(0, 10.0)
    told = strategy.told[0]
    assert told["now"] == as_datetime(OPEN + MINUTE)
    assert str(told["now"].tzinfo) == "America/New_York"
    frame = told["history"]
    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "vwap", "average", "count"]
    assert list(frame["close"]) == [8.0, 9.0, 10.0]
    assert str(frame.index[-1]) == "2024-03-08 09:30:00-05:00"
    assert (told["symbol"], told["position"], told["shortable"]) == ("AAPL", 0.0, True)
    assert (told["portfolio_value"], told["debug"], told["backtesting"]) == (50000.0, False, False)


@pytest.mark.parity(22)
@pytest.mark.parametrize(
    "events, calls",
    [(["minute"], 1), (["trade"], 2), (["quote"], 1), (["second"], 2), (["minute", "trade", "quote", "second"], 6)],
)
def test_run_is_called_for_the_subscribed_events_only(events: list[str], calls: int) -> None:
    stage = Stage(events=events)
    strategy = stage.cast(running(nothing))
    stage.pick()
    stage.trade(10.0)
    stage.trade(20.0)
    stage.play([Quote("AAPL", OPEN + 30 * SECOND, 9.9, 1, 10.1, 1)])
    stage.minute(0)
    assert len(strategy.told) == calls


def test_with_trades_the_last_row_is_the_open_minute() -> None:
    stage = Stage(events=["trade"])
    strategy = stage.cast(running(nothing))
    stage.pick(history=[bar(-1, 9.0)])
    stage.trade(10.0, 11.0)
    frame = strategy.told[0]["history"]
    assert list(frame["close"]) == [9.0, 11.0]
    assert str(frame.index[-1]) == "2024-03-08 09:30:00-05:00"
    assert strategy.told[0]["now"] == as_datetime(OPEN + 10 * SECOND)


@pytest.mark.parity(9)
def test_a_portfolio_value_of_the_tradeplan_takes_the_place_of_the_equity() -> None:
    stage = Stage(portfolio_value=25000.0)
    strategy = stage.cast(running(nothing))
    stage.pick()
    stage.news(AccountNews(OPEN, Decimal(50000), Decimal(1), Decimal(1)))
    stage.minute(0)
    assert strategy.told[0]["portfolio_value"] == 25000.0


@pytest.mark.parity(24)
@pytest.mark.parametrize(
    "action, side, quantity, kind, limit, stop",
    [
        (buy("10"), "buy", "10", "market", None, None),
        (buy(2.5), "buy", "2.5", "market", None, None),
        (buy(10.0), "buy", "10", "market", None, None),
        (buy("96.91511437727969"), "buy", "96.915114377", "market", None, None),
        ({"side": "sell_short", "qty": 3, "type": "market"}, "sell", "3", "market", None, None),
        ({"side": "buy_to_cover", "qty": 3, "type": "market"}, "buy", "3", "market", None, None),
        ({"side": "buy", "qty": "10", "type": "limit", "limit_price": "12.30"}, "buy", "10", "limit", "12.30", None),
        ({"side": "buy", "qty": "10", "type": "limit", "limit_price": 12.309}, "buy", "10", "limit", "12.30", None),
        ({"side": "sell", "qty": "10", "type": "limit", "limit_price": 12.301}, "sell", "10", "limit", "12.31", None),
        ({"side": "buy", "qty": 1, "type": "stop", "stop_price": 13}, "buy", "1", "stop", None, "13"),
    ],
)
def test_an_action_becomes_the_order_it_says(
    action: dict[str, Any], side: str, quantity: str, kind: str, limit: str | None, stop: str | None
) -> None:
    stage = Stage()
    stage.cast(acts(action))
    stage.pick()
    [order] = orders(stage.minute(0, 10.0))
    assert (order.side, order.quantity, order.type) == (Side(side), Decimal(quantity), OrderType(kind))
    assert order.limit_price == (None if limit is None else Decimal(limit))
    assert order.stop_price == (None if stop is None else Decimal(stop))
    assert order.client_order_id == "liu-0b5e7a4e0000-0-1"
    assert (order.reference_price, order.reference_at) == (Decimal("10"), OPEN + MINUTE)
    assert (order.decided_at, order.cancel_after) == (OPEN + MINUTE, 60 * SECOND)
    [signal] = signals(stage.out)
    assert (signal.outcome, signal.client_order_id) == ("sent", order.client_order_id)


@pytest.mark.parity(24)
@pytest.mark.parametrize(
    "action, words",
    [
        ({}, "side None"),
        (buy("many"), "qty must be a number"),
        (buy(float("nan")), "qty must be a number"),
        (buy(True), "qty must be a number"),
        ({"side": "buy", "type": "market"}, "qty is missing"),
        ({"side": "hold", "qty": 1, "type": "market"}, "side 'hold'"),
        ({"side": "buy", "qty": 1, "type": "iceberg"}, "type 'iceberg'"),
        ({"side": "buy", "qty": 1, "type": "limit"}, "limit_price is missing"),
        ({"side": "buy", "qty": 1, "type": "limit", "limit_price": -1}, "limit_price must be above 0"),
        ({"side": "buy", "qty": 1, "type": "market", "time_in_force": "soon"}, "time_in_force"),
        (buy("1e30"), "qty must be at most"),
        ({"side": "buy", "qty": 1, "type": "limit", "limit_price": 1e40}, "limit_price must be at most"),
        ("buy", "must be a dict"),
    ],
)
def test_an_action_that_says_no_order_is_refused_in_one_sentence_and_stored(action: Any, words: str) -> None:
    stage = Stage()
    strategy = stage.cast(acts(action))
    stage.pick()
    found = stage.minute(0)
    assert orders(found) == []
    [signal] = signals(found)
    assert signal.outcome == "refused:bad_action"
    assert words in signal.action["refused"]
    assert stage.engine.slots[0].refusals.counts == {"bad_action": 1}
    [line] = [one for one in found if isinstance(one, LogLine)]
    assert words in line.text and line.level == logging.ERROR
    stage.minute(1)
    assert len(strategy.told) == 2


def test_an_array_where_a_truth_belongs_is_refused(stage: Stage) -> None:
    stage.cast(running(lambda self, **told: (np.array([True, False]), {})))
    stage.pick()
    assert [one.outcome for one in signals(stage.minute(0))] == ["refused:bad_action"]


def test_a_result_that_is_no_pair_is_refused(stage: Stage) -> None:
    stage.cast(running(lambda self, **told: None))
    stage.pick()
    assert signals(stage.minute(0))[0].outcome == "refused:bad_action"


@pytest.mark.parametrize("oddity", ["itself", "\ud800", 2**80], ids=["itself", "surrogate", "number"])
def test_an_action_with_odd_extras_is_carried_out_and_stored(stage: Stage, oddity: Any) -> None:
    action: dict[str, Any] = {"side": "buy", "qty": 1, "type": "market", "extra": oddity}
    if oddity == "itself":
        action["extra"] = action
    stage.cast(acts(action))
    stage.pick()
    found = stage.minute(0)
    assert len(orders(found)) == 1
    assert msgspec.msgpack.encode(signals(found)), "as it is kept for the next start when no database takes it"


@pytest.mark.parity(31)
def test_run_is_not_called_while_an_order_of_it_is_in_flight(stage: Stage) -> None:
    strategy = stage.cast(acts(buy()))
    stage.pick()
    [order] = orders(stage.minute(0))
    for number in (1, 2, 3):
        assert stage.minute(number) == []
    stage.state(order, OrderState.CANCELED)
    assert len(orders(stage.minute(4))) == 1
    assert len(strategy.told) == 2


@pytest.mark.parametrize("end", [OrderState.REJECTED, OrderState.REFUSED, OrderState.EXPIRED, OrderState.CANCELED])
def test_every_end_of_an_order_lets_run_be_called_again(end: OrderState) -> None:
    stage = Stage()
    strategy = stage.cast(acts(buy()))
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.state(order, OrderState.ACKNOWLEDGED)
    stage.state(order, end, "why")
    stage.minute(1)
    assert len(strategy.told) == 2


def test_a_partial_fill_keeps_the_order_in_flight(stage: Stage) -> None:
    strategy = stage.cast(acts(buy(10)))
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.fill(order, "4", "10", "4", remaining="6")
    stage.minute(1)
    assert len(strategy.told) == 1
    stage.fill(order, "6", "10", "10")
    stage.minute(2)
    assert strategy.told[1]["position"] == 10.0


def test_an_order_the_gateway_made_itself_is_in_flight_too(stage: Stage) -> None:
    strategy = stage.cast(acts(buy(10)))
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.fill(order, "10", "10", "10")
    stage.state(order, OrderState.SENT, client_id="liu-0b5e7a4e0000-0-900")
    stage.minute(1)
    assert len(strategy.told) == 1


@pytest.mark.parity(84)
def test_positions_of_two_strategies_in_one_symbol_are_separate(stage: Stage) -> None:
    first = stage.cast(acts(buy(10)), slot=0, name="A")
    second = stage.cast(running(nothing), slot=1, name="B")
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.fill(order, "10", "10", "10")
    stage.minute(1)
    assert first.told[1]["position"] == 10.0
    assert second.told[1]["position"] == 0.0


@pytest.mark.parity(17)
def test_a_pick_for_one_strategy_calls_no_other(stage: Stage) -> None:
    first = stage.cast(running(nothing), slot=0, name="A")
    second = stage.cast(running(nothing), slot=1, name="B")
    stage.pick(strategy="B")
    stage.minute(0)
    assert (len(first.told), len(second.told)) == (0, 1)


@pytest.mark.parity(24)
def test_a_rejected_symbol_is_never_called_again_and_the_reject_is_stored(stage: Stage) -> None:
    rejecting = stage.cast(acts({"reject": True}, do=False), slot=0, name="A")
    other = stage.cast(running(nothing), slot=1, name="B")
    stage.pick()
    found = stage.minute(0)
    assert [one for one in found if isinstance(one, Reject)] == [Reject(0, "A", "AAPL", OPEN + MINUTE)]
    stage.minute(1)
    assert (len(rejecting.told), len(other.told)) == (1, 2)


def test_rejects_of_an_earlier_process_are_restored(stage: Stage) -> None:
    strategy = stage.cast(running(nothing))
    stage.engine.restore_rejects([("Running", "AAPL"), ("Other", "MSFT")])
    stage.pick()
    stage.pick("MSFT")
    stage.minute(0)
    stage.minute(0, symbol="MSFT")
    assert [told["symbol"] for told in strategy.told] == ["MSFT"]


def test_a_strategy_that_raises_is_logged_with_its_line_and_goes_on(stage: Stage) -> None:
    def decide(self: Any, **told: Any) -> Any:
        raise ValueError("oh") if len(self.told) < 5 else Exception("never")

    stage.cast(running(lambda self, **told: decide(self, **told) if len(self.told) != 4 else NOTHING))
    stage.pick()
    first = stage.minute(0)
    assert "raised in run for AAPL: ValueError: oh" in first[0].text
    assert "conftest.py" in first[0].text
    for number in range(1, 8):
        assert not [one for one in stage.minute(number) if isinstance(one, SlotStopped)]


def test_five_failures_in_a_row_stop_that_strategy_alone(stage: Stage) -> None:
    def boom(self: Any, **told: Any) -> Any:
        raise ZeroDivisionError("x")

    stage.cast(running(boom), slot=0, name="A")
    other = stage.cast(running(nothing), slot=1, name="B")
    stage.pick()
    stopped = [one for n in range(8) for one in stage.minute(n) if isinstance(one, SlotStopped)]
    assert len(stopped) == 1 and stopped[0].slot == 0
    assert stopped[0].reason.startswith("raised: ZeroDivisionError: x (")
    assert len(other.told) == 8
    assert len([one for one in stage.out if isinstance(one, LogLine) and "raised in" in one.text]) == 5


def test_a_strategy_that_exits_fails_alone_and_the_process_goes_on(stage: Stage) -> None:
    def leave(self: Any, **told: Any) -> Any:
        raise SystemExit("enough")

    stage.cast(running(leave), slot=0, name="A")
    other = stage.cast(running(nothing), slot=1, name="B")
    stage.pick()
    stopped = [one for n in range(6) for one in stage.minute(n) if isinstance(one, SlotStopped)]
    assert [one.reason.partition(" (")[0] for one in stopped] == ["raised: SystemExit: enough"]
    assert len(other.told) == 6


@pytest.mark.parity(32)
def test_stale_events_enter_history_and_call_nobody() -> None:
    stage = Stage(events=["minute", "trade"])
    strategy = stage.cast(running(nothing))
    stage.pick()
    stage.now = OPEN + 3 * MINUTE
    stage.play([bar(0), TradeTick("AAPL", OPEN + 61 * SECOND, 11.0, 5.0), bar(1)], silent=[0, 1])
    assert len(strategy.told) == 1
    assert list(strategy.told[0]["history"]["close"]) == [10.0, 10.0]


@pytest.mark.parity(4)
def test_calls_begin_at_the_open_and_end_with_the_bar_that_ends_at_the_close() -> None:
    stage = Stage()
    stage.now = OPEN - MINUTE
    strategy = stage.cast(running(nothing))
    stage.pick()
    stage.play([bar(-2)])
    assert strategy.told == []
    stage.minute(0)
    assert len(strategy.told) == 1
    stage.now = CLOSE
    stage.play([bar(389)])
    assert [told["now"] for told in strategy.told[1:]] == [as_datetime(CLOSE)]
    assert stage.engine.next_deadline() == CLOSE + LAST_BARS
    stage.now = CLOSE + LAST_BARS
    stage.play([bar(390)])
    assert len(strategy.told) == 2
    assert stage.engine.next_deadline() == NEVER


def test_from_the_close_on_no_trade_quote_or_tick_calls_a_strategy() -> None:
    class All(Strategy):
        timer_seconds = 1.0

        async def create(self) -> bool:
            return True

        def on_bar(self, ctx: Any, bar: Bar) -> None:
            called.append("bar")

        def on_trade(self, ctx: Any, trade: Any) -> None:
            called.append("trade")

        def on_quote(self, ctx: Any, quote: Any) -> None:
            called.append("quote")

        def on_timer(self, ctx: Any) -> None:
            called.append("timer")

    called: list[str] = []
    stage = Stage(events=ALL_EVENTS)
    stage.cast(All)
    stage.pick()
    stage.trade((CLOSE - OPEN) / SECOND - 5)
    assert "trade" in called
    called.clear()
    stage.now = CLOSE + 1
    stage.play([TradeTick("AAPL", CLOSE + 1, 10.0, 100.0), Quote("AAPL", CLOSE + 1, 9.9, 1, 10.1, 1)])
    stage.engine.on_timer(stage.now, 0)
    stage.play([bar(389)])
    assert called == ["bar"]


@pytest.mark.parity(5)
def test_with_the_schedule_bypassed_it_is_called_at_any_time() -> None:
    from liualgotrader.common.session_plan import Hours

    stage = Stage(hours=Hours("2024-03-08", OPEN, CLOSE, CLOSE, CLOSE, bypass=True))
    strategy = stage.cast(running(nothing))
    stage.pick()
    stage.now = CLOSE + MINUTE
    stage.play([bar(391)])
    assert len(strategy.told) == 1


def test_a_minute_without_a_vendors_bar_closes_at_the_timer_two_seconds_later() -> None:
    stage = Stage(events=["minute", "trade"])
    strategy = stage.cast(running(nothing))
    stage.pick()
    stage.trade(59.0)
    assert stage.engine.next_deadline() == OPEN + 62 * SECOND
    stage.timer(61.9)
    assert len(strategy.told) == 1
    stage.timer(62.0)
    assert strategy.told[1]["now"] == as_datetime(OPEN + MINUTE)
    assert stage.minute(0) == []
    assert len(strategy.told) == 2


def test_a_minute_closes_at_the_first_trade_one_second_past_its_end() -> None:
    stage = Stage(events=["minute"])
    strategy = stage.cast(running(nothing))
    stage.pick()
    stage.trade(30.0)
    stage.trade(60.9)
    assert strategy.told == []
    stage.trade(61.0)
    assert strategy.told[0]["now"] == as_datetime(OPEN + MINUTE)
    assert list(strategy.told[0]["history"]["volume"]) == [100.0]


@pytest.mark.parity(33)
def test_trades_of_one_second_make_one_second_bar_and_one_call() -> None:
    stage = Stage(events=["second"])
    strategy = stage.cast(running(nothing))
    stage.pick()
    for _ in range(5):
        stage.trade(10.5)
    assert strategy.told == []
    stage.timer(12.0)
    assert len(strategy.told) == 1
    assert strategy.told[0]["history"]["volume"].iloc[-1] == 500.0


def test_books_are_rebuilt_from_news_before_anybody_is_called() -> None:
    stage = Stage()
    kind = acts(buy(10))
    strategy = kind("R", StrategyType.DAY_TRADE, BATCH, [])
    stage.engine.add(SlotPlan(0, "R", 0, 1), strategy)
    stage.seq[0] = 0
    stage.pick()
    assert stage.minute(0) == []
    from liualgotrader.common.orders import Fill

    fill = Fill(
        1, 0, "liu-0b5e7a4e0000-0-4", "x", "AAPL", Side.BUY, Decimal(7), Decimal("9.5"), Decimal(0), OPEN,
        Decimal(7), Decimal(0), Decimal(7),
    )  # fmt: skip
    stage.news(fill, Protection(2, 0, "AAPL", OPEN, Decimal("9"), Decimal("12")), CaughtUp(0, 2, 5))
    [order] = orders(stage.minute(1))
    assert strategy.told[0]["position"] == 7.0
    assert order.client_order_id.endswith("-0-5")
    assert (order.planned_stop, order.planned_target) == (Decimal("9"), Decimal("12"))


def test_what_an_earlier_batch_left_is_held_without_an_order() -> None:
    from liualgotrader.common.orders import Fill

    stage = Stage()
    strategy = running(nothing)("R", StrategyType.SWING, BATCH, [])
    stage.engine.add(SlotPlan(0, "R", 0, 1), strategy)
    carried = [
        Fill(
            n,
            0,
            "",
            f"carried:{s}",
            s,
            Side.BUY,
            Decimal(n),
            Decimal(5),
            Decimal(0),
            OPEN,
            Decimal(n),
            Decimal(0),
            Decimal(n),
        )
        for n, s in ((1, "AAPL"), (2, "MSFT"))
    ]
    stage.news(*carried, Protection(3, 0, "MSFT", OPEN, Decimal(4), None), CaughtUp(0, 3, 1))
    stage.pick("AAPL")
    stage.pick("MSFT")
    stage.minute(0)
    stage.minute(0, symbol="MSFT")
    assert [told["position"] for told in strategy.told] == [1.0, 2.0]  # type: ignore[attr-defined]
    book = stage.engine.slots[0].book
    assert (book.in_flight("AAPL"), book.in_flight("MSFT"), stage.engine.fills) == (False, False, 0)
    assert book.notes.planned("MSFT", "stop_prices") == Decimal(4)


def test_news_is_acted_on_once_and_a_hole_is_asked_for() -> None:
    stage = Stage()
    stage.cast(acts(buy(10)))
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.fill(order, "10", "10", "10")
    before = stage.engine.fills
    stage.seq[0] = 0
    stage.fill(order, "10", "10", "10")  # delivered again under its old number
    assert stage.engine.fills == before
    stage.seq[0] = 4
    found = stage.fill(order, "10", "10", "20")
    assert [type(one).__name__ for one in found] == ["Declare"]
    assert found[0].last_seq == 1


def test_a_stop_moved_without_an_order_is_told_to_the_gateway(stage: Stage) -> None:
    def decide(self: Any, position: float, symbol: str, **told: Any) -> Any:
        trading_data.stop_prices[symbol] = 9.0 + len(self.told) / 10
        return (True, buy(10)) if not position else NOTHING

    stage.cast(running(decide))
    stage.pick()
    [order] = orders(stage.minute(0))
    assert order.planned_stop == Decimal("9.1")
    stage.fill(order, "10", "10", "10")
    found = stage.minute(1)
    assert found == [Protect(0, "AAPL", OPEN + 2 * MINUTE, Decimal("9.2"), None)]


def test_a_call_that_really_waits_folds_market_data_to_the_newest_state() -> None:
    class Gate:
        def __await__(self) -> Any:
            return (yield "asked")

    async def decide(self: Any) -> Any:
        if len(self.told) == 1:
            await Gate()
        return NOTHING

    stage = Stage()
    waiting = stage.cast(running(lambda self, **told: decide(self)), slot=0, name="A")
    other = stage.cast(running(nothing), slot=1, name="B")
    stage.pick()
    [handed] = [one for one in stage.minute(0) if isinstance(one, WaitingCall)]
    assert handed.first == "asked"
    for number in (1, 2, 3):
        stage.minute(number)
    assert (len(waiting.told), len(other.told)) == (1, 4)
    with pytest.raises(StopIteration) as stopped:
        handed.rest.send("answer")
    stage.keep(stage.engine.on_answer(handed.ticket, stopped.value.value, None, stage.now, 0))
    assert len(waiting.told) == 2
    assert waiting.told[1]["now"] == as_datetime(OPEN + 4 * MINUTE)


def test_fills_while_a_call_waits_are_told_in_order_afterwards() -> None:
    heard: list[float] = []

    class Gate:
        def __await__(self) -> Any:
            return (yield None)

    class Slow(Strategy):
        async def run(self, symbol, shortable, position, now, minute_history, **more):  # type: ignore[no-untyped-def, override]
            if position == 0:
                return True, buy(10)
            await Gate()
            return NOTHING

        async def buy_callback(self, symbol, price, qty, now=None, trade_fee=0.0, remaining_qty=0.0):  # type: ignore[no-untyped-def]
            heard.append(qty)

    stage = Stage()
    stage.cast(Slow)
    stage.pick()
    [order] = orders(stage.minute(0))
    stage.fill(order, "4", "10", "4", remaining="6")
    stage.state(order, OrderState.CANCELED)
    [handed] = [one for one in stage.minute(1) if isinstance(one, WaitingCall)]
    stage.fill(order, "1", "10", "5", remaining="5")
    stage.fill(order, "1", "10", "6", remaining="4")
    assert heard == [4.0]
    with pytest.raises(StopIteration):
        handed.rest.send(None)
    stage.engine.on_answer(handed.ticket, NOTHING, None, stage.now, 0)
    assert heard == [4.0, 1.0, 1.0]


def test_an_unpicked_symbol_without_position_is_forgotten(stage: Stage) -> None:
    strategy = stage.cast(running(nothing))
    stage.pick()
    stage.play([Unpick("AAPL", OPEN)])
    assert "AAPL" not in stage.engine.symbols
    assert not stage.engine.on_history("AAPL", [], OPEN, 0), "history that comes too late revives nothing"
    assert "AAPL" not in stage.engine.symbols
    stage.minute(0)
    assert strategy.told == []


def test_a_symbol_picked_again_begins_anew(stage: Stage) -> None:
    seen: list[list[float]] = []

    class Watching(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            seen.append(list(ctx.bars.close))

    stage.cast(Watching)
    stage.pick()
    stage.minute(0, 10.0)
    stage.play([Unpick("AAPL", stage.now)])
    [wanted] = [one for one in stage.play([Pick("AAPL", stage.now, "scanner")]) if isinstance(one, LoadHistory)]
    stage.keep(stage.engine.on_history(wanted.symbol, [], stage.now, 0))
    stage.minute(1, 11.0)
    assert seen == [[10.0], [11.0]]


def test_a_symbol_that_is_held_or_on_order_is_needed_and_survives_an_unpick(stage: Stage) -> None:
    strategy = stage.cast(acts(buy()))
    assert stage.engine.needs() == {0: []}
    stage.pick()
    [order] = orders(stage.minute(0))
    assert stage.engine.needs() == {0: ["AAPL"]}
    stage.play([Unpick("AAPL", stage.now)])
    stage.fill(order, "10", "10", "10")
    assert stage.engine.needs() == {0: ["AAPL"]}
    stage.play([Unpick("AAPL", stage.now)])
    stage.minute(1)
    assert [told["position"] for told in strategy.told] == [0.0, 10.0]


def test_what_is_needed_is_not_known_before_the_books_are(stage: Stage) -> None:
    stage.engine.add(SlotPlan(0, "Running", 0, 1), running(nothing)("Running", StrategyType.DAY_TRADE, BATCH, []))
    assert stage.engine.needs() is None


def test_a_position_of_an_earlier_batch_is_given_to_its_strategy_without_a_pick(stage: Stage) -> None:
    told: list[Any] = []

    def decide(self: Any, **now: Any) -> Any:
        symbol = now["symbol"]
        told.append((now["position"], trading_data.stop_prices[symbol], trading_data.target_prices[symbol],
                     trading_data.latest_cost_basis[symbol], trading_data.positions[symbol]))  # fmt: skip
        return NOTHING

    made = running(decide)("Running", StrategyType.SWING, BATCH, [])
    stage.engine.add(SlotPlan(0, "Running", 0, 1), made)
    carried = Fill(
        1, 0, "", "carried:x", "XOM", Side.BUY, Decimal(20), Decimal("100.5"), Decimal(0), OPEN, Decimal(20),
        Decimal(0), Decimal(20),
    )  # fmt: skip
    plan = Protection(2, 0, "XOM", OPEN, Decimal(95), Decimal(120))
    found = stage.news(carried, plan, CaughtUp(0, 2, 1))
    assert [one.symbol for one in found if isinstance(one, LoadHistory)] == ["XOM"]
    assert stage.engine.needs() == {0: ["XOM"]}
    stage.keep(stage.engine.on_history("XOM", [], OPEN, 0))
    stage.minute(0, 101.0, "XOM")
    assert told == [(20.0, 95.0, 120.0, 100.5, 20.0)]


def test_what_run_all_buys_on_its_own_is_followed_for_it(stage: Stage) -> None:
    class Rotation(Strategy):
        async def run_all(self, symbols_position, data_loader, now, portfolio_value=None, trader=None, **more):  # type: ignore[no-untyped-def, override]
            self.seen = dict(symbols_position)
            return {} if symbols_position else {"GLD": buy(5)}

    strategy = stage.cast(Rotation, run_all=True)
    [order] = orders(stage.timer(0))
    found = stage.fill(order, "5", "10", "5")
    assert [one.symbol for one in found if isinstance(one, LoadHistory)] == ["GLD"]
    stage.timer(60)
    assert strategy.seen == {"GLD": 5.0}


def test_hours_of_the_test_session_are_those_of_the_exchange() -> None:
    assert (HOURS.closes_at - HOURS.opens_at) == 390 * MINUTE


def test_a_run_all_strategy_that_joins_late_is_called_from_its_next_period_on(stage: Stage) -> None:
    class Periodic(Strategy):
        async def run_all(self, *_: Any, **told: Any) -> Any:
            times.append(told["now"].strftime("%H:%M:%S"))
            return {}

    times: list[str] = []
    stage.timer(0)
    stage.timer(150)
    stage.cast(Periodic, slot=3, run_all=True)
    for second in (170, 180, 240):
        stage.timer(second)
    assert times == ["09:33:00", "09:34:00"]
    assert stage.engine.slots[3].missed_ticks == 0
