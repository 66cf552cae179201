"""The original's global dictionaries, as views of the strategy that is being called.

Every name resolves, at each use, to the book of the strategy whose call is under way; what it writes goes
to its own book, and no strategy sees another's. Keys are symbols, in any case. Outside a call the views
are empty and cannot be written to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from decimal import Decimal
from typing import Any, Protocol

from liualgotrader.common.types import QueueMapper


class CalledBook(Protocol):
    """The book of the strategy that the engine is calling."""

    def read_only(self, name: str) -> Mapping[str, Any]:
        """Return the values of a name that only the engine fills, by upper-case symbol."""

    def writable(self, name: str) -> MutableMapping[str, Any]:
        """Return the strategy's own values of one of `WRITABLE`, by upper-case symbol."""

    def strategies(self) -> list[Any]:
        """Return the strategies of this process."""

    def is_booked(self, account_id: int, amount: Decimal) -> bool:
        """Whether the order gateway books this movement of cash (US dollars) for the fill of the callback under way.

        True once for each part of it.
        """


called: ContextVar[CalledBook | None] = ContextVar("called", default=None)
"""The book of the strategy being called. Only the engine sets it."""


class _ReadOnly(Mapping[str, Any]):
    """A name that only the engine fills."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _found(self) -> Mapping[str, Any]:
        book = called.get()
        return {} if book is None else book.read_only(self._name)

    def __getitem__(self, symbol: str) -> Any:
        return self._found()[symbol.upper()]

    def __contains__(self, symbol: object) -> bool:
        return isinstance(symbol, str) and symbol.upper() in self._found()

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __repr__(self) -> str:
        return f"{self._name}({dict(self._found())})"


class _Writable(_ReadOnly, MutableMapping[str, Any]):
    """A name that the strategy being called may write."""

    def _found(self) -> MutableMapping[str, Any]:
        book = called.get()
        return {} if book is None else book.writable(self._name)

    def __setitem__(self, symbol: str, value: Any) -> None:
        if called.get() is None:
            raise RuntimeError(f"trading_data.{self._name} belongs to the strategy being called, and none is")
        self._found()[symbol.upper()] = value

    def __delitem__(self, symbol: str) -> None:
        del self._found()[symbol.upper()]


class _Strategies:
    """The strategies of this process, read like a list."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __getitem__(self, index: int) -> Any:
        return self._found()[index]

    def _found(self) -> list[Any]:
        book = called.get()
        return [] if book is None else book.strategies()


positions = _ReadOnly("positions")
open_orders = _ReadOnly("open_orders")
open_order_strategy = _ReadOnly("open_order_strategy")
last_used_strategy = _ReadOnly("last_used_strategy")
partial_fills = _ReadOnly("partial_fills")
partial_fills_fee = _ReadOnly("partial_fills_fee")
minute_history = _ReadOnly("minute_history")

latest_cost_basis = _Writable("latest_cost_basis")
latest_scalp_basis = _Writable("latest_scalp_basis")
sell_indicators = _Writable("sell_indicators")
buy_indicators = _Writable("buy_indicators")
target_prices = _Writable("target_prices")
stop_prices = _Writable("stop_prices")
symbol_resistance = _Writable("symbol_resistance")
voi = _ReadOnly("voi")
voi_ask = _ReadOnly("voi_ask")
voi_bid = _ReadOnly("voi_bid")
industry_trend = _Writable("industry_trend")
sector_trend = _Writable("sector_trend")
snapshot = _Writable("snapshot")
cool_down = _Writable("cool_down")
down_cross = _Writable("down_cross")
buy_time = _Writable("buy_time")

WRITABLE = tuple(name for name, view in list(globals().items()) if isinstance(view, _Writable))
"""Names that a strategy may write; the values are the strategy's own."""

strategies = _Strategies()
queues = QueueMapper()
