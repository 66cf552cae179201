"""`python -m benchmarks.backtest`: the common workload through the backtester, in bars of a bare loop run in turn with it.

One bar of the bare loop is a `Struct` made from the columns, a call of the strategy with both averages kept up to date,
and a broker that fills at the next open. Every run's result is compared with the known one; one that differs ends the
command with a sentence. Times are of the CPU but where a name says otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
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
from liualgotrader.common.calendar import TradingSession, sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.rows import TradeRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import EVENT_KINDS, Limits, Timings
from liualgotrader.data.market_store import MarketStore, complete_days
from liualgotrader.exchange.fees import PerShareCommission
from liualgotrader.exchange.rules import Rules
from liualgotrader.postgres.embedded_server import EmbeddedServer
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


class AllAtOnce(Strategy):
    """The original's method for all symbols together, which does nothing."""

    strategy_type = StrategyType.SWING

    async def run_all(self, *told: Any, **named: Any) -> dict[str, Any]:
        """Count the call."""
        self.calls = getattr(self, "calls", 0) + 1
        return {}


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
    kind: type[Strategy] | Strategy, bars: Mapping[str, BarColumns], days: Sequence[TradingSession], **timings: Any
) -> tuple[float, RunRecord]:
    """Return what a run costs, ns of CPU a bar, and its record."""
    strategy = kind if isinstance(kind, Strategy) else kind("Benchmark", batch_id=BATCH)
    asyncio.run(strategy.create())
    runs_all = isinstance(strategy, AllAtOnce)
    terms = BacktestTerms(
        batch_id=BATCH,
        sessions=tuple(days),
        cash=Decimal(10**7),
        limits=NO_LIMITS,
        timings=Timings(order_lifetime_seconds=1e7, **timings),
        rules=Rules(fees=FEES),
    )
    began = time.process_time_ns()
    slot = SlotPlan(1, "Benchmark", 0, 1, run_all=runs_all, day_trade=False)
    record = Backtest(terms, bars).run({slot: strategy})
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


Found = dict[str, Any]
FEW_DAYS = 25
TICKS = 600_000  # trades and quotes of the day of ticks, at most


def with_bars_alone(repeats: int) -> Found:
    """Measure runs without orders, in units a bar."""
    found: Found = {}
    few = workload.whole_sessions(FEW_DAYS)
    cases: Sequence[tuple[str, int, type[Strategy], list[TradingSession]]] = (
        ("on_bar_10_symbols", 10, Watching, few),
        ("on_bar_1_symbol", 1, Watching, workload.whole_sessions(10 * FEW_DAYS)),
        ("on_bar_that_records", 10, Recording, few),
        ("readme_crossing", 10, readme_crossing(), few[:5]),
        ("run_untouched", 10, Untouched, few[:5]),
        ("run_last_close", 10, LastClose, few[:5]),
    )
    for name, symbols, kind, days in cases:
        bars = workload.bars(symbols, days)
        found[name] = in_units(repeats, partial(bare_ns, bars), partial(cost_ns, kind, bars, days))
    tape = GeneratedTape(TICK_DAY, symbols=10, events_limit=TICKS)
    tape.load()
    found["ticks"] = in_units(repeats, partial(bare_ticks_ns, tape), partial(ticks_ns, tape))
    found["ticks"]["of_the_bare_tick_loop"] = round(1 / found["ticks"]["units"], 3)
    return found


def flatness(repeats: int) -> Found:
    """Measure whether a bar costs the same in long runs and among many symbols."""
    few = workload.bars(10, workload.whole_sessions(FEW_DAYS))
    found: Found = {}
    for days in (26, 256, 2_564):  # about 10^5, 10^6 and 10^7 bars
        on = workload.whole_sessions(days)
        bars = {symbol: repeated(columns, on) for symbol, columns in few.items()}
        found[f"{10 * days * 390}_bars"] = in_units(
            repeats, partial(bare_ns, few), partial(cost_ns, Watching, bars, on)
        )
    for symbols in (1, 10, 100):
        on = workload.whole_sessions(250 // symbols)
        bars = workload.bars(symbols, on)
        name = f"{symbols}_symbols"
        found[name] = in_units(repeats, partial(bare_ns, few), partial(cost_ns, Watching, bars, on))
    return found


def repeated(columns: BarColumns, days: Sequence[TradingSession]) -> BarColumns:
    """Return the same prices again and again, on so many days."""
    opened = np.concatenate([np.arange(day.opens_at, day.closes_at, MINUTE, dtype=np.int64) for day in days])
    names = ("open", "high", "low", "close", "volume", "average", "count")
    again = (np.resize(getattr(columns, name), len(opened)) for name in names)
    return BarColumns(columns.symbol, opened, opened + MINUTE, *again)


def all_at_once(repeats: int) -> Found:
    """Measure a call of `run_all` with 100 symbols: what a run with one each minute costs above one with a single call."""
    days = workload.whole_sessions(2)
    bars = workload.bars(100, days)
    units = []
    for _ in range(repeats):
        strategy, unit = AllAtOnce("Benchmark", batch_id=BATCH), bare_ns(bars)
        often, record = played(strategy, bars, days, run_all_seconds=60)
        alone, _ = played(AllAtOnce, bars, days, run_all_seconds=1e7)
        units.append((often - alone) * record.bars / (strategy.calls - len(days)) / unit)
    return {"run_all_100_symbols": {"units_a_call": round(statistics.median(units), 1), "calls": strategy.calls}}


def with_orders(repeats: int, sizes: Sequence[str]) -> Found:
    """Measure the whole of the workload, and what an order costs above a run that watches the same bars."""
    found: Found = {}
    for size in sizes:
        symbols, length = workload.SIZES[size]
        days = workload.whole_sessions(length)
        bars = workload.bars(symbols, days)
        taken = []
        for _ in range(repeats):
            unit, alone = bare_ns(bars), cost_ns(Watching, bars, days)
            cost, record = played(workload.CrossingOnBar, bars, days)
            taken.append((cost / unit, (cost - alone) / unit * record.bars))
            came_to = checked(size, record, bars)
        units, orders = (statistics.median(column) for column in zip(*taken, strict=True))
        found[f"whole_{size}"] = {
            "units": round(units, 2),
            "of_the_bare_loop": round(1 / units, 4),
            "order_units": round(orders / came_to[0], 1),
            "result": came_to,
        }
    return found


def oracle(sizes: Sequence[str]) -> Found:
    """Compare the workload written as columns, and (c) written as the original's `run`, with the known result."""
    found: Found = {}
    runs: list[tuple[str, str, type[Strategy]]] = [("arrays", size, workload.CrossingArrays) for size in sizes]
    runs.append(("run", "c", workload.CrossingRun))
    for name, size, kind in runs:
        symbols, length = workload.SIZES[size]
        days = workload.whole_sessions(length)
        bars = workload.bars(symbols, days)
        unit = bare_ns(bars)
        cost, record = played(kind, bars, days)
        came_to = checked(size, record, bars)
        seconds = round(cost * record.bars / 1e9, 1)
        found[f"oracle_{name}_{size}"] = {"units": round(cost / unit, 2), "seconds": seconds, "result": came_to}
    return found


def checked(size: str, record: RunRecord, bars: Mapping[str, BarColumns]) -> tuple[int, int, int, float]:
    """Return what a run of the workload came to; another result than the known one ends the command."""
    came_to = result(record, bars)
    if came_to != workload.EXPECTED.get(size, came_to):
        raise SystemExit(f"{size} came to {came_to}, not {workload.EXPECTED[size]}")
    return came_to


def peak_memory(size: str) -> Found:
    """Measure the memory of a run of the workload, bars included, in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--peak-of", size]
    return {f"peak_memory_{size}": json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)}


def own_peak(size: str) -> Found:
    """Return the peak memory of this process before a run of the workload and after it, MB."""
    before = peak_kib()
    symbols, length = workload.SIZES[size]
    days = workload.whole_sessions(length)
    bars = workload.bars(symbols, days)
    _, record = played(workload.CrossingOnBar, bars, days)
    figures = {"libraries_mb": before / 1024, "above_them_mb": (peak_kib() - before) / 1024}
    return {**{name: round(figure) for name, figure in figures.items()}, "result": checked(size, record, bars)}


def peak_kib() -> int:
    """Return the most memory that this process has had; `getrusage` would count its parent's from before the exec."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def whole_command(repeats: int) -> Found:
    """Measure `backtester from` on (a), rows stored in a warm database, beside the import of two libraries.

    Both programs find their modules compiled, as an installed package's are, whatever this process was told.
    """
    whole = workload.whole_sessions(workload.SIZES["a"][1])
    days = sessions(whole[0].day, whole[-1].day)  # the half days too: the store is to have all
    with tempfile.TemporaryDirectory(prefix="liu-b-") as folder, EmbeddedServer.start(Path(folder) / "pg") as server:
        server.ensure_database("backtests")
        home = Path(folder) / "home"
        market = MarketStore(home / "market")
        for columns in [repeated(columns, days) for columns in workload.bars(1, whole).values()]:
            market.write(columns.symbol, MINUTE, columns, complete_days(columns), "benchmark")
        plan = Path(folder) / "tradeplan.toml"
        limits = "\n".join(f"{name} = {value}" for name, value in msgspec.structs.asdict(NO_LIMITS).items())
        plan.write_text(f'[limits]\n{limits}\n[strategies.CrossingOnBar]\nfilename = "{workload.__file__}"\n')
        command = [str(Path(sys.executable).with_name("backtester")), "from", days[0].day.isoformat()]
        command += ["--to", days[-1].day.isoformat(), "--scale", "minute", "--tradeplan", str(plan), "--json"]
        command += ["--cash", "10000000", "--fee-per-share", str(workload.FEE), "--home", str(home)]
        command += ["--dsn", server.dsn("backtests")]
        libraries = [sys.executable, "-c", "import numpy, pyarrow"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = f"{folder}/compiled"
        for one in (libraries, command):  # which compiles what there is to import, and makes the tables
            taken(one, environment)
        pairs = [(taken(libraries, environment), taken(command, environment)) for _ in range(repeats)]
    return {
        "command_a": {
            "wall_of_the_imports": round(statistics.median(c[0] / i[0] for i, c in pairs), 2),
            "cpu_of_the_imports": round(statistics.median(c[1] / i[1] for i, c in pairs), 2),
            "wall_seconds": round(statistics.median(c[0] for _, c in pairs), 2),
            "cpu_seconds": round(statistics.median(c[1] for _, c in pairs), 2),
            "imports_cpu_seconds": round(statistics.median(i[1] for i, _ in pairs), 2),
        }
    }


def taken(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return what a program takes by the wall clock and of the CPU, seconds."""
    began = time.perf_counter()
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {program.returncode}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and print the JSON document."""
    parts = ("bars", "flat", "run_all", "orders", "oracle", "memory", "command")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=parts, choices=parts, help="these parts (default all)")
    parser.add_argument("--sizes", nargs="+", default=["a", "b", "c"], choices=list(workload.SIZES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak-of", choices=list(workload.SIZES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print(json.dumps(own_peak(options.peak_of)))
        return
    measures: dict[str, Callable[[], Found]] = {
        "bars": partial(with_bars_alone, options.repeats),
        "flat": partial(flatness, options.repeats),
        "run_all": partial(all_at_once, options.repeats),
        "orders": partial(with_orders, options.repeats, options.sizes),
        "oracle": partial(oracle, options.sizes),
        "memory": partial(peak_memory, "b"),
        "command": partial(whole_command, options.repeats),
    }
    found: Found = {}
    for part in options.only:
        print(f"{part} ...", file=sys.stderr)
        found |= measures[part]()
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
