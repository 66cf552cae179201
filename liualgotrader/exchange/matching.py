"""Orders against the market: arrivals, quotes, prints, stops, auctions and halts."""

from __future__ import annotations

from fractions import Fraction

from liualgotrader.common.events import Bar, Counts, Quote, TradeTick
from liualgotrader.exchange.exchange_order import ExchangeOrder, stop_of_trail
from liualgotrader.exchange.fills import FillModel, reached
from liualgotrader.exchange.lifecycle import Lifecycle
from liualgotrader.exchange.market import AUCTIONS, MarketBook
from liualgotrader.exchange.rules import Phase
from liualgotrader.exchange.units import price_of, size_of
from liualgotrader.exchange.venue import ExchangeVenue

LAST = int(Counts.LAST)
OPENING_CROSS, CLOSING_CROSS = int(Counts.OPENING_CROSS), int(Counts.CLOSING_CROSS)


class Matcher:
    """Turns market events into executions by the fill model, price first, then time."""

    def __init__(self, venue: ExchangeVenue, lifecycle: Lifecycle, fills: FillModel) -> None:
        self._venue = venue
        self._lifecycle = lifecycle
        self._fills = fills
        self._elects_by_quote = fills.elects_by_quote
        self._slippage = Fraction(venue.rules.slippage_bps) / 10_000
        self._slips = bool(self._slippage)

    def begin_work(self, order: ExchangeOrder) -> None:
        """Let an order work from now on: `new`, then at once whatever the standing quote gives it."""
        venue = self._venue
        market = venue.market(order.symbol)
        order.working_at = venue.now
        was_held = order.status == "held"  # and reserved nothing
        order.become("new", venue.now)
        if was_held:
            venue.recount(order)
        if order.type == "trailing_stop":
            order.hwm = order.hwm or venue.current_price(order.symbol)
            order.stop = stop_of_trail(order)
        market.add(order)
        venue.emit("new", order)
        if venue.rules.match_on_arrival:
            self._meet(order, market)
            self._drain()
            venue.forget_if_idle(market)
        elif order.match_limit is not None and order.time_in_force not in ("ioc", "fok"):
            self._fills.rest(order, market)

    def _meet(self, order: ExchangeOrder, market: MarketBook) -> None:
        """Offer the standing quote to one order that has just begun to work."""
        if order.time_in_force in AUCTIONS:
            return
        if self.is_tradable(market) and (order.extended or not market.extended_only):
            if order.is_dormant_stop and self._elects_by_quote and self._fills.elects(order, market, None):
                self._elect(order, market)
            if not order.is_dormant_stop:
                self._trade(order, market)
        if order.is_open:
            self._rest_or_cancel(order, market)

    def _rest_or_cancel(self, order: ExchangeOrder, market: MarketBook) -> None:
        """Cancel an order that must not wait, queue another."""
        if order.time_in_force in ("ioc", "fok"):
            self._lifecycle.end(order, "canceled", "what could not trade at once was canceled")
        else:
            self._fills.rest(order, market)

    def _drain(self) -> None:
        """Match exits that began to work while others were matched."""
        while self._lifecycle.activated:
            order = self._lifecycle.activated.popleft()
            market = self._venue.market(order.symbol)
            if order.is_open:
                self._meet(order, market)

    # --- market events

    def on_quote(self, market: MarketBook, quote: Quote) -> None:
        """Take in a quote of a watched symbol and match against it."""
        market.take_quote(quote)
        for order in (*market.book[1], *market.book[-1]):
            self._fills.rest(order, market)
        self.sweep(market)

    def on_print(self, market: MarketBook, trade: TradeTick) -> None:
        """Take in a print of a watched symbol: resting limits, stops, trails, auctions."""
        if not trade.flags & LAST:
            return
        price = price_of(trade.price)
        if market.auctions:
            self._auction(market, trade, price)
        if market.symbol not in self._venue.quotes and (quote := self._venue.quote(market.symbol)):
            was_tradable = self.is_tradable(market)
            market.take_quote(quote)
            if not was_tradable:  # the first print after a halt: orders that waited trade at it, not at their limits
                self.sweep(market)
        outside = max(market.touch[0] - price, price - market.touch[1])
        is_bad = outside > price * self._venue.rules.print_tolerance
        if is_bad or not self.is_tradable(market):
            self._venue.forget_if_idle(market)
            return
        for order, offer in self._fills.at_print(market, price, size_of(trade.size)):
            self._execute(order, offer.price, offer.quantity, market)
        if not market.extended_only:
            self._stops(market, price)
        self.sweep(market)

    def sweep(self, market: MarketBook) -> None:
        """Match all orders of a market against its quote, if that can be traded with."""
        if self.is_tradable(market):
            if self._elects_by_quote and not market.extended_only:
                self._stops(market, None)
            for order in market.resting():
                self._trade(order, market)
                if order.is_open and order.time_in_force in ("ioc", "fok"):
                    self._rest_or_cancel(order, market)
            self._drain()
        self._venue.forget_if_idle(market)

    def _stops(self, market: MarketBook, printed: int | None) -> None:
        for order in tuple(market.stops):
            if self._fills.elects(order, market, printed):
                self._elect(order, market)
        if printed is not None:
            self._follow(market, printed)

    def _follow(self, market: MarketBook, price: int) -> None:
        """Let trailing stops follow a better price; they never loosen."""
        for order in market.stops:
            if order.type == "trailing_stop" and (order.hwm is None or order.sign * (order.hwm - price) > 0):
                order.hwm = price
                order.stop = stop_of_trail(order)

    def _elect(self, order: ExchangeOrder, market: MarketBook) -> None:
        market.remove(order)
        order.elected = True
        order.working_at = self._venue.now
        market.add(order)
        self._fills.rest(order, market)

    def _trade(self, order: ExchangeOrder, market: MarketBook) -> None:
        """Execute what the fill model offers; fill-or-kill takes all or nothing."""
        if not order.is_open:
            return
        offers = self._fills.at_quote(order, market)
        if order.time_in_force == "fok" and (
            not offers or sum(o.quantity for o in offers) < order.wanted(market.far(order.sign))
        ):
            return
        for offer in offers:
            market.take(order.sign, self._execute(order, offer.price, offer.quantity, market))

    def _execute(self, order: ExchangeOrder, price: int, offered: int, market: MarketBook) -> int:
        """Execute what the order still wants and may have of what is offered, and return how much that was."""
        if not order.is_open:
            return 0
        if self._slips and order.limit is None:
            price = self._slipped(order, price)
        quantity = min(offered, order.wanted(price))
        sells_by_value = order.notional is not None and not order.opening
        if sells_by_value:  # what a price buys may be more than there is
            quantity = min(quantity, self._venue.closable(order))
        if quantity > 0:
            self._lifecycle.execute(order, price, quantity, synthetic=market.synthetic)
        if sells_by_value and order.is_open and not self._venue.closable(order):
            self._lifecycle.end(order, "canceled", "nothing is left to close")
        return quantity

    def _slipped(self, order: ExchangeOrder, price: int) -> int:
        """Return a price that much worse for the order, but none beyond what it takes."""
        worse = max(round(price * (1 + order.sign * self._slippage)), 1)
        return worse if order.accepts(worse) else price

    # --- bars

    def open_bar(self, market: MarketBook, bar: Bar) -> None:
        """Trade at the open of a bar what accepts it; a stop that the open lies beyond is elected by it."""
        price = price_of(bar.open)
        part = self._fills.bar_part
        market.bar_left = None if part is None else size_of(bar.volume) * part[0] // part[1]
        if market.auctions:
            self._cross(market, "opg", price)
        if market.stops:
            for order in tuple(market.stops):
                if reached(order, price):
                    self._elect(order, market)
            self._follow(market, price)
        for order in market.resting():
            if order.accepts(price):
                self._trade_in_bar(order, price, market)
            if order.time_in_force in ("ioc", "fok") and order.is_open:
                self._rest_or_cancel(order, market)
        if self._lifecycle.activated:
            self._drain()
        self._venue.forget_if_idle(market)

    def cross_bar(self, market: MarketBook, bar: Bar) -> None:
        """Trade what a bar meets between its open and its close, on the worst path for our orders.

        Stops come before limits. Exits of an entry that fills inside the bar may be stopped out by it; their targets
        wait for the next one.
        """
        low, high = price_of(bar.low), price_of(bar.high)
        for order in tuple(market.stops):
            if order.working_at <= bar.opened_at:
                self._stop_in_bar(order, high if order.sign > 0 else low, market)
        for order in market.resting():
            limit = order.match_limit
            if limit is None or order.working_at > bar.opened_at:
                continue
            beyond = order.sign * (limit - (low if order.sign > 0 else high))
            if beyond > 0 or (beyond == 0 and self._fills.touches):
                self._trade_in_bar(order, limit, market)
        self._drain()
        for order in tuple(market.stops):
            if order.working_at > bar.opened_at and order.role == "protection":
                self._stop_in_bar(order, high if order.sign > 0 else low, market)
        close = price_of(bar.close)
        self._follow(market, high)
        self._follow(market, low)
        for order in tuple(market.stops):
            if order.type == "trailing_stop":  # after its best price the bar has come back to the close
                self._stop_in_bar(order, close, market)
        if market.auctions and bar.closed_at == self._venue.session.closes_at:
            self._cross(market, "cls", close)
        self._venue.forget_if_idle(market)

    def close_bar(self, market: MarketBook, bar: Bar) -> None:
        """Trade at the close of a bar the market orders that came in since its open."""
        for order in market.resting():
            if order.match_limit is None and order.working_at > bar.opened_at:
                self._trade_in_bar(order, price_of(bar.close), market)
        self._venue.forget_if_idle(market)

    def _stop_in_bar(self, order: ExchangeOrder, extreme: int, market: MarketBook) -> None:
        """Elect a stop that an extreme of the bar reaches; it trades at its own price."""
        if order.is_open and reached(order, extreme):
            assert order.stop is not None
            self._elect(order, market)
            if order.accepts(order.stop):
                self._trade_in_bar(order, order.stop, market)

    def _trade_in_bar(self, order: ExchangeOrder, price: int, market: MarketBook) -> None:
        wanted, left = order.wanted(price), market.bar_left
        most = wanted if left is None or left >= wanted else order.lot(left)
        if most and not (order.time_in_force == "fok" and most < wanted):
            done = self._execute(order, price, most, market)
            market.bar_left = None if left is None else left - done

    # --- what may trade

    def is_tradable(self, market: MarketBook) -> bool:
        """Whether the quote can be traded with: open session, no halt, made since the last one, two sides, neither crossed nor locked, fresh."""
        venue = self._venue
        is_shut = market.symbol in venue.halted or venue.phase is Phase.CLOSED
        if is_shut or not 0 < market.touch[0] < market.touch[1]:
            return False
        oldest = max(venue.session.phase_began_at(venue.now), venue.resumed.get(market.symbol, 0))
        if venue.rules.max_quote_age_ns:
            oldest = max(oldest, venue.now - venue.rules.max_quote_age_ns)
        return market.quote_at >= oldest

    # --- auctions

    def _auction(self, market: MarketBook, trade: TradeTick, price: int) -> None:
        """Hold an auction at its own print; where that is not marked, at the first from the open, or the close, on."""
        session = self._venue.session
        if market.symbol in self._venue.halted or trade.at < session.opens_at:
            return
        if trade.at >= session.closes_at:
            due, marked, mark = "cls", session.closing_crosses, CLOSING_CROSS
        else:
            due, marked, mark = "opg", session.opening_crosses, OPENING_CROSS
        if market.symbol not in marked or trade.flags & mark:
            self._cross(market, due, price)

    def end_auction(self, time_in_force: str, *, marked: bool = False) -> None:
        """End an auction without a print: the close is the session's last trade; orders that missed it are canceled.

        `marked`: of the auctions whose print is marked, and so waited for longer; else of the others.
        """
        venue = self._venue
        known = venue.session.closing_crosses if time_in_force == "cls" else venue.session.opening_crosses
        for market in [m for m in venue.markets.values() if m.auctions and (m.symbol in known) is marked]:
            trade = venue.trades.get(market.symbol)
            is_close = time_in_force == "cls" and trade is not None and trade.at >= venue.session.opens_at
            price = price_of(trade.price) if trade is not None and is_close else None
            self._cross(market, time_in_force, None if market.symbol in venue.halted else price)
            self._venue.forget_if_idle(market)

    def _cross(self, market: MarketBook, time_in_force: str, price: int | None) -> None:
        """Fill all auction orders whole at one price; cancel those that do not accept it."""
        for order in [o for o in market.auctions if o.time_in_force == time_in_force]:
            if price is not None and order.accepts(price):
                self._lifecycle.execute(order, price, order.wanted(price))
            else:
                self._lifecycle.end(order, "canceled", "the auction did not reach its price")
