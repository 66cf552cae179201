"""Writes the desk's rows to PostgreSQL: in order, exactly once, through any outage of the database."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal

from liualgotrader.common.clock import MINUTE, SECOND, Clock
from liualgotrader.common.errors import RecordDiffers
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import EquityRow, Progress, Row, TradeRow
from liualgotrader.common.session_plan import Hours
from liualgotrader.ipc.process_status import MarketHold
from liualgotrader.order_gateway.account_lock import other_account
from liualgotrader.store.background_writer import BackgroundWriter, OpenStore

_ROWS_AT_ONCE = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # machine seconds between attempts
_CASH_SECONDS = 2.0  # machine time for which the market is held at most until a balance is stored


class RowRecorder(BackgroundWriter):
    """Writes rows while the gateway runs; opens the store and leases the account.

    `on_outage` is called with a sentence once the database has been unavailable for `patience_seconds`, and with an empty
    one when it is back.

    Strategies read the balance of their portfolio's account from the database. Until an execution that moves it is
    stored the market is held, so that every run reads the same; for a while at most, and not while the database is
    known to be away.
    """

    def __init__(
        self,
        batch_id: str,
        account_number: str,
        open_store: OpenStore,
        clock: Clock,
        *,
        patience_seconds: float,
        on_outage: Callable[[str], object],
        hold: MarketHold,
    ) -> None:
        super().__init__(self._open_and_lease, clock, first_pause=_FIRST_PAUSE, longest_pause=_LONGEST_PAUSE)
        self._batch_id, self._account, self._open = batch_id, account_number, open_store
        self._patience, self._on_outage = patience_seconds, on_outage
        self._rows: deque[tuple[int, Row]] = deque()
        self._at = Progress()  # after the rows before those that wait
        self._compared = False  # with what is stored; else a call may have stored more than it said
        self.joined = False  # it was compared at least once
        self._outage_reported = False
        self._hold = hold
        self._cash_row = 0  # number of the newest row that moves a balance
        self.generation = 0
        self._equity: EquityRow | None = None
        self._equity_waits = False

    @property
    def store(self) -> Store:
        """The store, which must be open."""
        assert self._store is not None
        return self._store

    @property
    def applied(self) -> int:
        """The number of the newest row that is stored."""
        return self._at.number

    def begin_after(self, progress: Progress) -> None:
        """Expect the rows of a journal that begins after `progress`; drop all others."""
        self._rows.clear()
        self._at, self._compared = progress, False

    async def connect(self) -> Store:
        """Open the store, lease the account, and skip the rows that are stored.

        Raises:
            DatabaseUnavailable: if the server cannot be reached.
            ConfigError: if the batch began in another account.
            OutsideError: if another gateway holds the account.
            RecordDiffers: if what is stored is not what the rows lead to; the store is open then.
        """
        store = await self._opened()
        if not self._compared:
            self.pass_over(await store.progress(self._batch_id))
            self._compared = self.joined = True
        return store

    async def _open_and_lease(self) -> Store:
        store = await self._open()
        try:
            if not await store.is_account_of(self._batch_id, self._account):
                raise other_account(self._batch_id, self._account)
            self.generation = await store.lease(self._account)
        except BaseException:
            await store.close()
            raise
        return store

    def pass_over(self, stored: Progress) -> None:
        """Forget the rows that are stored.

        Raises:
            RecordDiffers: if they are not what is stored.
        """
        while self._rows and self._at.number < stored.number:
            self._at = self._at.after(self._rows.popleft()[1])
        if not self._at.agrees(stored):
            raise RecordDiffers(
                f"the journal of batch {self._batch_id} leads to {self._at.number + len(self._rows)} rows and not to the"
                f" {stored.number} that are stored: it was cut, or is another one"
            )

    def add(self, rows: Iterable[tuple[int, Row]]) -> None:
        """Queue rows, numbered on from those before."""
        for number, row in rows:
            self._rows.append((number, row))
            if isinstance(row, TradeRow) and row.account_id is not None:
                self._cash_row = number
        if self._task is not None and not self._away_since and self._cash_row > self.applied:
            self._hold.begin(_CASH_SECONDS)
        self._wake.set()

    def see_equity(self, hours: Hours, at: int, amount: Decimal | None) -> None:
        """Note the account's value at an instant of the session, in dollars; before the open and after the close too.

        Nobody waits for it: minutes of which nothing was stored when the gateway is killed are not known.
        """
        if amount is None or hours.opens_at <= 0:
            return
        minutes = (hours.closes_at - hours.opens_at) // MINUTE
        place = min(max(0, -((hours.opens_at - at) // MINUTE)), minutes)
        amounts = [*(self._equity.amounts if self._equity is not None else ())]
        amounts += [None] * (place + 1 - len(amounts))
        amounts[place] = float(amount)
        self._equity = EquityRow(self._batch_id, hours.day, hours.opens_at, MINUTE, tuple(amounts))
        self._equity_waits = True
        self._wake.set()

    @property
    def waiting(self) -> int:
        return len(self._rows)

    async def drain(self, seconds: float) -> bool:
        """Wait until every row is stored, `seconds` of machine time at most; False if some are left."""
        until = self._clock.machine() + int(seconds * SECOND)
        while (self._rows or self._equity_waits) and self._clock.machine() < until and self.failed() is None:
            await self._clock.sleep(0.01)
        return not self._rows

    async def close(self) -> None:
        """Stop writing; what is left is in the journal, and the next gateway of this batch writes it."""
        await self._stop()
        self._hold.end()
        if self._store is not None:
            await self._store.close()

    async def write_some(self) -> None:
        store = await self.connect()
        if not self._rows:
            if self._equity_waits and (seen := self._equity) is not None:
                await store.save_equity([seen])
                self._equity_waits = self._equity is not seen
            return
        some = [self._rows[n][1] for n in range(min(len(self._rows), _ROWS_AT_ONCE))]
        self._compared = False  # until the answer is there
        self._at = await store.apply(self._batch_id, some, self._at)
        self._compared = True
        for _ in some:
            self._rows.popleft()
        if self.applied >= self._cash_row:
            self._hold.end()

    def after_failure(self, seconds_away: float) -> None:
        self._hold.end()
        if not self._outage_reported and seconds_away > self._patience:
            self._outage_reported = True
            self._on_outage(f"the database has been unavailable for {self._patience:.0f} s; rows wait in the journal")

    async def after_write(self) -> None:
        if self._outage_reported:
            self._outage_reported = False
            self._on_outage("")
