"""`gain_loss` and `trade_analysis` of the last days, worked out again."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from liualgotrader.analytics import consolidate
from liualgotrader.miners.base import Miner, number
from liualgotrader.models.algo_run import AlgoRun


class Gainloss(Miner):
    """Consolidates every batch that began in the last `days` days. Safe to repeat."""

    def __init__(self, data: dict[str, Any], debug: bool = False) -> None:
        super().__init__("gainloss")
        self.days, self.debug = number(data, "days"), debug

    async def would_do(self) -> str:
        begun = await AlgoRun.get_batch_ids(start_date=self.since)
        return f"consolidates {len(begun)} batches since {self.since}: their rows of gain_loss and trade_analysis"

    @property
    def since(self) -> date:
        """The first day of the batches."""
        return self.services.today - timedelta(days=int(self.days))

    async def run(self) -> bool:
        services, since = self.services, self.since
        batches = {batch.batch_id: batch.environment for batch in await services.store.newest_batches(2**31 - 1)}
        begun = list(await AlgoRun.get_batch_ids(start_date=since))
        trips = 0
        for batch_id in services.progress(begun):
            found = await consolidate.again(batch_id, batches.get(batch_id, ""), services.store)
            trips += len(found.analysis)
        services.say(f"{len(begun)} batches since {since}, {trips} round trips")
        return True
