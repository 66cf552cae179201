"""`python -m benchmarks.order`: a market order from `ctx.buy` through engine, desk and exchange to the fill told.

One process, no sockets, no journal: the product's own engine, order desk and exchange. Its cost is given in bars of a
bare CPython loop run in turn with it, so that the figure hardly depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from types import FrameType
from typing import Any

import msgspec

from benchmarks.machine import load_average, machine, versions
from benchmarks.sides import session_hours
from benchmarks.strategies.buyer import Buyer
from liualgotrader.common.clock import MILLISECOND, SECOND
from liualgotrader.common.events import EventBatch, Pick, Quote, TradeTick
from liualgotrader.common.orders import BrokerAccount, CancelIntent, Declare, News, OrderIntent, Protect
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import Limits
from liualgotrader.engine.engine import Engine, EngineTerms
from liualgotrader.engine.outputs import Output
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import AssetTerms
from liualgotrader.exchange.rules import ExchangeSession, Rules
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Answer,
    Begin,
    BrokerRequest,
    BrokerSnapshot,
    DeskTerms,
    Input,
    Outcome,
    Reconcile,
    Reconnected,
    Send,
    Tell,
)
from liualgotrader.strategies.frames import lazy_frames
from liualgotrader.trading.exchange_orders import broker_order, broker_update, order_request

BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE")  # five positions, as the limits of the defaults would have
SLOT = SlotPlan(1, "Buyer", 0, 1)
AFTER = (1_000, 100_000)  # orders of the session before those that are measured
MEASURED, BARS, REPEATS = 100, 10_000, 9  # orders and bars a time, and times
STEP = 10 * MILLISECOND  # market time from one order to the next
LATENCY = MILLISECOND
NO_LIMITS = Limits(
    order_equity_fraction=1.0,
    order_dollars=1e9,
    position_equity_fraction=1.0,
    orders_per_minute=1_000_000,
    open_orders=1000,
)


class Bar(msgspec.Struct, gc=False):
    """A bar of the bare loop."""

    at: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Averages:
    """The bare loop's strategy: two moving averages kept up to date, and whether the faster one is above."""

    def __init__(self) -> None:
        self.closes = [100.0] * 30
        self.fast, self.slow, self.place, self.crosses, self.above = 1000.0, 3000.0, 0, 0, False

    def on_bar(self, bar: Bar) -> None:
        """Take a bar in."""
        close, place, closes = bar.close, self.place, self.closes
        self.slow += close - closes[place]
        self.fast += close - closes[place - 10]
        closes[place] = close
        self.place = place + 1 if place < 29 else 0
        above = self.fast * 3 > self.slow
        if above is not self.above:
            self.above = above
            self.crosses += 1


def bar_ns() -> float:
    """Return what one bar of the bare loop costs, ns of CPU."""
    strategy = Averages()
    prices = [100.0 + number % 7 for number in range(BARS)]
    before = time.process_time_ns()
    for at, price in enumerate(prices):
        strategy.on_bar(Bar(at, price, price, price, price, 1000.0))
    return (time.process_time_ns() - before) / BARS


class Market:
    """An engine with one strategy, a desk and an exchange; every order fills whole, a millisecond after it was sent."""

    def __init__(self) -> None:
        hours = session_hours()
        self.now, self.number = hours.opens_at + SECOND, 0
        self.exchange = Exchange(
            [AssetTerms(symbol) for symbol in SYMBOLS],
            session=ExchangeSession(opens_at=hours.opens_at, closes_at=hours.closes_at),
            rules=Rules(latency_ns=LATENCY),
            seed=1,
        )
        self.exchange.advance(self.now)
        self.exchange.open_account("me", Decimal(10**9))
        self.strategy = Buyer(BATCH)
        self.engine = Engine(EngineTerms(BATCH, hours, events=frozenset({"trade"}), limits=NO_LIMITS), lazy_frames)
        self.engine.add(SLOT, self.strategy)
        self.desk = Desk()
        self._tell(Begin(DeskTerms(BATCH, (SLOT,), hours, limits=NO_LIMITS), 1))
        self._tell(Reconnected())
        seen = self.exchange.account("me")
        self._tell(
            BrokerAccount("me", "ACTIVE", seen.equity, seen.cash, seen.buying_power, seen.last_equity, True, False)
        )
        self._tell(Declare(SLOT.slot, SLOT.strategy, True, 0))
        self._play([Pick(symbol, self.now, "benchmark") for symbol in SYMBOLS])
        for symbol in SYMBOLS:
            self._take(self.engine.on_history(symbol, [], self.now, 0))

    def trade(self, orders: int) -> None:
        """Let so many trades be seen, each of which makes the strategy buy."""
        for _ in range(orders):
            self.now += STEP
            self.number += 1
            symbol = SYMBOLS[self.number % len(SYMBOLS)]
            self.exchange.on_event(Quote(symbol, self.now, 99.99, 1e6, 100.01, 1e6))
            self._play([TradeTick(symbol, self.now, 100.0, 100.0)])
            self.exchange.advance(self.now + LATENCY)
            for update in self.exchange.take_updates():
                self._tell(broker_update(update))
        assert self.strategy.fills == self.number, "an order did not fill"

    def _play(self, events: Sequence[Any]) -> None:
        self._take(self.engine.on_batch(EventBatch(0, self.number, 0, list(events)), self.now, 0))

    def _take(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, OrderIntent | CancelIntent | Protect):
                self._tell(output)

    def _tell(self, told: Input) -> None:
        news: list[News] = []
        answers: list[Input] = []
        for decision in self.desk.decide(told, self.now, 0):
            if isinstance(decision, Tell):
                news.append(decision.news)
            elif isinstance(decision, Send):
                view = self.exchange.submit("me", order_request(decision.order), self.now)
                name = decision.order.client_order_id
                answers.append(Answer(BrokerRequest.SUBMIT, name, Outcome.ACCEPTED, broker_order(view)))
            elif isinstance(decision, Reconcile):
                answers.append(BrokerSnapshot(True))
        if news:
            self._take(self.engine.on_news(news, self.now, 0))
        for answer in answers:
            self._tell(answer)


def calls(market: Market, orders: int) -> Counter[str]:
    """Return the calls of Python functions that so many orders make, by the package they are in."""
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            counted[str(frame.f_globals.get("__name__", "?")).removeprefix("liualgotrader.").split(".")[0]] += 1

    sys.setprofile(count)
    try:
        market.trade(orders)
    finally:
        sys.setprofile(None)
    del counted["benchmarks"], counted[__name__]
    return counted


def measure(market: Market) -> dict[str, Any]:
    """Return what an order costs now, after all that the market has seen."""
    orders_before, bars, orders = market.number, [], []
    for _ in range(REPEATS):
        bars.append(bar_ns())
        before = time.process_time_ns()
        market.trade(MEASURED)
        orders.append((time.process_time_ns() - before) / MEASURED)
    counted = calls(market, MEASURED)
    return {
        "orders_before": orders_before,
        "bars": round(statistics.median(order / bar for order, bar in zip(orders, bars, strict=True))),
        "order_us": round(statistics.median(orders) / 1000, 1),
        "bar_ns": round(statistics.median(bars)),
        "calls": round(counted.total() / MEASURED),
        "calls_by_room": {room: round(count / MEASURED) for room, count in counted.most_common()},
    }


def main() -> None:
    """Measure, and print the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--after", type=int, nargs="+", default=AFTER, help="orders of the session before the measured")
    after = parser.parse_args().after
    market, found = Market(), []
    for orders in after:
        market.trade(max(0, orders - market.number))
        found.append(measure(market))
    document = {
        "benchmark": "order",
        "machine": machine(),
        "versions": versions(),
        "load_average": load_average(),
        "unit": "cost of one order in bars of the bare CPython loop",
        "measured": found,
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
