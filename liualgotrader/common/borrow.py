"""Which shares can be borrowed for short sales, and what that costs: a file of rows that hold from a day on.

    symbol,day,status,percent
    GME,2021-01-13,hard,35
    GME,2021-03-01,easy,0

`hard` takes day orders only, `none` no short sale. A short position that is held over a night pays `percent` a year of
its value, by 360 days and for whole lots of 100 shares. Source: Alpaca's documents on short sales (as of 2026-09).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path

import msgspec

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import SYMBOL_RULE, is_symbol
from liualgotrader.common.money import ZERO

STATUSES = ("easy", "hard", "none")
_COLUMNS = ["symbol", "day", "status", "percent"]
_MOST_PERCENT = 10_000
_DAYS_A_YEAR = 360


class BorrowRow(msgspec.Struct, frozen=True, order=True):
    """What holds of a symbol from a day on."""

    symbol: str
    day: date
    status: str = "easy"
    percent: Decimal = ZERO  # of a short position's value, a year


BorrowRows = tuple[BorrowRow, ...]
"""By symbol, then by day."""


def borrow_statuses(rows: BorrowRows, day: date) -> Mapping[str, str]:
    """Return the status of each symbol that is listed by then."""
    return {row.symbol: row.status for row in rows if row.day <= day}


def borrow_fees(rows: BorrowRows, since: date, day: date) -> Mapping[str, Decimal]:
    """Return by symbol the part of a short position's value that the nights from one day to another cost, if they do."""
    found: dict[str, Decimal] = {}
    for night in range((day - since).days):
        held = {row.symbol: row.percent for row in rows if row.day <= since + timedelta(days=night)}
        for symbol, percent in held.items():
            if percent:
                found[symbol] = found.get(symbol, ZERO) + percent / 100 / _DAYS_A_YEAR
    return found


def read_borrow(path: Path) -> BorrowRows:
    """Return the rows of a file.

    Raises:
        ConfigError: naming file and line, if it cannot be read or says what cannot be.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))
    except (OSError, UnicodeError, csv.Error) as e:
        raise ConfigError(f"The borrow list {path} cannot be read: {e}; name another file with --borrow.") from e
    if not table or table[0] != _COLUMNS:
        raise ConfigError(f"{path}: the first line of a borrow list is {','.join(_COLUMNS)}")
    rows = [_row(cells, f"{path}, line {number}") for number, cells in enumerate(table[1:], 2) if cells]
    rows.sort()
    for before, after in pairwise(rows):
        if (before.symbol, before.day) == (after.symbol, after.day):
            raise ConfigError(f"{path}: two rows are about {after.symbol} from {after.day} on; keep one of them")
    return tuple(rows)


def _row(cells: list[str], where: str) -> BorrowRow:
    symbol, day, status, percent = (*(cell.strip() for cell in cells), "", "", "", "")[:4]
    if len(cells) > len(_COLUMNS) or not is_symbol(symbol.upper()):
        raise ConfigError(f"{where}: a row begins with a symbol ({SYMBOL_RULE}) and has at most four cells")
    if status not in STATUSES:
        raise ConfigError(f"{where}: status is '{status:.20}', not one of {', '.join(STATUSES)}")
    try:
        cost, first = Decimal(percent or "0"), date.fromisoformat(day)
        if not 0 <= cost <= _MOST_PERCENT:
            raise ValueError(percent)
    except (ValueError, InvalidOperation) as e:
        raise ConfigError(
            f"{where}: a row has a day like 2021-01-13, and percent from 0 to {_MOST_PERCENT}, not '{day:.20}' and '{percent:.20}'"
        ) from e
    return BorrowRow(symbol.upper(), first, status, cost)
