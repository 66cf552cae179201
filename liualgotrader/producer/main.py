"""Entry point of the producer process: opens its dependencies and runs the producer."""

from __future__ import annotations

from multiprocessing.connection import Connection
from random import Random
from typing import TYPE_CHECKING

from liualgotrader.common.clock import machine_now
from liualgotrader.common.config import Secrets
from liualgotrader.data.streaming_base import OnEvents, StreamHooks, StreamingAPI
from liualgotrader.ipc.child_process import Child, Queues, run_child
from liualgotrader.producer.producer_process import Producer, ProducerDependencies

if TYPE_CHECKING:
    from liualgotrader.common.ports import Store


def run(run_dir: str, control: Connection, queues: Queues | None = None) -> None:
    """Run the producer of the session in `run_dir`, and exit."""
    run_child(
        "producer",
        run_dir,
        control,
        lambda child: Producer(child, open_dependencies(child, Secrets.from_environment())).run(),
        queues,
    )


def open_dependencies(child: Child, secrets: Secrets) -> ProducerDependencies:
    """Return what the session's plan names; nothing is called yet."""

    async def open_record() -> Store:
        from liualgotrader.store.store_factory import open_store

        return await open_store(secrets.dsn.reveal())

    def open_feed(on_events: OnEvents, hooks: StreamHooks) -> StreamingAPI:
        from liualgotrader.data.data_factory import open_stream

        jitter = Random(machine_now())  # noqa: S311 - only so that two machines do not reconnect at once
        return open_stream(child.plan, secrets, on_events, child.clock, jitter, hooks)

    return ProducerDependencies(open_record, open_feed)
