"""Pre-trade risk: a table of small rules that every order passes, in this order; the first that objects refuses it.

An order that only reduces its slot's position (an exit) passes over the rules for entries: whatever else is wrong, it
must be possible to get out. Exposure counts every working order as if it were filled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import msgspec

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.money import ONE, ZERO, exact
from liualgotrader.common.orders import OrderIntent, OrderType, Side
from liualgotrader.orders.desk_books import Exposure, Orders
from liualgotrader.orders.desk_messages import DeskTerms
from liualgotrader.orders.desk_parts import DeskSlot
from liualgotrader.orders.order import DeskOrder

FRACTION_DIGITS = 9  # the smallest part of a share is 1e-9
TIMES_IN_FORCE = frozenset({"day", "gtc", "opg", "cls", "ioc", "fok"})
RESERVED_PART = 4  # one in four requests is kept for exits; cancels count against entries, never against exits
REJECTIONS_IN_A_ROW = 3
PROBE_AFTER = MINUTE  # market time until an entry is tried again after so many rejections
FOREIGN_BOOT = 10  # an intent valid for longer than this many exit lifetimes was made before the machine restarted


_limit = lru_cache(exact)  # the same few figures, again and again


class Beside(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What stands beside an order in few cases; where nothing does, the rules that look at it alone are passed over."""

    stopped: str | None = None  # why nothing is opened now
    quarantine: str = ""
    closing: bool = False  # the desk is closing this slot's position
    bound: Decimal = ZERO  # shares that the slot's orders of the same side bind, which do not make room for it
    foreign: Decimal = ZERO  # signed shares that the account holds and that are not ours
    other_slots: Decimal = ZERO  # signed shares of the other slots
    lacking: bool = False  # the account is known to hold less of the symbol than our books say
    there: Decimal = ZERO  # signed shares that the account holds
    leaving: Decimal = ZERO  # shares that working orders of the same side, of all slots, already bind
    others: Sequence[DeskOrder] = ()  # working orders in the same symbol that it could cross
    rejected: int = 0  # entries of this slot in this symbol the broker rejected in a row
    rejected_at: int = 0


NOTHING_BESIDE = Beside()


class Case(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One order before the desk, and all that its rules look at. Money in US dollars, quantities in shares."""

    intent: OrderIntent
    now: int
    machine: int
    terms: DeskTerms
    slot: DeskSlot
    slot_known: bool
    orders: Orders
    held: Decimal  # the slot's signed position
    is_exit: bool  # the order, with all that already binds the position, can only reduce it
    leaves: bool  # it reduces the position, and may take back what stands in its way
    price: Decimal | None  # what the order is counted at; None: unknown
    equity: Decimal | None
    total: Exposure  # of an exit not worked out, as `before`
    before: Exposure
    after: Exposure
    beside: Beside
    funds: Decimal | None = None  # what the slot's portfolio may still spend; None: it has none


Objection = str | None
Rule = Callable[[Case], Objection]
"""One reason to say no: its name stands in rows and news; it returns what was found."""


def unknown_slot(c: Case) -> Objection:
    return None if c.slot_known else f"slot {c.intent.slot} is not part of this batch"


def slot_stopped(c: Case) -> Objection:
    return c.slot.stopped or None


def intent_too_old(c: Case) -> Objection:
    left = c.intent.valid_until - c.machine
    if left < 0:
        return f"{-left / SECOND:.1f} s too late"
    if left > FOREIGN_BOOT * c.terms.timings.exit_valid_seconds * SECOND:
        return "made before the machine was restarted"
    return None


def terms(c: Case) -> Objection:
    intent = c.intent
    if intent.type is OrderType.MARKET and (
        intent.limit_price is intent.stop_price is intent.take_profit is intent.stop_loss is None
    ):
        return None if intent.time_in_force in TIMES_IN_FORCE else f"time in force {intent.time_in_force!r} is unknown"
    needs_limit = intent.type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    needs_stop = intent.type in (OrderType.STOP, OrderType.STOP_LIMIT)
    for name, needed, price in (("limit", needs_limit, intent.limit_price), ("stop", needs_stop, intent.stop_price)):
        if needed is not (price is not None):
            return f"a {intent.type} order {'needs a' if needed else 'has no'} {name} price"
    for price in (intent.limit_price, intent.stop_price, intent.take_profit, intent.stop_loss):
        if price is not None and price <= 0:
            return "a price must be above zero"
    return None if intent.time_in_force in TIMES_IN_FORCE else f"time in force {intent.time_in_force!r} is unknown"


def size(c: Case) -> Objection:
    quantity = c.intent.quantity
    if quantity <= 0:
        return f"{quantity} shares"
    if quantity.same_quantum(ONE) or quantity % 1 == 0:
        return None
    if -int(quantity.normalize().as_tuple().exponent) > FRACTION_DIGITS:
        return f"{quantity} is finer than {FRACTION_DIGITS} decimals"
    if c.intent.time_in_force != "day" and not c.terms.divisible:
        return "fractions of a share need time in force day"
    if not c.terms.divisible and (c.intent.take_profit is not None or c.intent.stop_loss is not None):
        return "fractions of a share cannot be part of a bracket"
    return "fractions of a share cannot be sold short" if c.intent.side is Side.SELL and c.held <= 0 else None


def closing(c: Case) -> Objection:
    return f"the desk is closing {c.intent.symbol}" if c.beside.closing else None


def flip(c: Case) -> Objection:
    if c.held * c.intent.side.sign >= 0 or c.is_exit:
        return None
    free = abs(c.held) - c.beside.bound
    return f"{c.intent.quantity} of {max(ZERO, free)} shares that can still be closed; a position is not turned over"


def not_there(c: Case) -> Objection:
    if not c.beside.lacking:
        return None
    free = max(ZERO, -c.beside.there * c.intent.side.sign - c.beside.leaving)
    enough = free > 0 if c.leaves else c.intent.quantity <= free  # what leaves is cut to what is there
    return None if enough else f"the account holds {free} shares that can still be closed"


def self_crossing(c: Case) -> Objection:
    mine = c.intent.limit_price if c.intent.type in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None
    for other in c.beside.others:
        if other.side is c.intent.side or other.is_leg:
            continue
        theirs = other.intent.limit_price  # None: it takes any price
        buy, sell = (mine, theirs) if c.intent.side is Side.BUY else (theirs, mine)
        if buy is None or sell is None or buy >= sell:
            return f"it would trade with an order of slot {other.slot}"
    return None


def account_flip(c: Case) -> Objection:
    for shares, whose in (
        (c.beside.foreign, "what is not ours"),
        (c.beside.other_slots, "another strategy's position"),
    ):
        if shares * c.intent.side.sign < 0:
            return f"it would trade against {whose}: {shares} shares"
    return None


def entries_stopped(c: Case) -> Objection:
    return c.beside.stopped


def quarantined(c: Case) -> Objection:
    return c.beside.quarantine or None


def liquidation(c: Case) -> Objection:
    over = c.slot.day_trade and c.terms.hours.day_trading_has_ended(c.now)
    return "day trading has ended for today" if over else None


def no_price(c: Case) -> Objection:
    return None if c.price is not None and c.price > 0 else "there is no price to judge it by"


def price_too_old(c: Case) -> Objection:
    most = c.terms.limits.quote_age_seconds * SECOND
    if not most:
        return None
    if c.intent.reference_price is None or not c.intent.reference_at:
        return "it states no price it was decided on"
    age = c.now - c.intent.reference_at
    return f"decided on a price {age / SECOND:.1f} s old" if age > most else None


def price_collar(c: Case) -> Objection:
    intent = c.intent
    if intent.limit_price is None or intent.reference_price is None:
        return None
    width = _limit(c.terms.limits.collar_fraction)
    base = intent.reference_price
    if intent.type is OrderType.STOP_LIMIT and intent.stop_price is not None:
        base = max(base, intent.stop_price) if intent.side is Side.BUY else min(base, intent.stop_price)
    away = (intent.limit_price - base) * intent.side.sign
    return f"limit {intent.limit_price} is beyond {width:.1%} of {base}" if away > base * width else None


def no_equity(c: Case) -> Objection:
    return None if c.equity is not None and c.equity > 0 else "the account's equity is not known"


def order_value(c: Case) -> Objection:
    assert c.price is not None and c.equity is not None  # the rules above have seen to it
    value = c.price * c.intent.quantity
    most = min(_limit(c.terms.limits.order_equity_fraction) * c.equity, _limit(c.terms.limits.order_dollars))
    return f"{value:.2f} $ of at most {most:.2f} $" if value > most else None


def position_value(c: Case) -> Objection:
    assert c.equity is not None
    most = _limit(c.terms.limits.position_equity_fraction) * c.equity
    return f"{c.after.either:.2f} $ of at most {most:.2f} $" if c.after.either > most else None


def gross_exposure(c: Case) -> Objection:
    assert c.equity is not None
    most = _limit(c.terms.limits.gross_equity_fraction) * c.equity
    value = c.total.either - c.before.either + c.after.either
    return f"{value:.2f} $ of at most {most:.2f} $" if value > most else None


def short_exposure(c: Case) -> Objection:
    assert c.equity is not None
    if c.after.short <= c.before.short:
        return None
    most = _limit(c.terms.limits.short_equity_fraction) * c.equity
    value = c.total.short - c.before.short + c.after.short
    return f"{value:.2f} $ of at most {most:.2f} $" if value > most else None


def portfolio_funds(c: Case) -> Objection:
    if c.funds is None or c.intent.side is Side.SELL:
        return None
    assert c.price is not None
    value = c.price * c.intent.quantity
    most = max(ZERO, c.funds) * (1 + _limit(c.terms.limits.collar_fraction))  # a price may move before the order trades
    return f"{value:.2f} $, and its portfolio may spend {max(ZERO, c.funds):.2f} $" if value > most else None


def order_rate(c: Case) -> Objection:
    most, asked = c.terms.limits.orders_per_minute, c.orders.sent.within_minute(c.now)
    if not c.is_exit:
        most, asked = most - most // RESERVED_PART, asked + c.orders.cancels.within_minute(c.now)
    return f"{asked} of {most} requests in a minute" if asked >= most else None


def open_orders(c: Case) -> Objection:
    most = c.terms.limits.open_orders
    if c.orders.number < most:
        return None
    works = sum(not o.is_leg for o in c.orders.all_working())
    return f"{works} of {most} orders work already" if works >= most else None


def rejected_before(c: Case) -> Objection:
    waits = c.beside.rejected >= REJECTIONS_IN_A_ROW and c.now < c.beside.rejected_at + PROBE_AFTER
    return f"the broker rejected {c.beside.rejected} in a row" if waits else None


def shadow(c: Case) -> Objection:
    return "nothing is sent in a shadow session" if c.terms.shadow else None


RULES: Sequence[Rule] = (
    *(unknown_slot, slot_stopped, intent_too_old, terms, size, closing, flip, not_there, self_crossing),
    *(liquidation, entries_stopped, quarantined, account_flip),
    *(no_price, price_too_old, price_collar),
    *(no_equity, order_value, position_value, gross_exposure, short_exposure, portfolio_funds),
    *(open_orders, rejected_before, order_rate, shadow),
)
FOR_ENTRIES = frozenset(RULES[RULES.index(liquidation) : RULES.index(order_rate)])
_BESIDE = (slot_stopped, closing, not_there, self_crossing, entries_stopped, quarantined, account_flip, rejected_before)
_LOOKED_AT = {
    (is_exit, is_alone): tuple(
        rule
        for rule in RULES
        if not (is_exit and rule in FOR_ENTRIES) and not (is_alone and (rule in _BESIDE or rule is shadow))
    )
    for is_exit in (False, True)
    for is_alone in (False, True)
}


class Refused(NamedTuple):
    """Risk says no: the rule's name, and what it found."""

    rule: str
    detail: str


def judge(case: Case) -> Refused | None:
    """Return the first rule that objects to the order, None if it may go."""
    for rule in _LOOKED_AT[case.is_exit, case.beside is NOTHING_BESIDE]:
        if (detail := rule(case)) is not None:
            return Refused(rule.__name__, detail)
    return None
