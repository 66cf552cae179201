from __future__ import annotations

from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.config import Secrets
from liualgotrader.common.control import UNANNOUNCED, DeskFacts
from liualgotrader.common.errors import MoneyNeedsAPerson
from liualgotrader.common.order_id import client_order_id
from liualgotrader.common.rows import OrderRow, Row, TradeRow
from liualgotrader.ipc.child_process import Child, Queues
from tests.fakes.stack.common import play
from tests.fakes.supervisor import gateway_facts


async def trade(child: Child, word: str) -> None:
    """Store an order and an execution each for a purchase of 10 at 100 and, if not told only to buy, a sale at 105."""
    facts = msgspec.to_builtins(gateway_facts(account="4567", equity="100000"))
    child.send(DeskFacts({**facts, UNANNOUNCED: True}))
    if word == "fail-at-end":
        await child.stopping.wait()
        raise MoneyNeedsAPerson("the journal is another batch's.")
    if word not in ("trade", "buy"):
        return
    from liualgotrader.store.store_factory import open_store

    store = await open_store(Secrets.from_environment().dsn.reveal())
    plan, slot = child.plan, child.plan.slots[0]
    rows: list[Row] = []
    sides = (("buy", "100"), ("sell", "105")) if word == "trade" else (("buy", "100"),)
    for n, (side, price) in enumerate(sides, start=1):
        order_id = client_order_id(plan.batch_id, slot.slot, n)
        at = plan.hours.opens_at + n * MINUTE
        common: dict[str, Any] = dict(symbol="AAPL", planned_stop=Decimal(95), planned_target=None, indicators={})
        rows.append(
            OrderRow(
                client_order_id=order_id, batch_id=plan.batch_id, slot=slot.slot, algo_run_id=slot.algo_run_id,
                generation=1, side=side, quantity=Decimal(10), type="market", time_in_force="day", limit_price=None,
                stop_price=None, state="filled", broker_order_id=f"b{n}", filled_quantity=Decimal(10),
                average_price=Decimal(price), reason="", decided_at=at, updated_at=at, **common,
            )
        )  # fmt: skip
        rows.append(
            TradeRow(
                execution_id=f"{order_id}-e", client_order_id=order_id, algo_run_id=slot.algo_run_id, operation=side,
                quantity=Decimal(10), price=Decimal(price), fee=Decimal(0), at=at, **common,
            )
        )  # fmt: skip
    if (await store.progress(plan.batch_id)).number == 0:
        await store.apply(plan.batch_id, rows)
    await store.close()
    if word == "buy":
        prices = {"average_price": "100", "last": None, "stop": None, "resting_stop": None, "target": None}
        held = {
            "slot": slot.slot,
            "strategy": slot.strategy,
            "symbol": "AAPL",
            "quantity": "10",
            "day_trade": slot.day_trade,
        }
        child.send(DeskFacts({"positions": [held | prices]}))


def run(run_dir: str, control: Connection, queues: Queues | None = None) -> None:
    play("order_gateway", run_dir, control, trade, queues)
