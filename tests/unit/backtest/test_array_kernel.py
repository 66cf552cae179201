"""The compiled loop over array signals trades what the engine trades, or says that it does not know."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import workload
from liualgotrader.analytics.trips import round_trips
from liualgotrader.backtest.array_kernel import ArrayRun, cannot_play, played, prepared
from liualgotrader.backtest.run_record import BacktestTerms
from liualgotrader.common.calendar import TradingSession, sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.exchange.rules import Rules
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.supervisor.backtest_outcome import executions_of
from tests.examples import examples
from tests.unit.backtest.test_runner import BATCH, FEES, UNBOUND
from tests.unit.backtest.test_runner import played as by_the_engine

MINUTES = 40
DAYS = [
    TradingSession(s.day, s.opens_at, s.opens_at + MINUTES * MINUTE)
    for s in sessions(date(2024, 7, 1), date(2024, 7, 3))
]


class Drawn(Strategy):
    """Returns the columns that were drawn for a symbol."""

    strategy_type = StrategyType.SWING
    drawn: dict[int, dict[str, Any]] = {}

    def signals(self, bars: Any) -> dict[str, Any]:
        return self.drawn[int(bars.close[0] * 100)]


def walk(random: np.random.Generator, symbol: str) -> BarColumns:
    """Bars on a grid of cents, with gaps over the nights and prices that stand still now and then."""
    opened = np.concatenate([np.arange(d.opens_at, d.closes_at, MINUTE, dtype=np.int64) for d in DAYS])
    opened = opened[random.random(len(opened)) > 0.1]
    steps = random.integers(-8, 9, len(opened)) * (random.random(len(opened)) > 0.3)
    close = random.integers(1_000, 30_000) + np.cumsum(steps)
    opening = np.concatenate([close[:1], close[:-1]]) + random.integers(-5, 6, len(opened)) * (
        random.random(len(opened)) > 0.5
    )
    high = np.maximum(opening, close) + random.integers(0, 6, len(opened))
    low = np.minimum(opening, close) - random.integers(0, 6, len(opened))
    prices: Any = tuple(np.asarray(column / 100, np.float64) for column in (opening, high, low, close))
    volume = random.integers(900, 3_000, len(opened)).astype(np.float64)
    o, h, lo, c = prices
    return BarColumns(symbol, opened, opened + MINUTE, o, h, lo, c, volume, c, np.zeros(len(opened)))


def drawn(random: np.random.Generator, bars: BarColumns) -> dict[str, Any]:
    rows = len(bars.close)
    often = random.choice([0.05, 0.2, 0.6])
    entry = random.choice([-1.0, 1.0], rows) * (random.random(rows) < often)
    sizes = random.integers(1, 45, rows).astype(np.float64)
    columns: dict[str, Any] = {"entry": entry, "size": sizes if random.random() < 0.7 else int(sizes[0])}
    if random.random() < 0.8:
        columns["exit"] = random.random(rows) < random.choice([0.02, 0.3])
    for name, side in (("stop", -1), ("target", 1)):
        if random.random() < 0.8:
            away = random.integers(2, 40, rows) / 100 + random.choice([0.0, 0.001, 0.004])
            columns[name] = np.where(random.random(rows) < 0.7, bars.close + side * np.sign(entry) * away, np.nan)
            columns[name][entry == 0] = np.nan
    columns["entry"] = entry.astype(random.choice(["float64", "int8", "int64"]))
    return columns


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1))
@examples(200)
def test_random_signals_with_stops_and_targets_trade_as_the_engine_trades_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    bars = {f"S{n}": walk(random, f"S{n}") for n in range(int(random.integers(1, 4)))}
    signals = {int(one.close[0] * 100): drawn(random, one) for one in bars.values()}
    kind = type("Tested", (Drawn,), {"drawn": signals})
    profile: Any = str(random.choice(["strict", "touch"]))
    rules = Rules(profile=profile, fees=FEES)
    terms = BacktestTerms(batch_id=BATCH, sessions=tuple(DAYS), cash=Decimal(10**7), limits=UNBOUND, rules=rules)
    found = played(kind("Tested", batch_id=BATCH), prepared(bars, terms), terms)
    assert not cannot_play(terms)
    assert isinstance(found, ArrayRun), found
    record = by_the_engine(kind, bars, DAYS, rules=rules)
    assert not record.refusals
    assert not record.stopped
    assert found.equity.tolist() == pytest.approx(record.equity.tolist(), abs=1e-6)
    executions = executions_of(record)
    trips = round_trips(executions)
    assert found.fills == len(executions)
    by_symbol = sorted(trips.closed, key=lambda trip: (trip.symbol, trip.ended_at))
    assert found.gains.tolist() == pytest.approx([float(trip.gain) for trip in by_symbol], abs=1e-6)
    assert found.open_positions == len(trips.open)
    times = [(trip.started_at, trip.ended_at) for trip in by_symbol] + [
        (p.opened_at, DAYS[-1].closes_at) for p in trips.open
    ]
    assert sorted(zip(found.began.tolist(), found.ended.tolist(), strict=True)) == sorted(times)
    for side, value in (("buy", found.bought), ("sell", found.sold)):
        assert value == pytest.approx(float(sum(e.quantity * e.price for e in executions if e.operation == side)))
    assert found.fees == pytest.approx(float(sum(one.fee for one in executions)), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["a", "b", "c"])
def test_the_common_workload_comes_to_its_known_result(size: str) -> None:
    symbols, days = workload.SIZES[size]
    on = workload.whole_sessions(days)
    bars = workload.bars(symbols, on)
    terms = BacktestTerms(
        batch_id=BATCH, sessions=tuple(on), cash=Decimal(10**7), limits=UNBOUND, rules=Rules(fees=FEES)
    )
    found = played(workload.CrossingArrays("Tested", batch_id=BATCH), prepared(bars, terms), terms)
    assert isinstance(found, ArrayRun), found
    told = (found.fills, len(found.gains), found.open_positions, found.equity[-1] - 10**7)
    assert told == workload.EXPECTED[size]
