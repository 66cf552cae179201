"""The batch of a session: created or resumed, its layout, and the end that an earlier batch could not write."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from liualgotrader import __version__
from liualgotrader.analytics import consolidate
from liualgotrader.analytics.summary import summarize
from liualgotrader.common.errors import ConfigError, MoneyNeedsAPerson
from liualgotrader.common.order_id import batch_part
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import AlgoRunRow, BatchRow, OperatorAction
from liualgotrader.common.secret import without_secrets
from liualgotrader.common.session_plan import PLAN_FILE, SlotPlan, read_plan
from liualgotrader.common.tradeplan import Simulation, TradePlan
from liualgotrader.consumer.signal_writer import store_spooled_signals
from liualgotrader.ipc.address import forget_address
from liualgotrader.journal.reserved_file import ReservedFile
from liualgotrader.order_gateway.recovery import close_with_the_market, store_left_over
from liualgotrader.supervisor.plan_inspection import StrategyFacts
from liualgotrader.supervisor.request import MARKET_STATE, MarketAccount
from liualgotrader.supervisor.session_database import account_of, enough_room, sub_account_in
from liualgotrader.supervisor.session_figures import Results

GONE = "the tradeplan does not name it any more"  # why a slot of a batch that goes on does not run


class Batch(msgspec.Struct, frozen=True):
    """The batch of this session and where its files are."""

    batch_id: str
    layout: Layout
    seed: int
    resumed: bool
    run_dir: Path
    journal_dir: Path
    log_dir: Path
    configuration: dict[str, Any] = {}  # what it was made with

    def forget(self) -> None:
        """Remove what only a running or unfinished batch needs; the record and the logs stay."""
        end_file(self.journal_dir).forget()
        shutil.rmtree(self.run_dir, ignore_errors=True)
        forget_address(self.run_dir)


def folders(home: Path, batch_id: str, day: str) -> tuple[Path, Path, Path]:
    """Return the batch's folders for sockets, journals and logs."""
    short = batch_part(batch_id)
    return home / "run" / short, home / "journal" / short, home / "logs" / f"{day}-{short}"


# What every simulated market was before it could be chosen.
MARKET_BEFORE = msgspec.structs.asdict(Simulation()) | {"account": None}


class BatchLock:
    """Held while a supervisor serves a batch; the kernel releases it when the process dies."""

    def __init__(self, home: Path, batch_id: str) -> None:
        path = home / "run" / f"{batch_part(batch_id)}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("ab")
        os.set_inheritable(self._file.fileno(), False)
        self._held = False

    def acquire(self) -> bool:
        """Return whether it could be acquired; if not, another process has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._held = True
        return True

    def release(self) -> None:
        """Release it; the file of a lock that another process holds stays."""
        if self._held:
            with suppress(FileNotFoundError):
                Path(self._file.name).unlink()
        self._file.close()


class BatchTerms(msgspec.Struct, frozen=True):
    """The terms of a batch; two runs with the same terms may share one batch."""

    environment: str
    day: str
    consumers: int
    seed: int
    strategies: tuple[StrategyFacts, ...]
    configuration: dict[str, Any]


class BatchFinder:
    """Finds or creates the batch of a session, and ends it."""

    def __init__(
        self, store: Store, home: Path, *, kept: MarketAccount | None = None, account_is_new: bool = False
    ) -> None:
        self._store, self._home = store, home
        self._kept, self._account_is_new = kept, account_is_new
        self._lock: BatchLock | None = None
        self.notes: list[str] = []  # what a person should read about a batch that was left for a new one

    async def batch(self, wanted: BatchTerms, now: int, *, fresh: bool) -> Batch:
        """Return the unfinished batch of that day and environment, resumed, else a new one.

        Batches of earlier days that an account's sessions left unfinished here are finished first.

        Raises:
            ConfigError: if another `trader` serves it, the tradeplan has other strategies now, or the account is past
                that day.
            OutsideError: if the disk has no room for a new one.
        """
        unfinished = await self._store.unfinished_batches(wanted.environment)
        if not self._account_is_new:  # a simulated day that was cut off can be played on at any time
            for earlier in (b for b in reversed(unfinished) if b.session_date < wanted.day):
                lock = BatchLock(self._home, earlier.batch_id)
                has_journal = folders(self._home, earlier.batch_id, earlier.session_date)[1].exists()
                if has_journal and lock.acquire():  # else its rows are elsewhere, or another process serves it
                    await self._finish(earlier, PendingEnd(now, "left unfinished; a later session found it"))
                lock.release()
        shadow = bool(wanted.configuration.get("shadow"))
        found = next((b for b in unfinished if may_go_on(b, wanted.day, shadow=shadow)), None)
        if found is not None:
            resumed = await self._take_up(found, wanted, now, fresh=fresh)
            if resumed is not None:
                return resumed
        if self._account_is_new:  # each batch had a market of its own, which lives no longer than the batch
            alive = {batch.batch_id for batch in await self._store.unfinished_batches(wanted.environment)}
            self.notes += await close_with_the_market(wanted.environment, alive, self._store, now)
        if self._kept is not None and self._kept.played >= wanted.day:
            raise ConfigError(
                f"the account in {self._kept.state.parent} has traded {self._kept.played} already: choose a later day with"
                " --date, or another folder with --state"
            )
        return await self._make(wanted, now)

    async def _take_up(self, found: BatchRow, wanted: BatchTerms, now: int, *, fresh: bool) -> Batch | None:
        simulated = wanted.environment == "SIMULATED"
        lock = BatchLock(self._home, found.batch_id)
        if not lock.acquire():
            lock.release()
            if self._account_is_new:  # a market of its own: it does not concern us
                return None
            raise ConfigError(
                f"batch {found.batch_id} of today is being traded by another `trader`; see `trader status`"
            )
        run_dir, journal_dir, log_dir = folders(self._home, found.batch_id, wanted.day)
        kept = self._kept.played == wanted.day if self._kept is not None else (journal_dir / MARKET_STATE).exists()
        gone = simulated and not (same_market(found, wanted) and kept)
        if fresh or gone:
            if gone and not fresh:
                self.notes.append(f"batch {found.batch_id} of this day was cut off on another market, and ends with it")
            await self._finish(found, PendingEnd(now, "left unfinished; a new batch was started"))
            lock.release()
            return None
        await store_spooled_signals(journal_dir, self._store)
        if (end := kept_end(journal_dir)) is not None:
            await self._store.save_operator_actions(end.actions)
        end_file(journal_dir).forget()
        real_money = wanted.environment == "PROD"
        layout = stored_layout(found.layout, wanted.strategies, found.batch_id, whatever_the_plan=real_money)
        self._lock = lock
        return Batch(found.batch_id, layout, found.seed or 0, True, run_dir, journal_dir, log_dir, found.configuration)

    async def _finish(self, found: BatchRow, cut_off: PendingEnd) -> None:
        """Store the batch's unwritten rows, its analysis and its end: it is never resumed."""
        batch_id, journal_dir = found.batch_id, folders(self._home, found.batch_id, found.session_date)[1]
        rows = await store_spooled_signals(journal_dir, self._store)
        try:
            rows += await store_left_over(journal_dir, batch_id, self._store)
        except MoneyNeedsAPerson as error:
            self.notes.append(f"{error} What batch {batch_id} had not stored yet is in no table.")
        names = msgspec.convert(found.layout, Layout).strategies()
        results = Results(self._store, found.environment, batch_id, names, alone=self._account_is_new)
        _, opening = await results.executions()
        result = await consolidate.trades(batch_id, self._store, opening)
        end = kept_end(journal_dir) or cut_off
        await self._store.save_operator_actions(end.actions)
        await self.end(batch_id, end.at, end.reason, end.runs)
        end_file(journal_dir).forget()
        if rows:
            total = summarize(names, result.trips).total
            self.notes.append(
                f"{rows} rows of batch {batch_id} of {found.session_date} waited beside its journal and are stored now:"
                f" {result.executions} executions, {total.trips} trades, {total.gain:,.2f} $ ({end.reason})"
            )

    async def _make(self, wanted: BatchTerms, now: int) -> Batch:
        enough_room(self._home)
        batch_id = str(uuid.uuid4())
        self._lock = BatchLock(self._home, batch_id)
        self._lock.acquire()
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
        made = folders(self._home, batch_id, wanted.day)
        return Batch(batch_id, layout, wanted.seed, False, *made, wanted.configuration)

    async def slots(
        self, batch: Batch, plan: TradePlan, facts: Sequence[StrategyFacts], environment: str, build: str, now: int
    ) -> tuple[SlotPlan, ...]:
        """Return the slots with their rows in `algo_run`, made or taken up; `facts` are what the classes said.

        Raises:
            ConfigError: if a strategy's portfolio does not exist, or is one that is not traded for.
        """
        has_plan = (batch.run_dir / PLAN_FILE).exists()  # as an earlier supervisor of the batch left it
        before = {slot.slot: slot for slot in read_plan(batch.run_dir).slots} if has_plan else {}
        day_trade = {slot.strategy: slot.day_trade for slot in before.values()}
        day_trade |= {f.name: f.day_trade for f in facts if f.day_trade is not None}
        slots: list[SlotPlan] = []
        for place in batch.layout.places:
            details = plan.strategies.get(place.strategy, {})
            stopped = before[place.slot].stopped if place.slot in before else ""
            if stopped in ("", GONE):
                stopped = "" if place.strategy in plan.strategies else GONE
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
            account, funds, sub_account = None, None, ""
            if portfolio_id := details.get("portfolio_id"):
                portfolio = await account_of(self._store, portfolio_id)
                await self._store.associate_portfolio(portfolio_id, batch.batch_id)
                account, funds = portfolio.account_id, portfolio.balance + portfolio.credit
                sub_account = sub_account_in(portfolio, environment)
            closes = day_trade.get(place.strategy, True)
            where = (place.slot, place.strategy, place.consumer, run_id, place.run_all)
            slots.append(SlotPlan(*where, account, stopped, closes, place.own_process, funds, sub_account))
        return tuple(slots)

    async def end(self, batch_id: str, now: int, reason: str, slot_reasons: Sequence[tuple[int, str]] = ()) -> None:
        """Write the end of every run of a batch that has none, and of the batch."""
        for run_id, why in slot_reasons:
            await self._store.end_algo_run(run_id, now, why)
        for run_id in await self._store.open_algo_runs(batch_id):
            await self._store.end_algo_run(run_id, now, reason)
        await self._store.end_batch(batch_id, now, reason)

    def release(self) -> None:
        """Release the batch."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def may_go_on(found: BatchRow, day: str, *, shadow: bool) -> bool:
    """Whether an unfinished batch of that day can be resumed: one with --shadow by such a session only, and the reverse."""
    return found.session_date == day and bool(found.configuration.get("shadow")) == shadow


def same_market(found: BatchRow, wanted: BatchTerms) -> bool:
    """Whether an unfinished simulated batch played the market that is wanted now; earlier versions named fewer settings."""
    played = MARKET_BEFORE | dict(found.configuration.get("market") or {})
    return played == MARKET_BEFORE | dict(wanted.configuration["market"]) and found.seed == wanted.seed


def build_label() -> str:
    """Return what `git describe` says of the working directory, else this package's version."""
    try:
        described = subprocess.run(
            ["git", "describe", "--tags", "--always", "--dirty"], capture_output=True, text=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return described.stdout.strip() or __version__


class Place(msgspec.Struct, frozen=True):
    """A slot before it has its row in `algo_run`."""

    slot: int
    strategy: str
    consumer: int
    run_all: bool = False
    own_process: bool = False
    trade_plan: str = ""  # the row of the database's table that it comes from


class Layout(msgspec.Struct, frozen=True):
    """What a batch keeps for its whole life, over restarts: processes and slots."""

    consumers: int
    places: tuple[Place, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the layout as it stands in the batch's row."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def strategies(self) -> list[str]:
        """Return the strategies' names in order."""
        return list(dict.fromkeys(p.strategy for p in self.places))

    def joined_by(self, facts: StrategyFacts, trade_plan: str) -> Layout:
        """Return the layout with the slots of one more strategy, in consumers that are there: as `lay_out` has it.

        Where no consumers share the symbols, it lives in the first one.
        """
        alone = {place.consumer for place in self.places if place.own_process}
        sharing = [index for index in range(self.consumers) if index not in alone]
        load = Counter(place.consumer for place in self.places if not place.own_process)
        homes = sharing or [0]
        if facts.run_all:
            homes = [min(homes, key=lambda index: (load[index], index))]
        first = max((place.slot for place in self.places), default=0) + 1
        fresh = (
            Place(slot, facts.name, home, facts.run_all, not sharing, trade_plan)
            for slot, home in enumerate(homes, start=first)
        )
        return Layout(self.consumers, (*self.places, *fresh))


def lay_out(strategies: Sequence[StrategyFacts], consumers: int) -> Layout:
    """Return the slots, numbered from 1: strategies in the tradeplan's order, each in every consumer.

    A `run_all` strategy has one slot, in the consumer with the fewest strategies so far, ties to the lowest. One with
    `own_process` has one slot, in a consumer of its own that comes after the others; if all have, there are no others.
    """
    sharing = [s for s in strategies if not s.own_process]
    shared = consumers if sharing or not strategies else 0
    load = Counter({index: sum(not s.run_all for s in sharing) for index in range(shared)})
    places: list[Place] = []
    consumers = shared
    for facts in strategies:
        homes: Sequence[int] = range(shared)
        if facts.own_process:
            homes = [consumers]
            consumers += 1
        elif facts.run_all:
            home = min(range(shared), key=lambda index: (load[index], index))
            load[home] += 1
            homes = [home]
        places += [
            Place(slot, facts.name, home, facts.run_all, facts.own_process)
            for slot, home in enumerate(homes, start=len(places) + 1)
        ]
    return Layout(consumers, tuple(places))


def stored_layout(
    values: dict[str, Any], strategies: Sequence[StrategyFacts], batch_id: str, *, whatever_the_plan: bool = False
) -> Layout:
    """Return the layout that an unfinished batch was made with.

    Raises:
        ConfigError: if the tradeplan now has other strategies, unless the batch goes on `whatever_the_plan` says.
    """
    layout = msgspec.convert(values, Layout)
    of_the_file = dict.fromkeys(place.strategy for place in layout.places if not place.trade_plan)
    if not whatever_the_plan and of_the_file.keys() != {s.name for s in strategies}:
        raise ConfigError(
            f"the unfinished batch {batch_id} was made with the strategies {', '.join(of_the_file)}: "
            "start with the same tradeplan to resume it, or with --new for a fresh batch"
        )
    return layout


_RESERVE_BYTES = 64 * 1024


class PendingEnd(msgspec.Struct, frozen=True):
    """When, ns UTC, and why a batch ended, the runs that ended before it with their reasons, and what operators did unstored."""

    at: int
    reason: str
    runs: tuple[tuple[int, str], ...] = ()
    actions: tuple[OperatorAction, ...] = ()


def end_file(journal_dir: Path) -> ReservedFile:
    """Return the file of the batch's end; its room is to be reserved when the batch begins."""
    return ReservedFile(journal_dir / "end.left", _RESERVE_BYTES)


def keep_end(journal_dir: Path, end: PendingEnd) -> None:
    """Keep the end of a batch.

    Raises:
        OSError: if the disk does not take it.
    """
    end_file(journal_dir).keep(msgspec.json.encode(end))


def kept_end(journal_dir: Path) -> PendingEnd | None:
    """Return the end that the batch came to, None if it was cut off before it came to one."""
    data = end_file(journal_dir).kept()
    return msgspec.json.decode(data, type=PendingEnd) if data else None
