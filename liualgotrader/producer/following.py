"""From a scanner's picks to the symbols that the session follows: those picked lately, and those that a consumer needs.

What must survive a restart is stored on the way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from liualgotrader.common.clock import MINUTE, NEVER, SECOND, Alarm, Clock
from liualgotrader.common.errors import DatabaseUnavailable
from liualgotrader.common.events import FromConsumer, Gap, Needs, Pick
from liualgotrader.common.files import replace_file
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import PickRow
from liualgotrader.common.tlog import say, warn
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.common.types import WSEventType
from liualgotrader.data.streaming_base import StreamingAPI
from liualgotrader.producer.router import Assignment, Router

log = logging.getLogger(__name__)

UNPICKED_FILE = "producer.unpicked"
_RETRY_SECONDS = 0.5  # machine time between two attempts to reach the database
_REVIEW_PERIOD = MINUTE
_REVIEW_OFFSET = 30 * SECOND  # from the instants at which scanners run, so that a pick never meets a review
_SCAN_TIME = 2 * MINUTE  # that a scanner's next run may be late

T = TypeVar("T")
Notify = Callable[[str, str], None]


class Unpicked:
    """The symbols that were picked and let go again, in a small file that outlives the producer.

    While the disk is full the file lags: a later producer then follows a symbol that this one has let go, or waits
    until one is picked again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / UNPICKED_FILE
        self.symbols: set[str] = set()
        if self._path.exists():
            try:
                self.symbols = set(msgspec.json.decode(self._path.read_bytes(), type=list[str]))
            except msgspec.DecodeError as error:  # the loss of the whole machine has left half a file
                warn(log, "unpicked_unreadable", error=error)
        self._stored = set(self.symbols)
        self._warned = False

    def add(self, symbols: Iterable[str]) -> None:
        """Remember that these were let go."""
        self._store(self.symbols.union(symbols))

    def discard(self, symbols: Iterable[str]) -> None:
        """Remember that these are followed (again)."""
        self._store(self.symbols.difference(symbols))

    def _store(self, symbols: set[str]) -> None:
        self.symbols = symbols
        if self.symbols == self._stored:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, msgspec.json.encode(sorted(self.symbols)))
        except OSError as error:
            if not self._warned:
                warn(log, "unpicked_not_stored", error=error)
            self._warned = True
        else:
            self._stored, self._warned = self.symbols, False


class PickIntake:
    """Takes picks in. A symbol's consumer is stored before the symbol is routed.

    Otherwise a producer killed in between could give the symbol a second owner.
    """

    def __init__(self, batch_id: str, store: Store, clock: Clock, notify: Notify, unpicked: Unpicked) -> None:
        self._unpicked = unpicked
        self._batch_id, self._store, self._notify = batch_id, store, notify
        self._retrying = partial(retrying, clock=clock, notify=notify)
        self._stored: set[tuple[str, str, str]] = set()
        self.refused: set[str] = set()

    async def resume(self, consumers: int) -> tuple[Assignment, list[Pick]]:
        """Return what an earlier producer of this batch had assigned, and what it had taken in and not let go."""
        assigned = await self._retrying(lambda: self._store.assignments(self._batch_id))
        rows = await self._retrying(lambda: self._store.picks(self._batch_id))
        self._stored = {(row.symbol, row.scanner, row.strategy) for row in rows}
        gone = self._unpicked.symbols
        picks = [Pick(row.symbol, row.at, row.scanner, row.strategy) for row in rows if row.symbol not in gone]
        return Assignment(consumers, assigned), picks

    async def take(self, picks: Sequence[Pick], router: Router, assignment: Assignment, max_symbols: int) -> list[Pick]:
        """Return the picks that are new and fit, after storing them and their symbols' consumers.

        A pick whose symbol every slot that it is for has rejected is passed over.
        """
        new = [p for p in picks if not router.is_known(p) and router.is_wanted(p.symbol, p.strategy)]
        fresh = list({(p.symbol, p.strategy): p for p in new}.values())
        wanted = self._within(fresh, router.symbols, max_symbols)
        for symbol in dict.fromkeys(p.symbol for p in wanted if router.needs_consumer(p.strategy)):
            if assignment.of(symbol) is None:
                await self.store_consumer(symbol, assignment.assign(symbol))
        followed = {p.symbol for p in wanted} | router.symbols
        rows: list[PickRow] = []  # one for each scanner's first pick of a symbol for a strategy
        for pick in picks:
            key = (pick.symbol, pick.scanner, pick.strategy)
            if key not in self._stored and pick.symbol in followed:
                self._stored.add(key)
                rows.append(PickRow(self._batch_id, pick.symbol, pick.scanner, pick.strategy, pick.at))
        if rows:
            await self._retrying(lambda: self._store.save_picks(rows))
        self._unpicked.discard(p.symbol for p in wanted)
        for pick in wanted:
            say(log, "symbol_picked", symbol=pick.symbol, scanner=pick.scanner, strategy=pick.strategy or "all")
        return wanted

    async def store_consumer(self, symbol: str, consumer: int) -> None:
        """Store that a consumer owns the symbol."""
        await self._retrying(lambda: self._store.assign(self._batch_id, symbol, consumer))

    def _within(self, picks: Iterable[Pick], symbols: set[str], max_symbols: int) -> list[Pick]:
        """Return the picks that keep the session within its number of symbols; the newest lose."""
        taken = set(symbols)
        wanted: list[Pick] = []
        for pick in picks:
            if pick.symbol not in taken and len(taken) >= max_symbols:
                if not self.refused:
                    self._notify(
                        "WARNING",
                        f"the session follows {max_symbols} symbols, which is its limit; {pick.symbol} and later"
                        " picks are left out (limits.max_symbols)",
                    )
                self.refused.add(pick.symbol)
                continue
            taken.add(pick.symbol)
            wanted.append(pick)
        return wanted


async def retrying(ask: Callable[[], Awaitable[T]], clock: Clock, notify: Notify) -> T:
    """Return what `ask` gives, asking again for as long as the database cannot be reached."""
    attempts = 0
    while True:
        try:
            found = await ask()
        except DatabaseUnavailable as error:
            attempts += 1
            if attempts == 1:
                notify("WARNING", f"picks wait for the database: {error}")
            warn(log, "database_unavailable", attempts=attempts)
            await clock.sleep(_RETRY_SECONDS)
            continue
        if attempts:
            notify("INFO", "picks: the database is back")
        return found


class Ageing:
    """Until when each symbol is followed. Pure; market time, ns UTC.

    A pick lasts `unpick_minutes`, and at least until its scanner had time to run again. The pick of a scanner that runs
    once lasts all day, and with `keep_picks` so does every pick.
    """

    def __init__(self, tradeplan: TradePlan) -> None:
        self._span = NEVER if tradeplan.keep_picks else round(tradeplan.timings.unpick_minutes * MINUTE)
        self._periods = {name: table.get("recurrence") for name, table in tradeplan.scanners.items()}  # minutes
        self._until: dict[str, int] = {}

    def picked(self, symbol: str, scanner: str, at: int) -> None:
        """A scanner has chosen the symbol (again)."""
        until, period = NEVER, self._periods.get(scanner)
        if period and self._span != NEVER:
            until = at + max(self._span, round(period * MINUTE) + _SCAN_TIME)
        self._until[symbol] = max(self._until.get(symbol, 0), until)

    def closed(self, symbol: str, at: int) -> None:
        """The last position or order in the symbol has ended: a symbol that no scanner picked expires."""
        self._until.setdefault(symbol, NEVER if self._span == NEVER else at)

    def forget(self, symbol: str) -> None:
        """The symbol is followed no more."""
        self._until.pop(symbol, None)

    def expired(self, now: int) -> list[str]:
        """Return the symbols whose time is over, in alphabetical order."""
        return sorted(symbol for symbol, until in self._until.items() if until <= now)

    def next_review(self, now: int) -> int:
        """Return the first half of a minute after `now` at which a symbol's time is over; NEVER if there is none."""
        first = min(self._until.values(), default=NEVER)
        if first == NEVER:
            return NEVER
        return ((max(first - 1, now) - _REVIEW_OFFSET) // _REVIEW_PERIOD + 1) * _REVIEW_PERIOD + _REVIEW_OFFSET


class Gaps:
    """Symbols whose market data may have a hole, until the vendor carries them and their consumers know of it.

    Pure; instants are market time, ns UTC. `due` says that `take` may have gaps to return.
    """

    def __init__(self) -> None:
        self.due = False
        self._all_since: int | None = None
        self._since: dict[str, int] = {}
        self._subscribed: dict[str, int] = {}

    def lost(self, since: int) -> None:
        """The connection is lost; `since` is the instant of the newest market data, 0 if there was none."""
        self._all_since = since if self._all_since is None else min(self._all_since, since)
        self.due = True

    def missing(self, symbols: Iterable[str], at: int) -> None:
        """Consumers have these symbols' history; what came from `at` on may be missing, 0 if that is unknown here."""
        self._since.update((symbol, at) for symbol in symbols)
        self.due = True

    def subscribed(self, symbols: Iterable[str], at: int) -> None:
        """These symbols are new at `at`; they have a gap only if the vendor refuses them at first."""
        self._subscribed.update((symbol, at) for symbol in symbols)
        self.due = True

    def let_go(self) -> None:
        """A symbol was let go, so that the vendor may carry one that it has refused."""
        self.due = bool(self._since)

    def take(self, now: int, followed: Iterable[str], carried: frozenset[str]) -> list[Gap]:
        """Return the gaps that consumers must know of, in alphabetical order, once the vendor has answered everything."""
        since = dict(self._since)
        self._since = {symbol: at for symbol, at in self._subscribed.items() if symbol not in carried}
        if self._all_since is not None:
            since |= dict.fromkeys(followed, self._all_since)
        self._since |= {symbol: at for symbol, at in since.items() if symbol not in carried}
        self._subscribed, self._all_since, self.due = {}, None, False
        return [Gap(symbol, now, at) for symbol, at in sorted(since.items()) if symbol in carried]


class Following:
    """Keeps routes and subscriptions in step, one change after the other.

    `review_due` is called at the instants when a symbol's time may be over.
    """

    def __init__(
        self,
        router: Router,
        stream: StreamingAPI,
        events: Sequence[WSEventType],
        ageing: Ageing,
        unpicked: Unpicked,
        clock: Clock,
        review_due: Callable[[], None],
        gaps: Gaps,
    ) -> None:
        self._router, self._stream, self.events, self._gaps = router, stream, events, gaps
        self._ageing, self._unpicked, self._clock = ageing, unpicked, clock
        self._review_due = review_due
        self._turn = asyncio.Lock()
        self._alarm: Alarm | None = None
        self._alarm_at = NEVER
        self._takes_over = False
        self._known: set[str] = set()  # symbols that were followed, or picked under an earlier producer
        self._gone: frozenset[str] = frozenset()  # symbols that an earlier producer let go
        self.unpicks = 0

    async def resume(self, picks: Sequence[Pick], *, takes_over: bool) -> None:
        """Follow what an earlier producer followed; how long it has not been picked is counted from now.

        `takes_over` says that there was one: a consumer may have symbols from it that no scanner picked.
        """
        now = self._clock.now()
        self._takes_over = takes_over
        self._known = {pick.symbol for pick in picks}
        self._gone = frozenset(self._unpicked.symbols)
        for symbol in sorted(self._unpicked.symbols):
            for outbox in self._router.outboxes:
                outbox.let_go(symbol, now)
        await self.follow(picks)
        self.picked_again(Pick(p.symbol, now, p.scanner, p.strategy) for p in picks)

    async def follow(self, picks: Sequence[Pick]) -> None:
        """Subscribe and route; the picks go to the consumers with the next flush."""
        async with self._turn:
            symbols = list(dict.fromkeys(pick.symbol for pick in picks))
            fresh = [symbol for symbol in symbols if symbol not in self._router.symbols]
            old = self._from_before(symbol for symbol in fresh if symbol not in self._gone)
            self._gaps.subscribed((symbol for symbol in fresh if symbol not in old), self._clock.now())
            await self._subscribe(symbols)
            for pick in picks:
                self._router.accept(pick)

    def picked_again(self, picks: Iterable[Pick]) -> None:
        """Take note of when symbols that are followed were picked."""
        for pick in picks:
            if self._router.is_known(pick):
                self._ageing.picked(pick.symbol, pick.scanner, pick.at)
        self._set_alarm()

    async def take(self, consumer: int, message: FromConsumer) -> None:
        """Take what a consumer needs or has rejected."""
        async with self._turn:
            if isinstance(message, Needs):
                followed = self._router.symbols
                free = self._router.need(consumer, message)
                fresh = sorted(self._router.symbols - followed)
                old = self._from_before(fresh)
                self._gaps.missing((symbol for symbol in fresh if symbol not in old), self._clock.now())
                await self._subscribe(fresh)
                for symbol in free:
                    self._ageing.closed(symbol, self._clock.now())
                await self._let_go([s for s in free if self._router.is_unwanted(s)], "rejected")
            else:
                await self._let_go(self._router.reject(message), "rejected")
        self._set_alarm()

    async def review(self) -> None:
        """Let go of every symbol whose time is over and that no consumer needs."""
        async with self._turn:
            if self._router.knows_needs:
                await self._let_go(self._ageing.expired(self._clock.now()), "not picked any more")
        self._alarm_at = NEVER
        self._set_alarm()

    def close(self) -> None:
        """Review nothing any more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _from_before(self, fresh: Iterable[str]) -> set[str]:
        """Return the symbols that a consumer may have from an earlier producer, with a gap since that one ended."""
        old = set(fresh) - self._known if self._takes_over else set()
        self._known |= old
        self._gaps.missing(old, 0)
        return old

    async def _subscribe(self, symbols: Iterable[str]) -> None:
        wanted = list(symbols)
        if wanted:
            await self._stream.subscribe(wanted, self.events)

    async def _let_go(self, symbols: Iterable[str], why: str) -> None:
        gone = [symbol for symbol in symbols if self._router.let_go(symbol, self._clock.now())]
        self._unpicked.add(gone)
        for symbol in gone:
            self._ageing.forget(symbol)
            self.unpicks += 1
            say(log, "symbol_unpicked", symbol=symbol, because=why)
            await self._stream.unsubscribe(symbol)
        if gone:
            self._gaps.let_go()

    def _set_alarm(self) -> None:
        now = self._clock.now()
        at = self._ageing.next_review(now)
        if at >= self._alarm_at:
            return  # it looks again then
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._clock.call_at(at, self._review_due)
