"""One combination of a search, played in whatever process it is given to."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from math import isfinite
from time import perf_counter
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import msgspec

from liualgotrader.analytics.backtest_summary import BacktestSummary
from liualgotrader.analytics.sweep import OBJECTIVES, figures_of
from liualgotrader.backtest.search_space import Point, SearchSpace
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError, LiuError, nearest
from liualgotrader.common.plugins import load_function, one_line, user_code
from liualgotrader.common.rows import OptimizerRow
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.supervisor.backtest_bars import PlayedBars
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest
from liualgotrader.supervisor.run_backtest import QuietScreen

Objective = Callable[[BacktestSummary], float | None]


class Combination(msgspec.Struct, frozen=True):
    """A point of the space and the days over which it is played."""

    number: int
    point: Point
    first: date
    last: date
    fold: int = 0
    out_of_sample: bool = False


class SearchTerms(msgspec.Struct, frozen=True):
    """What all combinations of a search have in common."""

    session_id: str
    request: BacktestRequest
    settings: dict[str, Any]  # those that a run reads; keys of accounts stay where they are
    plan: TradePlan
    space: SearchSpace
    objective: str

    def plan_at(self, one: Combination) -> TradePlan:
        """Return the plan of a combination, its portfolios named."""
        plan = self.space.plan_at(self.plan, one.point)
        for strategy, name, portfolio_id in self.portfolios(one):
            plan.strategies[strategy][name] = portfolio_id
        return plan

    def portfolios(self, one: Combination) -> list[tuple[str, str, str]]:
        """Return (strategy, parameter, id) of the fresh portfolios of a combination."""
        where = f"{self.session_id}/{one.fold}/{one.out_of_sample}/{one.number}"
        named = ((s, name) for s, parameters in self.space.portfolios.items() for name in parameters)
        return [(s, name, f"{uuid5(NAMESPACE_OID, f'{where}/{s}.{name}')}") for s, name in named]

    def asked(self, one: Combination) -> BacktestRequest:
        """Return the backtest of a combination."""
        bars = msgspec.structs.replace(self.request.bars, first=one.first, last=one.last)
        return msgspec.structs.replace(self.request, bars=bars)


def objective_of(text: str) -> Objective:
    """Return the objective that a name of a figure or `file.py:function` means; it is None where it is not a number.

    Raises:
        ConfigError: if it means none, or later if the function raises.
    """
    if text in OBJECTIVES:
        return lambda summary: figures_of(summary)[text]
    if ":" not in text:
        raise ConfigError(
            f"there is no objective '{text}'{nearest(text, OBJECTIVES)} Known are {', '.join(OBJECTIVES)}, and a function of"
            " yours, like own.py:score"
        )
    found = load_function(text)

    def objective(summary: BacktestSummary) -> float | None:
        try:
            with user_code(text):
                value = found(summary)
            return float(value) if value is not None and isfinite(value) else None
        except (Exception, SystemExit) as error:
            raise ConfigError(f"the objective {text} raised {one_line(error)}") from error

    return objective


def play(terms: SearchTerms, bars: PlayedBars | str, one: Combination) -> OptimizerRow | None:
    """Return what a combination came to; None if Ctrl-C has cut it off. `bars` are those of the whole time, or their file."""
    began = perf_counter()
    found = _mapped(bars) if isinstance(bars, str) else bars
    figures: dict[str, float | None] = {}
    objective, equity, failure, batch_id = None, (), "", ""
    try:
        settings = Settings(**terms.settings)
        with Backtesting(terms.asked(one), settings, terms.plan_at(one), QuietScreen(), bars=found) as backtesting:
            batch_id = backtesting.batch_id
            outcome = backtesting.play(lambda session, bars: None)
        if outcome.run.ended:
            return None
        figures, failure = figures_of(outcome.summary), outcome.sentence
        equity = (outcome.run.first_equity, *outcome.run.equity.tolist())
        objective = None if outcome.run.failures else objective_of(terms.objective)(outcome.summary)
    except LiuError as error:
        failure = str(error)
    return OptimizerRow(
        optimizer_session_id=terms.session_id,
        number=one.number,
        batch_id=batch_id,
        point=dict(zip(terms.space.names, one.point, strict=True)),
        objective=objective,
        figures=figures,
        equity=equity,
        seconds=perf_counter() - began,
        failure=failure,
        fold=one.fold,
        out_of_sample=one.out_of_sample,
    )


@lru_cache(maxsize=1)
def _mapped(path: str) -> PlayedBars:
    import joblib

    found: PlayedBars = joblib.load(path, mmap_mode="r")
    return found


def deaf() -> None:
    """Let Ctrl-C, of which the whole process group is told, end no worker: the search ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
