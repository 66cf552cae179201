from __future__ import annotations

from multiprocessing.connection import Connection

from liualgotrader.ipc.child_process import Queues
from tests.fakes.stack.common import play


def run(run_dir: str, control: Connection, queues: Queues | None = None) -> None:
    play("producer", run_dir, control, queues=queues)
