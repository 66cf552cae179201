"""`run_backtest`: a backtest from a notebook or a script, and what it came to as pandas objects."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, tzinfo
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from liualgotrader.analytics.backtest_summary import BacktestSummary
from liualgotrader.analytics.equity import curve_of
from liualgotrader.analytics.records import frame_of
from liualgotrader.analytics.trips import round_trips
from liualgotrader.common.borrow import read_borrow
from liualgotrader.common.calendar import TradingSession, day_of, round_the_clock, sessions
from liualgotrader.common.clock import DAY, HOUR, MINUTE, NEW_YORK, WallClock, as_datetime, as_utc
from liualgotrader.common.config import Settings
from liualgotrader.common.day_words import day_from
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns, Ints, mean_price
from liualgotrader.common.rows import FilledTrade, OrderRow
from liualgotrader.common.tradeplan import TradePlan, parse_tradeplan, read_tradeplan
from liualgotrader.strategies.base import Strategy
from liualgotrader.supervisor.backtest_bars import SCALES, BarsWanted
from liualgotrader.supervisor.backtest_outcome import BacktestOutcome
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest
from liualgotrader.supervisor.saved_result import SavedResult, result_place, write_result
from liualgotrader.supervisor.verifying import saved_result
from liualgotrader.supervisor.view import View

if TYPE_CHECKING:
    import pandas as pd

Plan = TradePlan | Mapping[str, Any] | str | Path | type[Strategy] | Iterable[type[Strategy]]
Frames = Mapping[str, "pd.DataFrame | BarColumns"]

_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Result:
    """What a backtest came to. Its frames are made when they are first asked for; times are New York's, prices floats.

    `sentence` says what a person must know, empty if all went well; `warnings` are what the run had to say.
    """

    outcome: BacktestOutcome = field(repr=False)
    batch_id: str
    warnings: tuple[str, ...]

    @property
    def summary(self) -> BacktestSummary:
        """All figures: of the account, of a benchmark, by strategy and by symbol."""
        return self.outcome.summary

    @property
    def sentence(self) -> str:
        """Why the run ended early, or what a strategy raised; empty if all went well."""
        return self.outcome.sentence

    @cached_property
    def equity(self) -> pd.Series[float]:
        """The account's value in US dollars: before the first session, then at each session's close."""
        import pandas as pd

        run = self.outcome.run
        times = [run.sessions[0].opens_at, *run.session_closes.tolist()]
        return pd.Series([run.first_equity, *run.equity.tolist()], _index(times), name="equity")

    @cached_property
    def curve(self) -> pd.Series[float]:
        """The account's value in US dollars at each minute of the sessions, or with daily bars at each open and close."""
        import pandas as pd

        found = curve_of(self.outcome.equity())
        return pd.Series(found.amount, _index(found.at.tolist()), name="equity")

    @cached_property
    def fills(self) -> pd.DataFrame:
        """All executions by time: strategy, symbol, operation, quantity, price, fee, planned stop and target, and why."""
        return _frame(self.outcome.executions, FilledTrade, "at", drop=("algo_run_id", "execution_id"))

    @cached_property
    def trips(self) -> pd.DataFrame:
        """All round trips by their end: strategy, symbol, side, quantity, prices, fees and gain in US dollars."""
        import pandas as pd

        trips = round_trips(self.outcome.executions).closed
        frame = _frame(trips, type(trips[0]) if trips else None, "ended_at", drop=("algo_run_id",))
        frame["started_at"] = pd.DatetimeIndex(_index([trip.started_at for trip in trips]))
        frame["gain"] = [float(trip.gain) for trip in trips]
        return frame

    @cached_property
    def orders(self) -> pd.DataFrame:
        """All orders as they ended, by the time they were decided; the index of `fills` has the times of execution."""
        newest = {row.client_order_id: row for row in self.outcome.run.rows if isinstance(row, OrderRow)}
        names = {slot.algo_run_id: slot.strategy for slot in self.outcome.run.slots}
        frame = _frame(
            list(newest.values()),
            OrderRow,
            "decided_at",
            drop=("batch_id", "slot", "algo_run_id", "generation", "broker_order_id", "updated_at"),
        )
        frame.insert(0, "strategy", [names[row.algo_run_id] for row in newest.values()])
        return frame

    @cached_property
    def recorded(self) -> pd.DataFrame:
        """What strategies recorded with `ctx.record` or `self.record`, by time: strategy, symbol, name, value."""
        return frame_of(self.outcome.run.recorded)

    def __repr__(self) -> str:
        account, total = self.summary.account, self.summary.total
        gained = "" if account.total_return is None else f" ({account.total_return:+.2%})"
        told = (
            f"{self.summary.first_day} to {self.summary.last_day}: {account.first:,.2f} $ became {account.last:,.2f} $"
        )
        return "\n".join([f"{told}{gained}, {total.trips:,} trades", *filter(None, [self.sentence]), *self.warnings])


def run_backtest(
    plan: Plan,
    first: date | str = "",
    last: date | str = "today",
    *,
    data: str | Path | Frames | None = None,
    generated: int | None = None,
    scale: str = "",
    detail: str = "",
    asset: str = "equity",
    symbols: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    database: bool = False,
    save: str | Path = "",
    progress: Callable[[TradingSession, int], object] = lambda session, bars: None,
    **options: Any,
) -> Result:
    """Run a backtest and return its result; a bad argument is a `ConfigError` in one sentence.

    `plan` is a tradeplan (a file, its table or a `TradePlan`), or the strategy's class, or several, made with
    `parameters`. `data` is a folder of recorded days, or a frame of bars by symbol (columns open, high, low, close,
    volume; labelled by their start, by New York time, or of crypto UTC, if the index has no zone), whose days are then the default of
    `first` and `last`. Without `data`, `generated` is how many symbols of an invented market to play; without
    either, the market-data store is read. `scale` is "minute", "second" or "tick" (trades and quotes; both of a
    folder or an invented market) or "day" (the default, unless a frame says otherwise). `asset` is "equity" or "crypto".
    With `detail`, "second" or "tick", what passes inside a bar while an order works is taken from such data.

    `options` are those of `backtester from`: strategies, scanners, fresh_daily, benchmark, cash, fee_per_share, slippage_bps,
    buy_fee_percentage, sell_fee_percentage, borrow, fills, fees, seed, home, dsn. Rows are stored only with `database`.

    `save` names a file, like "result.zip", that `liu verify` plays again; why a result cannot be saved is a warning of it.
    The strategies then stand in files, and the bars are those of a folder, an invented market or the store.

    Raises:
        LiuError: in one sentence, if nothing can be played.
    """
    named = ("home", "dsn", "seed", "fills", "fees")
    ours: dict[str, Any] = {name: str(options.pop(name)) for name in named if name in options}
    if unknown := set(options) - set(_OPTIONS):
        raise ConfigError(f"run_backtest knows no option {min(unknown)!r}: it takes {', '.join((*_OPTIONS, *named))}")
    place = result_place(save)
    tradeplan, classes, table = _plan(plan, dict(parameters or {}))
    if isinstance(plan, str | Path):
        ours["tradeplan"] = str(Path(plan).expanduser())
    settings = Settings.resolve(ours, tradeplan=table)
    frames = data if isinstance(data, Mapping) else None
    if detail not in ("", "second", "tick"):
        raise ConfigError(f'detail is "second" or "tick", not {detail!r}')
    if asset not in ("equity", "crypto"):
        raise ConfigError(f'asset is "equity" or "crypto", not {asset!r}')
    crypto = asset == "crypto"
    bars = None if frames is None else {s.upper(): _columns(s.upper(), f, scale, crypto) for s, f in frames.items()}
    wanted = _wanted(first, last, scale, bars, crypto)
    wanted |= {
        "symbols": tuple(s.upper() for s in symbols),
        "generated": generated,
        "crypto": crypto,
        "seed": settings.seed or 0,
        "detail": detail,
    }
    request = BacktestRequest(
        bars=BarsWanted(data=str(data) if data is not None and frames is None else "", **wanted),
        database=database,
        **{name: _OPTIONS[name](value) for name, value in options.items()},
    )
    said = QuietScreen()
    with Backtesting(request, settings, tradeplan, said, classes=classes, bars=bars) as backtesting:
        outcome = backtesting.play(progress)
        saved = None
        if save:
            try:
                saved = _saved(backtesting, outcome)
            except (ConfigError, TypeError) as error:  # what a parameter is may be nothing that a file can hold
                said.warn(str(error))
        backtesting.save(outcome)
    if saved is not None:
        write_result(place, saved)
    return Result(outcome, backtesting.batch_id, tuple(dict.fromkeys([*said.warnings, *outcome.run.warnings])))


def _saved(backtesting: Backtesting, outcome: BacktestOutcome) -> SavedResult:
    """Return a result as it is saved, its classes named by their files.

    Raises:
        ConfigError: if a class stands in no file, or the bars in nobody's reach.
    """
    if backtesting.given is not None:
        raise ConfigError("the result is not saved: its bars are frames, which nobody else has; play a folder of them")
    for name, kind in backtesting.classes.items():
        source = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if source is None or getattr(sys.modules[kind.__module__], name, None) is not kind:
            raise ConfigError(
                f"the result is not saved: class {name} stands in no file; write it into one and import it"
            )
        backtesting.plan.strategies[name] = {"filename": source, **backtesting.plan.strategies[name]}
    return saved_result(backtesting, outcome)


_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "strategies": tuple,
    "fresh_daily": bool,
    "scanners": tuple,
    "benchmark": str.upper,
    "borrow": lambda file: read_borrow(Path(file)),
    **dict.fromkeys(
        ("cash", "fee_per_share", "slippage_bps", "buy_fee_percentage", "sell_fee_percentage"),
        lambda value: Decimal(str(value)),
    ),
}


def _plan(
    plan: Plan, parameters: dict[str, Any]
) -> tuple[TradePlan, dict[str, type[Strategy]], Mapping[str, Any] | None]:
    """Return the tradeplan, the classes that are in no file, and the table that may hold settings."""
    if isinstance(plan, TradePlan):
        return plan, {}, None
    path = Path(plan).expanduser() if isinstance(plan, str | Path) else Path("tradeplan.toml")
    if isinstance(plan, str | Path):
        plan = read_tradeplan(path)
    if isinstance(plan, Mapping):
        return parse_tradeplan(plan, path), {}, plan
    classes = [plan] if isinstance(plan, type) else list(plan)
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, Strategy)):
            raise ConfigError(f"{kind!r:.80} is no class that extends liualgotrader.strategies.base.Strategy")
    named = {kind.__name__: kind for kind in classes}
    return TradePlan(strategies={name: parameters for name in named}), named, None


def _wanted(
    first: date | str, last: date | str, scale: str, bars: Mapping[str, BarColumns] | None, crypto: bool
) -> dict[str, Any]:
    if scale not in ("", *SCALES):
        raise ConfigError(f'scale is "day", "minute", "second" or "tick", not {scale!r}')
    known = [one for one in (bars or {}).values() if len(one.opened_at)]
    if bars is not None and not known:
        raise ConfigError("the data holds no bars")
    period = SCALES.get(scale, DAY)
    if known:
        period = DAY if known[0].closed_at[0] - known[0].opened_at[0] > HOUR else MINUTE
        of_day = (lambda at: as_utc(at).date()) if crypto else day_of
        first = first or of_day(min(int(one.opened_at[0]) for one in known))
        last = last if last != "today" else of_day(max(int(one.opened_at[-1]) for one in known))
    if not first:
        raise ConfigError('name the first day, like run_backtest(MyStrategy, "2024-01-02", "2024-06-28", generated=10)')
    today = day_of(WallClock().now())
    days = (day if isinstance(day, date) else day_from(day, today) for day in (first, last))
    return dict(zip(("first", "last"), days, strict=True)) | {"period": period}


def _columns(symbol: str, frame: pd.DataFrame | BarColumns, scale: str, crypto: bool) -> BarColumns:
    """Return a frame's bars.

    Raises:
        ConfigError: for one that cannot be read, with symbol and time.
    """
    if isinstance(frame, BarColumns):
        return frame
    import pandas as pd

    named = {str(name).lower(): name for name in frame.columns}
    if lacking := [name for name in (*_PRICES, "volume") if name not in named]:
        raise ConfigError(f"the frame of {symbol} has no column {lacking[0]!r}")
    if not isinstance(frame.index, pd.DatetimeIndex):
        raise ConfigError(f"the index of {symbol}'s frame must be the times at which its bars begin")
    zone: tzinfo = UTC if crypto else NEW_YORK
    index = frame.index if frame.index.tz is not None else frame.index.tz_localize(zone)
    figures = {name: frame[named[name]].to_numpy(np.float64) for name in (*_PRICES, "volume")}
    opened = index.as_unit("ns").asi8.astype(np.int64)
    wrong = ~np.logical_and.reduce([np.isfinite(figures[name]) & (figures[name] > 0) for name in _PRICES])
    wrong |= ~(figures["volume"] >= 0) | np.append(False, np.diff(opened) <= 0)
    if wrong.any():
        at = as_datetime(int(opened[np.argmax(wrong)]))
        raise ConfigError(f"{symbol} at {at:%Y-%m-%d %H:%M}: a bar needs prices above 0, a volume, and a later time")
    closed = opened + MINUTE
    if (scale or ("day" if len(opened) < 2 or np.median(np.diff(opened)) > HOUR else "minute")) == "day":
        opened, closed = _session_times(symbol, index.tz_convert(zone).date.tolist(), crypto)
    prices = tuple(figures[name] for name in _PRICES)
    average = next(
        (frame[named[n]].to_numpy(np.float64) for n in ("average", "vwap") if n in named), mean_price(prices)
    )
    count = frame[named["count"]].to_numpy(np.float64) if "count" in named else np.zeros(len(opened))
    columns: Any = (opened, closed, *prices, figures["volume"], average, count)
    return BarColumns(symbol, *columns)


def _session_times(symbol: str, days: Sequence[date], crypto: bool) -> tuple[Ints, Ints]:
    known = (
        {session.day: session for session in (round_the_clock if crypto else sessions)(days[0], days[-1])}
        if days
        else {}
    )
    if strange := [day for day in days if day not in known]:
        raise ConfigError(f"{symbol} has a bar of {strange[0]}, on which the exchange was closed")
    opened, closed = ([getattr(known[day], name) for day in days] for name in ("opens_at", "closes_at"))
    return np.array(opened, np.int64), np.array(closed, np.int64)


def _index(times: Sequence[int]) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.to_datetime(np.array(times, np.int64), utc=True).tz_convert(NEW_YORK)


def _frame(rows: Sequence[Any], kind: Any, at: str, drop: Sequence[str]) -> pd.DataFrame:
    """Return rows as a frame by one of their times, amounts as floats."""
    import pandas as pd

    names = [name for name in kind.__struct_fields__ if name not in (at, *drop)] if kind is not None else []
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    plain = {
        name: [float(value) if isinstance(value, Decimal) else value for value in values]
        for name, values in columns.items()
    }
    return pd.DataFrame(plain, index=_index([getattr(row, at) for row in rows]).rename(at))


class QuietScreen:
    """A screen that shows nothing and keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def line(self, text: str) -> None:
        """The result says it."""

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def show(self, view: View) -> None:
        """There is no session to show."""

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The result has it."""

    def close(self) -> None:
        """There is nothing to take away."""
