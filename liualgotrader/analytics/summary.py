"""Trading in figures: round trips and open positions of a strategy, of a symbol, of any group, and of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter

import msgspec
import numpy as np

from liualgotrader.analytics import performance
from liualgotrader.analytics.trips import OpenPosition, RoundTrip, Trips
from liualgotrader.common.market_columns import Floats
from liualgotrader.common.money import CENT, ZERO

Prices = Mapping[str, Decimal | None]
"""The last price of each symbol, in dollars a share."""


@dataclass(frozen=True, slots=True)
class TradingFigures:
    """Round trips of a strategy, a symbol or all. Dollars: `gain` is realised, fees paid; of open positions `open_gain`.

    `win_rate` is a fraction, `expectancy` dollars a round trip; `average_r` and `total_r` are of those with a stop.
    `open_gain` is None where a price is not known.
    """

    name: str
    trips: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    average_r: float | None
    total_r: float | None
    gain: Decimal
    open_gain: Decimal | None
    fees: Decimal
    open_positions: int


def trading_figures(
    name: str, closed: Sequence[RoundTrip], still: Sequence[OpenPosition], prices: Prices | None = None
) -> TradingFigures:
    """Return the figures of round trips and of what is open."""
    gains = np.array([t.gain for t in closed], np.float64)
    units = np.array([units for t in closed if (units := t.r_units) is not None], np.float64)
    gross = sum((t.gross for t in closed), ZERO) + sum((p.realised for p in still), ZERO)
    fees = sum((t.fees for t in closed), ZERO) + sum((p.fees for p in still), ZERO)
    opened = [open_gain(position, prices or {}) for position in still]
    open_gains = None if None in opened else sum((g for g in opened if g is not None), ZERO)
    return figures_of(name, gains, units, gross - fees, open_gains, fees, len(still))


def figures_of(
    name: str, gains: Floats, units: Floats, gain: Decimal, open_gain: Decimal | None, fees: Decimal, still: int
) -> TradingFigures:
    """Return the figures of round trips that gained `gains` and, those that had a stop, `units` of R."""
    return TradingFigures(
        name=name,
        trips=len(gains),
        win_rate=performance.win_rate(gains),
        profit_factor=performance.profit_factor(gains),
        expectancy=performance.mean_of(gains),
        average_r=performance.mean_of(units),
        total_r=performance.known(np.sum(units)) if len(units) else None,
        gain=gain.quantize(CENT),
        open_gain=None if open_gain is None else open_gain.quantize(CENT),
        fees=fees.quantize(CENT),
        open_positions=still,
    )


def open_gain(position: OpenPosition, prices: Prices) -> Decimal | None:
    """Return what a position has gained at the last price of its symbol, before fees; None without one."""
    last = prices.get(position.symbol)
    return None if last is None else ((last - position.average_price) * position.quantity).quantize(CENT)


def grouped(
    trips: Trips,
    key: Callable[[RoundTrip | OpenPosition], str],
    named: Iterable[str] = (),
    prices: Prices | None = None,
) -> tuple[TradingFigures, ...]:
    """Return the figures of each group: those that are named, then others that traded, by name."""
    closed: dict[str, list[RoundTrip]] = {name: [] for name in named}
    still: dict[str, list[OpenPosition]] = {}
    for trip in trips.closed:
        closed.setdefault(key(trip), []).append(trip)
    for position in trips.open:
        still.setdefault(key(position), []).append(position)
    names = [*dict.fromkeys(named), *sorted((closed.keys() | still.keys()) - set(named))]
    return tuple(trading_figures(name, closed.get(name, ()), still.get(name, ()), prices) for name in names)


by_strategy = attrgetter("strategy")
by_symbol = attrgetter("symbol")


class SessionSummary(msgspec.Struct, frozen=True):
    """All strategies in the order they were given, with why each ended, the total, and what is left open."""

    strategies: tuple[TradingFigures, ...]
    total: TradingFigures
    open: tuple[OpenPosition, ...]
    end_reasons: Mapping[str, tuple[str, ...]]


def summarize(
    strategies: Sequence[str], trips: Trips, end_reasons: Mapping[str, tuple[str, ...]] | None = None
) -> SessionSummary:
    """Return the figures of each strategy; those that traded without being named come last, by name."""
    total = trading_figures("total", trips.closed, trips.open)
    return SessionSummary(grouped(trips, by_strategy, strategies), total, trips.open, end_reasons or {})
