"""What one strategy holds and has under way: positions from fills, orders from news, and its own notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from decimal import Decimal, localcontext
from typing import Any, TypeVar

import msgspec

from liualgotrader.common.clock import as_datetime
from liualgotrader.common.money import LARGEST, OURS, ZERO, exact
from liualgotrader.common.orders import Fill, OrderIntent, OrderNews, OrderState, OrderType, Protect, Protection, Side
from liualgotrader.common.position import after_execution, after_split
from liualgotrader.common.rows import SignalRow
from liualgotrader.common.trading_data import WRITABLE
from liualgotrader.common.types import Order
from liualgotrader.engine.actions import storable
from liualgotrader.strategies.context import OrderHandle

_PRICE_STEP = Decimal("0.0001")
_PLAN = ("stop_prices", "target_prices")
_INDICATORS = {Side.BUY: "buy_indicators", Side.SELL: "sell_indicators"}
_ENDS_WITH_THE_POSITION = (*_PLAN, "latest_cost_basis", "buy_time")

Plan = tuple[Decimal | None, Decimal | None]  # stop, target


class Notes:
    """What one strategy writes by symbol: stops, targets, indicators, and its other values.

    The gateway keeps stop and target of a position too. What the strategy writes counts at once; once the gateway has
    echoed it, what the gateway says counts as well.
    """

    def __init__(self) -> None:
        self.moved: set[str] = set()  # symbols whose stop or target was written since the last look
        self._unconfirmed: dict[str, Plan] = {}  # sent to the gateway and not echoed yet
        self._values: dict[str, dict[str, Any]] = {name: {} for name in WRITABLE}
        for name in _PLAN:
            self._values[name] = _Watched(self.moved)
        self._unused: dict[Side, set[str]] = {side: set() for side in Side}  # indicators written since the last order
        self._used: dict[tuple[Side, str], Any] = {}  # indicators as the last order took them
        for side, name in _INDICATORS.items():
            self._values[name] = _Watched(self._unused[side], also_equal=True)

    def writable(self, name: str) -> MutableMapping[str, Any]:
        """Return the values of a name, by upper-case symbol."""
        return self._values[name]

    # --- stop and target --------------------------------------------------------------------------------

    def planned(self, symbol: str, name: str) -> Decimal | None:
        """Return the stop (`stop_prices`) or target (`target_prices`), None if there is none, or none that is a price."""
        value = self._values[name].get(symbol)
        if value is None:
            return None
        try:
            price = exact(value)
        except ValueError:
            return None
        return price.quantize(_PRICE_STEP) if 0 < price <= LARGEST else None

    def plan_of(self, symbol: str) -> Plan:
        """Return stop and target, None where there is none, or none that is a price."""
        if symbol in self._values["stop_prices"] or symbol in self._values["target_prices"]:
            return self.planned(symbol, "stop_prices"), self.planned(symbol, "target_prices")
        return None, None

    def plan(self, symbol: str, stop: Decimal | None, target: Decimal | None) -> None:
        """Store a stop, a target or both as the strategy's own; None leaves one as it is."""
        for name, price in zip(_PLAN, (stop, target), strict=True):
            if price is not None:
                self._values[name][symbol] = float(price)

    def sent(self, protect: Protect) -> None:
        """Remember that the gateway was sent a moved stop or target."""
        self._unconfirmed[protect.symbol] = protect.planned_stop, protect.planned_target

    def apply_echo(self, echo: Protection, *, rebuilding: bool) -> None:
        """Take the plan that the gateway stores: while the book is rebuilt as it is, else as the echo of the last move."""
        stored = echo.planned_stop, echo.planned_target
        if rebuilding:
            for name, price in zip(_PLAN, stored, strict=True):
                dict.pop(self._values[name], echo.symbol, None)
                self._take(name, echo.symbol, price)
        elif self._unconfirmed.get(echo.symbol) == stored:
            del self._unconfirmed[echo.symbol]

    def take_plan(self, symbol: str, stop: Decimal | None, target: Decimal | None) -> None:
        """Take the plan in force after a fill, unless the strategy has written a newer one."""
        if stop is target is None or symbol in self.moved or symbol in self._unconfirmed:
            return
        for name, price in zip(_PLAN, (stop, target), strict=True):
            self._take(name, symbol, price)

    def take_plan_of_transfer(self, symbol: str, stop: Decimal | None, target: Decimal | None) -> None:
        """Take the plan of shares that no order of the strategy bought; the gateway is sent what the strategy planned before."""
        self.take_plan(symbol, stop, target)
        for name, price in zip(_PLAN, (stop, target), strict=True):
            if price is None and self.planned(symbol, name) is not None:
                self.moved.add(symbol)

    def _take(self, name: str, symbol: str, price: Decimal | None) -> None:
        known = self._values[name].get(symbol)
        if price is None or (type(known) is float and known == float(price)):
            return
        if price != self.planned(symbol, name):
            dict.__setitem__(self._values[name], symbol, float(price))  # past `_Watched`: not a move of the strategy's

    # --- indicators ---------------------------------------------------------------------------------------

    def indicators(self, symbol: str, side: Side) -> dict[str, Any]:
        """Return what is to be stored with an order, as the original stores it: {"buy": ..., "sell": ...}.

        What one order has taken no later one takes, unless the strategy has written it again or changed it.
        """
        name = _INDICATORS[side]
        value = self._values[name].get(symbol)
        if value is None:
            return {}
        kept = storable(value)
        if symbol not in self._unused[side] and kept == self._used.get((side, symbol)):
            return {}
        self._unused[side].discard(symbol)
        self._used[side, symbol] = kept
        return {side.value: kept}

    # --- the position -------------------------------------------------------------------------------------

    def split(self, symbol: str, ratio: float) -> None:
        """Divide stop, target and cost of a position by the ratio of a split."""
        for name in (*_PLAN, "latest_cost_basis"):
            if isinstance(price := self._values[name].get(symbol), int | float):
                dict.__setitem__(self._values[name], symbol, price / ratio)

    def forget(self, symbol: str) -> None:
        """Drop what belongs to a position that has ended: its plan, cost, time and indicators."""
        for name in _ENDS_WITH_THE_POSITION:
            dict.pop(self._values[name], symbol, None)
        self.moved.discard(symbol)
        self._unconfirmed.pop(symbol, None)
        for side, name in _INDICATORS.items():
            if symbol in self._values[name]:
                self.indicators(symbol, side)


class _Watched(dict[str, Any]):
    """Values that remember in `written` for which symbols they were written; with `also_equal` every writing counts."""

    def __init__(self, written: set[str], *, also_equal: bool = False) -> None:
        super().__init__()
        self._written, self._also_equal = written, also_equal

    def __setitem__(self, symbol: str, value: Any) -> None:
        if self._also_equal or self.get(symbol) != value:
            self._written.add(symbol)
        super().__setitem__(symbol, value)

    def __delitem__(self, symbol: str) -> None:
        super().__delitem__(symbol)
        self._written.add(symbol)


V = TypeVar("V")

_EVENTS = {
    OrderState.PARTIALLY_FILLED: Order.EventType.partial_fill,
    OrderState.FILLED: Order.EventType.fill,
    OrderState.CANCELED: Order.EventType.canceled,
    OrderState.EXPIRED: Order.EventType.canceled,
    OrderState.REJECTED: Order.EventType.rejected,
    OrderState.REFUSED: Order.EventType.rejected,
    OrderState.ACKNOWLEDGED: Order.EventType.open,
}


_HALF_A_CENT = Decimal("0.005")  # strategies count in floats, and round
_TOOK_NO_PART = frozenset({OrderState.REPLACED, OrderState.REFUSED, OrderState.REJECTED})  # another one counts


class Link(msgspec.Struct, eq=False):
    """One order of a chain of replacements: where it stands, the newest news of it, and what it has filled."""

    state: OrderState | None = None  # None until the gateway has answered
    terms: OrderNews | None = None
    filled: Decimal = ZERO


class TrackedOrder(msgspec.Struct, eq=False):
    """One order of the slot: the strategy's handle, the orders of its chain, its executions."""

    handle: OrderHandle
    at: int
    price: Decimal = ZERO  # dollars per share that it may cost, 0 if unknown
    signal: SignalRow | None = None  # its row, until the gateway has taken the order or refused it
    chain: dict[str, Link] = {}  # oldest first
    filled: Decimal = ZERO
    value: Decimal = ZERO  # dollars paid or received for `filled`
    fees: Decimal = ZERO

    def update_handle(self, current: Link) -> bool:
        """Show in the handle the order of the chain that counts: `current`, where it is the only one.

        That is the oldest that may still trade, while its replacement is only asked for; else the one that ended last.
        Return whether the handle was closed by that, or opened again.
        """
        handle, before, state = self.handle, ZERO, current.state
        is_open = state is None or not state.is_final
        if len(self.chain) > 1:
            alive = ended = None
            for link in self.chain.values():
                if link.state is None or not link.state.is_final:
                    alive = alive or link
                if link.state not in _TOOK_NO_PART:
                    ended = link
            current = alive or ended or link
            is_open, state = alive is not None, current.state
            before = self.filled - current.filled  # by the rest of the chain
        turned = handle.open is not is_open
        handle.open, handle.state = is_open, state
        if (terms := current.terms) is not None:
            if terms.reason:
                handle.reason = terms.reason
            handle.quantity = before + terms.quantity if before else terms.quantity
            if terms.type is not None:
                handle.type, handle.limit_price, handle.stop_price = terms.type, terms.limit_price, terms.stop_price
                self.price = terms.limit_price or terms.stop_price or self.price
        return turned

    def as_order(self) -> Order:
        """Return the order as the original's code knows it."""
        handle, average = self.handle, self.handle.average_price
        return Order(
            order_id=handle.client_order_id,
            symbol=handle.symbol,
            event=_EVENTS.get(handle.state, Order.EventType.pending) if handle.state else Order.EventType.pending,
            submitted_at=as_datetime(self.at),
            trade_fees=float(self.fees),
            filled_qty=float(handle.filled),
            side=Order.FillSide[handle.side.value],
            remaining_amount=float(handle.remaining),
            avg_execution_price=None if average is None else float(average),
        )


class Book:
    """One slot's positions, orders and notes. `seq` is the number of the newest news it has acted on."""

    def __init__(
        self, slot: int, strategy: Any, all_strategies: Callable[[], list[Any]], account_id: int | None = None
    ) -> None:
        self.slot = slot
        self.strategy = strategy
        self.seq = 0
        self.has_hole = False  # news was missed and has been asked for again
        self.rebuilding = True  # until the gateway has sent all earlier news
        self.cash = ZERO  # received less paid for all fills, fees included, US dollars
        self.quantities: dict[str, Decimal] = {}
        self.costs: dict[str, Decimal] = {}  # average cost, US dollars per share
        self.positions: dict[str, float] = {}
        self.notes = Notes()
        self.shared: dict[str, Mapping[str, Any]] = {}  # values that are the same for every slot, by name
        self._tracked: dict[str, TrackedOrder] = {}  # by the id of the chain
        self._open: dict[str, list[TrackedOrder]] = {}  # by symbol
        self._used: dict[str, Any] = {}
        self.all_strategies = all_strategies
        self.account_id = account_id  # of the strategy's portfolio: the order gateway books every fill to it
        self.owed: dict[str, Decimal] = {}  # cash moved by the fill whose callback is running, US dollars

    # --- CalledBook ---------------------------------------------------------------------------------------

    def read_only(self, name: str) -> Mapping[str, Any]:
        if name == "positions":
            return self.positions
        if name in ("open_order_strategy", "last_used_strategy"):
            return {s: self.strategy for s in (self._open if name == "open_order_strategy" else self._used)}
        if name == "open_orders":
            return {s: orders[-1].as_order() for s, orders in self._open.items()}
        if name == "partial_fills":
            return {s: float(t[-1].filled) for s, t in self._open.items() if t[-1].filled}
        if name == "partial_fills_fee":
            return {s: float(t[-1].fees) for s, t in self._open.items() if t[-1].filled}
        return self.shared.get(name, {})

    def writable(self, name: str) -> MutableMapping[str, Any]:
        return self.notes.writable(name)

    def strategies(self) -> list[Any]:
        return self.all_strategies()

    # --- cash -------------------------------------------------------------------------------------------

    def is_booked(self, account_id: int, amount: Decimal) -> bool:
        """Whether this movement of cash is the value of the fill, less its fee or not, or the fee alone: each once."""
        if account_id != self.account_id or not amount.is_finite():
            return False
        with localcontext(OURS):  # a strategy's own may be less precise
            for name, part in self.owed.items():
                if abs(part - amount) <= _HALF_A_CENT:
                    del self.owed[name]
                    return True
            if len(self.owed) < 2 or abs(sum(self.owed.values()) - amount) > _HALF_A_CENT:
                return False
        self.owed = {}
        return True

    # --- positions --------------------------------------------------------------------------------------

    def quantity(self, symbol: str) -> Decimal:
        """Return the signed shares held."""
        return self.quantities.get(symbol, ZERO)

    def held(self) -> list[str]:
        """Return the symbols in which there is a position, in the order they were first traded."""
        return [symbol for symbol, quantity in self.quantities.items() if quantity]

    def under_way(self) -> set[str]:
        """Return the symbols in which there is a position, or an order that may still trade."""
        return {*self.held(), *self._open}

    def apply(self, fill: Fill) -> None:
        """Book a fill; the position after it is the one that the gateway states."""
        symbol, after = fill.symbol, fill.position
        before = self.quantities.get(symbol, ZERO)
        self.cash -= fill.side.sign * fill.quantity * fill.price + fill.fee
        self.quantities[symbol] = after
        self.positions[symbol] = float(after)
        _, cost, _ = after_execution(before, self.costs.pop(symbol, ZERO), after - before, fill.price)
        if before and before * after <= 0:
            self.notes.forget(symbol)
        if after:
            self.costs[symbol] = cost
            self.notes.writable("latest_cost_basis")[symbol] = float(cost)
            if symbol not in (bought_at := self.notes.writable("buy_time")):
                bought_at[symbol] = as_datetime(fill.at)
            take = self.notes.take_plan if fill.client_order_id in self._tracked else self.notes.take_plan_of_transfer
            take(symbol, fill.planned_stop, fill.planned_target)

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Bring the position and what is noted of its prices to the terms after a split (new shares per old one)."""
        self.notes.split(symbol, float(ratio))
        if held := self.quantities.get(symbol):
            self.quantities[symbol] = after_split(held, ratio)
            self.positions[symbol] = float(self.quantities[symbol])
            self.costs[symbol] /= ratio

    def take_over(self, before: Book, at: int) -> None:
        """Go on for a new instance with what the one before held and has on order; of its notes cost and plan stay."""
        before.let_go()
        self.seq, self.rebuilding, self.cash = before.seq, before.rebuilding, before.cash
        self._tracked, self._open = before._tracked, before._open
        self._used = dict.fromkeys(self._open, self.strategy)
        for symbol in before.held():
            self.quantities[symbol], self.costs[symbol] = before.quantities[symbol], before.costs[symbol]
            self.positions[symbol] = before.positions[symbol]
            self.notes.writable("latest_cost_basis")[symbol] = float(self.costs[symbol])
            self.notes.writable("buy_time")[symbol] = as_datetime(at)
            self.notes.take_plan(symbol, *(before.notes.planned(symbol, name) for name in _PLAN))

    # --- orders -----------------------------------------------------------------------------------------

    def track(self, intent: OrderIntent, signal: SignalRow) -> OrderHandle:
        """Track an order that was just decided, with its row."""
        handle = OrderHandle(intent.client_order_id, intent.symbol, intent.side, intent.quantity, intent.type)
        handle.limit_price, handle.stop_price = intent.limit_price, intent.stop_price
        price = intent.limit_price or intent.stop_price or intent.reference_price or ZERO
        self._add(TrackedOrder(handle, intent.decided_at, price, signal))
        return handle

    def let_go(self) -> None:
        """Forget the orders that have ended; whoever has their handles keeps them."""
        working = {id(tracked) for orders in self._open.values() for tracked in orders}
        self._tracked = {name: tracked for name, tracked in self._tracked.items() if id(tracked) in working}

    def reserved_cash(self) -> Decimal:
        """Return the dollars that working purchases may still cost; covering a short is none."""
        return sum(
            (
                t.handle.remaining * t.price
                for symbol, orders in self._open.items()
                if self.quantity(symbol) >= 0
                for t in orders
                if t.handle.side is Side.BUY
            ),
            ZERO,
        )

    def in_flight(self, symbol: str) -> bool:
        """Whether an order of this slot may still trade in the symbol."""
        return symbol in self._open

    def open_orders(self, symbol: str) -> list[OrderHandle]:
        """Return the orders that may still trade in a symbol, oldest first."""
        return [t.handle for t in self._open.get(symbol, ())]

    def apply_news(self, news: OrderNews) -> SignalRow | None:
        """Update an order, also one that the gateway made itself (liquidation, legs).

        Its first news returns the row of an order that was decided here.
        """
        name = news.client_order_id
        tracked = self._tracked.get(name)
        if tracked is None:
            tracked = self._order_of(name, news.chain, news.symbol, news.side, news.quantity, news.at)
        link = tracked.chain.get(name)
        if link is None:
            link = tracked.chain[name] = Link()
        link.state, link.terms = news.state, news
        if tracked.update_handle(link):
            self._reindex(tracked)
        signal, tracked.signal = tracked.signal, None
        return signal

    def apply_execution(self, fill: Fill) -> TrackedOrder:
        """Add an execution to its order and return the order."""
        name = fill.client_order_id
        tracked = self._tracked.get(name)
        if tracked is None:
            whole = fill.cumulative_quantity + fill.remaining_quantity
            tracked = self._order_of(name, "", fill.symbol, fill.side, whole, fill.at)
        link = tracked.chain[name]
        link.filled = fill.cumulative_quantity
        tracked.filled += fill.quantity
        tracked.value += fill.quantity * fill.price
        tracked.fees += fill.fee
        tracked.handle.filled = tracked.filled
        tracked.handle.average_price = tracked.value / tracked.filled
        if not fill.remaining_quantity:
            link.state = OrderState.FILLED
        if tracked.update_handle(link):
            self._reindex(tracked)
        return tracked

    def _order_of(
        self, client_id: str, chain: str, symbol: str, side: Side, quantity: Decimal, at: int
    ) -> TrackedOrder:
        found = self._tracked.get(chain)
        if found is None:
            found = TrackedOrder(OrderHandle(client_id, symbol, side, quantity, OrderType.MARKET), at)
            self._add(found)
        self._tracked[client_id] = found
        return found

    def _add(self, tracked: TrackedOrder) -> None:
        handle = tracked.handle
        tracked.chain[handle.client_order_id] = Link()
        self._tracked[handle.client_order_id] = tracked
        self._open.setdefault(handle.symbol, []).append(tracked)
        self._used[handle.symbol] = self.strategy

    def _reindex(self, tracked: TrackedOrder) -> None:
        symbol = tracked.handle.symbol
        if tracked.handle.open:
            self._open.setdefault(symbol, []).append(tracked)
            return
        here = self._open[symbol]
        here.remove(tracked)
        if not here:
            del self._open[symbol]


class SymbolValues(Mapping[str, V]):
    """Values by symbol, read from the engine's states when they are asked for."""

    def __init__(self, symbols: Mapping[str, Any], read: Callable[[Any], V | None]) -> None:
        self._symbols, self._read = symbols, read

    def __getitem__(self, symbol: str) -> V:
        value = self._read(self._symbols[symbol])
        if value is None:
            raise KeyError(symbol)
        return value

    def __iter__(self) -> Iterator[str]:
        return (s for s, state in self._symbols.items() if self._read(state) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
