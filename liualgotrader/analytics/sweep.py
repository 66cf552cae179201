"""What a search for parameters came to: objectives, constraints, the ranking, and how far its best is to be believed."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from liualgotrader.analytics import performance
from liualgotrader.analytics.backtest_summary import BacktestSummary, equity_figures
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.errors import ConfigError, nearest
from liualgotrader.common.market_columns import Floats, Ints
from liualgotrader.common.rows import OptimizerRow

OBJECTIVES = (  # of which more is better
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "probabilistic_sharpe",
    "total_return",
    "annual_growth",
    "max_drawdown",
    "gain",
    "expectancy",
    "profit_factor",
    "win_rate",
    "average_r",
    "total_r",
)
_ACCOUNT = (
    *OBJECTIVES[:7],
    "first",
    "last",
    "volatility",
    "drawdown_sessions",
)
_TRADING = (*OBJECTIVES[7:], "trips", "open_gain", "fees", "open_positions")
FIGURES = (*_ACCOUNT, *_TRADING, "time_in_market", "turnover")
"""Every figure of a backtest that a constraint may name."""

_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CONSTRAINT = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=|<|>)\s*(\S+)\s*")


class Constraint(msgspec.Struct, frozen=True):
    """What a figure or a parameter must be: above or below a number, or another parameter."""

    figure: str
    sign: str
    bound: float | str

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the values meet it; what is not known does not."""
        left = values.get(self.figure)
        right = values.get(self.bound) if isinstance(self.bound, str) else self.bound
        return left is not None and right is not None and _SIGNS[self.sign](left, right)

    def __str__(self) -> str:
        bound = self.bound if isinstance(self.bound, str) else f"{self.bound:g}"
        return f"{self.figure}{self.sign}{bound}"


def constraint_of(text: str) -> Constraint:
    """Return the constraint that `text` states, like `trips>=30` or `fast<slow`.

    Raises:
        ConfigError: if it states none.

    >>> str(constraint_of("max_drawdown > -0.20"))
    'max_drawdown>-0.2'
    """
    match = _CONSTRAINT.fullmatch(text)
    if match is None:
        raise ConfigError(f"'{text}' is no constraint: write one like trips>=30, max_drawdown>-0.2 or fast<slow")
    try:
        return Constraint(match[1], match[2], float(match[3]))
    except ValueError:
        return Constraint(match[1], match[2], match[3])


def check_figures(constraints: Iterable[Constraint]) -> None:
    """Check that constraints name figures of a backtest, and numbers.

    Raises:
        ConfigError: naming the nearest one.
    """
    for one in constraints:
        if one.figure not in FIGURES:
            raise ConfigError(
                f"the constraint {one} names neither a parameter nor a figure{nearest(one.figure, FIGURES)} The figures are"
                f" {', '.join(FIGURES)}"
            )
        if isinstance(one.bound, str):
            raise ConfigError(f"the constraint {one} must compare the figure {one.figure} with a number")


def figures_of(summary: BacktestSummary) -> dict[str, float | None]:
    """Return a backtest's figures by name."""
    found: dict[str, Any] = {name: getattr(summary.account, name) for name in _ACCOUNT}
    found |= {name: getattr(summary.total, name) for name in _TRADING}
    found |= {name: getattr(summary, name) for name in ("time_in_market", "turnover")}
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in found.items()}


def array_figures(
    equity: Floats,
    gains: Floats,
    sessions: Sequence[TradingSession],
    spans: tuple[Ints, Ints],
    sums: Mapping[str, float],
) -> dict[str, float | None]:
    """Return the same figures of a run that has left arrays: `spans` are when positions were open, `sums` are dollars."""
    account = equity_figures(equity)
    opens, closes = (np.array([getattr(s, n) for s in sessions], np.int64) for n in ("opens_at", "closes_at"))
    found: dict[str, float | None] = {name: getattr(account, name) for name in _ACCOUNT}
    return found | {
        "gain": round(float(np.sum(gains)) - sums["open_fees"], 2),
        "expectancy": performance.mean_of(gains),
        "profit_factor": performance.profit_factor(gains),
        "win_rate": performance.win_rate(gains),
        "average_r": None,  # array signals plan no stop
        "total_r": None,
        "trips": float(len(gains)),
        "open_gain": round(sums["open_gain"], 2),
        "fees": round(sums["fees"], 2),
        "open_positions": sums["open_positions"],
        "time_in_market": performance.time_in_market(*spans, opens, closes),
        "turnover": performance.turnover(sums["bought"], sums["sold"], equity),
    }


def ranked(rows: Iterable[OptimizerRow], constraints: Sequence[Constraint] = ()) -> list[OptimizerRow]:
    """Return the rows best first; those that break a constraint come after, then those without an objective.

    Of equals the one that was tried first comes first.
    """

    def place(row: OptimizerRow) -> tuple[bool, bool, float, int]:
        unknown = row.objective is None
        return unknown, bool(broken(row, constraints)), -(row.objective or 0.0), row.number

    return sorted(rows, key=place)


def broken(row: OptimizerRow, constraints: Iterable[Constraint]) -> list[Constraint]:
    """Return the constraints that a combination breaks."""
    return [one for one in constraints if not one.holds(row.figures)]


def deflated(best: OptimizerRow, rows: Sequence[OptimizerRow]) -> float | None:
    """Return how probable it is that the best is better than the luckiest of so many worthless ones: deflated Sharpe."""
    ratios = np.array([np.nan if (s := row.figures.get("sharpe_ratio")) is None else s for row in rows], np.float64)
    return performance.deflated_sharpe(performance.returns_of(np.array(best.equity, np.float64)), ratios)


class Plateau(msgspec.Struct, frozen=True):
    """How the combinations around the best one did: `score` is their mean objective over that of the best.

    Neighbours are the combinations of which no parameter lies more than one step away and at least one does. `score` is None without a neighbour whose
    objective is known, and where the best objective is not above 0.
    """

    score: float | None
    known: int
    neighbours: int


def plateau(best: OptimizerRow, rows: Sequence[OptimizerRow], axes: Sequence[tuple[Sequence[Any], bool]]) -> Plateau:
    """Return what lies around the best; `axes` are the values of each parameter, and whether they lie side by side.

    Along others only the same value counts. `mean(f(n) for n in neighbours) / f(best)`: near 1 the best stands on a plateau, near
    0 or below it is a peak that luck may have made.
    Source: Pardo, "The Evaluation and Optimization of Trading Strategies" (2008), chapter 10, robust optimum.
    """
    places = [{value: n for n, value in enumerate(values)} for values, _ in axes]
    ordered = np.array([side for _, side in axes], np.bool_)

    def place(row: OptimizerRow) -> list[int]:
        return [where.get(value, -9) for where, value in zip(places, row.point.values(), strict=True)]

    if not rows or not all(where for where in places):
        return Plateau(None, 0, 0)
    apart = np.abs(np.array([place(row) for row in rows]) - np.array(place(best)))
    near = np.all(apart <= ordered, axis=1) & np.any(apart > 0, axis=1)
    found = [rows[n].objective for n in np.flatnonzero(near).tolist()]
    known = [value for value in found if value is not None]
    score = (
        float(np.mean(known)) / best.objective if known and best.objective is not None and best.objective > 0 else None
    )
    return Plateau(score, len(known), len(found))


class WalkForward(msgspec.Struct, frozen=True):
    """Whether what was best went on to be good: (in sample, out of sample) of each window, and all out-of-sample days in turn.

    `efficiency` is the mean annual growth out of sample over that in sample, None where the latter is not above 0.
    Source: Pardo, "The Evaluation and Optimization of Trading Strategies" (2008), chapter 11, walk-forward efficiency.
    """

    windows: list[tuple[OptimizerRow, OptimizerRow]]
    sharpe_ratio: float | None
    total_return: float | None
    efficiency: float | None


def walk_forward(windows: Sequence[tuple[OptimizerRow, OptimizerRow]]) -> WalkForward:
    """Return what the windows come to together."""
    returns = [performance.returns_of(np.array(out.equity, np.float64)) for _, out in windows if out.equity]
    grown = np.concatenate([[1.0], np.cumprod(1.0 + np.concatenate(returns))]) if returns else np.ones(1)
    before, after = ([rows[n].figures.get("annual_growth") for rows in windows] for n in (0, 1))
    known = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    inside, outside = (float(np.mean([pair[n] for pair in known])) if known else 0.0 for n in (0, 1))
    return WalkForward(
        list(windows),
        performance.sharpe_ratio(np.concatenate(returns)) if returns else None,
        performance.total_return(grown),
        outside / inside if inside > 0 else None,
    )
