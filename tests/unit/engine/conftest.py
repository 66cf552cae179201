"""An engine with strategies made of functions, and a market to play to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.clock import MINUTE, SECOND, instant
from liualgotrader.common.events import Bar, EventBatch, FeedEvent, Pick, TradeTick
from liualgotrader.common.orders import CaughtUp, Fill, News, OrderIntent, OrderNews, OrderState, Side
from liualgotrader.common.rows import SignalRow
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.engine.engine import Engine, EngineTerms
from liualgotrader.engine.outputs import Output
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.frames import lazy_frames

BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
OPEN = instant(datetime.fromisoformat("2024-03-08T09:30:00-05:00"))
CLOSE = OPEN + 390 * MINUTE
HOURS = Hours("2024-03-08", OPEN, CLOSE, CLOSE - 15 * MINUTE, CLOSE + 5 * MINUTE)


class Stage:
    """One consumer's engine, and short words for what happens to it."""

    def __init__(self, *, events: Sequence[str] = ("minute",), hours: Hours = HOURS, **terms: Any) -> None:
        self.engine = Engine(
            EngineTerms(BATCH, hours, events=frozenset(events), session_starts=(hours.opens_at,), **terms), lazy_frames
        )
        self.now = hours.opens_at
        self.seq: dict[int, int] = {}
        self.out: list[Output] = []

    def cast(self, kind: type[Strategy], *, slot: int = 0, run_all: bool = False, **options: Any) -> Any:
        """Put a strategy on and tell it that its books are known."""
        name = options.pop("name", kind.__name__)
        strategy = kind(name, options.pop("type", StrategyType.DAY_TRADE), BATCH, [], **options)
        self.engine.add(SlotPlan(slot, name, 0, 1, run_all=run_all), strategy)
        self.seq[slot] = 0
        self.engine.on_news([CaughtUp(slot, 0, 1)], self.now, 0)
        return strategy

    def pick(self, symbol: str = "AAPL", strategy: str = "", history: Sequence[Bar] = ()) -> list[Output]:
        found = self.play([Pick(symbol, self.now, "scanner", strategy)])
        return found + self.keep(self.engine.on_history(symbol, history, self.now, 0))

    def play(self, events: Iterable[FeedEvent], silent: Iterable[int] = ()) -> list[Output]:
        return self.keep(self.engine.on_batch(EventBatch(1, 1, 0, list(events)), self.now, 0, frozenset(silent)))

    def minute(self, number: int, close: float = 10.0, symbol: str = "AAPL") -> list[Output]:
        """The vendor's bar of the session's minute `number` (0 is the first)."""
        self.now = max(self.now, OPEN + (number + 1) * MINUTE)
        return self.play([bar(number, close, symbol)])

    def trade(self, second: float, price: float = 10.0, symbol: str = "AAPL", size: float = 100.0) -> list[Output]:
        at = OPEN + round(second * SECOND)
        self.now = max(self.now, at)
        return self.play([TradeTick(symbol, at, price, size)])

    def timer(self, second: float) -> list[Output]:
        self.now = OPEN + round(second * SECOND)
        return self.keep(self.engine.on_timer(self.now, 0))

    def fill(
        self, intent: OrderIntent, quantity: str, price: str, position: str, *, remaining: str = "0", fee: str = "0"
    ) -> list[Output]:
        shares, left = Decimal(quantity), Decimal(remaining)
        done = intent.quantity - left
        news = Fill(
            self.next_seq(intent.slot), intent.slot, intent.client_order_id, f"x{self.seq[intent.slot]}", intent.symbol,
            intent.side, shares, Decimal(price), Decimal(fee), self.now, done, left, Decimal(position),
        )  # fmt: skip
        return self.news(news)

    def state(self, intent: OrderIntent, state: OrderState, reason: str = "", client_id: str = "") -> list[Output]:
        replaces = client_id.startswith(f"{intent.client_order_id}-")
        news = OrderNews(
            self.next_seq(intent.slot), intent.slot, client_id or intent.client_order_id, intent.symbol, intent.side,
            state, self.now, intent.quantity, Decimal(0), reason, intent.client_order_id if replaces else "",
        )  # fmt: skip
        return self.news(news)

    def news(self, *news: News) -> list[Output]:
        return self.keep(self.engine.on_news(news, self.now, 0))

    def next_seq(self, slot: int) -> int:
        self.seq[slot] += 1
        return self.seq[slot]

    def keep(self, found: list[Output]) -> list[Output]:
        self.out += found
        return found


def bar(number: int, close: float = 10.0, symbol: str = "AAPL") -> Bar:
    start = OPEN + number * MINUTE
    return Bar(symbol, start, start + MINUTE, close, close + 1, close - 1, close, 1000.0, close, 5)


def orders(found: Iterable[Output]) -> list[OrderIntent]:
    return [one for one in found if isinstance(one, OrderIntent)]


def signals(found: Iterable[Output]) -> list[SignalRow]:
    return [one for one in found if isinstance(one, SignalRow)]


def buy(quantity: Any = 10, **more: Any) -> dict[str, Any]:
    return {"side": "buy", "qty": quantity, "type": "market", **more}


Decide = Callable[..., Any]


def running(decide: Decide) -> type[Strategy]:
    """A strategy of the original whose `run` is `decide(self, **arguments)`; it keeps what it was told."""

    class Running(Strategy):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.told: list[dict[str, Any]] = []

        async def run(
            self, symbol: str, shortable: bool, position: float, now: Any, minute_history: Any,
            portfolio_value: float | None = None, debug: bool = False, backtesting: bool = False,
        ) -> Any:  # fmt: skip
            told = dict(symbol=symbol, shortable=shortable, position=position, now=now, history=minute_history,
                        portfolio_value=portfolio_value, debug=debug, backtesting=backtesting)  # fmt: skip
            self.told.append(told)
            result = decide(self, **told)
            return (await result) if hasattr(result, "__await__") else result

    return Running


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def sides() -> type[Side]:
    return Side
