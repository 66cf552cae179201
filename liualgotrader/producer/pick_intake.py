"""From a scanner's picks to those that are followed; what must survive a restart is stored on the way."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from liualgotrader.common.clock import Clock
from liualgotrader.common.errors import DatabaseUnavailable
from liualgotrader.common.events import Pick
from liualgotrader.common.files import replace_file
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import PickRow
from liualgotrader.common.tlog import say, warn
from liualgotrader.producer.router import Assignment, Router

log = logging.getLogger(__name__)

UNPICKED_FILE = "producer.unpicked"
_RETRY_SECONDS = 0.5  # machine time between two attempts to reach the database

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
        self._batch_id = batch_id
        self._store = store
        self._clock = clock
        self._notify = notify
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

    async def _retrying(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await retrying(ask, self._clock, self._notify)


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
