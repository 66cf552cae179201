"""`python -m benchmarks.arrays`: array signals in the compiled loop, beside a bare Numba loop run in turn with it.

The bare loop is strategy and fills in one function, without stops, equity, limits or figures. All is in CPU seconds of the
processes that played, so that a busy machine changes little; start-up and compilation stand apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import workload
from benchmarks.backtest import BATCH, FEES, NO_LIMITS
from benchmarks.machine import load_average, machine, versions
from liualgotrader.backtest.array_kernel import ArrayMarket, ArrayRun, played, prepared
from liualgotrader.backtest.run_record import BacktestTerms
from liualgotrader.common.plugins import load_class
from liualgotrader.exchange.rules import Rules
from liualgotrader.strategies.base import Strategy

EXAMPLE = Path(__file__).parents[1] / "examples" / "arrays" / "crossing.py"
PAIRS = list(product(range(2, 47), range(50, 94)))  # 1,980
CASH, PROCESSES, PART = 10_000_000, 2, 99


def bare(opening: Any, close: Any, fast: int, slow: int) -> tuple[int, float]:
    """Return fills and profit of the crossing of one symbol: nothing but the loop."""
    short = long = 0.0
    cash = 0.0
    held = wanted = 0.0
    fills = 0
    above = False
    for i in range(len(close)):
        if wanted != 0.0:
            cash -= wanted * opening[i] + abs(wanted) * 0.005
            held += wanted
            wanted = 0.0
            fills += 1
        short += close[i] - (close[i - fast] if i >= fast else 0.0)
        long += close[i] - (close[i - slow] if i >= slow else 0.0)
        if i >= slow - 1:
            before, above = above, short * slow > long * fast
            if i >= slow:
                if above and not before and held == 0.0:
                    wanted = 100.0
                elif before and not above and held != 0.0:
                    wanted = -held
    return fills, cash + held * close[-1]


def compiled_bare() -> Any:
    """Return the bare loop, compiled."""
    import numba

    return numba.njit(nogil=True)(bare)


def market_of(size: str) -> tuple[BacktestTerms, list[ArrayMarket], list[tuple[Any, Any]]]:
    """Return the common workload for both loops."""
    symbols, days = workload.SIZES[size]
    on = workload.whole_sessions(days)
    bars = workload.bars(symbols, on)
    terms = BacktestTerms(
        batch_id=BATCH, sessions=tuple(on), cash=Decimal(CASH), limits=NO_LIMITS, rules=Rules(fees=FEES)
    )
    return terms, prepared(bars, terms), [(bars[s].open, bars[s].close) for s in sorted(bars)]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a call, and what it returned."""
    began = time.process_time()
    found = call()
    return time.process_time() - began, found


def _once(kind: Any, markets: list[ArrayMarket], terms: BacktestTerms) -> Any:
    return played(kind(batch_id=BATCH), markets, terms)


def single(size: str, repeats: int) -> dict[str, Any]:
    """Return what one run costs, by way of writing it."""
    terms, markets, columns = market_of(size)
    rows = sum(len(close) for _, close in columns)
    loop = compiled_bare()
    kinds = {
        name: load_class(Strategy, name, EXAMPLE.name, EXAMPLE.parent, table=name)
        for name in ("Crossing", "CrossingNumpy")
    }
    runs: dict[str, Callable[[], Any]] = {
        "bare": lambda: [loop(opening, close, workload.FAST, workload.SLOW) for opening, close in columns],
        **{name: partial(_once, kind, markets, terms) for name, kind in kinds.items()},
    }
    compilation = {name: timed(run)[0] for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(timed(run)[0])
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    found = runs["Crossing"]()
    assert isinstance(found, ArrayRun), found
    told = (found.fills, len(found.gains), found.open_positions, found.equity[-1] - CASH)
    return {
        "bars": rows,
        "first_call_seconds": compilation,
        "bars_per_second": {name: round(rows / each) for name, each in medians.items()},
        "of_the_bare_loop": {name: round(medians["bare"] / each, 3) for name, each in medians.items()},
        "seconds": seconds,
        "result": told,
        "as_known": told == workload.EXPECTED[size],
    }


def part(pairs: list[tuple[int, int]], ours: bool) -> tuple[float, list[float]]:
    """Return the CPU seconds that pairs cost in this process, and their profits."""
    terms, markets, columns = _market()
    loop = _loop()
    kind: Any = load_class(Strategy, "Crossing", EXAMPLE.name, EXAMPLE.parent, table="Crossing")

    def one(fast: int, slow: int) -> float:
        if not ours:
            return float(sum(loop(opening, close, fast, slow)[1] for opening, close in columns))
        found = played(kind(fast=fast, slow=slow, batch_id=BATCH), markets, terms)
        assert isinstance(found, ArrayRun), found
        return float(found.equity[-1]) - CASH

    one(*pairs[0])  # compiled once in each process
    return timed(lambda: [one(*pair) for pair in pairs])


_KEPT: dict[str, Any] = {}


def _market() -> Any:
    if "market" not in _KEPT:
        _KEPT["market"] = market_of("a")
    return _KEPT["market"]


def _loop() -> Any:
    if "loop" not in _KEPT:
        _KEPT["loop"] = compiled_bare()
    return _KEPT["loop"]


def sweep(repeats: int) -> dict[str, Any]:
    """Return what all pairs cost on two processes."""
    from joblib import Parallel, delayed

    parts = [PAIRS[n : n + PART] for n in range(0, len(PAIRS), PART)]
    evaluated = len(PAIRS) * workload.SIZES["a"][1] * 390
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    profits: dict[str, list[float]] = {}
    with Parallel(n_jobs=PROCESSES) as parallel:
        parallel(delayed(part)(PAIRS[:2], ours) for ours in (True, False) * PROCESSES)
        for _ in range(repeats):
            for name, each_rate in rates.items():
                found = parallel(delayed(part)(each, name == "ours") for each in parts)
                each_rate.append(evaluated / (sum(seconds for seconds, _ in found) / PROCESSES))
                profits[name] = [value for _, each in found for value in each]
    medians = {name: statistics.median(each) for name, each in rates.items()}
    return {
        "pairs": len(PAIRS),
        "evaluations": evaluated,
        "evaluations_per_second_of_two_cores": {name: round(each) for name, each in medians.items()},
        "of_the_bare_loop": round(medians["ours"] / medians["bare"], 3),
        "same_profits": bool(np.allclose(profits["ours"], profits["bare"], rtol=0, atol=0.005)),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", nargs="*", default=["a", "b", "c"])
    options = parser.parse_args()
    before = load_average()
    imported, _ = timed(lambda: __import__("numba"))
    told = {
        "machine": machine(),
        "versions": versions(),
        "import_numba_seconds": imported,
        "single": {size: single(size, options.repeats) for size in options.sizes},
        "sweep": sweep(max(1, options.repeats // 2)),
        "load": [before, load_average()],
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
