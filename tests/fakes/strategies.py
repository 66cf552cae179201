"""A session for strategies: the real engine, market events made by hand, and a desk that answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from liualgotrader.common.clock import MINUTE, SECOND, instant
from liualgotrader.common.events import Bar, EventBatch, FeedEvent, Pick
from liualgotrader.common.orders import (
    AccountNews,
    CancelIntent,
    CaughtUp,
    Fill,
    OrderIntent,
    OrderNews,
    OrderState,
    Protect,
    Side,
)
from liualgotrader.common.rows import SignalRow
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.engine.engine import Engine, EngineTerms, session_starts
from liualgotrader.engine.outputs import LoadHistory, LogLine, Output, Reject, SlotStopped, WaitingCall
from liualgotrader.strategies.base import SessionServices, Strategy
from liualgotrader.strategies.frames import lazy_frames

BATCH_ID = "0b5e7a4e-0000-4000-8000-000000000000"
OPENS_AT = instant(datetime.fromisoformat("2024-06-03T09:30:00-04:00"))
HOURS = Hours("2024-06-03", OPENS_AT, OPENS_AT + 390 * MINUTE, OPENS_AT + 375 * MINUTE, OPENS_AT + 395 * MINUTE)
ALWAYS: list[dict[str, Any]] = [{"start": -1, "duration": 400}]

History = Callable[[str], Sequence[Bar]]


class StoredTexts:
    """The key-store, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        return self.values.get(key)

    async def save(self, key: str, value: str) -> None:
        self.values[key] = value


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """From flat to flat: the position's first side, its gain in dollars, and the words of the order that ended it."""

    strategy: str
    symbol: str
    side: Side
    opened_at: int
    closed_at: int
    gain: Decimal
    reason: str


class Play:
    """One consumer's engine with some strategies. Orders are filled whole and at once, at the newest price.

    `answer` says otherwise for the orders that follow: "refuse", "reject", or "hold" (they stay working).
    `earlier` are orders with their fill prices that an earlier process of the session made.
    """

    def __init__(
        self,
        *strategies: Strategy,
        events: Sequence[str] = ("minute",),
        hours: Hours = HOURS,
        portfolio_value: float | None = 100_000.0,
        run_all: Iterable[str] = (),
        history: History = lambda symbol: (),
        earlier: Sequence[tuple[OrderIntent, str]] = (),
    ) -> None:
        terms = EngineTerms(
            BATCH_ID,
            hours,
            events=frozenset(events),
            session_starts=session_starts(hours),
            portfolio_value=portfolio_value,
        )
        self.engine = Engine(terms, lazy_frames)
        self.hours, self.now, self.history = hours, hours.opens_at, history
        self.keys = StoredTexts()
        self.answer = "fill"
        self.orders: list[OrderIntent] = []
        self.working: list[OrderIntent] = []
        self.cancels: list[CancelIntent] = []
        self.protections: list[Protect] = []
        self.signals: list[SignalRow] = []
        self.rejects: list[Reject] = []
        self.lines: list[str] = []
        self.stopped: list[SlotStopped] = []
        self.waiting: list[WaitingCall] = []
        self.trips: list[RoundTrip] = []
        self.positions: dict[tuple[int, str], Decimal] = {}
        self._seq: dict[int, int] = {}
        self._left: dict[str, Decimal] = {}  # shares still to trade, by client order id
        self._open: dict[tuple[int, str], tuple[int, Side, Decimal]] = {}  # opened at, side, dollars so far
        self._batches = 0
        homes = set(run_all)
        for slot, strategy in enumerate(strategies, start=1):
            strategy.join_session(SessionServices(hours, self.keys, _no_balance), slot, None)
            self.engine.add(SlotPlan(slot, strategy.name, 0, slot, run_all=strategy.name in homes), strategy)
            self._seq[slot] = 0
        for order, price in earlier:
            self.fill(order, price)
        told = [CaughtUp(slot, seq, len(earlier) + 1) for slot, seq in self._seq.items()]
        self._take(self.engine.on_news(told, self.now - 1, 0))

    # --- what happens ------------------------------------------------------------------------------------

    def pick(self, *symbols: str, strategy: str = "") -> None:
        """A scanner picks; each symbol's history comes at once."""
        self.events([Pick(symbol, self.now, "scanner", strategy) for symbol in symbols])

    def minute(self, number: int, close: float, symbol: str = "AAPL", **figures: float) -> list[OrderIntent]:
        """The bar of the session's minute `number` (0 is the first) closes; return the orders that follow."""
        return self.bars([a_bar(number, close, symbol, hours=self.hours, **figures)])

    def bars(self, bars: Sequence[Bar]) -> list[OrderIntent]:
        """Bars close; return the orders that follow."""
        self.now = max(self.now, *(bar.closed_at for bar in bars)) if bars else self.now
        return self.events(bars)

    def events(self, events: Sequence[FeedEvent]) -> list[OrderIntent]:
        """One batch arrives; return the orders that follow."""
        before = len(self.orders)
        self._batches += 1
        self._take(self.engine.on_batch(EventBatch(1, self._batches, 0, list(events)), self.now, 0))
        return self.orders[before:]

    def timer(self, minutes: float) -> list[OrderIntent]:
        """The market's clock shows `minutes` since the open; return the orders that follow."""
        before = len(self.orders)
        self.now = max(self.now, self.hours.opens_at + round(minutes * MINUTE))
        self._take(self.engine.on_timer(self.now, 0))
        return self.orders[before:]

    def resume(self, waiting: WaitingCall, result: Any) -> list[OrderIntent]:
        """A call that really waited returns; return the orders that follow."""
        before = len(self.orders)
        self._take(self.engine.on_answer(waiting.ticket, result, None, self.now, 0))
        return self.orders[before:]

    def equity(self, dollars: str) -> None:
        """The broker tells the account's equity."""
        money = Decimal(dollars)
        self._take(self.engine.on_news([AccountNews(self.now, money, money, money)], self.now, 0))

    def fill(self, order: OrderIntent, price: str | Decimal | None = None, shares: str = "") -> None:
        """An order is filled: whole, or `shares` of what is left of it."""
        if price is None:
            price = order.reference_price or Decimal(0)
        left = self._left.get(order.client_order_id, order.quantity)
        quantity = Decimal(shares) if shares else left
        self._left[order.client_order_id] = left - quantity
        self._execute(order, quantity, Decimal(price), left - quantity)

    def end(self, order: OrderIntent, state: OrderState, reason: str = "") -> None:
        """A working order ends without (further) trading."""
        self.working = [o for o in self.working if o is not order]
        news = OrderNews(
            self._number(order.slot), order.slot, order.client_order_id, order.symbol, order.side,
            state, self.now, order.quantity, Decimal(0), reason,
        )  # fmt: skip
        self._take(self.engine.on_news([news], self.now, 0))

    # --- the desk ------------------------------------------------------------------------------------------

    def _take(self, outputs: Sequence[Output]) -> None:
        for one in outputs:
            match one:
                case OrderIntent():
                    self._order(one)
                case LoadHistory(symbol):
                    bars = self.history(symbol)
                    self._take(self.engine.on_history(symbol, bars, self.now, 0))
                case CancelIntent():
                    self.cancels.append(one)
                case Protect():
                    self.protections.append(one)
                case SignalRow():
                    self.signals.append(one)
                case Reject():
                    self.rejects.append(one)
                case LogLine(_, text):
                    self.lines.append(text)
                case SlotStopped():
                    self.stopped.append(one)
                case WaitingCall():
                    self.waiting.append(one)

    def _order(self, order: OrderIntent) -> None:
        self.orders.append(order)
        if self.answer == "fill":
            self.fill(order)
        elif self.answer == "refuse":
            self.end(order, OrderState.REFUSED, "order_value: 30000.00 $ of at most 10000.00 $")
        elif self.answer == "reject":
            self.end(order, OrderState.REJECTED, "cannot open a short position in this asset")
        else:
            self.working.append(order)

    def _execute(self, order: OrderIntent, quantity: Decimal, price: Decimal, left: Decimal) -> None:
        key = (order.slot, order.symbol)
        held = self.positions.get(key, Decimal(0)) + order.side.sign * quantity
        self.positions[key] = held
        opened_at, side, dollars = self._open.get(key, (self.now, order.side, Decimal(0)))
        dollars -= order.side.sign * quantity * price
        if held:
            self._open[key] = (opened_at, side, dollars)
        else:
            self._open.pop(key, None)
            self.trips.append(RoundTrip(order.strategy, order.symbol, side, opened_at, self.now, dollars, order.reason))
        seq = self._number(order.slot)
        news = Fill(
            seq, order.slot, order.client_order_id, f"x{order.slot}-{seq}", order.symbol, order.side,
            quantity, price, Decimal(0), self.now, order.quantity - left, left, held,
            order.planned_stop, order.planned_target, order.indicators,
        )  # fmt: skip
        self.working = [o for o in self.working if o is not order or left]
        self._take(self.engine.on_news([news], self.now, 0))

    def _number(self, slot: int) -> int:
        self._seq[slot] += 1
        return self._seq[slot]


def a_bar(
    number: int,
    close: float,
    symbol: str = "AAPL",
    *,
    open: float | None = None,
    high: float | None = None,
    low: float | None = None,
    average: float | None = None,
    volume: float = 1000.0,
    hours: Hours = HOURS,
) -> Bar:
    """The vendor's bar of the session's minute `number`; what is not said equals the close."""
    first = close if open is None else open
    start = hours.opens_at + number * MINUTE
    return Bar(
        symbol,
        start,
        start + MINUTE,
        first,
        max(first, close) if high is None else high,
        min(first, close) if low is None else low,
        close,
        volume,
        close if average is None else average,
        10,
    )


def seconds(number: float) -> int:
    """An instant `number` seconds after the open."""
    return HOURS.opens_at + round(number * SECOND)


async def _no_balance(account_id: int) -> float:
    raise LookupError(f"there is no account {account_id}")
