"""One session from the first line on the screen to the last: prepare, live, finish."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import msgspec

from liualgotrader.analytics import consolidate
from liualgotrader.analytics.summary import summarize, trading_figures
from liualgotrader.common.clock import WallClock
from liualgotrader.common.config import Settings
from liualgotrader.common.control import ANNOUNCED, ROWS_LEFT, UNANNOUNCED, OperatorRequest
from liualgotrader.common.errors import DatabaseUnavailable, LiuError, OutsideError
from liualgotrader.common.rows import EventLag, OperatorAction, ResultFigures
from liualgotrader.common.tlog import say, warn
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.scanners_runner.scanner_marks import ScannerMarks, StoppedScanner
from liualgotrader.supervisor.arming import environment_of
from liualgotrader.supervisor.batch import Batch, PendingEnd, keep_end
from liualgotrader.supervisor.ending import (
    DayResult,
    Ending,
    could_not_trade,
    incomplete,
    needing_a_person,
    no_strategy_runs,
    say_data,
    say_positions,
    say_refusals,
    say_scanners_off,
    say_summary,
    unserved,
)
from liualgotrader.supervisor.operator_socket import ASKED_BY, THROUGH, OperatorSocket, remove_killed
from liualgotrader.supervisor.plan_inspection import StrategyFacts
from liualgotrader.supervisor.prepare import Preparation, Prepared
from liualgotrader.supervisor.request import TraderRequest
from liualgotrader.supervisor.session_database import make_home
from liualgotrader.supervisor.session_figures import FinalPosition, Results, SessionFigures
from liualgotrader.supervisor.stack import PROGRAMS, Stack
from liualgotrader.supervisor.trade_plans import TradePlans
from liualgotrader.supervisor.view import Screen, View, equity_text, masked_account, today_text

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_WATCH_SECONDS = 1.0
_SHOW_SECONDS = 0.5
_COUNT_SECONDS = 1.0
_PLANS_SECONDS = 5.0  # machine time between two looks at the trade plans in the database
_LOOKS = 3
_DATABASE_TRIES = 5
_ANSWERED_SECONDS = 0.1  # machine time between an answer and what follows from it
_GATEWAY_SECONDS = 8.0  # machine time for the order gateway's answer
_FRESH_SECONDS = 2.0  # machine time that an answer to `trader status` waits for the record
_OF_THE_GATEWAY = ("kill_switch", "resume", "positions", "cancel", "orders")
_ONLY_LOOKS = ("status", "orders")
_STOPPED_BY_HAND = "an operator stopped it"
_MOST_NAME = 80  # characters of what a program says that it is, or wants
_LEFT_OPEN = "their stop or target, those of DAY_TRADE until the end of the day"
_NONE_LEFT = "and no other is left (what is open is closed at its stop or target, DAY_TRADE at the end of the day)"
_INTERRUPTED = Ending(130, "interrupted", "interrupted by Ctrl-C", by_hand=True)
_TOLD_TO_STOP = Ending(0, "stopped", "", by_hand=True)
_KILLED = Ending(130, "killed", "killed; the next `trader` takes the batch up again", by_hand=True)
_SIGNALS = {signal.SIGINT: _INTERRUPTED, signal.SIGTERM: _TOLD_TO_STOP, signal.SIGHUP: _TOLD_TO_STOP}


class Session:
    """One session: prepared, then run; a signal ends it in order in either part. Make one per session."""

    def __init__(
        self,
        request: TraderRequest,
        settings: Settings,
        tradeplan: TradePlan,
        screen: Screen,
        programs: Mapping[str, str] = PROGRAMS,
    ) -> None:
        self._asked: Ending | None = None  # how a person wants it to end
        self._main: asyncio.Task[Any] | None = None
        self._running: RunningSession | None = None
        self._operators = OperatorSocket(settings.home_path, environment_of(request, settings), self.answer)
        self._phase = "is being prepared"  # the predicate of a sentence

        def waits(what: str) -> None:
            self._phase = what

        def market_lost(sentence: str) -> None:
            if self._running is not None:
                self._running.end(Ending(3, "the simulated market is gone", sentence))

        self._preparation = Preparation(request, settings, tradeplan, screen, programs, market_lost, waits, WallClock())

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
                home = self._preparation.settings.home_path
                make_home(home)
                await asyncio.to_thread(remove_killed, home)
                cleanup.push_async_callback(self._operators.close)
                await self._operators.open()
                prepared = await self._preparation.run(cleanup)
                if isinstance(prepared, Ending):
                    return prepared
                running = RunningSession(self._preparation, prepared)
                cleanup.push_async_callback(running.kill)
                self._operators.hand_over(prepared.plan.batch_id, prepared.plan.hours.day, running.answer)
                cleanup.push_async_callback(self._operators.close)  # before what it tells of is gone
                self._running = running
                ending = await running.run()
                if self._preparation.request.keep and not ending.by_hand:
                    self._asked = None
                    await running.keep()
                return ending
        except (asyncio.CancelledError, LiuError) as error:
            began = self._running is not None and isinstance(error, LiuError)
            if self._asked is None or began:
                raise
            return self._asked
        finally:
            self._preparation.screen.close()
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
                if number is not signal.SIGINT:  # it ends now, with a status of its own
                    signal.signal(number, signal.SIG_IGN)

    async def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer an operator while there is no batch yet."""
        match request.get("do"):
            case "status":
                return {"waiting": self._phase}
            case "stop":
                loop = asyncio.get_running_loop()
                loop.call_later(_ANSWERED_SECONDS, self._interrupt, signal.SIGTERM, _TOLD_TO_STOP)
                return {"done": f"the session, which {self._phase}, is being stopped"}
            case _:
                return {"error": f"the session {self._phase}, so there is no order gateway yet; `trader stop` ends it"}

    def _interrupt(self, number: signal.Signals, ending: Ending) -> None:
        """End in order; a second Ctrl-C kills. Other signals come twice by nature: shell and kernel both send SIGHUP."""
        if self._asked is None:
            self._asked = ending
            if self._running is not None:
                self._running.end(ending)
            elif self._main is not None:  # it is being prepared, or waits for the open
                self._main.cancel()
        elif number is signal.SIGINT:
            self._asked = _KILLED
            if self._running is not None:
                self._running.stack.kill()
            if self._main is not None:
                self._main.cancel()


class RunningSession:
    """A prepared session from the start of its processes to the last line of its summary."""

    def __init__(self, preparation: Preparation, prepared: Prepared) -> None:
        request, self._settings, self._tradeplan = preparation.request, preparation.settings, preparation.tradeplan
        self._prepared, self._screen = prepared, preparation.screen
        self._clock = WallClock()
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._flatten, self._generated = request.flatten, request.simulate and not request.data
        self._strategies = prepared.batch.layout.strategies()
        self.stack = Stack(prepared.plan, prepared.page, self, prepared.wanted, preparation.programs)
        self._figures = SessionFigures(self.stack, prepared.market, self._strategies, self._market_now)
        store, plan = prepared.record.store, prepared.plan
        alone = self._tradeplan.skip_existing or request.account_is_new
        self._results = Results(store, plan.environment, plan.batch_id, self._strategies, alone=alone)
        self._writing: set[asyncio.Task[None]] = set()  # to the record, aside
        self._actions: list[OperatorAction] = []  # that the record has not got yet
        self._lags: list[EventLag] = []  # likewise
        self._said_stopped: set[tuple[str, str]] = set()
        self._account_said = False
        self._never_ran: set[int] = set()  # slots that were stopped before their consumer took part
        self._looks_left = _LOOKS  # at the record, until the gateway tells of new fills
        self._trade_plans = TradePlans(
            self.stack, store, prepared.finder, prepared.batch, self._tradeplan, self.notice, self._joined
        )

    async def run(self) -> Ending:
        """Start the processes, trade until the session ends, stop them, and write down what it came to."""
        await self._look_at_trade_plans()
        if not self.stack.plan.slots and not self._tradeplan.test_scanners:
            self.notice(
                "WARNING",
                "no strategy runs: the table trade_plan has none in force; one written there now is picked up",
            )
        self.stack.start()
        rounds = (
            (_LOOK_SECONDS, self._look_at_the_time),
            (_WATCH_SECONDS, self._watch),
            (_SHOW_SECONDS, self._show),
            (_COUNT_SECONDS, self._count),
            (_PLANS_SECONDS, self._look_at_trade_plans),
        )
        tasks: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._repeat(seconds, act)) for seconds, act in rounds
        ]
        try:
            await asyncio.wait([self._ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # a bug of ours: raise it
            ending = await self._ending
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await self._finish(ending)

    def end(self, ending: Ending) -> None:
        """End in order; what was said first counts."""
        if not self._ending.done():
            self._ending.set_result(ending)

    async def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what an operator requests, write it down unless he only looks, and return the answer."""
        answer = await self._carry_out(request)
        if (name := str(request.get("do"))[:_MOST_NAME]) not in _ONLY_LOOKS:
            said = str(answer.get("done") or answer.get("refused") or answer.get("error"))
            action = OperatorAction(
                action_id=str(uuid4()),
                batch_id=self.stack.plan.batch_id,
                at=self._market_now(),
                asked_by=str(request.get(ASKED_BY, "")),
                through=str(request.get(THROUGH, ""))[:_MOST_NAME],
                action=name,
                arguments={k: v for k, v in request.items() if k not in ("do", ASKED_BY, THROUGH)},
                done="done" in answer,
                answer=said,
            )
            say(log, "operator_action", asked_by=action.asked_by, through=action.through, action=name, answer=said)
            self._actions.append(action)
            self._do_aside(self._write_actions())
        return answer

    async def _carry_out(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        match request.get("do"):
            case "status":
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FRESH_SECONDS):
                        await self._count(always=True)
                return {"view": msgspec.to_builtins(self._figures.view(), str_keys=True)}
            case "stop":
                self._flatten = self._flatten or bool(request.get("flatten"))
                self.end(_TOLD_TO_STOP)
                return {"done": f"batch {self.stack.plan.batch_id} is being stopped"}
            case "stop_strategy":
                return await self._stop_strategy(str(request.get("strategy")), flatten=bool(request.get("flatten")))
            case str(name) if name in _OF_THE_GATEWAY:
                return await self._ask_gateway(name, {key: value for key, value in request.items() if key != "do"})
            case other:
                return {"error": f"unknown request {other!r:.40}"}

    async def _stop_strategy(self, name: str, *, flatten: bool) -> Mapping[str, Any]:
        slots = [s.slot for s in self.stack.plan.slots if s.strategy == name and not s.stopped]
        if not slots:
            run = ", ".join(dict.fromkeys(s.strategy for s in self.stack.plan.slots if not s.stopped))
            return {"refused": f"no strategy {name!r:.80} runs; there is {run or 'none'}"}
        for slot in slots:
            self.stack.stop_slot(slot, _STOPPED_BY_HAND)
        closing = [self._ask_gateway("flatten", {"slot": slot}) for slot in slots if flatten]
        for answer in await asyncio.gather(*closing):
            if "done" not in answer:
                return {"error": f"strategy {name} is stopped, but its positions may stay open: {answer['error']}"}
        left = "are being closed at market" if flatten else f"stay until {_LEFT_OPEN}"
        return {"done": f"strategy {name} is stopped: its entries are taken back, its positions {left}"}

    async def _ask_gateway(self, name: str, arguments: dict[str, Any]) -> Mapping[str, Any]:
        try:
            answer = await self.stack.ask("order_gateway", OperatorRequest(name, arguments), _GATEWAY_SECONDS)
        except OutsideError as error:
            return {"error": str(error)}
        if answer is None:
            late = f"the order gateway has the request and has not answered in {_GATEWAY_SECONDS:.0f} s"
            return {"error": f"{late}; see `trader status`"}
        return {"done" if answer.done else "refused": answer.text}

    async def kill(self) -> None:
        """End all processes that are left."""
        self.stack.kill()
        for worker in self.stack.workers.values():
            if worker.alive:
                await worker.ended.wait()

    async def keep(self) -> None:
        """Keep market and database after the session until a person ends it, if the market lives."""
        market = self._prepared.market
        if market is None or not market.worker.alive:
            return
        self._ending = asyncio.get_running_loop().create_future()
        url = self._prepared.plan.endpoints.trading_url
        self._screen.line(f"kept alive: the simulated market at {url} and the database; Ctrl-C ends it")
        await self._ending

    # --- what the stack reports ------------------------------------------------------------------------

    def give_up(self, sentence: str, exit_code: int) -> None:
        self.end(Ending(exit_code, "failed", sentence))

    def slot_stopped(self, slot: int, reason: str) -> None:
        stopped = next(s for s in self.stack.plan.slots if s.slot == slot)
        self._do_aside(self._prepared.record.store.end_algo_run(stopped.algo_run_id, self._market_now(), reason))
        if self.stack.workers[f"consumer-{stopped.consumer}"].state == "starting":
            self._never_ran.add(slot)
        said = (stopped.strategy, reason)
        if said not in self._said_stopped:  # once for all its slots
            self._said_stopped.add(said)
            others_run = any(s.strategy != stopped.strategy and not s.stopped for s in self.stack.plan.slots)
            others = ", the others go on" if others_run else f", {_NONE_LEFT}"
            self.notice("WARNING", f"strategy {stopped.strategy} is stopped{others}: {reason}")

    def notice(self, level: str, text: str) -> None:
        log.log(logging.getLevelNamesMapping().get(level, logging.INFO), "%s", text)
        if level == "INFO":
            self._screen.line(text)
        else:
            self._screen.warn(text)

    # --- while it trades -------------------------------------------------------------------------------

    async def _repeat(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await act()
            await self._clock.sleep(seconds)

    def _market_now(self) -> int:
        return self._clock.now() if self._prepared.market is None else self._prepared.page_time()

    async def _look_at_the_time(self) -> None:
        """End with the session's hours; say whose account it is before anything is ordered there.

        The order gateway waits for that each time it starts.
        """
        market, gateway = self._prepared.market, self.stack.workers.get("order_gateway")
        if gateway is not None and "equity" in gateway.facts:
            if not self._account_said and (facts := self._figures.facts()) is not None:
                self._account_said = True
                environment = self.stack.plan.environment
                self._screen.line(f"account {masked_account(facts)}, {environment}, {equity_text(facts.equity)}")
                if foreign := facts.foreign:

                    async def say_foreign() -> None:
                        for sentence in await self._results.left_behind(foreign):
                            self.notice("WARNING", sentence)

                    self._do_aside(say_foreign())
            if gateway.facts.get(UNANNOUNCED) and gateway.send(OperatorRequest(ANNOUNCED)):
                gateway.facts[UNANNOUNCED] = False
        if self._market_now() >= self.stack.plan.hours.ends_at or (market is not None and market.ended):
            self.end(Ending())

    async def _watch(self) -> None:
        """Look after processes and record, and end when no strategy runs and nothing is open."""
        await self.stack.watch()
        await self._keep_record()
        ending, facts = no_strategy_runs(self.stack.plan.slots, self._never_ran), self._figures.facts()
        if ending is not None and facts is not None and not facts.positions and not facts.open_orders:
            self.end(ending)

    async def _keep_record(self) -> None:
        with suppress(LiuError):
            if await self._prepared.record.keep_alive():
                self.notice("WARNING", "PostgreSQL was killed and is started again")
            await self._write_actions()
            await self._write_lags()

    async def _write_lags(self, *, last: bool = False) -> None:
        self._lags += self._figures.lags(last=last)
        if some := self._lags[:]:
            await self._prepared.record.store.save_event_lags(some)
            self._lags = [one for one in self._lags if one not in some]

    async def _write_actions(self) -> None:
        if some := self._actions[:]:
            await self._prepared.record.store.save_operator_actions(some)
            self._actions = [one for one in self._actions if one not in some]

    async def _look_at_trade_plans(self) -> None:
        if not self._tradeplan.file_only and not self._tradeplan.test_scanners:
            with suppress(DatabaseUnavailable):
                await self._trade_plans.look(self._market_now())

    def _joined(self, facts: StrategyFacts, batch: Batch) -> None:
        self._prepared.batch = batch
        self._prepared.facts += (facts,)
        if facts.name not in self._strategies:
            self._strategies.append(facts.name)

    async def _show(self) -> None:
        self._screen.show(self._figures.view())

    async def _count(self, *, always: bool = False) -> None:
        """Read the executions when the gateway has reported new ones, and twice more: their rows follow a little later."""
        if not always:
            if self._figures.fills_are_new():
                self._looks_left = _LOOKS
            if not self._looks_left:
                return
            self._looks_left -= 1
        with suppress(LiuError):
            self._figures.count(*await self._results.executions())

    def _do_aside(self, act: Awaitable[None]) -> None:
        """Do something with the record aside; what it writes is written again at the end of the session if it fails."""

        async def run() -> None:
            with suppress(LiuError):
                await act

        task = asyncio.ensure_future(run())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    # --- after it has traded ---------------------------------------------------------------------------

    async def _finish(self, ending: Ending) -> Ending:
        reason, prepared = ending.reason, self._prepared
        say(log, "session_ends", reason=reason)
        self._screen.line(f"the session ends ({reason}); stopping the processes")
        keeping = asyncio.ensure_future(self._repeat(_WATCH_SECONDS, self._keep_record))  # the last rows are to arrive
        flatten = self._flatten and ending.by_hand
        await self.stack.stop(reason, flatten=flatten)
        gateway = self.stack.workers.get("order_gateway")
        if gateway is not None and gateway.exit_code and gateway.failed is None:
            self._screen.warn("the order gateway did not end in order; it is started once more to finish what is left")
            await self.stack.run_once("order_gateway", reason, flatten=flatten)
        keeping.cancel()
        await asyncio.gather(keeping, *self._writing, return_exceptions=True)
        facts = gateway.facts if gateway is not None else {}
        if gateway is not None and gateway.failed is not None and (prepared.batch.resumed or "positions" in facts):
            return self._unfinished(unserved(ending, gateway.failed), reason)
        if gateway is not None and gateway.failed is None and (gateway.exit_code or facts.get(ROWS_LEFT)):
            return self._unfinished(incomplete(ending, facts.get(ROWS_LEFT)), reason)
        for attempt in range(_DATABASE_TRIES):
            try:
                ending = await self._analyse(ending)
                prepared.finished = True
                return ending
            except DatabaseUnavailable as error:
                await self._clock.sleep(float(attempt))
                await self._keep_record()
                sentence = f"{error} The batch is not finished: start `trader` again, which writes its end first"
        return self._unfinished(ending if ending.exit_code else Ending(3, "failed", sentence), reason)

    def _unfinished(self, ending: Ending, reason: str) -> Ending:
        """Keep the end that the record does not have yet beside the journal, for the next `trader`."""
        try:
            keep_end(
                self._prepared.batch.journal_dir,
                PendingEnd(self._market_now(), reason, self._stopped_runs(), tuple(self._actions)),
            )
        except OSError as error:
            warn(log, "end_lost", error=error)
        return ending

    def _stopped_runs(self) -> tuple[tuple[int, str], ...]:
        """Return the runs that ended before the session, with the reasons."""
        return tuple((slot.algo_run_id, slot.stopped) for slot in self.stack.plan.slots if slot.stopped)

    async def _analyse(self, ending: Ending) -> Ending:
        """Analyse the batch, write its end, show the summary, and return the ending, worse if a person must act."""
        prepared, plan, figures = self._prepared, self.stack.plan, self._figures
        await self._write_actions()
        await self._write_lags(last=True)
        _, opening = await self._results.executions()
        result = await consolidate.trades(plan.batch_id, prepared.record.store, opening)
        view = figures.view()
        standing = await self._results.standing(figures.held())
        await prepared.finder.end(plan.batch_id, self._market_now(), ending.reason, self._stopped_runs())
        total = trading_figures("total", result.trips.closed, result.trips.open)
        symbols = {trip.symbol for trip in result.trips.closed} | {left.symbol for left in result.trips.open}
        day = plan.hours.day
        figures_kept = ResultFigures(day, day, 1, len(symbols), total.trips, total.win_rate, total.gain, total.fees)
        await prepared.record.store.save_figures(plan.batch_id, figures_kept)
        quarantined = view.facts.quarantined if view.facts is not None else {}
        off = ScannerMarks(prepared.batch.run_dir).stopped
        self._say(view, result, standing, quarantined, off, ending.reason)
        if ending.exit_code == 0 and not ending.by_hand:
            scanners = self._tradeplan.scanners
            useless = could_not_trade(view, scanners, off, result.executions, shadow=plan.shadow)
            ending = no_strategy_runs(plan.slots, self._never_ran) or useless or ending
        day_trades = () if plan.hours.bypass else prepared.strategies(day_trade=True)
        ending = needing_a_person(ending, standing, quarantined, day_trades, flattened=self._flatten)
        if ending.exit_code == 0 and result.executions:
            prepared.prove(self._settings.home_path, result.executions)
        gain, equity = (view.facts.day_gain, view.facts.equity) if view.facts is not None else (None, None)
        played = DayResult(day, total.trips, result.executions, total.gain, gain, equity)
        return msgspec.structs.replace(ending, result=played)

    def _say(
        self,
        view: View,
        result: consolidate.Consolidation,
        standing: Sequence[FinalPosition],
        quarantined: Mapping[str, str],
        off: Mapping[str, StoppedScanner],
        reason: str,
    ) -> None:
        screen, prepared, plan = self._screen, self._prepared, self.stack.plan
        screen.close()
        ended = {
            name: tuple(dict.fromkeys(s.stopped or reason for s in plan.slots if s.strategy == name))
            for name in self._strategies
        }
        summary = summarize(self._strategies, result.trips, ended)
        say_summary(screen, summary, standing, dropped=view.dropped())
        say_positions(screen, standing, prepared.strategies(day_trade=False), quarantined)
        if view.facts is not None:
            screen.line(f"since the previous close: {today_text(view.facts)}")
        say_scanners_off(screen, off)
        if not self._tradeplan.test_scanners:
            say_refusals(screen, view, result.executions, shadow=plan.shadow)
        if prepared.market is not None:
            say_data(screen, prepared.market.doubts, prepared.market.skipped)
        screen.line(f"batch {plan.batch_id}, {result.executions} executions")
        screen.line(f"rows: {prepared.record.how_to_look(self._settings.home_path)}")
        if self._generated:
            screen.line("prices were generated: gains on them say nothing about a strategy")
