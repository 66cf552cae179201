"""The original's class for the combinations that a search has played: `optimizer_run`."""

from __future__ import annotations

from typing import Any

from liualgotrader.store.database import current_pool

SAVE = "INSERT INTO optimizer_run (optimizer_session_id, batch_id, parameters) VALUES ($1, $2, $3)"
PORTFOLIOS = """
    SELECT p.portfolio_id, o.parameters
    FROM optimizer_run o JOIN portfolio_batch_ids p ON p.batch_id = o.batch_id
    WHERE o.optimizer_session_id = $1
    ORDER BY o.optimizer_run_id, p.assoc_id
"""


class OptimizerRun:
    """One combination of a search and the batch that played it."""

    @classmethod
    async def save(cls, optimizer_session_id: str, batch_id: str, parameters: str, pool: Any = None) -> None:
        """Write a combination; `parameters` is the text of its values."""
        await current_pool(pool).execute(SAVE, optimizer_session_id, batch_id, parameters)

    @classmethod
    async def get_portfolio_ids_parameters(cls, optimizer_session_id: str, pool: Any = None) -> list[tuple[str, str]]:
        """Return (portfolio id, parameters) of the combinations that traded for a portfolio, as they were played."""
        return [tuple(row) for row in await current_pool(pool).fetch(PORTFOLIOS, optimizer_session_id)]
