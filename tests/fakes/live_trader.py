"""`trader` to which an address on this machine is the host of real money, with stand-ins for its processes.

Its clock does not wait for ten seconds to pass; that it was to wait is written down.
"""

from __future__ import annotations

import os

import liualgotrader.common.session_plan as session_plan
import liualgotrader.supervisor.session as session
from liualgotrader.cli.common import guarded
from liualgotrader.cli.trader import run
from liualgotrader.common.clock import WallClock
from liualgotrader.supervisor.arming import READING_SECONDS
from tests.fakes.stack.common import did
from tests.fakes.supervisor import PROGRAMS


class HurriedClock(WallClock):
    async def sleep(self, seconds: float) -> None:
        if seconds == READING_SECONDS:
            did(".", f"waited {seconds:g} s")
            if "TEST_STAYS" not in os.environ:
                return
        await super().sleep(seconds)


def main() -> None:
    session_plan.LIVE_URL = os.environ["TEST_LIVE_URL"]
    session.WallClock = HurriedClock  # type: ignore[attr-defined]
    session.Session.__init__.__defaults__ = (PROGRAMS,)
    guarded("trader", run)


if __name__ == "__main__":
    main()
