"""From a scanner's picks to a routed, subscribed symbol; what must survive a restart is stored on the way."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from liualgotrader.common.clock import Clock
from liualgotrader.common.errors import DatabaseUnavailable
from liualgotrader.common.events import Pick
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import PickRow
from liualgotrader.common.tlog import say, warn
from liualgotrader.producer.assignment import Assignment
from liualgotrader.producer.router import Router
from liualgotrader.producer.unpicked import Unpicked

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5  # machine time between two attempts to reach the database

T = TypeVar("T")

Tell = Callable[[str, str], None]


class PickIntake:
    """Takes picks in. A symbol's consumer is stored before anybody hears of the symbol.

    Were it the other way round, a producer killed in between could give the symbol a second owner.
    """

    def __init__(self, batch_id: str, store: Store, clock: Clock, tell: Tell, unpicked: Unpicked) -> None:
        self._unpicked = unpicked
        self._batch_id = batch_id
        self._store = store
        self._clock = clock
        self._tell = tell
        self._stored: set[tuple[str, str, str]] = set()
        self.refused: set[str] = set()

    async def resume(self, consumers: int) -> tuple[Assignment, list[Pick]]:
        """Return what an earlier producer of this batch had assigned, and what it had taken in and not let go."""
        assigned = await self._patiently(lambda: self._store.assignments(self._batch_id))
        rows = await self._patiently(lambda: self._store.picks(self._batch_id))
        self._stored = {(row.symbol, row.scanner, row.strategy) for row in rows}
        gone = self._unpicked.symbols
        picks = [Pick(row.symbol, row.at, row.scanner, row.strategy) for row in rows if row.symbol not in gone]
        return Assignment(consumers, assigned), picks

    async def take(self, picks: Sequence[Pick], router: Router, assignment: Assignment, max_symbols: int) -> list[Pick]:
        """Return the picks that are new and fit, after storing them and who takes care of their symbols.

        Those that everybody they are meant for has rejected are passed over.
        """
        new = [p for p in picks if not router.is_known(p) and router.is_wanted(p.symbol, p.strategy)]
        fresh = list({(p.symbol, p.strategy): p for p in new}.values())
        wanted = self._within(fresh, router.symbols, max_symbols)
        for symbol in dict.fromkeys(p.symbol for p in wanted if router.needs_consumer(p)):
            if assignment.of(symbol) is None:
                await self._assign(symbol, assignment.assign(symbol))
        rows = self._rows(picks, {p.symbol for p in wanted} | router.symbols)
        if rows:
            await self._patiently(lambda: self._store.save_picks(rows))
        self._unpicked.discard(p.symbol for p in wanted)
        for pick in wanted:
            say(log, "symbol_picked", symbol=pick.symbol, scanner=pick.scanner, strategy=pick.strategy or "all")
        return wanted

    async def keep_assigned(self, symbol: str, consumer: int) -> None:
        """Store that the symbol belongs to a consumer that has it already: it holds a position there."""
        await self._assign(symbol, consumer)

    async def _assign(self, symbol: str, consumer: int) -> None:
        await self._patiently(lambda: self._store.assign(self._batch_id, symbol, consumer))

    def _within(self, picks: Iterable[Pick], symbols: set[str], max_symbols: int) -> list[Pick]:
        """Return the picks that keep the session within its number of symbols; the newest lose."""
        taken = set(symbols)
        wanted: list[Pick] = []
        for pick in picks:
            if pick.symbol not in taken and len(taken) >= max_symbols:
                self._refuse(pick, max_symbols)
                continue
            taken.add(pick.symbol)
            wanted.append(pick)
        return wanted

    def _refuse(self, pick: Pick, max_symbols: int) -> None:
        if not self.refused:
            self._tell(
                "WARNING",
                f"the session follows {max_symbols} symbols, which is all it may; {pick.symbol} and later picks are"
                " left out (limits.max_symbols)",
            )
        self.refused.add(pick.symbol)

    def _rows(self, picks: Iterable[Pick], followed: set[str]) -> list[PickRow]:
        """Return a row for each scanner's first pick of a symbol for a strategy."""
        rows: list[PickRow] = []
        for pick in picks:
            key = (pick.symbol, pick.scanner, pick.strategy)
            if key not in self._stored and pick.symbol in followed:
                self._stored.add(key)
                rows.append(PickRow(self._batch_id, pick.symbol, pick.scanner, pick.strategy, pick.at))
        return rows

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await patiently(ask, self._clock, self._tell)


async def patiently(ask: Callable[[], Awaitable[T]], clock: Clock, tell: Tell) -> T:
    """Return what `ask` gives, asking again for as long as the database cannot be reached."""
    attempts = 0
    while True:
        try:
            found = await ask()
        except DatabaseUnavailable as error:
            attempts += 1
            if attempts == 1:
                tell("WARNING", f"picks wait for the database: {error}")
            warn(log, "database_unavailable", attempts=attempts)
            await clock.sleep(_RETRY_SECONDS)
            continue
        if attempts:
            tell("INFO", "picks: the database is back")
        return found
