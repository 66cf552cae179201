"""The original's address of a portfolio's account booked anew; for user code only."""

from __future__ import annotations

from liualgotrader.models.connection import open_if_none
from liualgotrader.models.portfolio import Portfolio


async def account_transactions(portfolio_id: str) -> None:
    """Book a portfolio's account anew: its size, and a movement for each execution of its batches.

    Raises:
        LookupError: if there is no such portfolio, or it has no account.
    """
    await open_if_none()
    await Portfolio.recalculate(portfolio_id)
