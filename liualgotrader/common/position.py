"""What executions make of positions, and which stop and target they were held with."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.rows import PlanRow, Row, TradeRow

_LEAST = Decimal("1e-9")  # shares
_PLANNED = ("planned_stop", "planned_target")


def after_execution(
    quantity: Decimal, cost: Decimal, signed: Decimal, price: Decimal
) -> tuple[Decimal, Decimal, Decimal]:
    """Return (quantity, average cost, closed part) of a position after an execution of `signed` shares.

    Quantities are signed shares, the closed part has the sign of the position that it belonged to; prices and costs are
    US dollars per share. The average changes only while a position grows; a position that is turned over costs what
    turned it over, and a flat one nothing. At price 0 shares come or go by a split: none is closed, and what all of them
    cost stays.

    >>> after_execution(Decimal(10), Decimal(4), Decimal(-15), Decimal(5))
    (Decimal('-5'), Decimal('5'), Decimal('10'))
    """
    after = quantity + signed
    if not quantity:
        return after, price if after else ZERO, ZERO
    if quantity * signed >= 0:
        return after, (quantity * cost + signed * price) / after if signed else cost, ZERO
    if quantity * after > 0:
        return (after, cost, -signed) if price else (after, quantity * cost / after, ZERO)
    return after, price if after else ZERO, quantity


def after_split(quantity: Decimal, ratio: Decimal) -> Decimal:
    """Return what a quantity becomes by a split of `ratio` new shares per old one, to 1e-9 shares as the exchange counts."""
    return plain((quantity * ratio).quantize(_LEAST))


def with_plans(rows: Iterable[Row]) -> list[TradeRow]:
    """Return the executions among a batch's rows; those without a stop or target have the first one planned for them.

    A strategy may set its stop only after its fill: the risk taken at entry is known from then on. A plan is for the
    executions since the run was last flat in the symbol.
    """
    trades: list[TradeRow] = []
    held: dict[tuple[int, str], Decimal] = {}
    lacking: dict[tuple[int, str, str], list[int]] = {}  # by run, symbol and field: places in `trades`
    for row in rows:
        if isinstance(row, TradeRow):
            key = row.algo_run_id, row.symbol
            held[key] = held.get(key, ZERO) + (row.quantity if row.operation == "buy" else -row.quantity)
            for field in _PLANNED:
                if not held[key]:
                    lacking.pop((*key, field), None)
                elif getattr(row, field) is None:
                    lacking.setdefault((*key, field), []).append(len(trades))
            trades.append(row)
        elif isinstance(row, PlanRow):
            for field in _PLANNED:
                if (value := getattr(row, field)) is not None:
                    for place in lacking.pop((row.algo_run_id, row.symbol, field), ()):
                        trades[place] = msgspec.structs.replace(trades[place], **{field: value})
    return trades
