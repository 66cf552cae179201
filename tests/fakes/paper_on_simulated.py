"""`trader --simulate` as a paper account has it: rows of environment PAPER, and one account over all sessions."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import liualgotrader.supervisor.prepare as prepare
import liualgotrader.supervisor.session as session
from liualgotrader.common.session_plan import SessionPlan
from liualgotrader.supervisor.batch import MARKET_STATE
from liualgotrader.supervisor.prepare import Preparation
from liualgotrader.supervisor.record import Record

ACCOUNT = "SIMPAPER0001"


class PaperPreparation(Preparation):
    """Prepares the session of a paper account; the account is the one that the newest session before has left."""

    __slots__ = ()

    @property
    def environment(self) -> str:
        return "PAPER"

    async def _simulated(
        self, plan: SessionPlan, record: Record, market_at: int, cleanup: AsyncExitStack
    ) -> tuple[Any, SessionPlan]:
        here = Path(plan.journal_dir) / MARKET_STATE
        left = sorted(here.parent.parent.glob(f"*/{MARKET_STATE}"), key=lambda path: path.stat().st_mtime)
        if left:
            shutil.copy2(left[-1], here)
        return await super()._simulated(plan, record, market_at, cleanup)


def main() -> None:
    from liualgotrader.cli.trader import main as trader

    session.Preparation = PaperPreparation  # type: ignore[misc]
    prepare.account_of = lambda batch_id: ACCOUNT
    trader()


if __name__ == "__main__":
    main()
