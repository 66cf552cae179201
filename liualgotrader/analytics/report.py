"""The content of a report: every figure of a batch, and what its charts draw.

Figures are of all executions; only what is drawn is thinned out. Times in charts are minutes of New York's wall clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liualgotrader.analytics import performance
from liualgotrader.analytics.backtest_summary import EquityFigures, equity_figures, year_of
from liualgotrader.analytics.performance import Significance
from liualgotrader.analytics.report_source import (
    Moves,
    ReportSource,
    account_at,
    closing_equity,
    moves_of,
    price_at,
    prices_at,
    worth_at,
)
from liualgotrader.analytics.summary import TradingFigures, by_strategy, by_symbol, grouped, trading_figures
from liualgotrader.analytics.tear_sheet import Comparison, TearSheet, tear_sheet
from liualgotrader.analytics.trips import OpenPosition, RoundTrip, Trips, round_trips, sign_of
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR, MINUTE, as_datetime
from liualgotrader.common.market_columns import BarColumns, Floats, Ints
from liualgotrader.common.money import ZERO, exact
from liualgotrader.common.rows import FilledTrade
from liualgotrader.tapes.splits import Split, adjusted

_POINTS = 2000  # of a curve that is drawn
_CANDLES = 3000  # of a symbol
_ALL_CANDLES = 24_000
_SYMBOLS = 12  # whose prices are drawn
_NOTABLE = 200  # trips of a symbol that are drawn, those that gained or lost most
_NEWEST = 50  # and those that ended last
_DAILY = 20  # sessions above which exposure is drawn as the mean of each
_DOTS = 1500  # of a scatter
_LEAST_POINTS = 4  # of a session, where prices are known inside it
_WINDOWS = (63, 21)  # sessions of the rolling Sharpe ratio: a quarter, or a month of a short run
_R_EDGES = np.arange(-4.0, 8.01, 0.5)


@dataclass(frozen=True, slots=True)
class Excursions:
    """How far prices went against and with the trades, medians in percent of the entry price; None without prices."""

    adverse_of_winners: float | None
    adverse_of_losers: float | None
    favourable_of_winners: float | None
    favourable_of_losers: float | None


@dataclass(frozen=True, slots=True)
class Deflation:
    """What is left of a Sharpe ratio once it counts how many were tried.

    `luckiest` is the ratio that the best of so many worthless trials would show, `probability` how probable it is that the
    true ratio lies above it.
    """

    trials: int
    luckiest: float
    probability: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of a batch. `months` are returns by (year, month), as fractions; `charts` is what the page draws."""

    source: ReportSource
    account: EquityFigures | None
    benchmark: EquityFigures | None
    months: Mapping[tuple[int, int], float | None]
    time_in_market: float | None
    turnover: float | None
    total: TradingFigures
    strategies: tuple[TradingFigures, ...]
    symbols: tuple[TradingFigures, ...]
    exits: tuple[TradingFigures, ...]
    significance: Significance | None
    deflation: Deflation | None
    deepest: float | None  # drawdown at any moment that is known, a fraction
    excursions: Excursions
    trips: tuple[RoundTrip, ...]
    open: tuple[OpenPosition, ...]
    prices: Mapping[str, Decimal | None]  # the last ones, dollars a share
    charts: Mapping[str, Any]
    sheet: TearSheet


def report_of(source: ReportSource) -> Report:
    """Return all figures of a batch."""
    trips = round_trips(source.executions, source.opening)
    bars = _of_last_day(source)
    closes = np.array([source.sessions[0].opens_at, *(s.closes_at for s in source.sessions)], np.int64)
    moves = moves_of(source)
    equity = closing_equity(source, moves)
    last = prices_at(bars, closes[-1])
    prices = {symbol: None if np.isnan(price) else exact(price) for symbol, price in last.items()}
    benchmark = bars.get(source.benchmark)
    held = np.zeros(0) if benchmark is None else price_at(benchmark, closes, first_open=True)
    market = performance.returns_of(held)
    sheet = tear_sheet(source, moves, equity, held)
    adverse, favourable = _excursions(trips.closed, bars, source.splits)
    gains = np.array([t.gain for t in trips.closed], np.float64)
    return Report(
        source=source,
        account=None if equity is None else equity_figures(equity, year_of(source.sessions)),
        benchmark=equity_figures(held, year_of(source.sessions)) if len(held) else None,
        months={} if equity is None else performance.monthly_returns(equity, [s.day for s in source.sessions]),
        time_in_market=_time_in_market(trips, source.sessions),
        turnover=None
        if equity is None
        else performance.turnover(*_traded(source.executions), equity, year_of(source.sessions)),
        total=trading_figures("total", trips.closed, trips.open, prices),
        strategies=grouped(trips, by_strategy, source.strategies, prices),
        symbols=grouped(trips, by_symbol, prices=prices),
        exits=grouped(trips, _exit_of, prices=prices),
        significance=performance.significance(gains, source.seed),
        deflation=None if equity is None else _deflation(equity, source.trials),
        deepest=_deepest(source, equity),
        excursions=_medians(gains, adverse, favourable),
        trips=trips.closed,
        open=trips.open,
        prices=prices,
        charts={
            "curve": _curve(source, trips, moves, equity, closes, benchmark),
            "rolling": _rolling(closes, sheet.returns, performance.rolling_sharpe),
            "beta": _rolling(
                closes, sheet.returns, lambda returns, window: performance.rolling_beta(returns, market, window)
            )
            if len(market)
            else None,
            "daily": _daily(sheet.returns, closes) if equity is not None else None,
            "beside": [_beside(one) for one in sheet.beside],
            "histogram": _histogram(trips.closed, gains),
            "excursions": _dots(gains, adverse, favourable),
            "symbols": _symbol_charts(source, trips, bars),
        },
        sheet=sheet,
    )


def _of_last_day(source: ReportSource) -> dict[str, BarColumns]:
    """Return all bars at the prices of the last day, so that no split shows as a fall."""
    last = source.sessions[-1].day
    return {symbol: adjusted(one, source.splits.get(symbol, ()), last) for symbol, one in source.bars.items()}


def _terms_after(splits: Sequence[Split], at: int, last: date) -> float:
    """Return by what prices of an instant are divided to be those of the last day."""
    return float(np.prod([split.ratio for split in splits if split.at > at and split.day <= last]))


def _deflation(equity: Floats, trials: Floats | None) -> Deflation | None:
    if trials is None or not len(trials):
        return None
    spread = performance.deviation(trials[np.isfinite(trials)])
    luckiest = performance.luckiest_sharpe(len(trials), spread)
    return Deflation(len(trials), luckiest, performance.deflated_sharpe(performance.returns_of(equity), trials))


def _deepest(source: ReportSource, equity: Floats | None) -> float | None:
    """Return the deepest drawdown of the account at the moments that are known, None if only closes are."""
    if equity is None or source.curve is None or not len(source.curve.amount):
        return None
    worst = performance.worst_drawdown(source.curve.amount)
    return None if worst is None else worst.depth


def _exit_of(trip: RoundTrip | OpenPosition) -> str:
    return trip.exit_reason if isinstance(trip, RoundTrip) else "still open"


def _traded(executions: Iterable[FilledTrade]) -> tuple[float, float]:
    """Return the dollars bought and sold."""
    value = {1: ZERO, -1: ZERO}
    for trade in executions:
        value[sign_of(trade)] += trade.quantity * trade.price
    return float(value[1]), float(value[-1])


def _time_in_market(trips: Trips, sessions: Sequence[TradingSession]) -> float | None:
    began = np.array([t.started_at for t in trips.closed] + [p.opened_at for p in trips.open], np.int64)
    ended = [t.ended_at for t in trips.closed] + [sessions[-1].closes_at for _ in trips.open]
    opens, closes = (np.array([getattr(s, name) for s in sessions], np.int64) for name in ("opens_at", "closes_at"))
    return performance.time_in_market(began, np.array(ended, np.int64), opens, closes)


# --- the account over time ------------------------------------------------------------------------------


def _curve(
    source: ReportSource,
    trips: Trips,
    moves: Moves,
    equity: Floats | None,
    closes: Ints,
    benchmark: BarColumns | None,
) -> dict[str, Any]:
    """Return what is drawn of the account: equity, or else the dollars gained; a benchmark that cost as much; exposure."""
    sessions = source.sessions
    known = 0 if source.curve is None else len(source.curve.at)
    inside = known > 2 * len(sessions) or _period(source.bars) < HOUR
    each = max(_LEAST_POINTS, _POINTS // len(sessions)) if inside else 1
    times = np.concatenate([[closes[0]], *(_within(s, each) for s in sessions)])
    if each == 1 and equity is not None:
        value, gross, net = equity, *account_at(source, moves, closes)[1:]
    elif source.bars.keys() & moves.keys() or (equity is not None and known):
        value, gross, net = account_at(source, moves, times)
        if equity is not None and known:
            value = worth_at(source, equity, times)
    else:
        gains = sorted((t.ended_at, float(t.gain)) for t in trips.closed)
        came_to = np.concatenate([[0.0], np.cumsum([gain for _, gain in gains])])
        value = came_to[np.searchsorted([at for at, _ in gains], times, side="right")]
        gross = net = np.full(len(times), np.nan)
    percent = 100.0 / value if equity is not None else np.ones(len(times))
    drawn, exposed = _thinned(len(times), _POINTS), times
    gross, net = gross * percent, net * percent
    if each > 1 and len(sessions) > _DAILY:
        exposed = closes[1:]
        gross, net = (np.mean(values[1:].reshape(len(sessions), each), axis=1) for values in (gross, net))
    shown = _thinned(len(exposed), _POINTS)
    held = benchmark if equity is not None else None
    scaled = np.full(len(times), np.nan) if held is None else price_at(held, times, first_open=True)
    scaled = scaled / scaled[np.argmax(np.isfinite(scaled))] * (source.cash or 1.0)
    return {
        "unit": "equity" if equity is not None else "gain",
        "t": wall_minutes(times[drawn]),
        "value": _numbers(value[drawn], 2),
        "benchmark": _numbers(scaled[drawn], 2) if held is not None else None,
        "drawdown": _numbers(100.0 * performance.drawdowns(value)[drawn], 3) if equity is not None else None,
        "exposed": {
            "t": wall_minutes(exposed[shown]),
            "gross": _numbers(gross[shown], 2),
            "net": _numbers(net[shown], 2),
            "mean": exposed is not times,
        },
    }


def _period(bars: Mapping[str, BarColumns]) -> int:
    return min((int(one.closed_at[0] - one.opened_at[0]) for one in bars.values() if len(one.close)), default=HOUR)


def _within(session: TradingSession, points: int) -> Ints:
    """Return so many instants of a session, whole minutes, the last one its close."""
    steps = (session.closes_at - session.opens_at) // MINUTE
    return session.opens_at + np.linspace(0, steps, points + 1)[1:].astype(np.int64) * MINUTE


def _thinned(count: int, most: int) -> Ints:
    """Return at most so many places, evenly, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _rolling(closes: Ints, returns: Floats, figure: Callable[[Floats, int], Floats]) -> dict[str, Any] | None:
    """Return a figure over the sessions before each one."""
    window = next((window for window in _WINDOWS if len(returns) >= 2 * window), None)
    if window is None or not np.isfinite(returns).any():
        return None
    values = figure(returns, window)[window - 1 :]
    drawn = _thinned(len(values), _POINTS)
    return {"window": window, "t": wall_minutes(closes[window:][drawn]), "value": _numbers(values[drawn], 3)}


def _daily(returns: Floats, closes: Ints) -> dict[str, Any]:
    """Return the returns of the newest sessions in percent."""
    shown = slice(max(0, len(returns) - _POINTS), None)
    return {"t": wall_minutes(closes[1:][shown]), "value": _numbers(100.0 * returns[shown], 4), "of": len(returns)}


def _beside(one: Comparison) -> dict[str, Any] | None:
    if one.curves is None:
        return None
    (at, ours), (_, theirs) = one.curves
    return {"t": wall_minutes(at), "ours": _numbers(ours, 4), "theirs": _numbers(theirs, 4)}


# --- trades ---------------------------------------------------------------------------------------------


def _histogram(trips: Sequence[RoundTrip], gains: Floats) -> dict[str, Any] | None:
    """Return how many trades gained how much: in R, or in dollars where no trade had a stop."""
    units = np.array([units for t in trips if (units := t.r_units) is not None], np.float64)
    if not len(gains):
        return None
    values, edges = units, _R_EDGES
    if not len(units):
        most = max(float(np.quantile(np.abs(gains), 0.99)), 0.01)
        values, edges = gains, np.linspace(-most, most, 31)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {
        "unit": "R" if len(units) else "$",
        "edges": _numbers(edges, 4),
        "counts": counts.tolist(),
        "of": len(values),
        "without": len(gains) - len(values),
    }


def _excursions(
    trips: Sequence[RoundTrip], bars: Mapping[str, BarColumns], splits: Mapping[str, Sequence[Split]]
) -> tuple[Floats, Floats]:
    """Return MAE and MFE of each trip in percent of its entry price, NaN where there are no prices.

    Bars are at the prices of the last day, a trip at those of its end.
    """
    adverse, favourable = np.full(len(trips), np.nan), np.full(len(trips), np.nan)
    places: dict[str, list[int]] = {}
    for place, trip in enumerate(trips):
        places.setdefault(trip.symbol, []).append(place)
    for symbol, of_symbol in places.items():
        if (one := bars.get(symbol)) is None or not len(one.close):
            continue
        chosen = [trips[place] for place in of_symbol]
        began, ended, sides = (np.array([getattr(t, n) for t in chosen]) for n in ("started_at", "ended_at", "side"))
        last = as_datetime(int(one.closed_at[-1])).date()
        ratios = [_terms_after(splits.get(symbol, ()), t.ended_at, last) for t in chosen] if splits.get(symbol) else 1.0
        entries = np.array([float(t.entry_price) for t in chosen]) / ratios
        found = performance.excursions((began, ended, sides, entries), one.opened_at, one.closed_at, one.low, one.high)
        adverse[of_symbol], favourable[of_symbol] = (100.0 * far / entries for far in found)
    return adverse, favourable


def _medians(gains: Floats, adverse: Floats, favourable: Floats) -> Excursions:
    def median(values: Floats, which: NDArray[np.bool_]) -> float | None:
        known = values[which & np.isfinite(values)]
        return float(np.median(known)) if len(known) else None

    won = gains > 0
    return Excursions(*(median(adverse, won), median(adverse, ~won), median(favourable, won), median(favourable, ~won)))


def _dots(gains: Floats, adverse: Floats, favourable: Floats) -> dict[str, Any] | None:
    known = np.flatnonzero(np.isfinite(adverse))
    if not len(known):
        return None
    ranked = known[np.argsort(gains[known], kind="stable")]  # thinned by rank, so that the extremes stay
    drawn = ranked[_thinned(len(ranked), _DOTS)]
    columns = {"mae": adverse, "mfe": favourable, "gain": gains}
    return {name: _numbers(values[drawn], 3) for name, values in columns.items()} | {"of": len(known)}


def notable(trips: Sequence[RoundTrip], most: int) -> list[RoundTrip]:
    """Return at most so many trips, those that gained or lost most, by their beginning."""
    return sorted(sorted(trips, key=lambda t: -abs(t.gain))[:most], key=attrgetter("started_at"))


def _symbol_charts(source: ReportSource, trips: Trips, bars: Mapping[str, BarColumns]) -> list[dict[str, Any]]:
    """Return prices and trades of the symbols that were traded most."""
    count = Counter([*(t.symbol for t in trips.closed), *(p.symbol for p in trips.open)])
    names = sorted(count.keys() & source.bars.keys(), key=lambda symbol: (-count[symbol], symbol))[:_SYMBOLS]
    candles = min(_CANDLES, _ALL_CANDLES // max(1, len(names)))
    return [_symbol_chart(source, bars[symbol], trips.closed, candles) for symbol in names]


def _symbol_chart(source: ReportSource, bars: BarColumns, trips: Sequence[RoundTrip], candles: int) -> dict[str, Any]:
    """Return a symbol's bars, several in one candle where there are many, and its trades on them.

    All prices are those of the last day: what was traded before a split is brought to them.
    """
    symbol, sessions = bars.symbol, source.sessions
    splits = [split for split in source.splits.get(symbol, ()) if sessions[0].day < split.day <= sessions[-1].day]
    inside = np.flatnonzero((bars.opened_at >= sessions[0].opens_at) & (bars.closed_at <= sessions[-1].closes_at))
    starts = _candles(bars.opened_at[inside], sessions, candles)
    opened = bars.opened_at[inside][starts]
    ends = np.append(starts[1:], len(inside)) - 1
    mine = [t for t in trips if t.symbol == symbol]
    chosen = {id(t): t for t in (*notable(mine, _NOTABLE), *mine[-_NEWEST:])}.values()
    drawn = sorted(chosen, key=lambda t: (t.started_at, t.ended_at))

    def candle_of(at: int) -> int:
        return max(0, int(np.searchsorted(opened, at, side="right")) - 1)

    def priced(trip: RoundTrip) -> list[float | None]:
        ratio = _terms_after(splits, trip.ended_at, sessions[-1].day) if splits else 1.0
        prices = (trip.entry_price, trip.exit_price, trip.stop, trip.target)
        return [None if price is None else round(float(price) / ratio, 6) for price in prices]

    def row(trip: RoundTrip) -> list[Any]:
        entry, left, stop, target = priced(trip)
        ends = candle_of(trip.started_at), candle_of(trip.ended_at)
        return [ends[0], entry, ends[1], left, trip.side, stop, target, float(trip.gain)]

    return {
        "symbol": symbol,
        "t": wall_minutes(opened),
        "open": _numbers(bars.open[inside][starts], 4),
        "high": _numbers(np.maximum.reduceat(bars.high[inside], starts), 4),
        "low": _numbers(np.minimum.reduceat(bars.low[inside], starts), 4),
        "close": _numbers(bars.close[inside][ends], 4),
        "trades": [row(trip) for trip in drawn],
        "splits": [str(split) for split in splits],
        "of": len(mine),
    }


def _candles(opened: Ints, sessions: Sequence[TradingSession], most: int) -> Ints:
    """Return the first bar of each candle, so that there are few enough; none reaches over a night unless all do."""
    each = -(-len(opened) // most)
    session = np.searchsorted([s.opens_at for s in sessions], opened, side="right")
    place = np.arange(len(opened))
    if len(sessions) < most // 2:
        first = np.concatenate([[True], np.diff(session) > 0])
        place = place - np.maximum.accumulate(np.where(first, place, 0))
    else:
        session = np.zeros(len(opened), np.int64)
    return np.flatnonzero(np.concatenate([[True], np.diff(session * len(opened) + place // each) != 0]))


def wall_minutes(times: Ints) -> list[int]:
    """Return instants as minutes of New York's wall clock since 1970."""
    hours, codes = np.unique(times // HOUR, return_inverse=True)
    ahead = [(as_datetime(hour * HOUR).utcoffset() or timedelta()) // timedelta(minutes=1) for hour in hours.tolist()]
    found: list[int] = (times // MINUTE + np.array(ahead, np.int64)[codes]).tolist()
    return found


def _numbers(values: Floats, digits: int) -> list[float]:
    found: list[float] = np.round(values, digits).tolist()
    return found
