"""The examples of docs/strategy_contract.md, run by the engine, and what that page promises about them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from liualgotrader.common import trading_data
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.common.orders import AccountNews, OrderState, Side
from liualgotrader.strategies.base import Strategy, StrategyType
from tests.fakes.strategies import ALWAYS, BATCH_ID, Play, a_bar, seconds

PAGE = (Path(__file__).parents[3] / "docs" / "strategy_contract.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

S = TypeVar("S", bound=Callable[..., None])
PLAYED: set[str] = set()


def plays(name: str) -> Callable[[S], S]:
    """State that a test plays one of the page's examples."""
    PLAYED.add(name)
    return lambda test: test


def classes() -> dict[str, type[Strategy]]:
    found: dict[str, type[Strategy]] = {}
    for number, block in enumerate(BLOCKS, start=1):
        space: dict[str, Any] = {"__name__": f"strategy_contract_{number}"}
        exec(compile(block, f"strategy_contract.md, block {number}", "exec"), space)
        found |= {
            name: value
            for name, value in space.items()
            if isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy
        }
    return found


CLASSES = classes()


def a_strategy(kind: type[Strategy], schedule: list[dict[str, Any]] = ALWAYS) -> Any:
    return kind(kind.__name__, StrategyType.DAY_TRADE, BATCH_ID, schedule)


def a_play(kind: type[Strategy], **options: Any) -> tuple[Play, Any]:
    strategy = a_strategy(kind)
    homes = [strategy.name] if asyncio.run(strategy.should_run_all()) else []
    play = Play(strategy, run_all=homes, **options)
    play.pick("AAPL")
    return play, strategy


def test_every_example_of_the_page_is_played_here() -> None:
    assert set(CLASSES) == PLAYED
    assert len(BLOCKS) == len(CLASSES)


# --- run --------------------------------------------------------------------------------------------------


@plays("HigherClose")
def test_run_orders_by_what_it_returns_and_keeps_stop_target_and_indicators() -> None:
    play, _ = a_play(CLASSES["HigherClose"])
    assert [play.minute(0, 100.0), play.minute(1, 101.0)] == [[], []]
    (entry,) = play.minute(2, 102.0)
    assert (entry.side, entry.quantity, entry.limit_price) == (Side.BUY, 10, Decimal("102.10"))
    assert (entry.planned_stop, entry.planned_target) == (Decimal("100.98"), Decimal("104.04"))
    assert entry.indicators == {"buy": {"close": 102.0}}
    assert play.minute(3, 103.0) == []
    (leave,) = play.minute(4, 104.04)
    assert (leave.side, leave.quantity) == (Side.SELL, 10)


def test_run_is_not_called_while_its_order_works() -> None:
    play, _ = a_play(CLASSES["HigherClose"])
    play.answer = "hold"
    for number in range(3):
        play.minute(number, 100.0 + number)
    assert len(play.orders) == 1
    assert play.minute(3, 110.0) == []
    play.end(play.orders[0], OrderState.CANCELED)
    assert len(play.minute(4, 111.0)) == 1


def test_a_reject_holds_for_the_session() -> None:
    play, _ = a_play(CLASSES["HigherClose"])
    play.minute(0, 0.9)
    for number in range(1, 4):
        play.minute(number, 100.0 + number)
    assert (len(play.rejects), play.orders) == (1, [])


@pytest.mark.parametrize(
    "returned",
    [
        None,
        (True, {"side": "long", "qty": 1, "type": "market"}),
        (True, {"side": "buy", "qty": "many", "type": "market"}),
        (True, {"side": "buy", "qty": 1, "type": "limit"}),
        (True, {"side": "buy", "qty": 1, "type": "limit", "limit_price": -3}),
        (True, {"side": "buy", "qty": 1, "type": "magic"}),
        (True, {"side": "buy", "qty": 1, "type": "market", "time_in_force": "soon"}),
        (True, "buy"),
    ],
)
def test_what_is_no_action_is_stored_and_does_nothing(returned: Any) -> None:
    class Odd(Strategy):
        async def run(self, *args: Any, **more: Any) -> Any:
            return returned

    play, _ = a_play(Odd)
    for number in range(10):
        assert play.minute(number, 10.0) == []
    assert {signal.outcome for signal in play.signals} == {"refused:bad_action"}
    assert len(play.lines) == 10
    assert play.stopped == []


@pytest.mark.parametrize(
    "action, side, quantity",
    [
        ({"side": "sell_short", "qty": "5", "type": "market"}, Side.SELL, 5),
        ({"side": "buy_to_cover", "qty": 5.0, "type": "market"}, Side.BUY, 5),
    ],
)
def test_sides_and_signs(action: dict[str, Any], side: Side, quantity: int) -> None:
    class One(Strategy):
        async def run(self, *args: Any, **more: Any) -> Any:
            return True, action

    play, _ = a_play(One)
    (order,) = play.minute(0, 10.0)
    assert (order.side, order.quantity, order.cancel_after) == (side, quantity, 60_000_000_000)


def test_the_last_row_is_the_minute_that_ends_now_or_the_open_one() -> None:
    seen: list[tuple[str, str, float]] = []

    class Reads(Strategy):
        async def run(  # type: ignore[override]
            self, symbol: str, shortable: bool, position: float, now: Any, minute_history: Any, **more: Any
        ) -> Any:
            last = minute_history.index[-1]
            seen.append((f"{now:%H:%M:%S}", f"{last:%H:%M}", float(minute_history["close"][-1])))
            return False, {}

    play, _ = a_play(Reads, events=["minute", "trade"])
    play.minute(0, 10.0)
    play.now = seconds(75)
    play.events([TradeTick("AAPL", seconds(75), 11.0, 100.0)])
    assert seen == [("09:31:00", "09:30", 10.0), ("09:31:15", "09:31", 11.0)]


# --- run_all ------------------------------------------------------------------------------------------------


@plays("Cheapest")
def test_run_all_is_called_at_the_open_and_each_period_with_picks_and_positions() -> None:
    play, _ = a_play(CLASSES["Cheapest"])
    play.pick("MSFT")
    assert play.timer(0) == []  # no bars yet
    play.bars([a_bar(0, 10.0, "AAPL"), a_bar(0, 9.0, "MSFT")])
    (first,) = play.timer(1)
    assert (first.side, first.symbol, first.planned_stop) == (Side.BUY, "MSFT", Decimal("8.82"))
    play.bars([a_bar(1, 8.0, "AAPL"), a_bar(1, 9.0, "MSFT")])
    assert [(o.side, o.symbol) for o in play.timer(2)] == [(Side.SELL, "MSFT"), (Side.BUY, "AAPL")]


def test_a_late_period_is_made_once_and_the_others_are_counted() -> None:
    calls: list[Any] = []

    class Late(Strategy):
        async def should_run_all(self) -> bool:
            return True

        async def run_all(self, symbols_position: Any, data_loader: Any, now: Any, **more: Any) -> Any:  # type: ignore[override]
            calls.append((f"{now:%H:%M:%S}", dict(symbols_position)))

    play, _ = a_play(Late)
    play.timer(0)
    play.timer(3.5)
    assert calls == [("09:30:00", {"AAPL": 0.0}), ("09:33:00", {"AAPL": 0.0})]
    assert play.engine.slots[1].missed_ticks == 2


def test_an_action_where_an_order_works_is_stored_and_not_ordered() -> None:
    play, _ = a_play(CLASSES["Cheapest"])
    play.answer = "hold"
    play.minute(0, 10.0)
    play.timer(1)
    play.timer(2)
    assert [signal.outcome for signal in play.signals] == ["sent", "in_flight"]


# --- event methods --------------------------------------------------------------------------------------------


def crossed() -> Play:
    """Closes of 100, five of them, one lower, then 102: above the mean."""
    play, _ = a_play(CLASSES["Crossing"])
    play.timer(0)
    for number in range(5):
        play.minute(number, 100.0)
    play.minute(5, 99.0)
    assert play.orders == []
    (entry,) = play.minute(6, 102.0)
    assert (entry.quantity, entry.limit_price, entry.planned_stop) == (10, Decimal("102.10"), Decimal("100.98"))
    return play


@plays("Crossing")
def test_event_methods_act_through_their_context() -> None:
    play = crossed()
    # Seeded with 100, weight 1/3: 100 + (99 - 100) / 3 = 99.6667, then + (102 - 99.6667) / 3 = 100.4444.
    assert play.orders[0].indicators["mean"] == pytest.approx(100.4444, abs=1e-4)
    (leave,) = play.minute(7, 100.9)
    assert (leave.side, leave.reason) == (Side.SELL, "stop or target")


def test_the_timer_comes_per_symbol_on_its_grid() -> None:
    play = crossed()  # filled seven minutes after the open
    assert play.timer(10) == play.timer(15) == []
    (leave,) = play.timer(20)
    assert (leave.side, leave.reason) == (Side.SELL, "time")


def test_an_async_event_method_is_refused_when_it_is_loaded() -> None:
    class Wrong(Strategy):
        async def on_bar(self, ctx: Any, bar: Any) -> None: ...

    with pytest.raises(ConfigError, match="on_bar must be a plain `def`"):
        a_play(Wrong)


def test_calls_of_one_event_come_in_the_order_of_the_page() -> None:
    said: list[str] = []

    class First(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            said.append(f"{self.name}.on_bar")

        def on_trade(self, ctx: Any, trade: Any) -> None:
            said.append(f"{self.name}.on_trade")

        def on_quote(self, ctx: Any, quote: Any) -> None:
            said.append(f"{self.name}.on_quote")

        async def run(self, *args: Any, **more: Any) -> Any:
            said.append(f"{self.name}.run")
            return False, {}

    class Second(First):
        pass

    play = Play(a_strategy(First), a_strategy(Second), events=["minute", "trade", "quote"])
    play.pick("AAPL")
    play.events([TradeTick("AAPL", seconds(10), 10.0, 100.0)])
    each = ["First.on_{0}", "Second.on_{0}", "First.run", "Second.run"]
    assert said == [word.format("trade") for word in each]
    said.clear()
    play.now = seconds(61)
    play.events([Quote("AAPL", seconds(61), 9.9, 1.0, 10.1, 1.0)])  # one second past the minute: it closes first
    assert said == [word.format("bar") for word in each] + [word.format("quote") for word in each]


# --- callbacks -------------------------------------------------------------------------------------------------


@pytest.mark.parity(82)
@plays("FadeTheSpike")
@pytest.mark.parametrize("lent", [True, False])
def test_a_short_position_is_sold_where_shares_are_lent_and_bought_back_at_its_stop_or_target(lent: bool) -> None:
    for last in (104.03, 100.94):  # of 103: the stop 1 % above, the target 2 % below
        play, _ = a_play(CLASSES["FadeTheSpike"])
        play.engine.market.shortable = {"SPY": lent}
        play.pick("SPY")
        play.engine.on_news([AccountNews(play.now, Decimal(100_000), Decimal(0), Decimal(0))], play.now, 0)
        for number in range(5):
            assert play.minute(number, 100.0, "SPY") == []
        entry = play.minute(5, 103.01, "SPY")
        if not lent:
            assert entry == []
            continue
        # 0.1 % of 100,000 $ at risk is 100 $, at 1.03 $ a share 97; an order may cost 9,900 $: 96 shares are 9,888.96 $
        assert [(o.side, o.quantity) for o in entry] == [(Side.SELL, 96)]
        assert (entry[0].planned_stop, entry[0].planned_target) == (Decimal("104.0401"), Decimal("100.9498"))
        assert play.minute(6, 103.5, "SPY") == []
        back = play.minute(7, last + (0.02 if last > 104 else -0.01), "SPY")
        assert [(o.side, o.quantity) for o in back] == [(Side.BUY, 96)]


@plays("Parts")
def test_remaining_qty_asks_for_every_execution() -> None:
    play, strategy = a_play(CLASSES["Parts"])
    play.answer = "hold"
    (entry,) = play.minute(0, 10.0)
    play.fill(entry, "10", "60")
    play.fill(entry, "11", "40")
    assert strategy.bought == ((10.0, 60.0, 0.0, 40.0), (11.0, 40.0, 0.0, 0.0))
    (leave,) = play.minute(1, 12.0)
    play.fill(leave, "12", "50")
    assert strategy.sold == ()
    play.fill(leave, "14", "50")
    assert strategy.sold == ((13.0, 100.0, 0.0),)


def test_on_fill_comes_before_the_callback_and_the_book_is_up_to_date() -> None:
    said: list[Any] = []

    class Hears(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            if ctx.position:
                ctx.close()
            else:
                ctx.buy(3, stop_price=9, target_price=12)

        def on_fill(self, ctx: Any, fill: Any) -> None:
            said.append(("on_fill", ctx.position, ctx.stop_price))

        async def buy_callback(
            self, symbol: str, price: float, qty: float, now: Any = None, trade_fee: float = 0.0
        ) -> None:
            said.append(("buy", trading_data.positions[symbol], trading_data.stop_prices[symbol]))

        async def sell_callback(
            self, symbol: str, price: float, qty: float, now: Any = None, trade_fee: float = 0.0
        ) -> None:
            said.append(("sell", trading_data.positions[symbol], symbol in trading_data.stop_prices))

    play, _ = a_play(Hears)
    play.minute(0, 10.0)
    play.minute(1, 11.0)
    assert said == [("on_fill", 3.0, 9.0), ("buy", 3.0, 9.0), ("on_fill", 0.0, None), ("sell", 0.0, False)]


# --- memory and failure -------------------------------------------------------------------------------------------


@plays("Visitors")
def test_the_key_store_keeps_texts_per_strategy_context_and_for_all() -> None:
    play, _ = a_play(CLASSES["Visitors"])
    for number in range(3):
        play.minute(number, 10.0)
    assert play.keys.values == {"Visitors/AAPL/seen": "3", "last": "AAPL"}


def test_views_are_empty_outside_a_call() -> None:
    play, _ = a_play(CLASSES["HigherClose"])
    for number in range(3):
        play.minute(number, 100.0 + number)
    assert play.positions and dict(trading_data.positions) == dict(trading_data.stop_prices) == {}
    with pytest.raises(RuntimeError, match="belongs to the strategy being called"):
        trading_data.stop_prices["AAPL"] = 1.0


def test_five_failures_in_a_row_stop_a_strategy_and_nobody_else() -> None:
    class Fragile(Strategy):
        calls = 0

        async def run(self, *args: Any, **more: Any) -> Any:
            self.calls += 1
            if self.calls != 5:
                raise ValueError("no such luck")
            return False, {}

    fragile, sound = a_strategy(Fragile), a_strategy(CLASSES["Visitors"])
    play = Play(fragile, sound)
    play.pick("AAPL")
    for number in range(12):
        play.minute(number, 10.0)
    assert fragile.calls == 10  # four, a good one, five
    assert [stopped.slot for stopped in play.stopped] == [1]
    assert play.stopped[0].reason.startswith("raised: ValueError: no such luck (test_strategy_contract.py:")
    assert play.keys.values["Visitors/AAPL/seen"] == "12"


class Pause:
    def __await__(self) -> Any:
        yield "a real wait"


def test_while_it_waits_market_data_is_folded_and_fills_are_kept() -> None:
    said: list[Any] = []

    class Slow(Strategy):
        async def run(  # type: ignore[override]
            self, symbol: str, shortable: bool, position: float, now: Any, minute_history: Any, **more: Any
        ) -> Any:
            said.append(("run", symbol, float(minute_history["close"][-1])))
            if len(said) == 1:
                await Pause()
            return True, {"side": "buy", "qty": 1, "type": "market"}

        def on_quote(self, ctx: Any, quote: Any) -> None:
            ctx.buy(5)

        def on_fill(self, ctx: Any, fill: Any) -> None:
            said.append(("on_fill", ctx.symbol, float(fill.quantity)))

    play, _ = a_play(Slow, events=["minute", "quote"])
    play.pick("MSFT")
    play.answer = "hold"
    play.events([Quote("MSFT", seconds(1), 1.0, 1.0, 1.1, 1.0)])
    (other,) = play.orders
    play.minute(0, 10.0)
    (waiting,) = play.waiting
    play.fill(other, "1.1", "3")
    play.fill(other, "1.1", "2")
    play.minute(1, 11.0)
    play.minute(2, 12.0)
    assert said == [("run", "AAPL", 10.0)]
    assert play.resume(waiting, (False, {})) == play.orders[1:]
    assert said[1:] == [("on_fill", "MSFT", 3.0), ("on_fill", "MSFT", 2.0), ("run", "AAPL", 12.0)]
    assert [order.symbol for order in play.orders[1:]] == ["AAPL"]


# --- array signals ----------------------------------------------------------------------------------------------------


@plays("Rising")
def test_array_signals_use_no_row_after_their_own_and_no_session_runs_them() -> None:
    class Columns:
        def __init__(self, close: list[float]) -> None:
            self.close = np.array(close)

    closes = [10.0, 11.0, 12.0, 11.0, 10.0, 11.0, 12.0]
    strategy = a_strategy(CLASSES["Rising"])
    whole = strategy.signals(Columns(closes))
    assert whole["entry"].tolist() == [0, 0, 1, 0, 0, 0, 1]
    assert whole["exit"].tolist() == [False, False, False, False, True, False, False]
    for rows in range(1, len(closes)):
        part = strategy.signals(Columns(closes[:rows]))
        for name, column in part.items():
            seen = whole[name] if np.ndim(column) == 0 else whole[name][:rows]
            assert np.array_equal(column, seen), name
    with pytest.raises(ConfigError, match="has only `signals`"):
        a_play(CLASSES["Rising"])
