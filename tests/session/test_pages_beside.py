"""Pages that are read all the time do not hinder the session that writes what they show."""

from __future__ import annotations

import threading

import pytest

from liualgotrader.common.config import Settings
from liualgotrader.pages.batch_rows import BatchRows
from liualgotrader.pages.record_reader import RecordReader
from tests.integration.stored_rows import rows_of
from tests.session.running import TraderRun, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

WINDOW = ("--from", "09:30", "--to", "10:15", "--symbols", "12", "--seed", "3")
# What an update of the tables takes; it gives up where somebody holds on to one for so long.
LOCKED = """
    DO $$ BEGIN
        SET LOCAL lock_timeout = '20s';
        LOCK TABLE new_trades, orders, order_events, signals, batch, algo_run, equity IN ACCESS EXCLUSIVE MODE;
    END $$
"""
TRADED = """
    SELECT t.symbol, t.operation::text AS operation, t.qty, t.price, t.tstamp FROM new_trades t ORDER BY t.tstamp, t.symbol, 2, t.qty
"""


class Visitor(threading.Thread):
    """Reads what the pages Day, Trades and Refused read, again and again until `ended`."""

    def __init__(self, run: TraderRun, ended: threading.Event) -> None:
        super().__init__()
        self.reader = RecordReader(Settings.resolve({"home": str(run.home)}))
        self.ended, self.read = ended, 0

    def run(self) -> None:
        while not self.ended.is_set():
            for one in self.reader.results():
                rows = BatchRows(self.reader, one.database, one.result.batch_id)
                rows.figures(), rows.trips((), (), (), most=1000), rows.refused()
                self.reader.equity(one.database, one.result.batch_id)
                self.read += 1


def played(run: TraderRun) -> list[tuple[object, ...]]:
    assert run.ended() == 0, run.output
    with run.database() as dsn:
        return [tuple(row.values()) for row in rows_of(dsn, TRADED)]


def test_a_session_beside_two_readers_trades_the_same_and_its_tables_can_be_changed() -> None:
    with trader(*WINDOW) as alone:
        expected = played(alone.start())
    assert len(expected) > 10
    with trader(*WINDOW) as run:
        run.start()
        run.wait_for_market("09:31:00")
        ended = threading.Event()
        visitors = [Visitor(run, ended) for _ in range(2)]
        try:
            for visitor in visitors:
                visitor.start()
            with run.database() as dsn:
                run.until(lambda: all(visitor.read for visitor in visitors), "nothing was read")
                assert run.process.poll() is None, "they read beside it"
                rows_of(dsn, LOCKED)
            assert played(run) == expected
        finally:
            ended.set()
            for visitor in visitors:
                visitor.join()
                visitor.reader.close()
