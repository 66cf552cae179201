"""The scanners' process: each scanner runs when it is due, and its picks go to the producer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import nullcontext, suppress
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from liualgotrader.common.clock import NEVER, SECOND
from liualgotrader.common.config import Secrets
from liualgotrader.common.errors import LiuError
from liualgotrader.common.events import Pick, is_symbol
from liualgotrader.common.interpreter import WATCHED, InterpreterState, listed
from liualgotrader.common.plugins import one_line, source_of, where_raised
from liualgotrader.common.ports import MarketHistory
from liualgotrader.common.tlog import say, some_of, warn
from liualgotrader.ipc.batch_codec import encode_picks, frames
from liualgotrader.ipc.child_process import Child
from liualgotrader.ipc.links import Writer
from liualgotrader.ipc.session_page import Cell, Life
from liualgotrader.scanners.base import Scanner, make_scanner, symbols_of
from liualgotrader.scanners_runner.scanner_marks import ScannerMarks

log = logging.getLogger(__name__)

_NAMED = 5  # unknown symbols in one notice
_LONGEST = 20  # characters of such a symbol
_ASSETS_SECONDS = 10.0  # machine time for the list of tradable symbols
_OTHERS_SECONDS, _LOOK_SECONDS = 10.0, 0.02  # machine time for the processes that picks are for
_CANCEL_SECONDS = 0.5  # machine time that a cancelled scanner gets to end
FAILURES_IN_A_ROW = 3  # end a scanner for the session
PATIENCE_SECONDS = 1.0  # machine time that a scanner waits for an earlier one that was due at the same instant


def next_due(now: int, opens_at: int, period: int) -> int:
    """Return the first instant after `now` on the grid of whole periods from the open, ns UTC.

    The grid, unlike "a period after the last run", gives the same instants after a restart.

    >>> [next_due(now, 100, 50) for now in (100, 149, 150, 30)]
    [150, 150, 200, 50]
    """
    return opens_at + ((now - opens_at) // period + 1) * period


class ScannerOutcome(NamedTuple):
    """What a scanner returned, or what it raised."""

    value: Any = None
    error: BaseException | None = None


class ScannerThread:
    """A thread with a loop of its own, so that a scanner that blocks delays no other.

    One that never returns keeps it; the next run gets a new one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(
        self, call: Callable[[], Coroutine[Any, Any, Any]], seconds: float, context: Context | None = None
    ) -> ScannerOutcome | None:
        """Return what became of one call, made in a copy of `context`; None if it takes more than `seconds` (machine)."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_serve, args=(self._loop,), name=f"scanner-{self._name}", daemon=True)
            thread.start()
        loop = self._loop

        async def outcome() -> ScannerOutcome:
            try:
                return ScannerOutcome(await call())
            except BaseException as error:  # a scanner's sys.exit(), or a task of its own that was cancelled
                return ScannerOutcome(error=error)

        begin = partial(asyncio.run_coroutine_threadsafe, outcome(), loop)
        answer = asyncio.wrap_future(begin() if context is None else context.run(begin))
        await asyncio.wait({answer}, timeout=seconds)
        if answer.done():
            return answer.result()
        answer.cancel()
        self._leave(loop)
        return None

    def close(self) -> None:
        """End the thread once it is idle."""
        if self._loop is not None:
            self._leave(self._loop)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask the loop to end as soon as it turns."""
        loop.call_soon_threadsafe(loop.call_later, _CANCEL_SECONDS, loop.stop)
        self._loop = None


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


class PickTurns:
    """Lets scanners that were due at one instant send their picks in the order of the tradeplan."""

    def __init__(self, count: int) -> None:
        self._due = [NEVER] * count
        self._changed = asyncio.Event()

    def expect(self, index: int, due: int) -> None:
        """State when scanner `index` is due next, NEVER if it will not run again."""
        self._due[index] = due
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, index: int, seconds: float = PATIENCE_SECONDS) -> bool:
        """Return once every earlier scanner of the same instant has sent; False if one took too long (machine time)."""
        due = self._due[index]
        try:
            async with asyncio.timeout(seconds):
                while due in self._due[:index]:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class ScannerDependencies:
    """What scanners need from outside. `run_seconds` (machine) is the longest a run may take.

    `warm_up` does what would make the first run slow, while the session has not begun.
    """

    data: MarketHistory
    make_loader: Callable[[], object]
    secrets: Secrets = field(default_factory=Secrets)
    run_seconds: float = 60.0
    warm_up: Callable[[], Awaitable[None]] | None = None


class PickLink:
    """Sends picks to the producer, however long that is down; where scanners are only tested a person reads them."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._unsent: list[bytes] = []
        self._sent = asyncio.Event()
        self._writer: Writer | None = None
        if not child.plan.tradeplan.test_scanners:
            self._writer = child.writer("picks")
            self._writer.on_connected(self._send)
            self._writer.on_room(self._send)
            self._writer.attach(asyncio.get_running_loop())

    async def send(self, name: str, scanner: Scanner, symbols: Sequence[str]) -> None:
        """Send what a scanner picked and return once the producer's link has taken all of it."""
        if not symbols:
            return
        if self._writer is None:
            self._child.notice("INFO", f"scanner {name} picks {len(symbols)}: {', '.join(symbols)}")
            return
        at = self._child.clock.now()
        picks = [Pick(symbol, at, name, scanner.target_strategy_name or "") for symbol in symbols]
        self._unsent += frames(picks, encode_picks)
        self._send()
        while self._unsent:
            self._sent.clear()
            await self._sent.wait()

    def close(self) -> None:
        """Let go of the link; what was not sent is lost."""
        if self._writer is not None:
            self._writer.close()

    def _send(self) -> None:
        while self._unsent and self._writer is not None and self._writer.send(self._unsent[0]):
            del self._unsent[0]
        if not self._unsent:
            self._sent.set()


async def others_are_up(child: Child, warming: asyncio.Future[None]) -> None:
    """Wait until a pick can reach its strategy at once: everything is loaded, and the other processes are up."""
    page, until = child.page, child.clock.machine() + round(_OTHERS_SECONDS * SECOND)
    others = [page.process(name) for name in page.processes if name != child.name]
    while not child.stopping.is_set() and child.clock.machine() < until:
        if warming.done() and all(page.get(row, Cell.LIFE) != Life.DOWN for row in others):
            break
        await child.clock.sleep(_LOOK_SECONDS)


class ScannersRunner:
    """One scanners' process, from the open to the supervisor's stop."""

    def __init__(self, child: Child, dependencies: ScannerDependencies) -> None:
        self._child, self._plan, self._dependencies = child, child.plan, dependencies
        self._tradeplan = child.plan.tradeplan
        self._marks = ScannerMarks(Path(child.plan.run_dir))
        self._alone = asyncio.Lock()
        self._settings = InterpreterState(())  # of the interpreter, which scanners share
        self._notified: set[tuple[str, str]] = set()  # scanner and cause, each once
        self._turns = PickTurns(len(self._tradeplan.scanners))
        self._tradable: Collection[str] = ()  # empty: not known
        self._counts = {"runs": 0, "failures": 0, "picks": 0, "scanners_running": 0}

    async def run(self) -> None:
        """Run the scanners until the supervisor says stop.

        Raises:
            ConfigError: a scanner's file, class or settings do not fit.
        """
        child = self._child
        warming = asyncio.ensure_future(self._warm_up())
        tasks: list[asyncio.Future[Any]] = [warming]
        link = PickLink(child)
        try:
            scanners = self._make_all()
            child.report(lambda: dict(self._counts))
            start = child.clock.now() if self._plan.hours.bypass else max(self._plan.hours.opens_at, child.clock.now())
            if not child.page.is_held:  # else the market stands until all of it is done
                await others_are_up(child, warming)
            following = [asyncio.ensure_future(self._follow(i, s, start, link)) for i, s in scanners.items()]
            tasks += following
            await child.clock.sleep(0)  # so that each has stated when it is due before the market goes on
            child.ready()
            stop: asyncio.Future[Any] = asyncio.ensure_future(child.stopping.wait())
            tasks.append(stop)
            all_followed: asyncio.Future[Any] = asyncio.gather(*following)
            await asyncio.wait([stop, all_followed], return_when=asyncio.FIRST_COMPLETED)
            if all_followed.done():
                all_followed.result()  # a bug of ours: raise it
                await stop
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._dependencies.data.close()
            link.close()

    async def _warm_up(self) -> None:
        """Prepare the first run; that one reports what goes wrong here."""
        if self._dependencies.warm_up is not None:
            with suppress(ImportError, LiuError, RuntimeError):  # the last: closed meanwhile
                await self._dependencies.warm_up()
                await self._know_assets()

    # --- scanners ----------------------------------------------------------------------------------

    def _make_all(self) -> dict[int, Scanner]:
        """Return the scanners that are to run, by their place in the tradeplan."""
        plan, made = self._plan, dict[int, Scanner]()
        self._marks.clear_running()
        for index, (name, table) in enumerate(self._tradeplan.scanners.items()):
            if name in self._marks.stopped:
                continue
            with self._marks.running(name):
                scanner = made[index] = make_scanner(
                    self._dependencies.make_loader(), name, table, Path(plan.tradeplan_dir), seed=f"{plan.seed}/{name}"
                )
                scanner.join_session(
                    data_api=self._dependencies.data,
                    now=self._child.clock.now,
                    opens_at=plan.hours.opens_at,
                    tell=partial(self._notice, name),
                )
        self._settings = InterpreterState(WATCHED)
        return made

    async def _follow(self, index: int, scanner: Scanner, due: int, link: PickLink) -> None:
        """Run one scanner each time it is due; an error ends that run, several in a row end the scanner."""
        clock, hours = self._child.clock, self._plan.hours
        name = list(self._tradeplan.scanners)[index]
        period = int(scanner.recurrence.total_seconds() * SECOND) if scanner.recurrence else 0
        thread = ScannerThread(name)
        failures = 0
        while hours.bypass or due < hours.closes_at:
            self._turns.expect(index, due)
            await clock.sleep_until(due)
            with self._child.status.hold():
                async with self._alone if self._marks.suspects else nullcontext():
                    with self._marks.running(name):  # so that the supervisor knows which one ended the process
                        symbols = await self._run_once(name, scanner, thread)
                failures = failures + 1 if symbols is None else 0
                picked = await self._that_trade(name, symbols or [])
                # While the market stands for us an earlier scanner may take as long as any run.
                patience = self._dependencies.run_seconds if self._child.page.is_held else PATIENCE_SECONDS
                await self._turns.wait(index, patience)
                self._counts["picks"] += len(picked)
                await link.send(name, scanner, picked)
                due = next_due(max(due, clock.now()), hours.opens_at, period) if period else NEVER
                if failures >= FAILURES_IN_A_ROW:
                    reason = f"failed {failures} times in a row"
                    self._notice(name, f"{reason} and will not run again this session")
                    self._marks.stop(name, clock.now(), reason)
                    due = NEVER
                elif failures and not period:
                    self._marks.stop(name, clock.now(), "failed in its only run")
                self._turns.expect(index, due)
            if due == NEVER:
                break
        self._turns.expect(index, NEVER)
        thread.close()

    async def _run_once(self, name: str, scanner: Scanner, thread: ScannerThread) -> list[str] | None:
        """Return the symbols of one run in capitals, each once; None if there were none because it failed."""
        self._counts["runs"] += 1
        self._counts["scanners_running"] += 1
        outcome = await thread.run(scanner.run, self._dependencies.run_seconds, scanner.own_context)
        self._counts["scanners_running"] -= 1
        if changed := self._settings.put_back():
            others = "(or another that ran meanwhile) " if self._counts["scanners_running"] else ""
            self._notice(name, f"{others}has changed {listed(changed)} for every scanner; it was put back")
        problem, cause = _problem(outcome, scanner, self._dependencies.run_seconds)
        if problem:
            self._counts["failures"] += 1
            again = "; it is tried again when it is due next" if scanner.recurrence else ""
            self._notice(name, self._dependencies.secrets.hide(problem) + again, cause)
            return None
        symbols = symbols_of(outcome.value if outcome is not None else None)
        say(log, "scanner_ran", scanner=name, picks=len(symbols))
        return symbols

    async def _that_trade(self, name: str, symbols: Sequence[str]) -> list[str]:
        """Return the symbols that the broker trades; all valid ones while its list is unknown."""
        if symbols:
            await self._know_assets()
        unknown = [s for s in symbols if not is_symbol(s) or (self._tradable and s not in self._tradable)]
        fresh = [symbol for symbol in unknown if (name, symbol) not in self._notified]
        if fresh:
            self._notified.update((name, symbol) for symbol in fresh)
            printable = (s if s.isascii() and s.isprintable() else ascii(s) for s in fresh)
            some = some_of([f"{symbol:.{_LONGEST}}" for symbol in printable], _NAMED)
            self._notice(name, f"picked {some}, which the broker does not trade; left out")
        return [symbol for symbol in symbols if symbol not in unknown]

    async def _know_assets(self) -> None:
        """Ask for the list of symbols that the broker trades, unless it is known."""
        if self._tradable:
            return
        try:
            async with asyncio.timeout(_ASSETS_SECONDS):
                self._tradable = frozenset(await self._dependencies.data.tradable_symbols())
        except (LiuError, TimeoutError) as error:
            warn(log, "assets_unknown", error=error or "no answer in time")

    def _notice(self, name: str, text: str, cause: str = "") -> None:
        """Notify a person about a scanner, once for each cause; the log has it every time."""
        warn(log, "scanner_said", scanner=name, text=text)
        if (name, cause or text) not in self._notified:
            self._notified.add((name, cause or text))
            self._child.notice("WARNING", f"scanner {name} {text}")


def _problem(outcome: ScannerOutcome | None, scanner: Scanner, seconds: float) -> tuple[str, str]:
    """Return what went wrong, empty if nothing did, and its cause: two failures of one cause are reported once."""
    if outcome is None:
        return f"did not return within {seconds:g} seconds and was abandoned", "timeout"
    if (error := outcome.error) is not None:
        where = where_raised(error, source_of(scanner))
        return f"failed at {where}: {one_line(error)}", f"{type(error).__name__} at {where}"
    try:
        symbols_of(outcome.value)
    except TypeError as wrong:
        return str(wrong), "result"
    return "", ""
