"""A search for parameters from what was asked for to its rows: combinations, processes that play them, the best of them."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, suppress
from datetime import date
from decimal import Decimal
from itertools import islice, pairwise
from logging import CRITICAL
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import msgspec

from liualgotrader.analytics.sweep import (
    OBJECTIVES,
    Constraint,
    Plateau,
    WalkForward,
    check_figures,
    constraint_of,
    deflated,
    plateau,
    ranked,
    walk_forward,
)
from liualgotrader.backtest.array_signals import only_signals
from liualgotrader.backtest.search_space import Listed, Tpe, space_of
from liualgotrader.common.clock import Clock, WallClock
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError, DatabaseUnavailable, OutsideError, nearest
from liualgotrader.common.plugins import load_class, takes
from liualgotrader.common.rows import OptimizerRow, OptimizerSession
from liualgotrader.common.secret import without_secrets
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.models.portfolio import Portfolio
from liualgotrader.strategies.base import Strategy
from liualgotrader.supervisor.arming import hash_of
from liualgotrader.supervisor.backtest_bars import PlayedBars, history_of, played_bars
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest, ctrl_c, narrowed
from liualgotrader.supervisor.combination import Combination, Search, SearchTerms, deaf, objective_of, play
from liualgotrader.supervisor.plan_inspection import imported_files
from liualgotrader.supervisor.request import TraderRequest
from liualgotrader.supervisor.session_database import Record, enough_room, make_home, open_record
from liualgotrader.supervisor.view import Screen

_CENT = 0.005  # dollars
_SAVED_SECONDS = 0.5  # of machine time, so often finished combinations are stored
_WINDOW_SESSIONS = 2  # at least, in each window of a walk forward
_WALKED = ("sharpe_ratio", "total_return", "efficiency")


class SearchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of one search, beyond the settings; `backtest` is what each combination plays."""

    backtest: BacktestRequest
    objective: str = "sharpe_ratio"
    constraints: tuple[str, ...] = ()
    sampler: Literal["grid", "random", "tpe"] = "grid"
    samples: int = 100
    patience: int = 0
    walk_forward: int = 0  # windows
    jobs: int = 0  # 0: all cores
    backend: Literal["loky", "dask", "ray"] = "loky"
    scheduler: str = ""  # of a dask or ray cluster; empty: one on this machine
    most: int = 100_000
    keep: int = 1  # of the best, so many are stored as batches
    resume: str = ""


class SearchOutcome(msgspec.Struct, frozen=True):
    """What a search came to: its combinations best first, and what is to be thought of the best."""

    session_id: str
    names: tuple[str, ...]
    rows: list[OptimizerRow]
    constraints: tuple[Constraint, ...]
    count: int  # of combinations that were to be played
    ended: str
    plateau: Plateau | None = None
    deflated_sharpe: float | None = None
    walk_forward: WalkForward | None = None
    exit_code: int = 0
    sentence: str = ""


Advance = Callable[[int, int, OptimizerRow | None], object]
"""Told how many backtests are done, how many there are, and the newest."""


class Optimizing:
    """A search, entered as a context and run.

    Raises:
        ConfigError: when it is made, if nothing can be varied, or an objective or constraint means nothing.
    """

    def __init__(
        self, request: SearchRequest, settings: Settings, plan: TradePlan, screen: Screen, clock: Clock | None = None
    ) -> None:
        constraints = [constraint_of(text) for text in request.constraints]
        self.request, self.settings, self.screen = request, settings, screen
        self.plan = narrowed(plan, request.backtest)
        self.space = space_of(plan, constraints, continuous=request.sampler != "grid")
        self.constraints = tuple(one for one in constraints if one not in self.space.constraints)
        check_figures(self.constraints)
        objective_of(request.objective)
        self._check_names()
        self._clock = clock or WallClock()
        self._cleanup, self._loop = ExitStack(), asyncio.Runner()
        self._record: Record | None = None
        self._stored: dict[tuple[int, bool, int], OptimizerRow] = {}
        self._pressed: Callable[[], bool] = lambda: False
        self._advance: Advance = lambda done, total, row: None
        self._done = self._total = 0
        self._estimated = self._processes = False
        self._client: Any = None

    def _check_names(self) -> None:
        for axis in self.space.axes:
            table = f"strategies.{axis.strategy}"
            if axis.strategy not in self.plan.strategies:
                raise ConfigError(f"parameters of {axis.strategy} are varied, which is not to run: add it to --strats")
            details = self.plan.strategies[axis.strategy]
            filename, kind = details["filename"], details.get("class", axis.strategy)
            if axis.name not in (known := takes(load_class(Strategy, kind, filename, Path(), table=table))):
                raise ConfigError(
                    f"[optimizer.hyperparameters.{table}] {axis.name}: class {kind} of {Path(filename).name} takes no"
                    f" argument `{axis.name}`{nearest(axis.name, known)}"
                )

    def __enter__(self) -> Optimizing:
        return self

    def __exit__(self, *_: object) -> None:
        with self._loop as loop:
            self._cleanup.close()
            if self._record is not None:
                with suppress(DatabaseUnavailable):
                    loop.run(self._record.close())

    def run(self, advance: Advance) -> SearchOutcome:
        """Play all combinations, or until Ctrl-C is pressed, and return what they came to.

        Raises:
            LiuError: in one sentence, if nothing can be played or stored.
        """
        wanted = self.request.backtest.bars
        sampler = self._sampler()
        history = history_of(wanted, self.plan.timings.history_sessions)
        found = played_bars(wanted, self.settings.home_path / "market", history)
        for note in found.notes:
            self.screen.warn(f"data: {note}")
        terms = SearchTerms(
            self._begin(),
            self._with_cash(msgspec.structs.replace(self.request.backtest, database=False)),
            {name: getattr(self.settings, name) for name in ("home", "tradeplan", "fills", "fees", "seed", "debug")},
            self.plan,
            self.space,
            self.request.objective,
            self._arrays(),
        )
        windows = self._windows()
        self._advance, self._total = advance, sampler.count * (1 + len(windows)) + len(windows)
        with ctrl_c() as self._pressed:
            placed = self._placed(terms, found)
            rows = self._search(terms, placed, sampler, (wanted.first, wanted.last))
            walked = [self._walked(terms, placed, fold, *days) for fold, days in enumerate(windows, 1)]
        walk = walk_forward([pair for pair in walked if pair is not None]) if windows else None
        return self._end(terms, found, rows, sampler.count, walk)

    # --- before it begins ---------------------------------------------------------------------------

    def _windows(self) -> list[tuple[tuple[date, date], tuple[date, date]]]:
        """Return the first and last days of each window of the walk forward, in sample and out of sample."""
        days, count = [session.day for session in self.request.backtest.bars.sessions()], self.request.walk_forward
        if not count:
            return []
        if len(days) < _WINDOW_SESSIONS * (count + 1):
            raise ConfigError(
                f"a walk forward over {count} windows needs at least {_WINDOW_SESSIONS * (count + 1)} sessions, not {len(days)}:"
                " take fewer windows or more days"
            )
        edges = [len(days) * n // (count + 1) for n in range(count + 2)]
        spans = [(days[first], days[last - 1]) for first, last in pairwise(edges)]
        return list(pairwise(spans))

    def _sampler(self) -> Listed | Tpe:
        request, space = self.request, self.space
        if request.sampler == "tpe":
            return Tpe(space, request.samples, request.backtest.bars.seed, request.patience)
        if request.sampler == "random":
            return Listed(space.draws(request.samples, request.backtest.bars.seed), request.patience)
        size = space.size or 0
        most = f"more than {request.most:,}: make the ranges smaller, or take --sampler random, or --most"
        if size > 10 * max(request.most, 1_000_000):
            raise ConfigError(f"the parameters have {size:,} combinations, {most}")
        points = []
        for point in space.grid():
            points.append(point)
            if len(points) > request.most:
                count = size if not space.constraints else sum(1 for _ in space.grid())
                raise ConfigError(f"the parameters have {count:,} combinations, {most}")
        return Listed(points, request.patience)

    def _begin(self) -> str:
        """Open the record and return the search's id; one that is resumed brings the rows that are stored."""
        request, settings = self.request, self.settings
        if not request.backtest.database:
            if request.resume:
                raise ConfigError("--resume goes on with what is stored, which --no-database does not look at")
            return str(uuid.uuid4())
        make_home(settings.home_path)
        enough_room(settings.home_path)
        self._record = self._loop.run(open_record(settings, TraderRequest()))
        store = self._record.store
        asked = msgspec.to_builtins(msgspec.structs.replace(request, backtest=self._comparable()))
        told = {
            name: asked[name]
            for name in ("backtest", "objective", "constraints", "sampler", "samples", "patience", "walk_forward")
        }
        told |= {
            "plan": hash_of(settings, self.plan, imported_files(self._files())),
            "fills": settings.fills,
            "fees": settings.fees,
        }
        told |= {"space": {axis.name: _shown(axis) for axis in self._named_axes()}}
        configuration = without_secrets(told | {"tradeplan": self.plan.as_dict()})
        if not request.resume:
            session_id = str(uuid.uuid4())
            session = OptimizerSession(session_id, self._clock.now(), configuration)
            self._loop.run(store.begin_optimizer(session))
            return session_id
        earlier = self._loop.run(store.optimizer_sessions(2, request.resume))
        if len(earlier) != 1:
            word = "several searches' ids begin" if earlier else "no search's id begins"
            raise ConfigError(f"{word} with {request.resume}: name it as it was shown at its start")
        old, new = earlier[0].configuration, msgspec.json.decode(msgspec.json.encode(configuration))
        if differs := [name for name in new if old.get(name) != new[name]]:
            raise ConfigError(
                f"the search {request.resume} was begun with another {differs[0]}: its combinations cannot be ranked with new"
                " ones, so begin a new one without --resume"
            )
        session_id = earlier[0].optimizer_session_id
        rows = self._loop.run(store.optimizer_rows(session_id))
        self._stored = {(row.fold, row.out_of_sample, row.number): row for row in rows}
        return session_id

    def _comparable(self) -> BacktestRequest:
        return msgspec.structs.replace(self.request.backtest, note="")

    def _files(self) -> Iterator[Path]:
        """Yield the files that decide what a combination comes to."""
        for table in (*self.plan.strategies.values(), *self.plan.scanners.values()):
            if table.get("filename"):
                yield Path(table["filename"])
        if ":" in self.request.objective:
            yield Path(self.request.objective.rpartition(":")[0])

    def _named_axes(self) -> Iterator[Any]:
        for name, axis in zip(self.space.names, self.space.axes, strict=True):
            yield msgspec.structs.replace(axis, name=name)

    def _with_cash(self, request: BacktestRequest) -> BacktestRequest:
        """Return the backtest with the money of the portfolios, where there are any."""
        money = [one.size + one.credit for named in self.space.portfolios.values() for one in named.values()]
        return msgspec.structs.replace(request, cash=Decimal(str(sum(money)))) if money else request

    def _placed(self, terms: SearchTerms, found: PlayedBars) -> str | Search:
        """Return the search as processes are given it: the name of a file that they map into memory."""
        if self.request.backend != "loky":
            return terms, found
        import joblib

        folder = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="liu-optimizer-"))
        joblib.dump((terms, found), f"{folder}/search")
        return f"{folder}/search"

    def _arrays(self) -> bool:
        """Whether the compiled loop may play the combinations, said where numba is all that is missing."""
        from importlib.util import find_spec

        request = self.request.backtest
        if self.plan.scanners or request.fresh_daily or request.bars.detail or len(self.plan.strategies) != 1:
            return False
        ((name, details),) = self.plan.strategies.items()
        kind = load_class(Strategy, details.get("class", name), details["filename"], Path(), table=f"strategies.{name}")
        known = self.request.objective in OBJECTIVES and self.request.backend == "loky" and not details.get("schedule")
        if not known or not only_signals(kind):
            return False
        if find_spec("numba") is None:
            self.screen.line("array signals are played a hundred times as fast with: pip install 'liualgotrader[fast]'")
            return False
        return True

    def _jobs(self) -> int:
        import joblib

        return self.request.jobs or joblib.cpu_count()

    # --- while it goes on ---------------------------------------------------------------------------

    def _search(
        self, terms: SearchTerms, search: str | Search, sampler: Listed | Tpe, days: tuple[date, date], fold: int = 0
    ) -> list[OptimizerRow]:
        """Return the combinations of the sampler that were played over some days, by number."""
        rows: dict[int, OptimizerRow] = {}
        best: OptimizerRow | None = None
        while (points := sampler.ask()) and not self._pressed():
            asked = [Combination(len(rows) + n, point, *days, fold=fold) for n, point in enumerate(points)]
            rows |= {row.number: row for row in self._played(terms, search, asked)}
            sampler.tell(points, [rows[one.number].objective if one.number in rows else None for one in asked])
            before, best = best, next(iter(ranked(rows.values(), self.constraints)), None)
            if self.request.patience and before is not None and best is before and not self._pressed():
                self.screen.line(
                    f"{self.request.patience:,} combinations in turn were no better: the search ends early"
                )
                self._total -= sampler.count - len(rows)
                break
        return [rows[number] for number in sorted(rows)]

    def _walked(
        self, terms: SearchTerms, search: str | Search, fold: int, days: tuple[date, date], after: tuple[date, date]
    ) -> tuple[OptimizerRow, OptimizerRow] | None:
        """Return the best of a window, and the same combination over the days after it; None if nothing could be played."""
        best = next(iter(ranked(self._search(terms, search, self._sampler(), days, fold), self.constraints)), None)
        if best is None or best.objective is None:
            self._total -= 1
            return None
        one = Combination(best.number, tuple(best.point.values()), *after, fold=fold, out_of_sample=True)
        found = self._played(terms, search, [one])
        return (best, found[0]) if found else None

    def _played(self, terms: SearchTerms, search: str | Search, asked: Sequence[Combination]) -> list[OptimizerRow]:
        """Return what combinations came to, those that are stored as they are stored; each new one is stored at once."""
        rows, todo = [], []
        for one in asked:
            stored = self._stored.get((one.fold, one.out_of_sample, one.number))
            (todo.append(one) if stored is None else rows.append(stored))
        self._done += len(rows)
        self._advance(self._done, self._total, None)
        if rows:
            self.screen.line(f"{len(rows):,} combinations are stored already, {len(todo):,} are left")
        probe = 0 if rows or self._done else 1
        for part in (todo[:probe], todo[probe:]):
            if part and self._done and not self._estimated:
                self._estimate(rows[-1].seconds)
            fresh, saved_at = list[OptimizerRow](), perf_counter()
            try:
                for row in self._in_processes(terms, search, part):
                    fresh.append(row)
                    self._done += 1
                    if perf_counter() - saved_at > _SAVED_SECONDS:
                        self._save(terms, fresh)
                        rows, fresh, saved_at = rows + fresh, [], perf_counter()
                    self._advance(self._done, self._total, row)
            finally:  # a second Ctrl-C loses nothing that is finished
                self._save(terms, fresh)
            rows = rows + fresh
        return rows

    def _estimate(self, seconds: float) -> None:
        self._estimated, jobs = True, self._jobs()
        left = self._total - self._done
        words = f"{left:,} of {self._total:,} combinations are left to play" if left else "nothing is left to play"
        took = f"about {seconds:.2g} s each, {duration(seconds * left / jobs)} in all"
        self.screen.line(f"{words}, {took} with {jobs} process{'es' if jobs > 1 else ''}")

    def _in_processes(
        self, terms: SearchTerms, search: str | Search, asked: Sequence[Combination]
    ) -> Iterator[OptimizerRow]:
        """Yield rows as they are finished. What was under way in a process that died is played again, one at a time."""
        todo = {one.number: one for one in asked}
        while todo and not self._pressed():
            started: list[Combination] = []
            if self.request.backend != "loky":
                yield from (self._on_dask if self.request.backend == "dask" else self._on_ray)(terms, search, asked)
                return
            try:
                for row in self._parallel(terms, search, list(todo.values()), started):
                    del todo[row.number]
                    yield row
            except BrokenExecutor:
                self.screen.warn("a process died: what it was playing is played again")
                for one in started:
                    if one.number in todo and not self._pressed():
                        for row in self._alone(terms, search, one):
                            del todo[row.number]
                            yield row

    def _alone(self, terms: SearchTerms, search: str | Search, one: Combination) -> list[OptimizerRow]:
        """Return what a combination comes to while no other is played; after two processes that died, that they did."""
        for _ in range(2):
            with suppress(BrokenExecutor):
                return list(self._parallel(terms, search, [one], []))
        point = dict(zip(terms.space.names, one.point, strict=True))
        why = "each process that played it died"
        return [
            OptimizerRow(terms.session_id, one.number, "", point, None, {}, (), 0.0, why, one.fold, one.out_of_sample)
        ]

    def _parallel(
        self, terms: SearchTerms, search: str | Search, batch: Sequence[Combination], started: list[Combination]
    ) -> Iterator[OptimizerRow]:
        from joblib import Parallel, delayed, parallel_config
        from joblib.externals.loky import get_reusable_executor

        jobs = self._jobs()
        options: dict[str, Any] = {}
        if jobs > 1:
            options = {"initializer": deaf, "inner_max_num_threads": 1}
            if not self._processes:  # they end with the search: what they have imported may change until the next one
                self._processes = True
                self._cleanup.callback(lambda: get_reusable_executor().shutdown(kill_workers=True))

        def calls() -> Iterator[Any]:
            for one in batch:
                if self._pressed():
                    return
                started.append(one)
                yield delayed(play)(search, one)

        with parallel_config(self.request.backend, n_jobs=jobs, **options):
            for row in Parallel(return_as="generator_unordered", pre_dispatch="2*n_jobs")(calls()):
                if row is not None:
                    yield row

    def _on_dask(
        self, terms: SearchTerms, search: str | Search, batch: Sequence[Combination]
    ) -> Iterator[OptimizerRow]:
        """Yield rows as a dask cluster finishes them.

        Raises:
            OutsideError: if a worker dies.
        """
        client, waiting = self._dask(), iter(batch)
        from distributed import CancelledError, KilledWorker, as_completed

        (placed,) = client.scatter([search], broadcast=True, hash=False)

        def submitted(count: int) -> list[Any]:
            return [client.submit(play, placed, one, pure=False) for one in islice(waiting, count)]

        playing = as_completed(submitted(2 * sum(client.ncores().values())))
        for future in playing:
            try:
                row = future.result()
            except (KilledWorker, CancelledError) as error:  # what a worker had finished goes with it
                raise self._died(terms) from error
            playing.update([] if self._pressed() else submitted(1))
            if row is not None:
                yield row

    def _on_ray(self, terms: SearchTerms, search: str | Search, batch: Sequence[Combination]) -> Iterator[OptimizerRow]:
        """Yield rows as a ray cluster finishes them, or one of this machine.

        Raises:
            LiuError: if ray is not installed, there is no cluster, or a worker dies.
        """
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigError("--backend ray needs ray: pip install ray") from None
        address = self.request.scheduler
        if not ray.is_initialized():
            cores = {"address": address} if address else {"address": "local", "num_cpus": self._jobs()}
            try:
                ray.init(**cores, include_dashboard=False, log_to_driver=False, logging_level=CRITICAL)
            except ConnectionError as error:
                raise OutsideError(f"there is no ray cluster at {address}: {error}") from error
            self._cleanup.callback(ray.shutdown)
        placed, remote, waiting = ray.put(search), ray.remote(play), iter(batch)
        playing = [remote.remote(placed, one) for one in islice(waiting, 2 * int(ray.cluster_resources()["CPU"]))]
        while playing:
            (done,), playing = ray.wait(playing)
            try:
                row = ray.get(done)
            except ray.exceptions.WorkerCrashedError as error:
                raise self._died(terms) from error
            playing += [remote.remote(placed, one) for one in islice(waiting, 0 if self._pressed() else 1)]
            if row is not None:
                yield row

    def _died(self, terms: SearchTerms) -> OutsideError:
        kept = "nothing is stored, because of --no-database"
        if self._record is not None:
            kept = f"what is finished is stored: go on with --resume {terms.session_id}"
        return OutsideError(f"a {self.request.backend} worker died while it played (see its log); {kept}")

    def _dask(self) -> Any:
        """Return the client of the cluster, made once; a cluster of our own listens on loopback only."""
        if self._client is None:
            try:
                import dask
                from distributed import Client, LocalCluster
            except ModuleNotFoundError:
                raise ConfigError("--backend dask needs dask: pip install 'liualgotrader[dask]'") from None
            scheduler: Any = self.request.scheduler
            if not scheduler:
                quiet: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "silence_logs": CRITICAL}  # any free port
                with dask.config.set({"distributed.scheduler.allowed-failures": 0}):  # its data died with it
                    cluster = LocalCluster(n_workers=self._jobs(), threads_per_worker=1, host="127.0.0.1", **quiet)
                scheduler = self._cleanup.enter_context(cluster)
            try:
                self._client = self._cleanup.enter_context(Client(scheduler))
            except OSError as error:
                raise OutsideError(f"there is no dask scheduler at {scheduler}: {error}") from error
        return self._client

    def _save(self, terms: SearchTerms, rows: Sequence[OptimizerRow]) -> None:
        if self._record is None or not rows:
            return

        async def saved(store: Any) -> None:
            for row in rows if self.space.portfolios else ():
                days = terms.request.bars.first, terms.request.bars.last
                one = Combination(row.number, tuple(row.point.values()), *days, row.fold, row.out_of_sample)
                for strategy, name, portfolio_id in terms.portfolios(one):
                    asked, kept = self.space.portfolios[strategy][name], {"optimizer": terms.session_id}
                    await Portfolio.save(portfolio_id, asked.size, asked.credit, kept, pool=store.pool)
            await store.save_optimizer_rows(rows)

        try:
            self._loop.run(saved(self._record.store))
        except DatabaseUnavailable as error:
            cause = str(error).partition(";")[0].rstrip(".")
            raise OutsideError(
                f"{cause}, after {self._done:,} combinations: see that the server runs, then go on with --resume"
                f" {terms.session_id}"
            ) from error

    # --- when it has ended --------------------------------------------------------------------------

    def _end(
        self, terms: SearchTerms, found: PlayedBars, rows: list[OptimizerRow], count: int, walk: WalkForward | None
    ) -> SearchOutcome:
        order = ranked(rows, self.constraints)
        best = order[0] if order and order[0].objective is not None else None
        interrupted = self._pressed()
        outcome = SearchOutcome(
            terms.session_id,
            self.space.names,
            order,
            self.constraints,
            count,
            "interrupted" if interrupted else "all combinations were played",
            walk_forward=walk,
        )
        if best is not None:
            axes = [(axis.values, axis.ordered) for axis in self.space.axes]
            outcome = msgspec.structs.replace(
                outcome, plateau=plateau(best, rows, axes), deflated_sharpe=deflated(best, rows)
            )
        if interrupted:
            again = f"; go on with --resume {terms.session_id}" if self._record is not None else ""
            done = f"interrupted: {len(rows):,} of {count:,} combinations are {'stored' if again else 'shown'}{again}"
            outcome = msgspec.structs.replace(outcome, exit_code=130, sentence=done)
        elif best is None and (why := next((row.failure for row in order if row.failure), "")):
            outcome = msgspec.structs.replace(outcome, exit_code=2, sentence=f"no combination could be played: {why}")
        for why, number in Counter(r.played_by.partition(": ")[2] for r in rows if terms.arrays).most_common():
            if why:
                self.screen.line(f"{number:,} combinations were played by the engine: {why}")
        self._store_end(terms, found, outcome)
        return outcome

    def _store_end(self, terms: SearchTerms, found: PlayedBars, outcome: SearchOutcome) -> None:
        if self._record is None:
            return
        walk = outcome.walk_forward
        best = [row for row in outcome.rows if row.objective is not None][: self.request.keep]
        result = {
            "best": [row.point for row in best],
            "objectives": [row.objective for row in best],
            "plateau": msgspec.to_builtins(outcome.plateau),
            "deflated_sharpe": outcome.deflated_sharpe,
            "walk_forward": None if walk is None else {n: getattr(walk, n) for n in _WALKED},
        }
        store = self._record.store
        self._loop.run(store.end_optimizer(terms.session_id, self._clock.now(), outcome.ended, result))
        for row in best if not outcome.exit_code else ():
            if not self._loop.run(store.newest_batches(1, row.batch_id)):
                self._keep(terms, found, row)

    def _keep(self, terms: SearchTerms, found: PlayedBars, row: OptimizerRow) -> None:
        """Play a combination once more, and store it as a batch under the id that its row has."""
        wanted = terms.request.bars
        one = Combination(row.number, tuple(row.point.values()), wanted.first, wanted.last)
        note = terms.request.note or f"best of the search {terms.session_id[:8]}"
        request = msgspec.structs.replace(terms.asked(one), database=True, note=note)
        with Backtesting(request, self.settings, terms.plan_at(one), self.screen, self._clock, bars=found) as again:
            again.batch_id = row.batch_id
            outcome = again.play(lambda session, bars: None)
            again.save(outcome)
        if abs(outcome.run.equity[-1] - row.equity[-1]) > _CENT:
            self.screen.warn(f"the engine makes {outcome.run.equity[-1]:,.2f} $ of it, and not {row.equity[-1]:,.2f} $")
        self.screen.line(f"batch {row.batch_id} holds the orders and fills of {_point_text(row)}")


def duration(seconds: float) -> str:
    """Return a length of time in words.

    >>> duration(4000)
    '1 h 7 min'
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _shown(axis: Any) -> Any:
    return list(axis.values) if len(axis.values) else [axis.low, axis.high]


def _point_text(row: OptimizerRow) -> str:
    return " ".join(f"{name}={value}" for name, value in row.point.items())
