"""A backtest from what was asked for to its rows: bars, strategies, the run, its summary, the record."""

from __future__ import annotations

import asyncio
import math
import platform
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from liualgotrader import __version__
from liualgotrader.analytics.consolidate import consolidate
from liualgotrader.backtest.past_data import loops_aside
from liualgotrader.backtest.picking import KnownPicks, Scanning
from liualgotrader.backtest.run_record import BacktestTerms, RunRecord
from liualgotrader.backtest.runner import Backtest
from liualgotrader.backtest.session_run import Scrutiny, SessionRun, hours_of
from liualgotrader.backtest.tick_runner import TickBacktest
from liualgotrader.common.borrow import BorrowRows
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR, MILLISECOND, MINUTE, NEVER, Clock, WallClock
from liualgotrader.common.config import Settings, session_view, show_hours
from liualgotrader.common.errors import ConfigError, DatabaseUnavailable, LiuError, OutsideError, nearest
from liualgotrader.common.events import Pick
from liualgotrader.common.folder_imports import loaded_files
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.plugins import one_line, source_of, user_code, where_raised
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import AlgoRunRow, BatchRow, HonestyCheck, PickRow
from liualgotrader.common.secret import without_secrets
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.consumer.loading import created
from liualgotrader.data.loader import DataLoader, RunClock, loaders_follow
from liualgotrader.data.recorded_series import SeriesFile, records_of
from liualgotrader.exchange.fees import FEES, FeeModel, PercentageFees, PerShareCommission, SumOfFees
from liualgotrader.exchange.rules import Rules
from liualgotrader.scanners.base import check_scanner, make_scanner
from liualgotrader.strategies.base import (
    SessionServices,
    Strategy,
    StrategyType,
    check_strategy,
    make_strategy,
    strategy_of,
)
from liualgotrader.supervisor.arming import hash_of
from liualgotrader.supervisor.backtest_bars import (
    BarsWanted,
    DetailedBars,
    PlayedBars,
    PlayedTapes,
    history_of,
    played_bars,
)
from liualgotrader.supervisor.backtest_outcome import BacktestOutcome, outcome_of
from liualgotrader.supervisor.batch import Layout, Place, build_label
from liualgotrader.supervisor.plan_inspection import imported_files
from liualgotrader.supervisor.request import TraderRequest
from liualgotrader.supervisor.session_database import Record, enough_room, make_home, open_record, require_portfolios
from liualgotrader.supervisor.view import Screen
from liualgotrader.tapes.base import spelled

ENVIRONMENT = "BACKTEST"
_CASH = Decimal(100_000)
_MOST_TRIALS = 10_000  # the newest backtests, among which one was chosen
_MOST_SEARCHES = 100  # of the optimizer


class RepeatedBatch(msgspec.Struct, frozen=True):
    """A recorded batch that is played again: what was picked in it and when, in place of scanners, and its runs.

    Without picks every symbol is followed, as in a backtest without scanners.
    """

    batch_id: str
    picks: tuple[Pick, ...]
    runs: dict[str, int]  # algo_run_id by strategy
    simulated: bool = False  # it lies in the database of simulated sessions


class BacktestRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of one backtest, beyond the settings. Fees are dollars a share, and percent of what is traded."""

    bars: BarsWanted
    strategies: tuple[str, ...] = ()  # empty: all of the tradeplan
    scanners: tuple[str, ...] = ()
    cash: Decimal = _CASH
    fee_per_share: Decimal = Decimal(0)
    slippage_bps: Decimal = Decimal(0)
    buy_fee_percentage: Decimal = Decimal(0)
    sell_fee_percentage: Decimal = Decimal(0)
    borrow: BorrowRows = ()
    benchmark: str = ""  # empty: the first symbol
    database: bool = True
    repeats: RepeatedBatch | None = None
    note: str = ""  # of the user's, for lists of results
    fresh_daily: bool = False  # strategies are made anew for each session
    debug: frozenset[str] = frozenset()  # symbols whose calls of `run` say debug=True


Progress = Callable[[TradingSession, int], object]
"""Told of each session's end and the bars so far."""


class Backtesting:
    """A backtest in three steps: entered as a context, it is played, and its rows are saved.

    Raises:
        ConfigError: when it is made, for a strategy or scanner that the tradeplan does not name.
    """

    def __init__(
        self,
        request: BacktestRequest,
        settings: Settings,
        tradeplan: TradePlan,
        screen: Screen,
        clock: Clock | None = None,
        *,
        classes: Mapping[str, type[Strategy]] | None = None,
        bars: Mapping[str, BarColumns] | PlayedBars | None = None,
        scrutiny: Scrutiny | None = None,
    ) -> None:
        """Take strategies and bars from `classes` and `bars`, by name, rather than from files, where these are given."""
        self.classes, self.given, self.scrutiny = classes or {}, bars, scrutiny
        self.pressed: Callable[[], bool] = lambda: False  # whether Ctrl-C was, while it is played
        self.asked: tuple[str, int, int] | None = None  # once it is played: see `RunClock`
        self._checks: list[HonestyCheck] = []
        self.played = PlayedBars({})  # once it is played
        self.request, self.settings, self.screen = request, settings, screen
        self.plan = narrowed(tradeplan, request)
        minutes = self.plan.market_liquidation_end_time_minutes
        self._liquidation = None if request.bars.crypto else minutes  # crypto has no close
        self.batch_id = str(uuid.uuid4())
        self.record: Record | None = None
        self._clock = clock or WallClock()
        self._loop = asyncio.Runner()
        self._cleanup = AsyncExitStack()
        self._scanning: Scanning | None = None
        self._keys = _RunKeys()
        self._detail: DetailedBars | None = None
        self._runs: list[int] = []  # rows of algo_run without an end

    def __enter__(self) -> Backtesting:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        with loops_aside(), self._loop as loop:
            if self._runs:
                with suppress(DatabaseUnavailable):  # which is said already, by what was to be done before
                    loop.run(self._end("could not run", {}))
            try:
                loop.run(self._cleanup.aclose())
            except LiuError:
                if error is None:  # else what went wrong first is said
                    raise

    def play(self, progress: Progress) -> BacktestOutcome:
        """Load bars and strategies and play all sessions, or until Ctrl-C is pressed.

        Raises:
            LiuError: in one sentence, if nothing can be played.
        """
        request, plan = self.request, self.plan
        played = request.bars.sessions()
        asked = self._check_plan(played[0].opens_at)
        backtest, found = self._market(played)
        benchmark = spelled(request.benchmark or backtest.symbols[0], backtest.symbols)
        if benchmark not in backtest.symbols:
            raise ConfigError(
                f"the benchmark {benchmark} is none of the symbols that are played{nearest(benchmark, backtest.symbols)}"
            )
        for note in found.notes:
            self.screen.warn(f"data: {note}")
        with loaders_follow(backtest.clock):
            run = self._run(backtest, played, progress)
        self.asked = asked or backtest.clock.asked
        found = self.played = msgspec.structs.replace(found, bars=backtest.bars())
        run.warnings += self._detail.warnings() if self._detail is not None else []
        period = max(MINUTE, request.bars.period)
        return outcome_of(run, found, list(plan.strategies), benchmark, period, self._scanning)

    def _check_plan(self, begins_at: int) -> tuple[str, int, int] | None:
        """Load what the plan names and check its keys before data is read; return what `RunClock` heard meanwhile."""
        clock = RunClock(lambda: begins_at, literal=self.scrutiny is not None and self.scrutiny.literal)
        with loaders_follow(clock):
            for name, details in self.plan.strategies.items():
                if name not in self.classes:
                    check_strategy(name, details, Path())
            for name, details in self.plan.scanners.items() if self.request.repeats is None else ():
                check_scanner(name, details)
        return clock.asked

    def _run(self, backtest: SessionRun, played: Sequence[TradingSession], progress: Progress) -> RunRecord:
        request, plan, repeated = self.request, self.plan, self.request.repeats
        scanning = self._scanning = self._scanners(backtest, played) if plan.scanners and repeated is None else None
        picking = KnownPicks(repeated.picks) if repeated is not None and repeated.picks else scanning
        with loops_aside():
            strategies = self._loop.run(self._begin(played, backtest))
        after = dict(pairwise(played))

        def closed(session: TradingSession, bars: int) -> bool:
            """Hear of a session's end; answer whether to go on."""
            following = after.get(session, session)
            show_hours(following.opens_at, following.closes_at)
            return progress(session, bars) is not False and not self.pressed()

        with self._view(), ctrl_c() as self.pressed:
            show_hours(played[0].opens_at, played[0].closes_at)
            anew = partial(self._anew, strategies, backtest) if request.fresh_daily else None
            return backtest.run(strategies, closed, picking, anew)

    def load(self, history: int | None = None) -> PlayedBars:
        """Return the bars of the sessions and of so many before them, by default as many as are usual.

        Raises:
            LiuError: in one sentence, if there are none.
        """
        wanted, given = self.request.bars, self.given
        if history is None:
            history = history_of(wanted, self.plan.timings.history_sessions)
        return played_bars(wanted, self.settings.home_path / "market", history, given)

    def save(self, outcome: BacktestOutcome) -> None:
        """Store all rows of the run, its analysis and its end.

        Raises:
            OutsideError: if the server cannot be reached.
        """
        if self.record is None:
            return
        try:
            with loops_aside():
                self._loop.run(self._save(self.record, outcome))
        except DatabaseUnavailable as error:
            cause = str(error).partition(";")[0].rstrip(".")
            raise OutsideError(
                f"{cause}, so batch {self.batch_id} is not stored: see that the server runs and has room, then play the backtest again"
            ) from error

    def save_check(self, check: HonestyCheck) -> None:
        """Keep what a check of this run found, with its rows if they are stored.

        Raises:
            OutsideError: if the server cannot be reached.
        """
        self._checks.append(check)
        if self.record is not None:
            with loops_aside():
                self._loop.run(self.record.store.save_check(self.batch_id, check))

    def honesty_checks(self) -> tuple[HonestyCheck, ...]:
        """Return what was found by checks of this run, and of others of the same plan as far as a record says it."""
        if self.record is not None:
            with loops_aside(), suppress(DatabaseUnavailable):
                return tuple(self._loop.run(self.record.store.honesty_checks(self.batch_id)))
        return tuple(self._checks)

    def other_ratios(self) -> tuple[float, ...] | None:
        """Return the Sharpe ratios of other backtests of the same strategies, None without a record that has them."""
        if self.record is not None:
            with loops_aside(), suppress(DatabaseUnavailable):
                return self._loop.run(other_ratios(self.record.store, self.batch_id, self.plan.strategies.keys()))
        return None

    def _view(self) -> AbstractContextManager[None]:
        """Let the original's module attributes be answered with this run's values."""
        plan = self.plan
        return session_view(
            batch_id=self.batch_id,
            env=ENVIRONMENT,
            risk=plan.risk,
            portfolio_value=plan.portfolio_value,
            market_liquidation_end_time_minutes=plan.market_liquidation_end_time_minutes,
            debug_enabled=self.settings.debug,
            trace_enabled=self.settings.trace,
        )

    # --- the run ---------------------------------------------------------------------------------------

    def _market(self, played: Sequence[TradingSession]) -> tuple[SessionRun, PlayedBars]:
        """Return the run on what is to be played, and what is known of that; a run on ticks finds its bars itself."""
        wanted, market = self.request.bars, self.settings.home_path / "market"
        if wanted.detail:
            self._detail = DetailedBars(wanted, market)
        if wanted.period >= MINUTE:
            given, as_given = self.given, self.scrutiny is not None
            found = given if as_given and isinstance(given, PlayedBars) else self.load()
            return Backtest(replace(self._terms(played, found), detail=self._detail), found.bars, self.scrutiny), found
        tapes = PlayedTapes(wanted, market)
        found = tapes.known()
        events = frozenset(self.plan.events) - ({"trade", "quote"} if wanted.period else set())
        backtest = TickBacktest(self._terms(played, found), tapes, events)
        return backtest, msgspec.structs.replace(found, notes=tuple(tapes.notes))

    async def _begin(self, played: Sequence[TradingSession], backtest: SessionRun) -> dict[SlotPlan, Strategy]:
        request, plan = self.request, self.plan
        build = await asyncio.to_thread(build_label) if request.database else ""
        if request.database:
            make_home(self.settings.home_path)
            enough_room(self.settings.home_path)
            simulated = request.repeats is not None and request.repeats.simulated
            self.record = await open_record(self.settings, TraderRequest(simulate=simulated))
            self._cleanup.push_async_callback(self.record.close)
            if request.repeats is None:
                found = (details.get("portfolio_id") for details in plan.strategies.values())
                await require_portfolios(self.record, [one for one in found if one])
        hours = hours_of(played[0], self._liquidation)
        services = SessionServices(hours, self._keys, backtest.free_cash)
        strategies: dict[SlotPlan, Strategy] = {}
        for number, (name, details) in enumerate(plan.strategies.items(), 1):
            run_id = await self._algo_run(number, name, details, build)
            strategy = await self._made(number, name, details, services, run_id, backtest.loader)
            if strategy is None:
                self.screen.warn(f"{name} does not want to run: its create() said no")
                continue
            day_trade = getattr(strategy, "type", None) is not StrategyType.SWING
            slot = SlotPlan(number, name, 0, run_id, await _runs_all(strategy, name), day_trade=day_trade)
            strategies[slot] = strategy
        if not strategies:
            raise ConfigError("no strategy wanted to run")
        if request.bars.crypto and (kept := [slot.strategy for slot in strategies if slot.day_trade]):
            self.screen.warn(
                f"{', '.join(kept)}: crypto has no close, so DAY_TRADE positions are kept until their strategy closes them"
            )
        if self.record is not None:
            await self.record.store.begin_batch(self.batch_row(list(strategies)))
        return strategies

    def _anew(
        self, strategies: Mapping[SlotPlan, Strategy], backtest: SessionRun, session: TradingSession
    ) -> dict[int, Strategy]:
        """Return new instances by slot; where `create` says no or raises, the one before goes on."""

        async def made() -> dict[int, Strategy]:
            hours = hours_of(session, self._liquidation)
            services = SessionServices(hours, self._keys, backtest.free_cash)
            found = {}
            for slot in strategies:
                details = self.plan.strategies[slot.strategy]
                run_id, loader = slot.algo_run_id, backtest.loader
                try:
                    found[slot.slot] = await self._made(slot.slot, slot.strategy, details, services, run_id, loader)
                except ConfigError as error:
                    backtest.record.failures.append(f"{error}, before the session of {session.day}")
            return {number: strategy for number, strategy in found.items() if strategy is not None}

        with loops_aside():
            return self._loop.run(made())

    def _scanners(self, backtest: SessionRun, played: Sequence[TradingSession]) -> Scanning:
        plan, seed = self.plan, self.request.bars.seed
        scanners = {
            name: make_scanner(backtest.loader, name, details, seed=f"{seed}/{name}")
            for name, details in plan.scanners.items()
        }
        if self.request.bars.period > HOUR and (blind := [n for n, one in scanners.items() if one.sees_today]):
            raise ConfigError(
                f"the scanner {blind[0]} picks by the day so far, of which bars of a day show nothing before the close: add"
                " --scale minute, or name others with --scanners"
            )
        return Scanning(
            scanners,
            backtest.data,
            played,
            self.request.bars.period,
            NEVER if plan.keep_picks else round(plan.timings.unpick_minutes * MINUTE),
        )

    def _terms(self, played: Sequence[TradingSession], found: PlayedBars) -> BacktestTerms:
        return terms_of(self.request, self.plan, self.settings, self.batch_id, played, found)

    async def _algo_run(self, slot: int, name: str, details: Mapping[str, Any], build: str) -> int:
        if self.record is None:
            return slot
        parameters = without_secrets(dict(details))
        runs = self.request.repeats.runs if self.request.repeats is not None else {}
        repeated = runs.get(name, next(iter(runs.values()), None))
        row = AlgoRunRow(self.batch_id, slot, name, ENVIRONMENT, build, parameters, self._clock.now(), repeated)
        self._runs.append(await self.record.store.begin_algo_run(row))
        return self._runs[-1]

    async def _made(
        self, slot: int, name: str, details: dict[str, Any], services: SessionServices, run_id: int, loader: DataLoader
    ) -> Strategy | None:
        """Return a new instance; None if its `create` says no."""
        seed = f"{self.request.bars.seed}/{name}/{slot}/random"
        given: dict[str, Any] = {"data_loader": loader, "ref_run_id": run_id, "seed": seed}
        if (kind := self.classes.get(name)) is not None:
            strategy = strategy_of(kind, self.batch_id, name, details, **given)
        else:
            strategy = make_strategy(self.batch_id, name, details, Path(), **given)
        # Portfolios are not touched: their strategies spend the cash of the run.
        strategy.debug_symbols = self.request.debug
        strategy.join_session(services, run_id, 0 if "portfolio_id" in details else None)
        try:
            with user_code(f"{name}.create", type(strategy)):
                return None if await created(strategy) is False else strategy
        except (Exception, SystemExit) as error:
            where = where_raised(error, source_of(strategy))
            raise ConfigError(f"[strategies.{name}] raised in create: {one_line(error)} ({where})") from error

    def batch_row(self, slots: Sequence[SlotPlan]) -> BatchRow:
        """Return the row of `batch`."""
        request = self.request
        # A class that was handed over is in no file, so that no other run is known to be of the same plan.
        there = (path for path in loaded_files() if path.exists())  # what a notebook ran before may be gone
        plan = {} if self.classes else {"plan": hash_of(self.settings, self.plan, imported_files(there))}
        return BatchRow(
            batch_id=self.batch_id,
            session_date=request.bars.first.isoformat(),
            environment=ENVIRONMENT,
            started_at=self._clock.now(),
            layout=Layout(1, tuple(Place(s.slot, s.strategy, 0, s.run_all) for s in slots)).as_dict(),
            configuration={
                "settings": {name: value for name, value, _ in self.settings.shown()},
                "tradeplan": without_secrets(self.plan.as_dict()),
                "backtest": msgspec.to_builtins(request),
                **plan,
            },
            versions={"liualgotrader": __version__, "python": platform.python_version()},
            seed=request.bars.seed,
        )

    # --- the record ------------------------------------------------------------------------------------

    async def _save(self, record: Record, outcome: BacktestOutcome) -> None:
        store, run = record.store, outcome.run
        await store.save_run(run.rows, run.signals)
        await store.save_equity(outcome.equity())
        await store.save_figures(self.batch_id, outcome.figures())
        picks = self._scanning.picks if self._scanning is not None else []
        await store.save_picks([PickRow(self.batch_id, p.symbol, p.scanner, p.strategy, p.at) for p in picks])
        found = consolidate(outcome.executions)
        await store.save_analysis(found.gains, found.analysis)
        stopped = {slot.algo_run_id: run.stopped[slot.slot] for slot in run.slots if slot.slot in run.stopped}
        await self._end(run.ended or "the last session was played", stopped)
        # The last, as rows can be read without it.
        series = SeriesFile(records_of(self.settings.home_path, self.batch_id), "backtest")
        series.write(run.recorded)
        series.close()

    async def _end(self, reason: str, reasons: Mapping[int, str]) -> None:
        """Write the end of all runs of the batch, and its own."""
        if self.record is not None:
            store, now = self.record.store, self._clock.now()
            for run_id in self._runs:
                await store.end_algo_run(run_id, now, reasons.get(run_id, reason))
            self._runs.clear()
            await store.end_batch(self.batch_id, now, reason)


async def other_ratios(store: Store, batch_id: str, strategies: Set[str]) -> tuple[float, ...]:
    """Return the Sharpe ratios of all other tries of these strategies that came to their end; NaN: it has none.

    Those are backtests, and combinations of the optimizer.
    """
    played = [
        one.figures.sharpe_ratio
        for one in await store.results(_MOST_TRIALS, ENVIRONMENT)
        if one.figures is not None and one.batch_id != batch_id and one.parameters.keys() == strategies
    ]
    for search in await store.optimizer_sessions(_MOST_SEARCHES):
        same = search.configuration.get("tradeplan", {}).get("strategies", {}).keys() == strategies
        if same and len(played) < _MOST_TRIALS:  # rows bring their equity along
            rows = await store.optimizer_rows(search.optimizer_session_id)
            played += [row.figures.get("sharpe_ratio") for row in rows if not row.fold and not row.failure]
    return tuple(math.nan if ratio is None else ratio for ratio in played)


def terms_of(
    request: BacktestRequest,
    plan: TradePlan,
    settings: Settings,
    batch_id: str,
    played: Sequence[TradingSession],
    found: PlayedBars,
) -> BacktestTerms:
    """Return what a run over these sessions is played by."""
    return BacktestTerms(
        batch_id=batch_id,
        sessions=tuple(played),
        cash=request.cash,
        period=request.bars.period,
        seed=request.bars.seed,
        limits=plan.limits,
        timings=plan.timings,
        rules=Rules(
            profile=settings.fills,
            fees=_fees(settings.fees, request),
            slippage_bps=request.slippage_bps,
            divisible=request.bars.crypto,
            latency_ns=round(settings.latency_ms * MILLISECOND),
        ),
        liquidation_minutes=None if request.bars.crypto else plan.market_liquidation_end_time_minutes,
        crypto=request.bars.crypto,
        portfolio_value=plan.portfolio_value,
        daily=found.daily,
        splits=found.splits,
        dividends=found.dividends,
        borrow=request.borrow,
    )


def narrowed(plan: TradePlan, request: BacktestRequest) -> TradePlan:
    """Return the plan with the strategies and scanners that are wanted.

    Raises:
        ConfigError: if it does not have one of them.
    """
    kept: dict[str, dict[str, Any]] = {}
    for kind in ("strategies", "scanners"):
        known, wanted = getattr(plan, kind), getattr(request, kind)
        for name in wanted:
            if name not in known:
                word = {"strategies": "strategy", "scanners": "scanner"}[kind]
                raise ConfigError(f"the tradeplan has no {word} '{name}'{nearest(name, known)}")
        kept[kind] = {name: values for name, values in known.items() if not wanted or name in wanted}
    return msgspec.structs.replace(plan, **kept)


def _fees(name: str, request: BacktestRequest) -> FeeModel:
    models = [FEES[name]]
    if request.fee_per_share:
        models.append(PerShareCommission(request.fee_per_share, minimum=Decimal(0), maximum_fraction=Decimal(1)))
    if request.buy_fee_percentage or request.sell_fee_percentage:
        models.append(PercentageFees(request.buy_fee_percentage, request.sell_fee_percentage))
    return models[0] if len(models) == 1 else SumOfFees(tuple(models))


async def _runs_all(strategy: Strategy, name: str) -> bool:
    try:
        return bool(await strategy.should_run_all())
    except Exception as error:
        raise ConfigError(f"[strategies.{name}] raised in should_run_all: {one_line(error)}") from error


class _RunKeys:
    """The key-store of one run: it begins empty, so that a run is repeated exactly, and leaves nothing behind."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        return self._texts.get(key)

    async def save(self, key: str, value: str) -> None:
        self._texts[key] = value


@contextmanager
def ctrl_c() -> Iterator[Callable[[], bool]]:
    """While the block runs, let Ctrl-C be asked for, so that a run ends with the session it is in; a second one kills."""
    pressed = False
    if threading.current_thread() is not threading.main_thread():  # which alone hears of Ctrl-C
        yield lambda: False
        return

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
