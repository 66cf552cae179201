"""`python -m benchmarks.help`: what `--help` of every program costs, beside `import argparse` alone, in CPU seconds.

Each is a process of its own, run in turn with the others; medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys

from benchmarks.machine import load_average, machine, versions

BARE = "import argparse"
PROGRAMS = {
    "trader": "trader",
    "backtester": "backtester",
    "market_miner": "market_miner",
    "optimizer": "optimizer",
    "portfolio": "portfolios",
    "liu": "liu",
}
COMMANDS = (
    "db",
    "new strategy",
    "data fetch",
    "journal show",
    "verify",
    "quickstart",
    "doctor",
    "backtest",
    "portfolio",
)


def cost(code: str, *arguments: str) -> float:
    """Return the CPU seconds of a Python process that runs `code`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(repeats: int) -> dict[str, float]:
    """Return the median cost of each by its name; `bare` is argparse alone."""
    runs: dict[str, tuple[str, ...]] = {"bare": (BARE,)}
    for name, module in PROGRAMS.items():
        runs[name] = (f"from liualgotrader.cli.{module} import main; main()", "--help")
    for words in COMMANDS:
        runs[f"liu {words}"] = ("from liualgotrader.cli.liu import main; main()", *words.split(), "--help")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, (code, *arguments) in runs.items():
            seconds[name].append(cost(code, *arguments))
    return {name: statistics.median(each) for name, each in seconds.items()}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    before, found = load_average(), measured(parser.parse_args().repeats)
    told = {
        "machine": machine(),
        "versions": versions(),
        "cpu_seconds": {name: round(each, 4) for name, each in found.items()},
        "times_argparse": {name: round(each / found["bare"], 2) for name, each in found.items()},
        "load": [before, load_average()],
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
