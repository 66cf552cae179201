"""What a backtest came to: the account's figures beside those of a benchmark, and trading by strategy and by symbol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np

from liualgotrader.analytics import performance
from liualgotrader.analytics.summary import TradingFigures, by_strategy, by_symbol, grouped, open_gain, trading_figures
from liualgotrader.analytics.trips import OpenPosition, round_trips
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import DAY
from liualgotrader.common.market_columns import Floats
from liualgotrader.common.money import ZERO, exact
from liualgotrader.common.rows import FilledTrade


@dataclass(frozen=True, slots=True)
class EquityFigures:
    """Return and risk of an account, or of a share that is bought and held; fractions, None where not defined."""

    first: float | None  # dollars
    last: float | None
    total_return: float | None
    annual_growth: float | None
    sharpe_ratio: float | None
    sortino_ratio: float | None
    max_drawdown: float | None
    drawdown_sessions: int | None
    calmar_ratio: float | None
    volatility: float | None
    probabilistic_sharpe: float | None  # how probable it is that the true Sharpe ratio is above 0


@dataclass(frozen=True, slots=True)
class StillOpen:
    """A position at the last close; signed shares, dollars per share."""

    strategy: str
    symbol: str
    quantity: Decimal
    entry: Decimal
    last: Decimal
    gain: Decimal


@dataclass(frozen=True, slots=True)
class BacktestSummary:
    """All of a backtest's figures; strategies in the tradeplan's order, symbols in alphabetical order."""

    first_day: date
    last_day: date
    sessions: int
    bars: int
    account: EquityFigures
    benchmark_symbol: str
    benchmark: EquityFigures | None
    time_in_market: float | None
    turnover: float | None
    total: TradingFigures
    strategies: tuple[TradingFigures, ...]
    symbols: tuple[TradingFigures, ...]
    open: tuple[StillOpen, ...]
    dividends: Decimal = ZERO  # dollars received, less those that short positions paid; no part of the trades' gains
    borrow_fees: Decimal = ZERO  # dollars that short positions paid for what they borrowed; no part of them either


def year_of(sessions: Sequence[TradingSession]) -> int:
    """Return how many sessions like these a year has."""
    around_the_clock = all(session.closes_at - session.opens_at == DAY for session in sessions)
    return performance.YEAR_OF_DAYS if around_the_clock else performance.YEAR


def equity_figures(equity: Floats, year: int = performance.YEAR) -> EquityFigures:
    """Return the figures of an equity: the value before the first session, then at each close; `year` is of sessions."""
    returns, worst = performance.returns_of(equity), performance.worst_drawdown(equity)
    return EquityFigures(
        first=performance.known(equity[0]),
        last=performance.known(equity[-1]),
        total_return=performance.total_return(equity),
        annual_growth=performance.annual_growth(equity, year),
        sharpe_ratio=performance.sharpe_ratio(returns, year),
        sortino_ratio=performance.sortino_ratio(returns, year),
        max_drawdown=None if worst is None else worst.depth,
        drawdown_sessions=None if worst is None else worst.sessions(len(equity) - 1),
        calmar_ratio=performance.calmar_ratio(equity, year),
        volatility=performance.volatility(returns, year),
        probabilistic_sharpe=performance.probabilistic_sharpe(returns),
    )


def summarize_backtest(
    executions: Sequence[FilledTrade],
    equity: Floats,
    sessions: Sequence[TradingSession],
    *,
    bars: int,
    strategies: Sequence[str],
    last_prices: Mapping[str, float],
    benchmark: tuple[str, Floats] | None = None,
    dividends: Decimal = ZERO,
    borrow_fees: Decimal = ZERO,
) -> BacktestSummary:
    """Return the summary of a run that began without positions.

    `equity` has the value before the first session and those at the close of each one; `benchmark` is a symbol with its
    prices at the same times.
    """
    trips = round_trips(executions)
    prices = {symbol: exact(price) for symbol, price in last_prices.items()}
    still = tuple(_still_open(position, prices) for position in trips.open)
    end = np.int64(sessions[-1].closes_at)
    began = np.array([t.started_at for t in trips.closed] + [p.opened_at for p in trips.open], np.int64)
    ended = np.array([t.ended_at for t in trips.closed] + [end for _ in trips.open], np.int64)
    opens, closes = (np.array([getattr(s, name) for s in sessions], np.int64) for name in ("opens_at", "closes_at"))
    year = year_of(sessions)
    value = {"buy": ZERO, "sell": ZERO}
    for trade in executions:
        value[trade.operation] += trade.quantity * trade.price
    return BacktestSummary(
        first_day=sessions[0].day,
        last_day=sessions[-1].day,
        sessions=len(sessions),
        bars=bars,
        account=equity_figures(equity, year),
        benchmark_symbol=benchmark[0] if benchmark else "",
        benchmark=equity_figures(benchmark[1], year) if benchmark else None,
        time_in_market=performance.time_in_market(began, ended, opens, closes),
        turnover=performance.turnover(float(value["buy"]), float(value["sell"]), equity, year),
        total=trading_figures("total", trips.closed, trips.open, prices),
        strategies=grouped(trips, by_strategy, strategies, prices),
        symbols=grouped(trips, by_symbol, prices=prices),
        open=still,
        dividends=dividends,
        borrow_fees=borrow_fees,
    )


def _still_open(position: OpenPosition, prices: Mapping[str, Decimal]) -> StillOpen:
    last, gain = prices[position.symbol], open_gain(position, prices)
    assert gain is not None
    return StillOpen(position.strategy, position.symbol, position.quantity, position.average_price, last, gain)
