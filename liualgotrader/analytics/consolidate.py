"""The end of the day: what each strategy slot gained in each symbol, and each round trip with its R units.

`gain_value` of `gain_loss` is what the slot gained in the symbol, all fees paid; a position that is still open counts for
nothing in it and stands beside it, where the original took its whole cost for a loss. `gain_percentage` relates the gain to
the value that the first round trip entered. `trade_analysis` holds closed round trips only, including those that began in an earlier session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from liualgotrader.analytics.trips import Key, Trips, in_order, percentage, round_trips, sign_of
from liualgotrader.common.money import ZERO
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import CarriedPosition, FilledTrade, GainLossRow, TradeAnalysisRow


class Consolidation(msgspec.Struct, frozen=True):
    """The results of one batch."""

    gains: tuple[GainLossRow, ...]
    analysis: tuple[TradeAnalysisRow, ...]
    trips: Trips
    executions: int


async def trades(
    batch_id: str, store: Store | None = None, opening: Mapping[Key, CarriedPosition] | None = None
) -> Consolidation:
    """Consolidate a batch and save its `gain_loss` and `trade_analysis` rows; safe to repeat.

    Without a `store` it is the program's database, which is opened where none is, as notebooks of the original have it.

    Raises:
        DatabaseUnavailable: if the rows cannot be read or written.
    """
    if store is None:
        from liualgotrader.models.connection import opened_store

        store = await opened_store()
    result = consolidate(await store.trades(batch_id), opening)
    await store.save_analysis(result.gains, result.analysis)
    return result


async def again(batch_id: str, environment: str, store: Store) -> Consolidation:
    """Consolidate a batch again, after late executions of its orders were stored; safe to repeat.

    Raises:
        DatabaseUnavailable: if the rows cannot be read or written.
    """
    executions = await store.trades(batch_id)
    before = {
        strategy: {p.symbol: p for p in await store.carried_positions(environment, strategy, batch_id)}
        for strategy in sorted({t.strategy for t in executions})
    }
    return await trades(batch_id, store, opening_of(executions, before))


def opening_of(
    executions: Iterable[FilledTrade], before: Mapping[str, Mapping[str, CarriedPosition]]
) -> dict[Key, CarriedPosition]:
    """Return what each strategy held before, by symbol, under the slot that has traded the symbol first since."""
    first: dict[tuple[str, str], int] = {}
    for trade in executions:
        first.setdefault((trade.strategy, trade.symbol), trade.algo_run_id)
    return {
        (run, symbol): before[name][symbol] for (name, symbol), run in first.items() if symbol in before.get(name, {})
    }


def consolidate(
    executions: Iterable[FilledTrade], opening: Mapping[Key, CarriedPosition] | None = None
) -> Consolidation:
    """Return the rows of one batch out of its executions; `opening` is what is held from earlier batches."""
    ordered = in_order(executions)
    trips = round_trips(ordered, opening)
    gained: dict[Key, Decimal] = {}
    for trade in ordered:
        key = trade.algo_run_id, trade.symbol
        gained[key] = gained.get(key, ZERO) - sign_of(trade) * trade.quantity * trade.price - trade.fee
    for key, held in (opening or {}).items():
        if key in gained:
            gained[key] -= held.quantity * held.average_price
    still = {(position.algo_run_id, position.symbol): position for position in trips.open}
    for key, position in still.items():
        gained[key] += position.quantity * position.average_price
    entered = {key: position.entry_value for key, position in still.items()}
    entered |= {
        (trip.algo_run_id, trip.symbol): trip.entry_value for trip in reversed(trips.closed)
    }  # the first counts
    gains = []
    for (run, symbol), gain in sorted(gained.items()):
        left = still.get((run, symbol))
        shares = (ZERO, None) if left is None else (left.quantity, left.average_price)
        gains.append(GainLossRow(symbol, run, percentage(gain, entered[run, symbol]), gain, *shares))
    analysis = [msgspec.convert(trip, TradeAnalysisRow, from_attributes=True) for trip in trips.closed]
    return Consolidation(tuple(gains), tuple(analysis), trips, len(ordered))
