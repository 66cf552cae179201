"""What an execution costs beside its price.

A fee model gives the total fee of an order after so many shares and so much value; an execution is charged
the difference to what the order has paid before. So the rounding (up to a whole cent) is done once an
order, not once an execution.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import ROUND_UP, Decimal
from operator import itemgetter
from typing import Protocol

import msgspec

from liualgotrader.common.money import CENT, ZERO
from liualgotrader.common.orders import Side

MILLION = Decimal(1_000_000)


class FeeModel(Protocol):
    """Fees of one order."""

    def total(self, side: Side, quantity: Decimal, value: Decimal, day: date) -> Decimal:
        """Return the fee in US dollars, whole cents, of `quantity` shares worth `value` dollars that trade on `day`.

        It never falls as they grow.
        """


class NoFees(msgspec.Struct, frozen=True):
    """Nothing is charged."""

    def total(self, side: Side, quantity: Decimal, value: Decimal, day: date) -> Decimal:
        """Return zero."""
        return ZERO


class RegulatoryFees(msgspec.Struct, frozen=True):
    """What US brokers pass on for sales: the SEC's section 31 fee and FINRA's trading activity fee (TAF).

    Each is rounded up to a cent. Rates are those of the session's day (`SECTION_31`, `TAF`).
    """

    def total(self, side: Side, quantity: Decimal, value: Decimal, day: date) -> Decimal:
        """Return both fees of a sale, zero for a purchase."""
        if side is Side.BUY:
            return ZERO
        per_share, maximum = taf_rate(day)
        return _up(value * section_31_rate(day) / MILLION) + _up(min(quantity * per_share, maximum))


def section_31_rate(day: date) -> Decimal:
    """Return the section 31 fee of a day, US dollars per million dollars sold.

    >>> section_31_rate(date(2013, 10, 7))
    Decimal('17.40')
    """
    return SECTION_31[_row(SECTION_31, day)][1]


def taf_rate(day: date) -> tuple[Decimal, Decimal]:
    """Return the trading activity fee of a day, US dollars: for a share sold, and at most for a sale."""
    _, per_share, maximum = TAF[_row(TAF, day)]
    return per_share, maximum


def _row(table: Sequence[tuple[date, *tuple[Decimal, ...]]], day: date) -> int:
    return max(bisect_right(table, day, key=itemgetter(0)) - 1, 0)


SECTION_31: Sequence[tuple[date, Decimal]] = (
    (date(2012, 4, 1), Decimal("22.40")),
    (date(2013, 5, 25), Decimal("17.40")),
    (date(2014, 3, 18), Decimal("22.10")),
    (date(2015, 2, 14), Decimal("18.40")),
    (date(2016, 2, 16), Decimal("21.80")),
    (date(2017, 7, 4), Decimal("23.10")),
    (date(2018, 5, 22), Decimal("13.00")),
    (date(2019, 4, 16), Decimal("20.70")),
    (date(2020, 2, 18), Decimal("22.10")),
    (date(2021, 2, 25), Decimal("5.10")),
    (date(2022, 5, 14), Decimal("22.90")),
    (date(2023, 2, 27), Decimal("8.00")),
    (date(2024, 5, 22), Decimal("27.80")),
    (date(2025, 5, 14), Decimal("0.00")),
    (date(2026, 4, 4), Decimal("20.60")),
)
"""First day of each rate, US dollars per million.

Source: the SEC's fee rate advisories and FINRA's information notices of the same rates. Read there (2026-11):
17.40 until and 22.10 from 2014-03-18, 21.80 in 2016, 23.10 from 2017-07-04, 13.00 from 2018-05-22, 20.70 from
2019-04-16, 22.10 from 2020-02-18, 5.10 from 2021-02-25, 27.80 until and 0.00 from 2025-05-14, 22.40 in 2012-11.
The rate of 18.40 and the first days of 22.40, 17.40, 18.40, 21.80, 22.90, 8.00, 27.80 and 20.60 were not seen in
a notice itself. Assumed: before the first row its rate (earlier ones lay between 5.60 and 46.80), and the last
one until the SEC sets another.
"""

TAF: Sequence[tuple[date, Decimal, Decimal]] = (
    (date(2004, 11, 1), Decimal("0.000075"), Decimal("3.75")),
    (date(2011, 7, 1), Decimal("0.000090"), Decimal("4.50")),
    (date(2012, 3, 1), Decimal("0.000095"), Decimal("4.75")),
    (date(2012, 7, 1), Decimal("0.000119"), Decimal("5.95")),
    (date(2022, 1, 1), Decimal("0.000130"), Decimal("6.49")),
    (date(2023, 1, 1), Decimal("0.000145"), Decimal("7.27")),
    (date(2024, 1, 1), Decimal("0.000166"), Decimal("8.30")),
    (date(2026, 1, 1), Decimal("0.000195"), Decimal("9.79")),
)
"""First day of each rate for covered equity securities: US dollars for a share sold, and at most for a sale.

Source: FINRA by-laws, schedule A, section 1, and Regulatory Notices 11-27 and 12-06 (rates and days of 2011-07 and
2012-03 as stated there, 0.000075 "for over six years" before); brokers' fee pages state 0.000119 and 5.95, 0.000145
and 7.27, 0.000166 and 8.30. The days from 2012-07 on, and 0.000130, 6.49 and 9.79, were not seen in a notice
itself. Assumed: the first rate before its day, and the last until FINRA's next step is entered here.
"""


class PerShareCommission(msgspec.Struct, frozen=True):
    """A broker's commission: so much a share, at least `minimum` an order, at most a fraction of the traded value."""

    per_share: Decimal = Decimal("0.005")
    minimum: Decimal = Decimal("1.00")
    maximum_fraction: Decimal = Decimal("0.01")

    def total(self, side: Side, quantity: Decimal, value: Decimal, day: date) -> Decimal:
        """Return the commission of both purchases and sales."""
        if not quantity:
            return ZERO
        return _up(min(max(quantity * self.per_share, self.minimum), value * self.maximum_fraction))


class PercentageFees(msgspec.Struct, frozen=True):
    """So many percent of the traded value, of purchases and of sales."""

    buy: Decimal
    sell: Decimal

    def total(self, side: Side, quantity: Decimal, value: Decimal, day: date) -> Decimal:
        """Return the side's percentage of the value."""
        return _up(value * (self.buy if side is Side.BUY else self.sell) / 100)


class SumOfFees(msgspec.Struct, frozen=True):
    """Several fee models together, such as a commission and the regulatory fees."""

    models: Sequence[FeeModel]

    def total(self, side: Side, quantity: Decimal, value: Decimal, day: date) -> Decimal:
        """Return the sum over all models."""
        return sum((model.total(side, quantity, value, day) for model in self.models), ZERO)


def _up(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_UP)


FEES: Mapping[str, FeeModel] = {
    "none": NoFees(),
    "regulatory": RegulatoryFees(),
    "commission": PerShareCommission(),
    "all": SumOfFees((PerShareCommission(), RegulatoryFees())),
}
"""What `--fees` names."""
