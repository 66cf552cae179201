"""The original's shared types, under their old names, for strategies, scanners and tools written for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any


class DataConnectorType(Enum):
    """Who delivers market data."""

    polygon = 1
    alpaca = 2
    finnhub = 3
    gemini = 4
    tradier = 5


class BrokerType(Enum):
    """Who executes orders."""

    alpaca = 1
    gemini = 2
    tradier = 3


class TimeScale(Enum):
    """The length of a bar in seconds."""

    day = 86400
    minute = 60


class WSEventType(Enum):
    """What a market-data stream can send."""

    TRADE = auto()
    QUOTE = auto()
    MIN_AGG = auto()
    SEC_AGG = auto()


class WSConnectState(Enum):
    """The state of a stream's connection."""

    NOT_CONNECTED = auto()
    CONNECTED = auto()
    AUTHENTICATED = auto()


class AssetType(Enum):
    """What is traded."""

    US_EQUITIES = auto()
    CRYPTO = auto()


@dataclass
class Order:
    """An order as strategies of the original see it in `trading_data.open_orders`."""

    class EventType(Enum):
        """The broker's last event of the order."""

        partial_fill = auto()
        fill = auto()
        canceled = auto()
        rejected = auto()
        cancel_rejected = auto()
        pending = auto()
        error = auto()
        open = auto()
        other = auto()

    class FillSide(Enum):
        """Which way it trades."""

        buy = auto()
        sell = auto()

    order_id: str
    symbol: str
    event: EventType
    submitted_at: datetime
    price: float | None = None
    trade_fees: float | None = None
    filled_qty: float | None = None
    side: FillSide | None = None
    remaining_amount: float | None = None
    avg_execution_price: float | None = None
    external_account_id: str | None = None


@dataclass
class Trade:
    """An execution report as the original's broker adapters give it."""

    order_id: str
    symbol: str
    event: Order.EventType
    side: Order.FillSide
    filled_qty: float
    trade_fee: float
    filled_avg_price: float
    liquidity: str
    updated_at: datetime


@dataclass
class ThreadFlags:
    """Whether a background thread goes on."""

    run: bool = True


class QueueMapper:
    """Which queue serves a symbol; the symbol's case does not matter."""

    def __init__(self, queue_list: list[Any] | None = None) -> None:
        self._queues = list(queue_list or [])
        self._by_symbol: dict[str, Any] = {}

    def __setitem__(self, symbol: str, queue: Any) -> None:
        assert any(queue is known for known in self._queues), f"the queue for {symbol} is not one of the known queues"
        self._by_symbol[symbol.upper()] = queue

    def __getitem__(self, symbol: str) -> Any:
        assert symbol.upper() in self._by_symbol, f"no queue serves {symbol}"
        return self._by_symbol[symbol.upper()]

    def __contains__(self, symbol: object) -> bool:
        return isinstance(symbol, str) and symbol.upper() in self._by_symbol

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_symbol)

    def get_allqueues(self) -> list[Any]:
        """Return all queues, in the order they were given."""
        return self._queues
