"""The checks of an order against market and account, in the vendor's order: prices, session, side, short, wash, money.

Source: Alpaca's documents on orders, margin and wash trades (as of 2026-09).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from liualgotrader.common.clock import HOUR, MINUTE
from liualgotrader.exchange.account_ledger import is_above
from liualgotrader.exchange.exchange_order import ExchangeOrder, reach, reach_of
from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.exchange.order_terms import OrderTerms
from liualgotrader.exchange.rules import Phase
from liualgotrader.exchange.units import CENT_STEP, DOLLAR, VALUE_UNITS, dollars, price, shares, step_of
from liualgotrader.exchange.venue import ExchangeVenue, TradedAccount

NEAR_STOP = 50 * DOLLAR  # buy stops below it get 4 %, from it on 2.5 %
PATTERN_EQUITY = Decimal(25_000)
PATTERN_DAYS = 5
PATTERN_TRADES = 3


class Admission(msgspec.Struct, frozen=True, gc=False):
    """What the checks found out about an order."""

    opening: bool
    check_price: int  # what a share reserves, 1e-6 dollars
    collar: int | None  # limit of a buy stop once it is elected


class AdmissionChecks:
    """Checks well-formed orders against market and account; raises `Refusal` or admits."""

    def __init__(self, venue: ExchangeVenue) -> None:
        self._venue = venue

    def admit(self, account: TradedAccount, terms: OrderTerms, *, instead_of: ExchangeOrder | None = None) -> Admission:
        """Return what the order is; what `instead_of`, the order it would replace, reserves does not count."""
        if account.ledger.settings.suspend_trade:
            raise Refusal.forbidden("account is not authorized to trade")
        if not account.ledger.settings.fractional_trading and terms.is_fractional:
            raise Refusal.forbidden("account is not allowed to trade fractional shares")
        self._check_market(terms)
        opening = self._check_side(account, terms, instead_of)
        if opening and terms.sign < 0:
            self._check_short(account, terms)
        if not opening and self._venue.rules.pattern_day_trading:
            # The retired rule: no fourth day trade in five days below 25,000 dollars.
            venue, ledger = self._venue, account.ledger
            recent = [d for d in ledger.day_trades if d > venue.session_number - PATTERN_DAYS]
            is_day_trade = ledger.holdings[terms.symbol].bought_in == venue.session_number
            is_poor = not is_above(venue.valuation(ledger).equity, PATTERN_EQUITY)
            if is_day_trade and is_poor and len(recent) >= PATTERN_TRADES:
                raise Refusal.forbidden("trade denied due to pattern day trading protection", code=40310100)
        self._check_wash(account, terms, instead_of)
        if not opening and terms.quantity is not None:  # it reserves nothing that needs a price
            return Admission(opening, 0, collar_of(terms))
        collar = collar_of(terms)
        per_share = self._check_price(terms, collar, opening=opening)
        if opening:
            self._check_money(account, terms, per_share, instead_of)
        return Admission(opening, per_share, collar)

    def _check_market(self, terms: OrderTerms) -> None:
        is_simple = terms.order_class == "simple"
        current = self._venue.current_price(terms.symbol) if terms.stop is not None or not is_simple else None
        if terms.stop is not None and current is not None and terms.sign * (terms.stop - current) <= 0:
            than = "less" if terms.sign < 0 else "greater"
            raise Refusal.invalid(
                f"stop price must be {than} than current price",
                market_price=price(current),
                stop_price=price(terms.stop),
            )
        if not is_simple:
            self._check_exits(terms, current)
        now, session = self._venue.now, self._venue.session
        evening = session.closes_at + 3 * HOUR
        if terms.time_in_force == "opg" and session.opens_at - 2 * MINUTE <= now < evening:
            raise Refusal.invalid("opg orders are not accepted between 09:28 and 19:00")
        if terms.time_in_force == "cls" and session.closes_at - 10 * MINUTE <= now < evening:
            raise Refusal.invalid("cls orders are not accepted between 15:50 and 19:00")
        if terms.type == "market" and terms.symbol in self._venue.halted:
            raise Refusal.invalid("market order rejected due to trading halt on symbol")

    @staticmethod
    def _check_exits(terms: OrderTerms, current: int | None) -> None:
        """The stop lies at least a cent beyond the base price, the target on the other side of both."""
        exits = terms.sign if terms.order_class == "oco" else -terms.sign
        base = terms.limit if terms.limit is not None else current
        stop, target = terms.protection_stop, terms.target_limit
        bounds = [b for b in (base, target if terms.order_class == "oco" else None) if b is not None]
        for bound in bounds:
            if stop is not None and exits * (stop - bound) < CENT_STEP:
                word = "<= base_price - 0.01" if exits < 0 else ">= base_price + 0.01"
                raise Refusal.invalid(f"stop_loss.stop_price must be {word}", base_price=price(bound))
        if target is None or terms.order_class == "oco":
            return
        if base is not None and exits * (base - target) < CENT_STEP:
            word = ">= base_price + 0.01" if exits < 0 else "<= base_price - 0.01"
            raise Refusal.invalid(f"take_profit.limit_price must be {word}", base_price=price(base))
        if stop is not None and exits * (stop - target) <= 0:
            word = ">" if exits < 0 else "<"
            raise Refusal.invalid(f"take_profit.limit_price must be {word} stop_loss.stop_price")

    def _check_side(self, account: TradedAccount, terms: OrderTerms, instead_of: ExchangeOrder | None) -> bool:
        """Return whether the order opens (or adds); one that would do both is refused."""
        position = account.ledger.quantity(terms.symbol)
        opening = position * terms.sign >= 0
        if terms.intent is not None:
            intent = f"{'buy' if terms.sign > 0 else 'sell'}_to_{'open' if opening else 'close'}"
            if terms.intent != intent:
                raise Refusal.invalid(f"position intent mismatch, inferred: {intent}, specified: {terms.intent}")
        if instead_of is None and terms.order_class == "oco" and opening:
            raise Refusal.invalid("oco orders must be exit orders")
        if instead_of is None and terms.order_class in ("bracket", "oto") and not opening:
            raise Refusal.invalid(f"{terms.order_class} orders must be entry orders")
        if not opening:
            self._check_available(account, terms, abs(position), instead_of)
        elif not position and account.reservations.opens(terms.symbol, -terms.sign):  # opened from one side only
            if terms.sign < 0:
                raise Refusal.forbidden("cannot open a short sell while a long buy order is open")
            raise Refusal.forbidden("cannot open a long buy while a short sell order is open")
        return opening

    def _check_available(
        self, account: TradedAccount, terms: OrderTerms, existing: int, instead_of: ExchangeOrder | None
    ) -> None:
        reservations = account.reservations
        own = (instead_of.id, instead_of.sibling_id) if instead_of is not None else ()
        held = reservations.shares(terms.symbol) - sum(reservations.shares_of(one) for one in own)
        available = existing - held
        requested = terms.quantity
        if requested is None:
            assert terms.notional is not None
            requested = -(-terms.notional // self._check_price(terms, collar_of(terms), opening=False))
        if requested > available:
            raise Refusal.forbidden(
                f"insufficient qty available for order (requested: {shares(requested)}, available: {shares(available)})",
                available=shares(available),
                existing_qty=shares(existing),
                held_for_orders=shares(held),
                related_orders=[
                    order.id
                    for order in account.open.values()
                    if order.symbol == terms.symbol and order.id not in own and reservations.shares_of(order.id)
                ],
                symbol=terms.symbol,
            )

    def _check_short(self, account: TradedAccount, terms: OrderTerms) -> None:
        venue, rules = self._venue, self._venue.rules
        asset = venue.assets[terms.symbol]
        equity = venue.valuation(account.ledger).equity
        is_allowed = not account.ledger.settings.no_shorting and rules.margin_multiplier >= 2
        if not is_allowed or not is_above(equity, rules.minimum_margin_equity):
            raise Refusal.forbidden("account is not allowed to short")
        listed = venue.session.borrow.get(terms.symbol)
        if listed == "none" or (listed is None and not asset.shortable):
            raise Refusal.invalid(f'asset "{terms.symbol}" cannot be sold short')
        if terms.is_fractional:
            raise Refusal.invalid("fractional orders cannot be sold short")
        is_easy = listed == "easy" or (listed is None and asset.easy_to_borrow)
        if not is_easy and terms.time_in_force != "day":
            raise Refusal.invalid(f'only day orders are allowed for hard-to-borrow asset "{terms.symbol}"')

    def _check_wash(self, account: TradedAccount, terms: OrderTerms, instead_of: ExchangeOrder | None) -> None:
        if terms.order_class != "simple" or terms.type == "trailing_stop":
            return
        best = account.reservations.best_reach(terms.symbol, -terms.sign)
        if best is None or terms.sign * ((worst := reach(terms.type, terms.sign, terms.limit)) - best) < 0:
            return
        for order in account.open.values():  # find the order to name
            theirs = reach_of(order)
            if order.symbol != terms.symbol or order.sign == terms.sign or order is instead_of or theirs is None:
                continue
            if terms.sign * (worst - theirs) >= 0:
                kind = next((kind for kind in (terms.type, order.type) if kind in ("market", "stop")), "limit")
                raise Refusal.forbidden(
                    "potential wash trade detected. use complex orders",
                    existing_order_id=order.id,
                    reject_reason=f"opposite side {kind} order exists",
                )

    def _check_price(self, terms: OrderTerms, collar: int | None, *, opening: bool) -> int:
        """Return what a share is taken to cost, 1e-6 dollars."""
        venue, symbol = self._venue, terms.symbol
        limit = terms.limit if terms.limit is not None else collar or terms.stop or terms.target_limit
        if terms.sign < 0 and opening:
            ask = self._reference(symbol, 1)
            floor = None if ask is None else int(ask * venue.rules.short_check_factor)
            per_share = max((p for p in (limit, floor) if p is not None), default=None)
        else:
            per_share = limit if limit is not None else self._reference(symbol, terms.sign)
        if per_share is None:
            raise Refusal.invalid(f'no market price is available for asset "{symbol}"')
        return per_share

    def _reference(self, symbol: str, sign: int) -> int | None:
        """Return the far side in the regular session, the middle in extended hours, the last trade when closed."""
        venue = self._venue
        quote = venue.quote(symbol)
        phase = venue.phase
        if quote is None or phase is Phase.CLOSED or quote.bid <= 0 or quote.ask <= 0:
            return venue.current_price(symbol)
        if phase is Phase.REGULAR:
            return round((quote.ask if sign > 0 else quote.bid) * DOLLAR)
        return round((quote.bid + quote.ask) / 2 * DOLLAR)

    def _check_money(
        self, account: TradedAccount, terms: OrderTerms, per_share: int, instead_of: ExchangeOrder | None
    ) -> None:
        venue = self._venue
        cost = terms.notional if terms.notional is not None else (terms.quantity or 0) * per_share
        if cost < VALUE_UNITS and terms.is_fractional:
            raise Refusal.forbidden("cost basis must be >= minimal amount of order 1")
        if instead_of is None and _cash_suffices(venue, account, cost):
            return
        figures = venue.valuation(account.ledger)
        multiplier = venue.multiplier(account.ledger, figures.equity)
        weight = multiplier if terms.symbol in venue.unmarginable else 1
        power = figures.equity * multiplier - figures.weighted(multiplier) - account.reservations.value(multiplier)
        if instead_of is not None:
            power += instead_of.leaves_value() * weight
        if cost * weight > power or figures.gross > figures.equity * venue.rules.maximum_gross:
            raise Refusal.forbidden(
                "insufficient buying power",
                buying_power=dollars(max(power, 0)),
                cost_basis=dollars(cost),
                symbol=terms.symbol,
            )


def _cash_suffices(venue: ExchangeVenue, account: TradedAccount, cost: int) -> bool:
    """Whether cash alone pays for an order, whatever the positions are worth: then they need not be valued.

    Without short positions the buying power is at least the cash less what orders reserve, times the multiplier, and
    the gross value at most the equity.
    """
    free = account.ledger.cash - account.reservations.value(1)
    return not account.shorts and venue.rules.maximum_gross >= 1 and cost <= free


def collar_of(terms: OrderTerms | ExchangeOrder) -> int | None:
    """Return the limit that a buy stop gets: 4 % above the stop below 50 dollars, else 2.5 %, on the tick."""
    if terms.type != "stop" or terms.sign < 0 or terms.stop is None:
        return None
    raised = terms.stop * (1040 if terms.stop < NEAR_STOP else 1025) // 1000
    return raised - raised % step_of(raised)
