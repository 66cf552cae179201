"""What happens to accounts and orders between two sessions: splits, borrow fees, dividends, the last day's figures.

Source: Alpaca's documents on corporate actions: open gtc orders are adjusted by the broker, there is no
do-not-reduce flag; dividends go to who held the shares before the ex-date, shorts pay them. A day order that came in
after the close waits in the same way.
"""

from __future__ import annotations

from decimal import ROUND_UP, Decimal
from fractions import Fraction

from liualgotrader.common.money import CENT, price_units
from liualgotrader.exchange.lifecycle import Lifecycle
from liualgotrader.exchange.units import price, shares, step_of
from liualgotrader.exchange.venue import ExchangeVenue, TradedAccount

LOT = 100  # shares: borrow fees are for whole lots


def turn_day(venue: ExchangeVenue, lifecycle: Lifecycle) -> None:
    """Adjust accounts and open orders to the venue's new session, and remember the last one's figures."""
    session = venue.session
    for symbol, ratio in session.splits.items():
        venue.trades.pop(symbol, None)
        venue.quotes.pop(symbol, None)
        for account in venue.accounts.values():
            account.ledger.split(symbol, ratio)
            _adjust(venue, lifecycle, account, symbol, ratio, 0)
    for symbol, part in session.borrow_fees.items():
        for account in venue.accounts.values():
            if account.ledger.quantity(symbol) < 0:
                lots = -(-Fraction(-shares(account.ledger.quantity(symbol))) // LOT) * LOT
                due = price(venue.marks(account.ledger)[symbol]) * lots * part
                fee = due.quantize(CENT, ROUND_UP)
                words = f"borrow fee of {lots} shares"
                venue.move_cash(account, "FEE", -fee, session.pre_opens_at, symbol=symbol, description=words)
    for symbol, amount in session.dividends.items():
        for account in venue.accounts.values():
            if held := account.ledger.quantity(symbol):  # a short position pays it
                venue.move_cash(account, "DIV", shares(held) * amount, session.pre_opens_at, symbol=symbol)
            _adjust(venue, lifecycle, account, symbol, Decimal(1), price_units(amount))
    for account in venue.accounts.values():
        marks = venue.marks(account.ledger)
        closes = {symbol: venue.previous_close(symbol) for symbol in marks}
        account.ledger.begin_session(marks | {symbol: close for symbol, close in closes.items() if close is not None})


def _adjust(
    venue: ExchangeVenue, lifecycle: Lifecycle, account: TradedAccount, symbol: str, ratio: Decimal, dividend: int
) -> None:
    """Restate orders that wait: after a split all, after a dividend those below the market (buy limits, sell stops)."""

    def adjusted(units: int | None) -> int | None:
        if units is None:
            return None
        exact = (units - dividend) / Fraction(ratio)
        step = step_of(int(exact))
        return max(int(exact / step) * step, 1)

    for order in tuple(account.open.values()):
        if order.symbol != symbol or not order.is_open:
            continue
        if dividend and (order.stop is None) != (order.sign > 0):
            continue
        order.limit, order.stop, order.hwm = adjusted(order.limit), adjusted(order.stop), adjusted(order.hwm)
        order.collar = adjusted(order.collar)
        order.check_price = adjusted(order.check_price) or 0
        if order.trail is not None:
            order.trail = max(int(order.trail / Fraction(ratio)), 1)
        if order.quantity is not None:
            order.quantity = order.filled + order.lot(round((order.quantity - order.filled) * ratio))
        order.updated_at = venue.now
        venue.recount(order)
        venue.emit("restated", order)
        if order.quantity == order.filled:
            lifecycle.end(order, "canceled", "the split left no whole share of it")
