"""The original's address of its trader for Alpaca, for code without a session."""

from __future__ import annotations

from liualgotrader.common.calendar import session_at_or_after
from liualgotrader.common.clock import WallClock
from liualgotrader.common.session_plan import Hours
from liualgotrader.trading.base import Trader


class AlpacaTrader(Trader):
    """What answers about the session that goes on or comes next. The queues `qm` are not used: orders are the gateway's."""

    def __init__(self, qm: object = None) -> None:
        clock = WallClock()
        session = session_at_or_after(clock.now())
        hours = (session.day.isoformat(), session.opens_at, session.closes_at, session.closes_at, session.closes_at)
        super().__init__(Hours(*hours), clock, lambda symbol: True)
