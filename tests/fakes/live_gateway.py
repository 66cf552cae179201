"""The real order gateway, to which the simulated market of its session is another host, or holds another account."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import msgspec

import liualgotrader.common.session_plan as session_plan
from liualgotrader.order_gateway import main
from liualgotrader.trading.alpaca_broker import AlpacaBroker


def run(run_dir: str, control: Connection, queues: Mapping[str, Queue[bytes]] | None = None) -> None:
    """Trade as if the market were the host of real money."""
    session_plan.LIVE_URL = session_plan.read_plan(Path(run_dir)).endpoints.trading_url
    main.run(run_dir, control, queues)


def run_with_other_keys(run_dir: str, control: Connection, queues: Mapping[str, Queue[bytes]] | None = None) -> None:
    """Trade with keys that open an account of another number."""
    account = AlpacaBroker.account

    async def other(self: AlpacaBroker) -> Any:
        return msgspec.structs.replace(await account(self), account_number="PA-OTHER-7777")

    AlpacaBroker.account = other  # type: ignore[method-assign]
    main.run(run_dir, control, queues)
