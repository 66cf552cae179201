"""What a tear sheet has beside trades: years, days, drawdowns, beta, leverage, allocation, capacity, crises, and other batches.

`equity` is the account's value before the first session and at each close, None where it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from liualgotrader.analytics import performance
from liualgotrader.analytics.backtest_summary import EquityFigures, equity_figures, year_of
from liualgotrader.analytics.performance import Drawdown
from liualgotrader.analytics.report_source import (
    Moves,
    ReportSource,
    closing_equity,
    holdings_at,
    instants_of,
    moves_of,
    worth_at,
)
from liualgotrader.analytics.summary import TradingFigures, trading_figures
from liualgotrader.analytics.trips import round_trips
from liualgotrader.common.calendar import day_of
from liualgotrader.common.market_columns import BarColumns, Floats, Ints

WORST = 5  # drawdowns, and days, that are named
PARTICIPATION = 0.01  # of a session's volume
_DRAWN = 1000  # points of a curve

# Between two closes of the S&P 500: mostly its highest before the fall, and its lowest.
CRISES = {
    "Dot-com bust": (date(2000, 3, 24), date(2002, 10, 9)),
    "September 11": (date(2001, 9, 10), date(2001, 9, 21)),
    "Global financial crisis": (date(2007, 10, 9), date(2009, 3, 9)),
    "Flash crash": (date(2010, 5, 5), date(2010, 5, 7)),
    "US credit downgrade": (date(2011, 7, 22), date(2011, 8, 8)),
    "Yuan devaluation": (date(2015, 8, 17), date(2015, 8, 25)),
    "Volatility spike": (date(2018, 1, 26), date(2018, 2, 8)),
    "Fourth quarter of 2018": (date(2018, 9, 20), date(2018, 12, 24)),
    "COVID-19 crash": (date(2020, 2, 19), date(2020, 3, 23)),
    "Inflation and rates": (date(2022, 1, 3), date(2022, 10, 12)),
    "Regional banks": (date(2023, 3, 8), date(2023, 3, 13)),
    "Yen carry trade": (date(2024, 7, 31), date(2024, 8, 5)),
    "Tariffs": (date(2025, 4, 2), date(2025, 4, 8)),
}


@dataclass(frozen=True, slots=True)
class Crisis:
    """What became of account and benchmark in a crisis, from the close of its first day to that of its last; fractions.

    `whole` says whether the sessions cover all of it.
    """

    name: str
    first: date
    last: date
    whole: bool
    account: float | None
    benchmark: float | None


@dataclass(frozen=True, slots=True)
class Capacity:
    """The largest account, US dollars, of which the orders of no session come to more than 1 % of a symbol's volume.

    It is the value before the session x 1 % / (shares traded / shares of all the market), the least of all; orders are taken to grow with
    the account. `symbol` on `day` is what bounds it.
    Source: the participation rate (POV) of Kissell, "The Science of Algorithmic Trading and Portfolio Management" (2013).
    """

    account: float
    symbol: str
    day: date
    participation: float


@dataclass(frozen=True, slots=True)
class Allocation:
    """How much of the account was in a symbol, or long, short and in cash: fractions of its value, shorts negative."""

    name: str
    mean: float
    highest: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A batch beside the one of the sheet, over the sessions that both have. `returns` are (day, ours, theirs), fractions."""

    batch_id: str
    environment: str
    strategies: Sequence[str]
    account: tuple[EquityFigures | None, EquityFigures | None]
    trading: tuple[TradingFigures, TradingFigures]
    returns: Sequence[tuple[date, float | None, float | None]]
    correlation: float | None
    curves: tuple[tuple[Ints, Floats], tuple[Ints, Floats]] | None  # instants, and percent gained by then


@dataclass(frozen=True, slots=True)
class TearSheet:
    """All of it. `years` has the account's figures and the benchmark's, `leverage` what is held over the account's value."""

    years: Mapping[int, tuple[EquityFigures, EquityFigures | None]]
    days: Sequence[tuple[date, float]]  # the worst, then the best
    drawdowns: Sequence[Drawdown]
    beta: float | None
    correlation: float | None
    leverage: tuple[float, float] | None  # mean and highest
    allocation: Sequence[Allocation]
    capacity: Capacity | str  # else why it is not known
    crises: Sequence[Crisis]
    beside: Sequence[Comparison]
    returns: Floats


def tear_sheet(source: ReportSource, moves: Moves, equity: Floats | None, held: Floats) -> TearSheet:
    """Return the sheet; `held` are the benchmark's prices at the times of `equity`, none if there is no benchmark."""
    days = [s.day for s in source.sessions]
    year = year_of(source.sessions)
    market = performance.returns_of(held)
    returns = np.full(len(days), np.nan) if equity is None else performance.returns_of(equity)
    of_market = performance.yearly_equity(held, days) if len(held) else {}
    years = {} if equity is None else performance.yearly_equity(equity, days)
    leverage, allocation = _allocation(source, moves, equity)
    known = np.flatnonzero(np.isfinite(returns))
    ranked = known[np.argsort(returns[known], kind="stable")]
    extremes = [*ranked[:WORST], *ranked[max(WORST, len(ranked) - WORST) :]]
    return TearSheet(
        years={n: (equity_figures(one, year), equity_figures(of_market[n], year) if of_market else None) for n, one in years.items()},
        days=[(days[n], float(returns[n])) for n in extremes],
        drawdowns=[] if equity is None else performance.deepest_drawdowns(equity, WORST),
        beta=performance.beta(returns, market) if len(market) else None,
        correlation=performance.correlation(returns, market) if len(market) else None,
        leverage=leverage,
        allocation=allocation,
        capacity=capacity(source, equity),
        crises=crises(days, equity, held),
        beside=[compared(source, equity, other) for other in source.beside],
        returns=returns,
    )  # fmt: skip


def crises(days: Sequence[date], equity: Floats | None, held: Floats) -> list[Crisis]:
    """Return those crises of which some session is there."""
    found = []
    for name, (first, last) in CRISES.items():
        inside = [n for n, day in enumerate(days, 1) if first < day <= last]
        if inside:
            ends = [inside[0] - 1, inside[-1]]
            account, benchmark = (
                None if one is None or not len(one) else performance.total_return(one[ends]) for one in (equity, held)
            )
            found.append(Crisis(name, first, last, days[0] <= first and days[-1] >= last, account, benchmark))
    return found


def capacity(source: ReportSource, equity: Floats | None) -> Capacity | str:
    """Return the capacity, or in words why it is not known."""
    if equity is None:
        return "the account's value is not known"
    opens = np.array([s.opens_at for s in source.sessions], np.int64)
    traded: dict[tuple[str, int], float] = {}
    for trade in source.executions:
        if trade.price > 0:  # shares of a split come without a price
            key = trade.symbol, int(np.searchsorted(opens, trade.at, side="right")) - 1
            traded[key] = traded.get(key, 0.0) + float(trade.quantity)
    if not traded:
        return "nothing was traded"
    volumes = {symbol: _volumes(source, source.bars.get(symbol)) for symbol in {symbol for symbol, _ in traded}}
    missing = sorted((symbol, n) for symbol, n in traded if n < 0 or not volumes[symbol][n] > 0)
    if missing:
        symbol, n = missing[0]
        return (
            f"no volume is stored for {len(missing):,} of {len(traded):,} symbols' sessions in which something was traded,"
            f" {symbol} on {source.sessions[max(n, 0)].day} among them"
        )
    shares = {key: number / float(volumes[key[0]][key[1]]) for key, number in traded.items()}
    most = {key: float(equity[key[1]]) * PARTICIPATION / share for key, share in shares.items()}
    symbol, n = min(most, key=lambda key: (most[key], key))
    return Capacity(most[symbol, n], symbol, source.sessions[n].day, shares[symbol, n])


def _volumes(source: ReportSource, bars: BarColumns | None) -> Floats:
    """Return the shares that all the market traded in each session."""
    if bars is None:
        return np.zeros(len(source.sessions))
    summed = np.concatenate([[0.0], np.cumsum(bars.volume)])
    first, last = (
        np.searchsorted(bars.opened_at, [getattr(s, name) for s in source.sessions])
        for name in ("opens_at", "closes_at")
    )
    found: Floats = summed[last] - summed[first]
    return found


def _allocation(
    source: ReportSource, moves: Moves, equity: Floats | None
) -> tuple[tuple[float, float] | None, list[Allocation]]:
    """Return leverage and allocation at the closes, and inside sessions where prices are known there."""
    at = instants_of(source)
    if equity is None or not np.all((worth := worth_at(source, equity, at)) > 0):
        return None, []
    shares = {symbol: value / worth for symbol, _, value in holdings_at(source, moves, at)}
    if not all(np.isfinite(one).all() for one in shares.values()):
        return None, []
    every = np.array([*shares.values(), np.zeros(len(at))])
    long, short = (np.sum(np.where(every * sign > 0, every, 0.0), axis=0) for sign in (1, -1))
    gross = long - short
    parts = {"all long": long, "all short": short, "cash": 1.0 - long - short} | dict(
        sorted(shares.items(), key=lambda pair: (-float(np.mean(np.abs(pair[1]))), pair[0]))
    )
    allocation = [Allocation(n, float(np.mean(one)), float(one[np.argmax(np.abs(one))])) for n, one in parts.items()]
    return (float(np.mean(gross)), float(np.max(gross))), allocation


def compared(source: ReportSource, equity: Floats | None, other: ReportSource) -> Comparison:
    """Return a batch beside another, over the sessions that both have."""
    common = sorted({s.day for s in source.sessions} & {s.day for s in other.sessions})
    known = [(source, equity), (other, closing_equity(other, moves_of(other)))]
    each = 1
    if common and all(one.curve is not None and len(one.curve.at) > 2 * len(one.sessions) for one, _ in known):
        each = max(1, _DRAWN // len(common))
    returns, figures, trading, curves = [], [], [], []
    for one, value in known:
        place = {s.day: n for n, s in enumerate(one.sessions)}
        chosen = [place[day] for day in common]
        found = np.full(len(common), np.nan) if value is None else performance.returns_of(value)[chosen]
        returns.append([performance.known(each_day) for each_day in found])
        whole = value is not None and common and np.isfinite(found).all()
        growth = np.cumprod(np.concatenate([[1.0], 1.0 + found]))
        figures.append(
            equity_figures(value[chosen[0]] * growth, year_of(one.sessions)) if whole and value is not None else None
        )
        curves.append(_overlay(one, value, chosen, growth, each) if whole and value is not None else None)
        wanted = set(common)
        trips = [trip for trip in round_trips(one.executions, one.opening).closed if day_of(trip.ended_at) in wanted]
        trading.append(trading_figures("total", trips, ()))
    ours, theirs = (np.array(column, float) for column in returns)
    return Comparison(
        batch_id=other.batch_id,
        environment=other.environment,
        strategies=other.strategies,
        account=(figures[0], figures[1]),
        trading=(trading[0], trading[1]),
        returns=list(zip(common, *returns, strict=True)),
        correlation=performance.correlation(ours, theirs),
        curves=None if curves[0] is None or curves[1] is None else (curves[0], curves[1]),
    )  # fmt: skip


def _overlay(
    one: ReportSource, equity: Floats, chosen: Sequence[int], growth: Floats, each: int
) -> tuple[Ints, Floats]:
    """Return instants of the chosen sessions, and what the account had gained by then in these alone, in percent."""
    spans = np.array([(one.sessions[n].opens_at, one.sessions[n].closes_at) for n in chosen], np.int64)
    times = np.linspace(spans[:, 0], spans[:, 1], each + 1, axis=1)[:, 1:].astype(np.int64)
    inside = (
        equity[np.array(chosen) + 1][:, None]
        if each == 1
        else worth_at(one, equity, times.ravel()).reshape(times.shape)
    )
    grown = 100.0 * (growth[:-1, None] * inside / equity[chosen][:, None] - 1.0)
    return times.ravel(), grown.ravel()
