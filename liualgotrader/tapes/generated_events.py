"""Quotes, prints and halts of one generated symbol over one session.

A session is a row of moments, each either a new quote or a print at the quote of before, so prints always
lie within the best bid and offer. Moments are dense near the open and the close; one quote stands in the
last second of each minute, so that a decision on a closed bar has a fresh price. In a halt nothing
happens. All prices are whole cents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import MILLISECOND, MINUTE, SECOND
from liualgotrader.common.events import Counts, Status
from liualgotrader.common.market_columns import Floats, Ints, QuoteColumns, TradeColumns
from liualgotrader.tapes.columns import SymbolColumns
from liualgotrader.tapes.generated_profile import LEAST_PRICE, Draws, Role, SymbolProfile, broken_line

PRE_MARKET_QUOTES = 12
PRE_MARKET = 15 * MINUTE
MICROSECOND = 1_000

_TRADE_SHARE = 0.42  # of the moments are prints
_ODD_LOT_SHARE = 0.15
_ODD_LOT = int(Counts.VOLUME)  # odd lots move neither last nor high nor low (tape plans, condition I)


@dataclass(frozen=True, slots=True)
class _Moments:
    """When something happens, strictly increasing, and whether it is a quote."""

    at: Ints
    is_quote: NDArray[np.bool_]


def fixed_events(session: TradingSession) -> int:
    """Return how many events each symbol has besides those that are shared out by activity."""
    return PRE_MARKET_QUOTES + 2 + session.minutes


def symbol_columns(profile: SymbolProfile, session: TradingSession, draws: Draws, moments: int) -> SymbolColumns:
    """Return the events of a symbol with that many moments besides `fixed_events`."""
    halts: list[tuple[int, int]] = []
    statuses: list[Status] = []
    for begin, end in profile.halts:
        first, last = (int(share * (session.closes_at - session.opens_at)) // SECOND * SECOND for share in (begin, end))
        halts.append((session.opens_at + first, session.opens_at + max(last, first + 300 * SECOND)))
        # A volatility pause and its end, with the codes of the UTP plan.
        statuses += (
            Status(profile.symbol, halts[-1][0], True, "P", "LUDP"),
            Status(profile.symbol, halts[-1][1], False, "T"),
        )
    when = _moments(session, halts, draws, moments)
    fair = _fair_price(profile, session, draws, when.at)
    q = _quotes(profile, session, draws, when, fair)
    trades = _trades(profile, draws, when, fair, q)
    quotes = QuoteColumns(q.at, q.bid / 100.0, q.bid_size, q.ask / 100.0, q.ask_size, q.flags)
    return SymbolColumns(profile.symbol, quotes, trades, tuple(statuses))


def minute_weights(minutes: int) -> Floats:
    """Return how much happens in each minute of a session: a U, the open above the close."""
    x = (np.arange(minutes) + 0.5) / minutes
    early, late = 1.0 - x, x
    early2, late2 = early * early, late * late
    weights: Floats = 0.5 + 2.2 * (early2 * early2 * early2) + 1.8 * (late2 * late2 * late2 * late2)
    return weights


def _moments(session: TradingSession, halts: list[tuple[int, int]], draws: Draws, n: int) -> _Moments:
    # Instants of the session, as dense as `minute_weights` says, but not in its last 100 ms.
    weights = minute_weights(session.minutes)
    upto = np.cumsum(weights)
    target = draws.uniform(n) * upto[-1]
    minute = np.minimum(np.searchsorted(upto, target, side="right"), session.minutes - 1)
    share = np.clip((target - (upto[minute] - weights[minute])) / weights[minute], 0.0, 1.0)
    spread = session.opens_at + minute * MINUTE + np.floor(share * (MINUTE - 1)).astype(np.int64)
    shared = np.sort(np.minimum(spread, session.closes_at - 100 * MILLISECOND))
    is_print = draws.uniform(n) < _TRADE_SHARE
    before = session.opens_at - PRE_MARKET + np.floor(np.sort(draws.uniform(PRE_MARKET_QUOTES)) * PRE_MARKET)
    before[0] = session.opens_at - PRE_MARKET
    ends = session.opens_at + np.arange(session.minutes) * MINUTE + 59 * SECOND
    ends = ends + np.floor(draws.uniform(session.minutes) * (900 * MILLISECOND)).astype(np.int64)
    marks = np.array([session.opens_at, *(end for _, end in halts)], np.int64)
    at = np.concatenate([before.astype(np.int64), marks, ends, shared])
    quote = np.concatenate([np.ones(len(at) - n, bool), ~is_print])
    for begin, end in halts:
        keep = (at < begin - MILLISECOND) | (at >= end)
        at, quote = at[keep], quote[keep]
    order = np.argsort(at, kind="stable")
    n_th = np.arange(len(at))  # whole microseconds; those that coincide are moved on by one each
    apart: Ints = (np.maximum.accumulate(at[order] // MICROSECOND - n_th) + n_th) * MICROSECOND
    return _Moments(apart, quote[order])


def _fair_price(profile: SymbolProfile, session: TradingSession, draws: Draws, at: Ints) -> Floats:
    """Return the price in cents round which the symbol is quoted, at each moment, as its role makes it move."""
    x = np.clip((at - session.opens_at) / (session.closes_at - session.opens_at), 0.0, 1.0)
    quiet = {Role.REVERTING: 0.3, Role.GAP_UP: 0.45, Role.GAP_DOWN: 0.45, Role.PLAIN: 1.0}[profile.role]
    step = profile.volatility * quiet / float(len(at)) ** 0.5
    wander = np.cumsum(draws.bell(len(at))) * step
    opened = int(np.searchsorted(at, session.opens_at))
    wander = wander - wander[opened]
    if profile.role is Role.GAP_UP:
        course = _climb(draws, x, draws.one(0.05, 0.14))
    elif profile.role is Role.GAP_DOWN:
        falls_on = draws.one(0.0, 1.0) < 0.5
        course = _climb(draws, x, -draws.one(0.04, 0.09) if falls_on else draws.one(0.02, 0.05))
    elif profile.role is Role.REVERTING:
        height = draws.one(0.008, 0.018)  # to and fro, ten to sixteen times a session, and somewhat unevenly
        turns = int(draws.whole(1, 10, 16)[0])
        knots = np.concatenate([[0.0], np.cumsum(0.7 + 0.6 * draws.uniform(turns))])
        tops = height * (0.6 + 0.8 * draws.uniform(turns + 1))
        heights = np.where(np.arange(turns + 1) % 2 == 0, tops, -tops)
        heights[0] = 0.0
        course = broken_line(x, knots / knots[-1], heights)
    else:
        course = x * draws.one(-0.01, 0.01)
    fair: Floats = profile.opening * (1.0 + course) * (1.0 + wander)
    return np.maximum(fair, float(LEAST_PRICE))


def _climb(draws: Draws, x: Floats, total: float) -> Floats:
    """Return a trend in legs, each followed by a pullback of a third to a half of it."""
    legs = int(draws.whole(1, 5, 8)[0])
    gains = 0.5 + draws.uniform(legs)
    backs = gains * (0.3 + 0.2 * draws.uniform(legs))
    moves = np.stack([gains, -backs], axis=1).ravel()
    spans = np.stack([0.6 + 0.6 * draws.uniform(legs), 0.3 + 0.3 * draws.uniform(legs)], axis=1).ravel()
    knots = np.concatenate([[0.0], np.cumsum(spans)])
    heights = np.concatenate([[0.0], np.cumsum(moves)])
    return broken_line(x, knots / knots[-1], heights * (total / heights[-1]))


def _quotes(
    profile: SymbolProfile, session: TradingSession, draws: Draws, when: _Moments, fair: Floats
) -> QuoteColumns:
    """Return the quotes, prices in cents."""
    mine = np.flatnonzero(when.is_quote)
    at = when.at[mine]
    n = len(mine)
    since_open = np.clip((at - session.opens_at) / (15.0 * MINUTE), 0.0, 1.0)
    wide = np.where(at < session.opens_at, 4.0, 3.0 - 2.0 * since_open)
    extra = draws.uniform(n)
    spread = np.maximum(np.rint(profile.spread * wide * (0.6 + 0.8 * extra * extra)), 1.0)
    bid = np.maximum(np.floor(fair[mine] - spread / 2), 100.0)
    sizes = []  # displayed, in round lots: mostly one to three typical prints, now and then many
    for _ in range(2):
        prints = (0.4 + draws.uniform(n)) / (0.12 + draws.uniform(n))
        sizes.append(100.0 * np.maximum(np.rint(prints * (profile.typical_size / 100.0)), 1.0))
    return QuoteColumns(at, bid, sizes[0], bid + spread, sizes[1], np.zeros(n, np.int64))


def _trades(profile: SymbolProfile, draws: Draws, when: _Moments, fair: Floats, quotes: QuoteColumns) -> TradeColumns:
    """Return prints at the bid or the offer in force, where the fair price pulls them, some in between."""
    mine = np.flatnonzero(~when.is_quote)
    in_force = np.cumsum(when.is_quote) - 1
    n = len(mine)
    q = in_force[mine]
    bid, ask = quotes.bid[q], quotes.ask[q]
    pulled = fair[mine] > (bid + ask) / 2
    buys = pulled ^ (draws.uniform(n) < 0.25)
    inside = draws.uniform(n) < 0.2
    between = bid + np.floor(draws.uniform(n) * (ask - bid + 1.0))
    price = np.where(inside, between, np.where(buys, ask, bid))
    shown = np.where(buys, quotes.ask_size[q], quotes.bid_size[q])
    # Prints take no more than was shown, except the two auctions at open and close.
    lots = np.maximum(np.rint((0.2 + 1.6 * draws.uniform(n)) * (profile.typical_size / 100.0)), 1.0)
    odd = draws.uniform(n) < _ODD_LOT_SHARE
    size = np.where(odd, 1.0 + np.floor(draws.uniform(n) * 99.0), np.minimum(100.0 * lots, shown))
    flags = np.where(odd, _ODD_LOT, int(Counts.ALL)).astype(np.int64)
    for auction, factor in ((0, 20.0), (n - 1, 30.0)):
        if n:
            size[auction], flags[auction] = 100.0 * lots[auction] * factor, int(Counts.ALL)
    return TradeColumns(when.at[mine], price / 100.0, size, flags)
