"""The exchange's integers: prices in 1e-6 dollars, quantities in 1e-9 shares, values (their product) in 1e-15 dollars."""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal
from functools import lru_cache

from liualgotrader.common.money import PRICE_UNITS, QUANTITY_UNITS, from_price_units, from_quantity_units, plain

SHARE = QUANTITY_UNITS
DOLLAR = PRICE_UNITS
CENT_STEP = PRICE_UNITS // 100
SUB_PENNY_STEP = PRICE_UNITS // 10_000
VALUE_UNITS = PRICE_UNITS * QUANTITY_UNITS
CENT_VALUE = VALUE_UNITS // 100

_EXACT = Context(prec=60)


def price_of(market_price: float) -> int:
    """Return a price of a market event in 1e-6 dollars."""
    return round(market_price * PRICE_UNITS)


def size_of(market_size: float) -> int:
    """Return a size of a market event in 1e-9 shares."""
    return round(market_size * QUANTITY_UNITS)


def value_units(dollars: Decimal) -> int:
    """Return an amount of money in 1e-15 dollars, what is finer cut off."""
    return int(_EXACT.multiply(dollars, Decimal(VALUE_UNITS)).to_integral_value(ROUND_DOWN))


@lru_cache(4096)
def dollars(value: int) -> Decimal:
    """Return a value as US dollars, exact, without trailing zeros beyond the cents."""
    whole, cents_exact = divmod(value, CENT_VALUE)
    if not cents_exact:
        return Decimal(whole).scaleb(-2)
    return _EXACT.divide(Decimal(value), Decimal(VALUE_UNITS))


@lru_cache(4096)
def shares(quantity: int) -> Decimal:
    """Return a quantity as shares."""
    whole, part = divmod(quantity, QUANTITY_UNITS)
    return Decimal(whole) if not part else from_quantity_units(quantity)


@lru_cache(4096)
def price(units: int) -> Decimal:
    """Return a price as US dollars: two decimals, four or six where it needs them."""
    return Decimal(units // CENT_STEP).scaleb(-2) if units % CENT_STEP == 0 else from_price_units(units)


def ratio(numerator: int, denominator: int) -> Decimal:
    """Return a quotient to 10 decimals, zero where there is nothing to divide by."""
    if not denominator:
        return Decimal(0)
    return plain((Decimal(numerator) / Decimal(denominator)).quantize(Decimal("1e-10")))


def per_share(value: int, quantity: int) -> Decimal:
    """Return an average price in US dollars, exact to 10 decimals."""
    whole, rest = divmod(value, quantity)
    return price(whole) if not rest else ratio(value, quantity * PRICE_UNITS)


def divided(numerator: int, denominator: int) -> int:
    """Return the quotient rounded to the nearest integer, halves up; the denominator is positive."""
    return (2 * numerator + denominator) // (2 * denominator)


def step_of(units: int) -> int:
    """Return the smallest step of a price: a cent, or 1e-4 dollars below one dollar (Regulation NMS, rule 612)."""
    return CENT_STEP if units >= DOLLAR else SUB_PENNY_STEP
