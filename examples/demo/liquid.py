"""A scanner: the symbols that turned over the most dollars yesterday."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from liualgotrader.scanners.base import Scanner


class Liquid(Scanner):
    """Picks the `count` symbols with the largest dollar volume of the previous session."""

    def __init__(
        self,
        data_loader: Any,
        count: int = 10,
        recurrence: timedelta | None = None,
        target_strategy_name: str | None = None,
        data_source: object = None,
    ) -> None:
        super().__init__(
            name=type(self).__name__,
            data_loader=data_loader,
            recurrence=recurrence,
            target_strategy_name=target_strategy_name,
            data_source=data_source,
        )
        self.count = count

    async def run(self, back_time: datetime | None = None) -> list[str]:
        """Return the symbols, most dollars first; ties by symbol."""
        snapshots = await self.data_api.snapshots(sorted(await self.data_api.tradable_symbols()))
        dollars = {
            symbol: snapshot.previous_daily_bar.close * snapshot.previous_daily_bar.volume
            for symbol, snapshot in snapshots.items()
            if snapshot.previous_daily_bar is not None
        }
        return sorted(dollars, key=lambda symbol: (-dollars[symbol], symbol))[: self.count]
