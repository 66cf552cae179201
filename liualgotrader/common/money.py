"""Booking arithmetic: `Decimal` dollars and shares, and the integer units used inside the exchange."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

ZERO, ONE = Decimal(0), Decimal(1)
CENT = Decimal("0.01")

PRICE_UNITS = 1_000_000  # the exchange counts prices in 1e-6 dollars: prints have up to six decimals
QUANTITY_UNITS = 1_000_000_000  # and quantities in 1e-9 shares

LARGEST = Decimal(10**9)  # no order has more shares or a higher price; rows could not hold it

OURS = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
"""The arithmetic of what a strategy may call: its own precision and rounding must not change an order."""

_WHOLE = 10**9  # whole numbers below it need no look
_MOST_DIGITS = 330  # before or behind the point
_PRICE_STEP = Decimal("0.0001")
_QUANTITY_STEP = Decimal("0.000000001")


def exact(value: float | int | str | Decimal) -> Decimal:
    """Return `value` as a Decimal, a float by its shortest decimal form (0.1 becomes 0.1).

    Raises:
        ValueError: if it is not a finite number, or one that no float could hold.
    """
    if type(value) is int and -_WHOLE < value < _WHOLE:
        return Decimal(value)
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value), OURS)
    except ArithmeticError as e:
        raise ValueError(f"{value!r} is not a number") from e
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    if not -_MOST_DIGITS < number.adjusted() < _MOST_DIGITS:
        raise ValueError(f"{value!r:.40} is too large or too small a number")
    return number


def price_units(price: Decimal | float | str) -> int:
    """Return a price in 1e-6 dollars, rounded half to even."""
    return int(OURS.multiply(exact(price), PRICE_UNITS).to_integral_value(ROUND_HALF_EVEN, OURS))


def from_price_units(units: int) -> Decimal:
    """Return the price in US dollars that `units` of 1e-6 dollars stand for, with at least four decimals."""
    return Decimal(units // 100).scaleb(-4) if units % 100 == 0 else Decimal(units).scaleb(-6)


def from_quantity_units(units: int) -> Decimal:
    """Return the number of shares that `units` of 1e-9 shares stand for, without trailing zeros."""
    shares = OURS.divide(Decimal(units), QUANTITY_UNITS).quantize(_QUANTITY_STEP, context=OURS)
    return plain(shares)


def whole_parts(quantity: Decimal) -> Decimal:
    """Return a number of shares, rounded towards zero to the smallest part that can be ordered (1e-9)."""
    if quantity.same_quantum(ONE):
        return quantity
    return plain(quantity.quantize(_QUANTITY_STEP, ROUND_DOWN, OURS))


def plain(number: Decimal) -> Decimal:
    """Return `number` without trailing zeros and without an exponent (1E+2 becomes 100)."""
    if number.same_quantum(ONE):
        return number
    normal = number.normalize(OURS)
    return normal if normal.as_tuple().exponent <= 0 else normal.quantize(Decimal(1), context=OURS)  # type: ignore[operator]


def tick_of(price: Decimal) -> Decimal:
    """Return the smallest price step a US equity order may use at `price`: a cent, or 0.0001 below a dollar.

    Source: SEC Regulation NMS rule 612 (sub-penny rule).
    """
    return CENT if price >= 1 else _PRICE_STEP


def to_tick(price: Decimal | float, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """Return `price` rounded to a price an exchange accepts."""
    number = exact(price)
    return number.quantize(tick_of(number), rounding, OURS)


def notional(price: Decimal, quantity: Decimal) -> Decimal:
    """Return the traded value in US dollars, before fees, with the sign of `quantity`."""
    return OURS.multiply(price, quantity)
