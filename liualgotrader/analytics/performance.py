"""Performance figures: the one place where returns, risk and trades are turned into statistics.

`equity` is the account's value in dollars: first before the first session, then at the close of each one. `returns`
are those of the sessions, as fractions. A figure that is not defined (no trade, no variance, too few sessions, a value
that is unknown or not above 0 where a return would be taken of it) is None, never 0 and never infinite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liualgotrader.common.market_columns import Floats, Ints

YEAR = 252  # sessions
_SAME = 1e-12  # returns that differ by less are the same up to the rounding of their division


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


def annual_growth(equity: Floats) -> float | None:
    """Return the compound annual growth rate, as a fraction: (last / first) ** (252 / sessions) - 1.

    None after the loss of more than everything.
    Source: CFA Institute, GIPS Standards 2020, annualised return; a year of 252 sessions.
    """
    gained = total_return(equity)
    if gained is None or gained < -1.0:
        return None
    with np.errstate(over="ignore"):
        return known(np.float64(1.0 + gained) ** (YEAR / (len(equity) - 1)) - 1.0)


def sharpe_ratio(returns: Floats) -> float | None:
    """Return the annualised Sharpe ratio over a riskless rate of 0: mean / deviation * sqrt(252).

    The deviation is that of a sample (n - 1).
    Source: Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994); annualised as by Lo, "The Statistics
    of Sharpe Ratios", Financial Analysts Journal 58 (2002), for returns without serial correlation.
    """
    if len(returns) < 2 or not np.all(np.isfinite(returns)):
        return None
    deviation = np.std(returns, ddof=1)
    return known(np.mean(returns) / deviation * YEAR**0.5) if deviation > _SAME else None


def sortino_ratio(returns: Floats) -> float | None:
    """Return the annualised Sortino ratio with a target of 0: mean / downside deviation * sqrt(252).

    The downside deviation is the root of the mean of min(r, 0)², over all sessions.
    Source: Sortino and Price, "Performance Measurement in a Downside Risk Framework", Journal of Investing 3 (1994).
    """
    if len(returns) < 2 or not np.all(np.isfinite(returns)):
        return None
    downside = np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))
    return known(np.mean(returns) / downside * YEAR**0.5) if downside > _SAME else None


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


def calmar_ratio(equity: Floats) -> float | None:
    """Return the annual growth over the depth of the worst drawdown, both of the whole time.

    Source: Young, "Calmar Ratio: A Smoother Tool", Futures 20 (1991), who takes the last 36 months.
    """
    growth, worst = annual_growth(equity), worst_drawdown(equity)
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


def turnover(bought: float, sold: float, equity: Floats) -> float | None:
    """Return how often a year the account was turned over: the lesser of purchases and sales over the mean equity.

    Source: SEC, Form N-1A, item 13, portfolio turnover rate; by the account's value, a year of 252 sessions.
    """
    if len(equity) < 2 or not (mean := np.mean(equity)) > 0:
        return None
    return known(min(bought, sold) / mean * YEAR / (len(equity) - 1))


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


def known(figure: np.floating | float) -> float | None:
    """Return a figure, None if it is no finite number."""
    return float(figure) if np.isfinite(figure) else None
