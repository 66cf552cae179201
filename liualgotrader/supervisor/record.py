"""The database of a session: which one, the batch and its slots in it, and taking up a batch that was left unfinished."""

from __future__ import annotations

import asyncio
import fcntl
import os
import platform
import shlex
import subprocess
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from liualgotrader import __version__
from liualgotrader.analytics import consolidate
from liualgotrader.common.config import Settings, default_home
from liualgotrader.common.errors import ConfigError, DatabaseUnavailable, MoneyNeedsAPerson, OutsideError
from liualgotrader.common.ports import Store
from liualgotrader.common.programs import program_call
from liualgotrader.common.rows import AlgoRunRow, BatchRow
from liualgotrader.common.session_plan import PLAN_FILE, SlotPlan, read_plan
from liualgotrader.common.tradeplan import TradePlan, without_secrets
from liualgotrader.consumer.left_signals import store_left_signals
from liualgotrader.order_gateway.left_over import store_left_over
from liualgotrader.supervisor.data_folder import enough_room
from liualgotrader.supervisor.layout import Layout, StrategyFacts, lay_out, stored_layout
from liualgotrader.supervisor.request import Request
from liualgotrader.supervisor.results import Results

if TYPE_CHECKING:
    from liualgotrader.models.server import EmbeddedServer

SIMULATED_DATABASE = "liu_simulated"


class Record:
    """The open database of a session, with the embedded server behind it if it is ours.

    `database` is its name on the embedded server, else how to look at it.
    """

    def __init__(self, store: Store, dsn: str, server: EmbeddedServer | None, database: str) -> None:
        self.store = store
        self.dsn = dsn
        self.server = server
        self.database = database

    def how_to_look(self, home: Path) -> str:
        """Return the command that opens the rows, as it can be typed."""
        if self.server is None:
            return self.database
        at_home = f"LIU_HOME={shlex.quote(str(home))} " if home != default_home() else ""
        return f"{at_home}{program_call('liu')} db psql {self.database}"

    async def keep_alive(self) -> bool:
        """Start the embedded server again if its postmaster was killed; return whether it had to be."""
        if self.server is None or self.server.postmaster_pid is not None:
            return False
        return await asyncio.to_thread(self.server.restart_if_dead)

    async def close(self) -> None:
        """Let go of the database; the last user of the embedded server stops it."""
        await self.store.close()
        if self.server is not None:
            await asyncio.to_thread(self.server.release)


async def open_record(settings: Settings, request: Request) -> Record:
    """Return the database that the session writes to, its tables up to date.

    A simulated session uses a database of its own on the embedded server, whatever DSN says; only
    `--dsn` on the command line changes that.

    Raises:
        ConfigError: if the address or the data folder cannot be used.
        OutsideError: if the server does not come up or cannot be reached.
    """
    from liualgotrader.models.server import DEFAULT_DATABASE, EmbeddedServer
    from liualgotrader.models.store_factory import open_store

    dsn = settings.dsn.reveal() if not request.simulate or request.dsn_given else ""
    if dsn:
        try:
            store = await open_store(dsn, migrate=True)
        except DatabaseUnavailable as error:
            cause = str(error).partition(";")[0]
            raise OutsideError(f"{cause}, so nothing is started: see that it runs and that DSN names it") from error
        where = "psql with the address given to --dsn" if settings.source("dsn") == "command line" else 'psql "$DSN"'
        return Record(store, dsn, None, where)
    server = await asyncio.to_thread(EmbeddedServer.start, settings.home_path)
    database = SIMULATED_DATABASE if request.simulate else DEFAULT_DATABASE
    try:
        await asyncio.to_thread(server.ensure_database, database)
        store = await open_store(server.dsn(database), migrate=True)
    except BaseException:
        server.release()
        raise
    return Record(store, server.dsn(database), server, database)


async def look_at_record(settings: Settings, request: Request, portfolios: Collection[str] = ()) -> str:
    """Return what `open_record` would find and do, in words; no database and no table is made or changed.

    Raises:
        LiuError: as `open_record` does, or if one of the `portfolios` is not there.
    """
    from liualgotrader.models.server import DEFAULT_DATABASE, EmbeddedServer

    dsn = settings.dsn.reveal() if not request.simulate or request.dsn_given else ""
    if dsn:
        return f"the server that DSN names{await _would_change(dsn, portfolios)}"
    database = SIMULATED_DATABASE if request.simulate else DEFAULT_DATABASE
    server = await asyncio.to_thread(EmbeddedServer.start, settings.home_path)
    try:
        if database not in await asyncio.to_thread(server.databases):
            for portfolio_id in portfolios:
                raise _no_portfolio(portfolio_id)
            return f"embedded PostgreSQL, database {database} would be made"
        return f"embedded PostgreSQL, database {database}{await _would_change(server.dsn(database), portfolios)}"
    finally:
        await asyncio.to_thread(server.release)


async def _would_change(dsn: str, portfolios: Collection[str]) -> str:
    from liualgotrader.models.store_factory import lacking, open_store

    steps = await lacking(dsn)
    if steps:
        return f", whose tables would be brought to this version (from {steps[0]} on)"
    store = await open_store(dsn)
    try:
        for portfolio_id in portfolios:
            if await store.portfolio_account(portfolio_id) is None:
                raise _no_portfolio(portfolio_id)
    finally:
        await store.close()
    return ""


def _no_portfolio(portfolio_id: str) -> ConfigError:
    return ConfigError(f"there is no portfolio {portfolio_id} in the database; `portfolio_id` must name one, or go")


# --- the batch ---------------------------------------------------------------------------------------


class Batch(msgspec.Struct, frozen=True):
    """The batch of this session and where its files are."""

    batch_id: str
    layout: Layout
    seed: int
    resumed: bool
    run_dir: Path
    journal_dir: Path
    log_dir: Path


def folders(home: Path, batch_id: str, day: str) -> tuple[Path, Path, Path]:
    """Return the batch's folders for sockets, journals and logs."""
    short = batch_id.replace("-", "")[:12]
    return home / "run" / short, home / "journal" / short, home / "logs" / f"{day}-{short}"


class BatchLock:
    """Held while a supervisor serves a batch; the kernel lets go of it when the process dies."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("ab")
        os.set_inheritable(self._file.fileno(), False)

    def taken(self) -> bool:
        """Take it; return False if another process has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let go of it."""
        with suppress(FileNotFoundError):
            Path(self._file.name).unlink()
        self._file.close()


def lock_of(home: Path, batch_id: str) -> BatchLock:
    """Return the lock of a batch."""
    return BatchLock(home / "run" / f"{batch_id.replace('-', '')[:12]}.lock")


class Wanted(msgspec.Struct, frozen=True):
    """What a batch is made from; two runs that want the same may be one batch."""

    environment: str
    day: str
    consumers: int
    seed: int
    strategies: tuple[StrategyFacts, ...]
    configuration: dict[str, Any]


class Ledger:
    """Finds, makes and ends the batch."""

    def __init__(self, store: Store, home: Path) -> None:
        self._store = store
        self._home = home
        self._lock: BatchLock | None = None
        self.notes: list[str] = []  # what a person should read about a batch that was left for a new one

    async def batch(self, wanted: Wanted, now: int, *, fresh: bool) -> Batch:
        """Return the unfinished batch of that day and environment if there is one to take up, else a new one.

        Raises:
            ConfigError: if another `trader` serves it, or the tradeplan has other strategies now.
            OutsideError: if the disk has no room for a new one.
        """
        found = await self._store.unfinished_batch(wanted.environment, wanted.day)
        if found is not None:
            resumed = await self._take_up(found, wanted, now, fresh=fresh)
            if resumed is not None:
                return resumed
        return await self._make(wanted, now)

    async def _take_up(self, found: BatchRow, wanted: Wanted, now: int, *, fresh: bool) -> Batch | None:
        simulated = wanted.environment == "SIMULATED"
        lock = lock_of(self._home, found.batch_id)
        if not lock.taken():
            if simulated:  # a market of its own: it does not concern us
                return None
            raise ConfigError(
                f"batch {found.batch_id} of today is being traded by another `trader`; see `trader status`"
            )
        run_dir, journal_dir, log_dir = folders(self._home, found.batch_id, wanted.day)
        gone = simulated and not (same_market(found, wanted) and (journal_dir / MARKET_STATE).exists())
        if fresh or gone:
            await self._store_left_over(found, wanted, journal_dir)
            await self.end(found.batch_id, now, "left unfinished; a new batch was started")
            lock.release()
            return None
        await store_left_signals(journal_dir, self._store)
        layout = stored_layout(found.layout, wanted.strategies, found.batch_id)
        self._lock = lock
        return Batch(found.batch_id, layout, found.seed or 0, True, run_dir, journal_dir, log_dir)

    async def _store_left_over(self, found: BatchRow, wanted: Wanted, journal_dir: Path) -> None:
        """Store what the batch's gateway could not, and what it came to: nobody will serve that batch again."""
        try:
            await store_left_signals(journal_dir, self._store)
            if rows := await store_left_over(journal_dir, found.batch_id, self._store):
                self.notes.append(f"{rows} rows of batch {found.batch_id} waited in its journal and are stored now")
        except MoneyNeedsAPerson as error:
            self.notes.append(f"{error} What batch {found.batch_id} had not stored yet is in no table.")
        names = tuple(fact.name for fact in wanted.strategies)
        results = Results(self._store, found.environment, found.batch_id, names)
        await consolidate.trades(found.batch_id, self._store, await results.opening(await results.trades()))

    async def _make(self, wanted: Wanted, now: int) -> Batch:
        enough_room(self._home)
        batch_id = str(uuid.uuid4())
        self._lock = lock_of(self._home, batch_id)
        self._lock.taken()
        layout = lay_out(wanted.strategies, wanted.consumers)
        await self._store.begin_batch(
            BatchRow(
                batch_id=batch_id,
                session_date=wanted.day,
                environment=wanted.environment,
                started_at=now,
                layout=layout.as_dict(),
                configuration=wanted.configuration,
                versions={"liualgotrader": __version__, "python": platform.python_version()},
                seed=wanted.seed,
            )
        )
        return Batch(batch_id, layout, wanted.seed, False, *folders(self._home, batch_id, wanted.day))

    async def slots(
        self,
        batch: Batch,
        plan: TradePlan,
        facts: Sequence[StrategyFacts],
        environment: str,
        build: str,
        now: int,
    ) -> tuple[SlotPlan, ...]:
        """Return the slots with their rows in `algo_run`, made or taken up; `facts` are what the classes said.

        Raises:
            ConfigError: if a strategy's portfolio does not exist.
        """
        stopped = stopped_before(batch.run_dir)
        swing = {f.name for f in facts if f.day_trade is False}
        slots: list[SlotPlan] = []
        for place in batch.layout.places:
            details = plan.strategies[place.strategy]
            run = AlgoRunRow(
                batch_id=batch.batch_id,
                slot=place.slot,
                strategy=place.strategy,
                environment=environment,
                build_number=build,
                parameters=without_secrets(details),
                started_at=now,
            )
            run_id = await self._store.begin_algo_run(run)
            account = await self._account(details.get("portfolio_id"), batch.batch_id)
            slots.append(
                SlotPlan(
                    place.slot,
                    place.strategy,
                    place.consumer,
                    run_id,
                    place.run_all,
                    account,
                    stopped.get(place.slot, ""),
                    day_trade=place.strategy not in swing,
                )
            )
        return tuple(slots)

    async def _account(self, portfolio_id: str | None, batch_id: str) -> int | None:
        if not portfolio_id:
            return None
        found = await self._store.portfolio_account(portfolio_id)
        if found is None:
            raise _no_portfolio(portfolio_id)
        await self._store.associate_portfolio(portfolio_id, batch_id)
        return found[0]

    async def end(self, batch_id: str, now: int, reason: str, slot_reasons: Sequence[tuple[int, str]] = ()) -> None:
        """Write the end of every run of a batch that has none, and of the batch."""
        for run_id, why in slot_reasons:
            await self._store.end_algo_run(run_id, now, why)
        for run_id in await self._store.open_algo_runs(batch_id):
            await self._store.end_algo_run(run_id, now, reason)
        await self._store.end_batch(batch_id, now, reason)

    def release(self) -> None:
        """Let go of the batch."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


MARKET_STATE = "market.state"


def same_market(found: BatchRow, wanted: Wanted) -> bool:
    """Whether an unfinished simulated batch played what is wanted now."""
    return bool(found.configuration.get("market") == wanted.configuration.get("market")) and found.seed == wanted.seed


def stopped_before(run_dir: Path) -> dict[int, str]:
    """Return the slots that an earlier supervisor of the batch had stopped, with the reasons."""
    if not (run_dir / PLAN_FILE).exists():
        return {}
    return {slot.slot: slot.stopped for slot in read_plan(run_dir).slots if slot.stopped}


def build_label() -> str:
    """Return what `git describe` says of the working directory, else this package's version."""
    try:
        told = subprocess.run(
            ["git", "describe", "--tags", "--always", "--dirty"], capture_output=True, text=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return told.stdout.strip() or __version__
