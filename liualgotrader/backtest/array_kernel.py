"""Plays array signals in one compiled loop: market orders at the next open, their stops and targets, nothing else.

It is the one second implementation of trading, for searches of thousands of combinations, and a test holds it to the
engine. It knows when it does not know: what an order's volume, the limits, the cash or the exchange's checks could
change is `None` with a reason, and is to be played by the engine. Source of each rule: `array_signals` (what a row means), `exchange.matching`
(`open_bar`, `cross_bar`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from liualgotrader.backtest.array_signals import returned_columns
from liualgotrader.backtest.run_record import BacktestTerms
from liualgotrader.common.clock import MICROSECOND
from liualgotrader.common.market_columns import BarColumns, Floats, Ints
from liualgotrader.engine.bar_tape import BarTape
from liualgotrader.engine.bars import ROW, Bars, BarsView
from liualgotrader.exchange.fees import NoFees, PerShareCommission, SumOfFees

UNITS = 1e6  # of a dollar: prices are whole numbers of them, so that sums are exact
_ENOUGH = 0.98  # of a limit: what comes closer may bind in the engine, which weighs at other moments
_ROOM = 1.1  # of what positions cost that the cash must have: prices move until an order trades
_REQUESTS = 4  # in a minute at most, of one symbol
_ORDERS = 3  # at work at most, of one symbol
WHY = {
    1: "an order is larger than its part of a bar's volume",
    2: "an order has no whole number of shares",
    3: "an entry is none of -1, 0 and 1",
    4: "a stop or target lies on the wrong side of the price, or between two ticks",
}


class ArrayMarket(msgspec.Struct, frozen=True):
    """The bars of one symbol as the loop reads them."""

    view: BarsView
    bars: tuple[Any, ...]  # open, high, low, close, volume, opened_at, closed_at: the memory that strategies read
    sessions: tuple[Any, ...]  # first row and the row after the last, low and high in units, least volume of a bar,
    # and whether the last bar ends with the session
    lowest: float  # price in units


class ArrayRun(msgspec.Struct, frozen=True):
    """What signals came to, in dollars: equity at each close, round trips in order of their ends by symbol, and sums.

    `began` and `ended` are when positions were open, those that still are to the end.
    """

    equity: Floats
    gains: Floats
    began: Ints
    ended: Ints
    fills: int
    open_positions: int
    fees: float
    open_gain: float  # of what is open, without its fees
    open_fees: float
    bought: float
    sold: float


def prepared(bars: Mapping[str, BarColumns], terms: BacktestTerms) -> list[ArrayMarket]:
    """Return the bars of a run, for `played`."""
    known = sorted(session.opens_at for session in terms.sessions)
    opens, closes = (np.array([getattr(s, n) for s in terms.sessions]) for n in ("opens_at", "closes_at"))
    found = []
    for symbol in sorted(bars):
        one = bars[symbol]
        whole = Bars(symbol, known)
        block, opened = BarTape([one], int(opens[0]), known).columns_of(0)
        whole.load_ahead(block, opened, len(opened))
        rows = (np.searchsorted(one.opened_at, opens), np.searchsorted(one.closed_at, closes, side="right"))
        starts, ends = (np.asarray(r, np.int64) for r in rows)
        view, with_it = BarsView(whole), one.closed_at[np.maximum(ends - 1, 0)] == closes
        columns = view.open, view.high, view.low, view.close, view.volume, one.opened_at, one.closed_at
        # All columns at once: after such a piece of memory the C library keeps what signals free, instead of asking for it anew.
        low, high = np.rint(block * UNITS)[[ROW["low"], ROW["high"]]]
        lows, highs, least = (
            _of_sessions(reduce, column, starts, ends)
            for reduce, column in ((np.fmin, low), (np.fmax, high), (np.fmin, view.volume))
        )
        lowest = float(np.nanmin(lows, initial=np.inf))
        found.append(ArrayMarket(view, columns, (starts, ends, lows, highs, least, with_it), lowest))
    return found


def _of_sessions(reduce: Any, column: Floats, starts: Ints, ends: Ints) -> Floats:
    """Return the extreme of a column in each session, NaN without a bar."""
    places = np.stack([starts, np.maximum(ends, starts)], axis=1).ravel()
    found: Floats = reduce.reduceat(np.append(column, np.nan), places)[::2]
    return np.where(ends > starts, found, np.nan)


def cannot_play(terms: BacktestTerms) -> str:
    """Return why terms are not for the loop, empty if they are."""
    rules = terms.rules
    if rules.profile == "paper":
        return "fills of the profile paper are random"
    if rules.slippage_bps or rules.impact_bps is not None:
        return "slippage"
    if terms.crypto:
        return "coins come in parts, and are bought with cash alone"
    if any(terms.splits.values()) or any(terms.dividends.values()):
        return "splits and dividends"
    if terms.borrow:
        return "what can be borrowed is listed"
    if _per_share(rules.fees) is None:
        return "fees that are not a share's"
    return ""


def _per_share(fees: Any) -> tuple[float, float] | None:
    """Return what a model charges a share, and the least price at which it does; None for one that charges in another way."""
    if isinstance(fees, NoFees):
        return 0.0, 0.0
    if isinstance(fees, PerShareCommission) and not fees.minimum:
        return float(fees.per_share), float(fees.per_share / fees.maximum_fraction)
    if isinstance(fees, SumOfFees):
        charged = [found for model in fees.models if (found := _per_share(model)) != (0.0, 0.0)]
        return charged[0] if len(charged) == 1 else None if charged else (0.0, 0.0)
    return None


def played(strategy: Any, markets: Sequence[ArrayMarket], terms: BacktestTerms) -> ArrayRun | str:
    """Return what a strategy's signals come to, else why the engine has to play them.

    Raises:
        ValueError: if `signals` returns what is none.
    """
    loop = compiled()
    part = terms.rules.bar_participation if terms.rules.profile == "strict" else None
    charged = _per_share(terms.rules.fees)
    assert charged is not None, "`cannot_play` was asked before"
    per_share, least_price = charged
    if any(market.lowest < least_price * UNITS for market in markets):
        return "fees that are not a share's"
    count, end = len(terms.sessions), terms.sessions[-1].closes_at
    equity, worst, most, sums = np.zeros(count), np.zeros(count), np.zeros(4), np.zeros(7)
    gains, spans = [], []
    for market in markets:
        entry, leave, *others = returned_columns(strategy, market.view).values()
        acts, leave = entry.astype(bool, copy=False), leave.astype(bool, copy=False)
        if len(leave):
            acts = acts | leave
        room = int(np.count_nonzero(acts)) + 1
        trips, times = np.empty(room), np.empty((2, room), np.int64)
        code, ended, still = loop(
            acts,
            # Of few types, as the loop is compiled for each of them.
            entry.view(np.int8) if entry.dtype in (np.int8, np.bool_) else entry.astype(np.float64, copy=False),
            leave,
            *(column.astype(np.float64, copy=False) for column in others),
            *market.bars,
            *market.sessions,
            -1.0 if part is None else float(part),
            part is None,
            per_share,
            end,
            equity,
            worst,
            most,
            sums,
            trips,
            times,
        )
        if code:
            return WHY[code]
        gains.append(trips[:ended])
        spans.append(times[:, : ended + still])
    equity = float(terms.cash) + equity / UNITS
    if why := _binding(terms, equity, worst / UNITS, most / UNITS, len(markets)):
        return why
    fills, still = map(int, sums[:2])
    began, ended_at = np.concatenate(spans, axis=1) if spans else np.zeros((2, 0), np.int64)
    return ArrayRun(equity, np.concatenate(gains) / UNITS, began, ended_at, fills, still, *(sums[2:] / UNITS).tolist())


def _binding(terms: BacktestTerms, equity: Floats, worst: Floats, most: Floats, symbols: int) -> str:
    """Return which limit may bind, empty if none can: all positions at their largest at once, equity at its lowest."""
    limits = terms.limits
    order, position, short, lowest = most.tolist()
    least = float(terms.cash) + lowest
    before = np.concatenate([[float(terms.cash)], equity[:-1]])
    lost = min(limits.daily_loss_stop_fraction, limits.daily_loss_flatten_fraction)
    bounds = {
        "order_equity_fraction": (order, limits.order_equity_fraction * least),
        "order_dollars": (order, limits.order_dollars),
        "position_equity_fraction": (order, limits.position_equity_fraction * least),
        "gross_equity_fraction": (position, limits.gross_equity_fraction * least),
        "short_equity_fraction": (short, limits.short_equity_fraction * least),
        "cash": (position * _ROOM, least),
        "the day's loss": (float(np.max(-worst / before)), lost),
        "orders_per_minute": (_REQUESTS * symbols, limits.orders_per_minute * 3 // 4),
        "open_orders": (_ORDERS * symbols, limits.open_orders),
    }
    return next((f"{name} may bind" for name, (value, bound) in bounds.items() if value > _ENOUGH * bound), "")


@lru_cache(maxsize=1)
def compiled() -> Any:
    """Return the loop, compiled.

    Raises:
        ModuleNotFoundError: if numba is not installed.
    """
    import numba

    return numba.njit(nogil=True, fastmath=False)(_loop)


def _loop(  # noqa: C901, PLR0912, PLR0915 - one loop, as the compiler wants it: a bar from its open to its close
    acts: Any, entry: Any, leave: Any, size: Any, stop: Any, target: Any,
    open_: Any, high: Any, low: Any, close: Any, volume: Any, opened_at: Any, closed_at: Any,
    starts: Any, ends: Any, lows: Any, highs: Any, least: Any, at_the_close: Any,
    part: float, touches: bool, per_share: float, end: int,
    equity: Any, worst: Any, most: Any, sums: Any, trips: Any, times: Any,
) -> tuple[int, int, int]:  # fmt: skip
    """Play one symbol's rows and return why it cannot, 0 if it can, how many round trips have ended, and are open.

    Columns of no length are absent; `acts` are the rows with an entry or exit. Money is in units. Gains at each close and
    the worst in each session are added up, and so is `most`: the largest order of all, the sums of the largest position,
    the largest short one, and the lowest gain so far (0 or below).
    """

    def units(dollars: Any) -> Any:
        return np.rint(dollars * 1e6)

    def room_of(volume: float) -> float:
        return 1e300 if part < 0.0 else np.floor(np.floor(volume * 1e9 + 0.5) * part) / 1e9

    cash = held = pending = bought_at = paid = 0.0
    stop_at = target_at = 0.0  # 0: there is none
    ended = fills = 0
    fees = bought = sold = ordered = long = short = deepest = 0.0
    has_stop, has_target, has_leave = len(stop) > 0, len(target) > 0, len(leave) > 0
    acting = np.empty(max(0, np.max(ends - starts)) + 1, np.int64)  # rows of a session, and a last one behind it
    for session in range(len(starts)):
        first, last = starts[session], ends[session]
        place = 0
        count = np.uint64(0)
        for row in range(np.uint64(first), np.uint64(last)):  # without a branch: a wrong guess costs more than a row
            acting[count] = row
            count += np.uint64(acts[row])
        acting[count] = last
        before = cash + held * units(close[first - 1]) if first > 0 else cash
        lowest, room = before, room_of(least[session])
        weighed = 0.0  # what was held when the worst of this session was looked at
        i = first
        while i < last:
            if pending == 0.0 and stop_at == 0.0 and target_at == 0.0 and held == weighed:
                while acting[place] < i:
                    place += 1
                i = acting[place]
                if i == last:
                    break
            if pending != 0.0 or stop_at != 0.0 or target_at != 0.0:
                price = taken = 0.0
                if pending != 0.0:
                    shares, price = pending, units(open_[i])
                    pending = 0.0
                    taken = abs(shares)
                    if taken > room and taken > room_of(volume[i]):
                        return 1, 0, 0
                    fee = np.ceil(abs(shares) * per_share * 100.0 - 1e-7) * 1e4
                    cash -= shares * price + fee
                    fees += fee
                    fills += 1
                    if shares > 0.0:
                        bought += shares * price
                    else:
                        sold -= shares * price
                    if held == 0.0:
                        held, bought_at, paid = shares, price, fee
                        times[0, ended] = opened_at[i]
                    else:
                        trips[ended], times[1, ended] = held * (price - bought_at) - paid - fee, opened_at[i]
                        ended += 1
                        held = 0.0
                    price = 0.0
                else:
                    through = stop_at != 0.0 and (units(open_[i]) - stop_at) * held <= 0.0
                    if through or (target_at != 0.0 and (units(open_[i]) - target_at) * held >= 0.0):
                        price = units(open_[i])
                if held != 0.0 and (stop_at != 0.0 or target_at != 0.0):
                    side = 1.0 if held > 0.0 else -1.0
                    bad = units(low[i]) if side > 0.0 else units(high[i])
                    good = units(high[i]) if side > 0.0 else units(low[i])
                    traded_at = opened_at[i] if price != 0.0 else closed_at[i] - MICROSECOND
                    if price == 0.0 and stop_at != 0.0 and (bad - stop_at) * side <= 0.0:
                        price = stop_at
                    elif price == 0.0 and target_at != 0.0:
                        beyond = (good - target_at) * side
                        if beyond > 0.0 or (beyond == 0.0 and touches):
                            price = target_at
                    if price != 0.0:
                        lowest = min(lowest, cash + held * (lows[session] if side > 0.0 else highs[session]))
                        long = max(long, abs(held) * highs[session])
                        short = max(short, -held * highs[session])
                        taken += abs(held)
                        if taken > room and taken > room_of(volume[i]):
                            return 1, 0, 0
                        fee = np.ceil(abs(held) * per_share * 100.0 - 1e-7) * 1e4
                        cash += held * price - fee
                        fees += fee
                        fills += 1
                        if held > 0.0:
                            sold += held * price
                        else:
                            bought -= held * price
                        trips[ended], times[1, ended] = held * (price - bought_at) - paid - fee, traded_at
                        ended += 1
                        held = stop_at = target_at = 0.0
                if held == 0.0:
                    lowest = min(lowest, cash)
            if held != weighed:
                weighed = held
                if held != 0.0:
                    lowest = min(lowest, cash + held * (lows[session] if held > 0.0 else highs[session]))
                    long = max(long, abs(held) * highs[session])
                    short = max(short, -held * highs[session])
            wanted = entry[i]
            if held != 0.0:
                if (has_leave and leave[i]) or wanted * held < 0:
                    # At the session's close an exit cannot wait for its stop and target to be taken back: it is dropped.
                    if not (at_the_close[session] and i == last - 1 and (stop_at != 0.0 or target_at != 0.0)):
                        pending = -held
                    stop_at = target_at = 0.0
            elif wanted != 0:
                if abs(wanted) != 1:
                    return 3, 0, 0
                shares = size[i if len(size) > 1 else 0]
                if not shares > 0.0 or shares != np.floor(shares) or shares > 1e9:
                    return 2, 0, 0
                stop_at = target_at = 0.0
                for leg in range(2):
                    value = np.nan
                    if leg == 0 and has_stop:
                        value = stop[i]
                    if leg == 1 and has_target:
                        value = target[i]
                    if np.isnan(value):
                        continue
                    step = 100.0 if value >= 1.0 else 1e4  # ticks a dollar
                    ticks = value * step
                    rounded = np.rint(ticks) * (1e6 / step)
                    apart = (units(close[i]) - rounded) * wanted * (1.0 if leg == 0 else -1.0)
                    if not ticks > 0.0 or abs(ticks - np.floor(ticks) - 0.5) < 1e-6 or apart < 1e4:
                        return 4, 0, 0
                    if leg == 0:
                        stop_at = rounded
                    else:
                        target_at = rounded
                pending = wanted * shares
                ordered = max(ordered, shares * units(close[i]))
            i += 1
        equity[session] += cash + held * units(close[last - 1]) if last > 0 else cash
        worst[session] += lowest - before
        deepest = min(deepest, lowest)
    most[0] = max(most[0], ordered)
    most[1] += long
    most[2] += short
    most[3] += deepest
    for place, value in enumerate((float(fills), 0.0, fees, 0.0, 0.0, bought, sold)):
        sums[place] += value
    if held != 0.0:
        times[1, ended] = end
        for place, value in ((1, 1.0), (3, held * (units(close[ends[-1] - 1]) - bought_at)), (4, paid)):
            sums[place] += value
        return 0, ended, 1
    return 0, ended, 0
