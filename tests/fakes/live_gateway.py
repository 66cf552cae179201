"""The real order gateway, to which the simulated market of its session is the host of real money."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from pathlib import Path

import liualgotrader.common.session_plan as session_plan
from liualgotrader.order_gateway import main


def run(run_dir: str, control: Connection, queues: Mapping[str, Queue[bytes]] | None = None) -> None:
    session_plan.LIVE_URL = session_plan.read_plan(Path(run_dir)).endpoints.trading_url
    main.run(run_dir, control, queues)
