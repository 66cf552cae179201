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

from liualgotrader.backtest.array_signals import COLUMNS, returned_columns
from liualgotrader.backtest.run_record import BacktestTerms
from liualgotrader.common.clock import MICROSECOND
from liualgotrader.common.market_columns import BarColumns, Floats, Ints
from liualgotrader.engine.bar_tape import BarTape
from liualgotrader.engine.bars import Bars, BarsView
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
    """The bars of one symbol as the loop reads them; rows of session n are `starts[n]` to `ends[n]`."""

    view: Any
    instants: Ints  # the open of each bar, and then its end, when what stops and targets trade inside it is told
    prices: Floats  # open, high, low, close in units, one row each
    volume: Floats
    starts: Ints
    ends: Ints
    lows: Floats  # of each session, in units
    highs: Floats
    at_the_close: Any  # of each session: whether its last bar ends with it


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
        prices = np.rint(np.stack([one.open, one.high, one.low, one.close]) * UNITS)
        starts, ends = (np.asarray(r, np.int64) for r in rows)
        instants = np.stack([one.opened_at, one.closed_at - MICROSECOND], axis=1).ravel()
        with_it = one.closed_at[np.maximum(ends - 1, 0)] == closes
        view, volume = BarsView(whole), np.ascontiguousarray(one.volume)
        lows, highs = (
            _of_sessions(f, column, starts, ends) for f, column in ((np.fmin, prices[2]), (np.fmax, prices[1]))
        )
        found.append(ArrayMarket(view, instants, prices, volume, starts, ends, lows, highs, with_it))
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
    if any(np.nanmin(market.lows, initial=np.inf) < least_price * UNITS for market in markets):
        return "fees that are not a share's"
    cash = float(terms.cash)
    count = len(terms.sessions)
    equity, worst = np.full(count, cash), np.zeros(count)
    gains, spans, sums, extremes = [], [], np.zeros(7), np.zeros(4)
    for market in markets:
        columns = returned_columns(strategy, market.view, None)
        at_close, worst_in, most, told = np.empty(count), np.empty(count), np.zeros(4), np.zeros(7)
        room = int(np.count_nonzero(columns["entry"])) + 1
        trips, rows = np.empty(room), np.empty((2, room), np.int64)
        code, ended = loop(
            *(columns[name] for name in COLUMNS),
            *market.prices,
            market.volume,
            market.starts,
            market.ends,
            market.lows,
            market.highs,
            market.at_the_close,
            -1.0 if part is None else float(part),
            part is None,
            per_share,
            at_close,
            worst_in,
            most,
            told,
            trips,
            rows,
        )
        if code:
            return WHY[code]
        equity += at_close / UNITS
        worst += worst_in / UNITS
        gains.append(trips[:ended] / UNITS)
        spans.append(market.instants[rows[:, :ended]])
        if told[1]:
            spans.append(np.array([[market.instants[rows[0, ended]]], [terms.sessions[-1].closes_at]]))
        sums += told
        extremes[0] = max(extremes[0], most[0])
        extremes[1:] += most[1:]
    if why := _binding(terms, equity, worst, extremes / UNITS, len(markets)):
        return why
    fills, still = map(int, sums[:2])
    began, ended_at = np.concatenate(spans, axis=1) if spans else np.zeros((2, 0), np.int64)
    return ArrayRun(equity, np.concatenate(gains), began, ended_at, fills, still, *(sums[2:] / UNITS).tolist())


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
    entry: Any, leave: Any, size: Any, stop: Any, target: Any,
    open_: Any, high: Any, low: Any, close: Any, volume: Any, starts: Any, ends: Any, lows: Any, highs: Any, at_the_close: Any,
    part: float, touches: bool, per_share: float,
    at_close: Any, worst_in: Any, most: Any, told: Any, trips: Any, rows: Any,
) -> tuple[int, int]:  # fmt: skip
    """Play one symbol's rows and return why it cannot, 0 if it can, and how many round trips have ended.

    Columns of no length are absent. Money is in units; `most` is: the largest order, the largest position, the largest
    short one, the lowest gain so far (0 or below).
    """
    cash = held = pending = bought_at = paid = 0.0
    stop_at = target_at = 0.0  # 0: there is none
    ended = fills = 0
    fees = bought = sold = 0.0
    has_stop, has_target, has_leave = len(stop) > 0, len(target) > 0, len(leave) > 0
    for session in range(len(starts)):
        first, last = starts[session], ends[session]
        before = cash + held * close[first - 1] if first > 0 else cash
        lowest = before
        weighed = 0.0  # what was held when the worst of this session was looked at
        i = first
        while i < last:
            if (
                pending == 0.0 and stop_at == 0.0 and target_at == 0.0 and held == weighed
            ):  # on to the next row that acts
                if held == 0.0:
                    while i < last and entry[i] == 0:
                        i += 1
                else:
                    while i < last and not (has_leave and leave[i] != 0) and entry[i] * held >= 0:
                        i += 1
                if i == last:
                    break
            if pending != 0.0 or stop_at != 0.0 or target_at != 0.0:
                room = 1e300 if part < 0.0 else np.floor(np.floor(volume[i] * 1e9 + 0.5) * part) / 1e9
                price = 0.0
                if pending != 0.0:
                    shares, price = pending, open_[i]
                    pending = 0.0
                    if abs(shares) > room:
                        return 1, ended
                    room -= abs(shares)
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
                        rows[0, ended] = 2 * i
                    else:
                        trips[ended], rows[1, ended] = held * (price - bought_at) - paid - fee, 2 * i
                        ended += 1
                        held = 0.0
                    price = 0.0
                else:
                    through = stop_at != 0.0 and (open_[i] - stop_at) * held <= 0.0
                    if through or (target_at != 0.0 and (open_[i] - target_at) * held >= 0.0):
                        price = open_[i]
                if held != 0.0:
                    side = 1.0 if held > 0.0 else -1.0
                    bad = low[i] if side > 0.0 else high[i]
                    good = high[i] if side > 0.0 else low[i]
                    inside = 1 if price == 0.0 else 0
                    if price == 0.0 and stop_at != 0.0 and (bad - stop_at) * side <= 0.0:
                        price = stop_at
                    elif price == 0.0 and target_at != 0.0:
                        beyond = (good - target_at) * side
                        if beyond > 0.0 or (beyond == 0.0 and touches):
                            price = target_at
                    if price != 0.0:
                        lowest = min(lowest, cash + held * (lows[session] if side > 0.0 else highs[session]))
                        most[1] = max(most[1], abs(held) * highs[session])
                        most[2] = max(most[2], -held * highs[session])
                        if abs(held) > room:
                            return 1, ended
                        fee = np.ceil(abs(held) * per_share * 100.0 - 1e-7) * 1e4
                        cash += held * price - fee
                        fees += fee
                        fills += 1
                        if held > 0.0:
                            sold += held * price
                        else:
                            bought -= held * price
                        trips[ended], rows[1, ended] = held * (price - bought_at) - paid - fee, 2 * i + inside
                        ended += 1
                        held = stop_at = target_at = 0.0
                lowest = min(lowest, cash + held * close[i])
            if held != weighed:
                weighed = held
                if held != 0.0:
                    lowest = min(lowest, cash + held * (lows[session] if held > 0.0 else highs[session]))
                    most[1] = max(most[1], abs(held) * highs[session])
                    most[2] = max(most[2], -held * highs[session])
            wanted = entry[i]
            if held != 0.0:
                if (has_leave and leave[i] != 0) or wanted * held < 0:
                    # At the session's close an exit cannot wait for its stop and target to be taken back: it is dropped.
                    if not (at_the_close[session] and i == last - 1 and (stop_at != 0.0 or target_at != 0.0)):
                        pending = -held
                    stop_at = target_at = 0.0
            elif wanted != 0:
                if abs(wanted) != 1:
                    return 3, ended
                shares = size[i]
                if not shares > 0.0 or shares != np.floor(shares) or shares > 1e9:
                    return 2, ended
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
                    apart = (close[i] - rounded) * wanted * (1.0 if leg == 0 else -1.0)
                    if not ticks > 0.0 or abs(ticks - np.floor(ticks) - 0.5) < 1e-6 or apart < 1e4:
                        return 4, ended
                    if leg == 0:
                        stop_at = rounded
                    else:
                        target_at = rounded
                pending = wanted * shares
                most[0] = max(most[0], shares * close[i])
            i += 1
        at_close[session] = cash + held * close[last - 1] if last > 0 else cash
        worst_in[session] = lowest - before
        most[3] = min(most[3], lowest)
    told[0], told[2], told[5], told[6] = fills, fees, bought, sold
    if held != 0.0:
        told[1], told[3], told[4] = 1.0, held * (close[ends[-1] - 1] - bought_at), paid
    return 0, ended
