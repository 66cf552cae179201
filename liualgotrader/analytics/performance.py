"""Performance figures: the one place where returns, risk and trades are turned into statistics.

`equity` is the account's value in dollars: first before the first session, then at the close of each one. `returns`
are those of the sessions, as fractions; `gains` are those of round trips in dollars, fees paid. A figure that is not
defined (no trade, no variance, too few sessions, a value that is unknown or not above 0 where a return would be taken of
it) is None, never 0 and never infinite; in a series it is NaN. What is random takes a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from math import e, erfc, sqrt

import numpy as np

from liualgotrader.common.market_columns import Floats, Ints

YEAR = 252  # sessions
YEAR_OF_DAYS = 365  # where every day is one
FEW_SESSIONS = 30  # below it a yearly Sharpe ratio's standard error, sqrt(252 / sessions), is about 3 and more
_SAME = 1e-12  # returns that differ by less are the same up to the rounding of their division
_EULER = float(np.euler_gamma)
_DRAWS = 2000  # of a bootstrap, fewer where more than ten thousand trades make each of them exact enough
_DRAWN = 20_000_000  # values in all draws together
_PIECE = 2_000_000  # values in memory at once


def returns_of(equity: Floats) -> Floats:
    """Return the simple return of each session; NaN after a value that is unknown or not above 0."""
    before = np.where(equity[:-1] > 0, equity[:-1], np.nan)
    with np.errstate(invalid="ignore"):
        found: Floats = equity[1:] / before - 1.0
    return found


def total_return(equity: Floats) -> float | None:
    """Return what the first dollar gained, as a fraction: last / first - 1."""
    if len(equity) < 2 or not equity[0] > 0:
        return None
    return known(equity[-1] / equity[0] - 1.0)


def annual_growth(equity: Floats, year: int = YEAR) -> float | None:
    """Return the compound annual growth rate, as a fraction: (last / first) ** (252 / sessions) - 1.

    None after the loss of more than everything.
    Source: CFA Institute, GIPS Standards 2020, annualised return; a year of 252 sessions.
    """
    gained = total_return(equity)
    if gained is None or gained < -1.0:
        return None
    with np.errstate(over="ignore"):
        return known(np.float64(1.0 + gained) ** (year / (len(equity) - 1)) - 1.0)


def volatility(returns: Floats, year: int = YEAR) -> float | None:
    """Return the annualised deviation of the returns, as a fraction: that of a sample (n - 1) * sqrt(252).

    Source: Hull, "Options, Futures, and Other Derivatives", estimating volatility from historical data.
    """
    if len(returns) < 2 or not np.all(np.isfinite(returns)):
        return None
    return known(np.std(returns, ddof=1) * year**0.5)


def monthly_returns(equity: Floats, days: Sequence[date]) -> dict[tuple[int, int], float | None]:
    """Return the return of each (year, month), from the last close before it; `days` are those of the sessions.

    Source: CFA Institute, GIPS Standards 2020: returns of periods, linked geometrically, are that of the whole time.
    """
    last = {(day.year, day.month): place for place, day in enumerate(days, 1)}
    found: dict[tuple[int, int], float | None] = {}
    before = 0
    for month, place in last.items():
        found[month] = total_return(equity[[before, place]])
        before = place
    return found


def sharpe_ratio(returns: Floats, year: int = YEAR) -> float | None:
    """Return the annualised Sharpe ratio over a riskless rate of 0: mean / deviation * sqrt(252).

    The deviation is that of a sample (n - 1).
    Source: Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994); annualised as by Lo, "The Statistics
    of Sharpe Ratios", Financial Analysts Journal 58 (2002), for returns without serial correlation.
    """
    if len(returns) < 2 or not np.all(np.isfinite(returns)):
        return None
    deviation = np.std(returns, ddof=1)
    return known(np.mean(returns) / deviation * year**0.5) if deviation > _SAME else None


def sortino_ratio(returns: Floats, year: int = YEAR) -> float | None:
    """Return the annualised Sortino ratio with a target of 0: mean / downside deviation * sqrt(252).

    The downside deviation is the root of the mean of min(r, 0)², over all sessions.
    Source: Sortino and Price, "Performance Measurement in a Downside Risk Framework", Journal of Investing 3 (1994).
    """
    if len(returns) < 2 or not np.all(np.isfinite(returns)):
        return None
    downside = np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))
    return known(np.mean(returns) / downside * year**0.5) if downside > _SAME else None


def few_sessions(sessions: int) -> str:
    """Return a caution beside figures of a year that are worked out from few sessions; empty for `FEW_SESSIONS` and more."""
    if sessions >= FEW_SESSIONS:
        return ""
    counted = "1 session says" if sessions == 1 else f"{sessions} sessions say"
    return f"{counted} little about a year: growth, volatility and ratios need {FEW_SESSIONS} or more"


def rolling_sharpe(returns: Floats, window: int) -> Floats:
    """Return `sharpe_ratio` of the last `window` returns at each session; NaN where it is not defined."""
    found = np.full(len(returns), np.nan)
    if 2 <= window <= len(returns):
        seen = np.lib.stride_tricks.sliding_window_view(returns, window)
        with np.errstate(invalid="ignore", over="ignore"):
            deviation = np.std(seen, axis=1, ddof=1)
            found[window - 1 :] = np.mean(seen, axis=1) / np.where(deviation > _SAME, deviation, np.nan) * YEAR**0.5
    return found


def probabilistic_sharpe(returns: Floats, above: float = 0.0) -> float | None:
    """Return how probable it is that the true Sharpe ratio lies above a given one (both annualised), from 0 to 1.

    Normal((S - S0) * sqrt(n - 1) / sqrt(1 - skewness * S + (kurtosis - 1) / 4 * S^2)), with ratios a session and moments
    of the population; a normal distribution has a kurtosis of 3.
    Source: Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15 (2012), eq. 11.
    """
    annual = sharpe_ratio(returns)
    if annual is None:
        return None
    each, standard = annual / YEAR**0.5, (returns - np.mean(returns)) / np.std(returns)
    spread = 1.0 - float(np.mean(standard**3)) * each + (float(np.mean(standard**4)) - 1.0) / 4.0 * each**2
    if not spread > 0:
        return None
    return erfc(-(each - above / YEAR**0.5) * sqrt((len(returns) - 1) / spread) / sqrt(2.0)) / 2.0


def luckiest_sharpe(trials: int, deviation: float) -> float:
    """Return the Sharpe ratio that the best of so many worthless trials is expected to show; 0 for a single one.

    `deviation` is that of the trials' ratios, and the result is a ratio of the same kind, annualised or not.
    Source: Bailey and López de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (2014), eq. 1.
    """
    if trials < 2:
        return 0.0
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf
    return deviation * ((1.0 - _EULER) * quantile(1.0 - 1.0 / trials) + _EULER * quantile(1.0 - 1.0 / (trials * e)))


def deflated_sharpe(returns: Floats, trials: Floats) -> float | None:
    """Return how probable it is that the chosen one of many trials is better than luck would have made it, from 0 to 1.

    `returns` are those of the chosen one, `trials` the annualised Sharpe ratios of all that were tried, NaN where a trial
    has none: that one counts among those that were tried, but not in their deviation.
    Source: Bailey and López de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (2014).
    """
    return probabilistic_sharpe(returns, luckiest_sharpe(len(trials), deviation(trials[np.isfinite(trials)])))


def deviation(values: Floats) -> float:
    """Return the deviation of a sample (n - 1); 0 of fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall of the equity below its highest value before; numbers are places in the equity, 0 the start."""

    depth: float  # a fraction, 0 or below
    peak: int
    trough: int
    recovered: int | None  # where the peak was reached again

    def sessions(self, last: int) -> int:
        """Return how long it lasted, from the peak to the recovery, else to the `last` session."""
        return (last if self.recovered is None else self.recovered) - self.peak


def drawdowns(equity: Floats) -> Floats:
    """Return how far each value lies below the highest one up to it, as a fraction, 0 or below; the first is above 0."""
    found: Floats = equity / np.maximum.accumulate(equity) - 1.0
    return found


def worst_drawdown(equity: Floats) -> Drawdown | None:
    """Return the deepest drawdown, of several the first; one of depth 0 if the equity never fell.

    Source: Magdon-Ismail and Atiya, "Maximum Drawdown", Risk 17 (2004).
    """
    if len(equity) < 2 or not np.all(np.isfinite(equity)) or not equity[0] > 0:
        return None
    below = drawdowns(equity)
    trough = int(np.argmin(below))
    peak = int(np.argmax(equity[: trough + 1]))
    again = np.flatnonzero(equity[trough:] >= equity[peak])
    return Drawdown(float(below[trough]), peak, trough, trough + int(again[0]) if len(again) else None)


def deepest_drawdowns(equity: Floats, most: int) -> list[Drawdown]:
    """Return the deepest drawdowns, the deepest first: each from a peak until it is reached again, so that no two overlap."""
    if len(equity) < 2 or not np.all(np.isfinite(equity)) or not equity[0] > 0:
        return []
    below = drawdowns(equity)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], below < 0, [False]]).astype(int)))
    found = []
    for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        trough = first + int(np.argmin(below[first:after]))
        peak = int(np.argmax(equity[:first]))
        found.append(Drawdown(float(below[trough]), peak, trough, after if after < len(equity) else None))
    return sorted(found, key=lambda one: one.depth)[:most]


def yearly_equity(equity: Floats, days: Sequence[date]) -> dict[int, Floats]:
    """Return the equity of each year, from the last close before it; `days` are those of the sessions."""
    years = np.array([day.year for day in days])
    places = {int(year): np.flatnonzero(years == year) for year in np.unique(years)}
    return {year: equity[place[0] : place[-1] + 2] for year, place in places.items()}


def beta(returns: Floats, market: Floats) -> float | None:
    """Return how strongly returns follow those of a market: their covariance over the market's variance.

    Source: Sharpe, "Capital Asset Prices", Journal of Finance 19 (1964).
    """
    if len(returns) < 2:
        return None
    (found,) = rolling_beta(returns, market, len(returns))[-1:].tolist()
    return known(found)


def rolling_beta(returns: Floats, market: Floats, window: int) -> Floats:
    """Return `beta` over the last `window` returns at each session; NaN where it is not defined."""
    found = np.full(len(returns), np.nan)
    if 2 <= window <= len(returns):
        ours, theirs = (np.lib.stride_tricks.sliding_window_view(values, window) for values in (returns, market))
        with np.errstate(invalid="ignore", over="ignore"):
            away = theirs - np.mean(theirs, axis=1, keepdims=True)
            variance = np.mean(away**2, axis=1)
            covariance = np.mean((ours - np.mean(ours, axis=1, keepdims=True)) * away, axis=1)
            found[window - 1 :] = covariance / np.where(variance > _SAME**2, variance, np.nan)
    return found


def correlation(returns: Floats, others: Floats) -> float | None:
    """Return Pearson's correlation of two series of returns, from -1 to 1."""
    if len(returns) < 2 or not np.all(np.isfinite(returns) & np.isfinite(others)):
        return None
    if min(np.std(returns), np.std(others)) <= _SAME:
        return None
    return known(np.corrcoef(returns, others)[0, 1])


def calmar_ratio(equity: Floats, year: int = YEAR) -> float | None:
    """Return the annual growth over the depth of the worst drawdown, both of the whole time.

    Source: Young, "Calmar Ratio: A Smoother Tool", Futures 20 (1991), who takes the last 36 months.
    """
    growth, worst = annual_growth(equity, year), worst_drawdown(equity)
    if growth is None or worst is None or not worst.depth < -_SAME:
        return None
    return known(growth / -worst.depth)


def time_in_market(began: Ints, ended: Ints, opens: Ints, closes: Ints) -> float | None:
    """Return the share of the sessions' time in which any position was open, as a fraction.

    A position lasts from `began` to `ended`, a session from one of `opens` to one of `closes`, in order; instants in ns.
    Nights count for nothing.
    """
    if not len(opens):
        return None
    passed = np.concatenate([[0], np.cumsum(closes - opens)])

    def market_time(at: Ints) -> Ints:
        place = np.searchsorted(opens, at, side="right")
        inside = np.minimum(at, closes[place - 1]) - opens[place - 1]
        found: Ints = np.where(place > 0, passed[place - 1] + inside, 0)
        return found

    order = np.argsort(began, kind="stable")
    first, last = market_time(began[order]), np.maximum.accumulate(market_time(ended[order]))
    covered = np.concatenate([[0], last[:-1]])  # by the positions that began before
    return known(np.sum(np.maximum(last - np.maximum(first, covered), 0)) / passed[-1])


def turnover(bought: float, sold: float, equity: Floats, year: int = YEAR) -> float | None:
    """Return how often a year the account was turned over: the lesser of purchases and sales over the mean equity.

    Source: SEC, Form N-1A, item 13, portfolio turnover rate; by the account's value, a year of 252 sessions.
    """
    if len(equity) < 2 or not (mean := np.mean(equity)) > 0:
        return None
    return known(min(bought, sold) / mean * year / (len(equity) - 1))


def win_rate(gains: Floats) -> float | None:
    """Return the share of round trips that gained something, fees paid, as a fraction."""
    return known(np.mean(gains > 0)) if len(gains) and np.all(np.isfinite(gains)) else None


def profit_factor(gains: Floats) -> float | None:
    """Return what the winning round trips gained over what the losing ones lost; None if none lost.

    Source: Kaufman, "Trading Systems and Methods" (2013), gross profits over gross losses.
    """
    lost = -np.sum(np.minimum(gains, 0.0))
    return known(np.sum(np.maximum(gains, 0.0)) / lost) if lost > 0 else None


def mean_of(values: Floats) -> float | None:
    """Return the mean: of gains the expectancy in dollars a round trip, of R units the average R.

    Source: Tharp, "Trade Your Way to Financial Freedom" (1998), expectancy and R multiples.
    """
    return known(np.mean(values)) if len(values) else None


@dataclass(frozen=True, slots=True)
class Significance:
    """How far luck alone explains what the trades gained.

    `p_value` is the share of draws in which trades without any edge gain as much or more; `low` and `high` bound the
    expectancy, in dollars a round trip, with 95 % confidence; `drawdown` is in dollars, and 95 % of the orders in which
    the same trades may come have a smaller one. All are of `draws` draws.
    """

    trades: int
    draws: int
    p_value: float
    low: float
    high: float
    drawdown: float


def significance(gains: Floats, seed: int) -> Significance | None:
    """Return what a bootstrap of the trades, and trades in shuffled order, say; None of fewer than two that differ.

    The means of samples of n trades, drawn with replacement, are compared with the mean itself: without an edge they
    would lie around 0 as they lie around it. The p-value is (1 + those as far above) / (1 + draws). It takes trades for
    independent of each other.
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), algorithm 16.2 and section 13.3; the order of
    trades: Aronson, "Evidence-Based Technical Analysis" (2006), Monte Carlo permutation.
    """
    count = len(gains)
    if count < 2 or not np.all(np.isfinite(gains)) or not np.ptp(gains) > 0:
        return None
    draws = min(_DRAWS, max(100, _DRAWN // count))
    random = np.random.default_rng([seed, count])
    means, falls = np.empty(draws), np.empty(draws)
    for piece in _pieces(draws, max(1, _PIECE // count)):
        means[piece] = np.mean(gains[random.integers(count, size=(piece.stop - piece.start, count))], axis=1)
        shuffled = random.permuted(np.broadcast_to(gains, (piece.stop - piece.start, count)), axis=1)
        came_to = np.cumsum(shuffled, axis=1)
        falls[piece] = np.max(np.maximum(np.maximum.accumulate(came_to, axis=1), 0.0) - came_to, axis=1)
    mean = np.mean(gains)
    beyond = int(np.count_nonzero(means - mean >= mean))
    low, high = np.quantile(means, [0.025, 0.975])
    return Significance(
        count, draws, (1 + beyond) / (1 + draws), float(low), float(high), float(np.quantile(falls, 0.95))
    )


def _pieces(whole: int, most: int) -> Iterator[slice]:
    for start in range(0, whole, most):
        yield slice(start, min(start + most, whole))


def excursions(
    trips: tuple[Ints, Ints, Ints, Floats], opened_at: Ints, closed_at: Ints, low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """Return how far the price went against each round trip of a symbol, and how far with it: MAE and MFE.

    Both in dollars a share, 0 or above, NaN without a bar. `trips` are the instants of their beginning and end, sides (1
    or -1) and entry prices; the others are columns of the symbol's bars in order. Of a bar that was open at the
    beginning or end all prices count, so both are upper bounds.
    Source: Sweeney, "Maximum Adverse Excursion" (1996).
    """
    began, ended, sides, entries = trips
    first = np.searchsorted(closed_at, began, side="right")
    last = np.maximum(np.searchsorted(opened_at, ended, side="left"), first)
    places = np.stack([first, last], axis=1).ravel()
    # `reduceat` takes what lies between two places; the value behind the last bar lets a place lie there.
    lowest, highest = (
        reduce.reduceat(np.append(column, np.nan), places)[::2] if len(began) else np.zeros(0)
        for reduce, column in ((np.fmin, low), (np.fmax, high))
    )
    none = first == last
    worst, best = (np.where(none, np.nan, (column - entries) * sides) for column in (lowest, highest))
    worst, best = np.minimum(worst, best), np.maximum(worst, best)
    return np.maximum(-worst, 0.0), np.maximum(best, 0.0)


def known(figure: np.floating | float) -> float | None:
    """Return a figure, None if it is no finite number."""
    return float(figure) if np.isfinite(figure) else None
