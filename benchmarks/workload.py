"""The common backtest workload: seeded minute bars, and a strategy whose result is known without any engine.

Prices lie on a grid of 1/64 dollar, so that sums of closes are exact, and no two averages are ever equal: no engine can
differ from another by rounding or by what it makes of a tie.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liualgotrader.common.calendar import TradingSession, sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.strategies.base import Strategy, StrategyType

GRID = 64  # steps of a dollar
FAST, SLOW, SHARES, FEE = 10, 30, 100, 0.005
SIZES = {"a": (1, 250), "b": (10, 250), "c": (100, 25), "long": (10, 2500)}  # symbols, days
EXPECTED = {  # fills, round trips, positions still open, profit in dollars (open ones at the last close)
    "a": (3_654, 1_827, 0, -1_022.3125),
    "b": (37_255, 18_626, 3, -11_700.9375),
    "c": (37_787, 18_870, 47, -15_020.0625),
}
_SEED, _MINUTES, _NOISE = 7, 390, 5e-4

Steps = NDArray[np.int64]


def whole_sessions(count: int) -> list[TradingSession]:
    """Return the first sessions of full length from 2024-01-02 on, of very many those from 2012-01-03 on."""
    first = date(2024, 1, 2) if count <= 400 else date(2012, 1, 3)
    return [s for s in sessions(first, date(2026, 12, 31)) if s.minutes == _MINUTES][:count]


def bars(symbols: int, played: list[TradingSession]) -> dict[str, BarColumns]:
    """Return the minute bars of that many symbols on those days."""
    opened = np.concatenate([s.opens_at + MINUTE * np.arange(_MINUTES, dtype=np.int64) for s in played])
    return {(name := f"S{number:03d}"): _walk(name, number, opened, len(played)) for number in range(symbols)}


def _walk(name: str, number: int, opened: Steps, days: int) -> BarColumns:
    random = np.random.default_rng([_SEED, number])
    length = len(opened)
    busy = np.tile(0.5 + 1.5 * np.linspace(-1, 1, _MINUTES) ** 2, days)  # more at the open and at the close
    inside = _NOISE * np.sqrt(busy) * random.standard_normal(length)
    between = 2e-4 * random.standard_normal(length)
    between[::_MINUTES] = 4e-3 * random.standard_normal(days)  # over the night
    wicks = 2e-4 * np.abs(random.standard_normal((2, length)))
    start = 50 + 100 * random.random()
    close = _without_ties(_steps(np.exp(np.log(start) + np.cumsum(inside + between)) * GRID))
    before = np.concatenate(([round(start * GRID)], close[:-1]))
    opening = _steps(before * np.exp(between))
    high = _steps(np.maximum(opening, close) * (1 + wicks[0]))
    low = _steps(np.minimum(opening, close) * (1 - wicks[1]))
    volume = np.rint(20_000 * busy * random.lognormal(0, 0.3, length)) + 2_000
    o, h, lo, c = (steps / GRID for steps in (opening, high, low, close))
    return BarColumns(name, opened, opened + MINUTE, o, h, lo, c, volume, (o + h + lo + c) / 4, np.zeros(length))


def _steps(values: NDArray[Any]) -> Steps:
    steps: Steps = np.rint(values).astype(np.int64)
    return steps


def _without_ties(close: Steps) -> Steps:
    """Move closes by one step, the earliest first, until the two averages are nowhere equal."""
    while True:
        sums = np.concatenate(([0], np.cumsum(close)))
        fast, slow = sums[SLOW:] - sums[SLOW - FAST : -FAST], sums[SLOW:] - sums[:-SLOW]
        ties = np.flatnonzero(fast * SLOW == slow * FAST)
        if not len(ties):
            return close
        close[ties[0] + SLOW - 1] += 1


class Averages:
    """The last closes of one symbol with both sums kept up to date; `above`: the fast average lies above the slow one."""

    __slots__ = ("above", "closes", "fast", "place", "seen", "slow")

    def __init__(self) -> None:
        self.closes = [0.0] * SLOW
        self.fast = self.slow = 0.0
        self.place = self.seen = 0
        self.above: bool | None = None  # None while there are too few closes

    def crossed(self, close: float) -> bool | None:
        """Take a close in, and return whether the fast average has crossed: True up, False down, None not at all."""
        place, closes = self.place, self.closes
        self.slow += close - closes[place]
        self.fast += close - closes[place - FAST]
        closes[place] = close
        self.place = place + 1 if place + 1 < SLOW else 0
        if self.seen < SLOW - 1:
            self.seen += 1
            return None
        before, self.above = self.above, self.fast * SLOW > self.slow * FAST
        return None if before is None or before is self.above else self.above


class CrossingOnBar(Strategy):
    """Buys 100 shares when the fast average crosses the slow one upwards, sells them when it crosses back."""

    strategy_type = StrategyType.SWING

    async def create(self) -> bool:
        """Begin without closes."""
        self.averages: dict[str, Averages] = {}
        return await super().create()

    def on_bar(self, ctx: Any, bar: Any) -> None:
        """Take a closed bar in."""
        symbol = bar.symbol
        averages = self.averages.get(symbol)
        if averages is None:
            averages = self.averages[symbol] = Averages()
        crossed = averages.crossed(bar.close)
        if crossed is None:
            return
        if crossed and not ctx.position:
            ctx.buy(SHARES, time_in_force="gtc")
        elif not crossed and ctx.position:
            ctx.sell(SHARES, time_in_force="gtc")


class CrossingRun(Strategy):
    """The same by the original's method, on a frame."""

    strategy_type = StrategyType.SWING

    async def run(  # type: ignore[override]
        self, symbol: str, shortable: bool, position: float, now: Any, minute_history: Any, **more: Any
    ) -> tuple[bool, dict[str, Any]]:
        """Act on the last 31 closes."""
        closes = minute_history["close"].to_numpy()[-SLOW - 1 :]
        if len(closes) <= SLOW:
            return False, {}
        before, after = (part[-FAST:].sum() * SLOW > part[-SLOW:].sum() * FAST for part in (closes[:-1], closes))
        if after and not before and not position:
            return True, {"side": "buy", "qty": str(SHARES), "type": "market", "time_in_force": "gtc"}
        if before and not after and position:
            return True, {"side": "sell", "qty": str(SHARES), "type": "market", "time_in_force": "gtc"}
        return False, {}


class CrossingArrays(Strategy):
    """The same as columns, worked out on whole histories."""

    strategy_type = StrategyType.SWING

    def signals(self, bars: Any) -> dict[str, NDArray[Any]]:
        """Return a row a bar."""
        sums = np.concatenate(([0.0], np.cumsum(bars.close)))
        fast, slow = sums[SLOW:] - sums[SLOW - FAST : -FAST], sums[SLOW:] - sums[:-SLOW]
        above = (fast * SLOW > slow * FAST).astype(np.int64)
        crossed = np.concatenate((np.zeros(SLOW, np.int64), np.diff(above)))
        return {"entry": np.maximum(crossed, 0), "exit": crossed < 0, "size": np.full(len(crossed), float(SHARES))}
