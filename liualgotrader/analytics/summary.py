"""The results of a session by strategy, for the person who started it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from liualgotrader.analytics.trips import OpenPosition, Trips
from liualgotrader.common.money import CENT, ZERO

_TENTH = Decimal("0.1")


class StrategyFigures(msgspec.Struct, frozen=True):
    """One strategy over all its slots. `gain` is realised, fees paid; `r_units` the sum over trips with a stop."""

    strategy: str
    trips: int
    wins: int
    gain: Decimal
    fees: Decimal
    r_units: Decimal | None
    open_positions: int
    end_reasons: tuple[str, ...] = ()

    @property
    def win_rate(self) -> Decimal | None:
        """Winning round trips in percent of all, None without any."""
        return (Decimal(100) * self.wins / self.trips).quantize(_TENTH) if self.trips else None


class SessionSummary(msgspec.Struct, frozen=True):
    """All strategies in the order they were given, the total, and what is left open."""

    strategies: tuple[StrategyFigures, ...]
    open: tuple[OpenPosition, ...]

    @property
    def total(self) -> StrategyFigures:
        """The sum of all strategies."""
        rows = self.strategies
        units = [s.r_units for s in rows if s.r_units is not None]
        return StrategyFigures(
            strategy="total",
            trips=sum(s.trips for s in rows),
            wins=sum(s.wins for s in rows),
            gain=sum((s.gain for s in rows), ZERO),
            fees=sum((s.fees for s in rows), ZERO),
            r_units=sum(units, ZERO) if units else None,
            open_positions=sum(s.open_positions for s in rows),
        )


def summarize(
    strategies: Iterable[str], trips: Trips, end_reasons: Mapping[str, tuple[str, ...]] | None = None
) -> SessionSummary:
    """Return the figures of each strategy; those that traded without being named come last, by name."""
    named = list(strategies)
    traded = {t.strategy for t in trips.closed} | {p.strategy for p in trips.open}
    rows = []
    for strategy in [*named, *sorted(traded - set(named))]:
        closed = [t for t in trips.closed if t.strategy == strategy]
        still = [p for p in trips.open if p.strategy == strategy]
        units = [t.r_units for t in closed if t.r_units is not None]
        fees = sum((t.fees for t in closed), ZERO) + sum((p.fees for p in still), ZERO)
        gross = sum((t.gross for t in closed), ZERO) + sum((p.realised for p in still), ZERO)
        figures = StrategyFigures(
            strategy=strategy,
            trips=len(closed),
            wins=sum(t.gain > 0 for t in closed),
            gain=(gross - fees).quantize(CENT),
            fees=fees.quantize(CENT),
            r_units=sum(units, ZERO) if units else None,
            open_positions=len(still),
            end_reasons=(end_reasons or {}).get(strategy, ()),
        )
        rows.append(figures)
    return SessionSummary(tuple(rows), trips.open)
