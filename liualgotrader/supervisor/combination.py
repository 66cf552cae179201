"""One combination of a search, played in whatever process it is given to."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

import msgspec
import numpy as np

from liualgotrader.analytics.backtest_summary import BacktestSummary
from liualgotrader.analytics.sweep import OBJECTIVES, array_figures, figures_of
from liualgotrader.backtest.array_kernel import ArrayMarket, cannot_play, played, prepared
from liualgotrader.backtest.run_record import BacktestTerms
from liualgotrader.backtest.search_space import Point, SearchSpace
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError, LiuError, nearest
from liualgotrader.common.plugins import load_function, one_line, user_code
from liualgotrader.common.rows import OptimizerRow
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.strategies.base import StrategyType, make_strategy
from liualgotrader.supervisor.backtest_bars import PlayedBars, history_of, played_bars
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest, terms_of
from liualgotrader.supervisor.run_backtest import QuietScreen

Search = tuple["SearchTerms", PlayedBars]
"""What all combinations have in common, and the bars of the whole time."""

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
    arrays: bool = False  # its strategy is array signals, which the compiled loop may play

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


def play(search: str | Search, one: Combination) -> OptimizerRow | None:
    """Return what a combination came to; None if Ctrl-C has cut it off. A search that lies in a file is mapped into memory."""
    if isinstance(search, str) and one.number == 0 and _mapped(search)[0].arrays:
        _by_arrays(search, one)  # whatever it compiles is no part of what the others take
    began = perf_counter()
    terms, whole = _mapped(search) if isinstance(search, str) else search
    told = _by_arrays(search, one) if terms.arrays and isinstance(search, str) else "events"
    row = _by_events(terms, whole, one) if isinstance(told, str) else _row(terms, one, *told)
    if row is None:
        return None
    played_by = told if isinstance(told, str) else "arrays"
    return msgspec.structs.replace(row, seconds=perf_counter() - began, played_by=played_by)


def _row(
    terms: SearchTerms,
    one: Combination,
    objective: float | None,
    figures: dict[str, float | None],
    equity: tuple[float, ...],
    failure: str = "",
    batch_id: str = "",
) -> OptimizerRow:
    point = dict(zip(terms.space.names, one.point, strict=True))
    names = terms.session_id, one.number, batch_id or f"{uuid4()}"
    return OptimizerRow(*names, point, objective, figures, equity, 0.0, failure, one.fold, one.out_of_sample)


def _by_events(terms: SearchTerms, found: PlayedBars, one: Combination) -> OptimizerRow | None:
    """Return what a combination comes to in the engine."""
    try:
        settings = Settings(**terms.settings)
        with Backtesting(terms.asked(one), settings, terms.plan_at(one), QuietScreen(), bars=found) as backtesting:
            outcome = backtesting.play(lambda session, bars: None)
        if outcome.run.ended:
            return None
        objective = None if outcome.run.failures else objective_of(terms.objective)(outcome.summary)
    except LiuError as error:
        return _row(terms, one, None, {}, (), str(error))
    equity = (outcome.run.first_equity, *outcome.run.equity.tolist())
    return _row(terms, one, objective, figures_of(outcome.summary), equity, outcome.sentence, backtesting.batch_id)


def _by_arrays(path: str, one: Combination) -> tuple[float | None, dict[str, float | None], tuple[float, ...]] | str:
    """Return objective, figures and equity of array signals by the compiled loop, else `events: ` and why the engine plays them."""
    terms, _ = _mapped(path)
    backtest, markets, why = _prepared(path, one.first, one.last)
    if why:
        return f"events: {why}"
    ((name, details),) = terms.plan_at(one).strategies.items()
    try:
        seed = f"{terms.request.bars.seed}/{name}/1/random"
        strategy = make_strategy(terms.session_id, name, details, Path(), seed=seed)
        if strategy.type is not StrategyType.SWING:
            return "events: a DAY_TRADE strategy is closed by the clock"
        with user_code(f"{name}.signals", type(strategy)):
            try:
                strategy.create().send(None)
            except StopIteration as created:
                run = played(strategy, markets, backtest) if created.value is not False else "it does not want to run"
            else:
                return "events: its create() waits for something"
    except Exception:
        return "events: it raised something, which the engine says better"
    if isinstance(run, str):
        return f"events: {run}"
    cash = float(backtest.cash)
    equity = np.concatenate([[cash], run.equity])
    sums = {n: float(getattr(run, n)) for n in ("open_fees", "open_gain", "fees", "open_positions", "bought", "sold")}
    figures = array_figures(equity, run.gains, backtest.sessions, (run.began, run.ended), sums)
    return figures[terms.objective], figures, tuple(equity.tolist())


def _days(terms: SearchTerms, found: PlayedBars, one: Combination) -> PlayedBars:
    """Return the bars of a combination's days, with their history."""
    whole = terms.request.bars
    if (one.first, one.last) == (whole.first, whole.last):
        return found
    return played_bars(terms.asked(one).bars, Path(), history_of(whole, terms.plan.timings.history_sessions), found)


@lru_cache(maxsize=1)
def _mapped(path: str) -> Search:
    import joblib

    found: Search = joblib.load(path, mmap_mode="r")
    return found


@lru_cache(maxsize=2)
def _prepared(path: str, first: date, last: date) -> tuple[BacktestTerms, list[ArrayMarket], str]:
    """Return what the compiled loop plays, or why it cannot."""
    terms, whole = _mapped(path)
    one = Combination(0, (), first, last)
    found, request = _days(terms, whole, one), terms.asked(one)
    settings = Settings(**terms.settings)
    backtest = terms_of(request, terms.plan, settings, terms.session_id, request.bars.sessions(), found)
    why = cannot_play(backtest)
    return backtest, [] if why else prepared(found.bars, backtest), why


def deaf() -> None:
    """Let Ctrl-C, of which the whole process group is told, end no worker: the search ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
