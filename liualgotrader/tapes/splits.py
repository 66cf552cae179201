"""Splits and dividends of a symbol, and history at the prices of a day.

What comes after the day is not known on it: a factor file of today holds later splits too, which cancel out here. The
history of a day that is played has only splits taken out, not dividends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import isfinite, prod
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from liualgotrader.common.calendar import FIRST_DAY, new_york, sessions
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns, Floats

_ROUNDING = 1e-5  # factor files have seven digits
_SMALLEST_DIVIDEND = 1e-6  # of the price
_PRICES = ("open", "high", "low", "close", "average")
_RAW_PLACES = 4  # of the finest price at which shares trade
_SMALL = 100  # splits are ratios of small whole numbers
_LIKE_A_SPLIT = 0.08  # so near a whole number, or 1 over one, lies the overnight ratio of prices across a split


@dataclass(frozen=True, slots=True, order=True)
class Dividend:
    """Cash per share that the shares no longer carry from the open of `day`; `close` is the raw close before it."""

    day: date
    amount: float
    close: float

    def __post_init__(self) -> None:
        if not 0 < self.amount < self.close:
            raise ConfigError(f"A dividend of {self.amount:g} on {self.day} does not fit a close of {self.close:g}.")

    @property
    def at(self) -> int:
        """The midnight in New York before which prices are old, ns UTC."""
        return new_york(self.day, time())


@dataclass(frozen=True, slots=True, order=True)
class Split:
    """A change of the number of shares: `ratio` new ones per old one from the open of `day`."""

    day: date
    ratio: float

    def __str__(self) -> str:
        return f"{ratio_text(self.ratio)} on {self.day}"

    @property
    def at(self) -> int:
        """The midnight in New York before which prices are old, ns UTC."""
        return new_york(self.day, time())


Change = TypeVar("Change", Split, Dividend)


def ratio_text(ratio: float) -> str:
    """Return `7:1` for 7 new shares per old one, `1:10` for a tenth."""
    return f"{ratio:.6g}:1" if ratio >= 1 else f"1:{1 / ratio:.6g}"


def ratio_of(splits: Iterable[Split]) -> Decimal:
    """Return the new shares per old one after all of these splits; a third is one to as many digits as Decimal has."""
    whole = prod((Fraction(split.ratio).limit_denominator(_SMALL * _SMALL) for split in splits), start=Fraction(1))
    return Decimal(whole.numerator) / whole.denominator


def adjusted(bars: BarColumns, splits: Iterable[Split], day: date, dividends: Iterable[Dividend] = ()) -> BarColumns:
    """Return bars at the prices of `day`: what is older than a split or a dividend up to it is brought to them.

    Prices are divided and volumes multiplied by the ratios of later splits; a dividend takes its part of the close
    before it off all prices before. Rows that nothing applies to stay as they are.
    """
    ratio, kept, touched = np.ones(len(bars.opened_at)), np.ones(len(bars.opened_at)), 0
    changes: list[Split | Dividend] = [*splits, *dividends]
    for change in changes:
        if change.day <= day:
            rows = int(np.searchsorted(bars.opened_at, change.at))
            touched = max(touched, rows)
            if isinstance(change, Split):
                ratio[:rows] *= change.ratio
            else:
                kept[:rows] *= 1 - change.amount / change.close
    if not touched:
        return bars
    before, kept, ratio = slice(touched), kept[:touched], ratio[:touched]

    def changed(name: str) -> Floats:
        column = getattr(bars, name)
        old = column[before] * ratio if name == "volume" else column[before] * kept / ratio
        return np.concatenate([np.round(old, 6), column[touched:]])

    columns: Any = {name: changed(name) for name in (*_PRICES, "volume")}
    return replace(bars, **columns)


def readjusted(
    bars: BarColumns, splits: Iterable[Split], dividends: Iterable[Dividend], day: date, wanted: Collection[str]
) -> BarColumns:
    """Return bars at the prices of `day`, from which splits are taken out, with what is `wanted` taken out instead.

    `wanted` names `split`, `dividend`, both or neither; with neither, prices and volumes are those of their own day.
    """
    if "split" not in wanted:
        raw = adjusted(bars, [Split(split.day, 1 / split.ratio) for split in splits], day)
        prices: Any = {name: np.round(getattr(raw, name), _RAW_PLACES) for name in _PRICES}
        bars = bars if raw is bars else replace(raw, **prices)
    return adjusted(bars, (), day, dividends) if "dividend" in wanted else bars


def split_like(before: float, after: float) -> float | None:
    """Return new shares per old one if the price went from `before` to `after` as over a split, else None.

    >>> split_like(645.57, 92.7), split_like(2.0, 20.6), split_like(10.0, 14.9)
    (7, 0.1, None)
    """
    factor = max(before / after, after / before)
    whole = round(factor)
    if whole < 2 or abs(factor / whole - 1) > _LIKE_A_SPLIT:
        return None
    return whole if before > after else 1 / whole


def lean_splits(path: Path) -> Sequence[Split]:
    """Return the splits of a factor file of Lean, oldest first; none where there is no file.

    A row's factors hold up to its date, so a split is where the split factor changes, on the session after it.

    Raises:
        ConfigError: if a row has no date and factors, or is older than the row before it.
    """
    splits = []
    for before, after in pairwise(_factor_rows(path)):
        ratio = after.split / before.split
        near = Fraction(ratio).limit_denominator(_SMALL)
        if abs(near / Fraction(ratio) - 1) <= _ROUNDING:
            ratio = float(near)
        if abs(ratio - 1) > _ROUNDING:
            splits.append(Split(_next_session(before.day), ratio))
    return tuple(splits)


def lean_dividends(path: Path) -> Sequence[Dividend]:
    """Return the dividends of a factor file of Lean, as `lean_splits` does: they are where the price factor rises.

    Raises:
        ConfigError: the same; or if a row before a dividend has no close.
    """
    dividends = []
    for before, after in pairwise(_factor_rows(path)):
        kept = before.price / after.price
        if abs(kept - 1) > _SMALLEST_DIVIDEND:
            if not before.close > 0:
                raise ConfigError(f"{path}: the row of {before.day} has no close, which its dividend is reckoned from.")
            dividends.append(Dividend(_next_session(before.day), round(before.close * (1 - kept), 6), before.close))
    return tuple(dividends)


class _FactorRow(NamedTuple):
    day: date
    price: float
    split: float
    close: float


def _factor_rows(path: Path) -> list[_FactorRow]:
    rows: list[_FactorRow] = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), 1):
        if not line.strip():
            continue
        cells = line.split(",")
        try:
            day = date(int(cells[0][:4]), int(cells[0][4:6]), int(cells[0][6:]))
            factors = [float(cell) for cell in cells[1:3]]
            if len(factors) < 2 or not all(isfinite(factor) and factor > 0 for factor in factors):
                raise ValueError(line)
            row = _FactorRow(day, factors[0], factors[1], float(cells[3]) if len(cells) > 3 else 0.0)
        except ValueError as e:
            raise ConfigError(
                f"{path}, line {number}: `{line}` is not YYYYMMDD, price factor, split factor above 0."
            ) from e
        if rows and day <= rows[-1].day:
            raise ConfigError(f"{path}, line {number}: {day} does not follow {rows[-1].day}, but rows must ascend.")
        rows.append(row)
    return rows


def _next_session(day: date) -> date:
    following = day + timedelta(days=1)
    found = sessions(following, day + timedelta(days=10)) if following >= FIRST_DAY else []
    return found[0].day if found else following
