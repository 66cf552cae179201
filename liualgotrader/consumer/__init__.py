"""The consumer process: batches of market events and account news in, order intents out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liualgotrader.common.types import Order


async def should_cancel_order(order: Order, market_clock: datetime) -> bool:
    """Say whether an order of the original's kind is a minute old; for user code, the desk asks for itself.

    Both times are aware.
    """
    return market_clock - order.submitted_at >= timedelta(minutes=1)
