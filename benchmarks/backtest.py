"""`python -m benchmarks.backtest`: the common workload through the backtester, in bars of a bare loop run in turn with it.

One bar of the bare loop is a `Struct` made from the columns, a call of the strategy with both averages kept up to date,
and a broker that fills at the next open. Every run's result is compared with the known one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import workload
from benchmarks.machine import load_average, machine, versions
from liualgotrader.backtest.run_record import BacktestTerms, RunRecord
from liualgotrader.backtest.runner import Backtest
from liualgotrader.backtest.tick_runner import TickBacktest
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.rows import TradeRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import EVENT_KINDS, Limits, Timings
from liualgotrader.exchange.fees import PerShareCommission
from liualgotrader.exchange.rules import Rules
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.tapes.base import ColumnTape
from liualgotrader.tapes.generated import GeneratedTape

TICK_DAY = date(2024, 6, 3)
BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
NO_LIMITS = Limits(
    order_equity_fraction=1.0,
    order_dollars=1e9,
    position_equity_fraction=1.0,
    gross_equity_fraction=10.0,
    daily_loss_stop_fraction=1.0,
    daily_loss_flatten_fraction=1.0,
    orders_per_minute=1_000_000,
    open_orders=1_000_000,
)
FEES = PerShareCommission(per_share=Decimal(str(workload.FEE)), minimum=Decimal(0))


class Bar(msgspec.Struct, gc=False):
    """A bar of the bare loop."""

    symbol: str
    at: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class BareStrategy:
    """The crossing strategy with nothing around it."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.averages = {symbol: workload.Averages() for symbol in symbols}
        self.held = dict.fromkeys(symbols, 0)
        self.wanted = dict.fromkeys(symbols, 0)  # shares to trade at the next open
        self.fills, self.cash = 0, 0.0

    def on_bar(self, bar: Bar) -> None:
        """Fill what the bar before decided, then take the close in."""
        symbol = bar.symbol
        if wanted := self.wanted[symbol]:
            self.cash -= wanted * bar.open + abs(wanted) * workload.FEE
            self.held[symbol] += wanted
            self.wanted[symbol] = 0
            self.fills += 1
        crossed = self.averages[symbol].crossed(bar.close)
        if crossed is None:
            return
        if crossed and not self.held[symbol]:
            self.wanted[symbol] = workload.SHARES
        elif not crossed and self.held[symbol]:
            self.wanted[symbol] = -workload.SHARES


class Watching(workload.CrossingOnBar):
    """Works out the same crossings and orders nothing."""

    def on_bar(self, ctx: Any, bar: Any) -> None:
        """Take a closed bar in."""
        averages = self.averages.get(bar.symbol)
        if averages is None:
            averages = self.averages[bar.symbol] = workload.Averages()
        averages.crossed(bar.close)


class Recording(Watching):
    """Works out the same crossings and records each close."""

    def on_bar(self, ctx: Any, bar: Any) -> None:
        """Take a closed bar in."""
        super().on_bar(ctx, bar)
        ctx.record("close", bar.close)


class Untouched(Strategy):
    """The original's method, with a frame that is not looked at."""

    strategy_type = StrategyType.SWING

    async def run(self, *told: Any, **named: Any) -> tuple[bool, dict[str, Any]]:
        """Do nothing."""
        return False, {}


class LastClose(Strategy):
    """The original's method, looking at the newest close."""

    strategy_type = StrategyType.SWING

    async def run(  # type: ignore[override]
        self, symbol: str, shortable: bool, position: float, now: Any, minute_history: Any, **more: Any
    ) -> tuple[bool, dict[str, Any]]:
        """Read one value."""
        return minute_history["close"].iloc[-1] < 0, {}


class Tick(msgspec.Struct, gc=False):
    """A trade (`bid` is its price and `ask` 0) or a quote of the bare loop."""

    symbol: str
    at: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


class BareTicks:
    """What `WatchingTicks` works out, with nothing around it."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.spreads = 0.0

    def on_trade(self, trade: Tick) -> None:
        """Take a print in."""
        self.last[trade.symbol] = trade.bid

    def on_quote(self, quote: Tick) -> None:
        """Take a quote in."""
        self.spreads += quote.ask - quote.bid


class WatchingTicks(Strategy):
    """Looks at every print and quote and orders nothing."""

    strategy_type = StrategyType.SWING

    async def create(self) -> bool:
        """Begin without a price."""
        self.last: dict[str, float] = {}
        self.spreads = 0.0
        return await super().create()

    def on_trade(self, ctx: Any, trade: TradeTick) -> None:
        """Take a print in."""
        self.last[trade.symbol] = trade.price

    def on_quote(self, ctx: Any, quote: Quote) -> None:
        """Take a quote in."""
        self.spreads += quote.ask - quote.bid


def readme_crossing() -> type[Strategy]:
    """Return the strategy `Crossing` as README prints it."""
    text = (Path(__file__).parents[1] / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    exec(next(block for block in blocks if "class Crossing(" in block), names)
    kind: type[Strategy] = names["Crossing"]
    return kind


def bare_ns(bars: Mapping[str, BarColumns]) -> float:
    """Return what a bar of the bare loop costs, ns of CPU."""
    strategy = BareStrategy(list(bars))
    rows = [
        (column.closed_at, column.open, column.high, column.low, column.close, column.volume)
        for column in bars.values()
    ]
    began = time.process_time_ns()
    tables = [[figures.tolist() for figures in row] for row in rows]
    on_bar = strategy.on_bar
    for moment in zip(*(zip(*table, strict=True) for table in tables), strict=True):
        for symbol, (at, opening, high, low, close, volume) in zip(bars, moment, strict=True):
            on_bar(Bar(symbol, at, opening, high, low, close, volume))
    spent = time.process_time_ns() - began
    return spent / sum(len(column.close) for column in bars.values())


def bare_ticks_ns(tape: ColumnTape) -> float:
    """Return what a print or quote of the bare loop costs, ns of CPU: all symbols by time, a `Struct` each, a call each."""
    strategy, columns = BareTicks(), [tape.columns(symbol) for symbol in tape.symbols()]
    began = time.process_time_ns()
    names, times, rows, is_quote = list[str](), [], [], []
    for one in columns:
        for table, quotes in ((one.quotes, True), (one.trades, False)):
            sides: Any = (one.quotes.ask, one.quotes.ask_size) if quotes else (one.trades.price * 0, one.trades.size)
            first: Any = (one.quotes.bid, one.quotes.bid_size) if quotes else (one.trades.price, one.trades.size)
            names += [one.symbol] * len(table.at)
            times.append(table.at)
            rows.append(np.stack([*first, *sides]))
            is_quote.append(np.full(len(table.at), quotes))
    order = np.argsort(np.concatenate(times), kind="stable")
    figures = (column[order].tolist() for column in (np.concatenate(times), *np.concatenate(rows, axis=1)))
    kinds = np.concatenate(is_quote)[order].tolist()
    on_trade, on_quote = strategy.on_trade, strategy.on_quote
    for place, quote, *values in zip(order.tolist(), kinds, *figures, strict=True):
        (on_quote if quote else on_trade)(Tick(names[place], *values))
    return (time.process_time_ns() - began) / len(names)


def ticks_ns(tape: ColumnTape, kind: type[Strategy] = WatchingTicks) -> float:
    """Return what a run on a day's prints and quotes costs, ns of CPU an event."""
    strategy = kind("Benchmark", batch_id=BATCH)
    asyncio.run(strategy.create())
    terms = BacktestTerms(batch_id=BATCH, sessions=(tape.session,), cash=Decimal(10**7), limits=NO_LIMITS, period=0)
    began = time.process_time_ns()
    run = TickBacktest(terms, lambda session: tape, frozenset(EVENT_KINDS))
    record = run.run({SlotPlan(1, "Benchmark", 0, 1, day_trade=False): strategy})
    return (time.process_time_ns() - began) / record.bars


def played(
    kind: type[Strategy], bars: Mapping[str, BarColumns], days: Sequence[TradingSession]
) -> tuple[float, RunRecord]:
    """Return what a run costs, ns of CPU a bar, and its record."""
    strategy = kind("Benchmark", batch_id=BATCH)
    asyncio.run(strategy.create())
    terms = BacktestTerms(
        batch_id=BATCH,
        sessions=tuple(days),
        cash=Decimal(10**7),
        limits=NO_LIMITS,
        timings=Timings(order_lifetime_seconds=1e7),
        rules=Rules(fees=FEES),
    )
    began = time.process_time_ns()
    record = Backtest(terms, bars).run({SlotPlan(1, "Benchmark", 0, 1, day_trade=False): strategy})
    return (time.process_time_ns() - began) / record.bars, record


def cost_ns(kind: type[Strategy], bars: Mapping[str, BarColumns], days: Sequence[TradingSession]) -> float:
    """Return what a run costs alone."""
    return played(kind, bars, days)[0]


def result(record: RunRecord, bars: Mapping[str, BarColumns]) -> tuple[int, int, int, float]:
    """Return fills, round trips, positions still open and profit, from the rows alone."""
    held = dict.fromkeys(bars, Decimal(0))
    cash, sold, fills = Decimal(0), 0, 0
    for trade in record.rows:
        if isinstance(trade, TradeRow):
            signed = trade.quantity if trade.operation == "buy" else -trade.quantity
            held[trade.symbol] += signed
            cash -= signed * trade.price + trade.fee
            sold, fills = sold + (signed < 0), fills + 1
    profit = float(cash) + sum(float(shares) * float(bars[s].close[-1]) for s, shares in held.items())
    return fills, sold, sum(1 for shares in held.values() if shares), round(profit, 4)


def in_units(repeats: int, unit: Callable[[], float], cost: Callable[[], float]) -> dict[str, float]:
    """Return the median cost in units, each taken in turn with the unit."""
    pairs = [(unit(), cost()) for _ in range(repeats)]
    return {
        "units": round(statistics.median(c / u for u, c in pairs), 2),
        "ns": round(statistics.median(c for _, c in pairs)),
        "unit_ns": round(statistics.median(u for u, _ in pairs)),
    }


def main() -> None:
    """Measure, and print the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["a", "b", "c"], choices=list(workload.SIZES))
    parser.add_argument("--days", type=int, default=25, help="of the runs without orders (default 25)")
    parser.add_argument("--ticks", type=int, default=600_000, help="trades and quotes of the day of ticks, at most")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    few = workload.whole_sessions(options.days)
    for name, symbols, kind, days in (
        ("on_bar_10_symbols", 10, Watching, few),
        ("on_bar_1_symbol", 1, Watching, workload.whole_sessions(10 * options.days)),
        ("on_bar_that_records", 10, Recording, few),
        ("readme_crossing", 10, readme_crossing(), few[:5]),
        ("run_untouched", 10, Untouched, few[:5]),
        ("run_last_close", 10, LastClose, few[:5]),
    ):
        bars = workload.bars(symbols, days)
        found[name] = in_units(options.repeats, partial(bare_ns, bars), partial(cost_ns, kind, bars, days))
    tape = GeneratedTape(TICK_DAY, symbols=10, events_limit=options.ticks)
    tape.load()
    found["ticks"] = in_units(options.repeats, partial(bare_ticks_ns, tape), partial(ticks_ns, tape))
    found["ticks"]["of_the_bare_tick_loop"] = round(1 / found["ticks"]["units"], 3)
    for size in options.sizes:
        symbols, length = workload.SIZES[size]
        days = workload.whole_sessions(length)
        bars = workload.bars(symbols, days)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pairs = []
        for _ in range(options.repeats):
            unit = bare_ns(bars)
            cost, record = played(workload.CrossingOnBar, bars, days)
            pairs.append((unit, cost))
            came_to = result(record, bars)
            if size in workload.EXPECTED and came_to != workload.EXPECTED[size]:
                raise SystemExit(f"{size} came to {came_to}, not {workload.EXPECTED[size]}")
        alone = found["on_bar_10_symbols" if symbols > 1 else "on_bar_1_symbol"]["units"]
        units = statistics.median(cost / unit for unit, cost in pairs)
        found[f"whole_{size}"] = {
            "units": round(units, 2),
            "of_the_bare_loop": round(1 / units, 4),
            "order_units": round((units - alone) * record.bars / came_to[0], 1),
            "result": came_to,
            "peak_growth_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
        }
    document = {
        "benchmark": "backtest",
        "machine": machine(),
        "versions": versions(),
        "load_average": load_average(),
        "unit": "CPU of one bar of the bare loop",
        "measured": found,
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
