"""What an execution makes of a position that is kept at its average cost."""

from __future__ import annotations

from decimal import Decimal

from liualgotrader.common.money import ZERO


def after_execution(
    quantity: Decimal, cost: Decimal, signed: Decimal, price: Decimal
) -> tuple[Decimal, Decimal, Decimal]:
    """Return (quantity, average cost, closed part) of a position after an execution of `signed` shares.

    Quantities are signed shares, the closed part has the sign of the position that it belonged to; prices and costs are
    US dollars per share. The average changes only while a position grows; a position that is turned over costs what
    turned it over, and a flat one nothing.

    >>> after_execution(Decimal(10), Decimal(4), Decimal(-15), Decimal(5))
    (Decimal('-5'), Decimal('5'), Decimal('10'))
    """
    after = quantity + signed
    if not quantity:
        return after, price if after else ZERO, ZERO
    if quantity * signed >= 0:
        return after, (quantity * cost + signed * price) / after if signed else cost, ZERO
    if quantity * after > 0:
        return after, cost, -signed
    return after, price if after else ZERO, quantity
