"""Entry point of the order gateway: takes the account, rebuilds the desk, trades until told to stop, and leaves in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    UnusableRows,
)
from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import BrokerAccount, BrokerPosition
from liualgotrader.common.ports import Broker
from liualgotrader.common.tlog import say, warn
from liualgotrader.ipc.child_process import Child, Queues, run_child
from liualgotrader.order_gateway.account_lock import AccountLock, check_account, check_endpoints, other_account
from liualgotrader.order_gateway.carry_over import EarlierOrders, carried_positions, carries, takes_up
from liualgotrader.order_gateway.gateway import Gateway
from liualgotrader.order_gateway.journaled_desk import JournaledDesk
from liualgotrader.order_gateway.recovery import recovered
from liualgotrader.order_gateway.row_writer import RowRecorder
from liualgotrader.order_gateway.watches import WARN_BELOW, LatestPrices, disk_text, free_bytes
from liualgotrader.orders import Begin, Condition, DeskTerms, Flatten, KillSwitch, Leave, Recovered
from liualgotrader.store.background_writer import OpenStore

if TYPE_CHECKING:
    from liualgotrader.common.ports import Store

log = logging.getLogger(__name__)

NOT_ARMED = "real money is not armed"  # the condition's name
START_SECONDS = 30.0  # machine time for broker and database to answer at the first start
STEADY_LOOKS = 4  # at the account, until nothing moves while the orders of earlier batches are looked up
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
    """What the gateway needs from outside; the entry point opens them, tests hand in their own."""

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
    """Return what the session's plan names; nothing is called yet."""
    plan = child.plan

    async def broker() -> Broker:
        from liualgotrader.trading.trader_factory import open_broker

        return await open_broker(plan, secrets)

    async def store() -> Store:
        from liualgotrader.store.store_factory import open_store

        return await open_store(secrets.dsn.reveal())

    def prices() -> LatestPrices:
        from liualgotrader.data.data_factory import open_data
        from liualgotrader.order_gateway.watches import SnapshotPrices

        return SnapshotPrices(open_data(plan, secrets))

    return GatewayDependencies(broker, store, prices, Path(plan.journal_dir).parent.parent)


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
        account = await _patiently(child, broker.account, START_SECONDS)
        check_account(child.plan, account.account_number)
        lock = AccountLock(dependencies.data_folder, account.account_number)
        cleanup.callback(lock.close)
        room = JournaledDesk(Path(child.plan.journal_dir), child.clock)
        cleanup.callback(room.close)
        if room.account_number not in ("", account.account_number):
            raise other_account(child.plan.batch_id, account.account_number)
        session = _Session(child, dependencies, broker, account, lock, room)
        try:
            await session.begin(cleanup, early)
            await session.live()
        except RecordDiffers as error:  # found out late, as the database was away at the start
            if child.stopping.is_set():
                raise
            child.notice("WARNING", f"{error}; the order gateway starts again and rebuilds the batch")
            return
        await session.leave()


class _Session:
    """The gateway's life between taking the account and giving it back."""

    def __init__(
        self,
        child: Child,
        dependencies: GatewayDependencies,
        broker: Broker,
        account: BrokerAccount,
        lock: AccountLock,
        room: JournaledDesk,
    ) -> None:
        plan = child.plan
        self._child, self._broker, self._account, self._room, self._lock = child, broker, account, room, lock
        self._recorder = RowRecorder(
            plan.batch_id,
            account.account_number,
            dependencies.open_store,
            child.clock,
            patience_seconds=plan.timings.database_outage_seconds,
            on_outage=lambda text: self._gateway.tell(Condition("database", text)),
            hold=child.status.hold(),
        )
        self._gateway = Gateway(child, room, broker, self._recorder, lock, dependencies.open_prices())
        self._gateway.operator.before_answering(self._tell_facts)
        self._facts: dict[str, Any] = {}
        self._low_disk_told = False
        self._turns = 0
        self._unread: UnusableRows | None = None

    async def begin(self, cleanup: AsyncExitStack, early: Sequence[SupervisorCommand]) -> None:
        """Lease the account, open or rebuild the books, and take part once they were compared with the broker's.

        `early` are the orders that the supervisor gave meanwhile.
        """
        child, room, gateway = self._child, self._room, self._gateway
        is_new = room.is_new
        self._recorder.begin_after(room.begins_after)
        self._recorder.add(room.rows)
        room.rows = []
        cleanup.push_async_callback(self._recorder.close)
        behind = await self._lease(is_new=is_new)
        cleanup.push_async_callback(gateway.close)
        found = await self._recover(behind=behind) if behind or is_new else None
        generation = self._recorder.generation or room.desk.generation
        begin = Begin(DeskTerms.of(child.plan), generation)
        gateway.tell(begin, *([found] if found is not None else []), self._account)
        self._watch_record()
        self._recorder.start()
        self._arm()
        if found is not None and found.opened and carries(child.plan):
            await self._tell_traded_before(self._recorder.store)
        if takes_up(child.plan) and not room.desk.has_opened:
            await self._take_up(found)
        if killed := gateway.operator.killed():
            child.notice(
                "WARNING",
                f"THE KILL SWITCH IS ON since {killed['since']} New York ({killed['reason']}): nothing is opened until"
                " `trader resume`",
            )
            if not room.desk.is_killed:
                gateway.tell(KillSwitch(reason=killed["reason"]))
        self._watch_disk()
        with child.status.hold():
            gateway.attach()
            for order in early:
                gateway.on_order(order)
            # Intents wait for it, not in vain.
            await self._until(lambda: room.desk.has_compared and gateway.clock_asked, BOOKS_SECONDS)
            await self._announce()
            gateway.attach_consumers()
            child.report(self._counters)
            child.ready()
        say(log, "gateway_ready", generation=generation, restarted=not is_new)

    def _arm(self) -> None:
        """Shut entries for real money that is not armed, or open them again."""
        arming = self._child.plan.arming
        refusal = arming.refusal if arming is not None else ""
        if refusal != self._room.desk.entries_stopped.get(NOT_ARMED, ""):
            self._gateway.tell(Condition(NOT_ARMED, refusal, takes_back=bool(refusal)))

    async def _announce(self) -> None:
        """Tell what the account is, and wait until a person could read it: no intent is taken before."""
        self._tell_facts()
        if not self._child.plan.announces:
            return
        self._child.send(DeskFacts({UNANNOUNCED: True}))
        announced, stopping = self._gateway.operator.announced, self._child.stopping
        await self._until(lambda: announced.is_set() or stopping.is_set(), ANNOUNCE_SECONDS)

    async def _recover(self, *, behind: bool) -> Recovered | None:
        """Return what a new journal has to begin with, None if nobody has anything of the batch yet.

        A journal that is behind is put aside; consumers begin again without what they remember of it.
        """
        child, store, room = self._child, self._recorder.store, self._room
        find = partial(recovered, child.plan, store, self._broker, child.clock.now())
        found: Recovered = await _patiently(child, find, START_SECONDS)
        self._gateway.rebuilt = True
        if behind:
            aside = room.start_over()
            self._recorder.begin_after(found.record.progress)
            await _patiently(child, self._recorder.connect, START_SECONDS)
            child.notice(
                "WARNING",
                f"the journal of batch {child.plan.batch_id} is behind the record (kept as {aside}): the batch is rebuilt"
                f" from the database and the broker ({len(found.record.orders)} orders, {len(found.record.trades)}"
                " executions), and entries that still work are taken back",
            )
        return found if behind or found.seen else None

    async def _take_up(self, found: Recovered | None) -> None:
        """Go on from what earlier batches left: first their orders, then, unless told otherwise, their positions."""
        child = self._child
        store = await _patiently(child, self._recorder.connect, START_SECONDS)
        held: Sequence[BrokerPosition] | None = None
        for _ in range(STEADY_LOOKS):
            before, held = held, await _patiently(child, self._positions, START_SECONDS)
            if before == held:
                break
            await self._settle_earlier(store)
        await self._analyse_earlier(store)
        if carries(child.plan):
            await self._carry(store, _without(held or (), found))

    async def _positions(self) -> Sequence[BrokerPosition]:
        """Return what of the account's positions can be read; for the others nothing can be carried."""
        self._unread = None
        try:
            return await self._broker.positions()
        except UnusableRows as error:
            if any(not row.symbol for row in error.bad):
                raise
            self._unread = error
            return error.good

    async def _settle_earlier(self, store: Store) -> None:
        """Book what earlier batches' orders have traded since, in the rows of those batches, and wait until it is stored."""
        child, plan = self._child, self._child.plan
        await self._store_rows()
        orders = EarlierOrders(plan.environment, plan.batch_id, store, self._broker, child.clock)
        for told in await _patiently(child, lambda: orders.found(child.notice), START_SECONDS):
            self._gateway.tell(told)
        await self._store_rows()

    async def _analyse_earlier(self, store: Store) -> None:
        """Analyse the batches of those orders again: what they gained is what their executions say by now.

        Trading does not depend on it, so a failure is said and no more.
        """
        child, environment = self._child, self._child.plan.environment
        for batch_id in self._room.desk.earlier_batches():
            try:
                await _patiently(child, partial(consolidate.again, batch_id, environment, store), START_SECONDS)
            except LiuError as error:
                child.notice("WARNING", f"the results of batch {batch_id} are not up to date: {error}")

    async def _store_rows(self) -> None:
        if not await self._recorder.drain(START_SECONDS):
            self._look()
            raise DatabaseUnavailable(
                "What earlier sessions left cannot be read: PostgreSQL stores no rows; start again."
            )

    async def _carry(self, store: Store, held: Sequence[BrokerPosition]) -> None:
        """Give the slots what their strategies hold from before: each once, however often a gateway dies meanwhile."""
        child = self._child
        await self._tell_traded_before(store)
        unread = {row.symbol for row in self._unread.bad} if self._unread is not None else ()
        for carried in await carried_positions(child.plan, store, held, child.notice):
            if carried.symbol in unread:
                raise OutsideError(f"{self._unread}; {carried.symbol} was left open before: start again later.")
            if not self._room.desk.has_taken_up(carried):
                self._gateway.tell(carried)

    async def _tell_traded_before(self, store: Store) -> None:
        plan = self._child.plan
        hours, names = plan.hours, list(dict.fromkeys(slot.strategy for slot in plan.slots))
        closed_at = hours.previous[0][1] if hours.previous else hours.opens_at or self._child.clock.now() - 24 * HOUR
        for traded in await store.traded_before(plan.environment, names, plan.batch_id, closed_at):
            self._gateway.tell(traded)

    async def live(self) -> None:
        """Return when told to stop; raise what ends the gateway."""
        while not self._child.stopping.is_set():
            self._look()
            try:
                async with asyncio.timeout(_FACTS_SECONDS):
                    await self._child.stopping.wait()
            except TimeoutError:
                self._tell_facts()

    async def leave(self) -> None:
        """Take back what would open positions, close those of DAY_TRADE if told so, and write down what is left."""
        child, room, gateway = self._child, self._room, self._gateway
        order, orphaned = child.stop_command, child.orphaned
        gateway.tell(Leave(order.reason if order else "the gateway ends", resumes=orphaned))
        if order is not None and order.flatten:
            for slot in room.desk.day_trade_slots():  # what is meant for longer than a day stays
                gateway.tell(Flatten(slot, order.reason))
            await self._until(lambda: not room.desk.has_closings, FLATTEN_SECONDS)
        seconds = ORPHAN_LEAVE_SECONDS if orphaned else LEAVE_SECONDS
        await self._until(lambda: not self._is_under_way() and gateway.lanes.idle, seconds)
        drained = await self._recorder.drain(ORPHAN_DRAIN_SECONDS if orphaned else DRAIN_SECONDS)
        self._tell_facts()
        child.send(DeskFacts({ROWS_LEFT: self._recorder.waiting}))
        if not drained:
            warn(log, "rows_left", count=self._recorder.waiting)
            child.notice("WARNING", f"{self._recorder.waiting} rows wait in the journal for the database")

    def _is_under_way(self) -> bool:
        desk = self._room.desk
        return desk.has_entries or desk.has_exits_under_way

    async def _lease(self, *, is_new: bool) -> bool:
        """Take the account and return whether the journal is behind the record.

        A restart does not wait for the database: the lock file is held, and lease and comparison follow.
        """
        try:
            await _patiently(self._child, self._recorder.connect, START_SECONDS if is_new else 0.0)
        except DatabaseUnavailable as error:
            if is_new:
                raise
            warn(log, "lease_later", error=error)
        except RecordDiffers as error:
            warn(log, "journal_behind", error=error)
            return True
        return False

    async def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        clock = self._child.clock
        until = clock.machine() + int(seconds * SECOND)
        while not reached() and clock.machine() < until:
            self._look()
            await clock.sleep(_LOOK_SECONDS)

    def _look(self) -> None:
        if (error := self._gateway.failed()) is not None:
            raise error

    def _counters(self) -> dict[str, float]:
        counts = self._gateway.counts
        return {**counts, "rows_waiting": self._recorder.waiting, "open_orders": len(self._room.desk.working())}

    def _tell_facts(self) -> None:
        """Tell the supervisor what has changed of the facts, and look at the disk now and then."""
        self._turns += 1
        self._watch_record()
        if self._turns % _DISK_SECONDS == 0:
            self._watch_disk()
        account = self._room.desk.account or self._account
        facts = {
            "account": account.account_number[-4:],
            "cash": _stated(account.cash),
            "kill_switch": self._gateway.operator.killed(),
            **msgspec.to_builtins(self._room.desk.facts()),
        }
        changed = {
            name: value for name, value in facts.items() if name not in self._facts or self._facts[name] != value
        }
        if changed:
            self._facts = facts
            self._child.send(DeskFacts(changed))

    def _watch_record(self) -> None:
        waits = not self._recorder.joined
        if waits != (RECORD in self._room.desk.entries_stopped):
            self._gateway.tell(Condition(RECORD, RECORD_TEXT if waits else ""))

    def _watch_disk(self) -> None:
        free = free_bytes(Path(self._child.plan.journal_dir))
        text = disk_text(free)
        if bool(text) != ("disk" in self._room.desk.entries_stopped):
            self._gateway.tell(Condition("disk", text))
        if not text and free < WARN_BELOW and not self._low_disk_told:
            self._low_disk_told = True
            self._child.notice("WARNING", f"only {free // 1_000_000} MB are free for the journal")


def _stated(dollars: Decimal | None) -> str | None:
    return None if dollars is None else f"{dollars:.2f}"


def _without(held: Sequence[BrokerPosition], found: Recovered | None) -> list[BrokerPosition]:
    """Return what the account held before the batch's own orders, of which no journal knew, had filled."""
    ours: dict[str, Decimal] = {}
    for order in found.seen if found is not None else ():
        for one in (order, *order.legs):
            ours[one.symbol] = ours.get(one.symbol, ZERO) + one.filled_quantity * one.side.sign
    before = {p.symbol: msgspec.structs.replace(p, quantity=p.quantity - ours.pop(p.symbol, ZERO)) for p in held}
    before |= {symbol: BrokerPosition(symbol, -shares, ZERO) for symbol, shares in ours.items() if shares}
    return [position for position in before.values() if position.quantity]


async def _patiently(child: Child, ask: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    """Return the answer; ask again while nobody answers, for `seconds` of machine time."""
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
