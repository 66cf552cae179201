"""What an execution costs beside its price.

A fee model gives the total fee of an order after so many shares and so much value; an execution is charged
the difference to what the order has paid before. So the rounding (up to a whole cent) is done once an
order, not once an execution.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_UP, Decimal
from typing import Protocol

import msgspec

from liualgotrader.common.money import CENT, ZERO
from liualgotrader.common.orders import Side

MILLION = Decimal(1_000_000)


class FeeModel(Protocol):
    """Fees of one order."""

    def total(self, side: Side, quantity: Decimal, value: Decimal) -> Decimal:
        """Return the fee in US dollars, whole cents, of `quantity` shares worth `value` dollars; never falls as they grow."""
        ...


class NoFees(msgspec.Struct, frozen=True):
    """Nothing is charged."""

    def total(self, side: Side, quantity: Decimal, value: Decimal) -> Decimal:
        """Return zero."""
        return ZERO


class RegulatoryFees(msgspec.Struct, frozen=True):
    """What US brokers pass on for sales: the SEC's section 31 fee and FINRA's trading activity fee.

    Each is rounded up to a cent. Source: SEC fee rate advisory for fiscal 2026 (20.60 dollars a million)
    and FINRA by-laws schedule A section 1 (0.000195 dollars a share, at most 9.79, from 2026). Both
    change by the year, so set them for the day you simulate.
    """

    sec_per_million: Decimal = Decimal("20.60")
    taf_per_share: Decimal = Decimal("0.000195")
    taf_maximum: Decimal = Decimal("9.79")

    def total(self, side: Side, quantity: Decimal, value: Decimal) -> Decimal:
        """Return both fees of a sale, zero for a purchase."""
        if side is Side.BUY:
            return ZERO
        sec = _up(value * self.sec_per_million / MILLION)
        return sec + _up(min(quantity * self.taf_per_share, self.taf_maximum))


class PerShareCommission(msgspec.Struct, frozen=True):
    """A broker's commission: so much a share, at least `minimum` an order, at most a fraction of the traded value."""

    per_share: Decimal = Decimal("0.005")
    minimum: Decimal = Decimal("1.00")
    maximum_fraction: Decimal = Decimal("0.01")

    def total(self, side: Side, quantity: Decimal, value: Decimal) -> Decimal:
        """Return the commission of both purchases and sales."""
        if not quantity:
            return ZERO
        return _up(min(max(quantity * self.per_share, self.minimum), value * self.maximum_fraction))


class SumOfFees(msgspec.Struct, frozen=True):
    """Several fee models together, such as a commission and the regulatory fees."""

    models: Sequence[FeeModel]

    def total(self, side: Side, quantity: Decimal, value: Decimal) -> Decimal:
        """Return the sum over all models."""
        return sum((model.total(side, quantity, value) for model in self.models), ZERO)


def _up(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_UP)
