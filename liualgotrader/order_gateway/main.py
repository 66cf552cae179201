"""Entry point of the order gateway: takes the account, rebuilds the desk, trades until told to stop, shuts down in order."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.analytics import consolidate
from liualgotrader.common.clock import HOUR, SECOND
from liualgotrader.common.config import Secrets
from liualgotrader.common.control import ROWS_LEFT, UNANNOUNCED, DeskFacts, SupervisorCommand
from liualgotrader.common.errors import (
    BadData,
    BrokerUnreachable,
    DatabaseUnavailable,
    LiuError,
    OutsideError,
    RecordDiffers,
)
from liualgotrader.common.orders import BrokerAccount, BrokerPosition
from liualgotrader.common.ports import Broker, Store
from liualgotrader.common.tlog import say, warn
from liualgotrader.data.data_factory import open_data
from liualgotrader.ipc.child_process import Child, Queues, run_child
from liualgotrader.order_gateway.account_lock import AccountLock, check_account, check_endpoints, other_account
from liualgotrader.order_gateway.carry_over import (
    EarlierOrders,
    account_positions,
    before_the_batch,
    carried_positions,
    carries,
    takes_up,
)
from liualgotrader.order_gateway.gateway import Gateway
from liualgotrader.order_gateway.journaled_desk import JournaledDesk
from liualgotrader.order_gateway.recovery import recovered
from liualgotrader.order_gateway.row_writer import RowRecorder
from liualgotrader.order_gateway.watches import WARN_BELOW, LatestPrices, SnapshotPrices, disk_text
from liualgotrader.orders.desk_messages import Begin, Condition, DeskTerms, Flatten, KillSwitch, Leave, Recovered
from liualgotrader.store.background_writer import OpenStore
from liualgotrader.store.store_factory import open_store
from liualgotrader.trading.trader_factory import open_broker

log = logging.getLogger(__name__)

NOT_ARMED = "real money is not armed"  # the condition's name
START_SECONDS = 30.0  # machine time for broker and database to answer at the first start
STEADY_LOOKS = 4  # most looks at positions until they stay the same while orders of earlier batches are looked up
ANNOUNCE_SECONDS = 5.0  # machine time for the supervisor to show the account
BOOKS_SECONDS = 10.0  # machine time for the first comparison with the broker
LEAVE_SECONDS, ORPHAN_LEAVE_SECONDS = 5.0, 1.0  # machine time for cancels to be confirmed at the end
FLATTEN_SECONDS = 12.0
DRAIN_SECONDS, ORPHAN_DRAIN_SECONDS = 10.0, 1.0
RECORD = "record"  # the condition that holds until the journal was compared with the database
RECORD_TEXT = "the journal has not been compared with the database since the start"
_LOOK_SECONDS = 0.02
_FACTS_SECONDS, _DISK_SECONDS = 1, 10


@dataclass(frozen=True, slots=True)
class GatewayDependencies:
    """What the gateway needs from outside; tests pass their own."""

    open_broker: Callable[[], Awaitable[Broker]]
    open_store: OpenStore
    open_prices: Callable[[], LatestPrices]
    data_folder: Path


def run(run_dir: str, control: Connection, queues: Queues | None = None) -> None:
    """Run the order gateway of the session in `run_dir`, and exit."""
    run_child(
        "order_gateway",
        run_dir,
        control,
        lambda child: serve(child, open_dependencies(child, Secrets.from_environment())),
        queues,
    )


def open_dependencies(child: Child, secrets: Secrets) -> GatewayDependencies:
    """Return what the session's plan names, not opened yet."""
    plan = child.plan
    return GatewayDependencies(
        partial(
            open_broker, plan.broker, plan.endpoints, secrets, plan.timings.broker_timeout_seconds, plan.sub_account
        ),
        partial(open_store, secrets.dsn.reveal()),
        lambda: SnapshotPrices(open_data(plan, secrets)),
        Path(plan.journal_dir).parent.parent,
    )


async def serve(child: Child, dependencies: GatewayDependencies) -> None:
    """Trade for the session until told to stop.

    Raises:
        ConfigError: if orders would go where they may not, or to another account than the batch's.
        OutsideError: if broker or database do not answer at the first start, or another gateway holds the account.
        MoneyNeedsAPerson: if the journal is damaged.
    """
    check_endpoints(child.plan)
    early: list[SupervisorCommand] = []
    child.on_command(early.append)
    async with AsyncExitStack() as cleanup:
        broker = await dependencies.open_broker()
        cleanup.push_async_callback(broker.close)
        account = await _patiently(child, broker.account)
        check_account(child.plan, account.account_number)
        lock = AccountLock(dependencies.data_folder, account.account_number)
        cleanup.callback(lock.close)
        journaled = JournaledDesk(Path(child.plan.journal_dir), child.clock)
        cleanup.callback(journaled.close)
        if journaled.account_number not in ("", account.account_number):
            raise other_account(child.plan.batch_id, account.account_number)
        service = _Service(child, dependencies, broker, account, lock, journaled)
        try:
            await service.begin(cleanup, early)
            await service.trade()
        except RecordDiffers as error:  # found out late, as the database was away at the start
            if child.stopping.is_set():
                raise
            child.notice("WARNING", f"{error}; the order gateway starts again and rebuilds the batch")
            return
        await service.leave()


class _Service:
    """The gateway while it holds the account."""

    def __init__(
        self,
        child: Child,
        dependencies: GatewayDependencies,
        broker: Broker,
        account: BrokerAccount,
        lock: AccountLock,
        journaled: JournaledDesk,
    ) -> None:
        plan = child.plan
        self._child, self._plan, self._broker, self._account, self._journaled = child, plan, broker, account, journaled
        self._recorder = RowRecorder(
            plan.batch_id,
            account.account_number,
            dependencies.open_store,
            child.clock,
            patience_seconds=plan.timings.database_outage_seconds,
            on_outage=lambda text: self._gateway.tell(Condition("database", text)),
            hold=child.status.hold(),
        )
        self._gateway = Gateway(child, journaled, broker, self._recorder, lock, dependencies.open_prices())
        self._gateway.operator.before_answer = self._tell_facts
        self._facts: dict[str, Any] = {}
        self._low_disk_told = False
        self._turns = 0

    # --- the start -------------------------------------------------------------------------------

    async def begin(self, cleanup: AsyncExitStack, early: Sequence[SupervisorCommand]) -> None:
        """Lease the account, open or rebuild the books, and take part once they were compared with the broker's.

        `early` are the commands that the supervisor sent meanwhile.
        """
        child, gateway = self._child, self._gateway
        is_new = self._journaled.is_new
        self._recorder.begin_after(self._journaled.begins_after)
        self._recorder.add(self._journaled.rows)
        self._journaled.rows = []
        cleanup.push_async_callback(self._recorder.close)
        behind = await self._is_behind(is_new=is_new)
        cleanup.push_async_callback(gateway.close)
        found = await self._recover(behind=behind) if behind or is_new else None
        desk = self._journaled.desk
        generation = self._recorder.generation or desk.generation
        begin = Begin(DeskTerms.of(self._plan), generation)
        gateway.tell(begin, *([found] if found is not None else []), self._account)
        self._watch_record()
        self._recorder.start()
        refusal = self._plan.arming.refusal if self._plan.arming is not None else ""
        if refusal != desk.entries_stopped.get(NOT_ARMED, ""):
            gateway.tell(Condition(NOT_ARMED, refusal, takes_back=bool(refusal)))
        if found is not None and found.opened and carries(self._plan):
            await self._tell_traded_before(self._recorder.store)
        if takes_up(self._plan) and not desk.has_opened:
            await self._take_up(found)
        if killed := gateway.operator.killed():
            child.notice(
                "WARNING",
                f"THE KILL SWITCH IS ON since {killed['since']} New York ({killed['reason']}): nothing is opened until"
                " `trader resume`",
            )
            if not desk.is_killed:
                gateway.tell(KillSwitch(reason=killed["reason"]))
        self._watch_disk()
        with child.status.hold():
            gateway.attach()
            for command in early:
                gateway.on_command(command)
            await self._until(lambda: desk.has_compared and gateway.clock_asked, BOOKS_SECONDS)
            self._tell_facts()
            if self._plan.announces:  # a person can read whose account it is before any intent is taken
                child.send(DeskFacts({UNANNOUNCED: True}))
                announced, stopping = gateway.operator.announced, child.stopping
                await self._until(lambda: announced.is_set() or stopping.is_set(), ANNOUNCE_SECONDS)
            gateway.attach_consumers()
            child.report(
                lambda: {
                    **gateway.counts,
                    "rows_waiting": self._recorder.waiting,
                    "open_orders": len(self._journaled.desk.working()),
                }
            )
            child.ready()
        say(log, "gateway_ready", generation=generation, restarted=not is_new)

    async def _is_behind(self, *, is_new: bool) -> bool:
        """Lease the account and return whether the journal is behind the record.

        A restart does not wait for the database: the lock file is held, and lease and comparison follow.
        """
        try:
            await _patiently(self._child, self._recorder.connect, seconds=START_SECONDS if is_new else 0.0)
        except DatabaseUnavailable as error:
            if is_new:
                raise
            warn(log, "lease_later", error=error)
        except RecordDiffers as error:
            warn(log, "journal_behind", error=error)
            return True
        return False

    async def _recover(self, *, behind: bool) -> Recovered | None:
        """Return what a new journal begins with, None if neither record nor broker have anything of the batch yet.

        A journal that is behind is put aside, and consumers restart without what they remember of it.
        """
        child, store = self._child, self._recorder.store
        now = child.clock.now()
        found: Recovered = await _patiently(child, lambda: recovered(self._plan, store, self._broker, now))
        self._gateway.rebuilt = True
        if behind:
            aside = self._journaled.start_over()
            self._recorder.begin_after(found.record.progress)
            await _patiently(child, self._recorder.connect)
            child.notice(
                "WARNING",
                f"the journal of batch {self._plan.batch_id} is behind the record (kept as {aside}): the batch is rebuilt"
                f" from the database and the broker ({len(found.record.orders)} orders, {len(found.record.trades)}"
                " executions), and entries that still work are cancelled",
            )
        return found if behind or found.seen else None

    async def _take_up(self, found: Recovered | None) -> None:
        """Go on from what earlier batches left: first their orders, then, unless told otherwise, their positions.

        Each once, however often a gateway dies meanwhile.
        """
        child, plan, desk = self._child, self._plan, self._journaled.desk
        store: Store = await _patiently(child, self._recorder.connect)
        orders = EarlierOrders(plan.environment, plan.batch_id, store, self._broker, child.clock)
        held: Sequence[BrokerPosition] | None = None
        for _ in range(STEADY_LOOKS):
            before, held = held, await _patiently(child, partial(account_positions, plan, store, self._broker))
            if before == held:
                break
            await self._store_rows()
            for earlier in await _patiently(child, lambda: orders.found(child.notice)):
                self._gateway.tell(earlier)  # its fills are rows of its own batch
            await self._store_rows()
        for batch_id in desk.earlier_batches():  # what it gained is what its executions say by now
            try:
                await _patiently(child, partial(consolidate.again, batch_id, plan.environment, store))
            except LiuError as error:  # trading does not depend on it
                child.notice("WARNING", f"the results of batch {batch_id} are not up to date: {error}")
        if not carries(plan):
            return
        await self._tell_traded_before(store)
        for carried in await carried_positions(plan, store, before_the_batch(held or (), found), child.notice):
            if not desk.has_taken_up(carried):
                self._gateway.tell(carried)

    async def _store_rows(self) -> None:
        if not await self._recorder.drain(START_SECONDS):
            self._check()
            raise DatabaseUnavailable(
                "What earlier sessions left cannot be read: PostgreSQL stores no rows; start again."
            )

    async def _tell_traded_before(self, store: Store) -> None:
        plan = self._plan
        hours, names = plan.hours, list(dict.fromkeys(slot.strategy for slot in plan.slots))
        closed_at = hours.previous[0][1] if hours.previous else hours.opens_at or self._child.clock.now() - 24 * HOUR
        for traded in await store.traded_before(plan.environment, names, plan.batch_id, closed_at):
            self._gateway.tell(traded)

    # --- the session -----------------------------------------------------------------------------

    async def trade(self) -> None:
        """Return when told to stop; raise what ends the gateway."""
        while not self._child.stopping.is_set():
            self._check()
            try:
                async with asyncio.timeout(_FACTS_SECONDS):
                    await self._child.stopping.wait()
            except TimeoutError:
                self._tell_facts()

    async def leave(self) -> None:
        """Cancel what would open positions, close those of DAY_TRADE if told so, and store the last rows."""
        child, desk, gateway = self._child, self._journaled.desk, self._gateway
        command, orphaned = child.stop_command, child.orphaned
        gateway.tell(Leave(command.reason if command else "the gateway ends", resumes=orphaned))
        if command is not None and command.flatten:
            for slot in desk.day_trade_slots():  # what is meant for longer than a day stays
                gateway.tell(Flatten(slot, command.reason))
            await self._until(lambda: not desk.has_closings, FLATTEN_SECONDS)
        await self._until(
            lambda: not (desk.has_entries or desk.has_exits_under_way) and gateway.lanes.idle,
            ORPHAN_LEAVE_SECONDS if orphaned else LEAVE_SECONDS,
        )
        if not orphaned:
            await gateway.learn_last_equity()
        drained = await self._recorder.drain(ORPHAN_DRAIN_SECONDS if orphaned else DRAIN_SECONDS)
        self._tell_facts()
        child.send(DeskFacts({ROWS_LEFT: self._recorder.waiting}))
        if not drained:
            warn(log, "rows_left", count=self._recorder.waiting)
            child.notice("WARNING", f"{self._recorder.waiting} rows wait in the journal for the database")

    async def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        clock = self._child.clock
        until = clock.machine() + int(seconds * SECOND)
        while not reached() and clock.machine() < until:
            self._check()
            await clock.sleep(_LOOK_SECONDS)

    def _check(self) -> None:
        if (error := self._gateway.failed()) is not None:
            raise error

    def _tell_facts(self) -> None:
        """Tell the supervisor what has changed of the facts, and look at the disk now and then."""
        self._turns += 1
        self._watch_record()
        if self._turns % _DISK_SECONDS == 0:
            self._watch_disk()
        account = self._journaled.desk.account or self._account
        facts = {
            "account": account.account_number[-4:],
            "cash": None if account.cash is None else f"{account.cash:.2f}",
            "kill_switch": self._gateway.operator.killed(),
            **msgspec.to_builtins(self._journaled.desk.facts()),
        }
        changed = {name: v for name, v in facts.items() if name not in self._facts or self._facts[name] != v}
        if changed:
            self._facts = facts
            self._child.send(DeskFacts(changed))

    def _watch_record(self) -> None:
        waits = not self._recorder.joined
        if waits != (RECORD in self._journaled.desk.entries_stopped):
            self._gateway.tell(Condition(RECORD, RECORD_TEXT if waits else ""))

    def _watch_disk(self) -> None:
        free = shutil.disk_usage(self._plan.journal_dir).free
        text = disk_text(free)
        if bool(text) != ("disk" in self._journaled.desk.entries_stopped):
            self._gateway.tell(Condition("disk", text))
        if not text and free < WARN_BELOW and not self._low_disk_told:
            self._low_disk_told = True
            self._child.notice("WARNING", f"only {free // 1_000_000} MB are free for the journal")


async def _patiently(child: Child, ask: Callable[[], Awaitable[Any]], *, seconds: float = START_SECONDS) -> Any:
    """Return the answer; ask again after a failure, for `seconds` of machine time."""
    until = child.clock.machine() + int(seconds * SECOND)
    pause = 0.1
    while True:
        try:
            return await ask()
        except (BadData, BrokerUnreachable, DatabaseUnavailable) as error:
            if child.clock.machine() >= until or child.stopping.is_set():
                if isinstance(error, BadData):
                    raise OutsideError(f"{error}; the broker's answers cannot be used: start again later.") from error
                raise
        await child.clock.sleep(pause)
        pause = min(2 * pause, 2.0)
