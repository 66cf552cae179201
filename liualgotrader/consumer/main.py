"""Entry point of a consumer process: opens its dependencies and runs the consumer."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from liualgotrader.common.config import Secrets, show_session
from liualgotrader.consumer.consumer_process import Consumer, ConsumerDependencies
from liualgotrader.consumer.fetches import Fetches
from liualgotrader.ipc.child_process import Child, Queues, run_child

if TYPE_CHECKING:
    from liualgotrader.common.ports import Store

_OF_THE_ANSWER = 0.8  # a question given up later would have the watchdog take the strategy for one that never returns


def run(run_dir: str, control: Connection, index: int, queues: Queues | None = None) -> None:
    """Run consumer `index` of the session in `run_dir`, and exit."""
    run_child(
        f"consumer-{index}",
        run_dir,
        control,
        lambda child: Consumer(child, index, open_dependencies(child, Secrets.from_environment())).run(),
        queues,
    )


def open_dependencies(child: Child, secrets: Secrets) -> ConsumerDependencies:
    """Return what the session's plan names; nothing is called yet."""
    from liualgotrader.common.types import TimeScale
    from liualgotrader.data.data_factory import open_data
    from liualgotrader.data.loader import DataLoader
    from liualgotrader.trading.base import Trader

    show_session(child.plan)
    data = open_data(child.plan, secrets)
    timings = child.plan.timings
    fetches = Fetches(
        open_data(child.plan, secrets, once=True),
        child.status,
        seconds=min(timings.strategy_fetch_seconds, _OF_THE_ANSWER * timings.strategy_answer_seconds),
        making_seconds=timings.broker_timeout_seconds,
    )

    async def open_record() -> Store:
        from liualgotrader.store.database import set_pool
        from liualgotrader.store.store_factory import open_store

        store = await open_store(secrets.dsn.reveal())
        set_pool(store.pool)
        show_session(child.plan, store.pool)  # what the original's code finds in `config.db_conn_pool`
        return store

    return ConsumerDependencies(
        data,
        open_record,
        lambda live: DataLoader(TimeScale.minute, data_api=fetches, clock=child.clock, live=live),
        lambda lends: Trader(child.plan.hours, child.clock, lends, data.tradable_symbols),
        fetches,
    )
