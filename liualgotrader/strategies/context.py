"""What an event method (`on_bar`, `on_quote`, `on_trade`, `on_second`, `on_fill`, `on_timer`) sees and acts through."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from liualgotrader.common.clock import SECOND, as_datetime
from liualgotrader.common.events import Quote
from liualgotrader.common.money import LARGEST, OURS, ZERO, exact, whole_parts
from liualgotrader.common.orders import OrderState, OrderType, Side

Number = float | int | str | Decimal
_PRICES = ("limit", "stop", "take_profit", "stop_loss")


@dataclass(slots=True, eq=False, repr=False)
class OrderHandle:
    """One of the strategy's orders, kept up to date by the engine.

    `quantity` and `filled` are shares; `average_price` (None before the first fill), `limit_price` and `stop_price` US
    dollars per share; `reason` says why it was refused, rejected or cancelled. Quantity and prices are those that work
    now, also when somebody else replaced the order; the exits of a bracket have handles of their own.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    type: OrderType
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    state: OrderState | None = None  # None until the gateway has answered
    filled: Decimal = ZERO
    average_price: Decimal | None = None
    reason: str = ""
    open: bool = True

    @property
    def remaining(self) -> Decimal:
        """Shares that have not traded."""
        return OURS.subtract(self.quantity, self.filled)

    @property
    def is_open(self) -> bool:
        """Whether the order may still trade."""
        return self.open

    def __repr__(self) -> str:
        state = self.state.value if self.state else "new"
        return f"<{self.client_order_id} {self.side.value} {self.quantity} {self.symbol} {state} filled {self.filled}>"


@dataclass(slots=True)
class WantedOrder:
    """An order as the strategy asks for it; the engine gives it an id and a decision time."""

    side: Side
    quantity: Decimal
    _: KW_ONLY
    limit: Decimal | None = None
    stop: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    time_in_force: str = "day"
    cancel_after: int = 0  # ns of market time
    indicators: Mapping[str, Any] | None = None
    reason: str = ""

    @property
    def type(self) -> OrderType:
        """The order type that the given prices make."""
        if self.stop is not None:
            return OrderType.STOP if self.limit is None else OrderType.STOP_LIMIT
        return OrderType.MARKET if self.limit is None else OrderType.LIMIT


class BarsLike(Protocol):
    """Closed minute bars of one symbol, oldest first, as read-only NumPy views that share memory with the engine."""

    def __len__(self) -> int: ...
    @property
    def open(self) -> Any: ...
    @property
    def high(self) -> Any: ...
    @property
    def low(self) -> Any: ...
    @property
    def close(self) -> Any: ...
    @property
    def volume(self) -> Any: ...
    @property
    def average(self) -> Any:
        """Volume-weighted average price within each bar."""

    @property
    def vwap(self) -> Any:
        """Volume-weighted average price since the session's open, at the end of each bar."""

    @property
    def count(self) -> Any: ...
    @property
    def opened_at(self) -> Any:
        """Start of each bar, ns UTC (int64)."""


class OrderPort(Protocol):
    """What the engine does for the contexts of one slot; see `Context`."""

    rng: random.Random
    log: logging.Logger

    @property
    def portfolio_value(self) -> float | None: ...
    def order(self, symbol: str, wanted: WantedOrder) -> OrderHandle: ...
    def cancel(self, handle: OrderHandle, reason: str) -> None: ...
    def replace(
        self, handle: OrderHandle, quantity: Decimal | None, limit: Decimal | None, stop: Decimal | None
    ) -> None: ...
    def open_orders(self, symbol: str) -> list[OrderHandle]: ...
    def protect(self, symbol: str, stop: Decimal | None, target: Decimal | None) -> None: ...
    def position(self, symbol: str) -> Decimal: ...
    def stop(self, symbol: str) -> Decimal | None: ...
    def target(self, symbol: str) -> Decimal | None: ...
    def affordable(self, symbol: str, price: float) -> int: ...
    def reference(self, symbol: str) -> float | None: ...
    def quote(self, symbol: str) -> Quote | None: ...
    def last(self, symbol: str) -> float | None: ...
    def shortable(self, symbol: str) -> bool: ...
    def halted(self, symbol: str) -> bool: ...
    def record(self, symbol: str, name: str, at: int, value: Any) -> None: ...


class Context:
    """One strategy's view of one symbol. The same object is handed to every call for that pair.

    `at` is the market's time of the call in ns UTC: the close of the newest closed bar, or the event's time;
    `told_at` is the newest market time that the strategy was called with: later calls never go back before it.
    `bars` are the closed minute bars, `state` a dict for whatever the strategy wants to keep about the symbol.
    """

    __slots__ = ("_port", "at", "bars", "state", "symbol", "told_at")

    def __init__(self, symbol: str, bars: BarsLike, port: OrderPort) -> None:
        self.symbol = symbol
        self.bars = bars
        self.state: dict[str, Any] = {}
        self.at = self.told_at = 0
        self._port = port

    @property
    def now(self) -> datetime:
        """The market's time of this call, New York."""
        return as_datetime(self.at)

    @property
    def position(self) -> float:
        """Shares this strategy holds in the symbol, negative when short."""
        return float(self._port.position(self.symbol))

    @property
    def quote(self) -> Quote | None:
        """The newest bid and offer, None before the first."""
        return self._port.quote(self.symbol)

    @property
    def last(self) -> float | None:
        """The newest price in US dollars, None before the first."""
        return self._port.last(self.symbol)

    @property
    def shortable(self) -> bool:
        """Whether the broker lends shares of the symbol; one that it does not know counts as lent."""
        return self._port.shortable(self.symbol)

    @property
    def halted(self) -> bool:
        """Whether trading in the symbol is halted, as far as the data feed reports it."""
        return self._port.halted(self.symbol)

    @property
    def portfolio_value(self) -> float | None:
        """The account's equity in US dollars unless the tradeplan sets it; None until the account is known."""
        return self._port.portfolio_value

    def affordable(self, price: Number | None = None) -> int:
        """Return how many whole shares an entry may have under the account's limits for one order and one position.

        `price` is the order's limit if it has one; what trades at market is judged by the newest price, and nothing is
        judged below that. What the strategy holds or has on order in the symbol is counted, and a hundredth of the equity is
        left out, since the account may lose that before the order is judged. 0 until the account is known,
        and once a DAY_TRADE strategy may open nothing any more today.
        The other rules (all positions together, orders a minute, ...) may still refuse the order.
        """
        each = self._judged_at(price)
        return self._port.affordable(self.symbol, each) if each is not None else 0

    def shares(self, *, stop: Number, risk: float = 0.001, price: Number | None = None) -> int:
        """Return how many whole shares lose at most `risk` (a fraction) of the portfolio's value down to `stop`.

        Never more than `affordable`; `price` as there. 0 when the stop lies at the price.
        """
        each, value = self._judged_at(price), self._port.portfolio_value
        if each is None or value is None:
            return 0
        wanted = shares_at_risk(value, each, float(exact(stop)), risk_fraction=risk, cost_fraction=1.0)
        return min(wanted, self.affordable(price))

    def _judged_at(self, price: Number | None) -> float | None:
        newest = self._port.reference(self.symbol)
        if newest is None or price is None:
            return newest
        return max(newest, float(exact(price)))

    def record(self, name: str, value: float | Decimal | None) -> None:
        """Keep a value of the symbol at `at`, in the series `name` of the batch; `analytics.records.recorded` reads it back.

        None is kept as NaN, a number too large for a float as an infinite one. It costs no I/O: values are written in the
        background, and what does not fit there is left out and counted.

        Raises:
            TypeError: a value that is no number.
            ValueError: a name that is not 1 to 64 printable characters, or one too many (100 a strategy).
            RuntimeError: in another thread.
        """
        self._port.record(self.symbol, name, self.at, value)

    @property
    def rng(self) -> random.Random:
        """Random numbers that are the same in every run with the same seed."""
        return self._port.rng

    @property
    def log(self) -> logging.Logger:
        """The strategy's own log."""
        return self._port.log

    @property
    def open_orders(self) -> list[OrderHandle]:
        """This strategy's working orders in the symbol, oldest first."""
        return self._port.open_orders(self.symbol)

    def buy(
        self,
        quantity: Number,
        *,
        limit: Number | None = None,
        stop: Number | None = None,
        stop_price: Number | None = None,
        target_price: Number | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        time_in_force: str = "day",
        cancel_after: timedelta | None = None,
        indicators: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> OrderHandle:
        """Order `quantity` shares: at market, up to `limit`, from `stop` on, or both (stop-limit).

        Parts finer than 1e-9 shares are left out; an order without shares is refused (`OrderHandle.reason` is "size"),
        as it is by the other risk rules: see `affordable` and `shares`. `stop_price` and `target_price` become the
        stored stop and target of the position; `take_profit` and `stop_loss` are bracket legs that the broker holds.
        `cancel_after` is market time.

        Raises:
            ValueError: a quantity that is no finite number, or a price that is not a finite number above 0.
        """
        prices, plan = (limit, stop, take_profit, stop_loss), (stop_price, target_price)
        return self._order(Side.BUY, quantity, prices, plan, cancel_after, time_in_force, indicators, reason)

    def sell(
        self,
        quantity: Number,
        *,
        limit: Number | None = None,
        stop: Number | None = None,
        stop_price: Number | None = None,
        target_price: Number | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        time_in_force: str = "day",
        cancel_after: timedelta | None = None,
        indicators: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> OrderHandle:
        """Order a sale, which reduces a long position or opens a short one; arguments as in `buy`."""
        prices, plan = (limit, stop, take_profit, stop_loss), (stop_price, target_price)
        return self._order(Side.SELL, quantity, prices, plan, cancel_after, time_in_force, indicators, reason)

    def _order(
        self,
        side: Side,
        quantity: Number,
        prices: tuple[Number | None, ...],
        plan: tuple[Number | None, Number | None],
        cancel_after: timedelta | None,
        *terms: Any,
    ) -> OrderHandle:
        shares = exact(quantity)
        if shares > LARGEST:
            raise ValueError(f"quantity must be at most {LARGEST}, not {quantity!r}")
        wanted = WantedOrder(side, whole_parts(shares))
        wanted.time_in_force, wanted.indicators, wanted.reason = terms
        limit, stop, take_profit, stop_loss = prices
        if not (limit is stop is take_profit is stop_loss is None):
            for name, price in zip(_PRICES, prices, strict=True):
                setattr(wanted, name, _above_zero(name, price))
        if cancel_after:
            wanted.cancel_after = round(cancel_after.total_seconds() * SECOND)
        if wanted.quantity > 0 and not (plan[0] is plan[1] is None):  # else there is nothing that the plan could be for
            self.protect(stop_price=plan[0], target_price=plan[1])
        return self._port.order(self.symbol, wanted)

    def close(self, *, reason: str = "") -> OrderHandle | None:
        """Order the opposite of the whole position at market; None if there is no position."""
        held = self._port.position(self.symbol)
        if not held:
            return None
        side = Side.SELL if held > 0 else Side.BUY
        return self._port.order(self.symbol, WantedOrder(side, held.copy_abs(), reason=reason))

    def cancel(self, handle: OrderHandle | None = None, *, reason: str = "") -> None:
        """Ask for the cancellation of one order, or of all this strategy's working orders in the symbol."""
        for one in [handle] if handle is not None else self.open_orders:
            self._port.cancel(one, reason)

    def replace(
        self,
        handle: OrderHandle,
        *,
        quantity: Number | None = None,
        limit: Number | None = None,
        stop: Number | None = None,
    ) -> None:
        """Ask for other terms of a working order; None leaves a term as it is."""
        self._port.replace(
            handle, _above_zero("quantity", quantity), _above_zero("limit", limit), _above_zero("stop", stop)
        )

    def protect(self, *, stop_price: Number | None = None, target_price: Number | None = None) -> None:
        """Move the stored stop, the target, or both; None leaves one as it is."""
        stop, target = _above_zero("stop_price", stop_price), _above_zero("target_price", target_price)
        if stop is not None or target is not None:
            self._port.protect(self.symbol, stop, target)

    @property
    def stop_price(self) -> float | None:
        """The stored stop of the position in US dollars."""
        return _as_float(self._port.stop(self.symbol))

    @property
    def target_price(self) -> float | None:
        """The stored target of the position in US dollars."""
        return _as_float(self._port.target(self.symbol))


def _above_zero(name: str, value: Number | None) -> Decimal | None:
    if value is None:
        return None
    number = exact(value)
    if number <= 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")
    if number > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST}, not {value!r}")
    return number


def _as_float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def shares_at_risk(
    equity: float, price: float, stop: float, *, risk_fraction: float, cost_fraction: float = 0.05
) -> int:
    """Return the whole shares that lose at most `risk_fraction` of `equity` between `price` and `stop`.

    `price` is the worst one the entry may be filled at, that of its limit. The shares cost at most `cost_fraction`
    of equity; 0 when the stop is at the price, when one share is too much, or when there is no equity.

    >>> shares_at_risk(100_000.0, 50.0, 48.0, risk_fraction=0.001)
    50
    >>> shares_at_risk(100_000.0, 50.0, 49.9, risk_fraction=0.001)
    100
    """
    risk_per_share = abs(price - stop)
    if risk_per_share <= 0 or price <= 0 or equity <= 0:
        return 0
    by_risk = equity * risk_fraction / risk_per_share
    by_cost = equity * cost_fraction / price
    return math.floor(min(by_risk, by_cost) + 1e-9)  # 99.99999999999999 is a hundred
