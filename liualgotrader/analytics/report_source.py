"""What a report is made of, and what its account held at any instant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np

from liualgotrader.analytics.equity import AccountCurve
from liualgotrader.analytics.trips import Key, sign_of
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR
from liualgotrader.common.market_columns import BarColumns, Floats, Ints
from liualgotrader.common.rows import CarriedPosition, FilledTrade, HonestyCheck
from liualgotrader.tapes.splits import Split, adjusted

_INSIDE = 8  # instants of a session


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSource:
    """What a report is made of. Without `cash`, dollars at the start, nothing is said in percent of the account.

    `bars` has the prices of what was traded, as far as they are known, `opening` what earlier batches left open, `equity`
    the value before the first session and at each close where somebody has kept it, and `curve` what it was inside them.
    Bars are raw, `splits` what happened to the shares. `parameters` are those of each strategy, `terms` what the batch was
    played on and by, `notes` what a person must know. `trials` are the Sharpe ratios of all tries of the same strategies
    that are known, this one among them, NaN for one that has none; None if nobody has kept them. `beside` are the batches
    and portfolios that this one is compared with.
    """

    batch_id: str
    environment: str
    strategies: Sequence[str]
    sessions: Sequence[TradingSession]
    executions: Sequence[FilledTrade]
    bars: Mapping[str, BarColumns]
    cash: float | None
    opening: Mapping[Key, CarriedPosition] = field(default_factory=dict)
    equity: Floats | None = None
    curve: AccountCurve | None = None
    splits: Mapping[str, Sequence[Split]] = field(default_factory=dict)
    trials: Floats | None = None
    benchmark: str = ""
    seed: int = 0
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    terms: Mapping[str, str] = field(default_factory=dict)
    checks: Sequence[HonestyCheck] = ()
    notes: Sequence[str] = ()
    beside: Sequence[ReportSource] = ()


Moves = Mapping[str, tuple[Ints, Floats, Floats]]
"""By symbol: when shares came or went, how many shares in all since the start, and how many dollars, after fees."""


def moves_of(source: ReportSource) -> Moves:
    """Return what came and went in each symbol."""
    made: dict[str, list[tuple[int, float, float]]] = {}
    for (_, symbol), held in source.opening.items():
        made.setdefault(symbol, []).append((0, float(held.quantity), -float(held.quantity * held.average_price)))
    for trade in sorted(source.executions, key=attrgetter("at")):
        sign, shares = sign_of(trade), float(trade.quantity)
        paid = sign * shares * float(trade.price) + float(trade.fee)
        made.setdefault(trade.symbol, []).append((trade.at, sign * shares, -paid))
    found: dict[str, tuple[Ints, Floats, Floats]] = {}
    for symbol in sorted(made):
        columns = [np.array(column) for column in zip(*made[symbol], strict=True)]
        found[symbol] = columns[0], np.round(np.cumsum(columns[1]), 9), np.cumsum(columns[2])
    return found


def account_at(source: ReportSource, moves: Moves, times: Ints) -> tuple[Floats, Floats, Floats]:
    """Return equity, gross and net value of what was held at each time, US dollars.

    What was held is valued at the newest close of its symbol; NaN where there is none. Without `cash` the equity is what
    was gained since the start.
    """
    equity = np.full(len(times), source.cash or 0.0)
    gross, net = np.zeros(len(times)), np.zeros(len(times))
    for _, spent, value in holdings_at(source, moves, times):
        equity += spent + value
        gross += np.abs(value)
        net += value
    return np.round(equity, 6), gross, net


def holdings_at(source: ReportSource, moves: Moves, times: Ints) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield each symbol with the dollars that it cost or brought until each time, and what was held of it: a short is negative."""
    for symbol, (at, shares, dollars) in moves.items():
        done = np.searchsorted(at, times, side="right")
        quantity, spent = (np.concatenate([[0.0], column])[done] for column in (shares, dollars))
        price = price_at(source.bars[symbol], times) if symbol in source.bars else np.full(len(times), np.nan)
        yield symbol, spent, np.where(quantity == 0, 0.0, quantity * price)


def worth_at(source: ReportSource, equity: Floats, times: Ints) -> Floats:
    """Return the account's value at each time: as it was kept inside sessions, else that of the close before it."""
    if source.curve is not None and len(source.curve.at):
        place = np.searchsorted(source.curve.at, times, side="right") - 1
        return np.where(place >= 0, source.curve.amount[np.maximum(place, 0)], equity[0])
    closes = np.array([s.closes_at for s in source.sessions], np.int64)
    found: Floats = equity[np.searchsorted(closes, times, side="right")]
    return found


@dataclass(frozen=True, slots=True)
class AccountOverTime:
    """An account at instants, ns UTC: what it was worth, its cash, what it held (shorts count positive), and a benchmark that
    cost as much at the start; US dollars, NaN where a price is not known."""

    at: Ints
    equity: Floats
    cash: Floats
    held: Floats
    benchmark: Floats


def over_time(source: ReportSource) -> AccountOverTime:
    """Return what the account was at the open of the first session, and then inside sessions where prices are known there, else at closes."""
    at = np.concatenate([[source.sessions[0].opens_at], instants_of(source)])
    equity, gross, net = account_at(source, moves_of(source), at)
    benchmark = np.full(len(at), np.nan)
    if (bars := source.bars.get(source.benchmark)) is not None:
        last = source.sessions[-1].day
        prices = price_at(adjusted(bars, source.splits.get(source.benchmark, ()), last), at, first_open=True)
        benchmark = prices / prices[np.argmax(np.isfinite(prices))] * equity[0]
    return AccountOverTime(at, equity, equity - net, gross, benchmark)


def instants_of(source: ReportSource) -> Ints:
    """Return eight instants of each session, the last one its close, where prices are known inside sessions; else the closes."""
    inside = any(len(b.close) and b.closed_at[0] - b.opened_at[0] < HOUR for b in source.bars.values())
    spans = np.array([(s.opens_at, s.closes_at) for s in source.sessions], np.int64)
    times = np.linspace(spans[:, 0], spans[:, 1], _INSIDE + 1, axis=1)[:, 1:] if inside else spans[:, 1:]
    return times.astype(np.int64).ravel()


def closing_equity(source: ReportSource, moves: Moves) -> Floats | None:
    """Return the account's value before the first session and at each close; None where it is not known."""
    times = np.array([source.sessions[0].opens_at, *(s.closes_at for s in source.sessions)], np.int64)
    equity = source.equity if source.equity is not None else account_at(source, moves, times)[0]
    return equity if source.cash is not None and bool(np.isfinite(equity).all()) else None


def price_at(bars: BarColumns, times: Ints, *, first_open: bool = False) -> Floats:
    """Return the newest close at each time; with `first_open` the first price is that of the open, if it is that day's."""
    place = np.searchsorted(bars.closed_at, times, side="right") - 1
    found: Floats = np.where(place >= 0, bars.close[np.maximum(place, 0)], np.nan)
    if first_open:
        first = int(np.searchsorted(bars.opened_at, times[0]))
        there = first < len(bars.open) and bars.opened_at[first] < times[1]
        found[0] = bars.open[first] if there else np.nan
    return found


def prices_at(bars: Mapping[str, BarColumns], at: int) -> dict[str, float]:
    """Return the newest close of each symbol; NaN where it has none yet."""
    return {symbol: float(price_at(one, np.array([at]))[0]) for symbol, one in bars.items() if len(one.close)}
