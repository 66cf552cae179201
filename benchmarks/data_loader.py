"""`python -m benchmarks.data_loader`: reads of `DataLoader` on a year of minutes, beside the same read of a ready pandas Series.

Each pair is run in turn, in CPU time; medians. `series` and `column` are made once, before the clock starts: what the loader
does beyond them (the symbol, what is loaded and what has come since, the time's meaning) counts as its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from benchmarks.machine import load_average, machine, versions
from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import MINUTE, WallClock
from liualgotrader.common.events import Bar
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.data.data_base import DataAPI, frame_of, midnight
from liualgotrader.data.loader import DataLoader
from liualgotrader.strategies.frame_classes import LiveColumns

FIRST, LAST = date(2023, 1, 3), date(2024, 1, 4)  # 252 sessions of 390 minutes, some of them half ones
SYMBOL, NOW = "SPY", midnight(LAST)


class Standing(WallClock):
    """The market's time after the last bar."""

    def now(self) -> int:
        return NOW


class NoVendor(DataAPI):
    """All is loaded before: what is asked for nevertheless would be measured as well, so it ends the command."""

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        raise AssertionError("the vendor was asked for what is loaded")

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        return {}

    def assets_now(self) -> Mapping[str, Asset]:
        return {}


class Snapshot:
    """Bars as the engine of a session or a backtest keeps them."""

    def __init__(self, frame: Any, at: Any) -> None:
        self.rows, self._at = len(at), at
        self._columns = {name: frame[name].to_numpy() for name in frame}

    def column(self, name: str) -> Any:
        return self._columns[name]

    def opened_at(self) -> Any:
        return self._at


def year() -> BarColumns:
    """Return the minutes of a year, their closes a walk."""
    starts = [at for day in sessions(FIRST, LAST)[:-1] for at in range(day.opens_at, day.closes_at, MINUTE)]
    at = np.array(starts, np.int64)
    close = 400 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 1e-4, len(at))))
    volume, count = np.full(len(at), 1000.0), np.full(len(at), 10)
    return BarColumns(SYMBOL, at, at + MINUTE, close, close, close, close, volume, close, count)


def reads() -> tuple[int, dict[str, tuple[Callable[[], Any], Callable[[], Any], int]]]:
    """Return how many rows there are, and the reads by name: pandas', the loader's, and how often one is measured."""
    loader = DataLoader(data_api=NoVendor(), clock=Standing())
    frame = frame_of(year())
    loader[SYMBOL].adopt(frame, midnight(FIRST), NOW)
    series, column = frame["close"].copy(), loader[SYMBOL].close
    ts, a, b = (series.index[place] for place in (50_000, 40_000, 50_000))
    moment, text = ts.to_pydatetime(), str(ts.tz_localize(None))
    many, few = 2_000, 3
    live = DataLoader(data_api=NoVendor(), clock=Standing(), live=lambda symbol: LiveColumns(snapshot))
    snapshot = Snapshot(frame, loader[SYMBOL].rows().at)
    return len(series), {
        "close[-1]": (lambda: series.iloc[-1], lambda: loader[SYMBOL].close[-1], many),
        "close[-90:]": (lambda: series.iloc[-90:], lambda: loader[SYMBOL].close[-90:], many),
        "close[Timestamp]": (lambda: series.loc[ts], lambda: loader[SYMBOL].close[ts], many),
        "close[datetime]": (lambda: series.loc[moment], lambda: loader[SYMBOL].close[moment], many),
        "close[text]": (lambda: series.loc[text], lambda: loader[SYMBOL].close[text], many),
        "close[a:b]": (lambda: series.loc[a:b], lambda: loader[SYMBOL].close[a:b], many),
        "close[-1] of a strategy": (lambda: series.iloc[-1], lambda: live[SYMBOL].close[-1], many),
        "close[-90:] of a strategy": (lambda: series.iloc[-90:], lambda: live[SYMBOL].close[-90:], many),
        "close[a:b] of a strategy": (lambda: series.loc[a:b], lambda: live[SYMBOL].close[a:b], many),
        "np.array(close)": (lambda: np.array(series), lambda: np.array(loader[SYMBOL].close), 100),
        "for each of close": (lambda: sum(series), lambda: sum(column), few),
    }


def cost(read: Callable[[], Any], times: int) -> float:
    """Return the CPU seconds of a read, the mean of so many."""
    began = time.process_time()
    for _ in range(times):
        read()
    return (time.process_time() - began) / times


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats, before = parser.parse_args().repeats, load_average()
    rows, pairs = reads()
    found: dict[str, dict[str, Any]] = {}
    for name, (pandas, ours, times) in pairs.items():
        assert np.array_equal(pandas(), ours()) or pandas() == ours(), name
        measured = [(cost(pandas, times), cost(ours, times)) for _ in range(repeats)]
        medians = [statistics.median(each) for each in zip(*measured, strict=True)]
        ratio = statistics.median(mine / theirs for theirs, mine in measured)
        micro = [round(1e6 * median, 2) for median in medians]
        found[name] = {"pandas_us": micro[0], "loader_us": micro[1], "loader_over_pandas": round(ratio, 2)}
    told = {
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
        "reads": found,
        "load": [before, load_average()],
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
