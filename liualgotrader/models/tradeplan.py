"""The original's class for trade plans in the database: `trade_plan`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from liualgotrader.store.analysis_tables import TRADE_PLANS
from liualgotrader.store.column_values import from_json
from liualgotrader.store.database import current_pool


class TradePlanEntry:
    """A strategy that the database wants to run: its `parameters` (with `name`, its class, and `filename`) and portfolio."""

    def __init__(self, strategy_name: str, parameters: dict[str, Any], portfolio_id: str) -> None:
        self.strategy_name = strategy_name
        self.parameters = parameters
        self.portfolio_id = portfolio_id

    def __str__(self) -> str:
        return f"{self.strategy_name}:{self.parameters}"

    @classmethod
    async def load(cls) -> list[TradePlanEntry]:
        """Return the entries that have begun and not expired, oldest first."""
        return await cls._load(None)

    @classmethod
    async def get_new_entries(cls, since: datetime) -> list[TradePlanEntry]:
        """Return those of them that were made after `since`, which is UTC if it has no zone."""
        return await cls._load(since if since.tzinfo is not None else since.replace(tzinfo=UTC))

    @classmethod
    async def _load(cls, since: datetime | None) -> list[TradePlanEntry]:
        rows = await current_pool(None).fetch(TRADE_PLANS, since)
        return [cls(row["strategy_name"], from_json(row["parameters"]) or {}, row["portfolio_id"]) for row in rows]


TradePlan = TradePlanEntry  # its name at the original's address
