"""What an account was worth over time: worked out from fills and closes, and read back from the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR, MINUTE
from liualgotrader.common.market_columns import BarColumns, Floats, Ints
from liualgotrader.common.rows import BUYS, ActivityRow, EquityRow, FilledTrade

_CENTS = 4  # decimals kept


@dataclass(frozen=True, slots=True)
class AccountCurve:
    """The account's value at instants, ns UTC, that rise; US dollars."""

    at: Ints
    amount: Floats


def equity_of(
    batch_id: str,
    executions: Sequence[FilledTrade],
    bars: Mapping[str, BarColumns],
    played: Sequence[TradingSession],
    period: int,
    cash: float,
    activities: Sequence[ActivityRow] = (),
) -> list[EquityRow]:
    """Return what an account that began with `cash` was worth: each minute, or with raw bars of a day at open and close.

    `activities` moved its cash beside. What is held counts at the close of the newest bar; what trades at the open counts
    from the next instant on, so that a session begins with what the one before ended with.
    """
    steps = [MINUTE if period <= HOUR else s.closes_at - s.opens_at for s in played]
    parts = [np.arange(s.opens_at, s.closes_at + 1, step) for s, step in zip(played, steps, strict=True)]
    at = np.concatenate(parts)
    opens = {s.opens_at for s in played}
    amount = np.full(len(at), cash)
    for activity in activities:
        amount[np.searchsorted(at, activity.at) :] += float(activity.amount or 0)
    of_symbol: dict[str, list[tuple[int, float, float]]] = {}  # instant, signed shares, dollars
    for one in executions:
        signed = one.quantity if one.operation in BUYS else -one.quantity
        paid = float(-signed * one.price - one.fee)
        of_symbol.setdefault(one.symbol, []).append((one.at + (one.at in opens), float(signed), paid))
    for symbol, fills in of_symbol.items():
        times, shares, moved = (np.array(column) for column in zip(*fills, strict=True))
        places = np.searchsorted(at, times)
        amount += np.cumsum(np.bincount(places, moved, len(at) + 1))[:-1]
        held = np.round(np.cumsum(np.bincount(places, shares, len(at) + 1))[:-1], 9)
        holding = np.flatnonzero(held)
        newest = np.searchsorted(bars[symbol].closed_at, at[holding], side="right") - 1
        amount[holding] += held[holding] * bars[symbol].close[newest]
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return [
        EquityRow(batch_id, f"{s.day}", s.opens_at, step, tuple(values.round(_CENTS).tolist()))
        for s, step, values in zip(played, steps, np.split(amount, ends), strict=True)
    ]


def curve_of(rows: Sequence[EquityRow]) -> AccountCurve:
    """Return all known values of the sessions of one batch, or of batches that followed each other, by time."""
    at = [row.opened_at + row.step * np.arange(len(row.amounts)) for row in rows]
    amounts = [np.array(row.amounts, float) for row in rows]
    if not rows:
        return AccountCurve(np.zeros(0, np.int64), np.zeros(0))
    every, amount = np.concatenate(at), np.concatenate(amounts)
    known = np.flatnonzero(~np.isnan(amount))
    order = known[np.argsort(every[known], kind="stable")]
    return AccountCurve(every[order], amount[order])


def by_session(rows: Sequence[EquityRow]) -> Floats:
    """Return what ratios are taken of: the value before the first session, then at the end of each one; NaN: not known."""
    first = next((amount for row in rows[:1] for amount in row.amounts if amount is not None), np.nan)
    return np.array([first, *(row.amounts[-1] for row in rows)] if rows else [], float)
