"""A scanner in the original's style: it always picks the same symbols."""

from datetime import datetime, timedelta

from liualgotrader.common.data_loader import DataLoader
from liualgotrader.scanners.base import Scanner


class Watchlist(Scanner):
    """Picks the symbols of its `symbols` setting."""

    def __init__(
        self,
        data_loader: DataLoader,
        symbols: list[str],
        recurrence: timedelta | None = None,
        target_strategy_name: str | None = None,
        data_source: object = None,
    ) -> None:
        self.symbols = symbols
        super().__init__(
            name=type(self).__name__,
            recurrence=recurrence,
            target_strategy_name=target_strategy_name,
            data_source=data_source,
            data_loader=data_loader,
        )

    async def run(self, back_time: datetime | None = None) -> list[str]:
        return self.symbols
