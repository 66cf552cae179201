from __future__ import annotations

from multiprocessing.connection import Connection

from liualgotrader.ipc.child_process import Queues
from tests.fakes.stack.common import play


def run(run_dir: str, control: Connection, index: int, queues: Queues | None = None) -> None:
    play(f"consumer-{index}", run_dir, control, queues=queues)
