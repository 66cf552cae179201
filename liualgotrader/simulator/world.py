"""The parts of one simulated market."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from liualgotrader.common.clock import Clock
from liualgotrader.common.ports import Tape
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.simulator.asset_codes import SymbolTable
from liualgotrader.simulator.bar_history import HistorySource
from liualgotrader.simulator.client_outbox import ClientOutbox
from liualgotrader.simulator.data_hub import DataHub
from liualgotrader.simulator.day_history import DayRecord, EquityCurve
from liualgotrader.simulator.faults import Faults
from liualgotrader.simulator.subscriptions import ApiKeys
from liualgotrader.simulator.updates_hub import UpdatesHub


@dataclass(slots=True)
class World:
    """What the market's loop and its routes share. `now` is the market's time, ns UTC: what has been played."""

    spec: MarketSpec
    keys: ApiKeys
    account_id: str
    clock: Clock  # for machine time only
    tape: Tape
    symbols: SymbolTable
    exchange: Exchange
    record: DayRecord
    history: HistorySource
    equity: EquityCurve
    data: DataHub
    updates: UpdatesHub
    page: SessionPage
    token: str = field(repr=False)
    token_path: Path
    now: int
    faults: Faults = field(default_factory=Faults)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set[ClientOutbox] = field(default_factory=set)
    orders_taken: int = 0

    def send_updates(self) -> None:
        """Send what a request has just caused on the order stream."""
        self.updates.send(self.exchange.take_updates())


WORLD: web.AppKey[World] = web.AppKey("world")
