"""The rows of a batch that nobody will serve again: what its gateway had written down and could not store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path

import msgspec

from liualgotrader.common.clock import WallClock
from liualgotrader.common.money import plain
from liualgotrader.common.orders import OrderState
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import EarlierOrder, OrderEventRow, Row
from liualgotrader.order_gateway.journaled_desk import JOURNAL_FILE, JournaledDesk


async def store_left_over(journal_dir: Path, batch_id: str, store: Store) -> int:
    """Store the rows that the journal in `journal_dir` leads to and the database lacks; return how many there were.

    Nobody else may serve the batch meanwhile. Safe to repeat.

    Raises:
        DatabaseUnavailable: if the server cannot be reached.
        OutsideError: if a gateway still writes that journal, or the disk fails.
        JournalDamaged: if records that had been on disk are broken.
        RecordDiffers: if the journal does not lead to what is stored.
    """
    if not (journal_dir / JOURNAL_FILE).exists():
        return 0
    room = JournaledDesk(journal_dir, WallClock())
    try:
        before = await store.progress(batch_id)
        end = await store.apply(batch_id, [row for _, row in room.rows], room.begins_after)
        return end.number - before.number
    finally:
        room.close()


MARKET_GONE = "its simulated market is gone"


async def close_with_the_market(environment: str, alive: Collection[str], store: Store, at: int) -> list[str]:
    """Write the end of every order whose simulated market is gone, and return a sentence for each batch of them.

    `alive` are the batches that may still be played on, or are just now.
    """
    left: dict[str, list[EarlierOrder]] = defaultdict(list)
    for one in await store.orders_left(environment, ""):
        if one.order.batch_id not in alive:
            left[one.order.batch_id].append(one)
    return [await _close_batch(batch_id, orders, store, at) for batch_id, orders in left.items()]


async def _close_batch(batch_id: str, left: list[EarlierOrder], store: Store, at: int) -> str:
    rows: list[Row] = []
    for one in left:
        name = one.order.client_order_id
        rows.append(OrderEventRow(name, one.events + 1, "market_gone", at, {"state": one.order.state}))
        ended = {"state": str(OrderState.CANCELED), "reason": MARKET_GONE, "updated_at": at}
        rows.append(msgspec.structs.replace(one.order, **ended))
    await store.apply(batch_id, rows, await store.progress(batch_id))
    held: dict[str, Decimal] = defaultdict(Decimal)
    for trade in await store.trades(batch_id):
        held[trade.symbol] += trade.quantity if trade.operation == "buy" else -trade.quantity
    names = ", ".join(one.order.client_order_id for one in left)
    positions = ", ".join(f"{plain(shares):+f} {symbol}" for symbol, shares in sorted(held.items()) if shares)
    return (
        f"orders of batch {batch_id} that were working when its simulated market was lost are closed in the record: {names}"
        f" ({MARKET_GONE})" + (f"; it held {positions}" if positions else "")
    )
