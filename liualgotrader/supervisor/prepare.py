"""What precedes the first process of the stack: hours, record, batch, page, market, plan."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.calendar import session_at_or_after
from liualgotrader.common.clock import SECOND, Clock, as_datetime, clock_text, machine_now
from liualgotrader.common.config import Secrets, Settings, enter_session_environment
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.secret import NO_SECRET, Secret, without_secrets
from liualgotrader.common.session_plan import Arming, Endpoints, Hours, SessionPlan, SlotPlan, write_plan
from liualgotrader.common.tlog import log_to_file, warn
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.data.data_factory import CONNECTORS
from liualgotrader.data.recorded_series import records_of
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.order_gateway.account_lock import check_sub_account
from liualgotrader.supervisor.arming import (
    LIVE,
    LiveMoney,
    Proof,
    UnfinishedLive,
    environment_of,
    hash_of,
    keep_proof,
    session_limits,
)
from liualgotrader.supervisor.batch import Batch, BatchFinder, BatchTerms, build_label, end_file, may_go_on
from liualgotrader.supervisor.ending import Ending
from liualgotrader.supervisor.managed_process import SimulatedMarket
from liualgotrader.supervisor.plan_inspection import (
    PlanFacts,
    StrategyFacts,
    inspect_tradeplan,
    warnings_about,
    warnings_about_hours,
)
from liualgotrader.supervisor.request import (
    TraderRequest,
    batch_account,
    endpoints_of,
    finished_hours,
    generated_pair,
    market_spec,
    next_session_text,
    simulated_hours,
    todays_hours,
)
from liualgotrader.supervisor.session_database import Record, enough_room, has_record, open_record, sub_account_of
from liualgotrader.supervisor.trade_plans import tables_of
from liualgotrader.supervisor.view import Screen

log = logging.getLogger(__name__)

LARGEST_CONSUMERS = 100  # what fits on the page that the processes share
BEFORE_OPEN = 60 * SECOND  # the processes start so long before the open


@dataclass(slots=True)
class Prepared:
    """A session that can begin."""

    facts: tuple[StrategyFacts, ...]
    record: Record
    finder: BatchFinder
    batch: Batch
    plan: SessionPlan
    page: SessionPage
    market: SimulatedMarket | None
    wanted: tuple[str, ...]  # the processes to start
    plan_hash: str
    finished: bool = False  # the record says how it ended: sockets, page and plan are not needed any more

    def forget(self) -> None:
        """Remove what only a running or unfinished session needs; the record and the logs stay."""
        if self.finished:
            self.batch.forget()

    def prove(self, home: Path, executions: int) -> None:
        """Write down that this plan has traded and ended in order, if the whole batch was traded by it, and by it alone."""
        plan, arming = self.plan, self.plan.arming
        shared = any(place.trade_plan for place in self.batch.layout.places)
        if (
            shared
            or plan.shadow
            or self.batch.configuration.get("plan") != self.plan_hash
            or (arming and arming.refusal)
        ):
            return
        try:
            keep_proof(home, self.plan_hash, plan.environment, Proof(plan.batch_id, plan.hours.day, executions))
        except OSError as error:
            warn(log, "proof_lost", error=error)

    def page_time(self) -> int:
        """Return the simulated market's time, the session's open before it has stated any."""
        anchor = self.page.anchor()
        return anchor.market(machine_now()) if anchor else self.plan.hours.opens_at

    def strategies(self, *, day_trade: bool) -> frozenset[str]:
        """Return the strategies whose positions must not stay open overnight, or those whose may."""
        return frozenset(f.name for f in self.facts if f.day_trade is day_trade)


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a session is prepared from."""

    request: TraderRequest
    settings: Settings
    tradeplan: TradePlan
    screen: Screen
    programs: Mapping[str, str]
    market_lost: Callable[[str], None]
    waits: Callable[[str], None]  # called with what the preparation is waiting for
    clock: Clock

    @property
    def environment(self) -> str:
        """The environment that rows of this session carry."""
        return environment_of(self.request, self.settings)

    async def run(self, cleanup: AsyncExitStack) -> Prepared | Ending:
        """Return the prepared session, or why there is none to run; `cleanup` undoes what was done.

        Raises:
            LiuError: in one sentence; what was started until then is ended by `cleanup`.
        """
        request, settings, plan = self.request, self.settings, self.tradeplan
        check_port(request.port)
        check_consumers(settings.consumer_count())
        if not has_record(settings, request):  # else known once it is clear which batch it is
            enough_room(settings.home_path)
        money = None
        if self.environment == LIVE:
            money = LiveMoney(request, settings, plan, self.screen, self.waits, self.clock)
        earlier = await money.earlier() if money is not None else UnfinishedLive()
        calendar = asyncio.ensure_future(asyncio.to_thread(session_at_or_after, self.clock.now()))
        found, trouble = await self._inspect(earlier)
        await calendar  # it takes a second to load, and so do the plan's classes
        unmade = [f"{s.broken}: it will not run" for s in found.strategies if s.broken]
        self._warn(*unmade, *warnings_about(plan, found))
        arming = await money.arm(found.files, trouble, earlier) if money is not None else None
        hours: Hours | None
        if request.simulate:
            window, bypass = (request.window_from, request.window_to), plan.bypass_market_schedule
            hours = simulated_hours(request.market_day(), window, *self._rules, bypass=bypass)
        else:
            hours = await self.real_hours()
        over = finished_hours(self.clock.now(), *self._rules) if hours is None else None
        if hours is None and over is None and (hours := await self.next_hours()) is None:
            return Ending(0, "closed")
        record = await open_record(settings, request)
        cleanup.push_async_callback(record.close)
        finder = BatchFinder(
            record.store, settings.home_path, kept=request.kept_account(), account_is_new=request.account_is_new
        )
        cleanup.callback(finder.release)
        if hours is None and over is not None:  # a batch of today may still have to be finished
            unfinished = await record.store.unfinished_batches(self.environment)
            goes_on = any(may_go_on(b, over.day, shadow=request.shadow) for b in unfinished)
            hours = over if goes_on else await self.next_hours()
        if hours is None:
            return Ending(0, "closed")
        self._warn(*warnings_about_hours(plan, found, hours))
        if money is not None and arming is not None and not arming.refusal:
            if (why := money.refusal(found.files)) and not earlier.open:  # a file changed during the wait
                raise ConfigError(why)
            arming = Arming(arming.account, why)
        return await self._begin(found, money, arming, record, finder, hours, cleanup)

    def _warn(self, *sentences: str) -> None:
        for sentence in sentences:
            self.screen.warn(sentence)

    # --- the plan, and real money --------------------------------------------------------------------

    async def _inspect(self, earlier: UnfinishedLive) -> tuple[PlanFacts, str]:
        """Return what the plan's classes say, and why nothing may be opened where a batch goes on without them."""
        try:
            found = await asyncio.to_thread(inspect_tradeplan, self.tradeplan)
            broken = [s.broken for s in found.strategies]
            if broken and all(broken):
                others = f"; {len(broken) - 1} more cannot be made either" if broken[1:] else ""
                raise ConfigError(f"{broken[0]}{others}")
        except ConfigError as error:
            if not earlier.today:
                raise
            return PlanFacts(()), str(error)
        return found, self.request.broken_plan

    # --- hours -------------------------------------------------------------------------------------

    @property
    def _rules(self) -> tuple[int, int]:
        """Minutes from the liquidation to the close, and sessions of history."""
        return self.tradeplan.market_liquidation_end_time_minutes, max(1, self.tradeplan.timings.history_sessions)

    async def real_hours(self) -> Hours | None:
        """Return the hours of today's session, shortly before its open at the earliest; None if there is none now."""
        now = self.clock.now()
        hours = todays_hours(now, *self._rules, bypass=self.tradeplan.bypass_market_schedule)
        if hours is not None and now < hours.opens_at - BEFORE_OPEN:
            await self._wait_for(hours.opens_at, f"{as_datetime(hours.opens_at):at %H:%M} New York")
        return hours

    async def next_hours(self) -> Hours | None:
        """Say when the next session opens; with --wait return its hours shortly before."""
        now = self.clock.now()
        self.screen.line(f"the exchange is closed now; the next session opens on {next_session_text(now)}")
        if not self.request.wait:
            return None
        opens_at = session_at_or_after(now).opens_at
        await self._wait_for(opens_at, f"on {next_session_text(now)}")
        return todays_hours(opens_at - BEFORE_OPEN, *self._rules, bypass=False)

    async def _wait_for(self, opens_at: int, when: str) -> None:
        self.screen.line(f"waiting for the open {when}; Ctrl-C ends the wait")
        self.waits(f"waits for the open {when}")
        await self.clock.sleep_until(opens_at - BEFORE_OPEN)

    # --- batch, page, market, plan -------------------------------------------------------------------

    async def _begin(
        self,
        found: PlanFacts,
        money: LiveMoney | None,
        arming: Arming | None,
        record: Record,
        finder: BatchFinder,
        hours: Hours,
        cleanup: AsyncExitStack,
    ) -> Prepared:
        now = hours.opens_at if self.request.simulate else self.clock.now()
        wanted = self._wanted(found, hours)
        if money is not None and arming is not None:
            wanted.configuration["full_size"] = money.share(found.files, arming)
        batch = await finder.batch(wanted, now, fresh=self.request.new)
        self._warn(*finder.notes)
        try:
            build = await asyncio.to_thread(build_label)
            tradeplan, folder = self.tradeplan, self.settings.tradeplan_path.absolute().parent
            if not tradeplan.file_only:
                stored = await tables_of(batch.layout, record.store, folder)
                tradeplan = msgspec.structs.replace(tradeplan, strategies=tradeplan.strategies | stored)
            slots = await finder.slots(batch, tradeplan, found.strategies, self.environment, build, now)
            joined = {s.strategy: StrategyFacts(s.strategy, s.run_all, s.day_trade) for s in slots}
            known = [facts.name for facts in found.strategies]
            of_plans = tuple(facts for name, facts in joined.items() if name not in known)
            found = msgspec.structs.replace(found, strategies=found.strategies + of_plans)
            plan = self._plan(batch, hours, slots, build, tradeplan)
            if plan.sub_account:
                self._check_sub_account(plan)
            if money is not None and arming is not None:
                limits = money.limits(found.files, arming, batch.configuration)
                plan = msgspec.structs.replace(plan, arming=arming, limits=limits)
            return await self._furnish(found, record, finder, batch, plan, cleanup)
        except BaseException:
            if not batch.resumed:
                await finder.end(batch.batch_id, now, "could not start")
                batch.forget()
            raise

    async def _furnish(
        self,
        found: PlanFacts,
        record: Record,
        finder: BatchFinder,
        batch: Batch,
        plan: SessionPlan,
        cleanup: AsyncExitStack,
    ) -> Prepared:
        """Make folders, page and market of a batch, and write its plan."""
        market_at = last_market_time(batch.run_dir)
        for folder in (batch.run_dir, batch.journal_dir, batch.log_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        end_file(batch.journal_dir).reserve()
        log_to_file(batch.log_dir, "supervisor", debug=self.settings.debug)
        page = SessionPage.create(plan.page_path, plan.process_names(), plan.link_names())
        scanners = ["scanners_runner"] if self.tradeplan.scanners else []
        names = ["order_gateway", "producer", *(f"consumer-{i}" for i in range(plan.consumers)), *scanners]
        if self.tradeplan.test_scanners:
            names = ["scanners_runner"]
        plan_hash = hash_of(self.settings, self.tradeplan, found.files)
        prepared = Prepared(found.strategies, record, finder, batch, plan, page, None, tuple(names), plan_hash)
        cleanup.callback(prepared.forget)
        cleanup.callback(page.close)
        if self.request.simulate:
            prepared.market, prepared.plan = await self._simulated(plan, record, market_at, cleanup)
        else:
            keys = (self.settings.key_id, self.settings.secret_key)
            secrets = Secrets(*keys, Secret(record.dsn), polygon_key=self.settings.polygon_key)
            enter_session_environment(secrets, keep_vendors=True)
        write_plan(prepared.plan)
        hours, endpoints = plan.hours, prepared.plan.endpoints
        self.screen.line(f"batch {batch.batch_id}" + (" (taken up again)" if batch.resumed else ""))
        self.screen.line(
            f"{plan.environment} session of {hours.day}, {clock_text(hours.opens_at)} to"
            f" {clock_text(hours.closes_at)} New York, {plan.consumers} consumer(s), seed {plan.seed}"
            + (", shadow: nothing is sent" if plan.shadow else "")
        )
        if endpoints.loopback:
            self.screen.line(f"the simulated market serves {endpoints.trading_url}; logs are in {plan.log_dir}")
        return prepared

    def _wanted(self, found: PlanFacts, hours: Hours) -> BatchTerms:
        request, settings, kept = self.request, self.settings, self.request.kept_account()
        market = {
            "data": request.data,
            "symbols": list(request.symbols),
            "symbol_count": request.symbol_count,
            "opens_at": hours.opens_at,
            "closes_at": hours.closes_at,
            **msgspec.structs.asdict(settings.simulation),
            "account": kept.number if kept is not None else None,
        }
        configuration: dict[str, Any] = {
            "settings": {name: value for name, value, _ in settings.shown()},
            "tradeplan": without_secrets(self.tradeplan.as_dict()),
            "market": market if request.simulate else {},
            "shadow": request.shadow,
            "plan": hash_of(self.settings, self.tradeplan, found.files),
        }
        return BatchTerms(
            environment=self.environment,
            day=hours.day,
            consumers=settings.consumer_count(),
            seed=settings.seed or 0,
            strategies=found.strategies,
            configuration=configuration,
        )

    def _plan(
        self, batch: Batch, hours: Hours, slots: tuple[SlotPlan, ...], build: str, tradeplan: TradePlan
    ) -> SessionPlan:
        settings = self.settings
        return SessionPlan(
            batch_id=batch.batch_id,
            environment=self.environment,
            hours=hours,
            simulated_clock=self.request.simulate,
            endpoints=Endpoints("", "", "", "", loopback=True) if self.request.simulate else settings.endpoints,
            run_dir=str(batch.run_dir),
            journal_dir=str(batch.journal_dir),
            log_dir=str(batch.log_dir),
            records_dir=str(records_of(settings.home_path, batch.batch_id)),
            consumers=batch.layout.consumers,
            slots=slots,
            tradeplan=tradeplan,
            tradeplan_dir=str(settings.tradeplan_path.absolute().parent),
            seed=batch.seed,
            data_connector=settings.data_connector if settings.data_connector in CONNECTORS else "alpaca",
            broker="alpaca" if self.request.simulate else settings.broker,
            data_feed=settings.data_feed,
            link=settings.link,
            timings=tradeplan.timings,
            limits=session_limits(tradeplan, settings),
            shadow=self.request.shadow,
            build_number=build,
            debug=settings.debug,
            trace=settings.trace,
            verbose=self.request.verbose,
            account_is_new=self.request.account_is_new,
            kept_bars_bytes=settings.keep_bars_mb * 1_000_000,
            announces=True,
            sub_account=sub_account_of(slots),
        )

    def _check_sub_account(self, plan: SessionPlan) -> None:
        """Check that orders can go to a sub-account.

        Raises:
            ConfigError: if they cannot.
        """
        check_sub_account(plan.endpoints)
        if not (self.settings.broker_api_key and self.settings.broker_api_secret):
            raise ConfigError(
                "a portfolio names a sub-account at the broker, whose orders go through the Broker API: set"
                " ALPACA_BROKER_API_KEY and ALPACA_BROKER_API_SECRET"
            )
        self.screen.line(f"orders go to sub-account …{plan.sub_account[-4:]} through {plan.endpoints.broker_url}")

    async def _simulated(
        self, plan: SessionPlan, record: Record, market_at: int, cleanup: AsyncExitStack
    ) -> tuple[SimulatedMarket, SessionPlan]:
        key_id, secret_key = generated_pair()
        polygon_key = secret_key if plan.data_connector == "polygon" else NO_SECRET
        secrets = Secrets(key_id, secret_key, Secret(record.dsn), polygon_key=polygon_key)
        enter_session_environment(secrets, keep_vendors=False)
        market = SimulatedMarket(self.programs["simulator"], Path(plan.run_dir), Path(plan.log_dir), self.market_lost)
        cleanup.push_async_callback(market.stop)
        chosen = self.settings.simulation
        account = self.request.kept_account() or batch_account(plan.batch_id, Path(plan.journal_dir))
        spec = market_spec(
            self.request, chosen, plan.hours, plan.seed, account,
            page=str(plan.page_path), log_dir=plan.log_dir, not_before=market_at,
        )  # fmt: skip
        self.screen.line(
            f"opening the simulated market for {plan.hours.day}: fills {chosen.fills}, fees {chosen.fees}, latency"
            f" {chosen.latency_ms:g} ms"
        )
        port = await market.start(spec)
        for note in market.notes:
            self.screen.line(note)
        for doubt in market.doubts:
            self.screen.warn(doubt)
        return market, msgspec.structs.replace(plan, endpoints=endpoints_of(port, plan.data_feed, plan.data_connector))


def last_market_time(run_dir: Path) -> int:
    """Return where the simulated time of an earlier supervisor's session stood, 0 if nothing says so."""
    path = run_dir / "page"
    if not path.exists():
        return 0
    page = SessionPage(path)
    anchor = page.anchor()
    page.close()
    return anchor.market0 if anchor else 0


def check_consumers(count: int) -> None:
    """Check that a session can have so many consumers.

    Raises:
        ConfigError: if it cannot.
    """
    if count > LARGEST_CONSUMERS:
        raise ConfigError(f"{count} consumers are asked for, but a session has at most {LARGEST_CONSUMERS}")


def check_port(port: int) -> None:
    """Check that the simulated market can serve at a port; 0 is any that is free.

    Raises:
        ConfigError: if it is no port's number.
        OutsideError: if another process has it.
    """
    if not port:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", port))
        except OverflowError:
            raise ConfigError(f"--port is {port}, but a port is a number from 1 to 65535") from None
        except OSError as error:
            raise OutsideError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error
