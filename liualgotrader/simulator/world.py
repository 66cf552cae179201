"""The parts of one simulated market, as its routes find them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from liualgotrader.common.clock import Clock
from liualgotrader.common.ports import Tape
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.simulator.asset_codes import SymbolTable
from liualgotrader.simulator.client_outbox import ClientOutbox
from liualgotrader.simulator.data_hub import DataHub
from liualgotrader.simulator.day_history import DayRecord
from liualgotrader.simulator.equity import EquityCurve
from liualgotrader.simulator.faults import Faults
from liualgotrader.simulator.history_source import HistorySource
from liualgotrader.simulator.market_loop import MarketLoop
from liualgotrader.simulator.subscriptions import ApiKeys
from liualgotrader.simulator.updates_hub import UpdatesHub


@dataclass(slots=True)
class World:
    """Everything a route may touch."""

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
    market: MarketLoop
    faults: Faults
    token: str = field(repr=False)
    token_path: Path
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set[ClientOutbox] = field(default_factory=set)
    orders_taken: int = 0

    @property
    def now(self) -> int:
        """The market's time, ns UTC."""
        return self.market.now

    def settle(self) -> None:
        """Send what a request has just caused to those who listen to the order stream."""
        self.updates.send(self.exchange.take_updates())


WORLD: web.AppKey[World] = web.AppKey("world")
