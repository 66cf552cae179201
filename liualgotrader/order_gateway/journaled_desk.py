"""The order desk with its journal: inputs are written down before they are decided on, and replayed after a crash."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from liualgotrader.common.clock import Clock
from liualgotrader.common.rows import Progress, Row
from liualgotrader.common.tlog import say, warn
from liualgotrader.journal import JournalWriter, read_journal
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Announce,
    BrokerSnapshot,
    Decision,
    Input,
    JournalRecord,
    Recovered,
    Warn,
    Write,
)

log = logging.getLogger(__name__)

JOURNAL_FILE = "money.journal"
RESERVE_BYTES = 16 * 1024 * 1024

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(JournalRecord)


class JournaledDesk:
    """Writes each input to the journal before the desk decides on it, and returns decisions once that is on disk.

    `rows` are those that the replayed journal leads to; the recorder skips or writes them. They follow on
    `begins_after`: a journal that replaced one behind the record goes on from there.

    Raises:
        OutsideError: if another process writes this journal, or the disk fails.
        JournalDamaged: if records that had been on disk are broken.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._clock, self._path = clock, folder / JOURNAL_FILE
        self._open()

    def _open(self) -> None:
        path = self._path
        self.desk = Desk()
        self.rows: list[tuple[int, Row]] = []
        self.begins_after = Progress()
        self._journal = JournalWriter(path, reserve=RESERVE_BYTES)
        if self._journal.torn:
            warn(log, "journal_cut", file=path.name, bytes=self._journal.torn)
        for payload in read_journal(path):
            entry = _decoder.decode(payload)
            if isinstance(entry.told, Recovered):
                self.begins_after = entry.told.record.progress
            decisions = self.desk.decide(entry.told, entry.now, entry.machine)
            self.rows += [(d.number, d.row) for d in decisions if isinstance(d, Write)]
        if self._journal.records:
            say(log, "desk_rebuilt", inputs=self._journal.records, rows=len(self.rows))

    @property
    def is_new(self) -> bool:
        """Whether nothing has been written down yet."""
        return not self._journal.records

    @property
    def account_number(self) -> str:
        """The account that the journal says the batch trades, empty if it does not say yet."""
        account = None if self.is_new else self.desk.account
        return account.account_number if account is not None else ""

    def start_over(self) -> Path:
        """Rename the journal, begin a new one with an empty desk, and return the old one's path."""
        self._journal.close()
        taken = len(list(self._path.parent.glob(f"{JOURNAL_FILE}.behind-*")))
        aside = self._path.with_name(f"{JOURNAL_FILE}.behind-{taken + 1}")
        self._path.rename(aside)
        self._open()
        return aside

    def tell(self, inputs: Iterable[Input]) -> Sequence[Decision]:
        """Return the desk's decisions on the inputs, to be carried out in order.

        Raises:
            OutsideError: if they could not be written; do not call again.
        """
        decisions: list[Decision] = []
        for told in inputs:
            wanted = self.desk.relevant(told) if isinstance(told, BrokerSnapshot) else told
            now, machine = self._clock.now(), self._clock.machine()
            self._journal.append(_encoder.encode(JournalRecord(now, machine, wanted)))
            decisions += self.desk.decide(wanted, now, machine)
        if any(not isinstance(d, (Announce, Warn)) for d in decisions):
            self._journal.sync()
        return decisions

    def close(self) -> None:
        """Flush and release the journal."""
        self._journal.close()
