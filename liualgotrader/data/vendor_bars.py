"""Bars of a vendor's answer as ours: the one door for what any vendor says of prices and volumes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from liualgotrader.common.clock import MINUTE, as_datetime
from liualgotrader.common.errors import BadData
from liualgotrader.common.events import Bar, BarSource
from liualgotrader.common.untrusted import MOST_PRICE, MOST_SIZE, Fields
from liualgotrader.data.data_base import midnight

log = logging.getLogger(__name__)

T = TypeVar("T")


def bars_of(symbol: str, rows: Sequence[Any], read: Callable[[object], Bar]) -> list[Bar]:
    """Return the vendor's bar objects of a symbol as ours, oldest first, each interval once.

    Raises:
        BadData: naming symbol, time and field of the first that cannot be true.
    """
    made: dict[int, Bar] = {}
    for row in rows:
        one = read(row)
        if made.setdefault(one.opened_at, one) != one:
            raise BadData(f"{symbol}: the vendor has two different bars for {row['t']}")
    return sorted(made.values(), key=lambda one: one.opened_at)


def vendor_bar(fields: Fields, symbol: str, opened_at: int, minutes: int) -> Bar:
    """Return the bar of these fields, `o`, `h`, `l`, `c`, `v` and if they are stated `vw` and `n`.

    Raises:
        BadData: naming symbol, time and field if it cannot be true.
    """
    if minutes == 1 and opened_at % MINUTE:
        raise fields.bad("t", "the start of a minute")
    opened, high, low, close = (_number(fields, name, MOST_PRICE) for name in "ohlc")
    if not low:
        raise fields.bad("l", "above zero")
    for name, price in (("h", high), ("o", opened), ("c", close)):
        if not low <= price <= high:
            raise fields.bad(name, f"a price from low {low:g} to high {high:g}")
    average = _number(fields, "vw", MOST_PRICE) if fields.states("vw") else 0.0
    return Bar(
        symbol=symbol,
        opened_at=opened_at,
        closed_at=opened_at + MINUTE if minutes == 1 else midnight(as_datetime(opened_at).date() + timedelta(days=1)),
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=_number(fields, "v", MOST_SIZE),
        vwap=average or close,
        count=int(_number(fields, "n", MOST_SIZE)) if fields.states("n") else 0,
        source=int(BarSource.HISTORY),
    )


def _number(fields: Fields, name: str, most: float) -> float:
    value: Any = fields.raw.get(name)
    if type(value) in (int, float) and 0 <= value <= most:  # neither a bool nor NaN
        return float(value)
    raise fields.bad(name, f"a number from 0 to {most:g}")


def if_usable(read: Callable[[], T]) -> T | None:
    """Return what `read` returns, None if it is nothing that can be true."""
    try:
        return read()
    except BadData as error:
        log.info("%s", error)
        return None
