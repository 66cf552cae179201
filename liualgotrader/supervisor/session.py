"""One session from the first line on the screen to the last: prepare, live, finish."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec

from liualgotrader.analytics import consolidate
from liualgotrader.analytics.summary import summarize
from liualgotrader.common.clock import WallClock
from liualgotrader.common.config import Settings
from liualgotrader.common.control import ANNOUNCED, ROWS_LEFT, UNANNOUNCED, Failed, OperatorRequest
from liualgotrader.common.errors import DatabaseUnavailable, LiuError
from liualgotrader.common.session_plan import SessionPlan
from liualgotrader.common.tlog import say, warn
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.scanners_runner.scanner_marks import ScannerMarks
from liualgotrader.supervisor.arming import environment_of
from liualgotrader.supervisor.batch import Batch, PendingEnd, keep_end
from liualgotrader.supervisor.ending import (
    Ending,
    could_not_trade,
    needing_a_person,
    nobody_runs,
    say_data,
    say_refusals,
    say_scanners_off,
    say_summary,
)
from liualgotrader.supervisor.managed_process import ManagedProcess
from liualgotrader.supervisor.operator_socket import OperatorAnswers, TraderSocket
from liualgotrader.supervisor.prepare import Preparation, Prepared
from liualgotrader.supervisor.request import TraderRequest
from liualgotrader.supervisor.session_database import make_home
from liualgotrader.supervisor.session_figures import Results, SessionFigures
from liualgotrader.supervisor.stack import PROGRAMS, Stack
from liualgotrader.supervisor.view import Screen, equity_text, masked_account, today_text

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_WATCH_SECONDS = 1.0
_SHOW_SECONDS = 0.5
_COUNT_SECONDS = 1.0
_LOOKS = 3
_DATABASE_TRIES = 5
_NOBODY_LEFT = "and no other is left (what is open is closed at its stop or target, DAY_TRADE at the end of the day)"
_INTERRUPTED = Ending(130, "interrupted", "interrupted by Ctrl-C", by_hand=True)
_TOLD_TO_STOP = Ending(0, "stopped", "", by_hand=True)
_KILLED = Ending(130, "killed", "killed; the next `trader` takes the batch up again", by_hand=True)
_SIGNALS = {signal.SIGINT: _INTERRUPTED, signal.SIGTERM: _TOLD_TO_STOP, signal.SIGHUP: _TOLD_TO_STOP}


class Session:
    """Runs one session; make one per session."""

    def __init__(
        self,
        request: TraderRequest,
        settings: Settings,
        tradeplan: TradePlan,
        screen: Screen,
        programs: Mapping[str, str] = PROGRAMS,
    ) -> None:
        self._request, self._settings, self._tradeplan = request, settings, tradeplan
        self._screen, self._programs = screen, programs
        self._clock = WallClock()
        self._ending: asyncio.Future[Ending] | None = None
        self._asked: Ending | None = None
        self._main: asyncio.Task[Any] | None = None
        self._prepared: Prepared | None = None
        self._stack: Stack | None = None
        self._figures: SessionFigures | None = None
        self._results: Results | None = None
        self._errands: set[asyncio.Task[None]] = set()
        self._said_stopped: set[tuple[str, str]] = set()
        self._account_said = False
        self._never_ran: set[int] = set()  # slots that were stopped before their consumer took part
        self._looks_left = _LOOKS  # at the record, until the gateway tells of new fills

    async def run(self) -> Ending:
        """Run the session and return how it ended; everything it started has ended then.

        Raises:
            LiuError: if it could not begin.
        """
        loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        for number, ending in _SIGNALS.items():
            loop.add_signal_handler(number, self._interrupt, number, ending)
        try:
            async with AsyncExitStack() as cleanup:
                return await self._whole(cleanup)
        except (asyncio.CancelledError, LiuError) as error:
            began = self._ending is not None and isinstance(error, LiuError)
            if self._asked is None or began:
                raise
            return self._asked
        finally:
            self._screen.close()
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
                if number is not signal.SIGINT:  # it ends now, with a status of its own
                    signal.signal(number, signal.SIG_IGN)

    # --- what others tell the session ------------------------------------------------------------------

    def give_up(self, sentence: str, exit_code: int) -> None:
        """End the session; restarting would not help."""
        self._end(Ending(exit_code, "failed", sentence))

    def slot_stopped(self, slot: int, reason: str) -> None:
        """Write down that a slot is not called any more."""
        assert self._prepared is not None
        stopped = next(s for s in self._prepared.plan.slots if s.slot == slot)
        store = self._prepared.record.store
        self._errand(lambda: store.end_algo_run(stopped.algo_run_id, self._market_now(), reason))
        assert self._stack is not None
        if self._stack.workers[f"consumer-{stopped.consumer}"].state == "starting":
            self._never_ran.add(slot)
        told = (stopped.strategy, reason)
        if told not in self._said_stopped:  # once for all its slots
            self._said_stopped.add(told)
            alone = any(s.strategy != stopped.strategy and not s.stopped for s in self._stack.plan.slots)
            others = ", the others go on" if alone else f", {_NOBODY_LEFT}"
            self.notice("WARNING", f"strategy {stopped.strategy} is stopped{others}: {reason}")

    def notice(self, level: str, text: str) -> None:
        """Show a person a line."""
        log.log(logging.getLevelNamesMapping().get(level, logging.INFO), "%s", text)
        if level == "INFO":
            self._screen.line(text)
        else:
            self._screen.warn(text)

    def stop(self, flatten: bool) -> None:
        """End in order, as `trader stop` asks."""
        if flatten:
            self._request = msgspec.structs.replace(self._request, flatten=True)
        self._end(_TOLD_TO_STOP)

    def _interrupt(self, number: signal.Signals, ending: Ending) -> None:
        """End in order; a second Ctrl-C kills. Other signals come twice by nature: shell and kernel both send SIGHUP."""
        if self._asked is not None:
            if number is not signal.SIGINT:
                return
            self._asked = _KILLED
            if self._stack is not None:
                self._stack.kill()
            if self._main is not None:
                self._main.cancel()
            return
        self._ask_to_end(ending)

    def _ask_to_end(self, ending: Ending) -> None:
        self._asked = ending
        if self._ending is None and self._main is not None:  # still preparing, or waiting for the open
            self._main.cancel()
        else:
            self._end(ending)

    def _end(self, ending: Ending) -> None:
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(ending)

    # --- the walk ------------------------------------------------------------------------------------------

    async def _whole(self, cleanup: AsyncExitStack) -> Ending:
        home, environment = self._settings.home_path, environment_of(self._request, self._settings)
        make_home(home)
        door = TraderSocket(home, environment, lambda: self._ask_to_end(_TOLD_TO_STOP))
        cleanup.push_async_callback(door.close)
        await door.open()
        prepared = await Preparation(  # it may mean to wait for the open
            self._request,
            self._settings,
            self._tradeplan,
            self._screen,
            self._programs,
            self._market_lost,
            door.waits,
            self._clock,
        ).run(cleanup)
        if isinstance(prepared, Ending):
            return prepared
        self._prepared = prepared
        self._ending = asyncio.get_running_loop().create_future()
        stack = self._stack = Stack(prepared.plan, prepared.page, self, prepared.wanted, self._programs)
        figures = self._figures = SessionFigures(
            stack, prepared.market, prepared.batch.layout.strategies(), self._market_now
        )
        cleanup.push_async_callback(self._nobody_left, stack)
        plan = prepared.plan
        self._results = Results(
            prepared.record.store,
            plan.environment,
            plan.batch_id,
            prepared.batch.layout.strategies(),
            alone=self._tradeplan.skip_existing or self._request.account_is_new,
        )
        answering = OperatorAnswers(stack, figures, self._count, self.stop)
        door.hand_over(plan.batch_id, plan.environment, plan.hours.day, answering.answer)
        cleanup.push_async_callback(door.close)  # before the processes and the record that it tells of are gone
        stack.start()
        ending = await self._live()
        return await self._finish(prepared, stack, figures, ending)

    async def _live(self) -> Ending:
        assert self._ending is not None
        rounds = [
            self._round(_LOOK_SECONDS, self._look_at_the_time),
            self._round(_WATCH_SECONDS, self._watch),
            self._round(_SHOW_SECONDS, self._show),
            self._round(_COUNT_SECONDS, self._count_new),
        ]
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(r) for r in rounds]
        try:
            await asyncio.wait([self._ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # a bug of ours: raise it
            return await self._ending
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self, prepared: Prepared, stack: Stack, figures: SessionFigures, ending: Ending) -> Ending:
        reason = ending.reason
        say(log, "session_ends", reason=reason)
        self._screen.line(f"the session ends ({reason}); stopping the processes")
        keeping = asyncio.ensure_future(self._round(_WATCH_SECONDS, self._keep_record))  # the last rows are to arrive
        gateway = await self._stop(stack, ending)
        keeping.cancel()
        await asyncio.gather(keeping, *self._errands, return_exceptions=True)
        if (
            gateway is not None
            and gateway.failed is not None
            and (prepared.batch.resumed or "positions" in gateway.facts)
        ):
            ending, written = _unserved(ending, gateway.failed), False
        elif gateway is not None and gateway.failed is None and (gateway.exit_code or gateway.facts.get(ROWS_LEFT)):
            ending, written = _incomplete(ending, gateway.facts.get(ROWS_LEFT)), False
        else:
            ending, written = await self._write_down(prepared, stack, figures, ending)
        if not written:
            self._keep_end(prepared.batch, reason)
        if self._request.keep and prepared.market is not None and prepared.market.worker.alive and not ending.by_hand:
            await self._keep(prepared)
        prepared.finished = written
        return ending

    def _keep_end(self, batch: Batch, reason: str) -> None:
        assert self._stack is not None
        runs = _stopped_runs(self._stack.plan)
        try:
            keep_end(batch.journal_dir, PendingEnd(self._market_now(), reason, tuple(runs)))
        except OSError as error:
            warn(log, "end_lost", error=error)

    async def _stop(self, stack: Stack, ending: Ending) -> ManagedProcess | None:
        """Stop the processes and return the gateway's, which is started once more if it did not end in order."""
        flatten = self._request.flatten and ending.by_hand
        await stack.stop(ending.reason, flatten=flatten)
        gateway = stack.workers.get("order_gateway")
        if gateway is not None and gateway.exit_code and gateway.failed is None:
            self._screen.warn("the order gateway did not end in order; it is started once more to finish what is left")
            await stack.run_once("order_gateway", ending.reason, flatten=flatten)
        return gateway

    async def _write_down(
        self, prepared: Prepared, stack: Stack, figures: SessionFigures, ending: Ending
    ) -> tuple[Ending, bool]:
        """Analyse the batch and write its end; a database that is away is waited for a little.

        Return the ending, worse if something was found, and whether it could be written.
        """
        for attempt in range(_DATABASE_TRIES):
            try:
                return await self._analyse(prepared, stack, figures, ending), True
            except DatabaseUnavailable as error:
                await self._clock.sleep(float(attempt))
                with suppress(LiuError):
                    await prepared.record.keep_alive()
                sentence = f"{error} The batch is not finished: start `trader` again, which writes its end first"
        return ending if ending.exit_code else Ending(3, "failed", sentence), False

    async def _analyse(self, prepared: Prepared, stack: Stack, figures: SessionFigures, ending: Ending) -> Ending:
        assert self._results is not None
        results, plan = self._results, stack.plan
        opening = await results.opening(await results.trades())
        result = await consolidate.trades(plan.batch_id, prepared.record.store, opening)
        view = figures.view()
        lasts = {p.symbol: p.last for p in view.positions}
        standing = [
            msgspec.structs.replace(p, last=lasts.get(p.symbol)) for p in await results.standing(figures.held())
        ]
        await prepared.ledger.end(plan.batch_id, self._market_now(), ending.reason, _stopped_runs(plan))
        ended = {
            name: tuple(dict.fromkeys(s.stopped or ending.reason for s in plan.slots if s.strategy == name))
            for name in prepared.batch.layout.strategies()
        }
        self._screen.close()
        summary = summarize(prepared.batch.layout.strategies(), result.trips, ended)
        quarantined = figures.quarantined()
        say_summary(
            self._screen,
            summary,
            standing,
            dropped=view.dropped(),
            swing=prepared.swing(),
            quarantined=quarantined,
        )
        if "day_gain" in view.facts:
            self._screen.line(f"since the previous close: {today_text(view.facts)}")
        scanners_off = ScannerMarks(prepared.batch.run_dir).stopped
        say_scanners_off(self._screen, scanners_off)
        if not self._tradeplan.test_scanners:
            say_refusals(self._screen, view, result.executions, shadow=plan.shadow)
        if prepared.market is not None:
            say_data(self._screen, prepared.market.doubts, prepared.market.skipped)
        self._screen.line(f"batch {plan.batch_id}, {result.executions} executions")
        self._screen.line(f"rows: {prepared.record.how_to_look(self._settings.home_path)}")
        if plan.simulated_clock and not self._request.data:
            self._screen.line("prices were generated: gains on them say nothing about a strategy")
        day_trades = () if plan.hours.bypass else prepared.day_trades()
        if ending.exit_code == 0 and not ending.by_hand:
            scanners, executions = self._tradeplan.scanners, result.executions
            useless = could_not_trade(view, scanners, scanners_off, executions, shadow=plan.shadow)
            ending = nobody_runs(plan.slots, self._never_ran) or useless or ending
        ending = needing_a_person(ending, standing, quarantined, day_trades, flattened=self._request.flatten)
        if ending.exit_code == 0 and result.executions:
            prepared.prove(self._settings.home_path, result.executions)
        return ending

    async def _keep(self, prepared: Prepared) -> None:
        assert self._stack is not None
        self._ending = asyncio.get_running_loop().create_future()
        self._asked = None
        url = prepared.plan.endpoints.trading_url
        self._screen.line(f"kept alive: the simulated market at {url} and the database; Ctrl-C ends it")
        await self._ending

    # --- rounds ------------------------------------------------------------------------------------------

    async def _round(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await act()
            await self._clock.sleep(seconds)

    async def _look_at_the_time(self) -> None:
        assert self._prepared is not None
        self._announce()
        market = self._prepared.market
        if self._market_now() >= self._prepared.plan.hours.ends_at or (market is not None and market.ended):
            self._end(Ending())

    async def _watch(self) -> None:
        assert self._stack is not None
        assert self._prepared is not None
        await self._stack.watch()
        await self._keep_record()
        self._see_that_somebody_runs()

    def _see_that_somebody_runs(self) -> None:
        """End the session when no strategy is left in it and nothing is open that has to be looked after."""
        assert self._stack is not None
        assert self._figures is not None
        ending = nobody_runs(self._stack.plan.slots, self._never_ran)
        facts = self._figures.facts()
        if ending is not None and facts.get("positions") == [] and not facts.get("open_orders"):
            self._end(ending)

    async def _keep_record(self) -> None:
        assert self._prepared is not None
        with suppress(LiuError):
            if await self._prepared.record.keep_alive():
                self.notice("WARNING", "PostgreSQL was killed and is started again")

    async def _show(self) -> None:
        assert self._figures is not None
        self._screen.show(self._figures.view())

    def _announce(self) -> None:
        """Say whose account it is before anything is ordered there; the order gateway waits for that each time it starts."""
        assert self._stack is not None
        gateway = self._stack.workers.get("order_gateway")
        if gateway is None or "equity" not in gateway.facts:
            return
        if not self._account_said:
            self._account_said = True
            facts, environment = gateway.facts, self._stack.plan.environment
            self._screen.line(f"account {masked_account(facts)}, {environment}, {equity_text(facts)}")
            if facts.get("foreign"):
                self._errand(lambda: self._say_foreign(facts["foreign"]))
        if gateway.facts.get(UNANNOUNCED) and gateway.send(OperatorRequest(ANNOUNCED)):
            gateway.facts[UNANNOUNCED] = False

    async def _say_foreign(self, foreign: Mapping[str, str]) -> None:
        assert self._results is not None
        for sentence in await self._results.left_behind(foreign):
            self.notice("WARNING", sentence)

    async def _count_new(self) -> None:
        """Read the executions when the gateway has told of new ones, and twice more: their rows follow a little later."""
        assert self._figures is not None
        if self._figures.fills_are_new():
            self._looks_left = _LOOKS
        if self._looks_left:
            self._looks_left -= 1
            await self._count()

    async def _count(self) -> None:
        assert self._figures is not None
        assert self._results is not None
        with suppress(LiuError):
            trades = await self._results.trades()
            self._figures.count(trades, await self._results.opening(trades))

    # --- small ones --------------------------------------------------------------------------------------

    def _market_now(self) -> int:
        assert self._prepared is not None
        if self._prepared.market is None:
            return self._clock.now()
        return self._prepared.page_time()

    def _market_lost(self, sentence: str) -> None:
        self._end(Ending(3, "the simulated market is gone", sentence))

    def _errand(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do something with the record aside; it is done again at the end of the session if it fails."""

        async def run() -> None:
            with suppress(LiuError):
                await act()

        task = asyncio.ensure_future(run())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _nobody_left(self, stack: Stack) -> None:
        """See that no process is left, however the session ended."""
        stack.kill()
        for worker in stack.workers.values():
            if worker.alive:
                await worker.ended.wait()


def _stopped_runs(plan: SessionPlan) -> list[tuple[int, str]]:
    """Return the runs that ended before the session, with the reasons."""
    return [(slot.algo_run_id, slot.stopped) for slot in plan.slots if slot.stopped]


def _unserved(ending: Ending, failed: Failed) -> Ending:
    """Return the end of a session whose gateway gave up: what it left at the broker is for the next one to look after."""
    if not ending.exit_code or ending.by_hand:  # the gateway gave up while it was to stop
        ending = Ending(failed.exit_code, "failed", failed.text)
    told = f"{ending.sentence.rstrip('.')}. The batch stays unfinished, and what it left at the broker keeps working: the next"
    return msgspec.structs.replace(ending, sentence=f"{told} `trader` takes it up")


def _incomplete(ending: Ending, rows: int | None) -> Ending:
    """Return the end of a session whose record lacks rows: an analysis of it would be wrong."""
    if ending.exit_code:
        return ending
    return Ending(
        3,
        "failed",
        f"{rows or 'some'} rows of orders and fills could not be written and wait in the journal: see that PostgreSQL runs and"
        " has room, then start `trader` again: it writes them and the session's end first",
    )
