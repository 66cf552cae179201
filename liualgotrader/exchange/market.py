"""One symbol as the exchange sees it while orders work in it: the NBBO, what we took of it, and our orders by priority."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.units import price_of, size_of

NO_LIMIT = 1 << 62
AUCTIONS = ("opg", "cls")
SYNTHETIC = 1  # flag of a Quote that we made from the last trade


def synthetic_quote(trade: TradeTick) -> Quote:
    """Return the last trade plus and minus half a tick (a whole one below a dollar), sized like the trade."""
    half = 0.005 if trade.price >= 1 else 0.0001
    return Quote(trade.symbol, trade.at, trade.price - half, trade.size, trade.price + half, trade.size, SYNTHETIC)


class MarketBook:
    """The quote in units, its sizes minus what our orders took, and our working orders."""

    __slots__ = (
        "auctions",
        "bar_left",
        "book",
        "extended_only",
        "quote_at",
        "shown",
        "stops",
        "symbol",
        "synthetic",
        "taken",
        "touch",
    )

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.quote_at = 0
        self.synthetic = self.extended_only = False  # made from the last trade; outside the regular session
        self.touch, self.shown, self.taken = [0, 0], [0, 0], [0, 0]  # by side: 0 is the bid, 1 the ask
        self.book: dict[int, list[ExchangeOrder]] = {1: [], -1: []}  # by sign, best price and earliest time first
        self.stops: list[ExchangeOrder] = []
        self.auctions: list[ExchangeOrder] = []
        self.bar_left: int | None = None  # of the bar that passes now: what our orders may still take; None: any

    def take_quote(self, quote: Quote) -> None:
        """Take a new quote; a side whose price and size are repeated keeps what was taken of it."""
        self.quote_at = quote.at
        self.synthetic = bool(quote.flags & SYNTHETIC)
        for i, price, size in ((0, quote.bid, quote.bid_size), (1, quote.ask, quote.ask_size)):
            units, shown = price_of(price), size_of(size)
            if units != self.touch[i] or shown != self.shown[i]:
                self.touch[i], self.shown[i], self.taken[i] = units, shown, 0

    def far(self, sign: int) -> int:
        """Return the price at which an order of that sign can trade at once: the ask for buys."""
        return self.touch[1 if sign > 0 else 0]

    def near(self, sign: int) -> int:
        """Return the best price on the order's own side: the bid for buys."""
        return self.touch[0 if sign > 0 else 1]

    def take(self, sign: int, quantity: int) -> None:
        """An order of that sign took shares of the far side."""
        self.taken[1 if sign > 0 else 0] += quantity

    # --- our orders

    def add(self, order: ExchangeOrder) -> None:
        """Let the order work: by price, then by the time it began to work, then by client order id."""
        if order.time_in_force in AUCTIONS:
            insort(self.auctions, order, key=_by_time)
        elif order.is_dormant_stop:
            insort(self.stops, order, key=_by_time)
        elif book := self.book[order.sign]:
            insort(book, order, key=_by_priority)
        else:
            book.append(order)

    def remove(self, order: ExchangeOrder) -> None:
        """The order does not work any more."""
        for orders in (self.book[order.sign], self.stops, self.auctions):
            if order in orders:
                orders.remove(order)

    def resting(self) -> Iterator[ExchangeOrder]:
        """Return orders that may trade in this phase, buys first; safe against changes while it is used."""
        for order in (*self.book[1], *self.book[-1]):
            if order.is_open and (order.extended or not self.extended_only):
                yield order


def _by_time(order: ExchangeOrder) -> tuple[int, str, str]:
    return (order.working_at, order.client_order_id, order.account_id)


def _by_priority(order: ExchangeOrder) -> tuple[int, int, str, str]:
    limit = order.match_limit
    return (-NO_LIMIT if limit is None else -order.sign * limit, *_by_time(order))
